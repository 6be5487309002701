"""Reads a submitted file as a notebook: a well-formed one of its valid parts, or a message that says why that is not possible."""

import copy
import json
import re
from html import unescape
from urllib.parse import unquote

import nbformat

from autograde.notebook import demonstration, sanitize
from autograde.notebook.cells import METADATA, grade_id
from autograde.notebook.outputs import Outputs
from autograde.terminal import one_line

MAX_CODE = 100_000  # characters in all code cells together; a lesson has 20,000, and IPython reads 80,000 a second
MAX_SOURCE = 2**20  # characters in all cells together; a text cell may hold a picture as a data: URI
MAX_CELLS = 500  # a lesson has 65, and the shell takes two milliseconds for each
MAX_PICTURES = 500  # attachments of all cells together
MAX_PARTS = 300_000  # lists and objects in the file; in memory an empty one takes twenty times its two characters
# Colons and commas, within texts too: as many keys of objects, each of which takes a microsecond, and as many values.
MAX_COLONS, MAX_COMMAS = 1_000_000, 5_000_000

UNREADABLE = (
    "The file that was handed in is not a notebook ({0}). Open it in JupyterLab; if that fails too, start from a fresh "
    "copy of the lesson, and hand in again."
)
EMPTY = "The notebook that was handed in has no cells. Hand in the one that you worked in."
TOO_LONG = (
    "The notebook that was handed in is too long ({0}). Take out of it what does not belong to the lesson, "
    "and hand in again."
)

_ID = re.compile(r"[a-zA-Z0-9_-]{1,64}")
_PICTURE = re.compile(r"image/(png|jpeg|gif|webp|bmp|svg\+xml)")


class UnusableNotebook(Exception):
    """The file is no notebook that can be graded; the message tells the learner why."""


def parse(data):
    """The notebook in a file: what is valid of it, in the current format, without outputs.

    Raises:
        UnusableNotebook: the bytes are no notebook.
    """
    try:
        return _notebook(_parsed(data), ())
    except UnusableNotebook:
        raise
    except Exception:  # whatever is wrong with the file
        raise UnusableNotebook(UNREADABLE.format("its parts do not fit together")) from None


def read_submission(data, released):
    """The submitted notebook, or a message if it cannot be read.

    Args:
        data: the file's contents as bytes.
        released: the release, a copy of which replaces a notebook that cannot be read.

    Returns:
        ``(notebook, message or None)``. Outputs are removed, since a learner could have changed them, except those of
        demonstrations, which have no effect on the score. Text cells are sanitized for the pages that will show them.
    """
    try:
        notebook = _notebook(_parsed(data), demonstration.sources(released))
        if not notebook.cells:
            raise UnusableNotebook(EMPTY)
        nbformat.validate(notebook)
        own = {cell.source for cell in released.cells if cell.cell_type != "code"}
        budget = sanitize.Budget()
        for cell in notebook.cells:
            if cell.source not in own:
                sanitize.text_cell(cell, budget)
        return notebook, None
    except UnusableNotebook as unusable:
        return copy.deepcopy(released), str(unusable)
    except Exception:  # whatever is wrong with the file, it costs this submission only
        return copy.deepcopy(released), UNREADABLE.format("its parts do not fit together")


def _parsed(data):
    """The JSON object in a file."""
    if not data or data.isspace():
        raise UnusableNotebook(UNREADABLE.format("the file is empty"))
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise UnusableNotebook(UNREADABLE.format("it is not text in UTF-8")) from None
    if (parts := data.count(b"[") + data.count(b"{")) > MAX_PARTS:
        raise UnusableNotebook(TOO_LONG.format(f"{parts:,} lists and objects"))
    if (colons := data.count(b":")) > MAX_COLONS or (commas := data.count(b",")) > MAX_COMMAS:
        raise UnusableNotebook(TOO_LONG.format(f"{colons:,} colons" if colons > MAX_COLONS else f"{commas:,} commas"))
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        raise UnusableNotebook(UNREADABLE.format(_instead_of_json(text))) from None
    if not isinstance(found, dict):
        raise UnusableNotebook(UNREADABLE.format("it is JSON, but of something else"))
    return found


def _instead_of_json(text):
    if re.search(r"^<{7} ", text, re.MULTILINE):
        return "it holds the marks of a merge conflict, and is not JSON"
    return "it is a web page" if re.match(r"\s*<(!doctype|html)\b", text, re.IGNORECASE) else "it is not JSON"


def _notebook(raw, demonstrations):
    """A notebook in the current format, built from the valid parts of `raw`. Cells whose source is in `demonstrations` keep
    their outputs.
    """
    cells = raw.get("cells")
    if not isinstance(cells, list):
        raw = _upgraded(raw)
        cells = raw["cells"]
    version = raw.get("nbformat", 4)
    if type(version) not in (int, float) or version > 4:  # some programs write 4.0
        shown = one_line(_clean(version), 20) or "no number"
        raise UnusableNotebook(UNREADABLE.format(f"its format is {shown}, and 4 is the newest that is known"))
    _limit_cells(cells)
    attachments = [cell.get("attachments") for cell in cells if isinstance(cell, dict)]
    if (pictures := sum(len(held) for held in attachments if isinstance(held, dict))) > MAX_PICTURES:
        raise UnusableNotebook(TOO_LONG.format(f"{pictures:,} pasted pictures"))
    used, looked = set(), sanitize.Budget()
    made = nbformat.from_dict({"cells": [], "metadata": _notebook_metadata(raw), "nbformat": 4, "nbformat_minor": 5})
    for position, cell in enumerate(cells):
        if isinstance(cell, dict):
            made.cells.append(_cell(cell, position, used, looked))
            if made.cells[-1].cell_type == "code" and made.cells[-1].source in demonstrations:
                made.cells[-1].outputs = _outputs(cell.get("outputs"))
    lengths = [(cell.cell_type, len(cell.source)) for cell in made.cells]
    if (code := sum(length for kind, length in lengths if kind == "code")) > MAX_CODE:
        raise UnusableNotebook(TOO_LONG.format(f"{code:,} characters of code"))
    if (length := sum(length for _, length in lengths)) > MAX_SOURCE:
        raise UnusableNotebook(TOO_LONG.format(f"{length:,} characters in its cells"))
    return made


