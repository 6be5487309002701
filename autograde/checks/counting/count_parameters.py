"""count_parameters: how many values of a module train, and how many it holds."""

import math
from dataclasses import dataclass, replace

import torch

from autograde.judge.answer import RightAnswer
from autograde.judge.check import Case, Check
from autograde.judge.compare import Fault, agree, fault_between
from autograde.judge.misconception import CHANGED_INPUT, KEPT_BETWEEN_CALLS, Misconception
from autograde.probes.counting import call_on_module


@dataclass(frozen=True)
class CountCase(Case):
    """A module as source text, and its parameter counts, which follow from the sizes in the text.

    Attributes:
        counts: ``(trainable, total)``; they stay here, only `args` are sent.
    """

    counts: tuple = ()


# By whether it is no more than values that have changed.
_CHANGES = {
    False: (
        "other parameters train than before",
        "requires_grad is an attribute that you read; requires_grad_(), with an underscore at its end, "
        "changes it. Which of them do you use?",
    ),
    True: (
        "its values, its gradients or its mode have changed",
        "Counting must not change anything. Look for a name ending in _, zero_grad(), eval(), half().",
    ),
}


def _adds_up(first, second, counts):
    """Whether the counts of a second call are those of the first one and the right ones on top of them."""
    if not any(counts) or not all(isinstance(pair, list) and len(pair) == 2 for pair in (first, second)):
        return False
    sums = [one + right for one, right in zip(first, counts, strict=True) if isinstance(one, int)]
    return second == sums


def _describe_wrong_counts(value, counts):
    """Say which of the two counts is wrong, in a sentence."""
    if not isinstance(value, list) or len(value) != 2:
        return "The result is not a pair of counts."
    is_right = [agree(count, expected) for count, expected in zip(value, counts, strict=True)]
    if not any(is_right):
        return "Both counts are wrong."
    return f"The count of {'all values' if is_right[0] else 'what trains'} is wrong."


answer = RightAnswer("""
def count_parameters(module):
    parameters = list(module.parameters())
    return sum(p.numel() for p in parameters if p.requires_grad), sum(p.numel() for p in parameters)
""")


