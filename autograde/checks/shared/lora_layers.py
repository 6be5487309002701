"""Shared by the four checks of LoRALinear, each of which looks at another side of the same class."""

import re

from autograde.checks.shared.draws import layer_sizes
from autograde.checks.shared.families import ADAPTERS_WITH_BIAS, TURNED_ROUND
from autograde.judge import describe
from autograde.judge.check import Case, Check
from autograde.judge.compare import Fault, raised_fault
from autograde.judge.exceptions import is_untouched

ADAPTERS = ("lora_A", "lora_B")
DEFAULTS = {"rank": 4, "alpha": 1}
CALL_SUPER = (
    "In __init__, call super().__init__() before anything else: it creates the places in which a module "
    "keeps parameters and modules."
)


LORA_LINEAR = """
class LoRALinear(nn.Module):
    def __init__(self, base_layer, rank=4, alpha=1):
        super().__init__()
        self.base_layer = base_layer.requires_grad_(False)
        self.scaling = alpha / rank
        like = {"dtype": base_layer.weight.dtype, "device": base_layer.weight.device}
        self.lora_A = nn.Parameter(torch.randn(base_layer.in_features, rank, **like))
        self.lora_B = nn.Parameter(torch.zeros(rank, base_layer.out_features, **like))

    def forward(self, x):
        return self.base_layer(x) + self.scaling * (x @ self.lora_A) @ self.lora_B
"""


class LayerCheck(Check):
    """A check of LoRALinear. A case's args are those of its probe: weight and bias of the base, options, and inputs."""

    def called(self, case):
        weight, bias, options = (case.args[name] for name in ("weight", "bias", "options"))
        arguments = "".join(f", {name}={value}" for name, value in options.items())
        label = f"  # {case.label}" if case.label else ""
        if case.args.get("by_position"):
            arguments = "".join(f", {value}" for value in options.values())
        size = f"{weight.shape[1]}, {weight.shape[0]}, bias={bias is not None}, dtype={weight.dtype}"
        x = f"\n  x = {describe.kind(case.args['x'])}" if "x" in case.args else ""
        return f"LoRALinear(nn.Linear({size}){arguments}){label}{x}"

    def unfinished(self, observation):
        """An untouched stub fails at construction. If it fails later, only a method is not written yet."""
        return is_untouched(observation.get("raised")) and observation.get("during") == "construction"

    def broken(self, case, observation):
        """The fault of a layer that could not be made, set or run; None when it was."""
        if "raised" in observation:
            error = observation["raised"]
            if is_untouched(error):
                method = "__init__" if observation["during"] == "construction" else "forward"
                hint = "Write it where its cell says YOUR CODE HERE, run the cell, and then run this again."
                return Fault(f"{method} is not written yet.", hint=hint)
            during = describe.clean(str(observation["during"]), 20)
            return raised_fault(f"The {during}", error, _exception_hint(case, error, during))
        if fault := module_fault(self.subject, observation):
            return fault
        if "unset" in observation:
            return adapter_fault(case, observation["held"])
        return self.failed_call(observation)


def module_fault(subject, observation):
    """The fault of a class that makes no nn.Module, or one that torch cannot work with; None where it makes one."""
    if "no_module" in observation:
        kind = describe.clean(str(observation["type"]), 80)
        return Fault(f"{subject}(base) does not give an nn.Module but {kind}.", hint="Derive the class from nn.Module.")
    if "no_init" in observation:
        return Fault(f"{subject}(base) gives an nn.Module that was never set up.", hint=CALL_SUPER)
    return None


def _exception_hint(case, error, during):
    """A hint for an exception whose message says more than its kind; empty for others."""
    message = str(error["message"])
    if "before Module.__init__() call" in message:
        return CALL_SUPER
    if 'missing the required "forward"' in message:
        return "The class has no method with the name forward. Compare the names of your methods with it."
    if str((error["where"] or {}).get("text", "")).startswith("super().__init__("):
        return (
            "nn.Module's own __init__ takes no arguments: call super().__init__(). Your __init__ keeps what "
            "it was given."
        )
    if re.search(r"unexpected keyword argument|__init__\(\) (missing \d+ required|takes )", message):
        return (
            "A layer is made as LoRALinear(base_layer, rank=…, alpha=…): keep the parameters' names as they were given."
        )
    if case.args["bias"] is None and "NoneType" in message:
        if during == "forward":
            return "This base has no bias: its bias is None. base_layer(x) takes care of both kinds of layer."
        return (
            "This base has no bias: its bias is None. A loop over base_layer.parameters() visits only the "
            "parameters that exist."
        )
    if "copy out of meta tensor" in message and case.args.get("device") == "meta":
        return (
            "Here the base is on another device, and one of your lines moves something to a device that it names "
            "itself."
        )
    if "does not require grad" in message:
        return "Look in forward for .data, .detach(), torch.no_grad() or a new nn.Parameter: each cuts the gradient."
    return ""


def rank_of(case):
    """The rank of a case's layer, the course's default where the case leaves it out."""
    return case.args["options"].get("rank", DEFAULTS["rank"])


