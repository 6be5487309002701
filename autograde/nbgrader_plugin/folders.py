"""How nbgrader's commands look into folders: by name where nbgrader goes by pattern, and no further than we do.

nbgrader takes a student called ``Doe Jane [12345]`` for a pattern, stops at a timestamp that it cannot read, waits for
ever at a pipe, and takes hours for a folder of 20,000 files. It has no setting for any of that, so `guard` replaces the
three functions by which its converters look at folders.
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
from autograde.submission.files import Submission, apart_from, hand_in_time


def guard():
    """Guard the converters of this process, if nbgrader has imported them."""
    base = sys.modules.get("nbgrader.converters.base")
    if base is not None:
        base.glob = _Glob
        base.find_all_files = files_beside
        sys.modules["nbgrader.coursedir"].CourseDirectory.get_existing_timestamp = _timestamp


def find_folders(pattern):
    """As `glob.glob`; but what exists under that very name is meant, and the folder of a notebook is taken by name."""
    folder, name = os.path.split(pattern)
    if name.endswith(".ipynb") and os.path.isdir(folder):
        return sorted(os.path.join(folder, found) for found in os.listdir(folder) if _fits(found, name))
    if "*" not in pattern.split(os.sep) and os.path.lexists(pattern):
        return [pattern]
    return glob.glob(pattern)


class _Glob:
    """What nbgrader's converters use of the module `glob`."""

    escape = staticmethod(glob.escape)
    glob = staticmethod(find_folders)


def _fits(name, pattern):
    return not name.startswith(".") and fnmatch.fnmatch(name, pattern)


def files_beside(folder, exclude=()):
    """The files that nbgrader copies along with the notebooks of a folder: those that `Submission.others` has.

    Args:
        folder: path.
        exclude: patterns for names of files and folders.
    """
    folder = Path(folder)
    found, _ = Submission("", "", folder).others()
    with contextlib.suppress(CourseError):  # nbgrader puts the lesson's own files over them, and stops at a folder
        lesson = find_course(folder).solved(folder.name).parent
        found = found if lesson == folder.resolve() else apart_from(found, Submission("", "", lesson).others()[0])
    timestamp = [Path("timestamp.txt")] if hand_in_time(folder)[0] else []
    return [
        str(folder / path)
        for path in [*found, *timestamp]
        if not any(fnmatch.fnmatch(part, pattern) for part in path.parts for pattern in exclude)
    ]


def _timestamp(_coursedir, folder) -> datetime.datetime | None:
    """As nbgrader's own, but for a file that holds no date: that is one that is not there."""
    text, _ = hand_in_time(folder)
    return parse_utc(text) if text else None
