"""The functions on bare tensors and bare numbers: formulas, counts, and low-rank approximation."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from lora_ref import (
    LoRALinear,
    best_low_rank,
    count_parameters,
    flops_full,
    flops_thin,
    largest_cheap_rank,
    largest_rank_within,
    linear_by_hand,
    lora_delta,
    lora_parameters,
    rank_for_energy,
    reduction,
    to_linear_weights,
    training_bytes,
)

leads = st.lists(st.integers(0, 3), max_size=3).map(tuple)
dims = st.integers(1, 300)


# Formulas


@settings(max_examples=40, deadline=None)
@given(leads, st.integers(1, 9), st.integers(1, 9), st.booleans())
def test_linear_by_hand(lead, d, k, bias):
    linear, x = nn.Linear(d, k, bias=bias, dtype=torch.float64), torch.randn(*lead, d, dtype=torch.float64)
    torch.testing.assert_close(linear_by_hand(x, linear.weight, linear.bias), linear(x))


@settings(max_examples=40, deadline=None)
@given(leads, st.integers(1, 9), st.integers(1, 9), st.integers(1, 4), st.floats(-9, 9))
def test_lora_delta_and_the_two_linears_that_compute_it(lead, d, k, r, scaling):
    x, A, B = (torch.randn(shape, dtype=torch.float64) for shape in ((*lead, d), (d, r), (r, k)))
    want = scaling * torch.einsum("...d,dr,rk->...k", x, A, B)
    torch.testing.assert_close(lora_delta(x, A, B, scaling), want)
    down, up = to_linear_weights(A, B)
    assert (down.shape, up.shape) == ((r, d), (k, r)) and down.is_contiguous() and up.is_contiguous()
    torch.testing.assert_close(scaling * nn.functional.linear(nn.functional.linear(x, down), up), want)


def test_lora_delta_never_forms_the_full_product():
    n, d, k, r = 11, 30, 50, 3
    with FlopCounterMode(display=False) as counter:
        lora_delta(torch.randn(n, d), torch.randn(d, r), torch.randn(r, k), 2.0)
    assert counter.get_total_flops() == flops_thin(n, d, k, r)


# Counts


@given(dims, dims, st.integers(1, 20), st.integers(0, 100_000))
def test_largest_rank_within_is_the_largest(d, k, r, budget):
    best = largest_rank_within(d, k, budget)
    assert best >= 0 and lora_parameters(d, k, best) <= budget < lora_parameters(d, k, best + 1)
    assert largest_rank_within(d, k, lora_parameters(d, k, r)) == r
    assert largest_rank_within(d, k, lora_parameters(d, k, r) - 1) == r - 1


@given(dims, dims)
def test_largest_cheap_rank_is_the_largest(d, k):
    best = largest_cheap_rank(d, k)
    assert best >= 0 and best * (d + k) < d * k <= (best + 1) * (d + k)


@given(dims, dims, st.integers(1, 20))
def test_reduction(d, k, r):
    assert isinstance(reduction(d, k, r), float)
    assert reduction(d, k, r) == pytest.approx(d * k / (d * r + r * k))


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 40), st.integers(1, 40), st.integers(1, 40), st.integers(1, 9))
def test_flops_are_what_torch_counts(n, d, k, r):
    x, A, B = torch.randn(n, d), torch.randn(d, r), torch.randn(r, k)
    with FlopCounterMode(display=False) as thin:
        (x @ A) @ B
    with FlopCounterMode(display=False) as full:
        x @ (A @ B)
    assert (flops_thin(n, d, k, r), flops_full(n, d, k, r)) == (thin.get_total_flops(), full.get_total_flops())


def test_published_numbers():
    assert (lora_parameters(4096, 4096, 8), reduction(4096, 4096, 8)) == (65_536, 256.0)
    assert lora_parameters(5_000, 10_000, 8) == 120_000
    assert reduction(5_000, 10_000, 8) == pytest.approx(416.7, abs=0.04)
    assert 96 * 2 * lora_parameters(12_288, 12_288, 4) == 18_874_368  # GPT-3, q and v of 96 layers
    assert 24 * 2 * lora_parameters(1_024, 1_024, 4) == 393_216  # GPT-2 medium
    assert 12 * 2 * lora_parameters(768, 768, 8) == 294_912  # RoBERTa base


@given(st.integers(1, 30), st.integers(1, 30), st.booleans())
def test_count_parameters_of_a_layer(d, k, bias):
    layer = LoRALinear(nn.Linear(d, k, bias=bias), rank=min(d, k, 4))
    adapter = lora_parameters(d, k, min(d, k, 4))
    assert count_parameters(layer) == (adapter, adapter + d * k + bias * k)


def test_shared_parameters_count_once_and_buffers_not_at_all():
    model = nn.Sequential(nn.Embedding(11, 6), nn.Linear(6, 11, bias=False), nn.BatchNorm1d(11, affine=False))
    model[1].weight = model[0].weight
    assert count_parameters(model) == (66, 66)
    model[0].weight.requires_grad_(False)
    assert count_parameters(model) == (0, 66)
    assert count_parameters(nn.ReLU()) == (0, 0)


@pytest.mark.parametrize("dtype, width", [(torch.float32, 4), (torch.float64, 8), (torch.bfloat16, 2)])
def test_training_bytes_are_what_adam_holds(dtype, width):
    layer = LoRALinear(nn.Linear(30, 20, dtype=dtype), rank=4)
    optimiser = torch.optim.Adam(layer.parameters())
    layer(torch.randn(3, 30, dtype=dtype)).sum().backward()
    optimiser.step()
    held = [*layer.parameters(), *(p.grad for p in layer.parameters() if p.grad is not None)]
    for state in optimiser.state.values():
        held += [state["exp_avg"], state["exp_avg_sq"]]
    trainable, total = count_parameters(layer)
    assert training_bytes(total, trainable, width) == sum(t.numel() * t.element_size() for t in held)
    assert training_bytes(total, trainable) == training_bytes(total, trainable, 4)


# Low rank


@pytest.mark.parametrize("shape", [(9, 6), (6, 9), (5, 5)])
@pytest.mark.parametrize("rank", [1, 3, 5])
def test_best_low_rank_is_the_best(shape, rank):
    M = torch.randn(shape, dtype=torch.float64)
    A, B = best_low_rank(M, rank)
    assert (A.shape, B.shape) == ((shape[0], rank), (rank, shape[1]))
    rest = torch.linalg.svdvals(M)[rank:]
    torch.testing.assert_close(torch.linalg.norm(M - A @ B), torch.linalg.norm(rest))  # the theorem's minimum


def test_best_low_rank_finds_a_matrix_of_low_rank_again():
    M = torch.randn(40, 3) @ torch.randn(3, 30)
    A, B = best_low_rank(M, 3)
    torch.testing.assert_close(A @ B, M, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("rank", [0, -1, 6])
def test_best_low_rank_refuses_an_impossible_rank(rank):
    with pytest.raises(ValueError, match="rank must be from 1 to 5"):
        best_low_rank(torch.randn(5, 8), rank)


@pytest.mark.parametrize(
    "fraction, rank", [(1e-9, 1), (0.64, 1), (0.65, 2), (0.96, 2), (0.97, 3), (0.99999, 3), (1.0, 3)]
)
def test_rank_for_energy(fraction, rank):
    """Singular values 8, sqrt(32), 2: squared 64, 32 and 4 of 100."""
    U, _ = torch.linalg.qr(torch.randn(6, 3, dtype=torch.float64))
    V, _ = torch.linalg.qr(torch.randn(4, 3, dtype=torch.float64))
    energy = torch.tensor([64.0, 32.0, 4.0], dtype=torch.float64)
    nearly = fraction - 1e-12 if fraction in (0.64, 0.96) else fraction  # the random bases round
    assert rank_for_energy((U * energy.sqrt()) @ V.T, nearly) == rank


def test_rank_for_energy_of_exact_values_takes_the_equal_case():
    assert rank_for_energy(torch.eye(4), 0.5) == 2
    assert rank_for_energy(torch.eye(4), 1.0) == 4
    assert rank_for_energy(torch.zeros(4, 3), 1.0) == 1


@pytest.mark.parametrize("fraction", [0, -0.1, 1.01, float("nan")])
def test_rank_for_energy_refuses_what_is_no_fraction(fraction):
    with pytest.raises(ValueError, match="above 0 and at most 1"):
        rank_for_energy(torch.eye(3), fraction)
