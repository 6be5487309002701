"""A check: the inputs of one exercise, what is right for them, and the known ways to be wrong."""

import contextlib
import inspect
import re
import secrets
import sys
import textwrap
from dataclasses import dataclass, field

import torch

from autograde.judge import describe, diagnosis, report
from autograde.judge.compare import Fault, agree, fault_between
from autograde.judge.draw import Draw, devices
from autograde.remote.call import call
from autograde.remote.probe import Missing, Remote
from autograde.remote.wire import WireError

ANSWER = "answer"


@dataclass(frozen=True)
class Case:
    """One question put to the learner's code.

    Attributes:
        args: the inputs by name, in the order in which the function takes them; plain data.
        label: what is special about this case, for the report; may be empty.
        part: which part of the points this case belongs to.
        device: where the tensors live.
    """

    args: dict
    label: str = ""
    part: str = ANSWER
    device: str = "cpu"


@dataclass(frozen=True)
class Misconception:
    """A known wrong way.

    Attributes:
        id: its name in reports and in JSON.
        thought: one line that says what the learner probably thought.
        hint: what to look at next; never the answer.
        wrong: the wrong answer itself, complete enough to be planted in a notebook.
        recognise: ``recognise(case, observation) -> bool``, for exercises with more than one right answer, where a
            wrong one cannot be known by comparing.
        exactly: whether only an answer that agrees in every case is this mistake, where agreeing in the failed ones
            would say too little.
    """

    id: str
    thought: str
    hint: str
    wrong: object
    recognise: object = None
    exactly: bool = False

    def source(self, exercise):
        """The wrong answer as a learner would have typed it: its source, renamed to `exercise`."""
        lines = textwrap.dedent(inspect.getsource(self.wrong)).splitlines(keepends=True)
        start = next(i for i, line in enumerate(lines) if line.startswith(("def ", "class ")))
        return re.sub(rf"\b{self.wrong.__name__}\b", exercise, "".join(lines[start:]))


