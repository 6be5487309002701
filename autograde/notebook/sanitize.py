"""Removes active content, such as scripts, from a learner's notebook before others open it in a browser.

formgrader shows graded notebooks from the origin of the instructor's Jupyter server. A script in one of them could do
there whatever the instructor can: run code, change scores. Two layers prevent that, and each is sufficient alone:

* no active content enters a graded notebook: `output` sanitizes outputs, `text_cell` text cells;
* our pages sanitize the HTML that they show, after rendering Markdown: `html` and `rendered`.

Only tags and attributes on an allow-list are shown (`_TAGS`, `_attribute`). Markdown is judged by the result of
nbconvert's own renderer, since another parser could read it differently than the page does.
"""

import base64
import functools
import re
from html import escape, unescape

import nbformat
import nh3

from autograde.notebook import formulas, pictures

_IMAGES = ("image/png", "image/jpeg")
_SHOWN = {"text/plain", "application/json"}  # as they are: templates escape these
_TAGS = frozenset(
    "a abbr b blockquote br caption cite code col colgroup dd del details div dl dt em figcaption figure h1 h2 h3 h4 "
    "h5 h6 hr i img ins kbd li mark ol p pre q s small span strong sub summary sup table tbody td tfoot th thead tr "
    "u ul var wbr".split()
)
_REMOVED_WITH_CONTENT = {"script", "style", "template", "textarea", "title", "noscript", "iframe", "xmp", "noembed"}
_ATTRIBUTES = {
    "a": {"href"},
    "details": {"open"},
    "div": {"class"},
    "img": {"src", "alt", "width", "height", "title"},
    "ol": {"start"},
    "span": {"class"},
    "td": {"colspan", "rowspan", "align"},
    "th": {"colspan", "rowspan", "align"},
}
_LINK = re.compile(
    r"(https?://|mailto:)[^\s\\]+"
    r"|#[\w-]*"
    r"|(\.\./){0,2}(\w[\w-]*/)*\w[\w-]*\.ipynb(#[\w-]*)?",  # another lesson: a notebook is opened as text, not as a page
    re.IGNORECASE,
)
_EMBEDDED_IMAGE = re.compile(r"data:(image/(?:png|jpeg|gif|webp|bmp|svg\+xml));base64,[A-Za-z0-9+/=\s]*")
_FILE = re.compile(r"(?:\w(?:[\w. -]|%20)*/)*\w(?:[\w. -]|%20)*\.(png|jpe?g|gif|webp|bmp|svg)", re.IGNORECASE)
_NUMBER = re.compile(r"\d{1,4}")
_COLOURED_LANGUAGES = [[name] for name in ("python", "python3", "py", "ipython", "ipython3")]
_MAX_COLOURED = 2_000  # characters of code within Markdown
# The lexer for IPython looks at each character of a blank for sixteen magics, and for each searches the rest of it.
_LONG_BLANK = re.compile(r"\s{200}")
_COLOURED = re.compile(r"highlight|hll|err|[a-z][a-z0-9]?")  # what Pygments calls its pieces

# Beyond these, parsing as browsers do it takes quadratic time or memory.
MAX_HTML = 100_000  # characters
MAX_MARKDOWN = 20_000  # characters in one cell; the longest of a lesson has 3,000
MAX_RENDERED = 60_000  # characters of Markdown in all cells, or all outputs, of one notebook
_MAX_WORK = 4 * 10**7  # the sum over all of them of length times marks: 0.2 s at worst
_MARK = re.compile(r"[^\w\s]")  # what may begin something, for which the whole rest of the text is searched
# Each blank of several may begin the end of a line, for which the rest of them is searched.
_BLANKS = re.compile(r"[ \t]{2,}")
_MAX_TAGS = 10_000
# Elements within each other: 400 <details>, each in the <summary> of another, take a browser eight seconds.
MAX_DEPTH = 50
_TAG = re.compile(r'<(/?)([a-z][a-z0-9]*)(?:"[^"]*"|[^">])*+>')
_EMPTY = {"br", "col", "hr", "img", "wbr"}
_MAX_GROWTH = 20  # times as long, with every element closed and every link's target and rel
_MAX_FORMATTED = 50  # browsers repeat an unclosed <b title="…"> in every paragraph that follows
_FORMATTED = re.compile(r"<(?:b|big|code|em|font|i|nobr|s|small|strike|strong|tt|u)[^a-zA-Z>]", re.IGNORECASE)

