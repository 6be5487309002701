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
        elsewhere = any(tensor.ndim and not tensor.is_meta for tensor in tensors)
        asked = kwargs.get("device")
        on_meta = any(tensor.is_meta for tensor in tensors) if asked is None else torch.device(asked).type == "meta"
        if func.is_view or elsewhere or not on_meta:
            return func(*args, **kwargs)
        if asked is not None:
            kwargs = kwargs | {"device": torch.device("cpu")}
        out = func(*tree_map(_with_numbers, args), **tree_map(_with_numbers, kwargs))
        return args[0] if func._schema.is_mutable else tree_map(_without_numbers, out)


def _with_numbers(value):
    if not isinstance(value, torch.Tensor) or not value.is_meta:
        return value
    return torch.empty_strided(value.shape, value.stride(), dtype=value.dtype, device="cpu").zero_()


def _without_numbers(value):
    if not isinstance(value, torch.Tensor):
        return value
    return torch.empty_strided(value.shape, value.stride(), dtype=value.dtype, device="meta")
