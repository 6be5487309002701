"""Judges one file, a script or a notebook, that defines the exercises' names.

The file is that person's own, on their own machine: it runs in a process of its own, but not in the sandbox.
"""

import ast
import os
from pathlib import Path

from autograde import registry
from autograde.notebook.cells import called_check
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
        if not wanted:
            names = _defined(cells, course.refused)
            checks = [check for lesson in course.course.lessons for check in course.checks_of(lesson)]
            wanted = [check for check in checks if check.subject in names]
        if not wanted:
            raise AnswerFileError(f"{path} defines none of the course's exercises")
        names = {check.name for check in wanted}
        lessons = course.course.lessons
        last = max(lesson for lesson in lessons if names & {check.name for check in course.checks_of(lesson)})
        with unsandboxed.open_session(course, process, course.given_to(last)) as session:
            return _run(path, cells, wanted, session)
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
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise AnswerFileError(f"there is no file {path}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise AnswerFileError(f"{path} cannot be read: {error}") from None
    if path.suffix == ".py":
        return [(text, None)]
    import nbformat
    from IPython.core.inputtransformer2 import TransformerManager

    try:
        code = [cell for cell in nbformat.reads(text, as_version=4).cells if cell.cell_type == "code"]
        return [(TransformerManager().transform_cell(cell.source), called_check(cell)) for cell in code]
    except Exception as error:  # nbformat raises whatever the file's contents lead it to
        reason = str(error).strip().splitlines()[:1]
        raise AnswerFileError(
            f"{path} is not a notebook: {reason[0][:120] if reason else type(error).__name__}"
        ) from None


def _defined(cells, refused):
    """The names that the code binds at top level, or might; a cell that is no Python binds none.

    What is imported from a package in `refused` is given by a lesson, and no answer.
    """
    names = set()
    for source, _ in cells:
        try:
            tree = ast.parse(source)
        except SyntaxError:
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


def _run(path, cells, wanted, session):
    from autograde.judge import make_verdict
    from autograde.remote.probe import Remote
    from autograde.sandbox.session import SessionEnded

    verdicts, trouble = {}, None
    waiting = {check.name: check for check in wanted}
    folder = os.fspath(path.resolve().parent)
    try:
        session.run_cell(f"import os, sys\nos.chdir({folder!r})\nsys.path.insert(0, {folder!r})\ndel os, sys")
        for source, called in cells:
            if called is None:
                trouble = trouble or _trouble(session.run_cell(source))
            elif called in waiting:  # judged where the notebook checks it: names may change later
                check = waiting.pop(called)
                verdicts[called] = check.judge(Remote(check.subject, session))
        for check in waiting.values():
            verdicts[check.name] = check.judge(Remote(check.subject, session))
    except SessionEnded as ended:
        for check in wanted:
            verdicts.setdefault(check.name, make_verdict.stopped(check, ended.message))
    return {check.name: verdicts[check.name] for check in wanted}, trouble


def _trouble(run):
    for output in run.outputs:
        if output["output_type"] == "error":
            return f"{output['ename']}: {output['evalue']}"
    return None
