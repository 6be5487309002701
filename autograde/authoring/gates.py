"""Gates of the build: they refuse a leaked answer, a stub that passes, a solution that fails, an unstable output."""

import ast
import re
import textwrap

import nbformat

from autograde.authoring import execute
from autograde.notebook.cells import METADATA
from autograde.project import CourseError
from autograde.source_files import parse

_SOLUTION = re.compile(r"^[ \t]*#+ BEGIN SOLUTION[^\n]*\n(.*?)^[ \t]*#+ END SOLUTION", re.DOTALL | re.MULTILINE)
_MIN_ANSWER = 9  # characters without white space; shorter expressions, such as `A.T`, give nothing away
_ADDRESS = re.compile(r"\b0x[0-9a-f]{8,}\b")
MAX_COLUMNS = 95  # a line of code that JupyterLab shows without a scroll bar on a small screen
_STUB_ERRORS = {"NotImplementedError", "NotStarted"}


def remove_spaces(text):
    """`text` without white space and quotes, so that an answer is found however it is formatted."""
    return re.sub(r"[\s\"'`]", "", text)


def solution_expressions(solved):
    """The expressions in a notebook's solution regions that would give an exercise away, as source text.

    An expression that the exercise's own cell states outside its solution, for example in the docstring, is not an
    answer.

    Raises:
        CourseError: a solution region is not valid Python.
    """
    found = set()
    for cell in solved.cells:
        if cell.cell_type != "code":
            continue
        given = remove_spaces(_SOLUTION.sub("", cell.source))
        for region in _SOLUTION.findall(cell.source):
            try:
                tree = parse(textwrap.dedent(region))
            except SyntaxError as error:
                raise CourseError(f"cell {cell['id']}: the solution is not valid Python: {error}") from None
            for node in ast.walk(tree):
                value = getattr(node, "value", None)
                if isinstance(node, (ast.Assign, ast.AugAssign, ast.Return, ast.Expr)) and _gives_away(value):
                    if remove_spaces(ast.unparse(value)) not in given:
                        found.add(ast.unparse(value))
    return found


def _gives_away(value):
    operations = sum(isinstance(node, (ast.BinOp, ast.Call, ast.Compare)) for node in ast.walk(value)) if value else 0
    return operations and len(remove_spaces(ast.unparse(value))) >= _MIN_ANSWER


def refuse_leaks(solved, released, lesson):
    """Search the whole release (text, outputs and metadata) for the answers.

    Raises:
        CourseError: the release holds an answer, a solution marker or an output.
    """
    for cell in released.cells:
        if cell.get("outputs"):
            raise CourseError(f"{lesson}: the release has outputs in cell {cell['id']}")
        if "SOLUTION" in cell.source:
            raise CourseError(f"{lesson}: a solution marker is left in cell {cell['id']} of the release")
    everywhere = remove_spaces(nbformat.writes(released).replace("\\n", "\n").replace('\\"', '"'))
    for answer in sorted(solution_expressions(solved)):
        if remove_spaces(answer) in everywhere:
            raise CourseError(f"{lesson}: the release holds the answer {answer!r}")


def refuse_failing_solution(executed, lesson):
    """Refuse an executed solved notebook in which a cell failed: a check, or any other.

    Raises:
        CourseError: a cell raised an exception.
    """
    for cell_id, error in execute.errors(executed):
        raise CourseError(f"{lesson}: the solved notebook fails in cell {cell_id}:\n{_shown(error)}")


def refuse_bad_stubs(released, lesson):
    """Refuse an executed release in which a check passes, or a cell breaks because an exercise is not done.

    Raises:
        CourseError: a check passes on its stub, or a cell raises anything other than the stub's NotImplementedError.
    """
    failed = dict(execute.errors(released))
    for cell in released.cells:
        graded = cell.metadata.get("nbgrader", {})
        if graded.get("grade") and graded["grade_id"] not in failed:
            raise CourseError(f"{lesson}: {graded['grade_id']} passes on the stub, before anything is written")
    for cell_id, error in failed.items():
        if error.ename not in _STUB_ERRORS:
            raise CourseError(f"{lesson}: an unfinished notebook breaks in cell {cell_id}:\n{_shown(error)}")


def refuse_unstable_outputs(notebook, lesson):
    """Refuse outputs that would differ at the next build, and pictures without alternative text.

    Raises:
        CourseError: a memory address in a text output, or a figure without alternative text.
    """
    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            data = output.get("data", {})
            shown = output.get("text") or data.get("text/plain") or ""
            if _ADDRESS.search(shown):
                raise CourseError(
                    f"{lesson}, cell {cell['id']}: an output holds a memory address: {shown.strip()[:80]}"
                )
            if execute.has_picture(output) and not cell.metadata.get("alt"):
                raise CourseError(f'{lesson}, cell {cell["id"]}: a figure without alternative text; tag it alt="…"')


def refuse_long_lines(solved, lesson):
    """Refuse lines of code that a reader would have to scroll for.

    Raises:
        CourseError: a line is longer than `MAX_COLUMNS`.
    """
    for cell in solved.cells:
        for line in cell.source.splitlines() if cell.cell_type == "code" else []:
            if len(line) > MAX_COLUMNS:
                raise CourseError(
                    f"{lesson}, cell {cell['id']}: a line of code has {len(line)} columns, and {MAX_COLUMNS} is the "
                    f"limit:\n{line}"
                )


def _shown(error):
    return re.sub(r"\x1b\[[0-9;]*m", "", "\n".join(error.traceback))[-1500:]


def drift(course, lesson, read_source):
    """How a lesson's committed notebook differs from its source, in words; None if it does not."""
    path = course.solved(lesson)
    if not path.exists():
        return f"{path.relative_to(course.root)} is missing"
    try:
        committed = nbformat.read(path, as_version=4)
    except Exception as error:
        return f"{path.relative_to(course.root)} cannot be read: {error}"
    if committed.metadata.get(METADATA, {}).get("source_hash") != read_source.metadata[METADATA]["source_hash"]:
        return f"{course.source(lesson).relative_to(course.root)} has changed since its notebooks were built"
    if [cell.source for cell in committed.cells] != [cell.source for cell in read_source.cells]:
        return f"{path.relative_to(course.root)} was changed by hand"
    return None
