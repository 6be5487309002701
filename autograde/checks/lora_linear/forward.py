"""lora_linear_forward: base(x) + scaling * (x @ A) @ B for every shape of x, and its gradients."""

from dataclasses import replace

import torch
from torch import nn

from autograde.checks.lora_linear import modes
from autograde.checks.shared import next_steps
from autograde.checks.shared.draws import layer_sizes
from autograde.checks.shared.families import (
    ALPHA_NOT_DIVIDED,
    GRADIENT_CUT,
    KEPT_ON_THE_CLASS,
    TWO_DIMENSIONAL_ONLY,
    VIEW_FOR_TRANSPOSE,
)
from autograde.checks.shared.lora_layers import (
    ADAPTERS,
    DEFAULTS,
    LORA_LINEAR,
    LayerCheck,
    bias_fault,
    layer_case,
    scaling_of,
)
from autograde.judge import describe
from autograde.judge.answer import RightAnswer
from autograde.judge.check import Case
from autograde.judge.compare import Fault, agree, fault_between, is_number
from autograde.judge.describe import clean
from autograde.judge.misconception import CHANGED_INPUT, Misconception, misconception
from autograde.judge.random_inputs import devices
from autograde.probes.lora_linear import OTHER_ALPHA, forward

INPUTS = ("A", "B", "cotangent")

WRITES_IN_FORWARD = Misconception(
    "writes_in_forward",
    thought="What a call needs can be written into the layer's own tensors.",
    hint="The next call starts from the changed values, and what was learned is lost. Which line of forward "
    "writes into lora_A, lora_B or the base, and where can its result go instead?",
)

SKIPPED_AT_ZERO = Misconception(
    "skipped_at_zero",
    thought="Where lora_B is zero the adapter adds nothing, so it can be left out.",
    hint="A part that is left out gets no gradient. lora_B is zero when training starts: how could it ever change?",
)

answer = RightAnswer(LORA_LINEAR)


