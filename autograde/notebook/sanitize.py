"""Removes active content, such as scripts, from a learner's notebook before others open it in a browser.

formgrader shows graded notebooks from the address of the instructor's own Jupyter server. A script in one of them could
do there whatever the instructor can: run code, change marks. So nothing active gets into a graded notebook.
"""

import html
import re

import bleach
import nbformat

_IMAGES = ("image/png", "image/jpeg")
_SHOWN = {"text/plain", "text/latex", "image/svg+xml", "application/json"}  # as they are: templates escape these
_TAGS = frozenset(
    "a abbr b blockquote br caption cite code col colgroup dd del details div dl dt em figcaption figure h1 h2 h3 h4 "
    "h5 h6 hr i img ins kbd li mark ol p pre q s small span strong sub summary sup table tbody td tfoot th thead tr "
    "u ul var wbr".split()
)
_ATTRIBUTES = {
    "*": ["title"],
    "a": ["href"],
    "details": ["open"],
    "img": ["src", "alt", "width", "height"],
    "td": ["colspan", "rowspan", "align"],
    "th": ["colspan", "rowspan", "align"],
}
_DROPPED = re.compile(r"<(script|style)\b.*?(</\1\s*>|\Z)", re.IGNORECASE | re.DOTALL)

_TAG_LIKE = re.compile(r"<(?=[a-zA-Z/!?])")
_PLAIN_TAG = re.compile(
    rf"</?({'|'.join(sorted(_TAGS - {'a', 'img'}))})( open)?\s*/?>|<https?://[^\s<>]*>|<!--[^<>]*-->"
)
_ACTIVE_ADDRESS = re.compile(r"(\]\(|\]:|<)<?(javascript|vbscript|data):", re.IGNORECASE)


def output(found):
    """Remove active content from an output (in nbformat's form), in place; returns it."""
    if "data" in found:
        alt = {mime: known.get("alt") for mime, known in found.metadata.items() if isinstance(known, dict)}
        found.data = nbformat.from_dict({mime: data for mime, data in _data(found.data) if data is not None})
        found.metadata = nbformat.from_dict(
            {mime: {"alt": str(alt[mime])} for mime in found.data if mime in _IMAGES and alt.get(mime)}
        )
    return found


def _data(bundle):
    for mime, data in bundle.items():
        if mime in _SHOWN:
            yield mime, data
        elif mime in _IMAGES:
            yield mime, data if is_base64(data) else None
        elif mime == "text/html" and isinstance(data, str):
            yield mime, bleach.clean(_DROPPED.sub("", data), _TAGS, _ATTRIBUTES, strip=True)
        elif mime == "text/markdown" and isinstance(data, str):
            yield mime, markdown(data)


def is_base64(data):
    """Whether `data` is text of base64 and nothing else."""
    return isinstance(data, str) and re.fullmatch(r"[A-Za-z0-9+/=\s]*", data) is not None


def markdown(source):
    """Markdown as it is when nothing in it can become active; else its source, to be read and not to be rendered."""
    plain = all(_PLAIN_TAG.match(source, like.start()) for like in _TAG_LIKE.finditer(source))
    # Markdown reads entities in addresses, and browsers leave out white space and control characters.
    addresses = re.sub(r"[\x00-\x20]+", "", html.unescape(html.unescape(source)))
    if plain and not _ACTIVE_ADDRESS.search(addresses):
        return source
    return f"<pre>{html.escape(source)}</pre>"
