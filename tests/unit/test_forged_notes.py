"""What is known to gain by forged notes, and what docs/grading.md says of it."""

import re

import pytest
from forged_notes import KNOWN, lines
from known_answers import CHECKS
from small_class import ROOT

GRADING = (ROOT / "docs" / "grading.md").read_text(encoding="utf-8")


def known():
    """``{exercise: [points that a known mistake gains]}``."""
    found = {}
    for line in KNOWN.read_text(encoding="utf-8").splitlines():
        exercise, _, gain, *_ = line.split()
        found.setdefault(exercise, []).append(float(gain))
    return found


@pytest.mark.slow
def test_it_changes_knowingly():
    """After a change that was meant, run forged_notes.py, and correct docs/grading.md."""
    assert lines() == KNOWN.read_text(encoding="utf-8").splitlines()


def test_the_document_says_how_many():
    gain, of = map(int, re.search(r"(\d+) of (\d+) known mistakes", GRADING).groups())
    assert gain == sum(map(len, known().values()))
    assert of == sum(len(check.misconceptions) for check in CHECKS if check.answer)


def test_the_document_says_the_price_of_each_exercise():
    rows = re.findall(r"^ *\| (\d) \| (`.*`) \|$", GRADING, re.MULTILINE)
    said = {name: float(points) for points, names in rows for name in re.findall(r"`(\w+)`", names)}
    assert said == {exercise: max(gains) for exercise, gains in known().items()}
