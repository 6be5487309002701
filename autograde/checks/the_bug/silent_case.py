"""silent_case: sizes at which Attempt #1 runs, has the right shape, and is wrong."""

import math

import numpy as np
import torch
from torch import nn

from autograde.checks.the_bug.layers import Elementwise, Plain
from autograde.judge import describe, tolerance
from autograde.judge.check import Case, Check
from autograde.judge.compare import Fault

MAX_RUN_VALUES = 2**18  # values of one tensor up to which Attempt #1 is really run


MAX_VALUES = 2**40  # values of one tensor beyond which a case is no case


MAX_DIMENSIONS = 16


class BadCase(Exception):
    """An answer that is not ``(d, k, x_shape)``; says what is wrong with it."""


def read_case(value):
    """``(d, k, x_shape)`` from what `silent_case` returned.

    Raises:
        BadCase: it is something else, or sizes that no layer has.
    """
    if not isinstance(value, list) or len(value) != 3:
        raise BadCase("The answer is not three things: d, k and x_shape.")
    d, k, x_shape = value
    if isinstance(x_shape, torch.Tensor) and x_shape.ndim == 1:
        x_shape = x_shape.tolist()
    if not isinstance(x_shape, list):
        raise BadCase("x_shape is not a tuple of sizes.")
    if not 1 <= len(x_shape) <= MAX_DIMENSIONS:
        raise BadCase(f"x_shape has {len(x_shape)} sizes; take 1 to {MAX_DIMENSIONS}.")
    d, k, *x_shape = (_size(size) for size in (d, k, *x_shape))
    if max(d * k, math.prod(x_shape) * max(k, 1)) > MAX_VALUES:
        raise BadCase("No computer has the memory for tensors of these sizes. Take smaller ones.")
    return d, k, tuple(x_shape)


def _size(value):
    if isinstance(value, torch.Tensor) and value.numel() == 1:
        value = value.item()
    if type(value) is not int:
        shown = repr(value) if isinstance(value, float) else describe.contents(value)
        raise BadCase(f"A size is an int, and {shown} is not one.")
    if not 0 <= value <= MAX_VALUES:
        raise BadCase(f"{'A size is never negative' if value < 0 else 'One of the sizes is too large'}.")
    return value


def attempt_one(d, k, x_shape):
    """Run Attempt #1 with B not zero, or derive its outcome from the sizes where running it would take too long.

    Returns:
        ``(outcome, detail)``: "x does not fit", "raises" with torch's message, "other shape" with the shape, "no
        values", "right", or "silent", which is what `silent_case` asks for.
    """
    if x_shape[-1] != d:
        return "x does not fit", ""
    if 0 in (d, k):
        return "no values", ""
    due = (*x_shape[:-1], k)
    try:
        shape = np.broadcast_shapes((d, k), x_shape, due)
    except ValueError:
        shape = None
    if max(d * k, *(math.prod(sizes) for sizes in (x_shape, due, shape or ()))) > MAX_RUN_VALUES:
        return _outcome_from_sizes(d, shape, due)
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        layer = Elementwise(nn.Linear(d, k, dtype=torch.float64), rank=2, alpha=3)
        layer.lora_B.normal_()
        x = torch.randn(x_shape, dtype=torch.float64)
        try:
            out = layer(x)
        except RuntimeError as error:
            return "raises", str(error)
        if out.shape != due:
            return "other shape", describe.shape(out.shape)
        if not out.numel():
            return "no values", ""
        return ("right" if tolerance.close(out, Plain.forward(layer, x)) else "silent"), ""


def _outcome_from_sizes(d, shape, due):
    if shape is None:
        return "raises", "the sizes do not fit"
    if shape != due:
        return "other shape", describe.shape(shape)
    if 0 in due:
        return "no values", ""
    return ("silent" if d > 1 else "right"), ""  # one entry of x cannot stand for a sum over several


