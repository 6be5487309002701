"""Text from outside (names, messages), made safe to show on a page."""

import re
from html import escape

from autograde.terminal import one_line


def plain(text, limit=200):
    """Text without control characters and without changes of writing direction, cut to `limit` characters."""
    return one_line(text, limit)


def named(text, limit=200):
    """The same as HTML, its writing direction isolated from the text around it."""
    return f"<bdi>{escape(plain(text, limit))}</bdi>"


def prose(text, limit=600):
    """A sentence as HTML, what stands between backticks set as code."""
    return re.sub(r"`([^`]+)`", r"<code>\1</code>", escape(plain(text, limit)))
