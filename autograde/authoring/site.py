"""The reading edition as static pages: each lesson's solved notebook as HTML, and a page that lists them.

The pages are nbconvert's (`site_templates/`), with links between lessons leading from page to page and formulas as
MathML. They run no script, and need no server and no network.
"""

import posixpath
import re
import tomllib
from pathlib import Path

import nbformat
from jinja2 import FileSystemLoader, pass_context
from latex2mathml.converter import convert
from nbconvert.exporters import HTMLExporter
from nbconvert.filters.markdown_mistune import IPythonRenderer, MarkdownWithMath

from autograde.project import CourseError

INDEX = "index.html"
MARK = '<meta name="generator" content="autograde site">'  # in the list of lessons; tells our folder from any other
POLICY = (
    '<meta http-equiv="Content-Security-Policy" '
    "content=\"default-src 'none'; style-src 'unsafe-inline'; img-src data:; font-src data:; base-uri 'none'\">"
)
_TEMPLATES = Path(__file__).parent / "site_templates"
_SOLUTION_MARK = re.compile(r"^[ \t]*#+ (?:BEGIN|END) SOLUTION[^\n]*\n?", re.MULTILINE)
_LINK = re.compile(r"(?<!!)\[(?P<text>[^\]]*)\]\((?P<target>[^)\s]+)\)")
_FILES = (".ipynb", ".md", ".py", ".html")  # what a link may lead to; `f[i](x)` in a text is no link


def write(course, folder):
    """Write the pages of all lessons into `folder`, in the place of an earlier site there.

    Args:
        course: the `Course`.
        folder: a `Path`; made where it is missing.

    Returns:
        How many lessons the site has.

    Raises:
        CourseError: a lesson is not built yet, links to a file that the site does not have, or holds a formula that is
            not understood; or `folder` holds other files. Nothing has been written then.
    """
    if folder.exists() and (not folder.is_dir() or (any(folder.iterdir()) and not _is_site(folder))):
        raise CourseError(f"{folder} is there and is no site of this command. Name a new or an empty folder")
    notebooks = {lesson: _read(course, lesson) for lesson in course.lessons}
    if not notebooks:
        raise CourseError("this course has no lesson yet")
    exporter = _Exporter()
    pages = {_page_of(lesson): _page(exporter, lesson, notebooks) for lesson in notebooks}
    pages[INDEX] = _index(exporter, course, notebooks)
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.glob("*.html"):
        old.unlink()
    for name, page in pages.items():
        (folder / name).write_text(page, encoding="utf-8")
    return len(notebooks)


def _is_site(folder):
    try:
        return MARK in (folder / INDEX).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return False


def _page_of(lesson):
    return f"{lesson}.html"


def _read(course, lesson):
    """A lesson's solved notebook, its links and its code as the site shows them."""
    path = course.solved(lesson)
    try:
        notebook = nbformat.read(path, as_version=4)
    except FileNotFoundError:
        raise CourseError(f"{path} is missing. Build it first: autograde build {lesson}") from None
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            cell.source = _LINK.sub(lambda link: _on_the_site(link, course.lessons, lesson), cell.source)
        else:
            cell.source = _SOLUTION_MARK.sub("", cell.source)
    return notebook


def _on_the_site(link, lessons, lesson):
    """A Markdown link, its target changed from a lesson's notebook to that lesson's page."""
    path, mark, fragment = link["target"].partition("#")
    if "://" in path or not path.endswith(_FILES):
        return link[0]
    name = posixpath.basename(path).removesuffix(".ipynb")
    if name not in lessons:
        raise CourseError(f"{lesson} links to {path}, which the site does not have. Link to a lesson, or to an address")
    return f"[{link['text']}]({_page_of(name)}{mark}{fragment})"


class _Renderer(IPythonRenderer):
    """Markdown to HTML, formulas to MathML."""

    def inline_math(self, body):
        return _mathml(body, "inline")

    def block_math(self, body):
        return _mathml(body, "block")

    def latex_environment(self, name, body):
        return _mathml(f"\\begin{{{name}}}{body}\\end{{{name}}}", "block")


def _mathml(formula, display):
    try:
        return convert(formula.strip(), display=display)
    except Exception as error:  # its exceptions have no class in common
        what = f"{type(error).__name__} {error}".strip()
        raise CourseError(f"the formula {formula.strip()!r} is not understood: {what}") from None


def _html(source, attachments=None):
    return MarkdownWithMath(_Renderer(escape=False, attachments=attachments, anchor_link_text="")).render(source)


class _Exporter(HTMLExporter):
    def __init__(self):
        super().__init__(
            exclude_input_prompt=True,
            exclude_output_prompt=True,
            extra_loaders=[FileSystemLoader(_TEMPLATES)],
            template_file="lesson.html.j2",
        )

    def default_filters(self):
        yield from super().default_filters()
        yield "markdown2html", pass_context(lambda context, source: _html(source, context["cell"].get("attachments")))


def _page(exporter, lesson, notebooks):
    order = list(notebooks)
    here = order.index(lesson)
    near = {"before": order[:here][-1:], "after": order[here + 1 :][:1]}
    site = {name: [(_page_of(other), _opening(notebooks[other])[0]) for other in found] for name, found in near.items()}
    resources = {
        "metadata": {"name": _opening(notebooks[lesson])[0]},
        "site": {name: found[0] if found else None for name, found in site.items()}
        | {"policy": POLICY, "index": INDEX},
    }
    page, _ = exporter.from_notebook_node(notebooks[lesson], resources)
    return page


def _index(exporter, course, notebooks):
    project = tomllib.loads((course.root / "pyproject.toml").read_text(encoding="utf-8")).get("project", {})
    lessons = []
    for lesson, notebook in notebooks.items():
        title, paragraph = _opening(notebook)
        lessons.append({"page": _page_of(lesson), "title": title, "paragraph": _html(paragraph)})
    title = project.get("description") or project.get("name") or course.root.name
    template = exporter.environment.get_template("index.html.j2")
    return template.render(policy=POLICY, mark=MARK, title=title, lessons=lessons)


def _opening(notebook):
    """``(title, first paragraph as Markdown)`` of a notebook."""
    text = next((cell.source for cell in notebook.cells if cell.cell_type == "markdown"), "")
    title, _, rest = text.strip().partition("\n")
    return title.lstrip("# ").strip(), rest.strip().split("\n\n")[0]
