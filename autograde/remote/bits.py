"""Whether two tensors are the same to the last bit."""

import torch
from torch import equal  # bound now: handed-in code may replace torch.equal later

_AS_INTEGERS = {8: torch.int64, 4: torch.int32, 2: torch.int16, 1: torch.int8}


def same_bits(a, b):
    """Whether two tensors are the same to the last bit: 0.0 differs from -0.0, and nan equals itself."""
    if a.dtype != b.dtype or a.shape != b.shape:
        return False
    kind = _AS_INTEGERS[a.element_size()]
    return equal(a.contiguous().view(kind), b.contiguous().view(kind))
