"""pissa_as_lora: A1 @ B1 - A0 @ B0 as one product of twice the rank."""

from dataclasses import replace

import torch

from autograde.judge import describe, tolerance
from autograde.judge.answer import RightAnswer
from autograde.judge.check import Case, Check, Wrong
from autograde.judge.compare import FROM_NUMPY, NUMBERS, Fault

answer = RightAnswer("""
def pissa_as_lora(A0, B0, A1, B1):
    A = torch.cat([A1, A0], dim=1)
    B = torch.cat([B1, -B0], dim=0)
    return A, B
""")


class PissaAsLora(Check):
    """Compares the product of the two returned matrices; the order of the pairs and the place of the minus are free."""

    name = "pissa_as_lora"
    points = 2
    answer = answer
    note = (
        "the pairs in either order, the minus in either factor of the start; torch.cat, hstack and vstack, or slices."
    )
    next_step = (
        "Take r = 1 and single numbers: A0 = B0 = [[2]], A1 = B1 = [[3]]. The change of the untouched weight "
        "is 9 - 4, so your A @ B must be 5."
    )

    def cases(self, draw):
        r, *sizes = sorted(draw.sizes(4, low=2, high=9))
        d, k = draw.choice([(sizes[0], sizes[2]), (sizes[2], sizes[1])])

        def case(d, k, r, label, dtype=torch.float32, strided=False):
            shapes = {"A0": (d, r), "B0": (r, k), "A1": (d, r), "B1": (r, k)}
            return Case(
                {name: draw.tensor(*shape, dtype=dtype, contiguous=not strided) for name, shape in shapes.items()},
                label,
            )

        return [
            case(d, k, r, ""),
            case(k, d, r, "the other way round"),
            case(d, d, r, "a square layer"),
            case(d, k, 1, "rank 1"),
            case(sizes[0], sizes[1], sizes[0], "a rank as large as the layer", torch.float64),
            case(d, k, r, "all of them are transposed views", strided=True),
        ]

    def right(self, A0, B0, A1, B1):
        return A1 @ B1 - A0 @ B0

    def compared(self, value, case):
        d, r = case.args["A0"].shape
        k = case.args["B0"].shape[1]
        expected_shapes = f"A of shape {describe.shape((d, 2 * r))} and B of shape {describe.shape((2 * r, k))}"
        if not isinstance(value, list) or len(value) != 2 or not all(isinstance(part, torch.Tensor) for part in value):
            hint = "Return A and B, and nothing else."
            if isinstance(value, list) and len(value) == 2:
                hint = NUMBERS if isinstance(value[0], list) else ""
            returned = describe.contents(value)
            raise Wrong("The result is not a pair of tensors.", returned=returned, expected=expected_shapes, hint=hint)
        A, B = value
        if A.shape != (d, 2 * r) or B.shape != (2 * r, k):
            sizes = f"A has shape {describe.shape(A.shape)} and B {describe.shape(B.shape)}"
            raise Wrong(f"The shapes are not right: {sizes}.", expected=expected_shapes)
        dtype = case.args["A0"].dtype
        if {A.dtype, B.dtype} != {dtype}:
            raise Wrong(
                f"A and B must be {describe.dtype_name(dtype)}, like the inputs.",
                hint="Let the dtype follow from the inputs: do not convert, and make new tensors with dtype=A0.dtype.",
            )
        return (A.double() @ B.double()).to(dtype)

    def fault(self, case, observation):
        if any(str(kind).startswith("numpy.") for kind in observation.get("entries", ())):
            return Fault("A and B are not torch tensors but numpy arrays.", hint=FROM_NUMPY)
        # What is compared is a product, and so a tensor, whatever kind of pair came back.
        if isinstance(observation.get("value"), list):
            observation = observation | {"type": "torch.Tensor"}
        fault = super().fault(case, observation)
        return fault and replace(fault, problem=fault.problem.replace("The result has", "The product A @ B has"))


pissa_as_lora = PissaAsLora()


def _start_is_added(sign):
    """Return a recogniser of an answer whose product is the sum; `sign` is the sign of A0 in it."""

    def recognise(case, observation):
        value = observation.get("value")
        if not isinstance(value, list) or len(value) != 2 or not all(isinstance(part, torch.Tensor) for part in value):
            return False
        A0, B0, A1, B1 = case.args.values()
        A, B = value
        if A.shape != (A0.shape[0], 2 * A0.shape[1]) or B.shape != (2 * B0.shape[0], B0.shape[1]):
            return False
        if not tolerance.close(A @ B, (A1 @ B1 + A0 @ B0).double(), A.dtype, "cpu"):
            return False
        columns = {tuple(column.tolist()) for column in A.T}
        return sign == (1 if tuple(A0.T[0].tolist()) in columns else -1)

    return recognise


answer.slip(
    "minus_in_both",
    "[A1, A0]",
    "[A1, -A0]",
    thought="The start must be subtracted, so both of its factors get a minus.",
    hint="Minus times minus: what does that make of A0 @ B0?",
    recognise=_start_is_added(-1),
)
answer.slip(
    "minus_forgotten",
    "-B0",
    "B0",
    thought="The adapter is the sum of the start and the trained pair.",
    hint="The untouched weight contains the product of the start already. Should you add it again?",
    recognise=_start_is_added(1),
)
answer.slip(
    "minus_at_the_end",
    "[B1, -B0]",
    "[-B1, B0]",
    thought="The difference of the two products, whichever way round.",
    hint="The trained product must be added, and the start subtracted. Which sign does each product have in yours?",
)
answer.slip(
    "pairs_crossed",
    "[B1, -B0]",
    "[-B0, B1]",
    thought="The order of the factors does not matter.",
    hint="Column i of A is multiplied by row i of B. By which rows are the columns of A1 multiplied in yours?",
)
answer.slip(
    "end_alone",
    "torch.cat([A1, A0], dim=1)",
    "A1",
    "torch.cat([B1, -B0], dim=0)",
    "B1",
    thought="The trained pair is the adapter.",
    hint="It is, for the base from which the start was subtracted. What is the weight here, and what does it "
    "contain already?",
)
answer.slip(
    "factors_subtracted",
    "torch.cat([A1, A0], dim=1)",
    "A1 - A0",
    "torch.cat([B1, -B0], dim=0)",
    "B1 - B0",
    thought="The difference of two products is the product of the differences.",
    hint="Expand it for r = 1: (a1 - a0)(b1 - b0) has four terms. Which ones should not be there?",
)
answer.slip(
    "factors_subtracted_side_by_side",
    "[A1, A0]",
    "[A1 - A0, A0]",
    "[B1, -B0]",
    "[B1 - B0, B0]",
    thought="The change of each factor goes beside the start.",
    hint="Expand your product for r = 1, and compare with a1 b1 - a0 b0.",
)
answer.slip(
    "wrong_dimensions",
    "[A1, A0], dim=1",
    "[A1, A0], dim=0",
    "[B1, -B0], dim=0",
    "[B1, -B0], dim=1",
    thought="Matrices are stacked one on top of the other.",
    hint="The rank is A's second dimension and B's first. Which dimension of each must double?",
)
answer.slip(
    "one_matrix",
    "return A, B",
    "return A @ B",
    thought="The function must return the change itself.",
    hint="An adapter file stores two factors. Return these, and let the reader multiply.",
)
