"""Reads the marks of a class from nbgrader's gradebook, for many students at once.

nbgrader's own exporter asks for one submission at a time, which takes minutes for a large class.
"""

import datetime
from dataclasses import dataclass, field

from nbgrader import api
from sqlalchemy import select

from autograde.nbgrader_plugin.gradebook import opened

SUBMISSION, NOTEBOOK, GRADE, CELL = api.SubmittedAssignment, api.SubmittedNotebook, api.Grade, api.BaseCell


@dataclass
class Mark:
    """The mark of one submission.

    Attributes:
        timestamp: the hand-in time in UTC; None if it is unknown.
        late_penalty: points that are taken for late work.
        cells: ``{grade_id: Cell}`` of its graded cells; ``notebook/grade_id`` in a notebook that an instructor has added.
    """

    timestamp: datetime.datetime | None
    late_penalty: float = 0.0
    cells: dict = field(default_factory=dict)

    @property
    def score(self):
        """The points after the late penalty, at least 0."""
        return max(0.0, sum(cell.score for cell in self.cells.values()) - self.late_penalty)

    @property
    def needs_manual_grade(self):
        """Whether a person has yet to grade a cell, or has to look again since the work was graded anew."""
        return any(cell.needs_manual_grade for cell in self.cells.values())


@dataclass(frozen=True)
class Cell:
    """The points of one graded cell: a person's where there are some, else the automatic ones; with extra credit."""

    score: float
    max_score: float
    needs_manual_grade: bool


@dataclass(frozen=True)
class Marks:
    """The marks of a class.

    Attributes:
        emails: ``{student: e-mail address or None}`` of all students in the gradebook, sorted.
        max_scores: ``{lesson: highest score}`` of the lessons with submissions, in the order in which they were asked for.
        of: ``{lesson: {student: Mark}}`` of the same lessons.
    """

    emails: dict
    max_scores: dict
    of: dict


def read(settings, lessons):
    """The `Marks` of some lessons; empty where there is no gradebook yet.

    Args:
        settings: `autograde.nbgrader_plugin.config.Settings`.
        lessons: ids.

    Raises:
        GradebookError: the gradebook cannot be read.
    """
    with opened(settings) as book:
        if book is None:
            return Marks({}, {}, {})
        db = book.db
        emails = dict(sorted(db.execute(select(api.Student.id, api.Student.email)).all()))
        highest = dict(db.execute(select(api.Assignment.name, api.Assignment.max_score)).all())
        points = {}
        for kind in (api.GradeCell, api.TaskCell):
            points |= dict(db.execute(select(kind.id, kind.max_score)).all())
        of = {lesson: theirs for lesson in lessons if (theirs := _of(db, lesson, points))}
        return Marks(emails, {lesson: float(highest[lesson]) for lesson in of}, of)


def _of(db, lesson, points):
    """``{student: Mark}`` of one lesson, sorted by student. `points` has the most points of each cell, by its id."""
    here = (
        select(SUBMISSION.id)
        .join(api.Assignment, api.Assignment.id == SUBMISSION.assignment_id)
        .where(api.Assignment.name == lesson)
    )
    chosen = here.add_columns(SUBMISSION.student_id, SUBMISSION.timestamp).order_by(SUBMISSION.student_id)
    students, marks = {}, {}
    for row, student, timestamp in db.execute(chosen):
        students[row] = student
        marks[student] = Mark(timestamp)
    penalties = select(NOTEBOOK.assignment_id, NOTEBOOK.late_submission_penalty).where(
        NOTEBOOK.assignment_id.in_(here), NOTEBOOK.late_submission_penalty.is_not(None)
    )
    for row, penalty in db.execute(penalties):
        marks[students[row]].late_penalty += penalty
    grades = (
        select(NOTEBOOK.assignment_id, api.Notebook.name, CELL.id, CELL.name, GRADE.score, GRADE.needs_manual_grade)
        .join(NOTEBOOK, NOTEBOOK.id == GRADE.notebook_id)
        .join(CELL, CELL.id == GRADE.cell_id)
        .join(api.Notebook, api.Notebook.id == NOTEBOOK.notebook_id)
        .order_by(CELL.name)
        .where(NOTEBOOK.assignment_id.in_(here))
    )
    for row, notebook, cell, name, score, manual in db.execute(grades):
        key = name if notebook == lesson else f"{notebook}/{name}"
        marks[students[row]].cells[key] = Cell(float(score), float(points[cell] or 0.0), bool(manual))
    return marks
