"""Replaces the functions with which nbgrader's commands and formgrader search folders.

nbgrader takes a student called ``Doe Jane [12345]`` for a glob pattern, stops at a timestamp that it cannot read, waits
forever at a named pipe, takes hours for a folder of 20,000 files, follows a link that has taken the place of a file
since it was found, and ends at a second failure to remove a folder. It has no settings for these, so `guard` replaces
functions of its converters, and the one with which formgrader's lists read the time of each submission.
"""

import contextlib
import datetime
import fnmatch
import functools
import glob
import os
import shutil
import sys
from pathlib import Path

from nbgrader.utils import parse_utc

from autograde.notebook import pictures
from autograde.submission.files import (
    MAX_BYTES,
    NotRegular,
    Submission,
    TooLarge,
    hand_in_time,
    read_regular,
    without_conflicts,
)


def guard(course):
    """Replace the functions in this process, if nbgrader has imported its converters.

    Args:
        course: the `Course` that this process grades. It is not looked for from a folder of submissions: a configuration
            that lies in one would be run.
    """
    base = sys.modules.get("nbgrader.converters.base")
    if base is not None:
        base.glob = _Glob
        base.shutil = _Copying(course)
        base.rmtree = functools.partial(_without_stopping, base.rmtree)
        base.remove = functools.partial(_without_stopping, base.remove)
        base.find_all_files = functools.partial(files_beside, course)
        sys.modules["nbgrader.coursedir"].CourseDirectory.get_existing_timestamp = _timestamp
    api = sys.modules.get("nbgrader.apps.api")
    if api is not None:
        api.NbGraderAPI.get_submitted_timestamp = _submitted_timestamp


def find_folders(pattern):
    """As `glob.glob`, but a path that exists under exactly that name is taken as it is, and so is the folder of a notebook."""
    folder, name = os.path.split(pattern)
    if name.endswith(".ipynb") and os.path.isdir(folder):
        if not os.access(folder, os.R_OK):  # whether there is a notebook is found out when it is read
            return []
        return sorted(os.path.join(folder, found) for found in os.listdir(folder) if _fits(found, name))
    if "*" not in pattern.split(os.sep) and os.path.lexists(pattern):
        return [pattern]
    return glob.glob(pattern)


class _Glob:
    """The functions of the module `glob` that nbgrader's converters use."""

    escape = staticmethod(glob.escape)
    glob = staticmethod(find_folders)


class _Copying:
    """The function of the module `shutil` with which nbgrader's converters copy the files beside a notebook."""

    def __init__(self, course):
        self.course = course  # whose folders are not known yet

    def copy(self, source, target):
        """As `shutil.copy`; but what was handed in is read as in `Submission.contents`, and may be left out."""
        source, submitted = (Path(os.path.normpath(path)) for path in (source, self.course.submitted))
        if not source.is_relative_to(submitted):
            return shutil.copy(source, target)
        try:
            content = read_regular(source, MAX_BYTES, submitted)
        except (OSError, NotRegular, TooLarge):  # it has changed in the meantime
            return target
        Path(target).write_bytes(content)
        return target


def _without_stopping(remove, path):
    """Remove what nbgrader has written before, if that is allowed. It tries so once more after an exception, and a second
    one would end its run for everybody; what cannot be removed cannot be written either, which costs that student alone.
    """
    with contextlib.suppress(OSError):
        remove(path)


def _fits(name, pattern):
    return not name.startswith(".") and fnmatch.fnmatch(name, pattern)


def files_beside(course, folder, exclude=()):
    """The files that nbgrader copies along with the notebooks of a folder: those of `Submission.others`.

    Args:
        course: the `Course`.
        folder: path, of a submission or of a lesson's source.
        exclude: patterns for names of files and folders.
    """
    folder = Path(folder)
    found, _ = Submission("", "", folder).others()
    lesson = course.solved(folder.name).parent
    if lesson.resolve() != folder.resolve():
        # nbgrader copies the lesson's own files over them, and fails if one of them is a folder
        found = without_conflicts(found, Submission("", "", lesson).others()[0])
    if folder.is_relative_to(course.autograded):
        # nbgrader copies them to where it writes the page: a folder of that name, or a file that is read-only, would prevent it
        found = [path for path in found if path.parts[0] != f"{folder.name}.html" and pictures.may_show(folder / path)]
    timestamp = [Path("timestamp.txt")] if hand_in_time(folder)[0] else []
    return [
        str(folder / path)
        for path in [*found, *timestamp]
        if not any(fnmatch.fnmatch(part, pattern) for part in path.parts for pattern in exclude)
    ]


def _timestamp(_coursedir, folder) -> datetime.datetime | None:
    """As nbgrader's own, but a file without a valid date counts as missing."""
    folder = Path(folder)
    text, _ = hand_in_time(folder, folder.parents[1] if len(folder.parts) > 2 else None)
    return parse_utc(text) if text else None


def _submitted_timestamp(api, lesson, student) -> datetime.datetime | None:
    """The same for one submission, as formgrader asks for it."""
    return _timestamp(api.coursedir, api.coursedir.format_path(api.coursedir.submitted_directory, student, lesson))
