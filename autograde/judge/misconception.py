"""A misconception of learners, and the wrong answers by which it is recognised."""

import inspect
import re
import textwrap
from dataclasses import dataclass, replace


@dataclass(frozen=True)
class Misconception:
    """One way to misunderstand an exercise. Exercises that share one can share the object.

    Attributes:
        id: its name in reports and in JSON.
        thought: one line that says what the learner probably thought.
        hint: what to look at next; never the answer.
    """

    id: str
    thought: str
    hint: str

    def reworded(self, thought=None, hint=None):
        """The same misconception with the thought and the hint of one exercise, where they are given."""
        return replace(self, thought=thought or self.thought, hint=hint or self.hint)


def misconception(known, thought=None, hint=None):
    """A `Misconception`: a new one from its id, or a shared one with another thought or hint.

    Raises:
        ValueError: a new id without a thought or a hint.
    """
    if isinstance(known, Misconception):
        return known.reworded(thought, hint)
    if not (thought and hint):
        raise ValueError(f"misconception {known!r} needs a thought and a hint")
    return Misconception(known, thought, hint)


class KnownMistake:
    """A wrong answer whose misconception is known.

    Attributes:
        misconception: the `Misconception`.
        recognise: ``recognise(case, observation) -> bool``, or None. If given, it decides which answers make this
            mistake, and the wrong answer is only an example.
        exactly: whether an answer must agree in every case to be given this misconception.
        of_two: whether the wrong answer makes a second mistake too, so that a single one that fits as well is likelier.
    """

    of_two = False

    def __init__(self, misconception, recognise=None, exactly=False):
        self.misconception = misconception
        self.recognise = recognise
        self.exactly = exactly

    id = property(lambda self: self.misconception.id)
    thought = property(lambda self: self.misconception.thought)
    hint = property(lambda self: self.misconception.hint)

    @property
    def wrong(self):
        """The wrong answer: a function or a class."""
        raise NotImplementedError

    def source(self, subject):
        """The wrong answer as a learner would have typed it, under the name `subject`."""
        raise NotImplementedError

    def __repr__(self):
        return f"<{type(self).__name__} {self.id}>"


class Program(KnownMistake):
    """A wrong answer that is a program of its own: a function or a class in the check's module."""

    def __init__(self, misconception, wrong, recognise=None, exactly=False):
        super().__init__(misconception, recognise, exactly)
        self._wrong = wrong

    @property
    def wrong(self):
        return self._wrong

    def source(self, subject):
        lines = textwrap.dedent(inspect.getsource(self._wrong)).splitlines(keepends=True)
        start = next(i for i, line in enumerate(lines) if line.startswith(("def ", "class ")))
        return re.sub(rf"\b{self._wrong.__name__}\b", subject, "".join(lines[start:]))


RETURNED_NONE = Misconception(
    "returned_none",
    thought="A function returns what its last line computes or prints.",
    hint="The function returns None. End it with a return statement, and make sure that every path through it "
    "reaches one.",
)
ARGUMENTS_REORDERED = Misconception(
    "arguments_reordered",
    thought="Each argument has a name, so their order is free.",
    hint="A call passes them by position. Compare the order in your def line with the original one.",
)
CHANGED_INPUT = Misconception(
    "changed_input",
    thought="Working in place only saves memory, and no other code uses the input.",
    hint="Look for what writes into an input (+=, *=, a name ending in _), and make a new tensor instead.",
)
SAME_EVERY_CALL = Misconception(
    "same_every_call",
    thought="A name outside the function has the value that this call needs.",
    hint="Your function returns the same numbers for every input. Which names in its body are not among its "
    "arguments, and which call or cell has set them?",
)
KEPT_BETWEEN_CALLS = Misconception(
    "kept_between_calls",
    thought="Each call starts with everything empty, also default values and names outside the function.",
    hint="Call your function twice with different inputs and compare. A default value such as [] or set() is made "
    "once, at the def line, and a name outside keeps its contents. What should each call create for itself?",
)
