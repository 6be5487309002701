"""Builds the two notebooks of a lesson, or verifies that the committed ones are up to date."""

import copy
from concurrent.futures import ThreadPoolExecutor

import nbformat

from autograde.authoring import execute, gates, release
from autograde.authoring.inputs_hash import inputs_hash
from autograde.authoring.lesson import missing_package, read, write
from autograde.notebook.cells import METADATA
from autograde.project import CourseError


def build(course, lesson, force=False):
    """Bring a lesson's two notebooks up to date with its source, its checks and the modules it imports.

    Returns:
        ``"built"`` or ``"unchanged"``.

    Raises:
        CourseError: a gate refuses the lesson, or someone has edited the release and `force` is false. No file has
            been changed then.
    """
    solved = read(course, lesson)
    gates.refuse_long_lines(solved, lesson)
    inputs = inputs_hash(course, lesson, solved)
    if release.edited(course.release(lesson)) and not force:
        where = course.release(lesson).relative_to(course.root)
        raise CourseError(
            f"{where} has been worked in since it was made. Copy it elsewhere if it is to be kept, "
            "then build with --force"
        )
    committed = None if force or gates.drift(course, lesson, solved) else _read(course.solved(lesson))
    if committed and _inputs(committed) == inputs:
        if _same(release.generate(course, copy.deepcopy(committed), lesson), course.release(lesson)):
            return "unchanged"
        solved = committed
    else:
        if package := missing_package(course, lesson):
            raise CourseError(
                f"{lesson} shows what it does with the package {package}, which is not installed. Its notebooks stay as "
                "they are; the lesson says how to get the package"
            )
        execute.run(solved, course)
        gates.refuse_failing_solution(solved, lesson)
        gates.refuse_unstable_outputs(solved, lesson)
        solved.metadata[METADATA]["inputs_hash"] = inputs
    released = release.generate(course, solved, lesson)
    gates.refuse_leaks(solved, released, lesson)
    gates.refuse_bad_stubs(execute.run(copy.deepcopy(released), course), lesson)
    write(solved, course.solved(lesson))
    write(released, course.release(lesson))
    return "built"


def verify(course, lesson, run=False):
    """Fail unless the committed notebooks match the source, leak no answer, and run as they should.

    They were executed when they were built. They are executed again only if their checks, the modules that they import
    or the libraries have changed since.

    Args:
        course: the `Course`.
        lesson: its id.
        run: execute them in any case.

    Returns:
        ``"compared"``, or ``"executed"`` if the notebooks were executed too.

    Raises:
        CourseError: the first thing that is wrong.
    """
    solved = read(course, lesson)
    gates.refuse_long_lines(solved, lesson)
    if reason := gates.drift(course, lesson, solved):
        raise CourseError(f"{lesson}: {reason}; run: autograde build {lesson}")
    committed = _read(course.solved(lesson))
    released = release.generate(course, copy.deepcopy(committed), lesson)
    if not _same(released, course.release(lesson)):
        raise CourseError(f"{lesson}: its student notebook is not what the source makes; run: autograde build {lesson}")
    gates.refuse_leaks(committed, released, lesson)
    gates.refuse_failing_solution(committed, lesson)
    gates.refuse_unstable_outputs(committed, lesson)
    if not run and _inputs(committed) == inputs_hash(course, lesson, solved):
        return "compared"
    gates.refuse_failing_solution(execute.run(solved, course), lesson)
    gates.refuse_bad_stubs(execute.run(released, course), lesson)
    return "executed"


def _read(path):
    return nbformat.read(path, as_version=4)


def _inputs(notebook):
    return notebook.metadata[METADATA].get("inputs_hash")


def _same(notebook, path):
    return path.exists() and path.read_text(encoding="utf-8") == nbformat.writes(notebook, version=4) + "\n"


def each(action, lessons, jobs=2):
    """Run ``action(lesson)`` over lessons, `jobs` at a time; yields ``(lesson, result or CourseError)`` in order."""
    with ThreadPoolExecutor(jobs) as pool:
        waiting = [(lesson, pool.submit(action, lesson)) for lesson in lessons]
        for lesson, future in waiting:
            try:
                yield lesson, future.result()
            except CourseError as error:
                yield lesson, error
