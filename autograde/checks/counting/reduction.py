"""reduction: how many times fewer values the adapter holds than the weight."""

from autograde.checks.counting.layers import layers
from autograde.checks.shared.families import BRACKETS_LOST
from autograde.judge.check import Check
from autograde.judge.compare import agree, is_number


class Reduction(Check):
    """Compares values."""

    name = "reduction"
    points = 1
    note = "one division, however you get the two counts."
    next_step = (
        "In the worked example the weight has 600 numbers and the adapter 100, and the answer is 6.0. Return "
        "the quotient without rounding."
    )

    def cases(self, draw):
        return layers(draw)

    def right(self, d, k, r):
        return d * k / (r * (d + k))


reduction = Reduction()


@reduction.misconception(
    "inverted",
    thought="The reduction is the adapter's share of the weight.",
    hint="When the adapter is far smaller than the weight, the answer is far above 1. Which of the two do you "
    "divide by the other?",
)
def inverted(d, k, r):
    return r * (d + k) / (d * k)


@reduction.misconception(
    "integer_division",
    thought="Counts are whole, so their quotient is.",
    hint="4 / 3 and 4 // 3 are not the same. Which of them did you use?",
)
def integer_division(d, k, r):
    return float(d * k // (r * (d + k)))


@reduction.misconception(
    "rounded_to_whole",
    thought="A factor is stated as a whole number.",
    hint="In a table, perhaps. Here do not round: other code computes with your result.",
)
def rounded_to_whole(d, k, r):
    return float(round(d * k / (r * (d + k))))


def _has_few_decimals(case, observation):
    value, right = observation.get("value"), reduction.expected(case)
    # Few digits in all may come about in other ways.
    return is_number(value) and any(
        agree(value, round(right, decimals)) for decimals in (1, 2, 3) if right >= 10 ** (3 - decimals)
    )


@reduction.misconception(
    "rounded_to_decimals",
    thought="A factor is stated with one or two decimals.",
    hint="Round when you print. Other code computes with your result.",
    recognise=_has_few_decimals,
)
def rounded_to_decimals(d, k, r):
    return round(d * k / (r * (d + k)), 2)


@reduction.misconception(
    "percent_saved",
    thought="A reduction is the percentage that is saved.",
    hint="For the worked example, 6 times fewer and 83 % fewer mean the same. Which of the two does the exercise "
    "ask for?",
)
def percent_saved(d, k, r):
    return 100 * (1 - r * (d + k) / (d * k))


@reduction.misconception(
    "fraction_saved",
    thought="A reduction is the part that is saved.",
    hint="For the worked example the answer is 6.0. Yours is below 1, however small the adapter is.",
)
def fraction_saved(d, k, r):
    return 1 - r * (d + k) / (d * k)


@reduction.misconception(
    "percent_left",
    thought="A reduction is stated as a percentage of the weight.",
    hint="For the worked example the answer is 6.0: a factor, not a percentage.",
)
def percent_left(d, k, r):
    return 100 * r * (d + k) / (d * k)


@reduction.misconception(BRACKETS_LOST)
def brackets_lost(d, k, r):
    return d * k / r * (d + k)


@reduction.misconception(BRACKETS_LOST)
def brackets_lost1(d, k, r):
    return d * k / d * r + r * k


@reduction.misconception(
    "minus_one",
    thought="What is saved is divided by what is left.",
    hint="If the adapter is half as large as the weight, the answer is 2. What does your function return?",
)
def minus_one(d, k, r):
    return (d * k - r * (d + k)) / (r * (d + k))


@reduction.misconception(
    "whole_layer_divided",
    thought="The weight and the adapter together are compared with the adapter.",
    hint="The adapter is compared with the weight alone: how many times larger is the weight?",
)
def whole_layer_divided(d, k, r):
    return (d * k + r * (d + k)) / (r * (d + k))


@reduction.misconception(
    "difference",
    thought="The reduction is how many numbers fewer there are.",
    hint="That is a difference. How many times as many numbers does the weight have?",
)
def difference(d, k, r):
    return float(d * k - r * (d + k))


@reduction.misconception(
    "only_A",
    thought="The adapter is the matrix by which the inputs are multiplied.",
    hint="Both matrices of the adapter are compared with the weight. You may call lora_parameters.",
)
def only_A(d, k, r):
    return d * k / (d * r)


@reduction.misconception(
    "only_B",
    thought="The adapter is the matrix that makes the outputs.",
    hint="Both matrices of the adapter are compared with the weight. You may call lora_parameters.",
)
def only_B(d, k, r):
    return d * k / (r * k)


@reduction.misconception(
    "square_from_d",
    thought="A and B are equally large.",
    hint="That is true for a square layer. Write down both shapes for a layer with fewer outputs than inputs.",
)
def square_from_d(d, k, r):
    return d * k / (2 * d * r)


@reduction.misconception(
    "square_from_k",
    thought="A and B are equally large.",
    hint="That is true for a square layer. Write down both shapes for a layer with more outputs than inputs.",
)
def square_from_k(d, k, r):
    return d * k / (2 * k * r)


@reduction.misconception(
    "biases_included",
    thought="The layer's bias is one of its parameters.",
    hint="You compare the weight and the adapter. The bias belongs to neither.",
)
def biases_included(d, k, r):
    return (d * k + k) / (r * (d + k))
