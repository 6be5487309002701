"""Replaces the functions with which nbgrader's commands search folders.

nbgrader takes a student called ``Doe Jane [12345]`` for a glob pattern, stops at a timestamp that it cannot read, waits
forever at a named pipe, and takes hours for a folder of 20,000 files. It has no settings for these, so `guard` replaces
three functions of its converters.
"""

import contextlib
import datetime
import fnmatch
import glob
import os
import sys
from pathlib import Path

from nbgrader.utils import parse_utc

from autograde.project import CourseError, find_course
from autograde.submission.files import Submission, hand_in_time, without_conflicts


def guard():
    """Replace the functions in this process, if nbgrader has imported its converters."""
    base = sys.modules.get("nbgrader.converters.base")
    if base is not None:
        base.glob = _Glob
        base.find_all_files = files_beside
        sys.modules["nbgrader.coursedir"].CourseDirectory.get_existing_timestamp = _timestamp


def find_folders(pattern):
    """As `glob.glob`, but a path that exists under exactly that name is taken as it is, and so is the folder of a notebook."""
    folder, name = os.path.split(pattern)
    if name.endswith(".ipynb") and os.path.isdir(folder):
        return sorted(os.path.join(folder, found) for found in os.listdir(folder) if _fits(found, name))
    if "*" not in pattern.split(os.sep) and os.path.lexists(pattern):
        return [pattern]
    return glob.glob(pattern)


class _Glob:
    """The functions of the module `glob` that nbgrader's converters use."""

    escape = staticmethod(glob.escape)
    glob = staticmethod(find_folders)


def _fits(name, pattern):
    return not name.startswith(".") and fnmatch.fnmatch(name, pattern)


def files_beside(folder, exclude=()):
    """The files that nbgrader copies along with the notebooks of a folder: those of `Submission.others`.

    Args:
        folder: path.
        exclude: patterns for names of files and folders.
    """
    folder = Path(folder)
    found, _ = Submission("", "", folder).others()
    with contextlib.suppress(
        CourseError
    ):  # nbgrader copies the lesson's own files over them, and fails if one of them is a folder
        lesson = find_course(folder).solved(folder.name).parent
        found = (
            found if lesson == folder.resolve() else without_conflicts(found, Submission("", "", lesson).others()[0])
        )
    timestamp = [Path("timestamp.txt")] if hand_in_time(folder)[0] else []
    return [
        str(folder / path)
        for path in [*found, *timestamp]
        if not any(fnmatch.fnmatch(part, pattern) for part in path.parts for pattern in exclude)
    ]


def _timestamp(_coursedir, folder) -> datetime.datetime | None:
    """As nbgrader's own, but a file without a valid date counts as missing."""
    text, _ = hand_in_time(folder)
    return parse_utc(text) if text else None
