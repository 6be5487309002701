"""Reads and writes the rows of one lesson in nbgrader's tables, for many students at once."""

from nbgrader import api
from sqlalchemy import insert, select, update

from autograde.submission.files import parsed_time

STUDENT, SUBMISSION, NOTEBOOK = api.Student, api.SubmittedAssignment, api.SubmittedNotebook
GRADE, COMMENT, CELL = api.Grade, api.Comment, api.BaseCell
SCORED = {"GradeCell", "TaskCell"}
COMMENTED = {"SolutionCell", "TaskCell"}


class Rows:
    """The rows of one lesson; created again when the lesson's cells have changed.

    Args:
        db: a SQLAlchemy session of the gradebook.
        lesson: id of an assignment in the gradebook.
    """

    def __init__(self, db, lesson):
        chosen = select(api.Assignment.id, api.Assignment.duedate).where(api.Assignment.name == lesson)
        self.assignment, self.due = db.execute(chosen).one()
        notebooks = select(api.Notebook.name, api.Notebook.id).where(api.Notebook.assignment_id == self.assignment)
        named = dict(db.execute(notebooks).all())
        self.own = named[lesson]  # an instructor may have added others
        self.cells = {}  # of each notebook: [(name, id, kind)]
        for notebook in named.values():
            cells = select(CELL.name, CELL.id, CELL.type).where(CELL.notebook_id == notebook)
            self.cells[notebook] = db.execute(cells).all()

    def scores(self, db):
        """``{student: {grade_id: automatic score}}`` of every submission in the gradebook."""
        found = {}
        chosen = (
            select(SUBMISSION.student_id, CELL.name, GRADE.auto_score)
            .join(NOTEBOOK, NOTEBOOK.assignment_id == SUBMISSION.id)
            .join(GRADE, GRADE.notebook_id == NOTEBOOK.id)
            .join(CELL, CELL.id == GRADE.cell_id)
            .where(NOTEBOOK.notebook_id == self.own)
        )
        for student, cell, score in db.execute(chosen):
            found.setdefault(student, {})[cell] = score
        return found

    def enter(self, db, results, config):
        """Update the rows of the students of these results, without a commit.

        Args:
            db: the session.
            results: `Result` of distinct students.
            config: nbgrader's configuration, for late penalties.
        """
        wanted = {result.student: result for result in results}
        there = set(db.scalars(select(STUDENT.id).where(STUDENT.id.in_(wanted))))
        _add(db, STUDENT, [{"id": student} for student in wanted if student not in there])
        submissions = self._submissions(db, wanted)
        notebooks = self._notebooks(db, submissions)
        for notebook in self.cells:
            owners = {row: wanted[student] for (student, of), row in notebooks.items() if of == notebook}
            self._grades(db, notebook, owners)
            self._comments(db, notebook, owners)
        self._penalties(
            db, wanted, {student: row for (student, of), row in notebooks.items() if of == self.own}, config
        )

    def _submissions(self, db, wanted):
        """``{student: id of the submission}``; missing submissions are created, and known hand-in times entered."""
        chosen = select(SUBMISSION.student_id, SUBMISSION.id).where(
            SUBMISSION.assignment_id == self.assignment, SUBMISSION.student_id.in_(wanted)
        )
        found = dict(db.execute(chosen).all())
        times = {student: parsed_time(result.timestamp) for student, result in wanted.items()}
        new = [
            {"id": api.new_uuid(), "assignment_id": self.assignment, "student_id": student, "timestamp": times[student]}
            for student in wanted
            if student not in found
        ]
        _set(db, SUBMISSION, [{"id": row, "timestamp": times[who]} for who, row in found.items() if times[who]])
        _add(db, SUBMISSION, new)
        return found | {row["student_id"]: row["id"] for row in new}

    def _notebooks(self, db, submissions):
        """``{(student, notebook): id of the submitted notebook}``."""
        whose = {row: student for student, row in submissions.items()}
        chosen = select(NOTEBOOK.assignment_id, NOTEBOOK.notebook_id, NOTEBOOK.id).where(
            NOTEBOOK.assignment_id.in_(whose)
        )
        found = {(whose[submission], notebook): row for submission, notebook, row in db.execute(chosen)}
        new = [
            {"id": api.new_uuid(), "assignment_id": submission, "notebook_id": notebook}
            for student, submission in submissions.items()
            for notebook in self.cells
            if (student, notebook) not in found
        ]
        _add(db, NOTEBOOK, new)
        return found | {(whose[row["assignment_id"]], row["notebook_id"]): row["id"] for row in new}

    def _grades(self, db, notebook, owners):
        chosen = select(GRADE.notebook_id, GRADE.cell_id, GRADE.id, GRADE.manual_score).where(
            GRADE.notebook_id.in_(owners)
        )
        there = {(row.notebook_id, row.cell_id): row for row in db.execute(chosen)}
        changed, new = [], []
        for owner, result in owners.items():
            for name, cell, kind in self.cells[notebook]:
                if kind not in SCORED:
                    continue
                row = there.get((owner, cell))
                score = result.cells.get(name, (None, 0))[0] if notebook == self.own else None
                # As in nbgrader: a cell needs manual grading if it has a manual score, or no automatic one.
                manual = score is None or (row is not None and row.manual_score is not None)
                values = {"auto_score": score, "needs_manual_grade": manual}
                if row is None:
                    new.append({"id": api.new_uuid(), "notebook_id": owner, "cell_id": cell, **values})
                elif notebook == self.own:
                    changed.append({"id": row.id, **values})
        _add(db, GRADE, new)
        _set(db, GRADE, changed)

    def _comments(self, db, notebook, owners):
        chosen = select(COMMENT.notebook_id, COMMENT.cell_id, COMMENT.id).where(COMMENT.notebook_id.in_(owners))
        there = {(owner, cell): row for owner, cell, row in db.execute(chosen)}
        changed, new = [], []
        for owner, result in owners.items():
            for name, cell, kind in self.cells[notebook]:
                if kind not in COMMENTED:
                    continue
                comment = result.comments.get(name) if notebook == self.own else None
                if (owner, cell) not in there:
                    new.append({"id": api.new_uuid(), "notebook_id": owner, "cell_id": cell, "auto_comment": comment})
                elif notebook == self.own:
                    changed.append({"id": there[owner, cell], "auto_comment": comment})
        _add(db, COMMENT, new)
        _set(db, COMMENT, changed)

    def changed_penalties(self, db, config):
        """The students whose late penalty would differ now, since the due date has changed after it was entered."""
        chosen = (
            select(SUBMISSION.student_id, SUBMISSION.timestamp, NOTEBOOK.id, NOTEBOOK.late_submission_penalty)
            .join(NOTEBOOK, NOTEBOOK.assignment_id == SUBMISSION.id)
            .where(NOTEBOOK.notebook_id == self.own)
        )
        penalty = self._penalty(config)
        return {
            student
            for student, timestamp, row, entered in db.execute(chosen).all()
            if (entered is not None or (self.due is not None and timestamp is not None and timestamp > self.due))
            and penalty(student, db.get(NOTEBOOK, row, populate_existing=True)) != entered
        }

    def update_penalties(self, db, config):
        """Set the late penalties that would differ now, without a commit; their students, sorted."""
        changed = sorted(self.changed_penalties(db, config))
        chosen = (
            select(SUBMISSION.student_id, NOTEBOOK.id)
            .join(NOTEBOOK, NOTEBOOK.assignment_id == SUBMISSION.id)
            .where(NOTEBOOK.notebook_id == self.own, SUBMISSION.student_id.in_(changed))
        )
        if changed:
            self._penalties(db, changed, dict(db.execute(chosen).all()), config)
        return changed

    def _penalties(self, db, wanted, rows, config):
        if self.due is None:
            late = NOTEBOOK.late_submission_penalty
            ids = [rows[student] for student in wanted]
            db.execute(update(NOTEBOOK).where(NOTEBOOK.id.in_(ids), late.is_not(None)).values({late: None}))
            return
        db.flush()
        penalty = self._penalty(config)
        for student in wanted:
            notebook = db.get(NOTEBOOK, rows[student], populate_existing=True)
            notebook.late_submission_penalty = penalty(student, notebook)

    @staticmethod
    def _penalty(config):
        """nbgrader's rule, or the configured plug-in, as ``penalty(student, submitted notebook)``."""
        from nbgrader.preprocessors import AssignLatePenalties

        step = AssignLatePenalties(config=config)
        step.init_plugin()

        def penalty(student, notebook):
            late = notebook.assignment.total_seconds_late
            points = step.plugin_inst.late_submission_penalty(student, notebook.score, late) if late > 0 else None
            return None if points is None else step._check_late_penalty(notebook, points)

        return penalty


def _add(db, table, rows):
    if rows:
        db.execute(insert(table), rows)


def _set(db, table, rows):
    if rows:
        db.execute(update(table), rows)
