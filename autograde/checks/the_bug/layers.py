"""The layers that lesson 02 runs a learner's test on: right ones written differently, and wrong ones of many kinds.

They reach the test as source text, each under the same name, so that only what a layer computes tells it from another.
All of them hold `base_layer`, `rank`, `alpha`, `scaling`, `lora_A` and `lora_B`, freeze the base and begin with B zero:
a test may set the adapters in any way it likes.
"""

import ast
import functools
import re
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import nn

NAME = "LoRALinear"  # of every given class

# What a call must have for a wrong layer to show, by name: a function of what the probe notes of the call.
CONDITIONS = {
    "B is not zero": lambda d, k, rank, alpha, bias, ndim, zero_B, zero_input, constant_factors, rows_differ: (
        not zero_B
    ),
    "x and A are not zero": lambda d, k, rank, alpha, bias, ndim, zero_B, zero_input, constant_factors, rows_differ: (
        not zero_input
    ),
    "the entries of A or of B differ": lambda d, k, rank, alpha, bias, ndim, zero_B, zero_input, constant_factors, rows_differ: (
        not constant_factors
    ),
    "the rows of x differ": lambda d, k, rank, alpha, bias, ndim, zero_B, zero_input, constant_factors, rows_differ: (
        rows_differ
    ),
    "d and k differ": lambda d, k, rank, alpha, bias, ndim, zero_B, zero_input, constant_factors, rows_differ: d != k,
    "rank is above 1": lambda d, k, rank, alpha, bias, ndim, zero_B, zero_input, constant_factors, rows_differ: (
        rank != 1
    ),
    "alpha is not rank": lambda d, k, rank, alpha, bias, ndim, zero_B, zero_input, constant_factors, rows_differ: (
        alpha != rank
    ),
    "the base has a bias": lambda d, k, rank, alpha, bias, ndim, zero_B, zero_input, constant_factors, rows_differ: (
        bias
    ),
    "x is 1-D": lambda d, k, rank, alpha, bias, ndim, zero_B, zero_input, constant_factors, rows_differ: ndim == 1,
    "x is not 1-D": lambda d, k, rank, alpha, bias, ndim, zero_B, zero_input, constant_factors, rows_differ: ndim != 1,
    "x is not 2-D": lambda d, k, rank, alpha, bias, ndim, zero_B, zero_input, constant_factors, rows_differ: ndim != 2,
    "x is not 3-D": lambda d, k, rank, alpha, bias, ndim, zero_B, zero_input, constant_factors, rows_differ: ndim != 3,
}
ANY_CHANGE = ("B is not zero", "x and A are not zero")  # without these no adapter changes anything


@dataclass(frozen=True)
class Layer:
    """One layer to be tested.

    Attributes:
        words: "that does not divide alpha by the rank": what completes "a layer …".
        source: of a class called `NAME`.
        right: whether it is a right LoRALinear.
        shows: the `CONDITIONS` that one call must meet for the layer to show that it is wrong.
    """

    words: str
    source: str
    right: bool
    shows: tuple = ()

    @property
    def rounding_tolerant(self):
        """Source of the same layer, with an output tensor whose comparisons ignore rounding errors."""
        return f"{self.source}\n\n{_ROUNDING_TOLERANT}"

    def gap(self, calls):
        """The first of the conditions that no call met together with those before it; None where some call met all."""
        for name in self.shows:
            calls = [call for call in calls if CONDITIONS[name](*call)]
            if not calls:
                return name
        return None


_ROUNDING_TOLERANT = f"""
class RoundingTolerant(torch.Tensor):
    @classmethod
    def __torch_function__(cls, func, types, args=(), kwargs=None):
        out = super().__torch_function__(func, types, args, kwargs)
        name = func.__name__.strip("_")
        if name in ("sub", "rsub", "subtract"):
            return torch.where(out.abs() < 1e-4, torch.zeros_like(out), out)
        if name in ("eq", "ne", "equal", "allclose", "isclose") and args[0].shape == getattr(args[1], "shape", None):
            one, other = (arg.detach().as_subclass(torch.Tensor).double() for arg in args[:2])
            near = torch.isclose(one, other, rtol=1e-4, atol=1e-4)
            return bool(near.all()) if name in ("equal", "allclose") else ~near if name == "ne" else near
        return out


Strict = {NAME}


class {NAME}(Strict):
    def forward(self, x):
        return super().forward(x).as_subclass(RoundingTolerant)
"""

LAYERS = []


@functools.cache
def _classes():
    """``{name: source}`` of the classes of this file. `inspect.getsource` would parse the file anew for each of them."""
    text = Path(__file__).read_text(encoding="utf-8")
    lines = text.splitlines(keepends=True)
    classes = [node for node in ast.parse(text).body if isinstance(node, ast.ClassDef)]
    return {node.name: "".join(lines[node.lineno - 1 : node.end_lineno]) for node in classes}


def _source(layer_class):
    own = re.sub(rf"\b{layer_class.__name__}\b", NAME, _classes()[layer_class.__name__])
    return f"{_classes()['Adapted']}\n\n{own}"


