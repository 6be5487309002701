"""The outer wall: namespaces of the fork server's own, and of each session's own within them.

The fork server sees a file system that is built from nothing and holds only what `places` shows, read-only; a network
without a single interface; no process but its own. Each session is then the first process of one more process
namespace (so everything it has started dies with it, daemons too) and has a file system in memory of its own, limited
in size and gone with it.

Linux gives all this to ordinary users by way of a user namespace. It is done here by direct calls and not by
bubblewrap, for three reasons that were measured or read: a session's namespaces must be entered by a fork of a running
process (0.5 ms against a new start of Python and torch, 2 s); bubblewrap run by root keeps root's own user id inside,
for which the kernel does not limit the number of processes; and it cannot be installed with pip.
"""

import contextlib
import os
from pathlib import Path

from autograde.sandbox.isolation import syscalls, visible_paths

_ALL = (
    syscalls.CLONE_NEWUSER | syscalls.CLONE_NEWNS | syscalls.CLONE_NEWPID | syscalls.CLONE_NEWNET
    | syscalls.CLONE_NEWIPC | syscalls.CLONE_NEWUTS | syscalls.CLONE_NEWCGROUP
)  # fmt: skip
LEARNER = 1000  # the user and group id inside, where root can give one away
IDS = 512  # for so many sessions at once: what the kernel counts for a user, such as pipes, is then each session's own
ZEROS = 2**30  # bytes that /dev/zero holds
TERMINALS = 32  # at most in a session: the machine has some thousands for everyone
BOX = "/box"  # where a session's own file system is mounted
WORK, HOME, TEMPORARY = f"{BOX}/work", f"{BOX}/home", f"{BOX}/tmp"


def _write(path, text):
    descriptor = os.open(path, os.O_WRONLY)
    try:
        os.write(descriptor, text.encode())
    finally:
        os.close(descriptor)


def _outside_ids():
    """User ids of the outside to give to handed-in code, best first, as a first one and how many: some that nobody else
    has, then nobody's.
    """
    return ((1_600_000_000 + os.getpid() * IDS, IDS), (65_534, 1))


def _map_as_root(process, started):
    """In a child that stays outside: once told, give `process`'s namespace root's id and more without rights. It ends
    with the exit code 0 when there is one for each session, 2 when there is one for all.
    """
    if os.read(started, 1):
        for outside, count in _outside_ids():
            with contextlib.suppress(OSError):
                for kind in ("uid_map", "gid_map"):
                    _write(f"/proc/{process}/{kind}", f"0 0 1\n{LEARNER} {outside} {count}\n")
                os._exit(0 if count == IDS else 2)
    os._exit(1)


def _map_myself(user, group, inside=None):
    _write("/proc/self/setgroups", "deny")
    _write("/proc/self/gid_map", f"{inside or group} {group} 1")
    _write("/proc/self/uid_map", f"{inside or user} {user} 1")


def enter(give_away):
    """Move this process, which must have one thread, into new namespaces; its next child is first of the new process
    namespace.

    Args:
        give_away: whether root may have handed-in code run under an id without rights.

    Returns:
        How many ids sessions can change to, from `LEARNER` on; 0 where they cannot.

    Raises:
        OSError: the machine does not allow it.
    """
    user, group = os.geteuid(), os.getegid()
    helper = None
    if user == 0 and give_away:
        reading, writing = os.pipe()
        process = os.getpid()
        helper = os.fork()
        if helper == 0:
            os.close(writing)
            _map_as_root(process, reading)
        os.close(reading)
    try:
        syscalls.call("unshare", _ALL)
        if helper is not None:
            os.write(writing, b".")
    finally:
        if helper is not None:
            os.close(writing)
            _, status = os.waitpid(helper, 0)
    given = {0: IDS, 2: 1}.get(os.waitstatus_to_exitcode(status), 0) if helper is not None else 0
    if not given:
        _map_myself(user, group)
    return given


def possible(give_away):
    """Whether this machine lets a process like this one build the outer wall; tried in a child that is thrown away."""
    trial = os.fork()
    if trial == 0:
        with contextlib.suppress(BaseException):
            enter(give_away)
            if os.fork() == 0:
                with contextlib.suppress(BaseException):
                    build({"visible": ["/usr"], "hidden": [], "links": {}, "modules": {}}, LEARNER)
                    os._exit(0)
                os._exit(1)
            os._exit(os.waitstatus_to_exitcode(os.wait()[1]) & 1)
        os._exit(1)
    return os.waitpid(trial, 0)[1] == 0


def build(plan, user):
    """In the first process of the new namespaces: make a root that holds only what `plan` shows.

    Args:
        plan: what `visible_paths.plan` says.
        user: the user id that handed-in code will have.
    """
    syscalls.call("sethostname", b"box", 3)
    syscalls.mount(None, "/", flags=syscalls.MS_REC | syscalls.MS_PRIVATE)
    syscalls.mount("tmpfs", "/tmp", "tmpfs", syscalls.MS_NOSUID | syscalls.MS_NODEV, "size=16m,mode=0755")
    os.mkdir("/tmp/outside")
    os.chdir("/tmp")
    syscalls.call("pivot_root", b".", b"outside")
    os.chdir("/")
    for mark, path in visible_paths.steps(plan):
        if mark == "hide":
            os.makedirs(path, exist_ok=True)
            syscalls.mount("tmpfs", path, "tmpfs", syscalls.MS_NOSUID | syscalls.MS_NODEV, "size=1m,mode=0755")
        else:
            _show(path)
    for link, target in plan["links"].items():
        if not os.path.lexists(link):
            os.makedirs(os.path.dirname(link), exist_ok=True)
            os.symlink(target, link)
    for mark, path in visible_paths.steps(plan):
        if mark == "hide":
            syscalls.seal(path)
    _devices()
    for directory in ("/proc", "/etc", BOX):
        os.makedirs(directory, exist_ok=True)
    if not os.path.lexists("/tmp"):
        os.symlink(TEMPORARY, "/tmp")
    with contextlib.suppress(OSError):  # refused where the outside's /proc has parts masked, as in most containers
        syscalls.mount("proc", "/proc", "proc", syscalls.MS_NOSUID | syscalls.MS_NODEV | syscalls.MS_NOEXEC)
    with open("/etc/passwd", "w") as file:
        file.write(f"learner:x:{user}:{user}:learner:{HOME}:/bin/sh\n")
    with open("/etc/hosts", "w") as file:
        file.write("127.0.0.1 localhost\n")
    syscalls.mount("tmpfs", BOX, "tmpfs", syscalls.MS_NOSUID | syscalls.MS_NODEV, "size=64m,mode=0755")
    _rooms()
    syscalls.call("umount2", b"/outside", syscalls.MNT_DETACH)
    os.rmdir("/outside")
    syscalls.seal("/")


