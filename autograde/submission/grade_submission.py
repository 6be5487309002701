"""Grades one submission: from the submitted bytes to a graded notebook and its scores.

nbgrader's commands and `autograde grade` both use it. It runs in a process of its own for each submission
(`autograde.submission.grading_process`).
"""

import copy
import functools
import hashlib

import nbformat

from autograde.notebook.cells import METADATA, grade_id
from autograde.submission import grade_notebook, read_notebook, repair
from autograde.submission.files import fingerprint
from autograde.submission.nbgrader_rules import nbgrader_utils

LONGEST_MESSAGE = 600  # characters of a message, which may quote the learner


def prepare(content, released, problem=None):
    """Read and repair a submitted notebook.

    Args:
        content: bytes of the file.
        released: the reference notebook; it is left as it is.
        problem: why there is no file to grade, or None.

    Returns:
        ``(notebook, problem, damage)``: `problem` says why the notebook cannot be run, or is None; `damage` is
        ``{grade_id: message}`` for the cells that cannot be graded.
    """
    if problem:
        notebook = copy.deepcopy(released)
    else:
        notebook, problem = read_notebook.read_submission(content, released)
    problem = _cut(problem) if problem else None
    damage = {} if problem else repair.repair(notebook, released)
    damage = {name: _cut(message) for name, message in damage.items()}
    notebook.metadata.pop("kernelspec", None)
    if "kernelspec" in released.metadata:
        notebook.metadata["kernelspec"] = released.metadata["kernelspec"]
    notebook.metadata[METADATA] = {
        "lesson": released.metadata.get(METADATA, {}).get("lesson"),
        "submission": hashlib.sha256(content).hexdigest(),
        "unreadable": problem,
        "damage": damage,
    }
    return notebook, problem, damage


def _cut(message):
    return message if len(message) <= LONGEST_MESSAGE else message[: LONGEST_MESSAGE - 1] + "…"


def grade_one(question, content, files, open_session):
    """Grade one submission.

    Args:
        question: a dict: ``lesson``; ``reference``, the text of the reference notebook; ``problem``, why there is no file
            to grade, or None; ``names`` of other files; ``max_lines`` and ``max_traceback`` of a cell's
            output, below zero for no limit.
        content: the notebook as it was handed in.
        files: contents of the other files.
        open_session: ``open_session(code that will be run, {name: bytes})`` returns a session.

    Returns:
        ``(outcome, the graded notebook as bytes)``. The outcome is a dict: ``content``, a hash of the submission;
        ``message``, why it could not be run, or ""; ``verdicts``; ``isolation``; ``seconds``; ``starved``, whether
        something was stopped that might have finished on an idle machine; ``cells`` and ``comments``, as in nbgrader.

    Raises:
        IsolationError, SandboxError, SessionEnded: no session could be opened; the submission is not the cause.
    """
    files = dict(zip(question["names"], files, strict=True))
    released = parsed(question["reference"])
    notebook, problem, damage = prepare(content, released, question["problem"])
    notebook.metadata[METADATA]["lesson"] = question["lesson"]
    graded = grade_notebook.grade(
        notebook, lambda code: open_session(code, files), damage, problem, lesson=question["lesson"]
    )
    for cell in notebook.cells:
        if cell.cell_type == "code":
            grade_notebook.limit_lines(cell, question["max_lines"], question["max_traceback"])
    content_and_marks = {"content": fingerprint(content, question["problem"], files), "starved": graded.starved}
    content_and_marks |= _marks(notebook)
    notebook.metadata[METADATA]["graded"].update(content_and_marks)
    outcome = content_and_marks | {
        "message": problem or "",
        "verdicts": [verdict.as_data() for verdict in graded.verdicts.values()],
        "isolation": graded.isolation,
        "seconds": round(graded.seconds, 4),
    }
    return outcome, _as_bytes(notebook)


def not_graded(question, content, files, problem):
    """As `grade_one`, for a submission that could not be graded: it is not read, and every check reports `problem`."""
    outcome, notebook = grade_one(question | {"problem": _cut(problem)}, content, files, None)
    names = dict(zip(question["names"], files, strict=True))
    return outcome | {"content": fingerprint(content, question["problem"], names)}, notebook


def _as_bytes(notebook):
    # `nbformat.writes` would validate it once more, only to log what it finds.
    return (nbformat.v4.writes_json(notebook) + "\n").encode("utf-8", "replace")


@functools.lru_cache(64)
def parsed(text):
    """The reference notebook in a text. Cached, so the caller must not change it."""
    return nbformat.reads(text, as_version=4)


def _marks(graded):
    """Scores and comments of a graded notebook, by nbgrader's own rules."""
    utils = nbgrader_utils()
    cells, comments = {}, {}
    for cell in graded.cells:
        if utils.is_grade(cell):
            cells[grade_id(cell)] = utils.determine_grade(cell)
        if utils.is_task(cell):
            cells[grade_id(cell)] = None, float(cell.metadata.nbgrader.points)
        if utils.is_solution(cell) or utils.is_task(cell):
            untouched = cell.metadata.nbgrader.get("checksum") == utils.compute_checksum(cell)
            comments[grade_id(cell)] = "No response." if untouched and not utils.is_task(cell) else None
    return {"cells": cells, "comments": comments}
