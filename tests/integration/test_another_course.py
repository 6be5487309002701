"""A course on another subject, with folders of its own choosing, from its source to marks in a gradebook, by both doors."""

import shutil

import nbformat
import pytest
from nbgrader.api import Gradebook
from sample_course import LESSON, POINTS, RIGHT, ROOT, hand_in, plant, run

from autograde.project import Course

pytestmark = pytest.mark.slow

CONFIG = """
import os
from autograde.nbgrader_plugin.config import configure

c = get_config()
ROOT = os.path.dirname(os.path.abspath(__file__))
configure(c, ROOT)
c.CourseDirectory.course_id = "arithmetic"
c.CourseDirectory.source_directory = "lessons"
c.CourseDirectory.release_directory = "handout"
c.CourseDirectory.submitted_directory = "class/inbox"
c.CourseDirectory.autograded_directory = "class/marked"
c.CourseDirectory.feedback_directory = "class/pages"
c.CourseDirectory.db_url = "sqlite:///" + os.path.join(ROOT, "class", "marks.db")
"""


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """The course after `autograde build`, and the work of one student who is right in all but one exercise."""
    folder = tmp_path_factory.mktemp("another") / "course"
    shutil.copytree(ROOT / "tests" / "second_course", folder, ignore=shutil.ignore_patterns("__pycache__"))
    (folder / "solutions").rename(folder / "lessons")
    (folder / "nbgrader_config.py").write_text(CONFIG, encoding="utf-8")
    (folder / "class").mkdir()
    course = Course(folder)
    assert f"{LESSON}: built" in run(course, "autograde", "build")
    run(course, "autograde", "build", "--check")
    assert (folder / "handout" / LESSON / f"{LESSON}.ipynb").exists()
    released = nbformat.read(course.release(LESSON), as_version=4)
    hand_in(course, "ada", plant(released, RIGHT | {"total": "def total(x):\n    return x.mean()"}))
    assert (folder / "class" / "inbox" / "ada" / LESSON / f"{LESSON}.ipynb").exists()
    return folder


@pytest.mark.parametrize("door", [("autograde", "grade", "--jobs", "1"), ("nbgrader", "autograde", LESSON)])
def test_from_source_to_marks(built, tmp_path, door):
    course = Course(shutil.copytree(built, tmp_path / "course"))
    run(course, *door)
    with Gradebook(course.config.CourseDirectory.db_url, "arithmetic") as book:
        grades = book.find_submission_notebook(LESSON, LESSON, "ada").grades
        assert {grade.name.removeprefix("check_"): grade.score for grade in grades} == POINTS | {"total": 0.0}
    run(course, "nbgrader", "generate_feedback", LESSON)
    run(course, "autograde", "report")
    assert (course.root / "class" / "pages" / "ada" / LESSON / f"{LESSON}.html").exists()
    assert (course.root / "class" / "report.html").exists()
    made = {path.name for path in course.root.iterdir()} - {"__pycache__", ".nbgrader.log"}
    assert made == {path.name for path in built.iterdir()} - {"__pycache__", ".nbgrader.log"}, (
        "and nothing lies elsewhere"
    )
