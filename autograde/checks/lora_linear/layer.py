"""What the four checks of LoRALinear share: the same class, looked at from four sides."""

from autograde.judge import describe
from autograde.judge.check import Case, Check
from autograde.judge.compare import Fault

ADAPTERS = ("lora_A", "lora_B")
DEFAULTS = {"rank": 4, "alpha": 1}


class LayerCheck(Check):
    """A check of LoRALinear. A case's args are those of its probe: weight and bias of the base, options, and inputs."""

    def called(self, case):
        weight, bias, options = (case.args[name] for name in ("weight", "bias", "options"))
        given = "".join(f", {name}={value}" for name, value in options.items())
        label = f"  # {case.label}" if case.label else ""
        size = f"{weight.shape[1]}, {weight.shape[0]}, bias={bias is not None}, dtype={weight.dtype}"
        return f"LoRALinear(nn.Linear({size}){given}){label}\n  x = {describe.kind(case.args['x'])}"

    def broken(self, case, observation):
        """The fault of a layer that could not be made, set or run; None when it was."""
        if "raised" in observation:
            error = observation["raised"]
            said = describe.clean(f"{error['type']}: {error['message']}".rstrip(": "))
            return Fault(f"The {describe.clean(str(observation['during']), 20)} raised {said}", where=error["where"])
        if "no_module" in observation:
            kind = describe.clean(str(observation["type"]), 80)
            return Fault(f"LoRALinear(base) gives no nn.Module but {kind}.", hint="Derive the class from nn.Module.")
        if "unset" in observation:
            return adapter_fault(case, observation["held"])
        return self.failed_call(observation)


def rank_of(case):
    """The rank of a case's layer, the course's default where the case leaves it out."""
    return case.args["options"].get("rank", DEFAULTS["rank"])


def scaling_of(case):
    """alpha / rank of a case's layer."""
    return case.args["options"].get("alpha", DEFAULTS["alpha"]) / rank_of(case)


def adapter_fault(case, held):
    """What is wrong with the adapters' kind and shape, as a Fault; None where both are as they should be."""
    out_features, in_features = case.args["weight"].shape
    wanted = {"lora_A": [in_features, rank_of(case)], "lora_B": [rank_of(case), out_features]}
    for name in ADAPTERS:
        found, (given, gives) = held[name], wanted[name]
        if "shape" not in found:
            kind = describe.clean(str(found["type"]), 80)
            problem = f"The layer has no {name}." if kind == "NoneType" else f"{name} is no tensor but a {kind}."
            return Fault(problem, hint=f"Give the layer a {name}: an nn.Parameter, or an nn.Linear without bias.")
        if found["shape"] != wanted[name]:
            problem = f"{name} has shape {tuple(found['shape'])}, not {(given, gives)}."
            if "Linear" in found["type"]:
                problem = f"{name} is an nn.Linear from {found['shape'][0]} to {found['shape'][1]} numbers."
            hint = f"{name} takes {given} numbers and gives {gives}: nn.Parameter of ({given}, {gives}), "
            return Fault(problem, hint=hint + f"or nn.Linear({given}, {gives}, bias=False).")
    return None


def layer_case(draw, x_shape, label, *, sizes=None, bias=True, options=None, inputs=(), contiguous=True, dtype=None):
    """A case around a fresh base.

    Args:
        draw: the `Draw`.
        x_shape: leading axes of x; its last axis is added.
        label: of the case.
        sizes: in_features, out_features, rank; drawn when left out.
        bias: whether the base has one.
        options: keyword arguments of LoRALinear; rank and an alpha that differs from it when left out.
        inputs: names of what the probe takes besides: ``A``, ``B`` and ``cotangent``.
        contiguous: of x.
        dtype: of everything; float32 when left out.
    """
    d, k, r = sizes or draw.layer()
    kind = {} if dtype is None else {"dtype": dtype}
    options = {"rank": r, "alpha": draw.choice([n for n in (3, 5, 7, 11) if n != r])} if options is None else options
    rank = options.get("rank", DEFAULTS["rank"])
    every = {"A": (d, rank), "B": (rank, k), "cotangent": (*x_shape, k)}
    args = {
        "weight": draw.tensor(k, d, **kind),
        "bias": draw.tensor(k, **kind) if bias else None,
        "options": options,
        "x": draw.tensor(*x_shape, d, contiguous=contiguous, **kind),
    }
    return Case(args | {name: draw.tensor(*every[name], **kind) for name in inputs}, label)
