"""Modules that handed-in code may not import, and the sentence that says so.

The files are kept out of reach by the box. This only explains, and stands alone where there is no box.
"""

import importlib.abc
import sys

REFUSALS = {
    "lora_ref": "lora_ref is the reference that this course arrives at, so grading refuses it: an exercise is graded "
    "on your own code. Remove the import and use what you wrote.",
}
ELSEWHERE = (
    "autograde.checks",
    "autograde.authoring",
    "autograde.batch",
    "autograde.submission",
    "autograde.nbgrader_plugin",
    "autograde.cli",
)


def refuse(names):
    """Have imports of the modules `names`, and of what belongs to the grader, refused with a sentence."""
    sys.meta_path.insert(0, Refuse(names))


class Refuse(importlib.abc.MetaPathFinder):
    """Says in words that a module is refused."""

    def __init__(self, names):
        self.sentences = {name: REFUSALS.get(name, f"grading refuses {name}: use your own code.") for name in names}

    def find_spec(self, name, path=None, target=None):
        """Raise ImportError for a refused module or a part of one."""
        top = name.partition(".")[0]
        if top in self.sentences:
            raise ImportError(self.sentences[top], name=name)
        if name.startswith(ELSEWHERE):
            raise ImportError(f"{name} stays with the grader, outside this notebook.", name=name)
        return None
