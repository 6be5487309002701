"""The README's table of lessons says what the lessons' first cells say."""

import re
from pathlib import Path

import jupytext
import pytest

from autograde import registry

ROOT = Path(__file__).parents[2]
COURSE = registry.current().course
ROW = re.compile(r"\| \[(?P<title>[^\]]+)\]\((?P<link>[^)]+)\) \| (?P<able>[^|]+) \| (?P<minutes>\d+) \|")
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
