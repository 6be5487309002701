"""Lesson 01: the closest matrix of low rank, and how much of a matrix a given rank holds."""

from dataclasses import replace

import torch

from autograde.checks.shared.assigned import Check
from autograde.judge import describe, tolerance
from autograde.judge.check import Case, Wrong
from autograde.judge.compare import Fault, as_number, is_number

_PAIRED = ("must match the size of tensor", "could not be broadcast together")  # of `*`, in torch and in numpy
_MISFITS = ("RuntimeError", "ValueError", "IndexError")  # what a misfit of sizes is reported by


class ClosestProduct(Check):
    """Tells the learner of a wrong product by its distance from M."""

    def fault(self, case, observation):
        """See `Check.fault`."""
        fault = super().fault(case, observation)
        if fault is None:
            return None
        if "raised" in observation and observation["raised"]["type"] in _MISFITS:
            return replace(fault, hint="Print the shape of every factor just before your line, for an M of this shape.")
        if fault.tensors is None:
            return fault
        product, best = fault.tensors
        rank, place = case.args["rank"], describe.largest_difference(product, best)
        return Fault(
            f"A @ B has the right shape but is not the closest product: {place}.",
            returned=f"a product at distance {describe.number(_distance(case, product))} from M (Frobenius norm)",
            expected=f"the least distance that rank {rank} allows: {describe.number(_distance(case, best))}",
            tensors=fault.tensors,
        )


class SmallestRank(Check):
    """Judges a rank, and knows one mistake by its kind where its many spellings part."""

    def same(self, case, a, b):
        """See `Check.same`. At fraction=1.0 any two wrong answers are the same.

        A running sum that must come to *more* than everything never does. What then comes back, n + 1, 1, None or an
        IndexError, depends on how the search is written, and says nothing more about the thought behind it. With any
        other sum that never reaches its goal it is the same.
        """
        never = case.args["fraction"] == 1.0 or all(_never_reached(case, seen) for seen in (a, b))
        if never and self.fault(case, a) and self.fault(case, b):
            return True
        return super().same(case, a, b)


def _never_reached(case, seen):
    """Whether an observation is what a search gives that has found nothing: all values, one more, None or an error."""
    if "raised" in seen:
        return seen["raised"]["type"] in (*_MISFITS, "StopIteration")
    value = seen.get("value")
    return value is None or (is_number(value) and as_number(value) >= min(case.args["M"].shape))


best_low_rank = ClosestProduct(
    "best_low_rank",
    points=3,
    note="US with Vᵀ, U with SVᵀ, or √S on both sides; by torch, by numpy, by eigenvectors of MᵀM: any A and B whose "
    "product is the closest.",
    next_step="torch.linalg.svd writes M as a sum of pieces. Which of them does your product hold, and at which size?",
)
rank_for_energy = SmallestRank(
    "rank_for_energy",
    points=2,
    parts={"answer": 1.5, "exactly met": 0.5},
    note="A loop, a running sum with a count, or searchsorted; from singular values or from the eigenvalues of MᵀM.",
    next_step="Do this case by hand, from its singular values: what has to be added up, and up to where?",
)
CHECKS = [best_low_rank, rank_for_energy]


# How much farther than the least distance still counts as the closest. Iterations that have converged stay far below, a
# wrong choice of what to keep far above: in every case the smallest value kept is eight times the largest one dropped.
MARGIN = 1e-2


def _distance(case, product):
    """The Frobenius norm of M - product."""
    return float(torch.linalg.norm(case.args["M"].double() - product.double()))


def _with_values(draw, d, k, values, dtype=torch.float32, contiguous=True):
    """A dense (d, k) matrix with these singular values, its singular vectors drawn at random."""
    n = len(values)
    left, _ = torch.linalg.qr(draw.tensor(d, n, dtype=torch.float64))
    right, _ = torch.linalg.qr(draw.tensor(k, n, dtype=torch.float64))
    M = ((left * torch.tensor(values, dtype=torch.float64)) @ right.T).to(dtype)
    return M if contiguous else M.mT.contiguous().mT


# best_low_rank -------------------------------------------------------------------------------------------------------


