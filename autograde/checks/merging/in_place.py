"""MergeableLoRALinear: a merge in place that happens once, computes the same, and can be undone to the last bit."""

from dataclasses import dataclass

import torch
from torch import nn

from autograde.checks.merging.given import adapted, base_in_words, options_in_words
from autograde.checks.merging.new_linear import leaf_in_words
from autograde.checks.shared.assigned import Check
from autograde.checks.shared.lora_layers import adapter_fault, is_stub, module_fault, scaling_of
from autograde.judge import describe
from autograde.judge.check import ANSWER, Case
from autograde.judge.compare import Fault, agree
from autograde.probes.merging import live
from autograde.remote.bits import same_bits

EXACT = "to the last bit"  # the part of the points that is for giving back exactly what was there

MERGE, UNMERGE, TRAIN, EVAL = ["merge"], ["unmerge"], ["train"], ["eval"]
MODES = ("train", "eval")


@dataclass
class Right:
    """What is right at one look: `out` and `gradients` are None where nothing is asked of them. All in float64."""

    merged: bool
    weight: torch.Tensor
    out: torch.Tensor | None
    gradients: list | None = None


class Layer:
    """A LoRALinear in float64, taken through a case's steps: what is right, and what is wrong in known ways."""

    def __init__(self, case):
        args = {name: value.double() for name, value in case.args.items() if isinstance(value, torch.Tensor)}
        self.W, self.bias, self.x = args["weight"], args.get("bias"), args["x"]
        self.A, self.B, self.scaling = args["A"], args["B"], scaling_of(case)
        self.merged = None  # the delta in the weight

    def delta(self):
        """What a merge adds now."""
        return self.scaling * (self.A @ self.B).T

    def of_adapter(self):
        """The adapter's part of the output."""
        return self.scaling * (self.x @ self.A) @ self.B

    def of_base(self, weight):
        """The output of an nn.Linear with this weight and the base's bias."""
        return nn.functional.linear(self.x, weight, self.bias)

    def take(self, name="", *inputs):
        """Take one step; what is right after it."""
        gradients = None
        if name == "merge" and self.merged is None:
            self.merged = self.delta()
        elif name == "unmerge":
            self.merged = None
        elif name == "set":
            self.A, self.B = (tensor.double() for tensor in inputs)
        elif name == "learn":
            gradients = self._gradients(inputs[0].double())
        if self.merged is None:
            return Right(False, self.W, self.of_base(self.W) + self.of_adapter(), gradients)
        weight = self.W + self.merged
        # Other values for A and B while merged: whether they show before the next merge is nobody's business.
        return Right(True, weight, None if name == "set" else self.of_base(weight))

    def _gradients(self, cotangent):
        rows, back = self.x.flatten(0, -2), cotangent.flatten(0, -2)
        return [self.scaling * rows.T @ (back @ self.B.T), self.scaling * (rows @ self.A).T @ back]


class MergeableCheck(Check):
    """Follows a layer through rows of steps. The first look that is not right says what is wrong."""

    def called(self, case):
        """How the layer is made, and the steps."""
        label = f"  # {case.label}" if case.label else ""
        return (
            f"layer = {self.subject}({base_in_words(case)}{options_in_words(case)}){label}\n"
            f"random values for lora_A and lora_B; x = {describe.kind(case.args['x'])}; layer(x) after each of:\n"
            f"{in_words(case.args['steps'])}"
        )

    def observe(self, target, case):
        """Take the learner's class through the case."""
        return live(target, **case.args, device=case.device)

    def unfinished(self, observation):
        """The untouched stub: it cannot even be made."""
        return is_stub(observation.get("raised")) and observation.get("during") == "construction"

    def fault(self, case, observation):
        """What is wrong with one layer's life."""
        return _diagnosis(case, observation)[0]

    def same(self, case, a, b):
        """Whether two classes go wrong in the same way."""
        if not self.fault(case, a) and not self.fault(case, b):
            return True
        return symptom(case, a) == symptom(case, b) != ""


