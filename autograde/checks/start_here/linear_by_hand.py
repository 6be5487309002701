"""linear_by_hand: x @ weight.T + bias, for every shape of x, with a bias and without."""

import re
from dataclasses import replace

import torch
from torch import nn

from autograde.checks.shared import next_steps
from autograde.checks.shared.families import NO_TRANSPOSE, TWO_DIMENSIONAL_ONLY
from autograde.judge import tolerance
from autograde.judge.answer import RightAnswer
from autograde.judge.check import Case, Check
from autograde.judge.misconception import Misconception

BIAS_OF_ANOTHER_SIZE = Misconception(
    "bias_of_another_size",
    thought="If there is no bias, zeros can be added instead, of any size.",
    hint="Each row of the result has k numbers. How many does the tensor have that you add when bias is None? And "
    "must you add anything at all?",
)

answer = RightAnswer("""
def linear_by_hand(x, weight, bias):
    out = x @ weight.T
    return out if bias is None else out + bias
""")


class LinearByHand(Check):
    """Compares values. An answer that works for two axes only is recognised by the cases in which it raises."""

    name = "linear_by_hand"
    points = 2
    answer = answer
    note = "x @ weight.T + bias, torch.einsum, torch.addmm or a loop over the rows: every order of the sums is right."
    next_step = (
        "Write the shapes of x and weight beside each other. Each output is a sum over the inputs: which axis of "
        "each counts them? Then the bias, when there is one."
    )

    def cases(self, draw):
        d, k, n, s = draw.sizes(4, low=3)
        side = draw.integer(3, 6)

        def case(shape, out, bias, label, dtype=torch.float32, contiguous=True):
            weight = draw.tensor(out, shape[-1], dtype=dtype)
            x = draw.tensor(*shape, dtype=dtype, contiguous=contiguous)
            return Case({"x": x, "weight": weight, "bias": draw.tensor(out, dtype=dtype) if bias else None}, label)

        return [
            case((n, d), k, True, "a batch of rows"),
            case((n, d), k, False, "no bias"),
            case((d,), k, True, "a single row, no batch"),
            case((n, s, d), k, True, "a batch of sequences", torch.float64),
            case((n, side), side, True, "a square weight"),
            case((n, d), k, True, "x is a transposed view", contiguous=False),
            case((0, d), k, True, "an empty batch"),
            case((1, d), k, True, "a batch of one row"),
            case((n, s, d), k, True, "a batch of sequences, x is a transposed view", contiguous=False),
        ]

    def fault(self, case, observation):
        """See `Check.fault`."""
        fault = super().fault(case, observation)
        if fault is None:
            return None
        return replace(fault, hint=fault.hint or next_steps.for_x(fault, case.args["x"], observation))

    def cause_in_all(self, cases, observations):
        """`BIAS_OF_ANOTHER_SIZE` if every answer with a bias is right, and without one something does not fit the k numbers of a row."""
        failed = [(case, seen) for case, seen in zip(cases, observations, strict=True) if self.fault(case, seen)]
        return BIAS_OF_ANOTHER_SIZE if failed and all(_adds_another_size(*each) for each in failed) else None

    def same(self, case, a, b):
        """See `Check.same`."""
        counts_axes = all(
            "raised" in observation and observation["raised"]["type"] in ("RuntimeError", "ValueError")
            for observation in (a, b)
        )
        return (case.args["x"].ndim != 2 and counts_axes) or super().same(case, a, b)


linear_by_hand = LinearByHand()


def _error_message(observation):
    """The message of the raised exception; empty if none was raised."""
    return observation["raised"]["message"] if "raised" in observation else ""


def _adds_another_size(case, observation):
    """Whether there is no bias, and a tensor that does not have k numbers met the result's last axis."""
    sizes = re.search(
        r"tensor a \((\d+)\) must match the size of tensor b \((\d+)\) at non-singleton dimension 1",
        _error_message(observation),
    )
    return case.args["bias"] is None and bool(sizes) and str(len(case.args["weight"])) in sizes.groups()


answer.slip(
    NO_TRANSPOSE,
    "weight.T",
    "weight",
    thought="The weight multiplies x as it is stored. That runs only when the weight is square.",
    hint="Print weight.shape and x.shape. Which axis of the weight has one entry per input feature?",
)


answer.slip(
    NO_TRANSPOSE,
    "weight.T",
    "(weight if x.shape[-1] == weight.shape[0] else weight.T)",
    thought="The weight multiplies x as it is stored; it is only transposed if that does not run.",
    hint="Print weight.shape and x.shape. Which axis of the weight has one entry per input feature?",
)


answer.slip(
    "no_transpose_reshaped",
    "weight.T",
    "weight.reshape(weight.shape[1], weight.shape[0])",
    thought="Any (d, k) tensor with the weight's numbers will do, so the weight was reshaped to fit.",
    hint="reshape and view keep the values in their order in memory. Which operation swaps rows and columns?",
)


