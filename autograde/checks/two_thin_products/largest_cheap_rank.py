"""largest_cheap_rank: up to which rank two thin products cost less than the base layer's own."""

import math
from dataclasses import replace

from autograde.checks.shared.families import BRACKETS_LOST
from autograde.judge.check import Case, Check
from autograde.judge.compare import as_number, is_number


class LargestCheapRank(Check):
    """The last rank before the costs are equal."""

    name = "largest_cheap_rank"
    points = 1
    note = "a loop that counts up, // with care for the tie, math.ceil(…) - 1: all are right."
    next_step = (
        "For the sizes above, compare the two costs at your rank and at the next one. Where even rank 1 is not "
        "cheaper, the answer is 0."
    )

    def cases(self, draw):
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

    def right(self, d, k):
        return (d * k - 1) // (d + k)

    def fault(self, case, observation):
        """See `Check.fault`."""
        fault, value = super().fault(case, observation), observation.get("value", 0)
        if fault and value is None and self.expected(case) == 0:
            return replace(
                fault, hint="If not even rank 1 takes fewer FLOPs, the answer is the number 0. None is not a number."
            )
        if fault and is_number(value) and as_number(value) % 1:
            return replace(fault, hint="A rank is a whole number. Which is the last one before the costs meet?")
        return fault


def _no_tie(draw, low, high):
    """Two sizes whose d * k / (d + k) lies well between two whole numbers, in the upper half."""
    while True:
        d, k = draw.sizes(2, low=low, high=high)
        if 0.6 < d * k / (d + k) % 1 < 0.9:
            return d, k


largest_cheap_rank = LargestCheapRank()


@largest_cheap_rank.misconception(
    "tie_counted_as_cheaper",
    thought="The rank at which both cost the same still counts as cheap.",
    hint="Compute both costs for d = k = 4 and the rank that you return there. Is one of them less than the other?",
)
def tie_counted_as_cheaper(d, k):
    return d * k // (d + k)


def _is_the_rank_after(case, observation):
    d, k = case.args["d"], case.args["k"]
    after, value = d * k // (d + k) + 1, observation.get("value")
    # Where the fraction is above a half, or the rank after is as large as a side, other mistakes come to the same.
    alone = 0 < 2 * (d * k % (d + k)) < d + k and after < min(d, k) - 1
    return alone and is_number(value) and as_number(value) == after


@largest_cheap_rank.misconception(
    "rounded_up",
    thought="A fraction of a rank is rounded up, or: the rank at which a search stops is the answer.",
    hint="For d = 3, k = 4, compute both costs at the rank that you return. Are two thin products cheaper there?",
    recognise=_is_the_rank_after,
)
def rounded_up(d, k):
    return math.ceil(d * k / (d + k))


@largest_cheap_rank.misconception(
    "rounded_to_nearest",
    thought="A fraction of a rank is rounded to the nearest whole one.",
    hint="Compute both costs for d = 3, k = 4 and the rank that you return there. Which is the larger?",
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
    hint="With d = 1 the base layer's own product is tiny. Compute both costs there at rank 1.",
)
def never_below_one(d, k):
    return max(1, (d * k - 1) // (d + k))


@largest_cheap_rank.misconception(
    "smaller_side",
    thought="Every rank below the smaller of d and k is cheap: the product cannot have a larger one.",
    hint="That bounds the rank of a matrix. For d = k = 4 and r = 3, compute both costs.",
)
def smaller_side(d, k):
    return min(d, k) - 1


@largest_cheap_rank.misconception(
    "half_a_side",
    thought="Half of a side is the limit.",
    hint="That is true for a square layer only. Compute both costs for d = 2 and k = 100.",
)
def half_a_side(d, k):
    return (min(d, k) - 1) // 2


@largest_cheap_rank.misconception(
    "smaller_side",
    thought="Every rank up to the smaller of d and k is cheap: the product cannot have a larger one.",
    hint="That bounds the rank of a matrix. For d = k = 4 and r = 4, compute both costs.",
)
def smaller_side_itself(d, k):
    return min(d, k)


@largest_cheap_rank.misconception(BRACKETS_LOST)
def brackets_lost(d, k):
    return d * k // d + k
