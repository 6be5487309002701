"""The environment variables of processes that run handed-in code: almost none of the grader's own."""

import os
import sys

from autograde.sandbox.isolation import visible_paths

_ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMEXPR_NUM_THREADS"), "1")
# torch.compile gives back what it is given: a compiler takes longer than the limits of a call, and starts processes.
# breakpoint() does nothing: nobody is there to debug. Grading is done on the CPU: after a first gradient on a machine with
# a GPU, torch computes none in forks of that process.
_SWITCHED_OFF = {
    "TORCHDYNAMO_DISABLE": "1",
    "TORCH_COMPILE_DISABLE": "1",
    "PYTHONBREAKPOINT": "0",
    "CUDA_VISIBLE_DEVICES": "",
}
_KEPT = ("TZ", "TMPDIR", "SYSTEMROOT", "LD_LIBRARY_PATH")


def course_for_child(course):
    """The settings of a course (a `Registry`) that such a process needs, as plain data."""
    return {"probes": course.probes, "preload": course.preload, "checks": course.checks}


def single_threaded():
    """Have numpy and torch start no threads in this process. Call it before either is imported."""
    os.environ.update(_ONE_THREAD)


def _home():
    """The home directory. Some libraries look for it when they are imported and fail where there is none, as for an account
    without an entry; container runtimes take the root directory then, and so does this.
    """
    found = os.path.expanduser("~")
    return found if os.path.isabs(found) else os.path.abspath(os.sep)


def environment(course):
    """All environment variables of such a process, a dict. It can import the packages of the course (a `Registry`)."""
    search = os.pathsep.join([os.path.dirname(sys.executable), "/usr/local/bin", "/usr/bin", "/bin"])
    if os.name != "posix":  # there, libraries are found through PATH
        search = os.environ["PATH"]
    roots = dict.fromkeys([str(visible_paths.PACKAGE.parent), str(course.course.root)])
    return _ONE_THREAD | _SWITCHED_OFF | {name: os.environ[name] for name in _KEPT if name in os.environ} | {
        "PATH": search,
        "HOME" if os.name == "posix" else "USERPROFILE": _home(),
        "LANG": "C.UTF-8",
        "PYTHONPATH": os.pathsep.join(roots),
        "PYTHONSAFEPATH": "1",
        "MPLBACKEND": "module://matplotlib_inline.backend_inline",
    }  # fmt: skip
