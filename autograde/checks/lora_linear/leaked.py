"""leaked_parameters: which parameters train and should not."""

from dataclasses import replace
from itertools import accumulate, pairwise

from autograde.checks.shared.draws import layer_sizes
from autograde.judge.check import Case, Check, Wrong
from autograde.judge.describe import clean, contents
from autograde.probes.lora_linear import names_of

# Layers that hold what a textbook's hold, sent as text: what they freeze is set by `frozen`. They can be called, and every
# parameter has a part in what comes back, for an answer that looks for gradients; but how they start and what they compute
# answers no other question.
PARAMETERS = """
class Layer(nn.Module):
    def __init__(self, d, k, r, bias, frozen):
        super().__init__()
        self.base_layer = nn.Linear(d, k, bias=bias)
        self.lora_A = nn.Parameter(torch.full((d, r), 0.5))
        self.lora_B = nn.Parameter(torch.full((r, k), 0.5))
        self.scaling = 2.0
        for name, parameter in self.base_layer.named_parameters():
            parameter.requires_grad = name not in frozen

    def forward(self, x):
        return self.base_layer(x) + self.lora_A.mean() + self.lora_B.mean()
"""
LINEARS = """
class Layer(nn.Module):
    def __init__(self, d, k, r, bias, frozen):
        super().__init__()
        self.lora_A = nn.Linear(d, r, bias=False)
        self.lora_B = nn.Linear(r, k, bias=False)
        self.base_layer = nn.Linear(d, k, bias=bias)
        self.scaling = 2.0
        for name, parameter in self.base_layer.named_parameters():
            parameter.requires_grad = name not in frozen

    def forward(self, x):
        return self.base_layer(x) + self.lora_A.weight.mean() + self.lora_B.weight.mean()
"""


class LeakedParameters(Check):
    """Compares sets of names."""

    name = "leaked_parameters"
    points = 2
    note = "A list, a tuple or a set, in any order, from named_parameters or built by hand."
    next_step = (
        "Print name and requires_grad of everything in the lesson's textbook.named_parameters(), and say for each "
        "whether it belongs in the list. Which lines of your function decide that?"
    )

    def cases(self, draw):
        def case(source, bias, frozen, label):
            d, k, r = layer_sizes(draw)
            return Case({"source": source, "options": {"d": d, "k": k, "r": r, "bias": bias, "frozen": frozen}}, label)

        cases = [
            case(PARAMETERS, True, ["weight"], "the base's weight is frozen and its bias is not"),
            case(PARAMETERS, True, ["weight", "bias"], "the base is frozen"),
            case(PARAMETERS, True, [], "nothing is frozen"),
            case(PARAMETERS, False, [], "nothing is frozen, and the base has no bias"),
            case(PARAMETERS, True, ["bias"], "the base's bias is frozen and its weight is not"),
            case(LINEARS, True, ["weight"], "the base's weight is frozen and its bias is not"),
            case(LINEARS, False, ["weight"], "the base is frozen, and has no bias"),
        ]
        return draw.shuffled(cases)  # there are few different answers: none shall be right by its place in the order

    def right(self, source, options):
        names = ["weight", "bias"] if options["bias"] else ["weight"]
        return sorted(f"base_layer.{name}" for name in names if name not in options["frozen"])

    def compared(self, value, case):
        if not _is_list_of_names(value):
            hint = _form_hint(value, self.expected(case))
            raise Wrong(
                "The result is not a collection of names.",
                returned=contents(value),
                expected="a list of str",
                hint=hint,
            )
        return sorted(set(value))

    def fault(self, case, observation):
        fault = super().fault(case, observation)
        value = observation.get("value")
        if not fault or not _is_list_of_names(value):
            return fault
        right = self.expected(case)
        missing = [name for name in right if name not in value]
        extra = [clean(name, 60) for name in sorted(set(value)) if name not in right]
        differences = [f"leaves out {', '.join(missing)}"] if missing else []
        differences += (
            [f"names {', '.join(extra[:4])}, which {'does' if len(extra) == 1 else 'do'} not leak"] if extra else []
        )
        return replace(fault, problem=f"The result {' and '.join(differences)}.", hint=_hint_for(value) or fault.hint)

    def keeps(self, cases, observations, failed):
        """Whether each call gave the names of all calls so far. Names that grow by the order of the cases alone are no sign of it.
        Where the function was called before, each list is the one before it with the names of its own case at the end.
        """
        names = [self.expected(case) for case in cases]
        so_far = list(accumulate(map(set, names), set.union))
        values = list(map(self.returned, observations))
        if super().keeps(cases, observations, failed) and all(map(_are_names_of, values, so_far)):
            return True
        if not all(map(_is_list_of_names, values)) or len(values[0]) <= len(names[0]):
            return False
        return all(two[: len(one)] == one and sorted(two[len(one) :]) == own
                   for (one, two), own in zip(pairwise(values), names[1:], strict=True))  # fmt: skip

    def observe(self, target, case):
        return names_of(target, **case.args)

    def called(self, case):
        options = case.args["options"]
        kind = "nn.Parameters" if case.args["source"] == PARAMETERS else "bias-free nn.Linears"
        label = f"  # {case.label}"
        return (
            f"leaked_parameters(layer){label}\n"
            f"  layer = a LoRALinear of {options['d']} to {options['k']} features, rank {options['r']}, "
            f"its adapters {kind}"
        )


