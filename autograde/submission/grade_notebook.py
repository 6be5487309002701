"""Grades one notebook: runs its cells in a session, judges its checks outside of it, and writes the verdicts into it."""

import itertools
import textwrap
import time
from dataclasses import dataclass, field, replace

import nbformat

from autograde import __version__, registry
from autograde.judge import make_verdict
from autograde.judge.render import WIDTH, as_html, prose, text
from autograde.notebook import sanitize
from autograde.notebook.cells import METADATA, called_check, grade_id
from autograde.notebook.demonstration import is_demonstration
from autograde.notebook.outputs import new_output
from autograde.remote.call import is_defined
from autograde.remote.probe import Missing, Remote
from autograde.remote.wire import WireError
from autograde.sandbox.session import CellRun, SessionEnded
from autograde.submission import check_facts
from autograde.submission.earlier_cells import EarlierCells, answer_elsewhere, defined_below
from autograde.submission.nbgrader_rules import nbgrader_utils
from autograde.submission.repair import runs
from autograde.terminal import harmless

MAX_TEXT = 100_000  # characters of one output: a page with more of them is no feedback
MAX_SHOWN = 1_500_000  # characters of text in all outputs of a notebook: a page of more takes nbconvert minutes
LINE = 10  # characters that a line counts beside its own: a browser takes as long for an empty one
MAX_OUTPUTS = 3_000  # of a notebook

TOO_MANY = "[The rest is not shown: this notebook shows too much.]\n"
NOT_RUN = "A demonstration, not run in grading, since nothing that is graded depends on it.\n"
AS_HANDED_IN = "A demonstration, not run again in grading. What follows was handed in with the notebook.\n"


@dataclass
class Graded:
    """One graded notebook.

    Attributes:
        notebook: executed, the verdicts in the outputs of its check cells.
        verdicts: `Verdict` by exercise.
        unreadable: why nothing was run; None where the notebook was run.
        isolation: the session's record of its isolation; None if nothing was run.
        starved: whether something was stopped that might have come to its end on an idle machine.
        seconds: wall time.
    """

    notebook: nbformat.NotebookNode
    verdicts: dict = field(default_factory=dict)
    unreadable: str | None = None
    isolation: object = None
    starved: bool = False
    seconds: float = 0.0

    def as_data(self):
        """What the notebook's metadata says of its grading, for reports."""
        return {
            "verdicts": {name: verdict.as_data() for name, verdict in self.verdicts.items()},
            "unreadable": self.unreadable,
            "isolation": self.isolation,
            "seconds": round(self.seconds, 3),
            "course_version": __version__,
        }


def check_of(cell, lesson=None):
    """The `Check` that a grade cell calls, or None: for other cells, and for an instructor's own nbgrader tests.

    Args:
        cell: of a notebook.
        lesson: its id. Of another lesson's checks, those are loaded only where this one has none of that name.
    """
    name = called_check(cell)
    try:
        return None if name is None else _find(name, lesson)
    except KeyError:
        return None


def _find(name, lesson):
    course = registry.current()
    own = {check.name: check for check in course.checks_of(lesson)} if lesson else {}
    return own.get(name) or course.find(name)


def grade(notebook, open_session, damage=None, unreadable=None, lesson=None):
    """Grade a notebook in place.

    Args:
        notebook: with every graded cell in it (see `repair.repair`).
        open_session: called with the code that is to be run; a context manager that gives a session.
        damage: ``{grade_id: message}``: those exercises are not judged, and say why.
        unreadable: a message; then nothing is run, and every graded cell says it.
        lesson: its id, where it is one of the course's.

    Returns:
        A `Graded`, which the notebook's metadata hold as data too.

    Raises:
        SessionEnded: the session was over before any cell ran, so that this says nothing about the notebook. The same
            goes for whatever `open_session` raises.
    """
    started = time.perf_counter()
    grading = _Grading(Graded(notebook, unreadable=unreadable), damage or {}, lesson)
    if unreadable:
        grading.stop(unreadable, make_verdict.damaged)
        notebook.cells.insert(0, _notice(unreadable))
    else:
        code = _code(notebook)
        with open_session(code) as session:
            check_facts.tell(session, code, lambda name: _find(name, lesson))
            grading.graded.isolation = session.isolation
            grading.run(session)
            grading.graded.starved = session.starved
    graded = grading.graded
    graded.seconds = time.perf_counter() - started
    notebook.metadata[METADATA] = notebook.metadata.get(METADATA, {}) | {"graded": nbformat.from_dict(graded.as_data())}
    return graded


