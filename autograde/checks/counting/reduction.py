"""reduction: how many times fewer values the adapter holds than the weight."""

from autograde.checks.counting.layers import layers
from autograde.checks.shared.families import BRACKETS_LOST
from autograde.judge.check import Check
from autograde.judge.compare import agree, is_number


class Reduction(Check):
    """Compares values."""

    name = "reduction"
    points = 1
    note = "one division, whichever way the two counts were found."
    next_step = (
        "In the worked example the weight holds 600 numbers and the adapter 100, and the answer is 6.0. "
        "Return the quotient as it comes, without rounding."
    )

    def cases(self, draw):
        return layers(draw)

    def right(self, d, k, r):
        return d * k / (r * (d + k))


reduction = Reduction()


@reduction.misconception(
    "inverted",
    thought="The reduction is the adapter's share of the weight.",
    hint="Where the adapter is far smaller than the weight, the answer is far above 1. Which of the two is divided?",
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
    hint="In a table, perhaps. Here nothing is rounded: others will go on computing with what you return.",
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
    hint="Round where you print. Others will go on computing with what you return.",
    recognise=_has_few_decimals,
)
def rounded_to_decimals(d, k, r):
    return round(d * k / (r * (d + k)), 2)


@reduction.misconception(
    "percent_saved",
    thought="A reduction is the percentage that is saved.",
    hint="6 times fewer and 83 % fewer say the same of the worked example. Which of the two is asked for?",
)
def percent_saved(d, k, r):
    return 100 * (1 - r * (d + k) / (d * k))


@reduction.misconception(
    "fraction_saved",
    thought="A reduction is the part that is saved.",
    hint="For the worked example the answer is 6.0. Yours stays below 1 however small the adapter gets.",
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
    hint="An adapter half as large as the weight holds 2 times fewer. What does your function say for it?",
)
def minus_one(d, k, r):
    return (d * k - r * (d + k)) / (r * (d + k))


@reduction.misconception(
    "whole_layer_divided",
    thought="The weight and the adapter together are compared with the adapter.",
    hint="The adapter is compared with the weight alone: how often does the one go into the other?",
)
def whole_layer_divided(d, k, r):
    return (d * k + r * (d + k)) / (r * (d + k))


@reduction.misconception(
    "difference",
    thought="The reduction is how many numbers fewer there are.",
    hint="That is a difference. How many times as many numbers does the weight hold?",
)
def difference(d, k, r):
    return float(d * k - r * (d + k))


@reduction.misconception(
    "only_A",
    thought="The matrix that the inputs go through is the adapter.",
    hint="Both matrices of the adapter are compared with the weight. You may call lora_parameters.",
)
def only_A(d, k, r):
    return d * k / (d * r)


@reduction.misconception(
    "only_B",
    thought="The matrix that makes the outputs is the adapter.",
    hint="Both matrices of the adapter are compared with the weight. You may call lora_parameters.",
)
def only_B(d, k, r):
    return d * k / (r * k)


@reduction.misconception(
    "square_from_d",
    thought="A and B are equally large.",
    hint="That is so in a square layer. Write down both shapes for a layer that gives fewer numbers than it takes.",
)
def square_from_d(d, k, r):
    return d * k / (2 * d * r)


@reduction.misconception(
    "square_from_k",
    thought="A and B are equally large.",
    hint="That is so in a square layer. Write down both shapes for a layer that gives more numbers than it takes.",
)
def square_from_k(d, k, r):
    return d * k / (2 * k * r)


@reduction.misconception(
    "biases_included",
    thought="The layer's bias is one of its parameters.",
    hint="The two things compared are the weight and the adapter. A bias is neither.",
)
def biases_included(d, k, r):
    return (d * k + k) / (r * (d + k))
