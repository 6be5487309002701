"""lora_linear_freeze: the layer keeps the base that it was given, and nothing trains but the two adapter tensors."""

import torch

from autograde.checks.shared.families import ADAPTERS_WITH_BIAS
from autograde.checks.shared.lora_layers import ADAPTERS, LORA_LINEAR, LayerCheck, absent_fault, layer_case
from autograde.judge.answer import RightAnswer
from autograde.judge.compare import Fault, agree
from autograde.judge.describe import clean
from autograde.judge.misconception import Misconception
from autograde.probes.lora_linear import train

BASE_CHANGED = Misconception(
    "base_changed",
    thought="The base belongs to the layer now, so its parts can be moved or written into.",
    hint="Other layers may use the same base, and a saved model expects it complete. Which of your lines removes "
    "something from base_layer, or writes into it?",
)
HOOK_ON_THE_BASE = Misconception(
    "hook_on_the_base",
    thought="The base can be made to add the adapter's part itself, by a hook or by another forward.",
    hint="Call the base itself, after a layer was made around it. Any code that uses the base must "
    "still get the base's own output.",
)
THAWED = Misconception(
    "base_thawed_later",
    thought="The base is frozen when the layer is made, and stays so.",
    hint="Print requires_grad of the base's weight and bias before and after a call of the layer, and after layer.train(). Which "
    "line of yours, in forward, train or eval, sets it to True? An optimiser that is made after that would train the base.",
)
STEPS = {"steps": 2, "lr": 0.05, "weight_decay": 0.1}

answer = RightAnswer(LORA_LINEAR)


class LoraLinearFreeze(LayerCheck):
    """Looks at what requires a gradient, and at what two optimiser steps change."""

    name = "lora_linear_freeze"
    points = 2
    subject = "LoRALinear"
    note = "requires_grad_(False) on the base, or a loop over its parameters, is the same."
    next_step = (
        "Make a layer in a cell, and print name and requires_grad of everything in layer.named_parameters(). For "
        "which names should it be True?"
    )
    answer = answer

    def cases(self, draw):
        return [
            layer_case(draw, (6,), "", inputs=("A", "B")),
            layer_case(draw, (6,), "no bias", inputs=("A", "B"), bias=False),
        ]

    def observe(self, target, case):
        return train(target, **case.args, **STEPS)

    def same(self, case, a, b):
        if "trains" not in a or "trains" not in b:
            return False
        return _summary(a) == _summary(b)

    def fault(self, case, observation):
        if "trains" not in observation and (fault := self.broken(case, observation)):
            return fault
        extra = [clean(str(name), 60) for name in observation["trains"] if name not in observation["adapters"]]
        if extra:
            return Fault(
                f"{' and '.join(extra)} would train, and should not: its requires_grad is True."
                if len(extra) == 1
                else f"{' and '.join(extra)} would train, and should not: their requires_grad is True.",
                returned=", ".join(extra),
                expected="no parameter but lora_A and lora_B requires a gradient",
            )
        if fault := _base_fault(observation) or absent_fault(observation["held"]):
            return fault
        for name in ADAPTERS:
            if observation["held"][name]["trains"] is not True:
                return Fault(f"{name} does not train: its requires_grad is False.")
        if fault := _changed_base_fault(case, observation):
            return fault
        if "raised" in observation:  # forward raises, which is charged elsewhere
            return None
        weight, bias, *adapters = _changed(observation)
        if weight or bias:
            return Fault(f"Two optimiser steps changed the base's {'weight' if weight else 'bias'}.")
        for name, moved in zip(ADAPTERS, adapters, strict=True):
            if not moved and observation["held"][name]["registered"]:
                return Fault(
                    f"Two optimiser steps left {name} as it was: it does not train.",
                    hint="Its requires_grad is True, so no gradient reaches it. Look in forward for .detach(), .data or no_grad() "
                    f"between {name} and the output, and for an output that does not use it.",
                )
        for trains, name in zip(observation["trains_again"], ("weight", "bias"), strict=True):
            if trains:
                return Fault(
                    f"Once the layer has been called and trained, the base's {name} requires a gradient again.",
                    misconception=THAWED,
                )
        return None

    def left_out(self, observation):
        if "raised" not in observation:
            return ""
        return "What an optimiser's steps change was not looked at: such a step stops. lora_linear_forward says why."


lora_linear_freeze = LoraLinearFreeze()


def _changed(observation):
    """Which of base weight, base bias, A and B an optimiser's steps have changed."""
    pairs = zip(observation["before"], observation["after"], strict=True)
    return [before is not None and not torch.equal(before, after) for before, after in pairs]


def _summary(observation):
    """The facts of an observation that do not depend on the random numbers."""
    trains = [observation["held"][name].get("trains") for name in ADAPTERS]
    changed = _changed(observation) if "after" in observation else None
    return (
        sorted(observation["trains"]),
        len(observation["adapters"]),
        trains,
        changed,
        observation.get("trains_again"),
        bool(observation["base_out"] is None),
    )


