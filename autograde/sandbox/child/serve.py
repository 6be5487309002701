"""The process in which handed-in code runs: it runs cells and answers probes, and knows no right answer."""

import _signal
import _socket
import importlib
import os
import pkgutil
import signal
import sys
import threading
import time

from autograde.sandbox import protocol
from autograde.sandbox.child.clean_modules import CleanModules, compiled
from autograde.sandbox.isolation import import_guard

_PROTOCOL = {protocol.__name__: compiled(protocol)}  # now, since a sandbox does not show this file


def ready(course):
    """Import what a course needs, so that forked children have it, and create the shell: ``(shell, CleanModules)``.

    At the end, the process must have one thread. The course's checks are never imported here.

    Args:
        course: a dict: "probes", the package of its probes; "preload", modules to import ahead; "checks", the package
            that must not be imported.
    """
    from autograde.remote import learner_process

    learner_process.mark()
    import torch

    import autograde.remote.call  # noqa: F401  (the probe that every course has)
    from autograde.sandbox.child.shell import make_shell

    probes = importlib.import_module(course["probes"])
    for module in pkgutil.walk_packages(probes.__path__, course["probes"] + "."):
        importlib.import_module(module.name)
    import_guard.keep_out(course["checks"])
    torch.set_num_threads(1)
    os.environ.pop("PYTHONSAFEPATH", None)  # it kept the grader's folder off the path; learners' own is on it
    sys.path.insert(0, "")
    sys.argv[:] = [""]
    shell = make_shell()
    for module in course["preload"]:  # after the shell: matplotlib's inline backend attaches itself to it
        importlib.import_module(module)
    modules = CleanModules(_PROTOCOL, ("json", "autograde.remote", course["probes"]), shared={learner_process.__name__})
    import_guard.forget("autograde.sandbox")  # so that no cell imports what serves it, to replace its functions
    return shell, modules


def warm_up(shell, probes):
    """Use numpy, torch, matplotlib and IPython once, since they load much at their first use, which each session would
    repeat. Nothing of it stays visible.

    Args:
        shell: of `make_shell`.
        probes: name of the package of the course's probes. If it has a function ``warm_up``, that is called too.
    """
    import bdb  # noqa: F401  (the shell imports these two for its first cell)

    import IPython.core.logger  # noqa: F401
    import matplotlib.pyplot as plt
    import torch

    from autograde.remote import probe

    _fresh_randomness()
    figure, axes = plt.subplots()
    axes.plot([0, 1], label="a")
    axes.set_title("a")
    axes.legend()
    shell.display_formatter.format(figure)
    plt.close(figure)
    shell.transform_cell("%matplotlib inline\n1 + 1")
    repr(torch.eye(2) @ torch.rand(2, 2))
    try:
        exec(compile("1 / 0", "practice", "exec"))
    except ZeroDivisionError:
        shell.InteractiveTB.structured_traceback(*sys.exc_info())
    probe.warm_up()
    getattr(sys.modules[probes], "warm_up", lambda: None)()


def _fresh_randomness():
    """Seed all random generators anew, so that forked processes do not share a random state."""
    import multiprocessing
    import random
    import tempfile

    import numpy
    import torch

    seed = int.from_bytes(os.urandom(8), "little")
    random.seed()
    numpy.random.seed(seed % 2**32)
    torch.default_generator.manual_seed(seed >> 1)
    tempfile._name_sequence = tempfile.tempdir = None
    multiprocessing.current_process().authkey = os.urandom(32)


def _words(error):
    try:
        return f"{type(error).__name__}: {error}".removesuffix(": ")[:500]
    except BaseException:  # learner's exceptions may do anything when they are read
        return type(error).__name__


# In C: a cell may replace those of `socket.socket` and `signal`.
_send_all, _receive, _set_handler = _socket.socket.sendall, _socket.socket.recv, _signal.signal
_now = time.monotonic


class FrameSender:
    """Sends frames to the grader. A frame is always sent completely, also if an interrupt arrives in the meantime."""

    def __init__(self, connection):
        self.connection = connection
        self.lock = threading.Lock()  # learner's threads print too
        self.sending = False  # whether the main thread is sending; only that thread receives signals
        self.interrupted = False

    def send(self, data):
        """Send one frame; then raise an interrupt that arrived in the meantime."""
        main = threading.current_thread() is threading.main_thread()
        self.sending = main or self.sending
        try:
            with self.lock:
                _send_all(self.connection, data)
        except OSError as error:
            raise ConnectionError("the connection to the grader is gone") from error
        finally:
            self.sending = self.sending and not main
        if not main:
            return
        if self.interrupted:
            self.interrupted = False
            raise KeyboardInterrupt

    def interrupt(self, *_signal):
        """Raise KeyboardInterrupt in the main thread, now or when its frame has been sent."""
        if self.sending:
            self.interrupted = True
        else:
            raise KeyboardInterrupt