class CountParameters(Check):
    """A check of a function that looks at a module; its cases are `CountCase`."""

    name = "count_parameters"
    answer = answer
    points = 2
    note = (
        "a tuple or a list; numel(), or the product of a shape; module.parameters(), or a walk of your own that "
        "remembers which parameters it has met."
    )
    next_step = (
        "Paste the module above into a cell of your own, and print name, shape and requires_grad of everything "
        "in module.named_parameters(). Then count by hand."
    )

    def cases(self, draw):
        r, *sizes = sorted(draw.sizes(4, low=2, high=11))
        d, k, m = (sizes[i] for i in draw.choice([(0, 1, 2), (1, 2, 0), (2, 0, 1), (1, 0, 2)]))

        def case(label, counts, *lines):
            return CountCase({"source": "\n".join(lines)}, label, counts=counts)

        return [
            case(
                "a frozen base, and an adapter beside it",
                (r * (d + k), r * (d + k) + d * k + k),
                "module = nn.Module()",
                f"module.base_layer = nn.Linear({d}, {k}).requires_grad_(False)",
                f"module.lora_A = nn.Parameter(torch.randn({d}, {r}))",
                f"module.lora_B = nn.Parameter(torch.zeros({r}, {k}))",
            ),
            case(
                "an adapter beside a base whose bias was left to train",
                (r * (d + k) + k, r * (d + k) + d * k + k),
                "module = nn.Module()",
                f"module.base_layer = nn.Linear({d}, {k})",
                "module.base_layer.weight.requires_grad = False",
                f"module.lora_A = nn.Parameter(torch.randn({d}, {r}))",
                f"module.lora_B = nn.Parameter(torch.zeros({r}, {k}))",
            ),
            case("one layer, all of it trains", (d * k + k, d * k + k), f"module = nn.Linear({d}, {k})"),
            case(
                "modules within modules, and a parameter of the outermost one",
                (d * k + k + m, d * k + k + m + k * r + r + 2 * r),
                f"inner = nn.Sequential(nn.ReLU(), nn.Sequential(nn.Linear({k}, {r}), nn.LayerNorm({r})))",
                f"module = nn.Sequential(nn.Linear({d}, {k}), inner.requires_grad_(False))",
                f"module.scale = nn.Parameter(torch.ones({m}))",
            ),
            case(
                "two layers share one weight",
                (k * d, k * d + k),
                f"module = nn.Sequential(nn.Embedding({k}, {d}), nn.Linear({d}, {k}))",
                "module[1].weight = module[0].weight",
                "module[1].bias.requires_grad = False",
            ),
            case(
                "two layers share one weight, and it is frozen",
                (2 * d, k * d + 2 * d),
                f"layers = [nn.Embedding({k}, {d}), nn.LayerNorm({d}), nn.Linear({d}, {k}, bias=False)]",
                "module = nn.ModuleDict(dict(zip(['embedding', 'norm', 'head'], layers)))",
                "module.head.weight = module.embedding.weight",
                "module.head.weight.requires_grad = False",
            ),
            case(
                "one parameter under two names",
                (d * r, d * r + k),
                "module = nn.Module()",
                f"module.down = nn.Parameter(torch.randn({d}, {r}))",
                "module.up = module.down",
                f"module.bias = nn.Parameter(torch.zeros({k}), requires_grad=False)",
            ),
            case(
                "one layer used twice",
                (d * d + d, d * d + d + d * k + k),
                f"layer = nn.Linear({d}, {d})",
                f"module = nn.Sequential(layer, nn.ReLU(), layer, nn.Linear({d}, {k}).requires_grad_(False))",
            ),
            case(
                "buffers: running means and a mask, which are no parameters",
                (3 * k, d * k + 3 * k),
                f"module = nn.Sequential(nn.Linear({d}, {k}), nn.BatchNorm1d({k}))",
                f"module.register_buffer('mask', torch.ones({r}, {m}))",
                "module[0].weight.requires_grad = False",
            ),
            case(
                "a list of parameters, one of them a single number, and a parameter without any",
                (m + 1, m + 1 + k * r),
                "module = nn.Module()",
                f"module.list = nn.ParameterList([torch.ones({m}), torch.ones({k}, {r}), torch.tensor(0.5)])",
                "module.list[1].requires_grad = False",
                f"module.empty = nn.Parameter(torch.ones(0, {d}))",
            ),
            case(
                "equal values in different parameters",
                (4 * d, 4 * d + 2 * k),
                f"norms = [nn.LayerNorm({d}), nn.LayerNorm({d}), nn.LayerNorm({k}).requires_grad_(False)]",
                "module = nn.Sequential(*norms)",
            ),
            case(
                "a frozen layer with an old gradient, and a layer that trains and has none yet",
                (k * m + m, k * m + m + d * k + k),
                f"module = nn.Sequential(nn.Linear({d}, {k}), nn.Linear({k}, {m}))",
                f"module[0](torch.ones(1, {d})).sum().backward()",
                "module[0].requires_grad_(False)",
            ),
            case(
                "a frozen adapter, and a head that trains",
                (r * k + k, r * k + k + d * r),
                f"adapter, head = nn.Linear({d}, {r}, bias=False), nn.Linear({r}, {k})",
                "module = nn.ModuleDict({'lora_A': adapter.requires_grad_(False), 'head': head})",
            ),
            case(
                "a transformer's layer with its attention frozen",
                (2 * 2 * d * k + k + 5 * 2 * d, 2 * 2 * d * k + k + 5 * 2 * d + 4 * (4 * d * d + 2 * d)),
                f"module = nn.TransformerEncoderLayer({2 * d}, nhead=2, dim_feedforward={k}, batch_first=True)",
                "module.self_attn.requires_grad_(False)",
            ),
            case(
                "a convolution, whose weight has four axes, and a frozen layer after it",
                (k * d * r * 2 + k, k * d * r * 2 + k + k * m + m),
                f"convolution = nn.Conv2d({d}, {k}, ({r}, 2))",
                f"module = nn.Sequential(convolution, nn.Flatten(), nn.Linear({k}, {m}).requires_grad_(False))",
            ),
            case("everything is frozen", (0, d * k + k), f"module = nn.Linear({d}, {k}).requires_grad_(False)"),
            case("no parameters at all", (0, 0), "module = nn.Sequential(nn.ReLU(), nn.Dropout(0.1))"),
        ]

    def observe(self, target, case):
        """Ask the learner's function about the module of a case."""
        return call_on_module(target, source=case.args["source"])

    def expected(self, case):
        """The counts that the case holds."""
        return case.counts

    def fault(self, case, observation):
        """What is wrong with one observation: a count, or a module that the call has changed."""
        if fault := self.failed_call(observation):
            return fault
        value = observation["value"]
        if isinstance(value, torch.Tensor) and value.shape == (2,):
            value = value.tolist()
        if fault := fault_between(value, observation["type"], case.counts):
            if _adds_up(value, observation["again"], case.counts):
                return replace(fault, misconception=KEPT_BETWEEN_CALLS)
            problem, shown = _describe_wrong_counts(value, case.counts), (fault.returned, fault.expected)
            if observation["changed"] and observation["changed"] != ["values"]:
                change, hint = _CHANGES[False]
                problem += f" The call also changed the module: {change}."
                return Fault(problem, *shown, hint=hint, misconception=CHANGED_INPUT)
            return Fault(problem, *shown, fault.hint)
        if observation["changed"]:
            change, hint = _CHANGES.get(observation["changed"] == ["values"], _CHANGES[False])
            return Fault(
                f"The counts are right, but the call changed the module: {change}.",
                hint=hint,
                misconception=CHANGED_INPUT,
            )
        if fault := fault_between(observation["again"], "", case.counts):
            problem = "The counts are right, but those of a second call with the same module are not."
            return Fault(problem, fault.returned, fault.expected, misconception=KEPT_BETWEEN_CALLS)
        return None

    def same(self, case, a, b):
        """Whether two answers give the same counts in both calls, and both leave the module alone or both do not."""
        if not agree(a.get("again"), b.get("again")):
            return False
        return bool(a.get("changed")) == bool(b.get("changed")) and super().same(case, a, b)

    def called(self, case):
        """The call, and below it how the module was made, to be pasted into a cell."""
        source = "\n".join(f"  {line}" for line in case.args["source"].splitlines())
        return f"{self.subject}(module)  # {case.label}\n{source}"


