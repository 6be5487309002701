"""A grader who is not root: the sandbox is full, and what this account may not read stops nobody else's grading."""

import os
import shutil
import subprocess

import nbformat
import pytest
from sample_course import LESSON, POINTS, RIGHT, copy_of, feedback, hand_in, plant, run, scores

from autograde.submission import files

# To a root, no file is closed. In a user namespace its files are those of an ordinary user, which it then is.
ORDINARY = () if os.name == "posix" and os.geteuid() else ("unshare", "--user", "--map-user=1000", "--map-group=1000")


def _is_ordinary_somewhere():
    if os.name != "posix" or (ORDINARY and not shutil.which(ORDINARY[0])):
        return False
    return subprocess.run([*ORDINARY, "true"], capture_output=True, check=False).returncode == 0


pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not _is_ordinary_somewhere(), reason="no way to be an ordinary user of Linux here"),
]

# What lies in a submission's folder (".": the lesson's, "..": the student's), and with which rights.
FOLDERS = {
    "student_000": ("..", 0o000), "student_444": ("..", 0o444), "student_111": ("..", 0o111),
}  # fmt: skip
NOTEBOOKS = {"lesson_000": (".", 0o000), "lesson_444": (".", 0o444), "notebook_000": (f"{LESSON}.ipynb", 0o000)}
BESIDE = {
    "folder_beside_000": ("data", 0o000), "folder_beside_444": ("data", 0o444), "file_beside_000": ("data/x.txt", 0o000),
}  # fmt: skip
HARMLESS = {"lesson_111": (".", 0o111), "lesson_555": (".", 0o555), "folder_beside_555": ("data", 0o555)}
NO_TIME = {"time_000": (files.TIMESTAMP, 0o000)}
RIGHTS = FOLDERS | NOTEBOOKS | BESIDE | HARMLESS | NO_TIME
GRADED = ["ada", "deep", "locked", *BESIDE, *HARMLESS, *NO_TIME]
DEEDS = {
    "deep": "import os\nfor _ in range(300):\n    os.mkdir('d' * 200)\n    os.chdir('d' * 200)\nos.chmod('.', 0)",
    "locked": "import os\nos.makedirs('a/b')\nopen('a/b/c', 'w').close()\nos.mkfifo('p')\n"
    "for path in ('a/b/c', 'a/b', 'a', 'p'):\n    os.chmod(path, 0)",
}


@pytest.fixture
def course(sample, tmp_path):
    """A class with folders and files that forbid to be read, or whose cells make such."""
    course = copy_of(sample, tmp_path / "course")
    answered = plant(nbformat.read(course.release(LESSON), as_version=4), RIGHT)
    for student in ["ada", *DEEDS, *RIGHTS]:
        folder = hand_in(course, student, answered).parent
        (folder / "data").mkdir()
        (folder / "data" / "x.txt").write_text("x")
        (folder / files.TIMESTAMP).write_text("2026-01-01 12:00:00 UTC")
    for student, source in DEEDS.items():
        path = course.submitted / student / LESSON / f"{LESSON}.ipynb"
        notebook = nbformat.read(path, as_version=4)
        notebook.cells.insert(0, nbformat.v4.new_code_cell(source))
        nbformat.write(notebook, path)
    changed = {os.path.normpath(course.submitted / name / LESSON / path): mode for name, (path, mode) in RIGHTS.items()}
    for path, mode in changed.items():
        os.chmod(path, mode)
    yield course
    for path in changed:
        os.chmod(path, 0o700)


def check(course, log):
    flat = " ".join(log.split())
    assert "Traceback" not in log and "isolation" in log, log[-3000:]
    for student in GRADED:
        assert scores(course, student) == POINTS, student
    for student in NOTEBOOKS:
        assert scores(course, student) == dict.fromkeys(POINTS, 0.0), student
        assert f"{student}/{LESSON} {files.CLOSED_NOTEBOOK}." in flat
    for student in FOLDERS:
        assert f"{student} {files.CLOSED}" in flat
    for student, (name, _) in BESIDE.items():
        assert f"{student}/{LESSON} {files.CLOSED_BESIDE.format(repr(name))}." in flat
    assert f"time_000/{LESSON} {files.NO_DATE}." in flat and flat.count(files.NO_DATE) == 1


