"""Lesson 02: what `(A @ B) * x` does, where it does it in silence, and a test that finds it out."""

import copy
import math
import secrets
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from autograde.checks.shared.assigned import Check
from autograde.checks.the_bug import layers
from autograde.checks.the_bug.layers import LAYERS, Elementwise, Layer, Plain
from autograde.judge import describe, tolerance
from autograde.judge.check import Case
from autograde.judge.compare import Fault
from autograde.probes.the_bug import call_with_shape, try_on
from autograde.remote.wire import Opaque

# product_shape -------------------------------------------------------------------------------------------------------


class ShapeCheck(Check):
    """A check of a function that takes a shape first, and answers with a shape or with None."""

    def observe(self, target, case):
        """Ask one case, the shape given as a tuple."""
        shape, *sizes = case.args.values()
        return call_with_shape(target, shape=list(shape), sizes=sizes)

    def same(self, case, a, b):
        """See `Check.same`. None and an error that says that sizes do not fit are two ways to refuse them."""
        return all(_refuses(seen) for seen in (a, b)) or super().same(case, a, b)

    def fault(self, case, observation):
        """What is wrong with one observation."""
        fault = super().fault(case, observation)
        if not fault or "value" not in observation:
            return fault
        value, expected = observation["value"], self.expected(case)
        said = describe.contents(value), describe.contents(expected)
        if expected is None:
            return Fault("A shape came back for sizes at which torch raises.", *said)
        if value is None:
            return Fault("None came back for sizes at which torch does not raise.", *said)
        return Fault(fault.problem.replace("The result", "The shape"), *said)


def _refuses(seen):
    if "raised" in seen:
        return seen["raised"]["type"] in ("RuntimeError", "ValueError", "IndexError")
    return seen.get("value", seen) is None


product_shape = ShapeCheck(
    "product_shape",
    points=2,
    note="torch.broadcast_shapes, the product of two empty tensors, a loop over the sizes from the right: one rule.",
    next_step="Write (d, k) and x_shape under one another, last sizes aligned, and go through the pairs from there.",
)


@product_shape.cases
def _(draw):
    d, k, n, s = draw.sizes(4)

    def case(x_shape, d, k, label):
        return Case({"x_shape": x_shape, "d": d, "k": k}, label)

    return [
        case((n, d), d, k, "a batch of rows"),
        case((n, d), d, d, "a square layer"),
        case((d, d), d, d, "a square layer, as many rows as features"),
        case((d,), d, d, "a square layer, a single row without a batch"),
        case((1, d), d, d, "a square layer, a batch of one row"),
        case((d,), d, k, "a single row without a batch"),
        case((1, d), d, k, "a batch of one row"),
        case((d, d), d, k, "as many rows as features"),
        case((k, d), d, k, "as many rows as outputs"),
        case((n, s, d), d, k, "a batch of sequences"),
        case((n, s, d), d, d, "a square layer, a batch of sequences"),
        case((n, d, d), d, d, "a square layer, sequences as long as there are features"),
        case((n, 1, d), d, d, "a square layer, sequences of one step"),
        case((d, k, d), d, k, "a batch of d sequences of k steps"),
        case((n, s, 1, d), d, d, "a square layer, four dimensions"),
        case((n, 1), 1, k, "a single input feature"),
        case((1,), 1, k, "a single input feature, no batch"),
        case((n, s, 1), 1, k, "a single input feature, a batch of sequences"),
        case((d,), d, 1, "a single output, no batch"),
        case((1, d), d, 1, "a single output, a batch of one row"),
        case((n, d), d, 1, "a single output, a batch of rows"),
        case((n, d, d), d, 1, "a single output, sequences as long as there are features"),
        case((0, d), d, d, "a square layer, an empty batch"),
        case((0, d, d), d, d, "a square layer, an empty batch of sequences"),
        case((0, 1), 1, k, "a single input feature, an empty batch"),
    ]


@product_shape.right
def _(x_shape, d, k):
    try:
        return list(np.broadcast_shapes((d, k), x_shape))
    except ValueError:
        return None


@product_shape.misconception(
    "as_matrix_product",
    thought="`*` between a matrix and x is a matrix product: d goes in, k comes out.",
    hint="Make a small A @ B and a small x in a cell, multiply them with `*`, and look at the shape, or at the error.",
)
def as_matrix_product(x_shape, d, k):
    return (*x_shape[:-1], k)


@product_shape.misconception(
    "shape_of_x",
    thought="A product entry by entry has the shape of x.",
    hint="x is one of two factors. Try a square layer and an x without a batch: which of the two has more entries?",
)
def shape_of_x(x_shape, d, k):
    return tuple(x_shape)


