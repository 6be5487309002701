"""A copy of the course with a small lesson of its own, for tests that run nbgrader's commands for real."""

import copy
import os
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat

from autograde.authoring import lesson, release
from autograde.project import Course

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
LESSON = "90_sample"

SOURCE = '''\
# %% [markdown]
r"""
# 90 · A sample

Three small exercises.
"""

# %%
import torch

from autograde import check

print("the first cell ran")


# %% exercise="double"
def double(x):
    ### BEGIN SOLUTION
    return 2 * x
    ### END SOLUTION


# %% check="double"
check.double(double)


# %% exercise="halve"
def halve(x):
    ### BEGIN SOLUTION
    return x / 2
    ### END SOLUTION


# %% check="halve"
check.halve(halve)

# %% demonstration=true
print("the demonstration ran")

# %% [markdown]
r"""
The last one.
"""


# %% exercise="total"
def total(x):
    ### BEGIN SOLUTION
    return x.sum()
    ### END SOLUTION


# %% check="total"
check.total(total)
'''

# As a learner writes them: the whole cell.
RIGHT = {
    "double": "def double(x):\n    return x + x\n",
    "halve": "def halve(x):\n    return 0.5 * x\n",
    "total": "def total(x):\n    return torch.sum(x)\n",
}
POINTS = {"double": 2.0, "halve": 3.0, "total": 1.0}


def make(folder, monkeypatch):
    """A `Course` in `folder` with the course's own lessons and the sample, built but for its outputs; and makes the
    sample's checks known to this process as well.
    """
    skipped = shutil.ignore_patterns("__pycache__", "gradebook.db*", "submitted", "autograded", "feedback", "replaced")
    shutil.copytree(ROOT / "autograde", folder / "autograde", ignore=skipped)
    for part in ("solutions", "notebooks", "lora_ref"):
        shutil.copytree(ROOT / part, folder / part, ignore=skipped)
    shutil.copy(ROOT / "nbgrader_config.py", folder)
    shutil.copy(ROOT / "pyproject.toml", folder)
    shutil.copy(HERE / "sample_checks.py", folder / "autograde" / "checks" / "sample.py")
    register(monkeypatch)
    course = Course(folder)
    course.source(LESSON).write_text(SOURCE, encoding="utf-8")
    solved = lesson.read(course, LESSON)
    released = release.generate(course, solved, LESSON)
    lesson.write(solved, course.solved(LESSON))
    lesson.write(released, course.release(LESSON))
    return course


def register(monkeypatch):
    """Make the sample's checks known to this process."""
    import sample_checks

    theirs = Course.lessons.fget
    monkeypatch.setattr(Course, "lessons", property(lambda course: tuple(sorted({*theirs(course), LESSON}))))
    monkeypatch.setitem(sys.modules, "autograde.checks.sample", sample_checks)


def plant(released, answers):
    """The release with answers written into it the way a learner does: over the whole of the cell.

    Args:
        released: the notebook that students get; is not changed.
        answers: source by exercise.
    """
    notebook = copy.deepcopy(released)
    cells = {cell.metadata.get("nbgrader", {}).get("grade_id"): cell for cell in notebook.cells}
    for exercise, source in answers.items():
        assert cells[exercise].metadata.nbgrader.solution, f"{exercise} is not an answer cell"
        cells[exercise].source = source.rstrip("\n")
    return notebook


def hand_in(course, student, notebook, lesson_id=LESSON):
    """Put a notebook (bytes, or a notebook) where nbgrader looks for what `student` handed in; its path."""
    path = course.submitted / student / lesson_id / f"{lesson_id}.ipynb"
    path.parent.mkdir(parents=True, exist_ok=True)
    data = notebook if isinstance(notebook, bytes) else nbformat.writes(notebook, version=4).encode()
    path.write_bytes(data)
    return path


def run(course, *command, code=0):
    """Run a command of this environment in the course, as a person does; what it said."""
    bin_folder = Path(sys.executable).parent
    environment = os.environ | {"PYTHONPATH": str(course.root), "PATH": f"{bin_folder}{os.pathsep}{os.environ['PATH']}"}
    done = subprocess.run(
        command, cwd=course.root, env=environment, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout + done.stderr


def autograded(course, student, lesson_id=LESSON):
    """The graded notebook of a student."""
    path = course.root / "autograde" / "autograded" / student / lesson_id / f"{lesson_id}.ipynb"
    return nbformat.read(path, as_version=4)


def feedback(course, student, lesson_id=LESSON):
    """A student's feedback page, as text."""
    path = course.root / "autograde" / "feedback" / student / lesson_id / f"{lesson_id}.html"
    return path.read_text(encoding="utf-8")


def scores(course, student, lesson_id=LESSON):
    """What the gradebook says: ``{grade_id: score}``."""
    from nbgrader.api import Gradebook

    with Gradebook(f"sqlite:///{course.root}/autograde/gradebook.db", "lora") as book:
        notebook = book.find_submission_notebook(lesson_id, lesson_id, student)
        return {grade.name.removeprefix("check_"): grade.score for grade in notebook.grades}
