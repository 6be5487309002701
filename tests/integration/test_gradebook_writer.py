"""What ends up in nbgrader's gradebook, and what happens when that cannot be used."""

import datetime
import json
import sqlite3

import nbformat
import pytest
from nbgrader.api import Gradebook
from small_class import LESSON, FakeWorkers, hand_in, make_course, rows, run

from autograde.notebook.cells import grade_id


def _scored(score):
    return f"def linear_by_hand(x, weight, bias):\n    pass  # SCORE={score}\n"


@pytest.fixture
def course(tmp_path):
    return make_course(tmp_path / "course")


@pytest.fixture
def database(course):
    return course.root / "autograde" / "gradebook.db"


def _grades(database):
    return {
        (student, cell): (auto, manual, again) for student, _, cell, auto, manual, again, *_ in rows(database)["grades"]
    }


def _results(course, pattern):
    return sorted(path.parent.name for path in (course.root / "autograde" / "autograded" / ".results").rglob(pattern))


def test_scores_are_entered_once_and_again_only_when_changed(course, database):
    hand_in(course, "ada", _scored(2))
    hand_in(course, "ben", _scored(0.5))
    run(course)
    assert _grades(database) == {
        ("ada", "check_linear_by_hand"): (2.0, None, 0),
        ("ben", "check_linear_by_hand"): (0.5, None, 0),
    }
    hand_in(course, "ben", _scored(1))
    outcome = run(course)
    assert [result.student for result in outcome.graded] == ["ben"]
    assert [result.student for result in outcome.skipped] == ["ada"]
    assert _grades(database)["ben", "check_linear_by_hand"] == (1.0, None, 0)
    assert len(run(course, force=True).graded) == 2
    assert len(_grades(database)) == 2


@pytest.mark.parametrize("trouble", ["locked", "readonly", "not a database", "unable to open"])
def test_a_gradebook_that_cannot_be_used_costs_no_result(course, database, trouble):
    for student in ("ada", "ben"):
        hand_in(course, student, _scored(1))
    url, lock, kept = f"sqlite:///{database}?timeout=0.1", None, None
    if trouble == "locked":
        lock = sqlite3.connect(database)
        lock.execute("begin exclusive")
    elif trouble == "readonly":
        url = f"sqlite:///file:{database}?mode=ro&uri=true"
    elif trouble == "not a database":
        kept = database.read_bytes()
        database.write_text("shopping list: eggs" * 1000)
    else:
        url = f"sqlite:///{course.root / 'nowhere' / 'gradebook.db'}"
    log = course.root / "log"
    outcome = run(course, FakeWorkers(log), db=url)
    assert len(outcome.graded) == 2 and not outcome.failed
    assert len(outcome.problems) == 1 and trouble in outcome.problems[0]
    assert outcome.problems[0].endswith(".") and outcome.problems[0].count(". ") >= 1, "it says what to do"
    assert _results(course, "*.new.json") == ["ada", "ben"]
    if lock:
        lock.close()
    if kept:
        database.write_bytes(kept)
    assert _grades(database) == {}
    again = run(course, FakeWorkers(log))
    assert len(again.skipped) == 2 and not again.problems
    assert log.read_text().split() == ["ada", "ben"], "graded once"
    assert len(_grades(database)) == 2
    assert _results(course, "*.new.json") == [] and len(_results(course, "*.json")) == 2


def test_a_gradebook_that_was_lost_is_filled_from_results(course, database):
    empty = database.read_bytes()
    hand_in(course, "ada", _scored(2))
    run(course)
    before = rows(database)
    database.write_bytes(empty)
    outcome = run(course)
    assert not outcome.graded and rows(database) == before


def test_what_a_person_scored_stays_and_is_to_be_looked_at_again(course, database):
    hand_in(course, "ada", _scored(0))
    run(course)
    with Gradebook(f"sqlite:///{database}", "lora") as book:
        grade = book.find_grade("check_linear_by_hand", LESSON, LESSON, "ada")
        grade.manual_score, grade.extra_credit = 1.5, 0.5
        grade.needs_manual_grade = False
        book.find_comment("linear_by_hand", LESSON, LESSON, "ada").manual_comment = "Nearly."
        book.db.commit()
    run(course)
    assert _grades(database)["ada", "check_linear_by_hand"] == (0.0, 1.5, 0), "nothing new, nothing to look at"
    hand_in(course, "ada", _scored(2))
    run(course)
    assert _grades(database)["ada", "check_linear_by_hand"] == (2.0, 1.5, 1)
    assert rows(database)["comments"] == [("ada", "linear_by_hand", None, "Nearly.")]


def test_hand_in_times_and_late_penalties(course, database):
    config = course.root / "nbgrader_config.py"
    config.write_text(config.read_text() + 'c.LateSubmissionPlugin.penalty_method = "zero"\n')
    with Gradebook(f"sqlite:///{database}", "lora") as book:
        book.find_assignment(LESSON).duedate = datetime.datetime(2026, 3, 1)
        book.db.commit()
    for student, time in {"early": "2026-02-28 23:00 UTC", "late": "2026-03-01 07:00 UTC", "odd": "yesterday"}.items():
        (hand_in(course, student, _scored(2)) / "timestamp.txt").write_text(time)
    hand_in(course, "none", _scored(2))
    digits = hand_in(course, "digits", _scored(2))
    (digits / "timestamp.txt").write_text("12:" + "1" * 70)  # dateutil raises what it does not promise
    run(course)
    seen = {row[0]: row[6:] for row in rows(database)["grades"]}
    assert seen.pop("digits") == seen["none"]
    assert seen == {
        "early": ("2026-02-28 23:00:00.000000", None),
        "late": ("2026-03-01 07:00:00.000000", 2.0),
        "odd": (None, None),
        "none": (None, None),
    }
    (course.submitted / "late" / LESSON / "timestamp.txt").write_text("2026-02-27 09:00 UTC")
    outcome = run(course)
    assert not outcome.graded
    assert {row[0]: row[7] for row in rows(database)["grades"]}["late"] is None, "no penalty with the new time"


