"""What a session's processes use together, and how one ended: read by the grader from outside the box."""

import contextlib
import dataclasses
import os
import signal

TICKS = os.sysconf("SC_CLK_TCK") if hasattr(os, "sysconf") else 100


@dataclasses.dataclass(frozen=True)
class Usage:
    """Of all processes of a session: bytes of memory (what they share with others included), their ids, the number of
    their threads, seconds of CPU, bytes on disk.
    """

    memory: int
    processes: list
    threads: int
    cpu: float
    disk: int


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
        folder: where it may write outside its own file systems, or None.
    """

    def __init__(self, pidfd, folder):
        self.root = _process_id(pidfd)
        self.folder = folder

    def processes(self):
        """The process ids, the first one's first."""
        return list(_tree(self.root)) if self.root is not None else []

    def read(self):
        """A `Usage`."""
        resident = threads = 0
        cpu = 0.0
        found = self.processes()
        for process in found:
            with contextlib.suppress(OSError, ValueError, IndexError):
                fields = _stat(process)
                cpu += sum(int(ticks) for ticks in fields[11:15]) / TICKS  # its own, and of what it has waited for
                threads += int(fields[17])
                resident += _kilobytes(f"/proc/{process}/status", ("RssAnon:", "RssShmem:"))
        return Usage(resident * 1024, found, threads, cpu, _size(self.folder) if self.folder else 0)


def exact_memory(processes):
    """Bytes that the processes hold between them, pages that several share counted in parts. Slower: milliseconds."""
    total = 0
    for process in processes:
        try:
            total += _kilobytes(f"/proc/{process}/smaps_rollup", ("Pss_Anon:", "Pss_Shmem:"))
        except OSError:
            with contextlib.suppress(OSError):
                total += _kilobytes(f"/proc/{process}/status", ("RssAnon:", "RssShmem:"))
    return total * 1024


def _process_id(pidfd):
    with contextlib.suppress(OSError), open(f"/proc/self/fdinfo/{pidfd}") as file:
        for line in file:
            if line.startswith("Pid:"):
                number = int(line.split()[1])
                return number if number > 0 else None
    return None


def _tree(root):
    waiting = [root]
    while waiting:
        process = waiting.pop()
        yield process
        with contextlib.suppress(OSError):
            for thread in os.listdir(f"/proc/{process}/task"):
                with contextlib.suppress(OSError), open(f"/proc/{process}/task/{thread}/children") as file:
                    waiting += [int(child) for child in file.read().split()]


def _stat(process):
    with open(f"/proc/{process}/stat") as file:
        return file.read().rpartition(")")[2].split()


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
