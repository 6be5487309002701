"""A result of the wrong kind gets a hint about its kind, and none about the mathematics."""

import numpy as np
import pytest
import torch
from known_answers import CHECKS

from autograde.judge.compare import fault_between
from autograde.remote import wire

ONE = torch.ones(2)


@pytest.mark.parametrize(
    ("value", "expected", "hint"),
    [
        (None, 3, "no return"),
        ("3", 3, "not its text"),
        ((3, 4), 3, "Return it alone"),
        ((3,), 3, "comma at the end"),
        ((each for each in [3]), 3, "list(…)"),
        (torch.tensor([[3], [4]]), 3, "has 2 values"),
        (None, ONE, "no return"),
        ((ONE,), ONE, "comma at the end"),
        (np.ones(2, dtype=np.float32), ONE, "torch.from_numpy"),
        ("1, 2", (1, 2), "not its text"),
        (("1", 2), (1, 2), "not its text"),
    ],
)
def test_a_result_of_the_wrong_kind_has_a_hint_of_its_own(value, expected, hint):
    assert hint in fault_between(wire.plain(value), wire.type_name(value), expected).hint


def test_a_wrong_value_of_the_right_kind_has_none():
    assert fault_between(4, "int", 3).hint == ""


def test_what_has_no_numbers_to_compare_is_told_so():
    rows = torch.nested.nested_tensor([torch.ones(2), torch.ones(3)])
    assert "cannot be compared" in fault_between(wire.plain(rows), wire.type_name(rows), ONE).problem
    huge = wire.decode(wire.encode(wire.plain(10**10**5)))
    assert huge.text == "a whole number of 332,193 bits" and wire.plain(-(2**4_000)) == -(2**4_000)
    assert fault_between(huge, "int", 3).problem == "The result is not a number."


FORMS = {
    "nothing": (),
    "tensors": [ONE, ONE],
    "of three kinds": ("one", None, ONE),
    "a tensor without entries": torch.empty(0),
    "tensors by name": {"one": ONE},
}
DEAR = ("fine_tune", "inject", "write_peft_adapter", "load_adapter")  # each of these calls takes half a second


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(
    "check",
    [
        pytest.param(check, id=check.name, marks=[pytest.mark.slow] * (check.name in DEAR))
        for check in CHECKS
        if check.subject.islower()
    ],
)
def test_a_result_of_whatever_form_gets_a_verdict_and_no_points(check, form):
    """Here no exception of a check is caught: a learner would see it."""
    verdict = check.judge(lambda *_: FORMS[form], seed=1)
    assert verdict.score == 0 and "could not be read" not in verdict.message, verdict.message
