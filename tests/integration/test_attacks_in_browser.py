"""Nothing that a learner hands in runs in the browser of whoever opens the page: each guard alone, and all together."""

import shutil

import attacks
import nbformat
import pytest
from nbconvert.exporters import HTMLExporter
from playwright.sync_api import Error, sync_playwright

from autograde.nbgrader_plugin import formgrader, pages
from autograde.notebook import sanitize
from autograde.submission import repair

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
pytestmark = [
    pytest.mark.browser,
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on PATH, so pages are not seen in a browser"),
]
ORIGIN = "http://course.example"


class Watch:
    """A browser that notes what a page does: code that runs, dialogs, requests that it should not make."""

    def __init__(self, browser):
        self.context = browser.new_context()
        self.context.expose_function("ran", lambda *_: self.seen.append("ran"))
        self.context.route("**/*", self._answer)
        self.page = None
        self.content, self.policy, self.seen = "", "", []

    def _dialog(self, dialog):
        self.seen.append("dialog")
        dialog.dismiss()

    def _answer(self, route):
        url = route.request.url
        if url == f"{ORIGIN}/a/b/page":
            headers = {"Content-Security-Policy": self.policy} if self.policy else {}
            route.fulfill(body=self.content, content_type="text/html; charset=utf-8", headers=headers)
            return
        if "canary" in url or url.startswith((f"{ORIGIN}/logout", f"{ORIGIN}/a/b/evil")) or "javascript" in url:
            self.seen.append(url)
        route.fulfill(status=404, body="")

    def open(self, content, policy="", press=True):
        """What a page does when it is opened, and (if wanted) every link and button in it pressed."""
        for page in self.context.pages:
            page.close()
        self.content, self.policy, self.seen = content, policy, []
        self.page = self.context.new_page()
        self.page.on("dialog", self._dialog)
        try:
            self.page.goto(f"{ORIGIN}/a/b/page", wait_until="load")
        except Error as error:  # a page that leads elsewhere by itself
            if "interrupted" not in str(error):
                raise
        pressing = """() => {
            for (const it of document.querySelectorAll('#notebook-container *')) {
                for (const name of ['mouseover', 'pointerenter', 'focus'])
                    it.dispatchEvent(new Event(name, {bubbles: true}));
                if (it.closest('a, button, b') === it || it.type === 'submit') { it.target = ''; it.click && it.click(); }
                if (it.tagName === 'A' || it.tagName === 'text') it.dispatchEvent(new MouseEvent('click', {bubbles: true, cancelable: true}));
            }
        }"""
        try:
            self.page.evaluate(f"{pressing if press else '() => {}'}")
            self.page.evaluate("() => new Promise(done => setTimeout(done, 30))")
        except Error as error:  # a link that leads away takes the page with it
            if not any(word in str(error) for word in ("navigation", "destroyed", "closed")):
                raise
        return list(self.seen)


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
    notebook, unreadable = repair.read_submission(nbformat.writes(made).encode(), nbformat.v4.new_notebook())
    assert unreadable is None
    return notebook.cells[0]


def page_of(exporter, cell):
    return exporter.from_notebook_node(nbformat.v4.new_notebook(cells=[nbformat.from_dict(cell)]))[0]


@pytest.fixture(scope="module")
def plain():
    """nbconvert as nbgrader uses it, and without nbconvert's own check of attachments, which takes the page away."""
    return HTMLExporter(template_name="classic")


def shown(watch, make, policy=""):
    """``{attack: what it did}`` of those that did something."""
    did = {}
    for name, cell in CELLS.items():
        try:
            page = make(cell)
        except Exception as error:
            assert "missing attachment" in str(error), error
            continue
        if seen := watch.open(page, policy):
            did[name] = seen
    return did


def test_without_guards_most_attacks_work(watch, plain):
    did = shown(watch, lambda cell: page_of(plain, cell))
    assert len(did) > len(CELLS) / 2, sorted(set(CELLS) - set(did))
    for kind in ("text: ", "html: ", "output: ", "markdown output: "):
        assert any(name.startswith(kind) for name in did), kind
    assert {"text: opened in a quotation", "text: mermaid", "text: image, logout", "text: link, backslash"} <= set(did)


def test_what_grading_writes_is_harmless_in_any_page(watch, plain):
    assert shown(watch, lambda cell: page_of(plain, graded(cell))) == {}


def test_our_pages_are_harmless_whatever_a_notebook_holds(watch):
    exporter = pages.CleanHTMLExporter(template_name="classic")
    assert shown(watch, lambda cell: page_of(exporter, cell)) == {}


def test_the_policy_alone_keeps_scripts_from_running(watch, plain):
    did = shown(watch, lambda cell: pages.with_policy(page_of(plain, cell), pages.FEEDBACK_POLICY))
    assert not any("ran" in seen or "dialog" in seen for seen in did.values()), did
    # It cannot tell a link that a person presses, nor a page that leads elsewhere, from an honest one.
    assert all("canary" not in url for name, seen in did.items() for url in seen if "refresh" not in name), did


def test_honest_text_stays(watch):
    pictures = {"paste.svg": {"image/svg+xml": "PHN2Zy8+"}, "paste.bmp": {"image/bmp": "Qk0="}}
    cell = graded(nbformat.v4.new_markdown_cell(attacks.HONEST, attachments=pictures))
    assert cell.source == attacks.HONEST
    watch.open(page_of(pages.CleanHTMLExporter(template_name="classic"), cell), press=False)
    container = watch.page.locator("#notebook-container")
    text = container.inner_text()
    assert "$a < b$" in text and "$$\\sum_i x_i$$" in text and "[ ] open" in text.replace("\n", " ")
    assert {it.get_attribute("src").split(",")[0] for it in container.locator("img").all()} == {
        "plot.png", "data:image/svg+xml;base64", "data:image/bmp;base64"}  # fmt: skip
    assert {it.get_attribute("href") for it in container.locator("a").all()} == {
        "https://example.org/a?b=1", "../01_low_rank/01_low_rank.ipynb"}  # fmt: skip
    for selector in ("h1", "table", "details", "b", ".highlight .k"):
        assert container.locator(selector).count(), selector


def test_the_policy_of_formgrader_names_its_templates_handlers_only():
    from nbgrader.server_extensions.formgrader import handlers

    hashes = formgrader._handler_hashes(handlers.template_path).split()
    assert len(hashes) >= 4