@best_low_rank.cases
def _(draw):
    d, k, rank = draw.layer(low=6)
    narrow, wide = min(d, k), max(d, k)

    def case(d, k, rank, label, **form):
        # A wide gap behind the values kept: there the closest product is one alone, and methods that iterate reach it.
        kept = [draw.choice([2.5, 3.0, 3.5]) * 0.75**i for i in range(rank)]
        dropped = [0.12 * min(kept) * 0.8**i for i in range(min(d, k) - rank)]
        return Case({"M": _with_values(draw, d, k, kept + dropped, **form), "rank": rank}, label)

    return [
        case(wide, narrow, rank, "more rows than columns"),
        case(narrow, wide, rank, "more columns than rows"),
        case(d, k, 1, "a single column times a single row"),
        case(wide, narrow, rank + 1, "M is a transposed view", dtype=torch.float64, contiguous=False),
        case(narrow, wide, narrow, "rank as large as it can be: nothing is lost"),
    ]


@best_low_rank.right
def _(M, rank):
    U, S, Vh = torch.linalg.svd(M, full_matrices=False)
    return (U[:, :rank] * S[:rank]) @ Vh[:rank]


@best_low_rank.compared
def _(value, case):
    M, rank = case.args["M"], case.args["rank"]
    (d, k), wanted = M.shape, f"(A, B) of shapes ({M.shape[0]}, {rank}) and ({rank}, {M.shape[1]})"
    returned = describe.contents(value)
    if not isinstance(value, list) or len(value) != 2:
        raise Wrong("The result is not a pair (A, B).", returned=returned, expected=wanted)
    for name, factor, shape in zip("AB", value, [(d, rank), (rank, k)], strict=True):
        if not isinstance(factor, torch.Tensor):
            raise Wrong(f"{name} is not a tensor but {describe.contents(factor)}.", returned=returned, expected=wanted)
        if factor.shape != shape:
            sizes = f"{describe.shape(factor.shape)}, not {describe.shape(shape)}"
            hint = "Each piece that is kept is a column of A and a row of B. How many are kept at this rank?"
            raise Wrong(f"{name} has shape {sizes}.", returned=returned, expected=wanted, hint=hint)
    A, B = value
    product, best = A.double() @ B.double(), best_low_rank.expected(case)
    limit = (1 + MARGIN) * _distance(case, best) + tolerance.allowed(M, M.dtype, case.device)
    return (best if _distance(case, product) <= limit else product).to(M.dtype)


def _pair(seen):
    """The two tensors of an observation; None where something else came back."""
    value = seen.get("value")
    two = isinstance(value, list) and len(value) == 2 and all(isinstance(part, torch.Tensor) for part in value)
    return value if two else None


def _shapes(case, seen):
    """``(shapes that came back, d, k, rank)``; no shapes where something else than two tensors came back."""
    d, k = case.args["M"].shape
    return [tuple(part.shape) for part in _pair(seen) or ()], d, k, case.args["rank"]


def _svd(case):
    return torch.linalg.svd(case.args["M"].double(), full_matrices=False)


def _near(a, b):
    """Whether two tensors are alike beyond chance, however roughly one of them was worked out."""
    return bool(torch.linalg.norm(a - b) <= 0.01 * torch.linalg.norm(b))


def _takes_the_first(case, seen):
    shapes, d, k, rank = _shapes(case, seen)
    if shapes != [(d, rank), (rank, k)] or not 1 < rank < min(d, k):
        return False
    M, (A, B) = case.args["M"].double(), _pair(seen)
    return _span(A.double(), M[:, :rank]) or _span(B.double().T, M[:rank].T)


def _span(columns, wanted):
    """Whether all of `wanted` are sums of `columns`, as they are of what a QR makes of them."""
    Q = torch.linalg.qr(columns.nan_to_num()).Q
    return _near(Q @ (Q.T @ wanted), wanted)


@best_low_rank.misconception(
    "first_columns",
    thought="The first columns or rows of M, as many as the rank, make a matrix of that rank, so they will do.",
    hint="The columns of M come in no order of importance. Which decomposition sorts what M is made of by size?",
    recognise=_takes_the_first,
)
def first_columns(M, rank):
    return M[:, :rank], torch.eye(rank, M.shape[1], dtype=M.dtype)


def _holds_the_smallest(case, seen):
    shapes, d, k, rank = _shapes(case, seen)
    if shapes != [(d, rank), (rank, k)] or rank >= min(d, k):
        return False
    (U, S, Vh), (A, B) = _svd(case), _pair(seen)
    return _near(A.double() @ B.double(), U[:, -rank:] * S[-rank:] @ Vh[-rank:])


