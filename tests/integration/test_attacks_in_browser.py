"""Nothing that a learner hands in runs in the browser of whoever opens the page: each guard alone, and all together."""

import shutil

import attacks
import nbformat
import pytest
from nbconvert.exporters import HTMLExporter
from playwright.sync_api import sync_playwright

from autograde.nbgrader_plugin import ansi, formgrader, pages
from autograde.notebook import sanitize
from autograde.submission import read_notebook

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
pytestmark = [
    pytest.mark.browser,
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on PATH, so pages are not seen in a browser"),
]
ORIGIN = "http://course.example"
BMP = "Qk06AAAAAAAAADYAAAAoAAAAAQAAAAEAAAABABgAAAAAAAQAAADEDgAAxA4AAAAAAAAAAAAAAAAAAA=="  # of one pixel


# Presses everything in a frame that can be pressed.
PRESS = """() => {
    for (const frame of document.querySelectorAll('iframe')) {
        let page; try { page = frame.contentDocument } catch { continue }
        if (!page) continue;
        for (const it of page.querySelectorAll('#notebook-container *')) {
            for (const name of ['mouseover', 'pointerenter', 'focus']) it.dispatchEvent(new Event(name, {bubbles: true}));
            if (it.matches('a, button, b, input')) { it.target = ''; it.click && it.click(); }
            else if (it.matches('text, mtext')) it.dispatchEvent(new MouseEvent('click', {bubbles: true}));
        }
    }
}"""


class Watch:
    """A browser that shows many pages, each in a frame, and notes what each does: code that runs, and requests."""

    def __init__(self, browser):
        context = browser.new_context()
        context.expose_binding("ran", lambda source, *_: self._note(source["frame"], "ran"))
        context.route("**/*", self._answer)
        self.page = context.new_page()
        self.page.on("dialog", lambda dialog: dialog.dismiss())
        self.pages, self.policy, self.seen = [], "", {}

    def _note(self, frame, what):
        while frame.parent_frame and not frame.name.startswith("page-"):
            frame = frame.parent_frame
        self.seen.setdefault(frame.name, set()).add(what)

    def _answer(self, route):
        url = route.request.url
        headers = {"Content-Security-Policy": self.policy} if self.policy else {}
        if url == f"{ORIGIN}/":
            frames = "".join(f'<iframe name="page-{i}" src="/a/b/page-{i}"></iframe>' for i in range(len(self.pages)))
            route.fulfill(body=frames, content_type="text/html")
            return
        if url.startswith(f"{ORIGIN}/a/b/page-"):
            body = self.pages[int(url.rsplit("-", 1)[1])]
            route.fulfill(body=body, content_type="text/html; charset=utf-8", headers=headers)
            return
        if "canary" in url or url.startswith((f"{ORIGIN}/logout", f"{ORIGIN}/a/b/evil")):
            self._note(route.request.frame, url)
        route.fulfill(status=404, body="")

    def open(self, pages, policy="", press=True):
        """What pages do when they are opened and, if wanted, everything in them is pressed.

        Args:
            pages: ``{name: HTML}``.
            policy: Content-Security-Policy that they are served with.

        Returns:
            ``{name: what it did}`` of those that did something.
        """
        self.pages, self.policy, self.seen = list(pages.values()), policy, {}
        self.page.goto(f"{ORIGIN}/", wait_until="load")
        if press:
            self.page.evaluate(PRESS)
            self.page.evaluate("() => new Promise(done => setTimeout(done, 1000))")
        return {name: sorted(self.seen[f"page-{i}"]) for i, name in enumerate(pages) if f"page-{i}" in self.seen}


@pytest.fixture(scope="module")
def watch():
    with sync_playwright() as playwright:
        arguments = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=arguments)
        yield Watch(browser)
        browser.close()


def text_cell(source):
    return nbformat.v4.new_markdown_cell(source)


def raw_cell(source):
    return nbformat.v4.new_raw_cell(source)


