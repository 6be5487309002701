"""Lesson 05: the counts that its cases hold are true, its inputs tell mistakes apart, and its numbers are right."""

import math

import pytest
import torch
from encoded_session import encoded
from torch import nn

import lora_ref
from autograde.checks import counting as lesson
from autograde.judge.random_inputs import Draw
from autograde.probes.counting import call_on_module

BY_NAME = {check.name: check for check in lesson.CHECKS}


def walked(module):
    """(trainable, total) by visiting every name and remembering what was met."""
    met, trainable, total = [], 0, 0
    for _, parameter in module.named_parameters(remove_duplicate=False):
        if not any(parameter is other for other in met):
            met.append(parameter)
            total += math.prod(parameter.shape)
            trainable += math.prod(parameter.shape) if parameter.requires_grad else 0
    return trainable, total


@pytest.mark.parametrize("seed", range(40))
def test_the_counts_that_cases_hold_are_those_of_their_modules(seed):
    for case in lesson.count_parameters.make_cases(Draw(seed)):
        seen = call_on_module(walked, source=case.args["source"])
        assert seen["value"] == list(case.counts) and not seen["changed"], case.label


@pytest.mark.parametrize("seed", range(5))
def test_no_module_that_is_asked_about_lies_with_the_answer(seed):
    """What is sent to the learner's process is the text that makes the module, and nothing else."""
    for case in lesson.count_parameters.make_cases(Draw(seed)):
        assert set(case.args) == {"source"}


def test_making_modules_leaves_the_notebooks_random_numbers_alone():
    torch.manual_seed(3)
    expected = torch.rand(4)
    torch.manual_seed(3)
    lesson.count_parameters.judge(lora_ref.count_parameters)
    assert torch.equal(torch.rand(4), expected)


OF_LORA_REF = [check for check in lesson.CHECKS if check is not lesson.worked_out]  # claims are no part of a library


@pytest.mark.parametrize("check", OF_LORA_REF, ids=lambda check: check.name)
def test_lora_ref_is_right(check):
    for seed in range(20):
        verdict = check.judge(getattr(lora_ref, check.name), seed)
        assert verdict.passed and verdict.score == check.points, verdict.message


@pytest.mark.parametrize("seed", range(50))
def test_a_cap_at_the_largest_rank_of_a_layer_makes_no_difference(seed):
    for case in lesson.largest_rank_within.make_cases(Draw(seed)):
        d, k, budget = case.args.values()
        assert 0 <= budget // (d + k) <= min(d, k)


@pytest.mark.parametrize("seed", range(50))
def test_some_adapter_is_smaller_than_the_weight_some_as_large_and_some_larger(seed):
    ratios = [lora_ref.reduction(**case.args) for case in lesson.reduction.make_cases(Draw(seed))]
    assert min(ratios) < 1 < max(ratios) and 1 in ratios


# Forged answers ------------------------------------------------------------------------------------------------------


FORGED = [
    {"value": None},
    {"value": []},
    {"value": [[], []]},
    {"value": [10**400, -(10**400)]},
    {"value": [math.inf, math.nan]},
    {"value": "14, 29"},
    {"value": {"trainable": 1}},
    {"value": True},
    {"type": 7},
    {"raised": "everything"},
    {"not_callable": 3},
]


@pytest.mark.parametrize("forged", FORGED, ids=str)
@pytest.mark.parametrize("name", [check.name for check in OF_LORA_REF])
def test_a_forged_answer_earns_nothing_and_stops_nothing(name, forged):
    def forge(answer):
        return answer | forged

    verdict = BY_NAME[name].judge(encoded(getattr(lora_ref, name), forge), seed=5)
    if forged != {"type": 7}:  # a type's name says nothing about a number
        assert verdict.status == "failed" and verdict.score == 0 and verdict.message


@pytest.mark.parametrize("changed", [[0], ["module"], [9], True])
def test_a_changed_module_is_refused_however_it_is_reported(changed):
    remote = encoded(lora_ref.count_parameters, lambda answer: answer | {"changed": changed})
    verdict = lesson.count_parameters.judge(remote, seed=5)
    assert (verdict.score, verdict.misconception) == (0, "changed_input")


