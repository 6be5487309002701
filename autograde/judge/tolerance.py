"""How close is equal: one table, by dtype and device.

A difference counts relative to the largest expected magnitude, because sums cancel: an entry near zero carries the
rounding error of the large terms it is the sum of.
"""

import torch
from torch import equal  # this one: probes use it beside handed-in code, which may put another in its place

RELATIVE = {
    # About 1e4 units in the last place: far above any order of summation, far below any misconception.
    ("cpu", torch.float64): 1e-9,
    ("cpu", torch.float32): 1e-4,
    ("cpu", torch.float16): 2e-2,
    ("cpu", torch.bfloat16): 6e-2,
    # TF32 keeps 10 bits of a float32's mantissa.
    ("cuda", torch.float64): 1e-9,
    ("cuda", torch.float32): 5e-3,
    ("cuda", torch.float16): 2e-2,
    ("cuda", torch.bfloat16): 6e-2,
}


def allowed(expected, dtype=None, device="cpu"):
    """The largest difference from `expected` that still counts as equal, as a float.

    Args:
        expected: tensor of any shape.
        dtype: the dtype the learner computed in; that of `expected` when left out. Integers must be exact.
    """
    relative = RELATIVE.get((device, dtype or expected.dtype), 0.0)
    if expected.numel() == 0 or not relative:
        return 0.0
    return relative * max(float(expected.double().abs().max()), 1e-30)


def close(got, expected, dtype=None, device="cpu"):
    """Whether two tensors of one shape are equal within the table. NaN and infinity equal nothing finite."""
    if got.shape != expected.shape:
        return False
    if got.numel() == 0:
        return True
    difference = (got.double() - expected.double()).abs().max()
    return bool(difference <= allowed(expected, dtype, device))


_AS_INTEGERS = {8: torch.int64, 4: torch.int32, 2: torch.int16, 1: torch.int8}


def same_bits(a, b):
    """Whether two tensors are the same to the last bit: 0.0 is told from -0.0, and nan is equal to itself."""
    if a.dtype != b.dtype or a.shape != b.shape:
        return False
    kind = _AS_INTEGERS[a.element_size()]
    return equal(a.contiguous().view(kind), b.contiguous().view(kind))
