"""``autograde grade`` as a person runs it: real workers, real boxes, a real gradebook."""

import os
import shutil
import signal
import subprocess
import sys

import nbformat
import psutil
import pytest
from click.testing import CliRunner
from nbgrader.api import Gradebook
from small_class import FORGOTTEN, LESSON, RIGHT, ROOT, FakeWorkers, hand_in, make_course, rows, run
from waiting import GENEROUS, wait_for

from autograde.batch.local_workers import CannotGrade, LocalWorkers
from autograde.batch.results import Store
from autograde.cli import main
from autograde.project import Course

ENVIRONMENT = os.environ | {"PYTHONPATH": str(ROOT), "PATH": f"{os.path.dirname(sys.executable)}:{os.environ['PATH']}"}
OWN_TEST = "0.5 if callable(linear_by_hand) else 0.0"
CLASS = {
    "ada": RIGHT,
    "ben": FORGOTTEN,
    "cleo": None,
    "dora": f"import os\n\n{RIGHT}\n\nos._exit(0)",
    "emil": f"{RIGHT}\n\nprint('π' * 3)\nimport sys; print('a warning', file=sys.stderr)",
    "fay": "def linear_by_hand(x, weight, bias)\n    return x",
    "gus": "linear_by_hand = print",
    "hal": RIGHT.replace("linear_by_hand", "linear"),
}


def _add_instructors_cells(course):
    """A test of the instructor's own, which gives partial credit, and an answer that a person marks."""
    for path in (course.release(LESSON), course.solved(LESSON)):
        notebook = nbformat.read(path, as_version=4)
        about = {"grade": True, "schema_version": 3, "task": False}
        own = nbformat.v4.new_code_cell(OWN_TEST, id="own")
        own.metadata["nbgrader"] = about | {"grade_id": "own", "locked": True, "points": 1.0, "solution": False}
        essay = nbformat.v4.new_markdown_cell("Say why.", id="essay")
        essay.metadata["nbgrader"] = about | {"grade_id": "essay", "locked": False, "points": 3.0, "solution": True}
        notebook.cells += [own, essay]
        nbformat.write(notebook, path)


@pytest.fixture(scope="module")
def template(tmp_path_factory):
    """A course with a class whose work is of every kind."""
    course = make_course(tmp_path_factory.mktemp("class") / "course")
    _add_instructors_cells(course)
    for student, answer in CLASS.items():
        answers = {"linear_by_hand": answer} if answer else {}
        hand_in(course, student, answers | ({"essay": "Because."} if student == "ada" else {}))
    (course.submitted / "ada" / LESSON / "timestamp.txt").write_text("2026-02-28 23:00 UTC")
    path = hand_in(course, "ian", RIGHT) / f"{LESSON}.ipynb"
    path.write_bytes(path.read_bytes()[:500])
    path = hand_in(course, "joy", RIGHT)
    (path / f"{LESSON}.ipynb").rename(path / "final.ipynb")
    return course


@pytest.fixture(scope="module")
def by_nbgrader(template, tmp_path_factory):
    """The same class, graded by nbgrader's own command with this course's configuration."""
    folder = shutil.copytree(template.root, tmp_path_factory.mktemp("nbgrader") / "course")
    done = _command("nbgrader", "autograde", LESSON, cwd=folder)
    assert done.returncode == 0, done.stderr
    return Course(folder)


def _command(*words, cwd):
    command = [sys.executable, "-m", *words]
    return subprocess.run(command, cwd=cwd, env=ENVIRONMENT, capture_output=True, text=True, timeout=GENEROUS)


def _database(course):
    return course.root / "autograde" / "gradebook.db"


