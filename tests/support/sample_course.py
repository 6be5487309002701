"""The sample course, a second one that only tests have (tests/second_course/), and nbgrader's commands run in it."""

import copy
import os
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat

from autograde.authoring import lesson, release
from autograde.project import Course

ROOT = Path(__file__).resolve().parents[2]
LESSON = "90_sample"

# As a learner writes them: the whole cell.
RIGHT = {
    "double": "def double(x):\n    return x + x\n",
    "halve": "def halve(x):\n    return 0.5 * x\n",
    "total": "def total(x):\n    return torch.sum(x)\n",
}
POINTS = {"double": 2.0, "halve": 3.0, "total": 1.0}


def make(folder):
    """The sample course in `folder`, built but for its outputs; the `Course`."""
    shutil.copytree(ROOT / "tests" / "second_course", folder, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "nbgrader_config.py", folder)
    (folder / "autograde").mkdir()  # where this configuration has the submissions and the gradebook
    course = Course(folder)
    solved = lesson.read(course, LESSON)
    released = release.generate(course, solved, LESSON)  # also notes in `solved` what it released
    lesson.write(solved, course.solved(LESSON))
    lesson.write(released, course.release(LESSON))
    return course


def copy_of(course, folder, without=()):
    """A copy of a course in `folder`, without the files and folders of these names; the `Course`."""
    return Course(shutil.copytree(course.root, folder, symlinks=True, ignore=shutil.ignore_patterns(*without)))


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
    environment = os.environ | {"PYTHONPATH": str(ROOT), "PATH": f"{bin_folder}{os.pathsep}{os.environ['PATH']}"}
    done = subprocess.run(
        command, cwd=course.root, env=environment, capture_output=True, text=True, timeout=900, check=False
    )
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout + done.stderr


def autograded(course, student, lesson_id=LESSON):
    """The graded notebook of a student."""
    path = course.autograded / student / lesson_id / f"{lesson_id}.ipynb"
    return nbformat.read(path, as_version=4)


def feedback(course, student, lesson_id=LESSON):
    """A student's feedback page, as text."""
    path = course.feedback / student / lesson_id / f"{lesson_id}.html"
    return path.read_text(encoding="utf-8")


def scores(course, student, lesson_id=LESSON):
    """What the gradebook says: ``{grade_id: score}``."""
    from nbgrader.api import Gradebook

    with Gradebook(f"sqlite:///{course.root}/autograde/gradebook.db", "lora") as book:
        notebook = book.find_submission_notebook(lesson_id, lesson_id, student)
        return {grade.name.removeprefix("check_"): grade.score for grade in notebook.grades}
