"""What one submission may use, and the part of it that the kernel enforces process by process."""

import contextlib
import dataclasses
import os

MIB = 2**20


@dataclasses.dataclass(frozen=True)
class Limits:
    """What one submission may use. Times are seconds, sizes are bytes.

    Attributes:
        cell: wall time of one cell; then it is interrupted, as by the stop button. Time in which it was ready to run and
            had no processor does not count, up to a point (`autograde.sandbox.allowance`).
        probe: wall time of one probe, counted in the same way, and CPU time of the session's processes together meanwhile;
            then it is interrupted.
        grace: how long an interrupted cell or probe has to stop, before the whole session is ended.
        session: wall time of everything, from opening to the last answer.
        cpu: CPU time of the session's processes together.
        memory: memory of the session's processes together, beyond what the fork server shares with them.
        processes: processes and threads together.
        disk: what the session's temporary folder may hold. Also the largest file.
        output: what all cells together may show (text, figures).
        answer: the largest answer to a probe.
    """

    cell: float = 30.0
    probe: float = 10.0
    grace: float = 2.0
    session: float = 600.0
    cpu: float = 600.0
    memory: int = 1536 * MIB
    processes: int = 64
    disk: int = 256 * MIB
    output: int = 16 * MIB
    answer: int = 64 * MIB

    def __post_init__(self):
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if not isinstance(value, (int, float)) or not value > 0:
                raise ValueError(f"the limit {field.name!r} must be a number above zero, not {value!r}")


def address_space():
    """Bytes of address space that this process has now, or None where that cannot be told."""
    try:
        with open("/proc/self/statm") as file:
            return int(file.read().split()[0]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return None


def set_limits(memory, cpu):
    """Limit this process: bytes of memory beyond what it has, and seconds of CPU time."""
    import resource

    for which, value in (
        (resource.RLIMIT_AS, (address_space() or 0) + memory),
        (
            resource.RLIMIT_CPU,
            cpu,
        ),  # at this soft limit the kernel sends SIGXCPU, at a hard one SIGKILL, which says less
        (resource.RLIMIT_CORE, 1),  # 0 would still start the system's crash handler
    ):
        hard = resource.getrlimit(which)[1]
        resource.setrlimit(which, (value if hard == resource.RLIM_INFINITY else min(value, hard), hard))


def apply(limits, *, shared, alone):
    """Set the kernel's limits for this process and all that it will start.

    Args:
        limits: a dict of `Limits`.
        shared: bytes of address space that are there already, and do not count; None for no limit on memory.
        alone: whether no process outside the session counts as one of the same user.
    """
    import resource

    cpu = int(limits["cpu"]) + 1
    wanted = {
        "RLIMIT_CORE": 1,  # 0 would still start the system's crash handler, outside the sandbox
        "RLIMIT_CPU": cpu,
        "RLIMIT_FSIZE": limits["disk"],
        "RLIMIT_NOFILE": 256,  # what the kernel holds for a socket or a pipe counts against nobody
        "RLIMIT_MEMLOCK": 0,
        "RLIMIT_MSGQUEUE": 0,
        "RLIMIT_RTPRIO": 0,
    }
    if shared is not None:
        wanted["RLIMIT_AS"] = shared + limits["memory"]
    if alone:  # these two are counted for each user
        wanted["RLIMIT_NPROC"] = limits["processes"]
        wanted["RLIMIT_SIGPENDING"] = 1_024
    for name, value in wanted.items():
        if hasattr(resource, name):
            which = getattr(resource, name)
            hard = resource.getrlimit(which)[1]
            value = value if hard == resource.RLIM_INFINITY else min(value, hard)
            with contextlib.suppress(OSError, ValueError):  # macOS has some of them in name only
                resource.setrlimit(which, (value, value))
