"""What the products of lesson 03 cost, and the layers that its formulas are asked about."""

from dataclasses import replace

from autograde.judge.check import Case, Check
from autograde.judge.compare import as_number, is_number
from autograde.judge.misconception import Misconception

TWO_ON_ONE_PRODUCT = Misconception(
    "two_on_one_product",
    thought="There is a factor of two in the line, so every multiplication has its addition.",
    hint="It multiplies one of the two products. What does one entry of the other cost?",
)

COUNT_BY_HAND = (
    "Take the worked example, n = 1, d = 3, k = 4, r = 2, and count its multiplications and additions on paper, "
    "one product at a time."
)


def thin_cost(n, d, k, r):
    """FLOPs of (n, d) @ (d, r) and then (n, r) @ (r, k)."""
    return 2 * n * d * r + 2 * n * r * k


def full_cost(n, d, k, r):
    """FLOPs of (d, r) @ (r, k) and then (n, d) @ (d, k)."""
    return 2 * d * r * k + 2 * n * d * k


def layers(draw):
    """Sizes by name: small ones, a single row, and layers as large as they come."""
    sizes = draw.sizes(4, low=2, high=30)
    r = min(sizes)
    n, d, k = (size for size in sizes if size != r)
    many, large, narrow = draw.integer(1200, 5000), draw.choice([12288, 16384]), draw.choice([3072, 5120])
    return [
        Case({"n": n, "d": d, "k": k, "r": r}),
        Case(dict(zip("ndkr", draw.sizes(4, low=2, high=200), strict=True))),
        Case({"n": 1, "d": k, "k": d, "r": r}, "one row"),
        Case({"n": many, "d": narrow, "k": large, "r": draw.choice([4, 8, 16, 64])}, "a large layer"),
        # Both costs are above 2**31, where a count in 32 bits goes wrong.
        Case({"n": many, "d": large, "k": narrow, "r": 64}, "a large layer"),
    ]


class CostCheck(Check):
    """The cost of a way to compute x @ A @ B, by the sizes: a number."""

    points = 1
    note = "an int or a float, with the common factors taken out or not."
    next_step = COUNT_BY_HAND

    def cases(self, draw):
        return layers(draw)

    def fault(self, case, observation):
        """See `Check.fault`."""
        fault, value = super().fault(case, observation), observation.get("value")
        if fault is None or not is_number(value) or (as_number(value) - self.expected(case)) % 2**32:
            return fault
        return replace(fault, hint="The number is too large for 32 bits. Count with Python's ints, or with 64 bits.")
