"""Which lesson a notebook is of."""

from pathlib import Path

from autograde.notebook.cells import METADATA


def lesson_of(notebook, path, course):
    """The id of the lesson that a notebook was handed out as, or None.

    Args:
        notebook: as `read_notebook.parse` gives it.
        path: of its file, which has the lesson's name where the notebook does not say it.
        course: the `Course`.
    """
    said = notebook.metadata.get(METADATA, {}).get("lesson")
    return next((name for name in (said, Path(path).stem) if name in course.lessons), None)
