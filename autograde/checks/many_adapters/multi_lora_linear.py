"""MultiLoRALinear: adapters under names, one of them active, all of them registered, none of them shared."""

from dataclasses import dataclass, field, replace

import torch
from torch import nn

from autograde.checks.lora_linear.init import how_filled, random_fault
from autograde.checks.lora_linear.modes import IN_TRAINING_ONLY, MERGED_AT_EVAL, WITH_GRADIENTS_ONLY
from autograde.checks.shared import families
from autograde.checks.shared.families import (
    ADAPTER_SHARED,
    ALPHA_NOT_DIVIDED,
    BOTH_ZERO,
    GRADIENT_CUT,
    GRADIENT_TO_X_CUT,
    KEPT_ON_THE_CLASS,
    SCALING_FORGOTTEN,
)
from autograde.checks.shared.lora_layers import module_fault
from autograde.judge import describe
from autograde.judge.answer import RightAnswer
from autograde.judge.check import ANSWER, Case, Check
from autograde.judge.compare import Fault, agree, raised_fault
from autograde.judge.exceptions import is_untouched
from autograde.judge.misconception import Misconception
from autograde.probes.many_adapters import follow
from autograde.remote.facts import same_bits

REGISTERED = "registered"  # the part of the points that is for what an optimiser and a file get
NAMES = "names"  # the part that is for names that are not there, or there already

NOT_REGISTERED = Misconception(
    "not_registered",
    thought="A Parameter in a dict of the module is a parameter of the module.",
    hint="Print list(layer.parameters()) after an add. Which containers of torch register their contents?",
)
BASE_TRAINS = Misconception(
    "base_trains",
    thought="When a layer has an adapter, its base does not train.",
    hint="It trains unless it is frozen, and all adapters share it. Which of its two tensors would an optimiser "
    "still change?",
)
LATE = Misconception(
    "unknown_name_fails_late",
    thought="An unknown name will cause an error when the adapter is used.",
    hint="Then another line fails, far from the mistake. Which method gets the wrong name first?",
)
OVERWRITES = Misconception(
    "doubled_name_overwrites",
    thought="The last adapter that is added under a name counts.",
    hint="What was trained under this name is lost without any error. What should add do?",
)
DOUBLED_IGNORED = Misconception(
    "doubled_name_ignored",
    thought="An adapter that is there already need not be added again.",
    hint="A caller who asks for another rank would believe that it is used. What should add do?",
)
SET_TOO_EARLY = Misconception(
    "set_before_raising",
    thought="An exception undoes what the method has done before it.",
    hint="raise ends the method, and what was set before stays set. Which comes first in yours: the line that "
    "sets something, or the one that checks the name?",
)
FROZEN = Misconception(
    "active_adapter_frozen",
    thought="An adapter trains again by itself when its turn comes.",
    hint="A frozen parameter stays frozen until a line sets requires_grad to True. Print requires_grad of the "
    "active adapter's A and B.",
)
REMADE = Misconception(
    "adapter_remade",
    thought="Activating an adapter sets it up.",
    hint="What was trained under this name is gone after the second activate. In which method is an adapter made?",
)
MERGES = Misconception(
    "merges_into_the_base",
    thought="The active adapter can just as well be added to the weight.",
    hint="All adapters share this base, and floating-point addition cannot be undone exactly: how much of the "
    "weight has changed after a hundred switches?",
)
BOTH_RANDOM = families.BOTH_RANDOM.reworded(
    thought="Weights start at random.",
    hint="A new adapter must not change the output. Which matrix ensures that?",
)
SAME_VALUES = Misconception(
    "same_start",
    thought="Every adapter can start from the same A.",
    hint="Compare the A's of two adapters: each should be drawn for itself. What makes them equal?",
)
UNKNOWN_ACCEPTED = Misconception(
    "unknown_name_accepted",
    thought="A name that was never added stands for the base alone.",
    hint="None stands for that already. Someone who misspells a name gets the base's output without any error. "
    "Which method can report it first?",
)
NONE_REFUSED = Misconception(
    "none_refused",
    thought="Only names that were added can be activated.",
    hint="None is not a name: it stands for the base alone. Which line of activate refuses it?",
)
ADD_ACTIVATES = Misconception(
    "add_activates",
    thought="An adapter is added in order to be used.",
    hint="Adding and activating are two steps: a server loads adapters while another one is in use. Which line of add sets "
    "active?",
)
ALL_AT_ONCE = Misconception(
    "all_adapters_summed",
    thought="All adapters that were added take part in the output.",
    hint="Only one is active. Add a second one and leave it inactive: may the output change?",
)

