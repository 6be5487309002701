"""Repairs a submitted notebook: what it has lost of the release is put back, with a message for each loss.

Afterwards the notebook holds every graded cell exactly once, with the type and the source of the release, as nbgrader's
gradebook and the later steps of grading expect.
"""

import copy

import nbformat

from autograde.notebook import demonstration, sanitize
from autograde.notebook.cells import METADATA, grade_id
from autograde.notebook.python_source import are_short, meaning, names
from autograde.terminal import one_line

TWICE = (
    "{0} is defined in {1} cells of the notebook, each with another answer, so it is not clear which one counts. "
    "Delete all but one and hand in again."
)
LOST = (
    "The check cell of {0} was deleted. Copy your answers into a fresh copy of the lesson, where it still is, "
    "and hand in that one."
)
LOST_ANSWER = (
    "The cell {0} is no longer in the notebook as an answer cell. Copy your answer into a fresh copy of the lesson, "
    "and hand in that one."
)
NOT_CODE = (
    "The cell {0} was turned from a code cell into a {1} cell, so it does not run. Turn it back into code (key Y in "
    "JupyterLab) and hand in again."
)
STRIPPED = (
    "No cell of this notebook has the metadata by which the grader finds the lesson's exercises; some programs drop "
    "them when they save. Copy your answers into a fresh copy of the lesson, save it with JupyterLab, "
    "and hand in that one."
)
OTHER_LESSON = "This is the notebook of another lesson ({0}). Hand in the one of this lesson."


def repair(notebook, released):
    """Put back what a submission lost of the release, in place.

    Cells that the learner's notebook would not have run are marked (see `runs`), and so are demonstrations, which need
    not run.

    Args:
        notebook: the result of `read_notebook.read_submission`.
        released: the release. Only its cells with nbgrader metadata are used.

    Returns:
        ``{grade_id: message}`` for every graded cell that was lost, defined twice or turned into text. The id is that of the
        damaged cell itself: an exercise's, or its check's.
    """
    wanted = {grade_id(cell): cell for cell in released.cells if grade_id(cell)}
    everything = _wholly_lost(notebook, released, wanted)
    damage = {}
    parts = {name: _parts(notebook, name, original) for name, original in wanted.items()}
    place = next((i for i, cell in enumerate(notebook.cells) if grade_id(cell) in wanted), len(notebook.cells))
    for name, original in wanted.items():
        found = parts[name]
        for extra in found[:-1]:  # nbgrader also keeps the last one
            del extra.metadata["nbgrader"]
        if found:
            cell = found[-1]
            competing = competing_answers(found, name) if original.metadata.nbgrader.get("solution") else None
            changed = _restore(cell, original, name)
            message = competing or changed
        else:
            cell, message = copy.deepcopy(original), everything or _lost(original, name)
            _stop(cell)
            notebook.cells.insert(place, cell)
        place = _index(notebook.cells, cell) + 1
        if _costs(original):
            damage[name] = message
    for cell in notebook.cells:
        if grade_id(cell) not in wanted:
            cell.metadata.pop("nbgrader", None)
    _find_demonstrations(notebook, released)
    _distinct_ids(notebook)
    return {name: message for name, message in damage.items() if message}


def runs(cell):
    """Whether a repaired cell is to be run."""
    return cell.metadata.get(METADATA, {}).get("runs", True)


def _stop(cell):
    # A restored cell that is locked and not graded, such as an import that others need, may run.
    if _costs(cell):
        cell.metadata[METADATA] = {"runs": False}


def _costs(original):
    """Whether the loss of a cell costs points. Not for manually graded answers, which a person will judge."""
    graded = original.metadata.nbgrader
    return bool(graded.get("grade")) != bool(graded.get("solution"))


def _lost(original, name):
    return (LOST_ANSWER if original.metadata.nbgrader.get("solution") else LOST).format(name.removeprefix("check_"))


def _wholly_lost(notebook, released, wanted):
    """The message for a notebook without any cell of the release; None for others."""
    if any(grade_id(cell) in wanted for cell in notebook.cells):
        return None
    theirs, ours = (book.metadata.get(METADATA, {}).get("lesson") for book in (notebook, released))
    return OTHER_LESSON.format(one_line(theirs)) if theirs and theirs != ours else STRIPPED


