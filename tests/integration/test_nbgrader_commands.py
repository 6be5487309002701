"""nbgrader's own commands on a fresh copy of the course, one after the other, as an instructor gives them."""

import copy
import csv
import datetime
import html
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import nbformat
import pytest
from graded_class import NOISY, SQUARED
from nbgrader.api import Gradebook
from sample_course import LESSON, POINTS, RIGHT, ROOT, autograded, copy_of, feedback, hand_in, plant, run, scores
from waiting import wait_for

from autograde.authoring import release
from autograde.nbgrader_plugin.exporters import REPLACED
from autograde.notebook.cells import grade_id
from autograde.project import Course


@pytest.fixture(scope="module")
def course(graded_class):
    """A course with submissions, taken through autograde, generate_feedback and export."""
    return graded_class.course


@pytest.fixture
def own_course(graded_class, tmp_path):
    """A copy of it that a test may change, without the damaged submissions and the short limits that they need."""
    course = copy_of(graded_class.course, tmp_path / "course", [*graded_class.damaged, "bad_date"])
    shutil.copy(ROOT / "nbgrader_config.py", course.root)
    return course


def test_scores_arrive_in_the_gradebook_partial_credit_too(course):
    assert scores(course, "alice") == POINTS
    assert scores(course, "bob") == {"double": 0.0, "halve": 2.0, "total": 1.0}
    assert scores(course, "dave") == dict.fromkeys(POINTS, 0.0)


def test_a_warning_costs_nothing(course):
    assert scores(course, "carol") == POINTS
    shown = [output.name for cell in autograded(course, "carol").cells for output in cell.get("outputs", [])
             if output.output_type == "stream"]  # fmt: skip
    assert "stderr" in shown, "what the notebook wrote is there all the same"


def test_a_demonstration_is_run_only_where_it_was_changed(course):
    def shown(student):
        return "".join(output.text for cell in autograded(course, student).cells for output in cell.get("outputs", [])
                       if output.output_type == "stream")  # fmt: skip

    assert "the demonstration ran" not in shown("alice") and "not run in grading" in shown("alice")
    assert "the demonstration ran, and was changed" in shown("carol")


def test_a_demonstration_keeps_what_it_showed_the_learner_and_no_other_cell_does(course):
    pictures = {cell.source for cell in autograded(course, "erin").cells for output in cell.get("outputs", [])
                if "image/png" in output.get("data", {})}  # fmt: skip
    assert pictures == {'print("the demonstration ran")'}
    assert scores(course, "erin") == POINTS
    assert "data:image/png;base64,c2Vlbg" in feedback(course, "erin")


def test_the_export_has_everyone(course):
    with open(course.root / "grades.csv", encoding="utf-8") as file:
        rows = {row["student_id"]: row for row in csv.DictReader(file) if row["assignment"] == LESSON}
    got = {name: float(rows[name]["score"]) for name in ("aaron", "alice", "bob", "carol", "dave", "erin", "zoe")}
    assert got == {"aaron": 6.0, "alice": 6.0, "bob": 3.0, "carol": 6.0, "dave": 0.0, "erin": 6.0, "zoe": 6.0}
    assert {float(row["max_score"]) for row in rows.values()} == {6.0}


def shown(page):
    """The text of a page, without its elements."""
    return html.unescape(re.sub(r"<[^>]+>", "", page))


def test_feedback_shows_the_verdicts(course):
    said = shown(feedback(course, "bob"))
    assert "✗ double · 0 of 2 points" in said and "✗ halve · 2 of 3 points" in said and "✓ total · 1 of 1 point" in said
    assert "Twice is to the power of two." in said and "What is half of -4?" in said
    assert "Score: 2.0 / 3.0" in said
    assert "Not started yet" in feedback(course, "dave")


def test_verdicts_are_data_in_the_graded_notebook(course):
    data = autograded(course, "bob").metadata.autograde
    verdicts = data.graded.verdicts
    assert {name: (v.score, v.points, v.status, v.misconception) for name, v in verdicts.items()} == {
        "double": (0.0, 2.0, "failed", "squared"),
        "halve": (2.0, 3.0, "failed", "sign_lost"),
        "total": (1.0, 1.0, "passed", None),
    }
    assert data.graded.isolation.level and data.graded.seconds > 0 and data.version


def test_no_file_but_the_notebook_reaches_students():
    """nbgrader hands out everything that lies in a lesson's folder of solutions/."""
    course = Course(ROOT)
    for lesson in course.lessons:
        if course.solved(lesson).exists():
            assert [path.name for path in course.solved(lesson).parent.iterdir()] == [f"{lesson}.ipynb"]


