"""What must never reach a student: an answer, a stub that passes, a lesson that breaks."""

import ast
import re
import textwrap

import nbformat

from autograde.authoring import execute
from autograde.notebook.cells import METADATA
from autograde.project import CourseError
from autograde.source_files import parse

_SOLUTION = re.compile(r"^[ \t]*#+ BEGIN SOLUTION[^\n]*\n(.*?)^[ \t]*#+ END SOLUTION", re.DOTALL | re.MULTILINE)
_MIN_ANSWER = 9  # characters without spaces; `A.T` or `r=rank` give nothing away
_ADDRESS = re.compile(r"\b0x[0-9a-f]{8,}\b")
MAX_COLUMNS = 95  # a line of code that JupyterLab shows without a scroll bar on a small screen
_STUB_ERRORS = {"NotImplementedError", "NotStarted"}


def squeeze(text):
    """`text` without white space and quotes, so that formatting hides nothing."""
    return re.sub(r"[\s\"'`]", "", text)


def answers(solved):
    """The expressions in the solution regions of a notebook that would give an exercise away, as source text.

    What the exercise's own cell states around its solution (``scaling: alpha / rank`` in a docstring) is given, not
    an answer.

    Raises:
        CourseError: a solution region that is no Python.
    """
    found = set()
    for cell in solved.cells:
        if cell.cell_type != "code":
            continue
        given = squeeze(_SOLUTION.sub("", cell.source))
        for region in _SOLUTION.findall(cell.source):
            try:
                tree = parse(textwrap.dedent(region))
            except SyntaxError as error:
                raise CourseError(f"cell {cell['id']}: the solution is not valid Python: {error}") from None
            for node in ast.walk(tree):
                value = getattr(node, "value", None)
                if isinstance(node, (ast.Assign, ast.AugAssign, ast.Return, ast.Expr)) and _tells(value):
                    if squeeze(ast.unparse(value)) not in given:
                        found.add(ast.unparse(value))
    return found


def _tells(value):
    operations = sum(isinstance(node, (ast.BinOp, ast.Call, ast.Compare)) for node in ast.walk(value)) if value else 0
    return operations and len(squeeze(ast.unparse(value))) >= _MIN_ANSWER


def refuse_leaks(solved, released, lesson):
    """Search the whole release, text, outputs and metadata, for the answers.

    Raises:
        CourseError: an answer, a solution marker or an output stands in the release.
    """
    for cell in released.cells:
        if cell.get("outputs"):
            raise CourseError(f"{lesson}: the release has outputs in cell {cell['id']}")
        if "SOLUTION" in cell.source:
            raise CourseError(f"{lesson}: a solution marker is left in cell {cell['id']} of the release")
    everywhere = squeeze(nbformat.writes(released).replace("\\n", "\n").replace('\\"', '"'))
    for answer in sorted(answers(solved)):
        if squeeze(answer) in everywhere:
            raise CourseError(f"{lesson}: the release holds the answer {answer!r}")


def refuse_failing_solution(executed, lesson):
    """Every cell of the solved notebook must run, and so every check pass.

    Raises:
        CourseError: one raised.
    """
    for cell_id, error in execute.errors(executed):
        raise CourseError(f"{lesson}: the solved notebook fails in cell {cell_id}:\n{_shown(error)}")


def refuse_bad_stubs(released, lesson):
    """In an executed release, every check says "not started yet" and nothing else goes wrong.

    Raises:
        CourseError: a check passes on its stub, or a cell raises anything but the stub's NotImplementedError.
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
    """Stop a build whose outputs would differ next time.

    Raises:
        CourseError: a memory address in a text output, or a figure without alternative text.
    """
    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            data = output.get("data", {})
            said = output.get("text") or data.get("text/plain") or ""
            if _ADDRESS.search(said):
                raise CourseError(f"{lesson}, cell {cell['id']}: an output holds a memory address: {said.strip()[:80]}")
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
    """What is out of step between a lesson's source and its committed notebook, as one sentence; None if nothing is."""
    path = course.solved(lesson)
    if not path.exists():
        return f"{path.relative_to(course.root)} is missing"
    try:
        committed = nbformat.read(path, as_version=4)
    except Exception as error:
        return f"{path.relative_to(course.root)} cannot be read: {error}"
    if committed.metadata.get(METADATA, {}).get("source_hash") != read_source.metadata[METADATA]["source_hash"]:
        return f"solutions/{lesson}.py has changed since its notebooks were built"
    if [cell.source for cell in committed.cells] != [cell.source for cell in read_source.cells]:
        return f"{path.relative_to(course.root)} was changed by hand"
    return None
