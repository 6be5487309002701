"""adapter_parameters: lora_A and lora_B of every LoRALinear, and nothing else."""

import itertools

from autograde.checks.fine_tuning.given import FLAT, LAYER, NESTED, adapters, fresh_state, linears, made
from autograde.judge import describe
from autograde.judge.answer import RightAnswer
from autograde.judge.check import Case, Check
from autograde.judge.compare import Fault
from autograde.judge.misconception import KEPT_BETWEEN_CALLS, RETURNED_NONE, Misconception
from autograde.probes.fine_tuning import collected
from autograde.remote.facts import same_bits

ALL_THAT_TRAIN = Misconception(
    "all_that_train",
    thought="Whatever requires a gradient is an adapter.",
    hint="In this model a norm requires a gradient as well. Find the layers that have adapters, and take the "
    "parameters from those.",
)
ALL_PARAMETERS = Misconception(
    "all_parameters",
    thought="The optimiser does not change frozen parameters.",
    hint="Look at model.named_parameters(): which of them are adapters? Return only those.",
)
COPIES = Misconception(
    "copies",
    thought="Only the values count.",
    hint="An optimiser changes the tensors that it is given. Are yours the tensors of the model?",
)
TWICE = Misconception(
    "twice",
    thought="A model is a tree, so each layer is visited once.",
    hint="A layer may be used at two places. An optimiser that gets a parameter twice warns, and updates it twice.",
)
ONE_OF_TWO = Misconception(
    "one_of_two",
    thought="The other matrix stays as it is.",
    hint="Both matrices of each layer learn. Count what your function returns, and compare with the number of layers.",
)
FIRST_LAYER = Misconception(
    "first_layer_alone",
    thought="return gives the result and lets the loop go on.",
    hint="Your function returned the two Parameters of the first layer. In which round of the loop does it end?",
)
TOP_LEVEL_ONLY = Misconception(
    "top_level_only",
    thought="A model's layers are its children.",
    hint="Children have children. Which method gives the modules at every depth?",
)
NAMES_TOO = Misconception(
    "names_too",
    thought="An optimiser takes parameters with their names.",
    hint="named_parameters() gives pairs. Return the Parameters alone.",
)

NESTED_LIST = Misconception(
    "nested_list",
    thought="append adds both parts of a pair to a list.",
    hint="Print the length of your list and the type of its first entry. How can you add the two parts of a pair "
    "one by one?",
)
ADAPTER_FROZEN = Misconception(
    "adapter_frozen",
    thought="model.requires_grad_(False) freezes the base and leaves the adapters alone.",
    hint="It freezes every parameter of the model, and lora_A and lora_B are among them: an optimiser could not train them. "
    "Either freeze nothing here, or let the adapters train again afterwards.",
)

answer = RightAnswer("""
from lora_ref.layer import LoRALinear


def adapter_parameters(model):
    found = []
    for module in model.modules():
        if isinstance(module, LoRALinear):
            found += [module.lora_A, module.lora_B]
    return found
""")


