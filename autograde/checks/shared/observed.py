"""Compares two observations of one case as a whole, where a probe reports more than a value."""

import torch

from autograde.judge.compare import agree


def alike(a, b, device="cpu"):
    """Whether two observations agree: tensors and floats within the tolerances, everything else exactly.

    The line that raised an exception is not compared.
    """
    if isinstance(a, dict) and isinstance(b, dict):
        return a.keys() == b.keys() and all(alike(a[key], b[key], device) for key in a if key != "where")
    if isinstance(a, list) and isinstance(b, list):
        return len(a) == len(b) and all(alike(x, y, device) for x, y in zip(a, b, strict=True))
    if isinstance(a, (torch.Tensor, float)) or isinstance(b, (torch.Tensor, float)):
        return agree(a, b, device=device)
    return a == b