@pytest.mark.slow
def test_grading_again(own_course):
    """Changed answers count, what a person gave stays, and nothing is passed over in silence."""
    course = own_course
    with Gradebook(f"sqlite:///{course.root}/autograde/gradebook.db", "lora") as book:
        for student in ("alice", "bob"):
            grade = book.find_grade("check_total", LESSON, LESSON, student)
            grade.manual_score, grade.needs_manual_grade = 0.5, False
        book.db.commit()
    released = nbformat.read(course.release(LESSON), as_version=4)
    hand_in(course, "bob", plant(released, RIGHT))

    said = run(course, "nbgrader", "autograde", LESSON)
    assert "Handed in again since they were graded, and skipped all the same: bob." in said and "--force" in said
    assert scores(course, "bob") == {"double": 0.0, "halve": 2.0, "total": 0.5}

    time.sleep(1.1)  # some file systems keep whole seconds
    run(course, "nbgrader", "autograde", LESSON, "--student", "bob", "--force")
    assert scores(course, "bob") == {"double": 2.0, "halve": 3.0, "total": 0.5}
    assert scores(course, "alice") == POINTS | {"total": 0.5}
    assert {v.status for v in autograded(course, "bob").metadata.autograde.graded.verdicts.values()} == {"passed"}

    said = run(course, "nbgrader", "generate_feedback", LESSON)
    assert "Graded again since their feedback was made, which nbgrader leaves as it is: bob." in said
    assert "✗ double" in shown(feedback(course, "bob"))


@pytest.mark.slow
def test_what_a_killed_run_has_left_is_graded_by_the_next(sample, tmp_path):
    course = copy_of(sample, tmp_path / "course")
    released = nbformat.read(course.release(LESSON), as_version=4)
    for student in ("alice", "bob", "carol"):
        hand_in(course, student, plant(released, RIGHT))
    hand_in(course, "carol", plant(released, RIGHT | {"double": f"import time\ntime.sleep(5)\n{RIGHT['double']}"}))
    graded = {name: course.autograded / name / LESSON / f"{LESSON}.ipynb" for name in ("alice", "bob", "carol")}
    command = [Path(sys.executable).with_name("nbgrader"), "autograde", LESSON]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    with subprocess.Popen(command, cwd=course.root, env=environment, stderr=subprocess.DEVNULL) as killed:
        wait_for(graded["carol"].exists)
        killed.kill()
    graded["alice"].unlink()
    graded["bob"].chmod(0o644)
    os.truncate(graded["bob"], 1_000)
    assert "which are graded now: alice, bob, carol" in run(course, "nbgrader", "autograde", LESSON)
    assert all(scores(course, student) == POINTS for student in graded)
    assert "are graded now" not in run(course, "nbgrader", "autograde", LESSON)
    (course.feedback / "alice" / LESSON).mkdir(parents=True)
    run(course, "nbgrader", "generate_feedback", LESSON)
    assert all("✓ double" in shown(feedback(course, student)) for student in graded)


@pytest.mark.slow
def test_a_due_date_that_moves_moves_the_penalties_of_what_nbgrader_skips(own_course):
    course = own_course
    config = course.root / "nbgrader_config.py"
    config.write_text(config.read_text() + 'c.LateSubmissionPlugin.penalty_method = "zero"\n')
    released = nbformat.read(course.release(LESSON), as_version=4)
    for student, day in (("late", 2), ("early", 1)):
        path = hand_in(course, student, plant(released, RIGHT))
        (path.parent / "timestamp.txt").write_text(f"2026-03-0{day} 12:00:00 UTC")
    run(course, "nbgrader", "autograde", LESSON)
    url = f"sqlite:///{course.root}/autograde/gradebook.db"
    for due, penalty in ((datetime.datetime(2026, 3, 2), 6.0), (datetime.datetime(2026, 3, 3), None)):
        with Gradebook(url, "lora") as book:
            book.find_assignment(LESSON).duedate = due
            book.db.commit()
        said = run(course, "nbgrader", "autograde", LESSON)
        assert "late penalties follow the due date: late\n" in said
        with Gradebook(url, "lora") as book:
            late = {
                s: book.find_submission_notebook(LESSON, LESSON, s).late_submission_penalty for s in ("late", "early")
            }
        assert late == {"late": penalty, "early": None}


