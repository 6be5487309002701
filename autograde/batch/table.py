"""Prints the outcome of a grading run as tables: the class, the misconceptions, and the run."""

from collections import Counter, defaultdict

from rich.table import Table
from rich.text import Text

from autograde.terminal import one_line

MAX_STUDENTS = 40  # rows of the class table; the report has everyone
WIDEST = 10_000  # characters of a line
NARROWEST = len("student")  # characters of a name, before it is folded
MAX_NAMES = 6  # students listed for one misconception
MAX_MESSAGE = 600  # characters of what is said of one submission
NOTHING, WAITS = "·", "+ ?"
SIGNS = {NOTHING: "nothing graded", WAITS: "more points when a person has graded the rest"}


def show(console, outcome, lessons):
    """Print the tables and the messages.

    Args:
        console: a rich Console.
        outcome: `autograde.batch.pipeline.Outcome`.
        lessons: ids, in order.
    """
    results = outcome.graded + outcome.skipped
    if results:
        scores = _class(results, lessons, console.width)
        _print(console, scores)
        shown = [cell for column in scores.columns[1:] for cell in column.cells]
        signs = [
            f"{sign}  {meaning}\n" for sign, meaning in SIGNS.items() if any(cell.endswith(sign) for cell in shown)
        ]
        console.print("".join(signs), end="\n" if signs else "")
        if hidden := len({result.student for result in results}) - MAX_STUDENTS:
            if hidden > 0:
                console.print(f"… and {hidden} more; `autograde report` shows everyone.")
        if any(verdict["misconception"] for result in results for verdict in result.verdicts):
            _print(console, _mistakes(results))
        _damaged(console, results)
    if results or outcome.failed:
        _print(console, _run(outcome, lessons))
    for result in outcome.failed:
        console.print(Text(f"not graded: {_line(result, result.message)}", style="bold"))
    for message in outcome.notices:
        console.print(Text(message, style="dim"))


def _table(title):
    from rich import box

    return Table(
        title=title,
        title_justify="left",
        title_style="bold",
        box=box.SIMPLE_HEAD,
        padding=(0, 1, 0, 0),  # and a blank of the box between two columns
        pad_edge=False,
    )


def _print(console, table):
    """Print a table; where it does not fit, in lines that the terminal wraps: no number is cut off."""
    needed = table.__rich_measure__(console, console.options.update_width(WIDEST)).minimum
    width = console.width
    console.width = max(width, needed)
    console.print(table)
    console.width = width


def _class(results, lessons, width):
    table = _table("Who got what")
    table.add_column("student", overflow="fold", min_width=NARROWEST)
    by_student = defaultdict(dict)
    points = {}
    for result in results:
        by_student[result.student][result.lesson] = result
        points[result.lesson] = max(points.get(result.lesson, 0.0), result.points)
    shown = [lesson for lesson in lessons if lesson in points]
    students = sorted(by_student)[:MAX_STUDENTS]
    if sum(len(lesson) + 2 for lesson in shown) + max(map(len, students)) > width - len("  /100"):
        headings = {lesson: lesson.partition("_")[0] for lesson in shown}  # the number; the table below has the names
    else:
        headings = dict(zip(shown, shown, strict=True))
    rows = {}
    for student in students:
        theirs = by_student[student]
        rows[student] = [_score(theirs[lesson]) if lesson in theirs else NOTHING for lesson in shown]
        rows[student].append(f"{sum(result.score for result in theirs.values()):g}")
    heads = [(headings[lesson], f"/{points[lesson]:g}") for lesson in shown] + [("sum", f"/{sum(points.values()):g}")]
    widths = [
        max(map(len, (*head, *column))) for head, column in zip(heads, zip(*rows.values(), strict=True), strict=True)
    ]
    table.columns[0].max_width = max(NARROWEST, width - sum(widths) - 2 * len(widths) - 2)
    for head, number_width in zip(heads, widths, strict=True):
        table.add_column("\n".join(head), justify="right", width=number_width)
    for student, cells in rows.items():
        table.add_row(Text(student), *cells)
    return table


def _score(result):
    waits = any(score is None for score, _ in result.cells.values())
    return f"{result.score:g}" + (f" {WAITS}" if waits else "")


def _mistakes(results):
    table = _table("Which misconceptions were met")
    for column in ("exercise", "misconception"):
        table.add_column(column, no_wrap=True)  # names are searched for: never folded
    table.add_column("students", justify="right")
    table.add_column("who", overflow="fold")
    students_with = defaultdict(list)
    for result in results:
        for verdict in result.verdicts:
            if verdict["misconception"]:
                students_with[verdict["exercise"], verdict["misconception"]].append(result.student)
    order = {verdict["exercise"]: i for i, verdict in enumerate(v for r in results for v in r.verdicts)}
    for (exercise, mistake), students in sorted(
        students_with.items(), key=lambda item: (order[item[0][0]], -len(item[1]))
    ):
        names = ", ".join(sorted(students)[:MAX_NAMES]) + (", …" if len(students) > MAX_NAMES else "")
        table.add_row(Text(exercise), Text(mistake), str(len(students)), Text(names))
    return table


def _damaged(console, results):
    for result in results:
        messages = {result.message} if result.message else set()
        messages |= {v["headline"] for v in result.verdicts if v["status"] in ("damaged", "stopped")}
        for message in sorted(messages):
            console.print(Text(_line(result, message)))


def _line(result, message):
    """What is said of a submission. It may quote an exception of the learner's, which must not say something of another."""
    return f"{result.student} {result.lesson}: {one_line(message, MAX_MESSAGE)}"


def _run(outcome, lessons):
    table = _table("This run")
    table.add_column("lesson", no_wrap=True)
    for column in ("graded", "failed", "skipped"):
        table.add_column(column, justify="right")
    table.add_column("isolation")
    table.add_column("seconds a submission", justify="right")
    for lesson in lessons:
        graded, failed, skipped = (
            [result for result in results if result.lesson == lesson]
            for results in (outcome.graded, outcome.failed, outcome.skipped)
        )
        if graded or failed or skipped:
            seconds = sum(result.seconds for result in graded) / len(graded) if graded else None
            counts = (str(len(results)) for results in (graded, failed, skipped))
            table.add_row(lesson, *counts, isolation(graded + skipped), "" if seconds is None else f"{seconds:.3f}")
    return table


def isolation(results):
    """The levels of isolation that were reached, the most common first: ``full``, ``full 38, none 2``."""
    levels = Counter(result.isolation["level"] for result in results if result.isolation)
    if len(levels) < 2:
        return next(iter(levels), "nothing was run")
    return ", ".join(f"{level} {count}" for level, count in levels.most_common())


def summary(outcome):
    """One line with the counts and the time."""
    parts = [f"{len(outcome.graded)} graded", f"{len(outcome.skipped)} skipped", f"{len(outcome.failed)} failed"]
    line = ", ".join(parts) + f" in {outcome.seconds:.1f} s"
    if outcome.graded:
        line += f" ({outcome.seconds / len(outcome.graded):.3f} s a submission, everything included)"
    return line
