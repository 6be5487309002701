"""A course whose folder has a name that means something to shells, in URLs and in format strings: every command works."""

import os
import shutil
import sqlite3
import subprocess
import sys
from configparser import ConfigParser
from pathlib import Path

import pytest
from nbgrader import dbutil
from small_class import LESSON, RIGHT, hand_in

from autograde.nbgrader_plugin import percent
from autograde.project import Course

ROOT = Path(__file__).parents[2]
NAME = 'a course\'s "copy" %20 ?#&;'


@pytest.fixture(scope="module")
def course(tmp_path_factory):
    folder = tmp_path_factory.mktemp("odd") / NAME
    skipped = shutil.ignore_patterns("__pycache__", "gradebook.db*", "submitted", "autograded", "feedback")
    for name in ("autograde", "lora_ref"):
        shutil.copytree(ROOT / name, folder / name, ignore=skipped)
    for name in ("nbgrader_config.py", "pyproject.toml"):
        shutil.copy(ROOT / name, folder)
    for kind in ("solutions", "notebooks"):
        shutil.copytree(ROOT / kind / LESSON, folder / kind / LESSON)
    shutil.copy(ROOT / "solutions" / f"{LESSON}.py", folder / "solutions")
    course = Course(folder)
    hand_in(course, "ada", RIGHT)
    return course


def run(course, *words):
    path = os.path.dirname(sys.executable) + os.pathsep + os.environ["PATH"]
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"} | {"PATH": path}
    done = subprocess.run(
        [sys.executable, "-m", *words], cwd=course.root, env=environment, capture_output=True, text=True, timeout=900
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    return done.stdout + done.stderr


def test_grade_and_report(course):
    assert "1 graded, 0 skipped, 0 failed" in run(course, "autograde", "grade", LESSON)
    with sqlite3.connect(course.root / "autograde" / "gradebook.db") as book:
        assert book.execute("select sum(auto_score) from grade").fetchone() == (2.0,)
    assert str(course.root) in run(course, "autograde", "report")
    assert "ada" in (course.root / "autograde" / "report.html").read_text(encoding="utf-8")


@pytest.mark.slow
def test_build(course):
    assert f"{LESSON}: in step (executed)" in run(course, "autograde", "build", "--check", "--all", LESSON)


@pytest.mark.slow
def test_nbgraders_own_commands_make_and_use_the_gradebook(course):
    (course.root / "autograde" / "gradebook.db").unlink(missing_ok=True)
    run(course, "nbgrader", "generate_assignment", LESSON, "--force")
    run(course, "nbgrader", "autograde", LESSON, "--force")
    run(course, "nbgrader", "generate_feedback", LESSON, "--force")
    with sqlite3.connect(course.root / "autograde" / "gradebook.db") as book:
        assert book.execute("select sum(auto_score) from grade").fetchone() == (2.0,)
    assert (course.root / "autograde" / "feedback" / "ada" / LESSON / f"{LESSON}.html").exists()


def test_a_percent_sign_in_the_path_of_nbgrader_itself(tmp_path, monkeypatch):
    """As in a .venv within the course's folder: alembic reads the paths that nbgrader was given."""
    monkeypatch.setattr(dbutil, "ALEMBIC_DIR", "/a%20b/alembic")
    percent.write_alembic_ini(str(tmp_path / "alembic.ini"), "sqlite:////a%2520b/gradebook.db")
    read = ConfigParser()
    read.read(tmp_path / "alembic.ini")
    assert read["alembic"]["script_location"] == "/a%20b/alembic"
    assert read["alembic"]["sqlalchemy.url"] == "sqlite:////a%2520b/gradebook.db"
    assert dbutil.ALEMBIC_DIR == "/a%20b/alembic"
