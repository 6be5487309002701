"""lora_linear_freeze: the layer keeps the base that it was given, and nothing trains but the two adapter tensors."""

import torch
from torch import nn

from autograde.checks.lora_linear.init import unregistered
from autograde.checks.shared.lora_layers import ADAPTERS, LayerCheck, layer_case
from autograde.judge.compare import Fault
from autograde.judge.describe import clean
from autograde.probes.lora_linear import train

STEPS = {"steps": 2, "lr": 0.05, "weight_decay": 0.1}

lora_linear_freeze = LayerCheck(
    "lora_linear_freeze",
    points=2,
    subject="LoRALinear",
    note="requires_grad_(False) on the base, or a loop over its parameters, is the same.",
    next_step="Make a layer in a cell, and print name and requires_grad of everything in layer.named_parameters(). For "
    "which names should it be True?",
)


@lora_linear_freeze.cases
def _(draw):
    return [
        layer_case(draw, (6,), "", inputs=("A", "B")),
        layer_case(draw, (6,), "no bias", inputs=("A", "B"), bias=False),
    ]


lora_linear_freeze.observe = lambda target, case: train(target, **case.args, **STEPS)


def _changed(seen):
    """Which of base weight, base bias, A and B an optimiser's steps have changed."""
    pairs = zip(seen["before"], seen["after"], strict=True)
    return [before is not None and not torch.equal(before, after) for before, after in pairs]


def _same(case, a, b):
    if "after" not in a or "after" not in b:
        return False
    facts = [(sorted(seen["trains"]), len(seen["adapters"]), _changed(seen)) for seen in (a, b)]
    return facts[0] == facts[1]


lora_linear_freeze.same = _same


def _fault(case, seen):
    if "trains" not in seen and (fault := lora_linear_freeze.broken(case, seen)):
        return fault
    extra = [clean(str(name), 60) for name in seen["trains"] if name not in seen["adapters"]]
    if extra:
        return Fault(
            f"{' and '.join(extra)} would train, and should not: its requires_grad is True."
            if len(extra) == 1
            else f"{' and '.join(extra)} would train, and should not: their requires_grad is True.",
            returned=", ".join(extra),
            expected="no parameter but lora_A and lora_B requires a gradient",
        )
    if fault := _base_fault(seen):
        return fault
    if len(seen["adapters"]) < len(ADAPTERS):
        names = [name for name in ADAPTERS if not any(str(own).startswith(name) for own in seen["adapters"])]
        return unregistered(names[0] if names else ADAPTERS[0])
    if fault := lora_linear_freeze.broken(case, seen):
        return fault
    weight, bias, *adapters = _changed(seen)
    if weight or bias:
        return Fault(f"Two optimiser steps changed the base's {'weight' if weight else 'bias'}.")
    for name, moved in zip(ADAPTERS, adapters, strict=True):
        if not moved:
            return Fault(f"Two optimiser steps left {name} as it was: it does not train.")
    return None


lora_linear_freeze.fault = _fault


def _base_fault(seen):
    """What is wrong with what the layer holds as its base; None where nothing is."""
    if seen["base"] == "same":
        for trains, name in zip(seen["base_trains"], ("weight", "bias"), strict=True):
            if trains:
                return Fault(f"The {name} of the base that was handed in still requires a gradient.")
        return None
    hint = "Keep the nn.Linear that the layer is made around, itself, as self.base_layer."
    if seen["base"] is None:
        return Fault("The layer has no base_layer.", hint=hint)
    what = "a copy of the layer that was handed in" if seen["base"] == "copy" else "another object than was handed in"
    return Fault(f"layer.base_layer is {what}.", hint=hint)


