"""What a session's processes use together, and how one ended: read by the grader from outside the sandbox."""

import contextlib
import dataclasses
import os
import signal
import threading
import time

SOCKET_BYTES = 212_992  # what the kernel buffers for a socket, where nobody has changed that
_MEANWHILE_SECONDS = 0.05
TICKS = os.sysconf("SC_CLK_TCK") if hasattr(os, "sysconf") else 100


@dataclasses.dataclass(frozen=True)
class Usage:
    """Of all processes of a session: bytes of memory (what they share with others included), those of the largest process,
    bytes that the kernel may hold for their sockets, ``{process: (session id, [threads])}``, the number of their threads,
    seconds of CPU, bytes on disk, and ``{thread: seconds}`` in which it was ready to run and had no processor.
    """

    memory: int
    largest: int
    buffers: int
    processes: dict
    threads: int
    cpu: float
    disk: int
    waits: dict


@dataclasses.dataclass(frozen=True)
class Report:
    """How a process ended: its exit code (below zero: minus the number of the signal that ended it), seconds of CPU it
    had used, whether the grader killed it.
    """

    code: int
    cpu: float
    asked: bool

    @property
    def signal(self):
        """The name of the signal that ended it, or None."""
        if self.code >= 0:
            return None
        with contextlib.suppress(ValueError):
            return signal.Signals(-self.code).name
        return str(-self.code)


class Meter:
    """Reads what a process and all that it started use, through /proc.

    In a process namespace of its own the process is the first, and whatever it started stays below it.

    Args:
        pidfd: of the process.
        folder: where it may write outside its own file systems; None if it has such, and a network of its own.
    """

    def __init__(self, pidfd, folder):
        self.root = _process_id(pidfd)
        self.folder = folder

    def processes(self):
        """The process ids, the first one's first."""
        return [process for process, _ in _tree(self.root)] if self.root is not None else []

    def waits(self):
        """Seconds in which the process's first thread was ready to run and had no processor: ``{thread: seconds}``."""
        return waits_of(self.root)

    def read(self):
        """A `Usage`."""
        resident = largest = threads = 0
        cpu = 0.0
        found, waits = {}, {}
        for process, tasks in _tree(self.root) if self.root is not None else ():
            with contextlib.suppress(OSError, ValueError, IndexError):
                fields = _stat(process)
                found[process] = int(fields[3]), tasks
                cpu += sum(int(ticks) for ticks in fields[11:15]) / TICKS  # its own, and of what it has waited for
                threads += int(fields[17])
                own = _resident(process, tasks)
                resident, largest = resident + own, max(largest, own)
            for thread in tasks:
                with contextlib.suppress(OSError, ValueError, IndexError):
                    waits[thread] = _waited(process, thread)
        buffers = 0 if self.folder else _sockets(found) * SOCKET_BYTES
        disk = _size(self.folder) if self.folder else 0
        return Usage(resident * 1024, largest * 1024, buffers, found, threads, cpu, disk, waits)


def waits_of(process):
    """Seconds in which a process's first thread was ready to run and had no processor: ``{thread: seconds}``, empty where
    that cannot be told.
    """
    with contextlib.suppress(OSError, ValueError, IndexError):
        return {process: _waited(process, process)}
    return {}


def exact_memory(processes, seconds, meanwhile=lambda: None):
    """Bytes that the processes (see `Usage`) hold between them, pages that several share counted in parts; milliseconds of work.

    The kernel waits for a process that is changing its own memory, and one of low priority may be at that for long: those
    that are not measured after `seconds` count with all that they have. Until then `meanwhile` is called now and then.
    """
    found = {}
    over = threading.Event()

    def measure():
        for process, about in processes.items():
            if over.is_set():  # to look for processes that are just being killed takes long
                break
            found[process] = _exact(process, about)

    thread = threading.Thread(target=measure, daemon=True)
    thread.start()
    end = time.monotonic() + seconds
    try:
        while thread.is_alive() and (left := end - time.monotonic()) > 0:
            thread.join(min(left, _MEANWHILE_SECONDS))
            if thread.is_alive():
                meanwhile()
    finally:
        over.set()
    measured = dict(found)
    return 1024 * sum(
        measured[process] if process in measured else _resident(process, tasks)
        for process, (_, tasks) in processes.items()
    )


def _exact(process, about):
    _, tasks = about
    return _of_any_thread(process, tasks, "smaps_rollup", ("Pss_Anon:", "Pss_Shmem:")) or _resident(process, tasks)


def _resident(process, tasks):
    return _of_any_thread(process, tasks, "status", ("RssAnon:", "RssShmem:"))


def _of_any_thread(process, tasks, name, lines):
    """The kilobytes of a process. Its first thread may have ended, which then holds nothing any more: the next is asked."""
    for thread in tasks:
        with contextlib.suppress(OSError):
            if found := _kilobytes(f"/proc/{process}/task/{thread}/{name}", lines):
                return found
    return 0


def _process_id(pidfd):
    with contextlib.suppress(OSError), open(f"/proc/self/fdinfo/{pidfd}") as file:
        for line in file:
            if line.startswith("Pid:"):
                number = int(line.split()[1])
                return number if number > 0 else None
    return None


def _tree(root):
    """Pairs of a process and its threads: `root` and everything below it."""
    waiting = [root]
    while waiting:
        process = waiting.pop()
        tasks = []
        with contextlib.suppress(OSError):
            tasks = [int(thread) for thread in os.listdir(f"/proc/{process}/task")]
        yield process, tasks
        for thread in tasks:
            with contextlib.suppress(OSError), open(f"/proc/{process}/task/{thread}/children") as file:
                waiting += [int(child) for child in file.read().split()]


def _waited(process, thread):
    descriptor = os.open(f"/proc/{process}/task/{thread}/schedstat", os.O_RDONLY)
    try:  # read at each request: Python's file objects take three times as long
        return int(os.read(descriptor, 100).split()[1]) / 1e9
    finally:
        os.close(descriptor)


def _stat(process):
    with open(f"/proc/{process}/stat") as file:
        return file.read().rpartition(")")[2].split()


def _sockets(processes):
    """How many sockets there are in the network of the processes. What waits in one is memory that no limit counts.

    Those count too that no descriptor leads to: on the way to another process, not yet accepted, or closed with something
    unread.
    """
    for process, (_, tasks) in processes.items():
        for thread in tasks:
            with (
                contextlib.suppress(OSError, StopIteration),
                open(f"/proc/{process}/task/{thread}/net/sockstat") as file,
            ):
                return next(int(line.split()[2]) for line in file if line.startswith("sockets: used"))
    return 0


def available_memory():
    """Bytes of memory that the machine can still give, or None where that cannot be told."""
    with contextlib.suppress(OSError, IndexError):
        return _kilobytes("/proc/meminfo", ("MemAvailable:",)) * 1024 or None
    return None


def _kilobytes(path, names):
    with open(path) as file:
        return sum(int(line.split()[1]) for line in file if line.startswith(names))


def _size(folder):
    total = 0
    waiting = [folder]
    while waiting:
        with contextlib.suppress(OSError), os.scandir(waiting.pop()) as entries:
            for entry in entries:
                with contextlib.suppress(OSError):
                    status = entry.stat(follow_symlinks=False)
                    total += status.st_blocks * 512
                    if entry.is_dir(follow_symlinks=False):
                        waiting.append(entry.path)
    return total
