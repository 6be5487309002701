"""The pages of a class with a hostile student, as an instructor opens them: formgrader's, feedback and the report."""

import shutil

import attacks
import nbformat
import pytest
from sample_course import LESSON, RIGHT, copy_of, hand_in, plant, run
from test_jupyter_server import TOKEN, Server

from autograde.nbgrader_plugin.pages import MATHJAX

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
pytestmark = [
    pytest.mark.browser,
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on PATH, so pages are not seen in a browser"),
]
# MathJax is not to be had without a network, and formgrader's script asks for it by name.
MATHJAX_STAND_IN = "var MathJax = {Hub: {Config() {}, Queue() {}, Startup: {signal: {Interest() {}}}}}"
SHOW = "from IPython.display import display\n"


def hostile(released):
    """A notebook with every attack: as text, raw, and displayed by its code. They come after the graded cells, which stay."""
    notebook = plant(released, RIGHT)
    notebook.metadata["title"] = "</title><script>ran()</script>"
    for source in attacks.MARKDOWN.values():
        cell = nbformat.v4.new_markdown_cell(source, metadata={"tags": ['"><script>ran()</script>']})
        notebook.cells.append(cell)
    for source in attacks.HTML.values():
        notebook.cells.append(nbformat.v4.new_raw_cell(source, metadata={"raw_mimetype": "text/html"}))
        bundle = {"text/html": source}
        notebook.cells.append(nbformat.v4.new_code_cell(f"{SHOW}display({bundle!r}, raw=True)"))
    for bundle, metadata in attacks.BUNDLES.values():
        notebook.cells.append(nbformat.v4.new_code_cell(f"{SHOW}display({bundle!r}, metadata={metadata!r}, raw=True)"))
    notebook.cells.append(nbformat.v4.new_code_cell(f"print({attacks.HTML['image that fails']!r})"))
    notebook.cells.append(nbformat.v4.new_code_cell("raise ValueError('<img src=x onerror=ran()>\\x1b[31m')"))
    return notebook


@pytest.fixture(scope="module")
def course(sample, tmp_path_factory):
    """The graded class, with feedback and a report."""
    course = copy_of(sample, tmp_path_factory.mktemp("class") / "course")
    released = nbformat.read(course.release(LESSON), as_version=4)
    folder = hand_in(course, "eve", hostile(released)).parent
    (folder / "evil.html").write_text("<script>ran()</script>")
    (folder / "evil.svg").write_text("<svg xmlns='http://www.w3.org/2000/svg' onload='ran()'/>")
    hand_in(course, "ada", plant(released, RIGHT))
    hand_in(course, "Doe & 'Jane' [12345]", plant(released, RIGHT))
    run(course, "nbgrader", "autograde", LESSON)
    run(course, "nbgrader", "generate_feedback", LESSON)
    run(course, "nbgrader", "db", "student", "add", "<img src=x onerror=ran()>", "--last-name", "<img src=x onerror=ran()>",
        "--first-name", "</script><script>ran()</script>")  # fmt: skip
    run(course, "autograde", "report")
    return course


@pytest.fixture(scope="module")
def server(course):
    server = Server(course, course.root)
    yield server
    server.close()


@pytest.fixture
def page():
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        arguments = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=arguments)
        context = browser.new_context()
        page = context.new_page()
        page.set_default_timeout(120_000)
        page.ran, page.errors = [], []
        context.expose_function("ran", lambda *_: page.ran.append("ran"))
        context.route("**/*", lambda route: answer(route, page))
        page.on("dialog", lambda dialog: (page.ran.append("dialog"), dialog.dismiss()))
        page.on("pageerror", lambda error: page.errors.append(str(error)))
        yield page
        browser.close()


def answer(route, page):
    url = route.request.url
    if "canary" in url or "/logout" in url:
        page.ran.append(url)
    if url.startswith(MATHJAX):
        route.fulfill(body=MATHJAX_STAND_IN, content_type="text/javascript")
    elif url.startswith(("http://127.0.0.1", "file:")):
        route.continue_()
    else:
        route.abort()