MAX_ALT = 1_000  # characters of text in place of a picture, which stands at each of a cell's outputs
# Characters of pasted pictures in one cell, beyond each of them once: a page has a picture as often as it is named.
_MAX_REPEATED = 2**20
# Columns and rows that the cells of all tables of one notebook span. A browser lays out each place in a table, so cells with
# 999 columns in 200 rows that go on stop the page. A page of a hundred data frames with two levels of names has 6,000.
MAX_SPANNED = 8_000
# Work of all formulas of one notebook, as `formulas` counts it: 20 seconds at worst. A lesson has 1,000.
MAX_FORMULAS = 10_000
MAX_DRAWN = 1_000_000  # work of all pictures of one notebook, as `pictures` counts it: 20 seconds at worst
MAX_FILES = 20  # pictures in files beside a notebook that it shows, each as often as it is shown
MAX_DRAWINGS = 4 * 2**20  # bytes of all SVGs of one notebook, and 25 for each element: two seconds to look at, at worst

TOO_COMPLEX = "[HTML that is too large to show]"
NO_PICTURE = "a picture that is not in the notebook"
SHOWN_OFTEN = "a picture that is shown too often"


class Budget:
    """How much of one notebook may still be shown: Markdown, which else is shown as its source, pictures, formulas, and tables.

    Rendering Markdown takes time in proportion to its length, and at worst to its length times the number of its marks, or to
    the square of the length of its blanks. The texts of a lesson, which do not count, have a third of the one and a twentieth
    of the other.
    """

    def __init__(self):
        self.characters, self.work, self.drawn = MAX_RENDERED, _MAX_WORK, MAX_DRAWN
        self.spanned, self.formulas, self.drawings = MAX_SPANNED, MAX_FORMULAS, MAX_DRAWINGS
        self.files = MAX_FILES

    def allows(self, source):
        """Whether this text may be rendered, which counts it."""
        self.characters -= len(source)
        searched = source[:MAX_MARKDOWN]
        self.work -= len(source) * len(_MARK.findall(searched))
        self.work -= sum(len(run) ** 2 for run in _BLANKS.findall(searched))
        return self.characters >= 0 and self.work >= 0

    def draws(self, mime, data, scaled=False):
        """Whether this picture, as bytes or in base64, may be drawn, which counts it. `scaled`: perhaps larger than it is."""
        if mime.lower() == pictures.SVG and not self.looks_at(data):
            return False
        work = pictures.work(mime, data, scaled)
        if work is None or work > self.drawn:
            return False
        self.drawn -= work
        return True

    def looks_at(self, drawing):
        """Whether the work of this SVG, as bytes or in base64, may be counted, which takes time: 8 microseconds for an element."""
        elements = drawing.count(b"<") if isinstance(drawing, bytes) else len(drawing) // 10
        self.drawings -= len(drawing) + 25 * elements
        return self.drawings >= 0

    def draws_file(self):
        """Whether one more picture may be shown from a file, of which no more is known than that `pictures.may_show` it."""
        self.files -= 1
        return self.files >= 0

    def sets(self, shown):
        """Whether the formulas in this HTML, or plain text, may be set, which counts them."""
        work = formulas.work(shown)
        if work > self.formulas or not formulas.are_bounded(shown):
            return False
        self.formulas -= work
        return True

    def spans(self, count):
        """Whether a cell of a table may be so many columns wide, or rows high, which counts them."""
        if count > self.spanned:
            return False
        self.spanned -= count
        return True