answer = RightAnswer("""
from lora_ref.layer import LoRALinear


class MultiLoRALinear(nn.Module):
    def __init__(self, base_layer):
        super().__init__()
        self.base_layer = base_layer
        self.base_layer.requires_grad_(False)
        self.lora_A = nn.ParameterDict()
        self.lora_B = nn.ParameterDict()
        self.scaling = {}
        self.active = None

    def add(self, name, rank, alpha):
        if name in self.scaling:
            raise ValueError(f"there is an adapter {name!r} already")
        weight = self.base_layer.weight
        k, d = weight.shape
        self.lora_A[name] = nn.Parameter(torch.randn(d, rank, dtype=weight.dtype, device=weight.device) / d**0.5)
        self.lora_B[name] = nn.Parameter(torch.zeros(rank, k, dtype=weight.dtype, device=weight.device))
        self.scaling[name] = alpha / rank

    def activate(self, name):
        if name is not None and name not in self.scaling:
            raise KeyError(f"there is no adapter {name!r}")
        self.active = name

    def forward(self, x):
        out = self.base_layer(x)
        if self.active is None:
            return out
        name = self.active
        return out + self.scaling[name] * ((x @ self.lora_A[name]) @ self.lora_B[name])
""")


@dataclass
class ExpectedLayer:
    """A right layer in float64, taken through the steps of a case."""

    weight: torch.Tensor
    bias: torch.Tensor | None
    x: torch.Tensor
    active: str | None = None
    scaling: dict = field(default_factory=dict)
    matrices: dict = field(default_factory=dict)  # by name (A, B); B is None for one that nobody has filled
    learned: bool = False
    evaluating: bool = False
    earlier: dict = field(default_factory=dict)  # by name the (A, B) that an adapter had before it was filled again

    def apply(self, name, *inputs):
        """Apply one step; returns whether it must raise."""
        if name == "add":
            key, rank, alpha = inputs
            if key in self.scaling:
                return True
            self.scaling[key], self.matrices[key] = alpha / rank, None
        elif name == "fill":
            self.earlier[inputs[0]] = self.matrices[inputs[0]]
            self.matrices[inputs[0]] = tuple(tensor.double() for tensor in inputs[1:])
        elif name == "activate":
            if inputs[0] is not None and inputs[0] not in self.scaling:
                return True
            self.active = inputs[0]
        elif name == "learn":
            self.learned = True
        elif name in ("eval", "train"):
            self.evaluating = name == "eval"
        return False

    def gradients(self, cotangent):
        """The gradients of ``(out * cotangent).sum()`` of x, and of A and B of the active adapter."""
        (A, B), scaling, back = self.matrices[self.active], self.scaling[self.active], cotangent.double()
        of_A = scaling * self.x.flatten(0, -2).T @ (back @ B.T).flatten(0, -2)
        of_B = scaling * (self.x @ A).flatten(0, -2).T @ back.flatten(0, -2)
        return [back @ self.weight + scaling * back @ B.T @ A.T, of_A, of_B]

    def base_output(self):
        """The output of the base alone."""
        return nn.functional.linear(self.x, self.weight, self.bias)

    def earlier_output(self):
        """The output with the values that the active adapter had before it was filled again; None where there are none."""
        if not self.earlier.get(self.active):
            return None
        A, B = self.earlier[self.active]
        return self.base_output() + self.scaling[self.active] * (self.x @ A) @ B

    def adapter_output(self, name):
        """The part of the output that comes from one adapter."""
        if self.matrices[name] is None:
            return 0
        A, B = self.matrices[name]
        return self.scaling[name] * (self.x @ A) @ B

    def all_adapters_output(self):
        """The output of the base and all adapters together; None if fewer than two have been filled."""
        filled = [name for name, matrices in self.matrices.items() if matrices]
        if len(filled) < 2:
            return None
        return self.base_output() + sum(map(self.adapter_output, filled))

    def out(self):
        """The output; None after a training step, which changes it."""
        if self.learned:
            return None
        return self.base_output() + (0 if self.active is None else self.adapter_output(self.active))


