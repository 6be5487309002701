"""lora_linear_init: A random, B zero, both registered, read from the parameters of new layers."""

import torch

from autograde.checks.shared.families import BOTH_RANDOM, BOTH_ZERO, CONSTANT_A
from autograde.checks.shared.lora_layers import (
    ADAPTERS,
    LORA_LINEAR,
    LayerCheck,
    adapter_fault,
    bias_fault,
    layer_case,
)
from autograde.judge.answer import RightAnswer
from autograde.judge.compare import Fault, agree
from autograde.judge.describe import contents, number, shape
from autograde.probes.lora_linear import start
from autograde.remote.wire import WireError

SENSIBLE_STD = (1e-5, 10.0)  # any usual initialisation lies far inside; this refuses only slips
ENOUGH_FOR_A_CENTRE, ENOUGH_FOR_A_SPREAD = 90, 12  # entries; with fewer, random ones would be refused now and then
UNSET_STD = (1e-12, 1e6)  # beyond these nobody has chosen the numbers: they were in memory

answer = RightAnswer(LORA_LINEAR)


class LoraLinearInit(LayerCheck):
    """Looks at the adapters of two new layers. How forward uses them is judged by lora_linear_forward."""

    name = "lora_linear_init"
    points = 2
    subject = "LoRALinear"
    note = "A from randn, normal_ or a Kaiming initialisation with fan-in d, of any sensible width."
    next_step = (
        "Make two layers in a cell, and print lora_A and lora_B of both: their types, their shapes and their numbers."
    )
    answer = answer

    def cases(self, draw):
        return [
            layer_case(draw, None, "", sizes=(48, 37, 5)),
            layer_case(draw, None, "no bias", sizes=(32, 43, 3), bias=False),
            layer_case(draw, None, "rank and alpha left at their defaults", sizes=(40, 27, 4), options={}),
        ]

    def observe(self, target, case):
        return start(target, **case.args)

    def same(self, case, a, b):
        return features(case, a) == features(case, b)

    def fault(self, case, observation):
        if "held" not in observation and (fault := self.broken(case, observation)):
            return fault
        states = observation["held"]
        if fault := adapter_fault(case, states):
            return fault
        for name in ADAPTERS:
            if not states[name]["registered"]:
                return unregistered(name)
        A, B, other_A = states["lora_A"]["values"], states["lora_B"]["values"], observation["other_A"]
        for values, like in ((A, "lora_A"), (B, "lora_B"), (other_A, "lora_A")):
            if isinstance(values, torch.Tensor) and list(values.shape) != states[like]["shape"]:
                raise WireError("values that are not of the shape that was noted")
        if isinstance(A, torch.Tensor) and not isinstance(other_A, torch.Tensor):
            raise WireError("no values of a second layer")
        return _start_fault(A, B, observation) or bias_fault([name for name in ADAPTERS if states[name].get("bias")])


lora_linear_init = LoraLinearInit()


def how_filled(values, centred=True):
    """How a matrix was filled.

    Args:
        values: the matrix.
        centred: whether its entries must lie around zero; if not, only entries that are nearly equal are off_centre. Whether
            they do is not asked of a small matrix, in which chance decides.

    Returns:
        not real, zero, constant, wild (nobody has filled it), repeated (columns that depend on each other), one_sided (no negative
        entries, or no positive ones), off_centre, narrow, wide, or random.
    """
    if not isinstance(values, torch.Tensor):
        return "not real"
    values = values.double()
    if not torch.isfinite(values).all():
        return "wild"
    if not values.any():
        return "zero"
    spread = values.std().item()
    if spread <= 1e-6 * values.abs().max().item():
        return "constant"
    if not UNSET_STD[0] < spread < UNSET_STD[1]:
        return "wild"
    # Independent draws give columns that depend on each other with probability zero.
    if torch.linalg.matrix_rank(values, rtol=1e-5) < min(values.shape):
        return "repeated"
    # The mean of n centred entries strays from 0 by about 1/sqrt(n) of their spread; 6 times that is no accident.
    farthest = 6 * spread / values.numel() ** 0.5 if centred else 6 * spread
    if abs(values.mean().item()) > farthest and values.numel() >= (
        ENOUGH_FOR_A_CENTRE if centred else ENOUGH_FOR_A_SPREAD
    ):
        return (
            "off_centre" if not centred else "one_sided" if (values >= 0).all() or (values <= 0).all() else "off_centre"
        )
    if spread <= SENSIBLE_STD[0]:
        return "narrow"
    return "random" if spread < SENSIBLE_STD[1] else "wide"


