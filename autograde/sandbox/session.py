"""One submission's session, on the grader's side: it runs cells and probes, and survives whatever the submission does.

The learner's code is at the other end of one stream socket (`autograde.sandbox.child.serve`), in a process that may do
anything. So nothing here waits without a limit, all input is checked, and the worst outcome of a session is
`SessionEnded`, with a reason for the program and a message for the learner.
"""

import codecs
import dataclasses
import math
import os
import selectors
import time
from functools import partial
from pathlib import PurePosixPath

from autograde.notebook.outputs import Outputs
from autograde.remote import probe, wire
from autograde.remote.probe import ProcessEnded
from autograde.sandbox import protocol
from autograde.sandbox.allowance import Allowance
from autograde.sandbox.usage import available_memory, exact_memory

MEASURE_INTERVAL = 0.05  # seconds between two measurements of what a running session uses, if these are quicker
SHORT_OF_MEMORY = 1 / 4  # of what a session uses: with less left on the machine it is ended, the largest session first
EXACT_SECONDS = 0.25  # that measuring the memory of many processes exactly may take
EXACT_PAUSE = 4  # times as long as that took, until it is done again
MANY_EVENTS = 200  # in one request: from then on
EVENTS_PAUSE = 0.001  # seconds go by until the next are read, so that several are read together
EVENT_COST = 64  # bytes that an event counts beside its own, so that empty ones have an end too
DISPLAY_COST = 1024  # and one that shows an object, more: it is far more work than text
EXIT_SECONDS = 1.0  # between a process's closing of its connection and its end
SMALL_BYTES = 2**16  # the largest closing frame that is not an answer


@dataclasses.dataclass
class CellRun:
    """The outcome of one cell: nbformat outputs, whether it ended without an exception, its number (None: empty cell)."""

    outputs: list
    ok: bool
    execution_count: int | None


class SessionEnded(ProcessEnded):
    """The learner's process is gone; every later request raises this again.

    Attributes:
        reason: timeout, cpu, memory, machine (it has no memory left), output, processes, disk, exited, crashed, killed, closed, protocol or stopped.
        message: what to tell the learner.
        run: what the cell had shown until then, as a `CellRun`, where a cell was running.
    """

    def __init__(self, reason, message, run=None):
        super().__init__(message)
        self.reason = reason
        self.message = message
        self.run = run


def amount(size):
    """A number of bytes as text: 512 MiB, 2 GiB, 1 byte."""
    for unit, name in ((2**30, "GiB"), (2**20, "MiB"), (2**10, "KiB")):
        if size >= unit:
            return f"{size / unit:.3g} {name}"
    return f"{size} byte{'s' * (size != 1)}"


class _Ending(Exception):
    """Internal: the session must end, for this reason."""

    def __init__(self, reason):
        super().__init__(reason)
        self.reason = reason


