"""What a learner and an instructor see, in a real browser: a lesson, a check, Validate, formgrader."""

import os
import re
import shutil
import socket
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest
from waiting import wait_for

ROOT = Path(__file__).parents[2]
LESSON = "00_start_here"
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
PATIENCE = 300_000  # milliseconds: a kernel starts, and imports torch, on a machine that may be busy
TOKEN = "course-tests"

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on PATH, so JupyterLab is not seen in a browser"),
]

WRONG = "def linear_by_hand(x, weight, bias):\n    out = x @ weight\n    return out if bias is None else out + bias"
RIGHT = """import warnings

def linear_by_hand(x, weight, bias):
    warnings.warn("a library has something to say")
    out = (weight @ x.unsqueeze(-1)).squeeze(-1)
    return out if bias is None else out + bias"""


def answers(server, address, log):
    """Whether the server does; fails where it has ended."""
    assert server.poll() is None, log.read_text()
    try:
        urllib.request.urlopen(address, timeout=60).close()
    except OSError:
        return False
    return True


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    """JupyterLab as `make lab` starts it, on a copy of the course; gives its address."""
    root = tmp_path_factory.mktemp("course")
    for name in ("nbgrader_config.py", "tools", "solutions", "notebooks"):
        (shutil.copytree if (ROOT / name).is_dir() else shutil.copy)(ROOT / name, root / name)
    (root / "autograde").mkdir()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = os.environ | {
        "PORT": str(port),
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "JUPYTER_CONFIG_DIR": str(root / "jupyter"),
        "BROWSER": "",
        "DISPLAY": "",
    }
    log = open(root / "lab.log", "wb")
    command = [sys.executable, root / "tools" / "lab.py", f"--IdentityProvider.token={TOKEN}", "--no-browser"]
    server = subprocess.Popen(command, cwd=root, env=environment, stdout=log, stderr=subprocess.STDOUT)
    address = f"http://127.0.0.1:{port}"
    try:
        wait_for(lambda: answers(server, f"{address}/api?token={TOKEN}", root / "lab.log"))
        yield address, root
    finally:
        server.terminate()
        server.wait(600)
        log.close()


@pytest.fixture
def page(lab):
    """A fresh browser window, its screenshots in the folder that AUTOGRADE_SCREENSHOTS names, if it does."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=CHROMIUM,
            args=["--no-sandbox", "--disable-gpu", "--disable-background-networking"],
            timeout=PATIENCE,
        )
        page = browser.new_page(viewport={"width": 1300, "height": 1000})
        page.set_default_timeout(PATIENCE)
        yield page
        browser.close()


def look(page, name):
    folder = os.environ.get("AUTOGRADE_SCREENSHOTS")
    if folder:
        page.screenshot(path=f"{folder}/{name}.png")


def open_lesson(page, lab, folder):
    """Open a copy of the lesson of its own: a kernel and unsaved changes stay with a notebook when its page closes."""
    address, root = lab
    shutil.copytree(ROOT / "notebooks" / LESSON, root / "notebooks" / folder)
    page.goto(f"{address}/lab/tree/notebooks/{folder}/{LESSON}.ipynb?reset&token={TOKEN}")
    page.get_by_role("heading", name="Predict first").first.wait_for()
    page.locator(".jp-Notebook-ExecutionIndicator[data-status='idle']").wait_for()


def answer(page, source, until):
    """Write `source` into the exercise's cell, as a learner would, and run the lesson until its check shows a text."""
    editor = page.locator(".jp-Notebook .jp-CodeCell .cm-content", has_text="def linear_by_hand").first
    editor.scroll_into_view_if_needed()

    def written():
        editor.click()
        page.keyboard.press("Control+A")
        page.keyboard.insert_text(source)
        return editor.inner_text().split() == source.split()

    wait_for(written)  # a busy browser may give the editor the focus after the keys were pressed
    run_all(page, until)


def run_all(page, until):
    """Run the lesson from top to bottom until its check shows a text. A busy JupyterLab may pass over a click: then again."""
    from playwright.sync_api import TimeoutError

    shown = output_of_check(page).get_by_text(until).first
    for _ in range(4):
        page.get_by_role("menuitem", name="Run", exact=True).click()
        page.get_by_role("menuitem", name=re.compile("^Run All Cells")).click()
        try:
            return shown.wait_for(timeout=120_000)
        except TimeoutError:
            continue
    raise AssertionError(f"the check never said {until!r}")


def output_of_check(page):
    cell = page.locator(".jp-Notebook .jp-CodeCell", has_text="check.linear_by_hand(linear_by_hand)").first
    return cell.locator(".jp-Cell-outputArea")


def validate(page):
    """Press nbgrader's Validate, which saves the notebook first; what the dialog says that comes up."""
    page.get_by_role("button", name=re.compile("Validate")).first.click()
    dialog = page.get_by_role("dialog").first
    dialog.wait_for()
    return dialog.inner_text()


def dismiss_news(page):
    for label in ("No", "Decline"):
        button = page.get_by_role("button", name=label, exact=True)
        if button.count() and button.first.is_visible():
            button.first.click()


def test_a_lesson_from_stub_to_right_answer(lab, page):
    open_lesson(page, lab, "first")
    dismiss_news(page)

    run_all(page, "Not started yet")
    shown = output_of_check(page)
    shown.scroll_into_view_if_needed()
    look(page, "1-not-started")

    answer(page, WRONG, "likely thought")
    card = shown.locator(".jp-RenderedHTML", has_text="likely thought")
    assert "multiplies x as it is stored" in card.inner_text()
    assert "Traceback" not in shown.inner_text()
    assert shown.inner_text().count("likely thought") == 1
    shown.scroll_into_view_if_needed()
    look(page, "2-wrong")

    answer(page, RIGHT, "Right on all")
    output_of_check(page).scroll_into_view_if_needed()
    look(page, "3-right")

    said = validate(page)
    look(page, "4-validate")
    assert "Success" in said, said


@pytest.mark.slow
def test_validate_tells_a_wrong_answer_why(lab, page):
    open_lesson(page, lab, "second")
    dismiss_news(page)
    answer(page, WRONG, "likely thought")
    said = validate(page)
    look(page, "5-validate-wrong")
    assert "Validation" in said and "likely thought" in said, said


def test_formgrader_lists_the_lessons(lab, page):
    address, _ = lab
    page.goto(f"{address}/formgrader?token={TOKEN}")
    page.get_by_text(LESSON).first.wait_for()
    look(page, "6-formgrader")
