"""The reference passes every check of the course: what it has under an exercise's name is a right answer."""

import pytest

import lora_ref
from autograde import registry

# What the reference has no part in: lesson 02 asks about the bug, 05 for three figures of papers, and 06 for LoRALinear under its lesson's name.
NOT_THERE = {"product_shape", "silent_case", "exposes", "worked_out"}
UNDER_ANOTHER_NAME = {"MergeableLoRALinear": "LoRALinear"}

ALL = [
    check
    for lesson in registry.current().course.lessons
    for check in registry.current().checks_of(lesson)
    if check.name not in NOT_THERE
]


@pytest.mark.parametrize("check", ALL, ids=lambda check: check.name)
def test_the_reference_passes(check):
    for seed in range(5):
        answer = getattr(lora_ref, UNDER_ANOTHER_NAME.get(check.subject, check.subject))
        verdict = check.judge(answer, seed)
        assert verdict.passed, verdict.message


def test_nothing_is_excused_that_the_reference_has():
    names = {
        check.name for lesson in registry.current().course.lessons for check in registry.current().checks_of(lesson)
    }
    assert NOT_THERE <= names
    assert not any(hasattr(lora_ref, name) for name in NOT_THERE)