def alpha_of(case):
    """The alpha of a case's layer, the course's default where the case leaves it out."""
    return case.args["options"].get("alpha", DEFAULTS["alpha"])


def scaling_of(case):
    """alpha / rank of a case's layer."""
    return alpha_of(case) / rank_of(case)


def adapter_fault(case, states):
    """What is wrong with the adapters' kind and shape, as a Fault; None where both are as they should be."""
    if fault := absent_fault(states):
        return fault
    out_features, in_features = case.args["weight"].shape
    expected_shapes = {"lora_A": [in_features, rank_of(case)], "lora_B": [rank_of(case), out_features]}
    for name in ADAPTERS:
        state, (rows, columns) = states[name], expected_shapes[name]
        if state["shape"] != expected_shapes[name]:
            if all(states[adapter].get("shape") == expected_shapes[adapter][::-1] for adapter in ADAPTERS):
                return _transposed_fault(states, expected_shapes)
            problem = f"{name} has shape {describe.shape(state['shape'])}, not {(rows, columns)}."
            if "Linear" in state["type"]:
                problem = f"{name} is an nn.Linear from {state['shape'][0]} to {state['shape'][1]} numbers."
            if state["shape"] in ([rows, alpha_of(case)], [alpha_of(case), columns]):
                return Fault(
                    problem, hint="That is alpha where the rank should be. In which order do you pass the two?"
                )
            hint = f"{name} takes {rows} numbers and gives {columns}: nn.Parameter of ({rows}, {columns}), "
            return Fault(problem, hint=hint + f"or nn.Linear({rows}, {columns}, bias=False).")
    return None


def absent_fault(states):
    """The fault of an adapter that is not there, or is no tensor; None where both are."""
    for name in ADAPTERS:
        state = states[name]
        if "shape" in state:
            continue
        kind = describe.clean(str(state["type"]), 80)
        problem = f"The layer has no {name}." if kind == "NoneType" else f"{name} is not a tensor but a {kind}."
        hint = f"Give the layer a {name}, as self.{name}: an nn.Parameter, or an nn.Linear without bias."
        other_names = states.get("others")
        if other_names and kind == "NoneType":
            listed = describe.clean(", ".join(map(str, other_names[:4])), 120)
            hint = f"Its parameters, besides the base's, are called {listed}. The names must be lora_A and lora_B."
        return Fault(problem, hint=hint)
    return None


def _transposed_fault(states, expected_shapes):
    """The fault of A as (r, d) and B as (k, r)."""
    shapes = [
        f"{name} has shape {describe.shape(states[name]['shape'])}, not {tuple(expected_shapes[name])}"
        for name in ADAPTERS
    ]
    hint = "The paper writes A as (r, d) and B as (k, r), for an x that is a column. Here x is a row on the left: "
    if "Linear" in states["lora_A"]["type"]:
        hint = "nn.Linear takes the size of the input first, and then that of the output: "
    return Fault(
        f"{' and '.join(shapes)}.",
        hint=f"{hint}which size of A must match the input, and which size of B must match the output?",
        misconception=TURNED_ROUND,
    )


def bias_fault(biased):
    """The fault of adapters, by name, that are an nn.Linear with a bias; None where there are none."""
    if not biased:
        return None
    names = " and ".join(describe.clean(str(name), 20) for name in biased)
    return Fault(
        f"{names} {'is an nn.Linear' if len(biased) == 1 else 'are nn.Linears'} with a bias, and LoRA has none.",
        hint="nn.Linear brings a bias unless told not to.",
        misconception=ADAPTERS_WITH_BIAS,
    )


def layer_case(draw, x_shape, label, *, sizes=None, bias=True, options=None, inputs=(), contiguous=True, dtype=None,
               by_position=False):  # fmt: skip
    """A case around a fresh base.

    Args:
        draw: the `Draw`.
        x_shape: leading axes of x; its last axis is added. None: no x.
        label: of the case.
        sizes: in_features, out_features, rank; drawn when left out.
        bias: whether the base has one.
        options: keyword arguments of LoRALinear; rank and an alpha that differs from it when left out.
        inputs: names of what the probe takes besides: ``A``, ``B`` and ``cotangent``.
        contiguous: of x.
        dtype: of everything; float32 when left out.
        by_position: whether rank and alpha are given without their names.
    """
    d, k, r = sizes or layer_sizes(draw)
    kind = {} if dtype is None else {"dtype": dtype}
    options = {"rank": r, "alpha": draw.choice([n for n in (3, 5, 7, 11) if n != r])} if options is None else options
    rank = options.get("rank", DEFAULTS["rank"])
    shapes = {"A": (d, rank), "B": (rank, k), "cotangent": (*(x_shape or ()), k)}
    args = {
        "weight": draw.tensor(k, d, **kind),
        "bias": draw.tensor(k, **kind) if bias else None,
        "options": options,
    }
    if x_shape is not None:
        args["x"] = draw.tensor(*x_shape, d, contiguous=contiguous, **kind)
    if by_position:
        args["by_position"] = True
    return Case(args | {name: draw.tensor(*shapes[name], **kind) for name in inputs}, label)
