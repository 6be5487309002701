"""Which version of a lesson's grading a result was made with: a hash of everything that decides a mark."""

import ast
import functools
import hashlib
from importlib import metadata
from pathlib import Path

from autograde import registry

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


def of_lesson(course, lesson, master):
    """A short hash of what grades a lesson.

    Args:
        course: the `Course`.
        lesson: its id.
        master: text of the notebook that submissions are held against.

    Returns:
        A string that changes with that notebook, the lesson's checks and all source these lead to, the way a notebook
        is run, and the libraries; not with another lesson.
    """
    return hashlib.sha256(f"{of_code(course, lesson)} {master}".encode()).hexdigest()[:16]


@functools.cache
def of_code(course, lesson):
    """The part of `of_lesson` that a worker can tell by itself."""
    known = registry.of(course)
    files = _Files((PACKAGE.parent, course.root))
    starts = [PACKAGE / name for name in ENTRANCES] + [files.of_module(known.module_of(lesson))]
    starts += files.of_package(known.probes)
    starts += [files.of_module(part) for part in known.given_to(lesson)]
    digest = hashlib.sha256()
    for path in sorted(files.reached(filter(None, starts))):
        digest.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
    for library in LIBRARIES:
        digest.update(f"{library} {metadata.version(library)}\n".encode())
    return digest.hexdigest()


class _Files:
    """The source files of modules that lie below some folders.

    Args:
        roots: where packages lie.
    """

    def __init__(self, roots):
        self.roots = roots

    def of_module(self, name):
        """The file of a module, or None where it lies elsewhere."""
        for root in self.roots:
            path = root.joinpath(*name.split("."))
            for candidate in (path.with_suffix(".py"), path / "__init__.py"):
                if candidate.is_file():
                    return candidate
        return None

    def of_package(self, name):
        """All files of a package."""
        entrance = self.of_module(name)
        return sorted(entrance.parent.rglob("*.py")) if entrance else []

    def reached(self, paths):
        """These files, and those that they import, and so on."""
        reached, waiting = set(), list(paths)
        while waiting:
            path = waiting.pop()
            if path not in reached:
                reached.add(path)
                waiting += filter(None, map(self.of_module, self._imported(path)))
        return reached

    def _imported(self, path):
        """The names of all that a file imports: modules, and what may be one."""
        root = next(root for root in self.roots if path.is_relative_to(root))
        for node in ast.walk(ast.parse(path.read_bytes())):
            if isinstance(node, ast.Import):
                yield from (alias.name for alias in node.names)
            elif isinstance(node, ast.ImportFrom):
                above = path.relative_to(root).parts[: -node.level] if node.level else ()
                module = ".".join([*above, *filter(None, [node.module])])
                yield module
                yield from (f"{module}.{alias.name}" for alias in node.names)
