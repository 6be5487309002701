"""``result.json``: the marks of a class and what was judged, for programs. docs/grading.md describes its fields."""

import json

from autograde.batch import graded
from autograde.export.number import DECIMALS

FORMAT = 1  # raised when a field changes its meaning or goes away; new fields may come at any time
CHECK = "check_"  # begins the grade_id of a check's cell


def as_bytes(course, marks):
    """The file of all students in the gradebook.

    Args:
        course: the `Course`.
        marks: `autograde.nbgrader_plugin.marks.Marks`.
    """
    results = graded.results(course, marks.max_scores)
    students = {student: {} for student in marks.emails}
    for lesson, theirs in marks.of.items():
        for student, mark in theirs.items():
            students[student][lesson] = _mark(mark, marks.max_scores[lesson], results[lesson].get(student))
    lessons = {lesson: {"max_score": points} for lesson, points in marks.max_scores.items()}
    # In ASCII, so that no name in it can do anything to a terminal.
    return (json.dumps({"format": FORMAT, "lessons": lessons, "students": students}, indent=1) + "\n").encode()


def _mark(mark, max_score, result):
    verdicts = {verdict["exercise"]: verdict for verdict in result.verdicts} if result else {}
    exercises = {}
    for grade_id, cell in mark.cells.items():
        name = grade_id.removeprefix(CHECK)
        verdict = verdicts.get(name)
        exercises[name] = {
            "score": round(cell.score, DECIMALS),
            "max_score": cell.max_score,
            "passed": verdict and verdict["status"] == "passed",
            "misconception": verdict and verdict["misconception"],
            "needs_manual_grade": cell.needs_manual_grade,
        }
    return {
        "score": round(mark.score, DECIMALS),
        "max_score": max_score,
        "late_penalty": round(mark.late_penalty, DECIMALS),
        "needs_manual_grade": mark.needs_manual_grade,
        "timestamp": mark.timestamp and mark.timestamp.isoformat(timespec="seconds") + "Z",
        "exercises": exercises,
    }
