"""What is printed and logged. Much of it was written by others: file names, a lesson's name, an exception's message.

A terminal obeys what it is sent: escape sequences can set its title, fill the clipboard or clear the screen. So text
becomes harmless here, at the last place before the terminal, wherever it comes from: `say` prints, `Console` is rich's
with the same care, and `LogRecord` is what every logger of the process writes.
"""

import logging
import sys
import unicodedata

REPLACEMENT = "\N{REPLACEMENT CHARACTER}"
_KEPT = "\n\t"


def harmless(text):
    """Text without what a terminal obeys or a reader cannot see: control characters but for line break and tab, format
    characters (some turn the direction of writing), and halves of surrogate pairs.
    """
    if text.isascii() and text.isprintable():
        return text
    return "".join(REPLACEMENT if _obeyed(character) else character for character in text)


def _obeyed(character):
    return character not in _KEPT and unicodedata.category(character) in ("Cc", "Cf", "Cs", "Zl", "Zp")


def one_line(text, limit=60):
    """The same on one line, cut to `limit` characters."""
    shown = harmless(text).replace("\n", REPLACEMENT).replace("\t", " ")
    return shown if len(shown) <= limit else shown[: limit - 1] + "…"


def prepare():
    """Have the standard streams write what the terminal's encoding lacks as a question mark, in place of failing."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")


def say(text, error=False):
    """Print text, on standard error if asked."""
    print(harmless(text), file=sys.stderr if error else sys.stdout, flush=True)


class LogRecord(logging.LogRecord):
    """A line of a log, harmless to the terminal that it may be shown in."""

    def getMessage(self):
        return harmless(super().getMessage())


def guard_logs():
    """Have every logger of this process write harmless text, tracebacks among it."""
    logging.setLogRecordFactory(_record)


def _record(*args, **kwargs):
    record = LogRecord(*args, **kwargs)
    if record.exc_info:
        record.exc_text = harmless(logging.Formatter().formatException(record.exc_info))
    return record


def console(**options):
    """A rich Console whose texts are harmless, however they got into it: colours are rich's own, not the text's."""
    from rich.console import Console
    from rich.segment import Segment

    class Harmless(Console):
        def render(self, renderable, options=None):
            for text, style, control in super().render(renderable, options):
                yield Segment(text if control else harmless(text), style, control)

    return Harmless(**options)
