"""delta_weight: what a merge adds to the base's weight."""

from dataclasses import replace

import torch

from autograde.checks.merging.given import NAME, SOURCE, GivenLayerCheck, adapted
from autograde.checks.shared.families import (
    CHANGED_LAYER,
    DIVIDED_BY_RANK_AGAIN,
    NO_TRANSPOSE,
    SCALING_FORGOTTEN,
    SCALING_TWICE,
    VIEW_FOR_TRANSPOSE,
)
from autograde.judge import tolerance
from autograde.judge.answer import RightAnswer
from autograde.judge.compare import fault_between
from autograde.probes.merging import delta_of

answer = RightAnswer("""
def delta_weight(layer):
    return layer.scaling * (layer.lora_A @ layer.lora_B).T
""")


class DeltaWeight(GivenLayerCheck):
    """Compares the returned delta with the right one, and the layer with its state before the call."""

    name = "delta_weight"
    answer = answer
    points = 1
    note = "transposing each factor or the product, einsum, F.linear; the scaling at any step; detached or not."
    next_step = (
        "Call it on the lesson's layer `small`, which you have done on paper. Write the shape of every "
        "factor beside it, and then compare number by number."
    )

    def cases(self, draw):
        side = draw.integer(5, 9)
        return [
            adapted(draw, ""),
            adapted(draw, "a square layer", sizes=(side, side, 3)),
            adapted(draw, "no bias, float64", bias=False, dtype=torch.float64),
            adapted(draw, "a single output, rank 1", sizes=(draw.integer(5, 9), 1, 1)),
            adapted(draw, "a square layer, other numbers", sizes=(side, side, 3)),
        ]

    def right(self, weight, bias, options, A, B):
        return options["alpha"] / options["rank"] * (A @ B).T

    def observe(self, target, case):
        """Call the learner's function with the case's layer."""
        return delta_of(target, source=SOURCE, name=NAME, **case.args, device=case.device)

    def fault(self, case, observation):
        """What is wrong with the answer for one layer."""
        if fault := self.failed_call(observation):
            return fault
        properties = {"dtype": case.args["A"].dtype, "device": case.device}
        fault = fault_between(observation["value"], observation["type"], self.expected(case), **properties)
        if (
            fault
            and fault.tensors
            and properties["dtype"] == torch.float64
            and tolerance.close(*fault.tensors, torch.float32)
        ):
            hint = "Only the first seven digits are right: lora_A is float64, but some intermediate tensor was float32."
            return replace(fault, hint=hint)
        return fault or self.spoiled(observation)


delta_weight = DeltaWeight()


def _wrote_in_place(case, observation):
    message = str(observation["raised"]["message"]) if "raised" in observation else ""
    changed = any("lora_" in str(name) for name in observation.get("changed", ()))
    return changed or "is being used in an in-place operation" in message


scaling_forgotten = answer.slip(
    SCALING_FORGOTTEN,
    "layer.scaling * ",
    "",
    thought="Merging means adding the product of the two matrices: W + BA.",
    hint="Some published texts say so. Compare with the layer's forward: what happens there to the adapter's part "
    "before it is added?",
)

no_transpose = answer.slip(
    NO_TRANSPOSE,
    ".lora_B).T",
    ".lora_B)",
    thought="lora_A @ lora_B can be added to the weight as it is.",
    hint="It has d rows and k columns. nn.Linear keeps its weight the other way round: compare the two shapes. On "
    "a square layer no error is raised.",
)

view_for_transpose = answer.slip(
    VIEW_FOR_TRANSPOSE,
    "(layer.lora_A @ layer.lora_B).T",
    "(layer.lora_A @ layer.lora_B).reshape(layer.base_layer.weight.shape)",
    hint="It has the right shape, but its values are in the wrong places. Follow one entry, that of input 1 and "
    "output 0: where is it in the base's weight, and where in yours?",
)


def _met(first, second):
    """Return a recogniser of an exception about a product of two matrices, whose sizes are given by the letters d, r and k."""

    def recognise(case, observation):
        (d, r), k = case.args["A"].shape, case.args["B"].shape[1]
        size = {"d": d, "r": r, "k": k}
        met = " and ".join(f"{size[rows]}x{size[columns]}" for rows, columns in (first, second))
        return "raised" in observation and f"({met})" in str(observation["raised"]["message"])

    return recognise


answer.slip(
    "paper_order",
    "(layer.lora_A @ layer.lora_B).T",
    "(layer.lora_B @ layer.lora_A)",
    thought="The paper writes BA, so lora_B comes first.",
    hint="The paper's B is (k, r) and its A is (r, d). Write down the shapes of ours. What must you do to each of "
    "them before you multiply them in the paper's order?",
    recognise=_met("rk", "dr"),
)

answer.slip(
    "transposed_one_by_one",
    "(layer.lora_A @ layer.lora_B).T",
    "(layer.lora_A.T @ layer.lora_B.T)",
    thought="The transpose of a product is the product of the transposes.",
    hint="Write the shapes of the two transposes side by side: which sizes are next to each other? In which order "
    "would these be the two ranks?",
    recognise=_met("rd", "kr"),
)

merged_weight = answer.slip(
    "merged_weight",
    "return ",
    "return layer.base_layer.weight + ",
    thought="The result is the weight after the merge.",
    hint="The question is what must be added. Your result already contains the base's weight.",
)

scaling_twice = answer.slip(
    SCALING_TWICE,
    "(layer.lora_A @",
    "(layer.scaling * layer.lora_A @",
    hint="Count how many times the product is multiplied by layer.scaling. How many times is it in forward?",
)

divided_again = answer.slip(
    DIVIDED_BY_RANK_AGAIN,
    "layer.scaling *",
    "layer.scaling / layer.lora_A.shape[1] *",
    hint="layer.scaling is alpha / rank: the division is in it already.",
)

answer.slip(
    CHANGED_LAYER,
    "layer.scaling * (layer.lora_A @ layer.lora_B).T",
    "(layer.lora_A @ layer.lora_B.data.mul_(layer.scaling)).T",
    thought="The scaling can be put into lora_B.",
    hint="A name ending in _ and an augmented assignment write into the tensor itself. The layer is still in use: "
    "every call would scale it again. Make a new tensor.",
    recognise=_wrote_in_place,
)

for slip in (no_transpose, view_for_transpose, merged_weight):
    for other in (scaling_forgotten, scaling_twice, divided_again):
        answer.both(slip, other)
for other in (no_transpose, view_for_transpose):
    answer.both(merged_weight, other)
