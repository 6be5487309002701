"""What a process that runs handed-in code is started with: of the grader's own environment, next to nothing."""

import os
import sys

from autograde.sandbox.isolation import visible_paths

_ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMEXPR_NUM_THREADS"), "1")
_KEPT = ("TZ", "TMPDIR", "SYSTEMROOT", "LD_LIBRARY_PATH")


def course_for_child(course):
    """What that process needs to know of a course (a `Registry`), as plain data."""
    return {"probes": course.probes, "preload": course.preload, "checks": course.checks}


def single_threaded():
    """Have numpy and torch start no threads in this process. Call it before either is imported."""
    os.environ.update(_ONE_THREAD)


def environment(course):
    """The whole environment of such a process, in which the packages of a course (a `Registry`) can be imported; a dict."""
    search = os.pathsep.join([os.path.dirname(sys.executable), "/usr/local/bin", "/usr/bin", "/bin"])
    if os.name != "posix":  # libraries are found by way of it there
        search = os.environ["PATH"]
    roots = dict.fromkeys([str(visible_paths.PACKAGE.parent), str(course.course.root)])
    return _ONE_THREAD | {name: os.environ[name] for name in _KEPT if name in os.environ} | {
        "PATH": search,
        "LANG": "C.UTF-8",
        "PYTHONPATH": os.pathsep.join(roots),
        "PYTHONSAFEPATH": "1",
        "MPLBACKEND": "module://matplotlib_inline.backend_inline",
    }  # fmt: skip
