"""The command ``autograde report``."""

from autograde.project import CourseError
from autograde.report.collect import collect, roster
from autograde.report.page import page


def write(course, lessons, target=None):
    """Write the report.

    Args:
        course: the `Course`.
        lessons: ids; lessons without results are left out.
        target: the file to write; default: ``report.html`` beside the folder of graded notebooks.

    Returns:
        The path of the report.

    Raises:
        CourseError: nothing is graded yet, or the file cannot be written.
    """
    known = collect(course, lessons)
    if not known:
        raise CourseError("nothing is graded yet; run: autograde grade")
    target = target or course.autograded.parent / "report.html"
    try:
        target.write_text(page(known, roster(course)), encoding="utf-8")
    except OSError as error:
        raise CourseError(f"{target} cannot be written: {error.strerror}") from None
    return target
