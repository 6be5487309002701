"""Shows text with a terminal's colour codes as HTML: whatever they are, in a time that does not grow with their square."""

from html import escape

from nbconvert.filters import ansi2html, strip_ansi

MOST_WORK = 2 * 10**9  # codes times characters: nbconvert copies what is left of the text at each code


def work(text):
    """How much work the colours of a text are, to be compared with `MOST_WORK`."""
    return text.count("\x1b[") * len(text)


def as_html(text):
    """The text as HTML; without colours where they are too much work, or where nbconvert fails at a code."""
    if work(text) <= MOST_WORK:
        try:
            return str(ansi2html(text))
        except Exception:  # a code that is cut off, such as ESC[38m, raises IndexError
            pass
    return escape(strip_ansi(text))
