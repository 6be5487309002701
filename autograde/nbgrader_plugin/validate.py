"""nbgrader's Validate says of a learner's notebook what grading will say of it.

nbgrader itself finds nothing wrong with a notebook that has lost nbgrader's metadata, calls a test failed in which
anything was logged, and ends in a traceback where a cell was copied or the notebook names a kernel that is not installed.
"""

import functools

import nbformat
from nbgrader import utils
from nbgrader.validator import Validator

from autograde import registry
from autograde.notebook.cells import METADATA, grade_id
from autograde.project import CourseError
from autograde.submission import repair


def guard():
    """Have nbgrader's Validator prepare a notebook as grading does, and report what the notebook has lost."""
    if not getattr(Validator, "of_autograde", False):
        Validator.of_autograde = True
        Validator._preprocess = _preprocess(Validator._preprocess)
        Validator.validate = _validate(Validator.validate)


def _preprocess(of_nbgrader):
    @functools.wraps(of_nbgrader)
    def preprocess(self, notebook):
        notebook.metadata.pop("kernelspec", None)  # grading runs it in the course's own kernel, whatever it names
        last = {grade_id(cell): cell for cell in notebook.cells}
        for cell in notebook.cells:
            if grade_id(cell) and cell is not last[grade_id(cell)]:
                del cell.metadata["nbgrader"]
        notebook = of_nbgrader(self, notebook)
        for cell in notebook.cells:
            if utils.is_grade(cell):
                for output in cell.get("outputs", []):
                    if output.output_type == "stream":
                        output.name = "stdout"  # a warning or a line of a log fails no check
        return notebook

    return preprocess


def _validate(of_nbgrader):
    @functools.wraps(of_nbgrader)
    def validate(self, filename):
        damage = _damage(nbformat.read(filename, as_version=4))
        results = of_nbgrader(self, filename)
        if damage and "type_changed" not in results:
            results.pop("changed", None)
            said = [{"source": what, "error": message, "raw_error": message} for what, message in damage.items()]
            results["failed"] = said + results.get("failed", [])
        return results

    return validate


def _damage(notebook):
    """What grading would find lost or twice in a notebook of one of the course's lessons: ``{what: message}``."""
    try:
        course = registry.current()
    except CourseError:  # a folder that is no course: nothing is known of its lessons
        return {}
    found = [grade_id(cell) for cell in notebook.cells if grade_id(cell)]
    lesson = notebook.metadata.get(METADATA, {}).get("lesson")
    checks = (
        {f"check_{check.name}": check for check in course.checks_of(lesson)} if lesson in course.course.lessons else {}
    )
    if not found:
        called = any("check." in cell.source for cell in notebook.cells if cell.cell_type == "code")
        return {"(the whole notebook)": repair.STRIPPED} if checks or called else {}
    lost = {name: repair.LOST.format(check.name) for name, check in checks.items() if name not in found}
    for name in dict.fromkeys(found):
        cells = [cell for cell in notebook.cells if grade_id(cell) == name and utils.is_solution(cell)]
        if message := repair.competing_answers(cells, name):
            lost[name] = message
    return lost