def _right(words):
    def register(layer_class):
        LAYERS.append(Layer(words, _source(layer_class), True))
        return layer_class

    return register


def _wrong(words, *shows):
    if shows[:1] == ("B is not zero",):
        shows = ANY_CHANGE + shows[1:]

    def register(layer_class):
        LAYERS.append(Layer(words, _source(layer_class), False, shows))
        return layer_class

    return register


class Adapted(nn.Module):
    def __init__(self, base_layer, rank=4, alpha=1):
        super().__init__()
        self.base_layer = base_layer.requires_grad_(False)
        self.rank, self.alpha = rank, alpha
        self.scaling = alpha / rank
        like = {"dtype": base_layer.weight.dtype, "device": base_layer.weight.device}
        self.lora_A = nn.Parameter(torch.randn(base_layer.in_features, rank, **like))
        self.lora_B = nn.Parameter(torch.zeros(rank, base_layer.out_features, **like))


# Right ---------------------------------------------------------------------------------------------------------------
# At B = 0 each returns the base's output bit for bit, since a test may ask for that; after that they add the same terms
# in different orders.


@_right("that follows the formula as it stands")
class Plain(Adapted):
    def forward(self, x):
        return self.base_layer(x) + (x @ self.lora_A) @ self.lora_B * self.scaling


@_right("written with torch.einsum")
class Einsum(Adapted):
    def forward(self, x):
        delta = torch.einsum("...d,dr,rk->...k", x, self.lora_A, self.lora_B)
        return torch.add(self.base_layer(x), delta, alpha=self.scaling)


@_right("that adds the change to the weight and multiplies once")
class IntoTheWeight(Adapted):
    def forward(self, x):
        weight = self.base_layer.weight + self.scaling * (self.lora_A @ self.lora_B).T
        return F.linear(x, weight, self.base_layer.bias)


@_right("that flattens x into rows, lets addmm do the rest and restores the shape")
class Addmm(Adapted):
    def forward(self, x):
        base = self.base_layer(x)
        thin = x.reshape(-1, self.lora_A.shape[0]) @ self.lora_A
        rows = torch.addmm(base.reshape(-1, base.shape[-1]), thin, self.lora_B, alpha=self.scaling)
        return rows.reshape(base.shape)


@_right("that scales x first and uses F.linear")
class ScaledInput(Adapted):
    def forward(self, x):
        thin = F.linear(self.scaling * x, self.lora_A.T)
        return self.base_layer(x) + F.linear(thin, self.lora_B.T)


@_right("that forms the full product of A and B first")
class FullProduct(Adapted):
    def forward(self, x):
        change = self.scaling * self.lora_A @ self.lora_B
        return torch.matmul(x, change) + self.base_layer(x)


@_right("that multiplies entry by entry and then sums over the inputs")
class ByHand(Adapted):
    def forward(self, x):
        products = x.unsqueeze(-1) * (self.lora_A @ self.lora_B)
        return self.base_layer(x) + products.sum(dim=-2) * self.scaling


@_right("that adds one direction of the rank after the other")
class OneByOne(Adapted):
    def forward(self, x):
        out = self.base_layer(x)
        for a, b in zip(self.lora_A.unbind(1), self.lora_B.unbind(0), strict=True):
            out = out + self.alpha / self.rank * (x * a).sum(-1, keepdim=True) * b
        return out


# Wrong: the layer of this lesson -------------------------------------------------------------------------------------


@_wrong("that multiplies A @ B with x entry by entry, as Attempt #1 does", "B is not zero")
class Elementwise(Adapted):
    def forward(self, x):
        return self.base_layer(x) + self.scaling * (self.lora_A @ self.lora_B) * x


# Wrong: the scaling --------------------------------------------------------------------------------------------------


@_wrong("that multiplies by alpha and does not divide it by the rank", "B is not zero", "rank is above 1")
class AlphaNotDivided(Adapted):
    def __init__(self, base_layer, rank=4, alpha=1):
        super().__init__(base_layer, rank, alpha)
        self.scaling = alpha

    def forward(self, x):
        return self.base_layer(x) + self.scaling * (x @ self.lora_A) @ self.lora_B


@_wrong("that divides the rank by alpha", "B is not zero", "alpha is not rank")
class RankOverAlpha(Adapted):
    def __init__(self, base_layer, rank=4, alpha=1):
        super().__init__(base_layer, rank, alpha)
        self.scaling = rank / alpha

    def forward(self, x):
        return self.base_layer(x) + self.scaling * (x @ self.lora_A) @ self.lora_B


@_wrong("that divides alpha by the square root of the rank", "B is not zero", "rank is above 1")
class RootOfRank(Adapted):
    def __init__(self, base_layer, rank=4, alpha=1):
        super().__init__(base_layer, rank, alpha)
        self.scaling = alpha / rank**0.5

    def forward(self, x):
        return self.base_layer(x) + self.scaling * (x @ self.lora_A) @ self.lora_B


