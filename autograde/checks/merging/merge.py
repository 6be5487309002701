"""merge: a new plain nn.Linear that computes what the layer computes, and leaves the layer unchanged."""

from dataclasses import replace

import torch
from torch import nn

from autograde.checks.merging.given import NAME, SOURCE, GivenLayerCheck, adapted, exact, leaf_in_words
from autograde.checks.shared.families import (
    BIAS_DROPPED,
    CHANGED_LAYER,
    NO_TRANSPOSE,
    SCALING_FORGOTTEN,
    SCALING_TWICE,
    VIEW_FOR_TRANSPOSE,
)
from autograde.judge import describe
from autograde.judge.answer import RightAnswer
from autograde.judge.check import ANSWER
from autograde.judge.compare import Fault, agree
from autograde.judge.misconception import Misconception
from autograde.probes.merging import linear_of
from autograde.remote.facts import same_bits

DTYPES = "every dtype"  # the part of merge's points that is for layers that are not float32

MERGED_INTO_THE_BASE = Misconception(
    "merged_into_the_base",
    thought="Merging changes the layer's own weight.",
    hint="That is the next exercise. Here the layer stays as it is: make a new nn.Linear with values of its own. "
    "Assigning a tensor copies no values, and neither does copy.copy.",
)

INFERENCE_MODE = Misconception(
    "inference_mode",
    thought="inference_mode is a faster no_grad.",
    hint="A tensor that is made under inference_mode can never be used with autograd again. Put your result "
    "behind a layer that trains, and call backward().",
)

KEEPS_MORE = Misconception(
    "keeps_more",
    thought="The new nn.Linear can also keep the parts from which it was made, in case they are needed later.",
    hint="Print list(linear.state_dict()): it is saved with the model, moved with it, and an nn.Linear that loads the file knows "
    "no such name. Which line of yours puts something besides weight and bias into the result?",
)

FROM_A_LAYER = "Make it with nn.Linear and the base's sizes, or with copy.deepcopy."


def _names_besides(observation):
    """What the returned nn.Linear registers besides weight and bias."""
    names = observation.get("names", [])
    return [name for name in names if name not in ("weight", "bias")] if isinstance(names, list) else []


def _names_fault(observation):
    if names := _names_besides(observation):
        listed = describe.clean(", ".join(map(str, names[:3])), 120)
        return Fault(
            f"The values are right, but the new nn.Linear has more than weight and bias: {listed}.",
            misconception=KEEPS_MORE,
        )
    return None


def _memory_fault(case, observation):
    if not observation["shares"]:
        if agree(observation["alone"], observation["out"], case.args["weight"].dtype, case.device):
            return None
        return Fault(
            "The values are right, but later changes of the layer also change the new nn.Linear.",
            hint="Copy the values: which of your lines uses a tensor of the layer itself?",
        )
    its, layer_name = (describe.clean(str(name), 60) for name in observation["shares"][0])
    return Fault(
        f"The values are right, but the new {its} shares its memory with the layer's {layer_name}.",
        hint="A change of one of the two changes the other. Copy the values: which of your lines uses "
        f"{layer_name} itself?",
    )


def expected(case):
    """Weight, bias (or None) and output of the right nn.Linear, in float64."""
    at = exact(case)
    weight = at["weight"] + at["scaling"] * (at["A"] @ at["B"]).T
    return weight, at["bias"], nn.functional.linear(at["x"], weight, at["bias"])


answer = RightAnswer("""
def merge(layer):
    base = layer.base_layer
    like = {"dtype": base.weight.dtype, "device": base.weight.device}
    linear = nn.Linear(base.in_features, base.out_features, bias=base.bias is not None, **like)
    with torch.no_grad():
        linear.weight.copy_(base.weight + layer.scaling * (layer.lora_A @ layer.lora_B).T)
        if base.bias is not None:
            linear.bias.copy_(base.bias)
    return linear
""")