@dataclass
class Check:
    """The check of one exercise. A lesson's module makes one and hangs its cases and misconceptions on it.

    Attributes:
        name: the exercise's name; the learner's object has it too, unless `subject` says otherwise.
        points: the most it gives.
        note: shown after a pass: what other right answers look like.
        parts: points by part, the first of them decisive: the others count only when it is right. Empty: one part.
        subject: the name of the learner's object, where several checks look at one.
        next_step: what to do next when the mistake is not a known one; empty for the general advice.
    """

    name: str
    points: float
    note: str = ""
    parts: dict = field(default_factory=dict)
    subject: str = ""
    next_step: str = ""
    misconceptions: list = field(default_factory=list)

    def __post_init__(self):
        self.subject = self.subject or self.name
        self.parts = self.parts or {ANSWER: self.points}
        self._compared = lambda value, case: value

    # What a lesson's module hangs on the check, as decorators -----------------------------------------------------

    def cases(self, function):
        """``function(draw) -> [Case]``: the questions."""
        self._cases = function
        return function

    def right(self, function):
        """The right answer: takes a case's args by name, tensors in float64; returns plain data or a tuple."""
        self._right = function
        return function

    def compared(self, function):
        """``function(value, case) -> plain data`` to compare in place of the answer, where many answers are right.

        It may raise `Wrong` for what is wrong by itself.
        """
        self._compared = function
        return function

    def misconception(self, id, *, thought, hint, recognise=None, exactly=False):
        """Register the decorated function or class as a known wrong answer."""

        def register(wrong):
            self.misconceptions.append(Misconception(id, thought, hint, wrong, recognise, exactly))
            return wrong

        return register

    # Observing and judging -----------------------------------------------------------------------------------------

    def observe(self, target, case):
        """Ask the learner's code one case; returns the probe's plain data."""
        return call(target, args=list(case.args.values()), device=case.device)

    def fault(self, case, observation):
        """What is wrong with one observation, as a `Fault`; None when it is right."""
        if fault := self.failed_call(observation):
            return fault
        try:
            value = self._compared(observation["value"], case)
        except Wrong as wrong:
            return wrong.fault
        dtype = next((v.dtype for v in case.args.values() if isinstance(v, torch.Tensor)), None)
        expected = self.expected(case)
        if fault := fault_between(value, observation["type"], expected, dtype=dtype, device=case.device):
            return fault
        if observation["changed"]:
            name = list(case.args)[observation["changed"][0]]
            return Fault(
                f"The result is right, but the call changed its input {name} in place.",
                hint=f"Look for what writes into {name} (+=, *=, a name ending in _) and make a new tensor instead.",
                misconception="changed_input",
            )
        return None

    def failed_call(self, observation):
        """The fault of a call that came to nothing; None when something came back."""
        if "not_callable" in observation:
            kind = describe.clean(observation["not_callable"], 80)
            hint = f"Hand over the function itself, without calling it: check.{self.name}({self.subject})"
            return Fault(f"{self.subject} is not a function but {kind}.", hint=hint)
        if "raised" in observation:
            error = observation["raised"]
            said = describe.clean(f"{error['type']}: {error['message']}".rstrip(": "))
            return Fault(f"The call raised {said}", where=error["where"])
        return None

    def expected(self, case):
        """What is right for `case`, computed here in float64."""
        exact = {
            name: value.double() if isinstance(value, torch.Tensor) and value.is_floating_point() else value
            for name, value in case.args.items()
        }
        return self._right(**exact)

    def same(self, case, a, b):
        """Whether two observations of one case say the same: the ground of every diagnosis."""
        if "value" not in a or "value" not in b:
            return "raised" in a and "raised" in b and _same_error(a["raised"], b["raised"])
        try:
            values = self._compared(a["value"], case), self._compared(b["value"], case)
        except Wrong:
            values = a["value"], b["value"]
        return agree(*values, device=case.device)

    def called(self, case):
        """The call of `case` as a learner would write it, and below it each argument in words."""
        label = f"  # {case.label}" if case.label else ""
        arguments = [f"  {name} = {describe.kind(value)}" for name, value in case.args.items()]
        return "\n".join([f"{self.subject}({', '.join(case.args)}){label}", *arguments])

    def make_cases(self, draw, remote=False):
        """The cases for `draw`, once more on every other device this machine has when the code runs here.

        Where the first case asks about no tensor, there is nothing to be moved to another device.
        """
        cases = self._cases(draw)
        tensors = any(isinstance(value, torch.Tensor) for value in cases[0].args.values())
        elsewhere = devices()[1:] if tensors and not remote else []
        return cases + [Case(cases[0].args, f"on {device}", cases[0].part, device) for device in elsewhere]

    def judge(self, target, seed=None):
        """Judge the learner's object, or a `Remote` handle for it.

        Args:
            target: the object itself or a `Remote`.
            seed: of the inputs; a fresh one when left out.

        Returns:
            A `Verdict`; whatever the learner's code does, nothing is raised for it.
        """
        seed = secrets.randbelow(2**31) if seed is None else seed
        remote = isinstance(target, Remote)
        try:
            cases = self.make_cases(Draw(seed), remote)
            # Any line on stderr in a check's cell fails it for nbgrader's Validate: a library's warning must not.
            with contextlib.redirect_stderr(sys.stdout):
                observations = [self.observe(target, case) for case in cases]
            if not all(isinstance(observation, dict) for observation in observations):
                raise WireError("it is not of the form that this check asks for")
            if any(self.unfinished(observation) for observation in observations):
                return report.not_started(self)
            pairs = list(zip(cases, observations, strict=True))
            faults = [(case, fault) for case, seen in pairs if (fault := self.fault(case, seen))]
            if not faults:
                return report.passed(self, cases, seed)
            known = diagnosis.diagnose(self, pairs, {id(case) for case, _ in faults})
            return report.failed(self, faults, known, seed)
        except Missing:
            return report.missing(self)
        except WireError as error:
            sentence = getattr(error, "sentence", None)  # the session's own words, when it was the session that gave up
            return report.stopped(self, sentence) if sentence else report.unreadable(self, str(error))
        except (TypeError, KeyError, ValueError, AttributeError, IndexError, RuntimeError, OverflowError) as error:
            if not remote:
                raise
            # A probe of ours never answers out of form: the notebook's code has answered in its place.
            return report.unreadable(self, type(error).__name__)

    def unfinished(self, observation):
        """Whether an observation is that of an untouched stub."""
        raised = observation.get("raised")
        return bool(raised) and "NotImplementedError" in raised["bases"]

    def __call__(self, target, seed=None):
        """Check an answer in a notebook or a script: show the verdict, and stop the notebook unless it is a pass.

        Args:
            target: your function or class, under the exercise's name.
            seed: the seed of an earlier report, to see the same inputs again.
        """
        report.present(self.judge(target, seed))


def _same_error(a, b):
    # torch's messages name the sizes that did not fit, so on the same inputs they tell one mistake from another.
    return a["type"] == b["type"] and a["message"] == b["message"]


class Wrong(Exception):
    """Raised by a `compared` function: the answer is wrong before there is anything to compare."""

    def __init__(self, problem, **details):
        super().__init__(problem)
        self.fault = Fault(problem, **details)