@best_low_rank.misconception(
    "smallest_kept",
    thought="The pieces that count are at the other end of the list.",
    hint="Print S, or the eigenvalues: eigh sorts them upwards, svd downwards. Each piece of the sum is as large as its "
    "singular value: which must stay for M to change least?",
    recognise=_holds_the_smallest,
)
def smallest_kept(M, rank):
    U, S, Vh = torch.linalg.svd(M, full_matrices=False)
    return U[:, -rank:] * S[-rank:], Vh[-rank:]


@best_low_rank.misconception(
    "largest_skipped",
    thought="Counting starts at one, so the pieces to keep are those from 1 to rank.",
    hint="Python counts from 0. Which piece stands at position 0 of S, and is it in your product?",
)
def largest_skipped(M, rank):
    U, S, Vh = torch.linalg.svd(M, full_matrices=False)
    return U[:, 1 : rank + 1] * S[1 : rank + 1], Vh[1 : rank + 1]


@best_low_rank.misconception(
    "values_forgotten",
    thought="U and Vᵀ are the two factors. The singular values were left aside.",
    hint="The columns of U and the rows of Vᵀ all have length 1. Where in A @ B does the size of each piece come from?",
)
def values_forgotten(M, rank):
    U, S, Vh = torch.linalg.svd(M, full_matrices=False)
    return U[:, :rank], Vh[:rank]


@best_low_rank.misconception(
    "values_squared",
    thought="Both factors were multiplied by the singular values, or the eigenvalues of MᵀM were taken for them.",
    hint="Multiply out a single piece of A @ B. How often does its singular value stand in it, and how often in M?",
)
def values_squared(M, rank):
    U, S, Vh = torch.linalg.svd(M, full_matrices=False)
    return U[:, :rank] * S[:rank], S[:rank, None] * Vh[:rank]


@best_low_rank.misconception(
    "root_on_one_side",
    thought="The singular values are shared out by their square roots, and one factor got its share.",
    hint="Multiply out a single piece of A @ B. Which power of its singular value stands there, and which one in M?",
)
def root_on_one_side(M, rank):
    U, S, Vh = torch.linalg.svd(M, full_matrices=False)
    return U[:, :rank] * S[:rank].sqrt(), Vh[:rank]


def _has_signs_mixed(case, seen):
    shapes, d, k, rank = _shapes(case, seen)
    if shapes != [(d, rank), (rank, k)]:
        return False
    (U, S, Vh), (A, B) = _svd(case), _pair(seen)
    product = A.double() @ B.double()
    pieces = (U[:, :rank].T @ product @ Vh[:rank].T).diagonal()  # their sizes, signs included
    right_but_for_signs = _near(pieces.abs(), S[:rank]) and _near(U[:, :rank] * pieces @ Vh[:rank], product)
    return bool((pieces < 0).any()) and right_but_for_signs


@best_low_rank.misconception(
    "signs_mixed",
    thought="The columns come from one decomposition and the rows from another, and each is known up to its sign.",
    hint="u and -u are eigenvectors alike, so two calls need not choose together. For one piece, compare u times M with "
    "its row. Can one of the two be worked out from M and the other?",
    recognise=_has_signs_mixed,
)
def signs_mixed(M, rank):
    U = torch.linalg.eigh(M @ M.T)[1].flip(1)[:, :rank]
    values, V = torch.linalg.eigh(M.T @ M)
    return U * values.flip(0)[:rank].sqrt(), V.flip(1)[:, :rank].T


def _holds_v_the_wrong_way(case, seen):
    shapes, d, k, rank = _shapes(case, seen)
    if shapes[:1] != [(d, rank)]:
        return False
    if shapes[1] in [(k, rank), (min(d, k), rank)] and rank < min(d, k):
        return True
    if shapes[1] != (rank, k) or k > d:
        return False
    # Up to the sign and the size of each row: those depend on the library and on the split.
    columns = _svd(case)[2][:, :rank].T.abs()
    rows = _pair(seen)[1].double().abs()
    return tolerance.close(rows / torch.linalg.norm(rows, dim=1, keepdim=True), columns, case.args["M"].dtype)