class Merge(GivenLayerCheck):
    """Looks at type, values, autograd state and memory of the returned nn.Linear."""

    name = "merge"
    answer = answer
    points = 3
    parts = {ANSWER: 2, DTYPES: 1}
    note = "a deep copy of the base, nn.Linear with new Parameters, load_state_dict; requires_grad on or off."
    next_step = (
        "Work on two layers side by side in a cell: print weight, bias and dtype of base_layer and of your "
        "result, and compare layer(x) with your result's output."
    )

    def cases(self, draw):
        side = draw.integer(5, 9)
        return [
            adapted(draw, "", rows=(4,)),
            adapted(draw, "no bias", rows=(4,), bias=False),
            adapted(draw, "a square layer", rows=(3,), sizes=(side, side, 3)),
            adapted(draw, "a batch of sequences", rows=(2, 3)),
            adapted(draw, "float64", rows=(4,), dtype=torch.float64, part=DTYPES),
            adapted(draw, "bfloat16, no bias", rows=(4,), bias=False, dtype=torch.bfloat16, part=DTYPES),
            adapted(draw, "bfloat16", rows=(4,), dtype=torch.bfloat16, part=DTYPES),
            adapted(draw, "float16", rows=(4,), dtype=torch.float16, part=DTYPES),
            adapted(draw, "a square layer, other numbers", rows=(3,), sizes=(side, side, 3)),
        ]

    def returned(self, observation):
        """The weight of the nn.Linear that came back."""
        return observation.get("weight")

    def observe(self, target, case):
        """Call the learner's function with the case's layer."""
        return linear_of(target, source=SOURCE, name=NAME, **case.args, device=case.device)

    def fault(self, case, observation):
        """What is wrong with the nn.Linear made from one layer."""
        if fault := self.failed_call(observation):
            return fault
        if "weight" not in observation:
            returned = describe.contents(observation["value"])
            return Fault(
                f"The result is not an nn.Linear but {describe.clean(str(observation['type']), 80)}.",
                returned,
                "a new nn.Linear",
                hint=FROM_A_LAYER,
            )
        if observation["own"]:
            return Fault(
                "The result is the layer's own base, not a new nn.Linear.",
                hint="The layer goes on being used: make a new nn.Linear, and leave the base as it is.",
            )
        spoiled = self.spoiled(observation)
        if spoiled and _base_is_changed(observation):
            return replace(spoiled, misconception=MERGED_INTO_THE_BASE)
        return (
            spoiled
            or self._type_fault(case, observation)
            or self._value_fault(case, observation)
            or self._graph_fault(observation)
            or _names_fault(observation)
            or _memory_fault(case, observation)
        )

    def _type_fault(self, case, observation):
        if observation["plain"] is not True:
            kind = describe.clean(str(observation["type"]), 80)
            return Fault(
                f"The result is not a plain nn.Linear but {kind}.",
                kind,
                "an nn.Linear itself, not a class derived from it",
                hint="It must work without any LoRA code: " + FROM_A_LAYER,
            )
        weight, bias = case.args["weight"], case.args["bias"]
        if not isinstance(observation["weight"], torch.Tensor) or observation["weight"].shape != weight.shape:
            sizes = describe.contents(observation["weight"]), describe.kind(weight)
            return Fault("The new weight does not have the shape of the base's.", *sizes)
        for name in ("weight", "bias"):
            if isinstance(observation[name], torch.Tensor) and observation[name].dtype != weight.dtype:
                names = describe.dtype_name(observation[name].dtype), describe.dtype_name(weight.dtype)
                return Fault(
                    f"The new {name} is {names[0]}, but the base's is {names[1]}.",
                    *names,
                    hint="nn.Linear has parameters dtype and device. Copying values into it converts them.",
                )
        if observation["device"] != case.device:
            return Fault(
                f"The new weight is on {describe.clean(str(observation['device']), 20)}, the layer on {case.device}.",
                hint="nn.Linear has parameters dtype and device.",
            )
        if list(observation["sizes"]) != [weight.shape[1], weight.shape[0]]:
            return Fault(
                "in_features and out_features of the new nn.Linear are not the base's.",
                describe.contents(observation["sizes"]),
                describe.contents([weight.shape[1], weight.shape[0]]),
            )
        if (observation["bias"] is None) != (bias is None):
            shown = describe.contents(observation["bias"]), describe.contents(bias)
            whether = "has no bias, and the base has one" if bias is not None else "has a bias, and the base has none"
            return Fault(f"The new nn.Linear {whether}.", *shown, hint="nn.Linear has a parameter bias: True or False.")
        return None

    def _value_fault(self, case, observation):
        weight, bias, out = expected(case)
        dtype = case.args["weight"].dtype
        if not agree(observation["weight"], weight, dtype, case.device):
            shown = describe.contents(observation["weight"]), describe.contents(weight.to(dtype))
            difference = describe.largest_difference(observation["weight"], weight)
            return Fault(
                f"The new weight has wrong values: {difference}.", *shown, tensors=(observation["weight"], weight)
            )
        if bias is not None and not agree(observation["bias"], bias, dtype, case.device):
            shown = describe.contents(observation["bias"]), describe.contents(case.args["bias"])
            return Fault("The new bias is not the base's.", *shown)
        if not agree(observation["out"], out, dtype, case.device):
            return Fault(
                "Weight and bias are right, but calling the new nn.Linear gives another result.",
                describe.contents(observation["out"]),
                describe.contents(out),
            )
        before, after = observation["kept"]
        if not isinstance(after, torch.Tensor) or not same_bits(before, after):
            return Fault(
                "After the call the layer that it came from gives another output than before.",
                misconception=CHANGED_LAYER,
            )
        return None

    def _graph_fault(self, observation):
        if observation["inference"] is not False:
            return Fault(
                "The values are right, but the new nn.Linear was made under torch.inference_mode().",
                hint="Put it behind a layer that trains, and call backward().",
                misconception=INFERENCE_MODE,
            )
        if observation["leaf"] is True and observation["graph"] is False:
            if observation["parameter"] is True:
                return None
            hint = "Code that trains, saves or moves the nn.Linear finds only its parameters."
            return Fault("The values are right, but the new weight is a plain tensor, not an nn.Parameter.", hint=hint)
        return Fault(
            "The values are right, but the new weight is not a leaf: autograd has recorded how it was computed.",
            returned=leaf_in_words(observation),
            expected=leaf_in_words({"leaf": True, "graph": False}),
            hint="No optimiser takes such a weight, and each backward pass runs through the merge. In which context "
            "are operations not recorded?",
        )

    def same(self, case, a, b):
        """Whether two answers are the same kind of nn.Linear."""
        if "weight" not in a or "weight" not in b:
            return ("weight" in a) == ("weight" in b) and super().same(case, a, b)
        facts = ("own", "plain", "leaf", "graph", "inference", "changed", "replaced", "added", "names", "shares")
        return (
            all(a[fact] == b[fact] for fact in facts)
            and all(agree(a[name], b[name], device=case.device) for name in ("weight", "bias"))
            and getattr(a["weight"], "dtype", None) == getattr(b["weight"], "dtype", None)
        )