leaked_parameters = LeakedParameters()


def _is_list_of_names(value):
    return isinstance(value, list) and all(isinstance(name, str) for name in value)


def _are_names_of(value, names):
    return _is_list_of_names(value) and set(value) == names


def _form_hint(value, right):
    """What to do about a result that is no collection of names, by its kind; empty where that gives no advice."""
    if value is None and not right:
        return "If nothing leaks, the list is empty. None is not a list."
    if value is None:
        return "Here the result is None. append() and sort() change a list and return None: what do you return, on every path?"
    if isinstance(value, str):
        return "Return a list with one entry for each name, not one string."
    if isinstance(value, list):
        return (
            "Each entry must be a name and nothing else. named_parameters() gives pairs: which part of a pair is "
            "the name?"
        )
    return ""


def _hint_for(names):
    """What to do about names that are not a parameter's; empty where that gives no advice."""
    if names and all(len(name) == 1 for name in names):
        return (
            "These are single letters: `names += name` and list(name) split a string into its letters. What adds "
            "it as one entry?"
        )
    if "base_layer" in names:
        return "base_layer is the name of a module. Loop over the parameters, which have longer names."
    return ""


@leaked_parameters.misconception(
    "all_that_train",
    thought="Every parameter that requires a gradient is a leak.",
    hint="The adapters are meant to train. Which of the names are theirs?",
)
def all_that_train(layer):
    return [name for name, parameter in layer.named_parameters() if parameter.requires_grad]


@leaked_parameters.misconception(
    "frozen_ones_reported",
    thought="A leak is a parameter that does not require a gradient.",
    hint="The base should be frozen, so a frozen parameter is no leak. Ask the opposite question.",
)
def frozen_ones_reported(layer):
    return [name for name, parameter in layer.named_parameters() if not parameter.requires_grad]


@leaked_parameters.misconception(
    "all_of_the_base",
    thought="Every parameter of the base is a leak.",
    hint="A frozen parameter leaks nothing. Ask each one whether it requires a gradient.",
)
def all_of_the_base(layer):
    return [name for name, _ in layer.named_parameters() if name.startswith("base_layer")]


@leaked_parameters.misconception(
    "bias_only",
    thought="The leak is always the bias.",
    hint="It is in the textbook's layer. Look at every parameter that does not belong to an adapter.",
)
def bias_only(layer):
    return [name for name, p in layer.named_parameters() if p.requires_grad and name.endswith("bias")]


@leaked_parameters.misconception(
    "first_leak_only",
    thought="The loop returns every name that leaks.",
    hint="return ends the function, and the loop with it. How many names can yours return?",
)
def first_leak_only(layer):
    for name, parameter in layer.named_parameters():
        if parameter.requires_grad and not name.startswith("lora_"):
            return [name]
    return []


@leaked_parameters.misconception(
    "counted",
    thought="The answer is how many numbers leak.",
    hint="A count shows that something leaks; only a name shows what. Return the names.",
)
def counted(layer):
    return sum(p.numel() for name, p in layer.named_parameters() if p.requires_grad and "lora" not in name)


@leaked_parameters.misconception(
    "names_without_path",
    thought="A parameter's name is its last part.",
    hint="In a model, many parameters are called weight. Use the names as layer.named_parameters() gives them.",
)
def names_without_path(layer):
    return [name for name, parameter in layer.base_layer.named_parameters() if parameter.requires_grad]


@leaked_parameters.misconception(
    "linears_reported",
    thought="An adapter is called exactly lora_A or lora_B.",
    hint="When an adapter is an nn.Linear, the name of its parameter is longer than that. Print the names of such "
    "a layer.",
)
def linears_reported(layer):
    return [n for n, p in layer.named_parameters() if p.requires_grad and n not in ("lora_A", "lora_B")]


@leaked_parameters.misconception(
    "adapters_reported",
    thought="Parameters that train are leaks, so the adapters are leaks.",
    hint="The adapters may train. Is your condition on the names reversed?",
)
def adapters_reported(layer):
    return [
        name for name, parameter in layer.named_parameters() if parameter.requires_grad and name.startswith("lora_")
    ]
