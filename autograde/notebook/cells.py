"""Metadata of cells: our own key, nbgrader's grade_id, and the check that a cell calls."""

import re

METADATA = "autograde"  # our key in the metadata of notebooks and of cells


def grade_id(cell):
    """nbgrader's id of a cell, or None."""
    graded = cell.get("metadata", {}).get("nbgrader") if isinstance(cell.get("metadata"), dict) else None
    found = graded.get("grade_id") if isinstance(graded, dict) else None
    return found if isinstance(found, str) else None


_CHECK = re.compile(r"check\.(\w+)\(\w+\)")


def called_check(cell):
    """The name of the check that a grade cell calls, or None: for other cells, and for an instructor's own tests."""
    graded = cell.metadata.get("nbgrader", {})
    call = _CHECK.fullmatch(cell.source.strip()) if graded.get("grade") and cell.cell_type == "code" else None
    return call[1] if call else None
