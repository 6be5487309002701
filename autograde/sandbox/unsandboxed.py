"""Processes without a sandbox: for a person's own code, and for systems on which there is no sandbox."""

import contextlib
import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import tempfile

from autograde.sandbox import usage
from autograde.sandbox.connection import KILL_SECONDS, PidfdProcess
from autograde.sandbox.environment import course_for_child, environment
from autograde.sandbox.isolation import visible_paths
from autograde.sandbox.limits import Limits
from autograde.sandbox.process import can_fork, fork, threads
from autograde.sandbox.session import Session

START_SECONDS = 120  # importing torch from a cold disk
INHERITS_SOCKETS = os.name == "posix"

RECORD = {
    "level": "none",
    "by": [],
    "up": ["environment", "output", "wall time"],
    "missing": ["files", "network", "processes", "survivors", "memory", "disk", "system calls"],
    "message": "Not isolated: handed-in code ran in an ordinary process of this user.",
}


def _course(course):
    return course_for_child(course) | {"preload": []}  # for one session, preloading saves nothing


def _request(course, given, limits, folder):
    files = visible_paths.given_files(visible_paths.modules_of(course), given)
    return {
        "refused": course.refused, "given": files, "isolation": RECORD, "limits": vars(limits),
        "folder": None if folder is None else os.fspath(folder),
    }  # fmt: skip


def start(course):
    """Start a process for one session: a fork of this one, if possible. It imports the course, and waits for a request.

    Returns:
        A `ForkedProcess`, or None where the process cannot be forked.
    """
    return ForkedProcess(course) if can_fork() and threads() == 1 else None


def open_session(course, process=None, given=(), limits=None, folder=None):
    """A `Session` without a sandbox.

    Args:
        course: the `Registry`.
        process: of `start`; None for a fresh process.
        given: parts of refused modules that may be imported.
        limits: a `Limits`; None for the usual ones.
        folder: the working directory, an absolute path; None for an empty one.
    """
    limits = limits or Limits()
    if process is None:
        process = FreshProcess(course, given, limits, folder)
    else:
        process.send(_request(course, given, limits, folder))
    try:
        return Session(process, limits)
    except BaseException:
        process.close()
        raise


class ForkedProcess(PidfdProcess):
    """A fork of this process, which has torch already."""

    patience = START_SECONDS

    def __init__(self, course):
        folder = tempfile.mkdtemp(prefix="autograde-")
        ours, theirs = socket.socketpair()
        pipes = {name: os.pipe() for name in ("stdout", "stderr")}
        self.child = fork(lambda: self._serve(course, ours, theirs, pipes, folder))
        theirs.close()
        for _, end in pipes.values():
            os.close(end)
        super().__init__(ours, {name: reading for name, (reading, _) in pipes.items()}, self.child.pidfd, folder)
        self.may_leave_children = True

    def send(self, request):
        """Send the request that `serve_unsandboxed` waits for."""
        with contextlib.suppress(OSError):  # it has ended, which the session will notice
            self.socket.sendall(json.dumps(request).encode() + b"\n")

    @staticmethod
    def _serve(course, ours, theirs, pipes, folder):
        from autograde.sandbox.child.main import serve_unsandboxed

        os.setsid()
        ours.close()
        with open(os.devnull, "rb") as nothing:
            os.dup2(nothing.fileno(), 0)
        for number, (reading, writing) in enumerate(pipes.values(), start=1):
            os.close(reading)
            os.dup2(writing, number)
            os.close(writing)
        os.environ.clear()
        os.environ.update(environment(course) | dict.fromkeys(("HOME", "TMPDIR", "MPLCONFIGDIR"), folder))
        os.chdir(folder)

        def hear():
            with theirs.makefile("rb", buffering=0) as line:
                return json.loads(line.readline())

        serve_unsandboxed(theirs, _course(course), hear)

    def usage(self):
        """None: a person's own code is not limited."""

    def report(self):
        """How it ended: a `usage.Report`."""
        self.child.wait(KILL_SECONDS)
        return usage.Report(self.child.returncode, self.child.cpu, self.killed)

    def kill(self):
        """Kill it, and the rest of its process group."""
        if self.child.returncode is not None:
            return
        super().kill()
        with contextlib.suppress(OSError):
            os.killpg(self.child.pid, signal.SIGKILL)

    def wait(self, seconds):
        """Whether it has ended, or ends within `seconds`."""
        return self.child.returncode is not None or super().wait(seconds)

    def release(self):
        """Reap it."""
        self.child.wait(KILL_SECONDS)


