"""seccomp: system calls that no lesson needs are refused by the kernel. The filter is made by libseccomp, which knows
each architecture's numbers and every second way to make a call; five of its functions are called through ctypes.
(pyseccomp 0.1.2 on PyPI wraps the same library in the same way; it would be one dependency more for these five.)
"""

import ctypes
import ctypes.util
import errno
import os

_ALLOW = 0x7FFF0000
_ERRNO = 0x00050000
_NOT_EQUAL, _MASKED = 1, 7
_NO_SYSCALL = -1
_OPTIMIZE = 8  # an attribute of a filter; 2: look numbers up in a tree

# Ways to more power, into the kernel's less trodden parts, or to memory that no limit counts.
FORBIDDEN = """
    mount umount umount2 pivot_root chroot fsopen fsconfig fsmount fspick move_mount open_tree open_tree_attr
    mount_setattr statmount listmount unshare setns swapon swapoff quotactl quotactl_fd acct reboot
    kexec_load kexec_file_load init_module finit_module delete_module bpf perf_event_open userfaultfd
    io_uring_setup io_uring_enter io_uring_register keyctl add_key request_key
    ptrace process_vm_readv process_vm_writev process_madvise kcmp pidfd_getfd
    name_to_handle_at open_by_handle_at fanotify_init lookup_dcookie nfsservctl syslog vhangup
    settimeofday clock_settime adjtimex clock_adjtime sethostname setdomainname iopl ioperm modify_ldt personality
    memfd_create memfd_secret vmsplice
    shmget shmat shmctl shmdt semget semop semctl semtimedop msgget msgsnd msgrcv msgctl
    mq_open mq_unlink mq_timedsend mq_timedreceive mq_notify mq_getsetattr
    migrate_pages move_pages set_mempolicy mbind set_mempolicy_home_node
    inotify_init inotify_init1 membarrier io_setup epoll_create epoll_create1
    seccomp landlock_create_ruleset landlock_add_rule landlock_restrict_self
""".split()

# What slows everybody else: writing the whole machine's files to disk, and taking files that others read out of memory.
# A call says that it is done, which for a session's own files makes no difference.
AS_IF_DONE = "sync syncfs fsync fdatasync sync_file_range fadvise64".split()
_ADVICE = (20, 21)  # madvise's MADV_COLD, MADV_PAGEOUT

# Numbers of the calls that an older libseccomp does not know by name. Since 2019 a call has the same number on all
# architectures.
NUMBERS = {
    "pidfd_send_signal": 424, "io_uring_setup": 425, "io_uring_enter": 426, "io_uring_register": 427, "open_tree": 428,
    "move_mount": 429, "fsopen": 430, "fsconfig": 431, "fsmount": 432, "fspick": 433, "pidfd_open": 434, "clone3": 435,
    "pidfd_getfd": 438, "process_madvise": 440, "mount_setattr": 442, "quotactl_fd": 443,
    "landlock_create_ruleset": 444, "landlock_add_rule": 445, "landlock_restrict_self": 446, "memfd_secret": 447,
    "set_mempolicy_home_node": 450, "fchmodat2": 452, "statmount": 457, "listmount": 458, "setxattrat": 463,
    "removexattrat": 466, "open_tree_attr": 467, "file_setattr": 469,
}  # fmt: skip

# A lock on a file that is shown to everyone would be felt outside. Nobody else works on a session's own files: there
# a call that says it has locked, and has not, serves as well.
_LOCKS = (6, 7, 37, 38)  # fcntl's F_SETLK, F_SETLKW, F_OFD_SETLK, F_OFD_SETLKW
_F_SETLEASE, _F_NOTIFY = 1024, 1026
_AS_IF_DONE = 0

# Memory that two processes share without a file counts for a process only as long as it is in its page table, and stays
# when it no longer is. What waits in a socket counts as much as a socket usually holds, so it must not hold more.
_SHARED_AND_ANONYMOUS = 0x21  # bits of mmap's flags
_SOL_SOCKET = 1
_SEND_BUFFERS = (7, 32)  # SO_SNDBUF, SO_SNDBUFFORCE
_ATTACH_FILTERS = (26, 50, 51, 52)  # SO_ATTACH_FILTER, _BPF, _REUSEPORT_CBPF, _REUSEPORT_EBPF: programs in the kernel

