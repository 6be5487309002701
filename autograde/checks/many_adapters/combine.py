"""combine: one adapter that adds exactly the weighted sum of what several add."""

import itertools

import torch

from autograde.checks.shared.families import SCALING_FORGOTTEN, SCALING_TWICE
from autograde.judge import describe
from autograde.judge.answer import RightAnswer
from autograde.judge.check import Case, Check, Wrong
from autograde.judge.compare import Fault, as_number, fault_between, is_number
from autograde.judge.misconception import CHANGED_INPUT, Misconception
from autograde.probes.many_adapters import combined

ROOT = Misconception(
    "root_of_a_negative_weight",
    thought="Each matrix gets the square root of the weight.",
    hint="A weight may be negative: which number has a negative square?",
)

answer = RightAnswer("""
def combine(adapters, weights):
    A = torch.cat([A for A, B, scaling in adapters], dim=1)
    B = torch.cat([w * scaling * B for (A, B, scaling), w in zip(adapters, weights)], dim=0)
    return A, B, 1.0
""")


class Combine(Check):
    """Compares the update scaling * A @ B; how it is split between the three is free."""

    name = "combine"
    points = 3
    answer = answer
    note = (
        "weights and scalings may be put on the A's, on the B's, or half of each with a sign on one side; an SVD of the "
        "whole sum is exact, too, and gives a smaller rank where that is possible."
    )
    next_step = (
        "Take two adapters of rank 1 with d = k = 1, so that every matrix is a single number. Write down the "
        "sum that is wanted, and compute your A times your B."
    )

    def cases(self, draw):
        d, k = draw.sizes(2, low=8, high=11)

        def case(ranks, weights, label, dtype=torch.float32, scalings=(0.5, 3.0, 2.0)):
            adapters = [
                [draw.tensor(d, r, dtype=dtype), draw.tensor(r, k, dtype=dtype), scaling]
                for r, scaling in zip(ranks, scalings, strict=False)
            ]
            return Case({"adapters": adapters, "weights": list(weights)}, label)

        return [
            case((2, 3), (0.7, 0.6), "two ranks, two scalings"),
            case((2, 2), (0.5, 0.5), "an average"),
            case((3, 3), (1.0, 1.0), "a sum", scalings=(0.25, 0.25)),
            case((1, 3, 2), (0.4, 1.7, 0.8), "three adapters", torch.float64),
            case((2, 3), (1.5, -0.7), "a negative weight"),
            case((2, 1), (0.0, 2.5), "a weight of zero", scalings=(0.5, 1.7)),
            case((3,), (1.3,), "a single adapter", scalings=(0.6,)),
        ]

    def right(self, adapters, weights):
        """The weighted sum of the updates."""
        return sum(w * s * A.double() @ B.double() for w, (A, B, s) in zip(weights, adapters, strict=True))

    def observe(self, target, case):
        return combined(target, **case.args)

    def compared(self, value, case):
        if not isinstance(value, list) or len(value) != 3:
            hint = "Return three things. If the scalings are in the factors already, what is left to scale by?"
            raise Wrong("The result is not (A, B, scaling).", returned=describe.contents(value), hint=hint)
        A, B, scaling = value
        (first, second, _), *_ = case.args["adapters"]
        d, k = first.shape[0], second.shape[1]
        for name, tensor in (("A", A), ("B", B)):
            if not isinstance(tensor, torch.Tensor):
                contents = describe.contents(tensor)
                cause = ROOT if "complex" in contents and negative(case) else None
                raise Wrong(f"{name} is not a tensor of real numbers.", returned=contents, misconception=cause)
            if tensor.dtype != first.dtype:
                hint = (
                    "Let the dtype follow from the adapters: do not convert, and make new tensors with dtype=A.dtype."
                )
                raise Wrong(f"{name} has another dtype than the adapters.", returned=describe.kind(tensor), hint=hint)
        if A.ndim != 2 or B.ndim != 2 or (A.shape[0], B.shape[1]) != (d, k) or A.shape[1] != B.shape[0]:
            shapes = f"A {describe.shape(A.shape)}, B {describe.shape(B.shape)}"
            raise Wrong(
                "The shapes of A and B do not make an adapter.",
                returned=shapes,
                expected=f"A ({d}, r), B (r, {k})",
                hint="Only the rank grows: it is A's second size and B's first. Along which axis do you join the "
                "A's, and along which the B's?",
            )
        if negative(case) and not (A.isfinite().all() and B.isfinite().all()):
            raise Wrong("Some of its entries are not numbers.", misconception=ROOT)
        if not is_number(scaling):
            raise Wrong("The scaling is not a number.", returned=describe.contents(scaling))
        total = sum(A.shape[1] for A, _, _ in case.args["adapters"])
        if A.shape[1] > total:
            raise Wrong(f"The rank is {A.shape[1]}, and the ranks add up to {total}.",
                        hint="An adapter as large as the weight saves nothing. How many columns do the A's have "
                            "together?")  # fmt: skip
        # In float32 the sum over the inner axis is taken here, exactly; what is left is the rounding of A and B.
        return (as_number(scaling) * A.double() @ B.double()).to(first.dtype)

    def fault(self, case, observation):
        if fault := self.failed_call(observation):
            return fault
        try:
            value = self.compared(observation["value"], case)
        except Wrong as wrong:
            return wrong.fault
        quantity = "scaling * A @ B"
        dtype = case.args["adapters"][0][0].dtype
        if fault := fault_between(value, "torch.Tensor", self.expected(case), dtype=dtype, what=quantity):
            return fault
        if observation["changed"]:
            return Fault(
                f"The result is right, but adapter {observation['changed'][0]} has changed.",
                misconception=CHANGED_INPUT,
            )
        return None

    def keeps(self, cases, observations, failed):
        """Whether each answer but the first has the columns of A that the call before it has returned, and more: what `Check`
        finds, and an answer that adds to what it keeps.
        """
        values = [observation.get("value") for observation in observations]
        factors = [
            value[0].double()
            for value in values
            if isinstance(value, list) and value and isinstance(value[0], torch.Tensor)
        ]
        grows = len(factors) == len(cases) and all(
            one.ndim == two.ndim == 2
            and len(one) == len(two)
            and one.shape[1] < two.shape[1]
            and torch.equal(one, two[:, : one.shape[1]])
            for one, two in itertools.pairwise(factors)
        )
        return grows or super().keeps(cases, observations, failed)

    def called(self, case):
        adapter_shapes = ", ".join(
            f"(A {describe.shape(A.shape)}, B {describe.shape(B.shape)}, {scaling:g})"
            for A, B, scaling in case.args["adapters"]
        )
        return f"combine([{adapter_shapes}], {case.args['weights']})  # {case.label}\nscaling * A @ B of what came back"