@product_shape.misconception(
    "shape_of_weight",
    thought="A product entry by entry has the shape of the weight.",
    hint="A @ B is one of two factors. What becomes of the leading sizes of x?",
)
def shape_of_weight(x_shape, d, k):
    return (d, k)


@product_shape.misconception(
    "equal_shapes_only",
    thought="`*` needs two factors of exactly the same shape.",
    hint="torch.ones(3, 3) * torch.ones(3) runs. By which rule? Look up broadcasting.",
)
def equal_shapes_only(x_shape, d, k):
    return (d, k) if tuple(x_shape) == (d, k) else None


@product_shape.misconception(
    "square_always_runs",
    thought="A square layer always fits x, and no other does.",
    hint="The last sizes are one pair. There is a second pair to compare, and a size of 1 fits every partner.",
)
def square_always_runs(x_shape, d, k):
    return tuple(x_shape) if d == k else None


@product_shape.misconception(
    "square_always_runs",
    thought="A square layer always fits x, and no other does.",
    hint="The last sizes are one pair. There is a second pair to compare, and a size of 1 fits every partner.",
)
def only_squares_run(x_shape, d, k):
    try:
        return tuple(np.broadcast_shapes((d, k), x_shape)) if d == k else None
    except ValueError:
        return None


@product_shape.misconception(
    "last_size_only",
    thought="Only the last sizes, k and d, have to fit.",
    hint="A @ B has two sizes. With which size of x is its first one, d, compared?",
)
def last_size_only(x_shape, d, k):
    if k == d or 1 in (k, d):
        return (*x_shape[:-1], max(k, d))
    return None


@product_shape.misconception(
    "ones_do_not_stretch",
    thought="Two sizes fit only when they are equal.",
    hint="Multiply torch.ones(4, 1) with torch.ones(4, 3). What happens to a size of 1?",
)
def ones_do_not_stretch(x_shape, d, k):
    for a, b in zip((k, d), reversed(x_shape), strict=False):
        if a != b:
            return None
    return tuple(x_shape) if len(x_shape) >= 2 else (d, k)


@product_shape.misconception(
    "aligned_from_the_left",
    thought="The sizes of the two factors are compared from the left.",
    hint="Multiply torch.ones(2, 3) with torch.ones(3), and then with torch.ones(2). Which of the two runs?",
)
def aligned_from_the_left(x_shape, d, k):
    ours, its = [d, k], list(x_shape)
    length = max(len(ours), len(its))
    ours += [1] * (length - len(ours))
    its += [1] * (length - len(its))
    if any(a != b and 1 not in (a, b) for a, b in zip(ours, its, strict=True)):
        return None
    return tuple(b if a == 1 else a for a, b in zip(ours, its, strict=True))


@product_shape.misconception(
    "weight_swapped",
    thought="A @ B lies as nn.Linear keeps its weight: (k, d).",
    hint="A is (d, r) and B is (r, k). Which sizes does their product have, in which order?",
)
def weight_swapped(x_shape, d, k):
    try:
        return tuple(np.broadcast_shapes((k, d), x_shape))
    except ValueError:
        return None


@product_shape.misconception(
    "batch_needed",
    thought="x always has a batch, so both of its last two sizes are there to compare.",
    hint="x may be a single row of shape (d,). Missing sizes on the left count as 1.",
)
def batch_needed(x_shape, d, k):
    if len(x_shape) < 2:
        return None
    try:
        return tuple(np.broadcast_shapes((d, k), x_shape))
    except ValueError:
        return None


@product_shape.misconception(
    "two_sizes_only",
    thought="The result has two sizes, as a matrix has.",
    hint="x may be a batch of sequences. Sizes to the left of those that are compared are kept.",
)
def two_sizes_only(x_shape, d, k):
    try:
        return tuple(np.broadcast_shapes((d, k), x_shape))[-2:]
    except ValueError:
        return None


@product_shape.misconception(
    "the_larger_size",
    thought="Of two sizes that fit, the larger one is the result's.",
    hint="That holds until a size is 0, in an empty batch. What does a size of 1 become beside a 0?",
)
def the_larger_size(x_shape, d, k):
    ours = (1,) * (len(x_shape) - 2) + (d, k)
    its = (1,) * (2 - len(x_shape)) + tuple(x_shape)
    if any(a != b and 1 not in (a, b) for a, b in zip(ours, its, strict=True)):
        return None
    return tuple(max(a, b) for a, b in zip(ours, its, strict=True))