class LoraLinearForward(LayerCheck):
    """Compares the output, the gradients of x, A and B, what the layer gives in other modes, and the scaling.

    The layer is moved to x's dtype and device before it is run: where its adapters are made is not asked here.
    """

    name = "lora_linear_forward"
    points = 3
    subject = "LoRALinear"
    note = "Scaling x @ A, or A, or the product; einsum; addmm; two nn.Linears: all compute the same."
    next_step = (
        "Write the lesson's worked example into a layer of yours (the base's weight zero, its bias 6 and 102), and "
        "compare step by step: x = (1, 2, 3) must give (13, 99.5)."
    )
    answer = answer

    def cases(self, draw):
        side = draw.integer(5, 9)
        # With a rank of 2, alpha / rank is exact in every dtype: a layer may keep it as a tensor of another one than x has.
        d, k, _ = layer_sizes(draw)
        return [
            layer_case(draw, (4,), "a batch of rows", inputs=INPUTS),
            layer_case(draw, (3,), "no bias", inputs=INPUTS, bias=False),
            layer_case(draw, (), "a single row, no batch", inputs=INPUTS),
            layer_case(draw, (3, 2), "a batch of sequences", inputs=INPUTS, sizes=(d, k, 2), dtype=torch.float64),
            layer_case(draw, (4,), "a square layer", inputs=INPUTS, sizes=(side, side, 3)),
            layer_case(draw, (2, 3), "x is a transposed view", inputs=INPUTS, contiguous=False),
            layer_case(draw, (0,), "an empty batch", inputs=INPUTS),
            layer_case(draw, (3,), "rank and alpha left at their defaults", inputs=INPUTS, sizes=(9, 7, 4), options={}),
            layer_case(draw, (1,), "rank and alpha by position, a batch of one row", inputs=INPUTS, by_position=True),
            _with_zero_B(layer_case(draw, (3,), "lora_B is zero, as at the start", inputs=INPUTS)),
        ]

    def make_cases(self, draw, remote=False):
        cases = self.cases(draw)
        other_devices = [] if remote else devices()[1:]
        return cases + [Case(cases[0].args, f"on {device}", device=device) for device in other_devices]

    def observe(self, target, case):
        return forward(target, **case.args, device=case.device)

    def expected(self, case):
        """Output and gradients (of x, A and B), in float64."""
        double = {name: value.double() for name, value in case.args.items() if isinstance(value, torch.Tensor)}
        x, A, B = (double[name].clone().requires_grad_() for name in ("x", "A", "B"))
        base = nn.functional.linear(x, double["weight"], double.get("bias"))
        out = base + scaling_of(case) * (x @ A) @ B
        (out * double["cotangent"]).sum().backward()
        return out.detach(), [x.grad, A.grad, B.grad]

    def with_alpha(self, case, alpha):
        """The output of the right layer with another alpha, in float64."""
        args, options = case.args, case.args["options"]
        x, A, B = (args[name].double() for name in ("x", "A", "B"))
        bias = None if args["bias"] is None else args["bias"].double()
        base = nn.functional.linear(x, args["weight"].double(), bias)
        return base + alpha / options.get("rank", DEFAULTS["rank"]) * (x @ A) @ B

    def same(self, case, a, b):
        if "out" not in a or "out" not in b:
            errors = [
                (observation.get("raised", {}).get("type"), observation.get("raised", {}).get("message"))
                for observation in (a, b)
            ]
            if case.args["x"].ndim != 2 and {errors[0][0], errors[1][0]} <= {
                "RuntimeError",
                "ValueError",
                "IndexError",
            }:
                return True  # where x has not the two axes that were counted on, each way of writing has its own words
            shapes = [
                [observation["held"][name].get("shape") for name in ADAPTERS] if "unset" in observation else []
                for observation in (a, b)
            ]
            return "out" not in a and "out" not in b and errors[0] == errors[1] and shapes[0] == shapes[1]
        device = case.device
        other_runs = [
            [value if way == "out" else way for _, way, value in observation["again"]] for observation in (a, b)
        ]
        return all(
            agree(first, second, device=device)
            for first, second in ((a["out"], b["out"]), (a["gradients"], b["gradients"]), other_runs)
        )

    def fault(self, case, observation):
        if broken := self.broken(case, observation):
            return _with_hint(broken, case, observation)
        scalings = observation["own_scaling"], observation["scaling"]
        if all(map(is_number, scalings)) and not agree(*scalings):
            return Fault(
                "Making a second layer changed the scaling of the first.",
                returned=describe.contents(scalings[1]),
                expected=describe.contents(scalings[0]),
                misconception=KEPT_ON_THE_CLASS,
            )
        out, gradients = self.expected(case)
        dtype = case.args["x"].dtype
        if observation["wrote"]:
            return Fault(
                f"A call of the layer has changed {' and '.join(clean(str(name), 40) for name in observation['wrote'])}.",
                misconception=WRITES_IN_FORWARD,
            )
        if fault := fault_between(
            observation["out"], observation["type"], out, dtype=dtype, device=case.device, what="The output"
        ):
            if modes.differs(case, observation):
                return Fault("Two calls with the same x gave two outputs.", misconception=modes.DROPOUT)
            if agree(observation["out"], self.with_alpha(case, OTHER_ALPHA), dtype, case.device):
                return Fault(
                    "The output is scaled by the alpha of a layer that was made after this one.",
                    misconception=KEPT_ON_THE_CLASS,
                )
            return bias_fault(observation["biased"]) or _with_hint(fault, case, observation)
        if observation["changed"]:
            return Fault(
                "The output is right, but the call changed its input x in place.",
                hint="Look in forward for what writes into x (+=, *=, a name ending in _), and make a new tensor instead.",
                misconception=CHANGED_INPUT,
            )
        if not case.args["B"].any():
            # What the gradients are is asked in the other cases, where a wrong formula shows in the output first.
            gradient = observation["gradients"][2]
            if isinstance(gradient, torch.Tensor) and gradient.any():
                return None
            problem = "With lora_B zero the output is right, but no gradient reaches lora_B."
            return Fault(problem, misconception=SKIPPED_AT_ZERO)
        compared = zip(("x", "lora_A", "lora_B"), observation["gradients"], gradients, strict=True)
        for name, gradient, right in compared if case.args["x"].numel() else ():  # an empty batch has none to give
            if gradient is None:
                return Fault(
                    f"The output is right, but no gradient reaches {name}.",
                    hint="Look in forward for .data, .detach(), torch.no_grad() or a new nn.Parameter: each cuts it.",
                    misconception=GRADIENT_CUT,
                )
            if not agree(gradient, right, dtype, case.device):
                return Fault(f"The output is right, but the gradient of {name} is not: part of the graph is cut.",
                             hint="Look in forward for .data, .detach() or torch.no_grad() around one of the two paths.",
                             misconception=GRADIENT_CUT)  # fmt: skip
        if fault := modes.fault(case, observation["again"], out):
            return fault
        if not is_number(observation["scaling"]) or not agree(observation["scaling"], scaling_of(case)):
            returned = describe.contents(observation["scaling"])
            hint = "Store alpha / rank on the layer as self.scaling: merging and reports need it."
            return Fault("The output is right, but the layer's scaling is not alpha / rank.", returned,
                         describe.number(scaling_of(case)), hint)  # fmt: skip
        return None


