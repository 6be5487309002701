"""Reads the known answers, right and wrong, for tests and for the sample class. Format: tests/corpus/README.md"""

from dataclasses import dataclass

import jupytext

from autograde import registry
from autograde.project import CourseError


@dataclass(frozen=True)
class Sample:
    """One answer to one exercise.

    Attributes:
        exercise: the check's name.
        style: how it differs from other answers, in a few words.
        source: Python source, as a learner types it.
        misconception: None for a right answer; for a wrong one the id that must be diagnosed, or "" if none must be.
    """

    exercise: str
    style: str
    source: str
    misconception: str | None


def samples(course, lesson):
    """Every known answer of a lesson: those of its corpus file, and the wrong answer of each misconception.

    Raises:
        CourseError: the lesson has checks and no corpus file.
    """
    if not registry.of(course).checks_of(lesson):
        return []
    path = course.root / "tests" / "corpus" / f"{lesson}.py"
    if not path.is_file():
        raise CourseError(
            f"{path} is missing: the known answers are in tests/corpus/ of the course's repository, and an installed "
            "package does not hold them. Run this in a full checkout"
        )
    found = []
    for cell in jupytext.read(path, fmt="py:percent").cells:
        tags = cell.metadata
        if "wheat" in tags:
            found.append(Sample(tags["exercise"], tags["wheat"], cell.source, None))
        elif "chaff" in tags:
            found.append(Sample(tags["exercise"], tags["chaff"], cell.source, tags["misconception"]))
    for check in registry.of(course).checks_of(lesson):
        for known in check.misconceptions:
            found.append(Sample(check.name, known.id, known.source(check.subject), known.id))
    return found
