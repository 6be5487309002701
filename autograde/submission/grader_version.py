"""The version of a lesson's grading: a hash of everything that decides a score."""

import functools
import hashlib

from autograde import registry
from autograde.source_files import PACKAGE, SourceFiles

# The modules that run and judge a notebook, besides the lesson's checks. Probes are called by name, not imported.
ENTRY_POINTS = (
    "submission/grading_process.py",
    "submission/grade_submission.py",
    "sandbox/child/main.py",
    "sandbox/child/forkserver.py",
)
LIBRARIES = ("torch", "numpy", "ipython")


def of_lesson(course, lesson, reference):
    """A short hash of the code that grades a lesson, and of its reference notebook.

    Args:
        course: the `Course`.
        lesson: its id.
        reference: text of the reference notebook.

    Returns:
        A string that changes with that notebook, the lesson's checks, all source files that they import, the code that
        runs a notebook, and the versions of the libraries; not with another lesson.
    """
    return hashlib.sha256(f"{of_code(course, lesson)} {reference}".encode()).hexdigest()[:16]


@functools.cache
def of_code(course, lesson):
    """The part of `of_lesson` that does not depend on the reference notebook."""
    known = registry.of(course)
    files = SourceFiles(course)
    starts = [PACKAGE / name for name in ENTRY_POINTS] + [files.of_module(known.module_of(lesson))]
    starts += files.of_package(known.probes)
    starts += [files.of_module(part) for part in known.given_to(lesson)]
    return files.digest(files.reached(filter(None, starts)), LIBRARIES)