@pytest.mark.slow
def test_releasing_by_hand(own_course):
    """generate_assignment makes the bytes that the build makes, and loses nobody's work."""
    course = own_course
    path = course.release(LESSON)
    built = path.read_bytes()
    said = run(course, "nbgrader", "generate_assignment", LESSON)
    assert f"notebooks/{LESSON} is there already" in said and "--force" in said

    worked_in = nbformat.read(path, as_version=4)
    worked_in.cells[1].source += "\n# my note"
    nbformat.write(worked_in, path)
    edited = path.read_bytes()
    said = run(course, "nbgrader", "generate_assignment", LESSON, "--force")
    assert path.read_bytes() == built
    (kept,) = (course.root / "autograde" / REPLACED).glob(f"{LESSON}_*/{LESSON}.ipynb")
    assert kept.read_bytes() == edited and str(kept.parent.relative_to(course.root)) in said


def test_validate_shows_the_report(own_course):
    """The student's side: nbgrader's Validate, and the check's report in place of a traceback."""
    course = own_course
    released = nbformat.read(course.release(LESSON), as_version=4)
    right = course.release(LESSON).with_name("right.ipynb")
    nbformat.write(plant(released, RIGHT | {"double": NOISY}), right)
    assert "Success! Your notebook passes all the tests." in run(course, "nbgrader", "validate", str(right))

    wrong = course.release(LESSON).with_name("wrong.ipynb")
    nbformat.write(plant(released, {"double": SQUARED, "halve": "1 / 0"}), wrong)
    said = run(course, "nbgrader", "validate", str(wrong))
    assert "VALIDATION FAILED ON 3 CELL(S)" in said
    double, halve, total = re.split(r"The following cell failed:", said)[1:]
    assert "✗ double · 0 of 2 points" in double and "Twice is to the power of two." in double
    assert "Traceback" not in double
    assert "there is no halve" in halve and "ZeroDivisionError" in halve, "what its cell stopped with is the cause"
    assert "Not started yet" in total
    assert not [line for line in double.splitlines() + total.splitlines() if line.endswith("...")], "cut off"


def _strip(notebook):
    for cell in notebook.cells:
        cell.metadata.pop("nbgrader", None)


def _copy(notebook, source=None):
    position = next(i for i, cell in enumerate(notebook.cells) if grade_id(cell) == "halve")
    again = copy.deepcopy(notebook.cells[position])
    again.id, again.source = "again", source or again.source
    notebook.cells.insert(position, again)


def _log(notebook):
    cell = next(cell for cell in notebook.cells if grade_id(cell) == "double")
    cell.source = "import logging\n\ndef double(x):\n    logging.warning('doubling')\n    return 2 * x"


def _lose(notebook):
    notebook.cells = [cell for cell in notebook.cells if grade_id(cell) != "check_total"]


def _unmark(notebook):
    next(cell for cell in notebook.cells if grade_id(cell) == "halve").metadata.pop("nbgrader")


def _change_check(notebook):
    next(cell for cell in notebook.cells if grade_id(cell) == "check_total").source = "# check.total(total)"


def _peek(notebook):
    cell = next(cell for cell in notebook.cells if grade_id(cell) == "double")
    cell.source = "import autograde.registry\n\ndef double(x):\n    return 2 * x"


def _other_kernel(notebook):
    notebook.metadata.kernelspec = {"name": "no-such-kernel", "display_name": "None", "language": "python"}


PASSES = "Success! Your notebook passes all the tests."
CHANGES = {
    "marks stripped": (_strip, "No cell of this notebook has the metadata"),
    "a line of a log": (_log, PASSES),
    "another kernel": (_other_kernel, PASSES),
    "a copy": (_copy, PASSES),
    "two answers": (lambda notebook: _copy(notebook, "def halve(x):\n    return x"), "halve is defined in 2 cells"),
    "a check lost": (_lose, "The check cell of total was deleted"),
    "an answer's mark lost": (_unmark, "The cell halve is no longer in the notebook as an answer cell"),
    "a check changed": (_change_check, PASSES),
    "an import that the sandbox refuses": (_peek, "autograde.registry"),
    "empty": (lambda notebook: notebook.cells.clear(), "has no cells"),
}
IN_MAKE_TEST = {"a check lost"}  # the rest is slow: each case starts nbgrader and a grading process


@pytest.mark.parametrize(
    ("change", "said"),
    [
        pytest.param(*case, id=name, marks=[pytest.mark.slow] * (name not in IN_MAKE_TEST))
        for name, case in CHANGES.items()
    ],
)
def test_validate_says_what_grading_says(own_course, change, said):
    course = own_course
    notebook = plant(nbformat.read(course.release(LESSON), as_version=4), RIGHT)
    change(notebook)
    path = course.release(LESSON).with_name("changed.ipynb")
    nbformat.write(notebook, path)
    told = " ".join(run(course, "nbgrader", "validate", str(path)).split())
    assert said in told and "Traceback" not in told
    assert (PASSES in told) == (said == PASSES)