combine = Combine()


def negative(case):
    """Whether one of a case's weights is negative."""
    return min(case.args["weights"]) < 0


FACTORS_SUMMED = Misconception(
    "factors_summed",
    thought="The sum of two products is the product of the sums.",
    hint="Multiply (A1 + A2) by (B1 + B2) out. Which terms do not belong to the sum?",
)


def _factors_summed(case, observation):
    """Recognise a weighted sum of several A's returned with a weighted sum of several B's."""
    value, adapters = observation.get("value"), case.args["adapters"]
    if len(adapters) < 2 or not isinstance(value, list) or len(value) != 3:
        return False
    shares = [_shares(value[i], [adapter[i] for adapter in adapters]) for i in (0, 1)]
    return all(share is not None and int((share.abs() > 1e-3).sum()) > 1 for share in shares)


def _shares(matrix, factors):
    """The weights with which `factors` add up to `matrix`; None where they do not."""
    if not isinstance(matrix, torch.Tensor) or any(factor.shape != matrix.shape for factor in factors):
        return None
    if not matrix.isfinite().all():
        return None
    columns = torch.stack([factor.double().flatten() for factor in factors], dim=1)
    shares = torch.linalg.lstsq(columns, matrix.double().flatten()).solution
    return shares if (columns @ shares - matrix.double().flatten()).abs().max() < 1e-4 else None


A_LINE = "torch.cat([A for A, B, scaling in adapters], dim=1)"
B_LINE = "torch.cat([w * scaling * B for (A, B, scaling), w in zip(adapters, weights)], dim=0)"

