"""best_low_rank: the two thin factors of the closest matrix of a given rank."""

from dataclasses import replace

import torch

from autograde.checks.low_rank.matrices import BROADCAST_MESSAGES, SIZE_ERRORS, with_values
from autograde.checks.shared.draws import layer_sizes
from autograde.checks.shared.families import VIEW_FOR_TRANSPOSE
from autograde.judge import describe, tolerance
from autograde.judge.answer import RightAnswer
from autograde.judge.check import Case, Check, Wrong
from autograde.judge.compare import NUMBERS, Fault, holds_numbers

answer = RightAnswer("""
def best_low_rank(M, rank):
    U, S, Vh = torch.linalg.svd(M, full_matrices=False)
    return U[:, :rank] * S[:rank], Vh[:rank]
""")


class BestLowRank(Check):
    """Compares the product A @ B, and reports how far a wrong one is from M."""

    name = "best_low_rank"
    answer = answer
    points = 3
    note = (
        "US with Vᵀ, U with SVᵀ, or √S on both sides; by torch, by numpy, by eigenvectors of MᵀM: any A and B whose "
        "product is the closest."
    )
    next_step = "torch.linalg.svd writes M as a sum of pieces. Which of them are in your product, and with which size?"

    def cases(self, draw):
        d, k, rank = layer_sizes(draw, low=6)
        narrow, wide = min(d, k), max(d, k)

        def case(d, k, rank, label, **form):
            # A wide gap behind the values kept: there the closest product is one alone, and methods that iterate reach it.
            kept_values = [draw.choice([2.5, 3.0, 3.5]) * 0.75**i for i in range(rank)]
            dropped_values = [0.12 * min(kept_values) * 0.8**i for i in range(min(d, k) - rank)]
            return Case({"M": with_values(draw, d, k, kept_values + dropped_values, **form), "rank": rank}, label)

        return [
            case(wide, narrow, rank, "more rows than columns"),
            case(narrow, wide, rank, "more columns than rows"),
            case(d, k, 1, "a single column times a single row"),
            case(wide, narrow, rank + 1, "M is a transposed view", dtype=torch.float64, contiguous=False),
            case(narrow, wide, narrow, "rank as large as it can be: nothing is lost"),
        ]

    def right(self, M, rank):
        U, S, Vh = torch.linalg.svd(M, full_matrices=False)
        return (U[:, :rank] * S[:rank]) @ Vh[:rank]

    def compared(self, value, case):
        M, rank = case.args["M"], case.args["rank"]
        (d, k), expected_shapes = M.shape, f"(A, B) of shapes ({M.shape[0]}, {rank}) and ({rank}, {M.shape[1]})"
        returned = describe.contents(value)
        if not isinstance(value, list) or len(value) != 2:
            hint = "Return both factors, A first, with a comma between them."
            raise Wrong("The result is not a pair (A, B).", returned=returned, expected=expected_shapes, hint=hint)
        for name, factor, shape in zip("AB", value, [(d, rank), (rank, k)], strict=True):
            if not isinstance(factor, torch.Tensor):
                raise Wrong(
                    f"{name} is not a tensor but {describe.contents(factor)}.",
                    returned=returned,
                    expected=expected_shapes,
                    hint=NUMBERS if holds_numbers(factor) else "",
                )
            if factor.shape != shape:
                sizes = f"{describe.shape(factor.shape)}, not {describe.shape(shape)}"
                hint = "Each piece that is kept is a column of A and a row of B. How many are kept at this rank?"
                inner = 1 if name == "A" else 0
                if factor.ndim == 2 and factor.shape[inner] == rank:
                    hint = "The rank is right. A has a row for each row of M, and B a column for each column of M: count both."
                raise Wrong(f"{name} has shape {sizes}.", returned=returned, expected=expected_shapes, hint=hint)
        A, B = value
        product, best = A.double() @ B.double(), best_low_rank.expected(case)
        limit = (1 + MARGIN) * _distance(case, best) + tolerance.allowed(M, M.dtype, case.device)
        return (best if _distance(case, product) <= limit else product).to(M.dtype)

    def fault(self, case, observation):
        """See `Check.fault`."""
        fault = super().fault(case, observation)
        if fault is None:
            return None
        if "raised" in observation and observation["raised"]["type"] in SIZE_ERRORS and not fault.hint:
            return replace(fault, hint="Print the shape of every factor just before your line, for an M of this shape.")
        if fault.tensors is None:
            return fault
        product, best = fault.tensors
        rank, place = case.args["rank"], describe.largest_difference(product, best)
        return Fault(
            f"A @ B has the right shape but is not the closest product: {place}.",
            returned=f"a product at distance {describe.number(_distance(case, product))} from M (Frobenius norm)",
            expected=f"the least distance that rank {rank} allows: {describe.number(_distance(case, best))}",
            hint=FEWER_DIGITS if _has_fewer_digits(case, observation) and _is_close(product, best) else "",
            tensors=fault.tensors,
        )


