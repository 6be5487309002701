"""What a reader of the lessons meets: questions from memory, links that lead somewhere, lines that do not wrap, and no
question mark in the place of a prediction."""

import os
import re
from pathlib import PurePath

import nbformat
import pytest

from autograde import registry

COURSE = registry.current().course
LINK = re.compile(r"\]\(([^)\s]+\.ipynb)\)")
DETAILS = re.compile(r"<details>.*?</details>", re.DOTALL)  # HTML, in which Markdown's links are no links
UNLINKED = re.compile(r"\blessons? \d\d\b|\*\*Next:\*\* \d\d", re.IGNORECASE)
OPEN = re.compile(r"\b(?:predicted|you|verdict|answer)\b[^\n]*(?:'\?'|: \?|\? )", re.IGNORECASE)
POINTS = re.compile(r"^\*About \d+ minutes · .* · (\d+) points?( each)?\b(?:: (.*))?", re.MULTILINE)
WIDEST = 110  # characters of output that fit into a line in a window of 1,000 pixels


@pytest.fixture(scope="module", params=COURSE.lessons)
def cells(request):
    """The cells of a solved lesson."""
    return nbformat.read(COURSE.solved(request.param), as_version=4).cells


def test_links_to_notebooks_lead_to_lessons(cells):
    known = {COURSE.solved(lesson).relative_to(COURSE.root) for lesson in COURSE.lessons}
    known |= {COURSE.release(lesson).relative_to(COURSE.root) for lesson in COURSE.lessons}
    here = PurePath("solutions", "any")  # and "notebooks/any" for a learner, who has the same text
    links = {link for cell in cells if cell.cell_type == "markdown" for link in LINK.findall(cell.source)}
    assert {PurePath(os.path.normpath(here / link)) for link in links} <= known


def test_lessons_that_are_named_are_linked(cells):
    prose = [DETAILS.sub("", cell.source) for cell in cells if cell.cell_type == "markdown"]
    assert not [found for text in prose for found in UNLINKED.findall(text)]


def test_no_output_shows_a_question_mark_for_a_prediction(cells):
    texts = [output.get("text", "") for cell in cells for output in cell.get("outputs", [])]
    assert not [found for text in texts for found in OPEN.findall(text)]


def test_the_points_that_a_text_names_are_those_of_the_checks_after_it(cells):
    named, counted = None, []
    for cell in cells:
        if cell.cell_type == "markdown" and (found := POINTS.search(cell.source)):
            named = found
        elif cell.cell_type == "code" and (cell.metadata.get("nbgrader") or {}).get("grade"):
            counted.append((named, cell.metadata.nbgrader.points))
    for text in {text for text, _ in counted if text}:
        points = [points for named, points in counted if named is text]
        number, each, parts = float(text[1]), text[2], text[3]
        assert set(points) == {number} if each else sum(points) == number, text[0]
        assert not parts or sum(map(float, re.findall(r"\b\d+(?= for )", parts))) == number, text[0]
    assert all(text for text, _ in counted)


def test_output_does_not_wrap(cells):
    texts = [output.get("text", "") for cell in cells for output in cell.get("outputs", [])]
    assert not [line for text in texts for line in text.splitlines() if len(line) > WIDEST]


@pytest.mark.parametrize("lesson", COURSE.lessons[2:12])
def test_a_lesson_begins_with_three_questions_from_memory(lesson):
    opening = "".join(cell.source for cell in nbformat.read(COURSE.solved(lesson), as_version=4).cells[:3])
    questions = opening.partition("## From memory")[2]
    earlier = re.findall(r"^<details><summary>(\d\d) · [^\n]+[?.]</summary>$", questions, re.MULTILINE)
    assert len(earlier) == 3 == questions.count("</details>") and all(number < lesson for number in earlier)


def test_what_is_no_link_and_no_prediction_is_found():
    assert UNLINKED.findall("as in lesson 04, and lessons 08 to 10. **Next:** 09 · A transformer") == [
        "lesson 04", "lessons 08", "**Next:** 09",
    ]  # fmt: skip
    assert not UNLINKED.search("lesson [04](../04_lora_linear/04_lora_linear.ipynb)")
    for said in (
        "you predicted: ?\n",
        "you predicted ('?', '?')",
        "you said ('?', '?')    and",
        "predicted ? times less",
    ):
        assert OPEN.search(said)
    assert not OPEN.search("you predicted: 4 times less")