merge = Merge()


def _wrote_into_recorded_tensor(case, observation):
    """Whether an answer wrote into a tensor that autograd records."""
    if "raised" in observation:
        message = str(observation["raised"]["message"])
        return "leaf Variable that requires grad" in message or "assign non-leaf Tensor" in message
    if _has_swapped_sizes(case, observation):
        return False  # the sizes come first
    return observation.get("graph") is True or observation.get("leaf") is False


scaling_forgotten = answer.slip(
    SCALING_FORGOTTEN,
    "layer.scaling * ",
    "",
    thought="Merging means W + BA.",
    hint="Some published texts say so. delta_weight returns what must be added: does it pass its check, and do "
    "you use it?",
)

answer.slip(
    SCALING_TWICE,
    "layer.scaling * ",
    "layer.scaling**2 * ",
    thought="The delta is scaled when it is merged.",
    hint="The result of delta_weight contains the scaling already. Count how many times the product is multiplied "
    "by layer.scaling, there and here.",
)

subtracted = answer.slip(
    "subtracted",
    "base.weight + layer",
    "base.weight - layer",
    thought="The adapter's part is subtracted from the weight.",
    hint="The result must compute what the layer computes. Which sign does the adapter's part have in layer(x)?",
)

no_transpose = answer.slip(
    NO_TRANSPOSE,
    ".lora_B).T",
    ".lora_B)",
    hint="On a square layer they do, and the result is wrong. Which shape has nn.Linear's weight? And "
    "does your delta_weight pass its check?",
)