@best_low_rank.misconception(
    "v_for_vt",
    thought="The third thing that an SVD gives is V, with a singular vector in each column.",
    hint="torch.linalg.svd gives Vᵀ, and torch.svd gives V. Print its shape: are the vectors its rows or its columns?",
    recognise=_holds_v_the_wrong_way,
)
def v_for_vt(M, rank):
    U, S, V = torch.linalg.svd(M)
    return U[:, :rank] * S[:rank], V[:, :rank].T


def _is_full_size(case, seen):
    shapes, d, k, rank = _shapes(case, seen)
    if len(shapes) != 2 or any(len(shape) != 2 for shape in shapes):
        return False
    (rows, inner), (outer, columns) = shapes
    return rows == d and columns == k and rank < min(d, k) <= max(inner, outer)


@best_low_rank.misconception(
    "full_size",
    thought="The SVD's factors are handed back whole. Their product is M itself, at any rank.",
    hint="Thin means that A has as many columns as the rank says, and B as many rows. What must go?",
    recognise=_is_full_size,
)
def full_size(M, rank):
    U, S, Vh = torch.linalg.svd(M, full_matrices=False)
    return U * S, Vh


@best_low_rank.misconception(
    "product_returned",
    thought="The closest matrix is the answer, so it is returned multiplied out.",
    hint="Stop one step earlier: two thin factors are asked for, because they are what is cheap to store.",
    recognise=lambda case, seen: getattr(seen.get("value"), "shape", None) == case.args["M"].shape,
)
def product_returned(M, rank):
    U, S, Vh = torch.linalg.svd(M, full_matrices=False)
    return (U[:, :rank] * S[:rank]) @ Vh[:rank]


def _is_swapped(case, seen):
    shapes, d, k, rank = _shapes(case, seen)
    return shapes in ([(rank, k), (d, rank)], [(k, rank), (rank, d)], [(rank, d), (k, rank)])


@best_low_rank.misconception(
    "swapped",
    thought="The factors are there, in the other order or with rows and columns the other way, as papers write them.",
    hint="In this course the product is A @ B: A is (d, rank), and d counts the rows of M. Print both shapes.",
    recognise=_is_swapped,
)
def swapped(M, rank):
    U, S, Vh = torch.linalg.svd(M, full_matrices=False)
    return Vh[:rank], U[:, :rank] * S[:rank]


@best_low_rank.misconception(
    "three_factors",
    thought="A singular value decomposition has three factors.",
    hint="Two are asked for. Into which of the other two can the singular values go?",
    recognise=lambda case, seen: isinstance(seen.get("value"), list) and len(seen["value"]) == 3,
)
def three_factors(M, rank):
    U, S, Vh = torch.linalg.svd(M, full_matrices=False)
    return U[:, :rank], S[:rank], Vh[:rank]


@best_low_rank.misconception(
    "values_are_a_vector",
    thought="`U @ S` scales the columns of U, as it would if S were a diagonal matrix.",
    hint="S is a vector. What does `@` do with a matrix and a vector, and which operation scales each column instead?",
    recognise=lambda case, seen: any(len(shape) == 1 for shape in _shapes(case, seen)[0]),
)
def values_are_a_vector(M, rank):
    U, S, Vh = torch.linalg.svd(M, full_matrices=False)
    return U[:, :rank] @ S[:rank], Vh[:rank]


def _holds_rows_of_u(case, seen):
    shapes, d, k, rank = _shapes(case, seen)
    if rank == d:
        return False
    if "raised" in seen:
        return any(f"({rank}x{n} and {rank}x{rank})" in seen["raised"]["message"] for n in (d, min(d, k)))
    return shapes in [[(rank, n), (rank, k)] for n in (d, min(d, k), rank)]


@best_low_rank.misconception(
    "rows_of_u",
    thought="`[:rank]` keeps the first pieces in U as it does in Vᵀ.",
    hint="`[:rank]` cuts the first axis. Print U.shape and Vh.shape: along which axis of each are the pieces counted?",
    recognise=_holds_rows_of_u,
)
def rows_of_u(M, rank):
    U, S, Vh = torch.linalg.svd(M, full_matrices=False)
    return U[:rank] * S, Vh[:rank]


