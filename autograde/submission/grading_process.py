"""The grading process: it imports torch once, and grades each submission in a fork of itself.

Run as ``python -m autograde.submission.grading_process`` it reads messages from its standard input and answers on its
standard output; `autograde.submission.client` starts it, and ends it by closing its input.

It has one thread. Its fork server (see `autograde.sandbox.pool`) is forked from it before it loads anything that knows
a right answer. What was handed in is only passed on by this process: reading, repairing, running, judging and writing
happen in a child that is there for one submission, with limits on its memory and time. Whatever ends that child, be it
an exception, a limit or a crash of Python itself, costs this submission alone.
"""

import contextlib
import os
import select
import signal
import sys
import time
from collections.abc import Mapping
from pathlib import Path

from autograde.startup import quick_imports, skip_slow_imports

skip_slow_imports()

from autograde import registry  # noqa: E402  (only now are these imports quick)
from autograde.project import Course  # noqa: E402
from autograde.sandbox.connection import SandboxError  # noqa: E402
from autograde.sandbox.limits import Limits, set_limits  # noqa: E402
from autograde.sandbox.pool import IsolationError, SandboxPool  # noqa: E402
from autograde.sandbox.process import can_fork, fork, optimise_for_fork  # noqa: E402
from autograde.submission import message  # noqa: E402

MEMORY = 1536 * 2**20  # bytes that the child may take beyond what it is born with
CPU_SECONDS = 20  # of the child itself; what is handed in runs in the sandbox, by limits of its own
MAX_ATTEMPTS = 2  # for a submission whose child is killed from outside
EXTRA_SECONDS = 180  # of wall time beyond the session's
LARGEST_ANSWER = 512 * 2**20  # bytes

_ANSWER, _FAULT = b"+", b"-"  # what a child's answer begins with

NOT_GRADED = "This submission could not be graded, because {0}. Your instructor sees this message too."


class Hangup(Exception):
    """The client has closed the input, so nobody waits for an answer."""


class Failed(Exception):
    """The child gave no answer; the message is the reason."""


class Killed(Failed):
    """The child was killed from outside: by a person, or because the machine ran out of memory."""


class GradingProcess:
    """Answers one question after another.

    Args:
        pool: the `SandboxPool` that gives sessions.
        course: the `Course`.
        input_fd: file descriptor of the client's connection; readable during a submission means that the client has
            gone. None: there is nothing to watch.
    """

    def __init__(self, pool, course, input_fd=None):
        self.pool = pool
        self.course = course
        self.input_fd = input_fd
        self.loaded = set()
        self.answered = 0

    def answer(self, question, content, *files):
        """Grade one submission.

        Args:
            question: as `grade_submission.grade_one` takes it, and: ``version`` of the lesson's grading, or None if any is right;
                ``limits``, a dict of `Limits`.
            content: the notebook as it was handed in.
            files: contents of the other files.

        Returns:
            A message: the outcome and the graded notebook, as `grade_submission.grade_one` has them. Where the grader could not do its
            work, the outcome is ``trouble``, and ``stop``: whether that will be so for every submission.
        """
        from autograde.submission import grader_version

        version = question["version"]
        if version and version != grader_version.of_lesson(self.course, question["lesson"], question["reference"]):
            return _trouble("its grading process has another version of the course", stop=True)
        self._load(question)
        self.answered += 1
        limits = Limits(**question["limits"])
        for _ in range(MAX_ATTEMPTS):
            try:
                return self._run_in_child(lambda client: self._grade(question, content, files, limits, client), limits)
            except Killed as failed:
                problem = NOT_GRADED.format(failed)
            except Failed as failed:
                problem = NOT_GRADED.format(failed)
                break
        try:
            return self._run_in_child(lambda client: self._not_graded(question, content, files, problem), limits)
        except Failed as failed:
            return _trouble(str(failed), stop=False)

    def _load(self, question):
        """Load what every child needs, such as the lesson's checks, once in this process."""
        from autograde.notebook import sanitize
        from autograde.submission import grade_submission

        checks = registry.of(self.course).checks_of(question["lesson"])
        if question["lesson"] not in self.loaded:
            # Much is imported and compiled at its first use: here, once, with nothing that was handed in.
            for check in checks:
                check.prepare()
            registry.of(self.course).imported_ahead("")  # reads the folders of the course's packages
            released = grade_submission.parsed(question["reference"])
            grade_submission.prepare(question["reference"].encode(), released)
            grade_submission.not_graded(question | {"names": []}, b"", [], "rehearsal")
            isinstance(1, Mapping)  # for nbformat: an abstract class asks all its subclasses about each type once
            self.loaded.add(question["lesson"])
            optimise_for_fork()
        if self.answered == 1:  # a class: for one submission alone it could take longer than it saves
            with quick_imports():
                sanitize.warm_up()
            optimise_for_fork()

    def _grade(self, question, content, files, limits, client):
        from autograde.sandbox.session import SessionEnded
        from autograde.submission import grade_submission

        def open_session(code, files):
            given_modules = registry.of(self.course).given_to(question["lesson"])
            return self.pool.open(limits, files, given_modules, code, connection=client)

        try:
            return message.pack(*grade_submission.grade_one(question, content, files, open_session))
        except (IsolationError, SandboxError, SessionEnded) as error:
            return _trouble(str(error), stop=isinstance(error, IsolationError))

    @staticmethod
    def _not_graded(question, content, files, problem):
        from autograde.submission import grade_submission

        return message.pack(*grade_submission.not_graded(question, content, files, problem))

    def _run_in_child(self, work, limits):
        """Call `work` with a connection to the fork server, in a child of this process; returns its result.

        Raises:
            Failed: the child gave no answer.
            Hangup: nobody waits for one.
        """
        if not can_fork():
            try:
                return work(None)
            except Exception as error:
                raise Failed(_describe(error)) from None
        try:
            client = self.pool.new_client()
        except (OSError, SandboxError):
            sys.exit("its fork server is gone")  # a new grading process has a new one
        reading, writing = os.pipe()
        child = fork(lambda: self._child_main(work, client, reading, writing))
        client.close()
        os.close(writing)
        try:
            answer = self._read(reading, time.monotonic() + limits.session + EXTRA_SECONDS)
        finally:
            os.close(reading)
            child.kill()
            child.wait()
        if answer[:1] == _ANSWER and message.is_whole(whole := answer[1:]):
            return whole
        kind = Killed if child.returncode == -signal.SIGKILL and not answer else Failed
        raise kind(_failure_reason(child, answer))

    def _child_main(self, work, client, reading, writing):
        os.close(reading)
        if self.input_fd is not None:
            with open(os.devnull, "rb") as nothing:
                os.dup2(nothing.fileno(), self.input_fd)
        set_limits(MEMORY, CPU_SECONDS)
        kind = _FAULT
        try:
            answer = work(client)
            kind = _ANSWER
        except MemoryError:
            answer = b"it takes more memory to read than the grader gives"
        except BaseException as error:
            answer = _describe(error).encode("utf-8", "replace")
        with open(writing, "wb") as pipe:
            pipe.write(kind)
            pipe.write(answer)

    def _read(self, descriptor, deadline):
        """Read what the child writes until it ends; a fault if it exceeds the time or the size."""
        chunks, size = [], 0
        waiting = select.poll()
        waiting.register(descriptor, select.POLLIN)
        if self.input_fd is not None:
            waiting.register(self.input_fd, select.POLLIN)
        while (seconds_left := deadline - time.monotonic()) > 0 and size <= LARGEST_ANSWER:
            for ready, _ in waiting.poll(seconds_left * 1000):
                if ready == self.input_fd:
                    raise Hangup
                data = os.read(descriptor, 2**20)
                if not data:
                    return b"".join(chunks)
                chunks.append(data)
                size += len(data)
        return _FAULT + b"it took the grader too long"


