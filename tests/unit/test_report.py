"""The class report: what it says, to whom it can be shown, and what it never lets through."""

import json
import re
from html.parser import HTMLParser

import pytest
from click.testing import CliRunner
from small_class import LESSON, make_course

from autograde.batch.results import FAILED, GRADED, Result, Store
from autograde.cli import main
from autograde.judge.verdict import Verdict
from autograde.report import collect, heat_map
from autograde.report.collect import Lesson
from autograde.report.page import page
from autograde.report.write import write

HOSTILE = "<script>alert('x')</script>\"><img src=x onerror=alert(1)>\u202e gnp"
FULL = {"level": "full", "message": "Isolated (namespaces)."}


def _verdict(exercise="linear_by_hand", points=2.0, score=0.0, status="failed", misconception=None, **more):
    said = {"headline": "The result has shape (2,).", "thought": "", "hint": ""}
    if misconception:
        said |= {"thought": f"Thought of {misconception}.", "hint": f"Hint for `{misconception}`."}
    known = {"exercise": exercise, "points": points, "score": score, "status": status, "misconception": misconception}
    return said | known | more


def _result(student, *verdicts, **more):
    cells = {f"check_{v['exercise']}": (v["score"], v["points"]) for v in verdicts}
    known = {"status": GRADED, "content": "", "version": "", "isolation": FULL, "seconds": 0.25, "cells": cells}
    return Result(student, LESSON, verdicts=list(verdicts), **known | more)


RIGHT = _verdict(score=2.0, status="passed")


class _Page(HTMLParser):
    """The tags, attributes and text of a page; fails where elements are not closed in order."""

    VOID = {"meta", "br", "img", "circle", "path"}

    def __init__(self, html):
        super().__init__()
        self.open, self.tags, self.attributes, self.text = [], [], [], []
        self.feed(html)
        assert not self.open

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs

    def handle_endtag(self, tag):
        if tag not in self.VOID:
            assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)


def _text(html):
    return " ".join(" ".join(_Page(html).text).split())


def test_what_it_says():
    results = [
        _result("ada", RIGHT),
        _result("ben", _verdict(misconception="bias_forgotten")),
        _result("cleo", _verdict(misconception="bias_forgotten")),
        _result("dora", _verdict(misconception="no_transpose", score=0.5)),
        _result("emil", _verdict(status="not_started")),
        _result("fay", _verdict(status="damaged", headline="The check cell was deleted."), seconds=7.5),
        _result("gus", message="its worker process was killed by signal 9", status=FAILED),
    ]
    text = _text(page([Lesson(LESSON, results)], now=0))
    for words in (
        "6 students",
        "6 submissions graded",
        "21% of all points",
        "1 could not be graded",
        "2 of 6 linear_by_hand · bias_forgotten Thought of bias_forgotten. Hint given: Hint for bias_forgotten . ben , cleo",
        "1 of 6 linear_by_hand · no_transpose",
        "fay 00_start_here The check cell was deleted.",
        "gus 00_start_here its worker process was killed by signal 9",
        "6: Isolated (namespaces).",
        "The slowest: fay (00_start_here, 7.50 s)",
    ):
        assert words in text, words
    assert text.index("bias_forgotten") < text.index("no_transpose"), "the commonest first"
    assert "1 January 1970" in text or "31 December 1969" in text


def test_nothing_hostile_comes_through_and_nothing_is_fetched():
    results = [
        _result(HOSTILE, _verdict(misconception="a", hint=HOSTILE, thought=HOSTILE)),
        _result("b", _verdict(status="damaged", headline=HOSTILE), message=HOSTILE),
        _result("c", status=FAILED, message=HOSTILE),
    ]
    results[0].isolation = {"level": HOSTILE, "message": HOSTILE}
    html = page([Lesson(LESSON, results)])
    seen = _Page(html)
    assert not {"script", "img", "link", "iframe", "object", "form"} & set(seen.tags)
    assert not any(name.startswith("on") or name in ("src", "srcset") for name, _ in seen.attributes)
    assert all(value.startswith("#") for name, value in seen.attributes if name == "href")
    assert not re.search(r"@import|url\((?!#)|https?:", html)
    assert "\u202e" not in html, "what turns the writing round would turn the rest of the line, too"
    assert "<script>alert('x')</script>" in "".join(seen.text), "and yet one reads what it was"


def test_columns_of_the_heat_map():
    lesson = Lesson(
        LESSON,
        [
            _result("a", _verdict(misconception="rare"), _verdict("second", status="not_started")),
            _result("b", _verdict(misconception="common"), _verdict("second", misconception="x")),
            _result("c", _verdict(misconception="common"), _verdict("second", score=1.0)),
            _result("d", RIGHT, _verdict("second", status="stopped")),
        ],
    )
    assert heat_map.columns(lesson) == {
        "linear_by_hand": ["common", "rare"],
        "second": ["x", "wrong", "not_started", "not_judged"],
    }
    table = heat_map.table(lesson)
    body = re.findall(r"<tr><th scope='row'>(.*?)</tr>", table)
    marks = [re.sub(r"<td[^>]*?(--a)?[^>]*>", "|", row) for row in body]
    assert [row.count("✕") for row in marks] == [1, 2, 1, 0]
    assert heat_map.table(Lesson(LESSON, [_result("a", RIGHT)])) == ""


