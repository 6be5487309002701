"""The fork server: a process in which everything is imported once, and each submission gets a fork of it.

A fork copies one thread, so this process must never have a second one: that is checked before each fork. Nothing of a
submission ever passes through here (files and cells go straight to its session), so nothing of one is left in the
memory that the next one inherits.
"""

import contextlib
import fcntl
import importlib.util
import json
import os
import select
import signal
import socket
import sys
import threading
import traceback

from autograde.sandbox import protocol
from autograde.sandbox.child import serve
from autograde.sandbox.isolation import import_guard, visible_paths, walls
from autograde.sandbox.process import optimise_for_fork

NICENESS = 5  # of sessions: the processes that grade come first, those that a session starts last (`sandbox.priority`)
_FIRST_FREE = 128  # a descriptor above those that a child is given


class _Status:
    """This process's own /proc/self/status, opened while it can be: in some containers a sandbox has no /proc."""

    def __init__(self):
        self.descriptor = os.open("/proc/self/status", os.O_RDONLY | os.O_CLOEXEC)

    def read(self, name):
        """The number that stands beside `name`."""
        lines = os.pread(self.descriptor, 2**14, 0).decode().splitlines()
        return int(next(line for line in lines if line.startswith(name + ":")).split()[1])


def _prefetch(name):
    """A function that imports the module `name`, even if its file is not visible any more."""
    if name in sys.modules:
        return lambda: None
    spec = importlib.util.find_spec(name)
    code = spec.loader.get_code(name)

    def load():
        module = sys.modules[name] = importlib.util.module_from_spec(spec)
        exec(code, module.__dict__)

    return load


def keep_only(descriptor):
    """In a fork of the grading process: close all its descriptors but `descriptor` and the error stream.

    Returns:
        The new number of the descriptor.
    """
    os.setsid()
    os.chdir("/")
    kept = fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, _FIRST_FREE)
    nothing = os.open("/dev/null", os.O_RDONLY)
    os.dup2(nothing, 0)
    os.dup2(2, 1)
    os.dup2(kept, 3, inheritable=False)
    os.closerange(4, 2**20)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_DFL)
    return 3


def main(descriptor):
    """Serve the grader's requests for sessions until it hangs up."""
    control = socket.socket(fileno=descriptor)
    control.set_inheritable(False)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())  # whatever the grader's thread had blocked
    asked = json.loads(control.recv(2**20))
    grader = os.pidfd_open(os.getppid())
    server_walls = None
    try:
        load_shell = _prefetch("autograde.sandbox.child.shell")
        server_walls = walls.Walls(asked["places"], asked["without"], asked["note"])
        if server_walls.namespaces:
            first = os.fork()
            if first:
                control.close()
                os._exit(os.waitstatus_to_exitcode(os.waitpid(first, 0)[1]) & 0xFF)
        status = _Status()
        server_walls.raise_around_server()
        if asked["required"] and server_walls.record()["level"] != "full":
            visible_paths.remove(server_walls.home)
            control.send(json.dumps({"too little": server_walls.record()}).encode())
            return
        load_shell()
        shell, modules = serve.ready(asked["course"])
        import_guard.forget_grader()
        serve.warm_up(shell, asked["course"]["probes"])
        optimise_for_fork()
    except Exception as error:
        if server_walls is not None:
            visible_paths.remove(server_walls.home)
        control.send(json.dumps({"failed": f"{type(error).__name__}: {error}"}).encode())
        raise
    control.send(json.dumps({"ready": server_walls.record()}).encode())
    ForkServer(control, grader, status, (shell, modules), server_walls).run()


class _Session:
    """A forked session: its number, its process id, who asked for it, and a folder to be removed after it, or None."""

    def __init__(self, number, pid, client, folder):
        self.number = number
        self.pid = pid
        self.client = client
        self.folder = folder


