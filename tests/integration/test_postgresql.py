"""A gradebook in PostgreSQL: a real server, made for the test and ended with it."""

import os
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from small_class import LESSON, hand_in, make_course, run
from sqlalchemy import create_engine, text

from autograde.nbgrader_plugin import marks
from autograde.nbgrader_plugin.config import load

ROOT_USER = os.name == "posix" and os.geteuid() == 0


def _programs():
    found = shutil.which("initdb")
    places = [Path(found).resolve().parent] if found else sorted(Path("/usr/lib/postgresql").glob("*/bin"))
    return next((place for place in reversed(places) if (place / "initdb").exists()), None)


def _as_postgres(command):
    # The server refuses to run as root.
    return ["runuser", "-u", "postgres", "--", *command] if ROOT_USER else command


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """The URL of an empty database."""
    pytest.importorskip("psycopg", reason="no PostgreSQL driver: pip install 'psycopg[binary]'")
    programs = _programs()
    if programs is None:
        pytest.skip("no PostgreSQL server here: apt install postgresql")
    folder = Path(f"/tmp/autograde-postgres-{os.getpid()}")  # a short path that its user may enter
    folder.mkdir(mode=0o777)
    folder.chmod(0o777)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    try:
        made = subprocess.run(
            _as_postgres([str(programs / "initdb"), "-D", str(folder / "data"), "-A", "trust", "-U", "lora", "--no-sync"]),
            capture_output=True, text=True, cwd="/",
        )  # fmt: skip
        if made.returncode:
            pytest.skip(f"no PostgreSQL server can be made here: {made.stderr.strip()[-200:]}")
        process = subprocess.Popen(
            _as_postgres([str(programs / "postgres"), "-D", str(folder / "data"), "-p", str(port), "-k", str(folder),
                          "-c", "listen_addresses=127.0.0.1", "-c", "fsync=off"]),
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd="/",
        )  # fmt: skip
        try:
            url = f"postgresql+psycopg://lora:secret@127.0.0.1:{port}/postgres"
            _wait_for(url, process)
            yield url
        finally:
            process.terminate()
            process.wait(600)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _wait_for(url, process, seconds=600):
    until = time.monotonic() + seconds
    while True:
        try:
            with create_engine(url).connect():
                return
        except Exception:
            assert process.poll() is None and time.monotonic() < until, "the server did not start"
            time.sleep(0.2)


def _ask(url, query):
    engine = create_engine(url)
    with engine.connect() as connection:
        found = [tuple(row) for row in connection.execute(text(query))]
    engine.dispose()
    return sorted(found)


SCORES = """select s.student_id, c.name, auto_score, needs_manual_grade, s.timestamp is not null from grade
    join base_cell c on c.id = cell_id join submitted_notebook n on n.id = grade.notebook_id
    join submitted_assignment s on s.id = n.assignment_id"""


def test_a_class_is_entered_and_entered_again(server, tmp_path):
    course = make_course(tmp_path / "course")
    config = course.root / "nbgrader_config.py"
    config.write_text(config.read_text() + f"\nc.CourseDirectory.db_url = {server!r}\n")
    students = [f"student-{number:03}" for number in range(130)] + ["名前", "o'brien"]
    for student in students:
        hand_in(course, student, "SCORE=1.5")
    (course.submitted / "o'brien" / LESSON / "timestamp.txt").write_text("2026-02-28 23:00 UTC")
    assert load(course).db_url == server
    outcome = run(course)
    assert len(outcome.graded) == len(students) and not outcome.problems
    expected = sorted((student, "check_linear_by_hand", 1.5, False, student == "o'brien") for student in students)
    assert _ask(server, SCORES) == expected
    hand_in(course, "student-007", "SCORE=2")
    again = run(course)
    assert len(again.graded) == 1 and not again.problems
    assert ("student-007", "check_linear_by_hand", 2.0, False, False) in _ask(server, SCORES)
    assert len(_ask(server, SCORES)) == len(students)
    assert _ask(server, "select count(*) from alembic_version") == [(1,)]
    read = marks.read(load(course), [LESSON])
    assert read.max_scores == {LESSON: 2.0} and set(read.emails) == set(students)
    assert {student: mark.score for student, mark in read.of[LESSON].items() if mark.score != 1.5} == {
        "student-007": 2.0
    }


def test_a_server_that_is_gone_costs_no_result_and_no_password(server, tmp_path):
    course = make_course(tmp_path / "course")
    hand_in(course, "ada", "SCORE=2")
    port = server.rsplit(":", 1)[1].split("/")[0]
    outcome = run(course, db=server.replace(f":{port}/", ":1/"))
    assert len(outcome.graded) == 1
    assert "See that the database server is running" in outcome.problems[0]
    assert "secret" not in outcome.problems[0]
    assert not run(course).problems


def test_without_the_driver_it_says_what_to_install(tmp_path, monkeypatch):
    course = make_course(tmp_path / "course")
    hand_in(course, "ada", "SCORE=2")
    monkeypatch.setitem(sys.modules, "psycopg", None)
    outcome = run(course, db="postgresql+psycopg://lora@127.0.0.1:1/postgres")
    assert len(outcome.graded) == 1
    assert "pip install 'psycopg[binary]'" in outcome.problems[0]