def _has_x_on_the_right(case, observation):
    x, weight = case.args["x"], case.args["weight"]
    if x.ndim != 2 or case.args["bias"] is not None:
        return False
    value, across = observation.get("value"), linear_by_hand.expected(case).T
    if isinstance(value, torch.Tensor) and value.shape == across.shape:
        return tolerance.close(value, across, x.dtype)
    sizes = "x".join(map(str, weight.shape)), "x".join(map(str, x.shape))
    return f"({sizes[0]} and {sizes[1]})" in _error_message(observation)


answer.slip(
    "x_on_the_right",
    "x @ weight.T",
    "weight @ x",
    thought="A layer is W x + b, as textbooks write it, with W first.",
    hint="There x is a column. Here each row of x is one input, and each row of the result its output: on which "
    "side of `@` must x be, and which shape must the weight have on the other side?",
    recognise=_has_x_on_the_right,
)


answer.slip(
    "bias_forgotten",
    "out if bias is None else out + bias",
    "out",
    thought="A linear layer is a matrix product and nothing else.",
    hint="Call your function with x = 0. What should a layer with a bias return there?",
)


answer.slip(
    "bias_twice",
    "out + bias",
    "out + bias + bias",
    thought="The product is there, and the bias still has to be added.",
    hint="Call your function with x = 0 and compare with the bias. Does a function that you use add the bias already?",
)


answer.slip(
    "bias_subtracted",
    "out + bias",
    "out - bias",
    thought="The bias is subtracted.",
    hint="Call your function with x = 0 and compare with the bias, sign and all.",
)


answer.slip(
    "elementwise_summed_over_batch",
    "x @ weight.T",
    "(weight * x).sum(-1)",
    thought="`*` and then a sum is a matrix product, whichever axis is summed.",
    hint="Each output belongs to one row of x. Which axis may be summed away, and which must stay?",
)


# Without a bias nothing is added, so sizes that should have been equal are those of a product entry by entry.
_BROADCAST_MESSAGES = ("must match the size of tensor", "could not be broadcast together")


answer.slip(
    "elementwise",
    "x @ weight.T",
    "weight * x",
    thought="`*` multiplies a weight with an input, as it does with numbers.",
    hint="`*` pairs entries one by one. Each output is a sum over all inputs: which operator sums?",
    recognise=lambda case, observation: (
        case.args["bias"] is None and any(phrase in _error_message(observation) for phrase in _BROADCAST_MESSAGES)
    ),
)


answer.slip(
    "bias_truth_value",
    "out if bias is None else out + bias",
    "out + bias if bias else out",
    thought="`if bias:` asks whether there is a bias.",
    hint="A tensor of several numbers is neither true nor false. Ask the question that you mean: is it None?",
    recognise=lambda case, observation: (
        "ambiguous" in _error_message(observation) and "more than one" in _error_message(observation)
    ),
)


def _fails_on_none(case, observation):
    is_none = observation.get("type") == "NoneType" or "NoneType" in _error_message(observation)
    return case.args["bias"] is None and is_none


answer.slip(
    "bias_none_not_handled",
    "out if bias is None else out + bias",
    "out + bias",
    thought="There is always a bias to add.",
    hint="nn.Linear(…, bias=False) has bias None. What does `+ None` do, and what should happen instead?",
    recognise=_fails_on_none,
)


answer.slip(
    BIAS_OF_ANOTHER_SIZE,
    "out if bias is None else out + bias",
    "out + (torch.zeros(weight.shape[1]) if bias is None else bias)",
    recognise=lambda case, observation: False,
)


answer.slip(
    TWO_DIMENSIONAL_ONLY,
    "x @ weight.T",
    "torch.mm(x, weight.T)",
    hint="x may be one row, or a batch of sequences. `@` treats all leading axes alike; which operation do you use?",
)


def _adds_a_fresh_bias(case, observation):
    """Whether there is no bias, and each row is off by the same numbers, as large as those that nn.Linear draws for its bias."""
    value, x = observation.get("value"), case.args["x"]
    if case.args["bias"] is not None or not isinstance(value, torch.Tensor):
        return False
    right = linear_by_hand.expected(case)
    if value.shape != right.shape or not value.is_floating_point():
        return False
    added = (value.double() - right).mean(0)
    drawn = added.abs().max() <= 1.01 / x.shape[-1] ** 0.5 and added.min() != added.max()
    is_off = not tolerance.close(value, right, x.dtype)  # by more than rounding
    return bool(drawn) and is_off and tolerance.close(value, right + added, x.dtype)


@linear_by_hand.misconception(
    "bias_left_as_made",
    thought="A new nn.Linear is complete when its weight is set, and its bias if there is one.",
    hint="nn.Linear makes a bias unless told not to, and fills it with random numbers. What is in it when bias is "
    "None?",
    recognise=_adds_a_fresh_bias,
)
def bias_left_as_made(x, weight, bias):
    linear = nn.Linear(weight.shape[1], weight.shape[0], dtype=weight.dtype)
    linear.weight.data = weight
    if bias is not None:
        linear.bias.data = bias
    return linear(x)
