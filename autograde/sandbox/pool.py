"""The warm process, seen from the grader: import torch and the rest once, then open a boxed session in milliseconds.

Where a process cannot fork (Windows, macOS) each session gets a fresh process without a box: slower, and recorded so.
"""

import contextlib
import json
import os
import secrets
import select
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

from autograde import registry
from autograde.sandbox import usage
from autograde.sandbox.isolation import visible_paths
from autograde.sandbox.limits import Limits
from autograde.sandbox.session import Session

START_SECONDS = 120  # importing torch from a cold disk
OPEN_SECONDS = 60  # forking and boxing, and at times an import of what the course has `preload_when_mentioned`
INHERITS_SOCKETS = os.name == "posix"
MOST_REPORTS = 64
KILL_SECONDS = 10  # a killed process is gone long before

UNBOXED = {
    "level": "none",
    "by": [],
    "up": ["environment", "output", "wall time"],
    "missing": ["files", "network", "processes", "survivors", "memory", "disk", "system calls"],
    "sentence": "Not isolated: handed-in code ran in an ordinary process of this user.",
}


class IsolationError(RuntimeError):
    """The box that was required cannot be had on this machine."""


class WarmError(RuntimeError):
    """The warm process could not be started, or could not open a session."""


def course_for_child(course):
    """What the process with handed-in code needs to know of a course, as plain data."""
    return {"probes": course.probes, "preload": course.preload, "checks": course.checks}


def environment(course):
    """The whole environment of a process that runs handed-in code: nothing of the grader's own."""
    threads = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMEXPR_NUM_THREADS"), "1")
    kept = {name: os.environ[name] for name in ("TZ", "TMPDIR", "SYSTEMROOT", "LD_LIBRARY_PATH") if name in os.environ}
    search = os.pathsep.join([os.path.dirname(sys.executable), "/usr/local/bin", "/usr/bin", "/bin"])
    if os.name != "posix":  # libraries are found by way of it there
        search = os.environ["PATH"]
    return threads | kept | {
        "PATH": search,
        "LANG": "C.UTF-8",
        "PYTHONPATH": os.pathsep.join(dict.fromkeys([str(visible_paths.PACKAGE.parent), str(course.course.root)])),
        "PYTHONSAFEPATH": "1",
        "MPLBACKEND": "module://matplotlib_inline.backend_inline",
    }  # fmt: skip