best_low_rank = BestLowRank()


# How much farther than the least distance still counts as the closest. Iterations that have converged stay far below, a
# wrong choice of what to keep far above: in every case the smallest value kept is eight times the largest one dropped.
MARGIN = 1e-2


FEWER_DIGITS = "The product is close, but A or B has a dtype with fewer digits than M. Which line changes the dtype?"


def _has_fewer_digits(case, observation):
    eps = [torch.finfo(factor.dtype).eps for factor in _returned_pair(observation) if factor.is_floating_point()]
    return max(eps, default=0) > torch.finfo(case.args["M"].dtype).eps


def _distance(case, product):
    """The Frobenius norm of M - product."""
    return float(torch.linalg.norm(case.args["M"].double() - product.double()))


def _returned_pair(observation):
    """The two returned tensors; None where something else was returned."""
    value = observation.get("value")
    two = isinstance(value, list) and len(value) == 2 and all(isinstance(part, torch.Tensor) for part in value)
    return value if two else None


def _shapes(case, observation):
    """``(shapes that came back, d, k, rank)``; no shapes where something other than two tensors was returned."""
    d, k = case.args["M"].shape
    return [tuple(part.shape) for part in _returned_pair(observation) or ()], d, k, case.args["rank"]


def _svd(case):
    return torch.linalg.svd(case.args["M"].double(), full_matrices=False)


def _is_close(a, b):
    """Whether two tensors agree within 1 % of the norm of the second: close enough to rule out chance."""
    return bool(torch.linalg.norm(a - b) <= 0.01 * torch.linalg.norm(b))


def _takes_the_first(case, observation):
    shapes, d, k, rank = _shapes(case, observation)
    if shapes != [(d, rank), (rank, k)] or not 1 < rank < min(d, k):
        return False
    M, (A, B) = case.args["M"].double(), _returned_pair(observation)
    return _spans(A.double(), M[:, :rank]) or _spans(B.double().T, M[:rank].T)


def _spans(columns, vectors):
    """Whether `columns` span all of `vectors`, as the columns of their QR factor Q do."""
    Q = torch.linalg.qr(columns.nan_to_num()).Q
    return _is_close(Q @ (Q.T @ vectors), vectors)


@best_low_rank.misconception(
    "first_columns",
    thought="The first columns or rows of M make a matrix of the right rank, so they are the answer.",
    hint="The columns of M are not sorted by importance. Which decomposition sorts the pieces of M by size?",
    recognise=_takes_the_first,
)
def first_columns(M, rank):
    return M[:, :rank], torch.eye(rank, M.shape[1], dtype=M.dtype)


def _holds_the_smallest(case, observation):
    shapes, d, k, rank = _shapes(case, observation)
    if shapes != [(d, rank), (rank, k)] or rank >= min(d, k):
        return False
    (U, S, Vh), (A, B) = _svd(case), _returned_pair(observation)
    return _is_close(A.double() @ B.double(), U[:, -rank:] * S[-rank:] @ Vh[-rank:])


answer.slip(
    "smallest_kept",
    "U[:, :rank] * S[:rank], Vh[:rank]",
    "U[:, -rank:] * S[-rank:], Vh[-rank:]",
    thought="The pieces that count are at the other end of the list.",
    hint="Print S, or the eigenvalues: eigh sorts them upwards, svd downwards. Each piece of the sum is as large as its "
    "singular value: which must stay for M to change least?",
    recognise=_holds_the_smallest,
)


