"""Names that others have chosen, as a page may show them."""

import re
from html import escape


def plain(text, limit=200):
    """Text without characters that move the reader's cursor or turn the writing round, and not too long."""
    kept = "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)
    return kept if len(kept) <= limit else kept[: limit - 1] + "…"


def named(text, limit=200):
    """The same as HTML, apart from the writing around it."""
    return f"<bdi>{escape(plain(text, limit))}</bdi>"


def prose(text, limit=600):
    """A sentence as HTML, what stands between backticks set as code."""
    return re.sub(r"`([^`]+)`", r"<code>\1</code>", escape(plain(text, limit)))