answer.slip(
    FACTORS_SUMMED,
    A_LINE, "sum(w * A for (A, B, scaling), w in zip(adapters, weights))",
    B_LINE, "sum(w * scaling * B for (A, B, scaling), w in zip(adapters, weights))",
    recognise=_factors_summed,
)  # fmt: skip
answer.slip(
    FACTORS_SUMMED,
    A_LINE, "sum(A for A, B, scaling in adapters)",
    B_LINE, "sum(w * scaling * B for (A, B, scaling), w in zip(adapters, weights))",
    recognise=_factors_summed,
)  # fmt: skip
answer.slip(
    FACTORS_SUMMED,
    A_LINE, "sum(w * A for (A, B, scaling), w in zip(adapters, weights))",
    B_LINE, "sum(w * B for (A, B, scaling), w in zip(adapters, weights))",
    "1.0", "adapters[0][2]",
    recognise=_factors_summed,
)  # fmt: skip
answer.slip(
    FACTORS_SUMMED,
    A_LINE, "sum(math.copysign(abs(w * scaling) ** 0.5, w) * A for (A, B, scaling), w in zip(adapters, weights))",
    B_LINE, "sum(abs(w * scaling) ** 0.5 * B for (A, B, scaling), w in zip(adapters, weights))",
    recognise=_factors_summed,
)  # fmt: skip
answer.slip(
    "weights_on_both",
    "[A for A, B, scaling in adapters]", "[w * A for (A, B, scaling), w in zip(adapters, weights)]",
    thought="Both matrices belong to the adapter, so each of them gets the weight.",
    hint="How many times does a weight multiply the product? Try one adapter with the weight 3.",
)  # fmt: skip
answer.slip(
    SCALING_FORGOTTEN, "w * scaling * B", "w * B",
    hint="Adapters may have different scalings. Try one with the scaling 10 and one with 1.",
)  # fmt: skip
answer.slip(
    SCALING_TWICE, "[A for A, B, scaling in adapters]", "[scaling * A for A, B, scaling in adapters]",
)  # fmt: skip
answer.slip(
    SCALING_TWICE, "1.0", "adapters[0][2]",
)  # fmt: skip
answer.slip(
    "weights_forgotten", "w * scaling * B", "scaling * B",
    thought="The adapters are joined as they are.",
    hint="What has to change in the result when a weight is doubled?",
)  # fmt: skip
answer.slip(
    "scaling_of_the_first", "w * scaling * B", "w * B", "1.0", "adapters[0][2]",
    thought="All adapters have the same scaling.",
    hint="Each has its own scaling, and you can return only one. Where do the others go?",
)  # fmt: skip
answer.slip(
    "weights_normalised", "w * scaling * B", "w / sum(weights) * scaling * B",
    thought="Weights add up to 1.",
    hint="They do not have to. A weight of 2 means twice the update.",
)  # fmt: skip
answer.slip(
    "divided_by_their_number", "w * scaling * B", "w / len(adapters) * scaling * B",
    thought="To combine several adapters means to average them.",
    hint="The weights already say how much of each you need. Try the weights 1 and 1.",
)  # fmt: skip
answer.slip(
    ROOT,
    "[A for A, B, scaling in adapters]",
    "[torch.tensor(w * scaling, dtype=torch.float64).sqrt() * A for (A, B, scaling), w in zip(adapters, weights)]",
    "w * scaling * B", "torch.tensor(w * scaling, dtype=torch.float64).sqrt() * B",
)  # fmt: skip
answer.slip(
    ROOT,
    "[A for A, B, scaling in adapters]", "[math.sqrt(w * scaling) * A for (A, B, scaling), w in zip(adapters, weights)]",
    "w * scaling * B", "math.sqrt(w * scaling) * B",
)  # fmt: skip
answer.slip(
    "sign_lost",
    "[A for A, B, scaling in adapters]", "[abs(w * scaling) ** 0.5 * A for (A, B, scaling), w in zip(adapters, weights)]",
    "w * scaling * B", "abs(w * scaling) ** 0.5 * B",
    thought="A root needs a positive number, so the sign is dropped.",
    hint="What does a weight of -1 mean, and what does your result do with it?",
)  # fmt: skip
answer.slip(
    "joined_along_the_wrong_axis", "in adapters], dim=1", "in adapters], dim=0", "weights)], dim=0", "weights)], dim=1",
    thought="Matrices can be joined along either axis.",
    hint="A is (d, r). Which of its two sizes has to grow, and which belongs to the layer?",
)  # fmt: skip
answer.slip(
    "one_adapter_only",
    A_LINE, "adapters[0][0]", B_LINE, "weights[0] * adapters[0][2] * adapters[0][1]",
    thought="The loop visits all adapters, so all of them are in the result.",
    hint="Your result contains only one of them. How many columns does your A have, and how many do all A's have "
        "together? In a loop: do you collect the results, or does each round replace the last?",
)  # fmt: skip
answer.slip(
    "one_adapter_only",
    A_LINE, "adapters[-1][0]", B_LINE, "weights[-1] * adapters[-1][2] * adapters[-1][1]",
    thought="The loop visits all adapters, so all of them are in the result.",
    hint="Your result contains only one of them. How many columns does your A have, and how many do all A's have "
        "together? In a loop: do you collect the results, or does each round replace the last?",
)  # fmt: skip
answer.slip(
    "full_size_factor", "    return A, B, 1.0", "    return A @ B, torch.eye(B.shape[1], dtype=B.dtype), 1.0",
    thought="The sum of the updates is itself a matrix, so the matrix is enough.",
    hint="Count the entries of your A. Why are there two thin matrices?",
)  # fmt: skip