@best_low_rank.misconception(
    "values_along_another_axis",
    thought="Multiplying by S scales the rows of Vᵀ as it scales the columns of U.",
    hint="`*` pairs S with the last axis of the other factor. Print all the shapes: along which axis of each are the "
    "pieces counted, and are there as many as in S?",
    recognise=lambda case, seen: "raised" in seen and any(words in seen["raised"]["message"] for words in _PAIRED),
)
def values_along_another_axis(M, rank):
    U, S, Vh = torch.linalg.svd(M, full_matrices=False)
    return U[:, :rank], S[:rank] * Vh[:rank]


# rank_for_energy -----------------------------------------------------------------------------------------------------


@rank_for_energy.cases
def _(draw):
    n = draw.integer(6, 7)
    more, most = n + draw.integer(1, 2), n + draw.integer(3, 4)

    def shown(values):
        return "singular values " + ", ".join(f"{value:.3g}" for value in values)

    def falling(d, k, target, largest, ratio, **form):
        return between(d, k, target, [largest * ratio**i for i in range(min(d, k))], **form)

    def between(d, k, target, values, **form):
        energy = torch.tensor(values, dtype=torch.float64) ** 2
        held = torch.cat([torch.zeros(1, dtype=torch.float64), energy.cumsum(0) / energy.sum()])
        # Half-way between what target - 1 values hold and what target values hold: no rounding can decide.
        fraction = round(float(held[target - 1] + held[target]) / 2, 3)
        return Case({"M": _with_values(draw, d, k, values, **form), "fraction": fraction}, shown(values))

    def exactly(d, k, values, fraction, dtype=torch.float32):
        # A diagonal matrix whose squares add up to a power of four, and those of the values left over to a perfect
        # square: singular values, squares, shares, norms and sums are exact in every float and in every order of work,
        # so that "at least" can be told from "more than".
        M = torch.zeros(d, k, dtype=dtype)
        for position, value in zip(draw.sizes(len(values), 0, len(values) - 1), values, strict=True):
            M[position, position] = value
        return Case({"M": M, "fraction": fraction}, shown(values), "exactly met")

    uneven, met = draw.choice([((3, 2, 1, 1, 1), 0.9375), ((6, 4, 2, 2, 2), 0.9375), ((2, 2, 2, 1, 1, 1, 1), 0.75)])
    # Values with exact square roots: where nothing may be left over, a product of roots must miss nothing either.
    equal = [draw.choice([0.25, 1.0, 4.0])] * 4

    # Sizes of the largest value on both sides of 1, falling slowly and fast: so any two known mistakes part somewhere.
    return [
        falling(more, n, 3, 2.6, draw.choice([0.68, 0.72])),
        falling(n, most, n - 2, 0.35, draw.choice([0.76, 0.78])),
        falling(n, more, 4, 1.3, 0.955, dtype=torch.float64, contiguous=False),
        falling(most, more, 1, 0.8, draw.choice([0.75, 0.8])),
        falling(most, n, n, 5.3, 0.95),
        falling(more, most, draw.integer(4, 5), 1.9, draw.choice([0.8, 0.83])),
        exactly(len(uneven), 9, uneven, met),
        exactly(6, 4, equal, 0.75),
        exactly(6, 8, [*equal, 0.0, 0.0], 1.0),
        exactly(7, 4, equal, 1.0, torch.float64),
        # One large value and many small ones, where a share of squares and one of plain values lie farthest apart.
        between(more, most, 2, [3.0, *(0.5 - 0.02 * i for i in range(more - 1))]),
    ]


@rank_for_energy.right
def _(M, fraction):
    energy = torch.linalg.svdvals(M) ** 2
    held = energy.cumsum(0) / energy.sum()
    return int((held < fraction - 1e-9).sum()) + 1


@rank_for_energy.misconception(
    "more_than_for_at_least",
    thought="The running sum has to pass the fraction. Where it meets it exactly, one value more is taken.",
    hint='"At least" is asked for. What does your comparison say when both sides are equal, as at fraction=1.0?',
)
def more_than_for_at_least(M, fraction):
    E = torch.linalg.svdvals(M) ** 2
    return int((E.cumsum(0) / E.sum() <= fraction).sum()) + 1


@rank_for_energy.misconception(
    "not_squared",
    thought="The singular values themselves add up to what M holds.",
    hint="The Frobenius norm squared is a sum of squares. Of which numbers, besides the entries of M?",
)
def not_squared(M, fraction):
    S = torch.linalg.svdvals(M)
    return int((S.cumsum(0) / S.sum() < fraction).sum()) + 1