# HTML --------------------------------------------------------------------------------------------------------------


def html(source, longest=MAX_HTML, budget=None):
    """Sanitized HTML: nothing in it runs, loads anything, covers the page, or has an id. Every element is closed.

    Args:
        source: the HTML.
        longest: the maximum number of characters; longer HTML is replaced by `TOO_COMPLEX`.
        budget: of the notebook; None for one of this text alone.
    """
    if len(source) > longest or source.count("<") > _MAX_TAGS:
        return TOO_COMPLEX
    budget = budget or Budget()
    cleaned = _cleaned(source, budget)
    return cleaned if budget.sets(cleaned) else TOO_COMPLEX


def _cleaned(source, budget):
    cleaned = _cleaner(budget).clean(source) if len(_FORMATTED.findall(source)) <= _MAX_FORMATTED else TOO_COMPLEX
    grown = len(cleaned) > _MAX_GROWTH * len(source) + len(TOO_COMPLEX)
    return TOO_COMPLEX if grown or _depth(cleaned) > MAX_DEPTH else cleaned


def _depth(cleaned):
    """How many elements there are within each other, in HTML in which each has an end."""
    depth = most = 0
    for ends, name in _TAG.findall(cleaned):
        if name not in _EMPTY:
            depth += -1 if ends else 1
            most = max(most, depth)
    return most


def _cleaner(budget):
    return nh3.Cleaner(
        tags=set(_TAGS),
        clean_content_tags=_REMOVED_WITH_CONTENT,
        attributes=_ATTRIBUTES,
        attribute_filter=functools.partial(_attribute, budget),
        url_schemes={"http", "https", "mailto", "data"},
        strip_comments=True,
        link_rel="noopener noreferrer",
        set_tag_attribute_values={"a": {"target": "_blank"}},
    )


def _attribute(budget, tag, name, value):
    """The value of an attribute that may stay; None for others."""
    if name == "href":
        allowed = _is_link(value)
    elif name == "src":
        allowed = _is_image(value, budget)
    elif name == "class":
        allowed = all(_COLOURED.fullmatch(word) for word in value.split())
    elif name == "align":
        allowed = value in ("left", "right", "center")
    elif name in ("colspan", "rowspan"):
        allowed = _NUMBER.fullmatch(value) and budget.spans(int(value))
    elif name in ("width", "height", "start"):
        allowed = _NUMBER.fullmatch(value)
    else:
        allowed = True
    return value if allowed else None


def _is_link(address):
    return _LINK.fullmatch(address) is not None


def _is_image(address, budget):
    """Whether an address is an embedded picture, or a file beside the notebook. Nothing else is loaded: another server
    would learn who reads the page, and an address of our own might have an effect (``/logout``).
    """
    if embedded := _EMBEDDED_IMAGE.fullmatch(address):
        return budget.draws(embedded[1], address.partition(",")[2], scaled=True)  # an <img> has any width and height
    return _FILE.fullmatch(address) is not None and budget.draws_file()


# Outputs -----------------------------------------------------------------------------------------------------------


def output(found, budget=None):
    """Remove active content from an output (in nbformat's form), in place; returns it. `budget`: of its notebook."""
    if "data" in found:
        alt = {mime: known.get("alt") for mime, known in found.metadata.items() if isinstance(known, dict)}
        shown = _data(found.data, budget or Budget())
        found.data = nbformat.from_dict({mime: data for mime, data in shown if data is not None})
        found.metadata = nbformat.from_dict(
            {mime: {"alt": str(alt[mime])[:MAX_ALT]} for mime in found.data if mime in _IMAGES and alt.get(mime)}
        )
    return found


