"""Every exercise of every lesson, answered rightly, wrongly and not at all, handed in and judged through the sandbox.

That each known answer gets its right verdict is the business of tests/unit/test_corpus.py. Here stands that nothing of a
verdict is lost on the way from a submitted notebook through the sandbox.
"""

import itertools

import nbformat
import pytest
from sample_course import ROOT, plant

from autograde import registry
from autograde.authoring import lesson as lessons
from autograde.authoring import release
from autograde.authoring.corpus import samples
from autograde.notebook.cells import METADATA
from autograde.project import Course
from autograde.submission import read_notebook, repair
from autograde.submission.grade_notebook import grade

COURSE = registry.of(Course(ROOT))
# What known answers use without importing it (see tests/corpus/README.md).
IMPORTS = "import math\nimport numpy as np\nimport torch\nfrom torch import nn\n"


@pytest.fixture(scope="module", params=COURSE.course.lessons)
def lesson(request):
    """A lesson's id."""
    return request.param


@pytest.fixture(scope="module")
def released(lesson):
    """What students get, made of the lesson's source as it is now."""
    return release.generate(COURSE.course, lessons.read(COURSE.course, lesson), lesson)


@pytest.fixture(scope="module")
def right(lesson):
    """``{cell: a right answer}``, in the style that is farthest down in the corpus."""
    return {cell: found[-1] for cell, found in by_cell(lesson, lambda sample: sample.misconception is None).items()}


def by_cell(lesson, wanted):
    """``{cell: [the wanted known answers that are written into it]}``."""
    cells = {check.name: check.subject for check in COURSE.checks_of(lesson)}
    found = {}
    for sample in samples(COURSE.course, lesson):
        if wanted(sample):
            found.setdefault(cells.get(sample.exercise, sample.exercise), []).append(sample)
    return found


def judged(pool, released, answers):
    """Verdicts by exercise on the release with ``{cell: known answer}`` in it, handed in as the bytes of a file."""
    typed = {cell: IMPORTS + sample.source for cell, sample in answers.items()}
    return graded(pool, released, plant(released, typed)).verdicts


def graded(pool, released, notebook):
    """What grading the notebook, handed in as the bytes of a file, comes to."""
    notebook, reason = read_notebook.read_submission(nbformat.writes(notebook).encode(), released)
    assert reason is None
    assert repair.repair(notebook, released) == {}
    given = COURSE.given_to(released.metadata[METADATA]["lesson"])
    return grade(notebook, lambda code: pool.open(given=given, code=code))


def test_right_answers(pool, lesson, released, right):
    verdicts = judged(pool, released, right)
    for check in COURSE.checks_of(lesson):
        assert verdicts[check.name].score == check.points, verdicts[check.name].message


def test_what_checks_use_is_imported_ahead(pool, lesson, released, right):
    """Once for all submissions: what is imported in a fork is imported again in each, and can cost a second."""
    notebook = plant(released, {cell: IMPORTS + sample.source for cell, sample in right.items()})
    before = nbformat.v4.new_code_cell("import sys\nthere_before = set(sys.modules)")
    after = nbformat.v4.new_code_cell("print('imported since:', *sorted(set(sys.modules) - there_before))")
    notebook.cells = [before, *notebook.cells, after]
    [output] = graded(pool, released, notebook).notebook.cells[-1].outputs
    imported = output.text.removeprefix("imported since:").split()
    assert output.text.startswith("imported since:")
    assert len(imported) < 40, imported


def test_a_wrong_answer_to_each_exercise(pool, lesson, released, right):
    first = {check.name: check.misconceptions[0].id for check in COURSE.checks_of(lesson)}
    wrong = by_cell(lesson, lambda sample: sample.style == sample.misconception == first.get(sample.exercise))
    seen = set()
    for row in itertools.zip_longest(*wrong.values()):
        planted = {cell: sample or right[cell] for cell, sample in zip(wrong, row, strict=True)}
        verdicts = judged(pool, released, planted)
        for sample in filter(None, row):
            verdict = verdicts[sample.exercise]
            assert verdict.status == "failed" and verdict.score < verdict.points, verdict.message
            assert verdict.misconception == sample.misconception, verdict.message
            seen.add(sample.exercise)
    assert seen == set(first)


def test_a_blank_release_is_unfinished_in_every_exercise(pool, lesson, released):
    verdicts = judged(pool, released, {})
    assert {name: verdict.status for name, verdict in verdicts.items()} == {
        check.name: "not_started" for check in COURSE.checks_of(lesson)
    }
