# Right answers in other styles (wheat) and wrong ones (chaff) for lesson 01; format: tests/corpus/README.md

# %% wheat="US and Vh" exercise="best_low_rank"
def best_low_rank(M, rank):
    U, S, Vh = torch.linalg.svd(M, full_matrices=False)
    return U[:, :rank] * S[:rank], Vh[:rank, :]


# %% wheat="U and SVh, full matrices" exercise="best_low_rank"
def best_low_rank(M, rank):
    U, S, Vh = torch.linalg.svd(M)
    A = U[:, :rank]
    B = torch.diag(S[:rank]) @ Vh[:rank]
    return A, B


# %% wheat="square roots on both sides, a list" exercise="best_low_rank"
def best_low_rank(M, rank):
    U, S, Vh = torch.linalg.svd(M, full_matrices=False)
    root = S[:rank].sqrt()
    return [U[:, :rank] @ root.diag(), root[:, None] * Vh[:rank]]


# %% wheat="torch.svd gives V" exercise="best_low_rank"
def best_low_rank(M, rank):
    U, S, V = torch.svd(M)
    return U[:, :rank] * S[:rank], V[:, :rank].T


# %% wheat="numpy and back" exercise="best_low_rank"
import numpy as np


def best_low_rank(M, rank):
    u, s, vh = np.linalg.svd(M.numpy(), full_matrices=False)
    return torch.from_numpy(u[:, :rank] * s[:rank]), torch.from_numpy(vh[:rank])


# %% wheat="numpy arrays" exercise="best_low_rank"
import numpy as np


def best_low_rank(M, rank):
    u, s, vh = np.linalg.svd(np.asarray(M))
    return u[:, :rank], np.diag(s[:rank]) @ vh[:rank]


# %% wheat="eigenvectors of MtM, projected" exercise="best_low_rank"
def best_low_rank(M, rank):
    values, vectors = torch.linalg.eigh(M.T @ M)
    V = vectors.flip(1)[:, :rank]
    return M @ V, V.T


# %% wheat="eigenvectors of MMt, projected, sorted by hand" exercise="best_low_rank"
def best_low_rank(M, rank):
    values, vectors = torch.linalg.eigh(M @ M.T)
    largest = values.argsort(descending=True)[:rank]
    U = vectors[:, largest]
    return U, U.mT @ M


# %% wheat="singular values from eigenvalues" exercise="best_low_rank"
def best_low_rank(M, rank):
    d, k = M.shape
    if d < k:
        B, A = best_low_rank(M.T, rank)
        return A.T, B.T
    values, V = torch.linalg.eigh(M.T @ M)
    V = V[:, -rank:]
    S = values[-rank:].clamp_min(0).sqrt()
    U = M @ V / S
    return U * S, V.T


# %% wheat="power iteration with deflation" exercise="best_low_rank"
def best_low_rank(M, rank):
    rest, columns, rows = M.clone(), [], []
    for _ in range(rank):
        v = torch.randn(M.shape[1], dtype=M.dtype)
        for _ in range(300):
            v = rest.T @ (rest @ v)
            v = v / v.norm()
        u = rest @ v
        rest = rest - torch.outer(u, v)
        columns.append(u)
        rows.append(v)
    return torch.stack(columns, 1), torch.stack(rows)


# %% wheat="alternating least squares" exercise="best_low_rank"
def best_low_rank(M, rank):
    torch.manual_seed(0)
    B = torch.randn(rank, M.shape[1], dtype=M.dtype)
    for _ in range(100):
        A = torch.linalg.lstsq(B.T, M.T).solution.T
        A = torch.linalg.qr(A).Q
        B = A.T @ M
    return A, B


# %% wheat="randomised SVD, oversampled, in float64" exercise="best_low_rank"
def best_low_rank(M, rank):
    U, S, V = torch.svd_lowrank(M.double(), q=min(rank + 4, *M.shape), niter=12)
    A, B = U[:, :rank] * S[:rank], V[:, :rank].T
    return A.to(M.dtype), B.to(M.dtype)


# %% wheat="randomised SVD, twenty iterations" exercise="best_low_rank"
def best_low_rank(M, rank):
    U, S, V = torch.svd_lowrank(M, q=rank, niter=20)
    return U * S, V.mT


# %% wheat="computed in float64 and left there" exercise="best_low_rank"
def best_low_rank(M, rank):
    U, S, Vh = torch.linalg.svd(M.to(torch.float64), full_matrices=False)
    return U[:, :rank] * S[None, :rank], Vh[:rank]


# %% wheat="any invertible split" exercise="best_low_rank"
def best_low_rank(M, rank):
    U, S, Vh = torch.linalg.svd(M, full_matrices=False)
    mix = torch.eye(rank, dtype=M.dtype) + 0.5 * torch.ones(rank, rank, dtype=M.dtype)
    return -(U[:, :rank] * S[:rank]) @ mix, -torch.linalg.solve(mix, Vh[:rank])


# %% wheat="learned by gradient descent" exercise="best_low_rank"
def best_low_rank(M, rank):
    torch.manual_seed(0)
    A = 0.1 * torch.randn(M.shape[0], rank, dtype=M.dtype)
    B = 0.1 * torch.randn(rank, M.shape[1], dtype=M.dtype)
    for _ in range(1500):
        left_over = M - A @ B
        A, B = A + 0.1 * left_over @ B.T, B + 0.1 * A.T @ left_over
    return A, B


