"""The right state of a layer that is merged and unmerged in place, after each step, and the faults of wrong ones."""

import re
from dataclasses import dataclass, replace

import torch
from torch import nn

from autograde.checks.lora_linear import forward, init, modes
from autograde.checks.merging.given import leaf_in_words
from autograde.checks.shared.families import GRADIENT_CUT, GRADIENT_TO_X_CUT
from autograde.checks.shared.lora_layers import ADAPTERS, DEFAULTS, adapter_fault, module_fault, scaling_of
from autograde.judge import describe, exceptions
from autograde.judge.compare import Fault, agree, raised_fault
from autograde.judge.exceptions import is_untouched
from autograde.remote.facts import same_bits
from autograde.remote.wire import WireError

EXACT = "to the last bit"  # the part of the points that is for giving back exactly what was there

# The mistakes of lesson 04 that this lesson's class can make too, by id.
LAYER_MISTAKES = {slip.id: slip.misconception for slip in (*init.answer.slips, *forward.answer.slips)}

START_MISTAKES = {
    "constant": "constant_A",
    "one_sided": "rand_for_randn",
    "wild": "left_uninitialised",
}  # by how A was filled

MODES = ("train", "eval")
DOES_NOTHING = "does_nothing"  # no misconception by itself: a method that has left the flag and the weight as they were
NAME = "MergeableLoRALinear"


@dataclass
class ExpectedSnapshot:
    """The expected values of one snapshot in float64; `out` and `gradients` are None where they are not compared."""

    merged: bool
    weight: torch.Tensor
    out: torch.Tensor | None
    gradients: list | None = None


class ExpectedLayer:
    """A LoRALinear in float64, taken through a case's steps, for the expected snapshots."""

    def __init__(self, case):
        args = {name: value.double() for name, value in case.args.items() if isinstance(value, torch.Tensor)}
        self.W, self.bias, self.x = args["weight"], args.get("bias"), args["x"]
        self.A, self.B, self.scaling = args["A"], args["B"], scaling_of(case)
        self.initial_weight, self.merged = self.W, None  # the weight at first, and the delta in the weight
        self.exact_weight = case.args["weight"]  # what unmerge has to give back, in the layer's dtype
        self.weight_aliased = False  # whether the weight's own memory was seen under another name
        self.earlier_deltas = []  # the deltas of the merges before this one

    def delta(self):
        """The delta that a merge would add now."""
        return self.scaling * (self.A @ self.B).T

    def adapter_output(self):
        """The adapter's part of the output."""
        return self.scaling * (self.x @ self.A) @ self.B

    def base_output(self, weight):
        """The output of an nn.Linear with this weight and the base's bias."""
        return nn.functional.linear(self.x, weight, self.bias)

    def apply(self, name="", *inputs):
        """Apply one step; the `ExpectedSnapshot` after it."""
        gradients = None
        if name == "merge" and self.merged is None:
            self.merged = self.delta()
        elif name == "unmerge":
            if self.merged is not None:
                self.earlier_deltas.append(self.merged)
            self.merged = None
        elif name == "load":
            self.exact_weight, self.W = inputs[0], inputs[0].double()
        elif name == "set":
            self.A, self.B = (tensor.double() for tensor in inputs)
        elif name == "learn":
            gradients = self._gradients(inputs[0].double())
        if self.merged is None:
            return ExpectedSnapshot(False, self.W, self.base_output(self.W) + self.adapter_output(), gradients)
        weight = self.W + self.merged
        # Other values for A and B while merged: whether they show before the next merge is not asked.
        return ExpectedSnapshot(True, weight, None if name == "set" else self.base_output(weight))

    def _gradients(self, cotangent):
        rows, back = self.x.flatten(0, -2), cotangent.flatten(0, -2)
        of_x = cotangent @ self.W + self.scaling * cotangent @ self.B.T @ self.A.T
        return [self.scaling * rows.T @ (back @ self.B.T), self.scaling * (rows @ self.A).T @ back, of_x]


def in_words(steps):
    """`merge(), merge(), unmerge()`."""
    words = {"set": "new values for lora_A and lora_B", "learn": "a backward pass", "no_grad": "a call under torch.no_grad()",
             "load": "another weight loaded into base_layer", "other": "another layer made and merged"}  # fmt: skip
    return ", ".join(words.get(name, f"{name}()") for name, *_ in steps)


