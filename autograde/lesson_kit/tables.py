"""Small matrices drawn as tables, with their numbers in them."""

from typing import NamedTuple

import matplotlib.pyplot as plt
import torch
from matplotlib.patches import Rectangle


class Table(NamedTuple):
    """A matrix to be drawn.

    Attributes:
        title: what stands above it.
        values: a 2-D tensor, or a list of lists.
        down: what a row belongs to, such as "output".
        across: what a column belongs to.
        framed: ``[(row, column), …]``: entries with a frame around them.
        dashed: ``(row, column, rows, columns)``: a block with a dashed frame around it, from its upper left entry on.
    """

    title: str
    values: torch.Tensor
    down: str
    across: str
    framed: tuple = ()
    dashed: tuple = ()


def draw_tables(*tables, gap=1):
    """Draw matrices side by side. Violet entries are above zero and orange ones below, darker for larger numbers.

    Args:
        tables: the `Table`s, left to right.
        gap: the width of the space between two of them, in columns.
    """
    matrices = [torch.as_tensor(table.values).cpu() for table in tables]
    largest = max(float(matrix.abs().max()) for matrix in matrices) or 1.0
    columns = sum(matrix.shape[1] for matrix in matrices) + gap * len(matrices)
    figure, axes = plt.subplots(
        1,
        len(tables),
        figsize=(min(12, 0.75 * columns), 0.75 * max(len(matrix) for matrix in matrices) + 0.9),
        width_ratios=[matrix.shape[1] for matrix in matrices],
        layout="constrained",
        squeeze=False,
    )
    for axis, table, matrix in zip(axes[0], tables, matrices, strict=True):
        # up to twice the largest entry, so that its colour stays pale enough for a black number
        axis.imshow(matrix, cmap="PuOr", vmin=-2 * largest, vmax=2 * largest)
        for row, entries in enumerate(matrix.tolist()):
            for column, value in enumerate(entries):
                axis.text(column, row, f"{value:g}", ha="center", va="center", fontsize=13)
        for row, column in table.framed:
            axis.add_patch(Rectangle((column - 0.4, row - 0.4), 0.8, 0.8, fill=False, linewidth=2))
        if table.dashed:
            row, column, rows, columns = table.dashed
            corner = column - 0.47, row - 0.47
            axis.add_patch(Rectangle(corner, columns - 0.06, rows - 0.06, fill=False, linewidth=1.5, linestyle="--"))
        axis.set(title=table.title, ylabel=table.down, xlabel=table.across)
        axis.set(xticks=range(matrix.shape[1]), yticks=range(matrix.shape[0]))
    plt.show()
