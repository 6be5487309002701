"""New files for the imports of Canvas and Moodle, from nothing but the gradebook."""

import csv
import io

from autograde.export.number import as_text
from autograde.submission.files import is_plain


def canvas(marks, columns):
    """``(a gradebook file for Canvas as bytes, the students left out because of their names)``.

    Canvas finds a student by "SIS Login ID". Its "ID" is a number of its own, so that column stays empty. It makes an
    assignment of each column whose name it does not know.

    Args:
        marks: `autograde.nbgrader_plugin.marks.Marks`.
        columns: ``{lesson: name of its column}``.
    """
    head = [
        ["Student", "ID", "SIS User ID", "SIS Login ID", "Section", *columns.values()],
        ["    Points Possible", "", "", "", "", *(as_text(marks.max_scores[lesson]) for lesson in columns)],
    ]
    return _table(head, lambda student: [student, "", "", student, ""], marks, columns, nothing="")


def moodle(marks, columns):
    """The same for Moodle's import of grades. A hyphen is no grade; Moodle would take an empty cell for 0 points."""
    return _table([["username", *columns.values()]], lambda student: [student], marks, columns, nothing="-")


def _table(head, start, marks, columns, nothing):
    with_marks = [student for student in marks.emails if any(student in marks.of[lesson] for lesson in columns)]
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    writer.writerows(head)
    for student in with_marks:
        if is_plain(student):
            theirs = [marks.of[lesson].get(student) for lesson in columns]
            writer.writerow([*start(student), *(nothing if mark is None else as_text(mark.score) for mark in theirs)])
    return text.getvalue().encode(), [student for student in with_marks if not is_plain(student)]
