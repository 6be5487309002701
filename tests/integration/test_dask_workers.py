"""Grading on a real Dask cluster: scheduler and workers as processes of their own, on this machine."""

import gc
import os
import signal
import socket
import subprocess
import sys

import psutil
import pytest
from small_class import LESSON, RIGHT, ROOT, hand_in, make_course, rows, run
from waiting import GENEROUS, wait_for

from autograde.batch import dask_workers
from autograde.batch.dask_workers import ClusterError, DaskWorkers
from autograde.batch.local_workers import CannotGrade
from autograde.batch.results import Store
from autograde.submission import grader_version

Client = pytest.importorskip("distributed", reason="no Dask here: pip install distributed").Client

SUPPORT = ROOT / "tests" / "support"
PRELOAD = """
import sys
from autograde.batch import dask_workers
from autograde.submission import grader_version

grader_version.of_code = lambda *_: "today"

class Pretending(dask_workers.Grader):
    def __init__(self, *args):
        super().__init__(*args)
        self.command = [sys.executable, {script!r}, "0.2", {once!r}]

dask_workers.Grader = Pretending
"""


class Dask:
    """A scheduler and workers, ended with the test."""

    def __init__(self, course, preload=None):
        self.course = course
        self.preload = ["--preload", str(preload)] if preload else []
        self.processes = []
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.address = f"tcp://127.0.0.1:{free.getsockname()[1]}"

    def start(self, *words):
        search = f"{SUPPORT}{os.pathsep}{ROOT}"
        settings = {"DASK_DISTRIBUTED__SCHEDULER__WORKER_TTL": "60s", "DASK_LOGGING__DISTRIBUTED": "error"}
        process = subprocess.Popen(
            [sys.executable, "-m", "distributed.cli." + words[0], *words[1:], "--no-dashboard"],
            cwd=self.course.root,
            env=os.environ | {"PYTHONPATH": search} | settings,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        self.processes.append(process)
        return process

    def scheduler(self):
        return self.start("dask_scheduler", "--host", "127.0.0.1", "--port", self.address.rsplit(":", 1)[1])

    def worker(self):
        return self.start("dask_worker", self.address, "--nthreads", "1", "--no-nanny", *self.preload)

    def workers(self, count):
        """Start the scheduler and so many workers; wait until it knows them all."""
        self.scheduler()
        started = [self.worker() for _ in range(count)]
        with Client(self.address, timeout=GENEROUS) as client:
            if count:
                client.wait_for_workers(count, timeout=GENEROUS)
        return started

    def end(self):
        for process in reversed(self.processes):
            process.kill()
            process.wait()


@pytest.fixture
def course(tmp_path):
    return make_course(tmp_path / "course")


@pytest.fixture
def dask(course, tmp_path, monkeypatch):
    monkeypatch.setattr(grader_version, "of_code", lambda *_: "today")
    preload = tmp_path / "preload.py"
    preload.write_text(
        PRELOAD.format(script=str(SUPPORT / "fake_grading_process.py"), once=str(tmp_path / "died-once"))
    )
    made = Dask(course, preload)
    yield made
    made.end()


def _scores(course):
    return {row[0]: row[3] for row in rows(course.root / "autograde" / "gradebook.db")["grades"]}


def test_a_class_is_graded_though_workers_are_lost(course, dask, tmp_path):
    """One Dask worker is killed on the way, and one submission kills the process that grades it, once."""
    count = 40
    for number in range(count):
        hand_in(course, f"student-{number:02}", f"SCORE={number / 20}" + (" DIE-ONCE" if number == 5 else ""))
    workers = dask.workers(2)
    store = Store(course.root / "autograde" / "autograded")
    lost = []

    class Losing(DaskWorkers):
        def run(self, tasks):
            for number, result in enumerate(super().run(tasks)):
                if number == 8:
                    lost.extend(wait_for(lambda: psutil.Process(workers[0].pid).children(recursive=True)))
                    workers[0].send_signal(signal.SIGKILL)
                yield result

    outcome = run(course, Losing(dask.address, False))
    assert not outcome.failed and not outcome.problems
    assert _scores(course) == {f"student-{number:02}": number / 20 for number in range(count)}
    assert len(store.all([LESSON])) == count and (tmp_path / "died-once").exists()
    assert lost, "the lost worker had a process that graded"
    psutil.wait_procs(lost, timeout=GENEROUS)
    assert not any(process.is_running() for process in lost)
    left = psutil.Process(workers[1].pid)
    wait_for(lambda: not [p for p in left.children() if "fake_grading_process.py" in " ".join(p.cmdline())])


@pytest.mark.slow
def test_a_cluster_that_goes_away_stops_the_run_and_keeps_what_was_graded(course, dask, monkeypatch):
    monkeypatch.setattr(dask_workers, "POLL_SECONDS", 1)
    monkeypatch.setattr(dask_workers, "NO_WORKERS_SECONDS", 3)
    for number in range(30):
        hand_in(course, f"student-{number:02}", "SCORE=1" if number < 10 else "SCORE=1 WAIT")
    dask.scheduler()
    dask.worker()

    class Losing(DaskWorkers):
        def run(self, tasks):
            for number, result in enumerate(super().run(tasks)):
                if number == 4:
                    dask.end()
                yield result

    with pytest.raises(CannotGrade, match="the Dask (scheduler at tcp://127.0.0.1:.* is gone|cluster has lost all)"):
        run(course, Losing(dask.address, False))
    kept = Store(course.root / "autograde" / "autograded").all([LESSON])
    assert 5 <= len(kept) < 30
    assert len(_scores(course)) == len(kept)


@pytest.mark.slow
def test_an_address_where_nobody_answers(course, dask, monkeypatch):
    monkeypatch.setattr(dask_workers, "CONNECT_SECONDS", 1)
    hand_in(course, "ada", "SCORE=1")
    with pytest.raises(
        ClusterError, match="no Dask scheduler answers at tcp://127.0.0.1:.*start one with: dask scheduler"
    ):
        run(course, DaskWorkers(dask.address, False))
    with pytest.raises(ClusterError, match="no Dask scheduler answers at nonsense"):
        run(course, DaskWorkers("nonsense", False))
    left = [each for each in gc.get_objects() if type(each) is Client and hasattr(each, "status")]
    assert all(each.status in ("closed", "newly-created") for each in left), (
        "one that is collected later can wait for itself"
    )
    dask.workers(0)
    monkeypatch.setattr(dask_workers, "CONNECT_SECONDS", 5)
    with pytest.raises(ClusterError, match="has no workers; start some, in this folder, with: dask worker tcp://"):
        run(course, DaskWorkers(dask.address, False))


def test_without_dask_it_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(ClusterError, match="pip install distributed"):
        DaskWorkers("tcp://127.0.0.1:1", False)


def test_the_command_on_a_cluster_with_real_workers(course):
    hand_in(course, "ada", RIGHT)
    hand_in(course, "ben")
    dask = Dask(course)
    try:
        dask.scheduler()
        dask.worker()
        done = subprocess.run(
            [sys.executable, "-m", "autograde", "grade", "--scheduler", dask.address],
            cwd=course.root,
            env=os.environ | {"PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            timeout=GENEROUS,
        )
    finally:
        dask.end()
    assert done.returncode == 0, done.stderr
    assert "2 graded, 0 skipped, 0 failed" in done.stdout and " full " in done.stdout
    assert _scores(course) == {"ada": 2.0, "ben": 0.0}
