"""Judges one file, a script or a notebook, that defines the exercises' names.

The notebook of a lesson is read, repaired and judged as grading does it. Other notebooks and scripts are run as they are. The
file is that person's own, on their own machine: it runs in a process of its own, but not in the sandbox.
"""

import ast
import difflib
import os
import re
from contextlib import closing, nullcontext
from dataclasses import dataclass
from pathlib import Path

from autograde import registry
from autograde.notebook import script
from autograde.notebook.python_source import as_python, check_calls, meant_to_define, names, names_of_check
from autograde.sandbox.environment import single_threaded
from autograde.startup import quick_imports
from autograde.submission import files

_ESCAPES = re.compile(r"\x1b\[[0-9;]*m")
_LINE = re.compile(r"Cell In\[\d+\], line (\d+)")
_ANSWER = "_answer_of_this_check"  # what an expression that is handed to a check comes to
_NO_PYTHON = {"SyntaxError", "IndentationError", "TabError"}
_IN_SYNTAX_ERRORS = re.compile(r" \([^()]*, line \d+\)$")  # the name that IPython gives a cell's source


class AnswerFileError(Exception):
    """The file cannot be judged; the message says why and what to do."""


@dataclass(frozen=True)
class Judged:
    """What was found in a file.

    Attributes:
        verdicts: `Verdict` by exercise.
        trouble: where the file stopped first, or None.
        unread: whether some of it is no Python, so that there may be answers in it that were not judged.
    """

    verdicts: dict
    trouble: str | None = None
    unread: bool = False

    @property
    def passed(self):
        """Whether all that the file holds was judged, and is right."""
        return not self.unread and all(verdict.passed for verdict in self.verdicts.values())


@dataclass(frozen=True)
class _Cell:
    """A part of the file.

    Attributes:
        source: its code.
        where: called with a line in it, names the place in messages.
        calls: its `CheckCall`s, with lines that count from `first`.
        first: number of its first line.
    """

    source: str
    where: object
    calls: tuple
    first: int = 1


def judge_file(path, exercises=()):
    """Run a file and judge the exercises it defines.

    Args:
        path: a ``.py`` or ``.ipynb`` file.
        exercises: names of checks; when empty, those that the file calls, and those whose names it defines.

    Returns:
        A `Judged`.

    Raises:
        AnswerFileError: no such file, not one of the two kinds, nothing in it to judge, or a check that does not exist.
        KeyError: an exercise that the course does not have.
    """
    path = Path(path)
    if path.is_dir():
        raise AnswerFileError(f"{path} is a folder; name a .py or .ipynb file in it")
    kind = path.suffix.lower()
    if kind not in (".py", ".ipynb"):
        raise AnswerFileError(f"{path} is neither a .py nor an .ipynb file")
    try:
        content = files.read_regular(os.path.realpath(path), files.MAX_BYTES)
        content = content if kind == ".ipynb" else script.decoded(content)
    except FileNotFoundError:
        raise AnswerFileError(f"there is no file {path}") from None
    except files.NotRegular as error:
        raise AnswerFileError(f"{path} is {error}; save your answer as a file") from None
    except files.TooLarge as error:
        raise AnswerFileError(f"{path} has {error.args[0] / 1e6:,.0f} MB, which is too much to be read") from None
    except OSError as error:
        raise AnswerFileError(f"{path} cannot be read: {error}") from None
    except script.UnreadableScript as error:
        raise AnswerFileError(f"{path} cannot be read: {error}") from None
    course = registry.current()
    process = _start(course)
    with closing(process) if process else nullcontext():
        wanted = [course.find(name) for name in exercises]
        if kind == ".ipynb":
            return _notebook(course, process, path, content, wanted)
        return _run(course, process, path, _script_cells(content), wanted, script.has_cells(content))


def _start(course):
    """The process for the file: a fork of this one, which then imports torch once for both. Before anything is loaded
    that knows a right answer.
    """
    single_threaded()
    with quick_imports():
        from autograde.sandbox import unsandboxed  # imports torch, so that it must wait for the line above

    return unsandboxed.start(course)