# %% wheat="parameters" exercise="best_low_rank"
def best_low_rank(M, rank):
    U, S, Vh = torch.linalg.svd(M, full_matrices=False)
    return nn.Parameter(U[:, :rank] @ torch.diag(S[:rank])), nn.Parameter(Vh[:rank].clone())


# %% chaff="first columns and first rows" exercise="best_low_rank" misconception="first_columns"
def best_low_rank(M, rank):
    return M[:, :rank], M[:rank, :]


# %% chaff="the best that the first columns allow" exercise="best_low_rank" misconception="first_columns"
def best_low_rank(M, rank):
    A = M[:, :rank]
    return A, torch.linalg.pinv(A) @ M


# %% chaff="last columns" exercise="best_low_rank" misconception=""
def best_low_rank(M, rank):
    A = M[:, -rank:]
    return A, torch.linalg.pinv(A) @ M


# %% chaff="eigh sorts upwards" exercise="best_low_rank" misconception="smallest_kept"
def best_low_rank(M, rank):
    values, vectors = torch.linalg.eigh(M @ M.T)
    U, S, Vh = torch.linalg.svd(M, full_matrices=False)
    keep = S.argsort()[:rank]
    return U[:, keep], S[keep].unsqueeze(1) * Vh[keep]


# %% chaff="eigenvalues taken for singular values" exercise="best_low_rank" misconception="values_squared"
def best_low_rank(M, rank):
    values, V = torch.linalg.eigh(M.T @ M)
    V = V[:, -rank:]
    U = M @ V / values[-rank:].sqrt()
    return U * values[-rank:], V.T


# %% chaff="roots forgotten on the left" exercise="best_low_rank" misconception="root_on_one_side"
import numpy as np


def best_low_rank(M, rank):
    u, s, vh = np.linalg.svd(M.numpy(), full_matrices=False)
    return torch.tensor(u[:, :rank]), torch.tensor(np.sqrt(s[:rank])[:, None] * vh[:rank])


# %% chaff="orthonormal factors from numpy" exercise="best_low_rank" misconception="values_forgotten"
import numpy as np


def best_low_rank(M, rank):
    u, s, vh = np.linalg.svd(M.numpy())
    return torch.tensor(u[:, :rank]), torch.tensor(vh[:rank])


# %% chaff="V from torch.svd, not transposed" exercise="best_low_rank" misconception="v_for_vt"
def best_low_rank(M, rank):
    U, S, V = torch.svd(M)
    return U[:, :rank] * S[:rank], V[:, :rank]


# %% chaff="Vh sliced like V" exercise="best_low_rank" misconception="v_for_vt"
def best_low_rank(M, rank):
    U, S, Vh = torch.linalg.svd(M, full_matrices=False)
    return U[:, :rank] * S[:rank], Vh[:, :rank]


# %% chaff="V for Vh, roots on both sides" exercise="best_low_rank" misconception="v_for_vt"
import numpy as np


def best_low_rank(M, rank):
    U, S, V = np.linalg.svd(M.numpy())
    root = np.sqrt(S[:rank])
    return torch.from_numpy(U[:, :rank] * root), torch.from_numpy((V[:, :rank] * root).T)


# %% chaff="truncated SVD, zeros kept, full size" exercise="best_low_rank" misconception="full_size"
def best_low_rank(M, rank):
    U, S, Vh = torch.linalg.svd(M, full_matrices=False)
    S[rank:] = 0
    return U * S, Vh


# %% chaff="one factor thin, the other not" exercise="best_low_rank" misconception="full_size"
def best_low_rank(M, rank):
    U, S, Vh = torch.linalg.svd(M, full_matrices=False)
    return U[:, :rank] * S[:rank], Vh


# %% chaff="M and the identity" exercise="best_low_rank" misconception="full_size"
def best_low_rank(M, rank):
    return M, torch.eye(M.shape[1], dtype=M.dtype)


# %% chaff="factors of the transpose" exercise="best_low_rank" misconception="swapped"
def best_low_rank(M, rank):
    U, S, Vh = torch.linalg.svd(M.T, full_matrices=False)
    return U[:, :rank] * S[:rank], Vh[:rank]


# %% chaff="M, rebuilt" exercise="best_low_rank" misconception="product_returned"
import numpy as np


def best_low_rank(M, rank):
    u, s, vh = np.linalg.svd(M.numpy(), full_matrices=False)
    return u[:, :rank] @ np.diag(s[:rank]) @ vh[:rank]


# %% chaff="S with the rows" exercise="best_low_rank" misconception="values_are_a_vector"
def best_low_rank(M, rank):
    U, S, Vh = torch.linalg.svd(M, full_matrices=False)
    return U[:, :rank], S[:rank] @ Vh[:rank]


# %% chaff="one piece too few" exercise="best_low_rank" misconception=""
def best_low_rank(M, rank):
    U, S, Vh = torch.linalg.svd(M, full_matrices=False)
    S[rank - 1 :] = 0
    return U[:, :rank] * S[:rank], Vh[:rank]


