"""Lesson 03: (x @ A) @ B, what it costs, and up to which rank it is cheap."""

import math
import re
from dataclasses import replace

import torch

from autograde.checks.shared import next_steps
from autograde.judge import describe
from autograde.judge.check import ANSWER, Case, Check
from autograde.judge.compare import Fault, as_number, is_number
from autograde.probes.two_thin_products import call_and_count

ORDER = "order"  # the part of lora_delta's points that is for the cheap order

# Two thin products cost at most twice `thin_cost`, however they are written and wherever the scaling is applied. At the
# sizes of the counted cases the (d, k) product costs at least ten times as much.
COSTLY = 3


def thin_cost(n, d, k, r):
    """FLOPs of (n, d) @ (d, r) and then (n, r) @ (r, k)."""
    return 2 * n * d * r + 2 * n * r * k


def full_cost(n, d, k, r):
    """FLOPs of (d, r) @ (r, k) and then (n, d) @ (d, k)."""
    return 2 * d * r * k + 2 * n * d * k


# lora_delta ----------------------------------------------------------------------------------------------------------


class CountedCheck(Check):
    """A check whose `ORDER` cases are judged by counting: their values are the business of the other cases."""

    def observe(self, target, case):
        """Ask one case; in an `ORDER` case, count on the way."""
        if case.part == ORDER:
            return call_and_count(target, args=list(case.args.values()), device=case.device)
        return super().observe(target, case)

    def fault(self, case, observation):
        """What is wrong with one observation; in an `ORDER` case only a right answer can be too costly."""
        if case.part != ORDER:
            fault = super().fault(case, observation)
            if fault is None:
                return None
            return replace(fault, hint=fault.hint or next_steps.for_x(fault, case.args["x"], observation))
        if "value" not in observation or super().fault(case, observation):
            return None
        costly, _ = self.cost(case, observation)
        if not costly:
            return None
        n, d, k, r = self.sizes(case)
        largest = describe.shape([int(size) for size in observation["largest"]])
        return Fault(
            f"The values are right, but the way to them is too long: {observation['flops']:,} FLOPs.",
            returned=f"{observation['flops']:,} FLOPs; the largest tensor made on the way has shape {largest}",
            expected=f"about {thin_cost(n, d, k, r):,} FLOPs",
            hint="Count the FLOPs of each product. Is something worked out again and again that is needed once?",
        )

    def cost(self, case, observation):
        """Whether an observed call was costly, and whether it made a tensor as large as a full weight."""
        n, d, k, r = self.sizes(case)
        entries = math.prod(int(size) for size in observation["largest"])
        return int(observation["flops"]) > COSTLY * thin_cost(n, d, k, r), entries >= d * k

    @staticmethod
    def sizes(case):
        """n, d, k, r of a case; n counts the rows of x over all leading axes."""
        d, r = case.args["A"].shape
        return case.args["x"].numel() // d, d, case.args["B"].shape[1], r


lora_delta = CountedCheck(
    "lora_delta",
    points=3,
    parts={ANSWER: 2, ORDER: 1},
    note="F.linear on the transposes, torch.einsum, torch.linalg.multi_dot, a loop; the scaling may come at any step. "
    "Applied to the thin product, it costs the least.",
    next_step="Write the shape of every factor beside it, for this x: d is the size of its last axis. "
    "Each product must sum over the size that its two factors share.",
)


@lora_delta.cases
def _(draw):
    sizes = draw.sizes(5, low=2, high=9)
    r = min(sizes)
    n, s, d, k = (size for size in sizes if size != r)

    def case(x_shape, out, label, scaling=None, dtype=torch.float32, strided_x=False, strided_weights=False):
        args = {
            "x": draw.tensor(*x_shape, dtype=dtype, contiguous=not strided_x),
            "A": draw.tensor(x_shape[-1], r, dtype=dtype, contiguous=not strided_weights),
            "B": draw.tensor(r, out, dtype=dtype, contiguous=not strided_weights),
            "scaling": draw.scaling() if scaling is None else scaling,
        }
        return Case(args, label)

    # Exact in float32 as well, for answers that make a tensor of the scaling.
    exact = draw.choice([0.375, 0.625, 1.75, 2.25, 3.5])
    wide, narrow = draw.integer(62, 72), draw.integer(48, 58)
    large_in, large_out = draw.choice([(wide, narrow), (narrow, wide)])
    larger = [
        ((4, large_in), large_out, "a larger layer"),
        ((1, 5, large_in), large_out, "a larger layer, a batch of one sequence"),
    ]
    large = [case(*asked) for asked in larger]
    return [
        case((n, d), k, "a batch of rows"),
        case((d,), k, "a single row, no batch"),
        case((n, s, d), k, "a batch of sequences", exact, torch.float64),
        case((1, d), k, "a batch of one row"),
        case((0, d), k, "an empty batch"),
        case((d, d), d, "a square layer, and as many rows as features"),
        case((n, d), k, "x is a transposed view, scaling is an int", scaling=11, strided_x=True),
        case((2, n, s, d), k, "four axes, all tensors are views", strided_x=True, strided_weights=True),
        *large,
        # On other numbers: what an answer has kept of the cases above would cost it nothing here.
        *(replace(case(x_shape, out, f"{label}, counted"), part=ORDER) for x_shape, out, label in larger),
    ]


