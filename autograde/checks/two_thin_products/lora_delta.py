"""lora_delta: scaling * (x @ A) @ B, for every shape of x, and in the cheap order."""

import math
import re
from dataclasses import replace

import torch

from autograde.checks.shared import next_steps
from autograde.checks.shared.draws import scaling as draw_scaling
from autograde.checks.shared.families import (
    DIVIDED_BY_RANK_AGAIN,
    SCALING_FORGOTTEN,
    SCALING_TWICE,
    TWO_DIMENSIONAL_ONLY,
    VIEW_FOR_TRANSPOSE,
)
from autograde.checks.two_thin_products.flops import thin_cost
from autograde.judge import describe
from autograde.judge.answer import RightAnswer
from autograde.judge.check import ANSWER, Case, Check
from autograde.judge.compare import Fault, agree
from autograde.probes.two_thin_products import call_and_count

ORDER = "order"  # the part of the points that is for the cheap order

# Two thin products cost at most twice `thin_cost`, however they are written and wherever the scaling is applied. At the
# sizes of the counted cases the (d, k) product costs at least ten times as much.
COSTLY = 3

# Factors of powers of two: of x, of A, and of the first column of B. In float64 the result is then finite, and the first
# column of A @ B is not. So the order shows in the values where an answer multiplies in a thread or in numpy, and fewer
# FLOPs are counted than any answer takes. Where they are counted, the values do not decide: R @ B of A = Q @ R is as large.
TINY, HUGE = 2.0**-600, 2.0**600

answer = RightAnswer("""
def lora_delta(x, A, B, scaling):
    return scaling * (x @ A) @ B
""")