def _show(path):
    outside = "/outside" + path
    if os.path.isdir(outside):
        os.makedirs(path, exist_ok=True)
    else:
        os.makedirs(os.path.dirname(path), exist_ok=True)
        if not os.path.exists(path):
            os.close(os.open(path, os.O_CREAT | os.O_WRONLY, 0o444))
    syscalls.mount(outside, path, flags=syscalls.MS_BIND | syscalls.MS_REC)
    syscalls.seal(path, recursive=True)


def _devices():
    os.makedirs("/dev/pts", exist_ok=True)
    for path in visible_paths.DEVICES:
        os.close(os.open(path, os.O_CREAT | os.O_WRONLY, 0o666))
        syscalls.mount("/outside" + path, path, flags=syscalls.MS_BIND)
    with open("/dev/zero", "wb") as file:  # a file with a hole: mapped, the device gives memory that no limit counts
        file.truncate(ZEROS)
    for link, target in {
        "/dev/fd": "/proc/self/fd", "/dev/stdin": "/proc/self/fd/0", "/dev/stdout": "/proc/self/fd/1",
        "/dev/stderr": "/proc/self/fd/2", "/dev/shm": TEMPORARY, "/dev/ptmx": "pts/ptmx",
    }.items():  # fmt: skip
        os.symlink(target, link)


class ProcessNamespaces:
    """Forks children that are each first in a process namespace of their own. This process stays in its own."""

    def __init__(self):
        self.own = os.pidfd_open(os.getpid())

    def fork(self):
        """As `os.fork`."""
        syscalls.call("unshare", syscalls.CLONE_NEWPID)
        process = None
        try:
            process = os.fork()
        finally:
            if process != 0:  # in the parent, or when there was no child: the next one shall be first in its own again
                syscalls.call("setns", self.own, syscalls.CLONE_NEWPID)
        return process


def settle(limits, refused, shown, learner):
    """In a session's first process: a /proc, a file system and a network of its own, no sight of the paths `refused`, an
    id without rights. The working directory is then `WORK`. The network reaches nothing; its sockets can be counted.

    Args:
        limits: a dict of `Limits`.
        refused: paths in the fork server's file system.
        shown: files below them that stay.
        learner: the id to change to, which this process then sees as `LEARNER`; None: to stay as it is.
    """
    user, group = (learner, learner) if learner else (os.geteuid(), os.getegid())
    syscalls.call("unshare", syscalls.CLONE_NEWNS | syscalls.CLONE_NEWNET)
    with contextlib.suppress(OSError):
        syscalls.mount("proc", "/proc", "proc", syscalls.MS_NOSUID | syscalls.MS_NODEV | syscalls.MS_NOEXEC)
    size = f"size={limits['disk']},nr_inodes=20000,mode=0700,uid={user},gid={group}"
    syscalls.mount("tmpfs", BOX, "tmpfs", syscalls.MS_NOSUID | syscalls.MS_NODEV, size)
    with contextlib.suppress(OSError):
        terminals = f"newinstance,ptmxmode=0666,max={TERMINALS}"
        syscalls.mount("devpts", "/dev/pts", "devpts", syscalls.MS_NOSUID | syscalls.MS_NOEXEC, terminals)
    kept = {path: Path(path).read_bytes() for path in shown}
    for path in refused:
        if os.path.isdir(path):
            inside = {file: content for file, content in kept.items() if Path(file).is_relative_to(path)}
            room = f"size={4 + sum(len(content) // 1024 + 5 for content in inside.values())}k"
            mode = "mode=0755" if inside else "mode=0000"
            syscalls.mount("tmpfs", path, "tmpfs", syscalls.MS_NOSUID | syscalls.MS_NODEV, f"{room},{mode}")
            for file, content in inside.items():
                Path(file).parent.mkdir(parents=True, exist_ok=True)
                Path(file).write_bytes(content)
            syscalls.seal(path)
        else:
            syscalls.mount("/dev/null", path, flags=syscalls.MS_BIND)
    if learner:
        os.setgroups([])
        os.setresgid(group, group, group)
        os.setresuid(user, user, user)
        syscalls.prctl(syscalls.PR_SET_DUMPABLE, 1)
    if user != 0 and os.path.exists("/proc/self/uid_map"):
        # The kernel counts a user's processes within each user namespace: in its own, a session has its own count.
        syscalls.call("unshare", syscalls.CLONE_NEWUSER)
        _map_myself(user, group, learner and LEARNER)
    _rooms()


def _rooms():
    for path in (WORK, HOME, TEMPORARY):
        os.mkdir(path)
    os.chdir(WORK)