@lora_delta.right
def _(x, A, B, scaling):
    return scaling * (x @ A) @ B


def _stops_at(*products):
    """Recognises an answer by the first product that its sizes do not allow: ``(left, right)`` in the letters n d k r.

    Only the case of a batch of rows is asked, where all four sizes differ.
    """

    def recognise(case, seen):
        if "raised" not in seen or case.args["x"].ndim != 2 or len({*(sizes := CountedCheck.sizes(case))}) < 4:
            return False
        size = {letter: str(number) for letter, number in zip("ndkr", sizes, strict=True)}
        said = ["x".join(size[letter] for letter in factor) for pair in products for factor in pair]
        pairs = zip(said[::2], said[1::2], strict=True)
        return any(f"({left} and {right})" in seen["raised"]["message"] for left, right in pairs)

    return recognise


def _pairs_entries(case, seen):
    """Whether sizes were paired that only meet when `*` stands between x and A, or between their product and B."""
    if "raised" not in seen or case.args["x"].ndim != 2:
        return False
    _, d, k, r = CountedCheck.sizes(case)
    sizes = re.search(r"tensor a \((\d+)\) must match the size of tensor b \((\d+)\)", seen["raised"]["message"])
    return bool(sizes) and {int(size) for size in sizes.groups()} in ({d, r}, {r, k})


@lora_delta.misconception(
    "elementwise_factors",
    thought="`*` multiplies x with A, and the result with B, as it does with numbers.",
    hint="`*` pairs entries one by one. Which operator takes a row of d numbers to a row of r numbers?",
    recognise=_pairs_entries,
)
def elementwise_factors(x, A, B, scaling):
    return scaling * x * A * B


@lora_delta.misconception(
    "elementwise",
    thought="A @ B has the size of a weight, and `*` applies a weight to x.",
    hint="`*` pairs entries one by one. Which operator takes a row of d numbers to a row of k numbers?",
)
def elementwise(x, A, B, scaling):
    return scaling * (A @ B) * x


@lora_delta.misconception(
    "scaling_forgotten",
    thought="The two products are all there is.",
    hint="Call your function twice on the same x, A and B, with scaling 1 and scaling 10. What should change?",
)
def scaling_forgotten(x, A, B, scaling):
    return x @ A @ B


@lora_delta.misconception(
    "scaling_twice",
    thought="Both matrices belong to the adapter, so each of them is scaled.",
    hint="Call your function with scaling 1 and with scaling 10. How many times larger does the result get, and how "
    "many times should it?",
)
def scaling_twice(x, A, B, scaling):
    return scaling * ((scaling * (x @ A)) @ B)


@lora_delta.misconception(
    "divided_by_rank_again",
    thought="The result has to be divided by the rank.",
    hint="scaling is alpha / r already: whoever made it has divided. What is left to do with it here?",
)
def divided_by_rank_again(x, A, B, scaling):
    return scaling / A.shape[1] * (x @ A) @ B


@lora_delta.misconception(
    "view_for_transpose",
    thought="A tensor viewed or reshaped to the transposed shape is the transpose.",
    hint="view and reshape keep the numbers in their order in memory. Compare A.view(r, d) with A.T on a small A, "
    "number by number. And look at the shapes that you were given: is a transpose needed at all?",
)
def view_for_transpose(x, A, B, scaling):
    h = x @ A.reshape(A.shape[1], A.shape[0]).T
    return scaling * h @ B.reshape(B.shape[1], B.shape[0]).T


