"""Small courses and classes for the tests of grading, and workers that grade without running anything."""

import atexit
import functools
import json
import shutil
import sqlite3
import tempfile
from pathlib import Path

import nbformat
from fake_grading_process import fake_answer

from autograde.batch.pipeline import Grading
from autograde.batch.progress import Lines
from autograde.nbgrader_plugin import reference
from autograde.nbgrader_plugin.config import load
from autograde.nbgrader_plugin.gradebook import Book
from autograde.notebook.cells import grade_id
from autograde.project import Course
from autograde.submission import message

ROOT = Path(__file__).resolve().parents[2]
LESSON = "00_start_here"
RIGHT = "def linear_by_hand(x, weight, bias):\n    out = x @ weight.T\n    return out if bias is None else out + bias"
FORGOTTEN = "def linear_by_hand(x, weight, bias):\n    return x @ weight.T"


def make_course(folder, lessons=(LESSON,)):
    """A course in `folder` with this project's configuration, some of its lessons and an empty gradebook."""
    course = _bare_course(folder, lessons)
    shutil.copy(_gradebook(), course.root / "autograde" / "gradebook.db")
    return course


@functools.cache
def _gradebook():
    """An empty gradebook; to make one takes nbgrader a second."""
    folder = Path(tempfile.mkdtemp())
    atexit.register(shutil.rmtree, folder)
    course = _bare_course(folder, [LESSON])
    book = Book(load(course))
    book.prepare(LESSON, reference.of_lesson(course, LESSON, load(course).config))
    book.close()
    return folder / "autograde" / "gradebook.db"


def _bare_course(folder, lessons):
    for lesson in lessons:
        for kind in ("notebooks", "solutions"):
            shutil.copytree(ROOT / kind / lesson, folder / kind / lesson)
    for name in ("nbgrader_config.py", "pyproject.toml"):
        shutil.copy(ROOT / name, folder)
    (folder / "autograde" / "submitted").mkdir(parents=True)
    return Course(folder)


def handed_in(course, answers, lesson=LESSON):
    """A submitted notebook: of the release, its imports, its graded cells and its check cells.

    Args:
        answers: ``{exercise: source}``, or for lesson 00 the source of its one answer; None for untouched work.
    """
    notebook = nbformat.read(course.release(lesson), as_version=4)
    if not isinstance(answers, dict):
        answers = {"linear_by_hand": answers} if answers else {}
    kept = [cell for cell in notebook.cells if grade_id(cell)]
    imports = next(cell for cell in notebook.cells if "from autograde import check" in cell.source)
    for cell in kept:
        cell.source = answers.get(grade_id(cell), cell.source)
    notebook.cells = [imports, *kept]
    return notebook


def hand_in(course, student, answers=None, lesson=LESSON):
    """Put a submission where the grader looks for it; its folder."""
    folder = course.submitted / student / lesson
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{lesson}.ipynb").write_text(nbformat.writes(handed_in(course, answers, lesson)), encoding="utf-8")
    return folder


class FakeWorkers:
    """Workers that only read: an answer with ``SCORE=1.5`` gets 1.5 points.

    Args:
        log: a file that gets a line with the student of each submission; None for no log.
        isolation: the isolation record of every result.
    """

    def __init__(self, log=None, isolation=None):
        self.log = log
        self.isolation = isolation or {"level": "full"}

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass

    def run(self, tasks):
        """As `autograde.batch.local_workers.LocalWorkers.run`."""
        for task in tasks:
            if self.log:
                with open(self.log, "a") as log:
                    log.write(f"{task.submission.student}\n")
            outcome, graded = fake_answer(*message.unpack(task.question()))
            yield task, outcome | {"isolation": self.isolation}, graded


def run(course, workers=None, lessons=(LESSON,), db=None, **options):
    """One run over the class; its `Outcome`."""
    grading = Grading(course, list(lessons), load(course, db), Lines(lambda line: None), **options)
    grading.run(workers or FakeWorkers())
    return grading.outcome


def rows(database):
    """What a gradebook says, without the ids that are different in each: ``{table: sorted rows}``."""
    ask = {
        "students": "select id from student",
        "grades": """select student_id, assignment.name, base_cell.name, auto_score, manual_score, needs_manual_grade,
            timestamp, late_submission_penalty from grade
            join base_cell on base_cell.id = cell_id join submitted_notebook n on n.id = grade.notebook_id
            join submitted_assignment s on s.id = n.assignment_id join assignment on assignment.id = s.assignment_id""",
        "comments": """select student_id, base_cell.name, auto_comment, manual_comment from comment
            join base_cell on base_cell.id = cell_id join submitted_notebook n on n.id = comment.notebook_id
            join submitted_assignment s on s.id = n.assignment_id""",
        "cells": "select name, type from base_cell",
        "sources": "select name, cell_type, locked, source, checksum from source_cell",
        "versions": "select version_num from alembic_version",
    }
    with sqlite3.connect(database) as db:
        return {table: sorted(db.execute(query).fetchall(), key=repr) for table, query in ask.items()}


def files(course):
    """The graded files and results of a course, by their path, with the contents that do not change from run to run."""
    folder = course.root / "autograde" / "autograded"
    found = {}
    for path in sorted(folder.rglob("*")):
        if path.is_file() and ".half" not in path.parts and path.name != ".lock":
            name = path.relative_to(folder).as_posix()
            found[name] = json.loads(path.read_bytes()) | {"seconds": 0} if name.startswith(".results") else path.name
    return found