class Warm:
    """One warm process. A context manager; `open` gives sessions.

    Args:
        course: the `Registry` of the course whose probes are asked; the one at hand when left out.
        require_isolation: raise `IsolationError` rather than run handed-in code outside a full box.
        private: directories that handed-in code must not see although they may lie below one it needs (a course
            that lives in /usr/src, say). The working directory and the home directory always count among them.
        fork: False for a fresh process per session, without a box.
        without: names of means not to use ("namespaces", "landlock", "seccomp"): how a lesser machine is tried out.
    """

    def __init__(self, course=None, *, require_isolation=False, private=(), fork=None, without=()):
        self.course = course or registry.current()
        self.require_isolation = require_isolation
        self.private = [Path(path) for path in private]
        self.fork = _can_fork() if fork is None else fork
        self.without = tuple(without)
        self.lock = threading.Lock()
        self.control = None
        self.process = None
        self.reached = None
        self.reports = {}
        self.opened = 0
        if require_isolation and not self.fork:
            raise IsolationError("handed-in code cannot be isolated on this system: that takes Linux")

    def __enter__(self):
        if self.fork:
            with self.lock:
                self._start()
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        """End the warm process, and with it every session."""
        with self.lock:
            self._stop()

    def open(self, limits=None, files=None, given=(), code=""):
        """A `Session` of its own process, with `files` (names to bytes) in its working directory.

        Args:
            limits: a `Limits`; None for the usual ones.
            files: dict of relative names to bytes.
            given: parts of refused modules that this session may import.
            code: what will run in it. What this mentions of the course's `preload_when_mentioned` is imported before the
                fork, once for all sessions to come.

        Raises:
            IsolationError: a full box is required and was not reached.
            WarmError: no process could be had.
        """
        limits = limits or Limits()
        imports = [module for word, module in self.course.preload_when_mentioned.items() if word in code]
        link = self._forked(limits, given, imports) if self.fork else Fresh(self.course, given, limits)
        try:
            session = Session(link, limits)
        except BaseException:
            link.close()
            raise
        try:
            if self.require_isolation and session.isolation.get("level") != "full":
                raise IsolationError(_cannot(session.isolation))
            if files:
                session.put(files)
        except BaseException:
            session.close()
            raise
        return session

    # -- the warm process --

    def _start(self):
        """Start it, inside namespaces if it can be. When it does not come up there, it is tried once more without."""
        try:
            self._start_without(self.without, "")
        except WarmError as error:
            if "namespaces" in self.without or self.require_isolation:
                raise
            self._start_without((*self.without, "namespaces"), f"the warm process did not start in namespaces: {error}")

    def _start_without(self, without, note):
        plan = visible_paths.plan(self.private, self.course)
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        command = [sys.executable, "-m", "autograde.sandbox.child.main", "warm", str(theirs.fileno())]
        with theirs:
            self.process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
                env=environment(self.course),
                start_new_session=True,
                cwd="/",
            )
        self.control = ours
        self.reports = {}
        self._tell(
            {
                "course": course_for_child(self.course),
                "places": plan,
                "without": without,
                "note": note,
                "required": self.require_isolation,
            }
        )
        ours.settimeout(START_SECONDS)
        heard = self._hear({"ready", "failed", "too little"})
        if heard is None or "ready" not in heard[0]:
            self._stop()
            if heard is not None and "too little" in heard[0]:
                raise IsolationError(_cannot(heard[0]["too little"]))
            raise WarmError(heard[0]["failed"] if heard else "the warm process did not start")
        self.reached = heard[0]["ready"]

    def _stop(self):
        if self.control is not None:
            self.control.close()
            self.control = None
        if self.process is not None:
            try:
                self.process.wait(KILL_SECONDS)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
            self.process = None

    def _tell(self, message, descriptors=()):
        socket.send_fds(self.control, [json.dumps(message).encode()], list(descriptors))

    def _hear(self, wanted):
        """The next message that has one of the keys `wanted`, with its descriptors; None when there is none to come.

        Reports of sessions that ended are kept for those who ask for them.
        """
        while True:
            try:
                data, descriptors, _, _ = socket.recv_fds(self.control, 2**16, 4)
            except OSError:
                return None
            if not data:
                return None
            message = json.loads(data)
            if "ended" in message:
                self.reports[message["ended"]] = message
                if len(self.reports) > MOST_REPORTS:  # those that nobody asked for
                    del self.reports[min(self.reports)]
            if wanted & message.keys():
                return message, descriptors
            for descriptor in descriptors:
                os.close(descriptor)

    def _forked(self, limits, given, imports):
        ours, theirs = socket.socketpair()
        streams, ends = {}, []
        folder = None
        try:
            for name in ("stdout", "stderr"):
                streams[name], end = os.pipe()
                ends.append(end)
            with self.lock:
                if self.process is None or self.process.poll() is not None:
                    self._stop()
                    self._start()
                if "namespaces" not in self.reached["by"]:  # with them it has a file system of its own
                    folder = tempfile.mkdtemp(prefix="autograde-")
                self.opened += 1
                number = self.opened
                request = {"open": number, "limits": vars(limits), "given": list(given), "imports": imports}
                request["folder"] = folder
                self.control.settimeout(OPEN_SECONDS)
                self._tell(request, [theirs.fileno(), *ends])
                answer = self._hear({"opened", "failed"})
                if answer is None:  # whatever it still has to say would be taken for something else
                    self._stop()
            if answer is None or "failed" in answer[0]:
                raise WarmError("no session: " + (answer[0]["failed"] if answer else "the warm process is gone"))
        except BaseException:
            ours.close()
            for descriptor in streams.values():
                os.close(descriptor)
            visible_paths.remove(folder)
            raise
        finally:
            theirs.close()
            for end in ends:
                os.close(end)
        return Forked(self, number, ours, streams, answer[1][0], folder)

    def report(self, number):
        """How the process of session `number` ended, or None."""
        with self.lock:
            while number not in self.reports:
                if self.control is None:
                    return None
                self.control.settimeout(1)
                if self._hear({"ended"}) is None:
                    return None
            return self.reports.pop(number)