view_for_transpose = answer.slip(
    VIEW_FOR_TRANSPOSE,
    "(layer.lora_A @ layer.lora_B).T",
    "(layer.lora_A @ layer.lora_B).reshape(base.weight.shape)",
    hint="It makes the shape fit, but puts the values in the wrong places. Does your delta_weight pass its check?",
)

delta_only = answer.slip(
    "delta_only",
    "base.weight + ",
    "",
    thought="The new weight is the change that the adapter learned.",
    hint="layer(x) is a sum of two parts. Where is the base's part in your weight?",
)

answer.slip(
    "base_only",
    " + layer.scaling * (layer.lora_A @ layer.lora_B).T",
    "",
    thought="The delta is added when the layer is called.",
    hint="A plain nn.Linear knows nothing of lora_A and lora_B. What must its weight be, so that it computes the same?",
)


def _has_swapped_sizes(case, observation):
    """Whether the new weight, or in_features and out_features, are the base's the other way round."""
    weight, shape = observation.get("weight"), case.args["weight"].shape
    if shape[0] == shape[1] or not isinstance(weight, torch.Tensor):
        return False
    return weight.shape == shape[::-1] or list(observation["sizes"]) == list(shape)


answer.slip(
    "sizes_swapped",
    "base.in_features, base.out_features",
    "base.out_features, base.in_features",
    "(base.weight + layer.scaling * (layer.lora_A @ layer.lora_B).T)",
    "((base.weight + layer.scaling * (layer.lora_A @ layer.lora_B).T).T)",
    "linear.bias.copy_(base.bias)",
    "linear.bias.data = base.bias.clone()",
    thought="nn.Linear takes its sizes in the order in which its weight has them.",
    hint="nn.Linear(in, out) keeps a weight of shape (out, in). Print in_features and out_features of your result "
    "beside the base's.",
    recognise=_has_swapped_sizes,
)

answer.slip(
    BIAS_DROPPED,
    "bias=base.bias is not None",
    "bias=False",
    "\n        if base.bias is not None:\n            linear.bias.copy_(base.bias)",
    "",
    hint="The base may have a bias, and its outputs need it.",
    recognise=lambda case, observation: (
        case.args["bias"] is not None and "weight" in observation and _is_no_bias(observation["bias"])
    ),
)

answer.slip(
    "bias_left_as_made",
    ", bias=base.bias is not None",
    "",
    "\n        if base.bias is not None:\n            linear.bias.copy_(base.bias)",
    "",
    thought="With the weight in place, the new nn.Linear is complete.",
    hint="nn.Linear makes a bias unless told not to, and fills it with random numbers. Which numbers should it "
    "have, if any?",
    recognise=lambda case, observation: (
        not _base_is_changed(observation) and _is_unrelated_bias(case, observation.get("bias"))
    ),
)


def _is_unrelated_bias(case, bias):
    """Whether `bias` has the right size and is no multiple of the base's, or there should be none."""
    weight, base_bias = case.args["weight"], case.args["bias"]
    if not isinstance(bias, torch.Tensor) or bias.shape != weight.shape[:1]:
        return False
    if base_bias is not None and _is_no_bias(bias):
        return False
    if base_bias is not None and agree(
        bias.double() * base_bias.abs().max() / bias.abs().max().clamp(min=1e-30), base_bias
    ):
        return False  # the base's, multiplied: it was not left as nn.Linear made it
    return base_bias is None or not agree(bias, base_bias, device=case.device)


def _is_no_bias(bias):
    """Whether a bias is None, or zero."""
    return bias is None or isinstance(bias, torch.Tensor) and not bias.any()


def _base_is_changed(observation):
    return any(str(name).startswith("base_layer.") for name in observation.get("changed", ()))


@merge.misconception(
    MERGED_INTO_THE_BASE,
    recognise=lambda case, observation: observation.get("own") is True or _base_is_changed(observation),
)
def merged_into_the_base(layer):
    with torch.no_grad():
        layer.base_layer.weight += layer.scaling * (layer.lora_A @ layer.lora_B).T
    return layer.base_layer


