"""rank_for_energy: how many singular values hold a given share of a matrix."""

from dataclasses import replace

import torch

from autograde.checks.low_rank.matrices import SIZE_ERRORS, with_values
from autograde.judge.answer import RightAnswer
from autograde.judge.check import Case, Check
from autograde.judge.compare import as_number, is_number


def _never_reached(case, observation):
    """Whether the result is that of a search without a hit: all values, one more, None or an error."""
    if "raised" in observation:
        return observation["raised"]["type"] in (*SIZE_ERRORS, "StopIteration")
    value = observation.get("value")
    return value is None or (is_number(value) and as_number(value) >= min(case.args["M"].shape))


answer = RightAnswer("""
def rank_for_energy(M, fraction):
    E = torch.linalg.svdvals(M) ** 2
    held = E.cumsum(0) / E.sum()
    return int((held < fraction).sum()) + 1
""")


class RankForEnergy(Check):
    """Judges a rank, and recognises one mistake by its kind where its spellings give different numbers."""

    name = "rank_for_energy"
    answer = answer
    points = 2
    parts = {"answer": 1.5, "exactly met": 0.5}
    note = "A loop, a running sum with a count, or searchsorted; from singular values or from the eigenvalues of MᵀM."
    next_step = "Do this case by hand, from its singular values: what must you add up, and how far?"

    def cases(self, draw):
        n = draw.integer(6, 7)
        more, most = n + draw.integer(1, 2), n + draw.integer(3, 4)

        def label_for(values):
            return "singular values " + ", ".join(f"{value:.3g}" for value in values)

        def geometric(d, k, target, largest, ratio, **form):
            return case_between(d, k, target, [largest * ratio**i for i in range(min(d, k))], **form)

        def case_between(d, k, target, values, **form):
            energy = torch.tensor(values, dtype=torch.float64) ** 2
            cumulative_share = torch.cat([torch.zeros(1, dtype=torch.float64), energy.cumsum(0) / energy.sum()])
            # Half-way between what target - 1 values hold and what target values hold: no rounding can decide.
            fraction = round(float(cumulative_share[target - 1] + cumulative_share[target]) / 2, 3)
            return Case({"M": with_values(draw, d, k, values, **form), "fraction": fraction}, label_for(values))

        def exact_case(d, k, values, fraction, dtype=torch.float32):
            # A diagonal matrix whose squares add up to a power of four, and those of the values left over to a perfect
            # square: singular values, squares, shares, norms and sums are exact in every float and in every order of work,
            # so that "at least" can be told from "more than".
            M = torch.zeros(d, k, dtype=dtype)
            for position, value in zip(draw.sizes(len(values), 0, len(values) - 1), values, strict=True):
                M[position, position] = value
            return Case({"M": M, "fraction": fraction}, label_for(values), "exactly met")

        uneven, met = draw.choice([((3, 2, 1, 1, 1), 0.9375), ((6, 4, 2, 2, 2), 0.9375), ((2, 2, 2, 1, 1, 1, 1), 0.75)])
        # Values with exact square roots: where nothing may be left over, a product of roots must miss nothing either.
        equal = [draw.choice([0.25, 1.0, 4.0])] * 4

        # Sizes of the largest value on both sides of 1, falling slowly and fast: so any two known mistakes differ somewhere.
        cases = [
            geometric(more, n, 3, 2.6, draw.choice([0.68, 0.72])),
            geometric(n, most, n - 2, 0.35, draw.choice([0.76, 0.78])),
            geometric(n, more, 4, 1.3, 0.955, dtype=torch.float64, contiguous=False),
            geometric(most, more, 1, 0.8, draw.choice([0.75, 0.8])),
            geometric(most, n, n, 5.3, 0.95),
            geometric(more, most, draw.integer(4, 5), 1.9, draw.choice([0.8, 0.83])),
            exact_case(len(uneven), 9, uneven, met),
            exact_case(6, 4, equal, 0.75),
            exact_case(6, 8, [*equal, 0.0, 0.0], 1.0),
            exact_case(7, 4, equal, 1.0, torch.float64),
            # One large value and many small ones, where a share of squares and one of plain values lie farthest apart.
            case_between(more, most, 2, [3.0, *(0.5 - 0.02 * i for i in range(more - 1))]),
        ]
        # Most ranks are the same at each draw: none shall be right by its place in the order.
        return draw.shuffled(cases)

    def right(self, M, fraction):
        energy = torch.linalg.svdvals(M) ** 2
        cumulative_share = energy.cumsum(0) / energy.sum()
        return int((cumulative_share < fraction - 1e-9).sum()) + 1

    def fault(self, case, observation):
        """See `Check.fault`."""
        fault, value, n = super().fault(case, observation), observation.get("value"), min(case.args["M"].shape)
        if fault is None or not is_number(value) or as_number(value) <= n:
            return fault
        return replace(
            fault,
            hint=f"This M has {n} singular values. Print what you add up: how many numbers are there, and what are they?",
        )

    def same(self, case, a, b):
        """See `Check.same`. At fraction=1.0 any two wrong answers are the same.

        A running sum that must come to *more* than everything never does. What then comes back, n + 1, 1, None or an
        IndexError, depends on how the search is written, and says nothing more about the thought behind it. With any
        other sum that never reaches its goal it is the same.
        """
        never = case.args["fraction"] == 1.0 or all(_never_reached(case, observation) for observation in (a, b))
        if never and self.fault(case, a) and self.fault(case, b):
            return True
        return super().same(case, a, b)


