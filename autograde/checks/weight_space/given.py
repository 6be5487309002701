"""What the three checks share: the layers that are adapted, and what A, B, scale and en must be."""

import torch

from autograde.checks.lora_linear.init import how_filled, random_fault
from autograde.checks.shared import families, observed
from autograde.checks.shared.families import GRADIENT_CUT
from autograde.judge import describe
from autograde.judge.check import Case
from autograde.judge.compare import Fault, agree, as_number, is_number, raised_fault
from autograde.judge.misconception import RETURNED_NONE, Misconception
from autograde.remote.facts import same_bits
from autograde.remote.wire import WireError

BOTH_ZERO = families.BOTH_ZERO.reworded(
    thought="An update that starts at zero has both matrices at zero.",
    hint="That is the published module from the beginning of the lesson. The gradient of each matrix has the "
    "other one as a factor: what is it when both are zero?",
)
BOTH_RANDOM = families.BOTH_RANDOM.reworded(
    hint="What does a new module return for a weight? It should be that weight: training starts from the layer as "
    "it was.",
)
ALPHA_NOT_DIVIDED = families.ALPHA_NOT_DIVIDED.reworded(
    thought="alpha itself is the scale.",
    hint="Double the rank and keep alpha: how should the size of the update change?",
)
NOT_REGISTERED = Misconception(
    "not_registered",
    thought="A tensor that requires a gradient is a parameter.",
    hint="Print list(module.parameters()): an optimiser, .to() and a state_dict see only those.",
)

LORA_WEIGHT = """
class LoRAWeight(nn.Module):
    def __init__(self, in_f, out_f, rank=1, alpha=1, device="cpu"):
        super().__init__()
        self.A = nn.Parameter(torch.randn(rank, out_f, device=device))
        self.B = nn.Parameter(torch.zeros(in_f, rank, device=device))
        self.scale = alpha / rank
        self.en = True

    def forward(self, wts):
        if not self.en:
            return wts
        return wts + (self.B @ self.A).view(wts.shape) * self.scale
"""

# What adapts the layers that `fold` is asked about, sent as text: A, B, scale and en are those of LoRAWeight and do what they
# do there, but it is made from them, and written for one rank and one shape. So it answers no other question.
FOR_ONE_WEIGHT = """
class LoRAWeight(nn.Module):
    def __init__(self, A, B, scale, en):
        super().__init__()
        self.A, self.B = nn.Parameter(A), nn.Parameter(B)
        self.scale, self.en = scale, en

    def forward(self, wts):
        if not self.en:
            return wts
        change = {terms}
        return wts + self.scale * change.view{shape}
"""


def for_one_weight(shape, rank):
    """`FOR_ONE_WEIGHT` for a weight of this shape: its change is a sum over the directions of the rank, written out."""
    terms = " + ".join(f"self.B[:, {i}].outer(self.A[{i}])" for i in range(rank))
    return FOR_ONE_WEIGHT.format(terms=terms, shape=tuple(shape))


LAYERS = {
    "a linear layer": ("nn.Linear", False),
    "a convolution": ("nn.Conv2d", False),
    "a grouped convolution": ("nn.Conv2d", True),
}


