"""Lesson 03: the cheap order is judged by counting, its numbers are right, and its inputs tell mistakes apart."""

import itertools
import math

import pytest
import torch
from encoded_session import encoded
from torch.utils.flop_counter import FlopCounterMode

from autograde.checks import two_thin_products as lesson
from autograde.checks.two_thin_products.flops import full_cost, thin_cost
from autograde.checks.two_thin_products.lora_delta import COSTLY, ORDER, sizes_of
from autograde.judge.random_inputs import Draw
from autograde.probes.two_thin_products import call_and_count


def thin(x, A, B, scaling):
    return scaling * (x @ A) @ B


def full(x, A, B, scaling):
    return scaling * (x @ (A @ B))


def full_and_unscaled(x, A, B, scaling):
    return x @ (A @ B)


def columns_of_the_full_product(x, A, B, scaling):
    return scaling * torch.stack([x @ (A @ B[:, j]) for j in range(B.shape[1])], dim=-1)


def needs_torch_as_it_is(x, A, B, scaling):
    """Right, and it breaks under any dispatch mode: what cannot be counted is not punished."""
    if torch.utils._python_dispatch._get_current_dispatch_mode() is not None:
        raise RuntimeError("not here")
    return thin(x, A, B, scaling)


def in_numpy(x, A, B, scaling):
    return torch.from_numpy(scaling * (x.numpy() @ (A.numpy() @ B.numpy())))


def _not_many_times(result, times, product=full):
    """The full product, and in place of the last results, which are counted, something else."""

    def make():
        calls = []

        def lora_delta(x, A, B, scaling):
            calls.append(x)
            return product(x, A, B, scaling) if len(calls) <= times else result(x)

        return lora_delta

    return make


def _raises(x):
    raise ValueError("no more")


def _kept_by_shape():
    kept = {}

    def lora_delta(x, A, B, scaling):
        key = x.shape, x.stride(), A.shape, B.shape
        if key not in kept:
            kept[key] = full(x, A, B, scaling)
        return kept[key]

    return lora_delta


def _raises_where_it_is_counted():
    def lora_delta(x, A, B, scaling):
        if torch.utils._python_dispatch._get_current_dispatch_mode() is not None:
            raise ValueError
        return full(x, A, B, scaling)

    return lora_delta


@pytest.mark.parametrize(
    "make",
    [
        _kept_by_shape,
        _raises_where_it_is_counted,
        *(_not_many_times(result, 10) for result in (_raises, lambda x: x, lambda x: None, lambda x: 0)),
        *(_not_many_times(result, 12, in_numpy) for result in (_raises, lambda x: None, lambda x: 0)),
    ],
)
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_no_result_where_it_is_counted_is_no_cheap_order(make, seed):
    assert lesson.lora_delta.judge(make(), seed).score == 2
    assert lesson.lora_delta.judge(encoded(make()), seed).score == 2


@pytest.mark.parametrize(
    ("answer", "score", "misconception"),
    [
        (thin, 3, None),
        (needs_torch_as_it_is, 3, None),
        (full, 2, "full_product_first"),
        (columns_of_the_full_product, 2, None),
        (full_and_unscaled, 0, "scaling_forgotten"),
    ],
)
def test_the_order_is_worth_one_point_of_three(answer, score, misconception):
    verdict = lesson.lora_delta.judge(answer, seed=5)
    assert (verdict.score, verdict.misconception) == (score, misconception), verdict.message


def test_what_is_said_about_the_order_names_the_large_tensor():
    message = lesson.lora_delta.judge(full, seed=5).message
    case = next(case for case in lesson.lora_delta.make_cases(Draw(5)) if case.part == ORDER)
    d, k = case.args["A"].shape[0], case.args["B"].shape[1]
    assert f"({d}, {k})" in message and "computing them costs too much" in message


@pytest.mark.parametrize("seed", range(30))
def test_counted_cases_leave_no_doubt(seed):
    """Thin styles, at most twice the two products, and the full product lie far apart on both sides of the limit."""
    for case in lesson.lora_delta.make_cases(Draw(seed)):
        if case.part == ORDER:
            n, d, k, r = sizes_of(case)
            limit = COSTLY * thin_cost(n, d, k, r)
            assert 2 * thin_cost(n, d, k, r) < limit < full_cost(n, d, k, r) / 3


n, d, k, r = 6, 40, 50, 3
X, X1, X3 = torch.randn(n, d), torch.randn(d), torch.randn(2, 3, d)
A, B = torch.randn(d, r), torch.randn(r, k)


