"""Modules that handed-in code may not import, and what it is told when it tries.

The files are kept out of reach by the other walls. This only explains, and stands alone where there are none.
"""

import importlib.abc
import importlib.machinery
import importlib.util
import sys

GRADER = tuple(
    f"autograde.{room}"
    for room in ("authoring", "batch", "cli", "export", "judge", "nbgrader_plugin", "registry", "report", "submission")
)
_kept_out = list(GRADER)
_checks = []  # the packages of the course's checks, in whose place a module stands that holds `check`


def keep_out(package):
    """Count the package of a course's checks among what stays with the grader. `check` can be imported from it."""
    _kept_out.append(package)
    _checks.append(package)


def forget_grader():
    """In a fork of the grading process: have what belongs to the grader imported no more, also where it was loaded."""
    forget(*_kept_out)


def forget(*packages):
    """Take the modules of `packages` out of those that are loaded: an import finds others, or none."""
    for name in [name for name in sys.modules if _is_of(packages, name)]:
        package, _, own = name.rpartition(".")
        del sys.modules[name]
        if package in sys.modules:
            vars(sys.modules[package]).pop(own, None)


def _is_of(packages, name):
    return any(name == package or name.startswith(package + ".") for package in packages)


def refuse(reasons, given):
    """Have imports of some modules, and of what belongs to the grader, refused.

    Args:
        reasons: ``{module: what the learner is told}``.
        given: ``{part of such a module: its file}``, which can be imported; the packages around it then hold nothing else.
    """
    sys.meta_path.insert(0, Refuse(reasons, given))


class Refuse(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Says in words that a module is refused."""

    def __init__(self, reasons, given):
        self.reasons = reasons
        self.given = given

    def find_spec(self, name, path=None, target=None):
        """Raise ImportError for a refused module or a part of one, unless it is given."""
        top = name.partition(".")[0]
        if name in self.given:
            return importlib.util.spec_from_file_location(name, self.given[name])
        if any(part.startswith(name + ".") for part in self.given):
            return importlib.machinery.ModuleSpec(name, self, is_package=True)
        if top in self.reasons:
            raise ImportError(self.reasons[top], name=name)
        if name in _checks:
            return importlib.machinery.ModuleSpec(name, self, is_package=True)
        if _is_of(_kept_out, name):
            raise ImportError(f"{name} stays with the grader, outside this notebook.", name=name)
        return None

    def exec_module(self, module):
        """Make a package that is there for the sake of its given parts: what else it is asked for is refused."""
        package = module.__name__
        if package in _checks:
            from autograde.remote.learner_process import CheckPlaceholders

            module.check = CheckPlaceholders()
            return

        def missing(name):
            if name.startswith("__") or f"{package}.{name}" in self.given:  # a part: it is imported next
                raise AttributeError(name)
            raise ImportError(self.reasons[package.partition(".")[0]], name=package)

        module.__getattr__ = missing