lora_linear_forward = LoraLinearForward()


def _with_zero_B(case):
    """The case with lora_B zero: where the output does not tell whether the adapter was used, the gradient of lora_B does."""
    case.args["B"].zero_()
    return case


def _with_hint(fault, case, observation):
    """`fault` with a hint, where it is no known mistake."""
    if fault.hint:
        return fault
    scaling = observation.get("scaling", scaling_of(case))
    if not is_number(scaling) and scaling is not None:
        hint = f"The layer's scaling is {describe.contents(scaling)}, and not a number. Look at the line that sets it."
        return replace(fault, hint=hint)
    if is_number(scaling) and not agree(scaling, scaling_of(case)):
        numbers = describe.contents(scaling), describe.number(scaling_of(case))
        hint = f"The layer's scaling is {numbers[0]}, but alpha / rank is {numbers[1]} here. Start with that."
        return replace(fault, hint=hint)
    if fault.tensors is not None:
        out, right = fault.tensors
        args = case.args
        bias = None if args["bias"] is None else args["bias"].double()
        base = nn.functional.linear(args["x"].double(), args["weight"].double(), bias)
        what = "What your layer adds to the base's output"
        # Where it is no multiple, the check's own next step says more.
        return replace(fault, hint=next_steps.for_factor(out.double().cpu() - base, right.double().cpu() - base, what))
    as_a_call = {"value": observation["out"], "type": observation["type"]} if "out" in observation else observation
    shapes = "Make inputs of these shapes in a cell of your own, and look at the shapes just before your line."
    hint = next_steps.for_x(fault, case.args["x"], as_a_call) or (shapes if fault.where else "")
    return replace(fault, hint=hint)


def _has_other_defaults(case, observation):
    given = observation.get("defaults", {})
    if modes.swapped(observation):
        return False  # another mistake: the two have changed places
    if observation.get("during") == "construction":
        return False
    return case.args["options"] == {} and any(agree(given[name], DEFAULTS[name]) is False for name in given)


answer.slip(
    "other_defaults",
    "rank=4, alpha=1",
    "rank=8, alpha=16",
    thought="rank and alpha are always given.",
    hint="They may be left out. Compare your def line with the original one.",
    recognise=_has_other_defaults,
)

answer.slip(
    "alpha_before_rank",
    "rank=4, alpha=1",
    "alpha=1, rank=4",
    thought="rank and alpha are always given by name, so their order does not matter.",
    hint="They may be given by position. Compare your def line with the original one.",
    recognise=lambda case, observation: case.args.get("by_position", False) and modes.swapped(observation),
)

ELEMENTWISE = misconception(
    "elementwise",
    thought="`*` applies the update to x, as it multiplies one number by another.",
    hint="The bug of lesson 02 is back. A @ B is a matrix of shape (d, k): which operator applies a matrix to x?",
)
for product in ("(self.lora_A @ self.lora_B) * x", "x * (self.lora_A @ self.lora_B)"):
    answer.slip(ELEMENTWISE, "(x @ self.lora_A) @ self.lora_B", product)

answer.slip(
    "elementwise_factors",
    "(x @ self.lora_A) @ self.lora_B",
    "x * self.lora_A * self.lora_B",
    thought="`*` multiplies x by A, and the result by B, as it does with numbers.",
    hint="`*` pairs entries one by one. Which operator takes a row of d numbers to a row of r numbers?",
)