def _code(notebook):
    return "\n".join(
        cell.source for cell in notebook.cells if cell.cell_type == "code" and runs(cell) and not is_demonstration(cell)
    )


def _notice(message):
    # Of a message's words some are the learner's (a file's name); inside an HTML element Markdown means nothing, and in `prose`
    # MathJax finds no formula.
    said = prose(" ".join(harmless(message).split()))
    return nbformat.v4.new_markdown_cell(f"<div><b>This notebook was not graded.</b> {said}</div>", id="not-graded")


class _Grading:
    """The grading of one notebook, cell by cell."""

    def __init__(self, graded, damage, lesson):
        self.graded = graded
        self.damage = damage
        self.lesson = lesson
        self.errors = {}  # of the cells so far, by grade_id: why a name is missing
        self.earlier = EarlierCells()
        self.budget = sanitize.Budget()  # of the outputs
        self.characters = self.outputs = 0  # shown so far

    def run(self, session):
        cells = self.graded.notebook.cells
        for position, cell in enumerate(cells):
            if cell.cell_type != "code":
                continue
            try:
                self._one(cell, session)
            except SessionEnded as ended:
                self._ended(cell, ended)
                self.stop(str(ended), make_verdict.stopped, cells[position + 1 :])
                return

    def stop(self, message, verdict_of, cells=None):
        """No cell of `cells` is run: each loses the outputs that it came with, and those with points say why."""
        for cell in self.graded.notebook.cells if cells is None else cells:
            if cell.cell_type == "code":
                cell.outputs, cell.execution_count = [], None
                if check := self._check_of(cell):
                    damaged = self._damage_of(cell, check)
                    self._write(cell, make_verdict.damaged(check, damaged) if damaged else verdict_of(check, message))
                elif _is_graded(cell):
                    cell.outputs = [_error(self.damage.get(grade_id(cell)) or message)]

    def _check_of(self, cell):
        return check_of(cell, self.lesson)

    def _one(self, cell, session):
        check = self._check_of(cell)
        if check:
            message = self._damage_of(cell, check)
            self._write(cell, make_verdict.damaged(check, message) if message else self._judge(check, cell, session))
        elif not runs(cell) or (_is_graded(cell) and grade_id(cell) in self.damage):
            cell.outputs, cell.execution_count = [_error(self.damage[grade_id(cell)])], None
        elif is_demonstration(cell):
            note = new_output("stream", name="stdout", text=AS_HANDED_IN if cell.outputs else NOT_RUN)
            self._show(cell, CellRun([note, *cell.outputs], True, None))
        else:
            self._execute(cell, session)

    def _damage_of(self, cell, check):
        return self.damage.get(grade_id(cell)) or self.damage.get(check.subject)

    def _judge(self, check, cell, session):
        verdict = check.judge(Remote(check.subject, session))
        if verdict.status == "missing" and check.subject in self.errors:
            verdict = make_verdict.missing(check, self.errors[check.subject])
        if verdict.status == "not_started":
            elsewhere = answer_elsewhere(self.graded.notebook.cells, cell, check.subject)
            return replace(verdict, headline=elsewhere or verdict.headline)
        if verdict.status == "missing" and (below := defined_below(self.graded.notebook.cells, cell, check.subject)):
            return make_verdict.because_of(verdict, below)
        if verdict.status in ("missing", "failed"):
            cause = self.earlier.first_cause(check.subject, lambda name: _is_there(name, session))
            return make_verdict.because_of(verdict, cause) if cause else verdict
        return verdict

    def _execute(self, cell, session):
        self._show(cell, session.run_cell(cell.source))
        stopped = [output for output in cell.outputs if output.output_type == "error"]
        errors = [f"{output.ename}: {output.evalue}".removesuffix(": ") for output in stopped]
        if errors and grade_id(cell):
            self.errors[grade_id(cell)] = f"Its cell stopped with {errors[-1]}"[:400]
        self.earlier.ran(cell.source, cell.execution_count, errors[-1] if errors else None)
        if _is_graded(cell):
            _make_scorable(cell)

    def _show(self, cell, run):
        cell.outputs = [sanitize.output(output, self.budget) for output in self._fitting(run.outputs)]
        cell.execution_count = run.execution_count
        for output in cell.outputs:
            if "alt" in cell.metadata and "image/png" in output.get("data", {}):
                output.data["text/plain"] = cell.metadata.alt
                output.metadata["image/png"] = {"alt": cell.metadata.alt}

    def _fitting(self, outputs):
        """Those of a cell's outputs that there is room for, shortened, and the exception that ended it."""
        for position, output in enumerate(outputs):
            shown = _shortened(nbformat.from_dict(output))
            self.outputs += 1
            self.characters += _length(shown)
            if self.outputs <= MAX_OUTPUTS and self.characters <= MAX_SHOWN:
                yield shown
                continue
            yield new_output("stream", name="stdout", text=TOO_MANY)
            if outputs[-1]["output_type"] == "error":
                yield shown if position == len(outputs) - 1 else _shortened(nbformat.from_dict(outputs[-1]))
            return

    def _ended(self, cell, ended):
        if check := self._check_of(cell):
            self._write(cell, make_verdict.stopped(check, str(ended)))
        else:  # what it had shown; the last output says what happened
            self._show(cell, ended.run or CellRun([_error(str(ended))], False, None))

    def _write(self, cell, verdict):
        """The verdict as nbgrader reads it: the report, and as the cell's result a number, which is the score."""
        self.graded.verdicts[verdict.exercise] = verdict
        cell.execution_count = None
        # nbgrader refuses a score above what its gradebook says the cell can give, which may be an older course's word.
        score = verdict.score / verdict.points * cell.metadata.nbgrader.points if verdict.points else 0.0
        cell.outputs = [
            new_output("display_data", data={"text/plain": text(verdict), "text/html": as_html(verdict)}, metadata={}),
            new_output("execute_result", data={"text/plain": str(float(score))}, metadata={}, execution_count=None),
        ]


