"""`Check`, the base class of every check: it makes the inputs, compares the answers and reaches a verdict."""

import contextlib
import secrets
import sys
from dataclasses import dataclass
from functools import partial

import torch

from autograde.judge import describe, diagnosis, exceptions, make_verdict
from autograde.judge.compare import Fault, agree, fault_between, raised_fault
from autograde.judge.kept import is_kept
from autograde.judge.misconception import CHANGED_INPUT, Program, misconception
from autograde.judge.present import present
from autograde.judge.random_inputs import Draw, devices
from autograde.remote.ask_together import observe_each
from autograde.remote.call import call
from autograde.remote.probe import Missing, ProbeStopped, ProcessEnded, Remote
from autograde.remote.raised import raised
from autograde.remote.torch_state import known_torch_state
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


class Wrong(Exception):
    """Raised by `Check.compared`: the answer is wrong before there is anything to compare."""

    def __init__(self, problem, **details):
        super().__init__(problem)
        self.fault = Fault(problem, **details)


class Check:
    """The check of one exercise. A subclass states its attributes and overrides the hooks; `docs/checks.md` shows how.

    Attributes:
        name: the exercise's name; the learner's object has it too, unless `subject` says otherwise.
        points: the highest score.
        note: shown after a pass: what other right answers look like.
        parts: points by part; their sum is `points`. The other parts count only when the first one is right. Empty: one part.
        subject: the name of the learner's object, where several checks look at one.
        next_step: what to do next when the mistake is not a known one; empty for the general advice.
        answer: the `RightAnswer`, with the slips that are known; None where there are only programs.
    """

    name = ""
    points = 1.0
    note = ""
    parts = {}
    subject = ""
    next_step = ""
    answer = None

    def __init__(self):
        self.subject = self.subject or self.name
        self.parts = self.parts or {ANSWER: self.points}
        self._programs = []
        if sum(self.parts.values()) != self.points:
            raise ValueError(f"the parts of {self.name} have {sum(self.parts.values()):g} points, not {self.points:g}")
        if self.answer and self.answer.name != self.subject:
            raise ValueError(f"the answer of {self.name} defines {self.answer.name}, not {self.subject}")

    # The hooks of a subclass ------------------------------------------------------------------------------------------

    def cases(self, draw):
        """The questions, as a list of `Case`; sizes and tensors come from `draw`, a `Draw`."""
        raise NotImplementedError

    def right(self, **args):
        """The right answer to a case's args, tensors in float64: plain data or a tuple. `answer` gives it, if not this."""
        return self.answer.right(*args.values())

    def compared(self, value, case):
        """What to compare in place of `value`, for exercises with several right answers; plain data.

        Raises:
            Wrong: the answer is wrong, whatever the expected one is.
        """
        return value

    def observe(self, target, case):
        """Ask the learner's code one case; returns the probe's plain data, a dict."""
        return call(target, args=list(case.args.values()), device=case.device)

    def fault(self, case, observation):
        """What is wrong with one observation, as a `Fault`; None when it is right."""
        if fault := self.failed_call(observation):
            return fault
        try:
            value = self.compared(observation["value"], case)
        except Wrong as wrong:
            return wrong.fault
        dtype = next((v.dtype for v in case.args.values() if isinstance(v, torch.Tensor)), None)
        expected = self.expected(case)
        kinds = {"type_name": observation["type"], "entries": observation.get("entries", ())}
        if fault := fault_between(value, expected=expected, **kinds, dtype=dtype, device=case.device):
            return fault
        if observation["changed"]:
            name = list(case.args)[observation["changed"][0]]
            return Fault(
                f"The result is right, but the call changed its input {name} in place.",
                hint=f"Look for what writes into {name} (+=, *=, a name ending in _) and make a new tensor instead.",
                misconception=CHANGED_INPUT,
            )
        return None

    def same(self, case, a, b):
        """Whether two observations of one case agree. The diagnosis compares known wrong answers with it."""
        if "value" not in a or "value" not in b:
            return "raised" in a and "raised" in b and _same_error(a["raised"], b["raised"])
        try:
            values = self.compared(a["value"], case), self.compared(b["value"], case)
        except Wrong:
            values = a["value"], b["value"]
        return agree(*values, device=case.device)

    def called(self, case):
        """The call of `case` as a learner would write it, and below it each argument in words."""
        label = f"  # {case.label}" if case.label else ""
        arguments = [f"  {name} = {describe.kind(value)}" for name, value in case.args.items()]
        return "\n".join([f"{self.subject}({', '.join(case.args)}){label}", *arguments])

    def unfinished(self, observation):
        """Whether an observation is that of an untouched stub."""
        return exceptions.is_untouched(observation.get("raised"))

    def make_cases(self, draw, remote=False):
        """The cases for `draw`, once more on every other device this machine has when the code runs here.

        If the first case has no tensor, there is nothing to move to another device.
        """
        cases = self.cases(draw)
        tensors = any(isinstance(value, torch.Tensor) for value in cases[0].args.values())
        elsewhere = devices()[1:] if tensors and not remote else []
        return cases + [Case(cases[0].args, f"on {device}", cases[0].part, device) for device in elsewhere]

    # What is known to be wrong ----------------------------------------------------------------------------------------

    def misconception(self, known, *, thought=None, hint=None, recognise=None, exactly=False):
        """Register the decorated function or class as a wrong answer: a program that no slip gives.

        Args:
            known: the id of the misconception, or a shared `Misconception`.
            thought, hint: see `Misconception`.
            recognise, exactly: see `KnownMistake`.
        """

        def register(wrong):
            self._programs.append(Program(misconception(known, thought, hint), wrong, recognise, exactly))
            return wrong

        return register

    @property
    def misconceptions(self):
        """Every `KnownMistake` of this exercise: the slips of its answer, and the programs."""
        return [*(self.answer.slips if self.answer else ()), *self._programs]

    def prepare(self):
        """The known wrong answers, compiled: a diagnosis that needs them later finds them ready."""
        return [mistake.wrong for mistake in self.misconceptions]

    def so_far(self, cases, faults):
        """In words, how many cases are wrong; `faults` has a `Fault` or None for each case."""
        wrong = sum(fault is not None for fault in faults)
        return f"wrong in {wrong} of {len(cases)} cases"

    def cause_in_all(self, cases, observations):
        """The `Misconception` that all observations together show, where no single one does; None where they show none."""
        return None

    def keeps(self, cases, observations, failed):
        """Whether all observations together show that something is kept from one call to the next; `failed` are the positions
        of the wrong ones.
        """
        return is_kept(cases, list(map(self.returned, observations)), failed)

    def returned(self, observation):
        """The plain data that a call returned; None where it returned none."""
        return observation.get("value")

    def left_out(self, observation):
        """Which part of a right answer was not checked, and why; empty if all was. Shown after a pass."""
        return ""

    # Judging ----------------------------------------------------------------------------------------------------------

    def failed_call(self, observation):
        """The `Fault` of a call that returned no value (not callable, or an exception); None if it returned one."""
        if "not_callable" in observation:
            kind = describe.clean(observation["not_callable"], 80)
            hint = f"Hand over the function itself, without calling it: check.{self.name}({self.subject})"
            return Fault(f"{self.subject} is not a function but {kind}.", hint=hint)
        if "raised" in observation:
            return raised_fault("The call", observation["raised"])
        return None

    def expected(self, case):
        """What is right for `case`, computed here in float64."""
        return self.right(**exact(case.args))

    def judge(self, target, seed=None):
        """Judge the learner's object, or a `Remote` handle for it.

        Args:
            target: the object itself or a `Remote`.
            seed: of the inputs; a fresh one when left out.

        Returns:
            A `Verdict`. Nothing that the learner's code does makes this raise an exception.
        """
        seed = secrets.randbelow(2**31) if seed is None else seed
        with known_torch_state():
            return self._judged(target, seed)

    def _judged(self, target, seed):
        remote = isinstance(target, Remote)
        try:
            cases = self.make_cases(Draw(seed), remote)
            # Any line on stderr in a check's cell fails it for nbgrader's Validate: a library's warning must not.
            with contextlib.redirect_stderr(sys.stdout):
                observations = observe_each(target, [partial(self.observe, case=case) for case in cases])
            if not all(isinstance(observation, dict) for observation in observations):
                raise WireError("it is not of the form that this check asks for")
            if any(self.unfinished(observation) for observation in observations):
                return make_verdict.not_started(self)
            faults = [self.fault(case, seen) for case, seen in zip(cases, observations, strict=True)]
            if not any(faults):
                return make_verdict.passed(self, cases, seed, {self.left_out(seen): None for seen in observations})
            with contextlib.redirect_stderr(sys.stdout):
                diagnosed = diagnosis.diagnose(self, cases, observations, faults)
            return make_verdict.failed(self, cases, faults, diagnosed, seed)
        except Missing:
            return make_verdict.missing(self)
        except ProbeStopped as error:
            return make_verdict.stopped(self, str(error))
        except WireError as error:
            return make_verdict.unreadable(self, str(error))
        except ProcessEnded:
            raise  # there is nobody left to ask, for any other check either
        except Exception as error:
            if not remote:
                raise
            # Our probes always answer in the expected form, so code in the notebook has replaced the answer.
            return make_verdict.unreadable(self, type(error).__name__)

    def inputs(self, seed):
        """The inputs of the cases that a check with this seed asks about: ``[{name: value}]``, in their order."""
        with known_torch_state():
            return [dict(case.args) for case in self.make_cases(Draw(seed))]

    def __call__(self, target, seed=None):
        """Check an answer in a notebook or a script: show the verdict, and stop the notebook unless it is a pass.

        Args:
            target: your function or class, under the exercise's name.
            seed: the seed of an earlier report, to see the same inputs again.
        """
        try:
            verdict = self.judge(target, seed)
        except KeyboardInterrupt as stop:  # a traceback would show the check's own code, and the learner's far below it
            verdict = make_verdict.interrupted(self, raised(stop)["where"])
        present(verdict)


def exact(args):
    """A case's args, tensors of floats in float64."""
    return {
        name: value.double() if isinstance(value, torch.Tensor) and value.is_floating_point() else value
        for name, value in args.items()
    }


def _same_error(a, b):
    # torch's messages name the sizes that did not fit, so on the same inputs they distinguish mistakes.
    return a["type"] == b["type"] and a["message"] == b["message"]
