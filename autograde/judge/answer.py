"""The right answer of an exercise as source text, and its slips: wrong answers that differ from it in one place."""

import ast
import functools
import math
import textwrap

import torch

from autograde.judge.misconception import KnownMistake, misconception

# What the source of an answer may use without importing it, as after the first cell of a lesson.
NAMES = {"torch": torch, "nn": torch.nn, "F": torch.nn.functional, "math": math}


class SlipError(ValueError):
    """An edit that cannot be made in the right answer."""


def compiled(source, name, **uses):
    """Run `source`, and return what it defines under `name`.

    Args:
        source: Python source text; it may use `NAMES` and import what it needs.
        name: of the function or class.
        uses: other objects that the source may use, by name.
    """
    names = {"__name__": "__main__", **NAMES, **uses}  # where a learner's definitions are
    exec(compile(source, f"<{name}>", "exec"), names)
    return names[name]


def edited(source, edits):
    """`source` with each ``(old, new)`` of `edits` made in turn.

    Raises:
        SlipError: an old text does not occur exactly once.
    """
    for old, new in edits:
        if source.count(old) != 1:
            raise SlipError(f"{old!r} must occur in the answer exactly once; it occurs {source.count(old)} times")
        source = source.replace(old, new)
    return source


class RightAnswer:
    """The right answer of one exercise, as a learner would type it.

    Args:
        source: of one function or class, and of whatever it needs besides `NAMES`.
        uses: other objects that the source may use, by name.

    Raises:
        SlipError: the source defines no function and no class.
    """

    def __init__(self, source, **uses):
        self.source = textwrap.dedent(source).strip() + "\n"
        self.uses = uses
        self.slips = []
        defined = [
            node.name for node in ast.parse(self.source).body if isinstance(node, (ast.FunctionDef, ast.ClassDef))
        ]
        if not defined:
            raise SlipError("a right answer defines a function or a class")
        self.name = defined[-1]

    @functools.cached_property
    def right(self):
        """The function or class that the source defines."""
        return compiled(self.source, self.name, **self.uses)

    def slip(self, known, *edits, thought=None, hint=None, recognise=None, exactly=False):
        """Add a wrong answer: this one, edited.

        Args:
            known: the id of the misconception, or a shared `Misconception`.
            edits: old text, new text, and so on in pairs. Each old text occurs in the answer exactly once.
            thought: what the learner probably thought; that of a shared misconception when left out.
            hint: what to look at next; that of a shared misconception when left out.
            recognise, exactly: see `KnownMistake`.

        Returns:
            The `Slip`.

        Raises:
            SlipError: an old text does not occur exactly once, or has no new text.
            ValueError: a new misconception without a thought or a hint.
        """
        if not edits or len(edits) % 2:
            raise SlipError(f"slip {known!r}: edits come in pairs, an old text and a new one")
        pairs = list(zip(edits[::2], edits[1::2], strict=True))
        added = Slip(self, misconception(known, thought, hint), pairs, recognise, exactly)
        self.slips.append(added)
        return added

    def both(self, slip, other):
        """Add a wrong answer with two slips at once. It is told as `slip` is, the one to mend first.

        Args:
            slip: the main `Slip` of this answer.
            other: another one, whose old texts occur exactly once in what `slip` leaves.

        Raises:
            SlipError: they do not.
        """
        self.slips.append(Slip(self, slip.misconception, [*slip.edits, *other.edits], of_two=True))


class Slip(KnownMistake):
    """A right answer with some of its text replaced.

    Attributes:
        answer: the `RightAnswer`.
        edits: ``[(old, new)]``.
        text: the source of the wrong answer.
    """

    def __init__(self, answer, misconception, edits, recognise=None, exactly=False, of_two=False):
        super().__init__(misconception, recognise, exactly)
        self.of_two = of_two
        self.answer = answer
        self.edits = edits
        try:
            self.text = edited(answer.source, edits)
        except SlipError as error:
            raise SlipError(f"slip {self.id!r}: {error}") from None

    @functools.cached_property
    def wrong(self):
        return compiled(self.text, self.answer.name, **self.answer.uses)

    def source(self, subject):
        return self.text

    def planted(self, source):
        """The same edits made in another right answer; None if an old text does not occur there exactly once."""
        try:
            return edited(source, self.edits)
        except SlipError:
            return None