def own_notebook():
    """An instructor's own notebook: no lesson of the course, with plain nbgrader tests."""

    def cell(name, source, **kind):
        about = {
            "grade": False,
            "grade_id": name,
            "locked": False,
            "schema_version": 3,
            "solution": False,
            "task": False,
        }
        return nbformat.v4.new_code_cell(source, id=name, metadata={"nbgrader": about | kind})

    return nbformat.v4.new_notebook(
        cells=[
            nbformat.v4.new_code_cell("import sys", id="start"),
            cell("twice", "def twice(x):\n    return x + x", solution=True),
            cell("noisy", "print('careful', file=sys.stderr)\nassert twice(3) == 6", grade=True, locked=True, points=1),
        ]
    )


def _again(notebook, source):
    again = copy.deepcopy(notebook.cells[1])
    again.id, again.source = "again", source
    notebook.cells.insert(1, again)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (_other_kernel, PASSES),
        (lambda notebook: _again(notebook, notebook.cells[1].source), PASSES),
        (lambda notebook: _again(notebook, "def twice(x):\n    return x"), "twice is defined in 2 cells"),
        (lambda notebook: notebook.cells[1].update(source="def twice(x):\n    return x"), "AssertionError"),
    ],
    ids=["another kernel", "a copy", "two answers", "a wrong answer"],
)
@pytest.mark.slow
def test_validate_accepts_in_another_notebook_what_grading_accepts(own_course, change, said):
    course = own_course
    notebook = own_notebook()
    change(notebook)
    nbformat.write(notebook, course.root / "own.ipynb")
    told = " ".join(run(course, "nbgrader", "validate", "own.ipynb").split())
    assert said in told, told
    assert (PASSES in told) == (said == PASSES)


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no pipes in folders")
@pytest.mark.parametrize(
    ("make", "said"),
    [
        (os.mkdir, "no file that holds a notebook"),
        (getattr(os, "mkfifo", None), "no file that holds a notebook"),
        (lambda path: (path.touch(), os.truncate(path, 2**40)), "Clear the outputs"),
    ],
    ids=["folder", "pipe", "a file without end"],
)
def test_validate_waits_for_no_pipe_and_no_file_without_end(sample, make, said, tmp_path):
    path = tmp_path / "odd.ipynb"
    make(path)
    assert said in " ".join(run(sample, "nbgrader", "validate", str(path)).split())


@pytest.mark.slow
def test_validate_names_the_setting_of_a_limit_that_cannot_be(own_course):
    course = own_course
    with open(course.root / "nbgrader_config.py", "a") as file:
        file.write("\nc.Execute.timeout = -3\n")
    told = " ".join(run(course, "nbgrader", "validate", str(course.release(LESSON))).split())
    assert "could not be validated, because c.Execute.limits in nbgrader_config.py" in told
    assert "Traceback" not in told and PASSES not in told


@pytest.mark.slow
def test_validate_tells_what_is_no_notebook_without_a_traceback(own_course):
    course = own_course
    path = course.release(LESSON).with_name("broken.ipynb")
    path.write_text("{")
    told = " ".join(run(course, "nbgrader", "validate", str(path)).split())
    assert "is not a notebook" in told and "Traceback" not in told and PASSES not in told


@pytest.mark.parametrize(
    "lesson",
    [pytest.param(name, marks=pytest.mark.slow if number else ()) for number, name in enumerate(Course(ROOT).lessons)],
)
def test_a_real_lesson_is_released_by_hand_with_the_same_bytes(tmp_path, lesson):
    """What generate_assignment makes of the committed, executed solution is the committed release."""
    from nbgrader.apps.api import NbGraderAPI
    from nbgrader.coursedir import CourseDirectory

    course = Course(tmp_path)
    for name in ("nbgrader_config.py", "pyproject.toml"):
        shutil.copy(ROOT / name, tmp_path)
    for part in ("solutions", "notebooks"):
        shutil.copytree(ROOT / part / lesson, tmp_path / part / lesson)
    (tmp_path / "autograde").mkdir()
    built = course.release(lesson).read_bytes()
    config = release.config(course)
    api = NbGraderAPI(CourseDirectory(config=config), config=config)
    assert api.generate_assignment(lesson)["success"]
    assert course.release(lesson).read_bytes() == built
    assert not (tmp_path / "autograde" / REPLACED).exists(), "a release as it was made is not worth keeping"
    assert [assignment["name"] for assignment in api.get_assignments()] == [lesson]
