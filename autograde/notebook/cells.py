"""Metadata of cells: the key of our own, and nbgrader's grade_id."""

METADATA = "autograde"  # our key in the metadata of notebooks and of cells


def grade_id(cell):
    """nbgrader's id of a cell, or None."""
    graded = cell.get("metadata", {}).get("nbgrader") if isinstance(cell.get("metadata"), dict) else None
    found = graded.get("grade_id") if isinstance(graded, dict) else None
    return found if isinstance(found, str) else None