# Where no namespace hides the other processes and files of this user, these reach them although Landlock is there.
FORBIDDEN_OUTSIDE_NAMESPACES = """
    fork vfork chmod fchmod fchmodat fchmodat2 chown lchown fchown fchownat utime utimes utimensat futimesat
    setxattr lsetxattr fsetxattr setxattrat removexattr lremovexattr fremovexattr removexattrat file_setattr
    inotify_add_watch tkill pidfd_send_signal pidfd_open mknod mknodat
""".split()
_ONLY_MYSELF = ("kill", "tgkill", "rt_sigqueueinfo", "rt_tgsigqueueinfo")
_ONLY_WITHOUT_A_NAME = ("prlimit64", "sched_setscheduler", "sched_setparam", "sched_setattr", "sched_setaffinity")

_NEW_NAMESPACES = (17, 25, 26, 27, 28, 29, 30)  # bits of clone's flags
_CLONE_FILES, _CLONE_THREAD = 0x00000400, 0x00010000
_AF_UNIX = 1
_WORD = 0xFFFFFFFF  # what the kernel looks at of an int; a caller may put anything above it
_TERMINAL_INPUT, _TERMINAL_DISCIPLINE, _OWNER_OF_SOCKET, _GROUP_OF_SOCKET = 0x5412, 0x5423, 0x8901, 0x8902
_F_SETOWN, _F_SETSIG, _F_SETOWN_EX = 8, 10, 15
_PR_SET_PDEATHSIG, _PR_SET_SECCOMP = 1, 22


class _Compare(ctypes.Structure):
    _fields_ = [
        ("argument", ctypes.c_uint),
        ("operation", ctypes.c_int),
        ("a", ctypes.c_uint64),
        ("b", ctypes.c_uint64),
    ]


def _library():
    for name in ("libseccomp.so.2", ctypes.util.find_library("seccomp")):
        try:
            library = ctypes.CDLL(name or "libseccomp.so")
        except OSError:
            continue
        library.seccomp_init.restype = ctypes.c_void_p
        return library
    raise OSError(errno.ENOSYS, "libseccomp is not installed")


class _Filter:
    def __init__(self):
        self.library = _library()
        self.context = ctypes.c_void_p(self.library.seccomp_init(ctypes.c_uint32(_ALLOW)))
        if not self.context:
            raise OSError(errno.ENOMEM, "libseccomp made no filter")
        self.library.seccomp_attr_set(self.context, ctypes.c_int(_OPTIMIZE), ctypes.c_uint32(2))

    def refuse(self, name, *conditions, error=errno.EPERM):
        """Refuse the call `name` when all `conditions` hold: ``(argument, operation, a, b)``."""
        number = self.library.seccomp_syscall_resolve_name(name.encode())
        if number == _NO_SYSCALL:  # newer than this libseccomp
            number = NUMBERS.get(name, _NO_SYSCALL)
        if number == _NO_SYSCALL:
            raise OSError(errno.ENOSYS, f"this libseccomp does not know the call {name}")
        array = (_Compare * max(1, len(conditions)))(*[_Compare(*condition) for condition in conditions])
        failed = self.library.seccomp_rule_add_array(
            self.context, ctypes.c_uint32(_ERRNO | error), ctypes.c_int(number), ctypes.c_uint(len(conditions)), array
        )
        if failed and -failed != errno.EDOM:  # EDOM: this architecture has no such call
            raise OSError(-failed, f"libseccomp refused the rule for {name}")

    def program(self):
        """The filter as BPF."""
        reading, writing = os.pipe()
        with os.fdopen(reading, "rb") as pipe:
            failed = self.library.seccomp_export_bpf(self.context, ctypes.c_int(writing))
            os.close(writing)
            data = pipe.read()
        self.library.seccomp_release(self.context)
        if failed:
            raise OSError(-failed, "libseccomp made no program")
        return data


