"""The layer that delta_weight and merge are asked about: the one that the lesson gives, made around a fresh base."""

import inspect
from dataclasses import replace

import torch
from torch import nn

from autograde.checks.shared.draws import layer_sizes
from autograde.checks.shared.families import CHANGED_LAYER
from autograde.judge.check import Case, Check
from autograde.judge.compare import Fault
from autograde.judge.describe import clean


class LoRALinear(nn.Module):
    """h = base_layer(x) + scaling * (x @ lora_A) @ lora_B; only lora_A and lora_B train."""

    def __init__(self, base_layer, rank=4, alpha=1):
        super().__init__()
        self.base_layer = base_layer.requires_grad_(False)
        self.scaling = alpha / rank
        d, k = base_layer.in_features, base_layer.out_features
        like = {"dtype": base_layer.weight.dtype, "device": base_layer.weight.device}
        self.lora_A = nn.Parameter(torch.randn(d, rank, **like) / d**0.5)
        self.lora_B = nn.Parameter(torch.zeros(rank, k, **like))

    def forward(self, x):
        thin = x @ self.lora_A  # (..., d) @ (d, r) -> (..., r)
        # (..., r) @ (r, k) -> (..., k)
        return self.base_layer(x) + (self.scaling * thin) @ self.lora_B


NAME = LoRALinear.__name__
SOURCE = inspect.getsource(LoRALinear)


def adapted(draw, label, *, sizes=None, bias=True, dtype=torch.float32, rows=None, part="answer"):
    """A case around a fresh base.

    Args:
        draw: the `Draw`.
        label: of the case.
        sizes: in_features, out_features, rank; drawn when left out.
        bias: whether the base has one.
        dtype: of everything.
        rows: leading sizes of an x; no x when left out.
        part: which points it is for.
    """
    d, k, r = sizes or layer_sizes(draw)
    args = {
        "weight": draw.tensor(k, d, dtype=dtype),
        "bias": draw.tensor(k, dtype=dtype) if bias else None,
        "options": {"rank": r, "alpha": draw.choice([n for n in (3, 5, 7, 11) if n != r])},
        "A": draw.tensor(d, r, dtype=dtype),
        "B": draw.tensor(r, k, dtype=dtype),
    }
    return Case(args if rows is None else args | {"x": draw.tensor(*rows, d, dtype=dtype)}, label, part)


def exact(case):
    """The case's tensors in float64 by name, bias None where there is none, and the scaling."""
    numbers = {name: value.double() for name, value in case.args.items() if isinstance(value, torch.Tensor)}
    options = case.args["options"]
    return {"bias": None} | numbers | {"scaling": options["alpha"] / options["rank"]}


def base_in_words(case):
    """`nn.Linear(7, 5, bias=False, dtype=torch.bfloat16)`: the call that makes the case's base."""
    out_features, in_features = case.args["weight"].shape
    bias = "" if case.args["bias"] is not None else ", bias=False"
    dtype = case.args["weight"].dtype
    return f"nn.Linear({in_features}, {out_features}{bias}{'' if dtype == torch.float32 else f', dtype={dtype}'})"


def options_in_words(case):
    """`, rank=3, alpha=5`."""
    return "".join(f", {name}={value}" for name, value in case.args["options"].items())


def leaf_in_words(observation):
    """How autograd sees an observed weight, in words: leaf or not, with or without a grad_fn."""
    return f"{'a leaf' if observation['leaf'] is True else 'no leaf'}, {'with' if observation['graph'] else 'without'} a grad_fn"


class GivenLayerCheck(Check):
    """A check of a function that takes a given layer."""

    def called(self, case):
        """The call, and how the layer was made."""
        label = f"  # {case.label}" if case.label else ""
        layer = f"LoRALinear({base_in_words(case)}{options_in_words(case)})"
        return f"{self.name}(layer){label}\n  layer = {layer}, trained: lora_B is not zero"

    def failed_call(self, observation):
        """As for every check; for an attribute that the given layer has not, with what it has."""
        fault = super().failed_call(observation)
        if (
            fault
            and "raised" in observation
            and f"'{NAME}' object has no attribute" in observation["raised"]["message"]
        ):
            return replace(
                fault, hint="The layer has base_layer, lora_A, lora_B and scaling. Which of them do you need?"
            )
        return fault

    def spoiled(self, observation):
        """The fault of a call that changed the layer; None where it did not."""
        if observation["gone"]:
            listed = ", ".join(clean(str(name), 60) for name in observation["gone"][:4])
            return Fault(
                f"The call changed the layer: it no longer has {listed}.",
                hint=f"The layer is still in use. Which line of {self.name} deletes, or sets to None, what belongs to it?",
                misconception=CHANGED_LAYER,
            )
        for fact, description in (
            ("changed", "other values"),
            ("added", "new parameters"),
            ("replaced", "another Parameter, or one that trains where it did not, or the reverse"),
        ):
            if observation[fact]:
                listed = ", ".join(clean(str(name), 60) for name in observation[fact][:4])
                return Fault(
                    f"The call changed the layer: it has {description}: {listed}.",
                    hint=f"Look in {self.name} for what writes into the layer (+=, a name ending in _, an assignment "
                    "to one of its attributes), and write into a tensor of your own instead.",
                    misconception=CHANGED_LAYER,
                )
        if observation["marked"]:
            return Fault(
                "The call marked the layer as merged, but it is not: its own weight contains no delta.",
                hint="Leave the layer as it was, its attributes too.",
                misconception=CHANGED_LAYER,
            )
        return None