def features(case, observation):
    """What matters of an observation, whatever the random numbers were: the diagnosis compares this."""
    if "held" not in observation:
        raised = observation.get("raised", {})
        return (
            "raised",
            raised.get("type"),
            raised.get("message"),
            observation.get("type"),
            observation.get("not_callable"),
        )
    if adapter_fault(case, observation["held"]):
        held = [observation["held"][name] for name in ADAPTERS]
        shapes = (shape(each["shape"]) if "shape" in each else each["type"] for each in held)
        return ("held", *shapes, bool(observation["held"].get("others")), bool(observation["held"].get("listed")))
    states = [observation["held"][name] for name in ADAPTERS]
    kinds = [how_filled(state["values"]) for state in states]
    if kinds[1] not in ("zero", "constant", "wild"):
        kinds[1] = "random"  # in B no width and no centre is right
    if kinds[0] not in ("zero", "constant") and same_start(observation):
        by_seed = observation["reset"] or observation["generator"]
        kinds[0] = "the same by its own seed" if by_seed else "the same"
    return (*kinds, *(state["registered"] or (state["type"], state["leaf"]) for state in states))


def same_start(observation):
    """Whether two layers made one after the other got the same A."""
    return agree(observation["held"]["lora_A"]["values"], observation["other_A"])


def unregistered(name):
    """The fault of an adapter that is a tensor attribute of the layer and not a parameter."""
    hint = "An optimiser sees only parameters: assign an nn.Parameter, or a module, to the layer itself."
    return Fault(f"{name} is not among the layer's parameters.", hint=hint)


def _start_fault(A, B, observation):
    """What is wrong with the numbers in A and B; None where nothing is."""
    for name, values in zip(ADAPTERS, (A, B), strict=True):
        if not isinstance(values, torch.Tensor):
            return Fault(
                f"{name} is not an ordinary tensor of real numbers.",
                contents(values),
                "a tensor like the base's weight",
            )
    if how_filled(B) != "zero":
        return Fault(
            "At the start lora_B is not zero, so the layer does not start as its base. "
            f"Its largest entry is {number(B.double().abs().max().item())}.",
            hint="However small it is, it is added to the base's output before a single step of training.",
        )
    kind, A = how_filled(A), A.double()
    if kind not in ("zero", "constant", "wild") and same_start(observation):
        return Fault(
            "Two layers made one after the other have the same lora_A.",
            hint="Each layer must draw its own. A fixed pattern gives the same numbers every time, and so do "
            "numbers that are kept outside the layer, or a seed that the layer sets itself.",
        )
    return random_fault(kind, A)


def random_fault(kind, A, name="lora_A"):
    """The fault of a matrix that was not filled at random, by its `how_filled`; None where it was."""
    if kind == "random":
        return None
    problems = {"one_sided": "not around zero", "off_centre": "not around zero", "constant": "the same number everywhere",
             "narrow": "too close to zero", "wide": "too large", "wild": "not initialised"}  # fmt: skip
    width = f"Its standard deviation is {number(A.std().item())}, far from that of any usual initialisation."
    hints = {
        "off_centre": f"The mean of its entries is {number(A.mean().item())}.",
        "repeated": "Each column is one direction that the update can take. Draw every entry on its own.",
        "wild": f"{width} torch.empty leaves what was in memory, and a factor may be far too large or too small.",
        "narrow": width,
        "wide": width,
    }
    return Fault(
        f"The columns of {name} are copies or multiples of each other, or zero; each must be random on its own."
        if kind == "repeated"
        else f"At the start {name} is {problems.get(kind, kind)}; it must be random around zero.",
        hint=hints.get(kind, ""),
    )


