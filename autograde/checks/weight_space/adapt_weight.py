"""adapt_weight: LoRA in front of the weight of a linear layer or a convolution."""

import re
from dataclasses import replace

import torch
from torch import nn

from autograde.checks.shared.families import ADAPTER_SHARED, GRADIENT_CUT, SCALING_FORGOTTEN
from autograde.checks.weight_space.given import (
    ALPHA_NOT_DIVIDED,
    LORA_WEIGHT,
    SIZES_SWAPPED,
    alike,
    change,
    fresh_module_fault,
    gradient_fault,
    in_place_fault,
    in_words,
    is_same,
    layer_case,
    output,
)
from autograde.judge import describe, exceptions
from autograde.judge.answer import RightAnswer
from autograde.judge.check import Check
from autograde.judge.compare import Fault, fault_between
from autograde.judge.misconception import Misconception
from autograde.probes.weight_space import adapted_layer

ORIGINAL_TRAINS = Misconception(
    "original_trains",
    thought="Registering a parametrisation replaces the weight.",
    hint="The weight is still there, as parametrizations.weight.original, and an optimiser finds it. What must "
    "you do with it?",
)
BIAS_TRAINS = Misconception(
    "bias_trains",
    thought="LoRA is about the weight, so only the weight must be frozen.",
    hint="List the parameters that require a gradient. There should be two.",
)
ORIGINAL_COPIED = Misconception(
    "original_copied",
    thought="A copy of the weight is as good as the weight itself.",
    hint="Another layer may use the same tensor, and a copy takes the same memory again. Freezing needs no new "
    "tensor: which of your lines makes one?",
)
BIAS_NO_PARAMETER = Misconception(
    "bias_no_parameter",
    thought="A bias that does not train need not be a Parameter.",
    hint="Frozen or not, it belongs in module.parameters(): other code counts it there, or trains it later. How "
    "can you freeze a Parameter and leave it where it is?",
)
ADAPTER_FROZEN = Misconception(
    "adapter_frozen",
    thought="The module is frozen when everything is in place.",
    hint="Once it is registered, the adapter is part of the module, too. In which order do you freeze and register?",
)
NESTED = Misconception(
    "nested",
    thought="A second call replaces the first one, or does no harm.",
    hint="It adds a second adapter to the first, without any error. What can parametrize.is_parametrized tell you "
    "before you begin?",
)
SILENT_SECOND_CALL = Misconception(
    "silent_second_call",
    thought="There is nothing to do the second time, so nothing is done.",
    hint="A caller who passes another rank would believe that it is used. What does the docstring ask for?",
)
NOT_PARAMETRISED = Misconception(
    "not_parametrised",
    thought="The adapted weight is computed once and put into the layer.",
    hint="Then what A and B learn later has no effect. A parametrisation computes the weight again at each "
    "access: register one.",
)
DTYPE_FORGOTTEN = Misconception(
    "dtype_forgotten",
    thought="LoRAWeight makes A and B in the layer's dtype.",
    hint="It makes them in float32. Try it on a layer in float64, and print the dtype of A.",
)
KERNEL_FLATTENED_WRONG = Misconception(
    "kernel_flattened_wrong",
    thought="Any two numbers whose product is the size of the weight will do as rows and columns.",
    hint="One row of the matrix has the weights of one output. How many outputs does the layer have, and how many "
    "weights does each of them have?",
)
GROUPS_IGNORED = Misconception(
    "groups_ignored",
    thought="A kernel has in_channels times kh times kw entries.",
    hint="Print the shape of the weight of nn.Conv2d(6, 10, (3, 2), groups=2). Which of its sizes is not what you "
    "expected?",
)

LINEAR_ONLY = Misconception(
    "linear_only",
    thought="Every layer with a weight looks like a linear layer.",
    hint="The weight of a convolution has four axes, and the layer has in_channels, not in_features. Which size "
    "or attribute in your code exists for a linear layer only? What can you read from the weight in both "
    "cases?",
)

answer = RightAnswer(f"""
from torch.nn.utils import parametrize

{LORA_WEIGHT}

def adapt_weight(module, rank, alpha):
    if parametrize.is_parametrized(module, "weight"):
        raise ValueError("this weight is adapted already")
    weight = module.weight
    for parameter in module.parameters():
        parameter.requires_grad_(False)
    lora = LoRAWeight(weight.shape[0], weight[0].numel(), rank, alpha, weight.device)
    parametrize.register_parametrization(module, "weight", lora.to(weight.dtype))
    return module
""")