def follow(case, observation):
    """Follow an observed layer through its case's steps.

    Returns:
        ``(fault, id)`` of the first snapshot that is not right: a `Fault`, and the id of the misconception that it
        points to, empty where it points to none; ``(None, "")`` where all are right.
    """
    if "not_callable" in observation:
        return None, ""
    if fault := module_fault(NAME, observation):
        return fault, ""
    if "unset" in observation:
        return adapter_fault(case, observation["held"]), ""
    if not case.args["steps"] and "start" in observation and (start := start_fault(case, observation["start"])):
        return start
    layer, steps, snapshots = ExpectedLayer(case), [[], *case.args["steps"]], observation.get("snapshots", [])
    if "raised" not in observation and len(snapshots) != len(steps):
        raise ValueError("a snapshot is missing")
    for i, snapshot in enumerate(snapshots[: len(steps)]):
        layer.weight_aliased = layer.weight_aliased or snapshot["alias"] is True
        before, right = layer.merged, layer.apply(*steps[i])
        fault, points_to = _snapshot_fault(case, snapshot, layer, right, steps[: i + 1], before)
        if points_to == "adapter_unused" and _adds_when_merged(case, layer, steps[i + 1 :], snapshots[i + 1 :]):
            return replace(fault, misconception=None), "flag_inverted"
        if fault:
            return fault, points_to
    if "raised" in observation:
        return _raised(case, observation, layer)
    return None, ""


def _adds_when_merged(case, layer, steps, snapshots):
    """Whether a layer that leaves its adapter's part out adds it after the first merge, where the weight holds it."""
    if steps[:1] != [["merge"]] or not snapshots:
        return False
    right = layer.apply("merge")
    return agree(snapshots[0]["out"], right.out + layer.adapter_output(), case.args["x"].dtype, case.device)


def start_fault(case, start):
    """``(fault, id)`` of adapters with wrong initial values: of which of them are zero, and of an A that is not random; None where
    they are right.
    """
    if [values.numel() for values in start] != [case.args[side].numel() for side in "AB"]:
        raise WireError("no adapters of a new layer")  # the probe could not have written into them
    zero = tuple(not values.any() for values in start)
    if zero == (False, True):
        kind = init.how_filled(start[0])
        fault, mistake = init.random_fault(kind, start[0].double()), START_MISTAKES.get(kind, "")
        return (replace(fault, misconception=LAYER_MISTAKES.get(mistake)), mistake) if fault else None
    mistake = {(True, True): "both_zero", (False, False): "both_random"}.get(zero, "zero_and_random_swapped")
    descriptions = {
        "both_zero": "lora_A and lora_B are both zero",
        "both_random": "neither lora_A nor lora_B is zero",
        "zero_and_random_swapped": "lora_A is zero, and lora_B is not",
    }
    return Fault(f"In a new layer {descriptions[mistake]}.", misconception=LAYER_MISTAKES[mistake]), mistake


def _raised(case, observation, layer):
    error, during = observation["raised"], describe.clean(str(observation["during"]), 20)
    snapshots = observation.get("snapshots", [])
    snapshot_count = len(snapshots)  # once at the start, and once after each step and its forward
    completed_steps = case.args["steps"][: snapshot_count if during == "forward" else max(snapshot_count - 1, 0)]
    actions = {
        "construction": "Making the layer",
        "forward": "layer(x)",
        "learn": "The backward pass",
        "move": "layer.to()",
    }
    action = actions.get(during) or (f"The {during}" if " " in during else f"{during}()")
    after = f"After {in_words(completed_steps)}: " if completed_steps else ""
    message = str(error["message"])
    if is_untouched(error):
        return Fault(f"{during} is not written yet.", hint="Every method of the class has a place for your code."), ""
    absent = f"has no attribute '{during}'" in message
    hint = f"Write the method {during}, under that name, in the class." if absent else ""
    fault = raised_fault(f"{after}{action}", error, hint)
    kept_graph = during == "learn" and exceptions.kind_of(error) == exceptions.BACKWARD
    if kept_graph or any(part in message for part in ("leaf Variable that requires grad", "assign non-leaf")):
        return fault, "no_grad_forgotten"
    if "as parameter 'weight'" in message:
        return fault, "base_replaced"
    if during == "merge" and layer.merged is not None:
        return fault, "second_merge_refused"
    text = str((error["where"] or {}).get("text", ""))
    on_purpose = error["type"] == "AssertionError" or text.startswith("raise")
    nothing_kept = exceptions.kind_of(error) in ("", exceptions.NONE, exceptions.ATTRIBUTE) and not error["near"]
    if during == "unmerge" and layer.merged is None and on_purpose:
        return fault, "unmerge_refused"
    if during == "unmerge" and layer.merged is None and nothing_kept and not absent:
        return fault, "unmerge_unguarded"
    if during == "learn" and "does not require grad" in message:
        return fault, "trains_no_more"
    if during in ("forward", "set") and completed_steps and any(f"attribute '{name}'" in message for name in ADAPTERS):
        return fault, "trains_no_more"
    if during == "forward" and completed_steps and snapshots[-1]["adapters"] != [True, True]:
        return fault, "trains_no_more"
    if _product_is_reversed(case, message):
        return replace(fault, misconception=LAYER_MISTAKES["paper_order"]), "paper_order"
    if during == "forward" and not completed_steps and _pairs_entries(case, message):
        return replace(fault, misconception=LAYER_MISTAKES["elementwise"]), "elementwise"
    return fault, ""