# %% chaff="values multiplied along the wrong axis" exercise="best_low_rank" misconception=""
def best_low_rank(M, rank):
    U, S, Vh = torch.linalg.svd(M)
    return U[:, :rank] * S.mean(), Vh[:rank]


# %% chaff="random factors" exercise="best_low_rank" misconception=""
def best_low_rank(M, rank):
    return torch.randn(M.shape[0], rank), torch.randn(rank, M.shape[1])


# %% chaff="random projection" exercise="best_low_rank" misconception=""
def best_low_rank(M, rank):
    Q = torch.linalg.qr(M @ torch.randn(M.shape[1], rank, dtype=M.dtype)).Q
    return Q, Q.T @ M * 0.98


# %% chaff="not a number" exercise="best_low_rank" misconception=""
def best_low_rank(M, rank):
    U, S, Vh = torch.linalg.svd(M, full_matrices=False)
    return U[:, :rank] * S[:rank] * float("nan"), Vh[:rank]


# %% chaff="U S Vh multiplied as they are" exercise="best_low_rank" misconception="values_are_a_vector"
def best_low_rank(M, rank):
    U, S, Vh = torch.linalg.svd(M, full_matrices=False)
    low = U[:, :rank] @ S[:rank] @ Vh[:rank]
    return low, low


# %% chaff="a dict" exercise="best_low_rank" misconception=""
def best_low_rank(M, rank):
    U, S, Vh = torch.linalg.svd(M, full_matrices=False)
    return {"A": U[:, :rank] * S[:rank], "B": Vh[:rank]}


# %% chaff="writes into M" exercise="best_low_rank" misconception="changed_input"
def best_low_rank(M, rank):
    U, S, Vh = torch.linalg.svd(M, full_matrices=False)
    M -= M.mean()
    return U[:, :rank] * S[:rank], Vh[:rank]


# %% chaff="prints" exercise="best_low_rank" misconception="returned_none"
def best_low_rank(M, rank):
    U, S, Vh = torch.linalg.svd(M, full_matrices=False)
    print(U.shape)


# %% wheat="uneven split of powers, signs flipped" exercise="best_low_rank"
def best_low_rank(M, rank):
    U, S, Vh = torch.linalg.svd(M, full_matrices=False)
    sign = -torch.ones(rank, dtype=M.dtype)
    return U[:, :rank] * S[:rank] ** 0.3 * sign, (sign * S[:rank] ** 0.7)[:, None] * Vh[:rank]


# %% wheat="subspace iteration" exercise="best_low_rank"
def best_low_rank(M, rank):
    Q = torch.linalg.qr(torch.randn(M.shape[1], rank, dtype=M.dtype)).Q
    for _ in range(60):
        Q = torch.linalg.qr(M.T @ (M @ Q)).Q
    return M @ Q, Q.T


# %% wheat="block matrix eigh" exercise="best_low_rank"
def best_low_rank(M, rank):
    d, k = M.shape
    H = torch.zeros(d + k, d + k, dtype=torch.float64)
    H[:d, d:] = M
    H[d:, :d] = M.T
    w, V = torch.linalg.eigh(H)
    top = V[:, -rank:]
    left, right = top[:d], top[d:]
    return (2 * left * w[-rank:]).to(M.dtype), right.T.contiguous().to(M.dtype)


# %% wheat="scipy svd" exercise="best_low_rank"
def best_low_rank(M, rank):
    from scipy.linalg import svd

    u, s, vh = svd(M.numpy(), full_matrices=False)
    return torch.tensor(u[:, :rank]), torch.tensor(s[:rank, None] * vh[:rank])


# %% wheat="named tuple, class" exercise="best_low_rank"
from collections import namedtuple

Factors = namedtuple("Factors", "A B")


class BestLowRank:
    def __call__(self, M, rank):
        U, S, Vh = torch.linalg.svd(M, full_matrices=False)
        return Factors(A=(U * S)[:, :rank], B=Vh[:rank])


best_low_rank = BestLowRank()


# %% wheat="rotated factors" exercise="best_low_rank"
def best_low_rank(M, rank):
    U, S, Vh = torch.linalg.svd(M, full_matrices=False)
    Q = torch.linalg.qr(torch.randn(rank, rank, dtype=M.dtype)).Q
    return (U[:, :rank] * S[:rank]) @ Q, Q.T @ Vh[:rank]


# %% wheat="index_select, clone, no_grad" exercise="best_low_rank"
@torch.no_grad()
def best_low_rank(M: torch.Tensor, rank: int = 1):
    U, S, Vh = torch.linalg.svd(M.clone())
    keep = torch.topk(S, rank).indices
    return U.index_select(1, keep).mul_(S[keep]), Vh.index_select(0, keep)


# %% wheat="loop of pieces concatenated" exercise="best_low_rank"
def best_low_rank(M, rank):
    U, S, Vh = torch.linalg.svd(M, full_matrices=False)
    A, B = [], []
    for i in range(rank):
        A.append((U[:, i] * S[i]).unsqueeze(1))
        B.append(Vh[i].unsqueeze(0))
    return torch.cat(A, dim=1), torch.cat(B, dim=0)


