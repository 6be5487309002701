"""What a class's folder may hold, and what of it is graded, with which words."""

import os
import shutil
import subprocess

import pytest
from small_class import LESSON, FakeWorkers, hand_in, make_course, rows, run

from autograde.nbgrader_plugin import folders
from autograde.submission import files
from autograde.submission.files import Submission, find, fingerprint

ODD = [
    "Zoë Ångström",
    "名前",
    "o'brien; drop table student",
    "..hidden no more"[2:],
    "a" * 128,
    "[a-z]*",
    "-rf",
    "100%",
]


@pytest.fixture
def course(tmp_path):
    return make_course(tmp_path / "course")


def test_odd_names_are_students_like_others(course):
    for student in ODD:
        hand_in(course, student, "SCORE=2")
    assert not run(course).notices
    entered = rows(course.root / "autograde" / "gradebook.db")["grades"]
    assert sorted(row[0] for row in entered) == sorted(ODD)
    assert all(
        (course.root / "autograde" / "autograded" / student / LESSON / f"{LESSON}.ipynb").exists() for student in ODD
    )
    assert not run(course).graded, "and found again"


@pytest.mark.skipif(os.name != "posix", reason="file names as bytes, and links")
def test_what_is_no_submission_is_left_alone_with_a_word(course, tmp_path):
    hand_in(course, "ada", "SCORE=2")
    hand_in(course, "b" * 129)
    hand_in(course, "new\nline")
    os.makedirs(os.fsencode(course.submitted) + b"/broken\xff/" + LESSON.encode())
    (course.submitted / "README.txt").write_text("hello")
    (course.submitted / "ada" / "homework").mkdir()
    (course.submitted / "ada" / "01_low_rank").write_text("a file in place of a folder")
    course.solved("01_low_rank").parent.mkdir()
    (tmp_path / "elsewhere").mkdir()
    (course.submitted / "link").symlink_to(tmp_path / "elsewhere")
    (course.submitted / "__MACOSX").mkdir()
    (course.submitted / ".DS_Store").write_text("")
    (course.submitted / ".ipynb_checkpoints").mkdir()
    hand_in(course, ".anna")
    (course.submitted / "ada" / LESSON / "scratch.ipynb").write_text("{}")
    found, notices = find(course, [LESSON, "01_low_rank"])
    assert [(one.student, one.lesson) for one in found] == [("ada", LESSON)]
    words = [
        "README.txt is a file",
        "homework is no lesson",
        "01_low_rank is not a folder",
        "scratch.ipynb, which is no notebook of it",
        "is a link to another place",
        "more than 128 characters",
        "broken\N{REPLACEMENT CHARACTER} has control",
        "new\N{REPLACEMENT CHARACTER}line has control",
        ".anna begins with a dot",
    ]
    for word in words:
        assert sum(word in notice for notice in notices) == 1, word
    assert len(notices) == len(words) and all("\n" not in notice for notice in notices)


AS_AN_LMS_MAKES_THEM = {  # a path below the folder of submissions, and what is said of it
    "all.zip": "all.zip is an archive, not a student's folder; unpack it",
    f"doe_jane_123_{LESSON}.ipynb": f"is a notebook, not a student's folder; move it to STUDENT/{LESSON}/{LESSON}.ipynb.",
    f"moodle/{LESSON}.ipynb": f"is a file where the folder of a lesson is expected; move it to {LESSON}/{LESSON}.ipynb.",
    f"text/{LESSON}.ipynb.txt": "is a file where the folder of a lesson is expected",
    f"packed/{LESSON}.zip": f"packed/{LESSON}.zip is an archive; unpack it",
    f"twice/twice/{LESSON}/{LESSON}.ipynb": f"twice/twice is no lesson of this course, but holds '{LESSON}'",
    "inside/download/work.tar.gz": "but holds the archive 'work.tar.gz'",
    f"{LESSON}/ada/{LESSON}.ipynb": f"{LESSON}/ada is no lesson of this course, but holds '{LESSON}.ipynb'",
}
IN_PLACE_OF_THE_NOTEBOOK = {
    f"a/b/c/{LESSON}.ipynb": "it is deeper, in 'a/b/c'",
    "export/work.zip": "but the archive 'export/work.zip', which has to be unpacked",
    f"{LESSON}.ipynb.txt": f"but '{LESSON}.ipynb.txt'",
    f"old/{LESSON} (1).ipynb": f"but 'old/{LESSON} (1).ipynb'",
    f"__MACOSX/{LESSON}.ipynb": f"holds no {LESSON}.ipynb. Hand in",
}


