"""Which version of a lesson's grading a result was made with: a hash of everything that decides a mark."""

import ast
import functools
import hashlib
from importlib import metadata
from pathlib import Path

PACKAGE = Path(__file__).resolve().parents[1]
# What runs and judges a notebook, besides the lesson's own checks. Probes are asked for by name.
ENTRANCES = (
    "submission/grade.py",
    "submission/repair.py",
    "sandbox/child/main.py",
    "sandbox/pool.py",
    "batch/worker.py",
)
LIBRARIES = ("torch", "numpy", "ipython")


def of_lesson(lesson, master):
    """A short hash of what grades a lesson.

    Args:
        lesson: its id.
        master: text of the notebook that submissions are held against.

    Returns:
        A string that changes with that notebook, the lesson's checks and all source these lead to, the way a notebook
        is run, and the libraries; not with another lesson.
    """
    return hashlib.sha256(f"{of_code(lesson)} {master}".encode()).hexdigest()[:16]


@functools.cache
def of_code(lesson):
    """The part of `of_lesson` that a worker can tell by itself."""
    starts = [PACKAGE / name for name in ENTRANCES] + [_file(f"autograde.checks.{lesson[3:]}")]
    starts += (PACKAGE / "probes").glob("*.py")
    digest = hashlib.sha256()
    for path in sorted(_reached(starts)):
        digest.update(path.relative_to(PACKAGE.parent).as_posix().encode() + b"\0" + path.read_bytes() + b"\0")
    for library in LIBRARIES:
        digest.update(f"{library} {metadata.version(library)}\n".encode())
    return digest.hexdigest()


def _reached(paths):
    """These files of the course, and those that they import, and so on."""
    reached, waiting = set(), list(paths)
    while waiting:
        path = waiting.pop()
        if path not in reached:
            reached.add(path)
            waiting += _imported(path)
    return reached


@functools.cache
def _imported(path):
    found = []
    for node in ast.walk(ast.parse(path.read_bytes())):
        if isinstance(node, ast.Import):
            found += [_file(alias.name) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            above = path.relative_to(PACKAGE.parent).parts[: -node.level] if node.level else ()
            module = ".".join([*above, *filter(None, [node.module])])
            found += [_file(module), *(_file(f"{module}.{alias.name}") for alias in node.names)]
    return [path for path in found if path]


def _file(module):
    """The file of one of the course's own modules, or None."""
    path = PACKAGE.parent.joinpath(*module.split("."))
    for candidate in (path.with_suffix(".py"), path / "__init__.py"):
        if candidate.is_file():
            return candidate
    return None