answer.slip(
    "largest_skipped",
    "U[:, :rank] * S[:rank], Vh[:rank]",
    "U[:, 1 : rank + 1] * S[1 : rank + 1], Vh[1 : rank + 1]",
    thought="Counting starts at one, so the pieces to keep are those from 1 to rank.",
    hint="Python counts from 0. Which piece is at position 0 of S, and is it in your product?",
)


answer.slip(
    "values_forgotten",
    " * S[:rank]",
    "",
    thought="U and Vᵀ are the two factors. The singular values were left aside.",
    hint="The columns of U and the rows of Vᵀ all have length 1. Where in A @ B does the size of each piece come from?",
)


answer.slip(
    "values_squared",
    "Vh[:rank]",
    "S[:rank, None] * Vh[:rank]",
    thought="Both factors were multiplied by the singular values, or the eigenvalues of MᵀM were taken for them.",
    hint="Compute a single piece of A @ B. How many times is its singular value a factor there, and how many "
    "times in M?",
)


answer.slip(
    "root_on_one_side",
    "* S[:rank]",
    "* S[:rank].sqrt()",
    thought="The singular values are shared out by their square roots, and one factor got its share.",
    hint="Compute a single piece of A @ B. Which power of its singular value is a factor there, and which one in M?",
)


def _has_signs_mixed(case, observation):
    shapes, d, k, rank = _shapes(case, observation)
    if shapes != [(d, rank), (rank, k)]:
        return False
    (U, S, Vh), (A, B) = _svd(case), _returned_pair(observation)
    product = A.double() @ B.double()
    pieces = (U[:, :rank].T @ product @ Vh[:rank].T).diagonal()  # their sizes, signs included
    right_but_for_signs = _is_close(pieces.abs(), S[:rank]) and _is_close(U[:, :rank] * pieces @ Vh[:rank], product)
    return bool((pieces < 0).any()) and right_but_for_signs


@best_low_rank.misconception(
    "signs_mixed",
    thought="The columns come from one decomposition and the rows from another, and each is known up to its sign.",
    hint="Both u and -u are eigenvectors, so two calls may choose different signs. For one piece, compare u times "
    "M with its row. Can you compute one of the two from M and the other?",
    recognise=_has_signs_mixed,
)
def signs_mixed(M, rank):
    U = torch.linalg.eigh(M @ M.T)[1].flip(1)[:, :rank]
    values, V = torch.linalg.eigh(M.T @ M)
    return U * values.flip(0)[:rank].sqrt(), V.flip(1)[:, :rank].T


def _holds_v_the_wrong_way(case, observation):
    shapes, d, k, rank = _shapes(case, observation)
    if shapes[:1] != [(d, rank)]:
        return False
    if shapes[1] in [(k, rank), (min(d, k), rank)] and rank < min(d, k):
        return True
    if shapes[1] != (rank, k) or k > d:
        return False
    # Up to the sign and the size of each row: those depend on the library and on the split.
    columns = _svd(case)[2][:, :rank].T.abs()
    rows = _returned_pair(observation)[1].double().abs()
    return tolerance.close(rows / torch.linalg.norm(rows, dim=1, keepdim=True), columns, case.args["M"].dtype)


answer.slip(
    "v_for_vt",
    "U, S, Vh = torch.linalg.svd(M, full_matrices=False)",
    "U, S, V = torch.linalg.svd(M)",
    "Vh[:rank]",
    "V[:, :rank].T",
    thought="The third tensor of an SVD is V, with a singular vector in each column.",
    hint="torch.linalg.svd gives Vᵀ, and torch.svd gives V. Print its shape: are the vectors its rows or its columns?",
    recognise=_holds_v_the_wrong_way,
)


answer.slip(
    VIEW_FOR_TRANSPOSE,
    "Vh[:rank]",
    "Vh[:rank].T.reshape(rank, -1)",
    hint="reshape keeps the values in their order in memory, and mixes the vectors. Which operation turns each "
    "column into a row?",
)


def _is_of_centred(case, observation):
    shapes, d, k, rank = _shapes(case, observation)
    if shapes != [(d, rank), (rank, k)]:
        return False
    A, B = _returned_pair(observation)
    M = case.args["M"].double()
    U, S, Vh = torch.linalg.svd(M - M.mean(0), full_matrices=False)
    return _is_close(A.double() @ B.double(), U[:, :rank] * S[:rank] @ Vh[:rank])


