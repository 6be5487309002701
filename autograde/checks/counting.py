"""Lesson 05: how many values an adapter holds, a module has, a budget pays for, and training keeps in memory."""

from dataclasses import dataclass

import torch
from torch import nn

from autograde.checks.shared.assigned import Check
from autograde.judge.check import Case
from autograde.judge.compare import Fault, agree, fault_between, is_number
from autograde.judge.misconception import CHANGED_INPUT
from autograde.probes.counting import call_on_module

# lora_parameters -----------------------------------------------------------------------------------------------------


def _layers(draw):
    """Layers small and large, wide and deep; the adapter of some is larger than the weight."""
    d, k, r = draw.layer()
    wide, deep = draw.sizes(2, low=100, high=900)
    large, narrow = draw.choice([12288, 16384]), draw.choice([3072, 5120])
    side, (low, high) = 2 * draw.integer(2, 8), draw.sizes(2, low=12, high=19)
    return [
        _layer(d, k, r),
        _layer(wide, deep, draw.integer(4, 60)),
        _layer(narrow, large, draw.choice([4, 8, 16, 64]), "a large layer"),
        _layer(large, narrow, draw.choice([4, 8, 16, 64]), "a large layer"),
        _layer(k + 20, d, 1, "rank 1"),
        _layer(4096, 4096, 8, "a square layer"),
        _layer(5000, 10000, 8),
        _layer(300, 100, 12),
        _layer(side, side, side // 2, "the adapter is as large as the weight"),
        _layer(low, high, draw.choice([10, 11]), "the adapter is larger than the weight"),
    ]


def _layer(d, k, r, label=""):
    return Case({"d": d, "k": k, "r": r}, label)


lora_parameters = Check(
    "lora_parameters",
    points=1,
    note="the two sizes worked out and added, the common factor taken out, or numel() of two tensors.",
    next_step="Draw A and B for d = 30, k = 20, r = 2, as the worked example has them, and count the numbers in each.",
)
lora_parameters.cases(_layers)


@lora_parameters.right
def _(d, k, r):
    return r * (d + k)


@lora_parameters.misconception(
    "sizes_multiplied",
    thought="All three sizes belong to the adapter, so they are multiplied.",
    hint="The three sizes never meet in one matrix. Which two does A have, and which two B?",
)
def sizes_multiplied(d, k, r):
    return r * d * k


@lora_parameters.misconception(
    "only_A",
    thought="The matrix that the inputs go through is the adapter.",
    hint="What takes the r numbers in the middle to the k outputs? It has numbers too.",
)
def only_A(d, k, r):
    return d * r


@lora_parameters.misconception(
    "only_B",
    thought="The matrix that makes the outputs is the adapter.",
    hint="What takes the d inputs to the r numbers in the middle? It has numbers too.",
)
def only_B(d, k, r):
    return r * k


@lora_parameters.misconception(
    "square_from_d",
    thought="A and B are equally large.",
    hint="That is so in a square layer. Write down both shapes for a layer that gives fewer numbers than it takes.",
)
def square_from_d(d, k, r):
    return 2 * d * r


@lora_parameters.misconception(
    "square_from_k",
    thought="A and B are equally large.",
    hint="That is so in a square layer. Write down both shapes for a layer that gives more numbers than it takes.",
)
def square_from_k(d, k, r):
    return 2 * k * r


@lora_parameters.misconception(
    "counts_multiplied",
    thought="A and B are multiplied, so their counts are too.",
    hint="The question is how many numbers must be kept. If one matrix holds 60 and the other 40, how many is that?",
)
def counts_multiplied(d, k, r):
    return (d * r) * (r * k)


@lora_parameters.misconception(
    "weight_counted",
    thought="The adapter stands for a change of the whole weight, so it holds as many numbers.",
    hint="A @ B would have that many. Is it ever kept?",
)
def weight_counted(d, k, r):
    return d * k


@lora_parameters.misconception(
    "base_included",
    thought="The layer's weight belongs to the count.",
    hint="That is what the layer holds in all. Here only the adapter's own numbers are asked for.",
)
def base_included(d, k, r):
    return d * k + r * (d + k)


@lora_parameters.misconception(
    "bias_added",
    thought="The layer's outputs have a bias, and it is trained with the adapter.",
    hint="The bias belongs to the base, and the base is frozen. Which matrices are left?",
)
def bias_added(d, k, r):
    return r * (d + k) + k


@lora_parameters.misconception(
    "bias_in_both",
    thought="A and B are linear layers, and a linear layer has a bias.",
    hint="Both products of an adapter are bare: look at the formula. What would a bias have to be added to?",
)
def bias_in_both(d, k, r):
    return (d * r + r) + (r * k + k)


@lora_parameters.misconception(
    "degrees_of_freedom",
    thought="Different A and B can give the same product, so fewer numbers count.",
    hint="That is how many directions A @ B can move in. What the optimiser is given is every entry of A and of B.",
)
def degrees_of_freedom(d, k, r):
    return r * (d + k - r)


# reduction -----------------------------------------------------------------------------------------------------------

reduction = Check(
    "reduction",
    points=1,
    note="one division, whichever way the two counts were found.",
    next_step="In the worked example the weight holds 600 numbers and the adapter 100, and the answer is 6.0. "
    "Return the quotient as it comes, without rounding.",
)
reduction.cases(_layers)


@reduction.right
def _(d, k, r):
    return d * k / (r * (d + k))


@reduction.misconception(
    "inverted",
    thought="The reduction is the adapter's share of the weight.",
    hint="Where the adapter is far smaller than the weight, the answer is far above 1. Which of the two is divided?",
)
def inverted(d, k, r):
    return r * (d + k) / (d * k)


@reduction.misconception(
    "integer_division",
    thought="Counts are whole, so their quotient is.",
    hint="4 / 3 and 4 // 3 are not the same. Which of them did you use?",
)
def integer_division(d, k, r):
    return float(d * k // (r * (d + k)))


@reduction.misconception(
    "rounded_to_whole",
    thought="A factor is told as a whole number.",
    hint="In a table, perhaps. Here nothing is rounded: others will go on computing with what you return.",
)
def rounded_to_whole(d, k, r):
    return float(round(d * k / (r * (d + k))))


def _has_few_decimals(case, seen):
    value, right = seen.get("value"), reduction.expected(case)
    # Few digits in all may come about in other ways.
    return is_number(value) and any(
        agree(value, round(right, decimals)) for decimals in (1, 2, 3) if right >= 10 ** (3 - decimals)
    )


@reduction.misconception(
    "rounded_to_decimals",
    thought="A factor is told with a decimal or two.",
    hint="Round where you print. Others will go on computing with what you return.",
    recognise=_has_few_decimals,
)
def rounded_to_decimals(d, k, r):
    return round(d * k / (r * (d + k)), 2)


@reduction.misconception(
    "percent_saved",
    thought="A reduction is the percentage that is saved.",
    hint="6 times fewer and 83 % fewer say the same of the worked example. Which of the two is asked for?",
)
def percent_saved(d, k, r):
    return 100 * (1 - r * (d + k) / (d * k))


@reduction.misconception(
    "fraction_saved",
    thought="A reduction is the part that is saved.",
    hint="For the worked example the answer is 6.0. Yours stays below 1 however small the adapter gets.",
)
def fraction_saved(d, k, r):
    return 1 - r * (d + k) / (d * k)


@reduction.misconception(
    "percent_left",
    thought="A reduction is told in per cent of the weight.",
    hint="For the worked example the answer is 6.0: a factor, and no percentage.",
)
def percent_left(d, k, r):
    return 100 * r * (d + k) / (d * k)


@reduction.misconception(
    "minus_one",
    thought="What is saved is divided by what is left.",
    hint="An adapter half as large as the weight holds 2 times fewer. What does your function say for it?",
)
def minus_one(d, k, r):
    return (d * k - r * (d + k)) / (r * (d + k))


@reduction.misconception(
    "whole_layer_divided",
    thought="The weight and the adapter together are compared with the adapter.",
    hint="The adapter is compared with the weight alone: how often does the one go into the other?",
)
def whole_layer_divided(d, k, r):
    return (d * k + r * (d + k)) / (r * (d + k))


@reduction.misconception(
    "difference",
    thought="The reduction is how many numbers fewer there are.",
    hint="That is a difference. How many times as many numbers does the weight hold?",
)
def difference(d, k, r):
    return float(d * k - r * (d + k))


@reduction.misconception(
    "only_A",
    thought="The matrix that the inputs go through is the adapter.",
    hint="Both matrices of the adapter are compared with the weight. You may call lora_parameters.",
)
def reduction_only_A(d, k, r):
    return d * k / (d * r)


@reduction.misconception(
    "only_B",
    thought="The matrix that makes the outputs is the adapter.",
    hint="Both matrices of the adapter are compared with the weight. You may call lora_parameters.",
)
def reduction_only_B(d, k, r):
    return d * k / (r * k)


@reduction.misconception(
    "square_from_d",
    thought="A and B are equally large.",
    hint="That is so in a square layer. Write down both shapes for a layer that gives fewer numbers than it takes.",
)
def reduction_square_from_d(d, k, r):
    return d * k / (2 * d * r)


@reduction.misconception(
    "square_from_k",
    thought="A and B are equally large.",
    hint="That is so in a square layer. Write down both shapes for a layer that gives more numbers than it takes.",
)
def reduction_square_from_k(d, k, r):
    return d * k / (2 * k * r)


@reduction.misconception(
    "biases_included",
    thought="The layer's bias is one of its parameters.",
    hint="The two things compared are the weight and the adapter. A bias is neither.",
)
def biases_included(d, k, r):
    return (d * k + k) / (r * (d + k))


# count_parameters ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class CountCase(Case):
    """A module as source text, and its counts, known from the sizes that were written into the text.

    Attributes:
        counts: ``(trainable, total)``; they stay here, only `args` are sent.
    """

    counts: tuple = ()


class ModuleCheck(Check):
    """A check of a function that looks at a module; its cases are `CountCase`."""

    def observe(self, target, case):
        """Ask the learner's function about the module of a case."""
        return call_on_module(target, source=case.args["source"])

    def expected(self, case):
        """The case knows."""
        return case.counts

    def fault(self, case, observation):
        """What is wrong with one observation: a count, or a module that the call has changed."""
        if fault := self.failed_call(observation):
            return fault
        value = observation["value"]
        if isinstance(value, torch.Tensor) and value.shape == (2,):
            value = value.tolist()
        if fault := fault_between(value, observation["type"], case.counts):
            return Fault(_which(value, case.counts), fault.returned, fault.expected)
        if observation["changed"]:
            what, hint = _CHANGES.get(observation["changed"] == ["values"], _CHANGES[False])
            return Fault(
                f"The counts are right, but the call changed the module: {what}.",
                hint=hint,
                misconception=CHANGED_INPUT,
            )
        return None

    def same(self, case, a, b):
        """Whether two answers give the same counts, and both leave the module alone or both do not."""
        return bool(a.get("changed")) == bool(b.get("changed")) and super().same(case, a, b)

    def called(self, case):
        """The call, and below it how the module was made, to be pasted into a cell."""
        source = "\n".join(f"  {line}" for line in case.args["source"].splitlines())
        return f"{self.subject}(module)  # {case.label}\n{source}"


# By whether it is no more than values that have changed.
_CHANGES = {
    False: (
        "what trains in it now is not what did before",
        "requires_grad asks; requires_grad_(), with an underscore at its end, sets. Which of them did you use?",
    ),
    True: (
        "its values, its gradients or its mode are not what they were",
        "Counting only reads. Look for what writes: a name ending in _, zero_grad(), eval(), half().",
    ),
}


def _which(value, counts):
    """A sentence that says which of two counts is wrong."""
    if not isinstance(value, list) or len(value) != 2:
        return "The result is not a pair of counts."
    right = [agree(count, known) for count, known in zip(value, counts, strict=True)]
    if not any(right):
        return "Both counts are wrong."
    return f"The count of {'all values' if right[0] else 'what trains'} is wrong."


count_parameters = ModuleCheck(
    "count_parameters",
    points=2,
    note="a tuple or a list; numel(), or the product of a shape; module.parameters(), or a walk of your own that "
    "remembers which parameters it has met.",
    next_step="Paste the module above into a cell of your own, and print name, shape and requires_grad of everything "
    "in module.named_parameters(). Then count by hand.",
)


@count_parameters.cases
def _(draw):
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
        case("everything is frozen", (0, d * k + k), f"module = nn.Linear({d}, {k}).requires_grad_(False)"),
        case("no parameters at all", (0, 0), "module = nn.Sequential(nn.ReLU(), nn.Dropout(0.1))"),
    ]


@count_parameters.misconception(
    "swapped",
    thought="The total comes first.",
    hint="Compare the order of the two numbers with the one in the docstring.",
)
def swapped(module):
    parameters = list(module.parameters())
    return sum(p.numel() for p in parameters), sum(p.numel() for p in parameters if p.requires_grad)


@count_parameters.misconception(
    "frozen_left_out",
    thought="What is frozen is not counted, in the total either.",
    hint="The total is what the model holds, trained or not. Which of the two counts may ask about requires_grad?",
)
def frozen_left_out(module):
    trainable = sum(p.numel() for p in module.parameters() if p.requires_grad)
    return trainable, trainable


@count_parameters.misconception(
    "frozen_counted_as_trainable",
    thought="Every parameter trains.",
    hint="A parameter that is frozen gets no gradient. Which attribute of it says so?",
)
def frozen_counted_as_trainable(module):
    total = sum(p.numel() for p in module.parameters())
    return total, total


@count_parameters.misconception(
    "frozen_for_total",
    thought="The two numbers are what trains and what does not.",
    hint="The second number counts everything. What trains is a part of it.",
)
def frozen_for_total(module):
    parameters = list(module.parameters())
    return (
        sum(p.numel() for p in parameters if p.requires_grad),
        sum(p.numel() for p in parameters if not p.requires_grad),
    )


@count_parameters.misconception(
    "trainable_alone",
    thought="What trains is the number that is asked for.",
    hint="Two numbers are asked for. One without the other says nothing about a share.",
)
def trainable_alone(module):
    return sum(p.numel() for p in module.parameters() if p.requires_grad)


@count_parameters.misconception(
    "total_alone",
    thought="The number of parameters is one number.",
    hint="Two numbers are asked for: how many of them train is the other one.",
)
def total_alone(module):
    return sum(p.numel() for p in module.parameters())


@count_parameters.misconception(
    "share_returned",
    thought="What matters is the share that trains.",
    hint="A share can be had from the two counts, and the counts not from the share. Return the counts.",
)
def share_returned(module):
    total = sum(p.numel() for p in module.parameters())
    return sum(p.numel() for p in module.parameters() if p.requires_grad) / max(total, 1)


@count_parameters.misconception(
    "tensors_counted",
    thought="A module has as many parameters as module.parameters() gives.",
    hint="nn.Linear(30, 20) gives two tensors. How many numbers do they hold?",
)
def tensors_counted(module):
    parameters = list(module.parameters())
    return sum(p.requires_grad for p in parameters), len(parameters)


@count_parameters.misconception(
    "rows_counted",
    thought="len() of a tensor, or the first entry of its shape, is how many numbers it holds.",
    hint="A (20, 30) tensor has length 20. How many numbers does it hold?",
)
def rows_counted(module):
    rows = [(len(p) if p.ndim else 1, p.requires_grad) for p in module.parameters()]
    return sum(n for n, trains in rows if trains), sum(n for n, _ in rows)


@count_parameters.misconception(
    "used_up",
    thought="module.parameters() is a list, and can be gone through twice.",
    hint="It is a generator. Go through it a second time and print what it gives.",
)
def used_up(module):
    parameters = module.parameters()
    trainable = sum(p.numel() for p in parameters if p.requires_grad)
    return trainable, sum(p.numel() for p in parameters)


@count_parameters.misconception(
    "used_up_total_first",
    thought="module.parameters() is a list, and can be gone through twice.",
    hint="It is a generator. Go through it a second time and print what it gives.",
    exactly=True,
)
def used_up_total_first(module):
    parameters = module.parameters()
    total = sum(p.numel() for p in parameters)
    return sum(p.numel() for p in parameters if p.requires_grad), total


@count_parameters.misconception(
    "gradient_asked_for",
    thought="What trains is what has a gradient.",
    hint="A gradient is there only after a backward pass, and it stays when the parameter is frozen later. Which "
    "attribute says whether there will be one?",
)
def gradient_asked_for(module):
    parameters = list(module.parameters())
    return sum(p.numel() for p in parameters if p.grad is not None), sum(p.numel() for p in parameters)


@count_parameters.misconception(
    "adapters_by_name",
    thought="What trains is what is called lora.",
    hint="A name promises nothing: an adapter may be frozen, and a head may train. Ask the parameter itself.",
)
def adapters_by_name(module):
    named = list(module.named_parameters())
    return sum(p.numel() for name, p in named if "lora" in name), sum(p.numel() for _, p in named)


@count_parameters.misconception(
    "adapters_by_name",
    thought="What trains is what is not called base.",
    hint="A name promises nothing: an adapter may be frozen, and a head may train. Ask the parameter itself.",
)
def all_but_the_base_by_name(module):
    named = list(module.named_parameters())
    trainable = sum(p.numel() for name, p in named if p.requires_grad and "base" not in name)
    return trainable, sum(p.numel() for _, p in named)


@count_parameters.misconception(
    "weights_only",
    thought="A module's parameters are its weights.",
    hint="Print the names that module.named_parameters() gives for a layer with a bias, and for one with lora_A.",
)
def weights_only(module):
    weights = [p for name, p in module.named_parameters() if name.endswith("weight")]
    return sum(p.numel() for p in weights if p.requires_grad), sum(p.numel() for p in weights)


@count_parameters.misconception(
    "linears_only",
    thought="Parameters are in nn.Linear.",
    hint="Embeddings, norms and attention have parameters too, and so may any module of somebody's own.",
)
def linears_only(module):
    linears = [m for m in module.modules() if isinstance(m, nn.Linear)]
    parameters = [p for linear in linears for p in linear.parameters()]
    return sum(p.numel() for p in parameters if p.requires_grad), sum(p.numel() for p in parameters)


@count_parameters.misconception(
    "own_parameters_missed",
    thought="A module's parameters are those of its children.",
    hint="nn.Linear has no children, and has parameters. A module may hold some beside its children as well.",
)
def own_parameters_missed(module):
    parameters = [p for child in module.children() for p in child.parameters()]
    return sum(p.numel() for p in parameters if p.requires_grad), sum(p.numel() for p in parameters)


@count_parameters.misconception(
    "one_level",
    thought="A module's children are all that is in it.",
    hint="A child has children of its own. Which method walks through all levels?",
)
def one_level(module):
    parameters = [p for child in module.children() for p in child.parameters(recurse=False)]
    return sum(p.numel() for p in parameters if p.requires_grad), sum(p.numel() for p in parameters)


@count_parameters.misconception(
    "own_parameters_alone",
    thought="A module's parameters are those registered on the module itself.",
    hint="Most modules only hold other modules. Which method walks through all levels?",
)
def own_parameters_alone(module):
    parameters = list(module.parameters(recurse=False))
    return sum(p.numel() for p in parameters if p.requires_grad), sum(p.numel() for p in parameters)


@count_parameters.misconception(
    "shared_counted_twice",
    thought="Every name is a parameter of its own.",
    hint="Two names may lead to one parameter: it lies in memory once, and is trained once. Does your walk remember "
    "which it has met?",
)
def shared_counted_twice(module):
    named = list(module.named_parameters(remove_duplicate=False))
    return sum(p.numel() for _, p in named if p.requires_grad), sum(p.numel() for _, p in named)


@count_parameters.misconception(
    "shared_across_modules",
    thought="Every module has parameters of its own.",
    hint="Two modules may hold one parameter: it lies in memory once, and is trained once. Does your walk remember "
    "which it has met?",
)
def shared_across_modules(module):
    parameters = [p for m in module.modules() for p in m.parameters(recurse=False)]
    return sum(p.numel() for p in parameters if p.requires_grad), sum(p.numel() for p in parameters)


@count_parameters.misconception(
    "every_level_counted",
    thought="Each module adds its parameters to the sum.",
    hint="module.modules() gives the outer module and the inner ones, and parameters() of the outer one gives those of "
    "the inner ones already.",
)
def every_level_counted(module):
    parameters = [p for m in module.modules() for p in m.parameters()]
    return sum(p.numel() for p in parameters if p.requires_grad), sum(p.numel() for p in parameters)


@count_parameters.misconception(
    "buffers_counted",
    thought="Whatever tensor a module holds is a parameter.",
    hint="A running mean is worked out and not trained: it is a buffer. Print module.named_buffers() to see which "
    "these are.",
)
def buffers_counted(module):
    parameters = list(module.parameters())
    held = parameters + list(module.buffers())
    return sum(p.numel() for p in parameters if p.requires_grad), sum(t.numel() for t in held)


@count_parameters.misconception(
    "state_dict_counted",
    thought="A module's parameters are what its state_dict holds.",
    hint="A state_dict has buffers as well, and a shared parameter under each of its names.",
    exactly=True,
)
def state_dict_counted(module):
    trainable = sum(p.numel() for p in module.parameters() if p.requires_grad)
    return trainable, sum(t.numel() for t in module.state_dict().values())


@count_parameters.misconception(
    "state_dict_for_both",
    thought="A module's parameters are what its state_dict holds.",
    hint="The tensors of a state_dict are detached, so none of them says that it trains. Who does?",
)
def state_dict_for_both(module):
    tensors = list(module.state_dict().values())
    return sum(t.numel() for t in tensors if t.requires_grad), sum(t.numel() for t in tensors)


@count_parameters.misconception(
    "same_shape_taken_for_shared",
    thought="Two parameters of one shape are one parameter.",
    hint="Shared means the very same object. Two norms of one size are trained each on its own.",
)
def same_shape_taken_for_shared(module):
    parameters = {p.shape: p for p in module.parameters()}.values()
    return sum(p.numel() for p in parameters if p.requires_grad), sum(p.numel() for p in parameters)


@count_parameters.misconception(
    "bytes_counted",
    thought="The size of a parameter is what it takes in memory.",
    hint="Here numbers are counted, whatever room they take. Bytes come later in the lesson.",
)
def bytes_counted(module):
    parameters = list(module.parameters())
    return sum(p.nbytes for p in parameters if p.requires_grad), sum(p.nbytes for p in parameters)


# largest_rank_within -------------------------------------------------------------------------------------------------

largest_rank_within = Check(
    "largest_rank_within",
    points=1,
    note="a whole number from one division, from a loop that counts up or down, or by bisection.",
    next_step="Count the adapter's values at the rank that you return, and at the next one. The first count must fit "
    "into the budget, the second must not.",
)


@largest_rank_within.cases
def _(draw):
    def case(d, k, rank, rest, label=""):
        return Case({"d": d, "k": k, "budget": rank * (d + k) + rest}, label)

    # No rank asked for is above min(d, k): whether one that is useless would still "fit" is not the question here.
    (d, k), (wide, deep) = draw.sizes(2, low=20, high=60), draw.sizes(2, low=300, high=900)
    if (d < k) == (wide < deep):  # the larger side is once the inputs' and once the outputs'
        wide, deep = deep, wide
    rank = draw.choice([5, 6, 7, 9, 10, 11, 13])
    return [
        case(d, k, rank, (d + k) * 3 // 4, "much of the budget is left over"),
        case(d, k, rank + 1, (d + k) // 4, "some of the budget is left over"),
        case(d, k, rank, 0, "the budget is used up exactly"),
        case(d, k, rank, -1, "one short of a whole rank"),
        case(wide, deep, draw.integer(130, 190), draw.integer(1, 500)),
        case(4096, 4096, 122, 576, "a million values for one layer"),
        case(12288, 12288, 4, 0, "a layer as wide as GPT-3's"),
        case(d, k, 1, 0, "exactly rank 1"),
        case(d, k, 1, -1, "one short of rank 1"),
        case(wide, deep, 0, min(wide, deep) + 1, "one of the two matrices would fit"),
        case(d, k, 0, 0, "no budget"),
        case(d, k, min(d, k), (d + k) * 3 // 4, "the largest rank that the layer has"),
    ]


@largest_rank_within.right
def _(d, k, budget):
    return budget // (d + k)


@largest_rank_within.misconception(
    "rounded_up",
    thought="A fraction of a rank is rounded up.",
    hint="Count the values at the rank that you return. Do they fit into the budget?",
)
def rounded_up(d, k, budget):
    return -(-budget // (d + k))


@largest_rank_within.misconception(
    "rounded_to_nearest",
    thought="A fraction of a rank is rounded to the nearest whole one.",
    hint="Half of the time that rank does not fit. Count the values at the rank that you return.",
)
def rounded_to_nearest(d, k, budget):
    return round(budget / (d + k))


@largest_rank_within.misconception(
    "not_rounded",
    thought="The quotient is the rank.",
    hint="A rank is a whole number of columns. Which is the last whole one that fits?",
)
def not_rounded(d, k, budget):
    return budget / (d + k)


@largest_rank_within.misconception(
    "first_that_exceeds",
    thought="The rank at which a search stops is the answer.",
    hint="The search stops at the first rank that no longer fits. Which one came before?",
)
def first_that_exceeds(d, k, budget):
    return budget // (d + k) + 1


@largest_rank_within.misconception(
    "exact_fit_refused",
    thought="The adapter must stay below the budget.",
    hint="An adapter that uses the budget up to the last value still fits. Which comparison says that?",
)
def exact_fit_refused(d, k, budget):
    return (budget - 1) // (d + k)


@largest_rank_within.misconception(
    "bias_paid_from_budget",
    thought="The layer's bias is paid from the budget too.",
    hint="The budget is for the adapter, and the adapter has no bias.",
)
def bias_paid_from_budget(d, k, budget):
    return (budget - k) // (d + k)


@largest_rank_within.misconception(
    "minus_one_for_none",
    thought="-1 says that nothing fits.",
    hint="Where not even rank 1 can be paid for, there is no adapter. Which rank has an adapter without any values?",
)
def minus_one_for_none(d, k, budget):
    return budget // (d + k) or -1


@largest_rank_within.misconception(
    "one_too_few",
    thought="One rank is taken off, to be safe.",
    hint="Count the values at the rank after the one that you return. They still fit.",
)
def one_too_few(d, k, budget):
    return budget // (d + k) - 1


@largest_rank_within.misconception(
    "one_too_few",
    thought="The smaller of the two sizes is no rank any more.",
    hint="Count the values at the rank after the one that you return. They still fit.",
)
def smaller_size_left_out(d, k, budget):
    return min(budget // (d + k), min(d, k) - 1)


@largest_rank_within.misconception(
    "never_zero",
    thought="A rank is at least 1.",
    hint="Where not even rank 1 can be paid for, there is no adapter. What should the answer be then?",
)
def never_zero(d, k, budget):
    return max(1, budget // (d + k))


@largest_rank_within.misconception(
    "weight_size",
    thought="A rank costs as much as the weight.",
    hint="One more rank adds a column to A and a row to B. How many values is that?",
)
def weight_size(d, k, budget):
    return budget // (d * k)


@largest_rank_within.misconception(
    "base_paid_from_budget",
    thought="The frozen weight is paid from the budget too.",
    hint="The budget is for the adapter. The weight is there already, whatever the rank.",
)
def base_paid_from_budget(d, k, budget):
    return max(0, (budget - d * k) // (d + k))


@largest_rank_within.misconception(
    "only_A",
    thought="One more rank is one more column of A.",
    hint="And what must B get with it?",
)
def rank_only_A(d, k, budget):
    return budget // d


@largest_rank_within.misconception(
    "only_B",
    thought="One more rank is one more row of B.",
    hint="And what must A get with it?",
)
def rank_only_B(d, k, budget):
    return budget // k


@largest_rank_within.misconception(
    "square_from_d",
    thought="A and B are equally large.",
    hint="That is so in a square layer. How long is one column of A, and how long is one row of B?",
)
def rank_square_from_d(d, k, budget):
    return budget // (2 * d)


@largest_rank_within.misconception(
    "square_from_k",
    thought="A and B are equally large.",
    hint="That is so in a square layer. How long is one column of A, and how long is one row of B?",
)
def rank_square_from_k(d, k, budget):
    return budget // (2 * k)


@largest_rank_within.misconception(
    "half_for_each",
    thought="A and B get half of the budget each.",
    hint="They may differ in size, and then one of them leaves some of its half over. What does one more rank cost, in "
    "both together?",
)
def half_for_each(d, k, budget):
    return min(budget // 2 // d, budget // 2 // k)


@largest_rank_within.misconception(
    "only_while_smaller",
    thought="The adapter must be smaller than the weight.",
    hint="That was the limit in lesson 03. Here the budget is the only one.",
)
def only_while_smaller(d, k, budget):
    return min(budget // (d + k), (d * k - 1) // (d + k))


@largest_rank_within.misconception(
    "power_of_two",
    thought="A rank is a power of two.",
    hint="That is a habit and no rule. Count the values at the rank after the one that you return.",
)
def power_of_two(d, k, budget):
    rank = budget // (d + k)
    return 2 ** (rank.bit_length() - 1) if rank else 0


@largest_rank_within.misconception(
    "values_for_rank",
    thought="The answer is how much of the budget can be used.",
    hint="That is the adapter's size. At which rank does it have it?",
)
def values_for_rank(d, k, budget):
    return budget // (d + k) * (d + k)


@largest_rank_within.misconception(
    "left_over",
    thought="% gives the whole part of a quotient.",
    hint="% gives what is left over by a division. Which operator gives the whole part?",
)
def left_over(d, k, budget):
    return budget % (d + k)


@largest_rank_within.misconception(
    "budget_in_bytes",
    thought="The budget is in bytes, and a value takes four.",
    hint="Here the budget counts values. Bytes come in the next exercise.",
)
def budget_in_bytes(d, k, budget):
    return budget // (4 * (d + k))


# training_bytes ------------------------------------------------------------------------------------------------------

training_bytes = Check(
    "training_bytes",
    points=2,
    note="an int or a float; the four kinds worked out one by one, or taken together.",
    next_step="Take total = 1, trainable = 1, bytes_per_value = 1, and list what is kept. Then the same with "
    "trainable = 0.",
)


@training_bytes.cases
def _(draw):
    small, large = draw.integer(11, 90), draw.integer(1001, 9000)

    def case(total, trainable, label, *width):
        named = {"bytes_per_value": width[0]} if width else {}
        return Case({"total": total, "trainable": trainable} | named, label)

    return [
        case(large, small, "in the width that is the default"),
        case(large, small, "in 16 bit", 2),
        case(large + 1, small + 3, "in 64 bit", 8),
        case(large, large, "everything trains"),
        case(large, 0, "nothing trains", 2),
        case(3 * small, 2 * small, "most of it trains", draw.choice([3, 5, 6, 7])),
        case(100 * large, 7 * large, "in bytes", 1),
        case(6_742_609_920, 4_194_304, "a large model", 2),
    ]


@training_bytes.right
def _(total, trainable, bytes_per_value=4):
    return bytes_per_value * (total + 3 * trainable)


@training_bytes.misconception(
    "everything_for_all",
    thought="Every value has a gradient and two moments.",
    hint="That is full fine-tuning. Which values get a gradient when the base is frozen?",
)
def everything_for_all(total, trainable, bytes_per_value=4):
    return bytes_per_value * 4 * total


@training_bytes.misconception(
    "moments_for_all",
    thought="Adam keeps its moments for every value.",
    hint="Adam is given the values that train. What would it do with a moment of one that never moves? (And see that "
    "each of the two counts is where you mean it.)",
)
def moments_for_all(total, trainable, bytes_per_value=4):
    return bytes_per_value * (total + trainable + 2 * total)


@training_bytes.misconception(
    "gradients_for_all",
    thought="The backward pass leaves a gradient at every value.",
    hint="A frozen parameter's .grad stays None. For which values is a gradient kept?",
)
def gradients_for_all(total, trainable, bytes_per_value=4):
    return bytes_per_value * (2 * total + 2 * trainable)


@training_bytes.misconception(
    "two_numbers_each",
    thought="For a value that trains, two more numbers are kept.",
    hint="Follow one value through a training step: the value itself, what the backward pass leaves beside it, and "
    "what Adam remembers from step to step. Which of these is not in your sum?",
)
def two_numbers_each(total, trainable, bytes_per_value=4):
    return bytes_per_value * (total + 2 * trainable)


@training_bytes.misconception(
    "one_number_each",
    thought="For a value that trains, one more number is kept.",
    hint="That is so for plain gradient descent. What does Adam remember from step to step?",
)
def one_number_each(total, trainable, bytes_per_value=4):
    return bytes_per_value * (total + trainable)


@training_bytes.misconception(
    "weights_alone",
    thought="Memory is for the weights.",
    hint="That is what using the model takes. What else is there while it is trained?",
)
def weights_alone(total, trainable, bytes_per_value=4):
    return bytes_per_value * total


@training_bytes.misconception(
    "frozen_weights_left_out",
    thought="What is frozen takes no memory.",
    hint="Every row of the batch still goes through the frozen weights, so they are there. How many values is that?",
)
def frozen_weights_left_out(total, trainable, bytes_per_value=4):
    return bytes_per_value * 4 * trainable


@training_bytes.misconception(
    "weights_left_out",
    thought="Training memory is what training adds.",
    hint="The weights themselves have to be in memory too.",
)
def weights_left_out(total, trainable, bytes_per_value=4):
    return bytes_per_value * 3 * trainable


@training_bytes.misconception(
    "trainable_weights_twice",
    thought="total counts what is frozen, and what trains comes on top.",
    hint="total counts every value, trained or not. Which of them have you counted a second time?",
)
def trainable_weights_twice(total, trainable, bytes_per_value=4):
    return bytes_per_value * (total + 4 * trainable)


@training_bytes.misconception(
    "frozen_for_trainable",
    thought="The gradients and moments are those of the rest.",
    hint="total - trainable is what is frozen. Which of the two parts gets gradients?",
)
def frozen_for_trainable(total, trainable, bytes_per_value=4):
    return bytes_per_value * (total + 3 * (total - trainable))


@training_bytes.misconception(
    "values_not_bytes",
    thought="Counting the numbers is enough.",
    hint="That is how many numbers are kept. How much room does each of them take?",
)
def values_not_bytes(total, trainable, bytes_per_value=4):
    return total + 3 * trainable


@training_bytes.misconception(
    "always_four_bytes",
    thought="A number takes four bytes.",
    hint="In float32 it does. Call your function with bytes_per_value=2: what should change?",
)
def always_four_bytes(total, trainable, bytes_per_value=4):
    return 4 * (total + 3 * trainable)


@training_bytes.misconception(
    "moments_in_32_bit",
    thought="Adam keeps its moments in 32 bit, whatever the weights are in.",
    hint="Some set-ups do. In this exercise every number takes bytes_per_value bytes.",
)
def moments_in_32_bit(total, trainable, bytes_per_value=4):
    return bytes_per_value * (total + trainable) + 4 * 2 * trainable


@training_bytes.misconception(
    "width_for_weights_only",
    thought="bytes_per_value is about the weights.",
    hint="A gradient and a moment are numbers too, and take as much room as a weight.",
)
def width_for_weights_only(total, trainable, bytes_per_value=4):
    return bytes_per_value * total + 3 * trainable


@training_bytes.misconception(
    "in_bits",
    thought="A size in memory is in bits.",
    hint="The answer is in bytes, and so is bytes_per_value. What is the factor of eight for?",
)
def in_bits(total, trainable, bytes_per_value=4):
    return 8 * bytes_per_value * (total + 3 * trainable)


@training_bytes.misconception(
    "width_taken_for_bits",
    thought="bytes_per_value is in bits.",
    hint="4 is the number of bytes in a float32. What is the factor of eight for?",
)
def width_taken_for_bits(total, trainable, bytes_per_value=4):
    return bytes_per_value * (total + 3 * trainable) / 8


@training_bytes.misconception(
    "in_gigabytes",
    thought="Memory is told in gigabytes.",
    hint="Convert where you print. The function returns bytes.",
)
def in_gigabytes(total, trainable, bytes_per_value=4):
    return bytes_per_value * (total + 3 * trainable) / 1e9


@training_bytes.misconception(
    "in_gibibytes",
    thought="Memory is told in gibibytes.",
    hint="Convert where you print. The function returns bytes.",
)
def in_gibibytes(total, trainable, bytes_per_value=4):
    return bytes_per_value * (total + 3 * trainable) / 2**30


def _lacks_an_argument(case, seen):
    raised = seen.get("raised")
    return bool(raised) and raised["type"] == "TypeError" and "missing" in raised["message"]


@training_bytes.misconception(
    "default_lost",
    thought="bytes_per_value is always given.",
    hint="It may be left out. Compare your def line with the one that you were given.",
    recognise=_lacks_an_argument,
)
def default_lost(total, trainable, bytes_per_value):
    return bytes_per_value * (total + 3 * trainable)


CHECKS = [lora_parameters, reduction, count_parameters, largest_rank_within, training_bytes]