# Exceptions that Python raises for a faulty line: a method that refuses a name raises others.
_SLIPS = ("AttributeError", "NameError", "NotImplementedError", "TypeError", "UnboundLocalError")


class MultiLoRALinearCheck(Check):
    """Takes a layer through steps with a snapshot after each. The first wrong snapshot is the fault."""

    name = "MultiLoRALinear"
    points = 4
    parts = {ANSWER: 2, REGISTERED: 1, NAMES: 1}
    answer = answer
    note = (
        "two nn.ParameterDicts, an nn.ModuleDict of small modules or of LoRALinears around the one base, setattr with "
        "names of your own; adapters as Parameters or as bias-free nn.Linears."
    )
    next_step = "Write down what must be true of the layer after each of the steps, and print it after each."

    def cases(self, draw):
        d, k = draw.sizes(2, low=7, high=11)
        r, s, t = draw.sizes(3, low=2, high=5)
        alphas = dict(zip(("de", "fi", "pt"), draw.shuffled([7, 11, 13]), strict=True))  # no rank divides them
        ranks = {"de": r, "fi": s, "pt": t}

        def add(name):
            return ["add", name, ranks[name], alphas[name]]

        def fill(name, dtype):
            return ["fill", name, draw.tensor(d, ranks[name], dtype=dtype), draw.tensor(ranks[name], k, dtype=dtype)]

        def case(label, *steps, part=ANSWER, shape=(4,), bias=True, dtype=torch.float32):
            filled = [fill(step[1], dtype) if step[0] == "fill" else step for step in steps]
            args = {
                "weight": draw.tensor(k, d, dtype=dtype),
                "bias": draw.tensor(k, dtype=dtype) if bias else None,
                "steps": filled,
                "x": draw.tensor(*shape, d, dtype=dtype),
            }
            return Case(args, label, part)

        fill_de, fill_fi, fill_pt = (["fill", name] for name in ("de", "fi", "pt"))

        def use(name):
            return ["activate", name]

        def again(name):
            """An add under a name that is there, of another rank."""
            return ["add", name, ranks[name] + 1, alphas[name]]

        return [
            case("one adapter", add("de"), fill_de, use("de"), use(None), use("de")),
            case("added and not activated", add("de"), fill_de, add("fi"), fill_fi),
            case("three adapters of different ranks", add("de"), add("fi"), add("pt"), fill_de, fill_fi, fill_pt,
                 use("fi"), use("pt"), use("de"), use("fi"), use(None), shape=(2, 3)),
            case("one more while another is active", add("de"), fill_de, use("de"), add("fi"), fill_fi, use("fi"), use("de"), bias=False),
            case("a single row, float64", ["add", "fi", s, 2 * s], fill_fi, use("fi"), add("de"), use("de"), shape=(), dtype=torch.float64),
            case("evaluated", add("de"), add("fi"), fill_de, fill_fi, use("de"), ["eval"], use("fi"), ["train"], fill_fi, ["eval"]),
            case("without gradients", add("de"), fill_de, use("de"), ["no_grad"]),
            case("what is registered", add("de"), add("fi"), add("pt"), part=REGISTERED),
            case("two adapters of one rank", add("de"), ["add", "sv", r, alphas["de"]], fill_de, part=REGISTERED),
            case("a step of training", add("de"), add("fi"), fill_de, fill_fi, use("fi"), ["learn"], part=REGISTERED),
            case("a step of training, no bias", add("pt"), fill_pt, use("pt"), ["learn"], part=REGISTERED, bias=False),
            case("trained in turns", add("de"), add("fi"), fill_de, fill_fi, use("fi"), use("de"), ["learn"], use(None), use("fi"),
                 ["learn"], part=REGISTERED),
            case("a backward pass", add("de"), add("fi"), fill_de, fill_fi, use("fi"), ["gradients", "fi", draw.tensor(4, k)],
                 part=REGISTERED),
            case("moved to float64", add("de"), add("fi"), fill_de, fill_fi, use("de"), ["double"], use("fi"), part=REGISTERED),
            case("a name that is not there", add("de"), fill_de, use("de"), use("fi"), use("de"), part=NAMES),
            case("a name before any adapter", use("de"), part=NAMES),
            case("a name that is there already", add("de"), fill_de, use("de"), add("de"), part=NAMES),
            case("names beside three adapters", add("de"), add("fi"), add("pt"), fill_fi, use("de"), use("sv"), again("fi"), add("pt"),
                 again("de"), part=NAMES),
        ]  # fmt: skip

    def observe(self, target, case):
        return follow(target, **case.args)

    def called(self, case):
        bias = "" if case.args["bias"] is not None else ", bias=False"
        k, d = case.args["weight"].shape
        x = describe.shape(case.args["x"].shape)
        steps = [in_words(step) for step in case.args["steps"]]
        construction = f"layer = MultiLoRALinear(nn.Linear({d}, {k}{bias}))  # {case.label}"
        return "\n".join([construction, *steps, f"and after each step layer(x), x of shape {x}"])

    def unfinished(self, observation):
        return is_untouched(observation.get("raised")) and observation.get("during") == "construction"

    def fault(self, case, observation):
        if fault := module_fault(self.name, observation):
            return fault
        if "not_callable" in observation or "raised" in observation:
            return self.failed_call(observation)
        return _first_fault(case, observation)

    def cause_in_all(self, cases, observations):
        """`KEPT_ON_THE_CLASS` if layers refuse the first name that they are given where an earlier layer has it, and nowhere else;
        or if all of them refuse it, and one without adapters knows a name: then there were layers before the first case.
        """
        known, earlier, refused, found = set(), [], [], False
        for case, observation in zip(cases, observations, strict=True):
            (method, name, *_), snapshots = case.args["steps"][0], observation.get("snapshots", ())
            if len(snapshots) > 1 and method == "add":
                refused.append("raised" in snapshots[1] and snapshots[1]["raised"]["type"] not in _SLIPS)
                earlier.append(name in known)
            elif len(snapshots) > 1:
                found |= "raised" not in snapshots[1]
            known |= {step[1] for step in case.args["steps"] if step[0] == "add"}
        is_kept = refused == earlier or found and all(refused)
        return KEPT_ON_THE_CLASS if any(refused) and is_kept else None

    def same(self, case, a, b):
        outputs = [
            [value for snapshot in seen.get("snapshots", ()) for value in (snapshot["out"], snapshot.get("gradients"))]
            for seen in (a, b)
        ]
        return _summary(a) == _summary(b) and all(
            agree(one, two) or (one is None and two is None) for one, two in zip(*outputs, strict=True)
        )


