"""Collects the results of a class from ``autograde grade``, and from notebooks graded by ``nbgrader autograde``."""

import contextlib
import json
from collections import defaultdict
from dataclasses import dataclass

from autograde.batch.results import FAILED, GRADED, Result, Store
from autograde.judge.verdict import Verdict
from autograde.nbgrader_plugin import config
from autograde.nbgrader_plugin.gradebook import GradebookError, students
from autograde.notebook.cells import METADATA
from autograde.submission import files

PASSED, PARTLY, WRONG, NOT_STARTED, NOT_JUDGED = "passed", "partly", "wrong", "not_started", "not_judged"


@dataclass(frozen=True)
class Mistake:
    """A misconception in one exercise, and the students who had it.

    Attributes:
        exercise, misconception: the name of the exercise and the id of the misconception.
        thought, hint: what the learner probably thought, and the hint that was shown.
        students: sorted ids.
    """

    exercise: str
    misconception: str
    thought: str
    hint: str
    students: tuple


class Lesson:
    """The results of one lesson: graded ones, and failed ones, which the grader could not produce."""

    def __init__(self, name, results):
        self.name = name
        self.graded = [result for result in results if result.status == GRADED]
        self.failed = [result for result in results if result.status == FAILED]
        self.exercises = list(dict.fromkeys(v["exercise"] for r in self.graded for v in r.verdicts))

    @property
    def points(self):
        """The highest possible score."""
        return max((result.points for result in self.graded), default=0.0)

    def verdicts(self, exercise):
        """``[(student, verdict)]`` of one exercise."""
        return [(r.student, v) for r in self.graded for v in r.verdicts if v["exercise"] == exercise]

    def mistakes(self):
        """Every `Mistake` that a student made, the most common first."""
        students = defaultdict(list)
        texts = {}
        for result in self.graded:
            for verdict in result.verdicts:
                if verdict["misconception"]:
                    key = verdict["exercise"], verdict["misconception"]
                    students[key].append(result.student)
                    texts[key] = verdict["thought"], verdict["hint"]
        found = [Mistake(*key, *texts[key], tuple(sorted(ids))) for key, ids in students.items()]
        return sorted(found, key=lambda mistake: (-len(mistake.students), mistake.exercise, mistake.misconception))


def outcome(verdict):
    """The outcome of a verdict: PASSED, PARTLY, WRONG, NOT_STARTED or NOT_JUDGED."""
    if verdict["status"] in (PASSED, NOT_STARTED):
        return verdict["status"]
    if verdict["status"] in ("damaged", "stopped", "missing"):
        return NOT_JUDGED
    return PARTLY if verdict["score"] > 0 else WRONG


def collect(course, lessons):
    """A `Lesson` for each of `lessons` that has results, in order."""
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
    return [
        Lesson(lesson, [known[student] for student in sorted(known)]) for lesson, known in by_lesson.items() if known
    ]


def roster(course):
    """The sorted ids of all students in the gradebook or in the folder of submissions."""
    known = {path.name for path in files.student_folders(course)}
    with contextlib.suppress(GradebookError):  # then only the folders are known
        known |= students(config.load(course))
    return sorted(known)


def _from_notebook(path, student, lesson):
    """The `Result` in the metadata of a notebook that nbgrader has graded; None if there is none in our format."""
    try:
        graded = json.loads(path.read_bytes())["metadata"][METADATA]["graded"]
        verdicts = [Verdict.from_data(verdict).as_data() for verdict in graded["verdicts"].values()]
        isolation = graded["isolation"] and {key: str(graded["isolation"][key]) for key in ("level", "message")}
        known = {"message": str(graded.get("unreadable") or ""), "isolation": isolation, "verdicts": verdicts}
        cells = {f"check_{verdict['exercise']}": (verdict["score"], verdict["points"]) for verdict in verdicts}
        return Result(student, lesson, GRADED, "", "", cells=cells, seconds=float(graded["seconds"]), **known)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
