"""Pages that show a learner's notebook: its content is sanitized, and a Content-Security-Policy blocks everything else."""

import re
from html import escape

from jinja2 import pass_context
from nbconvert.exporters import HTMLExporter
from nbconvert.filters import Highlight2HTML, get_metadata, strip_ansi

from autograde.nbgrader_plugin import ansi
from autograde.notebook import characters, sanitize

# Formulas are set by MathJax, from the address and in the version that nbconvert's template names. MathJax 2 evaluates
# its own configuration in the page, hence 'unsafe-eval'; no content of a learner gets there.
MATHJAX = "https://cdnjs.cloudflare.com/ajax/libs/mathjax/2.7.7/"
NOTHING_ELSE = "default-src 'none'; base-uri 'none'; form-action 'none'"
FEEDBACK_POLICY = (
    f"{NOTHING_ELSE}; script-src 'unsafe-eval' {MATHJAX}; style-src 'unsafe-inline' {MATHJAX}; "
    f"font-src data: {MATHJAX}; img-src 'self' file: data: {MATHJAX}; connect-src {MATHJAX}"
)

# Nothing in a cell covers what is outside it, such as the boxes for scores: formulas can set things where they like, and a letter
# can have marks a page high.
# And a long word, or text in place of a picture, makes no page wider than its window; nothing makes a page so long that it
# ends before its last cells: Chromium's ends after 33 million pixels.
CONTAINED = (
    "<style>.text_cell_render, .input_area, .output_area, .raw_cell { contain: layout paint; } "
    "body { overflow-wrap: break-word; } "
    ".text_cell_render, .output, .raw_cell { max-height: 20000px; overflow: auto; } "
    ".inner_cell, .output_subarea { min-width: 0; } .text_cell_render img, .output_area img { max-width: 100%; }</style>"
)
# Of nbgrader's style sheets, which come later: what can be opened does not show that, links in the heading of a cell are too
# pale, and on a narrow screen the score in it lies over the code.
READABLE = (
    "<style>summary { display: list-item !important; cursor: pointer; } "
    "div.nbgrader_cell .panel-heading { height: auto !important; overflow: hidden; } "
    "div.nbgrader_cell .panel-heading a { color: inherit !important; text-decoration: underline; }</style>"
)
# A report (`judge.render`) has lost its own styles to the sanitizer, and nbgrader's pages have none for a table in a text cell.
# Its code is broken anywhere, so that it fits on a phone; numbers in a table of data are not. MathJax breaks what is wider than
# the place between two boxes; a cell is as narrow as they are while formulas are not set yet, and a broken one fills the table.
TABLES = (
    "<style>.rendered_html table th, .rendered_html table td { padding: 1px 14px 1px 0; vertical-align: top; } "
    ".rendered_html table code { padding: 0; background: none; color: inherit; white-space: pre-wrap; "
    "overflow-wrap: anywhere; } "
    ".rendered_html td .mjx-test-inline .mjx-right-box { float: none !important; margin-left: 60em; }</style>"
)

# Without it, a phone shows the page as wide as a desk's screen, and its letters a third as large.
_ON_A_PHONE = '<meta name="viewport" content="width=device-width, initial-scale=1">'
# Of nbgrader's style sheet for feedback: it names files that are not there, which the policy would refuse, and no icon is used.
_ICON_FONT = re.compile(r"@font-face\s*\{[^{}]*glyphicons[^{}]*\}")
_HEAD = re.compile(r"<head[^>]*>", re.IGNORECASE)
_FIRST_HEADING = re.compile(r"<h4>(.*?)</h4>", re.DOTALL)
_TEST_CELL = re.compile(r'(<a href="#(?:check_)?([^"<>]+)">)Test cell(</a>)')
# Pygments takes quadratic time for some source: a fifth of a second for 10,000 characters, and half an hour for a million.
_MAX_COLOURED = 200_000  # characters of code in one page
_MAX_COLOURING = 5 * 10**8  # the sum of the squares of the lengths of its cells
_LONGEST = 4 * sanitize.MAX_HTML  # sanitizing in grading can have made it longer


class CleanHTMLExporter(HTMLExporter):
    """nbconvert's exporter, with every fragment of a notebook sanitized after it was rendered."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.sanitize_html = True  # nbconvert's templates then show no JavaScript and no widgets, and sanitize HTML
        self.coloured = self.colouring = self.ansi = 0
        own = {"highlight_code": self._highlighted, "ansi2html": self._printed, "strip_files_prefix": _as_it_is}
        self.filters = {**self.filters, **own}

    def from_notebook_node(self, nb, resources=None, **kwargs):
        """As nbconvert's method."""
        self.coloured = self.colouring = self.ansi = 0
        page, resources = super().from_notebook_node(nb, resources, **kwargs)
        return characters.bounded(_in_head(page, CONTAINED + TABLES + READABLE + ansi.STYLE)), resources

    def _highlighted(self, source, language=None, metadata=None):
        """Code as HTML, coloured as long as the page has not too much of it."""
        self.coloured += len(source)
        self.colouring += len(source) ** 2
        too_much = self.coloured > _MAX_COLOURED or self.colouring > _MAX_COLOURING
        if too_much or sanitize.has_long_blank(source):
            return f'<div class="highlight"><pre>{escape(source)}\n</pre></div>'
        return Highlight2HTML(pygments_lexer="ipython3", parent=self)(source, language=language, metadata=metadata)

    def _printed(self, text):
        """Printed text as HTML, with a terminal's colours as long as the page has not too many of them."""
        self.ansi += ansi.work(text)
        return ansi.as_html(text if self.ansi <= ansi.MOST_WORK else strip_ansi(text))

    def default_filters(self):
        """nbconvert's filters, with our own in place of those that output HTML from a notebook."""
        yield from super().default_filters()
        yield "markdown2html", _markdown
        yield "clean_html", _html
        yield "get_metadata", _metadata


@pass_context
def _markdown(context, source):
    return sanitize.rendered(source, context.get("cell", {}).get("attachments"))


@pass_context
def _html(context, source):
    shown = sanitize.html(source.decode("utf-8", "replace") if isinstance(source, bytes) else str(source), _LONGEST)
    # The template puts a raw cell into the page without a box of its own.
    return f'<div class="raw_cell">{shown}</div>' if context.get("cell", {}).get("cell_type") == "raw" else shown


def _metadata(output, key, mime=None):
    """As nbconvert's filter, but a size must be a number: the templates write it without quotes."""
    value = get_metadata(output, key, mime)
    return value if key == "alt" or isinstance(value, (int, float)) else None


def readable(page):
    """nbgrader's page of feedback with its language, as wide as a phone's screen on a phone, with the names of the checks in the
    list at its top (nbgrader calls each of them "Test cell"), and without a heading of the fourth level above the notebook's
    first.
    """
    page = _in_head(page.replace("<html>", '<html lang="en">', 1), _ON_A_PHONE)
    page = _FIRST_HEADING.sub(r'<p class="h4">\1</p>', page, count=1)
    return _TEST_CELL.sub(r"\1\2\3", page)


def with_policy(page, policy):
    """The page with a Content-Security-Policy in its head, for pages that are opened as files; without its font of icons."""
    page = _ICON_FONT.sub("", page, count=1)
    meta = f'<meta http-equiv="Content-Security-Policy" content="{escape(policy)}">'
    return _in_head(page, meta)


def _as_it_is(shown):
    """In place of nbconvert's filter, which takes quadratic time to change addresses that no learner's cell may name."""
    return shown


def _in_head(page, element):
    return _HEAD.sub(lambda found: found[0] + element, page, count=1)
