"""Landlock: the kernel keeps this process, and all it starts, to the files it is given. No privilege is needed.

Three system calls, made here directly. Of what is on PyPI, landlock 1.0.0.dev5 does not know the scopes for signals and
abstract sockets; py-landlock 0.1.1 does, in 1,300 lines and two releases; sandlock 0.9.0 takes Linux 6.12, and all it
does beside Landlock it does for programs that it starts itself, where ours is a fork that already holds torch.
"""

import ctypes
import os

from autograde.sandbox.isolation import syscalls

_CREATE, _ADD, _RESTRICT = 444, 445, 446
_VERSION_FLAG, _PATH_BENEATH, _QUIET = 1, 1, 1

EXECUTE, WRITE_FILE, READ_FILE, READ_DIR = 1, 2, 4, 8
TRUNCATE, IOCTL_DEVICE = 1 << 14, 1 << 15
_FILE_RIGHTS = EXECUTE | WRITE_FILE | READ_FILE | TRUNCATE | IOCTL_DEVICE
LOOK = EXECUTE | READ_FILE | READ_DIR
DEVICE = READ_FILE | WRITE_FILE | TRUNCATE | IOCTL_DEVICE
EVERYTHING = (1 << 16) - 1

FIRST_WHOLE = 3  # the version from which writing to a file can be denied whole (truncation came last)
FIRST_SCOPES = 6  # the version from which signals and abstract sockets can be
_FIRST_NETWORK, _FIRST_QUIET = 4, 7
_RIGHTS_SINCE = {1: 13, 2: 14, 3: 15, 4: 15}  # version -> number of file rights it knows


class _Ruleset(ctypes.Structure):
    _fields_ = [("files", ctypes.c_uint64), ("network", ctypes.c_uint64), ("scopes", ctypes.c_uint64)]


class _Beneath(ctypes.Structure):
    _pack_ = 1
    _fields_ = [("rights", ctypes.c_uint64), ("parent", ctypes.c_int32)]


def version():
    """The version of Landlock that the kernel has; 0: none."""
    try:
        return syscalls.system_call(_CREATE, None, ctypes.c_size_t(0), ctypes.c_uint(_VERSION_FLAG))
    except OSError:
        return 0


def restrict(rules):
    """From now on allow what `rules` allow, and besides that nothing: no other file, no TCP, no signal and no abstract
    socket to a process outside. `no_new_privs` must be set.

    Args:
        rules: ``(path, rights)``; what does not exist is left out.

    Returns:
        The version of Landlock that is in force.

    Raises:
        OSError: the kernel has none, or refuses.
    """
    known = version()
    if not known:
        raise OSError(38, "this kernel has no Landlock")
    files = (1 << _RIGHTS_SINCE.get(known, 16)) - 1
    network = 3 if known >= _FIRST_NETWORK else 0
    scopes = 3 if known >= FIRST_SCOPES else 0
    attributes = _Ruleset(files, network, scopes)
    size = 24 if known >= FIRST_SCOPES else 16 if known >= _FIRST_NETWORK else 8
    ruleset = syscalls.system_call(_CREATE, ctypes.byref(attributes), ctypes.c_size_t(size), ctypes.c_uint(0))
    try:
        for path, rights in rules:
            _allow(ruleset, path, rights & files)
        flags = _QUIET if known >= _FIRST_QUIET else 0
        syscalls.system_call(_RESTRICT, ctypes.c_int(ruleset), ctypes.c_uint(flags))
    finally:
        os.close(ruleset)
    return known


def _allow(ruleset, path, rights):
    try:
        parent = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except OSError:
        return
    try:
        if not os.path.isdir(path):
            rights &= _FILE_RIGHTS
        rule = _Beneath(rights, parent)
        syscalls.system_call(
            _ADD, ctypes.c_int(ruleset), ctypes.c_int(_PATH_BENEATH), ctypes.byref(rule), ctypes.c_uint(0)
        )
    finally:
        os.close(parent)