class AdaptWeight(Check):
    """Looks at what trains, what is computed and what a second call does."""

    name = "adapt_weight"
    answer = answer
    points = 4
    note = "sizes from the weight or from the layer's own channels, kernel and groups; requires_grad_ on each part or on all."
    next_step = (
        "Adapt an nn.Conv2d(6, 10, (3, 2), groups=2) in a cell, and print name, shape and requires_grad of all its "
    )
    next_step += "parameters."

    def cases(self, draw):
        def case(*description, **more):
            new_case = layer_case(draw, *description, **more)
            new_case.args["cotangent"] = draw.tensor(*output(new_case.args, new_case.args["weight"].double()).shape).to(
                new_case.args["weight"].dtype
            )
            return new_case

        return [
            case("a linear layer"),
            case("a convolution"),
            case("a grouped convolution"),
            case("a grouped convolution", "a grouped convolution, rank 1, no bias", rank=1, bias=False),
            case("a linear layer", "float64, no bias", dtype=torch.float64, bias=False, rank=2),
            case("a convolution", "a convolution in float64", dtype=torch.float64, rank=2),
        ]

    def called(self, case):
        """The call, and how the layer was made."""
        args = case.args
        return f"adapt_weight(module, rank={args['rank']}, alpha={args['alpha']})  # {case.label}\n  module = {in_words(args)}"

    def observe(self, target, case):
        """Call the learner's function with the case's layer."""
        return adapted_layer(target, **case.args, device=case.device)

    def fault(self, case, observation):
        """What is wrong with the layer after the call."""
        args = case.args
        if fault := in_place_fault(self, observation):
            known = _misconception_in_message(args, observation)
            about_the_name = known and exceptions.kind_of(observation["raised"]) == exceptions.ATTRIBUTE
            return replace(fault, misconception=known or fault.misconception, hint="" if about_the_name else fault.hint)
        if observation["parametrised"] != 1:
            count = observation["parametrised"]
            if count:
                return Fault(f"{count} parametrisations are registered on the weight, and there should be one.")
            return Fault(
                "The weight has no parametrisation afterwards: parametrize.is_parametrized(module, 'weight') is False.",
                misconception=NOT_PARAMETRISED,
            )
        return (
            self._frozen_fault(args, observation)
            or self._adapter_fault(args, observation)
            or self._values_fault(case, observation)
            or _own_fault(observation["own"])
            or self._again_fault(observation)
            or self._second_fault(args, observation)
        )

    def _frozen_fault(self, args, observation):
        values, trains = observation["original"]
        if not is_same(values, args["weight"]):
            return Fault("The module's own weight (parametrizations.weight.original) has changed.")
        if (observation["bias"] is None) != (args["bias"] is None):
            return Fault("The module's bias is not the same object as before.")
        if observation["bias"] is not None and not is_same(observation["bias"][0], args["bias"]):
            return Fault("The module's bias has changed.")
        if trains:
            return Fault("The module's own weight still requires a gradient.", misconception=ORIGINAL_TRAINS)
        if observation["bias"] is not None and observation["bias"][1]:
            return Fault("The module's bias still requires a gradient.", misconception=BIAS_TRAINS)
        return None

    def _adapter_fault(self, args, observation):
        weight, rank = args["weight"], args["rank"]
        fresh, rows, columns = observation["fresh"], len(weight), weight[0].numel()
        if all(fresh[name].get("registered") is True and fresh[name]["trains"] is False for name in "AB"):
            return Fault("A and B do not require a gradient, so nothing trains.", misconception=ADAPTER_FROZEN)
        expected_shapes = {"A": (rank, columns), "B": (rows, rank)}
        if fault := fresh_module_fault(
            fresh, expected_shapes, args["alpha"], rank, "The module registered on the weight"
        ):
            a, b = fresh["A"].get("shape"), fresh["B"].get("shape")
            wrong_shapes = [list(expected_shapes["A"]), list(expected_shapes["B"])] != [a, b]
            if (
                a
                and b
                and wrong_shapes
                and fault.misconception is None
                and a[0] == b[1] == rank
                and a[1] * b[0] == weight.numel()
            ):
                return Fault(fault.problem, misconception=KERNEL_FLATTENED_WRONG)
            return fault
        for name in "AB":
            if fresh[name]["dtype"] != str(weight.dtype):
                names = fresh[name]["dtype"].removeprefix("torch."), describe.dtype_name(weight.dtype)
                return Fault(f"{name} is {names[0]}, and the weight is {names[1]}.", misconception=DTYPE_FORGOTTEN)
        return None

    def _values_fault(self, case, observation):
        args, dtype = case.args, case.args["weight"].dtype
        if "unset" in observation:
            return Fault(f"Values cannot be written into {observation['unset']}.")
        if not is_same(observation["at_start"], args["weight"]):
            return Fault("The weight of a freshly adapted layer is not bit for bit the weight that it had before.")
        right = output(args, args["weight"].double() + change(args))
        fault = fault_between(
            observation["out"], "torch.Tensor", right, dtype=dtype, device=case.device, what="The output"
        )
        if fault:
            return fault
        if fault := gradient_fault(observation, _gradients(args), dtype, case.device):
            return fault
        if observation["off"] is not True:
            return Fault("With en = False the layer does not compute what it computed before it was adapted.")
        weight, bias = observation["trained"]
        if not is_same(weight, args["weight"]):
            return Fault("A step of training changes the module's own weight.", misconception=ORIGINAL_TRAINS)
        if args["bias"] is not None and not is_same(bias, args["bias"]):
            return Fault("A step of training changes the module's bias.", misconception=BIAS_TRAINS)
        return None

    def _again_fault(self, observation):
        for which, again in zip(
            ("A second call", "A second call with another rank"), observation["again"], strict=True
        ):
            if fault := self._call_again_fault(which, again):
                return fault
        return None

    def _call_again_fault(self, which, again):
        if again["changed"] and again["raised"]:
            hint = "Check whether the weight is parametrised before you change anything. Freezing is a change, too."
            return Fault(f"{which} raised, and by then it had changed the module.", hint=hint)
        if again["changed"]:
            return Fault(f"{which} changed the module, where it should raise a ValueError.", misconception=NESTED)
        if "ValueError" not in again["raised"]:
            kinds = again["raised"]
            if kinds:
                hint = (
                    "A caller who wants to catch this error has to know its type. Which type does the docstring name?"
                )
                return Fault(f"{which} raised a {describe.clean(str(kinds[0]), 40)}, and not a ValueError.", hint=hint)
            return Fault(f"{which} raised nothing.", misconception=SILENT_SECOND_CALL)
        return None

    def _second_fault(self, args, observation):
        if is_same(observation["second"], args["weight"]):
            return None
        problem = (
            "A second layer of the same sizes has, as soon as it is adapted, the change that the first one has learned."
        )
        return Fault(problem, misconception=ADAPTER_SHARED)

    def same(self, case, a, b):
        """Whether two functions have the same effect on a layer, in everything that the probe reports."""
        return alike(a, b, case.device)


