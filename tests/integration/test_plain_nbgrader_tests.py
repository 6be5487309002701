"""An instructor's own assignment, with plain nbgrader tests, through nbgrader's Python interface."""

import copy
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
import sample_course
from nbgrader.api import Gradebook
from nbgrader.apps.api import NbGraderAPI
from nbgrader.coursedir import CourseDirectory
from waiting import wait_for

from autograde.authoring import release
from autograde.nbgrader_plugin import execute
from autograde.notebook.cells import grade_id
from autograde.project import Course
from autograde.submission import message
from autograde.submission.client import SHARED, SharedGrader

pytestmark = pytest.mark.filterwarnings("ignore:Object of type <Submitted")

QUIZ = "quiz"


def graded(name, source, points=None, solution=False, kind="code"):
    about = {"grade": points is not None, "grade_id": name, "locked": not solution, "schema_version": 3,
             "solution": solution, "task": False}  # fmt: skip
    about |= {} if points is None else {"points": points}
    return getattr(nbformat.v4, f"new_{kind}_cell")(source, metadata={"nbgrader": about})


SOURCE = [
    nbformat.v4.new_code_cell("import sys"),
    graded("answer", "### BEGIN SOLUTION\ndef twice(x):\n    return 2 * x\n### END SOLUTION", solution=True),
    graded("plain", "assert twice(2) == 4", 1),
    graded("hidden", "assert twice(2) == 4\n### BEGIN HIDDEN TESTS\nassert twice(5) == 10\n### END HIDDEN TESTS", 1),
    graded("noisy", "print('careful', file=sys.stderr)\nassert twice(3) == 6", 1),
    graded("partial", "1.5 if twice(2) == 4 else 0.25", 2),
    graded("too_much", "100 if twice(2) == 4 else 0", 1),
    graded("reads_a_file", "assert twice(int(open('data.txt').read())) == 42", 1),
    graded("essay", "YOUR ANSWER HERE", 3, solution=True, kind="markdown"),
]
RIGHT = "def twice(x):\n    return x + x"


@pytest.fixture(scope="module")
def quiz(tmp_path_factory):
    """``(nbgrader's interface, the release, the folder of submissions)`` for a course with one assignment."""
    root = tmp_path_factory.mktemp("course")
    for name in ("nbgrader_config.py", "pyproject.toml"):
        (root / name).write_bytes((sample_course.ROOT / name).read_bytes())
    folder = root / "solutions" / QUIZ
    folder.mkdir(parents=True)
    (root / "autograde").mkdir()
    (folder / "data.txt").write_text("21", encoding="utf-8")
    nbformat.write(nbformat.v4.new_notebook(cells=copy.deepcopy(SOURCE)), folder / f"{QUIZ}.ipynb")
    config = release.config(Course(root))
    api = NbGraderAPI(CourseDirectory(config=config), config=config)
    said = api.generate_assignment(QUIZ)
    assert said["success"], said
    released = nbformat.read(root / "notebooks" / QUIZ / f"{QUIZ}.ipynb", as_version=4)
    assert "hidden" not in str(released).lower() or "twice(5)" not in str(released)
    yield api, released, root / "autograde" / "submitted"
    SHARED.close()


def scores(quiz, student, change):
    """``({grade_id: automatic score}, graded notebook)`` of a submission that `change` was done to."""
    api, released, submitted = quiz
    notebook = copy.deepcopy(released)
    change({grade_id(cell): cell for cell in notebook.cells}, notebook)
    path = submitted / student / QUIZ / f"{QUIZ}.ipynb"
    path.parent.mkdir(parents=True)
    nbformat.write(notebook, path)
    said = api.autograde(QUIZ, student)
    assert said["success"], said
    with Gradebook(api.coursedir.db_url, "lora") as book:
        grades = book.find_submission_notebook(QUIZ, QUIZ, student).grades
        found = {grade.name: grade.auto_score for grade in grades}
    out = submitted.parent / "autograded" / student / QUIZ / f"{QUIZ}.ipynb"
    return found, nbformat.read(out, as_version=4)


def answer(source):
    def change(cells, notebook):
        cells["answer"].source = source
        cells["essay"].source = "My thoughts."

    return change


FULL = {"plain": 1, "hidden": 1, "noisy": 1, "partial": 1.5, "too_much": 0, "reads_a_file": 1, "essay": None}


def test_right_answers_score_as_nbgrader_scores_them(quiz):
    found, notebook = scores(quiz, "right", answer(RIGHT))
    assert found == FULL
    (cell,) = [cell for cell in notebook.cells if grade_id(cell) == "too_much"]
    assert "cannot be greater than maximum points" in cell.outputs[0].evalue
    (cell,) = [cell for cell in notebook.cells if grade_id(cell) == "noisy"]
    assert "careful" in cell.outputs[0].text, "a warning costs nothing, and is shown"


def test_wrong_answers_fail_hidden_tests_too(quiz):
    found, _ = scores(quiz, "wrong", answer("def twice(x):\n    return 4 if x == 2 else 0"))
    assert found == FULL | {"hidden": 0, "noisy": 0, "reads_a_file": 0}


def test_untouched(quiz):
    found, _ = scores(quiz, "untouched", lambda cells, notebook: None)
    assert found == dict.fromkeys(FULL, 0)


