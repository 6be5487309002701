"""product_shape: the shape of (A @ B) * x, or None where torch raises."""

import numpy as np
import torch

from autograde.judge import describe
from autograde.judge.answer import RightAnswer
from autograde.judge.check import Case, Check
from autograde.judge.compare import Fault
from autograde.judge.misconception import misconception
from autograde.probes.the_bug import call_with_shape
from autograde.remote.wire import Opaque


def _refuses(observation):
    if "raised" in observation:
        return observation["raised"]["type"] in ("RuntimeError", "ValueError", "IndexError")
    return observation.get("value", observation) is None


answer = RightAnswer("""
def product_shape(x_shape, d, k):
    import numpy as np

    try:
        return tuple(np.broadcast_shapes((d, k), x_shape))
    except ValueError:
        return None
""")


class ProductShape(Check):
    """A check of a function that takes a shape first, and answers with a shape or with None."""

    name = "product_shape"
    answer = answer
    points = 2
    note = "torch.broadcast_shapes, the product of two empty tensors, a loop over the sizes from the right: one rule."
    next_step = "Write (d, k) and x_shape under one another, last sizes aligned, and go through the pairs from there."

    def cases(self, draw):
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

    def right(self, x_shape, d, k):
        try:
            return list(np.broadcast_shapes((d, k), x_shape))
        except ValueError:
            return None

    def observe(self, target, case):
        """Call the learner's function for one case, with the shape as a tuple."""
        shape, *sizes = case.args.values()
        return call_with_shape(target, shape=list(shape), sizes=sizes)

    def same(self, case, a, b):
        """See `Check.same`. None and an error that says that sizes do not fit are two ways to refuse them."""
        return all(_refuses(observation) for observation in (a, b)) or super().same(case, a, b)

    def fault(self, case, observation):
        """What is wrong with one observation."""
        fault = super().fault(case, observation)
        if not fault or "value" not in observation:
            return fault
        value, expected = observation["value"], self.expected(case)
        returned_and_expected = describe.contents(value), describe.contents(expected)
        if isinstance(value, torch.Tensor) and value.ndim > 1:
            hint = "Return the shape, not the product. Which attribute of a tensor is its shape?"
            return Fault("A tensor came back, and not its shape.", *returned_and_expected, hint=hint)
        if expected is None:
            return Fault("A shape came back for sizes at which torch raises.", *returned_and_expected)
        if value is None:
            # The cases with an empty batch are the last: this one is shown where no other got None.
            hint = (
                "torch.ones(3, 3) * torch.ones(0, 3, 3) runs. Which shape does it have?"
                if 0 in case.args["x_shape"]
                else ""
            )
            return Fault("None came back for sizes at which torch does not raise.", *returned_and_expected, hint=hint)
        return Fault(fault.problem.replace("The result", "The shape"), *returned_and_expected)


product_shape = ProductShape()


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
    hint="A @ B is one of two factors. What happens to the leading sizes of x?",
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
    hint="The last sizes are one pair. There is a second pair to compare, and a size of 1 fits any other.",
)
def square_always_runs(x_shape, d, k):
    return tuple(x_shape) if d == k else None


answer.slip(
    "square_always_runs",
    "    try:\n",
    "    if d != k:\n        return None\n    try:\n",
    thought="A square layer always fits x, and no other does.",
    hint="The last sizes are one pair. There is a second pair to compare, and a size of 1 fits any other.",
)


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
    weight_shape, padded_x_shape = [d, k], list(x_shape)
    length = max(len(weight_shape), len(padded_x_shape))
    weight_shape += [1] * (length - len(weight_shape))
    padded_x_shape += [1] * (length - len(padded_x_shape))
    if any(a != b and 1 not in (a, b) for a, b in zip(weight_shape, padded_x_shape, strict=True)):
        return None
    return tuple(b if a == 1 else a for a, b in zip(weight_shape, padded_x_shape, strict=True))