def _can_fork():
    """Whether this system can fork a warm process and hold its children by pidfds: Linux, since 5.3."""
    try:
        os.close(os.pidfd_open(os.getpid()))
    except (AttributeError, OSError):
        return False
    return True


def _cannot(isolation):
    return f"a full box was required and cannot be had here. {isolation.get('sentence', '')}"


class Forked:
    """The grader's hold on one forked child: its socket, its two streams, and a pidfd, which no other process can be
    mistaken for.
    """

    patience = OPEN_SECONDS

    def __init__(self, warm, number, connection, streams, pidfd, folder):
        self.warm = warm
        self.number = number
        self.socket = connection
        self.streams = streams
        self.death = pidfd
        self.folder = folder
        self.killed = False
        self.loose = False  # whether what it starts can outlive it
        connection.setblocking(False)
        for descriptor in streams.values():
            os.set_blocking(descriptor, False)
        self.meter = usage.Meter(pidfd, folder)
        self.shared = self.meter.read().memory  # before it has made any of its own

    def usage(self):
        """What the session's processes use together now, or None when that cannot be told."""
        return self.meter.read()

    def interrupt(self):
        """Interrupt it as the stop button does; whether that could be done."""
        with contextlib.suppress(OSError):
            signal.pidfd_send_signal(self.death, signal.SIGINT)
        return True

    def kill(self):
        """Kill it and wait until it is gone. With it goes everything in its process namespace."""
        self.killed = not self.wait(0)
        for process in self.meter.processes()[1:] if self.loose else ():
            with contextlib.suppress(OSError):
                os.kill(process, signal.SIGKILL)
        with contextlib.suppress(OSError):
            signal.pidfd_send_signal(self.death, signal.SIGKILL)
        self.wait(KILL_SECONDS)

    def wait(self, seconds):
        """Whether it is gone, or goes within `seconds`."""
        waiting = select.poll()
        waiting.register(self.death, select.POLLIN)
        return bool(waiting.poll(seconds * 1000))

    def report(self):
        """How it ended, once it has: a `usage.Report`, or None."""
        told = self.warm.report(self.number)
        return None if told is None else usage.Report(told["code"], told["cpu"], self.killed)

    def close(self):
        """Kill it, and leave nothing of it behind."""
        if self.socket.fileno() < 0:
            return
        self.kill()
        self.socket.close()
        for descriptor in [*self.streams.values(), self.death]:
            os.close(descriptor)
        visible_paths.remove(self.folder)


class Fresh:
    """The grader's hold on a process of its own, outside any box."""

    patience = START_SECONDS
    death = None
    loose = True
    shared = 0

    def __init__(self, course, given, limits):
        self.folder = tempfile.mkdtemp(prefix="autograde-")
        self.killed = False
        files = visible_paths.given_files(visible_paths.modules_of(course), given)
        request = {"course": course_for_child(course), "refused": course.refused, "given": files}
        request = json.dumps(request | {"isolation": UNBOXED, "limits": vars(limits)})
        command = [sys.executable, "-m", "autograde.sandbox.child.main", "fresh"]
        places_of_its_own = dict.fromkeys(("HOME", "USERPROFILE", "TMPDIR", "TEMP", "TMP", "MPLCONFIGDIR"), self.folder)
        common = {"cwd": self.folder, "env": environment(course) | places_of_its_own}
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
        """A process that cannot inherit a socket connects to one, and shows that it is the one that was started."""
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
        """None: it cannot be told."""

    def interrupt(self):
        """Interrupt it as the stop button does; whether that could be done."""
        if os.name != "posix":
            return False
        with contextlib.suppress(OSError):
            self.process.send_signal(signal.SIGINT)
        return True

    def wait(self, seconds):
        """Whether it is gone, or goes within `seconds`."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(seconds)
        return self.process.returncode is not None

    def kill(self):
        """Kill it, and what is left of its process group."""
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
        """Kill it, and leave nothing of it behind."""
        self.kill()
        self.socket.close()
        for stream in (self.process.stdout, self.process.stderr):
            if stream is not None:
                stream.close()
        visible_paths.remove(self.folder)
