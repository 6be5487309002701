"""The source files that a module depends on, and a hash of their contents."""

import ast
import functools
import hashlib
import os
import threading
from importlib import metadata
from pathlib import Path

PACKAGE = Path(__file__).resolve().parent  # autograde/

# In Python 3.11, ast.parse in two threads at once can raise SystemError (CPython's issue 106905).
_parsing = threading.Lock()


def parse(source):
    """As `ast.parse`, for code that may run in several threads."""
    with _parsing:
        return ast.parse(source)


@functools.cache  # by content: lessons have most files in common
def _names_imported(source, package):
    names = set()
    for node in ast.walk(parse(source)):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else ()
            module = ".".join([*above, *filter(None, [node.module])])
            names.update([module, *(f"{module}.{alias.name}" for alias in node.names)])
    return frozenset(names)


class SourceFiles:
    """The source files of the engine and of one course.

    Args:
        course: the `Course`.
    """

    def __init__(self, course):
        self.roots = tuple(dict.fromkeys((PACKAGE.parent, Path(course.root).resolve())))

    def of_module(self, name):
        """The file of a module, or None if it belongs to neither the engine nor the course."""
        inside = name.replace(".", os.sep)
        for root in self.roots:
            for candidate in (f"{inside}.py", os.path.join(inside, "__init__.py")):
                if os.path.isfile(os.path.join(root, candidate)):  # pathlib takes five times as long
                    return root / candidate
        return None

    def of_package(self, name):
        """All files of a package."""
        entrance = self.of_module(name)
        return sorted(entrance.parent.rglob("*.py")) if entrance else []

    def reached(self, paths):
        """The set of these files and all that they import, directly or indirectly."""
        reached, waiting = set(), list(paths)
        while waiting:
            path = waiting.pop()
            if path not in reached:
                reached.add(path)
                package = path.relative_to(self._root(path)).parts[:-1]
                waiting += self.imported(path.read_bytes(), package)
        return reached

    def imported(self, source, package=()):
        """The files that Python source imports.

        Args:
            source: text or bytes.
            package: the parts of the package's name that it is in, for relative imports.
        """
        names = _names_imported(source, package)
        # Importing a.b.c runs the __init__.py of a and of a.b, too.
        above = {".".join(parts[:end]) for parts in (name.split(".") for name in names) for end in range(1, len(parts))}
        return [path for path in map(self.of_module, sorted(names | above)) if path]

    def digest(self, paths, libraries):
        """A hash of the contents of files, and of the versions of libraries."""
        digest = hashlib.sha256()
        for name, path in sorted((path.relative_to(self._root(path)).as_posix(), path) for path in set(paths)):
            digest.update(name.encode() + b"\0" + path.read_bytes() + b"\0")
        for library in libraries:
            digest.update(f"{library} {metadata.version(library)}\n".encode())
        return digest.hexdigest()

    def _root(self, path):
        return next(root for root in self.roots if path.is_relative_to(root))
