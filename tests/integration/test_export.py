"""`autograde export` on a class that was graded: new files for Canvas and Moodle, files from them filled in, result.json."""

import contextlib
import csv
import datetime
import io
import json
import os
import stat

import pytest
from click.testing import CliRunner
from nbgrader.api import Gradebook
from nbgrader.plugins.export import CsvExportPlugin
from small_class import FORGOTTEN, LESSON, RIGHT, hand_in, make_course
from warm_cli import autograde

from autograde.cli import main
from autograde.nbgrader_plugin.config import load

SECOND = "03_two_thin_products"
FORMULA = "=1+cmd|' /C calc'!A1"
FLOPS = "def flops_full(n, d, k, r):\n    return 2 * d * k * (r + n)"
CANVAS = (
    "Student,ID,SIS User ID,SIS Login ID,Section,00_start_here (4711),Homework 3 (4712),Notes,Current Score\r\n"
    "    Points Possible,,,,,2,6,,(read only)\r\n"
    '"Able, ""Al"" Alice",17,s17,ALICE,"A, B",,,"two\nlines; and a ""quote""",50.5\r\n'
    "=HYPERLINK(1),18,s18,bob,A,1.00,,,\r\n"
    "Ko Carol,19,s19,carol,A,EX,,,\r\n"
    "Dee Dave,20,s20,dave,A,,,,\r\n"
    '"Student, Test",21,,e4f2,A,,,,\r\n'
)
WORKSHEET = (
    "Identifier,Full name,Email address,Status,Grade,Maximum Grade,Grade can be changed,Last modified (grade)\n"
    "Participant 7,Alice Able,alice@uni.example,Submitted,,2.00,Yes,-\n"
    "Participant 8,Bob Bunce,Bob@Uni.Example,Submitted,,2.00,Yes,-\n"
    "Participant 9,Dave Dee,dave@uni.example,No submission,,2.00,Yes,-\n"
)


@pytest.fixture(scope="module")
def course(tmp_path_factory):
    """A graded class: right, wrong, late, graded by hand, without a submission, and with an id that is a formula."""
    course = make_course(tmp_path_factory.mktemp("export") / "course", [LESSON, SECOND])
    with open(course.root / "nbgrader_config.py", "a") as config:
        config.write('c.LateSubmissionPlugin.penalty_method = "zero"\n')
    settings = load(course)
    with Gradebook(settings.db_url, settings.course_id) as book:
        book.update_or_create_assignment(LESSON, duedate=datetime.datetime(2026, 3, 1))
    for student, answer in {"alice": RIGHT, "bob": FORGOTTEN, "carol": RIGHT, "late": RIGHT}.items():
        hand_in(course, student, answer)
    (course.submitted / "late" / LESSON / "timestamp.txt").write_text("2026-03-02 12:00 UTC")
    hand_in(course, "alice", {"flops_full": FLOPS}, SECOND)
    graded = autograde("grade", "--jobs", "1", cwd=course.root)
    assert graded.returncode == 0, graded.stdout + graded.stderr
    with Gradebook(settings.db_url, settings.course_id) as book:
        grade = book.find_grade("check_linear_by_hand", LESSON, LESSON, "carol")
        grade.manual_score, grade.extra_credit, grade.needs_manual_grade = 1.25, 1 / 3, True
        for student, address in {"alice": "alice@uni.example", "bob": "BOB@uni.example"}.items():
            book.update_or_create_student(student, email=address)
        book.add_student("dave", email="dave@uni.example")
        book.add_student(FORMULA)
        book.add_submission(LESSON, FORMULA)
        book.db.commit()
    return course


def export(course, *words):
    """Run the command in this process, which has imported nbgrader already."""
    with contextlib.chdir(course.root):
        return CliRunner().invoke(main, ["export", *map(str, words)], catch_exceptions=False)


def exported(course, *words):
    """What a file of this export holds, and what was said on stderr."""
    path = course.root / "out"
    path.unlink(missing_ok=True)
    done = export(course, *words, "-o", path)
    assert done.exit_code == 0, done.stderr
    assert done.stdout.startswith(f"{path}: ")
    return path.read_bytes().decode(), done.stderr


def refused(course, *words):
    """What is said when nothing is written."""
    before = sorted(course.root.rglob("*"))
    done = export(course, *words)
    assert done.exit_code == 2 and done.stdout == "", done.stderr
    assert sorted(course.root.rglob("*")) == before
    [line] = done.stderr.splitlines()
    return line


