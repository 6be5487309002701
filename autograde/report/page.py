"""The class report as one self-contained HTML page."""

import statistics
import time
from collections import Counter, defaultdict
from html import escape

from autograde.batch.table import NOTHING, SIGNS, isolation
from autograde.report import charts, heat_map
from autograde.report.collect import outcome
from autograde.report.safe_text import named, plain, prose
from autograde.report.style import STYLE

IN_FULL = 10  # misconceptions of a lesson that are described in full; the rarer ones have a line each
MAX_NAMES = 12  # students listed for one mistake
SLOWEST = 5


def page(lessons, roster=(), now=None):
    """The report as HTML.

    Args:
        lessons: `Lesson`, at least one.
        roster: ids of all known students, including those without a submission.
        now: the time shown as its date, in seconds since the epoch; default: the current time.
    """
    date = time.strftime("%d %B %Y, %H:%M", time.localtime(now))
    links = "".join(f'<a href="#{escape(lesson.name)}">{escape(lesson.name)}</a>' for lesson in lessons)
    sections = "".join(_lesson(lesson) for lesson in lessons)
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">"
        f"<title>Class report</title><style>{STYLE}</style></head><body>{charts.PATTERNS}"
        f'<h1>Class report</h1><p class="soft">{date} · automatic scores, without what a person has changed in '
        f'the gradebook</p>{_facts(lessons)}<nav>{links}<a href="#students">scores by student</a>'
        f'<a href="#run">how it ran</a></nav>{sections}{_students(lessons, roster)}{_how_it_ran(lessons)}</body></html>\n'
    )


def _facts(lessons):
    graded = [result for lesson in lessons for result in lesson.graded]
    failed = sum(len(lesson.failed) for lesson in lessons)
    points = sum(result.points for result in graded)
    share = sum(result.score for result in graded) / points if points else 0.0
    facts = [
        (len({result.student for result in graded}), "students"),
        (len(graded), "submissions graded"),
        (f"{share:.0%}", "of all points"),
        (failed, "could not be graded"),
    ]
    if graded:
        facts.append((f"{statistics.median(result.seconds for result in graded):.2g} s", "median time of one"))
        facts.append((escape(plain(isolation(graded))), "isolation"))
    return '<ul class="facts">' + "".join(f"<li><b>{value}</b>{words}</li>" for value, words in facts) + "</ul>"


def _lesson(lesson):
    mistakes = lesson.mistakes()
    parts = [f'<h2 id="{escape(lesson.name)}">{escape(lesson.name)}</h2>', _exercises(lesson)]
    if mistakes:
        parts.append("<h3>What the class gets wrong most</h3>")
        parts += [_mistake(mistake, len(lesson.graded)) for mistake in mistakes[:IN_FULL]]
        parts.append(_rarer(mistakes[IN_FULL:]))
    if found := heat_map.table(lesson):
        many = len(lesson.graded) > heat_map.MAX_STUDENT_ROWS
        rows = "A row is all students of one score" if many else "A row is a student"
        shade = ", a number how many of them, the darker the more" if many else "; ✕ marks a known misconception"
        parts.append(
            f'<h3>Students and misconceptions</h3><p class="soft">{rows}, the lowest scores first{shade}. '
            f"Striped: wrong in a way that is not known, not started, or not judged.</p>{found}"
        )
    return "<section>" + "".join(parts) + "</section>"


def _exercises(lesson):
    rows = []
    for exercise in lesson.exercises:
        verdicts = [verdict for _, verdict in lesson.verdicts(exercise)]
        counts = Counter(outcome(verdict) for verdict in verdicts)
        mean = statistics.fmean(verdict["score"] for verdict in verdicts)
        right = counts["passed"] / len(verdicts)
        rows.append(
            f'<tr><td><code>{escape(exercise)}</code></td><td class="n">{verdicts[0]["points"]:g}</td>'
            f'<td class="n">{mean:.2f}</td><td class="n">{right:.0%}</td><td>{charts.outcome_bar(counts)}</td></tr>'
        )
    head = '<tr><th>exercise</th><th class="n">points</th><th class="n">mean</th><th class="n">all right</th>'
    return (
        f'<h3>Scores by exercise</h3><div class="wide"><table><thead>{head}<th>{len(lesson.graded)} submissions</th>'
        f"</tr></thead><tbody>{''.join(rows)}</tbody></table></div>{charts.legend()}"
    )


def _mistake(mistake, of):
    students = ", ".join(named(student, 40) for student in mistake.students[:MAX_NAMES])
    more = f" and {len(mistake.students) - MAX_NAMES} more" if len(mistake.students) > MAX_NAMES else ""
    count = len(mistake.students)
    hint = f"<i>Hint given:</i> {prose(mistake.hint)}" if mistake.hint else ""
    words = "".join(f"{line}<br>" for line in (prose(mistake.thought), hint) if line)
    return (
        f'<div class="mistake"><div><b class="count">{count}</b> of {of}{charts.count_bar(count, of)}</div>'
        f"<div><code>{escape(mistake.exercise)}</code> · <code><b>{escape(mistake.misconception)}</b></code><br>"
        f'{words}<span class="soft">{students}{more}</span></div></div>'
    )