# What the lesson states -----------------------------------------------------------------------------------------------


def adapters(layers, matrices, d, r):
    return layers * matrices * (d * r + r * d)


def test_worked_example():
    assert (30 * 2, 2 * 20, 20 * 30) == (60, 40, 600) and 60 + 40 + 600 + 20 == 720 and 600 / 100 == 6.0
    assert 3 * 2 + 2 * 4 == 14 and round(12 / 14, 3) == 0.857
    assert lora_ref.training_bytes(720, 100) == 4080
    assert [lora_ref.largest_rank_within(30, 20, budget) for budget in (49, 100, 149)] == [0, 2, 2]


def test_claims_of_the_audit():
    assert (lora_ref.lora_parameters(4096, 4096, 8), 4096 * 4096) == (65_536, 16_777_216)
    assert lora_ref.reduction(4096, 4096, 8) == 256
    assert (lora_ref.lora_parameters(5000, 10000, 8), 5000 * 10000) == (120_000, 50_000_000)
    assert round(lora_ref.reduction(5000, 10000, 8), 1) == 416.7
    gpt3 = adapters(96, 2, 12288, 4)
    assert gpt3 == 18_874_368 and round(175e9 / gpt3) == 9272 and round(2 * gpt3 / 1e6, 1) == 37.7
    assert adapters(96, 4, 12288, 2) == gpt3 and adapters(96, 4, 12288, 4) == 37_748_736
    assert (adapters(24, 2, 1024, 4), adapters(12, 2, 768, 8)) == (393_216, 294_912)
    assert 4 * (512 + 512) + 512 == 4_608


@pytest.mark.parametrize(
    ("published", "found", "near"),
    [(400, 5e7 / 120_000, True), (10_000, 175e9 / 18_874_368, True), (35e6, 37_748_736, True), (0.3e6, 294_912, True)]
    + [(37.7e6, 18_874_368, False), (0.35e6, 393_216, False), (4096, 4608, False)],
)
def test_verdicts_of_the_audit_are_clear(published, found, near):
    """No claim lies so close to the line of 10 % that rounding could move it across."""
    away = abs(published - found) / found
    assert (away < 0.09) if near else (away > 0.109)


def test_llama_2_7b_by_its_shapes():
    d, hidden, tokens, blocks = 4096, 11008, 32000, 32
    base = 2 * tokens * d + blocks * (4 * d * d + 3 * d * hidden + 2 * d) + d
    assert adapters(blocks, 2, d, 8) == 4_194_304
    assert base == 6_738_415_616 and base + adapters(blocks, 2, d, 8) == 6_742_609_920


def test_memory_of_gpt3():
    base, trained = 175_000_000_000, 18_874_368
    full, lora = lora_ref.training_bytes(base, base, 2), lora_ref.training_bytes(base + trained, trained, 2)
    assert (full, 2 * base) == (1_400_000_000_000, 350_000_000_000)
    assert round(lora / 1e9, 1) == 350.2 and round(full / lora, 1) == 4.0 and full / lora < 4
    assert round(3 * 2 * trained / 1e9, 2) == 0.11
    assert round(1200 / 350, 1) == 3.4 and 65e9 / 2 / 1e9 == 32.5
    assert [lora_ref.largest_rank_within(12288, 12288, trained // (96 * n)) for n in (1, 2, 4)] == [8, 4, 2]
    assert lora_ref.largest_rank_within(4096, 4096, 1_000_000) == 122


def test_adam_keeps_what_the_lesson_says():
    parameter = nn.Parameter(torch.ones(3, 2))
    optimiser = torch.optim.Adam([parameter])
    parameter.sum().backward()
    optimiser.step()
    as_large = {key for key, tensor in optimiser.state[parameter].items() if tensor.shape == parameter.shape}
    assert as_large == {"exp_avg", "exp_avg_sq"}


def test_a_claim_worked_out_wrong_does_not_show_the_right_number():
    def worked_out(claim):
        return 1

    said = lesson.worked_out.judge(worked_out)
    assert not said.passed
    for claim in "DEF":
        right = lesson.worked_out.answer.right(claim)
        assert not any(shown in said.message for shown in (str(right), f"{right:,}"))
