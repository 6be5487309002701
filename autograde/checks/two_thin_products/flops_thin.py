"""flops_thin: what (x @ A) @ B costs."""

from autograde.checks.shared.families import BRACKETS_LOST, ONE_ADDITION_LESS, ONE_PER_MULTIPLY_ADD, SIZES_MULTIPLIED
from autograde.checks.two_thin_products.flops import TWO_ON_ONE_PRODUCT, CostCheck, thin_cost


class FlopsThin(CostCheck):
    """The cost of two thin products."""

    name = "flops_thin"

    def right(self, n, d, k, r):
        return thin_cost(n, d, k, r)


flops_thin = FlopsThin()


@flops_thin.misconception(ONE_PER_MULTIPLY_ADD)
def one_per_multiply_add(n, d, k, r):
    return n * r * (d + k)


@flops_thin.misconception(
    "rows_forgotten",
    thought="The cost is that of one row.",
    hint="x has n rows. How does the cost of x @ A change when x has twice as many?",
)
def rows_forgotten(n, d, k, r):
    return 2 * r * (d + k)


@flops_thin.misconception(BRACKETS_LOST)
def brackets_lost(n, d, k, r):
    return 2 * n * r * d + k


@flops_thin.misconception(
    "parameters_counted",
    thought="The cost is the number of entries in A and B.",
    hint="That is how many numbers the adapter stores. How many rows use each number, and what does each use cost?",
)
def parameters_counted(n, d, k, r):
    return r * (d + k)


@flops_thin.misconception(
    "second_product_forgotten",
    thought="Only the product with A costs anything.",
    hint="What is left to do after x @ A, and how large is the result?",
)
def second_product_forgotten(n, d, k, r):
    return 2 * n * d * r


@flops_thin.misconception(
    "first_product_forgotten",
    thought="Only the product that makes the k outputs costs anything.",
    hint="The product with B starts from r numbers for each row. Which product makes these from d numbers?",
)
def first_product_forgotten(n, d, k, r):
    return 2 * n * r * k


@flops_thin.misconception(
    "second_product_from_d",
    thought="Every product starts from x, with its d numbers.",
    hint="Write the shapes of both factors of the second product. Over which size does it sum?",
)
def second_product_from_d(n, d, k, r):
    return 2 * n * d * r + 2 * n * d * k


@flops_thin.misconception(SIZES_MULTIPLIED)
def sizes_multiplied(n, d, k, r):
    return 2 * n * d * r * k


@flops_thin.misconception(ONE_ADDITION_LESS)
def one_addition_less(n, d, k, r):
    return n * r * (2 * d - 1) + n * k * (2 * r - 1)


@flops_thin.misconception(
    "other_order",
    thought="The (d, k) product comes first, and then x.",
    hint="That is the other function. In this one nothing of shape (d, k) is ever made: which two products are there?",
)
def other_order(n, d, k, r):
    return 2 * d * r * k + 2 * n * d * k


@flops_thin.misconception(TWO_ON_ONE_PRODUCT)
def two_on_the_first_product(n, d, k, r):
    return 2 * n * d * r + n * r * k


@flops_thin.misconception(TWO_ON_ONE_PRODUCT)
def two_on_the_second_product(n, d, k, r):
    return n * d * r + 2 * n * r * k


@flops_thin.misconception(
    "rows_on_one_product",
    thought="x has the n rows, and only the product with A has x in it.",
    hint="Write the shape of x @ A. How many rows reach the product with B?",
)
def rows_on_one_product(n, d, k, r):
    return 2 * n * d * r + 2 * r * k


@flops_thin.misconception(
    "base_counted",
    thought="The rows go through the base layer as well, so its product is counted.",
    hint="Count only what A and B cost. Which of your products uses neither of them?",
)
def base_counted(n, d, k, r):
    return 2 * n * d * k + 2 * n * d * r + 2 * n * r * k
