"""Text from outside (names, messages), made safe to show on a page."""

import re
from html import escape


def plain(text, limit=200):
    """Text without control characters and without changes of writing direction, cut to `limit` characters."""
    kept = "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)
    return kept if len(kept) <= limit else kept[: limit - 1] + "…"


def named(text, limit=200):
    """The same as HTML, its writing direction isolated from the text around it."""
    return f"<bdi>{escape(plain(text, limit))}</bdi>"


def prose(text, limit=600):
    """A sentence as HTML, what stands between backticks set as code."""
    return re.sub(r"`([^`]+)`", r"<code>\1</code>", escape(plain(text, limit)))