class SessionServer:
    """Serves the grader's requests over `connection`, a stream socket, until it is closed.

    Args:
        connection: the socket.
        shell: the `Shell`.
        modules: the `CleanModules` that answer questions.
    """

    def __init__(self, connection, shell, modules):
        self.connection = connection
        self.modules = modules
        self.sender = FrameSender(connection)
        self.request = 0
        self.process = os.getpid()
        _fresh_randomness()
        self.interpreter = shell.interpreter(self._event, self.sender.interrupt)
        self.serve = {protocol.FILES: self._files, protocol.CELL: self._cell, protocol.PROBE: self._probe}

    def _send(self, kind, content):
        self.sender.send(protocol.pack_json(kind, self.request, content))

    def _event(self, kind, content):
        data = protocol.pack_json(protocol.EVENT, self.request, {"type": kind, "content": content})
        if len(data) > protocol.LARGEST_EVENT:
            return self.interpreter.streams[1].write(f"[An output of {len(data):,} bytes is too large to be kept.]\n")
        self.sender.send(data)

    def run(self, isolation):
        """Send the isolation record, then serve requests until the grader closes the connection."""
        self._ignore_interrupts()  # between requests there is nothing to interrupt
        self._send(protocol.READY, isolation)
        reader = protocol.Reader(dict.fromkeys(self.serve, 2**32))
        while data := self._receive():
            for kind, self.request, payload in reader.feed(data):
                self.serve[kind](payload)

    def _receive(self):
        try:
            return _receive(self.connection, 2**20)
        except OSError as error:
            raise ConnectionError("the connection to the grader is gone") from error

    def _interruptibly(self, function, *arguments):
        """Call a function that runs learner's code. During the call, SIGINT raises KeyboardInterrupt, even if earlier code
        has changed its handler.
        """
        self.sender.interrupted = False
        try:
            _set_handler(signal.SIGINT, self.sender.interrupt)
            return function(*arguments)
        finally:
            self._ignore_interrupts()
            if os.getpid() != self.process:  # learner's code has forked, and this is the copy
                os._exit(0)

    def _ignore_interrupts(self):
        while True:
            try:
                _set_handler(signal.SIGINT, _signal.SIG_IGN)
                return
            except KeyboardInterrupt:  # it came just now
                continue

    def _files(self, payload):
        name, data = protocol.read_file(payload)
        os.makedirs(os.path.dirname(name) or ".", exist_ok=True)
        with open(name, "wb") as file:
            file.write(data)
        self._send(protocol.DONE, {})

    def _cell(self, payload):
        ok, count = False, None
        try:
            ok, count = self._interruptibly(self.interpreter.run_cell, payload.decode())
        except KeyboardInterrupt:  # it arrived just after the cell had ended
            pass
        except Exception as error:  # the cell has damaged the event loop or the shell
            self._event("error", {"ename": type(error).__name__, "evalue": _words(error), "traceback": []})
        self.modules.renew()
        self._send(protocol.DONE, {"ok": ok, "execution_count": count})

    def _probe(self, payload):
        """Answer the questions of a request in turn. Those left after some time, or after one without an answer, get none: the
        grader asks them again.
        """
        probe, wire = (self.modules.load(f"autograde.remote.{name}") for name in ("probe", "wire"))
        protocol = self.modules.load("autograde.sandbox.protocol")
        asked = wire.decode(payload, trusted=True)
        answers, size, started = [], 0, _now()
        for name, arguments in asked["questions"]:
            answer, refusal = self._answer(probe.run_probe, wire.encode, asked, name, arguments)
            if refusal is not None and (not answers or refusal["reason"] == "interrupted"):
                return self._send(protocol.REFUSED, refusal)
            if refusal is not None:
                break
            answers.append(answer)
            size += len(answer)
            if size > protocol.TOGETHER_BYTES or _now() - started > protocol.TOGETHER_SECONDS:
                break
        self.sender.send(protocol.pack(protocol.ANSWER, self.request, protocol.pack_answers(answers)))

    def _answer(self, run_probe, encode, asked, name, arguments):
        """``(bytes, None)``; or, if there is no answer, None and what to tell the grader."""
        namespace = self.interpreter.shell.user_ns
        if asked["target"] not in namespace:
            return None, {"reason": "missing"}
        try:
            try:
                target = namespace[asked["target"]]
                answer = encode(self._interruptibly(run_probe, name, target, arguments, self.modules.load))
            finally:
                self.interpreter.flush()  # before the closing frame, after which none may come
        except KeyboardInterrupt:
            return None, {"reason": "interrupted"}
        except BaseException as error:  # learner's objects may raise anything, and the session must go on
            return None, {"reason": "failed", "message": _words(error)}
        if len(answer) > asked["limit"]:
            return None, {"reason": "large", "message": f"{len(answer):,}"}
        return answer, None
