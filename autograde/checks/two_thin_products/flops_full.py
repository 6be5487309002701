"""flops_full: what x @ (A @ B) costs."""

from autograde.checks.shared.families import BRACKETS_LOST, ONE_ADDITION_LESS, ONE_PER_MULTIPLY_ADD, SIZES_MULTIPLIED
from autograde.checks.two_thin_products.flops import TWO_ON_ONE_PRODUCT, CostCheck, full_cost


class FlopsFull(CostCheck):
    """The cost by way of the full product."""

    name = "flops_full"

    def right(self, n, d, k, r):
        return full_cost(n, d, k, r)


flops_full = FlopsFull()


@flops_full.misconception(ONE_PER_MULTIPLY_ADD)
def one_per_multiply_add(n, d, k, r):
    return d * r * k + n * d * k


@flops_full.misconception(
    "rows_forgotten",
    thought="The cost is that of one row.",
    hint="x has n rows. In which of the two products does x take part?",
)
def rows_forgotten(n, d, k, r):
    return 2 * d * r * k + 2 * d * k


@flops_full.misconception(
    "product_for_every_row",
    thought="Everything is done once for each of the n rows.",
    hint="A @ B does not depend on x. How many times is it computed in one call?",
)
def product_for_every_row(n, d, k, r):
    return n * (2 * d * r * k + 2 * d * k)


@flops_full.misconception(
    "product_forgotten",
    thought="The (d, k) matrix already exists, and only has to be applied.",
    hint="Only A and B are given. What does it cost to compute the (d, k) matrix from them?",
)
def product_forgotten(n, d, k, r):
    return 2 * n * d * k


@flops_full.misconception(
    "application_forgotten",
    thought="Only making the (d, k) matrix costs anything.",
    hint="x is not used yet. What does it cost to multiply n rows by A @ B?",
)
def application_forgotten(n, d, k, r):
    return 2 * d * r * k


@flops_full.misconception(SIZES_MULTIPLIED)
def sizes_multiplied(n, d, k, r):
    return 2 * n * d * r * k


@flops_full.misconception(ONE_ADDITION_LESS)
def one_addition_less(n, d, k, r):
    return d * k * (2 * r - 1) + n * k * (2 * d - 1)


@flops_full.misconception(
    "other_order",
    thought="x is multiplied by A, and the result by B.",
    hint="That is the other function. Here A @ B comes first: what are the shapes of its factors?",
)
def other_order(n, d, k, r):
    return 2 * n * d * r + 2 * n * r * k


@flops_full.misconception(BRACKETS_LOST)
def brackets_lost(n, d, k, r):
    return 2 * d * k * r + n


@flops_full.misconception(TWO_ON_ONE_PRODUCT)
def two_on_the_first_product(n, d, k, r):
    return 2 * d * r * k + n * d * k


@flops_full.misconception(TWO_ON_ONE_PRODUCT)
def two_on_the_second_product(n, d, k, r):
    return d * r * k + 2 * n * d * k