class LoraDelta(Check):
    """Compares values; in the `ORDER` cases it also counts what a call costs, and looks for a full product that overflows."""

    name = "lora_delta"
    points = 3
    parts = {ANSWER: 2, ORDER: 1}
    answer = answer
    note = (
        "F.linear on the transposes, torch.einsum, torch.linalg.multi_dot, a loop; the scaling may come at any step. "
        "Applied to the thin product, it costs the least."
    )
    next_step = (
        "Write the shape of every factor beside it, for this x: d is the size of its last axis. "
        "Each product must sum over the size that its two factors share."
    )

    def cases(self, draw):
        sizes = draw.sizes(5, low=2, high=9)
        r = min(sizes)
        n, s, d, k = (size for size in sizes if size != r)

        def case(x_shape, out, label, scaling=None, dtype=torch.float32, strided_x=False, strided_weights=False):
            args = {
                "x": draw.tensor(*x_shape, dtype=dtype, contiguous=not strided_x),
                "A": draw.tensor(x_shape[-1], r, dtype=dtype, contiguous=not strided_weights),
                "B": draw.tensor(r, out, dtype=dtype, contiguous=not strided_weights),
                "scaling": draw_scaling(draw) if scaling is None else scaling,
            }
            return Case(args, label)

        # Exact in float32 as well, for answers that make a tensor of the scaling.
        in_float32 = draw.choice([0.375, 0.625, 1.75, 2.25, 3.5])
        wide, narrow = draw.integer(62, 72), draw.integer(48, 58)
        large_in, large_out = draw.choice([(wide, narrow), (narrow, wide)])
        larger = [
            ((4, large_in), large_out, "a larger layer"),
            ((1, 5, large_in), large_out, "a larger layer, a batch of one sequence"),
        ]
        large = [case(*large_case) for large_case in larger]
        overflowing = case(
            (4, large_in), large_out, "a larger layer, numbers for which A @ B is infinite", dtype=torch.float64
        )
        for tensor, factor in (("x", TINY), ("A", HUGE)):
            overflowing.args[tensor] *= factor
        overflowing.args["B"][:, 0] *= HUGE
        return [
            case((n, d), k, "a batch of rows"),
            case((d,), k, "a single row, no batch"),
            case((n, s, d), k, "a batch of sequences", in_float32, torch.float64),
            case((1, d), k, "a batch of one row"),
            case((0, d), k, "an empty batch"),
            case((d, d), d, "a square layer, and as many rows as features"),
            case((n, d), k, "x is a transposed view, scaling is an int", scaling=11, strided_x=True),
            case((2, n, s, d), k, "four axes, all tensors are views", strided_x=True, strided_weights=True),
            *large,
            # On other numbers: what an answer has kept of the cases above would cost it nothing here.
            *(replace(case(x_shape, out, f"{label}, counted"), part=ORDER) for x_shape, out, label in larger),
            replace(overflowing, part=ORDER),
        ]

    def observe(self, target, case):
        if case.part == ORDER:
            return call_and_count(target, args=list(case.args.values()), device=case.device)
        return super().observe(target, case)

    def fault(self, case, observation):
        """What is wrong with one observation; in an `ORDER` case a right answer can be too costly."""
        if case.part == ORDER and self._overflowed(case, observation):
            return Fault(
                "The values are right, but computing them costs too much: for this A and B the product A @ B "
                "is infinite, and so is the result.",
                hint="Write the shape of every intermediate result beside it. Which of them does the result need?",
            )
        if fault := super().fault(case, observation):
            if overflows(case) and self._has_right_shape(case, observation):
                return None
            by_a_factor = next_steps.for_factor(*fault.tensors, "Every entry") if fault.tensors else ""
            return replace(
                fault, hint=fault.hint or by_a_factor or next_steps.for_x(fault, case.args["x"], observation)
            )
        if case.part != ORDER or not cost(case, observation)[0]:
            return None
        n, d, k, r = sizes_of(case)
        largest = describe.shape(observation["largest"])
        return Fault(
            f"The values are right, but computing them costs too much: {observation['flops']:,} FLOPs.",
            returned=f"{observation['flops']:,} FLOPs; the largest tensor made on the way has shape {largest}",
            expected=f"about {thin_cost(n, d, k, r):,} FLOPs",
            hint="Count the FLOPs of each product. Do you compute something several times that you need once?",
        )

    def _overflowed(self, case, observation):
        """Whether too little was counted, and the result is right but for its first column, where A @ B is infinite."""
        if not self._has_right_shape(case, observation):
            return False
        value, right = observation["value"], self.expected(case)
        if int(observation["flops"]) > thin_cost(*sizes_of(case)) // 2 or bool(value[..., 0].isfinite().all()):
            return False
        return agree(value[..., 1:], right[..., 1:], device=case.device)

    def _has_right_shape(self, case, observation):
        value = observation.get("value")
        return isinstance(value, torch.Tensor) and value.shape == self.expected(case).shape


lora_delta = LoraDelta()


def cost(case, observation):
    """Whether an observed call was costly, and whether it made a tensor as large as a full weight."""
    n, d, k, r = sizes_of(case)
    entries = math.prod(int(size) for size in observation["largest"])
    return int(observation["flops"]) > COSTLY * thin_cost(n, d, k, r), entries >= d * k


def overflows(case):
    """Whether it is the case in which A @ B is infinite; some right answers are, too, so their cost is what is looked at."""
    return case.part == ORDER and case.args["x"].dtype == torch.float64


def sizes_of(case):
    """n, d, k, r of a case; n counts the rows of x over all leading axes."""
    d, r = case.args["A"].shape
    return case.args["x"].numel() // d, d, case.args["B"].shape[1], r


def _stops_at(*products):
    """Recognises an answer by the first product that its sizes do not allow: ``(left, right)`` in the letters n d k r.

    Only the case of a batch of rows is asked, where all four sizes differ.
    """

    def recognise(case, observation):
        if "raised" not in observation or case.args["x"].ndim != 2 or len({*(sizes := sizes_of(case))}) < 4:
            return False
        size = {letter: str(number) for letter, number in zip("ndkr", sizes, strict=True)}
        factors = ["x".join(size[letter] for letter in factor) for pair in products for factor in pair]
        pairs = zip(factors[::2], factors[1::2], strict=True)
        return any(f"({left} and {right})" in observation["raised"]["message"] for left, right in pairs)

    return recognise