def layer_case(draw, layer_name, label="", *, bias=True, dtype=torch.float32, rank=None, **more):
    """A case around one of the `LAYERS`: its options, weight, bias, rank, alpha, A, B and an x."""
    kind, grouped = LAYERS[layer_name]
    r = rank or draw.choice([2, 3])
    alpha = draw.choice([n for n in (3, 5, 7, 11) if n != r])
    if kind == "nn.Linear":
        d, k = draw.sizes(2, low=5, high=9)
        options, shape, x_shape = {"in_features": d, "out_features": k}, (k, d), (3, d)
    else:
        groups = 2 if grouped else 1
        inputs, outputs = (2 * n for n in draw.sizes(2, low=2, high=5))
        # A kernel of (2, 1) taken for a square one has as many entries too many as one whose 2 groups are forgotten.
        kh, kw = draw.sizes(2, low=2 if grouped else 1, high=3)
        options = {
            "in_channels": inputs,
            "out_channels": outputs,
            "kernel_size": [kh, kw],
            "groups": groups,
            "padding": 1,
        }
        shape, x_shape = (outputs, inputs // groups, kh, kw), (2, inputs, 4, 5)
    rows, columns = shape[0], torch.Size(shape[1:]).numel()
    args = {
        "kind": kind,
        "options": options,
        "weight": draw.tensor(*shape, dtype=dtype),
        "bias": draw.tensor(rows, dtype=dtype) if bias else None,
        "rank": r,
        "alpha": alpha,
        "A": draw.tensor(r, columns, dtype=dtype),
        "B": draw.tensor(rows, r, dtype=dtype),
        "x": draw.tensor(*x_shape, dtype=dtype),
    }
    return Case(args | more, label or layer_name)


def in_words(args):
    """`nn.Conv2d(4, 6, (3, 2), groups=2)`: the call that makes the case's layer."""
    options = args["options"]
    dtype = "" if args["weight"].dtype == torch.float32 else f", dtype={args['weight'].dtype}"
    bias = "" if args["bias"] is not None else ", bias=False"
    if args["kind"] == "nn.Linear":
        return f"nn.Linear({options['in_features']}, {options['out_features']}{bias}{dtype})"
    groups = f", groups={options['groups']}" if options["groups"] > 1 else ""
    channels = f"{options['in_channels']}, {options['out_channels']}, {tuple(options['kernel_size'])}"
    return f"nn.Conv2d({channels}{groups}{bias}{dtype})"


def change(args):
    """What the adapter adds to the weight, in float64."""
    scale = args["alpha"] / args["rank"]
    return scale * (args["B"].double() @ args["A"].double()).view(args["weight"].shape)


def output(args, weight):
    """The output of the case's layer for its x with this weight, in float64."""
    x, bias = args["x"].double(), args["bias"]
    bias = bias.double() if bias is not None else None
    if args["kind"] == "nn.Linear":
        return torch.nn.functional.linear(x, weight, bias)
    options = args["options"]
    return torch.nn.functional.conv2d(x, weight, bias, padding=options["padding"], groups=options["groups"])


def fresh_module_fault(state, expected_shapes, alpha, rank, whose):
    """What is wrong with A, B, scale and en of a fresh module, as a Fault; None where they are right.

    Args:
        state: what the probe reported of the module.
        expected_shapes: ``{"A": shape, "B": shape}``.
        alpha, rank: of the call.
        whose: what the module is called in the messages.
    """
    for name, size in expected_shapes.items():
        adapter_state = state[name]
        if "shape" not in adapter_state:
            kind = describe.clean(str(adapter_state["type"]), 60)
            if kind == "NoneType":
                return Fault(
                    f"{whose} has no {name}.",
                    hint=f"Keep the names A and B as they are given in the exercise: self.{name}.",
                )
            return Fault(f"{name} of {whose[0].lower() + whose[1:]} is not a tensor, but {kind}.")
        if adapter_state["shape"] != list(size):
            swapped = all(state[n].get("shape") == list(expected_shapes[n])[::-1] for n in expected_shapes)
            hint = (
                "Both are the other way round: A is (rank, out_f) and B is (in_f, rank), so B is on the left "
                "in the product."
            )
            if adapter_state["shape"] in ([alpha, size[1]], [size[0], alpha]) and not swapped:
                hint = "That is alpha where the rank should be. In which order do you pass the two?"
                swapped = True
            return Fault(
                f"{name} of {whose[0].lower() + whose[1:]} has shape {describe.shape(adapter_state['shape'])}, not {tuple(size)}.",
                hint=hint if swapped else "A is (rank, out_f), and B is (in_f, rank).",
                misconception=SIZES_SWAPPED if _has_sizes_exchanged(state, expected_shapes) else None,
            )
        if adapter_state["registered"] is not True:
            return Fault(f"{name} is not a Parameter of {whose[0].lower() + whose[1:]}.", misconception=NOT_REGISTERED)
        if adapter_state["trains"] is not True:
            return Fault(f"{name} does not require a gradient, so nothing can learn.")
    if not is_number(state["scale"]) or not agree(float(as_number(state["scale"])), alpha / rank):
        returned_and_expected = describe.contents(state["scale"]), describe.contents(alpha / rank)
        is_alpha = is_number(state["scale"]) and agree(float(as_number(state["scale"])), float(alpha))
        hint = (
            f"In this call alpha is {alpha} and rank is {rank}. What do you divide by what, and are these the "
            "values that arrive there?"
        )
        cause = ALPHA_NOT_DIVIDED if is_alpha else None
        return Fault(
            "scale is not alpha / rank.", *returned_and_expected, hint="" if cause else hint, misconception=cause
        )
    if state["en"] is not True:
        hint = "The switch is an attribute of the module, called en, and a new module is switched on."
        return Fault("en is not True at the start.", describe.contents(state["en"]), "True", hint=hint)
    a, b = (_filled(state[name]) for name in "AB")
    if a == b == "zero":
        return Fault("A and B are both zero: their gradients are zero too, at every step.", misconception=BOTH_ZERO)
    if "zero" not in (a, b):
        return Fault("Neither A nor B is zero, so a new module already changes the weight.", misconception=BOTH_RANDOM)
    random, name = (b, "B") if a == "zero" else (a, "A")
    if random not in ("constant", "not finite"):
        return random_fault(random, state[name]["values"].double(), name)
    description = "all its entries are the same" if random == "constant" else "it holds inf or nan"
    hint = "With equal entries, all directions learn the same. Draw the entries at random."
    return Fault(f"{name} is not random: {description}.", hint=hint)


def _filled(adapter_state):
    """How an adapter of a fresh module was filled: not finite, or its `how_filled`; where it is centred is not asked."""
    values = adapter_state["values"]
    if not isinstance(values, torch.Tensor):  # on the meta device
        return "not finite"
    if list(values.shape) != adapter_state["shape"]:
        raise WireError("values that are not of the shape that was noted")
    return how_filled(values, centred=False) if bool(values.isfinite().all()) else "not finite"


SIZES_SWAPPED = Misconception(
    "sizes_swapped",
    thought="in_f is the number of a layer's inputs, and out_f that of its outputs.",
    hint="Here they are the rows and columns of the weight, and a weight is stored as (out, in). Print the shape "
    "of nn.Linear(5, 3).weight.",
)


def _has_sizes_exchanged(state, expected_shapes):
    """Whether A and B have the shapes that belong to in_f and out_f exchanged."""
    (rank, columns), (rows, _) = expected_shapes["A"], expected_shapes["B"]
    return state["A"].get("shape") == [rank, rows] and state["B"].get("shape") == [columns, rank]


def in_place_fault(check, observation):
    """The fault of a call that raised, left a layer that cannot be used, or returned another one; None otherwise."""
    if "raised" in observation and "during" in observation:
        return raised_fault(f"Afterwards, {describe.clean(str(observation['during']), 40)}", observation["raised"])
    if fault := check.failed_call(observation):
        return fault
    if observation["same"] is True:
        return None
    kind = describe.clean(str(observation["type"]), 80)
    returned = "nothing" if kind == "NoneType" else f"a {kind}"
    return Fault(
        f"The call returned {returned}, not the module that it was given.",
        hint="Change the module in place, and end with return module.",
        misconception=RETURNED_NONE if kind == "NoneType" else None,
    )


def is_same(value, tensor):
    """Whether a value of plain data is this tensor, to the last bit."""
    return isinstance(value, torch.Tensor) and same_bits(value, tensor)


def gradient_fault(observation, expected, dtype, device):
    """The fault of gradients of A and B that are missing or wrong; None where they are right."""
    gradients = observation["gradients"]
    if isinstance(gradients, dict) and "raised" in gradients:
        return Fault(
            "The values are right, but A, B or a tensor computed from them is changed in place after it was "
            "used: a step of training would raise an error.",
            hint="To compute the gradients, autograd needs each tensor as it was when it was used. Look for [...] "
            "= ..., += and names ending in _, also under torch.no_grad(), and make a new tensor instead.",
        )
    if not isinstance(gradients, list) or any(not isinstance(g, torch.Tensor) for g in gradients):
        return Fault(
            "The values are right, but no gradient reaches A and B: training would change nothing.",
            hint="Look for .data, .detach() or torch.no_grad() between the two matrices and the result.",
            misconception=GRADIENT_CUT,
        )
    for name, gradient, right in zip("AB", gradients, expected, strict=True):
        if not agree(gradient, right, dtype, device):
            return Fault(f"The values are right, but the gradient of {name} is not.")
    return None


def _initial_state(state):
    """The initial state of a module, whichever of its matrices is the random one."""
    pair = [state["A"], state["B"]]
    filled = ["none" if "shape" not in matrix else _filled(matrix) for matrix in pair]
    return {
        "zero": filled.count("zero"),
        "useless": not {*filled} <= {"zero", "random"},
        "scale": float(as_number(state["scale"])) if is_number(state["scale"]) else describe.contents(state["scale"]),
        "en": state["en"],
        "tensors": [
            [matrix.get(fact) for fact in ("shape", "registered", "trains", "dtype", "device")] for matrix in pair
        ],
    }


def alike(a, b, device="cpu"):
    """Whether two observations agree; which of A and B is the random one does not matter."""
    return observed.alike(_without_matrix_order(a), _without_matrix_order(b), device)


def _without_matrix_order(observation):
    fresh = observation.get("fresh", {})
    if not {"A", "B", "scale"} <= fresh.keys():
        return observation
    return observation | {
        "fresh": _initial_state(fresh),
        "at_start": None,
    }  # which of both is random, if one is, is in `fresh`
