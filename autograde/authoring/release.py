"""Generates the release, the students' notebook, with nbgrader, and detects whether someone has edited it."""

import logging
import tempfile
import threading
from pathlib import Path

import nbformat
from nbgrader.converters import GenerateAssignment
from nbgrader.converters.base import NbGraderException
from nbgrader.coursedir import CourseDirectory
from nbgrader.preprocessors import SaveCells
from traitlets.config import PyFileConfigLoader

from autograde.authoring.lesson import cells_hash, write
from autograde.notebook.cells import METADATA
from autograde.project import CourseError

# nbgrader's converters change the working directory, which all threads of a process share.
_one_converter = threading.Lock()


def config(course):
    """The course's own nbgrader configuration, loaded."""
    return PyFileConfigLoader("nbgrader_config.py", path=str(course.root)).load_config()


def generate(course, solved, lesson):
    """The release of a solved notebook, with the hash of its cells in both notebooks' metadata.

    Args:
        course: the `Course`.
        solved: the solved notebook, executed or not; gets the hash too.
        lesson: its id.

    Raises:
        CourseError: nbgrader refuses the notebook; the message holds its reason.
    """
    solved.metadata[METADATA].pop("release_hash", None)
    released = _by_nbgrader(course, solved, lesson)
    digest = cells_hash(released)
    # In both, because nbgrader copies the solved notebook's metadata: by hand or by us, the release is the same.
    solved.metadata[METADATA]["release_hash"] = released.metadata[METADATA]["release_hash"] = digest
    return released


def _by_nbgrader(course, solved, lesson):
    messages = _Messages()
    with tempfile.TemporaryDirectory() as folder:
        write(solved, Path(folder) / "source" / lesson / f"{lesson}.ipynb")
        settings = config(course)
        settings.CourseDirectory.source_directory, settings.CourseDirectory.release_directory = "source", "release"
        settings.CourseDirectory.root = folder
        settings.CourseDirectory.assignment_id = lesson
        logger = logging.Logger(f"generate_assignment {lesson}", level=logging.WARNING)
        logger.addHandler(messages)
        converter = GenerateAssignment(
            coursedir=CourseDirectory(config=settings), config=settings, no_database=True, log=logger
        )
        # With no_database nbgrader 0.9.6 still saves the cells, into an assignment that it has not made.
        converter.preprocessors = [step for step in converter.preprocessors if step is not SaveCells]
        try:
            with _one_converter:
                converter.start()
        except (NbGraderException, SystemExit):
            raise CourseError(f"{lesson}: nbgrader refuses it: {messages.text()}") from None
        return nbformat.read(Path(folder) / "release" / lesson / f"{lesson}.ipynb", as_version=4)


class _Messages(logging.Handler):
    def __init__(self):
        super().__init__()
        self._records = []

    def emit(self, record):
        self._records.append(record.getMessage())

    def text(self):
        return " · ".join(self._records)[-800:]


def edited(path):
    """Whether someone has edited the release at `path` since it was made. One that cannot be read counts as edited."""
    if not path.exists():
        return False
    try:
        notebook = nbformat.read(path, as_version=4)
        worked_in = any(cell.get("outputs") for cell in notebook.cells)
        return worked_in or cells_hash(notebook) != notebook.metadata[METADATA]["release_hash"]
    except Exception:  # not a readable notebook any more, so not what was written
        return True
