"""fold: the adapted weight stays in the layer, and the parametrisation is removed."""

import torch

from autograde.checks.shared.families import SCALING_FORGOTTEN
from autograde.checks.weight_space.given import (
    alike,
    change,
    for_one_weight,
    in_place_fault,
    in_words,
    layer_case,
    output,
)
from autograde.judge import describe
from autograde.judge.answer import RightAnswer
from autograde.judge.check import Case, Check
from autograde.judge.compare import Fault, agree, fault_between
from autograde.judge.misconception import Misconception
from autograde.probes.weight_space import folded
from autograde.remote.facts import same_bits

CHANGE_LOST = Misconception(
    "change_lost",
    thought="Folding means to remove the parametrisation, and nothing else.",
    hint="Which weight stays when you remove it: the original or the adapted one? help() describes both cases.",
)
UNFROZEN = Misconception(
    "unfrozen",
    thought="A plain layer trains, so its parameters must require a gradient.",
    hint="Compare requires_grad of weight and bias before and after the call. A new nn.Parameter requires a gradient "
    "unless told otherwise.",
)
FROZEN = Misconception(
    "frozen",
    thought="The layer was frozen, so everything in it is frozen at the end.",
    hint="The bias or the original weight may have been made trainable on purpose. Compare "
    "requires_grad before and after the call.",
)
ONLY_SWITCHED_OFF = Misconception(
    "only_switched_off",
    thought="When the adapter is off, the layer is a plain one.",
    hint="Look at type(module) and at the names in its state_dict: would it load in a program without LoRA?",
)
NO_PARAMETER = Misconception(
    "no_parameter",
    thought="The tensor that the layer computed is its new weight.",
    hint="It is a plain tensor, perhaps with a grad_fn. Print list(module.parameters()): what do you put in place "
    "of the weight?",
)
LEFT_BEHIND = Misconception(
    "left_behind",
    thought="The values are in the weight, so anything else in the module does no harm.",
    hint="Print the names in module.state_dict(): a plain layer has a weight and perhaps a bias.",
)
SWITCH_IGNORED = Misconception(
    "switch_ignored",
    thought="Folding puts the change into the weight, whether the adapter is on or off.",
    hint="layer.weight is what the layer uses. What is it while en is False, and what must the folded layer use?",
)
COPY_FOLDED = Misconception(
    "copy_folded",
    thought="It is safer to fold a copy.",
    hint="Copy and original share the class that the parametrisation made: what is removed from that class is "
    "gone for both. Fold the module itself, and return it.",
)
PLAIN_ACCEPTED = Misconception(
    "plain_accepted",
    thought="If there is nothing to fold, no error is needed.",
    hint="To fold a layer twice, or the wrong layer, is a mistake that should be reported. What does torch's own "
    "function do then, and does your code let it?",
)

answer = RightAnswer("""
from torch.nn.utils import parametrize


def fold(module):
    parametrize.remove_parametrizations(module, "weight", leave_parametrized=True)
    return module
""")


