"""A grader that is killed at any moment: run again, the class ends as if nothing had happened."""

import os
import shutil
import signal
import sys
from collections import Counter

import pytest
from small_class import RIGHT, FakeWorkers, files, hand_in, make_course, rows, run
from sqlalchemy.orm import Session

from autograde.batch import gradebook_writer
from autograde.batch.local_workers import LocalWorkers
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


# A grading process whose fork server, or child at work on a submission, is killed from outside: once for each.
KILLED = """
import os, signal
import psutil
from autograde.submission.grading_process import GradingProcess, main

def grade(self, question, content, files, limits, client, real=GradingProcess._grade):
    for word in ("SERVER", "CHILD"):
        if word.encode() in content and not os.path.exists(word):
            open(word, "w").close()
            outer = psutil.Process(self.pool.process.pid)
            server = (outer.children() or [outer])[0]
            os.kill(server.pid if word == "SERVER" else os.getpid(), signal.SIGKILL)
    return real(self, question, content, files, limits, client)

GradingProcess._grade = grade
main()
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="needs the fork server")
def test_a_killed_fork_server_or_child_costs_nobody_anything(tmp_path):
    course = make_course(tmp_path)
    for student, word in (("ada", "SERVER"), ("ben", ""), ("cleo", "CHILD"), ("dora", "")):
        hand_in(course, student, f"{RIGHT}\n# {word}")
    workers = LocalWorkers(course, 1, False)
    workers.graders[0].command = [sys.executable, "-c", KILLED]
    outcome = run(course, workers)
    assert (tmp_path / "SERVER").exists() and (tmp_path / "CHILD").exists()
    assert not outcome.failed and not outcome.problems
    assert {result.student: result.score for result in outcome.graded} == dict.fromkeys(
        ("ada", "ben", "cleo", "dora"), 2.0
    )
    assert len(outcome.graded) == 4, "each once"
    assert [row[0] for row in rows(tmp_path / "autograde" / "gradebook.db")["grades"]] == ["ada", "ben", "cleo", "dora"]
    again = run(course, LocalWorkers(course, 1, False))
    assert len(again.skipped) == 4 and not again.graded