def _data(bundle, budget):
    for mime, data in bundle.items():
        if mime == "image/svg+xml":
            yield mime, data if isinstance(data, str) and budget.draws(mime, data.encode("utf-8", "replace")) else None
        elif mime in _SHOWN:
            yield mime, data if mime == "application/json" or isinstance(data, str) else None
        elif mime == "text/latex":
            yield mime, data if isinstance(data, str) and budget.sets(escape(data)) else None
        elif mime in _IMAGES:
            yield mime, data if _is_base64(data) and budget.draws(mime, data) else None
        elif mime == "text/html" and isinstance(data, str):
            yield mime, html(data, budget=budget)
        elif mime == "text/markdown" and isinstance(data, str):
            yield mime, markdown(data, budget=budget)


def _is_base64(data):
    """Whether `data` is text of base64 and nothing else."""
    return isinstance(data, str) and re.fullmatch(r"[A-Za-z0-9+/=\s]*", data) is not None


def is_picture(mime, data, budget=None):
    """Whether `data` is base64 that a browser can show as a picture in bounded time. `budget`: of all that are looked at."""
    if not _is_base64(data) or (mime.lower() == pictures.SVG and not (budget or Budget()).looks_at(data)):
        return False
    return pictures.work(mime, data) is not None


# Markdown ----------------------------------------------------------------------------------------------------------


def rendered(source, attachments=None):
    """Markdown as sanitized HTML, rendered by nbconvert. Formulas stay as they are written."""
    if literal := _LITERAL.fullmatch(source):  # else too long, perhaps, or a formula that is refused
        return f"<pre>{escape(unescape(literal[1]))}</pre>"
    if len(source) > MAX_MARKDOWN:
        return f"<pre>{escape(source)}</pre>"
    from nbconvert.filters.markdown_mistune import MarkdownWithMath, import_plugin

    renderer = _renderers()[0](attachments=attachments or {}, escape=False, exclude_anchor_links=True)
    plugins = [import_plugin(name) for name in MarkdownWithMath.DEFAULT_PLUGINS if name != "task_lists"]  # no <input>
    shown = _cleaned(MarkdownWithMath(renderer, plugins=plugins).render(source), Budget())
    return shown if Budget().sets(shown) else f"<pre>{escape(source)}</pre>"


def markdown(source, attachments=None, budget=None):
    """The Markdown itself if nbconvert renders no active content from it; else Markdown that shows its source.

    Args:
        source: the text.
        attachments: of the cell, ``{name: {mime type: base64}}``; None if there can be none. For a picture that is
            missing in it, a placeholder is added: without it, nbconvert fails for the whole page.
        budget: of the notebook; None for one of this text alone.
    """
    budget = budget or Budget()
    if len(source) > MAX_MARKDOWN or not budget.allows(source):
        return _literal(source)
    from nbconvert.filters.markdown_mistune import MarkdownWithMath

    watching = _renderers()[1](budget, attachments=attachments or {}, escape=False)
    try:
        shown = MarkdownWithMath(watching).render(source)
    except Exception:  # another renderer would fail too
        return _literal(source)
    if watching.active or (watching.missing and attachments is None) or not budget.sets(shown):
        return _literal(source)
    if _cleaned(shown, Budget()) == TOO_COMPLEX:
        return _literal(source)
    for name in watching.missing:
        attachments[name] = {"image/svg+xml": _STAND_IN}
    return source


def warm_up():
    """Import what renders Markdown and reads pictures, some 300 modules, before a process is forked for each notebook."""
    markdown("*a*")
    pictures.work("image/png", b"")


def has_long_blank(code):
    """Whether code has a blank, or empty lines, so long that colouring it takes seconds."""
    return _LONG_BLANK.search(code) is not None


def _literal(text):
    """Markdown that shows `text` literally: every character with a meaning in Markdown, HTML or formulas is escaped."""
    spelt = re.sub(r"[^\w\s]|_", lambda found: f"&#{ord(found[0])};", text)
    return f"<pre>{spelt}</pre>"


_LITERAL = re.compile(r"<pre>((?:[\w\s]|&#\d{1,7};)*+)</pre>")  # what `_literal` returns


