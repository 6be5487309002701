"""The pages of a class with a hostile student, as an instructor opens them: formgrader's, feedback and the report."""

import shutil
import urllib.error
import urllib.request
from urllib.parse import quote, unquote

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
# In an address: each breaks out of another kind of place in a page.
IN_ADDRESSES = (
    "\"'><img src=x onerror=ran()>",
    "</script><script>ran()</script>",
    "\\x3cimg src=x onerror=ran()\\x3e\\",
    "javascript:ran()//",
)
ODD_NAME = "who? #1 100% a%20b;c=d+e&f'g"
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
    (folder / "plot.svg").write_text("<svg xmlns='http://www.w3.org/2000/svg'><rect width='9' height='9'/></svg>")
    hand_in(course, "ada", plant(released, RIGHT))
    hand_in(course, "Doe & 'Jane' [12345]", plant(released, RIGHT))
    hand_in(course, ODD_NAME, plant(released, RIGHT))
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


def test_a_name_with_marks_that_mean_something_in_an_address(course, server, page):
    page.goto(f"{server.address}/formgrader?token={TOKEN}")
    page.goto(f"{server.address}/formgrader/manage_students", wait_until="networkidle")
    page.locator("tr", has_text=ODD_NAME).locator("a").first.click()
    page.locator("a", has_text=LESSON).click()  # on the page of this student
    page.locator("tr", has_text=LESSON).get_by_text("6").first.wait_for()  # the points, on the page of the lesson
    page.locator(".breadcrumb a", has_text=ODD_NAME).click()
    page.locator("a", has_text=LESSON).wait_for()
    page.goto(f"{server.address}/formgrader/manage_submissions/{LESSON}", wait_until="networkidle")
    row = page.locator("tr", has_text=ODD_NAME)
    assert unquote(row.locator(".student-name a").get_attribute("href")).endswith(f"/{ODD_NAME}/{LESSON}")
    with page.expect_response(lambda answered: answered.request.method == "POST") as posted:
        row.locator(".autograde a").click()
    assert posted.value.status == 200 and posted.value.json()["success"], posted.value.text()
    assert page.errors == []


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


@pytest.mark.parametrize(("name", "status"), [("evil.svg", 403), ("plot.svg", 200)])
def test_a_picture_beside_a_notebook_is_shown_if_a_browser_draws_it_soon(course, server, page, name, status):
    page.goto(f"{server.address}/formgrader?token={TOKEN}")
    listed = server.ask(f"/formgrader/api/submitted_notebooks/{LESSON}/{LESSON}")
    [notebook] = [it["id"] for it in listed if it["student"] == "eve"]
    with page.expect_response(lambda answered: answered.url.endswith(name)) as answered:
        page.evaluate(f"new Image().src = '{server.address}/formgrader/submissions/{notebook}/{name}'")
    assert answered.value.status == status


@pytest.mark.parametrize("markup", IN_ADDRESSES)
def test_nothing_in_an_address_becomes_part_of_a_page(course, server, page, markup):
    submission, given = next(iter(points(server))), quote(markup, safe="")
    page.goto(f"{server.address}/formgrader?token={TOKEN}")
    for path in (
        f"?path={given}",
        f"manage_assignments?path={given}&index={given}",
        f"manage_submissions/{given}",
        f"gradebook/{given}",
        f"gradebook/{given}/{given}",
        f"manage_students/{given}",
        f"manage_students/{given}/{given}",
        f"submissions/{given}/",
        f"submissions/{submission}/?index={given}",
        f"submissions/{submission}/next?index={given}",
    ):
        page.goto(f"{server.address}/formgrader/{path}", wait_until="load")
        page.wait_for_timeout(300)  # for what a page's own script puts into it
        assert page.ran == [] and page.url.startswith(server.address), path


@pytest.mark.parametrize(
    "path",
    [
        "formgrader/api/students",
        "formgrader/api/student/%3Cimg%20src=x%20onerror=ran()%3E",
        f"formgrader/api/submissions/{LESSON}",
        f"formgrader/api/submission/{LESSON}/%3Cimg%20src=x%20onerror=ran()%3E",
        f"formgrader/api/student_submissions/{quote(IN_ADDRESSES[0], safe='')}",
        f"formgrader/api/student_submissions/{quote(IN_ADDRESSES[1], safe='')}",
        f"nbgrader_version?version={quote(IN_ADDRESSES[0])}",
        f"nbgrader_version?version={quote(IN_ADDRESSES[1])}",
        f"assignments?course_id={quote(IN_ADDRESSES[0])}",
        "courses",
        "formgraders",
    ],
)
def test_what_nbgraders_server_answers_to_its_scripts_is_no_page(course, server, page, path):
    """A link in a notebook can lead to it: one click, and a script in it would do what the instructor may do."""
    page.goto(f"{server.address}/formgrader?token={TOKEN}")
    answered = page.goto(f"{server.address}/{path}")
    page.wait_for_timeout(300)
    assert answered.status == 200 and page.ran == []
    assert answered.headers["content-type"] in ("text/plain; charset=UTF-8", "application/json")
    assert answered.headers["x-content-type-options"] == "nosniff"
    assert answered.headers["content-security-policy"].endswith("sandbox")