def _product_is_reversed(case, message):
    """Whether the sizes that did not fit are those of lora_B @ lora_A."""
    d, rank = case.args["A"].shape
    return f"({rank}x{case.args['B'].shape[1]} and {d}x{rank})" in message


def _pairs_entries(case, message):
    """Whether the sizes that did not fit are those of A @ B and x, paired entry by entry."""
    k, d = case.args["weight"].shape
    sizes = re.search(r"tensor a \((\d+)\) must match the size of tensor b \((\d+)\)", message)
    return bool(sizes) and d != k and {int(size) for size in sizes.groups()} == {d, k}


def _snapshot_fault(case, snapshot, layer, right, steps, delta_before):
    """``(fault, symptom)`` of one snapshot, the most basic fault first."""
    after = f"After {in_words(steps[1:])}: " if len(steps) > 1 else "Before any merge: "
    step = steps[-1][0] if steps[-1] else ""
    if not isinstance(snapshot["weight"], torch.Tensor):
        hint = "Keep the nn.Linear that was passed in as self.base_layer."
        return Fault(f"{after}there is no layer.base_layer.weight.", hint=hint), ""
    if snapshot["same"] is not True:
        return Fault(
            f"{after}layer.base_layer.weight is no longer the Parameter that the base came with."
        ), "base_replaced"
    if snapshot["graph"] is not False or snapshot["leaf"] is not True:
        return Fault(
            f"{after}the base's weight is part of an autograd graph.",
            returned=leaf_in_words(snapshot),
            expected=leaf_in_words({"leaf": True, "graph": False}),
        ), "no_grad_forgotten"
    merged = _as_bool(snapshot["merged"])
    if merged is not right.merged:
        fault = _flag_fault(snapshot["merged"], merged, right.merged, after)
        fits = agree(snapshot["weight"], right.weight, case.args["weight"].dtype, case.device)
        points_to = _flag_mistake(step, merged, right.merged)
        if step in ("merge", "unmerge") and not fits and merged is (delta_before is not None):
            hint = (
                f"{step}() has changed neither merged nor the weight. Under which condition does it act, and when "
                "is that true?"
            )
            return replace(fault, hint=hint), DOES_NOTHING
        return fault, points_to if fits or points_to == "merges_by_itself" else ""
    return (
        _weight_fault(case, snapshot, layer, right, after, steps, delta_before)
        or _rest_fault(case, snapshot, after)
        or _out_fault(case, snapshot, layer, right, after, steps)
        or (None, "")
    )


def _as_bool(value):
    """True or False for a bool, a one-entry tensor, 0 or 1; None for anything else."""
    if isinstance(value, torch.Tensor) and value.numel() == 1:
        value = value.item()
    return bool(value) if isinstance(value, (bool, int)) and value in (0, 1) else None


def _flag_fault(value, merged, right, after):
    shown = describe.contents(value)
    hint = "It must always say what is in the weight: an attribute, or a property, that is True or False."
    if merged is None:
        problem = f"{after}layer.merged is not True or False."
        hint = hint if value is not None else "The layer needs an attribute merged that is True or False."
        return Fault(problem, shown, str(right), hint)
    if merged and not after.startswith("After"):
        hint = "The weight of a new layer contains no delta. Is merged set on the layer itself, or on its class?"
    return Fault(f"{after}layer.merged is {merged}, but it should be {right}.", shown, str(right), hint)


