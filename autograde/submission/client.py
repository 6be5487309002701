"""The client of a grading process: starts it, sends it messages, and replaces it when it dies."""

import atexit
import contextlib
import json
import queue
import subprocess
import sys
import tempfile
import threading

from autograde import registry
from autograde.project import CONFIG
from autograde.sandbox.environment import environment
from autograde.sandbox.isolation.visible_paths import homes
from autograde.sandbox.limits import Limits
from autograde.source_files import SourceFiles
from autograde.submission import message

START_SECONDS = 180  # importing torch from a cold disk
EXTRA_SECONDS = 600  # a submission ends at its limits; a grading process that is silent for so much longer hangs
MAX_ATTEMPTS = 2
IDLE_SECONDS = 120
END_SECONDS = 5  # for a process that has nothing to do


class GraderDied(Exception):
    """A grading process has ended or hangs; the message says why."""


class CannotStart(GraderDied):
    """A grading process did not start."""


class Grader:
    """One grading process, started at its first question.

    Args:
        course: the `Course`.
        require_isolation: run nothing outside a full sandbox.
    """

    def __init__(self, course, require_isolation):
        self.course = course
        self.settings = {
            "root": str(course.root),
            "require_isolation": require_isolation,
            "private": [str(path) for path in (course.root, *homes())],
        }
        self.command = [sys.executable, "-m", "autograde.submission.grading_process"]
        self.answer_timeout = Limits().session + EXTRA_SECONDS
        self.process = None
        self.answers = None
        self.stderr = None
        self.ready = False
        self.closed = False
        self.lock = threading.Lock()

    def start(self):
        """Start the process, if there is none, and do not wait for it.

        Raises:
            CannotStart: this account may start no more processes or threads, or open no more files.
            GraderDied: this grader was closed.
        """
        with self.lock:
            if self.process is None:
                try:
                    self._start()
                except (OSError, RuntimeError) as error:  # RuntimeError: no thread could be started
                    raise CannotStart(f"no grading process could be started: {error}") from None

    def ask(self, question):
        """Send a message, and return the answer, also a message.

        Raises:
            GraderDied: there was no answer. The next message goes to a new process.
        """
        try:
            self.start()
            if not self.ready:
                try:
                    first = self._answer(START_SECONDS)
                except GraderDied as error:
                    raise CannotStart(str(error)) from None
                if "trouble" in message.unpack(first)[0]:
                    self.kill()
                    return first
                self.ready = True
            with contextlib.suppress(OSError):  # it is gone: no answer will come
                self.process.stdin.write(question)
                self.process.stdin.flush()
            return self._answer(self.answer_timeout)
        except GraderDied:
            self.kill()
            raise

    def _start(self):
        if self.closed:
            raise GraderDied("grading was ended")
        self.stderr = tempfile.TemporaryFile()
        self.process = subprocess.Popen(
            self.command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.stderr,
            cwd=self.course.root,
            # What is handed in runs in forks of this process, where it can read what this one was started with.
            env=environment(registry.of(self.course)),
            start_new_session=True,
        )
        self.ready = False
        self.answers = queue.SimpleQueue()
        threading.Thread(target=_read_answers, args=(self.process.stdout, self.answers), daemon=True).start()
        with contextlib.suppress(OSError):
            self.process.stdin.write(message.pack(self.settings))
            self.process.stdin.flush()

    def _answer(self, seconds):
        try:
            answer = self.answers.get(timeout=seconds)
        except queue.Empty:
            raise GraderDied(f"its grading process gave no answer for {seconds:.0f} s") from None
        if answer is None:
            raise GraderDied(self._exit_reason())
        return answer

    def _exit_reason(self):
        with contextlib.suppress(subprocess.TimeoutExpired):
            code = self.process.wait(5)
            if code < 0:
                return f"its grading process was killed by signal {-code}"
            return f"its grading process ended{self._last_error_line()}"
        return "its grading process closed its output"

    def _last_error_line(self):
        self.stderr.seek(0)
        lines = self.stderr.read().decode("utf-8", "replace").split("\n")
        return next((f": {line.strip()[:300]}" for line in reversed(lines) if line.strip()), "")

    def kill(self):
        """End the process, and with it its fork server and all sessions, which end when their grader is gone."""
        with self.lock:
            if self.process is not None:
                self.process.kill()
                self.process.wait()
                with contextlib.suppress(OSError):
                    self.process.stdin.close()
                self.stderr.close()
                self.process = None

    def end(self):
        """End a process that nobody waits for, for good. Unlike one that is killed, it reaps its fork server itself, which a
        server without an init process above it would otherwise inherit as a zombie.
        """
        if self.process is not None:
            with contextlib.suppress(OSError, subprocess.TimeoutExpired):
                self.process.stdin.close()
                self.process.wait(END_SECONDS)
        self.close()

    def close(self):
        """End the process for good, also while another thread waits for its answer."""
        self.closed = True
        self.kill()


