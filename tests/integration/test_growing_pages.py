"""Text that grows when it is shown costs neither the feedback nor formgrader's page of a submission."""

import subprocess
import sys
import urllib.request
from uuid import uuid4

import nbformat
import pytest
from sample_course import LESSON, RIGHT, copy_of, feedback, hand_in, plant, run
from test_jupyter_server import TOKEN, Server

from autograde.nbgrader_plugin.pages import CleanHTMLExporter
from autograde.submission.grading_process import CPU_SECONDS, MEMORY

TITLED = "".join(f"<b title={i}>" for i in range(600))
SOURCES = {
    "an element that is opened again in every paragraph": TITLED + "<p>x" * 1500,
    "in every paragraph of Markdown": TITLED + "\n\nx" * 1500,
    "as many as are shown": "".join(f"<b title={i}>" for i in range(49)) + "<p>x" * 4000,
    "links without an address": "<a>" * 6000,
    "elements without an end": "<b><i>" * 900 + "<p>" * 1500,
    "images without an end": "![" * 10_000,
    "emphasis without an end": "**a_" * 5000,
    "quotations in quotations": ">" * 5000 + "a",
    "lists in lists": "\n".join(" " * depth + "- a" for depth in range(190)),
    "a table of many columns": "|a" * 3000 + "\n" + "|-" * 3000 + "\n" + "|b\n" * 2000,
    "references": "".join(f"[a{i}]: b\n" for i in range(1500)) + "[a1]" * 500,
    "boxes in boxes": "<div>" * 4000,
    "digits of a character": f"&#{'9' * 5000};",
    "more than is rendered": "# a\n" * 50_000,
}
CODE = {
    "numbers without an end": "." * 1_000_000,
    "attributes without an end": "a." * 100_000,
    "blank lines": " \n" * 100_000,
    "blank lines between code": "x" + "\n " * 10_000 + "x",
}
SHOW = f"""
import sys
import nbformat
from autograde.nbgrader_plugin.pages import CleanHTMLExporter
from autograde.sandbox.limits import set_limits
set_limits({MEMORY}, {CPU_SECONDS})
notebook = nbformat.reads(sys.stdin.read(), as_version=4)
print(len(CleanHTMLExporter(template_name="basic").from_notebook_node(notebook)[0]))
"""
MOST = 25  # times as long as the notebook; and a page has some 400 KB without one


def _cells(source):
    """The text in each place of a notebook where it is rendered, as if nobody had looked at it in grading."""
    output = {"output_type": "display_data", "metadata": {}}
    outputs = [output | {"data": {kind: source}} for kind in ("text/html", "text/markdown")]
    code = {
        "cell_type": "code",
        "id": uuid4().hex,
        "metadata": {},
        "source": "x",
        "execution_count": None,
        "outputs": outputs,
    }
    return [nbformat.v4.new_markdown_cell(source), nbformat.v4.new_raw_cell(source), nbformat.from_dict(code)]


@pytest.mark.parametrize("name", SOURCES)
def test_a_page_is_not_much_longer_than_what_it_shows(name):
    notebook = nbformat.v4.new_notebook(cells=_cells(SOURCES[name]))
    page, _ = CleanHTMLExporter(template_name="basic").from_notebook_node(notebook)
    assert len(page) < MOST * len(nbformat.writes(notebook))


@pytest.mark.parametrize(
    "codes", ["\x1b[38m", "\x1b[48m", "\x1b[38;5m", f"\x1b[{'9' * 5000}m", "\x1b[;;;38m", "\x1b[38;2;1;2m"]
)
def test_a_colour_code_that_is_cut_off_does_not_cost_the_page(codes):
    output = nbformat.v4.new_output("stream", text=f"<before> {codes}after")
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("x", outputs=[output])])
    page, _ = CleanHTMLExporter(template_name="basic").from_notebook_node(notebook)
    assert "&lt;before&gt; " in page and "after" in page and "\x1b" not in page


def test_printed_text_has_colours_as_long_as_they_are_few():
    def page(text):
        outputs = [
            nbformat.v4.new_output("stream", text=text),
            nbformat.v4.new_output("stream", name="stderr", text=text),
        ]
        notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("x", outputs=outputs)])
        return CleanHTMLExporter(template_name="basic").from_notebook_node(notebook)[0]

    few, many = page("\x1b[31mred\x1b[0m" * 100), page("\x1b[31m<" * 75_000)
    assert few.count("ansi-red-fg") > page("").count("ansi-red-fg") + 190
    assert many.count("ansi-red-fg") == page("").count("ansi-red-fg") and "\x1b" not in many
    assert many.count("&lt;") >= 150_000


@pytest.mark.parametrize("name", CODE)
def test_code_that_is_slow_to_colour_is_shown_without_colours(name):
    """Within what a grading process may take for all of a notebook: coloured, it takes a hundred times as much."""
    short = [f"```ipython\n{CODE[name][:1_900]}x\n```"] * 20
    texts = [f"```python\n{CODE[name][:19_000]}", *short]
    cells = [nbformat.v4.new_code_cell(CODE[name]), *map(nbformat.v4.new_markdown_cell, texts)]
    text = nbformat.writes(nbformat.v4.new_notebook(cells=cells))
    done = subprocess.run([sys.executable, "-c", SHOW], input=text, capture_output=True, text=True, check=False)
    assert done.returncode == 0 and int(done.stdout) > 19_000, done.stderr[-2000:]


@pytest.mark.slow
def test_feedback_and_formgrader_show_such_a_notebook(sample, tmp_path):
    course = copy_of(sample, tmp_path / "course")
    path = hand_in(course, "eve", plant(nbformat.read(course.release(LESSON), as_version=4), RIGHT))
    run(course, "nbgrader", "autograde", LESSON)
    path = course.autograded / "eve" / LESSON / f"{LESSON}.ipynb"
    notebook = nbformat.read(path, as_version=4)
    notebook.cells += [cell for source in SOURCES.values() for cell in _cells(source)]
    nbformat.write(notebook, path)
    most = MOST * path.stat().st_size
    run(course, "nbgrader", "generate_feedback", LESSON)
    assert "double" in feedback(course, "eve") and len(feedback(course, "eve")) < most
    server = Server(course, course.root)
    try:
        (one,) = server.ask(f"/formgrader/api/submitted_notebooks/{LESSON}/{LESSON}")
        address = f"{server.address}/formgrader/submissions/{one['id']}/"
        request = urllib.request.Request(address, headers={"Authorization": f"token {TOKEN}"})
        with urllib.request.urlopen(request, timeout=600) as answer:
            page = answer.read().decode()
    finally:
        server.close()
    assert "double" in page and len(page) < most
