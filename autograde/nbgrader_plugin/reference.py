"""The reference notebook of a lesson, which submissions are compared with: the release, with hidden tests restored."""

import copy

import nbformat
from nbgrader.converters import GenerateAssignment
from nbgrader.preprocessors import SaveCells

from autograde.notebook.cells import grade_id


def of_lesson(course, lesson, config):
    """The release of a lesson, with the graded cells as in nbgrader's gradebook, including hidden tests.

    Args:
        course: the `Course`.
        lesson: its id.
        config: nbgrader's configuration (`autograde.nbgrader_plugin.config`).

    Raises:
        OSError, nbformat.reader.NotJSONError: the release, or the solved notebook, cannot be read.
    """
    reference = nbformat.read(course.release(lesson), as_version=4)
    if not course.solved(lesson).exists():
        return reference
    source = as_saved(nbformat.read(course.solved(lesson), as_version=4), lesson, config)
    whole = {grade_id(cell): cell for cell in source.cells if grade_id(cell)}
    for cell in reference.cells:
        if original := whole.get(grade_id(cell)):
            cell.source = original.source
            cell.metadata["nbgrader"] = copy.deepcopy(original.metadata.nbgrader)
    return reference


def of_own_copy(course, lesson):
    """The notebook that a learner's own copy of a lesson is held against, which may be the release itself, worked in.

    Raises:
        OSError, nbformat.reader.NotJSONError: there is neither a solved notebook nor a release that can be read.
    """
    if not course.solved(lesson).exists():
        return nbformat.read(course.release(lesson), as_version=4)
    return as_saved(nbformat.read(course.solved(lesson), as_version=4), lesson, course.config)


def as_saved(solved, lesson, config):
    """A solved notebook after the steps of nbgrader's generate_assignment that precede saving the cells in the gradebook."""
    resources = {"nbgrader": {"student": ".", "assignment": lesson, "notebook": lesson}}
    for step in GenerateAssignment(config=config).preprocessors:
        if step is SaveCells:
            break
        solved, resources = step(config=config).preprocess(solved, resources)
    return solved