def test_a_large_class_has_a_row_for_each_score_and_its_students_below():
    mistakes = [f"mistake_{number}" for number in range(15)]
    results = [
        _result(
            f"student-{n:03}",
            RIGHT if n % 4 == 0 else _verdict(misconception=mistakes[n % 15], score=(n % 4 == 3) * 1.0),
        )
        for n in range(800)
    ]
    lesson = Lesson(LESSON, results)
    assert [heading for heading, _ in heat_map.rows(lesson)] == [
        "400 with 0 points",
        "200 with 1 point",
        "200 with 2 points",
    ]
    assert sum(len(members) for _, members in heat_map.rows(lesson)) == 800
    html = page([lesson])
    assert len(html) < 400_000
    assert "student-799" in html
    assert html.count('class="mistake"') == 10, "the rarer ones have a line each"
    many = Lesson(LESSON, [_result(f"s{n}", _verdict(score=n / 1000)) for n in range(800)])
    assert 2 <= len(heat_map.rows(many)) <= heat_map.BANDS + 1


def _grade_by_nbgrader(course, student, **about):
    """Leave a graded notebook as nbgrader's door does."""
    path = course.root / "autograde" / "autograded" / student / LESSON / f"{LESSON}.ipynb"
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps({"cells": [], "metadata": {"autograde": {"graded": about}}}))


def test_what_nbgrader_graded_is_in_it_too(tmp_path):
    course = make_course(tmp_path / "course")
    words = {"misconception": "bias_forgotten", "thought": "No bias.", "hint": "Call it with x = 0."}
    verdict = Verdict("linear_by_hand", 2.0, 0.0, "failed", "Wrong.", **words).as_data()
    about = {"verdicts": {"linear_by_hand": verdict}, "unreadable": None, "isolation": FULL, "seconds": 0.5}
    _grade_by_nbgrader(course, "ada", **about)
    _grade_by_nbgrader(course, "ben", other="things")
    store = Store(course.root / "autograde" / "autograded")
    store.write(_result("cleo", RIGHT), b"{}", {})
    store.write(_result("dora", RIGHT), b"{}", {})
    store.notebook("dora", LESSON).unlink()
    again = {**about, "verdicts": {"linear_by_hand": {**verdict, "misconception": "elementwise"}}}
    store.notebook("dora", LESSON).parent.rmdir()
    _grade_by_nbgrader(course, "dora", **again)
    (lesson,) = collect.collect(course, [LESSON])
    assert [result.student for result in lesson.graded] == ["ada", "cleo", "dora"]
    found = {mistake.misconception: mistake for mistake in lesson.mistakes()}
    assert set(found) == {"bias_forgotten", "elementwise"}
    assert found["bias_forgotten"].hint == "Call it with x = 0."


def test_the_command(tmp_path, monkeypatch):
    course = make_course(tmp_path / "course")
    monkeypatch.chdir(course.root)
    nothing = CliRunner().invoke(main, ["report"])
    assert nothing.exit_code == 2 and "nothing is graded yet; run: autograde grade" in nothing.output
    Store(course.root / "autograde" / "autograded").write(_result("ada", RIGHT), b"{}", {})
    usual = CliRunner().invoke(main, ["report", "00"])
    assert usual.exit_code == 0
    assert usual.output.strip() == str(course.root / "autograde" / "report.html")
    assert "ada" in (course.root / "autograde" / "report.html").read_text()
    other = CliRunner().invoke(main, ["report", "-o", str(tmp_path / "elsewhere.html")])
    assert other.exit_code == 0 and (tmp_path / "elsewhere.html").exists()
    nowhere = CliRunner().invoke(main, ["report", "-o", str(tmp_path / "no" / "such" / "page.html")])
    assert nowhere.exit_code == 2 and "cannot be written" in nowhere.output


def test_a_page_is_written_for_every_outcome_there_is(tmp_path):
    course = make_course(tmp_path / "course")
    store = Store(course.root / "autograde" / "autograded")
    store.write(_result("ada", status=FAILED, message="no reason"), b"", {})
    text = _text(write(course, [LESSON]).read_text())
    assert "0 students" in text and "ada 00_start_here no reason" in text


@pytest.mark.parametrize(
    ("verdict", "expected"),
    [
        (_verdict(status="passed", score=2.0), "passed"),
        (_verdict(score=1.0), "partly"),
        (_verdict(), "wrong"),
        (_verdict(status="not_started"), "not_started"),
        (_verdict(status="missing"), "not_judged"),
        (_verdict(status="stopped"), "not_judged"),
        (_verdict(status="damaged"), "not_judged"),
    ],
)
def test_outcomes(verdict, expected):
    assert collect.outcome(verdict) == expected


def test_who_handed_in_nothing_is_there(tmp_path):
    course = make_course(tmp_path / "course")
    (course.submitted / "idle").mkdir()
    store = Store(course.autograded)
    store.write(_result("ada", status=FAILED, message="no reason"), b"", {})
    said = _text(write(course, [LESSON]).read_text())
    assert "Nothing graded of 1: idle" in said and "· nothing graded" in said
    store.write(_result("idle", RIGHT), b"", {})
    assert "nothing graded" not in _text(write(course, [LESSON]).read_text())