def _pairs_entries(case, observation):
    """Whether sizes were paired that only meet when `*` stands between x and A, or between their product and B."""
    if "raised" not in observation or case.args["x"].ndim != 2:
        return False
    _, d, k, r = sizes_of(case)
    sizes = re.search(r"tensor a \((\d+)\) must match the size of tensor b \((\d+)\)", observation["raised"]["message"])
    return bool(sizes) and {int(size) for size in sizes.groups()} in ({d, r}, {r, k})


answer.slip(
    "elementwise_factors",
    "(x @ A) @ B",
    "x * A * B",
    thought="`*` multiplies x with A, and the result with B, as it does with numbers.",
    hint="`*` pairs entries one by one. Which operator turns a row of d numbers into a row of r numbers?",
    recognise=_pairs_entries,
)
elementwise = answer.slip(
    "elementwise",
    "(x @ A) @ B",
    "(A @ B) * x",
    thought="A @ B has the size of a weight, and `*` applies a weight to x.",
    hint="`*` pairs entries one by one. Which operator turns a row of d numbers into a row of k numbers?",
)
scaling_forgotten = answer.slip(
    SCALING_FORGOTTEN,
    "scaling * ",
    "",
    hint="Call your function twice on the same x, A and B, with scaling 1 and scaling 10. What should change?",
)
answer.slip(
    SCALING_TWICE,
    "(x @ A)",
    "(scaling * (x @ A))",
    hint="Call your function with scaling 1 and with scaling 10. How many times larger does the result get, and how "
    "many times should it?",
)
divided_again = answer.slip(DIVIDED_BY_RANK_AGAIN, "scaling *", "scaling / A.shape[1] *")
answer.both(elementwise, scaling_forgotten)
answer.both(elementwise, divided_again)
answer.slip(
    "linear_layout",
    "(x @ A) @ B",
    "(x @ A.T) @ B.T",
    thought="A, B or their product is stored as nn.Linear stores its weight, (out, in), and needs a transpose.",
    hint="Print A.shape and B.shape. Which axis of A has one entry for each of the d numbers in a row of x, and which axis "
    "of B one for each of the k numbers of the result?",
    recognise=_stops_at(("nd", "rd"), ("nr", "kr"), ("nd", "kd"), ("nd", "kr")),
)
answer.slip(
    "swapped",
    "(x @ A) @ B",
    "(x @ B) @ A",
    thought="The paper writes BA, so B comes first.",
    hint="The paper's x is a column on the right of BA, ours a row on the left. Which of A and B has d rows, one for "
    "each of the d numbers in a row of x?",
    recognise=_stops_at(("nd", "rk"), ("rk", "dr")),
)
answer.slip(
    "x_on_the_right",
    "(x @ A) @ B",
    "(B @ (A @ x))",
    thought="The paper writes BAx, with x on the right.",
    hint="The paper's x is a column, ours is a row. Which axis of A has one entry for each of the d numbers in a "
    "row of x, and on which side of `@` must A be?",
    recognise=_stops_at(("dr", "nd"), ("dk", "nd"), ("kd", "nd"), ("rd", "nd")),
)
answer.slip(TWO_DIMENSIONAL_ONLY, "(x @ A) @ B", "torch.mm(torch.mm(x, A), B)")
answer.slip(
    "full_product_first",
    "(x @ A) @ B",
    "(x @ (A @ B))",
    thought="A and B are small, so their product is cheap. The values are right whichever product comes first.",
    hint="Write the shape beside every intermediate result. One of them has as many entries as a whole weight: "
    "is there an order in which none has?",
    recognise=lambda case, observation: (
        case.part == ORDER
        and (
            lora_delta._overflowed(case, observation)
            or (cost(case, observation) == (True, True) and Check.fault(lora_delta, case, observation) is None)
        )
    ),
)
answer.slip(
    VIEW_FOR_TRANSPOSE,
    "(x @ A) @ B",
    "(x @ A.reshape(A.shape[1], A.shape[0]).T) @ B.reshape(B.shape[1], B.shape[0]).T",
    hint="view and reshape keep the values in their order in memory. Compare A.view(r, d) with A.T on a small A, "
    "entry by entry. And look at the given shapes: do you need a transpose at all?",
)
