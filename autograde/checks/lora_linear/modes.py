"""The output of a LoRALinear in every mode: training or evaluating, with gradients or without, and called twice."""

import torch
from torch import nn

from autograde.judge import describe
from autograde.judge.compare import Fault, agree, raised_fault
from autograde.judge.exceptions import is_untouched
from autograde.judge.misconception import Misconception

DROPOUT = Misconception(
    "dropout_in_forward",
    thought="The adapter's part goes through dropout, as it does in libraries.",
    hint="Call your layer twice with the same x. The formula of this lesson has no random part: which line draws one?",
)
IN_TRAINING_ONLY = Misconception(
    "adapter_in_training_only",
    thought="The adapter is for training; afterwards the base alone is used.",
    hint="What was learned is in lora_A and lora_B. Call your layer after layer.eval(), and compare it with its base.",
)
WITH_GRADIENTS_ONLY = Misconception(
    "adapter_with_gradients_only",
    thought="Without gradients there is no training, so the adapter is not needed.",
    hint="Call your layer inside torch.no_grad(), and compare it with its base. The learned change must be in the "
    "output there, too.",
)
PRODUCT_KEPT = Misconception(
    "product_kept",
    thought="The product of lora_A and lora_B is the same in every call, so it is computed in the first one.",
    hint="Every step of training changes lora_A and lora_B. Which values of them does your layer use in its second call?",
)
MERGED_AT_EVAL = Misconception(
    "merged_at_eval",
    thought="In evaluation the adapters do not change any more, so one merged weight can be kept.",
    hint="Evaluate, train on, and evaluate again: does the second evaluation see what was learned in between?",
)
ADDED_TWICE_AT_EVAL = Misconception(
    "added_twice_at_eval",
    thought="train(False) can put the update into the weight, since evaluating comes after training.",
    hint="Follow the update after layer.eval(): it is in the weight, and does forward add it again?",
)


def swapped(observation):
    """Whether the observed class takes alpha before rank."""
    order = [name for name in observation.get("order", ()) if name in ("rank", "alpha")]
    return order == ["alpha", "rank"]


def differs(case, observation):
    """Whether two calls that were the same gave two outputs."""
    _, kind, second = observation["again"][0]
    return (
        kind == "out" and isinstance(second, torch.Tensor) and not agree(observation["out"], second, device=case.device)
    )


def fault(case, outcomes, right):
    """The fault of a layer whose output is wrong in a mode other than the first; None where all are right.

    Args:
        case: the `Case`.
        outcomes: what the probe noted, one entry for each of its `WAYS`.
        right: the output of the first call, float64; lora_B has changed its sign in the last two ways.
    """
    args, dtype = case.args, case.args["x"].dtype
    bias = None if args["bias"] is None else args["bias"].double()
    base = nn.functional.linear(args["x"].double(), args["weight"].double(), bias)
    update = right - base
    expected_outputs = [right, right, right, base - update, base - update]
    misconceptions = [DROPOUT, WITH_GRADIENTS_ONLY, IN_TRAINING_ONLY, None, MERGED_AT_EVAL]
    for (way, kind, result), out, misconception in zip(outcomes, expected_outputs, misconceptions, strict=True):
        if kind == "raised":
            if is_untouched(result):
                continue
            return raised_fault(
                f"The output is right at first, but {_when(way).rstrip('.')}, calling the layer", result
            )
        if agree(result, out, dtype, case.device):
            continue
        if way == "after layer.eval()" and agree(result, right + update, dtype, case.device):
            misconception = ADDED_TWICE_AT_EVAL
        elif misconception in (WITH_GRADIENTS_ONLY, IN_TRAINING_ONLY) and not agree(result, base, dtype, case.device):
            misconception = None
        elif way.startswith("after layer.train()") and agree(result, right, dtype, case.device):
            misconception = PRODUCT_KEPT
        elif misconception is MERGED_AT_EVAL and not agree(result, right, dtype, case.device):
            misconception = None
        hint = "" if misconception else HINT
        return Fault(f"The output is right at first, and wrong {_when(way)}", hint=hint, misconception=misconception)
    return None


HINT = "The formula holds for every call. What does your layer do differently there?"


def _when(way):
    way = describe.clean(str(way), 60)
    return f"in {way}." if way.startswith("the ") else f"{way}."


def add_slips(answer):
    """Add the mistakes that show in other modes only to the right answer of LoRALinear."""
    for misconception, condition in (
        (IN_TRAINING_ONLY, "self.training"),
        (WITH_GRADIENTS_ONLY, "torch.is_grad_enabled()"),
    ):
        start = f"if not {condition}:\n            return self.base_layer(x)\n        return self.base_layer(x) +"
        answer.slip(misconception, "return self.base_layer(x) +", start)
    answer.slip(
        DROPOUT, "(x @ self.lora_A)", "(F.dropout(x, 0.5) @ self.lora_A)", recognise=lambda case, observation: False
    )
    answer.slip(
        PRODUCT_KEPT,
        "rank, base_layer.out_features, **like))",
        "rank, base_layer.out_features, **like))\n        self.product = None",
        "return self.base_layer(x) + self.scaling * (x @ self.lora_A) @ self.lora_B",
        "if self.product is None:\n"
        "            self.product = self.scaling * self.lora_A @ self.lora_B\n"
        "        return self.base_layer(x) + x @ self.product",
    )
    answer.slip(
        MERGED_AT_EVAL,
        "rank, base_layer.out_features, **like))",
        "rank, base_layer.out_features, **like))\n        self.cached = None",
        "return self.base_layer(x) +",
        "if not self.training:\n"
        "            if self.cached is None:\n"
        "                delta = self.scaling * (self.lora_A @ self.lora_B).T\n"
        "                self.cached = (self.base_layer.weight + delta).detach()\n"
        "            return F.linear(x, self.cached, self.base_layer.bias)\n"
        "        return self.base_layer(x) +",
    )
    answer.slip(
        ADDED_TWICE_AT_EVAL,
        "\n\n    def forward(self, x):",
        "\n\n    def train(self, mode=True):\n"
        "        if mode != self.training:\n"
        "            delta = self.scaling * (self.lora_A @ self.lora_B).T\n"
        "            self.base_layer.weight.data += -delta if mode else delta\n"
        "        return super().train(mode)\n\n    def forward(self, x):",
    )
