"""The process that runs handed-in code: its mark, and its placeholder of `check`. Another process judges."""

import copy
from types import SimpleNamespace

_marked = False
_facts = {}


def mark():
    """Mark this process as one that runs handed-in code. From now on it must load no module that holds a right answer."""
    global _marked
    _marked = True


def is_marked():
    """Whether this process runs handed-in code."""
    return _marked


def note_facts(facts):
    """Give the placeholders what they may answer without a right answer: ``{exercise: {"points", "parts", "subject",
    "inputs"}}``, where "inputs" is ``[[seed, cases]]``; ``{name: {"unknown": message}}`` for a name that is no exercise's.
    """
    _facts.update(facts)


class CheckPlaceholders:
    """Stands in for `check`: each ``check.<exercise>(...)`` prints a note, so that such calls stop no cell."""

    def __getattr__(self, exercise):
        if exercise.startswith("_"):
            raise AttributeError(exercise)
        if unknown := _facts.get(exercise, {}).get("unknown"):
            raise AttributeError(unknown)
        return CheckPlaceholder(exercise)


class CheckPlaceholder:
    """Stands in for one check, with the attributes and methods that a notebook may use."""

    answer = None

    def __init__(self, name):
        facts = _facts.get(name, {})
        self.name = name
        self.subject = facts.get("subject", name)
        self.points = facts.get("points", 0.0)  # a number, as in a check
        self.parts = dict(facts.get("parts", {}))
        self._inputs = dict(facts.get("inputs", ()))

    def __call__(self, *_args, **_kwargs):
        print(f"check.{self.name}: judged by the grader, outside this notebook.")

    def judge(self, *_args, **_kwargs):
        """Print the note; returns an object with a verdict's attributes that never passes, since the grader judges."""
        self()
        message = f"check.{self.name}: judged by the grader"
        return SimpleNamespace(passed=False, score=0.0, points=self.points, misconception=None, message=message)

    def inputs(self, seed):
        """The inputs of a check with this seed, if the notebook says which number that is; otherwise prints a note and
        returns none.
        """
        if seed not in self._inputs:
            print(
                f"check.{self.name}.inputs(seed={seed}): no inputs. In grading they are made only for a seed that the "
                f"notebook writes as a number, as in check.{self.name}.inputs(seed=7)."
            )
        return copy.deepcopy(self._inputs.get(seed, []))

    def __repr__(self):
        return f"<check.{self.name}, judged by the grader>"