def in_words(step):
    """A step as a learner would write it."""
    name, *inputs = step
    if name == "fill":
        return f"random values into the adapter {inputs[0]!r}"
    if name == "learn":
        return "one step of an optimiser on layer.parameters()"
    if name in ("no_grad", "gradients"):
        return "a call under torch.no_grad()" if name == "no_grad" else "a backward pass"
    return f"layer.{name}({', '.join(repr(value) for value in inputs)})"


multi_lora_linear = MultiLoRALinearCheck()


def _first_fault(case, observation):
    double = {name: v.double() for name, v in case.args.items() if isinstance(v, torch.Tensor)}
    right = ExpectedLayer(double["weight"], double.get("bias"), double["x"])
    steps, snapshots = [["start"], *case.args["steps"]], observation["snapshots"]
    for i, step in enumerate(steps):
        if i == len(snapshots):
            break
        must_raise = right.apply(*step)
        after = "At the start: " if i == 0 else f"After {in_words(step)}: "
        if fault := _snapshot_fault(case, snapshots[i], right, step, must_raise, after):
            return fault
    if "unset" in observation:
        return Fault(f"Values could not be written into the adapter {observation['unset']!r}.")
    if len(snapshots) != len(steps):
        raise ValueError("a snapshot is missing")
    return None


def _snapshot_fault(case, snapshot, right, step, must_raise, after):
    if must_raise and "raised" not in snapshot:
        if step[0] == "add":
            is_as_before = snapshot["kept"] is True and not snapshot["moved"]
            return Fault(f"{after}no error was raised, but there is such an adapter already.", expected="an exception",
                         misconception=DOUBLED_IGNORED if is_as_before else OVERWRITES)  # fmt: skip
        return Fault(f"{after}no error was raised, but there is no such adapter.", expected="an exception",
                     misconception=LATE if "out_raised" in snapshot else UNKNOWN_ACCEPTED)  # fmt: skip
    if "raised" in snapshot and not must_raise:
        if is_untouched(snapshot["raised"]):
            return Fault(f"{step[0]} is not written yet.", hint="Every method of the class has a place for your code.")
        fault = raised_fault(in_words(step), snapshot["raised"])
        if step[0] == "learn" and not any(snapshot["adapters"][right.active]["trains"]):
            return replace(fault, hint="", misconception=FROZEN)
        return replace(fault, hint="", misconception=NONE_REFUSED) if step == ["activate", None] else fault
    return (
        _registered_fault(case, snapshot, right, step, must_raise, after)
        or _active_fault(snapshot, right, step, must_raise, after)
        or _values_fault(case, snapshot, right, step, must_raise, after)
        or _output_fault(case, snapshot, right, step, after)
        or _gradient_fault(case, snapshot, right, step, after)
    )