@product_shape.misconception(
    "lets_it_raise",
    thought="Where torch raises, the function may raise as well.",
    hint="Catch the RuntimeError and return what the specification asks for in its place.",
)
def lets_it_raise(x_shape, d, k):
    return (torch.zeros(d, k) * torch.zeros(x_shape)).shape


def _is_nothing(value):
    if isinstance(value, Opaque):
        return value.type.endswith("Error")  # the exception itself
    return isinstance(value, str) or value is False or (isinstance(value, (int, list)) and value in ([], 0, -1))


@product_shape.misconception(
    "false_for_none",
    thought="Anything that stands for nothing will do where torch raises.",
    hint="The specification names one value for that case. An empty tuple is something else: the shape of one number.",
    recognise=lambda case, seen: product_shape.expected(case) is None and _is_nothing(seen.get("value")),
)
def false_for_none(x_shape, d, k):
    try:
        return tuple(np.broadcast_shapes((d, k), x_shape))
    except ValueError:
        return ()


# silent_case ---------------------------------------------------------------------------------------------------------

MOST_RUN = 2**18  # values of one tensor up to which Attempt #1 is really run
MOST = 2**40  # values of one tensor beyond which a case is no case
MOST_DIMENSIONS = 16


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
    if not 1 <= len(x_shape) <= MOST_DIMENSIONS:
        raise BadCase(f"x_shape has {len(x_shape)} sizes; take 1 to {MOST_DIMENSIONS}.")
    d, k, *x_shape = (_size(size) for size in (d, k, *x_shape))
    if max(d * k, math.prod(x_shape) * max(k, 1)) > MOST:
        raise BadCase("Tensors of these sizes fit into no computer. Take smaller ones.")
    return d, k, tuple(x_shape)


def _size(value):
    if isinstance(value, torch.Tensor) and value.numel() == 1:
        value = value.item()
    if type(value) is not int:
        said = repr(value) if isinstance(value, float) else describe.contents(value)
        raise BadCase(f"A size is an int, and {said} is none.")
    if not 0 <= value <= MOST:
        raise BadCase(f"{'A size is never negative' if value < 0 else 'One of the sizes is too large'}.")
    return value


def attempt_one(d, k, x_shape):
    """Run Attempt #1 with B not zero, or settle what it would do by the sizes where running it would take long.

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
    if max(d * k, *(math.prod(sizes) for sizes in (x_shape, due, shape or ()))) > MOST_RUN:
        return _by_the_sizes(d, shape, due)
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


def _by_the_sizes(d, shape, due):
    if shape is None:
        return "raises", "the sizes do not fit"
    if shape != due:
        return "other shape", describe.shape(shape)
    if 0 in due:
        return "no values", ""
    return ("silent" if d > 1 else "right"), ""  # one entry of x cannot stand for a sum over several


class SilentCaseCheck(Check):
    """Judges sizes by running Attempt #1 with them."""

    def fault(self, case, observation):
        """What is wrong with the case that came back."""
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
            "no values": "Attempt #1 runs and has the right shape, but there is no value in it that could be wrong.",
            "right": "Attempt #1 runs, has the right shape, and is right.",
        }
        return None if outcome == "silent" else Fault(problem[outcome], returned, expected)


silent_case = SilentCaseCheck(
    "silent_case",
    points=2,
    note="what all such cases share: the layer is square, and the last two sizes of x are both d. At d = 1 the sum "
    "over the inputs has a single term, so entry by entry is the matrix product.",
    next_step="Call silent_case() in a cell of your own, without an argument, and look at what comes back.",
)


@silent_case.cases
def _(draw):
    return [Case({})]


def _comes_to(outcome, where=lambda d, k, x_shape: True):
    def recognise(case, seen):
        try:
            sizes = read_case(seen.get("value"))
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
    hint="x goes through base as well. What must its last size be for that?",
    recognise=_comes_to("x does not fit"),
)
def x_like_the_weight():
    return 3, 5, (3, 5)


@silent_case.misconception(
    "nothing_inside",
    thought="An empty batch has the right shape too.",
    hint="With a size of 0 there is no number that could be wrong. Take sizes that hold some.",
    recognise=_comes_to("no values"),
)
def nothing_inside():
    return 3, 3, (0, 3, 3)


# exposes -------------------------------------------------------------------------------------------------------------

BUG, OTHERS = "the bug", "other kinds"
_SAYS = "Whatever a layer does, the test says True or False."


@dataclass(frozen=True)
class LayerCase(Case):
    """The question whether a learner's test exposes one layer."""

    layer: Layer = None
    seed: int = 0


