"""Folders as a hostile student or a careless archive leaves them: both doors grade everybody else, and say what is there."""

import copy
import os

import nbformat
import pytest
from sample_course import LESSON, POINTS, RIGHT, copy_of, hand_in, plant, run, scores

from autograde.submission import files

pytestmark = [pytest.mark.slow, pytest.mark.skipif(os.name != "posix", reason="pipes and links")]

HONEST = ["aaron", "Nguye\u0302\u0303n", "Doe Jane [12345]", "[ab]*", "a b", "--force", "~", "-anna", "+49", "zoe"]
SAYS = {  # what both doors say of each
    "folder_as_notebook": "but a folder of that name",
    "pipe_as_notebook": "but a pipe of that name",
    "sparse": "Clear the outputs",
    "zipped": "the archive 'work.zip'",
    "nested": "it is deeper, in",
    "text": f"but '{LESSON}.ipynb.txt'",
    "name_of_lesson": "the notebook of another lesson",
    "format": "its format is",
    "zero\u200bwidth": "invisible characters",
    "zoe\u3164": "invisible characters",
    "<img src=x onerror=alert(1)>": "could take for markup",
    "=1+cmd|' C'!A0": "takes for a formula",
    "@SUM(1)": "takes for a formula",
    "__proto__": "a part of JavaScript",
    "constructor": "a part of JavaScript",
    "-2+3+cmd|' C'!A0": "takes for a formula",
    "ada;=cmd|' C'!A0": "takes for a formula",
    "ada; @SUM(1)": "takes for a formula",
    "\u00a0": "a name of blanks",
    "Z" + "\u0301" * 60: "more than 4 marks",
    "esc\x1b]0;title\x07": "control or invisible characters",
}
MISPLACED = (  # by the program that collected the work: each is named by both doors, in the same words
    "all.zip",
    f"jane_123_{LESSON}.ipynb",
    f"moodle/{LESSON}.ipynb",
    f"packed/{LESSON}.tar.gz",
    f"twice/twice/{LESSON}/{LESSON}.ipynb",
)
RUN_BY_PROGRAMS = (
    "nbgrader_config.py", "jupyter_config.py", "jupyter_nbconvert_config.py", "sitecustomize.py", "autograde.py",
    "nbgrader.py", "alembic.py",
)  # fmt: skip
ODD_BUT_GRADED = {
    "folder_as_time": files.NO_DATE,
    "pipe_as_time": files.NO_DATE,
    "word_as_time": files.NO_DATE,
    "overflowing_time": files.NO_DATE,
    "many_digits_as_time": files.NO_DATE,
    "year_one": files.NO_DATE,
    "many_files": "1,000 files",
    "sparse_beside": "64 MB",
    "pipe_beside": None,
    "undecodable_beside": None,
    "deep_beside": None,
    "folder_as_page": None,
    "page_beside": None,
    "commands_the_terminal": None,
    "a_course_of_its_own": None,
    "lesson_files_shadowed": None,
}