def code_cell(bundle, metadata):
    # nbformat's own makers refuse some of these, which a learner's process does not
    output = {"output_type": "display_data", "data": bundle, "metadata": metadata}
    return nbformat.from_dict({"cell_type": "code", "id": "code", "metadata": {}, "source": "x", "execution_count": None,
                               "outputs": [output]})  # fmt: skip


CELLS = {f"text: {name}": text_cell(source) for name, source in attacks.MARKDOWN.items()}
CELLS |= {f"raw: {name}": raw_cell(source) for name, source in attacks.HTML.items() if "ran()" in source}
CELLS |= {f"html: {name}": code_cell({"text/html": source}, {}) for name, source in attacks.HTML.items()}
CELLS |= {
    f"markdown output: {name}": code_cell({"text/markdown": source}, {}) for name, source in attacks.MARKDOWN.items()
}
CELLS |= {f"output: {name}": code_cell(*bundle) for name, bundle in attacks.BUNDLES.items()}


def graded(cell):
    """What grading makes of a cell: as it stands in a graded notebook."""
    cell = nbformat.from_dict(cell)
    if cell.cell_type == "code":
        cell.outputs = [sanitize.output(output) for output in cell.outputs]
        return cell
    made = nbformat.v4.new_notebook(cells=[cell])
    notebook, unreadable = read_notebook.read_submission(nbformat.writes(made).encode(), nbformat.v4.new_notebook())
    assert unreadable is None
    return notebook.cells[0]


def page_of(exporter, cell):
    body = exporter.from_notebook_node(nbformat.v4.new_notebook(cells=[nbformat.from_dict(cell)]))[0]
    return f'<!DOCTYPE html><html><head><title>x</title></head><body><div id="notebook-container">{body}</div></body></html>'


@pytest.fixture(scope="module")
def plain():
    """nbconvert as nbgrader uses it, but for the style sheets, which are most of a page and take most of the time."""
    return HTMLExporter(template_name="basic")


def pages_by(make):
    """``{attack: page}``. nbconvert gives up a page for an attachment that is missing; then there is none."""
    made = {}
    for name, cell in CELLS.items():
        try:
            made[name] = make(cell)
        except Exception as error:
            assert "missing attachment" in str(error), error
    return made


def test_without_guards_most_attacks_work(watch, plain):
    did = watch.open(pages_by(lambda cell: page_of(plain, cell)))
    assert len(did) > len(CELLS) / 2, sorted(set(CELLS) - set(did))
    for kind in ("text: ", "html: ", "output: ", "markdown output: "):
        assert any(name.startswith(kind) for name in did), kind
    assert {"text: opened in a quotation", "text: mermaid", "text: image, logout", "text: link, backslash"} <= set(did)


def test_what_grading_writes_is_harmless_in_any_page(watch, plain):
    assert watch.open(pages_by(lambda cell: page_of(plain, graded(cell)))) == {}


def test_our_pages_are_harmless_whatever_a_notebook_holds(watch):
    exporter = pages.CleanHTMLExporter(template_name="basic")
    made = pages_by(lambda cell: page_of(exporter, cell))
    assert set(made) == set(CELLS) and watch.open(made) == {}


def test_the_policy_alone_keeps_scripts_from_running(watch, plain):
    did = watch.open(pages_by(lambda cell: page_of(plain, cell)), pages.FEEDBACK_POLICY)
    assert not any("ran" in seen for seen in did.values()), did
    # It cannot tell a link that a person presses, nor a page that leads elsewhere, from an honest one.
    assert all("canary" not in url for name, seen in did.items() for url in seen if "refresh" not in name), did


COVER = """() => {
    const page = document.querySelector('iframe').contentDocument, found = [];
    for (const place of page.querySelectorAll('.text_cell_render, .input_area, .output_area, .raw_cell')) {
        const cover = page.createElement('a');
        cover.style = 'position: fixed; inset: 0; margin: -9999px; padding: 9999px; z-index: 9999; background: red';
        place.append(cover);
        for (const [x, y] of [[2, 2], [page.documentElement.clientWidth - 3, 2]])
            found.push(page.elementFromPoint(x, y) === cover);
        cover.remove();
    }
    return found;
}"""