class ForkServer:
    """Forks a session for each request of a client, and reports how each one ended.

    The first client is the grader itself. It may hand over sockets of further clients: the processes that it forks to
    grade one submission each. When a client hangs up, its sessions are killed; when the grader does or dies, all of
    them, and this process ends.
    """

    def __init__(self, control, grader, status, ready, server_walls):
        self.control = control.fileno()
        self.clients = {control.fileno(): control}
        self.grader = grader
        self.status = status
        self.ready = ready
        self.walls = server_walls
        self.sessions = {}  # pidfd -> _Session
        self.poll = select.poll()
        self.poll.register(control, select.POLLIN)
        self.poll.register(grader, select.POLLIN)

    def run(self):
        """Serve until the grader is gone."""
        while True:
            for descriptor, _ in self.poll.poll():
                if descriptor in self.sessions:
                    self._reap(descriptor)
                elif descriptor == self.grader:
                    self._leave()
                elif descriptor in self.clients:
                    self._serve(self.clients[descriptor])

    def _serve(self, client):
        try:
            data, descriptors, _, _ = socket.recv_fds(client, 2**16, 8)
        except OSError:
            data, descriptors = b"", []
        if not data:
            self._forget(client)
            return
        request = json.loads(data)
        if "client" in request:
            new = socket.socket(fileno=descriptors.pop())
            new.set_inheritable(False)
            self.clients[new.fileno()] = new
            self.poll.register(new, select.POLLIN)
        else:
            self._open(client, request, descriptors)
        for descriptor in descriptors:
            os.close(descriptor)

    def _forget(self, client):
        """A client has closed its connection: kill its sessions."""
        if client.fileno() == self.control:
            self._leave()
        for pidfd in [pidfd for pidfd, session in self.sessions.items() if session.client is client]:
            folder = self.sessions[pidfd].folder
            with contextlib.suppress(OSError):
                signal.pidfd_send_signal(pidfd, signal.SIGKILL)
            self._reap(pidfd)
            visible_paths.remove(folder)
        self.poll.unregister(client)
        del self.clients[client.fileno()]
        client.close()

    def _leave(self):
        for pidfd, session in self.sessions.items():
            with contextlib.suppress(OSError):
                signal.pidfd_send_signal(pidfd, signal.SIGKILL)
                os.waitpid(session.pid, 0)
        for folder in [*(session.folder for session in self.sessions.values()), self.walls.home]:
            visible_paths.remove(folder)
        os._exit(0)

    def _send(self, client, message, descriptors=()):
        with contextlib.suppress(OSError):  # it has ended, which its socket will report
            socket.send_fds(client, [json.dumps(message).encode()], list(descriptors), socket.MSG_DONTWAIT)

    def _reap(self, pidfd):
        session = self.sessions.pop(pidfd)
        self.poll.unregister(pidfd)
        os.close(pidfd)
        _, status, used = os.wait4(session.pid, 0)
        code = os.waitstatus_to_exitcode(status)
        cpu = used.ru_utime + used.ru_stime
        self._send(session.client, {"ended": session.number, "code": code, "cpu": cpu})

    def _import(self, names):
        new = [name for name in names if name not in sys.modules]
        for name in new:
            with contextlib.suppress(ImportError):  # it is not installed: the learner's import will fail
                importlib.import_module(name)
        if new:
            optimise_for_fork()

    def _open(self, client, request, descriptors):
        self._import(request["imports"])
        if threading.active_count() != 1 or self.status.read("Threads") != 1:
            return self._send(client, {"failed": "the fork server has more than one thread, so it cannot be forked"})
        request |= {"shared": self.status.read("VmSize") * 1024, "parent": os.getpid()}
        try:
            process = self.walls.fork()
        except OSError as error:
            return self._send(client, {"failed": f"no process could be forked: {error}"})
        if process == 0:
            self._be_session(request, descriptors)
        pidfd = os.pidfd_open(process)
        self.sessions[pidfd] = _Session(request["open"], process, client, request["folder"])
        self.poll.register(pidfd, select.POLLIN)
        self._send(client, {"opened": request["open"]}, [pidfd])

    def _be_session(self, request, descriptors):
        """In the child: keep nothing of this process's but its imports, enter the sandbox, and serve."""
        code = 1
        try:
            os.nice(NICENESS)
            os.setpgid(0, 0)  # signals to its process group reach nobody else; a session would cost 5 ms
            wanted = [os.open("/dev/null", os.O_RDONLY), *descriptors[1:], descriptors[0]]
            high = [fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, _FIRST_FREE) for descriptor in wanted]
            for number, descriptor in enumerate(high):
                os.dup2(descriptor, number, inheritable=number < 3)
            os.closerange(len(high), 2**20)
            isolation = self.walls.raise_around_session(request)
            serve.SessionServer(socket.socket(fileno=3), *self.ready).run(isolation)
            code = 0
        except ConnectionError:
            code = protocol.CONNECTION_LOST
        except BaseException:
            traceback.print_exc(file=sys.__stderr__)
            sys.__stderr__.flush()
        finally:
            os._exit(code)