def _registered_fault(case, snapshot, right, step, must_raise, after):
    """The fault of the parameters that add() has registered, and of the base."""
    if snapshot["same"] is not True:
        return Fault(f"{after}layer.base_layer is not the nn.Linear that was passed in.")
    for name, trains in zip(("weight", "bias"), snapshot["trains"], strict=True):
        if trains:
            return Fault(f"{after}the base's {name} requires a gradient.", misconception=BASE_TRAINS)
    if step[0] == "add" and "raised" not in snapshot:
        name, rank, _ = step[1:]
        adapter = snapshot["adapters"][name]
        k, d = case.args["weight"].shape
        if adapter["count"] != 2:
            count_text = "no new parameter" if not adapter["count"] else f"{adapter['count']} new parameters"
            if adapter["count"] == 1:
                count_text = "one new parameter"
            return Fault(f"{after}there is {count_text}, and not two." if adapter["count"] < 2 else f"{after}there are {count_text}, and not two.",
                         misconception=NOT_REGISTERED if adapter["count"] == 0 else None,
                         hint="" if adapter["count"] == 0 else (
                             "Each adapter has its own A and B, and no other parameter."
                         ))  # fmt: skip
        if not adapter["fits"]:
            shapes = " and ".join(describe.shape(shape) for shape in adapter["shapes"])
            return Fault(
                f"{after}the new parameters have the shapes {shapes}.", expected=f"({d}, {rank}) and ({rank}, {k})"
            )
        return _initial_values_fault(snapshot, name, after)
    if snapshot["kept"] is not True:
        return Fault(f"{after}parameters that were there are missing, or are other objects.",
                     hint="An optimiser may still have the old ones. Make an adapter once, in add.",
                     misconception=REMADE if step[0] == "activate" else SET_TOO_EARLY if must_raise else None)  # fmt: skip
    return None


def _initial_values_fault(snapshot, name, after):
    values = {key: adapter["values"] for key, adapter in snapshot["adapters"].items() if adapter["fits"]}
    A, B = values[name]["A"], values[name]["B"]
    if not bool((B == 0).all()):
        if bool((A == 0).all()):
            hint = (
                "The matrix that x is multiplied by first is zero, and the other one is random. Which sizes did "
                "you give to each of the two?"
            )
            return Fault(f"{after}A is zero, and B is not.", hint=hint)
        return Fault(f"{after}B is not zero.", misconception=BOTH_RANDOM)
    if bool((A == A.flatten()[0]).all()):
        if bool((A == 0).all()):
            return Fault(
                f"{after}A is zero, as B is.", hint="With A zero as well, nothing would ever learn: see lesson 04."
            )
        hint = "With equal entries, all directions learn the same. Draw the entries at random."
        return Fault(f"{after}A is not random: all its entries are the same.", hint=hint)
    if fault := random_fault(how_filled(A, centred=False), A.double(), "A"):
        return replace(fault, problem=f"{after}{fault.problem.removeprefix('At the start ')}")
    for other_name, matrices in values.items():
        if other_name != name:
            size = min(A.numel(), matrices["A"].numel())
            if bool((matrices["A"].flatten()[:size] == A.flatten()[:size]).sum() > size / 2):
                return Fault(f"{after}its A has the same values as the A of {other_name!r}.", misconception=SAME_VALUES)
    return None


def _active_fault(snapshot, right, step, must_raise, after):
    if snapshot["active"] != right.active:
        values_in_words = describe.contents(snapshot["active"]), repr(right.active)
        cause = None
        if step[0] in ("add", "activate") and snapshot["active"] == step[1]:
            cause = ADD_ACTIVATES if step[0] == "add" else SET_TOO_EARLY
        return Fault(
            f"{after}layer.active is {values_in_words[0]}, but it should be {values_in_words[1]}.", misconception=cause
        )
    return None


