"""Grades a class: selects the submissions, passes them to workers, and writes results to disk and to the gradebook.

Only this process writes. A result is written to disk before it is entered, so the gradebook may be locked, or this
process killed, at any moment: the next run enters the results on disk, and grades the rest.
"""

import contextlib
import dataclasses
import time
from dataclasses import dataclass, field

import nbformat

from autograde.batch import graded
from autograde.batch.gradebook_writer import GradebookWriter
from autograde.batch.local_workers import CannotGrade
from autograde.batch.results import FAILED, GRADED, Result, Store
from autograde.nbgrader_plugin import execute, reference
from autograde.nbgrader_plugin.gradebook import Book
from autograde.project import CourseError
from autograde.submission import files as submissions
from autograde.submission import grader_version as version
from autograde.submission.client import question
from autograde.submission.files import Submission

_CLOSED = (PermissionError, NotADirectoryError, IsADirectoryError)
WRITABLE = "Allow that, or remove what is there, and grade again"
ABORT_AFTER_FAILURES = 3  # grading processes that did not start, before any did: no other one will


@dataclass(frozen=True)
class Task:
    """One submission to be graded."""

    course: object
    submission: Submission
    version: str
    reference: str
    settings: dict

    def question(self):
        """The message for a grading process."""
        return question(
            self.submission,
            files=submissions.files_beside(self.submission, self.course),
            reference=self.reference,
            version=self.version,
            settings=self.settings,
        )


@dataclass
class Outcome:
    """The outcome of a run.

    Attributes:
        graded: every `Result` of this run.
        skipped: every `Result` of earlier runs that is still valid.
        failed: every `Result` of a submission that the grader could not grade.
        notices: messages about other files in the folder of submissions.
        problems: messages that say why not everything is in the gradebook; empty if it is.
        seconds: wall time.
        interrupted: whether a person interrupted it.
    """

    graded: list = field(default_factory=list)
    skipped: list = field(default_factory=list)
    failed: list = field(default_factory=list)
    notices: list = field(default_factory=list)
    problems: list = field(default_factory=list)
    seconds: float = 0.0
    interrupted: bool = False


