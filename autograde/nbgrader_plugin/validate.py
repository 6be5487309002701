"""nbgrader's Validate says of a learner's notebook what grading will say of it, because it grades the notebook.

nbgrader itself runs the notebook in a kernel. So it finds nothing wrong with a notebook that has lost nbgrader's metadata,
calls a test failed in which anything was logged, ends in a traceback where a cell was copied or the notebook names a
kernel that is not installed, and allows what the sandbox refuses.
"""

import functools
from pathlib import Path

import nbformat
from nbconvert.filters import ansi2html
from nbgrader.validator import Validator

from autograde.nbgrader_plugin import reference
from autograde.nbgrader_plugin.execute import question_settings
from autograde.notebook.cells import METADATA, called_check, grade_id
from autograde.notebook.python_source import check_calls
from autograde.project import CourseError, find_course
from autograde.submission import read_notebook, repair
from autograde.submission.client import SHARED, question
from autograde.submission.files import Submission, files_beside
from autograde.submission.lesson_of import lesson_of

WHOLE = "(the whole notebook)"
NOT_VALIDATED = "This notebook could not be validated, because {0}."


def guard():
    """Have nbgrader's Validator grade the notebooks of a course's lessons; nbgrader validates others itself."""
    if not getattr(Validator, "of_autograde", False):
        Validator.of_autograde = True
        Validator.validate = _validate(Validator.validate)


def _validate(of_nbgrader):
    @functools.wraps(of_nbgrader)
    def validate(self, filename):
        path = Path(filename).resolve()
        try:
            notebook = read_notebook.parse(path.read_bytes())
        except read_notebook.UnusableNotebook as error:
            return _failed((WHOLE, str(error)))
        try:
            course = find_course()
            lesson = lesson_of(notebook, path, course)
        except CourseError:  # a folder that is no course: nothing is known of its lessons
            lesson = None
        if lesson is not None:
            return _as_graded(self, course, lesson, path)
        if _calls_checks(notebook) and not any(grade_id(cell) for cell in notebook.cells):
            return _failed((WHOLE, repair.STRIPPED))
        return of_nbgrader(self, filename)

    return validate


def _calls_checks(notebook):
    return any(check_calls(cell.source) for cell in notebook.cells if cell.cell_type == "code")


def _as_graded(validator, course, lesson, path):
    """The result of grading the notebook at `path`, in the form of nbgrader's `Validator.validate`."""
    submission = Submission("", lesson, path.parent, path.name)
    asked = question(
        submission,
        files=files_beside(submission, course),
        reference=nbformat.writes(reference.of_own_copy(course, lesson), version=4),
        version=None,
        settings=question_settings(validator.config),
    )
    outcome, content = SHARED.ask(course, require_isolation=False, question=asked)
    if "trouble" in outcome:
        return _failed((WHOLE, NOT_VALIDATED.format(outcome["trouble"])))
    graded = nbformat.reads(content.decode(), as_version=4)
    if unreadable := graded.metadata[METADATA]["unreadable"]:
        return _failed((WHOLE, unreadable))
    if validator.invert:
        passed = validator._get_passed_cells(graded)
        return {"passed": [{"source": cell.source.strip()} for cell in passed]} if passed else {}
    failed = validator._get_failed_cells(graded)
    return _failed(*((cell.source.strip(), _said(validator, cell)) for cell in failed)) if failed else {}


def _said(validator, cell):
    """The report of a failed check; of another cell, what nbgrader says."""
    if not called_check(cell):
        return validator._extract_error(cell)
    return "\n".join(output.data["text/plain"] for output in cell.outputs if output.output_type == "display_data")


def _failed(*entries):
    return {
        "failed": [{"source": source, "error": ansi2html(said), "raw_error": said} for source, said in entries],
    }
