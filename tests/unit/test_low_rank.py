"""Lesson 01: what its checks rest on, and the numbers that its text states."""

import numpy as np
import torch

from autograde.checks import low_rank
from autograde.judge.random_inputs import Draw


def _ways_to_singular_values(M):
    yield torch.linalg.svdvals(M)
    yield torch.linalg.svd(M)[1]
    yield torch.linalg.svd(M, full_matrices=False)[1]
    yield torch.svd(M)[1]
    yield torch.from_numpy(np.linalg.svd(M.numpy(), compute_uv=False))
    yield torch.from_numpy(np.linalg.svd(M.numpy())[1])
    for square in (M.T @ M, M @ M.T):
        yield torch.linalg.eigvalsh(square).clamp_min(0).sqrt().flip(0)
        yield torch.linalg.eigh(square)[0].clamp_min(0).sqrt().flip(0)


def _ways_to_compare(S, M, fraction):
    energy = S**2
    yield energy.cumsum(0) / energy.sum() < fraction
    yield energy.cumsum(0) / energy.cumsum(0)[-1] < fraction
    yield (energy / energy.sum()).cumsum(0) < fraction
    yield energy.cumsum(0) < fraction * torch.linalg.norm(M) ** 2
    yield energy.cumsum(0).sqrt() < fraction**0.5 * torch.linalg.norm(M)
    yield energy.sum() - energy.cumsum(0) > (1 - fraction) * energy.sum()
    yield torch.stack([S[r:].norm() ** 2 for r in range(1, len(S) + 1)]) > (1 - fraction) * torch.linalg.norm(M) ** 2


def test_no_rounding_decides_a_case():
    for seed in range(40):
        for case in low_rank.rank_for_energy.make_cases(Draw(seed)):
            expected = low_rank.rank_for_energy.expected(case)
            for S in _ways_to_singular_values(case.args["M"]):
                for short in _ways_to_compare(S, **case.args):
                    assert int(short.sum()) + 1 == expected, case.label


def test_library_approximations_pass():
    """`torch.svd_lowrank` at its defaults is random and inexact, and still no farther from M than `MARGIN` allows."""

    def best_low_rank(M, rank):
        U, S, V = torch.svd_lowrank(M, q=min(rank + 4, *M.shape))
        return U[:, :rank] * S[:rank], V[:, :rank].T

    assert all(low_rank.best_low_rank.judge(best_low_rank, seed).passed for seed in range(40))


def test_worked_example():
    u1, v1 = torch.tensor([1.0, 2.0, 2.0]).double() / 3, torch.tensor([3.0, 4.0]).double() / 5
    u2, v2 = torch.tensor([2.0, 1.0, -2.0]).double() / 3, torch.tensor([4.0, -3.0]).double() / 5
    T = 30 * torch.outer(u1, v1) + 15 * torch.outer(u2, v2)
    assert torch.allclose(T, torch.tensor([[14.0, 2.0], [16.0, 13.0], [4.0, 22.0]]).double())
    assert torch.allclose(torch.linalg.svdvals(T), torch.tensor([30.0, 15.0]).double())
    assert torch.allclose(torch.linalg.norm(T) ** 2, torch.tensor(1125.0).double())