class Grading:
    """One run over a class.

    Args:
        course: the `Course`.
        lessons: ids.
        settings: nbgrader's (`autograde.nbgrader_plugin.config`).
        progress: shows the progress (`autograde.batch.progress`).
        force: grade again what is graded already.
        require_isolation: run nothing outside a full sandbox.

    Raises:
        CourseError: a lesson's notebook is missing, or another run is in progress.
    """

    def __init__(self, course, lessons, settings, progress, *, force=False, require_isolation=False):
        self.course = course
        self.progress = progress
        self.force = force
        self.require_isolation = require_isolation
        self.store = Store(course.autograded)
        self.outcome = Outcome()
        self.found, self.outcome.notices = submissions.find(course, lessons)
        handed_in = dict.fromkeys(submission.lesson for submission in self.found)
        self.references = {lesson: _reference(course, lesson, settings.config) for lesson in handed_in}
        self.texts = {lesson: nbformat.writes(notebook) for lesson, notebook in self.references.items()}
        self.versions = {lesson: version.of_lesson(course, lesson, text) for lesson, text in self.texts.items()}
        self.settings = execute.question_settings(settings.config)
        self.not_started = 0
        self.book = Book(settings)
        self.writer = GradebookWriter(self.book, self.store, self.references)

    def run(self, workers):
        """Grade the submissions that need it with `workers` (`local_workers`, `dask_workers`); an `Outcome`.

        Raises:
            CannotGrade: nothing can be graded here. What was graded before that is kept.
            OSError: results cannot be written.
        """
        started = time.monotonic()
        outcome = self.outcome
        with self.store.locked():
            try:
                if tasks := self._tasks():
                    self._grade(tasks, workers)
                else:
                    self._open_gradebook()
            except KeyboardInterrupt:
                outcome.interrupted = True
            finally:
                self.writer.flush()
                self.book.close()
                outcome.problems = self.writer.problems
                outcome.seconds = time.monotonic() - started
        return outcome

    def _tasks(self):
        """A `Task` for each submission to be graded. Others are skipped, and their results entered if they are not yet."""
        tasks = []
        for submission in self.found:
            result = None if self.force else self._valid_result(submission)
            if result:
                self.outcome.skipped.append(result)
            else:
                lesson = submission.lesson
                tasks.append(Task(self.course, submission, self.versions[lesson], self.texts[lesson], self.settings))
        return tasks

    def _valid_result(self, submission):
        """The earlier result of a submission, if it is still valid; else None."""
        result, new = self.store.read(submission.student, submission.lesson)
        kept = result is not None and result.status != FAILED and self.store.intact(result)
        if not kept:
            result, new = graded.by_nbgrader(self.store, submission), False
        if result is None or result.version != self.versions[submission.lesson]:
            return None
        if self.require_isolation and not _isolated(result):
            return None
        content, reason = submission.read()
        if result.content != submissions.fingerprint(
            content, reason, submissions.files_beside(submission, self.course)
        ):
            return None
        try:
            if result.timestamp != submission.timestamp():
                result.timestamp, new = submission.timestamp(), True
                self.store.renew(result)
            elif not kept:
                self.store.keep(result)
        except _CLOSED:  # which is told of when it has been graded again
            return None
        if new:
            self.writer.add(result)
        return result

    def _open_gradebook(self):
        self.writer.prepare()
        self.writer.check(self.outcome.skipped)
        if self.writer.problems:
            self.progress.say(*self.writer.problems, "Results are kept, and entered when it can be used again.")

    def _grade(self, tasks, workers):
        outcome = self.outcome
        self.progress.begin(len(tasks), len(outcome.skipped))
        with workers:
            results = workers.run(tasks)  # they start now: creating a gradebook takes as long as their start
            self._open_gradebook()
            for task, found, notebook in _starved_once_more(results, workers):
                result = self._kept(task, self._result(task, found), notebook)
                if result.status == GRADED:
                    outcome.graded.append(result)
                    self.writer.add(result)
                else:
                    outcome.failed.append(result)
                    self.not_started += not found.get("started", True)
                    if found.get("stop") or (self.not_started >= ABORT_AFTER_FAILURES and not outcome.graded):
                        raise CannotGrade(found["trouble"])
                self.progress.step(result)

    def _kept(self, task, result, notebook):
        """The result, written; or another one that says why it cannot be, where that concerns this student's folder alone."""
        try:
            self.store.write(result, notebook, submissions.files_beside(task.submission, self.course))
            return result
        except _CLOSED as error:
            if not self.store.is_writable():
                raise
            message = (
                f"its result cannot be written ({error.strerror}: {error.filename2 or error.filename}). {WRITABLE}"
            )
        result = dataclasses.replace(
            result, status=FAILED, content="", message=message, cells={}, comments={}, verdicts=[]
        )
        with contextlib.suppress(OSError):
            self.store.write(result, b"", {})
        return result

    def _result(self, task, found):
        one = task.submission
        known = {"student": one.student, "lesson": one.lesson, "version": task.version, "timestamp": one.timestamp()}
        if "trouble" in found:
            return Result(**known, status=FAILED, content="", message=found["trouble"])
        return Result(**known, status=GRADED, **found)


def _starved_once_more(results, workers):
    """Yield the `results` of `workers`. A submission that was stopped while it waited for a processor is held back, and
    graded once more by itself after all others.
    """
    starved = []
    for task, found, notebook in results:
        if found.pop("starved", False):
            starved.append(task)
        else:
            yield task, found, notebook
    for one in starved:
        for task, found, notebook in workers.run([one]):
            found.pop("starved", None)
            yield task, found, notebook


def _reference(course, lesson, config):
    try:
        return reference.of_lesson(course, lesson, config)
    except (OSError, ValueError) as error:
        where = course.release(lesson).relative_to(course.root)
        raise CourseError(f"{where} cannot be read ({error}); run: autograde build {lesson}") from None


def _isolated(result):
    return result.isolation is None or result.isolation.get("level") == "full"
