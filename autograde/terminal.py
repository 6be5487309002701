"""Safe output to a terminal and to logs.

Much of what is printed was written by others: file names, messages of exceptions. Escape sequences in it could set the
terminal's title, fill the clipboard or clear the screen. So all text is made harmless here, just before it is printed:
`say` prints, `console` makes a rich Console, and `LogRecord` is the record of every logger of the process.
"""

import logging
import os
import sys
import unicodedata

REPLACEMENT = "\N{REPLACEMENT CHARACTER}"
MOST_MARKS = 4  # on one letter; Vietnamese and Hebrew have up to three. More lie over the lines above and below it.
_KEPT = "\n\t"


def harmless(text):
    """Text without control characters other than line break and tab, format characters (some change the direction of
    writing), lone surrogates, and marks beyond `MOST_MARKS` on one letter: each is replaced by `REPLACEMENT`.
    """
    if text.isascii() and text.isprintable():
        return text
    shown, marks = [], 0
    for character in text:
        marks = marks + 1 if unicodedata.category(character) in ("Mn", "Me") else 0
        shown.append(REPLACEMENT if _is_unsafe(character) or marks > MOST_MARKS else character)
    return "".join(shown)


def _is_unsafe(character):
    return character not in _KEPT and unicodedata.category(character) in ("Cc", "Cf", "Cs", "Zl", "Zp")


def one_line(text, limit=60):
    """The same on one line, cut to `limit` characters."""
    shown = harmless(text).replace("\n", REPLACEMENT).replace("\t", " ")
    return shown if len(shown) <= limit else shown[: limit - 1] + "…"


def prepare():
    """Make the standard streams write a question mark for characters that the terminal's encoding lacks. One that the caller
    has closed (``>&-``) leads nowhere.
    """
    sys.stdout = sys.stdout or open(os.devnull, "w")
    sys.stderr = sys.stderr or open(os.devnull, "w")
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")


def give_up_stdout():
    """Drop what could not be written to standard output: Python would try once more at its end, and complain."""
    with open(os.devnull, "w") as nowhere:
        os.dup2(nowhere.fileno(), 1)


def say(text, error=False):
    """Print text, on standard error if asked. What the stream's encoding lacks becomes a question mark."""
    stream = sys.stderr if error else sys.stdout
    encoding = getattr(stream, "encoding", None) or "utf-8"
    print(harmless(text).encode(encoding, "replace").decode(encoding), file=stream, flush=True)


class LogRecord(logging.LogRecord):
    """A log record whose message is harmless to a terminal."""

    def getMessage(self):
        return harmless(super().getMessage())


def guard_logs():
    """Make every logger of this process write harmless text, tracebacks included."""
    logging.setLogRecordFactory(_record)


def _record(*args, **kwargs):
    record = LogRecord(*args, **kwargs)
    if record.exc_info:
        record.exc_text = harmless(logging.Formatter().formatException(record.exc_info))
    return record


def console(**options):
    """A rich Console that makes all text harmless; only rich itself sets colours."""
    from rich.console import Console
    from rich.segment import Segment

    class Harmless(Console):
        def render(self, renderable, options=None):
            for text, style, control in super().render(renderable, options):
                yield Segment(text if control else harmless(text), style, control)

    return Harmless(**options)