def _limit_cells(cells):
    if len(cells) > MAX_CELLS:
        raise UnusableNotebook(TOO_LONG.format(f"{len(cells):,} cells"))


def _upgraded(raw):
    """A notebook of format 1, 2 or 3 converted to format 4, as a dict."""
    if raw.get("nbformat") not in (1, 2, 3):
        raise UnusableNotebook(UNREADABLE.format("it is JSON, but has no cells"))
    sheets = raw.get("worksheets", [raw])
    if len(sheets) > MAX_CELLS:
        raise UnusableNotebook(TOO_LONG.format(f"{len(sheets):,} worksheets"))
    for sheet in sheets:
        _limit_cells(sheet["cells"])
        for cell in sheet["cells"]:
            if "level" in cell:
                cell["level"] = 1  # it becomes so many characters
            if "outputs" in cell:
                cell["outputs"] = []
    return nbformat.reads(json.dumps(raw), as_version=4)


def _notebook_metadata(raw):
    """The metadata that are kept: the lesson's name in the file, for `repair`; and the language."""
    metadata = raw.get("metadata") if isinstance(raw.get("metadata"), dict) else {}
    course = metadata.get(METADATA) if isinstance(metadata.get(METADATA), dict) else {}
    made = {"language_info": {"name": "python"}}
    if isinstance(course.get("lesson"), str):
        made[METADATA] = {"lesson": _clean(course["lesson"])[:100]}
    return made


def _cell(raw, position, used, budget):
    kind = raw.get("cell_type") if raw.get("cell_type") in ("code", "markdown") else "raw"
    source = raw.get("source", "")
    if isinstance(source, list):
        source = "".join(part for part in source if isinstance(part, str))
    metadata = raw.get("metadata") if isinstance(raw.get("metadata"), dict) else {}
    # Exporters trust a cell's metadata, so most are dropped; `repair` restores those that the grader needs.
    kept = {"nbgrader": {"grade_id": _clean(metadata["nbgrader"]["grade_id"])}} if grade_id(raw) else {}
    if isinstance(metadata.get("alt"), str):
        kept["alt"] = _clean(metadata["alt"])[: sanitize.MAX_ALT]
    identity = raw.get("id")
    if not isinstance(identity, str) or not _ID.fullmatch(identity) or identity in used:
        identity = next(name for n in range(len(used) + 1) if (name := f"cell-{position}-{n}") not in used)
    used.add(identity)
    # nbformat.v4.new_code_cell would validate each one against the schema; the whole notebook is validated anyway.
    made = nbformat.from_dict({"cell_type": kind, "id": identity, "metadata": kept, "source": _clean(source)})
    if kind == "code":
        made |= {"execution_count": None, "outputs": []}
    if kind != "code" and (pictures := _attachments(_shown(raw.get("attachments"), made.source), budget)):
        made.attachments = pictures
    return made


def _outputs(found):
    """The outputs that a cell had when it was saved, as far as they are well-formed."""
    shown = Outputs()
    for output in found if isinstance(found, list) else []:
        if isinstance(output, dict):
            shown.add({"type": output.get("output_type"), "content": _joined(output)})
    return shown.end()


def _joined(output):
    """An output with its texts joined; files hold them as lists of lines."""
    if isinstance(output.get("data"), dict):
        return output | {"data": {mime: _text(lines) for mime, lines in output["data"].items()}}
    return output | {"text": _text(output.get("text", ""))}


def _text(lines):
    whole = isinstance(lines, list) and all(isinstance(line, str) for line in lines)
    return "".join(lines) if whole else lines


def _shown(found, source):
    """Of the pictures that were pasted into a text cell, those that its text names. A picture stays in the cell when its text
    is deleted; nobody sees it, and it makes each page and each copy of the notebook megabytes longer.
    """
    text = source.replace("\\", "")  # Markdown lets one write \_ for _
    text += unquote(unescape(text))
    named = found if isinstance(found, dict) and "attachment:" in text else {}
    return {name: bundle for name, bundle in named.items() if f"attachment:{_clean(name)}" in text}


def _attachments(found, budget=None):
    """The pictures that were pasted into a text cell. They are shown as images, so nothing in them runs. `budget`: of all cells."""
    pictures = {
        _clean(name): {
            mime: data
            for mime, data in bundle.items()
            if _PICTURE.fullmatch(mime) and sanitize.is_picture(mime, data, budget)
        }
        for name, bundle in (found if isinstance(found, dict) else {}).items()
        if isinstance(bundle, dict)
    }
    return {name: bundle for name, bundle in pictures.items() if bundle}


def _clean(value):
    """Text that can be written to a file: without the lone surrogates that JSON may hold."""
    return str(value).encode("utf-8", "replace").decode() if isinstance(value, (str, int, float)) else ""
