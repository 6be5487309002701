"""The README's table of lessons says what the lessons' first cells say."""

import base64
import re
from pathlib import Path

import jupytext
import nbformat
import pytest

from autograde import registry

ROOT = Path(__file__).parents[2]
COURSE = registry.current().course
ROW = re.compile(r"\| \[(?P<title>[^\]]+)\]\((?P<link>[^)]+)\)[^|]* \| (?P<able>[^|]+) \| (?P<minutes>\d+) \|")
ROWS = [match.groupdict() for match in ROW.finditer((ROOT / "README.md").read_text(encoding="utf-8"))]


def test_every_lesson_has_its_row_in_order():
    links = [f"solutions/{lesson}/{lesson}.ipynb" for lesson in COURSE.lessons]
    assert [row["link"] for row in ROWS] == links


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row["title"])
def test_title_and_minutes_are_those_of_the_lesson(row):
    first = jupytext.read(COURSE.source(Path(row["link"]).stem), fmt="py:percent").cells[0].source
    title = re.search(r"^# (.+)", first, re.MULTILINE)[1]
    minutes = re.search(r"^\*About (\d+) minutes", first, re.MULTILINE)[1]
    assert (row["title"], row["minutes"]) == (title, minutes)


def test_the_picture_is_the_one_that_lesson_08_draws():
    cells = nbformat.read(COURSE.solved("08_fine_tuning"), as_version=4).cells
    drawn = [output.data.get("image/png") for cell in cells for output in cell.get("outputs", []) if "data" in output]
    shown = base64.b64encode((ROOT / "docs" / "pay_off.png").read_bytes()).decode()
    assert shown in [picture.replace("\n", "") for picture in drawn if picture], (
        "lesson 08 draws another picture now: write that one to docs/pay_off.png, and read the README's figures again"
    )