def _notebook(course, process, path, content, wanted):
    from autograde.submission import read_notebook
    from autograde.submission.lesson_of import lesson_of

    try:
        notebook = read_notebook.parse(content)
    except read_notebook.UnusableNotebook as error:
        raise AnswerFileError(f"{path}: {error}") from None
    lesson = lesson_of(notebook, path, course.course)
    own = {check.name for check in course.checks_of(lesson)} if lesson else set()
    if lesson and all(check.name in own for check in wanted):
        return _lesson(course, process, path, content, lesson, {check.name for check in wanted})
    sources = [cell.source for cell in notebook.cells if cell.cell_type == "code" and cell.source.strip()]
    called = set().union(*map(names_of_check, sources))
    cells = [
        _Cell(source, f"cell {number}, line {{}}".format, tuple(check_calls(source, called)))
        for number, source in enumerate(sources, start=1)  # as JupyterLab numbers them when all are run
    ]
    return _run(course, process, path, cells, wanted, goes_on=True)


def _lesson(course, process, path, content, lesson, wanted):
    """A lesson's notebook, judged as in grading."""
    from autograde.nbgrader_plugin import reference
    from autograde.sandbox import unsandboxed
    from autograde.sandbox.session import SessionEnded
    from autograde.submission import grade_notebook, grade_submission

    def open_session(_code):
        given, folder = course.given_to(lesson), path.resolve().parent
        return unsandboxed.open_session(course, process, given, folder=folder)

    released = reference.of_own_copy(course.course, lesson)
    notebook, problem, damage = grade_submission.prepare(content, released)
    try:
        graded = grade_notebook.grade(notebook, open_session, damage, problem, lesson)
    except SessionEnded as ended:
        raise AnswerFileError(f"{path} could not be run: {ended}") from None
    verdicts = {name: verdict for name, verdict in graded.verdicts.items() if not wanted or name in wanted}
    if not verdicts:
        raise AnswerFileError(f"{path}: {lesson} has no check, so there is nothing to judge")
    return Judged(verdicts, _first_error(graded.notebook))


def _first_error(notebook):
    """The first error that a cell without a verdict shows, with its place, or None."""
    for cell in notebook.cells:
        for output in cell.get("outputs", ()):
            if output.output_type == "error" and cell.execution_count:
                return _said(f"cell {cell.execution_count}, line {{}}".format, output)
    return None


def _script_cells(text):
    return [
        _Cell(piece.source, lambda line, first=piece.first: f"line {first + line - 1}", piece.calls, piece.first)
        for piece in script.pieces(text)
    ]


def _defined(cells, folder, refused):
    """The names that the code binds at top level, or was meant to; among them all of a module in `folder` of which it
    imports all.

    What is imported from a package in `refused` is given by a lesson, and no answer.
    """
    found = set()
    for cell in cells:
        found |= names(cell.source)[1] or meant_to_define(cell.source)
        for module, name in _imported(cell.source):
            if module.partition(".")[0] in refused:
                found.discard(name)
            elif name == "*":
                found |= _names_of_module(folder, module)
    return found


def _names_of_module(folder, module):
    path = folder.joinpath(*module.split("."))
    try:
        return names(
            script.read(next(file for file in (path.with_suffix(".py"), path / "__init__.py") if file.is_file()))
        )[1]
    except (StopIteration, ValueError, OSError, script.UnreadableScript):  # a library's, or one that the file stops at
        return set()


def _imported(source):
    _, tree = as_python(source)
    for node in ast.walk(tree) if tree else ():
        if isinstance(node, ast.ImportFrom):
            yield from ((node.module or "", alias.asname or alias.name) for alias in node.names)


def _in_the_file(course, cells, defined):
    """The checks whose exercises are in the file, in the order of the course."""
    called = {call.exercise for cell in cells for call in cell.calls}
    checks = [check for lesson in course.course.lessons for check in course.checks_of(lesson)]
    return [check for check in checks if check.name in called or check.subject in defined]


def _misspelt(course, defined):
    """Says which names that the file defines are close to those of exercises; empty if none is."""
    subjects = {check.subject for lesson in course.course.lessons for check in course.checks_of(lesson)}
    near = {name: difflib.get_close_matches(name, sorted(subjects), n=1, cutoff=0.8) for name in sorted(defined)}
    return "".join(f"; it defines {name}: did you mean {matches[0]}?" for name, matches in near.items() if matches)


def _refuse_unknown(course, path, cells):
    """Raise an `AnswerFileError` where a file that imports ``check`` calls one that the course does not have."""
    if any(names_of_check(cell.source) for cell in cells):
        for cell in cells:
            for call in cell.calls:
                try:
                    course.find(call.exercise)
                except KeyError as error:
                    line = cell.where(call.line - cell.first + 1)
                    raise AnswerFileError(f"{path}, {line}: {error.args[0]}") from None