class JudgedTest(Check):
    """Judges a test: by the layers that it exposes, and by those that it lets pass."""

    dtype = "float64"  # default dtype while the learner's test runs

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self._remembered = {}

    def judge(self, target, seed=None):
        """Judge the test where rounding cannot mislead it, and only then, if need be, in float32.

        In float32 the difference between two right layers may exceed a usual tolerance now and then: no fault of the
        test. A test that itself asks for float32 cannot run with float64 layers, and is judged in its own dtype.
        """
        seed = secrets.randbelow(2**31) if seed is None else seed
        verdict = super().judge(target, seed)
        if verdict.status != "failed" or verdict.score:
            return verdict
        single = copy.copy(self)
        single.dtype = "float32"
        other = Check.judge(single, target, seed)
        return other if other.score > verdict.score else verdict

    def observe(self, target, case):
        """Put the test to one layer. What the known wrong tests say does not hang on the draw, and is remembered."""
        known = next((known.id for known in self.misconceptions if known.wrong is target), None)
        if (known, case.layer) in self._remembered:
            return self._remembered[known, case.layer]
        source, name = case.layer.source, layers.NAME
        seen = try_on(target, source=source, name=name, seed=case.seed, dtype=self.dtype)
        if case.layer.right and "value" in seen and verdict_in(seen["value"]):
            again = try_on(target, source=case.layer.forgiving, name=name, seed=case.seed, dtype=self.dtype)
            seen |= {"by rounding": "value" in again and verdict_in(again["value"]) is False}
        if known:
            self._remembered[known, case.layer] = seen
        return seen

    def fault(self, case, observation):
        """What is wrong with what the test said of one layer."""
        layer = case.layer
        a_layer = f"a right layer, one {layer.words}" if layer.right else f"a layer {layer.words}"
        if fault := self.failed_call(observation):
            if "raised" not in observation:
                return fault
            problem = f"On {a_layer}, {fault.problem.replace('The call', 'the test')}"
            return Fault(problem, hint=_SAYS, where=fault.where)
        said = verdict_in(observation["value"])
        if said is None:
            returned = describe.contents(observation["value"])
            problem = f"On {a_layer}, the test returned neither True nor False."
            return Fault(problem, returned, str(not layer.right), hint=_SAYS)
        if said is (not layer.right):
            return None
        if layer.right:
            hint = (
                "Print the difference between your test's own value and the layer's: rounding, or another formula? If "
                "nothing gets printed, a line of your own raises inside try."
            )
            return Fault(f"The test says True for {a_layer}.", "True", "False: there is nothing to expose", hint=hint)
        hint = "In your test's own calls this layer gave wrong values, or raised. Compare every value with a right one."
        if layer.gap(observation["calls"]):
            hint = f"This layer shows itself in a call with: {', '.join(layer.shows)}. Your test made none."
        return Fault(f"The test says False for {a_layer}.", "False", "True: this layer is wrong", hint=hint)

    def same(self, case, a, b):
        """Whether two tests say the same of one layer."""
        if "value" in a and "value" in b:
            return verdict_in(a["value"]) is verdict_in(b["value"])
        return "raised" in a and "raised" in b


def verdict_in(value):
    """True or False as a test may say it: a bool, of Python, numpy or torch; None for anything else."""
    if isinstance(value, torch.Tensor) and value.dtype == torch.bool and value.numel() == 1:
        return bool(value.item())
    return value if isinstance(value, bool) else None


ATTEMPT_ONE = next(layer for layer in LAYERS if "Attempt #1" in layer.words)

exposes = JudgedTest(
    "exposes",
    points=4,
    parts={BUG: 2, OTHERS: 2},
    note="comparing with the formula, with a merged weight, entry by entry or by gradients: all of these see it, as "
    "long as B is not zero, and sizes, scalings and shapes are not the ones at which mistakes hide.",
)
CHECKS = [product_shape, silent_case, exposes]


@exposes.cases
def _(draw):
    cases = []
    for layer in sorted(LAYERS, key=lambda layer: draw.integer(0, 2**31)):
        part = BUG if layer.right or layer is ATTEMPT_ONE else OTHERS
        words = Opaque(f"a {'right ' if layer.right else ''}layer {layer.words}")
        cases.append(LayerCase({"layer_class": words}, "", part, layer=layer, seed=draw.integer(0, 2**31)))
    return cases


def _never_asked(right):
    """Recognises a wrong verdict given without one call of a layer."""

    def recognise(case, seen):
        return (
            case.layer.right is right and "value" in seen and verdict_in(seen["value"]) is right and not seen["calls"]
        )

    return recognise


