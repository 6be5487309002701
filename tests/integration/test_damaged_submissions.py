"""A class of damaged submissions through nbgrader's own commands: each costs itself only, and says what happened."""

import html
import re

import pytest
import sample_course
from damaged import ALL, CASES, SAID
from graded_class import CELL_SECONDS
from sample_course import LESSON, POINTS

# `make test` has one of each kind in its class, `make test-all` all of them.
OF_EACH_KIND = {
    "not_json", "merge_conflict", "giant_output", "format_3", "lost_check", "lost_answer", "two_answers",
    "answer_markdown", "stripped", "renamed_function", "edited_check", "endless_cell", "exits", "wrong_name", "a_link",
    "links_beside",
}  # fmt: skip


def each(names):
    """Parameters, of which `make test` leaves out what is not `OF_EACH_KIND`."""
    return [pytest.param(name, marks=() if name in OF_EACH_KIND else pytest.mark.slow) for name in names]


@pytest.fixture(scope="module")
def course(graded_class):
    """The `Course`."""
    return graded_class.course


def page_text(page):
    return re.sub(r"\s+", " ", html.unescape(re.sub(r"<[^>]+>", "", page)))


def test_all_were_graded_and_no_submission_was_changed(graded_class):
    graded = {path.parent.parent.name for path in graded_class.course.autograded.glob(f"*/{LESSON}/*.ipynb")}
    assert graded == {"aaron", "alice", "bad_date", "bob", "carol", "dave", "erin", "zoe", *graded_class.damaged}
    errors = [line for line in graded_class.log.splitlines() if re.search("error", line, re.IGNORECASE)]
    assert not errors and "bad_date/90_sample has a timestamp.txt in which no date can be read" in graded_class.log
    assert graded_class.after == graded_class.before


@pytest.mark.parametrize("student", ["aaron", "zoe"])
def test_the_others_have_all_their_points(course, student):
    assert sample_course.scores(course, student) == POINTS


@pytest.mark.parametrize("name", each(CASES))
def test_each_costs_what_is_damaged_and_nothing_else(course, name):
    case = CASES[name]
    expected = {exercise: 0.0 if exercise in case.says else POINTS[exercise] for exercise in ALL}
    assert sample_course.scores(course, name) == expected


@pytest.mark.parametrize("name", each(name for name, case in CASES.items() if case.says))
def test_each_says_what_happened_where_the_learner_reads_it(course, name):
    text = page_text(sample_course.feedback(course, name))
    data = sample_course.autograded(course, name).metadata.autograde.graded.verdicts
    assert set(data) == set(ALL)
    for exercise, said in CASES[name].says.items():
        assert SAID[said] in text, text[-1500:]
        assert SAID[said] in re.sub(r"\s+", " ", data[exercise].message)
        assert data[exercise].status != "passed"


def test_the_graded_notebooks_say_how_they_were_graded(course):
    data = sample_course.autograded(course, "endless_cell").metadata.autograde
    assert data.lesson == LESSON and len(data.version) == 16 and data.unreadable is None and data.damage == {}
    graded = data.graded
    assert graded.seconds > CELL_SECONDS and graded.isolation.level and graded.course_version
    assert {name: verdict.status for name, verdict in graded.verdicts.items()} == {
        "double": "passed", "halve": "missing", "total": "passed"}  # fmt: skip
    unreadable = sample_course.autograded(course, "not_json").metadata.autograde
    assert SAID["not json"] in unreadable.unreadable and unreadable.graded.isolation is None


def test_what_a_cell_had_shown_before_it_ended_the_process_is_there(course):
    assert "last words" in page_text(sample_course.feedback(course, "exits"))


def test_links_lead_nowhere(course):
    """nbgrader copies what lies beside a notebook, and hands it back with the feedback."""
    for step in ("autograded", "feedback"):
        folder = getattr(course, step) / "links_beside" / LESSON
        assert {path.name for path in folder.iterdir()} - {f"{LESSON}.ipynb", f"{LESSON}.html"} == {"notes.txt"}
