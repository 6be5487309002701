"""What a submission has lost of the notebook that was handed out, put back, with a sentence for each loss.

Afterwards the notebook holds every cell that is graded exactly once, as a code cell with the source it was handed out
with, so that everything downstream (nbgrader's gradebook among it) finds what it expects.
"""

import copy

import nbformat

TWICE = (
    "The cell {0} is in the notebook twice, so it is not clear which one counts. "
    "Delete one of the two and hand in again."
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
UNREADABLE = (
    "The file that was handed in is not a notebook ({0}). Open it in JupyterLab; if that fails too, start from a fresh "
    "copy of the lesson, and hand in again."
)
EMPTY = "The notebook that was handed in has no cells. Hand in the one that you worked in."


def grade_id(cell):
    """nbgrader's id of a cell, or None."""
    graded = cell.get("metadata", {}).get("nbgrader") if isinstance(cell.get("metadata"), dict) else None
    return graded.get("grade_id") if isinstance(graded, dict) else None


def read_submission(text, released):
    """The submitted notebook, and a sentence instead of it where the file is none.

    Args:
        text: the file's contents as bytes.
        released: the release, which takes the place of a notebook that cannot be read.

    Returns:
        ``(notebook, sentence or None)``.
    """
    try:
        notebook = nbformat.reads(text.decode("utf-8"), as_version=4)
        nbformat.validate(notebook, relax_add_props=True)
    except UnicodeDecodeError:
        return copy.deepcopy(released), UNREADABLE.format("it is not text")
    except Exception as error:  # whatever is wrong with the file, it costs this submission only
        return copy.deepcopy(released), UNREADABLE.format(_reason(error))
    if not notebook.cells:
        return copy.deepcopy(released), EMPTY
    return notebook, None


def _reason(error):
    first = str(error).strip().splitlines()[0] if str(error).strip() else ""
    return "it is not JSON" if "JSON" in type(error).__name__ + first else f"{type(error).__name__}: {first[:120]}"


def repair(notebook, released):
    """Put back what a submission lost of the release, in place.

    Returns:
        ``{grade_id: sentence}`` for every graded cell that was lost, doubled or turned into text. The id is that of the
        damaged cell itself: an exercise's, or its check's.
    """
    damage = {}
    wanted = {grade_id(cell): cell for cell in released.cells if grade_id(cell)}
    for name, original in wanted.items():
        found = [cell for cell in notebook.cells if grade_id(cell) == name]
        if len(found) > 1:
            damage[name] = TWICE.format(name)
        elif found and found[0].cell_type != original.cell_type:
            damage[name] = NOT_CODE.format(name, found[0].cell_type.capitalize())
        elif not found:
            lost = LOST_ANSWER if original.metadata.nbgrader.get("solution") else LOST
            damage[name] = lost.format(name.removeprefix("check_"))
        for extra in found[1:]:
            del extra.metadata["nbgrader"]
        if found:
            _restore(found[0], original)
        else:
            notebook.cells.append(copy.deepcopy(original))
    for cell in notebook.cells:
        if grade_id(cell) not in wanted and "nbgrader" in cell.get("metadata", {}):
            del cell.metadata["nbgrader"]
    return damage


def _restore(cell, original):
    cell.metadata["nbgrader"] = copy.deepcopy(original.metadata.nbgrader)
    if cell.cell_type != original.cell_type:
        cell.cell_type = original.cell_type
        cell.source = original.source
        cell.pop("attachments", None)
        if original.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
    if original.metadata.nbgrader.get("locked"):
        cell.source = original.source
