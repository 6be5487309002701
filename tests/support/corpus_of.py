"""The known answers and the solved cells of this course's lessons."""

from pathlib import Path

import jupytext

from autograde.authoring import corpus
from autograde.project import Course

ROOT = Path(__file__).parents[2]


def samples(lesson):
    """Every known answer of a lesson (see `autograde.authoring.corpus`)."""
    return corpus.samples(Course(ROOT), lesson)


def solved_cells(lesson):
    """The code cells of the lesson's source: ``[(exercise or None, is a check, source)]``."""
    notebook = jupytext.read(ROOT / "solutions" / f"{lesson}.py", fmt="py:percent")
    return [
        (cell.metadata.get("exercise"), "check" in cell.metadata, cell.source)
        for cell in notebook.cells
        if cell.cell_type == "code"
    ]