answer.slip(
    "weight_swapped",
    "(d, k), x_shape",
    "(k, d), x_shape",
    thought="A @ B has the shape in which nn.Linear keeps its weight: (k, d).",
    hint="A is (d, r) and B is (r, k). Which sizes does their product have, in which order?",
)


answer.slip(
    "batch_needed",
    "    try:\n",
    "    if len(x_shape) < 2:\n        return None\n    try:\n",
    thought="x always has a batch, so both of its last two sizes are there to compare.",
    hint="x may be a single row of shape (d,). Multiply torch.ones(3, 3) with torch.ones(3): which size does "
    "torch use where x has none on the left?",
)


answer.slip(
    "two_sizes_only",
    "x_shape))",
    "x_shape))[-2:]",
    thought="The result has two sizes, as a matrix has.",
    hint="x may be a batch of sequences. Multiply torch.ones(3, 3) with torch.ones(2, 3, 3): how many sizes does "
    "the result have?",
)


ONE_SIDE_STRETCHES = misconception(
    "one_side_stretches",
    thought="Of the two factors, only one is stretched to fit the other.",
    hint="Multiply torch.ones(1, 3) with torch.ones(4, 3), and torch.ones(4, 3) with torch.ones(1, 3). Which of "
    "the two factors may have a size of 1?",
)


@product_shape.misconception(ONE_SIDE_STRETCHES)
def only_x_stretches(x_shape, d, k):
    padded_x_shape = (1,) * (2 - len(x_shape)) + tuple(x_shape)
    fits = padded_x_shape[-1] in (1, k) and padded_x_shape[-2] in (1, d)
    return (*padded_x_shape[:-2], d, k) if fits else None


@product_shape.misconception(ONE_SIDE_STRETCHES)
def only_the_weight_stretches(x_shape, d, k):
    padded_x_shape = (1,) * (2 - len(x_shape)) + tuple(x_shape)
    fits = k in (1, padded_x_shape[-1]) and d in (1, padded_x_shape[-2])
    return padded_x_shape if fits else None


@product_shape.misconception(
    "shorter_shape_ends_it",
    thought="The sizes are compared in pairs, and the result ends where the shorter shape ends.",
    hint="zip stops where the shorter of the two stops. Multiply torch.ones(3, 3) with torch.ones(3): how many "
    "sizes does the result have, and where does the one on the left come from?",
)
def shorter_shape_ends_it(x_shape, d, k):
    sizes = []
    for a, b in zip((k, d), reversed(x_shape), strict=False):
        if a != b and 1 not in (a, b):
            return None
        sizes.append(b if a == 1 else a)
    return tuple(reversed(sizes))


@product_shape.misconception(
    "the_larger_size",
    thought="The result has the larger of two sizes that fit.",
    hint="That is true until a size is 0, in an empty batch. What does a size of 1 become beside a 0?",
)
def the_larger_size(x_shape, d, k):
    weight_shape = (1,) * (len(x_shape) - 2) + (d, k)
    padded_x_shape = (1,) * (2 - len(x_shape)) + tuple(x_shape)
    if any(a != b and 1 not in (a, b) for a, b in zip(weight_shape, padded_x_shape, strict=True)):
        return None
    return tuple(max(a, b) for a, b in zip(weight_shape, padded_x_shape, strict=True))


@product_shape.misconception(
    "lets_it_raise",
    thought="Where torch raises, the function may raise as well.",
    hint="The specification names a value for that case. How can a function go on after an exception?",
)
def lets_it_raise(x_shape, d, k):
    return (torch.zeros(d, k) * torch.zeros(x_shape)).shape


def _is_nothing(value):
    if isinstance(value, Opaque):
        return value.type.endswith("Error")  # the exception itself
    return isinstance(value, str) or value is False or (isinstance(value, (int, list)) and value in ([], 0, -1))


answer.slip(
    "false_for_none",
    "return None",
    "return ()",
    thought="Where torch raises, any empty value is right.",
    hint="The specification names one value for that case. An empty tuple is something else: the shape of one number.",
    recognise=lambda case, observation: product_shape.expected(case) is None and _is_nothing(observation.get("value")),
)
