"""Describes values in words: short enough for one line, exact enough to act on."""

import unicodedata

import numpy as np
import torch

from autograde.remote.wire import MAX_DIMENSIONS, Opaque, WireError


def dtype_name(dtype):
    """`float32` for ``torch.float32``."""
    return str(dtype).removeprefix("torch.")


def clean(text, limit=300):
    """`text` without control characters (an answer may try to move the reader's cursor), shortened to `limit`."""
    kept = "".join(c if c in "\n\t" or unicodedata.category(c)[0] != "C" else "\N{REPLACEMENT CHARACTER}" for c in text)
    return kept if len(kept) <= limit else kept[: limit - 1] + "…"


def number(value):
    """A float to four significant digits, an int as it is."""
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def counted(number, noun):
    """`1 entry`, `2 parameters`: a number with its noun; of the plurals in -ies only that of `entry` is needed."""
    plural = "entries" if noun == "entry" else f"{noun}s"
    return f"{number} {noun if number == 1 else plural}"


def shape(size):
    """`(3, 5)`; `()` for a scalar tensor.

    Raises:
        WireError: it is the shape of no tensor. What a probe notes may have been replaced on the way.
    """
    if (
        not isinstance(size, (list, tuple))
        or len(size) > MAX_DIMENSIONS
        or any(type(length) is not int for length in size)
    ):
        raise WireError("a shape that no tensor has")
    return str(tuple(size))


def kind(value):
    """What a value is, without its contents: for "called with"."""
    if isinstance(value, torch.Tensor):
        strided = "" if value.is_contiguous() else ", not contiguous"
        return f"{dtype_name(value.dtype)} tensor of shape {shape(value.shape)}{strided}"
    return contents(value)


def contents(value):
    """What a value is, with its contents where they are few: for "returned" and "expected"."""
    if isinstance(value, torch.Tensor):
        what = f"{dtype_name(value.dtype)} tensor of shape {shape(value.shape)}"
        if value.ndim == 0:
            return f"{number(value.item())} (a 0-dimensional {dtype_name(value.dtype)} tensor)"
        if 0 < value.numel() <= 6:
            return f"{what}: {_rows(value)}"
        return what
    if isinstance(value, Opaque):
        return clean(f"{value.type}: {value.text}" if value.text else value.type, 160)
    if isinstance(value, (list, tuple)):
        inside = ", ".join(contents(item) for item in value[:4]) + (", …" if len(value) > 4 else "")
        return f"({inside})" if len(value) != 1 else f"({inside},)"
    if isinstance(value, (float, int)) and not isinstance(value, bool):
        return number(value) if abs(value) < 1e15 else f"{value:.4g}" if isinstance(value, float) else "a huge integer"
    return clean(repr(value), 160)


def _rows(tensor):
    if tensor.ndim == 0:
        return number(tensor.item())
    return "[" + ", ".join(_rows(row) for row in tensor) + "]"


def largest_difference(got, expected):
    """`at [0, 2] got 1.2, expected 3.4` for two tensors of one shape."""
    if got.numel() == 0:
        return ""
    gap = (got.double() - expected.double()).abs().nan_to_num(nan=float("inf"))
    flat = int(gap.argmax())
    index = [int(i) for i in np.unravel_index(flat, gap.shape)]  # torch's own imports sympy, which takes seconds
    return f"at {index} got {', expected '.join(format_distinct(got.flatten()[flat].item(), expected.flatten()[flat].item()))}"


def format_distinct(a, b):
    """Two numbers as text, with as many digits as it takes to see that they differ."""
    if not (isinstance(a, float) and isinstance(b, float)) or a == b:
        return number(a), number(b)
    for digits in range(4, 18):
        shown = f"{a:.{digits}g}", f"{b:.{digits}g}"
        if shown[0] != shown[1]:
            break
    return shown
