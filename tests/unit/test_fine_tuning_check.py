"""What lesson 08 says about its check is so: where the network starts, what a right answer comes to, where the bar is."""

import copy

import pytest
import torch
from torch import nn
from torch.optim.optimizer import _global_optimizer_pre_hooks

import lora_ref
from autograde.checks.fine_tuning.fine_tune import (
    ALPHA,
    BAR,
    EPOCHS,
    RANK,
    RATE,
    READER,
    data,
    fine_tune,
    trained_state,
)
from autograde.checks.fine_tuning.given import made
from autograde.judge.random_inputs import Draw
from autograde.lesson_kit.digits import accuracy, digits


@pytest.fixture(scope="module")
def base():
    model = made(READER)
    model.load_state_dict(trained_state())
    return model.eval()


def test_the_network_reads_upright_digits_and_not_turned_ones(base):
    (_, _), (images, y) = digits()
    _, (turned, _) = data()
    assert accuracy(base, images.flatten(1), y) > 0.94
    assert 0.40 < accuracy(base, turned, y) < 0.50


def learned(base, seed, epochs=EPOCHS, make=torch.optim.Adam):
    """The accuracy that one step an epoch on all rows comes to."""
    torch.manual_seed(seed)
    model = lora_ref.add_lora(copy.deepcopy(base), RANK, ALPHA)
    (x, y), held_out = data()
    optimiser = make(lora_ref.adapter_parameters(model), lr=RATE)
    for _ in range(epochs):
        loss = nn.functional.cross_entropy(model(x), y)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    return accuracy(model, *held_out)


def test_adam_on_all_rows_comes_to_about_ninety_per_cent(base):
    reached = [learned(base, seed) for seed in range(5)]
    assert min(reached) > BAR + 0.15 and 0.87 < sum(reached) / 5 < 0.94


def test_what_is_held_out_is_not_handed_over():
    (_, _), (held_out, _) = data()
    rows = {tuple(row.tolist()) for row in held_out}
    for case in fine_tune.cases(Draw(3)):
        assert sum(tuple(row.tolist()) in rows for row in case.args["x"]) <= 1  # two writers may draw the same digit


def test_an_untrained_network_and_one_that_hardly_trained_are_below_the_bar(base):
    assert learned(base, 0, epochs=0) < BAR - 0.2
    assert learned(base, 0, epochs=EPOCHS // 10) < BAR - 0.05


def test_plain_gradient_descent_on_all_rows_is_above_the_bar(base):
    assert min(learned(base, seed, make=torch.optim.SGD) for seed in range(5)) > BAR + 0.03


def test_counting_leaves_no_hook_behind():
    before = len(_global_optimizer_pre_hooks)
    assert fine_tune.judge(lora_ref.fine_tune, 1).passed
    assert len(_global_optimizer_pre_hooks) == before
