"""flops_full: what x @ (A @ B) costs."""

from autograde.checks.two_thin_products.flops import COUNT_BY_HAND, full_cost, layers
from autograde.judge.check import Check


class FlopsFull(Check):
    """The cost by the sizes."""

    name = "flops_full"
    points = 1
    note = "an int or a float, with the common factors taken out or not."
    next_step = COUNT_BY_HAND

    def cases(self, draw):
        return layers(draw)

    def right(self, n, d, k, r):
        return full_cost(n, d, k, r)


flops_full = FlopsFull()


@flops_full.misconception(
    "one_per_multiply_add",
    thought="A multiplication with its addition is one operation.",
    hint="Here each counts on its own. What does one entry of a product cost, then?",
)
def one_per_multiply_add(n, d, k, r):
    return d * r * k + n * d * k


@flops_full.misconception(
    "rows_forgotten",
    thought="The cost is that of one row.",
    hint="x has n rows. Which of the two products has x in it?",
)
def rows_forgotten(n, d, k, r):
    return 2 * d * r * k + 2 * d * k


@flops_full.misconception(
    "product_for_every_row",
    thought="Everything is done once for each of the n rows.",
    hint="A @ B does not depend on x. How often is it worked out in one call?",
)
def product_for_every_row(n, d, k, r):
    return n * (2 * d * r * k + 2 * d * k)


@flops_full.misconception(
    "product_forgotten",
    thought="The (d, k) matrix is there, and only has to be applied.",
    hint="Somebody has to make it out of A and B first. What does that cost?",
)
def product_forgotten(n, d, k, r):
    return 2 * n * d * k


@flops_full.misconception(
    "application_forgotten",
    thought="Making the (d, k) matrix is the work.",
    hint="A @ B says nothing about x yet. What does it cost to take n rows through it?",
)
def application_forgotten(n, d, k, r):
    return 2 * d * r * k


@flops_full.misconception(
    "sizes_multiplied",
    thought="A product of three matrices costs the product of all the sizes.",
    hint="There are two products, one after the other. Are their costs multiplied or added?",
)
def sizes_multiplied(n, d, k, r):
    return 2 * n * d * r * k


@flops_full.misconception(
    "one_addition_less",
    thought="A sum of b terms takes b - 1 additions.",
    hint="True on paper. The usual count, which this exercise states, gives every multiplication an addition.",
)
def one_addition_less(n, d, k, r):
    return d * k * (2 * r - 1) + n * k * (2 * d - 1)


@flops_full.misconception(
    "other_order",
    thought="x goes through A, and the result through B.",
    hint="That is the other function. Here A @ B comes first: what are the shapes of its factors?",
)
def other_order(n, d, k, r):
    return 2 * n * d * r + 2 * n * r * k
