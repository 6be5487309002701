"""Reads a lesson's source as a notebook: short tags become nbgrader's metadata; cell ids are the same at each build."""

import hashlib
import importlib.util
import json
import re

import jupytext
import nbformat

from autograde import registry
from autograde.notebook import demonstration
from autograde.notebook.cells import METADATA
from autograde.project import CourseError

KERNEL = {"kernelspec": {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"},
          "language_info": {"name": "python"}}  # fmt: skip
KNOWN_TAGS = {"exercise", "check", "alt", "demonstration", "needs"}
_JUPYTEXT_TAGS = {"cell_marker", "lines_to_next_cell"}  # the layout of the source file; not for the notebook
_CALL = re.compile(r"check\.(\w+)\((\w+)\)")


def read(course, lesson):
    """The solved notebook of `lesson`, not executed, with the hash of its source in its metadata.

    Raises:
        CourseError: the source is missing, or its tags do not match the lesson's checks.
    """
    path = course.source(lesson)
    try:
        written = jupytext.reads(path.read_text(encoding="utf-8"), fmt="py:percent")
    except FileNotFoundError:
        raise CourseError(f"{path}: there is no such lesson source") from None
    points = {check.name: check for check in registry.of(course).checks_of(lesson)}
    notebook = nbformat.v4.new_notebook(metadata=dict(KERNEL))
    seen = set()
    for position, cell in enumerate(written.cells):
        notebook.cells.append(_cell(cell, f"{lesson}-{position:02d}", points, seen, path))
    if absent := [name for name in points if f"check_{name}" not in seen]:
        raise CourseError(f'{path}: no cell is tagged check="{absent[0]}"')
    for cell, user, name in demonstration.needed_by_others(
        [cell for cell in notebook.cells if cell.cell_type == "code"]
    ):
        raise CourseError(
            f"{path}, the cell that begins {cell.source.splitlines()[0]!r}: it is no demonstration, since {name!r} is "
            f"used in the cell that begins {user.source.splitlines()[0]!r}"
        )
    notebook.metadata[METADATA] = {"lesson": lesson, "source_hash": cells_hash(notebook)}
    return notebook


def missing_package(course, lesson):
    """The first package that a cell of the lesson needs (tag ``needs="name"``) and that is not installed; None if all are.

    Without the package, such a cell runs and shows nothing, so the lesson can be verified, but not built.
    """
    cells = jupytext.reads(course.source(lesson).read_text(encoding="utf-8"), fmt="py:percent").cells
    needed = [cell.metadata["needs"] for cell in cells if "needs" in cell.metadata]
    return next((name for name in needed if not importlib.util.find_spec(name)), None)


def _cell(cell, default_id, points, seen, path):
    tags = {key: value for key, value in cell.metadata.items() if key not in _JUPYTEXT_TAGS}
    where = f"{path}, the cell that begins {cell.source.splitlines()[0]!r}" if cell.source else f"{path}, an empty cell"
    if unknown := set(tags) - KNOWN_TAGS:
        raise CourseError(f"{where}: unknown tag {sorted(unknown)[0]!r}; known are {', '.join(sorted(KNOWN_TAGS))}")
    if cell.cell_type == "markdown":
        return nbformat.v4.new_markdown_cell(cell.source, id=default_id)
    made = nbformat.v4.new_code_cell(cell.source, id=default_id)
    if "exercise" in tags:
        made.metadata["nbgrader"] = _nbgrader(tags["exercise"], solution=True)
    elif "check" in tags:
        name = tags["check"]
        call = _CALL.fullmatch(cell.source.strip())
        if name not in points:
            raise CourseError(f'{where}: check="{name}" is not a check of this lesson; there are {", ".join(points)}')
        if not call or call[1] != name or call[2] != points[name].subject:
            raise CourseError(f"{where}: it must hold exactly check.{name}({points[name].subject})")
        made.metadata["nbgrader"] = _nbgrader(f"check_{name}", points=points[name].points)
    if "alt" in tags:
        made.metadata["alt"] = tags["alt"]
    if tags.get("demonstration"):
        demonstration.mark(made)
    if "nbgrader" in made.metadata:
        grade_id = made.metadata["nbgrader"]["grade_id"]
        if grade_id in seen:
            raise CourseError(f"{where}: {grade_id!r} is there twice")
        seen.add(grade_id)
        made["id"] = grade_id
    return made


def _nbgrader(grade_id, *, solution=False, points=None):
    metadata = {"grade": not solution, "grade_id": grade_id, "locked": not solution, "schema_version": 3,
                "solution": solution, "task": False}  # fmt: skip
    return metadata if solution else metadata | {"points": float(points)}


def cells_hash(notebook):
    """A hash of the cells: type, source and nbgrader metadata; not their outputs."""
    content = [[cell.cell_type, cell.source, cell.metadata.get("alt"), _graded(cell)] for cell in notebook.cells]
    content += [cell["id"] for cell in notebook.cells if METADATA in cell.metadata]
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]


def _graded(cell):
    # nbgrader adds a checksum of the cell at release.
    return {key: value for key, value in cell.metadata.get("nbgrader", {}).items() if key != "checksum"}


def write(notebook, path):
    """Write a notebook with the bytes nbgrader would write."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(nbformat.writes(notebook, version=4) + "\n", encoding="utf-8")
