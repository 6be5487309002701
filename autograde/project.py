"""Where the course's files are."""

import re
from dataclasses import dataclass
from pathlib import Path

from autograde.registry import LESSONS


class CourseError(Exception):
    """Something about the course's files that a person must mend; the message says what and where."""


@dataclass(frozen=True)
class Course:
    """One checkout of the course, by its root folder."""

    root: Path

    def source(self, lesson):
        """The file a lesson is written in."""
        return self.root / "solutions" / f"{lesson}.py"

    def solved(self, lesson):
        """The executed notebook: what a reader reads, and nbgrader's source."""
        return self.root / "solutions" / lesson / f"{lesson}.ipynb"

    def release(self, lesson):
        """The student's notebook."""
        return self.root / "notebooks" / lesson / f"{lesson}.ipynb"

    @property
    def submitted(self):
        """The folder of what a class handed in: ``<student>/<lesson>/<lesson>.ipynb``."""
        return self.root / "autograde" / "submitted"


def find_course(start=None):
    """The course that `start` (the working directory when left out) lies in, else the one this package lies in.

    Raises:
        CourseError: neither is a course.
    """
    here = Path(start or ".").resolve()
    for folder in (here, *here.parents, Path(__file__).resolve().parents[1]):
        if (folder / "nbgrader_config.py").is_file() and (folder / "solutions").is_dir():
            return Course(folder)
    raise CourseError("no course here: run this inside a checkout, where nbgrader_config.py and solutions/ are")


def choose(lessons):
    """Full lesson ids for what a person typed: ``03``, ``03_two`` or the whole id; all lessons when nothing was typed.

    Raises:
        CourseError: a word that fits no lesson.
    """
    chosen = []
    for word in lessons or LESSONS:
        word = re.sub(r"(\.py|\.ipynb|/)$", "", str(word)).split("/")[-1]
        fitting = [lesson for lesson in LESSONS if lesson.startswith(word)]
        if len(fitting) != 1:
            raise CourseError(f"no lesson {word!r}; there are {', '.join(LESSONS)}")
        chosen.append(fitting[0])
    return chosen
