"""The checks of lesson 90: three exercises, one of them with partial credit."""

from autograde.judge.answer import RightAnswer
from autograde.judge.check import Case, Check


class Double(Check):
    name = "double"
    points = 2
    answer = RightAnswer("""
def double(x):
    return 2 * x
""")
    answer.slip("squared", "2 * x", "x * x", thought="Twice is to the power of two.", hint="What is twice 3?")

    def cases(self, draw):
        return [Case({"x": draw.tensor(*draw.sizes(2))}) for _ in range(2)]


class Halve(Check):
    name = "halve"
    points = 3
    parts = {"answer": 2, "negative": 1}

    def cases(self, draw):
        x = draw.tensor(*draw.sizes(2)).abs() + 1
        return [Case({"x": x}), Case({"x": -x}, "a negative x", "negative")]

    def right(self, x):
        return x / 2


class Total(Check):
    name = "total"
    points = 1

    def cases(self, draw):
        return [Case({"x": draw.tensor(*draw.sizes(3))})]

    def right(self, x):
        return x.sum()


double, halve, total = Double(), Halve(), Total()
CHECKS = [double, halve, total]


@halve.misconception("sign_lost", thought="A half is what is left without a sign.", hint="What is half of -4?")
def sign_lost(x):
    return abs(x) / 2


@total.misconception("mean", thought="The average is the sum.", hint="Sum two numbers.")
def mean(x):
    return x.mean()
