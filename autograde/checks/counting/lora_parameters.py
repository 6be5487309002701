"""lora_parameters: how many values the adapter of a layer holds."""

from autograde.checks.counting.layers import layers
from autograde.checks.shared.families import BRACKETS_LOST
from autograde.judge.check import Check


class LoraParameters(Check):
    """Compares values."""

    name = "lora_parameters"
    points = 1
    note = "the two sizes worked out and added, the common factor taken out, or numel() of two tensors."
    next_step = "Draw A and B for d = 30, k = 20, r = 2, as the worked example has them, and count the numbers in each."

    def cases(self, draw):
        return layers(draw)

    def right(self, d, k, r):
        return r * (d + k)


lora_parameters = LoraParameters()


@lora_parameters.misconception(
    "sizes_multiplied",
    thought="All three sizes belong to the adapter, so they are multiplied.",
    hint="The three sizes never meet in one matrix. Which two does A have, and which two B?",
)
def sizes_multiplied(d, k, r):
    return r * d * k


@lora_parameters.misconception(
    "only_A",
    thought="The matrix that the inputs go through is the adapter.",
    hint="What takes the r numbers in the middle to the k outputs? It has numbers too.",
)
def only_A(d, k, r):
    return d * r


@lora_parameters.misconception(
    "only_B",
    thought="The matrix that makes the outputs is the adapter.",
    hint="What takes the d inputs to the r numbers in the middle? It has numbers too.",
)
def only_B(d, k, r):
    return r * k


@lora_parameters.misconception(
    "square_from_d",
    thought="A and B are equally large.",
    hint="That is so in a square layer. Write down both shapes for a layer that gives fewer numbers than it takes.",
)
def square_from_d(d, k, r):
    return 2 * d * r


@lora_parameters.misconception(
    "square_from_k",
    thought="A and B are equally large.",
    hint="That is so in a square layer. Write down both shapes for a layer that gives more numbers than it takes.",
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
    thought="The adapter stands for a change of the whole weight, so it holds as many numbers.",
    hint="A @ B would have that many. Is it ever kept?",
)
def weight_counted(d, k, r):
    return d * k


@lora_parameters.misconception(
    "base_included",
    thought="The layer's weight belongs to the count.",
    hint="That is what the layer holds in all. Here only the adapter's own numbers are asked for.",
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
    hint="Both products of an adapter are bare: look at the formula. What would a bias have to be added to?",
)
def bias_in_both(d, k, r):
    return (d * r + r) + (r * k + k)


@lora_parameters.misconception(
    "degrees_of_freedom",
    thought="Different A and B can give the same product, so fewer numbers count.",
    hint="That is how many directions A @ B can move in. What the optimiser is given is every entry of A and of B.",
)
def degrees_of_freedom(d, k, r):
    return r * (d + k - r)