def _changed_base_fault(case, observation):
    """The fault of a base that is not as it was handed in; None where it is."""
    for name, value in zip(("weight", "bias"), observation["base_now"], strict=True):
        original = case.args[name]
        if original is None and value is None:
            continue
        if not isinstance(value, torch.Tensor) or original is None or not torch.equal(value, original):
            problem = "is gone" if value is None else "has other values"
            return Fault(
                f"Once the layer is made, the {name} of the base that was passed in {problem}.",
                misconception=BASE_CHANGED,
            )
    x, weight, bias = (case.args[name] for name in ("x", "weight", "bias"))
    if not agree(observation["base_out"], torch.nn.functional.linear(x, weight, bias)):
        return Fault(
            "Once the layer is made, base(x) is not what it was, though the base's weight and bias are.",
            misconception=HOOK_ON_THE_BASE,
        )
    return None


def _base_fault(observation):
    """What is wrong with the layer's base_layer; None where it is right."""
    if observation["base"] == "same":
        for trains, name in zip(observation["base_trains"], ("weight", "bias"), strict=True):
            if trains:
                return Fault(f"The {name} of the base that was passed in still requires a gradient.")
        return None
    hint = "Keep the nn.Linear that was passed in, itself and not a copy, as self.base_layer."
    if observation["base"] is None:
        return Fault("The layer has no base_layer.", hint=hint)
    description = (
        "a copy of the layer that was passed in"
        if observation["base"] == "copy"
        else "not the object that was passed in"
    )
    return Fault(f"layer.base_layer is {description}.", hint=hint)


answer.slip(
    "base_copied",
    "super().__init__()",
    "import copy\n\n        super().__init__()",
    "base_layer.requires_grad_(False)",
    "copy.deepcopy(base_layer).requires_grad_(False)",
    thought="The layer that was passed in must not be changed, so it is copied.",
    hint="Once it is frozen, training cannot change it. A copy needs the memory a second time, which LoRA avoids. "
    "Keep the layer itself.",
    recognise=lambda case, observation: observation.get("base") == "copy",
)

answer.slip(
    "base_rebuilt",
    "base_layer.requires_grad_(False)",
    "nn.Linear(base_layer.in_features, base_layer.out_features).requires_grad_(False)",
    thought="The layer makes a linear layer of its own, of the same sizes.",
    hint="A new nn.Linear has random weights. Where are the trained ones?",
    recognise=lambda case, observation: observation.get("base") == "other",
)

answer.slip(
    "bias_left_trainable",
    "base_layer.requires_grad_(False)",
    "base_layer\n        self.base_layer.weight.requires_grad = False",
    thought="Only the weight is adapted, so it is enough to freeze the weight.",
    hint="Print the names of all parameters that require a gradient. Which one does not belong to an adapter?",
    recognise=lambda case, observation: (
        observation.get("base") == "same" and observation["base_trains"] == [False, True]
    ),
)

answer.slip(
    "base_not_frozen",
    ".requires_grad_(False)",
    "",
    thought="The base does not change by itself, so it need not be frozen.",
    hint="An optimiser gets every parameter that requires a gradient. Print requires_grad of the base's parameters. "
    "(base_layer.requires_grad = False freezes nothing: it gives the module a new attribute. eval() freezes nothing either, and .data is another "
    "tensor.)",
    recognise=lambda case, observation: (
        observation.get("base") == "same" and observation["base_trains"] == [True, True]
    ),
)

answer.slip(
    "adapters_frozen_too",
    ".requires_grad_(False)",
    "",
    "\n\n    def forward(self, x):",
    "\n        for parameter in self.parameters():\n            parameter.requires_grad = False\n\n    def forward(self, x):",
    thought="Freezing a model means that nothing in the layer requires a gradient.",
    hint="Something must learn. In which order do you freeze and add the adapters?",
)

answer.slip(
    ADAPTERS_WITH_BIAS,
    "nn.Parameter(torch.randn(base_layer.in_features, rank, **like))",
    "nn.Linear(base_layer.in_features, rank, **like)",
    "nn.Parameter(torch.zeros(rank, base_layer.out_features, **like))",
    "nn.Linear(rank, base_layer.out_features, **like)\n        nn.init.zeros_(self.lora_B.weight)",
    "(x @ self.lora_A) @ self.lora_B",
    "self.lora_B(self.lora_A(x))",
    hint="nn.Linear brings a bias unless told not to. LoRA has two matrices and nothing else.",
    recognise=lambda case, observation: any(
        name in observation.get("trains", ()) for name in ("lora_A.bias", "lora_B.bias")
    ),
)

answer.slip(
    BASE_CHANGED,
    "self.base_layer = base_layer.requires_grad_(False)",
    "self.base_layer = base_layer.requires_grad_(False)\n        self.bias = base_layer.bias\n        base_layer.bias = None",
    "self.base_layer(x)",
    "F.linear(x, self.base_layer.weight, self.bias)",
    recognise=lambda case, observation: False,
)

answer.slip(
    HOOK_ON_THE_BASE,
    "\n\n    def forward(self, x):",
    "\n        base_layer.register_forward_hook(lambda module, args, out: out + self.update(args[0]))\n\n    def forward(self, x):",
    "self.base_layer(x) + self.scaling * (x @ self.lora_A) @ self.lora_B",
    "self.base_layer(x)\n\n    def update(self, x):\n        return self.scaling * (x @ self.lora_A) @ self.lora_B",
    recognise=lambda case, observation: False,
)