@rank_for_energy.misconception(
    "squared_twice",
    thought="The eigenvalues of MᵀM are the singular values of M, so they are squared once more.",
    hint="Take M = [[3.0]]. What is its singular value, and what is the eigenvalue of MᵀM?",
)
def squared_twice(M, fraction):
    E = torch.linalg.svdvals(M) ** 4
    return int((E.cumsum(0) / E.sum() < fraction).sum()) + 1


@rank_for_energy.misconception(
    "norm_not_squared",
    thought="The share is taken of the norm, not of its square.",
    hint="Shares of a norm do not add up to 1: three values of equal size would hold 58 % each. What does add up?",
)
def norm_not_squared(M, fraction):
    E = torch.linalg.svdvals(M) ** 2
    return int(((E.cumsum(0) / E.sum()).sqrt() < fraction).sum()) + 1


@rank_for_energy.misconception(
    "whole_not_squared",
    thought="The squares of the values are compared with the norm of M.",
    hint="Multiply M by 10: the answer must stay the same. By how much does the running sum grow, and by how much the "
    "norm?",
)
def whole_not_squared(M, fraction):
    E = torch.linalg.svdvals(M) ** 2
    return int((E.cumsum(0) / torch.linalg.norm(M) < fraction).sum()) + 1


@rank_for_energy.misconception(
    "off_by_one",
    thought="The position at which the running sum gets there is the rank.",
    hint="At position 0 of the running sum, how many singular values have been added up?",
)
def off_by_one(M, fraction):
    E = torch.linalg.svdvals(M) ** 2
    return int((E.cumsum(0) / E.sum() < fraction).sum())


@rank_for_energy.misconception(
    "one_too_many",
    thought="One more is added to the count, to be on the safe side.",
    hint="Take a fraction that the largest value alone holds. What should come back, and what do you return?",
)
def one_too_many(M, fraction):
    E = torch.linalg.svdvals(M) ** 2
    return int((E.cumsum(0) / E.sum() < fraction).sum()) + 2


@rank_for_energy.misconception(
    "values_above_share_of_largest",
    thought="A singular value counts when it is larger than that fraction of the largest one.",
    hint="The question is about a sum: what the r largest hold together, not how large each one is.",
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


@rank_for_energy.misconception(
    "single_shares_above_fraction",
    thought="A singular value counts when its own share is above the fraction.",
    hint="Ten equal values hold a tenth each, and together they hold everything. Which sum must reach the fraction?",
)
def single_shares_above_fraction(M, fraction):
    E = torch.linalg.svdvals(M) ** 2
    return int((E / E.sum() >= fraction).sum())


@rank_for_energy.misconception(
    "not_divided_by_the_whole",
    thought="The running sum is compared with the fraction as it is.",
    hint="Multiply M by 10: the answer must stay the same. The fraction of what must be reached?",
)
def not_divided_by_the_whole(M, fraction):
    E = torch.linalg.svdvals(M) ** 2
    return int((E.cumsum(0) < fraction).sum()) + 1


@rank_for_energy.misconception(
    "smallest_first",
    thought="The running sum starts where the list starts, at the smallest value.",
    hint="The r largest are wanted. eigvalsh sorts upwards and svdvals downwards: print yours before you add them up.",
)
def smallest_first(M, fraction):
    E = torch.linalg.svdvals(M).flip(0) ** 2
    return int((E.cumsum(0) / E.sum() < fraction).sum()) + 1


@rank_for_energy.misconception(
    "lost_for_held",
    thought="The fraction says how much may be lost.",
    hint="Try fraction=0.99 on a matrix of your own: should nearly all of the singular values stay, or nearly none?",
)
def lost_for_held(M, fraction):
    E = torch.linalg.svdvals(M) ** 2
    return int((E.cumsum(0) / E.sum() < 1 - fraction).sum()) + 1


@rank_for_energy.misconception(
    "share_of_the_count",
    thought="To hold a fraction of the matrix, keep that fraction of its singular values.",
    hint="Singular values differ in size, so a few may hold nearly everything. What should be added up, not counted?",
)
def share_of_the_count(M, fraction):
    return int(-(-fraction * min(M.shape) // 1))  # rounded up