class AdapterParameters(Check):
    """Compares what came back with the model's own adapters, by identity."""

    name = "adapter_parameters"
    answer = answer
    points = 1
    note = "a list, a set or a generator; by class, or by the last part of a parameter's name."
    next_step = "Print the names of what your function returns: which of model.named_parameters() are they?"

    def cases(self, draw):
        everywhere = list(linears(NESTED))
        return [
            self._case(draw, FLAT, ["0", "2"], "a flat model"),
            self._case(draw, NESTED, everywhere, "a nested model, whose norms require a gradient"),
            self._case(draw, NESTED, everywhere, "one LoRALinear at two places", twice=["blocks.0.up", "again"]),
            self._case(draw, NESTED, ["first.0", "blocks.1.down"], "two LoRALinears among plain layers that train"),
        ]

    def _case(self, draw, source, paths, label, twice=()):
        existing = adapters(draw, source, paths, rank=2)
        args = {"source": source, "state": fresh_state(draw, source), "layer": LAYER}
        args |= {"adapted": [[path, 2, 3, *pair] for path, pair in existing.items()], "twice": list(twice)}
        return Case(args, label)

    def make_cases(self, draw, remote=False):
        """The cases, on the CPU only: the device does not matter for this exercise."""
        return self.cases(draw)

    def called(self, case):
        """The call, and where the adapters are."""
        return f"adapter_parameters(model)  # {case.label}\n  LoRALinears at {', '.join(path for path, *_ in case.args['adapted'])}"

    def observe(self, target, case):
        """Ask for the adapters of the case's model."""
        return collected(target, **case.args)

    def fault(self, case, observation):
        """What is wrong with the returned parameters."""
        if fault := self.failed_call(observation):
            return fault
        if observation["type"] == "NoneType":
            return Fault("The call returned None.", misconception=RETURNED_NONE)
        if "items" not in observation:
            return Fault(f"The result is not iterable: {describe.clean(str(observation['type']), 80)}.")
        expected = _adapter_names(case)
        if unexpected := next((item for item in observation["items"] if "name" not in item), None):
            return _unexpected_item(unexpected)
        names = [item["name"] for item in observation["items"]]
        return (
            _extra_parameters(case, names, expected)
            or _missing_parameters(names, expected)
            or _repeated_parameters(names)
            or _frozen_parameters(observation["frozen"], expected)
            or _unmarked(case, observation["marked"], expected)
        )

    def keeps(self, cases, observations, failed):
        """Whether all answers but the first hold Parameters of other models, the model's own beside them or not. The first is
        right, or the function has been called before: then it adds to what is there, call by call.
        """
        foreign = [any(item.get("foreign") is True for item in seen.get("items", ())) for seen in observations]
        lengths = [seen.get("length") for seen in observations]
        grows = foreign[0] and None not in lengths and all(one < two for one, two in itertools.pairwise(lengths))
        return all(foreign[1:]) and (0 not in failed or grows)

    def cause_in_all(self, cases, observations):
        """`TOP_LEVEL_ONLY` if what is missing are the adapters of all layers that are no children of the model, and no others."""
        nested = []
        for case, observation in zip(cases, observations, strict=True):
            found = {item.get("name") for item in observation.get("items", ())}
            missing = set(_adapter_names(case)) - found
            top_level = {name for name in _adapter_names(case) if name.count(".") == 1}
            if missing & top_level or not found <= set(_adapter_names(case)):
                return None
            nested.append(bool(missing))
        return TOP_LEVEL_ONLY if any(nested) and not nested[0] else None

    def same(self, case, a, b):
        """Whether two answers hold the same items, in any order, and have frozen the same of them."""
        if "items" not in a or "items" not in b:
            return super().same(case, a, b)
        return sorted(map(str, a["items"])) == sorted(map(str, b["items"])) and a["frozen"] == b["frozen"]


def _adapter_names(case):
    return [f"{path}.{name}" for path, *_ in case.args["adapted"] for name in ("lora_A", "lora_B")]


def _unexpected_item(item):
    if "copy" in item:
        name = describe.clean(str(item["copy"]), 60)
        return Fault(
            f"The result has a tensor with the values of {name}, not that Parameter itself.", misconception=COPIES
        )
    kind = describe.clean(str(item["other"]), 60)
    if item["foreign"] is True:
        return Fault(
            "The result has a Parameter that is not in this model.",
            hint="Does your function make new Parameters, or does its list still hold those of an earlier call?",
        )
    return Fault(
        f"The result has a {kind}, not only Parameters of the model.",
        misconception=NAMES_TOO if item["text"] is True else NESTED_LIST if item["parameters"] is True else None,
    )


def _unmarked(case, marked, expected):
    """The fault of parameters that do not hold what was written into what came back; None where each adapter holds a number of
    its own, and everything else what it held."""
    numbers = [float(marked[name].flatten()[0]) for name in expected]
    is_filled = all(bool((marked[name] == number).all()) for name, number in zip(expected, numbers, strict=True))
    is_kept = all(same_bits(marked[_now_at(case, name)], value) for name, value in case.args["state"].items())
    if is_filled and is_kept and sorted(numbers) == list(range(1, len(expected) + 1)):
        return None
    return Fault("Values written into the returned parameters do not appear in the model's adapters.")


