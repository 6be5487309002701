"""The command ``autograde export``."""

import os
import shutil
import tempfile

from autograde.export import new_file, result_json
from autograde.export.csv_file import CsvFile
from autograde.export.fill import fill_in
from autograde.export.find import columns_named, names
from autograde.nbgrader_plugin import config, marks
from autograde.nbgrader_plugin.gradebook import GradebookError
from autograde.project import CourseError, resolve_lessons

NAMES = {"canvas": "canvas.csv", "moodle": "moodle.csv", "json": "result.json"}


def run(course, kind, words, *, fill=None, match=None, output=None, db=None):
    """Write a file with the marks.

    Args:
        course: the `Course`.
        kind: a key of `NAMES`.
        words: lessons, each as ``LESSON`` or ``LESSON=COLUMN``; none for all in the gradebook.
        fill: path of a file from Canvas or Moodle to fill; None to make a new one.
        match: name of the column of that file that says who a row is about; None to find it.
        output: path of the file to write; None for ``canvas.csv``, … beside the folder of graded notebooks.
        db: URL of the gradebook; None for the configured one.

    Returns:
        ``(path, what it holds, as a sentence, [notices for a person])``.

    Raises:
        CourseError: a problem that a person must fix first; nothing was written.
    """
    chosen = _chosen(course, words)
    if kind == "json" and (fill or any(chosen.values())):
        raise CourseError("result.json has no columns: --fill and LESSON=COLUMN are for canvas and moodle")
    if match and not fill:
        raise CourseError("--match names a column of the file to fill: add --fill FILE")
    target = (output or course.autograded.parent / NAMES[kind]).resolve()
    if fill and not output and target == fill.resolve():
        raise CourseError(f"{fill} would be written over: name the file to write with -o (the same one, if you like)")
    try:
        known = marks.read(config.load(course, db), list(chosen) or course.lessons)
    except GradebookError as error:
        raise CourseError(str(error)) from None
    if missing := [lesson for lesson in chosen if lesson not in known.of]:
        raise CourseError(f"no submission of {', '.join(missing)} is in the gradebook; run: autograde grade")
    if not known.of:
        which = f" {db.split('@')[-1]}" if db else ""  # without a password
        raise CourseError(f"no submission is in the gradebook{which} yet; run: autograde grade" + " --db …" * bool(db))
    content, lessons, said, notices = _content(course, kind, known, chosen, fill, match)
    for lesson in lessons:
        if waiting := [student for student, mark in known.of[lesson].items() if mark.needs_manual_grade]:
            notices.append(
                f"{lesson} has work that still needs manual grading, with its marks so far: {names(waiting)}"
            )
    _replace(target, content)
    return target, said, notices


def _chosen(course, words):
    """``{lesson: name of its column, or None}``."""
    chosen = {}
    for word in words:
        name, equals, column = word.partition("=")
        [lesson] = resolve_lessons(course, [name])
        if lesson in chosen:
            raise CourseError(f"{lesson} is named twice")
        if equals and not column.strip():
            raise CourseError(f"{name}= names no column")
        chosen[lesson] = column.strip() or None
    return chosen


def _content(course, kind, known, chosen, fill, match):
    """``(bytes of the file, its lessons, what it holds, notices)``."""
    if kind == "json":
        said = f"{sum(map(len, known.of.values()))} marks, {len(known.emails)} students"
        return result_json.as_bytes(course, known), list(known.of), said, []
    if fill:
        file = CsvFile(fill)
        filled = fill_in(file, known, chosen, match)
        said = f"{filled.count} marks of {', '.join(filled.lessons)}; students found by “{filled.matched}”"
        others = [lesson for lesson in course.lessons if chosen and lesson not in chosen]
        if left := [lesson for lesson in others if columns_named(file.header, lesson)]:
            filled.notices.append(f"left as they were, since other lessons are named: {', '.join(left)}")
        return file.as_bytes(), filled.lessons, said, filled.notices
    columns = {lesson: chosen.get(lesson) or lesson for lesson in known.of}
    content, left_out = getattr(new_file, kind)(known, columns)
    notices = []
    if left_out:
        notices.append(f"left out, since their ids could do harm in a spreadsheet: {names(left_out)}")
    count = sum(len(known.of[lesson].keys() - left_out) for lesson in columns)
    return content, list(columns), f"{count} marks of {', '.join(columns)}", notices


def _replace(target, content):
    """Write a file at once, or leave what is there."""
    half = None
    try:
        if target.exists() and not target.is_file():
            raise CourseError(f"{target} is not a file: name another one with -o")
        descriptor, half = tempfile.mkstemp(dir=target.parent, prefix=".", suffix=".half")
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
        if target.exists():
            shutil.copymode(target, half)
        os.replace(half, target)
        half = None
    except OSError as error:
        raise CourseError(f"{target} cannot be written: {error.strerror}") from None
    finally:
        if half:
            os.unlink(half)
