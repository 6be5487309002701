"""lora_linear_init: A random, B zero, both registered; so the layer starts exactly where its base is."""

import torch
from torch import nn

from autograde.checks.lora_linear.layer import ADAPTERS, LayerCheck, adapter_fault, layer_case
from autograde.judge.compare import Fault, agree
from autograde.judge.describe import number
from autograde.probes.lora_linear import start

SENSIBLE_STD = (1e-5, 10.0)  # any usual initialisation lies far inside; this refuses only slips

lora_linear_init = LayerCheck(
    "lora_linear_init",
    points=2,
    subject="LoRALinear",
    note="A from randn, normal_ or a Kaiming initialisation with fan-in d, of any sensible width, is as right.",
)


@lora_linear_init.cases
def _(draw):
    return [
        layer_case(draw, (3,), "", sizes=(48, 37, 5)),
        layer_case(draw, (3,), "no bias", sizes=(32, 43, 3), bias=False),
        layer_case(draw, (3,), "rank and alpha left at their defaults", sizes=(40, 27, 4), options={}),
    ]


def kind_of(values):
    """How a matrix was filled: zero, constant, one_sided (no negative entries, or no positive ones), random, wild."""
    values = values.double()
    if not torch.isfinite(values).all():
        return "wild"
    if not values.any():
        return "zero"
    spread = values.std().item()
    if spread <= 1e-6 * values.abs().max().item():
        return "constant"
    # The mean of n centred entries strays from 0 by about 1/sqrt(n) of their spread; 6 times that is no accident.
    if abs(values.mean().item()) > 6 * spread / values.numel() ** 0.5:
        return "one_sided"
    return "random" if SENSIBLE_STD[0] < spread < SENSIBLE_STD[1] else "wild"


def features(case, seen):
    """What matters of an observation, whatever the random numbers were: the ground of the diagnosis."""
    if "held" not in seen:
        raised = seen.get("raised", {})
        return ("raised", raised.get("type"), raised.get("message"), seen.get("type"), seen.get("not_callable"))
    if adapter_fault(case, seen["held"]):
        return ("held", *(str(seen["held"][name].get("shape", seen["held"][name]["type"])) for name in ADAPTERS))
    held = [seen["held"][name] for name in ADAPTERS]
    kinds = [kind_of(found["values"]) for found in held]
    return (*kinds, *(found["registered"] for found in held), kinds[0] == "random" and same_start(seen))


def same_start(seen):
    """Whether two layers made one after the other got the same A."""
    return agree(seen["held"]["lora_A"]["values"], seen["other_A"])


lora_linear_init.observe = lambda target, case: start(target, **case.args)
lora_linear_init.same = lambda case, a, b: features(case, a) == features(case, b)


def _fault(case, seen):
    if broken := lora_linear_init.broken(case, seen) or adapter_fault(case, seen["held"]):
        return broken
    held = seen["held"]
    for name in ADAPTERS:
        if not held[name]["registered"]:
            hint = "An optimiser sees only parameters: assign an nn.Parameter, or a module, to the layer itself."
            return Fault(f"{name} is not among the layer's parameters.", hint=hint)
    a, b = (kind_of(held[name]["values"]) for name in ADAPTERS)
    if b != "zero":
        return Fault(f"At the start lora_B is not zero (it is {_words(b)}), so the layer does not start as its base.")
    if a != "random":
        return Fault(f"At the start lora_A is {_words(a)}; it must be random around zero.", hint=_spread(held, a))
    if same_start(seen):
        return Fault("Two layers made one after the other have the very same lora_A.")
    x, weight, bias = (case.args[name] for name in ("x", "weight", "bias"))
    if not agree(seen["out"], nn.functional.linear(x, weight, bias)):
        return Fault("With lora_B zero, the layer does not give what its base gives.", hint="Look at forward.")
    return None


lora_linear_init.fault = _fault


def _words(kind):
    return {
        "one_sided": "random but not around zero",
        "wild": "of no sensible width",
        "constant": "the same number everywhere",
    }.get(kind, kind)


def _spread(held, kind):
    if kind != "wild":
        return ""
    return f"Its standard deviation is {number(held['lora_A']['values'].double().std().item())}."


@lora_linear_init.misconception(
    "both_zero",
    thought="If the start must equal the base, both matrices are best set to zero.",
    hint="Work out the gradient of A with B = 0, and that of B with A = 0. With both zero, who ever moves first?",
)
class BothZero(nn.Module):
    def __init__(self, base_layer, rank=4, alpha=1):
        super().__init__()
        self.base_layer = base_layer.requires_grad_(False)
        self.scaling = alpha / rank
        self.lora_A = nn.Parameter(torch.zeros(base_layer.in_features, rank))
        self.lora_B = nn.Parameter(torch.zeros(rank, base_layer.out_features))

    def forward(self, x):
        return self.base_layer(x) + (x @ self.lora_A) @ self.lora_B * self.scaling


@lora_linear_init.misconception(
    "both_random",
    thought="Weights are initialised at random, so both matrices are.",
    hint="With both random, what does the layer add to its base before a single step of training?",
)
class BothRandom(nn.Module):
    def __init__(self, base_layer, rank=4, alpha=1):
        super().__init__()
        self.base_layer = base_layer.requires_grad_(False)
        self.scaling = alpha / rank
        self.lora_A = nn.Parameter(torch.randn(base_layer.in_features, rank))
        self.lora_B = nn.Parameter(torch.randn(rank, base_layer.out_features))

    def forward(self, x):
        return self.base_layer(x) + (x @ self.lora_A) @ self.lora_B * self.scaling