def _gap(condition, unless=None):
    """Recognises a wrong layer let pass because no call met `condition`; not where no call met `unless` either."""

    def recognise(case, seen):
        missed = not case.layer.right and "value" in seen and verdict_in(seen["value"]) is False
        if unless and not any(layers.CONDITIONS[unless](*call) for call in seen.get("calls", ())):
            return False
        return missed and case.layer.gap(seen["calls"]) == condition

    return recognise


@exposes.misconception(
    "asserts",
    thought="A test fails by raising, as it does with assert.",
    hint="Here the test is a function that answers: return True where an assert would fail, and False at the end.",
    recognise=lambda case, seen: "raised" in seen and seen["raised"]["type"] == "AssertionError",
)
def asserts(layer_class):
    base = nn.Linear(5, 3)
    layer = layer_class(base, rank=2, alpha=6)
    nn.init.normal_(layer.lora_B)
    for x in (torch.randn(5), torch.randn(4, 5), torch.randn(2, 4, 5)):
        right = base(x) + 3 * (x @ layer.lora_A @ layer.lora_B)
        assert torch.allclose(layer(x), right, atol=1e-4)


@exposes.misconception(
    "lets_it_escape",
    thought="A layer that raises ends the test, and that is a failure too.",
    hint="A layer that raises for a good x is a wrong layer. Call it inside try, and answer True where it raises.",
    recognise=lambda case, seen: "raised" in seen and seen["in_layer"] and not case.layer.right,
)
def lets_it_escape(layer_class):
    for d, k in ((5, 3), (4, 4), (3, 6)):
        base = nn.Linear(d, k)
        layer = layer_class(base, rank=2, alpha=6)
        nn.init.normal_(layer.lora_B)
        for x in (torch.randn(d), torch.randn(7, d), torch.randn(2, 7, d)):
            right = base(x) + 3 * (x @ layer.lora_A @ layer.lora_B)
            if not torch.allclose(layer(x), right, atol=1e-4):
                return True
    return False


@exposes.misconception(
    "always_true",
    thought="A layer can be refused without being asked for an output.",
    hint="Make a layer, set its adapters, call it with an x, and compare. If your test does all that inside try, run "
    "these lines without it: one of them raises before the layer is called.",
    recognise=_never_asked(right=True),
)
def always_true(layer_class):
    return True


@exposes.misconception(
    "always_false",
    thought="A layer's names, attributes or parameters tell whether it is right.",
    hint="All the layers look alike. Make one, set its adapters, call it with an x, and look at what it computes.",
    recognise=_never_asked(right=False),
)
def always_false(layer_class):
    layer = layer_class(nn.Linear(5, 3), rank=2, alpha=6)
    shapes = layer.lora_A.shape == (5, 2) and layer.lora_B.shape == (2, 3)
    return not (shapes and layer_class.__name__ == "LoRALinear" and layer.scaling is not None)


@exposes.misconception(
    "inverted",
    thought="True means that the layer is right.",
    hint="The name asks a question: does the test expose the layer? Read again what True stands for.",
)
def inverted(layer_class):
    for d, k in ((5, 3), (4, 4), (3, 6)):
        base = nn.Linear(d, k)
        layer = layer_class(base, rank=2, alpha=6)
        nn.init.normal_(layer.lora_B)
        for x in (torch.randn(d), torch.randn(7, d), torch.randn(2, 7, d)):
            right = base(x) + 3 * (x @ layer.lora_A @ layer.lora_B)
            try:
                if not torch.allclose(layer(x), right, atol=1e-4):
                    return False
            except RuntimeError:
                return False
    return True


@exposes.misconception(
    "no_false_at_the_end",
    thought="Returning True for a wrong layer is all; for a right one there is nothing to say.",
    hint="A function that ends without return gives None. What should it give when nothing was found?",
)
def no_false_at_the_end(layer_class):
    for d, k in ((5, 3), (4, 4), (3, 6)):
        base = nn.Linear(d, k)
        layer = layer_class(base, rank=2, alpha=6)
        nn.init.normal_(layer.lora_B)
        for x in (torch.randn(d), torch.randn(7, d), torch.randn(2, 7, d)):
            right = base(x) + 3 * (x @ layer.lora_A @ layer.lora_B)
            try:
                if not torch.allclose(layer(x), right, atol=1e-4):
                    return True
            except RuntimeError:
                return True


