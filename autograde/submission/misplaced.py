"""Says what lies where a notebook or a student's folder was expected: archives, folders in folders, other names."""

import os
from pathlib import Path

from autograde.terminal import one_line

ARCHIVES = (".zip", ".tar", ".gz", ".tgz", ".bz2", ".xz", ".7z", ".rar")
LITTER = {"__MACOSX", "__pycache__"}  # made by archive programs and by Python, not by a student
DEEPEST = 4  # folders within folders that are looked into
MOST = 1_000  # names that are looked at


def is_archive(name):
    """Whether a file's name is that of an archive."""
    return name.lower().endswith(ARCHIVES)


def is_litter(name):
    """Whether a file or folder is not a student's: hidden, or made by a program."""
    return name[:1] == "." or name in LITTER


def in_place_of_notebook(folder, lesson):
    """What a folder holds in place of ``<lesson>.ipynb``, as the end of a sentence; empty where it holds nothing."""
    found = _names(folder)
    if deeper := next((path for path in found if path.name == f"{lesson}.ipynb" and path.parent.parts), None):
        return f"; it is deeper, in {_quoted(deeper.parent)}"
    if archive := next((path for path in found if is_archive(path.name)), None):
        return f", but the archive {_quoted(archive)}, which has to be unpacked"
    likely = [path for path in found if ".ipynb" in path.name.lower()] or found
    return f", but {_quoted(likely[0])}" if likely else ""


def in_place_of_lesson(path, lessons):
    """What something in a student's folder is that is no lesson's folder, as the end of a sentence.

    Args:
        path: a file or folder.
        lessons: ids.
    """
    if is_archive(path.name):
        return "is an archive; unpack it, so that the lesson's folder is there"
    if path.is_symlink():
        return "is a link to another place; left alone"
    if not path.is_dir():
        lesson = next((name for name in lessons if name in path.name), None)
        if lesson is None or ".ipynb" not in path.name.lower():
            return "is no lesson of this course; left alone"
        return f"is a file where the folder of a lesson is expected; move it to {lesson}/{lesson}.ipynb"
    for below in _names(path):
        lesson = next((name for name in lessons if name in (below.name, below.stem)), None)
        if lesson and below.suffix in ("", ".ipynb"):
            return f"is no lesson of this course, but holds {_quoted(below)}; move that to where {lesson}/{lesson}.ipynb is expected"
        if is_archive(below.name):
            return f"is no lesson of this course, but holds the archive {_quoted(below)}, which has to be unpacked"
    return "is no lesson of this course; left alone"


def in_place_of_student(path, lessons):
    """What something in the folder of submissions is that is no student's folder, as the end of a sentence."""
    if is_archive(path.name):
        return "is an archive, not a student's folder; unpack it, so that there is a folder for each student"
    if path.suffix == ".ipynb":
        lesson = next((name for name in lessons if name in path.name), "LESSON")
        return f"is a notebook, not a student's folder; move it to STUDENT/{lesson}/{lesson}.ipynb"
    return "is a file, not a student's folder; left alone"


def _names(folder):
    """Paths relative to a folder of what it holds, those in folders of it after its own; links are not followed."""
    found, waiting = [], [Path()]
    while waiting and len(found) < MOST:
        below = waiting.pop(0)
        try:
            with os.scandir(Path(folder, below)) as entries:
                here = sorted((entry for entry in entries if not is_litter(entry.name)), key=lambda entry: entry.name)
        except OSError:
            continue
        found += [below / entry.name for entry in here]
        if len(below.parts) < DEEPEST:
            waiting += [below / entry.name for entry in here if entry.is_dir(follow_symlinks=False)]
    return found


def _quoted(path):
    return repr(one_line(Path(path).as_posix()))