# %% chaff="QR" exercise="best_low_rank" misconception="first_columns"
def best_low_rank(M, rank):
    Q, R = torch.linalg.qr(M)
    return Q[:, :rank], R[:rank]


# %% chaff="first rows" exercise="best_low_rank" misconception="first_columns"
def best_low_rank(M, rank):
    B = M[:rank]
    return M @ torch.linalg.pinv(B), B


# %% chaff="U sliced by rows" exercise="best_low_rank" misconception="rows_of_u"
def best_low_rank(M, rank):
    U, S, Vh = torch.linalg.svd(M, full_matrices=False)
    return U[:rank] * S, Vh[:rank]


# %% chaff="all sliced first axis" exercise="best_low_rank" misconception="rows_of_u"
def best_low_rank(M, rank):
    U, S, Vh = torch.linalg.svd(M, full_matrices=False)
    return U[:rank] @ torch.diag(S[:rank]), Vh[:rank]


# %% chaff="rank + 1" exercise="best_low_rank" misconception=""
def best_low_rank(M, rank):
    U, S, Vh = torch.linalg.svd(M, full_matrices=False)
    return U[:, : rank + 1] * S[: rank + 1], Vh[: rank + 1]


# %% chaff="rank - 1" exercise="best_low_rank" misconception=""
def best_low_rank(M, rank):
    U, S, Vh = torch.linalg.svd(M, full_matrices=False)
    return U[:, : rank - 1] * S[: rank - 1], Vh[: rank - 1]


# %% chaff="hard-coded rank two" exercise="best_low_rank" misconception=""
def best_low_rank(M, rank):
    U, S, Vh = torch.linalg.svd(M, full_matrices=False)
    return U[:, :2] * S[:2], Vh[:2]


# %% chaff="S scaled wrong axis" exercise="best_low_rank" misconception="values_along_another_axis"
def best_low_rank(M, rank):
    U, S, Vh = torch.linalg.svd(M, full_matrices=False)
    return U[:, :rank], S[:rank] * Vh[:rank]


# %% chaff="Vh scaled before it is sliced" exercise="best_low_rank" misconception="values_along_another_axis"
def best_low_rank(M, rank):
    U, S, Vh = torch.linalg.svd(M, full_matrices=False)
    return U[:, :rank], (S * Vh)[:rank]


# %% chaff="full_matrices, U * S broadcast" exercise="best_low_rank" misconception="values_along_another_axis"
def best_low_rank(M, rank):
    U, S, Vh = torch.linalg.svd(M)
    A = (U * S)[:, :rank]
    return A, Vh[:rank]


# %% chaff="both transposed" exercise="best_low_rank" misconception="swapped"
def best_low_rank(M, rank):
    U, S, Vh = torch.linalg.svd(M, full_matrices=False)
    return (U[:, :rank] * S[:rank]).T, Vh[:rank].T


# %% chaff="eigenvectors of smallest" exercise="best_low_rank" misconception="smallest_kept"
def best_low_rank(M, rank):
    w, V = torch.linalg.eigh(M.T @ M)
    V = V[:, :rank]
    return M @ V, V.T


# %% chaff="pca, centred" exercise="best_low_rank" misconception="centred"
def best_low_rank(M, rank):
    centred = M - M.mean(0)
    U, S, Vh = torch.linalg.svd(centred, full_matrices=False)
    return U[:, :rank] * S[:rank], Vh[:rank]


# %% chaff="one power iteration" exercise="best_low_rank" misconception=""
def best_low_rank(M, rank):
    Q = torch.linalg.qr(M @ torch.randn(M.shape[1], rank, dtype=M.dtype)).Q
    return Q, Q.T @ M


# %% chaff="mutates M, restores nothing" exercise="best_low_rank" misconception="changed_input"
def best_low_rank(M, rank):
    columns, rows = [], []
    for _ in range(rank):
        U, S, Vh = torch.linalg.svd(M)
        columns.append(U[:, 0] * S[0])
        rows.append(Vh[0])
        M -= torch.outer(columns[-1], rows[-1])
    return torch.stack(columns, 1), torch.stack(rows)


# %% chaff="S from two eigh, signs apart" exercise="best_low_rank" misconception="signs_mixed"
def best_low_rank(M, rank):
    w, U = torch.linalg.eigh(M @ M.T)
    v, V = torch.linalg.eigh(M.T @ M)
    S = v.flip(0)[:rank].sqrt()
    return U.flip(1)[:, :rank] * S, V.flip(1)[:, :rank].T


# %% wheat="count of running shares" exercise="rank_for_energy"
def rank_for_energy(M, fraction):
    S = torch.linalg.svdvals(M)
    share = torch.cumsum(S**2, dim=0) / torch.sum(S**2)
    return int((share < fraction).sum().item()) + 1


# %% wheat="loop" exercise="rank_for_energy"
def rank_for_energy(M, fraction):
    _, S, _ = torch.linalg.svd(M)
    whole = (S**2).sum()
    held = 0.0
    for r, s in enumerate(S, start=1):
        held += s**2
        if held / whole >= fraction:
            return r


# %% wheat="while loop, norm of M" exercise="rank_for_energy"
def rank_for_energy(M, fraction):
    S = torch.svd(M)[1]
    r = 1
    while (S[:r] ** 2).sum() < fraction * torch.linalg.norm(M) ** 2:
        r += 1
    return r