def program(*, namespaces, process=None):
    """The BPF of the filter.

    Args:
        namespaces: whether the process is alone in namespaces of its own. If not, it is also kept from starting
            processes, from every socket, and from signals and settings of any process but itself.
        process: its process id, where it is not alone.

    Raises:
        OSError: there is no libseccomp, or it refuses.
    """
    filter_ = _Filter()
    for name in FORBIDDEN:
        filter_.refuse(name)
    # Threads and processes are made by clone3, whose flags a filter cannot see, or by clone, to which libc falls back.
    filter_.refuse("clone3", error=errno.ENOSYS)
    for bit in _NEW_NAMESPACES:
        filter_.refuse("clone", (0, _MASKED, 1 << bit, 1 << bit))
    # A thread with open files of its own: they would not count among those of its process.
    filter_.refuse("clone", (0, _MASKED, _CLONE_THREAD | _CLONE_FILES, _CLONE_THREAD))
    for request in (_TERMINAL_INPUT, _TERMINAL_DISCIPLINE):
        filter_.refuse("ioctl", (1, _MASKED, _WORD, request))
    filter_.refuse("prctl", (0, _MASKED, _WORD, _PR_SET_SECCOMP))
    for name in (*AS_IF_DONE, "flock"):
        filter_.refuse(name, error=_AS_IF_DONE)
    for advice in _ADVICE:
        filter_.refuse("madvise", (2, _MASKED, _WORD, advice), error=_AS_IF_DONE)
    for command in _LOCKS:
        filter_.refuse("fcntl", (1, _MASKED, _WORD, command), error=_AS_IF_DONE)
    for command in (_F_SETLEASE, _F_NOTIFY):
        filter_.refuse("fcntl", (1, _MASKED, _WORD, command))
    for name in ("mmap", "mmap2"):
        filter_.refuse(name, (3, _MASKED, _SHARED_AND_ANONYMOUS, _SHARED_AND_ANONYMOUS))
    for option in _SEND_BUFFERS:
        conditions = (1, _MASKED, _WORD, _SOL_SOCKET), (2, _MASKED, _WORD, option)
        filter_.refuse("setsockopt", *conditions, error=_AS_IF_DONE)
    for option in _ATTACH_FILTERS:
        filter_.refuse("setsockopt", (1, _MASKED, _WORD, _SOL_SOCKET), (2, _MASKED, _WORD, option))
    filter_.refuse("socketpair", (0, _NOT_EQUAL, _AF_UNIX, 0), error=errno.EACCES)
    if namespaces:
        filter_.refuse("socket", (0, _NOT_EQUAL, _AF_UNIX, 0), error=errno.EACCES)
        return filter_.program()
    filter_.refuse("socket", error=errno.EACCES)
    filter_.refuse("clone", (0, _MASKED, _CLONE_THREAD, 0))
    filter_.refuse("prctl", (0, _MASKED, _WORD, _PR_SET_PDEATHSIG))
    for name in FORBIDDEN_OUTSIDE_NAMESPACES:
        filter_.refuse(name)
    for name in _ONLY_MYSELF:
        filter_.refuse(name, (0, _NOT_EQUAL, process, 0))
    for name in _ONLY_WITHOUT_A_NAME:
        filter_.refuse(name, (0, _NOT_EQUAL, 0, 0))
    for name in ("setpriority", "ioprio_set"):
        filter_.refuse(name, (0, _NOT_EQUAL, 0, 0))
        filter_.refuse(name, (1, _NOT_EQUAL, 0, 0))
    for request in (_OWNER_OF_SOCKET, _GROUP_OF_SOCKET):
        filter_.refuse("ioctl", (1, _MASKED, _WORD, request))
    for command in (_F_SETOWN, _F_SETSIG, _F_SETOWN_EX):
        filter_.refuse("fcntl", (1, _MASKED, _WORD, command))
    return filter_.program()