def in_words(steps):
    """`merge(), merge(), unmerge()`."""
    words = {"set": "new values for lora_A and lora_B", "learn": "a backward pass"}
    return ", ".join(words.get(name, f"{name}()") for name, *_ in steps)


def symptom(case, seen):
    """The id of the misconception that an observation points to; empty where it points to none."""
    return _diagnosis(case, seen)[1]


def _diagnosis(case, seen):
    """``(fault, symptom)`` of the first look that is not right; ``(None, "")`` where all are."""
    if fault := module_fault(mergeable.name, seen):
        return fault, ""
    if "unset" in seen:
        return adapter_fault(case, seen["held"]), ""
    if "not_callable" in seen:
        return mergeable.failed_call(seen), ""
    layer, steps, looks = Layer(case), [[], *case.args["steps"]], seen.get("looks", [])
    if "raised" not in seen and len(looks) != len(steps):
        raise ValueError("a look is missing")
    for i, look in enumerate(looks[: len(steps)]):
        before, right = layer.merged, layer.take(*steps[i])
        fault, points_to = _at(case, look, layer, right, steps[: i + 1], before)
        if fault:
            return fault, points_to
    if "raised" in seen:
        return _raised(case, seen, layer)
    return None, ""


def _raised(case, seen, layer):
    error, during = seen["raised"], describe.clean(str(seen["during"]), 20)
    said = describe.clean(f"{error['type']}: {error['message']}".rstrip(": "))
    done = case.args["steps"][: len(seen.get("looks", ()))]
    what = {
        "construction": "Making the layer",
        "forward": "layer(x)",
        "learn": "The backward pass",
        "move": "layer.to()",
    }
    called = what.get(during) or (f"The {during}" if " " in during else f"{during}()")
    after = f"After {in_words(done)}: " if done else ""
    message = str(error["message"])
    if is_stub(error):
        return Fault(f"{during} is not written yet.", hint="Every method of the class has its place for your code."), ""
    absent = f"has no attribute '{during}'" in message
    hint = f"Write the method {during}, under that name, in the class." if absent else ""
    if during == "merge" and layer.merged is not None:
        hint = "On a merged layer, merge changes nothing and raises nothing: whoever runs its cell again did no harm."
    fault = Fault(f"{after}{called} raised {said}", hint=hint, where=error["where"])
    if any(part in message for part in ("leaf Variable that requires grad", "assign non-leaf", "graph a second time")):
        return fault, "no_grad_forgotten"
    if "as parameter 'weight'" in message:
        return fault, "base_replaced"
    if during == "unmerge" and layer.merged is None and not absent:
        return fault, "unmerge_unguarded"
    if during == "learn" and "does not require grad" in message:
        return fault, "trains_no_more"
    return fault, ""


def _at(case, look, layer, right, steps, delta_before):
    """``(fault, symptom)`` of one look, the most basic fault first."""
    after = f"After {in_words(steps[1:])}: " if len(steps) > 1 else "Before any merge: "
    step = steps[-1][0] if steps[-1] else ""
    if not isinstance(look["weight"], torch.Tensor):
        hint = "Keep the nn.Linear that the layer is made around as self.base_layer."
        return Fault(f"{after}layer.base_layer.weight is not there.", hint=hint), ""
    if look["same"] is not True:
        return Fault(
            f"{after}layer.base_layer.weight is not the Parameter any more that the base came with."
        ), "base_replaced"
    if look["graph"] is not False or look["leaf"] is not True:
        return Fault(
            f"{after}autograd holds the base's weight.",
            returned=leaf_in_words(look),
            expected=leaf_in_words({"leaf": True, "graph": False}),
        ), "no_grad_forgotten"
    merged = _truth(look["merged"])
    if merged is not right.merged:
        fault = _flag_fault(look["merged"], merged, right.merged, after)
        fits = agree(look["weight"], right.weight, case.args["weight"].dtype, case.device)
        points_to = _flag_symptom(step, merged, right.merged)
        return fault, points_to if fits or points_to != "flag_forgotten" else ""
    return (
        _weight_fault(case, look, layer, right, after, steps, delta_before)
        or _rest_fault(case, look, after)
        or _out_fault(case, look, layer, right, after)
        or (None, "")
    )