def lay(course, name, answered):
    folder = hand_in(course, name, answered).parent
    notebook = folder / f"{LESSON}.ipynb"
    time = folder / "timestamp.txt"
    match name:
        case "folder_as_notebook":
            notebook.unlink()
            notebook.mkdir()
            (notebook / "data.txt").write_text("x")
        case "pipe_as_notebook":
            notebook.unlink()
            os.mkfifo(notebook)
        case "sparse":
            os.truncate(notebook, 2**31)
        case "zipped":
            notebook.rename(folder / "work.zip")
        case "nested":
            (folder / LESSON).mkdir()
            notebook.rename(folder / LESSON / notebook.name)
        case "text":
            notebook.rename(folder / f"{notebook.name}.txt")
        case "name_of_lesson":
            notebook.write_text('{"cells": [{"cell_type": "raw", "source": "x", "metadata": {}}], "nbformat": 4, '
                                '"metadata": {"autograde": {"lesson": "\\u001b]0;title\\u0007"}}}')  # fmt: skip
        case "format":
            notebook.write_text('{"cells": [], "nbformat": "\\u001b]52;c;x\\u0007"}')
        case "folder_as_time":
            time.mkdir()
        case "pipe_as_time":
            os.mkfifo(time)
        case "word_as_time":
            time.write_text("yesterday, I think")
        case "overflowing_time":
            time.write_text("99999999999999999999999999")
        case "many_digits_as_time":  # dateutil raises what it does not promise
            time.write_text("12:" + "1" * 70)
        case "year_one":
            time.write_text("0001-01-02 00:00:00 Etc/GMT-14")
        case "undecodable_beside":
            (folder / os.fsdecode(b"a\xff\x1b]0;title\x07.txt")).touch()
        case "deep_beside":
            (folder / "/".join(["d" * 200] * 15)).mkdir(parents=True)
            (folder / "/".join(["d" * 200] * 15) / "a.txt").touch()
        case "folder_as_page":
            (folder / f"{LESSON}.html").mkdir()
            (folder / f"{LESSON}.html" / "x.txt").touch()
        case "page_beside":
            (folder / f"{LESSON}.html").write_text("<script>theirs</script>")
        case "commands_the_terminal":
            shouts = copy.deepcopy(answered)
            name, said = "\x1b]0;title\x07\nE", "\x1b[2J\r\x9b31m\u202e"
            for source in (
                f"type({name!r}, (Exception,), {{}})",
                "'\\\x1b]0;title\x07'\n1 is 1\nassert (1, '\x1b[2J')",
            ):
                shouts.cells.insert(
                    0, nbformat.v4.new_code_cell(f"raise {source}({said!r})" if "type" in source else source)
                )
            nbformat.write(shouts, notebook)
        case "a_course_of_its_own":  # whose configuration a command would run that looked for the course from here
            for place in (folder, folder.parent):
                (place / "pyproject.toml").write_text("[project]\nname = 'theirs'\n")
                for file in RUN_BY_PROGRAMS:
                    (place / file).write_text(f"open({str(course.root / 'ran')!r}, 'w').close()\n")
        case "many_files":
            for i in range(20_000):
                (folder / f"{i}.txt").touch()
        case "sparse_beside":
            (folder / "big.bin").touch()
            os.truncate(folder / "big.bin", 2**31)
        case "pipe_beside":
            os.mkfifo(folder / "pipe.txt")
        case "lesson_files_shadowed":
            (folder / "data.txt").mkdir()
            (folder / "data.txt" / "x").write_text("theirs")


@pytest.fixture(scope="module")
def course(sample, tmp_path_factory):
    course = copy_of(sample, tmp_path_factory.mktemp("class") / "course")
    (course.solved(LESSON).parent / "data.txt").write_text("ours")
    answered = plant(nbformat.read(course.release(LESSON), as_version=4), RIGHT)
    for student in [*HONEST, *SAYS, *ODD_BUT_GRADED]:
        lay(course, student, answered)
    for path in MISPLACED:
        (course.submitted / path).parent.mkdir(parents=True, exist_ok=True)
        nbformat.write(answered, course.submitted / path)
    return course


def check(course, handed_in, log):
    assert not (handed_in.root / "ran").exists(), "code that was handed in has run outside the sandbox"
    for student in [*HONEST, *ODD_BUT_GRADED]:
        assert scores(course, student) == POINTS, student
    flat = " ".join(log.split())
    for student, words in (SAYS | ODD_BUT_GRADED).items():
        assert words is None or words in flat, (student, flat[-3000:])
    for notice in files.find(course, [LESSON])[1]:
        assert " ".join(notice.split()) in flat
    assert "\x1b" not in log and "\x07" not in log and "\u200b" not in log
    graded = course.autograded
    assert (graded / "lesson_files_shadowed" / LESSON / "data.txt").read_text() == "ours"
    assert not (graded / "pipe_beside" / LESSON / "pipe.txt").exists()
    assert len(list((graded / "many_files" / LESSON).iterdir())) <= 2


def test_our_door(course, tmp_path):
    handed_in, course = course, copy_of_class(course, tmp_path / "course")
    log = run(course, "autograde", "grade", "--jobs", "2")
    check(course, handed_in, log)
    run(course, "autograde", "report")
    page = (course.autograded.parent / "report.html").read_text(encoding="utf-8")
    assert "<bdi>moodle</bdi>" in page and "<bdi>Doe Jane [12345]</bdi>" in page and "onerror" not in page


def test_nbgraders_door(course, tmp_path):
    handed_in, course = course, copy_of_class(course, tmp_path / "course")
    log = run(course, "nbgrader", "autograde", LESSON)
    check(course, handed_in, log)
    log = run(course, "nbgrader", "generate_feedback", LESSON)
    assert not (handed_in.root / "ran").exists()
    for student in [*HONEST, *ODD_BUT_GRADED]:
        assert "theirs" not in (course.feedback / student / LESSON / f"{LESSON}.html").read_text(encoding="utf-8"), log[
            -3000:
        ]


def copy_of_class(course, folder):
    """A copy that shares what was handed in: pipes and sparse files are not for copying."""
    made = copy_of(course, folder, without=[course.submitted.name])
    made.submitted.symlink_to(course.submitted)
    return made