class SilentCase(Check):
    """Judges sizes by running Attempt #1 with them."""

    name = "silent_case"
    points = 2
    note = (
        "what all such cases share: the layer is square, and the last two sizes of x are both d. At d = 1 the sum "
        "over the inputs has a single term, so entry by entry is the matrix product."
    )
    next_step = "Call silent_case() in a cell of your own, without an argument, and look at what comes back."

    def cases(self, draw):
        return [Case({})]

    def fault(self, case, observation):
        """What is wrong with the returned case."""
        if fault := self.failed_call(observation):
            return fault
        returned = describe.contents(observation["value"])
        expected = "(d, k, x_shape) at which Attempt #1 runs, returns the shape of base(x), and is wrong"
        try:
            d, k, x_shape = read_case(observation["value"])
        except BadCase as bad:
            return Fault(
                str(bad), returned, expected, hint="The last line: return d, k, x_shape. Two ints, and a tuple of ints."
            )
        outcome, detail = attempt_one(d, k, x_shape)
        due = describe.shape((*x_shape[:-1], k))
        problem = {
            "x does not fit": f"x ends in {x_shape[-1]}, and this layer takes {d} inputs: base(x) itself raises.",
            "raises": f"With this case Attempt #1 is not silent, it raises: {describe.clean(detail, 160)}",
            "other shape": f"Attempt #1 runs, but returns the shape {detail}, not {due}.",
            "no values": "Attempt #1 runs and returns the right shape, but it contains no value that could be wrong.",
            "right": "Attempt #1 runs, returns the right shape, and its values are right.",
        }
        if outcome == "silent":
            return None
        hint = "base gets the same x. What must its last size be for that?" if outcome == "x does not fit" else ""
        return Fault(problem[outcome], returned, expected, hint=hint)


silent_case = SilentCase()


def _comes_to(outcome, where=lambda d, k, x_shape: True):
    def recognise(case, observation):
        try:
            sizes = read_case(observation.get("value"))
        except BadCase:
            return False
        return attempt_one(*sizes)[0] == outcome and where(*sizes)

    return recognise


@silent_case.misconception(
    "square_is_enough",
    thought="A square layer is all that Attempt #1 needs in order to run.",
    hint="Ask your product_shape. The last sizes of A @ B and x fit here; which pair does not?",
    recognise=_comes_to("raises", lambda d, k, x_shape: d == k),
)
def square_is_enough():
    return 4, 4, (3, 4)


@silent_case.misconception(
    "any_layer_runs",
    thought="A matrix of (d, k) can be multiplied with an x of d features, whatever the sizes.",
    hint="`*` pairs the last size of A @ B with the last size of x. What are the two here?",
    recognise=_comes_to("raises", lambda d, k, x_shape: d != k),
)
def any_layer_runs():
    return 6, 4, (3, 6)


@silent_case.misconception(
    "running_is_enough",
    thought="It runs, so it is a silent case.",
    hint="Compare the shape of the result with that of base(x). A check of shapes would still catch this one.",
    recognise=_comes_to("other shape"),
)
def running_is_enough():
    return 4, 4, (4,)


@silent_case.misconception(
    "one_input",
    thought="It runs and has the right shape, so it must be wrong.",
    hint="Write out one entry of x @ (A @ B): how many terms does its sum have for your d?",
    recognise=_comes_to("right"),
)
def one_input():
    return 1, 5, (3, 1)


@silent_case.misconception(
    "x_like_the_weight",
    thought="x needs the shape of A @ B for the two to be multiplied entry by entry.",
    hint="base gets the same x. What must its last size be for that?",
    recognise=_comes_to("x does not fit", lambda d, k, x_shape: x_shape[-2:] == (d, k)),
)
def x_like_the_weight():
    return 3, 5, (3, 5)


@silent_case.misconception(
    "nothing_inside",
    thought="An empty batch has the right shape too.",
    hint="With a size of 0 there is no number that could be wrong. Take larger sizes.",
    recognise=_comes_to("no values"),
)
def nothing_inside():
    return 3, 3, (0, 3, 3)