def test_tests_after_the_end_of_the_process_give_nothing(quiz):
    found, notebook = scores(quiz, "exits", answer(f"import os\n{RIGHT}\nos._exit(0)"))
    assert found == dict.fromkeys(FULL, 0) | {"essay": None}
    for cell in notebook.cells:
        if grade_id(cell) in FULL and cell.cell_type == "code":
            assert "ended its own Python process" in cell.outputs[0].evalue


def test_a_test_that_was_deleted_gives_nothing_and_a_copy_of_one_counts_once(quiz):
    def change(cells, notebook):
        answer(RIGHT)(cells, notebook)
        notebook.cells.remove(cells["plain"])
        cells["hidden"].source = "pass"
        notebook.cells.append(copy.deepcopy(cells["noisy"]))

    found, notebook = scores(quiz, "deletes", change)
    assert found == FULL | {"plain": 0}
    (said,) = [cell.outputs[0].evalue for cell in notebook.cells if grade_id(cell) == "plain"]
    assert "was deleted" in said and [grade_id(cell) for cell in notebook.cells].count("noisy") == 1


def test_a_file_that_is_no_notebook(quiz):
    api, released, submitted = quiz
    folder = submitted / "broken" / QUIZ
    folder.mkdir(parents=True)
    (folder / f"{QUIZ}.ipynb").write_text("no notebook", encoding="utf-8")
    assert api.autograde(QUIZ, "broken")["success"]
    with Gradebook(api.coursedir.db_url, "lora") as book:
        grades = book.find_submission_notebook(QUIZ, QUIZ, "broken").grades
        assert {grade.name: grade.auto_score for grade in grades} == dict.fromkeys(FULL, 0)


def test_no_execute_is_no_way_around_running(quiz):
    """nbgrader's --no-execute believes what a notebook says that it once showed."""
    api, released, submitted = quiz
    config = copy.deepcopy(api.config)
    config.Execute.enabled = config.ClearOutput.enabled = False  # what the flag sets
    notebook = copy.deepcopy(released)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs = [nbformat.v4.new_output("execute_result", data={"text/plain": "1.0"})]
    path = submitted / "mallory" / QUIZ / f"{QUIZ}.ipynb"
    path.parent.mkdir(parents=True)
    nbformat.write(notebook, path)
    said = NbGraderAPI(CourseDirectory(config=config), config=config).autograde(QUIZ, "mallory")
    assert said["success"] and "--no-execute has no effect" in said["log"]
    with Gradebook(api.coursedir.db_url, "lora") as book:
        grades = book.find_submission_notebook(QUIZ, QUIZ, "mallory").grades
        assert {grade.name: grade.auto_score for grade in grades} == dict.fromkeys(FULL, 0)


def test_one_grading_process_for_all_of_it(quiz):
    scores(quiz, "once", answer(RIGHT))
    process = SHARED.grader.process
    scores(quiz, "once_more", answer(RIGHT))
    assert SHARED.grader.process is process and process.poll() is None


def test_the_grading_process_ends_when_nothing_is_asked_of_it(quiz):
    shared = SharedGrader(idle=0.2)
    asked = {"version": "no such", "lesson": QUIZ, "reference": ""}
    outcome, _ = shared.ask(Course(Path(quiz[0].coursedir.root)), False, message.pack(asked, b""))
    assert outcome["stop"]
    wait_for(lambda: shared.grader is None)


def test_another_grading_process_once_the_course_has_changed(quiz):
    scores(quiz, "before_a_change", answer(RIGHT))
    process = SHARED.grader.process
    (Path(quiz[0].coursedir.root) / "pyproject.toml").touch()
    scores(quiz, "after_a_change", answer(RIGHT))
    assert SHARED.grader.process is not process and process.returncode is not None


ENDS = """
import ctypes, sys
from pathlib import Path
import psutil
from autograde.project import Course
from autograde.submission import message
from autograde.submission.client import SharedGrader

ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)  # this process inherits orphans, as the first process of a container does
shared = SharedGrader()
asked = {"version": None, "lesson": "quiz", "reference": "", "limits": {}, "problem": "none handed in", "names": [],
         "max_lines": 9, "max_traceback": 9}
shared.ask(Course(Path(sys.argv[1])), False, message.pack(asked | {"reference": sys.argv[2]}, b""))
started = psutil.Process().children(recursive=True)
shared.close()
print(len(started) > 1, psutil.Process().children(recursive=True))
"""


@pytest.mark.slow
def test_a_grading_process_leaves_no_zombie_to_a_server(quiz):
    api, released, _ = quiz
    command = [sys.executable, "-c", ENDS, api.coursedir.root, nbformat.writes(released)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=sample_course.ROOT)
    assert done.stdout == "True []\n", done.stdout + done.stderr


def test_what_the_grader_cannot_do_costs_no_points(quiz, monkeypatch):
    """A required sandbox that is not possible fails the run, and gives no zero."""

    class NoSandbox:
        def ask(self, *_):
            return {"trouble": "a full sandbox was required and is not possible here", "stop": True}, b""

    api, released, submitted = quiz
    scores(quiz, "unlucky", answer(RIGHT))
    monkeypatch.setattr(execute, "SHARED", NoSandbox())
    said = api.autograde(QUIZ, "unlucky")
    assert not said["success"] and "a full sandbox was required" in said["log"]
    with Gradebook(api.coursedir.db_url, "lora") as book:
        grades = book.find_submission_notebook(QUIZ, QUIZ, "unlucky").grades
        assert {grade.name: grade.auto_score for grade in grades} == FULL