def _values_fault(case, snapshot, right, step, must_raise, after):
    """The fault of values that should not have changed: always the base's, in most steps the adapters'."""
    is_float64 = step[0] == "double"
    for name, current, original in zip(
        ("weight", "bias"), snapshot["base"], (case.args["weight"], case.args["bias"]), strict=True
    ):
        if original is None:
            continue
        if not isinstance(current, torch.Tensor) or current.shape != original.shape:
            return Fault(f"{after}the base no longer has the {name} that it had.")
        is_same = same_bits(current, original) or agree(current, original, torch.float64)
        if not is_same or (current.dtype == original.dtype and not same_bits(current, original)):
            if right.evaluating and name == "weight":
                continue  # merged for as long as it evaluates: what comes out is compared, and train() must give it back
            cause = {"activate": MERGES, "train": MERGES, "learn": BASE_TRAINS}.get(step[0])
            return Fault(f"{after}the base's {name} has changed.", misconception=cause)
    if step[0] == "learn":
        if "raised" not in snapshot and right.active not in snapshot["learned"]:
            if right.active in snapshot["moved"]:
                return Fault(f"{after}only one of the two matrices of the active adapter has changed.",
                             hint="A and B both train while their adapter is active. Print requires_grad of each.")  # fmt: skip
            return Fault(f"{after}the active adapter has not changed.",
                         hint="Does a gradient reach its A and its B? Look for .data, .detach() or no_grad.")  # fmt: skip
        if other_names := [name for name in snapshot["moved"] if name != right.active]:
            return Fault(f"{after}the adapter {other_names[0]!r} has changed, although it is not active.")
    elif step[0] == "fill":
        if other_names := [name for name in snapshot["moved"] if name != step[1]]:
            hint = (
                "Each adapter learns its own change. nn.Parameter(tensor) copies nothing: which of your lines "
                "uses a tensor of another adapter?"
            )
            return Fault(f"{after}the adapter {other_names[0]!r} has other values, too.", hint=hint,
                         misconception=ADAPTER_SHARED.reworded(thought="An adapter can start from the tensors of another one.", hint=hint))  # fmt: skip
    elif not is_float64 and snapshot["moved"]:
        return Fault(f"{after}the values of the adapter {snapshot['moved'][0]!r} have changed.",
                     misconception=OVERWRITES if must_raise else None)  # fmt: skip
    if is_float64 and (
        narrow := [
            name for name, adapter in snapshot["adapters"].items() if set(adapter["dtypes"]) != {"torch.float64"}
        ]
    ):
        return Fault(f"After layer.double(): the adapter {narrow[0]!r} is not float64.", misconception=NOT_REGISTERED)
    return None


def _gradient_fault(case, snapshot, right, step, after):
    """The fault of wrong gradients of x, and of A and B of the active adapter where they train."""
    if step[0] != "gradients":
        return None
    trains = snapshot["adapters"][right.active]["trains"]
    names = ("x", "A", "B")
    found, wanted = snapshot.get("gradients") or [None] * 3, right.gradients(step[2])
    for name, gradient, expected in zip(names, found, wanted, strict=True):
        if name != "x" and gradient is None and not all(trains):
            continue  # it is frozen: asked for by a step of training
        if gradient is None or not agree(gradient, expected, case.args["x"].dtype):
            problem = f"no gradient reaches {name}" if gradient is None else f"the gradient of {name} is wrong"
            return Fault(
                f"{after}the output is right, but {problem}.",
                misconception=GRADIENT_TO_X_CUT if name == "x" else GRADIENT_CUT,
            )
    return None


