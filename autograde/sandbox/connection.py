"""A client's connection to the fork server: it opens sessions, and receives reports of how they ended."""

import contextlib
import json
import os
import select
import signal
import socket
import tempfile
import threading

from autograde.sandbox import usage
from autograde.sandbox.isolation import visible_paths
from autograde.sandbox.priority import Priorities

OPEN_SECONDS = 60  # forking and isolating, and at times what the registry has `imported_ahead`
MAX_REPORTS = 64
KILL_SECONDS = 10  # a killed process is gone long before


class SandboxError(RuntimeError):
    """The fork server could not be started, or could not open a session."""


class Connection:
    """One client's connection. Threads may share it; processes may not.

    Args:
        control: a socket to the fork server.
        namespaces: whether sessions have file systems of their own.
    """

    def __init__(self, control, namespaces=True):
        self.control = control
        self.namespaces = namespaces
        self.lock = threading.Lock()
        self.reports = {}
        self.opened = 0

    @property
    def gone(self):
        """Whether the other end has hung up."""
        if self.control is None:
            return True
        hangup = select.poll()
        hangup.register(self.control, 0)
        return bool(hangup.poll(0))

    def close(self):
        """Hang up. The fork server kills what sessions this connection still has."""
        with self.lock:
            self._hang_up()

    def _hang_up(self):
        if self.control is not None:
            self.control.close()
            self.control = None

    def send(self, message, descriptors=()):
        """Send a message."""
        socket.send_fds(self.control, [json.dumps(message).encode()], list(descriptors))

    def receive(self, wanted, seconds):
        """``(message, descriptors)``: the next message with one of the keys `wanted`; None if the fork server is gone, or after
        `seconds` without a message.

        Reports of ended sessions are kept for `report`.
        """
        self.control.settimeout(seconds)
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
                if len(self.reports) > MAX_REPORTS:  # nobody has asked for it
                    del self.reports[min(self.reports)]
            if wanted & message.keys():
                return message, descriptors
            for descriptor in descriptors:
                os.close(descriptor)

    def new_client(self):
        """A connection for a process that will be forked from this one. When that process ends, its sessions end."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with self.lock, theirs:
            self.send({"client": True}, [theirs.fileno()])
        return Connection(ours, self.namespaces)

    def open(self, limits, given=(), imports=()):
        """Ask the fork server for a session; a `SandboxedProcess`.

        Args:
            limits: a `Limits`.
            given: parts of refused modules that this session may import.
            imports: modules that the fork server imports before it forks.

        Raises:
            SandboxError: no process could be forked.
        """
        ours, theirs = socket.socketpair()
        streams, ends = {}, []
        folder = None if self.namespaces else tempfile.mkdtemp(prefix="autograde-")
        try:
            for name in ("stdout", "stderr"):
                streams[name], end = os.pipe()
                ends.append(end)
            with self.lock:
                self.opened += 1
                number = self.opened
                request = {"open": number, "limits": vars(limits), "given": list(given), "imports": list(imports)}
                answer = self._ask(request | {"folder": folder}, [theirs.fileno(), *ends])
            if answer is None or "failed" in answer[0]:
                raise SandboxError("no session: " + (answer[0]["failed"] if answer else "the fork server is gone"))
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
        return SandboxedProcess(self, number, ours, streams, answer[1][0], folder)

    def _ask(self, request, descriptors):
        if self.control is None:
            return None
        try:
            self.send(request, descriptors)
        except OSError:
            return None
        answer = self.receive({"opened", "failed"}, OPEN_SECONDS)
        if answer is None:  # a late answer would be taken for the answer to another request
            self._hang_up()
        return answer

    def report(self, number):
        """How the process of session `number` ended, or None."""
        with self.lock:
            while number not in self.reports:
                if self.control is None or self.receive({"ended"}, 1) is None:
                    return None
            return self.reports.pop(number)


class PidfdProcess:
    """The grader's handle of a process that runs handed-in code: its socket, its two streams, and a pidfd, which always
    refers to this process, also when its id has been reused.

    Args:
        connection: the socket.
        streams: ``{"stdout": descriptor, "stderr": descriptor}``.
        pidfd: of the process.
        folder: the folder in which it may write, or None; removed by `close`.
    """

    patience = OPEN_SECONDS
    shared = 0

    def __init__(self, connection, streams, pidfd, folder):
        self.socket = connection
        self.streams = streams
        self.death = pidfd
        self.folder = folder
        self.killed = False
        self.may_leave_children = False  # whether processes that it starts can outlive it
        connection.setblocking(False)
        for descriptor in streams.values():
            os.set_blocking(descriptor, False)
        self.meter = usage.Meter(pidfd, folder)
        self.priorities = Priorities()

    def usage(self):
        """What the session's processes use together now, or None when that cannot be told. What they have started since
        the last look gets its low priority.
        """
        found = self.meter.read()
        self.priorities.lower(found.processes)
        return found

    def waits(self):
        """How long its first thread was ready to run and had no processor: ``{thread: seconds}``."""
        return self.meter.waits()

    def interrupt(self):
        """Interrupt it, as the stop button does; whether that was possible."""
        with contextlib.suppress(OSError):
            signal.pidfd_send_signal(self.death, signal.SIGINT)
        return True

    def kill(self):
        """Kill it, and with it everything in its process namespace, and wait until it has ended."""
        self.killed = not self.wait(0)
        for process in self.meter.processes()[1:] if self.may_leave_children else ():
            with contextlib.suppress(OSError):
                os.kill(process, signal.SIGKILL)
        with contextlib.suppress(OSError):
            signal.pidfd_send_signal(self.death, signal.SIGKILL)
        self.wait(KILL_SECONDS)

    def wait(self, seconds):
        """Whether it has ended, or ends within `seconds`."""
        waiting = select.poll()
        waiting.register(self.death, select.POLLIN)
        return bool(waiting.poll(seconds * 1000))

    def report(self):
        """How it ended, once it has: a `usage.Report`, or None."""
        raise NotImplementedError

    def close(self):
        """Kill it, and remove its folder."""
        if self.socket.fileno() < 0:
            return
        self.kill()
        self.socket.close()
        for descriptor in self.streams.values():
            os.close(descriptor)
        self.release()
        visible_paths.remove(self.folder)

    def release(self):
        """Close the pidfd."""
        os.close(self.death)


class SandboxedProcess(PidfdProcess):
    """A process that the fork server forked into the sandbox."""

    def __init__(self, client, number, *held):
        super().__init__(*held)
        self.client = client
        self.number = number
        self.shared = self.meter.read().memory  # before it has made any of its own

    def report(self):
        """How it ended, once it has: a `usage.Report`, or None."""
        ended = self.client.report(self.number)
        return None if ended is None else usage.Report(ended["code"], ended["cpu"], self.killed)