def _now_at(case, name):
    """The name that a parameter has once LoRALinears stand in its model."""
    path, _, last = name.rpartition(".")
    return f"{path}.base_layer.{last}" if path in [path for path, *_ in case.args["adapted"]] else name


def _extra_parameters(case, names, expected):
    unexpected = [name for name in names if name not in expected]
    if unexpected:
        trained = {name for name in made(case.args["source"]).state_dict() if not _frozen(case, name)}
        cause = ALL_THAT_TRAIN if set(unexpected) <= trained else ALL_PARAMETERS
        listed = describe.clean(", ".join(map(str, unexpected[:3])), 120)
        return Fault(f"The result has parameters that are not adapters: {listed}.", misconception=cause)
    return None


def _repeated_parameters(names):
    repeated = [name for name in dict.fromkeys(names) if names.count(name) > 1]
    if repeated:
        return Fault(
            f"{describe.clean(str(repeated[0]), 60)} is there {names.count(repeated[0])} times.", misconception=TWICE
        )
    return None


def _frozen_parameters(frozen, expected):
    """The fault of adapters that trained before the call and do not now. What else the call freezes is up to it."""
    if not frozen:
        return None
    return Fault(
        f"{len(frozen)} of the {len(expected)} adapter Parameters {'requires' if len(frozen) == 1 else 'require'} no gradient "
        f"any more, the first of them {describe.clean(str(frozen[0]), 60)}.",
        hint="Before the call all of them did, and without it an optimiser cannot train them. Which of your lines "
        "sets requires_grad, and for which parameters?",
        misconception=ADAPTER_FROZEN if len(frozen) == len(expected) else None,
    )


def _frozen(case, name):
    return any(name.startswith(f"{path}.") for path, *_ in case.args["adapted"])


def _missing_parameters(names, expected):
    missing = [name for name in expected if name not in names]
    if not missing:
        return None
    ends = {name.rpartition(".")[2] for name in missing}
    cause = ONE_OF_TWO if len(ends) == 1 and len(missing) * 2 == len(expected) else None
    cause = FIRST_LAYER if missing == expected[2:] else cause
    return Fault(
        f"Of {len(expected)} adapter Parameters, {len(missing)} {'is' if len(missing) == 1 else 'are'} missing, the first of "
        f"them {missing[0]}.",
        misconception=cause,
    )


adapter_parameters = AdapterParameters()

answer.slip(ONE_OF_TWO, "[module.lora_A, module.lora_B]", "[module.lora_B]")
answer.slip(NESTED_LIST, "found += [", "found.append([", "module.lora_B]", "module.lora_B])")
answer.slip(
    KEPT_BETWEEN_CALLS,
    "adapter_parameters(model):\n    found = []",
    "adapter_parameters(model, found=[]):",
)
answer.slip(COPIES, "[module.lora_A, module.lora_B]", "[module.lora_A.data, module.lora_B.data]")
answer.slip(ALL_PARAMETERS, "[module.lora_A, module.lora_B]", "module.parameters()")
answer.slip(TOP_LEVEL_ONLY, "model.modules()", "model.children()")
answer.slip(ADAPTER_FROZEN, "    found = []\n", "    model.requires_grad_(False)\n    found = []\n")
answer.slip(FIRST_LAYER, "    return found", "            return found")
answer.slip(TWICE, "for module in model.modules():", "for _, module in model.named_modules(remove_duplicate=False):")


@adapter_parameters.misconception(ALL_THAT_TRAIN)
def all_that_train(model):
    return [parameter for parameter in model.parameters() if parameter.requires_grad]


@adapter_parameters.misconception(ALL_PARAMETERS)
def all_parameters(model):
    return list(model.parameters())


@adapter_parameters.misconception(NAMES_TOO)
def names_too(model):
    return [pair for pair in model.named_parameters() if "lora_A" in pair[0] or "lora_B" in pair[0]]
