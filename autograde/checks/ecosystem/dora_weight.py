"""dora_weight: the rows of W + delta, rescaled to the lengths in `magnitude`."""

import torch

from autograde.judge.answer import RightAnswer
from autograde.judge.check import Case, Check

GUARD = 1e-5  # of the largest entry: what a small number added to the length may change

answer = RightAnswer("""
def dora_weight(W, delta, magnitude):
    adapted = W + delta
    length = adapted.norm(dim=1, keepdim=True)
    return magnitude[:, None] * adapted / length
""")


class DoraWeight(Check):
    """Compares values."""

    name = "dora_weight"
    points = 3
    answer = answer
    note = (
        "F.normalize(W + delta, dim=1) times a column of magnitudes; torch.linalg.vector_norm; the root of the summed "
        "squares; row by row in a loop."
    )
    next_step = (
        "Try W = [[3, 4]], delta = [[0, 0]] and magnitude = [10] on paper. The row has length 5, and the "
        "result must have length 10."
    )

    def cases(self, draw):
        k, d, wide = sorted(draw.sizes(3, low=3, high=9))

        def case(rows, columns, label, dtype=torch.float32, strided=False, start=False):
            W = draw.tensor(rows, columns, dtype=dtype, contiguous=not strided)
            delta = torch.zeros_like(W) if start else draw.tensor(rows, columns, dtype=dtype, contiguous=not strided)
            lengths = (W + delta).norm(dim=1)
            magnitude = lengths if start else lengths * torch.linspace(0.5, 3, rows, dtype=dtype)
            return Case({"W": W, "delta": delta, "magnitude": magnitude}, label)

        return [
            case(k, d, "fewer rows than columns"),
            case(wide, d, "more rows than columns"),
            case(d, d, "a square weight"),
            case(k, wide, "the start: delta is zero, magnitude has the lengths of W's rows", start=True),
            case(d, k, "float64", torch.float64),
            case(k, d, "W and delta are transposed views", strided=True),
            case(1, d, "a single row"),
        ]

    def compared(self, value, case):
        """A guard against dividing by zero (length + 1e-8) is good practice, and shows in float64 only: it may be there."""
        right = self.expected(case)
        if not isinstance(value, torch.Tensor) or value.shape != right.shape or value.dtype != torch.float64:
            return value
        return right if (value - right).abs().max() <= GUARD * right.abs().max() else value


dora_weight = DoraWeight()

answer.slip(
    "norm_of_W_alone",
    "adapted.norm(",
    "W.norm(",
    thought="The lengths that matter are those of the frozen weight.",
    hint="The direction is that of the adapted row. If you divide a row by the length of another one, what length "
    "does it get?",
)
answer.slip(
    "delta_after_normalising",
    "magnitude[:, None] * adapted / length",
    "magnitude[:, None] * W / W.norm(dim=1, keepdim=True) + delta",
    thought="W gets its new lengths, and the adapter is added to it as usual.",
    hint="Then the lengths of the result are not those in magnitude. What must be added before you normalise?",
)
answer.slip(
    "rms_for_norm",
    "adapted.norm(dim=1, keepdim=True)",
    "adapted.square().mean(dim=1, keepdim=True).sqrt()",
    thought="A root mean square is a length.",
    hint="It is the length divided by the square root of the number of columns. The length is the square root of "
    "the *sum* of the squares.",
)
answer.slip(
    "columns_for_rows",
    "dim=1",
    "dim=0",
    thought="As in the paper, each column has a length.",
    hint="The paper's x is a column. Here a weight is (out, in): which dimension do the k magnitudes belong to?",
)
answer.slip(
    "magnitude_along_the_columns",
    "magnitude[:, None]",
    "magnitude",
    thought="torch lines up a vector of k numbers with the k rows of a matrix.",
    hint="torch lines it up with the *last* dimension. On a square weight that runs, but it scales the columns "
    "(inputs), not the rows (outputs).",
)
answer.slip(
    "columns_for_rows",
    "dim=1",
    "dim=0",
    "magnitude[:, None]",
    "magnitude",
    thought="As in the paper, each column has a length and a magnitude.",
    hint="The paper's x is a column. Here a weight is (out, in): which dimension do the k magnitudes belong to?",
)
answer.slip(
    "magnitude_along_the_columns",
    "dim=1, keepdim=True",
    "dim=1",
    "magnitude[:, None]",
    "magnitude",
    thought="torch lines up magnitudes and lengths, k numbers each, with the k rows of a matrix.",
    hint="torch lines a vector up with the *last* dimension, and the k rows are the first. Which shape must k "
    "numbers have so that each belongs to one row?",
)
answer.slip(
    "magnitude_forgotten",
    "magnitude[:, None] * ",
    "",
    thought="DoRA changes only the direction.",
    hint="All rows of your result have length 1. Which lengths should they have?",
)
answer.slip(
    "not_normalised",
    " / length",
    "",
    thought="The magnitude is a factor for each row.",
    hint="It is a length, not a factor. Which length must a row have before you multiply it by the magnitude?",
)
answer.slip(
    "divided_by_the_square",
    " / length",
    " / length**2",
    thought="The norm is the sum of the squares.",
    hint="Test with the row [3, 4]. Its length is 5.",
)
answer.slip(
    "one_length_for_all",
    "adapted.norm(dim=1, keepdim=True)",
    "adapted.norm()",
    thought="A matrix has one norm.",
    hint="Each row has its own length. Over which dimension must you take the norm?",
)
answer.slip(
    "sum_of_absolutes",
    "adapted.norm(dim=1, keepdim=True)",
    "adapted.abs().sum(dim=1, keepdim=True)",
    thought="A row's length is the sum of the absolute values of its entries.",
    hint="Test with the row [3, 4]. Its length is 5, and not 7.",
)
answer.slip(
    "only_delta_normalised",
    "magnitude[:, None] * adapted / length",
    "W + magnitude[:, None] * nn.functional.normalize(delta, dim=1)",
    thought="The adapter gets a direction and a length.",
    hint="At the start delta is zero and has no direction. Which matrix has rows with a direction?",
)
answer.slip(
    "delta_forgotten",
    "W + delta",
    "W",
    thought="DoRA trains the lengths of W's rows.",
    hint="It trains both, lengths and directions. What changes the direction?",
)
answer.slip(
    "relative_magnitude",
    "magnitude[:, None]",
    "(W.norm(dim=1) * magnitude)[:, None]",
    thought="The magnitude is a factor for the length of W's row.",
    hint="At the start it contains the lengths of W's rows, and the result must be W.",
)
