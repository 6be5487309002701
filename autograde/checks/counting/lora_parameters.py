"""lora_parameters: how many values the adapter of a layer holds."""

from autograde.checks.counting.layers import layers
from autograde.checks.shared.families import BRACKETS_LOST
from autograde.judge.check import Check


class LoraParameters(Check):
    """Compares values."""

    name = "lora_parameters"
    points = 1
    note = "the two sizes computed and added, the common factor taken out, or numel() of two tensors."
    next_step = "Draw A and B for d = 30, k = 20, r = 2, as the worked example has them, and count the numbers in each."

    def cases(self, draw):
        return layers(draw)

    def right(self, d, k, r):
        return r * (d + k)


lora_parameters = LoraParameters()


@lora_parameters.misconception(
    "sizes_multiplied",
    thought="All three sizes belong to the adapter, so they are multiplied.",
    hint="No matrix has all three sizes. Which two does A have, and which two B?",
)
def sizes_multiplied(d, k, r):
    return r * d * k


@lora_parameters.misconception(
    "only_A",
    thought="The adapter is the matrix by which the inputs are multiplied.",
    hint="Which matrix turns the r numbers in the middle into the k outputs? Its entries count, too.",
)
def only_A(d, k, r):
    return d * r


@lora_parameters.misconception(
    "only_B",
    thought="The adapter is the matrix that makes the outputs.",
    hint="Which matrix turns the d inputs into the r numbers in the middle? Its entries count, too.",
)
def only_B(d, k, r):
    return r * k


@lora_parameters.misconception(
    "square_from_d",
    thought="A and B are equally large.",
    hint="That is true for a square layer. Write down both shapes for a layer with fewer outputs than inputs.",
)
def square_from_d(d, k, r):
    return 2 * d * r


@lora_parameters.misconception(
    "square_from_k",
    thought="A and B are equally large.",
    hint="That is true for a square layer. Write down both shapes for a layer with more outputs than inputs.",
)
def square_from_k(d, k, r):
    return 2 * k * r


@lora_parameters.misconception(
    "counts_multiplied",
    thought="A and B are multiplied, so their counts are too.",
    hint="The question is how many numbers must be kept. If one matrix holds 60 and the other 40, how many is that?",
)
def counts_multiplied(d, k, r):
    return (d * r) * (r * k)


@lora_parameters.misconception(
    "weight_counted",
    thought="The adapter is a change of the whole weight, so it has as many numbers.",
    hint="A @ B would have that many. Is it ever kept?",
)
def weight_counted(d, k, r):
    return d * k


@lora_parameters.misconception(
    "base_included",
    thought="The layer's weight belongs to the count.",
    hint="That is the number of all values in the layer. Count only those of the adapter.",
)
def base_included(d, k, r):
    return d * k + r * (d + k)


@lora_parameters.misconception(BRACKETS_LOST)
def brackets_lost(d, k, r):
    return r * d + k


@lora_parameters.misconception(BRACKETS_LOST)
def brackets_lost1(d, k, r):
    return d + k * r


@lora_parameters.misconception(
    "bias_added",
    thought="The layer's outputs have a bias, and it is trained with the adapter.",
    hint="The bias belongs to the base, and the base is frozen. Which matrices are left?",
)
def bias_added(d, k, r):
    return r * (d + k) + k


@lora_parameters.misconception(
    "bias_in_both",
    thought="A and B are linear layers, and a linear layer has a bias.",
    hint="Neither product of an adapter has a bias: look at the formula. To what would you have to add one?",
)
def bias_in_both(d, k, r):
    return (d * r + r) + (r * k + k)


@lora_parameters.misconception(
    "degrees_of_freedom",
    thought="Different A and B can give the same product, so fewer numbers count.",
    hint="That is the number of directions in which A @ B can move. The optimiser gets every entry of A and of B.",
)
def degrees_of_freedom(d, k, r):
    return r * (d + k - r)
