"""The walls of the sandbox, raised in two steps: around the fork server once, around each session again.

What each promise is based on, with namespaces and without:

=============  =======================================================  ==========================================
promise        with namespaces                                          without
=============  =======================================================  ==========================================
files          a root that holds only what is shown, Landlock           Landlock (names and sizes can be guessed)
network        no interface; seccomp (no socket but AF_UNIX); Landlock  seccomp (no socket at all)
processes      own process namespace, Landlock                          seccomp (signals to itself alone), Landlock
survivors      own process namespace                                    seccomp (no process can be started)
disk           own file system in memory, with a size                   file size limit; the grader looks and ends it
process count  RLIMIT_NPROC in a user namespace of its own              none can be started; the grader counts threads
system calls   seccomp                                                  seccomp
memory, CPU    rlimits for each process; the grader adds up and ends    the same
=============  =======================================================  ==========================================

A sandbox is "full" when namespaces and seccomp stand; "partial" when some promise is kept in a lesser way or not at all;
"none" when neither files nor network nor other processes are out of reach. Every wall is raised before the first line
of handed-in code is received, and none can be taken down from inside.

Chosen over: bubblewrap (see `namespaces`), sandlock and py-landlock (see `landlock`), pyseccomp (see `seccomp`), and
containers, which take root or a daemon and start in hundreds of milliseconds.
"""

import contextlib
import errno
import importlib
import os
import selectors
import signal
import tempfile

from autograde.sandbox import limits
from autograde.sandbox.isolation import import_guard, landlock, namespaces, seccomp, syscalls, visible_paths


class Walls:
    """The walls around the fork server and its sessions.

    Args:
        plan: the result of `visible_paths.plan`.
        without: names of mechanisms not to use.
        note: why they are not used, if that is not by choice.
    """

    def __init__(self, plan, without, note=""):
        self.plan = plan
        self.without = without
        self.notes = []
        self.namespaces = "namespaces" not in without and namespaces.possible(plan["open"])
        self.given = namespaces.enter(plan["open"]) if self.namespaces else 0  # ids for sessions
        self.sessions = 0
        self.home = None  # a folder to be removed in the end
        self.filter = None
        self.process_namespaces = None
        if not self.namespaces:
            self.notes.append(note or "no namespaces on this machine")

    def raise_around_server(self):
        """In the process that will be the fork server (the first child after the constructor, if `namespaces`)."""
        if self.namespaces:
            namespaces.build(self.plan, namespaces.LEARNER if self.given else os.geteuid())
            importlib.invalidate_caches()
            self.process_namespaces = namespaces.ProcessNamespaces()
            _set_folders(namespaces.HOME, namespaces.TEMPORARY)
        else:
            self.home = tempfile.mkdtemp(prefix="autograde-")
            _set_folders(self.home, self.home)
        if "seccomp" in self.without:
            self.notes.append("seccomp is not used")
            return
        try:
            self.filter = seccomp.program(namespaces=self.namespaces, process=os.getpid())
        except OSError as error:
            self.notes.append(f"no seccomp ({error.strerror})")

    def record(self):
        """The isolation that sessions will have, as far as it is known before the first one."""
        version = 0 if "landlock" in self.without else landlock.version()
        return record(self.namespaces, version, self.filter is not None, self.notes)

    def fork(self):
        """Fork a session, if possible into a new process namespace."""
        self.sessions += 1
        return self.process_namespaces.fork() if self.process_namespaces else os.fork()

    def raise_around_session(self, request):
        """In a session's process: raise its own walls, and change to its working directory.

        Args:
            request: a dict: "limits", those of `Limits`; "given", names of parts of refused modules that may be used; "folder",
                made for the session where it cannot have a file system of its own; "shared", bytes of address space
                that are there already; "parent", the fork server's id.

        Returns:
            The record of the isolation that was reached, as plain data.
        """
        limits_, folder, modules = request["limits"], request["folder"], self.plan["modules"]
        given = visible_paths.given_files(modules, request["given"])
        import_guard.refuse(self.plan["refused"], given)
        if self.namespaces:
            learner = namespaces.LEARNER + self.sessions % self.given if self.given else None
            namespaces.settle(limits_, modules.values(), given.values(), learner)
            folder = namespaces.BOX
        else:
            _set_folders(folder, folder)
            os.chdir(folder)
        with contextlib.suppress(OSError), open("/proc/self/oom_score_adj", "w") as file:
            file.write("1000")  # should the machine run out of memory, this is what it ends first
        limits.apply(limits_, shared=request["shared"], alone=self.namespaces)
        syscalls.prctl(syscalls.PR_SET_PDEATHSIG, int(signal.SIGKILL))
        if not self.namespaces and os.getppid() != request["parent"]:  # it died just before
            os._exit(1)
        syscalls.prctl(syscalls.PR_SET_NO_NEW_PRIVS, 1)
        notes = list(self.notes)
        version = self._landlock(folder, given.values(), notes)
        with contextlib.suppress(OSError):
            syscalls.drop_capabilities()
        if self.filter is not None:
            filter_ = self.filter
            if not self.namespaces:
                filter_ = seccomp.program(namespaces=False, process=os.getpid())
            selectors.DefaultSelector = selectors.PollSelector  # of asyncio; the filter refuses epoll
            syscalls.install_filter(filter_)
        return record(self.namespaces, version, self.filter is not None, notes)

    def _landlock(self, folder, given, notes):
        if "landlock" in self.without:
            notes.append("Landlock is not used")
            return 0
        rules = [(folder, landlock.EVERYTHING), *[(path, landlock.DEVICE) for path in visible_paths.DEVICES]]
        if self.namespaces:
            rules += [("/", landlock.LOOK), ("/dev/pts", landlock.EVERYTHING)]
        else:
            rules += [(path, landlock.LOOK) for path in visible_paths.allowed(self.plan, given)]
            rules += [(path, landlock.LOOK) for path in ("/proc/self", "/proc/meminfo", "/proc/cpuinfo", "/proc/stat")]
        try:
            return landlock.restrict(rules)
        except OSError as error:
            notes.append("no Landlock" if error.errno in (errno.ENOSYS, errno.EOPNOTSUPP) else f"Landlock: {error}")
            return 0