def _flag_mistake(step, merged, right):
    if merged is None:
        return ""
    if step in MODES:
        return "merges_by_itself"
    if right:
        return "flag_forgotten"
    return "flag_not_reset" if step == "unmerge" else ""


def _weight_fault(case, snapshot, layer, right, after, steps, delta_before):
    step = steps[-1][0] if steps[-1] else ""
    weight_now, original = snapshot["weight"], case.args["weight"]
    if weight_now.shape != original.shape or weight_now.dtype != original.dtype:
        sizes = describe.contents(weight_now), describe.kind(original)
        return Fault(f"{after}the base's weight has changed its shape or dtype.", *sizes), ""

    def is_close_to(weight):
        return agree(weight_now, weight, original.dtype, case.device)

    rounded = step == "unmerge" and _is_rounded(weight_now, layer.exact_weight)
    if is_close_to(right.weight):
        if right.merged or case.part != EXACT or same_bits(weight_now, layer.exact_weight):
            return None
        differences = weight_now.double() - layer.exact_weight.double()
        size = describe.number(differences.abs().max().item())
        return Fault(
            f"{after}the base's weight is nearly what it was. Of its {original.numel()} values {int((differences != 0).sum())} "
            f"differ, by up to {size}.",
            returned=f"{describe.dtype_name(original.dtype)} values that are close",
            expected="the same values, bit for bit",
        ), "kept_in_a_smaller_dtype" if rounded else "drifts"
    difference = describe.largest_difference(weight_now, right.weight)
    shown = describe.contents(weight_now), describe.contents(right.weight.to(original.dtype))
    fault = Fault(
        f"{after}the base's weight has wrong values: {difference}.", *shown, tensors=(weight_now, right.weight)
    )
    others = [step_taken[1].double() for step_taken in steps if step_taken[:1] == ["other"]]
    if any(is_close_to(weight) for weight in others):
        return fault, "kept_on_the_class"
    loaded = [step_taken[1].double() for step_taken in steps if step_taken[:1] == ["load"]]
    earlier_weights = [layer.initial_weight, *loaded][:-1]  # before the last one was loaded
    if not right.merged:
        if step == "unmerge" and delta_before is None:
            return fault, "unmerge_unguarded"
        if any(map(is_close_to, earlier_weights)):
            return fault, "kept_too_early"
        if step == "unmerge" and is_close_to(layer.W + delta_before):
            return fault, "kept_by_reference" if layer.weight_aliased else "kept_too_late"
        if rounded:
            return fault, "kept_in_a_smaller_dtype"
        # What rounding makes of a sum and a difference is small beside what was added.
        small = delta_before is not None and (weight_now - layer.W).abs().max() < 0.1 * delta_before.abs().max()
        other = delta_before is not None and is_close_to(
            layer.W + delta_before - layer.delta()
        )  # A and B are others by now
        return fault, "drifts" if case.part == EXACT and (small or other) else ""
    product = layer.A @ layer.B
    square = product.shape == layer.W.shape
    viewed = product.reshape(layer.W.shape)
    wrong_weights = [
        ("scaling_forgotten", layer.W + product.T),
        ("scaling_twice", layer.W + layer.scaling**2 * product.T),
        ("no_transpose", layer.W + layer.scaling * product if square else None),
        ("view_for_transpose", layer.W + layer.scaling * viewed),
        ("merged_twice", None if delta_before is None else layer.W + 2 * layer.delta()),
        # The scaling forgotten as well: the first of two mistakes is told.
        ("no_transpose", layer.W + product if square else None),
        ("view_for_transpose", layer.W + viewed),
    ]
    for name, weight in wrong_weights:
        if weight is not None and is_close_to(weight):
            return fault, name
    if any(is_close_to(weight + layer.delta()) for weight in earlier_weights):
        return fault, "kept_too_early"
    if is_close_to(layer.W):
        right_out = right.out is not None and agree(snapshot["out"], right.out, original.dtype, case.device)
        # Made with the layer, where lora_B is zero.
        early = "delta_too_early" if snapshot["zeros"] is True else "nothing_added" if step == "merge" else ""
        return fault, "merged_beside" if right_out else early
    if any(is_close_to(layer.W + delta) for delta in layer.earlier_deltas):
        return fault, "delta_too_early"
    return fault, ""