def test_a_due_date_that_moves_moves_the_penalties(course, database):
    config = course.root / "nbgrader_config.py"
    config.write_text(config.read_text() + 'c.LateSubmissionPlugin.penalty_method = "zero"\n')
    (hand_in(course, "ada", "SCORE=2") / "timestamp.txt").write_text("2026-03-02 12:00:00 UTC")
    run(course)
    for due, penalty in ((datetime.datetime(2026, 3, 1), 2.0), (datetime.datetime(2026, 3, 3), None),
                         (datetime.datetime(2026, 3, 1), 2.0), (None, None)):  # fmt: skip
        with Gradebook(f"sqlite:///{database}", "lora") as book:
            book.find_assignment(LESSON).duedate = due
            book.db.commit()
        assert not run(course).graded
        assert {row[7] for row in rows(database)["grades"]} == {penalty}, due


def test_graded_files_are_where_nbgrader_has_them(course):
    folder = hand_in(course, "ada", _scored(2))
    (folder / "timestamp.txt").write_text("2026-02-28 23:00 UTC")
    (folder / "notes").mkdir()
    (folder / "notes" / "mine.txt").write_text("hello")
    (folder / "secret.txt").symlink_to("/etc/hostname")
    run(course)
    graded = course.root / "autograde" / "autograded" / "ada" / LESSON
    there = sorted(path.relative_to(graded).as_posix() for path in graded.rglob("*") if path.is_file())
    assert there == [f"{LESSON}.ipynb", "notes/mine.txt", "timestamp.txt"]
    assert (graded / f"{LESSON}.ipynb").stat().st_mode & 0o777 == 0o444
    (folder / "notes" / "mine.txt").unlink()
    run(course)
    assert not (graded / "notes" / "mine.txt").exists(), "what was taken back is gone"


def test_a_lesson_that_changed_is_brought_up_to_date_in_the_gradebook(course, database):
    hand_in(course, "ada", _scored(2))
    run(course)
    for path in (course.release(LESSON), course.solved(LESSON)):
        notebook = json.loads(path.read_text())
        for cell in notebook["cells"]:
            if cell["metadata"].get("nbgrader", {}).get("grade"):
                cell["metadata"]["nbgrader"]["points"] = 3.0
        path.write_text(json.dumps(notebook))
    outcome = run(course)
    assert len(outcome.graded) == 1, "graded by another version: grade again"
    with Gradebook(f"sqlite:///{database}", "lora") as book:
        assert book.find_assignment(LESSON).max_score == 3.0


def test_a_lesson_that_gained_a_cell_is_refused_with_advice(course, database):
    hand_in(course, "ada", _scored(2))
    run(course)
    for path in (course.release(LESSON), course.solved(LESSON)):
        notebook = nbformat.read(path, as_version=4)
        extra = next(cell for cell in notebook.cells if grade_id(cell) == "linear_by_hand").copy()
        extra["metadata"] = json.loads(json.dumps(extra["metadata"]))
        extra["metadata"]["nbgrader"]["grade_id"] = extra["id"] = "one_more"
        notebook.cells.append(extra)
        nbformat.write(notebook, path)
    outcome = run(course)
    assert len(outcome.graded) == 1 and "nbgrader db assignment remove" in outcome.problems[0]
    assert _results(course, "*.new.json") == ["ada"]


def test_hidden_tests_are_graded_with(course):
    path = course.solved(LESSON)
    notebook = nbformat.read(path, as_version=4)
    cell = nbformat.v4.new_code_cell(
        "assert callable(linear_by_hand)\n### BEGIN HIDDEN TESTS\nassert False\n### END HIDDEN TESTS", id="own-test"
    )
    cell.metadata["nbgrader"] = {
        "grade": True, "grade_id": "own_test", "locked": True, "points": 1, "schema_version": 3, "solution": False,
        "task": False,
    }  # fmt: skip
    notebook.cells.append(cell)
    nbformat.write(notebook, path)
    released = nbformat.read(course.release(LESSON), as_version=4)
    released.cells.append(nbformat.from_dict(cell | {"source": "assert callable(linear_by_hand)"}))
    nbformat.write(released, course.release(LESSON))
    hand_in(course, "ada", _scored(2))
    seen = []

    class Looking(FakeWorkers):
        def run(self, tasks):
            seen.extend(nbformat.reads(task.reference, as_version=4) for task in tasks)
            return super().run(tasks)

    run(course, Looking())
    sources = {grade_id(cell): cell.source for cell in seen[0].cells}
    assert "assert False" in sources["own_test"]
    stored = {row[0]: row[3] for row in rows(course.root / "autograde" / "gradebook.db")["sources"]}
    assert stored["own_test"] == sources["own_test"]
