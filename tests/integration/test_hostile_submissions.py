"""Whatever was handed in, and whatever the work on it comes to: it costs that submission alone, at both doors."""

import sys

import nbformat
import pytest
from hostile import CODE, ENDS, FILES
from nbgrader.api import Gradebook
from nbgrader.apps.api import NbGraderAPI
from nbgrader.coursedir import CourseDirectory
from small_class import LESSON, RIGHT, hand_in, make_course, run

from autograde.authoring import release
from autograde.batch.local_workers import LocalWorkers
from autograde.notebook.cells import METADATA
from autograde.submission.client import SHARED

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore:Object of type <Submitted")]


def test_nothing_handed_in_costs_a_neighbour_anything(tmp_path):
    course = make_course(tmp_path / "course")
    hand_in(course, "zoe", RIGHT)  # after all of them
    for name, source in CODE.items():
        hand_in(course, name, f"{source}\n{RIGHT}")
    for name, source in ENDS.items():
        hand_in(course, name, f"{RIGHT}\n{source}")
    for name, content in FILES.items():
        (hand_in(course, name) / f"{LESSON}.ipynb").write_text(content(course), encoding="utf-8")
    outcome = run(course, LocalWorkers(course, 1, False))
    results = {result.student: result for result in outcome.graded}
    assert not outcome.failed and set(results) == {"zoe", *CODE, *ENDS, *FILES}
    assert {name: results[name].score for name in ("zoe", *CODE)} == dict.fromkeys(["zoe", *CODE], 2.0)
    for name, result in results.items():
        graded = course.autograded / name / LESSON / f"{LESSON}.ipynb"
        assert graded.stat().st_size < 2 * 2**20, name
        assert len(result.message) < 700 and result.cells
        nbformat.validate(nbformat.read(graded, as_version=4))


# What the work on a submission may come to, whatever in it is at fault: as a change to the grading process.
FAULTS = """
import os, signal, sys
from autograde.submission import grade_submission, grading_process

class Odd(BaseException):
    pass

def deeper(n):
    return deeper(n + 1) + [n]

def fault(content):
    if b"RAISES" in content:
        raise KeyError("no such thing")
    if b"ODD" in content:
        raise Odd("\\ud800")
    if b"EXITS" in content:
        sys.exit(0)
    if b"VANISHES" in content:
        os._exit(0)
    if b"MEMORY" in content:
        bytearray(2**36)
    if b"LOOPS" in content:
        while True:
            pass
    if b"KILLED" in content or (b"STRUCK" in content and not os.path.exists("struck")):
        open("struck", "w").close()
        os.kill(os.getpid(), signal.SIGKILL)
    if b"CRASHES" in content:
        os.kill(os.getpid(), signal.SIGSEGV)
    if b"DEEP" in content:
        deeper(0)

def grade_one(question, content, files, open_session, real=grade_submission.grade_one):
    if open_session:
        fault(content)
    return real(question, content, files, open_session)

grade_submission.grade_one = grade_one
grading_process.CPU_SECONDS = 3
grading_process.main()
"""
WORDS = {
    "RAISES": "KeyError", "ODD": "Odd", "EXITS": "SystemExit", "VANISHES": "fault", "MEMORY": "memory",
    "LOOPS": "time", "KILLED": "signal 9", "CRASHES": "signal 11", "DEEP": "RecursionError",
}  # fmt: skip


def test_whatever_ends_the_work_on_a_submission_is_said_and_ends_nothing_else(tmp_path):
    course = make_course(tmp_path / "course")
    for name in WORDS:
        hand_in(course, name, f"{RIGHT}\n# {name}")
    hand_in(course, "ada", f"{RIGHT}\n# STRUCK")  # from outside, once
    hand_in(course, "zoe", RIGHT)
    workers = LocalWorkers(course, 1, False)
    workers.graders[0].command = [sys.executable, "-c", FAULTS]
    outcome = run(course, workers)
    said = {result.student: result.message for result in outcome.graded}
    assert not outcome.failed and said.pop("ada") == said.pop("zoe") == ""
    assert (course.root / "struck").exists()
    for name, sentence in said.items():
        assert sentence.startswith("This submission could not be graded, because") and WORDS[name] in sentence, sentence
    assert {result.student: result.score for result in outcome.graded} == dict.fromkeys(WORDS, 0.0) | {
        "ada": 2.0,
        "zoe": 2.0,
    }
    notebook = nbformat.read(course.autograded / "RAISES" / LESSON / f"{LESSON}.ipynb", as_version=4)
    assert "could not be graded" in notebook.metadata[METADATA]["unreadable"]
    assert "could not be graded" in str(notebook.cells)


def test_nbgraders_own_door_goes_the_same_way(tmp_path):
    course = make_course(tmp_path / "course")
    hand_in(course, "json", f"{CODE['json_that_is_a_number']}\n{RIGHT}")
    for name in ("digits_of_a_character", "deep_json", "format_of_many_letters"):
        (hand_in(course, name) / f"{LESSON}.ipynb").write_text(FILES[name](course), encoding="utf-8")
    config = release.config(course)
    api = NbGraderAPI(CourseDirectory(config=config), config=config)
    try:
        for student in ("json", "digits_of_a_character", "deep_json", "format_of_many_letters"):
            said = api.autograde(LESSON, student)
            assert said["success"], said
    finally:
        SHARED.close()
    with Gradebook(api.coursedir.db_url, "lora") as book:
        scores = {name: book.find_submission(LESSON, name).score for name in ("json", "deep_json")}
    assert scores == {"json": 2.0, "deep_json": 0.0}
