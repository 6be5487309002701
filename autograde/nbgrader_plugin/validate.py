"""nbgrader's Validate says of a learner's notebook what grading will say of it, because it grades the notebook.

nbgrader itself runs the notebook in a kernel. So it finds nothing wrong with a notebook that has lost nbgrader's metadata,
and allows what the sandbox refuses. It still validates the notebooks that are no lesson of the course, such as an
instructor's own, and accepts what grading accepts: a log line in a test, a copied cell, a kernel that is not installed.
"""

import functools
from pathlib import Path

import nbformat
from jupyter_client.kernelspec import KernelSpecManager
from nbgrader import utils
from nbgrader.validator import Validator

from autograde.nbgrader_plugin import ansi, reference
from autograde.nbgrader_plugin.execute import question_settings
from autograde.notebook.cells import METADATA, called_check, grade_id
from autograde.notebook.python_source import check_calls
from autograde.project import CourseError, find_course
from autograde.submission import files, read_notebook, repair
from autograde.submission.client import SHARED, question
from autograde.submission.lesson_of import lesson_of

WHOLE = "(the whole notebook)"
NOT_VALIDATED = "This notebook could not be validated, because {0}."


def guard():
    """Have nbgrader's Validator grade the notebooks of a course's lessons, and accept in others what grading accepts."""
    if not getattr(Validator, "of_autograde", False):
        Validator.of_autograde = True
        Validator._preprocess = _preprocess(Validator._preprocess)
        Validator.validate = _validate(Validator.validate)


def _validate(of_nbgrader):
    @functools.wraps(of_nbgrader)
    def validate(self, filename):
        path = Path(filename).resolve()
        if path.exists() and not path.is_file():  # to read a pipe that nobody writes to would take for ever
            return _failed((WHOLE, "This is a folder, a pipe or a device, and no file that holds a notebook."))
        try:
            notebook = read_notebook.parse(files.read_regular(path, files.MAX_BYTES))
        except files.TooLarge as error:
            return _failed((WHOLE, files.TOO_LARGE.format(error.args[0] / 1e6)))
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
        return _with_competing_answers(notebook, of_nbgrader(self, filename))

    return validate


# The notebook of a lesson ---------------------------------------------------------------------------------------------


def _as_graded(validator, course, lesson, path):
    """The result of grading the notebook at `path`, in the form of nbgrader's `Validator.validate`."""
    validator.log.info("Validating '%s' as %s, by grading it", path, lesson)
    submission = files.Submission("", lesson, path.parent, path.name)
    try:
        asked = question(
            submission,
            files=files.files_beside(submission, course),
            reference=nbformat.writes(reference.of_own_copy(course, lesson), version=4),
            version=None,
            settings=question_settings(validator.config),
        )
    except (OSError, ValueError) as error:
        return _failed((WHOLE, NOT_VALIDATED.format(f"the course's own copy of {lesson} cannot be read: {error}")))
    except CourseError as error:  # a limit in the configuration
        return _failed((WHOLE, NOT_VALIDATED.format(error)))
    # A person's own notebook on their own machine, which may have no sandbox.
    outcome, content = SHARED.ask(course, require_isolation=False, question=asked)
    if "trouble" in outcome:
        return _failed((WHOLE, NOT_VALIDATED.format(outcome["trouble"])))
    isolation = outcome["isolation"] or {"level": "full"}  # where nothing was run
    if isolation["level"] != "full":
        validator.log.info("%s Grading with a sandbox may refuse more.", isolation["message"])
    return _result(validator, nbformat.reads(content.decode(), as_version=4))


def _result(validator, graded):
    said = graded.metadata[METADATA]
    if unreadable := said["unreadable"]:
        return _failed((WHOLE, unreadable))
    if repair.STRIPPED in said["damage"].values():  # which every check would repeat
        return _failed((WHOLE, repair.STRIPPED))
    if validator.invert:
        passed = validator._get_passed_cells(graded)
        return {"passed": [{"source": cell.source.strip()} for cell in passed]} if passed else {}
    failed = validator._get_failed_cells(graded)
    return _failed(*((cell.source.strip(), _said_of(validator, cell)) for cell in failed)) if failed else {}


def _said_of(validator, cell):
    """The report of a failed check; of another cell, what nbgrader says."""
    if not called_check(cell):
        return validator._extract_error(cell)
    return "\n".join(output.data["text/plain"] for output in cell.outputs if output.output_type == "display_data")


def _failed(*entries):
    return {
        "failed": [{"source": source, "error": ansi.as_html(said), "raw_error": said} for source, said in entries],
    }


# Another notebook -----------------------------------------------------------------------------------------------------


def _calls_checks(notebook):
    return any(check_calls(cell.source) for cell in notebook.cells if cell.cell_type == "code")


def _with_competing_answers(notebook, results):
    """nbgrader's results, and beside them the answers that several cells give, each in its own way."""
    of_id = {}
    for cell in notebook.cells:
        if name := grade_id(cell):
            of_id.setdefault(name, []).append(cell)
    competing = {name: repair.competing_answers(cells, name) for name, cells in of_id.items()}
    said = [(name, message) for name, message in competing.items() if message]
    if said and "type_changed" not in results:
        results.pop("changed", None)
        results["failed"] = _failed(*said)["failed"] + results.get("failed", [])
    return results


def _preprocess(of_nbgrader):
    @functools.wraps(of_nbgrader)
    def preprocess(self, notebook):
        if _names_no_kernel(notebook):
            del notebook.metadata["kernelspec"]
        last = {grade_id(cell): cell for cell in notebook.cells}
        for cell in notebook.cells:
            if grade_id(cell) and cell is not last[grade_id(cell)]:
                del cell.metadata["nbgrader"]
        notebook = of_nbgrader(self, notebook)
        for cell in notebook.cells:
            if utils.is_grade(cell):
                for output in cell.get("outputs", []):
                    if output.output_type == "stream":
                        output.name = "stdout"  # a warning or a line of a log fails no test
        return notebook

    return preprocess


def _names_no_kernel(notebook):
    """Whether the kernel that a Python notebook names is not installed: then Python's usual one runs it, as in grading."""
    named = notebook.metadata.get("kernelspec", {})
    if named.get("language", "python") != "python":
        return False
    return bool(named) and named.get("name") not in KernelSpecManager().find_kernel_specs()