def _run(course, process, path, cells, wanted, goes_on):
    """Run the cells in order, and judge each exercise where its check is called, or at the end.

    Args:
        goes_on: whether a cell after one that stopped is run, as in a notebook.
    """
    from autograde.judge import make_verdict
    from autograde.sandbox import unsandboxed
    from autograde.sandbox.session import SessionEnded
    from autograde.submission import check_facts

    if not wanted:
        _refuse_unknown(course, path, cells)
    folder = path.resolve().parent
    defined = _defined(cells, folder, course.refused)
    wanted = wanted or _in_the_file(course, cells, defined)
    if not wanted:
        raise AnswerFileError(
            _syntax_error(path, cells)
            or f"{path} calls no check, and defines none of the course's exercises{_misspelt(course, defined)}"
        )
    chosen = {check.name for check in wanted}
    last = max(lesson for lesson in course.course.lessons if chosen & {c.name for c in course.checks_of(lesson)})
    verdicts, trouble, unread = {}, None, False
    targets = {call.exercise: call.target for cell in cells for call in cell.calls if call.target in defined}
    try:
        with unsandboxed.open_session(course, process, course.given_to(last), folder=folder) as session:
            check_facts.tell(session, "\n".join(cell.source for cell in cells), course.find)
            if path.suffix.lower() == ".py":
                session.run_cell(f"import sys\n__file__ = {str(path.resolve())!r}\nsys.argv[:] = [__file__]\ndel sys")
            for cell in cells:
                done = session.run_cell(cell.source)
                trouble = trouble or _trouble(cell, done)
                unread = unread or _is_no_python(cell, done)
                if trouble and not goes_on:
                    break
                for call in cell.calls:
                    if call.exercise in chosen and call.exercise not in verdicts and not call.in_function:
                        check = course.find(call.exercise)
                        verdicts[check.name] = _judged(check, call.target, session, trouble)
            for check in wanted:
                if check.name not in verdicts:
                    verdicts[check.name] = _judged(check, targets.get(check.name, ""), session, trouble)
    except SessionEnded as ended:
        for check in wanted:
            verdicts.setdefault(check.name, make_verdict.stopped(check, ended.message))
    return Judged({check.name: verdicts[check.name] for check in wanted}, trouble, unread)


def _judged(check, target, session, trouble):
    from autograde.judge import make_verdict
    from autograde.remote.probe import Remote

    if target and not target.isidentifier():
        target = _ANSWER if session.run_cell(f"{_ANSWER} = ({target})").ok else ""
    verdict = check.judge(Remote(target or check.subject, session))
    if verdict.status == "missing" and trouble:
        return make_verdict.missing(check, f"The file stopped earlier: {trouble}", of="file")
    return verdict


def _syntax_error(path, cells):
    """The first error of syntax, as a message, or an empty text."""
    for cell in cells:
        if as_python(cell.source)[1] is None:
            try:
                compile(cell.source, str(path), "exec")
            except (SyntaxError, ValueError) as error:
                line = getattr(error, "lineno", None) or 1
                return f"{path}, {cell.where(line)}: {type(error).__name__}: {getattr(error, 'msg', error)}"
    return ""


def _is_no_python(cell, run):
    """Whether a cell stopped because it cannot be parsed: what it was meant to define is then not known."""
    stopped = any(output["output_type"] == "error" and output["ename"] in _NO_PYTHON for output in run.outputs)
    return stopped and as_python(cell.source)[1] is None


def _trouble(cell, run):
    """What a cell stopped with, and where, or None."""
    for output in run.outputs:
        if output["output_type"] == "error":
            return _said(cell.where, output)
    if not run.ok:  # a magic that does not exist
        printed = "".join(output["text"] for output in run.outputs if output["output_type"] == "stream")
        said = next((line for line in reversed(printed.splitlines()) if line.strip()), "it stopped")
        return f"{cell.where(1)}: {said}"
    return None


def _said(where, output):
    """``line 3: ValueError: …``; the line is that of the innermost call in the cell itself, where the traceback tells."""
    lines = _LINE.findall(_ESCAPES.sub("", "\n".join(output["traceback"])))
    place = f"{where(int(lines[-1]))}: " if lines else ""
    return f"{place}{output['ename']}: {_IN_SYNTAX_ERRORS.sub('', output['evalue'])}".removesuffix(": ")