def _is_rounded(weight, original):
    """Whether a weight holds the original values as a dtype of fewer digits has them."""
    smaller = [
        dtype for dtype in (torch.float32, torch.float16, torch.bfloat16) if dtype.itemsize < original.dtype.itemsize
    ]
    smaller += [torch.bfloat16] * (original.dtype == torch.float16) + [torch.float16] * (
        original.dtype == torch.bfloat16
    )
    rounded = [original.to(dtype).to(original.dtype) for dtype in smaller]
    return any(same_bits(weight, values) and not same_bits(original, values) for values in rounded)


def _rest_fault(case, snapshot, after):
    for trains, name in zip(snapshot["trains"], ("weight", "bias"), strict=True):
        if trains:
            hint = "The base is frozen when the layer is made, and stays so."
            return Fault(f"{after}the base's {name} would train: its requires_grad is True.", hint=hint), ""
    bias = case.args["bias"]
    if bias is not None and not (isinstance(snapshot["bias"], torch.Tensor) and same_bits(snapshot["bias"], bias)):
        hint = "The adapter says nothing about the bias. Leave it alone."
        return Fault(f"{after}the base's bias is not what it was.", hint=hint), "bias_dropped" if snapshot[
            "bias"
        ] is None else ""
    return None


def _out_fault(case, snapshot, layer, right, after, steps):
    dtype = case.args["x"].dtype

    def is_close_to(out):
        return agree(snapshot["out"], out, dtype, case.device)

    if right.out is not None and not is_close_to(right.out):
        out = snapshot["out"]
        fits = isinstance(out, torch.Tensor) and out.shape == right.out.shape
        difference = f": {describe.largest_difference(out, right.out)}" if fits else ""
        shown = describe.contents(out), describe.contents(right.out.to(dtype))
        fault = Fault(f"{after}layer(x) is not what it should be{difference}.", *shown)
        if right.merged:
            if is_close_to(right.out + layer.adapter_output()):
                return fault, "still_adding"
            if layer.bias is not None and is_close_to(right.out - layer.bias):
                return fault, "bias_dropped"
        elif after.startswith("After") and is_close_to(layer.base_output(layer.W)):
            mistake = {"no_grad": modes.WITH_GRADIENTS_ONLY, "eval": modes.IN_TRAINING_ONLY}.get(steps[-1][0])
            if mistake and ["merge"] not in steps:
                return replace(fault, misconception=mistake), mistake.id
            return fault, "adapter_lost"
        elif not after.startswith("After"):
            fitting = [name for name, candidate in _other_outputs(case, layer) if is_close_to(candidate)]
            if len(fitting) == 1:
                return replace(fault, misconception=LAYER_MISTAKES.get(fitting[0])), fitting[0]
        return fault, ""
    if not right.merged and snapshot["adapters"] != [True, True]:
        return Fault(f"{after}lora_A and lora_B are not the Parameters that they were."), "trains_no_more"
    if right.gradients is not None:
        gradients = snapshot["gradients"]
        for name, gradient, expected in zip(
            ("lora_A", "lora_B", "x"), gradients or (None, None, None), right.gradients, strict=True
        ):
            if gradient is None or not agree(gradient, expected, dtype, case.device):
                problem = f"no gradient reaches {name}" if gradient is None else f"the gradient of {name} is wrong"
                if name == "x":
                    return Fault(f"{after}{problem}.", misconception=GRADIENT_TO_X_CUT), GRADIENT_CUT.id
                return Fault(f"{after}{problem}."), "trains_no_more"
    return None


def _other_outputs(case, layer):
    """``(id, output)`` of a layer whose forward makes one of the mistakes of lesson 04."""
    options = {**DEFAULTS, **case.args["options"]}
    alpha, rank = options["alpha"], options["rank"]
    base, product = layer.base_output(layer.W), layer.x @ layer.A @ layer.B
    of_scaling = {
        "no_scaling": 1,
        "alpha_ignored": 1 / rank,
        "alpha_not_divided": alpha,
        "rank_over_alpha": rank / alpha,
        "root_of_rank": alpha / rank**0.5,
        "divided_twice": layer.scaling / rank,
        "scaled_twice": layer.scaling**2,
        "subtracted": -layer.scaling,
        "adapter_unused": 0,
    }
    yield from ((name, base + factor * product) for name, factor in of_scaling.items())
    yield "everything_scaled", layer.scaling * (base + product)
    yield "base_forgotten", layer.scaling * product
    if layer.bias is not None:
        yield "bias_twice", base + layer.scaling * product + layer.bias
        yield "bias_lost", base + layer.scaling * product - layer.bias
