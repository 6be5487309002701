"""Finds the columns of lessons, and the rows of students, in a file from Canvas or Moodle."""

import re
from collections import Counter, defaultdict

from autograde.project import CourseError
from autograde.terminal import one_line

MOST_LISTED = 40  # columns in a message
WORKSHEET_GRADE = "Grade"  # the column for marks in Moodle's offline grading worksheet, which is for one assignment


def lesson_columns(file, lessons, chosen):
    """``{lesson: index of its column}``, of those that have one.

    Args:
        file: the `CsvFile`.
        lessons: ids, of those that have marks.
        chosen: ``{lesson: name of its column, or None}`` of those that must have one; empty if all may.

    Raises:
        CourseError: a column is missing, or there are several.
    """
    columns = {}
    for lesson in chosen or lessons:
        wanted = chosen.get(lesson)
        found = columns_named(file.header, wanted or lesson)
        if not found and not wanted and len(chosen) == 1:
            found = columns_named(file.header, WORKSHEET_GRADE)
        if len(found) > 1:
            several = _listed(file.header[index] for index in found)
            raise CourseError(f'{file.path} has several columns for {lesson}: {several}. Say which: {lesson}="COLUMN"')
        if found:
            columns[lesson] = found[0]
        elif chosen:
            raise CourseError(
                f"{file.path} has no column named {one_line(wanted or lesson)!r}. Make it in Canvas or Moodle and download "
                f'the file again, or name the column of this lesson: {lesson}="COLUMN". There are {_listed(file.header)}'
            )
    if not columns and WORKSHEET_GRADE in file.header:
        raise CourseError(f"{file.path} is a grading worksheet, which is for one lesson: name that LESSON")
    if not columns:
        raise CourseError(
            f"{file.path} has no column named like a lesson ({', '.join(lessons)}). Make them in Canvas or Moodle and "
            f'download the file again, or name the columns: LESSON="COLUMN". There are {_listed(file.header)}'
        )
    if len(set(columns.values())) < len(columns):
        raise CourseError("two lessons have the same column: give each its own")
    return columns


def columns_named(header, wanted):
    """The indices of the columns of this name, with or without what Canvas and Moodle add: ``Assignment: name (Real)``."""
    for plain in (str, _without_end, lambda name: _without_end(re.sub(r"^[^:：]*[:：]\s*", "", name))):
        found = [index for index, name in enumerate(header) if plain(name) == wanted]
        if found:
            return found
    return []


def _without_end(name):
    return re.sub(r"\s*\([^()]*\)$", "", name)


def student_rows(file, emails, match, taken):
    """``(index of the column that says who a row is about, {row: student})``.

    It is the column with the most ids or e-mail addresses of students, upper and lower case being the same.

    Args:
        file: the `CsvFile`.
        emails: ``{student: e-mail address or None}``.
        match: name of the column; None to find it.
        taken: indices of columns that it cannot be.

    Raises:
        CourseError: there is none, or there are several, or a student has several rows.
    """
    whose = _finder(emails)
    found = {}
    for index in _candidates(file, match, taken):
        if rows := {row: student for row, value in enumerate(file.column(index)) if (student := whose(value))}:
            found[index] = rows
    if not found:
        raise CourseError(
            f"no student of the gradebook is in {file.path}: no column has their ids ({_listed(emails, 3)}), nor the e-mail "
            "addresses that the gradebook has. To enter an address: nbgrader db student add ID --email=ADDRESS"
        )
    most = max(len(set(rows.values())) for rows in found.values())
    best = [index for index, rows in found.items() if len(set(rows.values())) == most]
    if any(found[index] != found[best[0]] for index in best):
        several = _listed(file.header[index] for index in best)
        raise CourseError(f"several columns of {file.path} may say who a row is about: {several}. Add --match COLUMN")
    rows = found[best[0]]
    twice = [student for student, count in Counter(rows.values()).items() if count > 1]
    if twice:
        raise CourseError(
            f"students with more than one row in {file.path}, by its column {_listed([file.header[best[0]]])}: "
            f"{names(twice)}. Remove the rows that are too many, or add --match COLUMN with another column"
        )
    return best[0], rows


def _candidates(file, match, taken):
    if match is None:
        return [index for index in range(len(file.header)) if index not in taken]
    found = columns_named(file.header, match)
    if len(found) != 1:
        which = "several columns" if found else "no column"
        raise CourseError(f"{file.path} has {which} named {one_line(match)!r}. There are {_listed(file.header)}")
    return found


def _finder(emails):
    """A function that gives the student whose id or e-mail address a text is; None if it is nobody's or several students'."""
    known = defaultdict(set)
    for student, email in emails.items():
        for name in (student, email or ""):
            if name.strip():
                known[name.strip().casefold()].add(student)

    def whose(text):
        fitting = known.get(text.casefold(), ())
        return text if text in fitting else min(fitting) if len(fitting) == 1 else None

    return whose


def names(students):
    """How many students, and their ids, for a message on one line."""
    return f"{len(students)} ({', '.join(one_line(student) for student in sorted(students))})"


def _listed(words, most=MOST_LISTED):
    words = list(words)
    return ", ".join(f"“{one_line(word)}”" for word in words[:most]) + (", …" if len(words) > most else "")