@lora_delta.misconception(
    "linear_layout",
    thought="A, B or their product is stored as nn.Linear stores its weight, (out, in), and needs a transpose.",
    hint="Print A.shape and B.shape. Which axis of A has one entry for each of the d numbers in a row of x, and which axis "
    "of B one for each of the k numbers of the result?",
    recognise=_stops_at(("nd", "rd"), ("nr", "kr"), ("nd", "kd")),
)
def linear_layout(x, A, B, scaling):
    return scaling * (x @ A.T) @ B.T


@lora_delta.misconception(
    "swapped",
    thought="The paper writes BA, so B comes first.",
    hint="The paper's x is a column on the right of BA, ours a row on the left. Which of A and B has d rows, one for "
    "each of the d numbers in a row of x?",
    recognise=_stops_at(("nd", "rk"), ("rk", "dr")),
)
def swapped(x, A, B, scaling):
    return scaling * (x @ B) @ A


@lora_delta.misconception(
    "x_on_the_right",
    thought="The paper writes BAx, with x on the right.",
    hint="The paper's x is a column, ours a row. Which axis of A has one entry for each of the d numbers in a row of "
    "x, and on which side of `@` must A stand to meet it?",
    recognise=_stops_at(("dr", "nd"), ("dk", "nd"), ("kd", "nd"), ("rd", "nd")),
)
def x_on_the_right(x, A, B, scaling):
    return scaling * (B @ (A @ x))


@lora_delta.misconception(
    "two_dimensional_only",
    thought="x is always a batch of rows.",
    hint="x may be one row, or a batch of sequences. `@` treats all leading axes alike; which of yours does not?",
)
def two_dimensional_only(x, A, B, scaling):
    return scaling * torch.mm(torch.mm(x, A), B)


@lora_delta.misconception(
    "full_product_first",
    thought="A and B are small, so their product is cheap. The values are right whichever product comes first.",
    hint="Write the shape beside every intermediate result. One of them has as many entries as a whole weight: "
    "is there an order in which none has?",
    recognise=lambda case, seen: case.part == ORDER and lora_delta.cost(case, seen) == (True, True),
)
def full_product_first(x, A, B, scaling):
    return scaling * (x @ (A @ B))


# flops_thin and flops_full -------------------------------------------------------------------------------------------


def _layers(draw):
    """Sizes by name: small ones, a single row, and layers as large as they come."""
    sizes = draw.sizes(4, low=2, high=30)
    r = min(sizes)
    n, d, k = (size for size in sizes if size != r)
    many, large, narrow = draw.integer(1000, 5000), draw.choice([12288, 16384]), draw.choice([3072, 5120])
    return [
        Case({"n": n, "d": d, "k": k, "r": r}),
        Case(dict(zip("ndkr", draw.sizes(4, low=2, high=200), strict=True))),
        Case({"n": 1, "d": k, "k": d, "r": r}, "one row"),
        Case({"n": many, "d": narrow, "k": large, "r": draw.choice([4, 8, 16, 64])}, "a large layer"),
        Case({"n": many, "d": large, "k": narrow, "r": draw.choice([4, 8, 16, 64])}, "a large layer"),
    ]


_COUNT_BY_HAND = (
    "Take the worked example, n = 1, d = 3, k = 4, r = 2, and count its multiplications and additions on paper, "
    "one product at a time."
)

flops_thin = Check(
    "flops_thin",
    points=1,
    note="an int or a float, with the common factors taken out or not.",
    next_step=_COUNT_BY_HAND,
)
flops_thin.cases(_layers)


@flops_thin.right
def _(n, d, k, r):
    return thin_cost(n, d, k, r)


@flops_thin.misconception(
    "one_per_multiply_add",
    thought="A multiplication with its addition is one operation.",
    hint="Here each counts on its own. What does one entry of a product cost, then?",
)
def thin_one_per_multiply_add(n, d, k, r):
    return n * r * (d + k)


@flops_thin.misconception(
    "rows_forgotten",
    thought="The cost is that of one row.",
    hint="x has n rows. How does the cost of x @ A change when x gets twice as many?",
)
def thin_rows_forgotten(n, d, k, r):
    return 2 * r * (d + k)


@flops_thin.misconception(
    "parameters_counted",
    thought="The cost is the number of entries in A and B.",
    hint="That is how many numbers the adapter stores. How many rows use each of them, and what does one use cost?",
)
def parameters_counted(n, d, k, r):
    return r * (d + k)


