"""Reads the wheat and chaff of a lesson, and plants answers in its solved notebook."""

from dataclasses import dataclass
from pathlib import Path

import jupytext

from autograde import registry

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Sample:
    """One answer of the corpus: `misconception` is None for wheat, an id or "" for chaff."""

    exercise: str
    style: str
    source: str
    misconception: str | None


def samples(lesson):
    """Every sample of a lesson: its corpus file, and the wrong answer of each misconception."""
    found = []
    for cell in jupytext.read(ROOT / "tests" / "corpus" / f"{lesson}.py", fmt="py:percent").cells:
        tags = cell.metadata
        if "wheat" in tags:
            found.append(Sample(tags["exercise"], tags["wheat"], cell.source, None))
        elif "chaff" in tags:
            found.append(Sample(tags["exercise"], tags["chaff"], cell.source, tags["misconception"]))
    for check in registry.current().of_lesson(lesson):
        for known in check.misconceptions:
            found.append(Sample(check.name, known.id, known.source(check.subject), known.id))
    return found


def solved_cells(lesson):
    """The code cells of the lesson's source: ``[(exercise or None, is a check, source)]``."""
    notebook = jupytext.read(ROOT / "solutions" / f"{lesson}.py", fmt="py:percent")
    return [
        (cell.metadata.get("exercise"), "check" in cell.metadata, cell.source)
        for cell in notebook.cells
        if cell.cell_type == "code"
    ]
