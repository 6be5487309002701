"""The tolerances of all comparisons: one table, by dtype and device.

A difference counts relative to the largest expected magnitude, because sums cancel: an entry near zero carries the
rounding error of the large terms it is the sum of.
"""

import torch

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
    """Whether two tensors of the same shape are equal within the tolerance. NaN and infinity equal nothing finite."""
    if got.shape != expected.shape:
        return False
    if got.numel() == 0:
        return True
    difference = (got.double() - expected.double()).abs().max()
    return bool(difference <= allowed(expected, dtype, device))