answer.slip(
    BOTH_ZERO,
    "torch.randn",
    "torch.zeros",
)

both_random = answer.slip(
    BOTH_RANDOM,
    "torch.zeros(rank",
    "torch.randn(rank",
)


def _kinds_of_tensors(case, observation):
    """Of A and B, if their shapes are right, whether each is registered, a leaf, and a tensor that is no Parameter."""
    held = observation.get("held")
    if held is None or adapter_fault(case, held):
        return []
    states = [held[name] for name in ADAPTERS]
    return [(state["registered"], state["leaf"], state["type"] == "torch.Tensor") for state in states]


answer.slip(
    "zero_and_random_swapped",
    "torch.randn",
    "torch.zeros",
    "torch.zeros(rank",
    "0.02 * torch.randn(rank",
    thought="One of the two must be zero, and either will do.",
    hint="The start is the same, and it trains; but the course, the paper and later studies put the zeros on the other "
    "matrix (A random with B zero does better on average and allows larger learning rates: arXiv 2406.08447).",
)

answer.slip(
    "wrapped_too_early",
    "rank, **like))",
    "rank, **like)) / base_layer.in_features**0.5",
    thought="The result of an operation on an nn.Parameter is an nn.Parameter.",
    hint="Dividing, multiplying or moving an nn.Parameter gives a plain tensor. Which of your steps must be the last one?",
    recognise=lambda case, observation: any(
        not registered and not leaf for registered, leaf, _ in _kinds_of_tensors(case, observation)
    ),
)

answer.slip(
    "plain_tensors",
    "nn.Parameter(torch.randn(base_layer.in_features, rank, **like))",
    "torch.randn(base_layer.in_features, rank, **like, requires_grad=True)",
    "nn.Parameter(torch.zeros(rank, base_layer.out_features, **like))",
    "torch.zeros(rank, base_layer.out_features, **like, requires_grad=True)",
    thought="A tensor that is an attribute of the layer is one of its parameters.",
    hint="Print list(layer.parameters()). Which kind of tensor does a module register?",
    recognise=lambda case, observation: (False, True, True) in _kinds_of_tensors(case, observation),
)

answer.slip(
    "hidden_in_a_list",
    "self.lora_A = ",
    "a = ",
    "self.lora_B = ",
    "b = ",
    "\n\n    def forward(self, x):",
    "\n        self.adapters = [a, b]\n\n    def forward(self, x):",
    "(x @ self.lora_A) @ self.lora_B",
    "(x @ self.adapters[0]) @ self.adapters[1]",
    thought="Parameters in a plain list belong to the layer that holds the list.",
    hint="Print list(layer.parameters()). A module looks at its attributes, not inside a Python list or dict.",
)

constant = answer.slip(
    CONSTANT_A,
    "torch.randn(base_layer",
    "torch.ones(base_layer",
)

one_sided = answer.slip(
    "rand_for_randn",
    "torch.randn(base_layer",
    "torch.rand(base_layer",
    thought="Random is random, so numbers of one sign will do.",
    hint="torch.rand gives no negative numbers, nor does torch.randint from 0. Which function draws from a Gaussian around zero?",
)

seeded = answer.slip(
    "seeded_inside",
    "super().__init__()",
    "super().__init__()\n        torch.manual_seed(0)",
    thought="A seed in the constructor makes the layer reproducible.",
    hint="A seed inside the layer gives every layer the same A, and resets the random numbers of all other code. "
    "Set it once, outside, where the experiment begins.",
)

answer.slip(
    "left_uninitialised",
    "torch.randn(base_layer.in_features, rank, **like)",
    'torch.full((base_layer.in_features, rank), float("nan"), **like)',
    thought="torch.empty makes a matrix, and training will fill it.",
    hint="torch.empty and nn.Parameter(torch.Tensor(...)) contain whatever was in memory. Fill A and B yourself.",
    recognise=lambda case, observation: (
        any(registered and leaf for registered, leaf, _ in _kinds_of_tensors(case, observation)[:1])
        and how_filled(observation["held"]["lora_A"]["values"]) == "wild"
    ),
)

for slip in (constant, one_sided, seeded):
    answer.both(both_random, slip)
