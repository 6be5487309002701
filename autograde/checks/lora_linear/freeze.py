"""lora_linear_freeze: nothing trains but the two adapter tensors."""

import torch
from torch import nn

from autograde.checks.lora_linear.layer import ADAPTERS, LayerCheck, layer_case
from autograde.judge.compare import Fault
from autograde.judge.describe import clean
from autograde.probes.lora_linear import train

STEPS = {"steps": 2, "lr": 0.05, "weight_decay": 0.1}

lora_linear_freeze = LayerCheck(
    "lora_linear_freeze",
    points=2,
    subject="LoRALinear",
    note="requires_grad_(False) on the base, or a loop over its parameters, is the same.",
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
    if "trains" not in a or "trains" not in b:
        return False
    return sorted(a["trains"]) == sorted(b["trains"]) and _changed(a) == _changed(b)


lora_linear_freeze.same = _same


def _fault(case, seen):
    if broken := lora_linear_freeze.broken(case, seen):
        return broken
    weight, bias, *adapters = _changed(seen)
    extra = [clean(str(name), 60) for name in seen["trains"] if name not in seen["adapters"]]
    if extra:
        return Fault(
            f"{' and '.join(extra)} would train, and should not: its requires_grad is True."
            if len(extra) == 1
            else f"{' and '.join(extra)} would train, and should not: their requires_grad is True.",
            returned=", ".join(extra),
            expected="no parameter but lora_A and lora_B requires a gradient",
        )
    if weight or bias:
        return Fault(f"Two optimiser steps changed the base's {'weight' if weight else 'bias'}.")
    for name, moved in zip(ADAPTERS, adapters, strict=True):
        if not moved:
            return Fault(f"Two optimiser steps left {name} as it was: it does not train.")
    return None


lora_linear_freeze.fault = _fault


@lora_linear_freeze.misconception(
    "bias_left_trainable",
    thought="The weight is what is adapted, so freezing the weight is enough.",
    hint="Print the names of all parameters that require a gradient. Which one is not yours?",
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