@pytest.fixture
def file(tmp_path):
    """``file(text)``: the path of a file with this text."""

    def made(text):
        path = tmp_path / "given.csv"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return path

    return made


def test_a_new_file_for_canvas_has_what_its_import_reads(course):
    text, said = exported(course, "canvas")
    assert list(csv.reader(io.StringIO(text))) == [
        ["Student", "ID", "SIS User ID", "SIS Login ID", "Section", LESSON, SECOND],
        ["    Points Possible", "", "", "", "", "2", "6"],
        ["alice", "", "", "alice", "", "2", "1"],
        ["bob", "", "", "bob", "", "0", ""],
        ["carol", "", "", "carol", "", "1.58333", ""],
        ["late", "", "", "late", "", "0", ""],
    ]
    assert f"{LESSON} has work that still needs manual grading, with its marks so far: 2 (=1+cmd" in said
    assert "carol" in said and "left out, since their ids could do harm in a spreadsheet: 1 (=1+cmd" in said


def test_a_new_file_for_moodle_has_no_empty_cells_which_moodle_takes_for_no_points(course):
    text, _ = exported(course, "moodle", "03=Homework 3", "00")
    assert list(csv.reader(io.StringIO(text))) == [
        ["username", "Homework 3", LESSON],
        ["alice", "1", "2"],
        ["bob", "-", "0"],
        ["carol", "-", "1.58333"],
        ["late", "-", "0"],
    ]


def test_the_marks_are_those_that_nbgrader_exports(course, tmp_path):
    settings = load(course)
    with Gradebook(settings.db_url, settings.course_id) as book:
        CsvExportPlugin(to=str(tmp_path / "grades.csv")).export(book)
    with open(tmp_path / "grades.csv") as grades:
        theirs = {(row["assignment"], row["student_id"]): row for row in csv.DictReader(grades)}
    students = json.loads(exported(course, "json")[0])["students"]
    ours = {(lesson, student): mark for student, marks in students.items() for lesson, mark in marks.items()}
    assert set(ours) <= set(theirs) and len(ours) == 6
    for key, mark in ours.items():
        for name in ("score", "max_score", "late_submission_penalty"):
            assert mark[name.replace("_submission", "")] == pytest.approx(float(theirs[key][name]), abs=1e-5), key


def test_result_json_says_what_was_judged(course):
    text, said = exported(course, "json")
    data = json.loads(text)
    assert data["format"] == 1 and text.isascii()
    assert data["lessons"] == {LESSON: {"max_score": 2.0}, SECOND: {"max_score": 6.0}}
    assert list(data["students"]) == sorted(["alice", "bob", "carol", "dave", "late", FORMULA])
    assert data["students"]["dave"] == {}
    assert data["students"]["bob"][LESSON] == {
        "score": 0.0, "max_score": 2.0, "late_penalty": 0.0, "needs_manual_grade": False, "timestamp": None,
        "exercises": {"linear_by_hand": {"score": 0.0, "max_score": 2.0, "passed": False,
                                         "misconception": "bias_forgotten", "needs_manual_grade": False}},
    }  # fmt: skip
    late = data["students"]["late"][LESSON]
    assert (late["score"], late["late_penalty"], late["timestamp"]) == (0.0, 2.0, "2026-03-02T12:00:00Z")
    assert late["exercises"]["linear_by_hand"]["passed"] is True
    assert data["students"]["carol"][LESSON]["needs_manual_grade"] is True and "carol" in said
    exercises = data["students"]["alice"][SECOND]["exercises"]
    assert {name: each["passed"] for name, each in exercises.items()} == {
        "flops_full": True, "flops_thin": False, "largest_cheap_rank": False, "lora_delta": False,
    }  # fmt: skip
    assert list(json.loads(exported(course, "json", "03")[0])["lessons"]) == [SECOND]


def test_it_lies_beside_the_graded_notebooks_and_is_for_its_owner_alone(course):
    done = autograde("export", "canvas", "00", cwd=course.root)
    path = course.root / "autograde" / "canvas.csv"
    assert done.stdout == f"{path}: 4 marks of {LESSON}\n"
    assert os.name != "posix" or stat.S_IMODE(path.stat().st_mode) == 0o600
    assert "autograde/canvas.csv would be written over" in refused(course, "canvas", "--fill", "autograde/canvas.csv")


