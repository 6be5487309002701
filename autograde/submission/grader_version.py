"""Which version of a lesson's grading a result was made with: a hash of everything that decides a mark."""

import functools
import hashlib

from autograde import registry
from autograde.source_files import PACKAGE, SourceFiles

# What runs and judges a notebook, besides the lesson's own checks. Probes are asked for by name.
ENTRANCES = (
    "submission/grading_process.py",
    "submission/grade_submission.py",
    "sandbox/child/main.py",
    "sandbox/child/forkserver.py",
)
LIBRARIES = ("torch", "numpy", "ipython")


def of_lesson(course, lesson, reference):
    """A short hash of what grades a lesson.

    Args:
        course: the `Course`.
        lesson: its id.
        reference: text of the notebook that submissions are held against.

    Returns:
        A string that changes with that notebook, the lesson's checks and all source these lead to, the way a notebook
        is run, and the libraries; not with another lesson.
    """
    return hashlib.sha256(f"{of_code(course, lesson)} {reference}".encode()).hexdigest()[:16]


@functools.cache
def of_code(course, lesson):
    """The part of `of_lesson` that a worker can tell by itself."""
    known = registry.of(course)
    files = SourceFiles(course)
    starts = [PACKAGE / name for name in ENTRANCES] + [files.of_module(known.module_of(lesson))]
    starts += files.of_package(known.probes)
    starts += [files.of_module(part) for part in known.given_to(lesson)]
    return files.digest(files.reached(filter(None, starts)), LIBRARIES)