count_parameters = CountParameters()


answer.slip(
    KEPT_BETWEEN_CALLS,
    "count_parameters(module):\n    parameters = list(module.parameters())",
    "count_parameters(module, seen=set()):\n    parameters = [p for p in module.parameters() if p not in seen]\n    seen.update(parameters)",
)


FIRST_PARAMETER_ALONE = Misconception(
    "first_parameter_alone",
    thought="return gives the result and lets the loop go on.",
    hint="return ends the call at once. How many parameters has your loop visited by then?",
)


@count_parameters.misconception(FIRST_PARAMETER_ALONE)
def first_parameter_alone(module):
    trainable = total = 0
    for parameter in module.parameters():
        total += parameter.numel()
        trainable += parameter.numel() if parameter.requires_grad else 0
        return trainable, total
    return trainable, total


@count_parameters.misconception(FIRST_PARAMETER_ALONE)
def first_parameter_alone_or_nothing(module):
    trainable = total = 0
    for parameter in module.parameters():
        total += parameter.numel()
        trainable += parameter.numel() if parameter.requires_grad else 0
        return trainable, total


@count_parameters.misconception(
    "last_parameter_alone",
    thought="A count that is assigned in a loop adds up.",
    hint="`=` replaces the old value. What should happen to the count so far?",
)
def last_parameter_alone(module):
    trainable = total = 0
    for parameter in module.parameters():
        total = parameter.numel()
        if parameter.requires_grad:
            trainable = parameter.numel()
    return trainable, total


answer.slip(
    "swapped",
    "sum(p.numel() for p in parameters if p.requires_grad), sum(p.numel() for p in parameters)",
    "sum(p.numel() for p in parameters), sum(p.numel() for p in parameters if p.requires_grad)",
    thought="The total comes first.",
    hint="Compare the order of the two numbers with the one in the docstring.",
)


answer.slip(
    "frozen_left_out",
    "sum(p.numel() for p in parameters)",
    "sum(p.numel() for p in parameters if p.requires_grad)",
    thought="Frozen parameters are not counted, not even in the total.",
    hint="The total counts all parameters of the model, trained or not. In which of the two counts may you look "
    "at requires_grad?",
)


answer.slip(
    "frozen_counted_as_trainable",
    "sum(p.numel() for p in parameters if p.requires_grad)",
    "sum(p.numel() for p in parameters)",
    thought="Every parameter trains.",
    hint="A frozen parameter gets no gradient. Which of its attributes tells you that?",
)