class FreshProcess:
    """A new process, for systems on which a process cannot be forked."""

    patience = START_SECONDS
    death = None
    may_leave_children = True
    shared = 0

    def __init__(self, course, given, limits, folder=None):
        self.folder = tempfile.mkdtemp(prefix="autograde-")
        self.killed = False
        request = json.dumps(_request(course, given, limits, folder) | {"course": _course(course)})
        command = [sys.executable, "-m", "autograde.sandbox.child.main", "fresh"]
        folders = dict.fromkeys(("HOME", "USERPROFILE", "TMPDIR", "TEMP", "TMP", "MPLCONFIGDIR"), self.folder)
        common = {"cwd": self.folder, "env": environment(course) | folders}
        if INHERITS_SOCKETS:
            self.socket, theirs = socket.socketpair()
            with theirs:
                self.process = subprocess.Popen(
                    [*command, "descriptor", str(theirs.fileno()), request],
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.PIPE,
                    pass_fds=[theirs.fileno()],
                    start_new_session=True,
                    **common,
                )
            self.streams = {"stdout": self.process.stdout.fileno(), "stderr": self.process.stderr.fileno()}
            for descriptor in self.streams.values():
                os.set_blocking(descriptor, False)
        else:
            self.streams = {}
            self.socket = self._connected(command, request, common)
        self.socket.setblocking(False)

    def _connected(self, command, request, common):
        """Start a process that cannot inherit a socket: it connects to one, and identifies itself with a token."""
        token = secrets.token_bytes(32)
        with socket.create_server(("127.0.0.1", 0)) as server:
            server.settimeout(START_SECONDS)
            port = str(server.getsockname()[1])
            self.process = subprocess.Popen(
                [*command, "port", port, request],
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                **common,
            )
            self.process.stdin.write(token)
            self.process.stdin.close()
            while True:
                connection, _ = server.accept()
                connection.settimeout(5)
                if connection.recv(len(token), socket.MSG_WAITALL) == token:
                    return connection
                connection.close()

    def usage(self):
        """None: it cannot be measured."""

    def waits(self):
        """How long its first thread was ready to run and had no processor: ``{thread: seconds}``."""
        return usage.waits_of(self.process.pid)

    def interrupt(self):
        """Interrupt it, as the stop button does; whether that was possible."""
        if os.name != "posix":
            return False
        with contextlib.suppress(OSError):
            self.process.send_signal(signal.SIGINT)
        return True

    def wait(self, seconds):
        """Whether it has ended, or ends within `seconds`."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(seconds)
        return self.process.returncode is not None

    def kill(self):
        """Kill it, and the rest of its process group."""
        self.killed = self.process.poll() is None
        with contextlib.suppress(OSError):
            if os.name == "posix":
                os.killpg(self.process.pid, signal.SIGKILL)
        self.process.kill()
        self.process.wait(KILL_SECONDS)

    def report(self):
        """How it ended: a `usage.Report`."""
        return usage.Report(self.process.returncode, 0.0, self.killed)

    def close(self):
        """Kill it, and remove its folder."""
        self.kill()
        self.socket.close()
        for stream in (self.process.stdout, self.process.stderr):
            if stream is not None:
                stream.close()
        visible_paths.remove(self.folder)
