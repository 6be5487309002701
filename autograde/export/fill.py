"""Fills marks into a file that was downloaded from Canvas or Moodle."""

import re
from dataclasses import dataclass, field

from autograde.export.find import WORKSHEET_GRADE, lesson_columns, names, student_rows
from autograde.export.number import as_text
from autograde.project import CourseError
from autograde.terminal import one_line

POINTS_POSSIBLE = "Points Possible"  # Canvas: how the row with the highest scores begins
READ_ONLY = re.compile(r"read\s+only")  # in that row: Canvas works out this column itself, and takes no marks for it
WORKSHEET_MAXIMUM = "Maximum Grade"  # a column of Moodle's offline grading worksheet
NOT_FOR_MARKS = {"EX", "N/A"}  # Canvas: a student is excused; an assignment is not for this student


@dataclass
class Filled:
    """What was filled in.

    Attributes:
        lessons: ids of the lessons that have a column.
        matched: name of the column that says who a row is about.
        count: how many marks.
        notices: what a person should know.
    """

    lessons: list
    matched: str
    count: int = 0
    notices: list = field(default_factory=list)


def fill_in(file, marks, chosen, match):
    """Fill marks into a file; students without a submission keep what stands there. `Filled`.

    Args:
        file: the `CsvFile`; it is changed in memory.
        marks: `autograde.nbgrader_plugin.marks.Marks`.
        chosen: ``{lesson: name of its column, or None}``; empty for all lessons that have a column.
        match: name of the column that says who a row is about; None to find it.

    Raises:
        CourseError: a column is missing, or cannot be told from others.
    """
    columns = lesson_columns(file, marks.of, chosen)
    where, rows = student_rows(file, marks.emails, match, columns.values())
    filled = Filled(list(columns), file.header[where])
    if without := [lesson for lesson in marks.of if not chosen and lesson not in columns]:
        filled.notices.append(f"lessons without a column in {file.path}: {', '.join(without)}")
    heads = {row for row, first in enumerate(file.column(0)) if POINTS_POSSIBLE in first}
    left = set()
    for lesson, column in columns.items():
        _compare_maximum(file, marks, lesson, column, heads, rows, filled.notices)
        before = file.column(column)
        for row, student in rows.items():
            mark = marks.of[lesson].get(student)
            if mark is not None and before[row].upper() in NOT_FOR_MARKS:
                left.add(student)
            elif mark is not None:
                file.set(row, column, as_text(mark.score))
                filled.count += 1
    if left:
        filled.notices.append(f"excused (EX) or not assigned (N/A) in {file.path}, and left so: {names(left)}")
    if absent := set(marks.emails) - set(rows.values()):
        filled.notices.append(f"in the gradebook, and not in {file.path}: {names(absent)}")
    if others := sum(
        bool(value) and row not in rows and row not in heads for row, value in enumerate(file.column(where))
    ):
        filled.notices.append(f"rows of {file.path} about nobody in the gradebook, and left as they were: {others}")
    return filled


def _compare_maximum(file, marks, lesson, column, heads, rows, notices):
    """Say where the file has another highest score than the gradebook.

    Raises:
        CourseError: the column is not for marks.
    """
    in_column = file.column(column)
    maxima = {in_column[row] for row in heads}
    if any(READ_ONLY.search(value) for value in maxima):
        raise CourseError(
            f"Canvas works out the column “{one_line(file.header[column])}” itself: name another for {lesson}"
        )
    if file.header[column] == WORKSHEET_GRADE and WORKSHEET_MAXIMUM in file.header:
        in_maximum = file.column(file.header.index(WORKSHEET_MAXIMUM))
        maxima |= {in_maximum[row] for row, student in rows.items() if student in marks.of[lesson]}
    points = marks.max_scores[lesson]
    for value in sorted(maxima - {""}):
        if _number(value) != points:
            notices.append(
                f"{lesson} has {as_text(points)} points here, and {one_line(value)} in {file.path}. "
                f"Marks are not converted: set the maximum to {as_text(points)} there"
            )


def _number(text):
    try:
        return float(text.replace(",", "."))
    except ValueError:
        return None