def _read_answers(stream, answers):
    with stream:
        while answer := message.read(stream.read):
            answers.put(answer)
    answers.put(None)


def ask_with_retry(grader, question):
    """Send a message to a grading process, and to a new one if the first one dies or fails.

    Returns:
        ``(outcome, the graded notebook)``, as `autograde.submission.grade_submission.grade_one` has them. Where nothing could be
        graded, the outcome is ``{"trouble": why, "stop": whether it will be so for all, "started": whether the process
        had started at all}``.
    """
    for _ in range(MAX_ATTEMPTS):
        try:
            outcome, notebook = message.unpack(grader.ask(question))
        except GraderDied as error:
            outcome = {"trouble": str(error), "stop": False, "started": not isinstance(error, CannotStart)}
            notebook = b""
        if "trouble" not in outcome or grader.closed:
            break
        grader.kill()
    return outcome, notebook


def question(submission, *, files, reference, version, settings):
    """The message that asks for one submission to be graded.

    Args:
        submission: the `Submission`. Its file is read here, but not parsed.
        files: ``{name: bytes}`` of what lies beside the notebook when it runs.
        reference: text of the notebook that it is compared with.
        version: of the lesson's grading (`autograde.submission.grader_version`); None if any is right.
        settings: a dict: ``limits``, ``max_lines``, ``max_traceback``.
    """
    content, problem = submission.read()
    request = {
        "lesson": submission.lesson,
        "version": version,
        "reference": reference,
        "problem": problem,
        "names": list(files),
    }
    return message.pack(request | settings, content, *files.values())


class SharedGrader:
    """A grading process for everything that this process grades: started when first needed, kept while there is work.

    nbgrader grades notebook by notebook and has no notion of "done with the last one": a command ends, and a server, for
    formgrader or Validate, waits for the next click. So it ends with this process, or when nothing was asked of it for a
    while. It is replaced where the course's files have changed since it loaded them.

    Args:
        idle: seconds without a question, after which it is ended.
    """

    def __init__(self, idle=IDLE_SECONDS):
        self.idle = idle
        self._lock = threading.Lock()
        self._key = None
        self._timer = None
        self.grader = None

    def ask(self, course, require_isolation, question):
        """As `ask_with_retry`, of a `Grader` for these arguments; once more for a submission that was stopped while it
        waited for a processor.
        """
        with self._lock:
            if self._timer is not None:
                self._timer.cancel()
            key = json.dumps([str(course.root), require_isolation, _state(course)])
            if self.grader is None or self._key != key:
                self._end()
                self.grader, self._key = Grader(course, require_isolation), key
            try:
                answer = ask_with_retry(self.grader, question)
                return ask_with_retry(self.grader, question) if answer[0].get("starved") else answer
            finally:
                self._timer = threading.Timer(self.idle, self.close)
                self._timer.daemon = True
                self._timer.start()

    def close(self):
        """End the grading process."""
        with self._lock:
            self._end()

    def _end(self):
        if self.grader is not None:
            self.grader.end()
            self.grader = None


def _state(course):
    """What tells whether the files have changed that a grading process loads of a course: their times and sizes."""
    known, files = registry.of(course), SourceFiles(course)
    paths = [path for name in (known.checks, known.probes, *known.importable) for path in files.of_package(name)]
    states = [path.stat() for path in (*paths, course.root / "pyproject.toml", course.root / CONFIG)]
    return [len(paths), *((state.st_mtime_ns, state.st_size) for state in states)]


SHARED = SharedGrader()
atexit.register(SHARED.close)
