"""to_linear_weights: the same adapters as the weights of two bias-free nn.Linears."""

from dataclasses import replace

import torch

from autograde.checks.shared.draws import layer_sizes
from autograde.checks.shared.families import NO_TRANSPOSE
from autograde.judge.check import Case, Check
from autograde.judge.compare import agree
from autograde.remote.wire import Opaque


class ToLinearWeights(Check):
    """Compares values."""

    name = "to_linear_weights"
    points = 1
    note = "A.T, A.mT, transpose, permute, contiguous or not: all the same numbers in the same places."
    next_step = (
        "Print the shapes of nn.Linear(8, 2, bias=False).weight and of a lora_A for 8 inputs and rank 2 beside each "
        "other; then the same for lora_B. Return the two tensors, A's first."
    )

    def cases(self, draw):
        def case(label, d, k, r, **kind):
            return Case({"lora_A": draw.tensor(d, r, **kind), "lora_B": draw.tensor(r, k, **kind)}, label)

        side = draw.integer(5, 9)
        return [
            case("", *layer_sizes(draw)),
            case("a square layer", side, side, 3),
            case("as many inputs as ranks", side, side + 2, side),
            case("transposed views", *layer_sizes(draw), contiguous=False),
            case("a square layer, other numbers", side, side, 3),
        ]

    def right(self, lora_A, lora_B):
        return lora_A.mT.float(), lora_B.mT.float()  # as every case has them, and as a report should name them

    def fault(self, case, observation):
        """See `Check.fault`."""
        fault, value = super().fault(case, observation), observation.get("value")
        if fault is None or not isinstance(value, list) or len(value) != len(case.args):
            return fault
        if any(isinstance(entry, Opaque) and entry.type.endswith(".Linear") for entry in value):
            return replace(fault, hint="Return two tensors, not two layers. Which tensor of each layer do you need?")
        for (name, given), entry in zip(case.args.items(), value, strict=True):
            if given.shape[0] == given.shape[1] and isinstance(entry, torch.Tensor) and agree(entry, given):
                hint = (
                    f"{name} came back as it is. It is square here, so its shape fits, but are the right numbers "
                    "in its first row?"
                )
                return replace(fault, hint=hint)
        return fault


to_linear_weights = ToLinearWeights()


@to_linear_weights.misconception(
    NO_TRANSPOSE,
    thought="The adapter's matrices can be used as weights of nn.Linears as they are.",
    hint="Lesson 00: in which order does nn.Linear(d, r) keep its sizes? Compare with the shape of lora_A.",
)
def no_transpose(lora_A, lora_B):
    return lora_A, lora_B


@to_linear_weights.misconception(
    "reshaped",
    thought="The sizes are swapped, so a view with swapped sizes is right.",
    hint="A view keeps the values in their order in memory. Which operation swaps rows and columns?",
)
def reshaped(lora_A, lora_B):
    return lora_A.reshape(lora_A.shape[1], -1), lora_B.reshape(lora_B.shape[1], -1)


ONE_RESHAPED = {
    "thought": "The sizes are swapped, so a view with swapped sizes is right.",
    "hint": "You transpose one of the two and take a view of the other. A view keeps the values in their order in "
    "memory.",
}


@to_linear_weights.misconception("reshaped", **ONE_RESHAPED)
def only_A_reshaped(lora_A, lora_B):
    return lora_A.reshape(lora_A.shape[1], -1), lora_B.T


@to_linear_weights.misconception("reshaped", **ONE_RESHAPED)
def only_B_reshaped(lora_A, lora_B):
    return lora_A.T, lora_B.reshape(lora_B.shape[1], -1)


@to_linear_weights.misconception(
    "swapped",
    thought="The paper writes B first, so B's weight is the first of the two.",
    hint="Return A's weight first: that of the nn.Linear that gets x.",
)
def swapped(lora_A, lora_B):
    return lora_B.T, lora_A.T


@to_linear_weights.misconception(
    "swapped_without_transpose",
    thought="Swapping the order of the two is the transpose.",
    hint="(A B) transposed is B transposed times A transposed, but here each of the two is a weight of its own.",
)
def swapped_without_transpose(lora_A, lora_B):
    return lora_B, lora_A


@to_linear_weights.misconception(
    "one_transposed",
    thought="One of the two has the shape that its nn.Linear needs as it is.",
    hint="Compare the shape of each with the shape of the weight of its nn.Linear: nn.Linear(d, r) and nn.Linear(r, k).",
)
def only_A_transposed(lora_A, lora_B):
    return lora_A.T, lora_B


@to_linear_weights.misconception(
    "one_transposed",
    thought="One of the two has the shape that its nn.Linear needs as it is.",
    hint="Compare the shape of each with the shape of the weight of its nn.Linear: nn.Linear(d, r) and nn.Linear(r, k).",
)
def only_B_transposed(lora_A, lora_B):
    return lora_A, lora_B.T


@to_linear_weights.misconception(
    "product",
    thought="The two weights are the factors of one matrix, so that matrix is the answer.",
    hint="Two nn.Linears, one after the other, need a weight each: (r, d) and (k, r).",
)
def product(lora_A, lora_B):
    return (lora_A @ lora_B).T
