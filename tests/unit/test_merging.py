"""Lesson 06: partial credit, forged answers, and the numbers that the lesson states."""

import inspect
from pathlib import Path

import jupytext
import pytest
import torch
from encoded_session import encoded
from torch import nn

import lora_ref
from autograde.checks import merging
from autograde.checks.merging.given import SOURCE
from autograde.judge.random_inputs import Draw
from autograde.lesson_kit.merging import switch_customers

ROOT = Path(__file__).parents[2]
LESSON = "06_merging"
DELTA, MERGE, MERGEABLE = merging.CHECKS


def test_the_layer_that_the_checks_hand_over_is_the_one_that_the_lesson_gives():
    cells = jupytext.read(ROOT / "solutions" / f"{LESSON}.py", fmt="py:percent").cells
    assert any(SOURCE.strip() in cell.source for cell in cells)


def test_partial_credit():
    drifts = next(known.wrong for known in MERGEABLE.misconceptions if known.id == "drifts")
    assert MERGEABLE.judge(drifts, 5).score == 3
    float32_only = next(known.wrong for known in MERGE.misconceptions if known.id == "dtype_forgotten")
    assert MERGE.judge(float32_only, 5).score == 2


@pytest.mark.parametrize(
    "forged",
    [
        {"snapshots": []},
        {"snapshots": None},
        {"snapshots": [{}] * 4},
        {"snapshots": [0] * 4},
        {"raised": "no"},
        {"raised": None},
    ],
    ids=str,
)
def test_forged_snapshots_earn_nothing(forged):
    verdict = MERGEABLE.judge(encoded(lora_ref.LoRALinear, lambda answer: answer | forged), 5)
    assert verdict.status == "failed" and verdict.score == 0


@pytest.mark.parametrize("forged", [{"shares": 3}, {"changed": None, "weight": 1}, {"kept": []}, {"sizes": 2}], ids=str)
def test_a_forged_linear_earns_nothing(forged):
    verdict = MERGE.judge(encoded(lora_ref.merge, lambda answer: answer | forged), 5)
    assert verdict.status == "failed" and verdict.score == 0


class Half(lora_ref.LoRALinear):
    """Begun, and not finished."""

    def unmerge(self):
        raise NotImplementedError


def test_an_unfinished_method_is_named(monkeypatch):
    monkeypatch.chdir(Path(__file__).parent)  # this file is then one of the learner's
    verdict = MERGEABLE.judge(Half, 5)
    assert verdict.status == "failed" and "unmerge is not written yet" in verdict.message


class Stub(nn.Module):
    def __init__(self, base_layer, rank=4, alpha=1):
        super().__init__()
        raise NotImplementedError()


def test_the_stub_is_not_started(monkeypatch):
    monkeypatch.chdir(Path(__file__).parent)  # this file is then one of the learner's
    assert MERGEABLE.judge(Stub, 5).status == "not_started"


def test_a_notebook_may_set_another_default_device():
    torch.set_default_device("meta")
    try:
        assert MERGE.judge(lora_ref.merge, 5).passed and MERGEABLE.judge(lora_ref.LoRALinear, 5).passed
    finally:
        torch.set_default_device(None)


def test_one_round_there_and_back_shows_in_every_dtype():
    """Subtraction must never pass for exact by chance: many values differ after the first round."""
    for seed in range(30):
        for case in MERGEABLE.make_cases(Draw(seed)):
            if "back and forth" in case.label:
                W, A, B = (case.args[name] for name in ("weight", "A", "B"))
                delta = case.args["options"]["alpha"] / case.args["options"]["rank"] * (A @ B).T
                assert ((W + delta) - delta != W).sum() >= 5


# What the lesson states ----------------------------------------------------------------------------------------------


def test_the_example_by_hand():
    W, b = torch.tensor([[1.0, 0, 1], [0, 2, 0]]), torch.tensor([496.0, 596])
    A, B, x = torch.tensor([[1.0], [0], [2]]), torch.tensor([[10.0, 1]]), torch.tensor([1.0, 2, 3])
    assert (x @ W.T + b).tolist() == [500, 600]
    assert (x @ W.T + b + 2 * x @ A @ B).tolist() == [640, 614]
    assert (A @ B).tolist() == [[10, 1], [0, 0], [20, 2]]
    merged = W + 2 * (A @ B).T
    assert merged[0, 2] == 41 and (x @ merged.T + b).tolist() == [640, 614]


def frozen_and_change():
    frozen = nn.Linear(3, 2, bias=False).requires_grad_(False)
    return frozen, nn.Parameter(torch.ones(2, 1)) @ nn.Parameter(torch.ones(1, 3))


def test_what_a_frozen_weight_becomes_without_no_grad():
    frozen, change = frozen_and_change()
    frozen.weight.add_(change)
    assert frozen.weight.requires_grad and not frozen.weight.is_leaf and frozen.weight.grad_fn is not None
    with pytest.raises(ValueError, match="non-leaf"):
        torch.optim.SGD([frozen.weight])
    with pytest.raises(RuntimeError):
        frozen.requires_grad_(False)
    frozen(torch.ones(1, 3)).sum().backward()
    with pytest.raises(RuntimeError, match="second time"):
        frozen(torch.ones(1, 3)).sum().backward()


def test_plus_equals_changes_the_values_and_then_raises():
    frozen, change = frozen_and_change()
    before = frozen.weight.clone()
    with pytest.raises((TypeError, ValueError), match="weight"):
        frozen.weight += change
    assert torch.equal(frozen.weight, before + change)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
def test_drift_stops_with_one_customer_and_grows_with_fifty(dtype):
    errors, shares = switch_customers(100, dtype, customers=1)
    assert errors[0] > 0 and errors[-1] == errors[0] and round(shares[0], 2) == round(shares[-1], 2) == 0.14
    errors, shares = switch_customers(100, dtype, customers=50)
    assert 7 < errors[-1] / errors[0] < 9 and round(shares[-1], 2) == 0.68
    assert shares[49] == pytest.approx(shares[-1], abs=0.01)  # the second visits hit the numbers of the first ones


def test_a_digit_falls_off_in_bfloat16():
    w = torch.tensor(1 + 2**-7, dtype=torch.bfloat16)
    assert w.item() == 1.0078125 and (w + 1).item() == 2 and (w + 1 - 1).item() == 1
    assert torch.finfo(torch.bfloat16).eps == 2**-7


def test_the_reference_does_what_the_lesson_sends_its_reader_to():
    """A file saved while merged holds the base's own weight, and the kept copy follows a move."""
    layer = lora_ref.LoRALinear(nn.Linear(7, 5))
    nn.init.normal_(layer.lora_B)
    before = layer.base_layer.weight.clone()
    layer.merge()
    assert torch.equal(layer.state_dict()["base_layer.weight"], before)
    layer.to(torch.float64)
    layer.unmerge()
    assert torch.equal(layer.base_layer.weight, before.double())
    assert 75 < len(inspect.getsource(lora_ref.LoRALinear).splitlines()) < 90