# %% wheat="searchsorted, a 0-dimensional tensor" exercise="rank_for_energy"
def rank_for_energy(M, fraction):
    energy = torch.linalg.svdvals(M).square()
    return torch.searchsorted(energy.cumsum(0) / energy.sum(), fraction) + 1


# %% wheat="numpy searchsorted, a numpy int" exercise="rank_for_energy"
import numpy as np


def rank_for_energy(M, fraction):
    s = np.linalg.svd(M.numpy(), compute_uv=False)
    cumulative = np.cumsum(s**2) / np.sum(s**2)
    return np.searchsorted(cumulative, fraction) + 1


# %% wheat="numpy argmax" exercise="rank_for_energy"
import numpy as np


def rank_for_energy(M, fraction):
    s = np.linalg.svd(np.asarray(M), compute_uv=False)
    share = (s**2 / (s**2).sum()).cumsum()
    return int(np.argmax(share >= fraction)) + 1


# %% wheat="eigenvalues of MtM, sorted" exercise="rank_for_energy"
def rank_for_energy(M, fraction):
    E = torch.linalg.eigvalsh(M.T @ M).clamp(min=0).sort(descending=True).values
    return ((E.cumsum(0) / E.sum()) >= fraction).nonzero()[0] + 1


# %% wheat="eigenvalues of MMt from numpy" exercise="rank_for_energy"
import numpy as np


def rank_for_energy(M, fraction):
    m = M.numpy()
    energy = np.sort(np.linalg.eigvalsh(m @ m.T))[::-1]
    return 1 + sum(1 for c in energy.cumsum() / energy.sum() if c < fraction)


# %% wheat="what is left over" exercise="rank_for_energy"
def rank_for_energy(M, fraction):
    energy = [s.item() ** 2 for s in torch.linalg.svdvals(M)]
    total = sum(energy)
    return min(r for r in range(1, len(energy) + 1) if sum(energy[r:]) <= (1 - fraction) * total)


# %% wheat="norms compared" exercise="rank_for_energy"
import math


def rank_for_energy(M, fraction):
    S = torch.linalg.svdvals(M)
    for r in range(1, len(S) + 1):
        if S[:r].norm() >= math.sqrt(fraction) * M.norm():
            return r
    return len(S)


# %% wheat="a hair's breadth of rounding allowed" exercise="rank_for_energy"
def rank_for_energy(M, fraction):
    E = torch.linalg.svdvals(M.double()) ** 2
    return int((E.cumsum(0) / E.sum() >= fraction - 1e-9).to(torch.int).argmax()) + 1


# %% wheat="next over a generator" exercise="rank_for_energy"
def rank_for_energy(M, fraction):
    S = torch.linalg.matrix_norm(M) ** 2, torch.linalg.svdvals(M) ** 2
    return next(r for r in range(1, min(M.shape) + 1) if S[1][:r].sum() >= fraction * S[0])


# %% wheat="error of the truncated product" exercise="rank_for_energy"
def rank_for_energy(M, fraction):
    U, S, Vh = torch.linalg.svd(M, full_matrices=False)
    for r in range(1, len(S) + 1):
        if (((U[:, :r] * S[:r]) @ Vh[:r]) ** 2).sum() >= fraction * (M**2).sum() * (1 - 1e-6):
            return r


# %% wheat="what the best product misses" exercise="rank_for_energy"
def rank_for_energy(M, fraction):
    U, S, Vh = torch.linalg.svd(M, full_matrices=False)
    root = S.sqrt()
    for r in range(1, len(S) + 1):
        A, B = U[:, :r] * root[:r], root[:r, None] * Vh[:r]
        if torch.linalg.norm(M - A @ B) ** 2 <= (1 - fraction) * torch.linalg.norm(M) ** 2:
            return r


# %% wheat="a float without a fraction" exercise="rank_for_energy"
def rank_for_energy(M, fraction):
    E = torch.linalg.svdvals(M) ** 2
    return (E.cumsum(0) < fraction * E.sum()).float().sum() + 1


# %% chaff="loop that falls off its end" exercise="rank_for_energy" misconception="more_than_for_at_least"
def rank_for_energy(M, fraction):
    S = torch.linalg.svdvals(M)
    held = 0
    for r, s in enumerate(S, start=1):
        held += s**2
        if held / (S**2).sum() > fraction:
            return r


# %% chaff="more than, else all" exercise="rank_for_energy" misconception="more_than_for_at_least"
def rank_for_energy(M, fraction):
    S = torch.linalg.svdvals(M)
    for r in range(1, len(S) + 1):
        if (S[:r] ** 2).sum() > fraction * (S**2).sum():
            return r
    return len(S)


# %% chaff="more than, nonzero" exercise="rank_for_energy" misconception="more_than_for_at_least"
def rank_for_energy(M, fraction):
    E = torch.linalg.svdvals(M) ** 2
    return int((E.cumsum(0) / E.sum() > fraction).nonzero()[0]) + 1


# %% chaff="more than, argmax" exercise="rank_for_energy" misconception="more_than_for_at_least"
import numpy as np