def _rarer(mistakes):
    if not mistakes:
        return ""
    rows = "".join(
        f'<tr><td class="n">{len(mistake.students)}</td><td><code>{escape(mistake.exercise)}</code></td>'
        f"<td><code>{escape(mistake.misconception)}</code></td><td>{prose(mistake.thought)}</td></tr>"
        for mistake in mistakes
    )
    return f'<div class="wide"><table class="rarer"><tbody>{rows}</tbody></table></div>'


def _students(lessons, roster):
    by_student = defaultdict(dict, {student: {} for student in roster})
    for lesson in lessons:
        for result in lesson.graded:
            by_student[result.student][lesson.name] = result
    heads = "".join(f'<th class="n">{escape(lesson.name)}<br>of {lesson.points:g}</th>' for lesson in lessons)
    rows = []
    for student, theirs in sorted(by_student.items()):
        cells = "".join(
            f'<td class="n">{_number(theirs[lesson.name].score)}</td>'
            if lesson.name in theirs
            else f'<td class="n">{NOTHING}</td>'
            for lesson in lessons
        )
        total = sum(result.score for result in theirs.values())
        rows.append(f'<tr><td class="name">{named(student)}</td>{cells}<td class="n"><b>{_number(total)}</b></td></tr>')
    most = sum(lesson.points for lesson in lessons)
    idle = [student for student, theirs in sorted(by_student.items()) if not theirs]
    names = ", ".join(named(student, 40) for student in idle)
    nothing = f"<p>Nothing graded of {len(idle)}: {names}.</p>" if idle else ""
    dots = any(len(theirs) < len(lessons) for theirs in by_student.values())
    legend = f'<p class="soft">{NOTHING} {SIGNS[NOTHING]}</p>' if dots else ""
    return (
        f'<section><h2 id="students">Scores by student</h2>{nothing}<div class="wide"><table><thead><tr><th>student</th>{heads}'
        f'<th class="n">sum<br>of {most:g}</th></tr></thead><tbody>{"".join(rows)}</tbody></table></div>{legend}</section>'
    )


def _number(score):
    return f"{round(score, 2):g}"


def _how_it_ran(lessons):
    graded = [result for lesson in lessons for result in lesson.graded]
    parts = ['<section><h2 id="run">How it ran</h2>']
    if graded:
        parts += [_times(lessons), _isolation(graded)]
    troubled = [
        (result, message) for lesson in lessons for result in [*lesson.failed, *lesson.graded]
        for message in _messages(result)
    ]  # fmt: skip
    parts.append("<h3>What could not be run or judged</h3>")
    if troubled:
        rows = "".join(
            f'<tr><td class="name">{named(result.student)}</td><td>{escape(result.lesson)}</td>'
            f"<td>{escape(plain(message, 500))}</td></tr>"
            for result, message in troubled
        )
        head = "<tr><th>student</th><th>lesson</th><th>what happened</th></tr>"
        parts.append(f'<div class="wide"><table><thead>{head}</thead><tbody>{rows}</tbody></table></div>')
    else:
        parts.append("<p>Everything could.</p>")
    return "".join(parts) + "</section>"


def _messages(result):
    """The reasons why a submission, or a part of it, could not be run or judged."""
    if result.message:
        return [result.message]
    reasons = [v["headline"] for v in result.verdicts if v["status"] in ("damaged", "stopped", "missing")]
    return list(dict.fromkeys(reasons))


def _times(lessons):
    rows = []
    for lesson in lessons:
        if lesson.graded:
            seconds = sorted(result.seconds for result in lesson.graded)
            late = seconds[min(len(seconds) - 1, int(0.95 * len(seconds)))]
            rows.append(
                f'<tr><td>{escape(lesson.name)}</td><td class="n">{statistics.median(seconds):.3f}</td>'
                f'<td class="n">{late:.3f}</td><td class="n">{seconds[-1]:.3f}</td><td class="n">{sum(seconds):.1f}</td></tr>'
            )
    graded = [result for lesson in lessons for result in lesson.graded]
    slowest = sorted(graded, key=lambda result: -result.seconds)[:SLOWEST]
    named_ones = ", ".join(f"{named(r.student, 40)} ({escape(r.lesson)}, {r.seconds:.2f} s)" for r in slowest)
    return (
        '<h3>Seconds a submission</h3><div class="wide"><table><thead><tr><th>lesson</th><th class="n">median</th>'
        '<th class="n">95 of 100 within</th><th class="n">longest</th><th class="n">all together</th></tr></thead>'
        f"<tbody>{''.join(rows)}</tbody></table></div>"
        f'<div class="wide">{charts.histogram([result.seconds for result in graded])}</div>'
        f"<p>The slowest: {named_ones}.</p>"
    )


def _isolation(graded):
    messages = Counter(
        result.isolation.get("message", result.isolation["level"]) for result in graded if result.isolation
    )
    items = "".join(f"<li>{count}: {escape(plain(words, 400))}</li>" for words, count in messages.most_common())
    rest = sum(result.isolation is None for result in graded)
    if rest:
        items += f"<li>{rest}: nothing was run.</li>"
    return f"<h3>Isolation</h3><ul>{items}</ul>"