def test_nothing_in_a_cell_covers_the_page_around_it(watch):
    """As a formula could, when MathJax is there to set it, and a heap of marks on a letter."""
    output = nbformat.v4.new_output("display_data", data={"text/latex": "$x$"})
    notebook = nbformat.v4.new_notebook(
        cells=[text_cell("$x$"), raw_cell("$x$"), nbformat.v4.new_code_cell("x", outputs=[output])]
    )
    page = pages.CleanHTMLExporter(template_name="classic").from_notebook_node(notebook)[0]
    watch.open({"covered": page}, press=False)
    assert watch.page.evaluate(COVER) == [False] * 8
    watch.open({"covered": page.replace(pages.CONTAINED, "")}, press=False)
    assert any(watch.page.evaluate(COVER))


def test_a_long_word_makes_no_page_wider_than_its_window(watch):
    word = "W" * 3_000
    cells = [
        text_cell(f"# {word}\n\n{word} ![{word}](nothing.png)"),
        raw_cell(word),
        text_cell(f"- {word}\n\n> {word}"),
    ]
    for bundle in ({"text/plain": word}, {"text/html": f"<p>{word}</p>"}, {"text/markdown": f"## {word}"}):
        cells.append(code_cell(bundle, {}))
    cells.append(code_cell({"image/png": "AAAA"}, {"image/png": {"alt": word}}))
    for number, cell in enumerate(cells):
        cell["id"] = f"cell-{number}"
    notebook = nbformat.v4.new_notebook(cells=cells)
    page = pages.CleanHTMLExporter(template_name="classic").from_notebook_node(notebook)[0]
    width = "() => document.querySelector('iframe').contentDocument.documentElement.scrollWidth"
    watch.open({"wide": page}, press=False)
    assert watch.page.evaluate(width) < 1_000
    watch.open({"wide": page.replace(pages.CONTAINED, "")}, press=False)
    assert watch.page.evaluate(width) > 10_000


def test_tables_and_printed_colours_can_be_read(watch):
    """On pages that have nbgrader's style sheets, and so none of nbconvert's."""
    printed = nbformat.v4.new_output("stream", text="\x1b[31mred\x1b[0m \x1b[1;92mgreen\x1b[0m \x1b[44mon blue\x1b[0m")
    cells = [text_cell("| a | b |\n|---|---|\n| 1 | 2 |"), nbformat.v4.new_code_cell("x", outputs=[printed])]
    page = pages.CleanHTMLExporter(template_name="basic").from_notebook_node(nbformat.v4.new_notebook(cells=cells))[0]
    watch.page.set_content(f"<html><head>{pages.CONTAINED}{pages.TABLES}{ansi.STYLE}</head><body>{page}</body></html>")
    look = "(it, name) => getComputedStyle(it)[name]"
    cell = watch.page.locator("td").first
    assert int(cell.evaluate(look, "padding-right").removesuffix("px")) > 10
    colours = {watch.page.get_by_text(word, exact=True).evaluate(look, "color") for word in ("red", "green", "on blue")}
    assert len(colours) == 3
    assert watch.page.get_by_text("on blue").evaluate(look, "background-color") != "rgba(0, 0, 0, 0)"
    assert watch.page.get_by_text("green").evaluate(look, "font-weight") == "700"


def test_numbers_in_a_wide_table_are_not_split(watch):
    row = "".join(f"<td>{number}.857143</td>" for number in range(1000, 1040))
    cells = [
        code_cell(
            {"text/html": f"<table><tr>{row}</tr></table><table><tr><td><code>{'W' * 3_000}</code></td></tr></table>"},
            {},
        )
    ]
    page = pages.CleanHTMLExporter(template_name="basic").from_notebook_node(nbformat.v4.new_notebook(cells=cells))[0]
    watch.page.set_content(f"<html><head>{pages.CONTAINED}{pages.TABLES}</head><body>{page}</body></html>")
    number, code = watch.page.locator("td").first, watch.page.locator("td").last
    assert number.bounding_box()["height"] < 40  # one line
    assert code.bounding_box()["width"] < 2_000


