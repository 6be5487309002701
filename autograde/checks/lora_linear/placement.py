"""lora_linear_placement: the adapters live where the base lives, in its dtype, and move with the layer."""

import torch

from autograde.checks.shared.lora_layers import ADAPTERS, LORA_LINEAR, LayerCheck, absent_fault, layer_case
from autograde.judge import describe
from autograde.judge.answer import RightAnswer
from autograde.judge.compare import Fault
from autograde.judge.exceptions import DEVICE, kind_of
from autograde.judge.random_inputs import devices
from autograde.probes.lora_linear import place

answer = RightAnswer(LORA_LINEAR)


class LoraLinearPlacement(LayerCheck):
    """Looks at dtype and device of the adapters, when the layer is made and after it was moved."""

    name = "lora_linear_placement"
    points = 1
    subject = "LoRALinear"
    note = "Passing device and dtype, new_zeros, empty_like, or .to() at the end of __init__ all do."
    next_step = (
        "Make a layer around nn.Linear(5, 7, dtype=torch.bfloat16), and print dtype and device of base_layer.weight, "
        "lora_A and lora_B; then the same after layer.to(torch.float64). Each time all three must agree."
    )
    answer = answer

    def cases(self, draw):
        return [
            _case(draw, "a base in float64, then moved to bfloat16", torch.float64, "cpu", "bfloat16"),
            _case(draw, "a base in bfloat16, then moved to float32", torch.bfloat16, "cpu", "float32"),
            # A device that every machine has: meta tensors have a shape and a place, and no numbers.
            _case(draw, "a base on another device (meta)", torch.float32, "meta", "float32"),
        ]

    def make_cases(self, draw, remote=False):
        other_devices = [] if remote else devices()[1:]
        cases = self.cases(draw)
        return cases + [
            _case(draw, f"a base on {device}", torch.float32, device, "float64") for device in other_devices
        ]

    def observe(self, target, case):
        return place(target, **case.args)

    def same(self, case, a, b):
        if "held" not in a or "held" not in b:
            return False
        moved = [_places(observation["moved"]) if observation["moved"] else None for observation in (a, b)]
        return _places(a["held"]) == _places(b["held"]) and moved[0] == moved[1]

    def fault(self, case, observation):
        if "held" not in observation and (fault := self.broken(case, observation)):
            return fault
        if fault := absent_fault(observation["held"]):
            return fault
        dtype, device, target = case.args["weight"].dtype, case.args["device"], case.args["moved_to"]
        if fault := _misplaced(observation["held"], str(dtype), device, "made"):
            return fault
        if device != "meta" and (
            fault := _misplaced(observation["moved"], f"torch.{target}", device, f"after layer.to({target})")
        ):
            return fault
        # A forward that raises is charged by lora_linear_forward, which runs it in several dtypes, but on one device only.
        if "raised" in observation and (observation["during"] == "move" or kind_of(observation["raised"]) == DEVICE):
            return self.broken(case, observation)
        return None

    def left_out(self, observation):
        if observation.get("during") != "forward":
            return ""
        return "The moved layer was not called, because forward raises. lora_linear_forward says where."


lora_linear_placement = LoraLinearPlacement()


def _case(draw, label, dtype, device, moved_to):
    case = layer_case(draw, (3,), label, dtype=dtype)
    case.args.update(device=device, moved_to=moved_to)
    return case


def _places(states):
    return [[states[name].get(fact) for fact in ("dtype", "device", "registered")] for name in ADAPTERS]


def _misplaced(states, dtype, device, when):
    for name in ADAPTERS:
        for fact, expected in (("dtype", dtype), ("device", device)):
            if states[name][fact] != expected:
                actual = describe.clean(str(states[name][fact]), 40)
                start = (
                    f"{name} is made with {fact} {actual}" if when == "made" else f"{when} {name} has {fact} {actual}"
                )
                return Fault(f"{start[0].upper() if when != 'made' else start[0]}{start[1:]}; the base has {expected}.")
    return None


answer.slip(
    "default_placement",
    '{"dtype": base_layer.weight.dtype, "device": base_layer.weight.device}',
    "{}",
    thought="A new tensor is float32 on the CPU, and so is the base.",
    hint="Make a layer around a base in bfloat16, and print dtype and device of base_layer.weight and of your A. What "
    "decides where a new tensor is made, and in which dtype?",
)

answer.slip(
    "dtype_without_device",
    ', "device": base_layer.weight.device',
    "",
    thought="Only the dtype can differ; the device is always the same.",
    hint="A base on a GPU needs its adapters there. Which two attributes of base_layer.weight tell you where and "
    "how to make them?",
)

answer.slip(
    "device_without_dtype",
    '"dtype": base_layer.weight.dtype, ',
    "",
    thought="Only the device can differ; numbers are always float32.",
    hint="Large models are kept in bfloat16. Which two attributes of base_layer.weight tell you where and how to "
    "make the adapters?",
)

answer.slip(
    "does_not_follow",
    "nn.Parameter(torch.randn(base_layer.in_features, rank, **like))",
    "torch.randn(base_layer.in_features, rank, **like).requires_grad_()",
    "nn.Parameter(torch.zeros(rank, base_layer.out_features, **like))",
    "torch.zeros(rank, base_layer.out_features, **like).requires_grad_()",
    thought="A tensor that was made in the right place stays with its layer.",
    hint="layer.to(...) moves parameters, buffers and modules. Which of these are your A and B?",
)