@lora_linear_init.misconception(
    "zero_and_random_swapped",
    thought="One of the two must be zero, and either will do.",
    hint="The start is the same, and it trains; but the course, the paper and later studies put the zeros on the other "
    "matrix (A random with B zero does better on average and bears larger learning rates: arXiv 2406.08447).",
)
class Swapped(nn.Module):
    def __init__(self, base_layer, rank=4, alpha=1):
        super().__init__()
        self.base_layer = base_layer.requires_grad_(False)
        self.scaling = alpha / rank
        self.lora_A = nn.Parameter(torch.zeros(base_layer.in_features, rank))
        self.lora_B = nn.Parameter(torch.randn(rank, base_layer.out_features) * 0.02)

    def forward(self, x):
        return self.base_layer(x) + (x @ self.lora_A) @ self.lora_B * self.scaling


@lora_linear_init.misconception(
    "plain_tensors",
    thought="A tensor with requires_grad=True on the layer is a parameter of it.",
    hint="Print list(layer.parameters()). What makes a module count a tensor among them?",
)
class PlainTensors(nn.Module):
    def __init__(self, base_layer, rank=4, alpha=1):
        super().__init__()
        self.base_layer = base_layer.requires_grad_(False)
        self.scaling = alpha / rank
        self.lora_A = torch.randn(base_layer.in_features, rank, requires_grad=True)
        self.lora_B = torch.zeros(rank, base_layer.out_features, requires_grad=True)

    def forward(self, x):
        return self.base_layer(x) + (x @ self.lora_A) @ self.lora_B * self.scaling


@lora_linear_init.misconception(
    "hidden_in_a_list",
    thought="Parameters in a plain list belong to the layer that holds the list.",
    hint="Print list(layer.parameters()). A module looks at its attributes, not inside a Python list or dict.",
)
class HiddenInAList(nn.Module):
    def __init__(self, base_layer, rank=4, alpha=1):
        super().__init__()
        self.base_layer = base_layer.requires_grad_(False)
        self.scaling = alpha / rank
        a = nn.Parameter(torch.randn(base_layer.in_features, rank))
        b = nn.Parameter(torch.zeros(rank, base_layer.out_features))
        self.adapters = [a, b]

    def forward(self, x):
        return self.base_layer(x) + (x @ self.adapters[0]) @ self.adapters[1] * self.scaling


@lora_linear_init.misconception(
    "constant_A",
    thought="A only has to differ from zero, so ones will do.",
    hint="If all columns of A are equal, what can the columns of A ever learn that the first one does not?",
)
class ConstantA(nn.Module):
    def __init__(self, base_layer, rank=4, alpha=1):
        super().__init__()
        self.base_layer = base_layer.requires_grad_(False)
        self.scaling = alpha / rank
        self.lora_A = nn.Parameter(torch.ones(base_layer.in_features, rank))
        self.lora_B = nn.Parameter(torch.zeros(rank, base_layer.out_features))

    def forward(self, x):
        return self.base_layer(x) + (x @ self.lora_A) @ self.lora_B * self.scaling


@lora_linear_init.misconception(
    "rand_for_randn",
    thought="torch.rand gives random numbers, and random is random.",
    hint="torch.rand has no negative numbers. Which function draws from a Gaussian around zero?",
)
class RandForRandn(nn.Module):
    def __init__(self, base_layer, rank=4, alpha=1):
        super().__init__()
        self.base_layer = base_layer.requires_grad_(False)
        self.scaling = alpha / rank
        self.lora_A = nn.Parameter(torch.rand(base_layer.in_features, rank))
        self.lora_B = nn.Parameter(torch.zeros(rank, base_layer.out_features))

    def forward(self, x):
        return self.base_layer(x) + (x @ self.lora_A) @ self.lora_B * self.scaling


@lora_linear_init.misconception(
    "seeded_inside",
    thought="A seed in the constructor makes the layer reproducible.",
    hint="A seed inside the layer gives every layer the same A, and resets everyone's generator. Set it once, outside, "
    "where the experiment begins.",
)
class SeededInside(nn.Module):
    def __init__(self, base_layer, rank=4, alpha=1):
        super().__init__()
        torch.manual_seed(0)
        self.base_layer = base_layer.requires_grad_(False)
        self.scaling = alpha / rank
        self.lora_A = nn.Parameter(torch.randn(base_layer.in_features, rank))
        self.lora_B = nn.Parameter(torch.zeros(rank, base_layer.out_features))

    def forward(self, x):
        return self.base_layer(x) + (x @ self.lora_A) @ self.lora_B * self.scaling


@lora_linear_init.misconception(
    "left_uninitialised",
    thought="torch.empty makes a matrix, and training will fill it.",
    hint="torch.empty and nn.Parameter(torch.Tensor(...)) hold whatever was in memory. Fill A and B yourself.",
    recognise=lambda case, seen: (
        "held" in seen and not adapter_fault(case, seen["held"]) and kind_of(seen["held"]["lora_A"]["values"]) == "wild"
    ),
)
class LeftUninitialised(nn.Module):
    def __init__(self, base_layer, rank=4, alpha=1):
        super().__init__()
        self.base_layer = base_layer.requires_grad_(False)
        self.scaling = alpha / rank
        self.lora_A = nn.Parameter(torch.full((base_layer.in_features, rank), float("nan")))
        self.lora_B = nn.Parameter(torch.zeros(rank, base_layer.out_features))

    def forward(self, x):
        return self.base_layer(x) + (x @ self.lora_A) @ self.lora_B * self.scaling