answer.slip(
    "frozen_for_total",
    "sum(p.numel() for p in parameters)",
    "sum(p.numel() for p in parameters if not p.requires_grad)",
    thought="The two numbers are the count of what trains and the count of what does not.",
    hint="The second number counts everything. What trains is a part of it.",
)


answer.slip(
    "trainable_alone",
    ", sum(p.numel() for p in parameters)",
    "",
    thought="The number of trainable values is the answer.",
    hint="Return two numbers. One without the other says nothing about a share.",
)


answer.slip(
    "total_alone",
    "sum(p.numel() for p in parameters if p.requires_grad), ",
    "",
    thought="The number of parameters is one number.",
    hint="Return two numbers: the other one is how many of them train.",
)


answer.slip(
    "share_returned",
    "sum(p.numel() for p in parameters if p.requires_grad), sum(p.numel() for p in parameters)",
    "sum(p.numel() for p in parameters if p.requires_grad) / max(sum(p.numel() for p in parameters), 1)",
    thought="The share that trains is the answer.",
    hint="The share follows from the two counts, but the counts do not follow from the share. Return the counts.",
)


answer.slip(
    "tensors_counted",
    "sum(p.numel() for p in parameters if p.requires_grad), sum(p.numel() for p in parameters)",
    "sum(p.requires_grad for p in parameters), len(parameters)",
    thought="A module has as many parameters as module.parameters() gives.",
    hint="nn.Linear(30, 20) has two parameters. How many numbers are in them?",
)


@count_parameters.misconception(
    "rows_counted",
    thought="len() of a tensor, or the first entry of its shape, is the number of its values.",
    hint="A (20, 30) tensor has length 20. How many values are in it?",
)
def rows_counted(module):
    rows = [(len(p) if p.ndim else 1, p.requires_grad) for p in module.parameters()]
    return sum(n for n, trains in rows if trains), sum(n for n, _ in rows)


FOUR_AXES = (
    "A convolution's weight has four axes. Print the shape of each parameter: does your count use every axis of it?"
)

answer.slip(
    "matrices_and_vectors",
    "list(module.parameters())",
    "[p for p in module.parameters() if p.ndim < 3]",
    thought="A parameter is a vector or a matrix.",
    hint=FOUR_AXES,
)


answer.slip(
    "matrices_and_vectors",
    "sum(p.numel() for p in parameters)",
    "sum(p.numel() for p in parameters if p.ndim < 3)",
    thought="A parameter is a vector or a matrix.",
    hint=FOUR_AXES,
)


@count_parameters.misconception(
    "matrices_and_vectors", thought="A parameter is a vector or a matrix: it has rows and columns.", hint=FOUR_AXES
)
def rows_times_columns(module):
    sizes = [(math.prod(p.shape[:2]), p.requires_grad) for p in module.parameters()]
    return sum(n for n, trains in sizes if trains), sum(n for n, _ in sizes)


answer.slip(
    "used_up",
    "list(module.parameters())",
    "module.parameters()",
    thought="module.parameters() is a list, so two loops can run over it.",
    hint="It is a generator. Loop over it a second time and print what it gives.",
)


@count_parameters.misconception(
    "used_up_total_first",
    thought="module.parameters() is a list, so two loops can run over it.",
    hint="It is a generator. Loop over it a second time and print what it gives.",
    exactly=True,
)
def used_up_total_first(module):
    parameters = module.parameters()
    total = sum(p.numel() for p in parameters)
    return sum(p.numel() for p in parameters if p.requires_grad), total


answer.slip(
    "gradient_asked_for",
    "if p.requires_grad",
    "if p.grad is not None",
    thought="A parameter that trains has a gradient.",
    hint="A gradient exists only after a backward pass, and it stays when the parameter is frozen later. Which "
    "attribute says whether there will be one?",
)


@count_parameters.misconception(
    "adapters_by_name",
    thought="A parameter trains if lora is in its name.",
    hint="A name proves nothing: an adapter may be frozen, and a head may train. Look at the parameter itself.",
)
def adapters_by_name(module):
    named = list(module.named_parameters())
    return sum(p.numel() for name, p in named if "lora" in name), sum(p.numel() for _, p in named)