def rank_for_energy(M, fraction):
    s = np.linalg.svd(M.numpy(), compute_uv=False)
    return int(np.argmax(np.cumsum(s**2) / np.sum(s**2) > fraction)) + 1


# %% chaff="searchsorted from the right" exercise="rank_for_energy" misconception="more_than_for_at_least"
def rank_for_energy(M, fraction):
    E = torch.linalg.svdvals(M) ** 2
    return int(torch.searchsorted(E.cumsum(0) / E.sum(), fraction, right=True)) + 1


# %% chaff="not squared, in a loop" exercise="rank_for_energy" misconception="not_squared"
def rank_for_energy(M, fraction):
    S = torch.linalg.svdvals(M)
    r = 1
    while S[:r].sum() < fraction * S.sum():
        r += 1
    return r


# %% chaff="argmax without the one" exercise="rank_for_energy" misconception="off_by_one"
import numpy as np


def rank_for_energy(M, fraction):
    s = np.linalg.svd(M.numpy(), compute_uv=False)
    return np.argmax(np.cumsum(s**2) / np.sum(s**2) >= fraction)


# %% chaff="index of enumerate from 0" exercise="rank_for_energy" misconception="off_by_one"
def rank_for_energy(M, fraction):
    S = torch.linalg.svdvals(M)
    held = 0
    for i, s in enumerate(S):
        held += s**2
        if held >= fraction * (S**2).sum():
            return i


# %% chaff="one more, capped" exercise="rank_for_energy" misconception="one_too_many"
def rank_for_energy(M, fraction):
    E = torch.linalg.svdvals(M) ** 2
    return min(int((E.cumsum(0) < fraction * E.sum()).sum()) + 2, len(E))


# %% chaff="numpy count" exercise="rank_for_energy" misconception="values_above_share_of_largest"
import numpy as np


def rank_for_energy(M, fraction):
    s = np.linalg.svd(M.numpy(), compute_uv=False)
    return np.sum(s >= fraction * s.max())


# %% chaff="at least the fraction" exercise="rank_for_energy" misconception="values_above_fraction"
def rank_for_energy(M, fraction):
    return (torch.linalg.svdvals(M) >= fraction).sum()


# %% chaff="eigvalsh added up from below" exercise="rank_for_energy" misconception="smallest_first"
def rank_for_energy(M, fraction):
    m = M if M.shape[0] >= M.shape[1] else M.T
    E = torch.linalg.eigvalsh(m.T @ m)
    return int((E.cumsum(0) / E.sum() < fraction).sum()) + 1


# %% chaff="rank of M" exercise="rank_for_energy" misconception=""
def rank_for_energy(M, fraction):
    return int(torch.linalg.matrix_rank(M))


# %% chaff="always one" exercise="rank_for_energy" misconception=""
def rank_for_energy(M, fraction):
    return 1


# %% chaff="the share in place of the rank" exercise="rank_for_energy" misconception=""
def rank_for_energy(M, fraction):
    E = torch.linalg.svdvals(M) ** 2
    share = E.cumsum(0) / E.sum()
    return float(share[share >= fraction][0])


# %% chaff="entries of M in place of singular values" exercise="rank_for_energy" misconception=""
def rank_for_energy(M, fraction):
    E = (M.flatten() ** 2).sort(descending=True).values
    return int((E.cumsum(0) < fraction * E.sum()).sum()) + 1


# %% chaff="columns of M in place of singular values" exercise="rank_for_energy" misconception=""
def rank_for_energy(M, fraction):
    E = (M**2).sum(0).sort(descending=True).values
    return int((E.cumsum(0) < fraction * E.sum() - 1e-6).sum()) + 1


# %% chaff="all running shares" exercise="rank_for_energy" misconception=""
def rank_for_energy(M, fraction):
    E = torch.linalg.svdvals(M) ** 2
    return E.cumsum(0) / E.sum()


# %% chaff="eigenvalues of a matrix that is not square" exercise="rank_for_energy" misconception=""
def rank_for_energy(M, fraction):
    E = torch.linalg.eigvals(M).abs() ** 2
    return int((E.cumsum(0) / E.sum() < fraction).sum()) + 1


# %% chaff="a word" exercise="rank_for_energy" misconception=""
def rank_for_energy(M, fraction):
    return "rank"


# %% chaff="prints" exercise="rank_for_energy" misconception="returned_none"
def rank_for_energy(M, fraction):
    print(fraction)


# %% wheat="bisect" exercise="rank_for_energy"
import numpy as np


def rank_for_energy(M, fraction):
    from bisect import bisect_left

    held = np.cumsum(np.linalg.svd(M.numpy())[1] ** 2)
    return bisect_left(list(held), fraction * held[-1]) + 1


# %% wheat="from the end" exercise="rank_for_energy"
def rank_for_energy(M, fraction):
    E = torch.linalg.svdvals(M) ** 2
    r = len(E)
    while r > 1 and E[: r - 1].sum() >= fraction * E.sum():
        r -= 1
    return r


# %% wheat="count from above" exercise="rank_for_energy"
def rank_for_energy(M, fraction):
    E = torch.linalg.svdvals(M) ** 2
    share = E.cumsum(0) / E.sum()
    return len(E) - (share >= fraction).sum().item() + 1


