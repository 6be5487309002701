"""The checks of a small lesson that only tests have: three exercises, one of them with partial credit."""

import torch

from autograde.judge.check import Case, Check

double = Check("double", points=2)
halve = Check("halve", points=3, parts={"answer": 2, "negative": 1})
total = Check("total", points=1)
CHECKS = [double, halve, total]


@double.cases
def _(draw):
    return [Case({"x": draw.tensor(*draw.sizes(2))}) for _ in range(2)]


@double.right
def _(x):
    return 2 * x


@double.misconception("squared", thought="Twice is to the power of two.", hint="What is twice 3?")
def squared(x):
    return x * x


@halve.cases
def _(draw):
    x = draw.tensor(*draw.sizes(2)).abs() + 1
    return [Case({"x": x}), Case({"x": -x}, "a negative x", "negative")]


@halve.right
def _(x):
    return x / 2


@halve.misconception("sign_lost", thought="A half is what is left without a sign.", hint="What is half of -4?")
def sign_lost(x):
    return abs(x) / 2


@total.cases
def _(draw):
    return [Case({"x": draw.tensor(*draw.sizes(3))})]


@total.right
def _(x):
    return torch.sum(x)


@total.misconception("mean", thought="The average is the sum.", hint="Sum two numbers.")
def mean(x):
    return x.mean()