@flops_thin.misconception(
    "second_product_forgotten",
    thought="The product with A is the work.",
    hint="What is left to do when x @ A is there, and how large is the result?",
)
def second_product_forgotten(n, d, k, r):
    return 2 * n * d * r


@flops_thin.misconception(
    "first_product_forgotten",
    thought="The product that makes the k outputs is the work.",
    hint="The product with B takes r numbers for each row. What made those out of d numbers?",
)
def first_product_forgotten(n, d, k, r):
    return 2 * n * r * k


@flops_thin.misconception(
    "second_product_from_d",
    thought="Every product starts from x, with its d numbers.",
    hint="Write the shapes of both factors of the second product. Over which size does it sum?",
)
def second_product_from_d(n, d, k, r):
    return 2 * n * d * r + 2 * n * d * k


@flops_thin.misconception(
    "sizes_multiplied",
    thought="A product of three matrices costs the product of all the sizes.",
    hint="There are two products, one after the other. Are their costs multiplied or added?",
)
def thin_sizes_multiplied(n, d, k, r):
    return 2 * n * d * r * k


@flops_thin.misconception(
    "one_addition_less",
    thought="A sum of b terms takes b - 1 additions.",
    hint="True on paper. The usual count, which this exercise states, gives every multiplication an addition.",
)
def thin_one_addition_less(n, d, k, r):
    return n * r * (2 * d - 1) + n * k * (2 * r - 1)


@flops_thin.misconception(
    "other_order",
    thought="The (d, k) product comes first, and then x.",
    hint="That is the other function. In this one nothing of shape (d, k) is ever made: which two products are there?",
)
def thin_other_order(n, d, k, r):
    return 2 * d * r * k + 2 * n * d * k


flops_full = Check(
    "flops_full",
    points=1,
    note="an int or a float, with the common factors taken out or not.",
    next_step=_COUNT_BY_HAND,
)
flops_full.cases(_layers)


@flops_full.right
def _(n, d, k, r):
    return full_cost(n, d, k, r)


@flops_full.misconception(
    "one_per_multiply_add",
    thought="A multiplication with its addition is one operation.",
    hint="Here each counts on its own. What does one entry of a product cost, then?",
)
def full_one_per_multiply_add(n, d, k, r):
    return d * r * k + n * d * k


@flops_full.misconception(
    "rows_forgotten",
    thought="The cost is that of one row.",
    hint="x has n rows. Which of the two products has x in it?",
)
def full_rows_forgotten(n, d, k, r):
    return 2 * d * r * k + 2 * d * k


@flops_full.misconception(
    "product_for_every_row",
    thought="Everything is done once for each of the n rows.",
    hint="A @ B does not depend on x. How often is it worked out in one call?",
)
def product_for_every_row(n, d, k, r):
    return n * (2 * d * r * k + 2 * d * k)


@flops_full.misconception(
    "product_forgotten",
    thought="The (d, k) matrix is there, and only has to be applied.",
    hint="Somebody has to make it out of A and B first. What does that cost?",
)
def product_forgotten(n, d, k, r):
    return 2 * n * d * k


@flops_full.misconception(
    "application_forgotten",
    thought="Making the (d, k) matrix is the work.",
    hint="A @ B says nothing about x yet. What does it cost to take n rows through it?",
)
def application_forgotten(n, d, k, r):
    return 2 * d * r * k


@flops_full.misconception(
    "sizes_multiplied",
    thought="A product of three matrices costs the product of all the sizes.",
    hint="There are two products, one after the other. Are their costs multiplied or added?",
)
def full_sizes_multiplied(n, d, k, r):
    return 2 * n * d * r * k


@flops_full.misconception(
    "one_addition_less",
    thought="A sum of b terms takes b - 1 additions.",
    hint="True on paper. The usual count, which this exercise states, gives every multiplication an addition.",
)
def full_one_addition_less(n, d, k, r):
    return d * k * (2 * r - 1) + n * k * (2 * d - 1)


@flops_full.misconception(
    "other_order",
    thought="x goes through A, and the result through B.",
    hint="That is the other function. Here A @ B comes first: what are the shapes of its factors?",
)
def full_other_order(n, d, k, r):
    return 2 * n * d * r + 2 * n * r * k


# largest_cheap_rank --------------------------------------------------------------------------------------------------

largest_cheap_rank = Check(
    "largest_cheap_rank",
    points=1,
    note="a loop that counts up, // with care for the tie, math.ceil(…) - 1: all are right.",
    next_step="For the sizes above, compare the two costs at your rank and at the next one. Where even rank 1 is not "
    "cheaper, the answer is 0.",
)


