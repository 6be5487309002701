"""The meta device as a second device on every machine: its tensors have a shape, a dtype and a device, but no values."""

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map


class MetaTensors(TorchDispatchMode):
    """Lets code create and fill meta tensors as if they had values.

    By default, torch imports sympy for arithmetic on them, which takes seconds, and raises an error if their values are
    read. In this mode, an operation runs on zeros on the CPU, and its result is on the meta device. If an operation has
    tensors of two devices, torch raises its usual error.
    """

    @classmethod
    def _should_skip_dynamo(cls):
        return False  # without this, the first operator would import torch's compiler, for seconds

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        tensors = [value for value in tree_leaves((args, kwargs)) if isinstance(value, torch.Tensor)]
        has_cpu_values = any(tensor.ndim and not tensor.is_meta for tensor in tensors)
        requested_device = kwargs.get("device")
        on_meta = (
            any(tensor.is_meta for tensor in tensors)
            if requested_device is None
            else torch.device(requested_device).type == "meta"
        )
        if func.is_view or has_cpu_values or not on_meta:
            return func(*args, **kwargs)
        if requested_device is not None:
            kwargs = kwargs | {"device": torch.device("cpu")}
        out = func(*tree_map(_to_cpu_zeros, args), **tree_map(_to_cpu_zeros, kwargs))
        return args[0] if func._schema.is_mutable else tree_map(_to_meta, out)


def _to_cpu_zeros(value):
    if not isinstance(value, torch.Tensor) or not value.is_meta:
        return value
    return torch.empty_strided(value.shape, value.stride(), dtype=value.dtype, device="cpu").zero_()


def _to_meta(value):
    if not isinstance(value, torch.Tensor):
        return value
    return torch.empty_strided(value.shape, value.stride(), dtype=value.dtype, device="meta")