alpha_not_divided = answer.slip(
    ALPHA_NOT_DIVIDED,
    "alpha / rank",
    "alpha",
)

answer.slip(
    "alpha_floored",
    "alpha / rank",
    "alpha // rank",
    thought="alpha and rank are whole numbers, so their ratio is one.",
    hint="`//` and int() drop the fractional part. What is the scaling at the defaults, rank=4 and alpha=1?",
)

answer.slip(
    "root_of_rank",
    "alpha / rank",
    "alpha / rank**0.5",
    thought="The scaling is alpha over the square root of the rank.",
    hint="That is another method's rule (rsLoRA, which comes in lesson 11). Which one does this lesson state?",
)

answer.slip(
    "divided_twice",
    "self.scaling * ",
    "self.scaling / self.lora_A.shape[1] * ",
    thought="The product sums over the rank, so it is divided by the rank once more.",
    hint="self.scaling is alpha / rank: the division is in it already. How often does yours divide?",
)

answer.slip(
    "rank_over_alpha",
    "alpha / rank",
    "rank / alpha",
    thought="The scaling is the ratio of rank and alpha.",
    hint="It is a ratio of the two. A larger alpha should make the update larger: on which side of the / is it?",
)

no_scaling = answer.slip(
    "no_scaling",
    "self.scaling * ",
    "",
    thought="The update is the product of the two matrices, and that is all.",
    hint="The product is right. What comes before it in the formula?",
)

answer.slip(
    "scaled_twice",
    "(x @ self.lora_A)",
    "(x @ self.lora_A * self.scaling)",
    thought="The scaling belongs to the adapter and to the sum.",
    hint="Count how many times the product is multiplied by self.scaling, or by alpha, on the way to the output.",
)

answer.slip(
    "everything_scaled",
    "self.base_layer(x) + self.scaling * (x @ self.lora_A) @ self.lora_B",
    "self.scaling * (self.base_layer(x) + (x @ self.lora_A) @ self.lora_B)",
    thought="The scaling is applied to the layer's output.",
    hint="With lora_B zero the layer must be its base. What does yours give there?",
)

base_forgotten = answer.slip(
    "base_forgotten",
    "self.base_layer(x) + ",
    "",
    thought="The adapter takes the place of the layer.",
    hint="LoRA adds to what the base already does. What is missing from the sum?",
)

answer.slip(
    "adapter_unused",
    " + self.scaling * (x @ self.lora_A) @ self.lora_B",
    "",
    thought="The adapter's part is in the output already.",
    hint="Your layer gives what its base gives, though lora_B is not zero any more. Does forward use lora_A and lora_B "
    "as they are now?",
)

answer.slip(
    "bias_twice",
    "return self.base_layer(x)",
    "bias = 0 if self.base_layer.bias is None else self.base_layer.bias\n        return bias + self.base_layer(x)",
    thought="The base's bias still has to be added.",
    hint="Call base_layer(x) with x = 0. What comes back?",
)

bias_lost = answer.slip(
    "bias_lost",
    "self.base_layer(x)",
    "x @ self.base_layer.weight.T",
    thought="The base is its weight.",
    hint="Call your layer and its base with x = 0 and lora_B zero, and compare.",
)

answer.slip(
    "subtracted",
    "self.base_layer(x) + ",
    "self.base_layer(x) - ",
    thought="The update is subtracted from the base.",
    hint="Look at the sign between the two paths.",
)

answer.slip(
    "adapter_on_the_output",
    "return self.base_layer(x) + self.scaling * (x @",
    "out = self.base_layer(x)\n        return out + self.scaling * (out @",
    thought="The adapter comes after the base, on its output.",
    hint="The two paths run side by side: both start from the same x. What does yours start from?",
)

answer.slip(
    "sizes_swapped",
    "torch.randn(base_layer.in_features, rank",
    "torch.randn(base_layer.out_features, rank",
    "torch.zeros(rank, base_layer.out_features",
    "torch.zeros(rank, base_layer.in_features",
    thought="A belongs to the outputs and B to the inputs.",
    hint="x has in_features numbers and is multiplied by A first. A square layer hides the mistake, so try one "
    "that is not square.",
)

