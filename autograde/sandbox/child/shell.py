"""The learner's IPython, without a kernel around it: the same shell class, formatters and hooks that ipykernel uses,
with its messages handed to a function in place of a ZeroMQ socket. So a cell shows here what it shows in a notebook.
"""

import asyncio
import builtins
import contextlib
import getpass
import inspect
import io
import os
import re
import signal
import symtable
import sys
import time

from ipykernel.compiler import XCachingCompiler
from ipykernel.eventloops import loop_map
from ipykernel.kernelbase import Kernel
from ipykernel.zmqshell import ZMQInteractiveShell
from IPython.core.error import UsageError
from IPython.core.inputtransformer2 import TransformerManager
from IPython.core.interactiveshell import _asyncio_runner
from jupyter_client.session import Session
from traitlets.config import Config

FLUSH_SECONDS = 0.2  # how long a kernel's stream holds text before it shows it
PIECE_CHARACTERS = 2**18  # of one text, handed over together
OWN_FILES = os.path.dirname(os.path.dirname(__file__)) + os.sep
MOST_CALLS, FIRST_CALLS = 60, 20  # of a traceback: shown at most, and how many of these from its beginning
_ASYNC = re.compile(r"\b(?:async|await)\b")
HELD_CHARACTERS = 8_192  # an unfinished line longer than this is handed over as it is


class Messages(Session):
    """What the shell's hooks take for a Jupyter session; `hand_over(type, content)` gets what they send."""

    hand_over = staticmethod(lambda kind, content: None)

    def msg(self, msg_type, content=None, parent=None, header=None, metadata=None):
        """A message with the fields that hooks look at."""
        return {
            "header": {"msg_type": msg_type} | (header or {}),
            "parent_header": parent or {},
            "msg_type": msg_type,
            "metadata": metadata or {},
            "content": content or {},
        }

    def send(self, stream, msg_or_type, content=None, parent=None, ident=None, *_more, **_others):
        """Hand a message over."""
        if isinstance(msg_or_type, dict):
            self.hand_over(msg_or_type["msg_type"], msg_or_type["content"])
        else:
            self.hand_over(msg_or_type, content or {})


class Stream(io.TextIOBase):
    """`sys.stdout` or `sys.stderr` of the learner's code: whole lines are handed over as they are written.

    A copy of this process that the learner's code forked writes to the file descriptor instead, so that two processes
    never write frames to one socket.
    """

    encoding = "UTF-8"
    errors = "replace"

    def __init__(self, name, descriptor, hand_over):
        self.name = name
        self.descriptor = descriptor
        self.hand_over = hand_over
        self.process = os.getpid()
        self.held = []
        self.since = None  # when the oldest text was written that no flush has shown

    def fileno(self):
        """The file descriptor of the stream: what subprocesses write to."""
        return self.descriptor

    def writable(self):
        """True."""
        return True

    def write(self, string):
        """Write text; the number of characters."""
        if not isinstance(string, str):
            raise TypeError(f"write() argument must be str, not {type(string)}")
        if os.getpid() != self.process:
            with contextlib.suppress(OSError):
                os.write(self.descriptor, string.encode("utf-8", "replace"))
            return len(string)
        self.held.append(string)
        if "\n" in string or sum(map(len, self.held)) > HELD_CHARACTERS:
            self._hand_over()
        now = time.monotonic()
        if self.since is None:
            self.since = now
        elif now - self.since > FLUSH_SECONDS:
            self.flush()
        return len(string)

    def writelines(self, lines):
        """Write each of `lines`."""
        for line in lines:
            self.write(line)

    def _hand_over(self):
        text, self.held = "".join(self.held), []
        for start in range(0, len(text), PIECE_CHARACTERS):
            self.hand_over("stream", {"name": self.name, "text": text[start : start + PIECE_CHARACTERS]})

    def flush(self):
        """Show what was written so far."""
        if os.getpid() == self.process and self.since is not None:
            self._hand_over()
            self.since = None
            self.hand_over("flush", {"name": self.name})


class NoKernel:
    """As much of a kernel as the shell looks for: one whose frontend answers no questions."""

    eventloop = None
    _allow_stdin = False
    raw_input = Kernel.raw_input
    getpass = Kernel.getpass


class InputTransformers(TransformerManager):
    """IPython's, which look for magics and the like token by token: none is in a cell that Python can read as it is, and
    to find that out takes a tenth of the time.
    """

    def __init__(self):
        super().__init__()
        self.usual = list(self.token_transformers)  # a learner's cell may add others

    def do_token_transforms(self, lines):
        """Lines as Python."""
        if self.token_transformers == self.usual and _is_python("".join(lines)):
            return lines
        return super().do_token_transforms(lines)


def _is_python(cell):
    try:
        symtable.symtable(cell, "<>", "exec")
    except RecursionError:  # Python, but nested too deeply to be compiled
        return True
    except (SyntaxError, ValueError, OverflowError, MemoryError):
        return False
    return True


