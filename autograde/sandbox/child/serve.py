"""The process in which handed-in code runs: it runs cells and answers probes, and knows no right answer."""

import importlib
import os
import pkgutil
import signal
import sys
import threading

from autograde.sandbox import protocol
from autograde.sandbox.isolation import import_guard


def ready(course):
    """Import what a course needs, so that forked children have it, and make the shell; the shell.

    The process must have one thread at the end of it. The course's checks are never imported here.

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
    return shell


def practise(shell):
    """Do once, with nothing of it left behind, what each session would otherwise be the first to do: much of numpy,
    matplotlib and IPython is loaded at its first use.
    """
    import matplotlib.pyplot as plt

    _fresh_randomness()
    figure, axes = plt.subplots()
    axes.plot([0, 1], label="a")
    axes.set_title("a")
    axes.legend()
    shell.display_formatter.format(figure)
    plt.close(figure)
    shell.transform_cell("%matplotlib inline\n1 + 1")
    try:
        exec(compile("1 / 0", "practice", "exec"))
    except ZeroDivisionError:
        shell.InteractiveTB.structured_traceback(*sys.exc_info())


def _fresh_randomness():
    """A random state of this process's own, as if it had not been forked."""
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
        return f"{type(error).__name__}: {error}"[:500]
    except BaseException:  # learner's exceptions may do anything when they are read
        return type(error).__name__


class Line:
    """The connection to the grader. A frame once begun is sent whole, also when an interrupt arrives meanwhile."""

    def __init__(self, connection):
        self.connection = connection
        self.lock = threading.Lock()  # learner's threads print too
        self.sending = False  # the main thread is: only that one takes signals
        self.interrupted = False

    def send(self, data):
        """Send one frame; then let an interrupt that came meanwhile take effect."""
        main = threading.current_thread() is threading.main_thread()
        self.sending = main or self.sending
        try:
            with self.lock:
                self.connection.sendall(data)
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
        """Raise KeyboardInterrupt in the main thread, now or as soon as its frame is out."""
        if self.sending:
            self.interrupted = True
        else:
            raise KeyboardInterrupt


class SessionServer:
    """Serves the grader's requests over `connection`, a stream socket, until it is closed."""

    def __init__(self, connection, shell):
        from autograde.sandbox.child.shell import Interpreter

        self.connection = connection
        self.line = Line(connection)
        self.request = 0
        self.process = os.getpid()
        _fresh_randomness()
        self.interpreter = Interpreter(shell, self._event, self.line.interrupt)
        self.serve = {protocol.FILES: self._files, protocol.CELL: self._cell, protocol.PROBE: self._probe}

    def _send(self, kind, content):
        self.line.send(protocol.pack_json(kind, self.request, content))

    def _event(self, kind, content):
        data = protocol.pack_json(protocol.EVENT, self.request, {"type": kind, "content": content})
        if len(data) > protocol.LARGEST_EVENT:
            return self.interpreter.streams[1].write(f"[An output of {len(data):,} bytes is too large to be kept.]\n")
        self.line.send(data)

    def run(self, isolation):
        """Say what the sandbox reached, then serve until the grader hangs up."""
        self._be_deaf()  # between requests there is nothing to interrupt
        self._send(protocol.READY, isolation)
        reader = protocol.Reader(dict.fromkeys(self.serve, 2**32))
        while data := self._receive():
            for kind, self.request, payload in reader.feed(data):
                self.serve[kind](payload)

    def _receive(self):
        try:
            return self.connection.recv(2**20)
        except OSError as error:
            raise ConnectionError("the connection to the grader is gone") from error

    def _interruptibly(self, function, *arguments):
        """Call a function that runs learner's code. Meanwhile SIGINT is KeyboardInterrupt, whatever earlier code has
        made of it.
        """
        self.line.interrupted = False
        try:
            signal.signal(signal.SIGINT, self.line.interrupt)
            return function(*arguments)
        finally:
            self._be_deaf()
            if os.getpid() != self.process:  # learner's code forked and the copy came back here: it has no business
                os._exit(0)

    def _be_deaf(self):
        while True:
            try:
                signal.signal(signal.SIGINT, signal.SIG_IGN)
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
        except KeyboardInterrupt:  # it came a moment too late for the cell
            pass
        except Exception as error:  # the cell has taken the loop or the shell apart
            self._event("error", {"ename": type(error).__name__, "evalue": _words(error), "traceback": []})
        self._send(protocol.DONE, {"ok": ok, "execution_count": count})

    def _probe(self, payload):
        from autograde.remote import probe, wire

        asked = wire.decode(payload, trusted=True)
        namespace = self.interpreter.shell.user_ns
        if asked["target"] not in namespace:
            return self._send(protocol.REFUSED, {"reason": "missing"})
        try:
            try:
                target = namespace[asked["target"]]
                answer = self._interruptibly(probe.run_probe, asked["probe"], target, asked["arguments"])
                answer = wire.encode(wire.plain(answer))
            finally:
                self.interpreter.flush()  # before the closing frame, after which none may come
        except KeyboardInterrupt:
            return self._send(protocol.REFUSED, {"reason": "interrupted"})
        except BaseException as error:  # nothing that learner's objects do may end the conversation
            return self._send(protocol.REFUSED, {"reason": "failed", "message": _words(error)})
        if len(answer) > asked["limit"]:
            return self._send(protocol.REFUSED, {"reason": "large", "message": f"{len(answer):,}"})
        self.line.send(protocol.pack(protocol.ANSWER, self.request, answer))