def test_a_file_from_canvas_gets_the_marks_and_is_else_the_same(course, file):
    given = file(CANVAS)
    text, said = exported(course, "canvas", "--fill", given, "00", "03=Homework 3")
    expected = CANVAS.replace('"A, B",,,', '"A, B",2,1,').replace("bob,A,1.00,", "bob,A,0,")
    assert text == expected
    assert f"in the gradebook, and not in {given}: 2 (=1+cmd" in said and "late)" in said
    assert f"excused (EX) or not assigned (N/A) in {given}, and left so: 1 (carol)" in said
    assert f"rows of {given} about nobody in the gradebook, and left as they were: 1" in said
    assert "Marks are not converted" not in said
    assert given.read_bytes().decode() == CANVAS
    again, _ = exported(course, "canvas", "--fill", file(text), "00", "03=Homework 3")
    assert again == text


def test_columns_of_lessons_that_are_not_named_are_mentioned(course, file):
    _, said = exported(course, "canvas", "--fill", file(CANVAS), "03=Homework 3")
    assert f"left as they were, since other lessons are named: {LESSON}" in said


def test_a_new_file_that_is_filled_in_stays_as_it_is(course, file):
    text, _ = exported(course, "canvas")
    again, said = exported(course, "canvas", "--fill", file(text))
    assert again == text and "about nobody" not in said


def test_without_a_lesson_those_that_have_a_column_are_filled_in(course, file):
    text, said = exported(course, "canvas", "--fill", file(CANVAS))
    assert text == CANVAS.replace('"A, B",,,', '"A, B",2,,').replace("bob,A,1.00,", "bob,A,0,")
    assert f"lessons without a column in {file(CANVAS)}: {SECOND}" in said


