"""Makes text from outside, such as names and messages, safe to show on a page."""

from html import escape

from autograde.judge import render
from autograde.terminal import one_line


def plain(text, limit=200):
    """One line without control characters and changes of writing direction, cut to `limit` characters."""
    return one_line(text, limit)


def named(text, limit=200):
    """The same as HTML, its writing direction isolated from the text around it."""
    return f"<bdi>{escape(plain(text, limit))}</bdi>"


def prose(text, limit=600):
    """Text as HTML, with the parts between backticks set as code."""
    return render.prose(plain(text, limit))