@merge.misconception(
    "no_grad_forgotten",
    thought="The base is frozen, so autograd ignores what is done to its weight.",
    hint="Frozen means that a tensor itself requires no gradient. A and B do, and so does every tensor into which "
    "their product is written. In which context are operations not recorded?",
    recognise=_wrote_into_recorded_tensor,
)
def no_grad_forgotten(layer):
    import copy

    linear = copy.deepcopy(layer.base_layer)
    linear.weight.add_(layer.scaling * (layer.lora_A @ layer.lora_B).T)
    return linear


answer.slip(
    "memory_shared",
    "\n        if base.bias is not None:\n            linear.bias.copy_(base.bias)",
    "\n    linear.bias = base.bias",
    thought="The bias does not change, so the new layer can have the base's.",
    hint="Assigning a tensor or a Parameter copies nothing: both layers then hold the same one, and training one of "
    "them changes the other. Copy its values.",
    recognise=lambda case, observation: (
        bool(observation.get("shares")) and not observation.get("changed") and not _names_besides(observation)
    ),
)

answer.slip(
    "dtype_forgotten",
    ", **like",
    "",
    thought="nn.Linear with the right sizes is like the base.",
    hint="It is made in float32 unless told otherwise, and on the CPU. Print the dtype of both weights for a base in "
    "bfloat16.",
    recognise=lambda case, observation: (
        not _has_swapped_sizes(case, observation)
        and any(
            getattr(observation.get(name), "dtype", None) not in (None, case.args["weight"].dtype)
            for name in ("weight", "bias")
        )
    ),
)


@merge.misconception(
    "weight_returned",
    thought="The merged weight is the result.",
    hint="A weight alone cannot be called. Put it, and the bias, into an nn.Linear.",
    recognise=lambda case, observation: isinstance(observation.get("value"), torch.Tensor),
)
def weight_returned(layer):
    return (layer.base_layer.weight + layer.scaling * (layer.lora_A @ layer.lora_B).T).detach()


@merge.misconception(
    "layer_returned",
    thought="The result is a LoRALinear with the delta in its base.",
    hint="A LoRALinear still adds its adapter's part, so the delta would be in its output twice. The result must "
    "work without any LoRA code: which part of that layer is a plain nn.Linear?",
    recognise=lambda case, observation: observation.get("type") == NAME,
)
def layer_returned(layer):
    import copy

    merged = copy.deepcopy(layer)
    with torch.no_grad():
        merged.base_layer.weight += layer.scaling * (layer.lora_A @ layer.lora_B).T
    return merged


def _is_no_parameter(message):
    return "as parameter 'weight'" in message or "as parameter 'bias'" in message


@merge.misconception(
    "not_a_parameter",
    thought="A tensor can be assigned in place of a weight.",
    hint="Under that name nn.Module takes an nn.Parameter and nothing else. Make one, or copy the values into the one "
    "that is there.",
    recognise=lambda case, observation: (
        "raised" in observation and _is_no_parameter(str(observation["raised"]["message"]))
    ),
)
def not_a_parameter(layer):
    base = layer.base_layer
    linear = nn.Linear(base.in_features, base.out_features, bias=base.bias is not None)
    linear.weight = base.weight + layer.scaling * (layer.lora_A @ layer.lora_B).T
    linear.bias = base.bias
    return linear


def _parts(value):
    """Whether plain data is a pair of tensors, or a dict of them."""
    if isinstance(value, dict):
        return any(isinstance(each, torch.Tensor) for each in value.values())
    return isinstance(value, list) and len(value) == 2 and isinstance(value[0], torch.Tensor)


answer.slip(
    INFERENCE_MODE,
    "def merge",
    "@torch.inference_mode()\ndef merge",
    recognise=lambda case, observation: observation.get("inference") is True and "raised" not in observation,
)


answer.slip(
    "parts_returned",
    "return linear",
    "return linear.weight, linear.bias",
    thought="A linear layer is a weight and a bias, so the two are the result.",
    hint="The caller wants to call the result with x. What has a weight and a bias, and can be called?",
    recognise=lambda case, observation: _parts(observation.get("value")),
)

for slip in (subtracted, delta_only):
    for other in (scaling_forgotten, no_transpose, view_for_transpose):
        answer.both(slip, other)
for slip in (no_transpose, view_for_transpose):
    answer.both(slip, scaling_forgotten)