def _truth(value):
    """True or False for a bool, a one-entry tensor, 0 or 1; None for anything else."""
    if isinstance(value, torch.Tensor) and value.numel() == 1:
        value = value.item()
    return bool(value) if isinstance(value, (bool, int)) and value in (0, 1) else None


def _flag_fault(value, merged, right, after):
    said = describe.contents(value)
    hint = "Keep it in step with what is in the weight: an attribute, or a property, that is True or False."
    if merged is None:
        problem = f"{after}layer.merged is not True or False."
        hint = hint if value is not None else "The layer needs an attribute merged that is True or False."
        return Fault(problem, said, str(right), hint)
    return Fault(f"{after}layer.merged is {merged}, and it should be {right}.", said, str(right), hint)


def _flag_symptom(step, merged, right):
    if merged is None:
        return ""
    if step in MODES:
        return "merges_by_itself"
    if right:
        return "flag_forgotten"
    return "flag_not_reset" if step == "unmerge" else ""


def _weight_fault(case, look, layer, right, after, steps, delta_before):
    step = steps[-1][0] if steps[-1] else ""
    got, given = look["weight"], case.args["weight"]
    if got.shape != given.shape or got.dtype != given.dtype:
        sizes = describe.contents(got), describe.kind(given)
        return Fault(f"{after}the base's weight has changed its shape or dtype.", *sizes), ""

    def is_close_to(weight):
        return agree(got, weight, given.dtype, case.device)

    if is_close_to(right.weight):
        if right.merged or case.part != EXACT or same_bits(got, given):
            return None
        others = got.double() - given.double()
        size = describe.number(others.abs().max().item())
        return Fault(
            f"{after}the base's weight is nearly what it was. Of its {given.numel()} values {int((others != 0).sum())} "
            f"differ, by up to {size}.",
            returned=f"{describe.dtype_name(given.dtype)} values that are close",
            expected="the same values, bit for bit",
        ), "drifts"
    difference = describe.largest_difference(got, right.weight)
    said = describe.contents(got), describe.contents(right.weight.to(given.dtype))
    fault = Fault(f"{after}the base's weight has wrong values: {difference}.", *said, tensors=(got, right.weight))
    if not right.merged:
        if step == "unmerge" and delta_before is None:
            return fault, "unmerge_unguarded"
        if step == "unmerge" and is_close_to(layer.W + delta_before):
            return fault, "kept_by_reference"
        return fault, "drifts" if case.part == EXACT else ""
    product = layer.A @ layer.B
    known = {
        "scaling_forgotten": layer.W + product.T,
        "no_transpose": layer.W + layer.scaling * product if product.shape == layer.W.shape else None,
        "view_for_transpose": layer.W + layer.scaling * product.reshape(layer.W.shape),
        "merged_twice": None if delta_before is None else layer.W + 2 * layer.delta(),
    }
    for name, weight in known.items():
        if weight is not None and is_close_to(weight):
            return fault, name
    if is_close_to(layer.W):
        right_out = right.out is not None and agree(look["out"], right.out, given.dtype, case.device)
        return fault, "merged_beside" if right_out else "delta_too_early"
    if ["set"] in [taken[:1] for taken in steps]:
        return fault, "delta_too_early"
    return fault, ""


def _rest_fault(case, look, after):
    for trains, name in zip(look["trains"], ("weight", "bias"), strict=True):
        if trains:
            hint = "The base is frozen when the layer is made, and stays so."
            return Fault(f"{after}the base's {name} would train: its requires_grad is True.", hint=hint), ""
    bias = case.args["bias"]
    if bias is not None and not (isinstance(look["bias"], torch.Tensor) and same_bits(look["bias"], bias)):
        hint = "The adapter says nothing about the bias. Leave it alone."
        return Fault(f"{after}the base's bias is not what it was.", hint=hint), "bias_dropped" if look[
            "bias"
        ] is None else ""
    return None


