"""Grade one notebook: run its cells in a session, judge its checks outside, write the verdicts into it."""

import re
import time
from dataclasses import dataclass, field

import nbformat

from autograde import checks
from autograde.grading.damage import grade_id
from autograde.grading.session import SessionEnded
from autograde.judge import report
from autograde.judge.probe import Remote
from autograde.judge.show import as_html, text

_CHECK = re.compile(r"check\.(\w+)\(\w+\)")


@dataclass
class Graded:
    """One graded notebook.

    Attributes:
        notebook: executed, the verdicts in the outputs of its check cells.
        verdicts: `Verdict` by exercise.
        isolation: what the box reached, as the session says it; None where nothing was run.
        seconds: wall time.
    """

    notebook: nbformat.NotebookNode
    verdicts: dict = field(default_factory=dict)
    isolation: object = None
    seconds: float = 0.0


def check_of(cell):
    """The `Check` that a grade cell calls, or None: for other cells, and for an instructor's own nbgrader tests."""
    graded = cell.metadata.get("nbgrader", {})
    call = _CHECK.fullmatch(cell.source.strip()) if graded.get("grade") and cell.cell_type == "code" else None
    if call is None:
        return None
    try:
        return checks.find(call[1])
    except KeyError:
        return None


def grade(notebook, open_session, damage=None, unreadable=None):
    """Grade a notebook in place.

    Args:
        notebook: with every graded cell in it (see `damage.repair`).
        open_session: called without arguments; a context manager that gives a session.
        damage: ``{grade_id: sentence}``: those exercises are not judged, and say why.
        unreadable: a sentence; then nothing is run, and every check says it.

    Returns:
        A `Graded`.
    """
    started = time.perf_counter()
    graded = Graded(notebook)
    if unreadable:
        for cell in notebook.cells:
            if check := check_of(cell):
                _write(cell, graded, report.damaged(check, unreadable))
    else:
        try:
            with open_session() as session:
                graded.isolation = session.isolation
                _run(notebook, session, graded, damage or {})
        except SessionEnded as ended:  # before the first cell
            _rest(notebook, graded, str(ended))
    graded.seconds = time.perf_counter() - started
    return graded


def _run(notebook, session, graded, damage):
    errors = {}  # of the cells so far, by grade_id: why a name is missing
    ended = None
    for cell in notebook.cells:
        if cell.cell_type != "code":
            continue
        check = check_of(cell)
        sentence = check and (damage.get(grade_id(cell)) or damage.get(check.subject))
        try:
            if sentence:
                _write(cell, graded, report.damaged(check, sentence))
            elif ended:
                cell.outputs, cell.execution_count = [], None
                if check:
                    _write(cell, graded, report.stopped(check, ended))
            elif check:
                _write(cell, graded, _judge(check, session, errors))
            else:
                _execute(cell, session, errors)
        except SessionEnded as stop:
            ended = str(stop)
            cell.outputs = [nbformat.v4.new_output("error", ename="Stopped", evalue=ended, traceback=[ended])]
            if check:
                _write(cell, graded, report.stopped(check, ended))


def _rest(notebook, graded, sentence):
    for cell in notebook.cells:
        check = check_of(cell)
        if check and check.name not in graded.verdicts:
            _write(cell, graded, report.stopped(check, sentence))


def _judge(check, session, errors):
    verdict = check.judge(Remote(check.subject, session))
    if verdict.status == "missing" and check.subject in errors:
        return report.missing(check, errors[check.subject])
    return verdict


def _execute(cell, session, errors):
    run = session.run_cell(cell.source)
    cell.outputs = [nbformat.from_dict(output) for output in run.outputs]
    cell.execution_count = run.execution_count
    for output in cell.outputs:
        if output.output_type == "error" and grade_id(cell):
            errors[grade_id(cell)] = f"Its cell stopped with {output.ename}: {output.evalue}"[:400]


def _write(cell, graded, verdict):
    """The verdict as nbgrader reads it: a number as the cell's result, which it takes as the score, and the report."""
    graded.verdicts[verdict.exercise] = verdict
    cell.execution_count = None
    cell.outputs = [
        nbformat.v4.new_output("display_data", data={"text/plain": text(verdict), "text/html": as_html(verdict)}),
        nbformat.v4.new_output("execute_result", data={"text/plain": str(float(verdict.score))}),
    ]