@exposes.misconception(
    "raising_is_fine",
    thought="A layer that raises has returned nothing wrong.",
    hint="A layer that raises for a good x is a wrong layer. What does your test answer when the call raises?",
    recognise=lambda case, seen: (
        not case.layer.right and "value" in seen and verdict_in(seen["value"]) is False and seen["layer_raised"]
    ),
)
def raising_is_fine(layer_class):
    for d, k in ((5, 3), (4, 4), (3, 6)):
        base = nn.Linear(d, k)
        layer = layer_class(base, rank=2, alpha=6)
        nn.init.normal_(layer.lora_B)
        for x in (torch.randn(d), torch.randn(7, d), torch.randn(2, 7, d)):
            right = base(x) + 3 * (x @ layer.lora_A @ layer.lora_B)
            try:
                if not torch.allclose(layer(x), right, atol=1e-4):
                    return True
            except RuntimeError:
                pass
    return False


@exposes.misconception(
    "only_at_zero",
    thought="A layer as it comes from its constructor can be tested as it is.",
    hint="With B zero the adapter adds nothing, whatever it computes. Give lora_B other values, then call the layer.",
    recognise=_gap("B is not zero"),
)
def only_at_zero(layer_class):
    for d, k in ((5, 3), (4, 4), (3, 6)):
        base = nn.Linear(d, k)
        for x in (torch.randn(d), torch.randn(7, d), torch.randn(2, 7, d)):
            try:
                if not torch.allclose(layer_class(base, rank=2, alpha=6)(x), base(x), atol=1e-4):
                    return True
            except RuntimeError:
                return True
    return False


@exposes.misconception(
    "only_zeros",
    thought="Zeros are the easiest numbers to work out by hand.",
    hint="With x or A all zero the adapter adds nothing, whatever it computes. Give both of them other values.",
    recognise=_gap("x and A are not zero"),
)
def only_zeros(layer_class):
    for d, k in ((5, 3), (4, 4), (3, 6)):
        base = nn.Linear(d, k)
        for x in (torch.zeros(d), torch.zeros(7, d), torch.zeros(2, 7, d)):
            try:
                layer = layer_class(base, rank=2, alpha=6)
                nn.init.normal_(layer.lora_B)
                right = base(x) + 3 * (x @ layer.lora_A @ layer.lora_B)
                if not torch.allclose(layer(x), right, atol=1e-4):
                    return True
            except RuntimeError:
                return True
    return False


@exposes.misconception(
    "only_one_value",
    thought="The same number in every entry keeps the sums easy.",
    hint="With all entries of A equal, and all of B, nobody can tell whether one went to the wrong place. Let them "
    "differ.",
    recognise=_gap("entries that differ in A or B"),
)
def only_one_value(layer_class):
    for d, k in ((5, 3), (4, 4), (3, 6)):
        base = nn.Linear(d, k)
        for x in (torch.randn(d), torch.randn(7, d), torch.randn(2, 7, d)):
            try:
                layer = layer_class(base, rank=2, alpha=6)
                nn.init.ones_(layer.lora_A)
                nn.init.ones_(layer.lora_B)
                right = base(x) + 3 * (x @ layer.lora_A @ layer.lora_B)
                if not torch.allclose(layer(x), right, atol=1e-4):
                    return True
            except RuntimeError:
                return True
    return False


@exposes.misconception(
    "only_squares",
    thought="One size of layer stands for all, and a square one is the easiest to write.",
    hint="What works on a square layer may raise on another. Let d and k differ, in both directions.",
    recognise=_gap("not square"),
)
def only_squares(layer_class):
    base = nn.Linear(4, 4)
    for x in (torch.randn(4), torch.randn(3, 4), torch.randn(4, 4), torch.randn(2, 3, 4)):
        try:
            layer = layer_class(base, rank=2, alpha=6)
            nn.init.normal_(layer.lora_B)
            right = base(x) + 3 * (x @ layer.lora_A @ layer.lora_B)
            if not torch.allclose(layer(x), right, atol=1e-4):
                return True
        except RuntimeError:
            return True
    return False


@exposes.misconception(
    "only_rank_one",
    thought="Rank 1 is the simplest case, and the others follow from it.",
    hint="At rank 1, dividing by the rank changes nothing. Which mistakes hide behind that? Try another rank.",
    recognise=_gap("rank above 1"),
)
def only_rank_one(layer_class):
    for d, k in ((5, 3), (4, 4), (3, 6)):
        base = nn.Linear(d, k)
        for x in (torch.randn(d), torch.randn(7, d), torch.randn(2, 7, d)):
            try:
                layer = layer_class(base, rank=1, alpha=3)
                nn.init.normal_(layer.lora_B)
                right = base(x) + 3 * (x @ layer.lora_A @ layer.lora_B)
                if not torch.allclose(layer(x), right, atol=1e-4):
                    return True
            except RuntimeError:
                return True
    return False