@pytest.mark.parametrize("separator", [",", ";", "\t"], ids=["comma", "semicolon", "tab"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"], ids=["LF", "CRLF", "CR"])
def test_byte_order_mark_separator_and_line_ends_stay(course, file, separator, end):
    rows = [["Username", f'"Assignment: {LESSON} (Real)"', "x"], ["bob", '"-"', "y"], ["alice"], ["", "", ""]]
    given = "\ufeff" + end.join(separator.join(row) for row in rows)
    text, _ = exported(course, "moodle", "--fill", file(given))
    rows[1][1], rows[2] = '"0"', ["alice", "2"]
    assert text == "\ufeff" + end.join(separator.join(row) for row in rows)


def test_a_grading_worksheet_of_moodle_is_for_one_lesson_and_knows_addresses(course, file):
    text, said = exported(course, "moodle", "--fill", file(WORKSHEET), "00")
    assert text == WORKSHEET.replace("Submitted,,", "Submitted,2,", 1).replace("Submitted,,", "Submitted,0,", 1)
    assert "Marks are not converted" not in said
    _, said = exported(course, "moodle", "--fill", file(WORKSHEET.replace("2.00", '"100,00"')), "00")
    assert f"{LESSON} has 2 points here, and 100,00 in {file('')}" in said
    assert "is for one lesson: name that LESSON" in refused(course, "moodle", "--fill", file(WORKSHEET))
    german = WORKSHEET.replace(",Grade,", ",Bewertung,")
    assert "no column named '00_start_here'" in refused(course, "moodle", "--fill", file(german), "00")
    text, _ = exported(course, "moodle", "--fill", file(german), "00=Bewertung")
    assert "alice@uni.example,Submitted,2,2.00" in text


def test_columns_that_cannot_be_told_apart_are_named(course, file):
    both = f"id,Assignment: {LESSON} (Real),Assignment: {LESSON} (Feedback)\nbob,,\n"
    line = refused(course, "moodle", "--fill", file(both))
    assert f"has several columns for {LESSON}: “Assignment: {LESSON} (Real)”" in line and f'{LESSON}="COLUMN"' in line
    text, _ = exported(course, "moodle", "--fill", file(both), f"00=Assignment: {LESSON} (Real)")
    assert text == both.replace("bob,,", "bob,0,")

    crossed = f"ID,Login,{LESSON}\nalice,bob,\nbob,alice,\n"
    assert "may say who a row is about: “ID”, “Login”. Add --match COLUMN" in refused(
        course, "canvas", "--fill", file(crossed)
    )
    text, _ = exported(course, "canvas", "--fill", file(crossed), "--match", "Login")
    assert text == crossed.replace("alice,bob,", "alice,bob,0").replace("bob,alice,", "bob,alice,2")
    assert "no column named 'Name'" in refused(course, "canvas", "--fill", file(crossed), "--match", "Name")

    twice = f"Login,{LESSON}\nalice,\nalice,\n"
    assert "more than one row" in refused(course, "canvas", "--fill", file(twice))


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["canvas", "--fill", "FILE", "03"], f'no column named {SECOND!r}. Make it in Canvas or Moodle'),
        (["canvas", "--fill", "FILE", "03=Homework 4"], "no column named 'Homework 4'"),
        (["canvas", "--fill", "FILE", "03=Current Score"], "Canvas works out the column “Current Score” itself"),
        (["canvas", "--fill", "FILE", "00", "03=00_start_here (4711)"], "two lessons have the same column"),
        (["canvas", "00", "00_start"], f"{LESSON} is named twice"),
        (["canvas", "00="], "00= names no column"),
        (["canvas", "05"], "no lesson '05'"),
        (["canvas", "--match", "ID"], "add --fill FILE"),
        (["json", "--fill", "FILE"], "result.json has no columns"),
        (["json", "00=Homework"], "result.json has no columns"),
        (["canvas", "-o", "autograde"], "is not a file"),
        (["canvas", "-o", "nowhere/marks.csv"], "cannot be written: No such file"),
        (["canvas", "--fill", "autograde"], "autograde is a folder, not a file"),
        (["canvas", "--fill", "nowhere.csv"], "nowhere.csv cannot be read: No such file"),
        (["canvas", "--db", "sqlite:///none.db"], "run: autograde grade"),
        (["canvas", "--db", "sqlite:///pyproject.toml"], "the gradebook sqlite:///pyproject.toml cannot be used"),
        (["canvas", "--db", "grades.db"], "the gradebook grades.db cannot be used: Could not parse SQLAlchemy URL from given URL string. Write it as sqlite:///"),
        (["canvas", "--db", "nosuch://grades.db"], "cannot be used: Can't load plugin: sqlalchemy.dialects:nosuch. A gradebook's URL begins with"),
        (["canvas", "--db", "sqlite:////no/such.db"], "no submission is in the gradebook sqlite:////no/such.db yet; run: autograde grade --db …"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)  # fmt: skip
def test_what_is_refused_writes_nothing_and_says_what_to_do(course, file, words, expected):
    assert expected in refused(course, *(file(CANVAS) if word == "FILE" else word for word in words))


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("", "has no columns in its first line"),
        ("name\nbob\n", "has no columns in its first line"),
        ("Login,00_start_here\nnobody,\n", "no column has their ids (“=1+cmd|' /C calc'!A1”, “alice”, “bob”, …)"),
        ("Login,Quiz\nbob,\n", "has no column named like a lesson (00_start_here, 03_two_thin_products)"),
        ('Login,00_start_here\nbob,"1\n', "quotation mark out of place in line 2, at '\"1"),
        ('Login,00_start_here\n"b\nob"x,1\n', "quotation mark out of place in line 2"),
        ("Login,00_start_here\nbob,1\n".encode("utf-16"), "is not text in UTF-8"),
        (b"PK\x03\x04\xff\xfe", "Download it again as CSV"),
        ("\x1b]0;title\x07,b\nbob,1\n", "There are “\N{REPLACEMENT CHARACTER}]0;title"),
    ],
    ids=["empty", "one_column", "strangers", "no_lesson", "open_quote", "after_quote", "utf16", "zip", "escapes"],
)  # fmt: skip
def test_a_file_that_is_no_gradebook_is_refused(course, file, content, expected):
    line = refused(course, "canvas", "--fill", file(content))
    assert expected in line and "\x1b" not in line


def test_a_file_that_cannot_be_written_leaves_what_was_there(course, tmp_path):
    kept = tmp_path / "kept.csv"
    kept.write_text("kept")
    kept.chmod(0o640)
    assert "no lesson" in refused(course, "canvas", "99", "-o", kept)
    assert kept.read_text() == "kept"
    done = export(course, "canvas", "-o", kept)
    assert done.exit_code == 0 and kept.read_text().startswith("Student,ID,")
    assert stat.S_IMODE(kept.stat().st_mode) == 0o640 and list(tmp_path.iterdir()) == [kept]
