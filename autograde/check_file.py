"""Judges one file, a script or a notebook, that defines the exercises' names.

The file is that person's own, on their own machine: it runs in a process of its own, but not in the sandbox.
"""

import ast
import contextlib
import io
import os
import re
import tokenize
from pathlib import Path

from autograde import registry
from autograde.notebook.cells import called_check
from autograde.notebook.demonstration import is_demonstration, needed_by_others, without_ipython
from autograde.sandbox.environment import single_threaded


class AnswerFileError(Exception):
    """The file cannot be judged; the message says why and what to do."""


def judge_file(path, exercises=()):
    """Run a file and judge the exercises it defines.

    Args:
        path: a ``.py`` or ``.ipynb`` file.
        exercises: names of checks; when empty, those whose names the file defines.

    Returns:
        ``({exercise: Verdict}, trouble)``: `trouble` says where the file stopped, or is None.

    Raises:
        AnswerFileError: no such file, not one of the two kinds, or nothing in it to judge.
        KeyError: an exercise that the course does not have.
    """
    path = Path(path)
    cells = _cells(path)
    course = registry.current()
    process = _start(course)
    from autograde.sandbox import unsandboxed

    try:
        wanted = [course.find(name) for name in exercises]
        called, names = _called(cells), _defined(cells, course.refused)
        if not wanted:
            checks = [check for lesson in course.course.lessons for check in course.checks_of(lesson)]
            wanted = [check for check in checks if check.subject in names or check.name in called]
        if not wanted:
            raise AnswerFileError(f"{path} defines none of the course's exercises, and calls none of its checks")
        answers = {
            check.name: check.subject if check.subject in names else called.get(check.name, check.subject)
            for check in wanted
        }
        lessons = course.course.lessons
        last = max(lesson for lesson in lessons if answers.keys() & {check.name for check in course.checks_of(lesson)})
        with unsandboxed.open_session(course, process, course.given_to(last)) as session:
            return _run(path, cells, wanted, answers, session)
    finally:
        if process is not None:
            process.close()


def _start(course):
    """The process for the file: a fork of this one, which then imports torch once for both. Before anything is loaded
    that knows a right answer.
    """
    single_threaded()
    from autograde.sandbox import unsandboxed  # imports torch, so that it must wait for the line above

    return unsandboxed.start(course)


def _cells(path):
    """The code to run: ``[(source, the name of the check that the cell calls or None)]``."""
    if path.is_dir():
        raise AnswerFileError(f"{path} is a folder; name a .py or .ipynb file in it")
    if path.suffix not in (".py", ".ipynb"):
        raise AnswerFileError(f"{path} is neither a .py nor an .ipynb file")
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise AnswerFileError(f"there is no file {path}") from None
    except OSError as error:
        raise AnswerFileError(f"{path} cannot be read: {error}") from None
    if path.suffix == ".py":
        return [(_decoded(path, content), None)]
    import nbformat

    try:
        notebook = nbformat.reads(content.decode("utf-8-sig"), as_version=4)
        code = [cell for cell in notebook.cells if cell.cell_type == "code"]
        needed = [demonstration for demonstration, _, _ in needed_by_others(code)]
        # As in grading: what trains and draws is run only where something else needs what it makes.
        run = [cell for cell in code if not is_demonstration(cell) or any(cell is each for each in needed)]
        return [(cell.source, called_check(cell)) for cell in run]
    except Exception as error:  # nbformat raises whatever the file's contents lead it to
        reason = str(error).strip().splitlines()[:1]
        raise AnswerFileError(
            f"{path} is not a notebook: {reason[0][:120] if reason else type(error).__name__}"
        ) from None


def _decoded(path, content):
    """A script's text: in UTF-8, with a byte order mark or without, or in the encoding that it declares."""
    try:
        encoding, _ = tokenize.detect_encoding(io.BytesIO(content).readline)
        return io.TextIOWrapper(io.BytesIO(content), encoding).read()  # with line ends as Python reads them
    except (SyntaxError, UnicodeDecodeError, LookupError):
        raise AnswerFileError(
            f"{path} is not in UTF-8, and declares no other encoding that holds. Save it as UTF-8"
        ) from None