@largest_cheap_rank.cases
def _(draw):
    # At a tie d * k / (d + k) is a whole number. These ties are exact in floating point too, whichever way the
    # fraction is worked out: powers of two, and (1/3 + 1/6) scaled by them.
    power, unit = 2 ** draw.integer(2, 6), 2 ** draw.integer(0, 5)
    d, k = draw.choice([(3 * unit, 6 * unit), (6 * unit, 3 * unit)])
    low, high = draw.sizes(2, low=5, high=60)

    def case(d, k, label=""):
        return Case({"d": d, "k": k}, label)

    return [
        case(*_no_tie(draw, 20, 400)),
        case(2 * power, 2 * power, "a square layer"),
        case(d, k, "two sizes with a tie"),
        case(*_no_tie(draw, 500, 4000)),
        case(5000, 10000),
        case(4096, 4096, "a square layer"),
        case(low, 40 * high + 1, "a layer much wider than deep"),
        case(1, draw.integer(2, 50), "a single input"),
        case(1, 1, "one input, one output"),
    ]


def _no_tie(draw, low, high):
    """Two sizes whose d * k / (d + k) lies well between two whole numbers, in the upper half."""
    while True:
        d, k = draw.sizes(2, low=low, high=high)
        if 0.6 < d * k / (d + k) % 1 < 0.9:
            return d, k


@largest_cheap_rank.right
def _(d, k):
    return (d * k - 1) // (d + k)


@largest_cheap_rank.misconception(
    "tie_counted_as_cheaper",
    thought="The rank at which both cost the same still counts as cheap.",
    hint="Work out both costs for d = k = 4 and the rank that you return there. Is one of them less than the other?",
)
def tie_counted_as_cheaper(d, k):
    return d * k // (d + k)


def _is_the_rank_after(case, seen):
    d, k = case.args["d"], case.args["k"]
    after, value = d * k // (d + k) + 1, seen.get("value")
    # Where the fraction is above a half, or the rank after is as large as a side, other mistakes come to the same.
    alone = 0 < 2 * (d * k % (d + k)) < d + k and after < min(d, k) - 1
    return alone and is_number(value) and as_number(value) == after


@largest_cheap_rank.misconception(
    "rounded_up",
    thought="A fraction of a rank is rounded up, or: the rank at which a search stops is the answer.",
    hint="For d = 3, k = 4, work out both costs at the rank that you return. Are two thin products cheaper there?",
    recognise=_is_the_rank_after,
)
def rounded_up(d, k):
    return math.ceil(d * k / (d + k))


@largest_cheap_rank.misconception(
    "rounded_to_nearest",
    thought="A fraction of a rank is rounded to the nearest whole one.",
    hint="Work out both costs for d = 3, k = 4 and the rank that you return there. Which is the larger?",
)
def rounded_to_nearest(d, k):
    return round(d * k / (d + k))


@largest_cheap_rank.misconception(
    "not_rounded",
    thought="The point at which the costs meet is the answer.",
    hint="A rank is a whole number. Which one is the last before the costs meet?",
)
def not_rounded(d, k):
    return d * k / (d + k)


@largest_cheap_rank.misconception(
    "one_too_few",
    thought="One less is needed everywhere, because the costs must not be equal.",
    hint="Only at a tie are the costs equal. For d = 3, k = 4, compare them at the rank after the one you return.",
)
def one_too_few(d, k):
    return d * k // (d + k) - 1


@largest_cheap_rank.misconception(
    "never_below_one",
    thought="There is always a rank that is cheap, since a rank is at least 1.",
    hint="With d = 1 the base layer's own product is tiny. Work out both costs there at rank 1.",
)
def never_below_one(d, k):
    return max(1, (d * k - 1) // (d + k))


@largest_cheap_rank.misconception(
    "smaller_side",
    thought="Every rank below the smaller of d and k is cheap: the product cannot have a larger one.",
    hint="That bounds the rank of a matrix. For d = k = 4 and r = 3, work out both costs.",
)
def smaller_side(d, k):
    return min(d, k) - 1


@largest_cheap_rank.misconception(
    "half_a_side",
    thought="Half of a side is the limit.",
    hint="That fits a square layer only. Work out both costs for d = 2 and k = 100.",
)
def half_a_side(d, k):
    return (min(d, k) - 1) // 2


CHECKS = [lora_delta, flops_thin, flops_full, largest_cheap_rank]