def _output_fault(case, snapshot, right, step, after):
    expected = right.out()
    if expected is None:
        return None
    if "out_raised" in snapshot:
        return raised_fault(f"{after}layer(x)", snapshot["out_raised"])
    out = snapshot["out"]
    if not isinstance(out, torch.Tensor):
        return Fault(f"{after}layer(x) is not a tensor.", returned=describe.contents(out))
    if out.shape != expected.shape:
        return Fault(f"{after}layer(x) has shape {describe.shape(out.shape)}, not {describe.shape(expected.shape)}.")
    dtype = case.args[
        "weight"
    ].dtype  # after double() too: a scaling that was a tensor in float32 stays as exact as it was
    if agree(out, expected, dtype):
        return None
    difference = describe.largest_difference(out, expected)
    source = "the base alone" if right.active is None else f"the adapter {right.active!r}"
    problem = f"{after}layer(x) is not equal to {source}: {difference}."
    all_output = right.all_adapters_output()
    is_sum = all_output is not None and agree(out, all_output, dtype)
    cause = ALL_AT_ONCE if is_sum else None
    if right.active is not None and agree(out, right.base_output(), dtype):
        cause = WITH_GRADIENTS_ONLY if step[0] == "no_grad" else IN_TRAINING_ONLY if right.evaluating else None
    earlier = right.earlier_output() if step[0] == "eval" and right.active is not None else None
    if earlier is not None and agree(out, earlier, dtype):
        cause = MERGED_AT_EVAL
    return Fault(problem, tensors=(out, expected), misconception=cause)


def _summary(observation):
    if "snapshots" not in observation:
        return sorted(observation)
    return [_snapshot_summary(snapshot) for snapshot in observation["snapshots"]], observation.get("unset")


def _initial_values(adapter, snapshot):
    """Facts about random initial values: whether A is constant, A or B is zero, and how many adapters have this A."""
    if not adapter["fits"]:
        return ()
    A, B = adapter["values"]["A"], adapter["values"]["B"]
    all_A = [other_adapter["values"].get("A") for other_adapter in snapshot["adapters"].values()]
    equal_count = sum(
        other_A is not None and other_A.shape == A.shape and bool((other_A == A).all()) for other_A in all_A
    )
    return bool((A == A.flatten()[0]).all()), bool((A == 0).all()), bool((B == 0).all()), equal_count


def _snapshot_summary(snapshot):
    adapters = sorted(
        (name, adapter["count"], adapter["fits"], *_initial_values(adapter, snapshot))
        for name, adapter in snapshot["adapters"].items()
    )
    base = [
        round(part.double().sum().item(), 4) if isinstance(part, torch.Tensor) else None for part in snapshot["base"]
    ]
    changes = sorted(snapshot["moved"]), sorted(snapshot["learned"])
    active = snapshot["adapters"].get(snapshot["active"]) if isinstance(snapshot["active"], str) else None
    base_facts = snapshot["kept"], changes, snapshot["same"], snapshot["trains"], base
    return (
        snapshot.get("raised", {}).get("type"),
        snapshot["active"],
        adapters,
        base_facts,
        "out_raised" in snapshot,
        active and active["trains"],
    )


ACTIVE = "if self.active is None:\n            return out\n        name = self.active\n        return out + "
DELTA = "self.scaling[name] * ((x @ self.lora_A[name]) @ self.lora_B[name])"
UNKNOWN = 'if name is not None and name not in self.scaling:\n            raise KeyError(f"there is no adapter {name!r}")\n        '
DOUBLED = 'if name in self.scaling:\n            raise ValueError(f"there is an adapter {name!r} already")\n        '
A_START = "nn.Parameter(torch.randn(d, rank, dtype=weight.dtype, device=weight.device) / d**0.5)"