def _is_there(name, session):
    try:
        is_defined(Remote(name, session))
        return True
    except Missing:
        return False
    except WireError:
        return True


def _is_graded(cell):
    return bool(cell.metadata.get("nbgrader", {}).get("grade"))


def _make_scorable(cell):
    """See that nbgrader can read a score off an instructor's own test, and the one that the test came to."""
    for output in cell.outputs:
        if output.output_type == "stream":
            output.name = "stdout"  # nbgrader takes any line on stderr for a failed test; a warning is none
    try:
        nbgrader_utils().determine_grade(cell)
    except (ValueError, KeyError) as error:  # more than the cell's points, or a result that has no text
        cell.outputs.insert(0, _error(f"No score can be read off this test: {error}"))


def _error(message):
    return new_output("error", ename="NotRun", evalue=message, traceback=textwrap.wrap(message, WIDTH))


def _shortened(output):
    """An output as a page can show it: text without end is cut in the middle."""
    if output.output_type == "stream":
        output.text = _cut(output.text)
    elif output.output_type == "error":
        ends = itertools.accumulate(map(len, output.traceback[:1000]))
        fitting = [line for line, end in zip(output.traceback, ends, strict=False) if end <= MAX_TEXT]
        output.traceback = fitting or [_cut(line) for line in output.traceback[:1]]
    else:
        data = output.data
        if len(str(data.get("text/html", ""))) > MAX_TEXT:
            del data["text/html"]  # half of it would leave elements open, and the page would go on inside them
        data.update({kind: _cut(content) for kind, content in data.items() if kind.startswith("text/")})
    return output


def _length(output):
    """Characters of an output that a page shows as text, and `LINE` for each of its lines."""
    if output.output_type == "stream":
        texts = [output.text]
    elif output.output_type == "error":
        texts = output.traceback
    else:
        texts = [str(content) for kind, content in output.data.items() if not kind.startswith("image/")]
    return sum(len(text) + LINE * text.count("\n") for text in texts)


def limit_lines(cell, max_lines, max_traceback):
    """Cut the text that a code cell printed to `max_lines`, and each traceback, as nbgrader's LimitOutput does; below
    zero: no limit.
    """
    left = max_lines
    for output in list(cell.outputs):
        if output.output_type == "stream" and max_lines >= 0:
            lines = output.text.split("\n", left + 1) if left else []
            if len(lines) > left:
                lines = [*lines[: max(left - 1, 0)], "... Output truncated ..."] if left else []
            if left:
                output.text = "\n".join(lines)
            else:
                cell.outputs.remove(output)
            left -= len(lines)
        elif output.output_type == "error" and 0 <= max_traceback < len(output.traceback):
            half = max_traceback // 2
            rest = max(max_traceback - half - 1, 0)
            end = output.traceback[-rest:] if rest else []
            output.traceback = [*output.traceback[:half], "... Traceback truncated ...", *end]


def _cut(content):
    if not isinstance(content, str) or len(content) <= MAX_TEXT:
        return content
    half = MAX_TEXT // 2
    return f"{content[:half]}\n[… {len(content) - MAX_TEXT:,} characters left out …]\n{content[-half:]}"
