"""All results of a class: those of ``autograde grade``, and those in notebooks that ``nbgrader autograde`` has graded."""

import dataclasses
import json

from autograde.batch.results import GRADED, Result, Store
from autograde.judge.verdict import Verdict
from autograde.notebook.cells import METADATA
from autograde.submission.files import Submission

_NOT_OURS = (OSError, ValueError, KeyError, TypeError, AttributeError)  # what reading another notebook raises


def results(course, lessons):
    """``{lesson: {student: Result}}`` for each of `lessons`, in order."""
    store = Store(course.autograded)
    by_lesson = {lesson: {} for lesson in lessons}
    for result in store.all(lessons):
        by_lesson[result.lesson][result.student] = result
    for lesson, known in by_lesson.items():
        for path in store.graded.glob(f"*/{lesson}/{lesson}.ipynb"):
            student = path.parts[-3]
            if student not in known or (known[student].status == GRADED and not store.intact(known[student])):
                if result := _from_notebook(path, student, lesson):
                    known[student] = result
    return by_lesson


def by_nbgrader(store, submission):
    """The whole `Result` of a submission that ``nbgrader autograde`` has graded, as its graded notebook says; None if there
    is no such notebook, or if something in it was stopped that might have come to its end on an idle machine.
    """
    path = store.notebook(submission.student, submission.lesson)
    try:
        metadata = json.loads(path.read_bytes())["metadata"][METADATA]
        graded = metadata["graded"]
        result = dataclasses.replace(
            _from_metadata(graded, submission.student, submission.lesson),
            content=graded["content"],
            version=metadata["version"],
            cells=graded["cells"],
            comments=graded["comments"],
            timestamp=Submission(submission.student, submission.lesson, path.parent).timestamp(),
            bytes=path.stat().st_size,
        )
        return None if graded["starved"] else result
    except _NOT_OURS:
        return None


def _from_notebook(path, student, lesson):
    """The `Result` in the metadata of a notebook that nbgrader has graded; None if there is none in our format."""
    try:
        return _from_metadata(json.loads(path.read_bytes())["metadata"][METADATA]["graded"], student, lesson)
    except _NOT_OURS:
        return None


def _from_metadata(graded, student, lesson):
    verdicts = [Verdict.from_data(verdict).as_data() for verdict in graded["verdicts"].values()]
    isolation = graded["isolation"] and {key: str(graded["isolation"][key]) for key in ("level", "message")}
    known = {"message": str(graded.get("unreadable") or ""), "isolation": isolation, "verdicts": verdicts}
    cells = {f"check_{verdict['exercise']}": (verdict["score"], verdict["points"]) for verdict in verdicts}
    return Result(student, lesson, GRADED, "", "", cells=cells, seconds=float(graded["seconds"]), **known)
