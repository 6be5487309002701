"""A grader that is killed at any moment: run again, the class ends as if nothing had happened."""

import os
import shutil
import signal
import sys
from collections import Counter

import pytest
from small_class import FakeWorkers, files, hand_in, make_course, rows, run
from sqlalchemy.orm import Session

from autograde.batch import gradebook_writer
from autograde.project import Course

STUDENTS = ["ada", "ben", "cleo", "dora", "emil"]
STEPS = ("replace", "commit")


def _class(folder):
    course = make_course(folder)
    for number, student in enumerate(STUDENTS):
        hand_in(course, student, f"def linear_by_hand(x, weight, bias):\n    pass  # SCORE={number / 4}\n")
    return course


def _count_steps(monkeypatch, at):
    """Count every rename of a file and every commit of the gradebook; at step `at`, die before it is done."""
    counted = Counter()

    def before(action):
        def step(*args, **kwargs):
            counted["steps"] += 1
            if counted["steps"] == at:
                os.kill(os.getpid(), signal.SIGKILL)
            return action(*args, **kwargs)

        return step

    monkeypatch.setattr(os, "replace", before(os.replace))
    monkeypatch.setattr(Session, "commit", before(Session.commit))
    return counted


def _in_a_child(action):
    """Run `action` in a process of its own; the exit status of that, -9 for killed."""
    child = os.fork()
    if child == 0:
        try:
            action()
            os._exit(0)
        finally:
            os._exit(1)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


@pytest.mark.skipif(sys.platform == "win32", reason="needs fork")
@pytest.mark.parametrize("which", ["some", pytest.param("all", marks=pytest.mark.slow)])
def test_killed_before_any_step_and_run_again_is_as_if_never_killed(tmp_path, monkeypatch, which):
    monkeypatch.setattr(gradebook_writer, "BATCH", 2)
    template = _class(tmp_path / "template")
    whole = _copy(template, tmp_path / "whole")
    counted = _count_steps(monkeypatch, at=None)
    run(whole)
    steps = counted["steps"]
    monkeypatch.undo()
    assert steps >= 3 * len(STUDENTS) + 3, "three renames for each submission, one commit for each batch"
    expected = rows(whole.root / "autograde" / "gradebook.db"), files(whole)
    assert len(expected[0]["grades"]) == len(STUDENTS)
    tried = range(1, steps + 1) if which == "all" else [1, 2, steps // 2, steps]
    killed = 0
    for at in tried:
        course = _copy(template, tmp_path / f"killed-{at}")
        log = tmp_path / f"log-{at}"

        def until_killed(course=course, log=log, at=at):
            monkeypatch.setattr(gradebook_writer, "BATCH", 2)
            _count_steps(monkeypatch, at)
            run(course, FakeWorkers(log))

        killed += _in_a_child(until_killed) == -signal.SIGKILL
        outcome = run(course, FakeWorkers(log))
        assert not outcome.problems and not outcome.failed
        assert (rows(course.root / "autograde" / "gradebook.db"), files(course)) == expected, f"killed before step {at}"
        times = Counter(log.read_text().split())
        assert set(times) == set(STUDENTS)
        assert sum(times.values()) <= len(STUDENTS) + 1, "only the one in hand may be graded again"
        shutil.rmtree(course.root)
    assert killed == len(tried)


def test_killed_while_it_makes_a_new_gradebook(tmp_path, monkeypatch):
    course = _class(tmp_path)
    database = tmp_path / "autograde" / "gradebook.db"

    def until_killed():
        monkeypatch.setattr(os, "replace", lambda *_: os.kill(os.getpid(), signal.SIGKILL))
        run(course)

    database.unlink()
    assert _in_a_child(until_killed) == -signal.SIGKILL
    assert not database.exists(), "half a gradebook would be taken for a whole one"
    run(course)
    assert rows(database)["versions"] and len(rows(database)["grades"]) == len(STUDENTS)


def _copy(course, folder):
    return Course(shutil.copytree(course.root, folder))