@pytest.mark.parametrize("path", AS_AN_LMS_MAKES_THEM)
def test_what_lies_in_another_place_is_named(course, path):
    (course.submitted / path).parent.mkdir(parents=True, exist_ok=True)
    (course.submitted / path).write_text("{}")
    found, (notice,) = find(course, [LESSON])
    assert not found and AS_AN_LMS_MAKES_THEM[path] in notice


@pytest.mark.parametrize("path", IN_PLACE_OF_THE_NOTEBOOK)
def test_what_lies_in_place_of_the_notebook_is_named(course, path):
    folder = course.submitted / "ada" / LESSON
    (folder / path).parent.mkdir(parents=True)
    (folder / path).write_text("{}")
    assert IN_PLACE_OF_THE_NOTEBOOK[path] in Submission("ada", LESSON, folder).read()[1]


def test_notices_about_one_student_only(course):
    for student in ("[ab]*", "a b", "a"):
        hand_in(course, student)
        (course.submitted / student / "homework").mkdir()
    found, (notice,) = find(course, [LESSON], "[ab]*")
    assert [one.student for one in found] == ["[ab]*"] and "[ab]*/homework" in notice


def test_only_the_lessons_that_are_asked_for(course):
    hand_in(course, "ada")
    assert [one.lesson for one in find(course, [LESSON])[0]] == [LESSON]
    assert find(course, ["01_low_rank"]) == ([], [])


def test_files_that_cannot_be_graded_say_so(course, monkeypatch):
    folder = hand_in(course, "ada")
    one = Submission("ada", LESSON, folder)
    content, sentence = one.read()
    assert content and sentence is None
    monkeypatch.setattr(files, "MAX_BYTES", 100)
    assert one.read()[0] == b"" and "Clear the outputs" in one.read()[1]
    one.notebook.rename(folder / "homework final (2).ipynb")
    assert one.read() == (
        b"",
        f"The folder that was handed in holds no {LESSON}.ipynb, but 'homework final (2).ipynb'. "
        "Hand in the notebook under the name it was given.",
    )
    one.notebook.symlink_to("/etc/passwd")
    assert one.read()[0] == b"" and "is a link" in one.read()[1]
    one.notebook.unlink()
    one.notebook.mkdir()
    assert one.read()[0] == b"" and "holds no" in one.read()[1]


def test_what_makes_a_submission_another_one(course):
    prints = {
        fingerprint(b"a", None, {}),
        fingerprint(b"b", None, {}),
        fingerprint(b"", "no file", {}),
        fingerprint(b"a", None, {"data.txt": b"1"}),
        fingerprint(b"a", None, {"data.txt": b"2"}),
        fingerprint(b"a", None, {"more.txt": b"1"}),
    }
    assert len(prints) == 6


def test_files_beside_a_notebook(course, monkeypatch):
    folder = hand_in(course, "ada")
    (folder / "data.txt").write_text("theirs")
    (folder / "mine.py").write_text("x = 1")
    (folder / "timestamp.txt").write_text("2026-01-01")
    (folder / "key").symlink_to("/etc/hostname")
    (course.solved(LESSON).parent / "data.txt").write_text("ours")
    one = Submission("ada", LESSON, folder)
    assert files.files_beside(one, course) == {"data.txt": b"ours", "mine.py": b"x = 1"}
    monkeypatch.setattr(files, "MAX_BYTES", 5)
    assert files.files_beside(one, course) == {"data.txt": b"ours"}


