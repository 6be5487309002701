"""Nothing that a learner hands in is active in a page that someone else opens: feedback, and formgrader's."""

import html.parser
import re
from html import unescape

import nbformat
import pytest
from nbconvert.exporters import HTMLExporter
from sample_course import ROOT

from autograde import registry
from autograde.authoring import lesson as lessons
from autograde.judge import render
from autograde.notebook import sanitize
from autograde.project import Course
from autograde.submission import read_notebook

ACTIVE_HTML = [
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "<svg onload=alert(1)>",
    "<a href='javascript:alert(1)'>x</a>",
    "<a href='java&#115;cript:alert(1)'>x</a>",
    "<iframe src='javascript:alert(1)'></iframe>",
    "<form action='/api'><button formaction='javascript:alert(1)'>x</button></form>",
    "<style>@import 'x'</style><div style='position:fixed;inset:0'>covers the page</div>",
    "<math><mtext></form><form><mglyph><style></math><img src onerror=alert(1)>",
    "<!-- <img src=x onerror=alert(1)>",
    "<script",
    "<b\nonclick=alert(1)>x</b>",
    "<base href='https://elsewhere.example'>",
    "<meta http-equiv=refresh content='0;url=javascript:alert(1)'>",
    "<object data='data:text/html,<script>alert(1)</script>'></object>",
]
ACTIVE_MARKDOWN = [
    *ACTIVE_HTML,
    "[x](javascript:alert(1))",
    "[x](java&#115;cript:alert(1))",
    "[x]( javascript&colon;alert(1))",
    "[x](<java\tscript:alert(1)>)",
    "[x]: javascript:alert(1)\n\n[x]",
    "<javascript:alert(1)>",
    "![x](javascript:alert(1))",
    "[x](data:text/html;base64,PHNjcmlwdD4=)",
]
HARMLESS_MARKDOWN = [
    "# Title\n\n*a* **b** `c`\n\n> quoted\n\n- one\n- two\n",
    "$a < b$ and $c > d$, or $$\\sum_i x_i$$",
    "<details><summary>Hint</summary>\n\nLook <b>here</b>.<br/>\n</details>",
    "[a link](https://example.org/?data:1) and <https://example.org>",
    "the data: 3 rows",
]


class Active(html.parser.HTMLParser):
    """Collects what would run, load or cover something."""

    FORBIDDEN = {"script", "iframe", "object", "embed", "form", "base", "meta", "link", "style", "svg", "math"}

    def __init__(self, page):
        super().__init__()
        self.found = []
        self.feed(page)
        self.close()

    def handle_starttag(self, tag, attributes):
        named = dict(attributes)
        address = (named.get("href") or named.get("src") or "").strip().lower()
        if tag in self.FORBIDDEN or any(name.startswith("on") or name == "style" for name in named):
            self.found.append((tag, attributes))
        elif address.startswith(("javascript:", "vbscript:", "data:text")):
            self.found.append((tag, attributes))


def shown(cell):
    """What nbgrader's pages put in the place of a cell: the body that nbconvert's classic template makes of it."""
    exporter = HTMLExporter(template_name="classic")
    page, _ = exporter.from_notebook_node(nbformat.v4.new_notebook(cells=[cell]))
    return page.split('<div class="container" id="notebook-container">')[1].split("</body>")[0]


def test_the_attacks_work_where_nothing_is_done():
    assert all(Active(source).found for source in ACTIVE_HTML if source not in ("<script", ACTIVE_HTML[9]))
    assert Active(shown(nbformat.v4.new_markdown_cell("[x](javascript:alert(1))"))).found


@pytest.mark.parametrize("source", ACTIVE_HTML)
def test_html_that_code_shows(source):
    output = nbformat.v4.new_output("display_data", data={"text/html": f"{source}<b>after</b>", "text/plain": "plain"})
    cell = nbformat.v4.new_code_cell("", outputs=[sanitize.output(output)])
    assert not Active(shown(cell)).found
    assert cell.outputs[0].data["text/plain"] == "plain"


@pytest.mark.parametrize("source", ACTIVE_MARKDOWN)
def test_markdown(source):
    cell = nbformat.v4.new_markdown_cell(source)
    notebook, message = read_notebook.read_submission(
        nbformat.writes(nbformat.v4.new_notebook(cells=[cell])).encode(), nbformat.v4.new_notebook()
    )
    assert message is None
    assert not Active(shown(notebook.cells[0])).found
    output = nbformat.v4.new_output("display_data", data={"text/markdown": source})
    assert not Active(shown(nbformat.v4.new_code_cell("", outputs=[sanitize.output(output)]))).found


@pytest.mark.parametrize("source", HARMLESS_MARKDOWN)
def test_honest_markdown_stays(source):
    assert sanitize.markdown(source) == source


@pytest.mark.parametrize("lesson", registry.current().course.lessons)
def test_the_lessons_own_text_stays(lesson):
    for cell in lessons.read(Course(ROOT), lesson).cells:
        if cell.cell_type == "markdown":
            assert sanitize.markdown(cell.source) == cell.source
            # A line of a formula that begins with + begins a list, and the formula ends nowhere.
            assert "<span>$</span>" not in sanitize.rendered(cell.source)


def test_other_kinds_of_output():
    data = {
        "application/javascript": "alert(1)",
        "application/vnd.jupyter.widget-view+json": {"model_id": "x"},
        "image/png": 'x" onerror="alert(1)',
        "image/jpeg": "/9j/4AAQ",
        "text/latex": "$x$",
        "text/plain": "plain",
    }
    metadata = {"image/jpeg": {"width": "1 onclick=alert(1)", "alt": 'a "picture"'}, "isolated": True}
    output = sanitize.output(nbformat.v4.new_output("display_data", data=data, metadata=metadata))
    assert set(output.data) == {"image/jpeg", "text/latex", "text/plain"}
    assert output.metadata == {"image/jpeg": {"alt": 'a "picture"'}}
    assert not Active(shown(nbformat.v4.new_code_cell("", outputs=[output]))).found