def _own_fault(own):
    """The fault of a module whose weight or bias is another tensor than it came with."""
    for name in ("weight", "bias"):
        if own[name] is not True:
            return Fault(f"The module's own {name} is now a copy, in other memory.", misconception=ORIGINAL_COPIED)
    if own["bias_parameter"] is not True:
        return Fault("The module's bias is no longer a Parameter.", misconception=BIAS_NO_PARAMETER)
    return None


def _misconception_in_message(args, observation):
    """The `Misconception` that the exception of a call shows by what it says; None where it shows none."""
    said = str(observation["raised"]["message"]) if "raised" in observation else ""
    if "change requires_grad flags of leaf" in said:
        return ORIGINAL_TRAINS
    of_a_matrix = re.search(
        r"no attribute '(in|out)_features'|too many values to unpack|takes (?:from )?\d.*positional", said
    )
    return LINEAR_ONLY if args["kind"] == "nn.Conv2d" and of_a_matrix else None


def _gradients(args):
    A, B = (args[name].double().requires_grad_() for name in "AB")
    with torch.enable_grad():
        weight = args["weight"].double() + change(args | {"A": A, "B": B})
        return torch.autograd.grad((output(args, weight) * args["cotangent"].double()).sum(), (A, B))


adapt_weight = AdaptWeight()


