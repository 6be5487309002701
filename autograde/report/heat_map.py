"""The heat map of students and misconceptions. In a small class, a row is a student; in a large one, a range of scores."""

import itertools
from collections import Counter
from html import escape

from autograde.report import collect
from autograde.report.safe_text import named

MAX_STUDENT_ROWS = 60  # in a larger class, several students share a row
BANDS = 20  # the approximate number of rows in a larger class

REST = {collect.WRONG: "wrong in another way", collect.NOT_STARTED: "not started", collect.NOT_JUDGED: "not judged"}


def columns(lesson):
    """``{exercise: [misconception or outcome]}``: the columns, the most common misconception first, other outcomes last."""
    met = {exercise: [] for exercise in lesson.exercises}
    for mistake in lesson.mistakes():
        met[mistake.exercise].append(mistake.misconception)
    for exercise, found in met.items():
        seen = {_column(verdict) for _, verdict in lesson.verdicts(exercise)}
        found += [outcome for outcome in REST if outcome in seen]
    return {exercise: found for exercise, found in met.items() if found}


def _column(verdict):
    """The column of the heat map that a verdict belongs to; None for a right answer."""
    found = collect.outcome(verdict)
    if verdict["misconception"]:
        return verdict["misconception"]
    if found == collect.PARTLY:
        return collect.WRONG
    return None if found == collect.PASSED else found


def rows(lesson):
    """``[(heading, [results])]``, the lowest scores first. In a large class, students with the same score share a row; if
    there are many scores, so do neighbouring scores.
    """
    ordered = sorted(lesson.graded, key=lambda result: (result.score, result.student))
    if len(ordered) <= MAX_STUDENT_ROWS:
        return [(named(result.student), [result]) for result in ordered]
    by_score = [list(members) for _, members in itertools.groupby(ordered, key=lambda result: round(result.score, 6))]
    bands, waiting = [], []
    for position, members in enumerate(by_score):
        waiting += members
        filled = len(waiting) >= len(ordered) / BANDS
        if filled or len(by_score) <= BANDS or position == len(by_score) - 1:
            bands.append((_heading(waiting), waiting))
            waiting = []
    return bands


def _heading(members):
    low, high = (f"{result.score:.3g}" for result in (members[0], members[-1]))
    scores = low if low == high else f"{low} to {high}"
    return f"{len(members)} with {scores} point{'' if scores == '1' else 's'}"


def table(lesson):
    """The heat map as HTML; empty if there were no mistakes."""
    met = columns(lesson)
    if not met:
        return ""
    groups = "".join(f'<th class="first" colspan="{len(found)}">{escape(name)}</th>' for name, found in met.items())
    heads = "".join(
        f"<th{_first(i)}><div>{escape(REST.get(column, column))}</div></th>"
        for found in met.values()
        for i, column in enumerate(found)
    )
    body = "".join(
        f"<tr><th scope='row'>{heading}</th>{_cells(met, members)}</tr>" for heading, members in rows(lesson)
    )
    return (
        f'<div class="wide"><table class="heat"><thead><tr><td></td>{groups}</tr><tr><td></td>{heads}</tr></thead>'
        f"<tbody>{body}</tbody></table></div>"
    )


def _cells(met, members):
    counted = Counter((v["exercise"], _column(v)) for result in members for v in result.verdicts)
    cells = []
    for exercise, found in met.items():
        for i, column in enumerate(found):
            count = counted[exercise, column]
            share = count / len(members)
            kind = " rest" if column in REST else ""
            shade = f' class="h{kind}{" dark" if share > 0.6 and not kind else ""}{" first" if i == 0 else ""}"'
            text = "" if not count else "✕" if len(members) == 1 and not kind else "" if len(members) == 1 else count
            cells.append(f'<td{shade} style="--a:{share:.2f}">{text}</td>' if count else f"<td{_first(i)}></td>")
    return "".join(cells)


def _first(position):
    return ' class="first"' if position == 0 else ""