@pytest.mark.slow
def test_killed_and_run_again_it_ends_with_nbgraders_marks(template, by_nbgrader, tmp_path):
    """A worker is killed, then the grader itself; the next run finishes the class, with the marks of the other door."""
    course = Course(shutil.copytree(template.root, tmp_path / "course"))
    store = Store(course.root / "autograde" / "autograded")
    command = [sys.executable, "-m", "autograde", "grade", "--jobs", "1"]
    grader = subprocess.Popen(command, cwd=course.root, env=ENVIRONMENT, stdout=subprocess.DEVNULL)
    process = psutil.Process(grader.pid)
    worker = wait_for(lambda: [child for child in process.children() if _is_grading_process(child)])
    worker[0].kill()
    wait_for(lambda: len(store.all([LESSON])) >= 2)
    below = process.children(recursive=True)
    assert len(below) >= 2 or len(store.all([LESSON])) == len(CLASS) + 2, (
        "a worker and its fork server, unless all is done"
    )
    grader.send_signal(signal.SIGKILL)
    grader.wait()
    psutil.wait_procs(below, timeout=GENEROUS)
    assert not any(child.is_running() for child in below), "nothing outlives the grader"
    kept = store.all([LESSON])
    assert 2 <= len(kept) <= len(CLASS) + 2, (
        "on a busy machine this test may see the class only when all of it is graded"
    )
    done = _command("autograde", "grade", cwd=course.root)
    assert done.returncode == 0, done.stderr
    assert f"{len(CLASS) + 2 - len(kept)} graded, {len(kept)} skipped, 0 failed" in done.stdout
    ours, theirs = rows(_database(course)), rows(_database(by_nbgrader))
    assert ours == theirs
    scores = {(row[0], row[2]): row[3] for row in ours["grades"]}
    assert [scores[student, "check_linear_by_hand"] for student in sorted(CLASS)] == [2, 0, 0, 0, 2, 0, 0, 0]
    assert scores["ada", "own"] == 0.5 and scores["ada", "essay"] is None
    _says_who_got_what(done.stdout)
    feedback = _command("nbgrader", "generate_feedback", LESSON, cwd=course.root)
    assert feedback.returncode == 0, feedback.stderr
    pages = course.root / "autograde" / "feedback"
    page = (pages / "ben" / LESSON / f"{LESSON}.html").read_text()
    assert "bias" in page and "0 of 2 points" in page
    assert "is not a notebook" in (pages / "ian" / LESSON / f"{LESSON}.html").read_text()
    again = _command("autograde", "grade", "00", cwd=course.root)
    assert again.returncode == 0 and f"0 graded, {len(CLASS) + 2} skipped" in again.stdout
    assert rows(_database(course)) == ours


def _is_grading_process(process):
    try:
        return "autograde.submission.grading_process" in process.cmdline()
    except psutil.Error:  # it has just ended
        return False


def _says_who_got_what(said):
    lines = [" ".join(line.split()) for line in said.splitlines()]
    assert "ada 2.5 + ? 2.5" in lines
    assert "ben 0.5 + ? 0.5" in lines
    assert "linear_by_hand bias_forgotten 1 ben" in lines
    assert any(line.startswith("00_start_here") and " full " in line for line in lines)
    assert any("ian 00_start_here: The file that was handed in is not a notebook" in line for line in lines)
    assert any(
        "joy 00_start_here: The folder that was handed in holds no 00_start_here.ipynb" in line for line in lines
    )


def test_what_nbgrader_has_graded_is_not_graded_again(by_nbgrader, tmp_path):
    course = Course(shutil.copytree(by_nbgrader.root, tmp_path / "course"))
    with Gradebook(f"sqlite:///{_database(course)}", "lora") as book:
        grade = book.find_grade("essay", LESSON, LESSON, "ada")
        grade.manual_score, grade.needs_manual_grade = 2.5, False
        book.db.commit()
    before, log = rows(_database(course)), tmp_path / "log"
    found = run(course, FakeWorkers(log))
    assert not log.exists() and len(found.skipped) == len(CLASS) + 2
    assert rows(_database(course)) == before, "what a person has marked needs no second look"

    other = f"sqlite:///{tmp_path}/other.db"
    run(course, FakeWorkers(log), db=other)
    assert not log.exists() and rows(tmp_path / "other.db")["comments"] == rows(_database(by_nbgrader))["comments"]

    hand_in(course, "ben", {"linear_by_hand": RIGHT})
    run(course, FakeWorkers(log))
    assert log.read_text().split() == ["ben"]


