"""lora_linear_placement: the adapters live where the base lives, in its dtype, and move with the layer."""

import torch
from torch import nn

from autograde.checks.shared.lora_layers import ADAPTERS, LayerCheck, adapter_fault, layer_case
from autograde.judge import describe
from autograde.judge.compare import Fault
from autograde.judge.draw import devices
from autograde.probes.lora_linear import place

lora_linear_placement = LayerCheck(
    "lora_linear_placement",
    points=1,
    subject="LoRALinear",
    note="Passing device and dtype, new_zeros, empty_like, or .to() at the end of __init__ all do.",
    next_step="Make a layer around nn.Linear(5, 7, dtype=torch.bfloat16), and print dtype and device of base_layer.weight, "
    "lora_A and lora_B; then the same after layer.to(torch.float64). Each time all three must agree.",
)


def _case(draw, label, dtype, device, moved_to):
    case = layer_case(draw, (3,), label, dtype=dtype)
    case.args.update(device=device, moved_to=moved_to)
    return case


@lora_linear_placement.cases
def _(draw):
    return [
        _case(draw, "a base in float64, then moved to bfloat16", torch.float64, "cpu", "bfloat16"),
        _case(draw, "a base in bfloat16, then moved to float32", torch.bfloat16, "cpu", "float32"),
        # A device that every machine has: meta tensors have a shape and a place, and no numbers.
        _case(draw, "a base on another device (meta)", torch.float32, "meta", "float32"),
    ]


def _make_cases(draw, remote=False):
    elsewhere = [] if remote else devices()[1:]
    cases = lora_linear_placement._cases(draw)
    return cases + [_case(draw, f"a base on {device}", torch.float32, device, "float64") for device in elsewhere]


lora_linear_placement.make_cases = _make_cases
lora_linear_placement.observe = lambda target, case: place(target, **case.args)


def _places(held):
    return [[held[name].get(what) for what in ("dtype", "device", "registered")] for name in ADAPTERS]


def _same(case, a, b):
    if "held" not in a or "held" not in b:
        return False
    moved = [_places(seen["moved"]) if seen["moved"] else None for seen in (a, b)]
    return _places(a["held"]) == _places(b["held"]) and moved[0] == moved[1]


lora_linear_placement.same = _same


def _fault(case, seen):
    if "held" not in seen and (fault := lora_linear_placement.broken(case, seen)):
        return fault
    if fault := adapter_fault(case, seen["held"]):
        return fault
    dtype, device, target = case.args["weight"].dtype, case.args["device"], case.args["moved_to"]
    if fault := _misplaced(seen["held"], str(dtype), device, "made"):
        return fault
    if device != "meta" and (
        fault := _misplaced(seen["moved"], f"torch.{target}", device, f"after layer.to({target})")
    ):
        return fault
    return lora_linear_placement.broken(case, seen)


def _misplaced(held, dtype, device, when):
    for name in ADAPTERS:
        for what, wanted in (("dtype", dtype), ("device", device)):
            if held[name][what] != wanted:
                found = describe.clean(str(held[name][what]), 40)
                start = f"{name} is made with {what} {found}" if when == "made" else f"{when} {name} has {what} {found}"
                return Fault(f"{start[0].upper() if when != 'made' else start[0]}{start[1:]}; the base has {wanted}.")
    return None


lora_linear_placement.fault = _fault


@lora_linear_placement.misconception(
    "default_placement",
    thought="A new tensor is float32 on the CPU, and so is the base.",
    hint="Ask the base where it lives: its weight has a dtype and a device. Hand both to whatever makes A and B.",
)
class DefaultPlacement(nn.Module):
    def __init__(self, base_layer, rank=4, alpha=1):
        super().__init__()
        self.base_layer = base_layer.requires_grad_(False)
        self.scaling = alpha / rank
        self.lora_A = nn.Parameter(torch.randn(base_layer.in_features, rank))
        self.lora_B = nn.Parameter(torch.zeros(rank, base_layer.out_features))

    def forward(self, x):
        return self.base_layer(x) + (x @ self.lora_A) @ self.lora_B * self.scaling


@lora_linear_placement.misconception(
    "dtype_without_device",
    thought="The dtype is what can differ; the device looks after itself.",
    hint="A base on a GPU needs its adapters there. Which two things does base_layer.weight tell you about its place?",
)
class DtypeWithoutDevice(nn.Module):
    def __init__(self, base_layer, rank=4, alpha=1):
        super().__init__()
        self.base_layer = base_layer.requires_grad_(False)
        self.scaling = alpha / rank
        self.lora_A = nn.Parameter(torch.randn(base_layer.in_features, rank, dtype=base_layer.weight.dtype))
        self.lora_B = nn.Parameter(torch.zeros(rank, base_layer.out_features, dtype=base_layer.weight.dtype))

    def forward(self, x):
        return self.base_layer(x) + (x @ self.lora_A) @ self.lora_B * self.scaling


@lora_linear_placement.misconception(
    "device_without_dtype",
    thought="The device is what can differ; numbers are float32.",
    hint="Large models are kept in bfloat16. Which two things does base_layer.weight tell you about its place?",
)
class DeviceWithoutDtype(nn.Module):
    def __init__(self, base_layer, rank=4, alpha=1):
        super().__init__()
        self.base_layer = base_layer.requires_grad_(False)
        self.scaling = alpha / rank
        device = base_layer.weight.device
        self.lora_A = nn.Parameter(torch.randn(base_layer.in_features, rank, device=device))
        self.lora_B = nn.Parameter(torch.zeros(rank, base_layer.out_features, device=device))

    def forward(self, x):
        return self.base_layer(x) + (x @ self.lora_A) @ self.lora_B * self.scaling


@lora_linear_placement.misconception(
    "does_not_follow",
    thought="Once it is made in the right place, a tensor stays with its layer.",
    hint="layer.to(...) moves parameters, buffers and modules. What are your A and B to the layer?",
)
class DoesNotFollow(nn.Module):
    def __init__(self, base_layer, rank=4, alpha=1):
        super().__init__()
        self.base_layer = base_layer.requires_grad_(False)
        self.scaling = alpha / rank
        place = {"device": base_layer.weight.device, "dtype": base_layer.weight.dtype}
        self.lora_A = torch.randn(base_layer.in_features, rank, **place).requires_grad_()
        self.lora_B = torch.zeros(rank, base_layer.out_features, **place).requires_grad_()

    def forward(self, x):
        return self.base_layer(x) + (x @ self.lora_A) @ self.lora_B * self.scaling