def test_a_table_stays_a_table():
    table = "<div><style scoped>.dataframe {}</style><table border='1'><tbody><tr><td>1</td></tr></tbody></table></div>"
    output = sanitize.output(nbformat.v4.new_output("execute_result", data={"text/html": table}))
    assert output.data["text/html"] == "<div><table><tbody><tr><td>1</td></tr></tbody></table></div>"


def test_a_picture_is_not_written_into_a_page_as_often_as_a_text_names_it():
    pictures = {"a.png": {"image/png": "A" * 200_000}}
    for often in (3, 100):
        source, attachments = "![x](attachment:a.png)\n" * often, dict(pictures)
        page = sanitize.rendered(source, attachments)
        assert len(page) < 1_500_000 and page.count("data:image/png") == min(often, 6)
        assert (sanitize.markdown(source, attachments) == source) == (often == 3)


def test_text_in_place_of_a_picture_has_an_end():
    output = nbformat.v4.new_output("display_data", data={"image/png": "AAAA"})
    output.metadata = nbformat.from_dict({"image/png": {"alt": "a" * 10**6}})
    assert len(sanitize.output(output).metadata["image/png"].alt) == sanitize.MAX_ALT
    cell = nbformat.v4.new_code_cell("x", metadata={"alt": "a" * 10**6})
    data = nbformat.writes(nbformat.v4.new_notebook(cells=[cell])).encode()
    notebook, _ = read_notebook.read_submission(data, nbformat.v4.new_notebook())
    assert len(notebook.cells[0].metadata.alt) == sanitize.MAX_ALT


def test_cells_of_a_table_span_no_more_than_a_browser_lays_out():
    table = "<table>" + '<tr><td colspan="999" rowspan="9999">x</td></tr>' * 200 + "</table>"
    assert sanitize.html(table).count("span=") == sanitize.MAX_SPANNED // 999
    levels = "<table>" + '<tr><th rowspan="60">x</th><td colspan="3">1</td></tr>' * 10 + "</table>"
    assert sanitize.html(levels).count("span=") == 20


def test_a_run_of_blanks_counts_by_its_square():
    assert not sanitize.Budget().allows("x" + " " * 19_900 + "x")
    assert not all(map(sanitize.Budget().allows, ["x" + " \t" * 2_500 + "x"] * 3))
    code = "    for i in range(3):\n        total += i\n" * 200
    assert sanitize.markdown(code) == code


def test_a_report_holds_no_formula_and_stays_whatever_an_exception_says():
    hidden = r"$\smash{\bbox[white]{\Rule{0em}{2em}{26em}}}$ \(x\) \def\a{x} `$y$`"
    check = registry.current().checks_of("00_start_here")[0]

    def answer(*_):
        raise ValueError(hidden)

    verdict = check.judge(answer, 1)
    shown = sanitize.html(render.as_html(verdict))
    assert "ValueError" in shown and "bbox" in shown
    assert not re.search(r"[$\\](?!</span>)", shown)


@pytest.mark.parametrize(
    "source",
    [
        "## Norms\n\n$\\newcommand{\\R}{\\mathbb{R}} x \\in \\R$ & <b>so on</b>",  # a formula that a page refuses
        "So x < y, and `a_1` * 2.\n\n" * 800,  # too long to be rendered
        "<font color='blue'>x & y</font>, spelt &#36; and &lt;",
    ],
)
def test_a_source_is_shown_as_it_was_written(source):
    stored = sanitize.markdown(source)
    assert stored != source
    assert unescape(sanitize.rendered(stored)) == f"<pre>{source}</pre>"


def test_a_dollar_that_is_escaped_begins_no_formula():
    shown = sanitize.rendered(r"It costs \$5, not **\$6**, for $x$ or `\$y`.")
    assert shown.count("<span>$</span>") == 2 and "$x$" in shown
    assert re.sub(r"<[^>]*>", "", shown) == "It costs $5, not $6, for $x$ or \\$y.\n"


def test_a_diagram_that_loads_what_it_names_is_shown_as_its_source():
    source = '```mermaid\ngraph TD\n A@{ img: "https://canary.example/a.png", label: "x", w: 60, h: 60 }\n```'
    assert "canary" not in sanitize.markdown(source) or "```" not in sanitize.markdown(source)


def test_a_text_closes_no_part_of_the_page():
    assert sanitize.markdown("</div></div>\n\n<b>all right</b>\n\n<details>").startswith("<pre>")
    whole = "<div>\n\n*a*\n\n</div>\n\n<details><summary>b</summary>\n\nc\n\n</details>"
    assert sanitize.markdown(whole) == whole


DEEP = ("<details open><summary>x", "<table><tr><td>", "<ul><li>", "<blockquote>", "<sub>x<sup>", "<div>")


@pytest.mark.parametrize("opened", DEEP)
def test_elements_within_each_other_without_end_are_not_shown(opened):
    deep, honest = opened * 60, opened * 10
    assert sanitize.html(deep) == sanitize.rendered(deep) == sanitize.TOO_COMPLEX
    assert sanitize.markdown(deep).startswith("<pre>")
    assert sanitize.html(honest) != sanitize.TOO_COMPLEX and sanitize.markdown(honest) == honest
    assert sanitize.rendered(honest) != sanitize.TOO_COMPLEX


def test_a_picture_or_a_line_break_is_not_within_the_one_before():
    lines = "one<br>" * 100 + "<hr>" * 100
    assert sanitize.html(lines) == lines