def _groups_did_not_fit(case, observation):
    """Whether a grouped kernel was taken for a whole one, and torch reported the wrong number of entries."""
    message, groups = (
        str(observation["raised"]["message"]) if "raised" in observation else "",
        case.args["options"].get("groups", 1),
    )
    return groups > 1 and message.endswith(f"is invalid for input of size {groups * case.args['weight'].numel()}")


answer.slip(ORIGINAL_TRAINS, "    for parameter in module.parameters():\n        parameter.requires_grad_(False)\n", "")
answer.slip(
    BIAS_TRAINS,
    "for parameter in module.parameters():\n        parameter.requires_grad_(False)",
    "weight.requires_grad_(False)",
)
answer.slip(
    GROUPS_IGNORED,
    "weight[0].numel()",
    "(module.in_channels * weight[0, 0].numel() if weight.dim() == 4 else weight.shape[1])",
    recognise=_groups_did_not_fit,
)
answer.slip(
    KERNEL_FLATTENED_WRONG,
    "weight.shape[0], weight[0].numel()",
    "weight.numel() // weight.shape[-1], weight.shape[-1]",
)
answer.slip(SIZES_SWAPPED, "weight.shape[0], weight[0].numel()", "weight[0].numel(), weight.shape[0]")
answer.slip(
    NESTED,
    '    if parametrize.is_parametrized(module, "weight"):\n        raise ValueError("this weight is adapted already")\n',
    "",
)
answer.slip(SILENT_SECOND_CALL, 'raise ValueError("this weight is adapted already")', "return module")
answer.slip(
    DTYPE_FORGOTTEN,
    "lora.to(weight.dtype)",
    "lora",
    recognise=lambda case, observation: _refused_dtype(case, observation),
)
answer.slip(ALPHA_NOT_DIVIDED, "alpha / rank", "alpha")
answer.slip(SCALING_FORGOTTEN, " * self.scale", "")
answer.slip(GRADIENT_CUT, "self.B @ self.A", "self.B.data @ self.A.data")


def _refused_dtype(case, observation):
    """Whether torch refused a parametrisation that would have given the weight another dtype."""
    said = str(observation["raised"]["message"]) if "raised" in observation else ""
    return "must return a tensor with the same dtype" in said or "expected m1 and m2 to have the same dtype" in said


answer.slip(
    ADAPTER_SHARED,
    "def adapt_weight(module, rank, alpha):\n",
    "last = {}\n\n\ndef adapt_weight(module, rank, alpha):\n",
    "lora.to(weight.dtype))",
    "last[sizes])",
    "    lora =",
    "    sizes = weight.shape, weight.dtype, rank, alpha\n    lora =",
    "    parametrize.reg",
    "    if sizes not in last:\n        last.clear()\n        last[sizes] = lora.to(weight.dtype)\n    parametrize.reg",
)
answer.slip(LINEAR_ONLY, "weight.shape[0], weight[0].numel()", "module.out_features, module.in_features")


@adapt_weight.misconception(ADAPTER_FROZEN)
def adapter_frozen(module, rank, alpha):
    from torch.nn.utils import parametrize

    class LoRAWeight(nn.Module):
        def __init__(self, in_f, out_f, rank, alpha):
            super().__init__()
            self.A = nn.Parameter(torch.randn(rank, out_f))
            self.B = nn.Parameter(torch.zeros(in_f, rank))
            self.scale = alpha / rank
            self.en = True

        def forward(self, wts):
            return wts + (self.B @ self.A).view(wts.shape) * self.scale if self.en else wts

    if parametrize.is_parametrized(module, "weight"):
        raise ValueError("this weight is adapted already")
    lora = LoRAWeight(module.weight.shape[0], module.weight[0].numel(), rank, alpha).to(module.weight)
    parametrize.register_parametrization(module, "weight", lora)
    return module.requires_grad_(False)


@adapt_weight.misconception(NOT_PARAMETRISED)
def not_parametrised(module, rank, alpha):
    weight = module.weight
    A = nn.Parameter(torch.randn(rank, weight[0].numel()).to(weight))
    B = nn.Parameter(torch.zeros(weight.shape[0], rank).to(weight))
    module.requires_grad_(False)
    module.lora_A, module.lora_B = A, B
    module.weight = nn.Parameter(weight.data + alpha / rank * (B @ A).view(weight.shape).data, requires_grad=False)
    return module
