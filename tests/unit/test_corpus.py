"""The checks as classifiers: every right answer passes, every wrong one is refused by its name."""

import math

import numpy as np
import pytest
import torch
from corpus_of import samples

from autograde import registry

SEEDS = (1, 20, 300)  # the inputs are fresh at every run; three fixed draws keep this suite repeatable
IMPORTED = {"torch": torch, "nn": torch.nn, "np": np, "math": math}  # what a lesson's first cell gives


def _defined(sample, subject):
    names = dict(IMPORTED)
    exec(compile(sample.source, f"<{sample.style}>", "exec"), names)
    return names[subject]


ALL = [(lesson, sample) for lesson in registry.current().course.lessons for sample in samples(lesson)]


def _checks_of(sample, lesson):
    """The check a sample is for; every check of the object, where a right answer is named after it."""
    return [check for check in registry.current().of_lesson(lesson) if sample.exercise in (check.name, check.subject)]


@pytest.mark.parametrize(("lesson", "sample"), ALL, ids=[f"{s.exercise}-{s.style}" for _, s in ALL])
def test_sample(lesson, sample):
    judged = _checks_of(sample, lesson)
    assert judged, f"no check is called {sample.exercise}"
    for check in judged:
        for seed in SEEDS:
            verdict = check.judge(_defined(sample, check.subject), seed)
            if sample.misconception is None:
                assert verdict.passed and verdict.score == check.points, verdict.message
            else:
                assert not verdict.passed and verdict.score < check.points, verdict.message
                assert (verdict.misconception or "") == sample.misconception, verdict.message


@pytest.mark.parametrize("lesson", registry.current().course.lessons)
def test_every_exercise_has_wheat_and_named_chaff(lesson):
    found = samples(lesson)
    for check in registry.current().of_lesson(lesson):
        of_this = [sample for sample in found if check in _checks_of(sample, lesson)]
        wheat = [sample for sample in of_this if sample.misconception is None]
        named = {sample.misconception for sample in of_this if sample.misconception}
        assert len(wheat) >= 4, f"{check.name} has {len(wheat)} right styles; write at least 4"
        assert named >= {known.id for known in check.misconceptions}
        assert named, f"{check.name} knows no misconception"