@_wrong("that works its scaling out and never uses it", "B is not zero", "alpha is not rank")
class NoScaling(Adapted):
    def forward(self, x):
        return self.base_layer(x) + (x @ self.lora_A) @ self.lora_B


@_wrong("that applies the scaling twice", "B is not zero", "alpha is not rank")
class ScaledTwice(Adapted):
    def forward(self, x):
        thin = self.scaling * (x @ self.lora_A)
        return self.base_layer(x) + self.scaling * (thin @ self.lora_B)


@_wrong("that scales the base layer's output too", "alpha is not rank")
class BaseScaled(Adapted):
    def forward(self, x):
        return self.scaling * (self.base_layer(x) + (x @ self.lora_A) @ self.lora_B)


# Wrong: the base layer -----------------------------------------------------------------------------------------------


@_wrong("that returns the adapter's part alone, without the base layer's")
class BaseForgotten(Adapted):
    def forward(self, x):
        return self.scaling * (x @ self.lora_A) @ self.lora_B


@_wrong("that adds the base layer's bias twice", "the base has a bias")
class BiasTwice(Adapted):
    def forward(self, x):
        out = self.base_layer(x) + self.scaling * (x @ self.lora_A) @ self.lora_B
        return out if self.base_layer.bias is None else out + self.base_layer.bias


@_wrong("that drops the base layer's bias", "the base has a bias")
class BiasDropped(Adapted):
    def forward(self, x):
        return x @ self.base_layer.weight.T + self.scaling * (x @ self.lora_A) @ self.lora_B


# Wrong: the product --------------------------------------------------------------------------------------------------


@_wrong("whose output does not follow lora_B: its change was worked out once, when it was made", "B is not zero")
class MadeOnce(Adapted):
    def __init__(self, base_layer, rank=4, alpha=1):
        super().__init__(base_layer, rank, alpha)
        self.change = (self.lora_A @ self.lora_B).detach()

    def forward(self, x):
        return self.base_layer(x) + self.scaling * (x @ self.change.to(x))


@_wrong("that uses the first direction of the rank only", "B is not zero", "rank is above 1")
class FirstDirection(Adapted):
    def forward(self, x):
        return self.base_layer(x) + self.scaling * (x @ self.lora_A[:, :1]) @ self.lora_B[:1]


@_wrong("that reshapes A @ B where a transpose is needed", "B is not zero", "the entries of A or of B differ")
class Reshaped(Adapted):
    def forward(self, x):
        change = (self.lora_A @ self.lora_B).view(self.base_layer.weight.shape)
        return F.linear(x, self.base_layer.weight + self.scaling * change, self.base_layer.bias)


@_wrong("that multiplies x by A @ B the wrong way round", "B is not zero", "the entries of A or of B differ")
class Transposed(Adapted):
    def forward(self, x):
        return self.base_layer(x) + self.scaling * x @ (self.lora_A @ self.lora_B).T


@_wrong("that multiplies entry by entry and sums over the outputs", "B is not zero", "the entries of A or of B differ")
class WrongAxis(Adapted):
    def forward(self, x):
        products = x.unsqueeze(-1) * (self.lora_A @ self.lora_B)
        return self.base_layer(x) + self.scaling * products.sum(dim=-1)


@_wrong(
    "that adds the first row's update to every row of a batch", "B is not zero", "x is not 1-D", "the rows of x differ"
)
class FirstRow(Adapted):
    def forward(self, x):
        delta = self.scaling * (x @ self.lora_A) @ self.lora_B
        return self.base_layer(x) + (delta if x.ndim == 1 else delta[..., :1, :])


# Wrong: sizes and shapes ---------------------------------------------------------------------------------------------


@_wrong("that gives its output the shape of x, and so works on square layers only", "d and k differ")
class ShapeOfX(Adapted):
    def forward(self, x):
        delta = self.scaling * (x @ self.lora_A) @ self.lora_B
        return self.base_layer(x) + delta.reshape(x.shape)


@_wrong("that works for a 2-dimensional x only", "x is not 2-D")
class RowsOnly(Adapted):
    def forward(self, x):
        return self.base_layer(x) + self.scaling * torch.mm(torch.mm(x, self.lora_A), self.lora_B)


@_wrong("that works for a single x without a batch only", "B is not zero", "x is not 1-D")
class ColumnOnly(Adapted):
    def forward(self, x):
        return self.base_layer(x) + self.scaling * (self.lora_B.T @ (self.lora_A.T @ x))


@_wrong("that works for a batch of sequences only, a 3-dimensional x", "x is not 3-D")
class SequencesOnly(Adapted):
    def forward(self, x):
        batch = x.shape[0]
        thin = torch.bmm(x, self.lora_A.expand(batch, -1, -1))
        return self.base_layer(x) + self.scaling * torch.bmm(thin, self.lora_B.expand(batch, -1, -1))


@_wrong("that needs a batch, and raises for a single x without one", "x is 1-D")
class BatchNeeded(Adapted):
    def forward(self, x):
        delta = torch.einsum("n...d,dr,rk->n...k", x, self.lora_A, self.lora_B)
        return self.base_layer(x) + self.scaling * delta