@count_parameters.misconception(
    "adapters_by_name",
    thought="A parameter trains if base is not in its name.",
    hint="A name proves nothing: an adapter may be frozen, and a head may train. Look at the parameter itself.",
)
def all_but_the_base_by_name(module):
    named = list(module.named_parameters())
    trainable = sum(p.numel() for name, p in named if p.requires_grad and "base" not in name)
    return trainable, sum(p.numel() for _, p in named)


answer.slip(
    "weights_only",
    "list(module.parameters())",
    '[p for name, p in module.named_parameters() if name.endswith("weight")]',
    thought="A module's parameters are its weights.",
    hint="Print the names that module.named_parameters() gives for a layer with a bias, and for one with lora_A.",
)


answer.slip(
    "linears_only",
    "list(module.parameters())",
    "[p for m in module.modules() if isinstance(m, nn.Linear) for p in m.parameters()]",
    thought="Parameters are in nn.Linear.",
    hint="Embeddings, norms and attention have parameters, too, and so may any module.",
)


answer.slip(
    "own_parameters_missed",
    "list(module.parameters())",
    "[p for child in module.children() for p in child.parameters()]",
    thought="A module's parameters are those of its children.",
    hint="nn.Linear has parameters, but no children. And a module with children may have parameters of its own.",
)


answer.slip(
    "one_level",
    "list(module.parameters())",
    "[p for child in module.children() for p in child.parameters(recurse=False)]",
    thought="A module consists of its children only.",
    hint="A child has children of its own. Which method walks through all levels?",
)


answer.slip(
    "own_parameters_alone",
    "module.parameters()",
    "module.parameters(recurse=False)",
    thought="A module's parameters are those registered on the module itself.",
    hint="Most modules only hold other modules. Which method walks through all levels?",
)


answer.slip(
    "shared_counted_twice",
    "list(module.parameters())",
    "[p for _, p in module.named_parameters(remove_duplicate=False)]",
    thought="Every name is a parameter of its own.",
    hint="Two names may lead to one parameter: it is in memory once, and is trained once. Does your loop remember "
    "which it has counted?",
)


answer.slip(
    "shared_across_modules",
    "list(module.parameters())",
    "[p for m in module.modules() for p in m.parameters(recurse=False)]",
    thought="Every module has parameters of its own.",
    hint="Two modules may share one parameter: it is in memory once, and is trained once. Does your loop remember "
    "which it has counted?",
)


answer.slip(
    "every_level_counted",
    "list(module.parameters())",
    "[p for m in module.modules() for p in m.parameters()]",
    thought="Each module adds its parameters to the sum.",
    hint="module.modules() gives the outer module and the inner ones, and parameters() of the outer one already "
    "contains those of the inner ones.",
)


answer.slip(
    "buffers_counted",
    "sum(p.numel() for p in parameters)",
    "sum(t.numel() for t in [*parameters, *module.buffers()])",
    thought="Every tensor of a module is a parameter.",
    hint="A running mean is computed, not trained: it is a buffer. Print module.named_buffers() to see which "
    "tensors are buffers.",
)


answer.slip(
    "state_dict_counted",
    "sum(p.numel() for p in parameters)",
    "sum(t.numel() for t in module.state_dict().values())",
    thought="The entries of a module's state_dict are its parameters.",
    hint="A state_dict has buffers as well, and a shared parameter under each of its names.",
    exactly=True,
)


answer.slip(
    "state_dict_for_both",
    "list(module.parameters())",
    "list(module.state_dict().values())",
    thought="The entries of a module's state_dict are its parameters.",
    hint="The tensors of a state_dict are detached, so none of them requires a gradient. Where do you find the "
    "Parameters themselves?",
)


answer.slip(
    "same_shape_taken_for_shared",
    "list(module.parameters())",
    "{p.shape: p for p in module.parameters()}.values()",
    thought="Two parameters with the same shape are one shared parameter.",
    hint="Shared means the same object. Two norms of the same size are trained separately.",
)


answer.slip(
    "bytes_counted",
    "sum(p.numel() for p in parameters if p.requires_grad), sum(p.numel() for p in parameters)",
    "sum(p.nbytes for p in parameters if p.requires_grad), sum(p.nbytes for p in parameters)",
    thought="The size of a parameter is its size in memory.",
    hint="Here you count values, however many bytes each takes. Bytes come later in the lesson.",
)