def _set_folders(home, temporary):
    tempfile.tempdir = None  # it was looked up in the old one
    os.environ.update(
        HOME=home, TMPDIR=temporary, USER="learner", LOGNAME="learner", MPLCONFIGDIR=home, XDG_CACHE_HOME=home
    )


def record(namespaces_, landlock_, seccomp_, notes):
    """What was reached, as plain data: "level", "by" (the means), "up" and "missing" (promises), and a "message"."""
    means = {"namespaces": namespaces_, f"Landlock {landlock_}": landlock_, "seccomp": seccomp_}
    by = [name for name, there in means.items() if there]
    files = namespaces_ or (landlock_ >= landlock.FIRST_WHOLE and seccomp_)
    walls = {
        "files": files,
        "network": seccomp_ or namespaces_,
        "processes": namespaces_ or (seccomp_ and landlock_ > 0),
        "survivors": namespaces_ or seccomp_,
        "process count": namespaces_ or seccomp_,
        "disk": True,
        "memory": True,
        "CPU": True,
        "wall time": True,
        "output": True,
        "environment": True,
        "system calls": seccomp_,
    }
    up = [name for name, stands in walls.items() if stands]
    missing = [name for name, stands in walls.items() if not stands]
    if namespaces_ and seccomp_:
        level, message = "full", f"Isolated ({', '.join(by)})."
    elif files or "network" in up or "processes" in up:
        level = "partial"
        lesser = "" if namespaces_ else " Names and sizes of files outside can be told, and no process can be started."
        lacking = f" Missing: {', '.join(missing)}." if missing else ""
        message = f"Partly isolated ({', '.join(by)}; {'; '.join(notes)}).{lacking}{lesser}"
    else:
        level, message = "none", f"Not isolated ({'; '.join(notes)})."
    return {"level": level, "by": by, "up": up, "missing": missing, "message": message}
