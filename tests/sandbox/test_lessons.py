"""Whole submissions, right and wrong, through the box: what a learner hands in, graded as a class's is.

The wheat and chaff of the corpus are planted into the notebooks that students get. One submission holds one answer to
each exercise, so that a lesson needs no more submissions than its most written-about exercise has answers.
"""

import itertools
import symtable

import nbformat
import pytest
from corpus_of import samples
from sample_course import ROOT, plant

from autograde import registry
from autograde.authoring import lesson as lessons
from autograde.authoring import release
from autograde.project import Course
from autograde.sandbox.pool import Warm
from autograde.submission import repair
from autograde.submission.grade import grade

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def warm():
    """One warm process for every submission of this file."""
    with Warm(private=[ROOT]) as warm:
        yield warm


def released(lesson):
    """What students get, made of the lesson's source as it is now."""
    course = Course(ROOT)
    return release.generate(course, lessons.read(course, lesson), lesson)


def looked_up(source):
    """The names that code takes from other cells of its notebook, or from builtins."""

    def globals_of(table):
        here = {name.get_name() for name in table.get_symbols()
                if name.is_referenced() and (name.is_global() or table.get_type() == "module")}  # fmt: skip
        return here.union(*map(globals_of, table.get_children()))

    return globals_of(symtable.symtable(source, "<cell>", "exec")) - bound(source)


def bound(source):
    """The names that code binds at the top level."""
    table = symtable.symtable(source, "<cell>", "exec")
    return {name.get_name() for name in table.get_symbols() if name.is_assigned() or name.is_imported()}


# What the corpus uses without importing it (see its README), and a learner would import where the lesson does not.
IMPORTS = {"torch": "import torch", "nn": "from torch import nn", "np": "import numpy as np", "math": "import math"}


def typed(sample, handed_out):
    """A sample as a learner types it into this notebook."""
    there = set().union(*(bound(cell.source) for cell in handed_out.cells if cell.cell_type == "code"))
    missing = sorted((looked_up(sample.source) & set(IMPORTS)) - there)
    return "\n".join([*(IMPORTS[name] for name in missing), sample.source])


def graded(warm, handed_out, answers):
    """Hand in the release with `answers` in it, as bytes of a file, and grade that; verdicts by exercise."""
    data = nbformat.writes(plant(handed_out, answers)).encode()
    notebook, sentence = repair.read_submission(data, handed_out)
    assert sentence is None
    assert repair.repair(notebook, handed_out) == {}
    return grade(notebook, lambda code: warm.open(code=code)).verdicts


def columns(lesson, wanted):
    """Samples by the cell that they are written into, `wanted` ones only."""
    cells = {check.name: check.subject for check in registry.current().of_lesson(lesson)}
    found = {}
    for sample in samples(lesson):
        if wanted(sample):
            found.setdefault(cells.get(sample.exercise, sample.exercise), []).append(sample)
    return found


@pytest.mark.parametrize("lesson", registry.current().course.lessons)
def test_right_answers_in_every_style(warm, lesson):
    wheat = columns(lesson, lambda sample: sample.misconception is None)
    handed_out = released(lesson)
    ran = set()
    for number in range(max(map(len, wheat.values()))):
        planted = {cell: styles[number % len(styles)] for cell, styles in wheat.items()}
        answers = {cell: typed(sample, handed_out) for cell, sample in planted.items()}
        verdicts = graded(warm, handed_out, answers)
        for check in registry.current().of_lesson(lesson):
            style = planted[check.subject].style
            assert verdicts[check.name].score == check.points, f"{style}\n{verdicts[check.name].message}"
        ran |= {(sample.exercise, sample.style) for sample in planted.values()}
    assert len(ran) == sum(len(styles) for styles in wheat.values())


@pytest.mark.parametrize("lesson", registry.current().course.lessons)
def test_every_misconception_is_named(warm, lesson):
    named = {(check.name, known.id) for check in registry.current().of_lesson(lesson) for known in check.misconceptions}
    chaff = columns(lesson, lambda sample: (sample.exercise, sample.misconception) in named
                    and sample.style == sample.misconception)  # fmt: skip
    right = columns(lesson, lambda sample: sample.misconception is None)
    handed_out = released(lesson)
    ran = []
    for row in itertools.zip_longest(*chaff.values()):
        planted = {cell: sample or right[cell][0] for cell, sample in zip(chaff, row, strict=True)}
        answers = {cell: typed(sample, handed_out) for cell, sample in planted.items()}
        verdicts = graded(warm, handed_out, answers)
        for cell, sample in planted.items():
            if sample.misconception is None:
                for check in registry.current().of_lesson(lesson):
                    if check.subject == cell:
                        assert verdicts[check.name].passed, f"beside {row}\n{verdicts[check.name].message}"
            else:
                verdict = verdicts[sample.exercise]
                assert verdict.status == "failed" and verdict.score < verdict.points, verdict.message
                assert verdict.misconception == sample.misconception, verdict.message
                ran.append((sample.exercise, sample.misconception))
    assert set(ran) == named and len(named) >= len(registry.current().of_lesson(lesson))


@pytest.mark.parametrize("lesson", registry.current().course.lessons)
def test_a_blank_release_is_unfinished_in_every_exercise(warm, lesson):
    handed_out = released(lesson)
    verdicts = graded(warm, handed_out, {})
    assert {name: verdict.status for name, verdict in verdicts.items()} == {
        check.name: "not_started" for check in registry.current().of_lesson(lesson)
    }
