"""The tables that a grading run prints."""

import io

import pytest
from rich.console import Console

from autograde.batch import table
from autograde.batch.pipeline import Outcome
from autograde.batch.results import FAILED, GRADED, Result

LESSONS = [f"{number:02}_lesson_{number:02}" for number in range(12)]


def printed(width, lessons=LESSONS, students=("ada", "Doe Jane [12345]")):
    graded = [
        Result(who, lesson, GRADED, "", "", cells={"check_a": (1.5, 2.0)}) for who in students for lesson in lessons
    ]
    console = Console(file=io.StringIO(), width=width)
    table.show(console, Outcome(graded=graded), lessons)
    return console.file.getvalue()


@pytest.mark.parametrize(("width", "heading"), [(80, " 03 "), (240, " 03_lesson_03 ")])
def test_a_lesson_is_named_by_its_number_where_names_do_not_fit(width, heading):
    class_table, _, run_table = printed(width).partition("This run")
    assert heading in class_table
    assert "…" not in class_table
    assert all(lesson in run_table for lesson in LESSONS)


@pytest.mark.parametrize("width", [40, 80, 110, 240])
def test_no_name_and_no_number_is_cut_off(width):
    said = printed(width, students=("ada", "a-student-with-a-name"))
    class_table, _, run_table = said.partition("This run")
    row = next(line for line in class_table.splitlines() if line.strip().startswith("ada"))
    assert row.split() == ["ada", *["1.5"] * len(LESSONS), "18"] and "/24" in class_table
    assert "…" not in said and all(f" {lesson} " in run_table for lesson in LESSONS)
    if width >= 80:
        assert max(map(len, said.splitlines())) <= width


def test_brackets_in_a_name_are_no_markup():
    assert "Doe Jane [12345]" in printed(240)


def test_each_sign_that_occurs_is_explained_and_no_other():
    def of(who, lesson, score):
        return Result(who, lesson, GRADED, "", "", cells={"check_a": (1.5, 2.0), "essay": (score, 3.0)})

    def class_table(*graded):
        console = Console(file=io.StringIO(), width=80)
        table.show(console, Outcome(graded=list(graded)), LESSONS)
        return console.file.getvalue().partition("This run")[0]

    one, other = LESSONS[:2]
    assert not any(meaning in class_table(of("ada ·", one, 1.0)) for meaning in table.SIGNS.values())
    both = class_table(of("ada", one, None), of("ben", other, 1.0))
    assert "·  nothing graded" in both and "+ ?  more points when a person has graded the rest" in both


def test_what_is_said_of_one_submission_says_nothing_of_another():
    forged = "its code raised Own: x\nzoe 00_lesson_00: this work is not hers"
    verdict = {"exercise": "a", "misconception": None, "status": "stopped", "headline": forged}
    results = {
        "graded": [Result("ada", "00_lesson_00", GRADED, "", "", verdicts=[verdict])],
        "failed": [Result("bob", "00_lesson_00", FAILED, "", "", message=forged)],
    }
    console = Console(file=io.StringIO(), width=240)
    table.show(console, Outcome(**results), ["00_lesson_00"])
    assert console.file.getvalue().count("not hers") == 2
    assert not any(line.startswith("zoe") for line in console.file.getvalue().splitlines())
