"""`autograde site`: the reading edition as static pages, of this course and of bad ones."""

import re
import shutil
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import urlsplit

import nbformat
import pytest
from click.testing import CliRunner
from sample_course import ROOT

from autograde.authoring import site
from autograde.cli import main
from autograde.project import Course, CourseError

LESSONS = ("00_start_here", "03_two_thin_products")


class Page(HTMLParser):
    """The links, pictures and names of elements in a page."""

    def __init__(self, text):
        super().__init__()
        self.links, self.pictures, self.elements = [], [], set()
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.elements.add(tag)
        if tag == "a" and dict(attrs).get("href"):
            self.links.append(dict(attrs)["href"])
        if tag == "img":
            self.pictures.append(dict(attrs))


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    """``{file name: Page}`` of the site of this course."""
    folder = tmp_path_factory.mktemp("site") / "pages"
    site.write(Course(ROOT), folder)
    return {path.name: Page(path.read_text(encoding="utf-8")) for path in folder.iterdir()}


@pytest.fixture
def course(tmp_path):
    """A course of two lessons."""
    for name in ("nbgrader_config.py", "pyproject.toml"):
        shutil.copy(ROOT / name, tmp_path)
    for lesson in LESSONS:
        notebook = nbformat.read(Course(ROOT).solved(lesson), as_version=4)
        notebook.cells = [cell for cell in notebook.cells if "](../" not in cell.source]  # no link to a third lesson
        Course(tmp_path).solved(lesson).parent.mkdir(parents=True)
        nbformat.write(notebook, Course(tmp_path).solved(lesson))
    return Course(tmp_path)


def test_lessons_are_dark_where_the_list_of_them_is(course, tmp_path):
    site.write(course, tmp_path / "pages")
    dark = '<style media="screen and (prefers-color-scheme: dark)"'
    for lesson in LESSONS:
        page = (tmp_path / "pages" / f"{lesson}.html").read_text(encoding="utf-8")
        assert page.count(dark) == 1 and page.index("--jp-layout-color0: white") < page.index(dark)
        assert "--jp-layout-color0: #111;" in page.partition(dark)[2]
    assert "color-scheme: light dark" in (tmp_path / "pages" / site.INDEX).read_text(encoding="utf-8")


def change(course, lesson, source):
    """Add a text cell to a lesson's solved notebook."""
    notebook = nbformat.read(course.solved(lesson), as_version=4)
    notebook.cells.append(nbformat.v4.new_markdown_cell(source))
    nbformat.write(notebook, course.solved(lesson))


def test_every_lesson_has_a_page_and_is_in_the_list(pages):
    names = {f"{lesson}.html" for lesson in Course(ROOT).lessons}
    assert set(pages) == names | {site.INDEX}
    assert names <= set(pages[site.INDEX].links)


def test_links_lead_to_pages_of_the_site_or_to_addresses(pages):
    for name, page in pages.items():
        for link in page.links:
            parts = urlsplit(link)
            assert parts.scheme in ("http", "https", "mailto") or not parts.path or parts.path in pages, (name, link)


def test_a_page_runs_nothing_loads_nothing_and_describes_its_pictures(pages):
    for name, page in pages.items():
        assert not page.elements & {"script", "iframe", "object"}, name
        for picture in page.pictures:
            assert picture["src"].startswith("data:image/"), name
            assert (
                len(picture.get("alt", "")) > 20 and picture["alt"] != "No description has been provided for this image"
            )


def test_formulas_are_set(pages):
    assert "math" in pages["04_lora_linear.html"].elements
    assert "mfrac" in pages["04_lora_linear.html"].elements


def test_marks_of_the_build_are_not_shown(course, tmp_path):
    site.write(course, tmp_path / "out")
    assert "BEGIN SOLUTION" in course.solved(LESSONS[0]).read_text(encoding="utf-8")
    assert "SOLUTION" not in (tmp_path / "out" / f"{LESSONS[0]}.html").read_text(encoding="utf-8")


def test_it_is_written_again_in_the_place_of_an_earlier_one(course, tmp_path):
    site.write(course, tmp_path / "out")
    shutil.rmtree(tmp_path / "solutions" / LESSONS[1])
    assert site.write(course, tmp_path / "out") == 1
    assert {path.name for path in (tmp_path / "out").iterdir()} == {site.INDEX, f"{LESSONS[0]}.html"}


def test_a_folder_of_other_files_is_left_alone(course, tmp_path):
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "index.html").write_text("my own page")
    with pytest.raises(CourseError, match="Name a new or an empty folder"):
        site.write(course, mine)
    assert (mine / "index.html").read_text() == "my own page" and len(list(mine.iterdir())) == 1


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("See [the design](../../docs/design.md).", r"links to ../../docs/design.md, which the site does not have"),
        (r"$x_1_2$", r"the formula .* is not understood"),
    ],
)
def test_what_a_page_cannot_show_is_refused_and_nothing_written(course, tmp_path, source, words):
    change(course, LESSONS[1], source)
    with pytest.raises(CourseError, match=words):
        site.write(course, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_link_to_a_part_of_another_lesson_keeps_the_part(course, tmp_path):
    change(course, LESSONS[1], f"[back](../{LESSONS[0]}/{LESSONS[0]}.ipynb#the-check)")
    site.write(course, tmp_path / "out")
    page = Page((tmp_path / "out" / f"{LESSONS[1]}.html").read_text(encoding="utf-8"))
    assert f"{LESSONS[0]}.html#the-check" in page.links


def test_the_command_says_what_to_open_and_what_is_missing(course, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(main, ["site"])
    assert done.exit_code == 0 and re.search(r"2 lessons; open site.index.html", done.output)
    assert Path("site", "index.html").is_file()
    course.solved(LESSONS[0]).unlink()
    done = CliRunner().invoke(main, ["site"])
    assert done.exit_code == 2 and f"autograde build {LESSONS[0]}" in done.output
    assert "Traceback" not in done.output
