"""Workers that die, hang or cannot do their work: it costs at most the submission they had in hand."""

import os
import signal
import subprocess
import sys

import psutil
import pytest
from fake_grading_process import GO_ON
from fake_workers import fake_workers
from small_class import LESSON, ROOT, hand_in, make_course, rows, run
from waiting import GENEROUS, wait_for

from autograde.batch.local_workers import CannotGrade
from autograde.batch.results import Store
from autograde.project import CourseError
from autograde.submission import grader_version

SUPPORT = ROOT / "tests" / "support"


@pytest.fixture
def course(tmp_path):
    return make_course(tmp_path / "course")


@pytest.fixture(autouse=True)
def _findable(monkeypatch):
    monkeypatch.setenv("PYTHONPATH", f"{SUPPORT}{os.pathsep}{ROOT}")
    monkeypatch.setattr(
        grader_version, "of_code", lambda *_: "today"
    )  # so that a change of a source file meanwhile is none


def _scores(course):
    return {row[0]: row[3] for row in rows(course.root / "autograde" / "gradebook.db")["grades"]}


def test_two_workers_grade_what_one_does(course):
    for number in range(12):
        hand_in(course, f"student-{number:02}", f"SCORE={number / 8}")
    assert len(run(course, fake_workers(course, jobs=1)).graded) == 12
    alone = _scores(course)
    assert len(run(course, fake_workers(course, jobs=2), force=True).graded) == 12
    assert _scores(course) == alone == {f"student-{number:02}": number / 8 for number in range(12)}


def test_a_dead_worker_is_replaced_and_its_submission_tried_again(course):
    for number in range(6):
        hand_in(course, f"student-{number}", "SCORE=1 DIE-ONCE" if number == 2 else "SCORE=1")
    outcome = run(course, fake_workers(course))
    assert not outcome.failed and len(outcome.graded) == 6
    assert (course.root / "died-once").exists()


@pytest.mark.parametrize(
    ("does", "words"),
    [
        ("DIE-ALWAYS", "killed by signal 9"),
        ("FAIL", "ended: the reason is here"),
        ("HANG", "gave no answer for 3 s"),
        ("TROUBLE", "no session today"),
    ],
)
def test_a_submission_that_no_worker_survives_is_named_and_the_others_are_graded(course, does, words):
    for number in range(6):
        hand_in(course, f"student-{number}", f"SCORE=1 {does}" if number == 2 else "SCORE=1")
    workers = fake_workers(course)
    if does == "HANG":
        for grader in workers.graders:
            grader.answer_timeout = 3
    outcome = run(course, workers)
    assert len(outcome.graded) == 5
    assert [result.student for result in outcome.failed] == ["student-2"]
    assert words in outcome.failed[0].message
    assert "student-2" not in _scores(course), "a failure of the grader's is no one's score"
    hand_in(course, "student-2", "SCORE=2")
    assert len(run(course, fake_workers(course)).graded) == 1, "the next run tries it again"
    assert _scores(course)["student-2"] == 2.0


def test_many_submissions_that_nothing_survives_stop_nobody(course):
    for number in range(9):
        hand_in(course, f"student-{number}", "SCORE=1" if number == 8 else "FAIL")
    outcome = run(course, fake_workers(course))
    assert len(outcome.failed) == 8 and _scores(course) == {"student-8": 1.0}


def test_where_no_worker_starts_it_stops_soon(course):
    (course.root / "no-start").touch()
    for number in range(20):
        hand_in(course, f"student-{number:02}", "SCORE=1")
    with pytest.raises(CannotGrade, match="the reason is here"):
        run(course, fake_workers(course))
    tried = list((course.root / "autograde" / "autograded" / ".results").rglob("*.json"))
    assert len(tried) == 3


def _grader(course):
    command = [sys.executable, SUPPORT / "fake_workers.py", course.root]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGINT])
def test_an_ended_grader_leaves_no_process_and_loses_no_result(course, end):
    for number in range(10):
        hand_in(course, f"student-{number}", "SCORE=1" if number < 5 else "SCORE=1 WAIT")
    grader = _grader(course)
    store = Store(course.root / "autograde" / "autograded")
    wait_for(lambda: len(store.all([LESSON])) >= 3)
    children = psutil.Process(grader.pid).children(recursive=True)
    assert len(children) == 2
    grader.send_signal(end)
    said, _ = grader.communicate(timeout=GENEROUS)
    kept = {result.student for result in store.all([LESSON])}
    assert 3 <= len(kept) < 10
    if end == signal.SIGINT:
        assert said.split() == ["interrupted", str(len(kept))]
        assert set(_scores(course)) == kept, "what was graded is entered before it ends"
    (course.root / GO_ON).touch()
    psutil.wait_procs(children, timeout=GENEROUS)
    assert not any(child.is_running() for child in children)
    again = run(course, fake_workers(course))
    assert {result.student for result in again.skipped} == kept
    assert len(again.graded) == 10 - len(kept)
    assert _scores(course) == {f"student-{number}": 1.0 for number in range(10)}


def test_two_graders_do_not_work_on_one_course(course):
    for number in range(6):
        hand_in(course, f"student-{number}", "SCORE=1 WAIT" if number else "SCORE=1")
    grader = _grader(course)
    wait_for(lambda: Store(course.root / "autograde" / "autograded").all([LESSON]))
    with pytest.raises(CourseError, match="another `autograde grade` is at work"):
        run(course, fake_workers(course))
    (course.root / GO_ON).touch()
    assert grader.communicate(timeout=GENEROUS)[0].split() == ["finished", "6"]
