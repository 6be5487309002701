"""formgrader's and Validate's buttons, as the browser asks for them, of a Jupyter server on the course."""

import contextlib
import http.client
import json
import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path

import nbformat
import psutil
import pytest
import sample_course
from sample_course import LESSON, POINTS, RIGHT, ROOT, copy_of, hand_in, plant, scores

TOKEN = "course-tests"
GRADER = "autograde.submission.grading_process"


class Server:
    """A Jupyter server, started in the course's folder."""

    def __init__(self, course, root):
        self.log = course.root / "server.log"
        while not self._started(course, root):  # another program was quicker to take the port
            pass

    def _started(self, course, root):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        self.address = f"http://127.0.0.1:{port}"
        environment = os.environ | {
            "PYTHONPATH": str(ROOT),
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "JUPYTER_CONFIG_DIR": str(course.root / "jupyter"),
        }
        command = [sys.executable, "-m", "jupyter", "server", f"--port={port}", "--ServerApp.port_retries=0",
                   "--no-browser", "--allow-root", f"--ServerApp.root_dir={root}", f"--IdentityProvider.token={TOKEN}"]  # fmt: skip
        with open(self.log, "wb") as log:
            self.process = subprocess.Popen(
                command, cwd=course.root, env=environment, stdout=log, stderr=subprocess.STDOUT
            )
        deadline = time.monotonic() + 600
        while self.process.poll() is None:
            with contextlib.suppress(OSError, http.client.HTTPException):
                self.ask("/api", timeout=20)
                return True
            assert time.monotonic() < deadline, self.log.read_text()
            time.sleep(0.2)
        assert "is already in use" in self.log.read_text(), self.log.read_text()
        return False

    def ask(self, path, /, timeout=600, **form):
        """GET, or POST where there is a form; the answer's JSON."""
        data = urllib.parse.urlencode(form).encode() if form else None
        request = urllib.request.Request(self.address + path, data, {"Authorization": f"token {TOKEN}"})
        with urllib.request.urlopen(request, timeout=timeout) as answer:
            return json.load(answer)

    def close(self):
        self.process.terminate()
        self.process.wait(600)


@pytest.fixture(scope="module")
def course(sample, tmp_path_factory):
    """The sample course with two submissions, and with a learner's own notebook beside the release."""
    course = copy_of(sample, tmp_path_factory.mktemp("server") / "course")
    released = nbformat.read(course.release(LESSON), as_version=4)
    hand_in(course, "alice", plant(released, RIGHT | {"total": "def total(x):\n    return x.mean()"}))
    hand_in(course, "bob", b"no notebook")
    mine = plant(released, {"double": RIGHT["double"], "halve": "def halve(x):\n    return abs(x) / 2"})
    nbformat.write(mine, course.release(LESSON).with_name("mine.ipynb"))
    return course


def test_formgrader_grades_in_the_sandbox_and_keeps_one_grading_process(course):
    server = Server(course, course.root)
    try:
        lessons = {lesson["name"]: lesson for lesson in server.ask("/formgrader/api/assignments")}
        assert LESSON in lessons and not any(name.endswith(".py") for name in lessons), "flat lesson sources are none"
        assert lessons[LESSON]["num_submissions"] == 2
        for student in ("alice", "bob"):
            said = server.ask(f"/formgrader/api/submission/{LESSON}/{student}/autograde", go="")
            assert said["success"], said
        assert scores(course, "alice") == POINTS | {"total": 0.0}
        assert scores(course, "bob") == dict.fromkeys(POINTS, 0.0)
        graded = {one["student"]: one for one in server.ask(f"/formgrader/api/submissions/{LESSON}")}
        assert graded["alice"]["score"] == 5.0 and graded["alice"]["autograded"]
        assert server.ask(f"/formgrader/api/assignment/{LESSON}/generate_feedback", go="")["success"]
        assert "The average is the sum." in sample_course.feedback(course, "alice")
        graders = [child for child in psutil.Process(server.process.pid).children() if GRADER in child.cmdline()]
        assert len(graders) == 1, "one process for both, and it waits for more"
    finally:
        server.close()


TIMES = {"bob": "yesterday", "eve": "0001-01-01 00:00:00 UTC", "mallory": "9999-12-31 23:59:59 UTC", "trent": "pipe",
         "walter": "folder", "zoe": "2026-11-03 12:00:00 UTC"}  # fmt: skip


@pytest.mark.skipif(os.name != "posix", reason="pipes")
@pytest.mark.slow
def test_formgraders_lists_show_everybody_whatever_times_were_handed_in(sample, tmp_path):
    course = copy_of(sample, tmp_path / "course")
    config = course.root / "nbgrader_config.py"
    config.write_text(config.read_text() + 'c.NbGraderAPI.timezone = "America/Los_Angeles"\n')
    for student, said in TIMES.items():
        time_file = hand_in(course, student, b"no notebook").with_name("timestamp.txt")
        if said == "pipe":
            os.mkfifo(time_file)
        elif said == "folder":
            time_file.mkdir()
        else:
            time_file.write_text(said)
    server = Server(course, course.root)
    try:
        for _ in range(2):
            lessons = {lesson["name"]: lesson for lesson in server.ask("/formgrader/api/assignments")}
            assert lessons[LESSON]["num_submissions"] == len(TIMES)
            shown = {
                one["student"]: one["display_timestamp"] for one in server.ask(f"/formgrader/api/submissions/{LESSON}")
            }
            assert shown.pop("zoe").startswith("2026-11-03 04:00:00")
            assert shown == dict.fromkeys(set(TIMES) - {"zoe"})
            sample_course.run(course, "nbgrader", "autograde", LESSON)  # the second time, all are graded
    finally:
        server.process.kill()  # one that waits for a pipe does not end by itself


def _reword(course, old, new):
    path = next(path for path in course.root.glob("arithmetic_checks/**/*.py") if old in path.read_text())
    path.write_text(path.read_text().replace(old, new))


@pytest.mark.slow
def test_validate_in_a_server_that_sees_the_notebooks_only(course):
    server = Server(course, course.root / "notebooks")
    try:
        said = server.ask("/assignments/validate", path=f"{LESSON}/mine.ipynb")
        assert said["success"], said
        failed = {entry["source"]: entry["raw_error"] for entry in said["value"]["failed"]}
        assert set(failed) == {"check.halve(halve)", "check.total(total)"}
        assert "A half is what is left without a sign." in failed["check.halve(halve)"]
        assert "Not started yet" in failed["check.total(total)"]
        assert not any("Traceback" in error for error in failed.values())
        _reword(course, "A half is what is left without a sign.", "Half a number has no sign.")
        said = server.ask("/assignments/validate", path=f"{LESSON}/mine.ipynb")
        assert "Half a number has no sign." in said["value"]["failed"][0]["raw_error"], "a check that has changed since"
    finally:
        server.close()
