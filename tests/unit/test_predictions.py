"""Predictions: shown as they were written, and a tempting guess where they were left open."""

import pytest

from autograde.lesson_kit.predictions import left_open, show_prediction


@pytest.mark.parametrize("prediction", ["?", ("?", "?"), {"a": "?", "b": ("?", "?")}])
def test_a_prediction_left_open_shows_the_guess(prediction, capsys):
    assert left_open(prediction)
    show_prediction(prediction, guess={"a": 10_000, "b": (True, False)})
    assert capsys.readouterr().out == "you left the prediction open; a tempting guess: a: 10000; b: True, False\n"


@pytest.mark.parametrize(
    ("prediction", "shown"),
    [("4", "4"), (4, "4"), (0, "0"), (("?", 2), "?, 2"), ({"a": "no", "b": "?"}, "a: no; b: ?")],
)
def test_a_prediction_is_shown_even_if_part_of_it_is_open(prediction, shown, capsys):
    show_prediction(prediction, guess="another")
    assert capsys.readouterr().out == f"you predicted: {shown}\n"


def test_a_long_prediction_has_a_line_for_each_entry(capsys):
    show_prediction({"A zero, B zero": (True, True), "A random, B random": (False, True)}, guess=None)
    assert capsys.readouterr().out == (
        "you predicted:\n    A zero, B zero:     True, True\n    A random, B random: False, True\n"
    )
