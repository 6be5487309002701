"""Paths of a course's files, by the directories that its nbgrader_config.py names."""

import os
import re
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

CONFIG = "nbgrader_config.py"
COURSE_VARIABLE = "AUTOGRADE_COURSE"  # environment variable with the path of a course
_LESSON = re.compile(r"\d\d_\w+")


class CourseError(Exception):
    """A problem with the course's files that a person must fix; the message says what and where."""


@dataclass(frozen=True)
class Course:
    """One checkout of a course, by its root folder."""

    root: Path

    @cached_property
    def config(self):
        """nbgrader's configuration as nbgrader reads it: from Jupyter's folders, overridden by the course's own."""
        from jupyter_core.paths import jupyter_config_path
        from traitlets.config import Config, ConfigFileNotFound, JSONFileConfigLoader, PyFileConfigLoader

        config = Config()
        for folder in [*reversed(jupyter_config_path()), str(self.root)]:
            for loader, name in ((JSONFileConfigLoader, "nbgrader_config.json"), (PyFileConfigLoader, CONFIG)):
                try:
                    config.merge(loader(name, path=folder).load_config())
                except ConfigFileNotFound:
                    continue
        return config

    def _folder(self, step):
        return self.root / str(self.config.CourseDirectory.get(f"{step}_directory", step))

    @property
    def lessons(self):
        """The ids of the lessons, in order: the names of the sources ``NN_topic.py``, or of the folders made from them."""
        found = {path.stem for path in self._folder("source").glob("*") if path.suffix == ".py" or path.is_dir()}
        return tuple(sorted(name for name in found if _LESSON.fullmatch(name)))

    def source(self, lesson):
        """The path of a lesson's source file."""
        return self._folder("source") / f"{lesson}.py"

    def solved(self, lesson):
        """The path of the solved, executed notebook, which is nbgrader's source."""
        return self._folder("source") / lesson / f"{lesson}.ipynb"

    def release(self, lesson):
        """The path of the students' notebook, which is nbgrader's release."""
        return self._folder("release") / lesson / f"{lesson}.ipynb"

    @property
    def submitted(self):
        """The folder of submissions: ``<student>/<lesson>/<lesson>.ipynb``."""
        return self._folder("submitted")

    @property
    def autograded(self):
        """The folder of graded notebooks: ``<student>/<lesson>/<lesson>.ipynb``."""
        return self._folder("autograded")

    @property
    def feedback(self):
        """The folder of feedback pages: ``<student>/<lesson>/<lesson>.html``."""
        return self._folder("feedback")


def find_course(start=None):
    """The course that contains `start` (default: the working directory), else the one that the environment variable
    `COURSE_VARIABLE` names (set for a lesson that is built in a temporary folder), else the one that contains this package.

    Raises:
        CourseError: none of them is a course.
    """
    here = Path(start or ".").resolve()
    named = os.environ.get(COURSE_VARIABLE)
    for folder in (here, *here.parents, *([Path(named)] if named else []), Path(__file__).resolve().parents[1]):
        if all(os.path.isfile(folder / name) for name in (CONFIG, "pyproject.toml")):  # False where it may not be read
            return Course(folder)
    raise CourseError(f"no course here: run this inside a checkout, where {CONFIG} and pyproject.toml are")


def resolve_lessons(course, words):
    """The full lesson ids for words such as ``03``, ``03_two`` or a whole id; all lessons if there are no words.

    Raises:
        CourseError: a word that fits no lesson, or more than one.
    """
    chosen = []
    for word in words or course.lessons:
        word = re.sub(r"(\.py|\.ipynb|/)$", "", str(word)).split("/")[-1]
        fitting = [lesson for lesson in course.lessons if lesson.startswith(word)]
        if len(fitting) != 1:
            raise CourseError(f"no lesson {word!r}; there are {', '.join(course.lessons)}")
        chosen.append(fitting[0])
    return chosen