def test_without_a_full_box_nothing_is_graded_where_one_is_required(tmp_path):
    course = make_course(tmp_path / "course")
    for student in "abcdef":
        hand_in(course, student, "SCORE=2")

    class Unboxed(FakeWorkers):
        def run(self, tasks):
            for task in tasks:
                yield task, {"trouble": "a full sandbox was required and is not possible here", "stop": True}, b""

    with pytest.raises(CannotGrade, match="a full sandbox was required"):
        run(course, Unboxed(), require_isolation=True)
    assert not rows(_database(course))["grades"]


def test_results_from_outside_a_box_do_not_stand_where_one_is_required(tmp_path):
    course = make_course(tmp_path / "course")
    hand_in(course, "ada", "SCORE=2")
    run(course, FakeWorkers(isolation={"level": "none"}))
    assert len(run(course).skipped) == 1
    assert len(run(course, require_isolation=True).graded) == 1
    assert len(run(course, require_isolation=True).skipped) == 1


@pytest.mark.slow
def test_workers_that_cannot_isolate_say_so_and_grade_nothing(tmp_path, monkeypatch):
    course = make_course(tmp_path / "course")
    hand_in(course, "ada", RIGHT)
    workers = LocalWorkers(course, 1, require_isolation=True)
    # A machine that has no namespaces, as containers often have none.
    code = """import functools
from autograde.submission import grading_process
grading_process.SandboxPool = functools.partial(grading_process.SandboxPool, without=("namespaces",))
grading_process.main()"""
    workers.graders[0].command[1:3] = ["-c", code]
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    with pytest.raises(CannotGrade, match="a full sandbox was required and is not possible here"):
        run(course, workers, require_isolation=True)
    assert not rows(_database(course))["grades"]
    assert not (course.root / "autograde" / "autograded" / "ada").exists()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["grade", "99"], "no lesson '99'"),
        (["grade", "--jobs", "0"], "--jobs"),
        (["grade", "--jobs", "2", "--scheduler", "tcp://127.0.0.1:1"], "--jobs is for this machine"),
        (["report", "99"], "no lesson '99'"),
    ],
)
def test_wrong_words_on_the_command_line(tmp_path, monkeypatch, words, said):
    monkeypatch.chdir(make_course(tmp_path / "course").root)
    done = CliRunner().invoke(main, words)
    assert done.exit_code == 2 and said in done.output


def test_nothing_to_grade(tmp_path, monkeypatch):
    monkeypatch.chdir(make_course(tmp_path / "course").root)
    done = subprocess.run(
        [sys.executable, "-m", "autograde", "grade"], env=ENVIRONMENT, capture_output=True, text=True, timeout=GENEROUS
    )
    assert done.returncode == 0 and "There is nothing to grade: autograde/submitted/<student>" in done.stdout


def test_one_that_is_interrupted_at_once_does_not_say_that_nothing_was_handed_in(tmp_path, monkeypatch):
    def interrupted(grading):
        raise KeyboardInterrupt

    course = make_course(tmp_path / "course")
    hand_in(course, "ada", RIGHT)
    monkeypatch.chdir(course.root)
    monkeypatch.setattr("autograde.batch.pipeline.Grading._tasks", interrupted)
    done = CliRunner().invoke(main, ["grade"])
    assert done.exit_code == 130 and "autograde: stopped." in done.stderr and "nothing to grade" not in done.stdout


def test_a_lesson_that_is_not_built_is_named(tmp_path, monkeypatch):
    course = make_course(tmp_path / "course")
    hand_in(course, "ada")
    course.release(LESSON).unlink()
    monkeypatch.chdir(course.root)
    done = subprocess.run(
        [sys.executable, "-m", "autograde", "grade"], env=ENVIRONMENT, capture_output=True, text=True, timeout=GENEROUS
    )
    assert done.returncode == 2
    assert done.stderr.startswith(f"autograde: notebooks/{LESSON}/{LESSON}.ipynb cannot be read")
    assert f"autograde build {LESSON}" in done.stderr and "Traceback" not in done.stderr