PAPER_ORDER = misconception(
    "paper_order",
    thought="The paper writes BA, so lora_B comes first.",
    hint="The paper's B is (k, r) and its A is (r, d). Ours are stored the other way round. Write down the shapes "
    "of both factors of each product: which sizes match?",
)
for product in ("x @ (self.lora_B @ self.lora_A)", "(x @ self.lora_B) @ self.lora_A"):
    answer.slip(PAPER_ORDER, "(x @ self.lora_A) @ self.lora_B", product)

delta_transposed = answer.slip(
    "delta_transposed",
    "(x @ self.lora_A) @ self.lora_B",
    "x @ (self.lora_A @ self.lora_B).T",
    thought="A @ B has the layout of the base's weight, so x is multiplied by its transpose.",
    hint="On a square layer that runs and is wrong. A @ B is (d, k) and the weight is (k, d): by which of the two "
    "must x be multiplied as it is, and by which transposed?",
)

view_for_transpose = answer.slip(
    VIEW_FOR_TRANSPOSE,
    "return self.base_layer(x) + self.scaling * (x @ self.lora_A) @ self.lora_B",
    "weight = self.base_layer.weight\n        delta = self.scaling * (self.lora_A @ self.lora_B).reshape(weight.shape)\n        return F.linear(x, weight + delta, self.base_layer.bias)",
    thought="A @ B is (d, k) and the weight is (k, d), so a view makes them fit.",
    hint="A view keeps the values in their order in memory. Follow the entry for input 1 and output 0: where is "
    "it in A @ B, where in the weight, and where in your view?",
)

reshaped_for_transposed = answer.slip(
    "reshaped_for_transposed",
    "(x @ self.lora_A) @ self.lora_B",
    "(x @ (self.lora_B.T @ self.lora_A.T).reshape(x.shape[-1], -1))",
    thought="Any (d, k) matrix with the right numbers will do, so a view makes it fit.",
    hint="A view keeps the values in their order in memory. Follow one entry of lora_A: which input is it "
    "multiplied by?",
)

answer.slip(
    "data_in_forward",
    "self.lora_A) @ self.lora_B",
    "self.lora_A.data) @ self.lora_B.data",
    thought="forward only needs the numbers in A and B.",
    hint=".data gives the values without their graph. Which gradients would A and B get?",
)

answer.slip(
    "base_without_gradient",
    "return self.base_layer(x) + ",
    "with torch.no_grad():\n            out = self.base_layer(x)\n        return out + ",
    thought="The base is frozen, so it needs no graph.",
    hint="Frozen means that W does not change. The gradient must still pass through W to the layers before this one.",
)

answer.slip(
    TWO_DIMENSIONAL_ONLY,
    "(x @ self.lora_A) @ self.lora_B",
    "torch.mm(torch.mm(x, self.lora_A), self.lora_B)",
    thought="x is always a batch of rows.",
    hint="x may be one row, or a batch of sequences. Which of your operations accepts matrices only?",
)

answer.slip(
    CHANGED_INPUT,
    "return self.base_layer(x) + self.scaling * (x @ self.lora_A) @ self.lora_B",
    "out = self.base_layer(x) + self.scaling * (x @ self.lora_A) @ self.lora_B\n        x.mul_(0)\n        return out",
    hint="Look in forward for what writes into x (+=, *=, a name ending in _), and make a new tensor instead.",
    recognise=lambda case, observation: observation.get("changed") is True,
)

answer.slip(
    WRITES_IN_FORWARD,
    "return self.base_layer(x) +",
    "nn.init.normal_(self.lora_A)\n        return self.base_layer(x) +",
    recognise=lambda case, observation: bool(observation.get("wrote")),
)

answer.slip(
    SKIPPED_AT_ZERO,
    "return self.base_layer(x) +",
    "if not self.lora_B.any():\n            return self.base_layer(x)\n        return self.base_layer(x) +",
    recognise=lambda case, observation: False,
)

for slip in (base_forgotten, bias_lost, delta_transposed, view_for_transpose, reshaped_for_transposed):
    answer.both(slip, no_scaling)
    answer.both(slip, alpha_not_divided)

modes.add_slips(answer)