# %% wheat="lower triangular matmul" exercise="rank_for_energy"
def rank_for_energy(M, fraction):
    E = torch.linalg.svdvals(M) ** 2
    held = torch.tril(torch.ones(len(E), len(E), dtype=M.dtype)) @ E
    return int(torch.where(held >= fraction * held[-1])[0].min()) + 1


# %% wheat="trace of the Gram matrix" exercise="rank_for_energy"
def rank_for_energy(M, fraction):
    G = M.T @ M if M.shape[0] > M.shape[1] else M @ M.T
    E = torch.linalg.eigvalsh(G).flip(0)
    return float((E.cumsum(0) < fraction * torch.trace(G)).sum() + 1)


# %% wheat="takewhile" exercise="rank_for_energy"
def rank_for_energy(M, fraction):
    import itertools

    E = torch.linalg.svdvals(M) ** 2
    return len(list(itertools.takewhile(lambda h: h < fraction * E.sum(), E.cumsum(0)))) + 1


# %% chaff="squared sum over unsquared norm" exercise="rank_for_energy" misconception="whole_not_squared"
def rank_for_energy(M, fraction):
    E = torch.linalg.svdvals(M) ** 2
    return int((E.cumsum(0) < fraction * M.norm()).sum()) + 1


# %% chaff="norm, capped" exercise="rank_for_energy" misconception="whole_not_squared"
def rank_for_energy(M, fraction):
    S = torch.linalg.svdvals(M)
    held = 0
    for r, s in enumerate(S, 1):
        held += s**2
        if held / torch.linalg.norm(M) >= fraction:
            return r
    return len(S)


# %% chaff="running sum alone, loop" exercise="rank_for_energy" misconception="not_divided_by_the_whole"
def rank_for_energy(M, fraction):
    held = 0
    for r, s in enumerate(torch.linalg.svdvals(M), 1):
        held += s**2
        if held >= fraction:
            return r


# %% chaff="running sum alone, next" exercise="rank_for_energy" misconception="not_divided_by_the_whole"
def rank_for_energy(M, fraction):
    E = torch.linalg.svdvals(M).square().cumsum(0)
    return next(r for r, held in enumerate(E, 1) if held >= fraction)


# %% chaff="sum then squared" exercise="rank_for_energy" misconception=""
def rank_for_energy(M, fraction):
    S = torch.linalg.svdvals(M)
    return int((S.cumsum(0) ** 2 < fraction * S.sum() ** 2).sum()) + 1


# %% chaff="not squared and more than" exercise="rank_for_energy" misconception=""
def rank_for_energy(M, fraction):
    S = torch.linalg.svdvals(M)
    held = 0
    for r, s in enumerate(S, 1):
        held += s
        if held > fraction * S.sum():
            return r
    return len(S)


# %% chaff="list of ranks" exercise="rank_for_energy" misconception=""
def rank_for_energy(M, fraction):
    E = torch.linalg.svdvals(M) ** 2
    return [r + 1 for r in range(len(E)) if E[: r + 1].sum() >= fraction * E.sum()]


# %% chaff="mutates M by normalising" exercise="rank_for_energy" misconception="changed_input"
def rank_for_energy(M, fraction):
    M /= M.norm()
    E = torch.linalg.svdvals(M) ** 2
    return int((E.cumsum(0) < fraction * E.sum()).sum()) + 1


# %% chaff="infinity" exercise="rank_for_energy" misconception=""
def rank_for_energy(M, fraction):
    return float("inf")


# %% wheat="recursion, one piece at a time" exercise="best_low_rank"
def best_low_rank(M, rank):
    if rank == 0:
        return M.new_zeros(M.shape[0], 0), M.new_zeros(0, M.shape[1])
    U, S, Vh = torch.linalg.svd(M)
    u, s, v = U[:, :1], S[0], Vh[:1]
    A, B = best_low_rank(M - s * u @ v, rank - 1)
    return torch.hstack([s * u, A]), torch.vstack([v, B])


# %% wheat="least squares for the second factor" exercise="best_low_rank"
def best_low_rank(M, rank):
    U = torch.linalg.svd(M)[0][:, :rank]
    return U, torch.linalg.lstsq(U, M).solution


# %% chaff="a generator" exercise="best_low_rank" misconception=""
def best_low_rank(M, rank):
    U, S, Vh = torch.linalg.svd(M, full_matrices=False)
    return (t for t in (U[:, :rank] * S[:rank], Vh[:rank]))


# %% chaff="A alone" exercise="best_low_rank" misconception=""
def best_low_rank(M, rank):
    U, S, Vh = torch.linalg.svd(M, full_matrices=False)
    return U[:, :rank] * S[:rank]


# %% wheat="decimals" exercise="rank_for_energy"
from decimal import Decimal
def rank_for_energy(M, fraction):
    squares = [Decimal(s) ** 2 for s in torch.linalg.svdvals(M.double()).tolist()]
    goal = Decimal(fraction) * sum(squares) * (1 - Decimal(10) ** -12)
    return min(r for r in range(1, len(squares) + 1) if sum(squares[:r]) >= goal)


