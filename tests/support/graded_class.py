"""A class of the sample course, with work of every kind, taken through nbgrader's commands as an instructor gives them."""

import hashlib
from dataclasses import dataclass

import nbformat
from damaged import CASES
from sample_course import LESSON, RIGHT, copy_of, hand_in, plant, run

from autograde.project import Course

CELL_SECONDS, PROBE_SECONDS = 10, 6  # long for arithmetic on a busy machine, short for those that never end
CONFIG = f"""
c.Execute.timeout = {CELL_SECONDS}
c.Execute.limits = {{"probe": {PROBE_SECONDS}, "grace": 2}}
"""
CHANGED = 'print("the demonstration ran, and was changed")'
NOISY = """import sys
import warnings

warnings.warn("this cell warns")
print("and writes to stderr", file=sys.stderr)


def double(x):
    warnings.warn("so does every call")
    print("of it", file=sys.stderr)
    return x + x
"""
HALF_RIGHT = "def halve(x):\n    return abs(x) / 2\n"
SQUARED = "def double(x):\n    return x ** 2\n"


@dataclass
class Class:
    """A class after ``nbgrader autograde``, ``generate_feedback`` and ``export``.

    Attributes:
        course: its `Course`; not to be changed.
        damaged: names of the damaged submissions in it, of `damaged.CASES`.
        log: what the commands said.
        before, after: `fingerprints` of what was handed in, before the commands and after them.
    """

    course: Course
    damaged: set
    log: str
    before: dict
    after: dict


def make(sample, folder, damaged):
    """Hand in the class and grade it; a `Class`.

    Args:
        sample: the sample course, built.
        folder: where the copy of it goes that is graded.
        damaged: names of the damaged submissions to have among the others.
    """
    course = copy_of(sample, folder)
    with open(course.root / "nbgrader_config.py", "a", encoding="utf-8") as config:
        config.write(CONFIG)
    answered = plant(nbformat.read(course.release(LESSON), as_version=4), RIGHT)
    _hand_in_whole(course)
    for name in damaged:
        case = CASES[name]
        if case.file:
            hand_in(course, name, case.file(answered))
        else:
            (course.submitted / name / LESSON).mkdir(parents=True)
            case.lay(course.submitted / name / LESSON, answered)
    if damaged:
        (course.submitted / "bad_date" / LESSON).mkdir(parents=True)
        (course.submitted / "bad_date" / LESSON / "timestamp.txt").write_text("yesterday, I think", encoding="utf-8")
    before = fingerprints(course)
    log = run(course, "nbgrader", "autograde", LESSON)
    log += run(course, "nbgrader", "generate_feedback", LESSON)
    log += run(course, "nbgrader", "export")
    return Class(course, set(damaged), log, before, fingerprints(course))


def _hand_in_whole(course):
    """Work that nothing has happened to: right, wrong in two ways, noisy, with outputs, untouched; right work at both ends."""
    released = nbformat.read(course.release(LESSON), as_version=4)
    for student in ("aaron", "alice", "zoe"):
        hand_in(course, student, plant(released, RIGHT))
    hand_in(course, "bob", plant(released, RIGHT | {"halve": HALF_RIGHT, "double": SQUARED}))
    noisy = plant(released, RIGHT | {"double": NOISY})
    for cell in noisy.cells:
        if cell.source == 'print("the demonstration ran")':
            cell.source = CHANGED
    hand_in(course, "carol", noisy)
    shown = plant(released, RIGHT)
    for cell in shown.cells:
        if cell.cell_type == "code":
            cell.outputs = [nbformat.v4.new_output("display_data", data={"image/png": "c2Vlbg=="})]
    hand_in(course, "erin", shown)
    hand_in(course, "dave", released)


def fingerprints(course):
    """Of every file that was handed in: ``{path: (is a link, time of the last change, hash)}``."""
    return {
        str(path): (path.is_symlink(), path.stat().st_mtime_ns, hashlib.sha256(path.read_bytes()).hexdigest())
        for path in course.submitted.rglob("*")
        if path.is_file()
    }
