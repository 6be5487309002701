"""Modules that handed-in code may not import, and what it is told when it tries.

The files are kept out of reach by the other walls. This only explains, and stands alone where there are none.
"""

import importlib.abc
import sys

GRADER = tuple(
    f"autograde.{room}"
    for room in ("authoring", "batch", "cli", "export", "judge", "nbgrader_plugin", "registry", "report", "submission")
)
_kept_out = list(GRADER)


def keep_out(package):
    """Count a package of the course among what stays with the grader."""
    _kept_out.append(package)


def refuse(reasons):
    """Have imports of some modules, and of what belongs to the grader, refused.

    Args:
        reasons: ``{module: what the learner is told}``.
    """
    sys.meta_path.insert(0, Refuse(reasons))


class Refuse(importlib.abc.MetaPathFinder):
    """Says in words that a module is refused."""

    def __init__(self, reasons):
        self.reasons = reasons

    def find_spec(self, name, path=None, target=None):
        """Raise ImportError for a refused module or a part of one."""
        top = name.partition(".")[0]
        if top in self.reasons:
            raise ImportError(self.reasons[top], name=name)
        if any(name == package or name.startswith(package + ".") for package in _kept_out):
            raise ImportError(f"{name} stays with the grader, outside this notebook.", name=name)
        return None