@lora_linear_freeze.misconception(
    "base_copied",
    thought="The layer that was handed in must not be changed, so it is copied.",
    hint="Its values are safe once it is frozen, and a copy is what LoRA does without: it takes the memory a second time. "
    "Keep the layer itself.",
    recognise=lambda case, seen: seen.get("base") == "copy",
)
class BaseCopied(nn.Module):
    def __init__(self, base_layer, rank=4, alpha=1):
        import copy

        super().__init__()
        self.base_layer = copy.deepcopy(base_layer).requires_grad_(False)
        self.scaling = alpha / rank
        self.lora_A = nn.Parameter(torch.randn(base_layer.in_features, rank))
        self.lora_B = nn.Parameter(torch.zeros(rank, base_layer.out_features))

    def forward(self, x):
        return self.base_layer(x) + (x @ self.lora_A) @ self.lora_B * self.scaling


@lora_linear_freeze.misconception(
    "bias_left_trainable",
    thought="The weight is what is adapted, so freezing the weight is enough.",
    hint="Print the names of all parameters that require a gradient. Which one is not yours?",
    recognise=lambda case, seen: seen.get("base") == "same" and seen["base_trains"] == [False, True],
)
class BiasLeftTrainable(nn.Module):
    def __init__(self, base_layer, rank=4, alpha=1):
        super().__init__()
        self.base_layer = base_layer
        self.base_layer.weight.requires_grad = False
        self.scaling = alpha / rank
        self.lora_A = nn.Parameter(torch.randn(base_layer.in_features, rank))
        self.lora_B = nn.Parameter(torch.zeros(rank, base_layer.out_features))

    def forward(self, x):
        return self.base_layer(x) + (x @ self.lora_A) @ self.lora_B * self.scaling


@lora_linear_freeze.misconception(
    "base_not_frozen",
    thought="The base is handed over as it is, and only the adapters go to an optimiser later.",
    hint="Any optimiser gets all that requires a gradient. Freeze by the method requires_grad_(False), or parameter by "
    "parameter: base_layer.requires_grad = False only gives the module a new attribute.",
    recognise=lambda case, seen: seen.get("base") == "same" and seen["base_trains"] == [True, True],
)
class BaseNotFrozen(nn.Module):
    def __init__(self, base_layer, rank=4, alpha=1):
        super().__init__()
        self.base_layer = base_layer
        self.scaling = alpha / rank
        self.lora_A = nn.Parameter(torch.randn(base_layer.in_features, rank))
        self.lora_B = nn.Parameter(torch.zeros(rank, base_layer.out_features))

    def forward(self, x):
        return self.base_layer(x) + (x @ self.lora_A) @ self.lora_B * self.scaling


@lora_linear_freeze.misconception(
    "adapters_frozen_too",
    thought="Freezing a model means that nothing in the layer requires a gradient.",
    hint="Something must learn. In which order did you freeze, and add the adapters?",
)
class AdaptersFrozenToo(nn.Module):
    def __init__(self, base_layer, rank=4, alpha=1):
        super().__init__()
        self.base_layer = base_layer
        self.scaling = alpha / rank
        self.lora_A = nn.Parameter(torch.randn(base_layer.in_features, rank))
        self.lora_B = nn.Parameter(torch.zeros(rank, base_layer.out_features))
        for parameter in self.parameters():
            parameter.requires_grad = False

    def forward(self, x):
        return self.base_layer(x) + (x @ self.lora_A) @ self.lora_B * self.scaling


@lora_linear_freeze.misconception(
    "adapters_with_bias",
    thought="An nn.Linear for each adapter, as it comes.",
    hint="nn.Linear brings a bias unless told not to. LoRA has two matrices and nothing else.",
    recognise=lambda case, seen: any(name in seen.get("trains", ()) for name in ("lora_A.bias", "lora_B.bias")),
)
class AdaptersWithBias(nn.Module):
    def __init__(self, base_layer, rank=4, alpha=1):
        super().__init__()
        self.base_layer = base_layer.requires_grad_(False)
        self.scaling = alpha / rank
        self.lora_A = nn.Linear(base_layer.in_features, rank)
        self.lora_B = nn.Linear(rank, base_layer.out_features)
        nn.init.zeros_(self.lora_B.weight)

    def forward(self, x):
        return self.base_layer(x) + self.lora_B(self.lora_A(x)) * self.scaling
