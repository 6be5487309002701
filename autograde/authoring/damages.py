"""Ways in which a submitted notebook can be damaged, for the sample class.

Each function takes a notebook with answers, the name of its file and an exercise, and returns the submitted files as
``{name: bytes}``. It may change the notebook.
"""

import nbformat

from autograde.notebook.cells import grade_id


def as_bytes(notebook):
    """A notebook as the contents of a file."""
    return (nbformat.writes(notebook, version=4) + "\n").encode()


def file_cut_off(notebook, name, _exercise):
    whole = as_bytes(notebook)
    return {name: whole[: len(whole) // 2]}


def file_empty(_notebook, name, _exercise):
    return {name: b""}


def merge_conflict(notebook, name, _exercise):
    return {name: as_bytes(notebook).replace(b'"cells": [', b'"cells": [\n<<<<<<< HEAD\n=======\n>>>>>>> theirs', 1)}


def file_named_otherwise(notebook, _name, _exercise):
    return {"homework final (2).ipynb": as_bytes(notebook)}


def cells_deleted(notebook, name, _exercise):
    notebook.cells = []
    return {name: as_bytes(notebook)}


def check_deleted(notebook, name, exercise):
    position = _position(notebook, exercise)
    following = (i for i, cell in enumerate(notebook.cells) if i > position and _is_check(cell))
    del notebook.cells[next(following)]
    return {name: as_bytes(notebook)}


def answer_pasted_twice(notebook, name, exercise):
    position = _position(notebook, exercise)
    again = nbformat.from_dict(notebook.cells[position])
    again["id"] = "pasted-again"
    again["source"] = f"second_try = True\n{again['source']}"
    notebook.cells.insert(position + 1, again)
    return {name: as_bytes(notebook)}


def answer_turned_into_markdown(notebook, name, exercise):
    position = _position(notebook, exercise)
    cell = notebook.cells[position]
    notebook.cells[position] = nbformat.v4.new_markdown_cell(cell.source, metadata=cell.metadata, id=cell.id)
    return {name: as_bytes(notebook)}


def function_renamed(notebook, name, exercise):
    cell = notebook.cells[_position(notebook, exercise)]
    cell.source = cell.source.replace(exercise, f"my_{exercise}")
    return {name: as_bytes(notebook)}


def colon_forgotten(notebook, name, exercise):
    cell = notebook.cells[_position(notebook, exercise)]
    cell.source = cell.source.replace(":\n", "\n", 1)
    return {name: as_bytes(notebook)}


def metadata_lost(notebook, name, _exercise):
    for cell in notebook.cells:
        cell.metadata = nbformat.from_dict({})
    return {name: as_bytes(notebook)}


def process_ended(notebook, name, exercise):
    notebook.cells[_position(notebook, exercise)].source += "\n\nimport os\n\nos._exit(0)"
    return {name: as_bytes(notebook)}


ALL = (
    file_cut_off, file_empty, merge_conflict, file_named_otherwise, cells_deleted, check_deleted, answer_pasted_twice,
    answer_turned_into_markdown, function_renamed, colon_forgotten, metadata_lost, process_ended,
)  # fmt: skip


def _position(notebook, exercise):
    return next(i for i, cell in enumerate(notebook.cells) if grade_id(cell) == exercise)


def _is_check(cell):
    return cell.metadata.get("nbgrader", {}).get("grade", False)
