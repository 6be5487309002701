"""The warm process: everything is imported here once, and each submission gets a fork of it.

A fork copies one thread, so this process must never have a second one: that is checked before each fork. Nothing of a
submission ever passes through here (files and cells go straight to its session), so nothing of one is left in the
memory that the next one inherits.
"""

import contextlib
import fcntl
import gc
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
from autograde.sandbox.isolation import syscalls, visible_paths, walls

_FIRST_FREE = 64  # a descriptor above those that a child is given


class _Status:
    """This process's own /proc/self/status, opened while it can be: in some containers a box has no /proc."""

    def __init__(self):
        self.descriptor = os.open("/proc/self/status", os.O_RDONLY | os.O_CLOEXEC)

    def read(self, name):
        """The number that stands beside `name`."""
        lines = os.pread(self.descriptor, 2**14, 0).decode().splitlines()
        return int(next(line for line in lines if line.startswith(name + ":")).split()[1])


def _prefetch(name):
    """A function that imports the module `name`, also when its file can no longer be seen."""
    spec = importlib.util.find_spec(name)
    code = spec.loader.get_code(name)

    def load():
        module = sys.modules[name] = importlib.util.module_from_spec(spec)
        exec(code, module.__dict__)

    return load


def main(descriptor):
    """Serve the grader's requests for sessions until it hangs up."""
    control = socket.socket(fileno=descriptor)
    control.set_inheritable(False)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())  # whatever the grader's thread had blocked
    asked = json.loads(control.recv(2**20))
    grader = os.pidfd_open(os.getppid())
    try:
        load_shell = _prefetch("autograde.sandbox.child.shell")
        outer = walls.Outer(asked["places"], asked["without"], asked["note"])
        if outer.namespaces:
            first = os.fork()
            if first:
                control.close()
                os._exit(os.waitstatus_to_exitcode(os.waitpid(first, 0)[1]) & 0xFF)
        status = _Status()
        outer.shut()
        if asked["required"] and outer.record()["level"] != "full":
            control.send(json.dumps({"too little": outer.record()}).encode())
            return
        load_shell()
        shell = serve.ready(asked["course"])
        serve.practise(shell)
        _settle()
    except Exception as error:
        control.send(json.dumps({"failed": f"{type(error).__name__}: {error}"}).encode())
        raise
    control.send(json.dumps({"ready": outer.record()}).encode())
    Nest(control, grader, status, shell, outer).run()


def _settle():
    """Make what is in memory now cheap to fork."""
    gc.collect()
    gc.freeze()
    with contextlib.suppress(OSError):
        syscalls.use_large_pages()


class Nest:
    """Forks a session for each request on `control`, and reports how each one ended.

    It leaves when the grader hangs up or dies, and with it every session: they are in its process namespace, or are
    killed by the kernel when their parent dies.
    """

    def __init__(self, control, grader, status, shell, outer):
        self.control = control
        self.grader = grader
        self.status = status
        self.shell = shell
        self.outer = outer
        self.children = {}  # pidfd -> (session number, process id)
        self.folders = {}  # pidfd -> a folder that the grader would have removed, had it lived
        self.poll = select.poll()
        self.poll.register(control, select.POLLIN)
        self.poll.register(grader, select.POLLIN)

    def run(self):
        """Serve until the grader is gone."""
        while True:
            for descriptor, _ in self.poll.poll():
                if descriptor in self.children:
                    self._bury(descriptor)
                elif descriptor == self.grader:
                    self._leave()
                else:
                    self._serve()

    def _serve(self):
        try:
            data, descriptors, _, _ = socket.recv_fds(self.control, 2**16, 8)
        except OSError:
            data = b""
        if not data:
            self._leave()
        self._open(json.loads(data), descriptors)
        for descriptor in descriptors:
            os.close(descriptor)

    def _leave(self):
        for pidfd, (_, process) in self.children.items():
            with contextlib.suppress(OSError):
                signal.pidfd_send_signal(pidfd, signal.SIGKILL)
                os.waitpid(process, 0)
        for folder in [*self.folders.values(), self.outer.home]:
            visible_paths.remove(folder)
        os._exit(0)

    def _tell(self, message, descriptors=()):
        try:
            socket.send_fds(self.control, [json.dumps(message).encode()], list(descriptors))
        except OSError:  # the grader has gone
            self._leave()

    def _bury(self, pidfd):
        number, process = self.children.pop(pidfd)
        del self.folders[pidfd]
        self.poll.unregister(pidfd)
        os.close(pidfd)
        _, status, used = os.wait4(process, 0)
        code = os.waitstatus_to_exitcode(status)
        self._tell({"ended": number, "code": code, "cpu": used.ru_utime + used.ru_stime})

    def _import(self, names):
        new = [name for name in names if name not in sys.modules]
        for name in new:
            with contextlib.suppress(ImportError):  # it is not installed: for the learner's code to find out
                importlib.import_module(name)
        if new:
            _settle()

    def _open(self, request, descriptors):
        self._import(request["imports"])
        if threading.active_count() != 1 or self.status.read("Threads") != 1:
            return self._tell({"failed": "the warm process has more than one thread, so it cannot be forked"})
        request |= {"shared": self.status.read("VmSize") * 1024, "parent": os.getpid()}
        try:
            process = self.outer.fork()
        except OSError as error:
            return self._tell({"failed": f"no process could be forked: {error}"})
        if process == 0:
            self._be_session(request, descriptors)
        pidfd = os.pidfd_open(process)
        self.children[pidfd] = (request["open"], process)
        self.folders[pidfd] = request["folder"]
        self.poll.register(pidfd, select.POLLIN)
        self._tell({"opened": request["open"]}, [pidfd])

    def _be_session(self, request, descriptors):
        """In the child: keep nothing of this process's but its imports, go into the box, and serve."""
        code = 1
        try:
            os.setpgid(0, 0)  # signals to its process group reach nobody else; a session would cost 5 ms
            wanted = [os.open("/dev/null", os.O_RDONLY), *descriptors[1:], descriptors[0]]
            high = [fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, _FIRST_FREE) for descriptor in wanted]
            for number, descriptor in enumerate(high):
                os.dup2(descriptor, number, inheritable=number < 3)
            os.closerange(len(high), 2**20)
            isolation = self.outer.shut_in(request)
            serve.Far(socket.socket(fileno=3), self.shell).run(isolation)
            code = 0
        except ConnectionError:
            code = protocol.CONNECTION_LOST
        except BaseException:
            traceback.print_exc(file=sys.__stderr__)
            sys.__stderr__.flush()
        finally:
            os._exit(code)