class Shell(ZMQInteractiveShell):
    """ipykernel's shell, for a process that has no kernel and no graphical event loop."""

    transformed = None, None  # the cell that is run next, and the same as plain Python

    def transform_cell(self, raw_cell):
        """A cell as plain Python. `run_cell` asks for it, when `Interpreter` has it already: long cells take a second."""
        (cell, found), self.transformed = self.transformed, (None, None)
        return found if cell is raw_cell else super().transform_cell(raw_cell)

    def should_run_async(self, raw_cell, *, transformed_cell=None, preprocessing_exc_tuple=None):
        """Whether a cell awaits something. A kernel compiles each cell twice to find out, also without these words, and shows
        Python's warnings about it each time; here they are shown once, when it is run.
        """
        return _ASYNC.search(transformed_cell or "") is not None and super().should_run_async(
            raw_cell, transformed_cell=transformed_cell, preprocessing_exc_tuple=preprocessing_exc_tuple
        )

    def interpreter(self, hand_over, interrupt):
        """An `Interpreter` that runs cells in this shell."""
        return Interpreter(self, hand_over, interrupt)

    def enable_gui(self, gui=None):
        """Accept what a kernel accepts; no event loop runs here."""
        if gui not in loop_map:
            raise UsageError(f"Invalid GUI request {gui!r}, valid ones are:{loop_map.keys()}")
        self.active_eventloop = gui

    def showtraceback(self, *arguments, **options):
        """Show what a cell has raised. `inspect` is told where cells belong: it would look for their files among those of all
        modules, some thousands, twice for each call.
        """
        cells = dict.fromkeys(self.compile._filename_map, "__main__")
        inspect.modulesbyfile |= cells
        try:
            super().showtraceback(*arguments, **options)
        finally:
            for name in cells:
                inspect.modulesbyfile.pop(name, None)

    def _format_exception_for_storage(self, exception, *_arguments, **_options):
        """What `%notebook` would write of an exception: without its traceback, which would be formatted a second time."""
        return {"ename": type(exception).__name__, "evalue": "", "traceback": []}

    def _get_exc_info(self, exc_tuple=None):
        """What was raised, without the handler in which an interrupt ends up. Of a recursion without end, only the
        first and the last calls: a kernel shows its thousands, and takes seconds of processor time for it.
        """
        kind, error, trace = super()._get_exc_info(exc_tuple)
        calls = []
        while trace is not None:
            calls.append(trace)
            trace = trace.tb_next
        while len(calls) > 1 and calls[-1].tb_frame.f_code.co_filename.startswith(OWN_FILES):
            calls.pop()
            calls[-1].tb_next = None
        if len(calls) > MOST_CALLS:
            calls[FIRST_CALLS - 1].tb_next = calls[FIRST_CALLS - MOST_CALLS]
        return kind, error, calls[0] if calls else None


def make_shell():
    """The one shell of this process. Its messages go nowhere until an `Interpreter` takes them.

    It keeps no history file: that would start a thread, and the process could no longer be forked.
    """
    config = Config()
    config.HistoryManager.enabled = False
    shell = Shell.instance(config=config, compiler_class=XCachingCompiler, kernel=NoKernel())
    shell.input_transformer_manager = InputTransformers()
    messages = Messages()
    shell.displayhook.session = shell.display_pub.session = messages
    shell.displayhook.topic = b"execute_result"
    return shell


class Interpreter:
    """Runs cells in `shell` the way a kernel does: one asyncio loop, running while a cell runs, kept between cells.

    Args:
        hand_over: gets ``(message type, content)`` for everything that a cell shows.
        interrupt: raises KeyboardInterrupt as soon as that does no harm.
    """

    def __init__(self, shell, hand_over, interrupt):
        self.shell = shell
        self.interrupt = interrupt
        self.process = os.getpid()

        def from_this_process(kind, content):
            if os.getpid() == self.process:
                hand_over(kind, content)

        shell.display_pub.session.hand_over = from_this_process
        sys.stdout = Stream("stdout", 1, from_this_process)
        sys.stderr = Stream("stderr", 2, from_this_process)
        self.streams = (sys.stdout, sys.stderr)
        self._start_loop()

    def _start_loop(self):
        self.loop = asyncio.new_event_loop()
        asyncio.set_event_loop(self.loop)

    def run_cell(self, source):
        """Run one cell; ``(whether it ended without an exception, its execution count)``."""
        shell, before = self.shell, self.shell.execution_count
        if self.loop.is_closed():
            self._start_loop()
        builtins.input, getpass.getpass = shell.kernel.raw_input, shell.kernel.getpass
        try:
            result = self.loop.run_until_complete(self._execute(source))
        finally:
            shell.payload_manager.clear_payload()
            self.flush()
        ok = bool(result.success) and not shell._last_traceback_during_displayhook
        return ok, before if shell.execution_count > before else None

    async def _execute(self, source):
        shell, failed = self.shell, None
        shell._last_traceback_during_displayhook = False
        try:
            transformed = shell.transform_cell(source)
        except Exception:
            transformed, failed = source, sys.exc_info()
        if not (
            shell.loop_runner is _asyncio_runner
            and shell.should_run_async(source, transformed_cell=transformed, preprocessing_exc_tuple=failed)
        ):
            shell.transformed = (source, transformed) if failed is None else (None, None)
            return shell.run_cell(source, store_history=True)
        cell = asyncio.ensure_future(
            shell.run_cell_async(
                source, store_history=True, transformed_cell=transformed, preprocessing_exc_tuple=failed
            )
        )
        result = None
        with self._cancelled_by_interrupt(cell):
            try:
                result = await cell
            finally:
                shell.events.trigger("post_execute")
                shell.events.trigger("post_run_cell", result)
        return result

    @contextlib.contextmanager
    def _cancelled_by_interrupt(self, cell):
        """An interrupt cancels an awaiting cell, as in a kernel; one that goes on computing gets KeyboardInterrupt."""
        asked = False

        def interrupt(*_):
            nonlocal asked
            if asked:
                self.interrupt()
            asked = True
            self.loop.call_soon_threadsafe(cell.cancel)

        saved = signal.signal(signal.SIGINT, interrupt)
        try:
            yield
        finally:
            signal.signal(signal.SIGINT, saved)

    def flush(self):
        """Show everything that was written."""
        for stream in self.streams:
            with contextlib.suppress(ValueError, OSError):
                stream.flush()