def _failure_reason(child, answer):
    """Why there is no answer, as the end of a sentence."""
    if answer[:1] == _FAULT:
        return answer[1:].decode("utf-8", "replace")[:300]
    if child.returncode == -signal.SIGXCPU:
        return "it takes more time to read than the grader gives"
    return (
        f"the process that graded it was ended by signal {-child.returncode}" if child.returncode < 0 else "of a fault"
    )


def _describe(error):
    lines = str(error).strip().splitlines()
    return f"of {type(error).__name__}{': ' + lines[0] if lines else ''}"[:300]


def _trouble(reason, *, stop):
    return message.pack({"trouble": reason, "stop": stop}, b"")


def main():
    """Serve messages from standard input. The first one holds the settings: ``root`` of the course,
    ``require_isolation``, and ``private``, folders that handed-in code must not see.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the stop key reaches the whole group: the grader decides
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # whatever else is printed must not get among the answers
    settings = message.unpack(message.read(_read_exactly))[0]
    course = Course(Path(settings["root"]))

    def answer(data):
        answers.write(data)
        answers.flush()

    try:
        course_registry = registry.of(course)
        with quick_imports():
            import torch  # noqa: F401  (once, for everything that is forked from here)

        pool = SandboxPool(
            course_registry,
            require_isolation=settings["require_isolation"],
            private=settings["private"],
            inherit=can_fork(),
        )
        with pool:
            from autograde.remote import probe
            from autograde.submission import grade_submission  # noqa: F401  (only now: it imports right answers)

            probe.warm_up()
            answer(message.pack({"ready": True}))
            process = GradingProcess(pool, course, input_fd=0 if can_fork() else None)
            with contextlib.suppress(Hangup):
                while question := message.read(_read_exactly):
                    answer(process.answer(*message.unpack(question)))
    except (IsolationError, SandboxError) as error:
        answer(_trouble(str(error), stop=True))


def _read_exactly(count):
    """Read `count` bytes from standard input, fewer at its end. Unbuffered, so that polling the descriptor shows whether
    there is more.
    """
    received = bytearray()
    while len(received) < count:
        data = os.read(0, min(count - len(received), 2**20))
        if not data:
            break
        received += data
    return bytes(received)


if __name__ == "__main__":
    main()