rank_for_energy = RankForEnergy()


answer.slip(
    "more_than_for_at_least",
    "< fraction",
    "<= fraction",
    thought="The running sum has to pass the fraction. Where it meets it exactly, one value more is taken.",
    hint='"At least" is asked for. What does your comparison say when both sides are equal, as at fraction=1.0?',
)


answer.slip(
    "not_squared",
    " ** 2",
    "",
    thought="The singular values themselves add up to the energy of M.",
    hint="The Frobenius norm squared is a sum of squares. Of which numbers, besides the entries of M?",
)


answer.slip(
    "squared_twice",
    "** 2",
    "** 4",
    thought="The eigenvalues of MᵀM are the singular values of M, so they are squared once more.",
    hint="Take M = [[3.0]]. What is its singular value, and what is the eigenvalue of MᵀM?",
)


answer.slip(
    "norm_not_squared",
    "held <",
    "held.sqrt() <",
    thought="The share is taken of the norm, not of its square.",
    hint="Shares of a norm do not add up to 1: each of three equal values would have 58 %. Which shares do add up?",
)


answer.slip(
    "whole_not_squared",
    "E.sum()",
    "torch.linalg.norm(M)",
    thought="The squares of the values are compared with the norm of M.",
    hint="Multiply M by 10: the answer must stay the same. By how much does the running sum grow, and by how much the "
    "norm?",
)


answer.slip(
    "off_by_one",
    " + 1",
    "",
    thought="The position at which the running sum reaches the fraction is the rank.",
    hint="At position 0 of the running sum, how many singular values have been added up?",
)


answer.slip(
    "one_too_many",
    "+ 1",
    "+ 2",
    thought="One more is added to the count, to be on the safe side.",
    hint="Take a fraction that the largest value alone reaches. What should the answer be, and what do you return?",
)


@rank_for_energy.misconception(
    "values_above_share_of_largest",
    thought="A singular value counts when it is larger than that fraction of the largest one.",
    hint="The question is about a sum: how much the r largest have together, not how large each one is.",
)
def values_above_share_of_largest(M, fraction):
    S = torch.linalg.svdvals(M)
    return int((S >= fraction * S[0]).sum())


@rank_for_energy.misconception(
    "values_above_fraction",
    thought="Every singular value above the fraction counts.",
    hint="Multiply M by 10: the answer must stay the same. Compare shares of a whole, added up from the largest on.",
)
def values_above_fraction(M, fraction):
    return int((torch.linalg.svdvals(M) > fraction).sum())


answer.slip(
    "single_shares_above_fraction",
    "int((held < fraction).sum()) + 1",
    "int((E / E.sum() >= fraction).sum())",
    thought="A singular value counts when its own share is above the fraction.",
    hint="Ten equal values hold a tenth each, and together they hold everything. Which sum must reach the fraction?",
)


answer.slip(
    "not_divided_by_the_whole",
    " / E.sum()",
    "",
    thought="The running sum is compared with the fraction as it is.",
    hint="Multiply M by 10: the answer must stay the same. The fraction of what must be reached?",
)


answer.slip(
    "smallest_first",
    "svdvals(M)",
    "svdvals(M).flip(0)",
    thought="The running sum starts where the list starts, at the smallest value.",
    hint="The r largest are wanted. eigvalsh sorts upwards and svdvals downwards: print yours before you add them up.",
)


answer.slip(
    "counted_from_the_end",
    "int((held < fraction).sum()) + 1",
    "int((held >= fraction).sum())",
    thought="The sums that reach the fraction are counted.",
    hint="Write the running sums down for a small S. Which of them reach the fraction, and which come before the first that does?",
)


answer.slip(
    "error_not_squared",
    "(held < fraction)",
    "((1 - held).clamp(min=0).sqrt() > 1 - fraction)",
    thought="The closest product may miss a share of the norm of M: one minus the fraction.",
    hint="The fraction is a share of the squared norm. If three quarters of the squares are kept, which share of "
    "the norm is missing?",
)


answer.slip(
    "lost_for_held",
    "< fraction",
    "< 1 - fraction",
    thought="The fraction says how much may be lost.",
    hint="Try fraction=0.99 on a matrix of your own: should nearly all of the singular values stay, or nearly none?",
)


@rank_for_energy.misconception(
    "share_of_the_count",
    thought="To hold a fraction of the matrix, keep that fraction of its singular values.",
    hint="Singular values differ in size, so a few may have nearly all of the energy. What should you add up "
    "instead of counting?",
)
def share_of_the_count(M, fraction):
    return int(-(-fraction * min(M.shape) // 1))  # rounded up