answer.slip(
    "centred",
    "torch.linalg.svd(M,",
    "torch.linalg.svd(M - M.mean(0),",
    thought="The mean of each column is subtracted first, as in principal component analysis.",
    hint="The product must be close to M itself. What is missing from it? torch.pca_lowrank subtracts the mean "
    "unless told not to.",
    recognise=_is_of_centred,
)


def _is_full_size(case, observation):
    shapes, d, k, rank = _shapes(case, observation)
    if len(shapes) != 2 or any(len(shape) != 2 for shape in shapes):
        return False
    (rows, inner), (outer, columns) = shapes
    return rows == d and columns == k and rank < min(d, k) <= max(inner, outer)


answer.slip(
    "full_size",
    "U[:, :rank] * S[:rank], Vh[:rank]",
    "U * S, Vh",
    thought="The SVD's factors are returned whole. Their product is M itself, at any rank.",
    hint="Thin means that A has `rank` columns and B has `rank` rows. Which parts must you leave out?",
    recognise=_is_full_size,
)


answer.slip(
    "product_returned",
    "U[:, :rank] * S[:rank], Vh[:rank]",
    "(U[:, :rank] * S[:rank]) @ Vh[:rank]",
    thought="The closest matrix is the answer, so the product is returned.",
    hint="Stop one step earlier: return the two thin factors, because only these are cheap to store.",
    recognise=lambda case, observation: getattr(observation.get("value"), "shape", None) == case.args["M"].shape,
)


def _is_swapped(case, observation):
    shapes, d, k, rank = _shapes(case, observation)
    return shapes in ([(rank, k), (d, rank)], [(k, rank), (rank, d)], [(rank, d), (k, rank)])


answer.slip(
    "swapped",
    "U[:, :rank] * S[:rank], Vh[:rank]",
    "Vh[:rank], U[:, :rank] * S[:rank]",
    thought="The factors may come in the other order, or transposed, as papers write them.",
    hint="In this course the product is A @ B: A is (d, rank), and d counts the rows of M. Print both shapes.",
    recognise=_is_swapped,
)


answer.slip(
    "three_factors",
    " * S[:rank], ",
    ", S[:rank], ",
    thought="A singular value decomposition has three factors.",
    hint="Return two. Into which of the other two can the singular values go?",
    recognise=lambda case, observation: isinstance(observation.get("value"), list) and len(observation["value"]) == 3,
)


answer.slip(
    "values_are_a_vector",
    "* S",
    "@ S",
    thought="`U @ S` scales the columns of U, as it would if S were a diagonal matrix.",
    hint="S is a vector. What does `@` do with a matrix and a vector, and which operation scales each column instead?",
    recognise=lambda case, observation: any(len(shape) == 1 for shape in _shapes(case, observation)[0]),
)


def _holds_rows_of_u(case, observation):
    shapes, d, k, rank = _shapes(case, observation)
    if rank == d:
        return False
    if "raised" in observation:
        return any(f"({rank}x{n} and {rank}x{rank})" in observation["raised"]["message"] for n in (d, min(d, k)))
    return shapes in [[(rank, n), (rank, k)] for n in (d, min(d, k), rank)]


answer.slip(
    "rows_of_u",
    "U[:, :rank] * S[:rank]",
    "U[:rank] * S",
    thought="`[:rank]` keeps the first pieces in U as it does in Vᵀ.",
    hint="`[:rank]` cuts the first axis. Print U.shape and Vh.shape: along which axis of each are the pieces counted?",
    recognise=_holds_rows_of_u,
)


answer.slip(
    "values_along_another_axis",
    "U[:, :rank] * S[:rank], Vh[:rank]",
    "U[:, :rank], S[:rank] * Vh[:rank]",
    thought="Multiplying by S scales the rows of Vᵀ as it scales the columns of U.",
    hint="`*` pairs S with the last axis of the other factor. Print all the shapes: along which axis of each are the "
    "pieces counted, and are there as many as in S?",
    recognise=lambda case, observation: (
        "raised" in observation and any(phrase in observation["raised"]["message"] for phrase in BROADCAST_MESSAGES)
    ),
)