def points(server):
    """Every grade in formgrader: ``{submission: [(automatic, manual)]}``."""
    ids = [one["id"] for one in server.ask(f"/formgrader/api/submitted_notebooks/{LESSON}/{LESSON}")]
    return {
        one: [
            (grade["auto_score"], grade["manual_score"])
            for grade in server.ask(f"/formgrader/api/grades?submission_id={one}")
        ]
        for one in ids
    }


def test_formgraders_pages(course, server, page):
    before = points(server)
    address = server.address
    page.goto(f"{address}/formgrader?token={TOKEN}")
    page.get_by_text(LESSON).first.wait_for()
    for path, words in {
        f"manage_submissions/{LESSON}": "eve",
        f"gradebook/{LESSON}": LESSON,
        f"gradebook/{LESSON}/{LESSON}": "Submission #1",
        "manage_students": "ada",
        "manage_students/%3Cimg%20src=x%20onerror=ran()%3E": None,
        "manage_students/eve": LESSON,
        f"manage_students/eve/{LESSON}": LESSON,
    }.items():
        answered = page.goto(f"{address}/formgrader/{path}", wait_until="networkidle")
        assert "'nonce-" in answered.headers["content-security-policy"], path
        if words:
            page.get_by_text(words).first.wait_for()
    for submission in before:
        answered = page.goto(f"{address}/formgrader/submissions/{submission}/", wait_until="networkidle")
        policy = answered.headers["content-security-policy"]
        assert "'nonce-" in policy and "'unsafe-inline'" not in policy.split("script-src")[1]
        page.locator("#notebook-container").first.wait_for()
        page.wait_for_function("formgrader.loaded && formgrader.grades.loaded && formgrader.comments.loaded")
        page.locator(".glyphicon-eye-open").click()  # nbgrader's own handler, written into the page
        page.locator(".glyphicon-eye-close").wait_for()
    assert page.ran == [] and not page.errors
    assert points(server) == before


def test_an_instructor_can_still_mark_by_hand(course, server, page):
    submission = next(iter(points(server)))
    page.goto(f"{server.address}/formgrader?token={TOKEN}")
    page.goto(f"{server.address}/formgrader/submissions/{submission}/", wait_until="networkidle")
    page.wait_for_function("formgrader.grades.loaded")
    with page.expect_response(lambda answered: "/api/grade/" in answered.url and answered.request.method == "PUT"):
        page.locator(".no-credit").first.click()
    assert 0.0 in [manual for _, manual in points(server)[submission]]


@pytest.mark.parametrize("name", ["evil.html", "evil.svg"])
def test_what_lies_beside_a_notebook_is_a_download(course, server, page, name):
    page.goto(f"{server.address}/formgrader?token={TOKEN}")
    ids = [
        it["id"]
        for it in server.ask(f"/formgrader/api/submitted_notebooks/{LESSON}/{LESSON}")
        if it["student"] == "eve"
    ]
    with page.expect_download() as download:
        page.evaluate(f"location.href = '{server.address}/formgrader/submissions/{ids[0]}/{name}'")
    assert download.value.suggested_filename == name and page.ran == []


def test_feedback_and_report(course, page):
    feedback = course.feedback / "eve" / LESSON / f"{LESSON}.html"
    for path in (feedback, course.autograded.parent / "report.html"):
        assert "Content-Security-Policy" in path.read_text(encoding="utf-8")[:2000]
        page.goto(path.as_uri(), wait_until="load")
        page.evaluate(
            "() => document.querySelectorAll('#notebook-container *').forEach(it => it.dispatchEvent(new Event('mouseover')))"
        )
        assert page.ran == [], path
    assert (course.feedback / "Doe & 'Jane' [12345]" / LESSON / f"{LESSON}.html").exists()