# %% wheat="recursion" exercise="rank_for_energy"
def rank_for_energy(M, fraction, r=1):
    S = torch.linalg.svdvals(M)
    return r if r == len(S) or (S[:r] ** 2).sum() / (S ** 2).sum() >= fraction else rank_for_energy(M, fraction, r + 1)


# %% chaff="the number as text" exercise="rank_for_energy" misconception=""
def rank_for_energy(M, fraction):
    E = torch.linalg.svdvals(M) ** 2
    return str(int((E.cumsum(0) / E.sum() < fraction).sum()) + 1)


# %% chaff="a range that ends too early" exercise="rank_for_energy" misconception=""
def rank_for_energy(M, fraction):
    S = torch.linalg.svdvals(M)
    for r in range(1, len(S)):
        if (S[:r] ** 2).sum() >= fraction * (S ** 2).sum():
            return r


# %% chaff="torch.pca_lowrank, which centres" exercise="best_low_rank" misconception="centred"
def best_low_rank(M, rank):
    U, S, V = torch.pca_lowrank(M, q=rank)
    return U * S, V.T


# %% chaff="V of torch.svd, reshaped" exercise="best_low_rank" misconception="view_for_transpose"
def best_low_rank(M, rank):
    U, S, V = torch.svd(M)
    return U[:, :rank] * S[:rank], V[:, :rank].reshape(rank, -1)


# %% chaff="lists of numbers" exercise="best_low_rank" misconception=""
def best_low_rank(M, rank):
    U, S, Vh = torch.linalg.svd(M, full_matrices=False)
    return (U[:, :rank] * S[:rank]).tolist(), Vh[:rank].tolist()


# %% chaff="factors in half precision" exercise="best_low_rank" misconception=""
def best_low_rank(M, rank):
    U, S, Vh = torch.linalg.svd(M, full_matrices=False)
    return (U[:, :rank] * S[:rank]).half(), Vh[:rank].half()


# %% chaff="what the product misses, not squared" exercise="rank_for_energy" misconception="error_not_squared"
def rank_for_energy(M, fraction):
    U, S, Vh = torch.linalg.svd(M, full_matrices=False)
    for r in range(1, len(S) + 1):
        if torch.norm(M - (U[:, :r] * S[:r]) @ Vh[:r]) / torch.norm(M) <= 1 - fraction:
            return r


# %% chaff="U taken for the singular values" exercise="rank_for_energy" misconception=""
def rank_for_energy(M, fraction):
    S, _, _ = torch.linalg.svd(M)
    E = S ** 2
    return int((E.cumsum(0) / E.sum() < fraction).sum()) + 1


# %% chaff="every position that reaches it" exercise="rank_for_energy" misconception=""
def rank_for_energy(M, fraction):
    E = torch.linalg.svdvals(M) ** 2
    return (E.cumsum(0) / E.sum() >= fraction).nonzero() + 1


# %% wheat="QR of the projected matrix" exercise="best_low_rank"
def best_low_rank(M, rank):
    _, _, Vh = torch.linalg.svd(M, full_matrices=False)
    Q, R = torch.linalg.qr(M @ Vh[:rank].mH)
    return Q, R @ Vh[:rank]


# %% wheat="what is left over, added up from the end" exercise="rank_for_energy"
def rank_for_energy(M, fraction):
    s2 = torch.linalg.svdvals(M).pow(2)
    tail = s2.flip(0).cumsum(0).flip(0)
    return 1 + int(((tail[1:]) > (1 - fraction) * tail[0]).sum())


# %% wheat="svd_lowrank in float64, cached" exercise="best_low_rank"
import functools


@functools.lru_cache(maxsize=None)
def _parts(M, rank):
    return torch.svd_lowrank(M.double(), q=min(M.shape), niter=10)


def best_low_rank(M, rank, *, dtype=None):
    U, S, V = _parts(M, rank)
    keep = S.argsort(descending=True)[:rank]
    return (U[:, keep] @ S[keep].diag()).to(dtype or M.dtype), V[:, keep].t().to(dtype or M.dtype)


# %% wheat="projected onto the first rows of Vh" exercise="best_low_rank"
def best_low_rank(M, rank):
    V = torch.linalg.svd(M, full_matrices=False).Vh[:rank].mH
    return M @ V, V.mH


# %% wheat="a while loop with a walrus" exercise="rank_for_energy"
def rank_for_energy(M, fraction):
    E, held, r = torch.linalg.svdvals(M.double()).square(), 0.0, 0
    while (held := held + E[r].item()) < fraction * E.sum().item() - 1e-9 * E.sum().item():
        r += 1
    return r + 1


# %% wheat="accumulate and min with a default" exercise="rank_for_energy"
from itertools import accumulate


def rank_for_energy(M, fraction):
    s = [v * v for v in np.linalg.svd(M.numpy().astype("float64"), compute_uv=False).tolist()]
    total = math.fsum(s)
    return min((r for r, held in enumerate(accumulate(s), start=1) if held >= fraction * total * (1 - 1e-9)), default=len(s))


# %% chaff="shares in percent" exercise="rank_for_energy" misconception=""
def rank_for_energy(M, fraction):
    S = torch.linalg.svdvals(M) ** 2
    held = 100 * S.cumsum(0) / S.sum()
    return int((held < fraction).sum()) + 1