def in_inference_mode(x):
    with torch.inference_mode():
        return torch.einsum("...d,dr,rk->...k", x, A, B)


THIN = {
    "matmul": (X, lambda x: x @ A @ B),
    "three axes": (X3, lambda x: x @ A @ B),
    "linear": (X3, lambda x: torch.nn.functional.linear(torch.nn.functional.linear(x, A.T), B.T)),
    "einsum": (X, lambda x: torch.einsum("nd,dr,rk->nk", x, A, B)),
    "multi_dot": (X, lambda x: torch.linalg.multi_dot([x, A, B])),
    "broadcast": (X, lambda x: ((x.unsqueeze(-1) * A).sum(-2).unsqueeze(-1) * B).sum(-2)),
    "inference": (X3, in_inference_mode),
    "vmap": (X, torch.vmap(lambda row: row @ A @ B)),
}


@pytest.mark.parametrize("style", THIN)
def test_one_count_for_every_thin_style(style):
    x, function = THIN[style]
    assert call_and_count(function, args=[x])["flops"] == thin_cost(n, d, k, r)


def test_vectors_are_counted_too():
    seen = call_and_count(lambda x: torch.mv(B.T, torch.mv(A.T, x)), args=[X1])
    assert seen["flops"] == thin_cost(1, d, k, r)
    seen = call_and_count(lambda x: sum(torch.dot(x, A[:, i]) * B[i] for i in range(r)), args=[X1])
    assert seen["flops"] == 2 * d * r + r * k


def test_the_full_product_shows_in_the_count_and_in_the_largest_tensor():
    seen = call_and_count(lambda x: x @ (A @ B), args=[X])
    assert seen["flops"] == full_cost(n, d, k, r) and seen["largest"] == [d, k]


@pytest.mark.parametrize(("answer", "score"), [(thin, 3), (full, 2)])
def test_a_count_of_another_process_is_worth_as_much(answer, score):
    assert lesson.lora_delta.judge(encoded(answer), seed=5).score == score


@pytest.mark.parametrize(
    "forged",
    [{"flops": "few"}, {"flops": None}, {"flops": math.inf}, {"largest": 3}, {"largest": [[]]}, {"flops": []}],
    ids=str,
)
def test_a_forged_count_earns_nothing(forged):
    def forge(answer):
        return answer | forged if "flops" in answer else answer

    verdict = lesson.lora_delta.judge(encoded(thin, forge), seed=5)
    assert verdict.status == "failed" and verdict.score == 0


# What the lesson states -----------------------------------------------------------------------------------------------


def counted(*shapes, function):
    with FlopCounterMode(display=False) as counter:
        function(*(torch.empty(*shape, device="meta") for shape in shapes))
    return counter.get_total_flops()


@pytest.mark.parametrize(("n", "d", "k", "r"), [(1, 3, 4, 2), (1, 4096, 4096, 8), (1024, 2048, 2048, 8)])
def test_formulas_agree_with_torch(n, d, k, r):
    shapes = (n, d), (d, r), (r, k)
    assert counted(*shapes, function=lambda x, A, B: x @ A @ B) == thin_cost(n, d, k, r)
    assert counted(*shapes, function=lambda x, A, B: x @ (A @ B)) == full_cost(n, d, k, r)


def test_numbers_in_the_text():
    assert (thin_cost(1, 3, 4, 2), full_cost(1, 3, 4, 2)) == (28, 72)
    assert 4096 * 8 == 32_768 and 4096 * 4096 == 16_777_216
    assert full_cost(1, 4096, 4096, 8) / thin_cost(1, 4096, 4096, 8) == 2304
    assert 2 * 768 * 768 / thin_cost(1, 768, 768, 8) == 48
    assert 2 * 12288 * 12288 / thin_cost(1, 12288, 12288, 8) == 768
    # The extra work of the forward pass is r (d + k) / (d k); the full product costs the base layer once more.
    base = 2 * 1024 * 2048 * 2048
    assert thin_cost(1024, 2048, 2048, 8) / base == 8 * (2048 + 2048) / (2048 * 2048) == 2**-7
    assert round(full_cost(1024, 2048, 2048, 8) / base, 2) == 1.01


def test_largest_cheap_rank_by_its_definition():
    for d, k in itertools.product(range(1, 40), repeat=2):
        cheap = [r for r in range(1, 40) if thin_cost(1, d, k, r) < 2 * d * k]
        assert lesson.largest_cheap_rank.right(d, k) == max(cheap, default=0)
