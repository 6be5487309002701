"""A probe for exercises about cost: call a function, and count its floating-point operations. Nothing is timed."""

import math

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import flop_registry, shape_wrapper

from autograde.remote.call import call
from autograde.remote.probe import probe

aten = torch.ops.aten

# torch's own counter knows products of matrices and convolutions. With these, a product written as `*` and a sum, a loop
# over vectors or a matrix times a vector is counted too. Each takes the shapes of an operator's arguments.
_FLOPS = flop_registry | {
    aten.mul: shape_wrapper(lambda *_, out_shape, **__: math.prod(out_shape)),
    aten.sum: shape_wrapper(lambda shape, *_, **__: math.prod(shape)),
    aten.dot: shape_wrapper(lambda shape, *_, **__: 2 * math.prod(shape)),
    aten.mv: shape_wrapper(lambda shape, *_, **__: 2 * math.prod(shape)),
    aten.addmv: shape_wrapper(lambda _, shape, *__, **___: 2 * math.prod(shape)),
    aten.addr: shape_wrapper(lambda *_, out_shape, **__: 2 * math.prod(out_shape)),
}


class _FlopCounter(TorchDispatchMode):
    """Counts FLOPs, and remembers the shape of the largest tensor that an operator returned."""

    def __init__(self):
        super().__init__()
        self.flops, self.largest, self._entries = 0, (), 0

    @classmethod
    def _should_skip_dynamo(cls):
        return False  # without this, the first operator would import torch's compiler, for seconds

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        packet = func._overloadpacket
        if packet not in _FLOPS:
            with self:  # in inference mode `linear`, `matmul` and `einsum` arrive whole
                out = func.decompose(*args, **kwargs)
            if out is not NotImplemented:
                return out
        out = func(*args, **kwargs)
        if packet in _FLOPS:
            self.flops += _FLOPS[packet](*args, **kwargs, out_val=out)
        for tensor in tree_leaves(out):
            if isinstance(tensor, torch.Tensor) and tensor.numel() > self._entries:
                self.largest, self._entries = tuple(tensor.shape), tensor.numel()
        return out


@probe
def call_and_count(function, args, device="cpu"):
    """Call ``function(*args)`` as the probe `call` does, and count.

    Returns:
        What `call` returns, and with it ``"flops"``, the floating-point operations of all products and sums that went
        through torch, and ``"largest"``, the shape of the largest tensor that torch made. What a function does
        outside torch, in numpy or in plain Python, is not seen. A call that raises is made once more without counting, for a
        function that cannot be counted: both are then 0 and empty.
    """
    counter = _FlopCounter()

    def counted(*arguments):
        with counter:
            return function(*arguments)

    observation = call(counted if callable(function) else function, args=args, device=device)
    if "raised" in observation:
        return call(function, args=args, device=device) | {"flops": 0, "largest": []}
    return observation | {"flops": counter.flops, "largest": list(counter.largest)}