@exposes.misconception(
    "only_alpha_equal_to_rank",
    thought="alpha and rank are usually set to the same number, so testing that is enough.",
    hint="With alpha equal to rank the scaling is 1. Who multiplies by 1 shows nothing: let the two differ.",
    recognise=_gap("alpha is not rank", unless="rank above 1"),
)
def only_alpha_equal_to_rank(layer_class):
    for d, k in ((5, 3), (4, 4), (3, 6)):
        base = nn.Linear(d, k)
        for x in (torch.randn(d), torch.randn(7, d), torch.randn(2, 7, d)):
            try:
                layer = layer_class(base, rank=2, alpha=2)
                nn.init.normal_(layer.lora_B)
                right = base(x) + x @ layer.lora_A @ layer.lora_B
                if not torch.allclose(layer(x), right, atol=1e-4):
                    return True
            except RuntimeError:
                return True
    return False


@exposes.misconception(
    "only_without_bias",
    thought="LoRA leaves the bias alone, so a base layer without one is enough.",
    hint="A layer may do the wrong thing with the base's bias. Let the base have one.",
    recognise=_gap("a bias"),
)
def only_without_bias(layer_class):
    for d, k in ((5, 3), (4, 4), (3, 6)):
        base = nn.Linear(d, k, bias=False)
        for x in (torch.randn(d), torch.randn(7, d), torch.randn(2, 7, d)):
            try:
                layer = layer_class(base, rank=2, alpha=6)
                nn.init.normal_(layer.lora_B)
                right = base(x) + 3 * (x @ layer.lora_A @ layer.lora_B)
                if not torch.allclose(layer(x), right, atol=1e-4):
                    return True
            except RuntimeError:
                return True
    return False


@exposes.misconception(
    "only_rows",
    thought="x is a batch of rows: two dimensions.",
    hint="A transformer's x has three dimensions, a single input has one. Try x of several dimensions.",
    recognise=_gap("not 2-D"),
)
def only_rows(layer_class):
    for d, k in ((5, 3), (4, 4), (3, 6)):
        base, x = nn.Linear(d, k), torch.randn(7, d)
        try:
            layer = layer_class(base, rank=2, alpha=6)
            nn.init.normal_(layer.lora_B)
            right = base(x) + 3 * (x @ layer.lora_A @ layer.lora_B)
            if not torch.allclose(layer(x), right, atol=1e-4):
                return True
        except RuntimeError:
            return True
    return False


@exposes.misconception(
    "only_one_row",
    thought="What holds for one input holds for a batch of them.",
    hint="Try a batch of rows, and a batch of sequences: x of several dimensions. If your test has a loop over them, is "
    "`return False` inside it? Then it ends in the first round.",
    recognise=_gap("not 1-D"),
)
def only_one_row(layer_class):
    for d, k in ((5, 3), (4, 4), (3, 6)):
        base, x = nn.Linear(d, k), torch.randn(d)
        try:
            layer = layer_class(base, rank=2, alpha=6)
            nn.init.normal_(layer.lora_B)
            right = base(x) + 3 * (x @ layer.lora_A @ layer.lora_B)
            if not torch.allclose(layer(x), right, atol=1e-4):
                return True
        except RuntimeError:
            return True
    return False


@exposes.misconception(
    "only_sequences",
    thought="x is a batch of sequences: three dimensions.",
    hint="A layer may also get a batch of rows, or a single one. Try x of several dimensions.",
    recognise=_gap("not 3-D"),
)
def only_sequences(layer_class):
    for d, k in ((5, 3), (4, 4), (3, 6)):
        base, x = nn.Linear(d, k), torch.randn(2, 7, d)
        try:
            layer = layer_class(base, rank=2, alpha=6)
            nn.init.normal_(layer.lora_B)
            right = base(x) + 3 * (x @ layer.lora_A @ layer.lora_B)
            if not torch.allclose(layer(x), right, atol=1e-4):
                return True
        except RuntimeError:
            return True
    return False


@exposes.misconception(
    "only_batches",
    thought="x always comes as a batch.",
    hint="A single input, of shape (d,), is a good x as well. Try it too.",
    recognise=_gap("x is 1-D"),
)
def only_batches(layer_class):
    for d, k in ((5, 3), (4, 4), (3, 6)):
        base = nn.Linear(d, k)
        for x in (torch.randn(7, d), torch.randn(2, 7, d)):
            try:
                layer = layer_class(base, rank=2, alpha=6)
                nn.init.normal_(layer.lora_B)
                right = base(x) + 3 * (x @ layer.lora_A @ layer.lora_B)
                if not torch.allclose(layer(x), right, atol=1e-4):
                    return True
            except RuntimeError:
                return True
    return False


