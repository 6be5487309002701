"""Reads a Python script as the pieces that a notebook would have as cells."""

import io
import re
import tokenize
from dataclasses import dataclass
from pathlib import Path

from autograde.notebook.python_source import as_python, check_calls, names_of_check

_CELL = re.compile(r"^# (%%|In\[)", re.MULTILINE)  # VS Code's and Jupytext's mark of a cell; nbconvert's


OTHER_ENCODING = (
    "it is not text in UTF-8, and names no other encoding. Save it as UTF-8, or name its encoding in its first line: "
    "# -*- coding: latin-1 -*-"
)
UNKNOWN_ENCODING = (
    "it names an encoding that Python does not know. Correct its coding line, or save it as UTF-8 without one"
)


class UnreadableScript(Exception):
    """The file is no Python text; the message says why."""


@dataclass(frozen=True)
class Piece:
    """A stretch of a script, up to the statement that calls a check.

    Attributes:
        source: its code, without empty lines at the beginning, which IPython would not count.
        first: number of its first line in the file.
        calls: every `CheckCall` in it.
    """

    source: str
    first: int
    calls: tuple


def read(path):
    """The text of a script, as Python reads it: in UTF-8 with or without a byte order mark, or as its coding line says.

    Raises:
        UnreadableScript: it is in another encoding.
        OSError: it cannot be read.
    """
    return decoded(Path(path).read_bytes())


def decoded(content):
    """The text of a script, as `read`, from its bytes."""
    try:
        encoding, _ = tokenize.detect_encoding(io.BytesIO(content).readline)
        return io.TextIOWrapper(io.BytesIO(content), encoding).read()
    except (ValueError, SyntaxError, LookupError) as error:
        # LookupError: a codec that makes no text. Those for names of domains raise other errors than UnicodeDecodeError.
        unknown = not isinstance(error, (UnicodeDecodeError, SyntaxError)) or "unknown encoding" in str(error)
        raise UnreadableScript(UNKNOWN_ENCODING if unknown else OTHER_ENCODING) from None


def has_cells(text):
    """Whether a script is run like a notebook, cell by cell: cells are marked in it, as in one that was exported from a
    notebook, or it has IPython's own syntax.
    """
    plain, tree = as_python(text)
    return tree is not None and (plain != text or _CELL.search(text) is not None)


def pieces(text):
    """The `Piece`s of a script, in order; a broken one is a single piece."""
    lines = text.split("\n")
    calls = check_calls(text, names_of_check(text))
    ends = {call.line for call in calls if not call.in_function} if as_python(text)[1] else set()
    if has_cells(text):
        ends |= {text.count("\n", 0, found.start()) for found in _CELL.finditer(text)}
    found, start = [], 0
    for end in sorted({*ends, len(lines)} - {0}):
        first = next((number for number in range(start, end) if lines[number].strip()), None)
        if first is not None:
            within = tuple(call for call in calls if start < call.line <= end)
            found.append(Piece("\n".join(lines[first:end]), first + 1, within))
        start = end
    return found