def test_a_submission_can_still_be_flagged(course, server, page):
    """nbgrader's script parses the answer itself."""
    submission = next(iter(points(server)))
    page.goto(f"{server.address}/formgrader?token={TOKEN}")
    page.goto(f"{server.address}/formgrader/submissions/{submission}/", wait_until="networkidle")
    page.wait_for_function("formgrader.loaded")
    for said in ("Submission flagged", "Submission unflagged"):
        page.locator("body").press("Control+Shift+F")
        page.get_by_text(said, exact=True).wait_for()
    assert page.errors == []


def fetched(server, path, form=None):
    """``(status, text)`` of what the server answers."""
    request = urllib.request.Request(server.address + path, form, {"Authorization": f"token {TOKEN}"})
    try:
        with urllib.request.urlopen(request, timeout=600) as answer:
            return answer.status, answer.read().decode("utf-8", "replace")
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode("utf-8", "replace")


def test_a_link_opens_no_other_folder_and_runs_no_configuration_that_was_handed_in(course, server):
    folder, ran = course.submitted / "eve" / LESSON, course.root / "ran"
    (folder / "nbgrader_config.py").write_text(f"open({str(ran)!r}, 'w').close()")
    for entrance in ("/formgrader", "/formgrader/"):
        for path in (
            folder,
            folder.parent,
            f"{course.root}/../{course.root.name}/autograde/submitted/eve/{LESSON}",
            "/",
        ):
            status, said = fetched(server, f"{entrance}?path={quote(str(path))}")
            assert status == 403 and not ran.exists(), said
    assert fetched(server, f"/formgrader?path={quote(str(course.root))}")[0] == 200
    assert points(server), "it still shows this course"
    (folder / "nbgrader_config.py").unlink()


def test_no_file_but_those_beside_a_notebook(course, server):
    submission = next(iter(points(server)))
    up = "../" * 12
    for path in (
        "../../../gradebook.db",
        f"{course.root}/autograde/gradebook.db",
        f"/{course.root}/nbgrader_config.py",
        "evil.html/../../../../gradebook.db",
        f"{up}etc/passwd",
        "/etc/passwd",
    ):
        for given in (quote(path), quote(path, safe=""), quote(quote(path, safe=""), safe="")):
            status, said = fetched(server, f"/formgrader/submissions/{submission}/{given}")
            assert status in (403, 404) and "SQLite format" not in said and "root:" not in said, (path, status)
    status, said = fetched(server, "/assignments/validate", f"path={quote(up)}etc/passwd".encode())
    assert status in (200, 403, 404) and "root:" not in said
    assert fetched(server, f"/formgrader/submissions/{submission}/{LESSON}.ipynb")[0] == 200


def test_feedback_and_report(course, page):
    feedback = course.feedback / "eve" / LESSON / f"{LESSON}.html"
    for path in (feedback, course.autograded.parent / "report.html"):
        assert "Content-Security-Policy" in path.read_text(encoding="utf-8")[:2000]
        refused = []
        page.on(
            "console", lambda said, kept=refused: kept.append(said.text) if "Security Policy" in said.text else None
        )
        page.goto(path.as_uri(), wait_until="load")
        assert not refused, "our own page asks for what its policy refuses"
        page.evaluate(
            "() => document.querySelectorAll('#notebook-container *').forEach(it => it.dispatchEvent(new Event('mouseover')))"
        )
        assert page.ran == [], path
    assert (course.feedback / "Doe & 'Jane' [12345]" / LESSON / f"{LESSON}.html").exists()


def test_feedback_fits_on_a_phone(course, page):
    phone = page.context.browser.new_page(viewport={"width": 390, "height": 844}, is_mobile=True, has_touch=True)
    phone.goto((course.feedback / "ada" / LESSON / f"{LESSON}.html").as_uri())
    assert phone.evaluate("() => [innerWidth, document.documentElement.scrollWidth]") == [390, 390]
