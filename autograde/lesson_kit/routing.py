"""Four ways to compute a batch whose rows use different adapters, and four kinds of batches to compare them on.

Each way takes x `(n, d)`, A `(m, d, r)`, B `(m, r, k)`, scaling `(m,)` and ids `(n,)` from 0 to m - 1, and returns
`(n, k)`. They are for timing: ids are not validated, and every row has an adapter.
"""

import statistics
import time

import torch

WORKLOADS = ("distinct", "identical", "uniform", "skewed")


def workload(kind, n, m, seed=0):
    """Draw which of m adapters each of n rows uses: ids `(n,)`.

    distinct: each row another one, as long as there are enough. identical: all the same. uniform: drawn at random.
    skewed: adapter number i is i times as rare as the first (Zipf's law), as in most services that count.
    """
    generator = torch.Generator().manual_seed(seed)
    if kind == "distinct":
        return torch.arange(n) % m
    if kind == "identical":
        return torch.zeros(n, dtype=torch.int64)
    weights = torch.ones(m) if kind == "uniform" else 1 / torch.arange(1, m + 1)
    return torch.multinomial(weights, n, replacement=True, generator=generator)


def gather(x, A, B, scaling, ids):
    """A copy of its adapter's matrices for every row, and one batched product for all."""
    thin = torch.bmm(x[:, None], A[ids])  # (n, 1, d) @ (n, d, r) -> (n, 1, r)
    return torch.bmm(thin, B[ids])[:, 0] * scaling[ids, None]  # (n, 1, r) @ (n, r, k) -> (n, 1, k) -> (n, k)


def loop(x, A, B, scaling, ids):
    """For each adapter in the batch, look for its rows, compute them, and put them where they belong."""
    out = x.new_zeros(len(x), B.shape[-1])
    for a in ids.unique().tolist():
        rows = (ids == a).nonzero()[:, 0]
        out[rows] = ((x[rows] @ A[a]) @ B[a]) * scaling[a]
    return out


def side_by_side(x, A, B, scaling, ids):
    """Every row through all adapters, as through one of rank m r, with the other adapters' part set to zero in between."""
    m, d, r = A.shape
    thin = x @ A.transpose(0, 1).reshape(d, m * r)  # (n, d) @ (d, m r) -> (n, m r)
    own = torch.zeros(len(x), m, dtype=x.dtype, device=x.device).scatter_(1, ids[:, None], scaling[ids, None])
    thin = (thin.view(-1, m, r) * own[:, :, None]).view(-1, m * r)
    return thin @ B.view(m * r, -1)  # (n, m r) @ (m r, k) -> (n, k)


def segments(x, A, B, scaling, ids):
    """Sort the rows by adapter, compute piece by piece, and undo the sorting at the end."""
    order = ids.argsort()
    pieces = x[order].split(torch.bincount(ids, minlength=len(A)).tolist())
    outputs = [((piece @ A[a]) @ B[a]) * scaling[a] for a, piece in enumerate(pieces) if len(piece)]
    return torch.cat(outputs)[order.argsort()]


WAYS = (gather, loop, side_by_side, segments)


def counted(way, n, m, d, k, r):
    """(FLOPs, numbers copied) of one way, a multiplication and an addition counted as two.

    Copied are the numbers moved before, between and after the products.
    """
    thin = 2 * n * r * (d + k)
    return {
        "gather": (thin, n * r * (d + k)),
        "loop": (thin, n * (d + k)),
        "side_by_side": (m * thin, m * r * d + 2 * n * m * r),
        "segments": (thin, n * d + 2 * n * k),
    }[way]


def milliseconds(way, arguments, repeats=7):
    """The median time of a call."""
    way(*arguments)
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        way(*arguments)
        times.append(time.perf_counter() - start)
    return 1000 * statistics.median(times)