def test_mathjax_finds_room_for_a_formula_in_a_narrow_cell(watch):
    """By the distance of two boxes that MathJax 2 puts where a formula is to be, with its own styles for them."""
    styles = (
        ".mjx-test-inline .mjx-left-box { display: inline-block; width: 0; float: left } "
        ".mjx-test-inline .mjx-right-box { display: inline-block; width: 0; float: right }"
    )
    boxes = "".join(f'<span class="mjx-{side}-box"></span>' for side in ("left", "right"))
    cell = f'<td><span class="mjx-test mjx-test-inline">{boxes}</span></td>'
    table = f'<div class="rendered_html"><table><tr><th>A</th><th>B</th></tr><tr>{cell * 2}</tr></table></div>'
    watch.page.set_content(f"<html><head>{pages.TABLES}<style>{styles}</style></head><body>{table}</body></html>")
    left, right = (watch.page.locator(f".mjx-{side}-box").last for side in ("left", "right"))
    assert right.evaluate("it => it.offsetLeft") - left.evaluate("it => it.offsetLeft") > 400


def test_honest_text_stays(watch):
    pictures = {"paste.svg": {"image/svg+xml": "PHN2Zy8+"}, "paste.bmp": {"image/bmp": BMP}}
    cell = graded(nbformat.v4.new_markdown_cell(attacks.HONEST, attachments=pictures))
    assert cell.source == attacks.HONEST
    watch.open({"honest": page_of(pages.CleanHTMLExporter(template_name="basic"), cell)}, press=False)
    container = watch.page.frame_locator("iframe").locator("#notebook-container")
    text = container.inner_text()
    assert "$a < b$" in text and "$$\\sum_i x_i$$" in text and "[ ] open" in text.replace("\n", " ")
    assert {it.get_attribute("src").split(",")[0] for it in container.locator("img").all()} == {
        "plot.png", "data:image/svg+xml;base64", "data:image/bmp;base64"}  # fmt: skip
    assert {it.get_attribute("href") for it in container.locator("a").all()} == {
        "https://example.org/a?b=1", "../01_low_rank/01_low_rank.ipynb"}  # fmt: skip
    for selector in ("h1", "table", "details", "b", ".highlight .k"):
        assert container.locator(selector).count(), selector


SLOW = {
    "details in summaries": ("text/html", "<details open><summary>x" * 400),
    "scripts and directions in turn": ("text/plain", "\u05d0a1(" * 24_000),
}


@pytest.mark.parametrize("name", SLOW)
def test_a_page_is_there_soon_whatever_its_outputs_hold(watch, name):
    """Without the guards, these take minutes. The time is for a machine on which much else runs."""
    mime, content = SLOW[name]
    outputs = [sanitize.output(nbformat.v4.new_output("display_data", {mime: content})) for _ in range(14)]
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("x", outputs=outputs)])
    page = pages.CleanHTMLExporter(template_name="classic").from_notebook_node(notebook)[0]
    watch.page.set_content(page, timeout=30_000)
    assert watch.page.evaluate("() => document.documentElement.scrollHeight") > 100


def test_the_policy_of_formgrader_names_its_templates_handlers_only():
    from nbgrader.server_extensions.formgrader import handlers

    hashes = formgrader._handler_hashes(handlers.template_path).split()
    assert len(hashes) >= 4


def test_nothing_pushes_the_last_cells_beyond_the_end_of_a_page(watch):
    tall = '<p><img src="x.png" width="1" height="9999"></p>' * 1_900
    cells = [
        code_cell({"text/html": tall}, {}),
        text_cell(tall),
        code_cell({"text/html": tall}, {}),
        text_cell("the end"),
    ]
    for position, cell in enumerate(cells):
        cell["id"] = str(position)
    exporter = pages.CleanHTMLExporter(template_name="classic")
    watch.page.set_content(exporter.from_notebook_node(nbformat.v4.new_notebook(cells=cells))[0])
    height = watch.page.evaluate("() => document.documentElement.scrollHeight")
    assert 1_000 < height < 100_000
