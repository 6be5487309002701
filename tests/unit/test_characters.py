"""Characters that a browser needs long for, in a number that stops the page of whoever opens it."""

import nbformat
import pytest

from autograde.nbgrader_plugin.pages import CleanHTMLExporter
from autograde.notebook import characters

SLOW = {
    "marks on one letter": "a" + "\u0301" * 99_000,
    "marks on many letters": ("a" + "\u0301" * 9) * 9_900,
    "a word from right to left": "\u0628" * 99_000,
    "directions in turn": "\u05d0a1(" * 24_000,
    "brackets after one letter": "\u05d0" + "(" * 49_000 + ")" * 49_000,
    "control characters": "\x0b\x0c\ufeff\u200b" * 24_000,
    "scripts in turn": "\u6f22a" * 49_000,
    "scripts in turn, without ASCII": "\u6f22\u0436" * 49_000,
    "keys": "1\ufe0f\u20e3" * 33_000,
}
ORDINARY = {
    "German": "Größe, Maß und Überlänge. " * 9_000,
    "Russian": "Матрица низкого ранга\n" * 9_000,
    "Chinese": "低秩矩阵的两个因子,\n" * 20_000,
    "Hebrew": "מטריצה בדרגה נמוכה\n" * 1_000,
    "Arabic": "<p>مصفوفة ذات رتبة منخفضة</p>\n" * 1_000,
    "a picture in a line of Hebrew": f'<p>\u05d0<img src="data:image/png;base64,{"A" * 10**6}"></p>',
    "boxes": "┌──────┬──────┐\n│ 1.00 │ 2.00 │\n" * 2_000,
    "bars": "██████████▌    ▏ 50%\r" * 9_000,
}


@pytest.mark.parametrize("name", SLOW)
def test_characters_that_stop_a_page_are_left_out_of_it(name):
    shown = characters.bounded("the page begins\n" + f"<p>{SLOW[name]}</p>\n" * 14 + "<p>中</p>")
    assert shown.startswith("the page begins") and shown.endswith("<p>?</p>")
    assert sum(map(characters._work, shown.split("\n"))) <= characters.MAX_WORK


@pytest.mark.parametrize("name", ORDINARY)
def test_ordinary_text_stays(name):
    assert characters.bounded(ORDINARY[name]) == ORDINARY[name]


@pytest.mark.parametrize("where", ["code", "text", "output"])
def test_a_page_with_a_notebook_is_bounded(where):
    slow = SLOW["directions in turn"]
    cell = {
        "code": nbformat.v4.new_code_cell(f"# {slow}"),
        "text": nbformat.v4.new_markdown_cell(slow),
        "output": nbformat.v4.new_code_cell("x", outputs=[nbformat.v4.new_output("stream", text=slow)]),
    }[where]
    page = CleanHTMLExporter(template_name="basic").from_notebook_node(nbformat.v4.new_notebook(cells=[cell]))[0]
    assert "\u05d0" not in page and "?a1(" in page
