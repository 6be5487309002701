"""largest_rank_within: the largest rank that a budget pays for."""

from autograde.checks.shared.families import BRACKETS_LOST
from autograde.judge.check import Case, Check


class LargestRankWithin(Check):
    """Compares values."""

    name = "largest_rank_within"
    points = 1
    note = "a whole number from one division, from a loop that counts up or down, or by bisection."
    next_step = (
        "Count the adapter's values at the rank that you return, and at the next one. The first count must fit "
        "into the budget, the second must not."
    )

    def cases(self, draw):
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

    def right(self, d, k, budget):
        return budget // (d + k)


largest_rank_within = LargestRankWithin()


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
    thought="The budget also has to pay for the layer's bias.",
    hint="The budget is for the adapter alone, and the adapter has no bias.",
)
def bias_paid_from_budget(d, k, budget):
    return (budget - k) // (d + k)


@largest_rank_within.misconception(
    "minus_one_for_none",
    thought="-1 says that nothing fits.",
    hint="If not even rank 1 fits into the budget, there is no adapter. Which rank has an adapter without any values?",
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
    thought="The smaller of the two sizes is not a possible rank.",
    hint="Count the values at the rank after the one that you return. They still fit.",
)
def smaller_size_left_out(d, k, budget):
    return min(budget // (d + k), min(d, k) - 1)


@largest_rank_within.misconception(
    "never_zero",
    thought="A rank is at least 1.",
    hint="If not even rank 1 fits into the budget, there is no adapter. What should the answer be then?",
)
def never_zero(d, k, budget):
    return max(1, budget // (d + k))


@largest_rank_within.misconception(BRACKETS_LOST)
def brackets_lost(d, k, budget):
    return budget // d + k


@largest_rank_within.misconception(
    "weight_size",
    thought="A rank costs as much as the weight.",
    hint="One more rank adds a column to A and a row to B. How many values is that?",
)
def weight_size(d, k, budget):
    return budget // (d * k)


@largest_rank_within.misconception(
    "base_paid_from_budget",
    thought="The budget also has to pay for the frozen weight.",
    hint="The budget is for the adapter. The weight is there already, whatever the rank.",
)
def base_paid_from_budget(d, k, budget):
    return max(0, (budget - d * k) // (d + k))


@largest_rank_within.misconception(
    "only_A",
    thought="One more rank is one more column of A.",
    hint="And what must B get with it?",
)
def only_A(d, k, budget):
    return budget // d


@largest_rank_within.misconception(
    "only_B",
    thought="One more rank is one more row of B.",
    hint="And what must A get with it?",
)
def only_B(d, k, budget):
    return budget // k


@largest_rank_within.misconception(
    "square_from_d",
    thought="A and B are equally large.",
    hint="That is so in a square layer. How long is one column of A, and how long is one row of B?",
)
def square_from_d(d, k, budget):
    return budget // (2 * d)


@largest_rank_within.misconception(
    "square_from_k",
    thought="A and B are equally large.",
    hint="That is so in a square layer. How long is one column of A, and how long is one row of B?",
)
def square_from_k(d, k, budget):
    return budget // (2 * k)


@largest_rank_within.misconception(
    "half_for_each",
    thought="A and B get half of the budget each.",
    hint="They may differ in size, and then one of them does not use all of its half. What does one more rank "
    "cost, in both together?",
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
    hint="That is a habit, not a rule. Count the values at the rank after the one that you return.",
)
def power_of_two(d, k, budget):
    rank = budget // (d + k)
    return 2 ** (rank.bit_length() - 1) if rank else 0


@largest_rank_within.misconception(
    "values_for_rank",
    thought="The answer is the part of the budget that can be used.",
    hint="That is the size of an adapter. At which rank does it have that size?",
)
def values_for_rank(d, k, budget):
    return budget // (d + k) * (d + k)


@largest_rank_within.misconception(
    "left_over",
    thought="% gives the whole part of a quotient.",
    hint="% gives the remainder of a division. Which operator gives the whole part?",
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
