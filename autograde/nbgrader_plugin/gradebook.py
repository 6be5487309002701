"""Enters results into nbgrader's gradebook with nbgrader's own classes, many submissions at a time.

`Book.enter` leaves the rows that ``nbgrader autograde`` would leave: manual scores stay, automatic scores are replaced,
and submissions with manual scores are marked for manual grading again.
"""

import contextlib
import os
from pathlib import Path

from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from nbgrader import api, utils
from sqlalchemy import create_engine, exc
from sqlalchemy.engine import make_url

from autograde.nbgrader_plugin.gradebook_rows import Rows
from autograde.notebook.cells import grade_id


class GradebookError(Exception):
    """The gradebook cannot be used now; the message says why, and what to do about it."""


class LessonChanged(GradebookError):
    """One lesson cannot be entered, since its graded cells have changed; others can."""


@contextlib.contextmanager
def _explained(db_url):
    try:
        yield
    except (exc.SQLAlchemyError, api.InvalidEntry, ImportError, OSError) as error:
        raise GradebookError(_words(str(getattr(error, "orig", error)), db_url)) from error


def _words(error, db_url):
    shown = db_url.split("@")[-1]  # without a password
    first = error.strip().splitlines()[0] if error.strip() else "no reason given"
    advice = {
        "parse": "Write it as sqlite:////home/me/gradebook.db, with four slashes before the first folder.",
        "load plugin": "A gradebook's URL begins with sqlite:/// or postgresql+psycopg://",
        "locked": "Another program is writing to it: wait until that has finished, or end it.",
        "readonly": "It may not be written to: change the permissions of the file and of its folder.",
        "read-only": "It may not be written to: change the permissions of the file and of its folder.",
        "unable to open": "See that its folder exists and may be written to.",
        "not a database": "Another file is in its place: move it away, or name the right one in nbgrader_config.py.",
        "malformed": "The file is damaged: put a copy of it in its place, or move it away to begin a new one.",
        "no such column": "It is of an older nbgrader: make a copy of it, then run: nbgrader db upgrade",
        "psycopg": "Install what it needs: pip install 'psycopg[binary]'",
        "connection": "See that the database server is running and can be reached.",
        "full": "Make room on the disk.",
    }
    what_to_do = next((words for sign, words in advice.items() if sign in error), "")
    return f"the gradebook {shown} cannot be used: {first}. {what_to_do}".rstrip()