class Session:
    """One submission's cells and probes. Made by `SandboxPool.open`; a context manager that kills everything at its end.

    Args:
        link: the process at the other end (see `autograde.sandbox.connection`).
        limits: a `Limits`.

    Attributes:
        starved: whether something was stopped that might have come to its end on an idle machine.
    """

    def __init__(self, link, limits):
        self.link = link
        self.limits = limits
        self.ended = None
        self.cells = 0
        self.starved = False
        self.request_seconds = 0.0  # spent in requests so far
        self.measure_at = time.monotonic() + MEASURE_INTERVAL  # when the session's use of resources is measured next
        self.exact_at = 0.0  # when its memory is measured exactly again, if need be,
        self.exact_above = 0  # or at how many bytes by the quick measure
        self.output_bytes = 0  # of all cells
        self.request = 0
        self.events = 0  # of this request
        self.collecting = None  # the Outputs that events go to; None while a probe runs
        self.outputs = Outputs()
        self.over_output_limit = False  # whether the running cell brought the output over its limit
        self.output_dropped = False
        self.where = "before its first cell"
        self.reader = protocol.Reader({
            protocol.READY: SMALL_BYTES, protocol.EVENT: protocol.LARGEST_EVENT, protocol.DONE: SMALL_BYTES,
            protocol.ANSWER: limits.answer + 2 * protocol.TOGETHER_BYTES, protocol.REFUSED: SMALL_BYTES,
        })  # fmt: skip
        self.decoders = {}
        self.selector = selectors.DefaultSelector()
        self.selector.register(link.socket, selectors.EVENT_READ, "frames")
        for name, descriptor in link.streams.items():
            self.selector.register(descriptor, selectors.EVENT_READ, name)
            self.decoders[name] = codecs.getincrementaldecoder("utf-8")("replace")
        if link.death is not None:
            self.selector.register(link.death, selectors.EVENT_READ, "death")
        try:
            self.isolation = self._send_request(None, link.patience, {protocol.READY})[1]
        except BaseException:
            self.close()
            raise
        link.may_leave_children = "survivors" not in self.isolation.get("up", ())

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    # -- what the grader asks for --

    def put(self, files):
        """Write `files`, a dict of relative names to bytes, in the session's working directory.

        Raises:
            ValueError: a name leads out of the directory.
            SessionEnded: as every request.
        """
        for name in files:
            path = PurePosixPath(name)
            if path.is_absolute() or ".." in path.parts or not path.parts or "\0" in name:
                raise ValueError(f"{name!r} is not a name of a file in the working directory")
        for name, data in files.items():
            self._send_request(partial(protocol.pack_file, name=name, data=data), self.limits.cell, {protocol.DONE})

    def run_cell(self, source):
        """Run one code cell, as a kernel would.

        A cell that runs too long is interrupted: it gets an error output that says so, and the session goes on.

        Raises:
            SessionEnded: the process is gone, or had to be stopped. Its `run` holds what the cell had shown.
        """
        self._raise_if_ended()
        self.cells += 1
        self.where = f"in cell {self.cells}"
        self.outputs.begin()
        self.collecting, self.over_output_limit, self.output_dropped = self.outputs, False, False
        try:
            cell = partial(protocol.pack, protocol.CELL, payload=source.encode("utf-8", "replace"))
            _, content, stopped = self._send_request(cell, self.limits.cell, {protocol.DONE})
        except SessionEnded as ended:
            ended.run = CellRun(self._finish_outputs(ended.message), False, None)
            raise
        finally:
            self.collecting = None
        count = content.get("execution_count")
        count = count if type(count) is int and 0 < count < 10**6 else None
        message = self._interruption_message(stopped) if stopped else None
        return CellRun(self._finish_outputs(message), content.get("ok") is True and not stopped, count)

    def ask(self, probe_name, target, arguments):
        """Have the probe `probe_name` called on the learner's object `target`: plain data.

        Raises:
            probe.Missing: the learner's notebook defines no such name.
            probe.ProbeStopped: it took too long, or could not be called.
            wire.WireError: the answer is too large, or not what a probe writes.
            SessionEnded: the process is gone, or had to be stopped.
        """
        return self.ask_each(target, [(probe_name, arguments)])[0]

    def ask_each(self, target, questions):
        """Have several probes called on the learner's object `target`, in turn and in as few requests as possible.

        Args:
            questions: pairs of a probe's name and its arguments.

        Returns:
            The answers, a list of plain data.

        Raises:
            As `ask`, for the first question that has no answer.
        """
        answers = []
        while len(answers) < len(questions):
            answers += self._ask_together(target, questions[len(answers) :])
        return answers

    def _ask_together(self, target, questions):
        """The answers to the first questions, one at least: see `autograde.sandbox.child.serve`."""
        request = {"target": target, "questions": [list(pair) for pair in questions], "limit": self.limits.answer}
        question = partial(protocol.pack, protocol.PROBE, payload=wire.encode(request))
        seconds = self.limits.probe + (protocol.TOGETHER_SECONDS if len(questions) > 1 else 0)
        self._raise_if_ended()
        self.where = f"when {target} was tried"
        kind, content, stopped = self._send_request(question, seconds, {protocol.ANSWER, protocol.REFUSED})
        if kind == protocol.ANSWER:
            try:
                answers = protocol.read_answers(content, len(questions))
            except protocol.FrameError as error:
                raise wire.WireError(str(error)) from None
            return [wire.decode(answer) for answer in answers]
        reason = content.get("reason")
        if reason == "missing":
            raise probe.Missing(target)
        if stopped:
            raise probe.ProbeStopped(
                f"{target} took longer than {self.limits.probe:g} s and was interrupted. "
                "Look for a loop that never ends."
            )
        message = str(content.get("message", ""))[:500].encode("utf-8", "replace").decode()
        if reason == "interrupted":
            message = "it was interrupted, by the notebook's own code"
        if reason == "large":
            raise wire.WireError(f"what {target} gave back is larger than the {amount(self.limits.answer)} allowed")
        raise probe.ProbeStopped(f"{target} could not be tried: {message}")

    def close(self):
        """Kill the process of the session and remove its folder."""
        if self.ended is None:
            self.ended = ("stopped", "The session was closed.")
        if self.link is not None:
            self.selector.close()
            self.link.close()
            self.link = None

    # -- the conversation --

    def _raise_if_ended(self):
        if self.ended is not None:
            raise SessionEnded(*self.ended)

    def _send_request(self, packed, seconds, closing):
        """Send one request (`packed` makes its bytes, given its number; None: none) and read until a frame of a kind in
        `closing`.

        Returns:
            ``(kind, payload, stopped)``: payload is a dict, or bytes for an answer; `stopped` says why the request was
            interrupted on the way: "timeout", "output" or None.
        """
        self._raise_if_ended()
        self.request += packed is not None
        self.events = 0
        out = memoryview(packed(request=self.request) if packed is not None else b"")
        started = time.monotonic()
        allowance = Allowance(seconds, self.limits.session - self.request_seconds, by_cpu=protocol.ANSWER in closing)
        try:
            return self._exchange(out, started, allowance, closing)
        except _Ending as ending:
            self._end(ending)
        except protocol.FrameError:
            self._end(_Ending("protocol"))
        finally:
            self.request_seconds += time.monotonic() - started
        self._raise_if_ended()

    def _exchange(self, out, started, allowance, closing):
        allowance.begin(self.link.waits())
        stopped = interrupt_again_at = kill_at = None
        if out:
            out = self._write(out)
        if out:
            self.selector.modify(self.link.socket, selectors.EVENT_READ | selectors.EVENT_WRITE, "frames")
        while True:
            now = time.monotonic()
            if now >= self.measure_at or (stopped is None and now >= started + allowance.wall):
                self._watch(allowance)
                before, now = now, time.monotonic()
                self.measure_at = now + max(MEASURE_INTERVAL, now - before)
            if kill_at is not None and now >= kill_at:
                raise _Ending(stopped)
            if stopped is None and allowance.is_over(now - started):
                if now - started >= allowance.left:
                    raise _Ending("session")
                stopped = "timeout"
                self.starved = self.starved or allowance.starved
            if stopped is None and self.over_output_limit:
                stopped = "output"
            if stopped and kill_at is None:
                interrupt_again_at, kill_at = now + self.limits.grace / 2, now + self.limits.grace
                if not self.link.interrupt():
                    raise _Ending(stopped)
            if interrupt_again_at is not None and now >= interrupt_again_at:
                self.link.interrupt()
                interrupt_again_at = None
            until = min(self.measure_at, interrupt_again_at or kill_at or started + allowance.wall)
            closed = None
            for key, ready in self.selector.select(max(0.0, until - now)):
                if key.data == "frames":
                    if ready & selectors.EVENT_WRITE:
                        out = self._write(out)
                        if not out:
                            self.selector.modify(self.link.socket, selectors.EVENT_READ, "frames")
                    if ready & selectors.EVENT_READ:
                        closed = self._read_frames(closing)
                elif key.data == "death":
                    closed = closed or self._read_frames(closing)  # what it wrote last
                    if closed is None:
                        raise _Ending("gone")
                else:
                    self._read_stream(key.fd, key.data)
            if closed is not None:
                self._drain_streams()
                return *closed, stopped
            if self.events > MANY_EVENTS:
                time.sleep(EVENTS_PAUSE)

    def _write(self, out):
        try:
            sent = self.link.socket.send(out)
        except BlockingIOError:
            return out
        except OSError:
            raise _Ending("gone") from None
        return out[sent:]

    def _read_frames(self, closing):
        """Read the available frames; returns the closing frame if it is among them."""
        try:
            data = self.link.socket.recv(2**20)
        except BlockingIOError:
            return None
        except OSError:
            data = b""
        if not data:
            raise _Ending("gone")
        closed = None
        for kind, request, payload in self.reader.feed(data):
            if kind == protocol.EVENT:
                self._event(payload)  # also after the closing frame: threads of the learner's code go on printing
            elif closed is not None or kind not in closing or request != self.request:
                raise protocol.FrameError("a frame that nobody asked for")
            else:
                closed = kind, payload if kind == protocol.ANSWER else protocol.read_json(payload)
        return closed

    def _event(self, payload):
        self.events += 1
        if self._room_for(len(payload) + EVENT_COST):
            event = protocol.read_json(payload)
            kind = event.get("type")
            if kind not in ("stream", "flush", "clear_output"):
                self._room_for(DISPLAY_COST)
            if kind not in ("stream", "flush"):
                self._drain_streams()  # what a subprocess has printed until now comes before it
            self.collecting.add(event)

    def _room_for(self, size):
        """Count `size` bytes of output; returns whether they are to be kept."""
        if self.collecting is None:
            return False
        before = self.output_bytes
        self.output_bytes += size
        if self.output_bytes <= self.limits.output:
            return True
        self.output_dropped = True
        self.over_output_limit = self.over_output_limit or before <= self.limits.output
        return False

    def _read_stream(self, descriptor, name):
        """Read text written to a file descriptor rather than to Python's stream, by a subprocess or C code. Returns False if
        there is no more."""
        try:
            data = os.read(descriptor, 2**16)
        except BlockingIOError:
            return False
        except OSError:
            data = b""
        if not data:
            self.selector.unregister(descriptor)
            return False
        self.events += 1
        if self._room_for(len(data)):
            self.collecting.write(name, self.decoders[name].decode(data))
        return True

    def _drain_streams(self):
        for key in list(self.selector.get_map().values()):
            if key.data in self.decoders:
                for _ in range(64):  # a pipe holds 64 KiB; a process that keeps filling it must not keep us here
                    if not self._read_stream(key.fd, key.data):
                        break

    # -- limits and endings --

    def _watch(self, allowance):
        """End the session if its processes together exceed a limit."""
        usage = self.link.usage()
        if usage is None:  # it cannot be told here
            allowance.look(self.link.waits())
            return
        allowance.look(usage.waits, usage.cpu)
        self._watch_processes(usage)
        self._watch_memory(usage)
        if usage.cpu > self.limits.cpu:
            raise _Ending("cpu")
        if usage.disk > self.limits.disk:
            raise _Ending("disk")

    def _watch_processes(self, usage):
        if usage.threads >= self.limits.processes:  # as many as the kernel lets it have: it asks for more in vain
            raise _Ending("processes")

    def _watch_memory(self, usage):
        shared = self.link.shared
        at_most = max(0, usage.memory - shared) + usage.buffers  # counts twice what its processes share
        available = available_memory()
        to_spare = math.inf if available is None else available / SHORT_OF_MEMORY
        started = time.monotonic()
        if at_most <= min(self.limits.memory, to_spare):
            return
        if started < self.exact_at and at_most <= min(self.exact_above, to_spare):
            return
        exact = exact_memory(usage.processes, EXACT_SECONDS, meanwhile=lambda: self._watch_processes(self.link.usage()))
        used = max(0, exact - shared) + usage.buffers
        ended = time.monotonic()
        self.exact_at = ended + EXACT_PAUSE * (ended - started)
        self.exact_above = at_most + self.limits.memory - used
        if used > self.limits.memory:
            raise _Ending("memory")
        # The more sessions there are, the less `exact` counts of what all share: subtracting that whole leaves too little.
        if max(used, usage.largest - shared + usage.buffers) > to_spare:
            self.starved = True
            raise _Ending("machine")

    def _end(self, ending):
        """Kill the process; from now on every request raises SessionEnded with a message that says why."""
        reason, detail = ending.reason, ""
        if reason == "gone":
            self.link.wait(EXIT_SECONDS)
        self.link.kill()
        if reason == "gone":
            reason, detail = self._exit_reason(self.link.report())
        limits, where = self.limits, self.where
        loop = "Look for a loop that never ends."
        messages = {
            "timeout": f"Your notebook ran longer than {self._seconds():g} s {where} and was stopped. {loop}",
            "session": f"Your notebook took longer than {limits.session:g} s in all and was stopped {where}.",
            "cpu": f"Your notebook used more than {limits.cpu:g} s of processor time {where} and was stopped. {loop}",
            "memory": f"Your notebook used more than {amount(limits.memory)} of memory {where} and was stopped.",
            "machine": f"The machine ran out of memory {where}, and your notebook, which used a lot of it, was stopped.",
            "output": f"Your notebook printed more than {amount(limits.output)} {where} and was stopped. {loop}",
            "processes": f"Your notebook started {limits.processes} processes or more {where} and was stopped.",
            "disk": f"Your notebook wrote more than {amount(limits.disk)} of files {where} and was stopped.",
            "exited": f"Your notebook ended its own Python process {where}{detail}; nothing after that could be run.",
            "crashed": f"Python itself crashed {where}{detail}; nothing after that could be run.",
            "killed": f"Your notebook's process was killed {where}; nothing after that could be run.",
            "closed": f"Your notebook closed its connection to the grader {where}; nothing after that could be run.",
            "protocol": f"What came from your notebook's process {where} could not be understood; it was stopped.",
        }
        self.ended = ("timeout" if reason == "session" else reason, messages[reason])

    def _seconds(self):
        return self.limits.cell if self.where.startswith("in cell") else self.limits.probe

    def _exit_reason(self, report):
        """Reason and detail for a process that ended by itself."""
        if report is None:
            return "killed", ""
        if report.asked or report.code == protocol.CONNECTION_LOST:
            return "closed", ""
        if report.cpu >= self.limits.cpu or report.signal == "SIGXCPU":
            return "cpu", ""
        if report.signal in ("SIGSEGV", "SIGABRT", "SIGBUS", "SIGFPE", "SIGILL", "SIGSYS"):
            return "crashed", f" ({report.signal})"
        if report.signal is not None:
            return "killed", ""
        return "exited", f" (exit code {report.code})"

    def _interruption_message(self, stopped):
        if stopped == "output":
            return f"This cell brought the output to more than {amount(self.limits.output)} and was interrupted."
        return f"This cell ran longer than {self.limits.cell:g} s and was interrupted. Look for a loop that never ends."

    def _finish_outputs(self, message):
        """The cell's outputs; with a `message`, the last one is an error with that message."""
        if message is None:
            if self.output_dropped:
                self.outputs.write("stderr", "[No more output is kept: this notebook showed too much.]\n")
            return self.outputs.end()
        outputs = self.outputs.end()
        traceback = []
        if outputs and outputs[-1]["output_type"] == "error" and outputs[-1]["ename"] in _INTERRUPTS:
            traceback = outputs.pop()["traceback"]
        self.outputs.error("LimitReached", message, [*traceback, message])
        return self.outputs.end()


_INTERRUPTS = ("KeyboardInterrupt", "CancelledError")
