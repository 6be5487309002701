"""Workers on this machine, as processes: started, asked, watched, and replaced when they die."""

import contextlib
import json
import os
import queue
import subprocess
import sys
import tempfile
import threading

from autograde.batch import message
from autograde.sandbox.limits import Limits

START_SECONDS = 180  # importing torch from a cold disk
# A session ends itself at its limit; a worker that is silent for longer than this hangs.
ANSWER_SECONDS = Limits().session + 120
TRIES = 2


class CannotGrade(Exception):
    """No submission can be graded here; the message says why."""


class WorkerDied(Exception):
    """A worker is gone or hangs; the message says how it came to that."""


class Worker:
    """One worker process, started at its first question.

    Args:
        course: the `Course`.
        require_isolation: run nothing outside a full box.
    """

    def __init__(self, course, require_isolation):
        self.course = course
        options = json.dumps({"require_isolation": require_isolation})
        self.command = [sys.executable, "-m", "autograde.batch.worker", options]
        self.process = None
        self.answers = None
        self.said = None  # its stderr
        self.closed = False
        self.changing = threading.Lock()

    def ask(self, question):
        """The answer to a parcel, a parcel too.

        Raises:
            WorkerDied: it gave none. The next question is put to a new process.
        """
        try:
            if self.process is None:
                with self.changing:
                    self._start()
                ready = self._answer(START_SECONDS)
                if "trouble" in message.unpack(ready)[0]:
                    self.kill()
                    return ready
            with contextlib.suppress(OSError):  # it is gone: no answer will come
                self.process.stdin.write(question)
                self.process.stdin.flush()
            return self._answer(ANSWER_SECONDS)
        except WorkerDied:
            self.kill()
            raise

    def _start(self):
        if self.closed:
            raise WorkerDied("grading was ended")
        search = os.pathsep.join([str(self.course.root), *filter(None, [os.environ.get("PYTHONPATH")])])
        self.said = tempfile.TemporaryFile()
        self.process = subprocess.Popen(
            self.command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.said,
            cwd=self.course.root,
            env=os.environ | {"PYTHONPATH": search, "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"},
            start_new_session=True,
        )
        self.answers = queue.SimpleQueue()
        threading.Thread(target=_listen, args=(self.process.stdout, self.answers), daemon=True).start()

    def _answer(self, seconds):
        try:
            answer = self.answers.get(timeout=seconds)
        except queue.Empty:
            raise WorkerDied(f"its worker process gave no answer for {seconds:.0f} s") from None
        if answer is None:
            raise WorkerDied(self._how_it_ended())
        return answer

    def _how_it_ended(self):
        with contextlib.suppress(subprocess.TimeoutExpired):
            code = self.process.wait(5)
            if code < 0:
                return f"its worker process was killed by signal {-code}"
            return f"its worker process ended{self._last_words()}"
        return "its worker process closed its output"

    def _last_words(self):
        self.said.seek(0)
        lines = self.said.read().decode("utf-8", "replace").split("\n")
        return next((f": {line.strip()[:300]}" for line in reversed(lines) if line.strip()), "")

    def kill(self):
        """End the process, and with it the warm process and its sessions, which end when their grader is gone."""
        with self.changing:
            if self.process is not None:
                self.process.kill()
                self.process.wait()
                with contextlib.suppress(OSError):
                    self.process.stdin.close()
                self.said.close()
                self.process = None

    def close(self):
        """End the process for good, whoever may be asking it."""
        self.closed = True
        self.kill()


def _listen(stream, answers):
    with stream:
        while answer := message.read(stream.read):
            answers.put(answer)
    answers.put(None)


def ask_twice(worker, question):
    """Ask a worker, and a new one when the first dies of it or cannot do its work.

    Returns:
        ``(what came of it, the graded notebook)``, as `autograde.batch.worker.Grader.grade` has it.
    """
    for _ in range(TRIES):
        try:
            about, content = message.unpack(worker.ask(question))
        except WorkerDied as error:
            about, content = {"trouble": str(error), "stop": False}, b""
        if "trouble" not in about or worker.closed:
            break
        worker.kill()
    return about, content


class Crew:
    """Several workers on this machine. A context manager; at its end they are gone.

    Args:
        course: the `Course`.
        jobs: how many.
        require_isolation: run nothing outside a full box.
    """

    def __init__(self, course, jobs, require_isolation):
        self.workers = [Worker(course, require_isolation) for _ in range(jobs)]

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for worker in self.workers:
            worker.close()

    def run(self, tasks):
        """Begin to grade every task; an iterator of ``(task, what came of it, the graded notebook)`` as they are done.

        Args:
            tasks: objects with a ``question()`` that gives a parcel; called when its turn comes.
        """
        waiting = iter(tasks)
        turn = threading.Lock()
        done = queue.SimpleQueue()

        def serve(worker):
            try:
                while not worker.closed:
                    with turn:
                        task = next(waiting, None)
                    if task is None:
                        break
                    done.put((task, *ask_twice(worker, task.question())))
                done.put(None)
            except BaseException as error:
                done.put(error)

        for worker in self.workers:
            threading.Thread(target=serve, args=(worker,), daemon=True).start()
        return self._results(done)

    def _results(self, done):
        left = len(self.workers)
        while left:
            result = done.get()
            if result is None:
                left -= 1
            elif isinstance(result, BaseException):
                raise result
            else:
                yield result