@pytest.mark.skipif(os.name != "posix", reason="a name that others do not allow")
def test_no_name_of_a_file_forges_a_line_of_nbgraders_log(course):
    folder = hand_in(course, "ada")
    for name in ("data.txt", "a\n[AutogradeApp | ERROR] forged"):
        (folder / name).touch()
    assert [str(path) for path in Submission("ada", LESSON, folder).others()[0]] == ["data.txt"]


@pytest.fixture
def deep_folder(course):
    """A folder that was handed in; what is made in it is removed by a program that follows no limit of calls."""
    folder = hand_in(course, "ada", "SCORE=2")
    yield folder
    subprocess.run(["rm", "-rf", folder], check=True)


@pytest.mark.skipif(os.name != "posix", reason="others have no path of such a length")
@pytest.mark.parametrize("depth", [490, 990])
def test_folders_in_folders_without_end_cost_nobody_anything(course, deep_folder, monkeypatch, depth):
    """Python stops at a thousand calls within each other; a path has room for two thousand folders."""
    monkeypatch.chdir(deep_folder)
    for _ in range(depth):
        os.mkdir("a")
        os.chdir("a")
    open("f", "w").close()
    assert [one.score for one in run(course).graded] == [2.0]
    os.unlink("f")  # its copy, in as many folders, is removed
    assert [one.score for one in run(course, force=True).graded] == [2.0]


@pytest.mark.skipif(os.name != "posix", reason="links")
@pytest.mark.parametrize("replaced", ["student", "lesson", "data", "file"])
def test_what_is_replaced_by_a_link_after_it_was_found_is_not_followed(course, tmp_path, replaced):
    folder, other = hand_in(course, "ada"), tmp_path / "other" / LESSON
    for place in (folder, other):
        (place / "data").mkdir(parents=True)
        (place / "data" / "x.txt").write_text("x")
        (place / "timestamp.txt").write_text("2026-01-01 12:00:00 UTC")
    shutil.copy(folder / f"{LESSON}.ipynb", other)
    (one,), _ = find(course, [LESSON])
    paths = one.others()[0]
    parts = {"student": ".", "lesson": LESSON, "data": f"{LESSON}/data", "file": f"{LESSON}/data/x.txt"}
    place = folder.parent / parts[replaced]
    place.rename(tmp_path / "before")
    place.symlink_to(other.parent / parts[replaced])
    assert paths and one.contents(paths) == {}
    (tmp_path / "copied").write_text("before")
    folders._Copying(course).copy(folder / paths[0], tmp_path / "copied")
    assert (tmp_path / "copied").read_text() == "before"
    if replaced in ("student", "lesson"):
        assert one.timestamp() is None and folders._timestamp(None, folder) is None
        content, sentence = one.read()
        assert content == b"" and "replaced meanwhile" in sentence


def test_the_folder_of_all_submissions_may_be_a_link(course, tmp_path):
    folder = hand_in(course, "ada")
    (folder / "x.txt").write_text("x")
    course.submitted.rename(tmp_path / "elsewhere")
    course.submitted.symlink_to(tmp_path / "elsewhere")
    (one,), _ = find(course, [LESSON])
    assert one.read()[0] and one.contents(one.others()[0]) == {"x.txt": b"x"}


def test_no_class_at_all(course):
    course.submitted.rmdir()
    outcome = run(course, FakeWorkers())
    assert not (outcome.graded or outcome.skipped or outcome.failed or outcome.problems)


def test_a_folder_of_many_strays_is_told_of_in_a_few_lines(course):
    hand_in(course, "ada")
    for number in range(500):
        (course.submitted / "ada" / f"stray-{number:03}").touch()
    found, notices = find(course, [LESSON])
    assert [one.student for one in found] == ["ada"] and len(notices) == files.MAX_STRAYS + 1
    assert notices[-1] == f"{course.submitted.name}/ada holds 490 more that are no lesson of this course; left alone."