answer.slip(
    NOT_REGISTERED, "self.lora_A = nn.ParameterDict()", "self.lora_A = {}", "self.lora_B = nn.ParameterDict()", "self.lora_B = {}",
)  # fmt: skip
answer.slip(
    BASE_TRAINS, "        self.base_layer.requires_grad_(False)\n", "",
)  # fmt: skip
answer.slip(
    "bias_trains", "self.base_layer.requires_grad_(False)", "self.base_layer.weight.requires_grad_(False)",
    thought="The base is its weight.",
    hint="Print name and requires_grad for all of layer.base_layer.named_parameters().",
)  # fmt: skip
answer.slip(
    "shared_A", f"self.lora_A[name] = {A_START}",
    f"self.lora_A[name] = next(iter(self.lora_A.values()), None)\n        if self.lora_A[name] is None:\n            self.lora_A[name] = {A_START}",
    thought="A is random anyway, so all adapters can share one A.",
    hint="A is trained, too. What happens to the first adapter while the second one learns?",
)  # fmt: skip
answer.slip(
    SAME_VALUES, f"self.lora_A[name] = {A_START}", f"torch.manual_seed(0)\n        self.lora_A[name] = {A_START}",
)  # fmt: skip
answer.slip(
    ALL_AT_ONCE, ACTIVE + DELTA,
    "if self.active is None:\n            return out\n        for name in self.scaling:\n            out = out + " + DELTA + "\n        return out",
)  # fmt: skip
answer.slip(
    "none_keeps_the_last", UNKNOWN + "self.active = name", "if name is not None:\n            "
    'if name not in self.scaling:\n                raise KeyError(f"there is no adapter {name!r}")\n            self.active = name',
    thought="None means that nothing should change.",
    hint="None means the base alone. What is active after activate(None)?",
)  # fmt: skip
answer.slip(LATE, UNKNOWN, "")
answer.slip(OVERWRITES, DOUBLED, "")
answer.slip(
    ADD_ACTIVATES, "self.scaling[name] = alpha / rank", "self.scaling[name] = alpha / rank\n        self.active = name",
)  # fmt: skip
answer.slip(
    "scaling_of_the_last", "self.scaling = {}", "self.scaling, self.s = {}, None",
    "self.scaling[name] = alpha / rank", "self.scaling[name] = self.s = alpha / rank",
    "self.scaling[name] * (", "self.s * (",
    thought="The layer has one scaling.",
    hint="Each adapter has its own rank and alpha. What happens to the scaling of the first when you add the "
        "second?",
)  # fmt: skip
answer.slip(
    ALPHA_NOT_DIVIDED, "= alpha / rank", "= alpha",
    hint="Two adapters have the same alpha and different ranks: whose update is larger? Lesson 04 says"
        " what alpha is divided by.",
)  # fmt: skip
answer.slip(
    "alpha_floored", "= alpha / rank", "= alpha // rank",
    thought="alpha and rank are whole numbers, so their ratio is one.",
    hint="`//` drops the fractional part. What is the scaling at rank=4 and alpha=1?",
)  # fmt: skip
answer.slip(
    "turned_over", "= alpha / rank", "= rank / alpha",
    thought="alpha and rank are divided, in either order.",
    hint="With twice the alpha an adapter adds twice as much. Does yours?",
)  # fmt: skip
answer.slip(
    SCALING_FORGOTTEN, "self.scaling[name] * (", "(",
    hint="Which argument of add does forward never use?",
)  # fmt: skip
answer.slip(
    "active_ignored", ACTIVE, "if not self.scaling:\n            return out\n        name = list(self.scaling)[-1]\n        return out + ",
    thought="The adapter that was added last is the one in use.",
    hint="Which line of forward looks at self.active?",
)  # fmt: skip
answer.slip(
    REMADE, "self.active = name\n", "self.active = name\n        if name is not None:\n"
    "            k, d = self.base_layer.weight.shape\n            r = self.lora_A[name].shape[1]\n"
    "            self.lora_A[name] = nn.Parameter(torch.randn(d, r, dtype=self.base_layer.weight.dtype) / d**0.5)\n"
    "            self.lora_B[name] = nn.Parameter(torch.zeros(r, k, dtype=self.base_layer.weight.dtype))\n",
)  # fmt: skip
answer.slip(
    BOTH_ZERO, "torch.randn(d, rank, dtype=weight.dtype, device=weight.device) / d**0.5",
    "torch.zeros(d, rank, dtype=weight.dtype, device=weight.device)",
    thought="A new adapter changes nothing, so it starts at zero.",
    hint="With both zero both gradients are zero. Which of the two may be zero, and what must the other be?",
)  # fmt: skip
answer.slip(
    BOTH_RANDOM, "torch.zeros(rank, k, dtype=weight.dtype, device=weight.device)",
    "torch.randn(rank, k, dtype=weight.dtype, device=weight.device)",
)  # fmt: skip
answer.slip(
    GRADIENT_CUT, "self.lora_A[name]) @ self.lora_B[name]", "self.lora_A[name].data) @ self.lora_B[name].data",
    hint="Look in forward for .data or .detach(): each cuts the gradient.",
)  # fmt: skip
answer.slip(
    UNKNOWN_ACCEPTED, UNKNOWN, "", "if self.active is None:", "if self.active not in self.scaling:",
)  # fmt: skip
answer.slip(
    "base_forgotten", "return out + self", "return self",
    thought="While an adapter is active, it computes the output alone.",
    hint="It adds to the output of the base. Where is the base's output in the last line of your forward?",
)  # fmt: skip
answer.slip(NONE_REFUSED, "name is not None and name not in self.scaling", "name not in self.scaling")
