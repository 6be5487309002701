"""Why a thin product can be enough: a matrix may be large and its rank small. Paper: sections 1 and 7.

Both functions take a float32 or float64 matrix M of `(d, k)`; torch's SVD has no kernel for narrower floats.
"""

import torch


def best_low_rank(M, rank):
    """A `(d, rank)` and B `(rank, k)` whose product is the closest such matrix to M in Frobenius norm.

    The largest singular values with their vectors, says the theorem of Eckart and Young.
    Raises ValueError for a rank that is not from 1 to min(d, k).
    """
    if not 1 <= rank <= min(M.shape):
        raise ValueError(f"rank must be from 1 to {min(M.shape)} for a matrix of {tuple(M.shape)}, not {rank}.")
    U, S, Vh = torch.linalg.svd(M, full_matrices=False)  # largest singular value first
    return U[:, :rank] * S[:rank], Vh[:rank]  # (d, r), (r, k): the singular values go to A


def rank_for_energy(M, fraction):
    """The smallest r, at least 1, whose largest singular values hold `fraction` or more of the squared Frobenius norm.

    That norm is the sum of all squared singular values. Raises ValueError for a fraction that is not in (0, 1].
    """
    if not 0 < fraction <= 1:
        raise ValueError(f"fraction must be above 0 and at most 1, not {fraction}.")
    energy = torch.linalg.svdvals(M).square().cumsum(0)
    enough = energy >= fraction * energy[-1]  # False, ..., False, True, ..., True
    return int((~enough).sum()) + 1