def _out_fault(case, look, layer, right, after):
    dtype = case.args["x"].dtype

    def is_close_to(out):
        return agree(look["out"], out, dtype, case.device)

    if right.out is not None and not is_close_to(right.out):
        out = look["out"]
        fits = isinstance(out, torch.Tensor) and out.shape == right.out.shape
        difference = f": {describe.largest_difference(out, right.out)}" if fits else ""
        said = describe.contents(out), describe.contents(right.out.to(dtype))
        fault = Fault(f"{after}layer(x) is not what it should be{difference}.", *said)
        if right.merged:
            if is_close_to(right.out + layer.of_adapter()):
                return fault, "still_adding"
            if layer.bias is not None and is_close_to(right.out - layer.bias):
                return fault, "bias_dropped"
        elif after.startswith("After") and is_close_to(layer.of_base(layer.W)):
            return fault, "adapter_lost"
        return fault, ""
    if right.gradients is not None:
        got = look["gradients"]
        for name, gradient, wanted in zip(("lora_A", "lora_B"), got or (None, None), right.gradients, strict=True):
            if gradient is None or not agree(gradient, wanted, dtype, case.device):
                what = "no gradient reaches" if gradient is None else "the gradient is wrong of"
                return Fault(f"{after}{what} {name}."), "trains_no_more"
    return None


mergeable = MergeableCheck(
    "MergeableLoRALinear",
    points=5,
    parts={ANSWER: 3, EXACT: 2},
    note="a class of its own or one derived from LoRALinear; adapters as Parameters or as bias-free nn.Linears; what "
    "is kept may be a clone, a buffer, on the CPU; .data or no_grad.",
    next_step="Make such a layer in a cell, take the same steps one by one, and print base_layer.weight, merged and "
    "layer(x) after each.",
)


@mergeable.cases
def _(draw):
    side = draw.integer(5, 9)

    def case(label, *steps, rows=(4,), part=ANSWER, options=None, **kind):
        if (
            kind.get("dtype") == torch.float64
        ):  # a rank of 2 makes alpha / rank exact: it may be kept as a float32 tensor
            kind["sizes"] = (*draw.layer()[:2], 2)
        asked = adapted(draw, label, rows=rows, part=part, **kind)
        options = asked.args["options"] if options is None else options
        return Case(asked.args | {"options": options, "steps": [list(step) for step in steps]}, label, part)

    def others(asked):
        """Other values for the adapters of a case, as a step."""
        A, B = asked.args["A"], asked.args["B"]
        return ["set", draw.tensor(*A.shape, dtype=A.dtype), draw.tensor(*B.shape, dtype=B.dtype)]

    trained_on = case("trained on between two merges", MERGE, UNMERGE)
    trained_on.args["steps"] += [others(trained_on), MERGE, UNMERGE]
    learns = case("a backward pass after a merge is undone", MERGE, UNMERGE)
    out_features, in_features = learns.args["weight"].shape
    learns.args["steps"] += [["learn", draw.tensor(4, out_features)]]
    replaced = case("another adapter is loaded while merged", MERGE, part=EXACT, dtype=torch.bfloat16)
    replaced.args["steps"] += [others(replaced), UNMERGE]
    back_and_forth = [
        case(f"back and forth in {describe.dtype_name(dtype)}", *[MERGE, UNMERGE] * 3, part=EXACT, dtype=dtype)
        for dtype in (torch.float32, torch.bfloat16, torch.float16, torch.float64)
    ]
    return [
        case("", MERGE, UNMERGE, MERGE),
        case("merged twice, no bias", MERGE, MERGE, UNMERGE, bias=False),
        case("nothing to unmerge", UNMERGE, MERGE, UNMERGE, UNMERGE),
        case("a square layer", MERGE, UNMERGE, sizes=(side, side, 3)),
        case("a batch of sequences, float64", MERGE, UNMERGE, rows=(2, 3), dtype=torch.float64),
        case(
            "rank and alpha left at their defaults, a single row", MERGE, UNMERGE, rows=(), sizes=(9, 7, 4), options={}
        ),
        case("evaluated and trained on", EVAL, TRAIN, MERGE, TRAIN, EVAL, UNMERGE),
        trained_on,
        learns,
        *back_and_forth,
        replaced,
    ]
