"""Collects the results of a class, by lesson."""

import contextlib
from collections import defaultdict
from dataclasses import dataclass

from autograde.batch.graded import results
from autograde.batch.results import FAILED, GRADED
from autograde.nbgrader_plugin import config
from autograde.nbgrader_plugin.gradebook import GradebookError, students
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
    return [
        Lesson(lesson, [known[student] for student in sorted(known)])
        for lesson, known in results(course, lessons).items()
        if known
    ]


def roster(course):
    """The sorted ids of all students in the gradebook or in the folder of submissions."""
    known = {path.name for path in files.student_folders(course)}
    with contextlib.suppress(GradebookError):  # then only the folders are known
        known |= students(config.load(course))
    return sorted(known)
