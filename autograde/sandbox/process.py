"""Forking this process: allowed only while it has one thread, and each child is held by a pidfd."""

import contextlib
import gc
import os
import select
import signal
import sys
import traceback

from autograde.sandbox.isolation import syscalls


def can_fork():
    """Whether this system can fork a process that has torch loaded and hold its children by pidfds: Linux, since 5.3."""
    try:
        os.close(os.pidfd_open(os.getpid()))
    except (AttributeError, OSError):
        return False
    return True


def threads():
    """The number of threads of this process, those that C libraries have started included."""
    with open("/proc/self/status") as file:
        return int(next(line for line in file if line.startswith("Threads:")).split()[1])


class Child:
    """A forked child: `poll`, `wait` and `kill` as `subprocess.Popen` has them.

    Attributes:
        pid: its process id.
        pidfd: readable as soon as it has ended.
        returncode: its exit code, below zero minus the number of a signal; None while it runs.
        cpu: seconds of CPU time that it had used when it ended.
    """

    def __init__(self, pid):
        self.pid = pid
        self.pidfd = os.pidfd_open(pid)
        self.returncode = None
        self.cpu = 0.0

    def poll(self):
        """Its exit code, or None while it runs."""
        with contextlib.suppress(TimeoutError):
            self.wait(0)
        return self.returncode

    def wait(self, timeout=None):
        """Wait until it has ended; its exit code.

        Raises:
            TimeoutError: it still runs after `timeout` seconds.
        """
        if self.returncode is None:
            waiting = select.poll()
            waiting.register(self.pidfd, select.POLLIN)
            if not waiting.poll(None if timeout is None else timeout * 1000):
                raise TimeoutError(f"process {self.pid} still runs")
            _, status, used = os.wait4(self.pid, 0)
            self.returncode = os.waitstatus_to_exitcode(status)
            self.cpu = used.ru_utime + used.ru_stime
            os.close(self.pidfd)
        return self.returncode

    def kill(self):
        """Kill it, if it still runs; `wait` reaps it."""
        if self.returncode is None:
            with contextlib.suppress(OSError):
                signal.pidfd_send_signal(self.pidfd, signal.SIGKILL)


def optimise_for_fork():
    """Make the objects that are in memory now cheap to fork: the garbage collector of a child, which would copy them all
    by looking at them, leaves them alone.
    """
    gc.collect()
    gc.freeze()
    with contextlib.suppress(OSError):
        syscalls.use_large_pages()


def fork(function, *, dies_with_parent=True):
    """Fork a child that calls `function` and ends: with exit code 0, or 1 when it raised.

    Args:
        function: called without arguments.
        dies_with_parent: whether the kernel kills the child when this process ends.

    Returns:
        The `Child`.

    Raises:
        RuntimeError: this process has more than one thread. A fork copies one, and locks that others held stay locked.
        OSError: no process could be forked.
    """
    if threads() != 1:
        raise RuntimeError("this process has more than one thread, so it cannot be forked")
    for stream in (sys.stdout, sys.stderr):
        if stream is not None:
            stream.flush()  # what is buffered now would be written twice
    parent = os.getpid()
    pid = os.fork()
    if pid:
        return Child(pid)
    code = 1
    try:
        if dies_with_parent:
            syscalls.prctl(syscalls.PR_SET_PDEATHSIG, int(signal.SIGKILL))
        if os.getppid() == parent:  # else it has ended just before
            function()
            code = 0
    except BaseException:
        traceback.print_exc(file=sys.__stderr__)
    finally:
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(Exception):
                stream.flush()
        os._exit(code)