_STYLES = re.compile(r"\x1b\[[0-9;]*m")  # of a terminal
_DEFINITION = re.compile(r"^[ \t]*(?:def|class)[ \t]+(\w+)", re.MULTILINE)


def _parsed(source):
    """The syntax tree of a cell, IPython's own syntax taken out of it; None where it is no Python."""
    for text in without_ipython(source):
        with contextlib.suppress(SyntaxError, ValueError, RecursionError, MemoryError):
            return ast.parse(text)
    return None


def _defined(cells, refused):
    """The names that the code binds at top level, or might; of code that cannot be parsed, those that it would define.

    What is imported from a package in `refused` is given by a lesson, and no answer.
    """
    names = set()
    for source, _ in cells:
        tree = _parsed(source)
        if tree is None:
            names.update(_DEFINITION.findall(source))
            continue
        for node in ast.walk(tree):
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
                names.add(node.name)
            elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
                names.add(node.id)
            elif isinstance(node, ast.Import):
                names.update(alias.asname or alias.name for alias in node.names)
            elif isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] not in refused:
                names.update(alias.asname or alias.name for alias in node.names)
    return names


def _called(cells):
    """The checks that the code calls, and with what: ``{check: name of the object}``, as in ``check.area(my_area)``."""
    found = {}
    for source, _ in cells:
        for node in ast.walk(_parsed(source) or ast.Module([], [])):
            function = node.func if isinstance(node, ast.Call) else None
            if isinstance(function, ast.Attribute) and getattr(function.value, "id", None) == "check" and node.args:
                if isinstance(node.args[0], ast.Name):
                    found[function.attr] = node.args[0].id
    return found


def _run(path, cells, wanted, answers, session):
    from autograde.judge import make_verdict
    from autograde.remote.probe import Remote
    from autograde.sandbox.session import SessionEnded

    verdicts, trouble = {}, None
    waiting = {check.name: check for check in wanted}
    folder = os.fspath(path.resolve().parent)
    script = path.suffix == ".py"
    prepare = f"import os, sys\nos.chdir({folder!r})\nsys.path.insert(0, {folder!r})\ndel os, sys"
    try:
        session.run_cell(prepare + (f"\n__file__ = {os.fspath(path.resolve())!r}" if script else ""))
        for number, (source, called) in enumerate(cells, 1):
            if called is None:
                error = _error(session.run_cell(source), "" if script else f"cell {number}")
                trouble = trouble or error
            elif called in waiting:  # judged where the notebook checks it: names may change later
                check = waiting.pop(called)
                verdicts[called] = check.judge(Remote(answers[called], session))
        for check in waiting.values():
            verdicts[check.name] = check.judge(Remote(answers[check.name], session))
    except SessionEnded as ended:
        for check in wanted:
            verdicts.setdefault(check.name, make_verdict.stopped(check, ended.message))
    return {check.name: verdicts[check.name] for check in wanted}, trouble


def _error(run, cell):
    """Where code stopped, and with what: `line 3: NameError: name 'x' is not defined`; None where it did not."""
    for output in run.outputs:
        if output["output_type"] == "error":
            # IPython's traceback names the cell that was just run, and the line in it.
            at = re.search(
                rf"Cell In\[{run.execution_count}\], line (\d+)", _STYLES.sub("", "\n".join(output["traceback"]))
            )
            place = ", ".join(filter(None, [cell, f"line {at[1]}" if at else ""]))
            message = re.sub(
                r" \(\d+\.py, line \d+\)$", "", output["evalue"]
            )  # a SyntaxError's own, of a file of IPython's
            return f"{place}: {output['ename']}: {message}".removeprefix(": ")
    return None
