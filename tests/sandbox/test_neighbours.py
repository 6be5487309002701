"""What one student hands in costs no other a mark, however many processors it keeps busy."""

import sys

import pytest
from small_class import RIGHT, hand_in, make_course, run

from autograde.batch.local_workers import LocalWorkers
from autograde.sandbox.allowance import MOST_PATIENCE, Allowance
from autograde.sandbox.limits import Limits
from autograde.sandbox.pool import SandboxPool

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="priorities are a matter of Linux")

# Each process says when it was lowered, and tries to undo that. None ends before all were lowered: the last ones would be few.
LOWERED = """
import os
children = []
told, tell = os.pipe()
wait, go = os.pipe()
for _ in range({count}):
    child = os.fork()
    if child == 0:
        os.setsid()
        os.close(go)
        while not {lowered}: pass
        os.write(tell, b'.')
        os.read(wait, 1)
        try:
            {undo}
        except OSError:
            os._exit(7)
        os._exit(0)
    children.append(child)
for _ in children:
    os.read(told, 1)
os.close(go)
[os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]
"""
IDLE = "os.sched_getscheduler(0) == os.SCHED_IDLE"
GROUP = "' nice 19' in open('/proc/self/autogroup').read()"


@pytest.fixture(scope="module")
def bare_pool():
    """A `SandboxPool` without a course."""
    with SandboxPool() as pool:
        yield pool


@pytest.mark.parametrize(
    ("count", "lowered", "undo"),
    [
        (3, "os.getpriority(os.PRIO_PROCESS, 0) == 19", "os.nice(-1)"),
        (12, IDLE, "os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))"),
        (3, f"(not os.path.exists('/proc/self/autogroup') or {GROUP})", "os.nice(-1)"),
    ],
    ids=["few", "many", "sessions of their own"],
)
def test_what_a_notebook_starts_has_a_low_priority_for_good(bare_pool, count, lowered, undo):
    with bare_pool.open(limits=Limits(cell=300)) as session:
        if "namespaces" not in bare_pool.reached["by"]:
            pytest.skip("no process can be started there")
        shown = session.run_cell(LOWERED.format(count=count, lowered=lowered, undo=undo))
    assert shown.outputs[-1]["data"]["text/plain"] == str([7] * count), shown.outputs


SPINNERS = """
import os
for _ in range(57):
    if os.fork() == 0:
        os.setsid()
        while True: pass
"""


@pytest.mark.slow
def test_a_right_answer_beside_many_busy_processes_has_its_points(tmp_path):
    course = make_course(tmp_path / "course")
    for number in range(8):
        busy = number in (1, 4)
        in_a_probe = f"def linear_by_hand(x, weight, bias):\n    {SPINNERS.replace(chr(10), chr(10) + '    ')}"
        answer = in_a_probe + "\n    while True: pass" if busy else RIGHT
        hand_in(course, f"{number}-{'busy' if busy else 'honest'}", answer)
    outcome = run(course, LocalWorkers(course, 2, False))
    assert not outcome.failed
    scores = {result.student: result.score for result in outcome.graded}
    assert scores == {name: 0.0 if "busy" in name else 2.0 for name in scores} and len(scores) == 8


# A grading process on a machine that gives a submission no processor, the first time that it is tried.
STARVING = """
import contextlib, os, signal, sys, time
from autograde.sandbox.process import fork
from autograde.submission import grade_submission, grading_process

def spin():
    os.setsid()  # Linux may weigh sessions of the terminal against each other, and not processes
    while True: pass

def grade_one(question, content, files, open_session, real=grade_submission.grade_one):
    if b"STARVES" not in content or os.path.exists("starved") or open_session is None:
        return real(question, content, files, open_session)
    open("starved", "w").close()  # for the other worker, too
    processor = min(os.sched_getaffinity(0))
    others = [fork(spin) for _ in range(16)]
    for child in others:
        os.sched_setaffinity(child.pid, [processor])
        os.setpriority(os.PRIO_PROCESS, child.pid, 0)

    def starved_session(code, files):
        session = open_session(code, files)
        box = session.link.meter.root
        os.sched_setaffinity(box, [processor])
        os.sched_setscheduler(box, os.SCHED_IDLE, os.sched_param(0))
        return session

    try:
        outcome, notebook = real(question, content, files, starved_session)
        with open("starved", "w") as file:
            file.write(f"{outcome['starved']}, {outcome['cells']['check_linear_by_hand'][0]} points")
        return outcome, notebook
    finally:
        for child in others:
            child.kill()

grade_submission.grade_one = grade_one
grading_process.main()
"""
WORKS = RIGHT.replace("    out =", "    while time.process_time() < started + 1.2: pass\n    out =")


@pytest.mark.slow
def test_what_was_stopped_while_it_waited_for_a_processor_is_tried_once_more_by_itself(tmp_path):
    course = make_course(tmp_path / "course")
    with open(course.root / "nbgrader_config.py", "a", encoding="utf-8") as config:
        config.write('c.Execute.limits = {"probe": 2}\n')
    hand_in(course, "ada", f"# STARVES\nimport time\nstarted = time.process_time()\n{WORKS}")
    for name in ("ben", "cleo", "dora"):
        hand_in(course, name, RIGHT)
    workers = LocalWorkers(course, 2, False)
    for grader in workers.graders:
        grader.command = [sys.executable, "-c", STARVING]
    outcome = run(course, workers)
    assert not outcome.failed and (course.root / "starved").read_text() == "True, 0.0 points"
    assert {result.student: result.score for result in outcome.graded} == dict.fromkeys(
        ("ada", "ben", "cleo", "dora"), 2.0
    )
    assert outcome.graded[-1].student == "ada", "when nothing else was graded any more"


def test_waiting_for_a_processor_does_not_count():
    request = Allowance(10, left=600, by_cpu=True)
    request.begin({1: 5.0})
    request.look({1: 5.0, 2: 3.0}, cpu=7.0)
    request.look({1: 6.0, 2: 7.0}, cpu=8.0)
    assert request.wall == 14.0 and not request.starved and not request.is_over(13.9) and request.is_over(14.0)
    request.look({1: 6.0, 2: 3.0 + 20 * 10}, cpu=8.0)
    assert request.wall == MOST_PATIENCE * 10 and request.starved


def test_who_had_as_much_processor_time_is_not_excused():
    request = Allowance(10, left=600, by_cpu=False)
    request.begin({1: 0.0})
    request.look({1: 0.0}, cpu=2.0)
    request.look({1: 1000.0}, cpu=12.0)
    assert request.wall == 10.0 and not request.starved and not request.is_over(9.0)
    probe = Allowance(10, left=600, by_cpu=True)
    probe.look({}, cpu=0.0)
    probe.look({}, cpu=10.0)
    assert probe.is_over(3.0)


def test_no_request_outlasts_its_session():
    request = Allowance(10, left=4, by_cpu=False)
    request.look({1: 100.0}, cpu=0.0)
    assert request.is_over(4.0)