def text_cell(cell, budget=None):
    """Sanitize a text cell in place, so that nothing in it can run in any page. `budget`: of its notebook."""
    if cell.cell_type == "markdown":
        attachments = cell.get("attachments", {})
        cell.source = markdown(cell.source, attachments, budget)
        if attachments:
            cell.attachments = nbformat.from_dict(attachments)
    elif cell.cell_type == "raw":  # nbconvert shows it as HTML
        shown = escape(cell.source) if "<" in cell.source else cell.source
        cell.source = shown if (budget or Budget()).sets(shown) else _literal(cell.source)


_STAND_IN = base64.b64encode(
    b'<svg xmlns="http://www.w3.org/2000/svg" width="260" height="24"><text x="4" y="17" font-size="14" fill="gray">'
    + NO_PICTURE.encode()
    + b"</text></svg>"
).decode()

_PLAIN_HTML = re.compile(
    rf"(?:[^<]|</?(?:{'|'.join(sorted(_TAGS - {'a', 'img'}))})(?: open)?\s*/?>|<!--(?!>|->)[^<>-]*-->)*"
)
_DIV = re.compile(r"</?div\b", re.IGNORECASE)
_RENDERERS = None


def _size(bundle):
    return sum(map(len, bundle.values()))


def _renderers():
    """Two variants of nbconvert's renderer: `Tolerant` of missing pictures, and `Watching` for active content."""
    global _RENDERERS
    if _RENDERERS is None:
        from nbconvert.filters.markdown_mistune import IPythonRenderer

        class Counting(IPythonRenderer):
            pasted = 0  # characters of all pictures so far

            @functools.cached_property
            def _room(self):
                return _MAX_REPEATED + sum(map(_size, self.attachments.values()))

            def _repeats_too_much(self, name):
                self.pasted += _size(self.attachments[name])
                return self.pasted > self._room

        class Tolerant(Counting):
            def image(self, text, url, title=None):
                if url.startswith("attachment:"):
                    name = url[len("attachment:") :]
                    if not self.attachments.get(name):
                        return f"<i>[{NO_PICTURE}]</i>"
                    if self._repeats_too_much(name):
                        return f"<i>[{SHOWN_OFTEN}]</i>"
                return super().image(text, url, title)

            def text(self, text):
                # What is a formula does not come here: this one was escaped. MathJax finds none that goes on beyond a tag.
                return super().text(text).replace("$", "<span>$</span>")

            def block_mermaidjs(self, code):
                return f"<pre>{escape(code)}</pre>"

            def block_code(self, code, info=None):
                # Colours take quadratic time, and in some languages more.
                known = (info or "").split()[:1] in _COLOURED_LANGUAGES
                quick = len(code) <= _MAX_COLOURED and not has_long_blank(code)
                return super().block_code(code, info if known and quick else None)

        class Watching(Counting):
            active = False

            def __init__(self, budget, **options):
                super().__init__(**options)
                self.budget = budget
                self.missing = set()
                self.divs = 0  # that are open

            def _html(self, source):
                self.active |= _PLAIN_HTML.fullmatch(source) is None
                for tag in _DIV.findall(source):
                    self.divs += -1 if tag.startswith("</") else 1
                    self.active |= self.divs < 0  # it would close a part of the page
                return source

            block_html = inline_html = _html

            def block_mermaidjs(self, code):
                self.active = True  # in JupyterLab a diagram loads pictures from any address
                return ""

            def block_code(self, code, info=None):
                return self.block_mermaidjs(code) if (info or "").startswith("mermaid") else ""  # other code is escaped

            def link(self, text, url, title=None):
                self.active |= not _is_link(url)
                return text

            def image(self, text, url, title=None):
                if url.startswith("attachment:"):
                    name = url[len("attachment:") :]
                    if self.attachments.get(name):
                        self.active |= self._repeats_too_much(name)
                        self.active |= not all(self.budget.draws(*each) for each in self.attachments[name].items())
                    else:
                        self.missing.add(name)
                else:
                    self.active |= not _is_image(url, self.budget)
                return ""

        _RENDERERS = Tolerant, Watching
    return _RENDERERS
