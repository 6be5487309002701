"""The fork server, on the grader's side: it imports torch once, and then opens sandboxed sessions in milliseconds.

On systems without fork (Windows, macOS), each session gets a new process without a sandbox. This is slower, and recorded.
"""

import contextlib
import socket
import subprocess
import sys
import threading
from pathlib import Path

from autograde import registry
from autograde.sandbox.connection import KILL_SECONDS, Connection, SandboxError
from autograde.sandbox.environment import course_for_child, environment
from autograde.sandbox.isolation import visible_paths
from autograde.sandbox.limits import Limits
from autograde.sandbox.process import can_fork, fork
from autograde.sandbox.session import Session
from autograde.sandbox.unsandboxed import START_SECONDS, FreshProcess


class IsolationError(RuntimeError):
    """The required isolation is not possible on this machine."""


class SandboxPool:
    """Opens sessions, each in a fork of one process that has everything imported. A context manager.

    Args:
        course: the `Registry` of the course whose probes are asked; the one at hand when left out.
        require_isolation: raise `IsolationError` rather than run handed-in code outside a full sandbox.
        private: directories that handed-in code must not see although they may lie below one it needs (a course
            that lives in /usr/src, say). The working directory and the home directory always count among them.
        fork: False for a fresh process per session, without a sandbox.
        without: mechanisms not to use ("namespaces", "landlock", "seccomp"), to test machines that lack them.
        inherit: have the fork server be a fork of this very process, which has torch already. It must have one thread
            and nothing that knows a right answer; later it must not fork another one, so a server that died stays so.
    """

    def __init__(self, course=None, *, require_isolation=False, private=(), fork=None, without=(), inherit=False):
        self.course = course or registry.current()
        self.require_isolation = require_isolation
        self.private = [Path(path) for path in private]
        self.fork = can_fork() if fork is None else fork
        self.without = tuple(without)
        self.inherit = inherit
        self.lock = threading.Lock()
        self.connection = None
        self.process = None
        self.reached = None
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
        """End the fork server, and with it every session."""
        with self.lock:
            self._stop()

    def open(self, limits=None, files=None, given=(), code="", connection=None):
        """A `Session` of its own process, with `files` (names to bytes) in its working directory.

        Args:
            limits: a `Limits`; None for the usual ones.
            files: dict of relative names to bytes.
            given: parts of refused modules that this session may import.
            code: what will run in it. What the course has `imported_ahead` for it is imported before the fork, once for all
                sessions to come.
            connection: of `new_client`, in a process that was forked after it; else that of this process.

        Raises:
            IsolationError: a full sandbox is required and was not reached.
            SandboxError: no process could be had.
        """
        limits = limits or Limits()
        if not self.fork:
            link = FreshProcess(self.course, given, limits)
        else:
            link = self._forked_session(connection, limits, given, self.course.imported_ahead(code))
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

    def _forked_session(self, connection, *wanted):
        try:
            return (connection or self._connected()).open(*wanted)
        except SandboxError:
            if connection or (self.alive and not self.connection.gone):
                raise
            return self._connected().open(*wanted)  # the fork server has ended in the meantime: there is a new one now

    def new_client(self):
        """A `Connection` for a process that is to be forked from this one; None where sessions are fresh processes."""
        return self._connected().new_client() if self.fork else None

    @property
    def alive(self):
        """Whether the fork server runs, or none is needed."""
        return not self.fork or (self.process is not None and self.process.poll() is None)

    def _connected(self):
        with self.lock:
            if not self.alive or self.connection.gone:
                if self.inherit and self.process is not None:
                    raise SandboxError("the fork server is gone")
                self._stop()
                self._start()
            return self.connection

    # -- the fork server --

    def _start(self):
        """Start it, in namespaces if possible. If that fails, try once more without them."""
        try:
            self._start_without(self.without, "")
        except SandboxError as error:
            if "namespaces" in self.without or self.require_isolation:
                raise
            self._start_without((*self.without, "namespaces"), f"it did not start in namespaces: {error}")

    def _start_without(self, without, note):
        plan = visible_paths.plan(self.private, self.course)
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            self.process = self._forked(ours, theirs) if self.inherit else self._started(theirs)
        self.connection = Connection(ours)
        self.connection.send(
            {
                "course": course_for_child(self.course),
                "places": plan,
                "without": without,
                "note": note,
                "required": self.require_isolation,
            }
        )
        heard = self.connection.receive({"ready", "failed", "too little"}, START_SECONDS)
        if heard is None or "ready" not in heard[0]:
            self._stop()
            if heard is not None and "too little" in heard[0]:
                raise IsolationError(_cannot(heard[0]["too little"]))
            raise SandboxError(heard[0]["failed"] if heard else "the fork server did not start")
        self.reached = heard[0]["ready"]
        self.connection.namespaces = "namespaces" in self.reached["by"]

    def _started(self, theirs):
        return subprocess.Popen(
            [sys.executable, "-m", "autograde.sandbox.child.main", "server", str(theirs.fileno())],
            stdin=subprocess.DEVNULL,
            pass_fds=[theirs.fileno()],
            env=environment(self.course),
            start_new_session=True,
            cwd="/",
        )

    @staticmethod
    def _forked(ours, theirs):
        def serve():
            from autograde.sandbox.child import forkserver

            ours.detach()
            forkserver.main(forkserver.keep_only(theirs.detach()))

        return fork(serve, dies_with_parent=False)

    def _stop(self):
        if self.connection is not None:
            self.connection.close()
            self.connection = None
        if self.process is not None:
            with contextlib.suppress(subprocess.TimeoutExpired, TimeoutError):
                self.process.wait(KILL_SECONDS)
            if self.process.poll() is None:
                self.process.kill()
                self.process.wait()
            self.process = None


def _cannot(isolation):
    return f"a full sandbox was required and is not possible here. {isolation.get('message', '')}"
