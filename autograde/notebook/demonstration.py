"""Demonstrations: cells of a lesson that train, draw or print, and that no graded cell depends on.

They would take most of the time of grading, so grading skips a demonstration that the learner has not changed, unless a
cell that runs uses a name that it defines.
"""

from autograde.notebook.cells import METADATA
from autograde.notebook.python_source import names_of_all


def is_demonstration(cell):
    """Whether a cell is marked as a demonstration."""
    return cell.metadata.get(METADATA, {}).get("demonstration") is True


def mark(cell):
    """Mark a cell as a demonstration."""
    cell.metadata[METADATA] = {"demonstration": True}


def sources(notebook):
    """The sources of the demonstrations in a notebook, a set."""
    return {cell.source for cell in notebook.cells if is_demonstration(cell)}


def needed_by_others(cells):
    """The demonstrations among `cells` that other cells need, in order: ``[(demonstration, the cell that needs it, name)]``.

    Args:
        cells: code cells in the order in which they are run.
    """
    origin, uses = {}, {}  # name -> the cell that made it last; cell -> {name: the cell that had made it until then}
    for position, (used, bound) in enumerate(names_of_all(cell.source for cell in cells)):
        uses[position] = {name: origin[name] for name in sorted(used) if name in origin}
        origin |= dict.fromkeys(bound, position)
    found = {}
    waiting = [position for position, cell in enumerate(cells) if not is_demonstration(cell)]
    while waiting:
        position = waiting.pop()
        for name, maker in uses[position].items():
            if is_demonstration(cells[maker]) and maker not in found:
                found[maker] = (cells[maker], cells[position], name)
                waiting.append(maker)
    return [found[position] for position in sorted(found)]
