"""A course on another subject, with folders of its own choosing, from its source to marks in a gradebook, by both doors."""

import itertools
import re
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


FILES = re.compile(r"^```(?:toml|python)\n# (\S+)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
GUIDE = ROOT / "docs" / "another_course.md"
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


def as_written(folder):
    """The course of docs/another_course.md, made of the files on that page."""
    files = dict(FILES.findall(GUIDE.read_text(encoding="utf-8")))
    assert list(files) == ["pyproject.toml", "nbgrader_config.py", "lessons/01_area.py", "geometry_checks/area.py"]
    empty = ["geometry_checks/__init__.py", "geometry_probes/__init__.py"]
    for name, text in (files | dict.fromkeys(empty, "")).items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8")
    return Course(folder)


@pytest.fixture(scope="module")
def guided(tmp_path_factory):
    """That course after its commands, with two submissions."""
    course = as_written(tmp_path_factory.mktemp("guided"))
    commands = GUIDE.read_text(encoding="utf-8").rpartition("```\nmkdir")[2].partition("```")[0]
    mkdir, build, *then = [line.partition("#")[0].split() for line in f"mkdir{commands}".splitlines()]
    assert (mkdir, build) == (["mkdir", "class"], ["autograde", "build"])
    run(course, *mkdir)
    run(course, *build)
    released = nbformat.read(course.release("01_area"), as_version=4)
    for student, formula in (("ada", "width + height"), ("bob", "height * width")):
        area = {"area": f"def area(width, height):\n    return {formula}"}
        hand_in(course, student, plant(released, area), "01_area")
    for command in then:
        run(course, *command)
    return course


def test_the_course_of_the_guide_comes_to_marks_by_its_commands(guided):
    with Gradebook(guided.config.CourseDirectory.db_url, "geometry") as book:
        scores = {s: book.find_submission_notebook("01_area", "01_area", s).score for s in ("ada", "bob")}
    assert scores == {"ada": 0.0, "bob": 2.0}
    assert "sides_added" in (guided.root / "class" / "report.html").read_text(encoding="utf-8")
    page = (guided.root / "class" / "pages" / "ada" / "01_area" / "01_area.html").read_text(encoding="utf-8")
    assert "The area is the sum of the two sides." in page


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on PATH")
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_its_pages_can_be_read_on_a_telephone_and_by_a_screen_reader(guided, scheme):
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 390, "height": 800}, color_scheme=scheme)
        for path in ("class/report.html", "class/pages/ada/01_area/01_area.html"):
            page.goto((guided.root / path).as_uri())
            assert page.evaluate("document.documentElement.scrollWidth") <= 390, path
            assert page.evaluate("document.documentElement.lang") == "en"
            levels = page.evaluate("[...document.querySelectorAll('h1, h2, h3, h4')].map(it => +it.tagName[1])")
            steps = [after - before for before, after in itertools.pairwise([0, *levels])]
            assert levels[0] == 1 and max(steps) == 1, levels
        assert page.locator("#toc a").all_inner_texts() == ["area"]
        cut_off = (
            "it => it.getBoundingClientRect().right > it.closest('.output_area').getBoundingClientRect().right + 1"
        )
        reports = page.locator(".output_html table")
        assert reports.count() == 1 and not reports.first.evaluate(cut_off), "no part of the report is cut off"
        summary = "document.body.appendChild(document.createElement('summary'))"
        assert page.evaluate(f"getComputedStyle({summary}).display") == "list-item", (
            "hints show that they can be opened"
        )
        browser.close()


@pytest.mark.parametrize("package", ["geometry_checks", "geometry_probes"])
@pytest.mark.parametrize("whole", [False, True], ids=["its entrance", "all of it"])
def test_a_package_that_is_not_there_is_named_by_every_command_that_needs_it(guided, tmp_path, package, whole):
    course = Course(shutil.copytree(guided.root, tmp_path / "course"))
    shutil.rmtree(course.root / package) if whole else (course.root / package / "__init__.py").unlink()
    for words, code in (("build", 1), ("grade --force", 2), ("progress", 2), ("check lessons/01_area.py", 2)):
        said = run(course, "autograde", *words.split(), code=code)
        assert f"names the package {package}" in said and f"{package}/__init__.py" in said and "Traceback" not in said
