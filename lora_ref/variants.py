"""What others have changed about LoRA: its scaling, what it is added to, where it starts.

Throughout: W `(k, d)` is a weight as nn.Linear stores it, A `(d, r)` and B `(r, k)` are an adapter, and a change of W,
called delta, is `scaling * (A @ B).T`, `(k, d)`.
"""

import torch


def rs_scaling(alpha, r):
    """The scaling of rank-stabilised LoRA: alpha / √r in place of alpha / r. Paper: arXiv 2312.03732.

    A @ B sums r terms with unrelated directions, so its size grows with √r. Dividing by r makes the update, and what B
    learns in a step, smaller as r grows; dividing by √r keeps both the same.
    """
    return alpha / r**0.5


def portable_alpha(alpha, r):
    """The alpha with which plain LoRA, scaled by alpha / r, computes what rank-stabilised LoRA does with `alpha`.

    For readers of adapter files that do not know `use_rslora`: alpha / √r = (alpha · √r) / r.
    """
    return rs_scaling(alpha, r) * r


def dora_weight(W, delta, magnitude):
    """The weight of DoRA, `(k, d)`: the direction of each row of W + delta, and a length of its own for each row.

    delta      `(k, d)`, scaled already; no row of W + delta may be zero, since a zero row has no direction
    magnitude  `(k,)`, trained; at the start it is `W.norm(dim=1)`, and with delta zero that gives W back

    All in one dtype. Paper: arXiv 2402.09353, section 4.1, for columns x; its columns are the rows here.
    """
    adapted = W + delta  # (k, d)
    length = adapted.norm(dim=1, keepdim=True)  # (k, 1)
    return magnitude[:, None] * adapted / length  # (k, 1) * (k, d) / (k, 1) -> (k, d)


def pissa_start(W, rank):
    """Where PiSSA starts: A `(d, r)`, B `(r, k)` and the frozen rest of W, `(k, d)`, with rest + (A @ B).T = W.

    A and B are the largest singular values of W with their vectors, a square root of each value on either side.
    W float32 or float64; ValueError for a rank that is not from 1 to min(k, d). Paper: arXiv 2404.02948, section 3.
    """
    if not 1 <= rank <= min(W.shape):
        raise ValueError(f"rank must be from 1 to {min(W.shape)} for a weight of {tuple(W.shape)}, not {rank}.")
    U, S, Vh = torch.linalg.svd(W.T, full_matrices=False)  # (d, m), (m,), (m, k), largest singular value first
    root = S[:rank].sqrt()
    A, B = U[:, :rank] * root, root[:, None] * Vh[:rank]
    return A, B, W - (A @ B).T


def pissa_as_lora(A0, B0, A1, B1):
    """A trained PiSSA adapter as plain LoRA over the untouched weight: A `(d, 2r)`, B `(2r, k)`, scaling 1.

    A0, B0 are the adapter at the start, from `pissa_start`, and A1, B1 after training. The frozen rest is
    W - (A0 @ B0).T, so W itself needs the change A1 @ B1 - A0 @ B0: one product, with the factors side by side.
    """
    return torch.cat([A1, A0], dim=1), torch.cat([B1, -B0], dim=0)