class Book:
    """The gradebook of a course, opened when it is first used. Only one process at a time may write to it.

    Args:
        settings: `autograde.nbgrader_plugin.config.Settings`.
    """

    def __init__(self, settings):
        self.settings = settings
        self._opened = None
        self._lessons = {}

    @property
    def _book(self):
        if self._opened is None:
            _create(self.settings.db_url)
            self._opened = api.Gradebook(self.settings.db_url, self.settings.course_id)
        return self._opened

    def close(self):
        """Close the connection."""
        if self._opened is not None:
            self._opened.close()
            self._opened = None

    def prepare(self, lesson, reference):
        """Enter a lesson's current graded cells into the gradebook, as generate_assignment does.

        Args:
            lesson: its id.
            reference: the reference notebook (`autograde.nbgrader_plugin.reference`).

        Raises:
            GradebookError: the gradebook cannot be used.
            LessonChanged: the lesson has gained or lost a graded cell since it has submissions.
        """
        with _explained(self.settings.db_url):
            book = self._book
            book.update_or_create_assignment(lesson)
            if self._known(lesson) != _wanted(reference):
                self._save(lesson, reference)
            self._lessons[lesson] = Rows(book.db, lesson)
            book.db.rollback()

    def _known(self, lesson):
        try:
            notebook = self._book.find_notebook(lesson, lesson)
        except api.MissingEntry:
            return None
        points = {cell.name: cell.max_score for cell in [*notebook.grade_cells, *notebook.task_cells]}
        return {
            cell.name: (cell.cell_type, cell.locked, cell.source, cell.checksum, points.get(cell.name))
            for cell in notebook.source_cells
        }

    def _save(self, lesson, reference):
        from nbgrader.preprocessors import SaveCells

        keys = {"assignment": lesson, "notebook": lesson, "student": ".", "db_url": self.settings.db_url}
        try:
            SaveCells(config=self.settings.config).preprocess(reference, {"nbgrader": keys})
        except RuntimeError:
            raise LessonChanged(
                f"the lesson {lesson} has gained or lost a graded cell since the gradebook has submissions of it, which "
                f"nbgrader cannot enter. Make a copy of the gradebook, then take the lesson out of it and grade again: "
                f"nbgrader db assignment remove {lesson} --force"
            ) from None
        self._book.db.expire_all()

    def missing(self, lesson, results):
        """Those of `results` whose scores or late penalties are missing in the gradebook, or differ.

        Raises:
            GradebookError: it cannot be read.
        """
        rows = self._lessons[lesson]
        with _explained(self.settings.db_url):
            entered = rows.scores(self._book.db)
            changed = rows.changed_penalties(self._book.db, self.settings.config)
            self._book.db.rollback()
        return [
            result
            for result in results
            if result.student in changed
            or entered.get(result.student) != {name: score for name, (score, _) in result.cells.items()}
        ]

    def update_penalties(self, lesson):
        """Set the late penalties that have changed with the due date of a lesson that was prepared; their students.

        Raises:
            GradebookError: the gradebook cannot be written.
        """
        with _explained(self.settings.db_url):
            try:
                changed = self._lessons[lesson].update_penalties(self._book.db, self.settings.config)
                self._book.db.commit()
            except BaseException:
                self._book.db.rollback()
                raise
        return changed

    def enter(self, lesson, results):
        """Enter results of one lesson in one transaction.

        Args:
            lesson: id of a lesson that was prepared.
            results: `Result` of distinct students.

        Raises:
            GradebookError: nothing was entered.
        """
        with _explained(self.settings.db_url):
            try:
                self._lessons[lesson].enter(self._book.db, results, self.settings.config)
                self._book.db.commit()
            except BaseException:
                self._book.db.rollback()
                raise


@contextlib.contextmanager
def opened(settings):
    """Context manager that opens nbgrader's gradebook for reading; None where there is no gradebook yet.

    Raises:
        GradebookError: it cannot be read.
    """
    with _explained(settings.db_url):
        url = make_url(settings.db_url)
    if url.get_backend_name() == "sqlite" and not Path(url.database or ":memory:").exists():
        yield None
        return
    with _explained(settings.db_url):
        book = api.Gradebook(settings.db_url, settings.course_id)
        try:
            yield book
        finally:
            book.close()


def students(settings):
    """The ids of all students in the gradebook; none where there is no gradebook yet.

    Raises:
        GradebookError: it cannot be read.
    """
    with opened(settings) as book:
        return {student.id for student in book.students} if book else set()


def _create(db_url):
    """Create a new gradebook atomically: if nbgrader is killed while it creates one, it cannot upgrade what is left."""
    url = make_url(db_url)
    path = Path(url.database or ":memory:")
    if url.get_backend_name() != "sqlite" or url.query or str(path) == ":memory:" or path.exists():
        return
    half = path.with_name(f"{path.name}.half")
    half.unlink(missing_ok=True)
    engine = create_engine(url.set(database=str(half)))
    api.Base.metadata.create_all(engine)
    # nbgrader starts a process, `alembic heads`, to get the version, which takes longer than all the rest.
    scripts = ScriptDirectory(os.path.join(os.path.dirname(api.__file__), "alembic"))
    with engine.begin() as connection:
        MigrationContext.configure(connection).stamp(scripts, "head")
    engine.dispose()
    os.replace(half, path)


def _wanted(reference):
    found = {}
    for cell in reference.cells:
        if grade_id(cell) and (utils.is_grade(cell) or utils.is_solution(cell) or utils.is_locked(cell)
                               or utils.is_task(cell)):  # fmt: skip
            marks = cell.metadata.nbgrader
            points = float(marks["points"]) if utils.is_grade(cell) or utils.is_task(cell) else None
            found[grade_id(cell)] = (
                cell.cell_type, utils.is_locked(cell), cell.source, marks.get("checksum"), points,
            )  # fmt: skip
    return found