def test_our_door(course):
    check(course, run(course, *ORDINARY, "autograde", "grade", "--jobs", "1", "--require-isolation"))
    run(course, *ORDINARY, "autograde", "report")
    page = (course.autograded.parent / "report.html").read_text(encoding="utf-8")
    assert all(f"<bdi>{student}</bdi>" in page for student in [*GRADED, *NOTEBOOKS, *FOLDERS])
    (course.submitted / "notebook_000" / LESSON / f"{LESSON}.ipynb").chmod(0o400)
    run(course, *ORDINARY, "autograde", "grade", "--jobs", "1")
    assert scores(course, "notebook_000") == POINTS


def test_nbgraders_door(course):
    log = run(course, *ORDINARY, "nbgrader", "autograde", LESSON)
    check(course, log)
    assert log.count("isolation: full") == len(GRADED)
    run(course, *ORDINARY, "nbgrader", "generate_feedback", LESSON)
    for student in [*GRADED, *NOTEBOOKS]:
        assert "could not be read" in feedback(course, student) or student not in NOTEBOOKS
    (course.submitted / "notebook_000" / LESSON / f"{LESSON}.ipynb").chmod(0o400)
    log = run(course, *ORDINARY, "nbgrader", "autograde", LESSON)
    assert "Handed in again since they were graded, and skipped all the same: notebook_000" in log
    run(course, *ORDINARY, "nbgrader", "autograde", LESSON, "--force")
    assert scores(course, "notebook_000") == POINTS


@pytest.mark.skipif(not ORDINARY, reason="only root can take the number of another account")
def test_an_account_without_an_entry(sample, tmp_path):
    course = copy_of(sample, tmp_path / "course")
    answered = plant(nbformat.read(course.release(LESSON), as_version=4), RIGHT)
    # What renders a text cell looks for a home directory.
    answered.cells.append(nbformat.v4.new_markdown_cell("*A word of my own*"))
    for student in ("ada", "zoe"):
        hand_in(course, student, answered)
    nobody = ("unshare", "--user", "--map-user=54321", "--map-group=54321", "env", "HOME=/")
    run(course, *nobody, "autograde", "grade", "--jobs", "1", "--require-isolation")
    assert scores(course, "ada") == scores(course, "zoe") == POINTS


def test_a_graded_folder_that_may_not_be_changed_costs_that_student_alone(sample, tmp_path):
    course = copy_of(sample, tmp_path / "course")
    answered = plant(nbformat.read(course.release(LESSON), as_version=4), RIGHT)
    for student in ("ada", "left", "zoe"):
        hand_in(course, student, answered)
    closed = [course.autograded / "left" / LESSON, course.autograded / ".results" / "zoe"]
    for folder in closed:
        folder.mkdir(parents=True)
        folder.chmod(0o555)
    log = " ".join(run(course, *ORDINARY, "autograde", "grade", "--jobs", "1", code=1).split())
    assert scores(course, "ada") == POINTS and "Traceback" not in log
    for student in ("left", "zoe"):
        assert f"not graded: {student} {LESSON}: its result cannot be written (Permission denied" in log
    for folder in closed:
        folder.chmod(0o755)
    run(course, *ORDINARY, "autograde", "grade", "--jobs", "1")
    assert scores(course, "left") == scores(course, "zoe") == POINTS


def test_nbgraders_force_goes_on_where_a_folder_cannot_be_removed(sample, tmp_path):
    course = copy_of(sample, tmp_path / "course")
    answered = plant(nbformat.read(course.release(LESSON), as_version=4), RIGHT)
    for student in ("left", "zoe"):
        hand_in(course, student, answered)
    kept = {step: step / "left" / LESSON for step in (course.autograded, course.feedback)}
    for folder, name in zip(kept.values(), (f"{LESSON}.ipynb", f"{LESSON}.html"), strict=True):
        folder.mkdir(parents=True)
        (folder / name).write_text("{}")
        (folder / name).chmod(0o444)
        folder.chmod(0o555)
    log = run(course, *ORDINARY, "nbgrader", "autograde", LESSON, "--force", code=1)
    assert (
        scores(course, "zoe") == POINTS
        and "There was an error processing assignment '90_sample' for student 'left'" in log
    )
    kept[course.autograded].chmod(0o755)
    run(course, *ORDINARY, "nbgrader", "autograde", LESSON, "--force")
    assert scores(course, "left") == POINTS
    run(course, *ORDINARY, "nbgrader", "generate_feedback", LESSON, "--force", code=1)
    assert "halve" in feedback(course, "zoe")
    kept[course.feedback].chmod(0o755)