@exposes.misconception(
    "trusts_the_scaling",
    thought="The layer knows its scaling: layer.scaling can be used in the expected value.",
    hint="The layer is the accused. Work out the scaling from the alpha and the rank that you gave it.",
)
def trusts_the_scaling(layer_class):
    for d, k in ((5, 3), (4, 4), (3, 6)):
        base = nn.Linear(d, k)
        for x in (torch.randn(d), torch.randn(7, d), torch.randn(2, 7, d)):
            try:
                layer = layer_class(base, rank=2, alpha=6)
                nn.init.normal_(layer.lora_B)
                right = base(x) + layer.scaling * (x @ layer.lora_A @ layer.lora_B)
                if not torch.allclose(layer(x), right, atol=1e-4):
                    return True
            except RuntimeError:
                return True
    return False


@exposes.misconception(
    "to_the_last_digit",
    thought="Two right layers agree in every digit.",
    hint="Sums taken in another order round differently. Allow a small difference, and print the largest one that you "
    "meet: 1e-6 is rounding, 0.1 is another formula.",
    recognise=lambda case, seen: case.layer.right and bool(seen.get("by rounding")),
)
def to_the_last_digit(layer_class):
    for d, k in ((5, 3), (4, 4), (3, 6)):
        base = nn.Linear(d, k)
        for x in (torch.randn(d), torch.randn(7, d), torch.randn(2, 7, d)):
            try:
                layer = layer_class(base, rank=3, alpha=5)
                nn.init.normal_(layer.lora_B)
                right = 5 * (x @ layer.lora_A @ layer.lora_B) / 3 + base(x)
                if not torch.equal(layer(x), right):
                    return True
            except RuntimeError:
                return True
    return False


@exposes.misconception(
    "expects_alpha_undivided",
    thought="The change is multiplied by alpha.",
    hint="Your test lets a layer pass that multiplies by alpha. Look up the scaling: what is alpha divided by?",
)
def expects_alpha_undivided(layer_class):
    for d, k in ((5, 3), (4, 4), (3, 6)):
        base = nn.Linear(d, k)
        for x in (torch.randn(d), torch.randn(7, d), torch.randn(2, 7, d)):
            try:
                layer = layer_class(base, rank=2, alpha=6)
                nn.init.normal_(layer.lora_B)
                right = base(x) + 6 * (x @ layer.lora_A @ layer.lora_B)
                if not torch.allclose(layer(x), right, atol=1e-4):
                    return True
            except RuntimeError:
                return True
    return False


@exposes.misconception(
    "expects_no_scaling",
    thought="The change is added as it is.",
    hint="Your test lets a layer pass that never uses its scaling. Go through the formula: what comes before (xA)B?",
)
def expects_no_scaling(layer_class):
    for d, k in ((5, 3), (4, 4), (3, 6)):
        base = nn.Linear(d, k)
        for x in (torch.randn(d), torch.randn(7, d), torch.randn(2, 7, d)):
            try:
                layer = layer_class(base, rank=2, alpha=6)
                nn.init.normal_(layer.lora_B)
                right = base(x) + x @ layer.lora_A @ layer.lora_B
                if not torch.allclose(layer(x), right, atol=1e-4):
                    return True
            except RuntimeError:
                return True
    return False


@exposes.misconception(
    "expects_the_bug",
    thought="The change that a right layer makes is A @ B times x, entry by entry.",
    hint="Your test lets Attempt #1 pass and refuses right layers. Which product does the formula have?",
)
def expects_the_bug(layer_class):
    base, x = nn.Linear(4, 4), torch.randn(4, 4)
    layer = layer_class(base, rank=2, alpha=6)
    nn.init.normal_(layer.lora_B)
    right = base(x) + 3 * (layer.lora_A @ layer.lora_B) * x
    try:
        return not torch.allclose(layer(x), right, atol=1e-4)
    except RuntimeError:
        return True


@exposes.misconception(
    "shape_is_enough",
    thought="A layer that runs and returns the right shape is right.",
    hint="In what your test tried, this layer gave wrong values. Compare every value with the right one, and allow no "
    "more than rounding.",
)
def shape_is_enough(layer_class):
    for d, k in ((5, 3), (4, 4), (3, 6)):
        base = nn.Linear(d, k)
        for x in (torch.randn(d), torch.randn(7, d), torch.randn(2, 7, d)):
            try:
                layer = layer_class(base, rank=2, alpha=6)
                nn.init.normal_(layer.lora_B)
                if layer(x).shape != base(x).shape:
                    return True
            except RuntimeError:
                return True
    return False