def _restore(cell, original, name):
    """Restore `cell` to its released state, except an answer's source; a message if its type was changed, else None."""
    message = None
    cell.metadata["nbgrader"] = copy.deepcopy(original.metadata.nbgrader)
    if cell.cell_type != original.cell_type:
        message = NOT_CODE.format(name, cell.cell_type.capitalize())
        made = getattr(nbformat.v4, f"new_{original.cell_type}_cell")(cell.source, metadata=cell.metadata, id=cell.id)
        cell.clear()
        cell.update(made)
        sanitize.text_cell(cell)
        _stop(cell)
    graded = original.metadata.nbgrader
    if not graded.get("solution") and (graded.get("grade") or graded.get("locked")):
        cell.source = original.source
    return message


def _find_demonstrations(notebook, released):
    """Mark the lesson's demonstrations that are unchanged and that no running cell depends on."""
    sources = demonstration.sources(released)
    running = [cell for cell in notebook.cells if cell.cell_type == "code" and runs(cell)]
    for cell in running:
        if cell.source in sources and not grade_id(cell):
            demonstration.mark(cell)
    for cell, _, _ in demonstration.needed_by_others(running):
        del cell.metadata[METADATA]
    for cell in running:
        if not demonstration.is_demonstration(cell):
            cell.outputs = []


def _parts(notebook, name, original):
    """The cells with a grade_id, in order: more than one where an answer stands in parts, or there are several.

    JupyterLab gives both halves of a cell that is split the cell's metadata. Copies of one cell are taken out of the
    notebook, and so is the cell as it was handed out, where another has its place.
    """
    found = [cell for cell in notebook.cells if grade_id(cell) == name]
    if any(cell.cell_type == original.cell_type for cell in found):
        for cell in [cell for cell in found if cell.cell_type != original.cell_type]:
            del cell.metadata["nbgrader"]
            found = [each for each in found if each is not cell]
    if not original.metadata.nbgrader.get("solution"):
        return _one_check(notebook, found, original)
    kept, same = {}, _comparison(found)
    for cell in found:  # the first copy stands, before its check
        kept.setdefault(same(cell.source), cell)
    if len(kept) > 1:
        kept.pop(same(original.source), None)
    kept = list(kept.values())
    gone = [cell for cell in found if not _among(cell, kept)]
    notebook.cells = [cell for cell in notebook.cells if not _among(cell, gone)]
    return [cell for cell in found if _among(cell, kept)]


def _comparison(cells):
    """What makes of each cell's source a text by which to compare them: by letter where they are too long to be parsed."""
    return meaning if are_short([cell.source for cell in cells]) else str.strip


def _one_check(notebook, found, original):
    """Of several cells that call a check, the last that is as it was handed out. Others that are go, and changed ones
    stay, as cells of the learner's.
    """
    text = _comparison(found)
    same = [cell for cell in found if text(cell.source) == text(original.source)]
    kept = (same or found)[-1:]
    for cell in found:
        if not _among(cell, kept):
            del cell.metadata["nbgrader"]
    notebook.cells = [cell for cell in notebook.cells if not _among(cell, same) or _among(cell, kept)]
    return kept


def competing_answers(cells, name):
    """The message for an answer that several of `cells` define, each in its own way; None where at most one does."""
    if len(cells) < 2:
        return None
    if not are_short([cell.source for cell in cells]):
        return TWICE.format(name, len(cells))
    answers = {meaning(cell.source) for cell in cells if name in names(cell.source)[1]}
    return TWICE.format(name, len(answers)) if len(answers) > 1 else None


def _among(cell, cells):
    return any(cell is each for each in cells)


def _index(cells, cell):
    return next(i for i, candidate in enumerate(cells) if candidate is cell)


def _distinct_ids(notebook):
    used = set()
    for position, cell in enumerate(notebook.cells):
        if cell.get("id") in used or "id" not in cell:
            cell["id"] = next(name for n in range(len(used) + 1) if (name := f"cell-{position}-{n}") not in used)
        used.add(cell["id"])
