"""Finds a course's checks and probes by the names in ``[tool.autograde]`` of its pyproject.toml.

============================  =========================================================================================
``checks``                    package of the checks: one module or package for each lesson, named like the lesson
                              without its number, with a list ``CHECKS``
``probes``                    package of the probes, which observe a learner's code; visible in the sandbox. Its function
                              ``warm_up()``, if it has one, is called once, before sandboxes are forked
``importable``                further packages of the course that a learner's code may import; those of their modules that
                              a notebook mentions are imported once, before its sandbox is forked
``preload``                   modules that are imported once, before sandboxes are forked
``preload_when_mentioned``    the same, but only once a notebook mentions the word: ``word = "module"``
``refused``                   modules that a learner's code may not import: ``module = "message for the learner"``
``given``                     parts of refused modules that may be imported from a lesson on:
                              ``"module.part" = "NN_topic"``
============================  =========================================================================================
"""

import difflib
import functools
import importlib
import importlib.util
import pkgutil
import sys
import tomllib
from dataclasses import dataclass, field

from autograde.project import Course, CourseError, find_course


@dataclass(frozen=True)
class Registry:
    """What the engine knows of one course. The attributes are those of the table above."""

    course: Course
    checks: str
    probes: str
    importable: tuple[str, ...] = ()
    preload: tuple[str, ...] = ()
    preload_when_mentioned: dict = field(default_factory=dict, hash=False)
    refused: dict = field(default_factory=dict, hash=False)
    given: dict = field(default_factory=dict, hash=False)

    def module_of(self, lesson):
        """The name of the module that holds a lesson's checks."""
        return f"{self.checks}.{lesson.partition('_')[2]}"

    def checks_of(self, lesson):
        """The checks of one lesson, in the order of the lesson; none for a lesson without a module of checks."""
        name = self.module_of(lesson)
        return importlib.import_module(name).CHECKS if importlib.util.find_spec(name) else []

    def given_to(self, lesson):
        """The parts of refused modules that a lesson's code may import."""
        return tuple(part for part, first in self.given.items() if lesson >= first)

    def imported_ahead(self, code):
        """The modules that are imported before `code` gets its sandbox, so that all later sandboxes have them too."""
        mentioned = [module for word, module in self.preload_when_mentioned.items() if word in code]
        return mentioned + [module for module in self._importable_modules if module in code]

    @functools.cached_property
    def _importable_modules(self):
        return [
            module.name
            for package in self.importable
            for module in pkgutil.iter_modules(
                importlib.util.find_spec(package).submodule_search_locations, f"{package}."
            )
        ]

    def find(self, name):
        """The check called `name`.

        Raises:
            KeyError: there is none; the message suggests the closest name.
        """
        known = {check.name: check for lesson in self.course.lessons for check in self.checks_of(lesson)}
        if name in known:
            return known[name]
        near = difflib.get_close_matches(name, known, n=1)
        raise KeyError(f"there is no exercise {name!r}" + (f"; did you mean {near[0]!r}?" if near else ""))


@functools.cache
def of(course):
    """The `Registry` of a `Course`. Its root folder is added to `sys.path`, so that its packages can be imported.

    Raises:
        CourseError: its pyproject.toml has no usable table ``[tool.autograde]``, or a package that it names is not there.
    """
    where = course.root / "pyproject.toml"
    try:
        named = tomllib.loads(where.read_text(encoding="utf-8"))["tool"]["autograde"]
        known = {key: tuple(value) if isinstance(value, list) else value for key, value in named.items()}
        found = Registry(course, **known)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CourseError(
            f"{where} has no usable table [tool.autograde] ({error}); see docs/another_course.md"
        ) from None
    if str(course.root) not in sys.path:
        sys.path.append(str(course.root))
    for package in (found.checks, found.probes, *found.importable):
        _require(package, where)
    return found


def _require(package, where):
    """Raise unless a package that a course names can be found, with a file of its own: a bare folder has no version."""
    try:
        spec = importlib.util.find_spec(package)
    except ModuleNotFoundError:  # of a package around it
        spec = None
    if spec is None or spec.origin is None:
        entrance = where.parent.joinpath(*package.split("."), "__init__.py")
        raise CourseError(f"{where} names the package {package}, but there is no {entrance}; an empty file is enough")


def current():
    """The `Registry` of the current course (see `project.find_course`)."""
    return of(find_course())


class _CheckNamespace:
    """``check.<exercise>``: every check of the course as an attribute."""

    def __getattr__(self, name):
        try:
            return current().find(name)
        except KeyError as error:
            raise AttributeError(error.args[0]) from None

    def __dir__(self):
        registry = current()
        return [check.name for lesson in registry.course.lessons for check in registry.checks_of(lesson)]


check = _CheckNamespace()