class Fold(Check):
    """Looks at the layer after the adapter was folded into it."""

    name = "fold"
    answer = answer
    points = 2
    note = "torch's own function, or a new Parameter put in the place of the old one."
    next_step = (
        "Print type(module), its state_dict's names, and requires_grad of each parameter, before and after the call."
    )

    def cases(self, draw):
        def case(what, label, *, trains=(False, False), en=True, **more):
            args = layer_case(draw, what, label, **more, en=en, trains=list(trains)).args
            return Case(args | {"source": for_one_weight(args["weight"].shape, args["rank"])}, label)

        plain = case("a linear layer", "a layer that is not adapted")
        return [
            case("a linear layer", "a linear layer"),
            case("a grouped convolution", "a grouped convolution"),
            case("a convolution", "the bias trains", trains=(False, True)),
            case("a linear layer", "the original weight trains", trains=(True, False), bias=False),
            case("a linear layer", "the adapter is off", en=False),
            Case(plain.args | {"rank": 0}, plain.label),
        ]

    def called(self, case):
        """The call, and how the module was made."""
        args = case.args
        adapted = (
            f", adapted with rank {args['rank']} and alpha {args['alpha']}; A and B are not zero"
            if args["rank"]
            else ""
        )
        return f"fold(module)  # {case.label}\n  module = {in_words(args)}{adapted}"

    def observe(self, target, case):
        """Call the learner's function with the case's module."""
        return folded(target, **case.args, device=case.device)

    def fault(self, case, observation):
        """What is wrong with the module after the call."""
        args = case.args
        if not args["rank"]:
            if "raised" in observation or "not_callable" in observation:
                return self.failed_call(observation) if "not_callable" in observation else None
            return Fault("The module has no parametrisation, and no error was raised.", misconception=PLAIN_ACCEPTED)
        if observation.get("during") == "layer.weight" and observation["same"] is not True:
            problem = "Another module came back, and the one that was passed in has no weight any more."
            return Fault(problem, misconception=COPY_FOLDED)
        if fault := in_place_fault(self, observation):
            return fault
        return (
            self._plain_fault(args, observation)
            or self._values_fault(case, observation)
            or self._training_fault(args, observation)
        )

    def _plain_fault(self, args, observation):
        expected_names = sorted(["weight"] + (["bias"] if args["bias"] is not None else []))
        if observation["plain"] is True and observation["parameters"] == expected_names:
            return None
        names = describe.clean(", ".join(map(str, observation["parameters"])), 160)
        if any(str(name).startswith("parametrizations.") for name in observation["parameters"]):
            return Fault(f"The module is still parametrised. It has {names}.", misconception=ONLY_SWITCHED_OFF)
        if observation["parameters"] != expected_names:
            extra = set(map(str, observation["parameters"])) - set(expected_names)
            problem = f"The module's state_dict has {names or 'nothing'}, and should have {', '.join(expected_names)}."
            return Fault(problem, misconception=LEFT_BEHIND if extra else NO_PARAMETER)
        return Fault(
            f"Afterwards the module is not a plain {args['kind']}: its class is another one.",
            hint="When the parametrisation was registered, the module got a class of its own, in which weight is "
            "a property. Which function of torch undoes all of that?",
        )

    def _values_fault(self, case, observation):
        args, dtype = case.args, case.args["weight"].dtype
        weight = args["weight"].double() + (change(args) if args["en"] else 0)
        fault = fault_between(
            observation["weight"], "torch.Tensor", weight, dtype=dtype, device=case.device, what="The weight"
        )
        if fault:
            is_original = (
                args["en"]
                and isinstance(observation["weight"], torch.Tensor)
                and same_bits(observation["weight"], args["weight"])
            )
            if is_original:
                problem = "The weight is the original one: the change of the adapter is gone."
                return Fault(problem, fault.returned, fault.expected, misconception=CHANGE_LOST)
            adapted = args["weight"].double() + change(args)
            if not args["en"] and agree(observation["weight"], adapted, dtype, case.device):
                problem = "The adapter is off, but its change is in the weight."
                return Fault(problem, fault.returned, fault.expected, misconception=SWITCH_IGNORED)
            return fault
        right = output(args, weight)
        if fault := fault_between(
            observation["out"], "torch.Tensor", right, dtype=dtype, device=case.device, what="The output"
        ):
            return fault
        if args["bias"] is not None and not same_bits(observation["bias"], args["bias"]):
            return Fault("The module's bias has changed.")
        return None

    def _training_fault(self, args, observation):
        if observation["leaf"] is not True or observation["graph"] is not False or observation["parameter"] is not True:
            return Fault(
                "The values are right, but the weight is not a leaf Parameter.",
                hint="It is a plain tensor, perhaps with a grad_fn. What do you put in its place?",
            )
        expected = [args["trains"][0], args["trains"][1] and args["bias"] is not None]
        for name, trains, right in zip(("weight", "bias"), observation["trains"], expected, strict=True):
            if trains != right:
                change_text = (
                    "required no gradient before, and does now",
                    "required a gradient before, and does not now",
                )[right]
                return Fault(f"The {name} {change_text}.", misconception=FROZEN if right else UNFROZEN)
        return None

    def same(self, case, a, b):
        """Whether two functions have the same effect, in everything that the probe reports."""
        return alike(a, b, case.device)


fold = Fold()

answer.slip(
    SWITCH_IGNORED,
    "    parametrize.remove",
    "    if parametrize.is_parametrized(module, 'weight'):\n        module.parametrizations.weight[0].en = True\n    parametrize.remove",
)
answer.slip(CHANGE_LOST, "leave_parametrized=True", "leave_parametrized=False")
answer.slip(
    COPY_FOLDED,
    "    parametrize.remove",
    "    import copy\n\n    module = copy.deepcopy(module)\n    parametrize.remove",
)
answer.slip(
    SCALING_FORGOTTEN,
    'parametrize.remove_parametrizations(module, "weight", leave_parametrized=True)',
    "lora = module.parametrizations.weight[0]\n"
    '    parametrize.remove_parametrizations(module, "weight", leave_parametrized=False)\n'
    "    if lora.en:\n        module.weight.data += (lora.B @ lora.A).data.view(module.weight.shape)",
    hint="The change is scale times B @ A. Compare yours with the forward of the module that you fold.",
)
answer.slip(
    "change_twice",
    "    parametrize.remove",
    "    with torch.no_grad():\n        module.parametrizations.weight.original.copy_(module.weight)\n    parametrize.remove",
    thought="The change has to be written into the original weight before the parametrisation is removed.",
    hint="leave_parametrized=True keeps the weight that the adapter computes from the original. What is in the "
    "original at that moment?",
)
answer.slip(UNFROZEN, "return module", "return module.requires_grad_(True)")
answer.slip(FROZEN, "return module", "return module.requires_grad_(False)")
answer.slip(
    ONLY_SWITCHED_OFF,
    'parametrize.remove_parametrizations(module, "weight", leave_parametrized=True)',
    "module.parametrizations.weight[0].en = False",
)
answer.slip(
    NO_PARAMETER,
    "    parametrize.remove",
    "    weight = module.weight\n    parametrize.remove",
    "    return module",
    "    del module.weight\n    module.weight = weight\n    return module",
)
answer.slip(
    LEFT_BEHIND,
    "    parametrize.remove",
    "    lora = module.parametrizations.weight[0]\n    module.A, module.B = lora.A, lora.B\n    parametrize.remove",
)
answer.slip(
    PLAIN_ACCEPTED,
    "def fold(module):\n    parametrize.remove",
    "def fold(module):\n    if not parametrize.is_parametrized(module):\n        return module\n    parametrize.remove",
)
