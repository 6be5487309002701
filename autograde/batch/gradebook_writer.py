"""Enters results into the gradebook in batches, and tries again later if the gradebook cannot be used now."""

import time

from autograde.nbgrader_plugin.gradebook import GradebookError, LessonChanged

BATCH = 100  # results entered in one transaction
BATCH_SECONDS = 2.0  # how long the first of a batch waits for others
RETRY_SECONDS = 30.0  # until a gradebook that could not be used is tried again


class GradebookWriter:
    """Enters results, and keeps those that could not be entered.

    Args:
        book: the `Book`.
        store: the `Store`.
        references: ``{lesson: the reference notebook}``.
    """

    def __init__(self, book, store, references):
        self.book = book
        self.store = store
        self.references = references
        self.prepared = set()
        self.waiting = {lesson: {} for lesson in references}  # of each, results by student
        self.since = None  # when the first of the waiting results was added
        self.tried = float("-inf")
        self.unusable = None  # why the gradebook cannot be used now
        self.changed = {}  # by lesson, why it cannot be entered

    @property
    def problems(self):
        """Messages that say why not everything is entered."""
        return [*filter(None, [self.unusable]), *self.changed.values()]

    def prepare(self):
        """Enter every lesson into the gradebook."""
        for lesson in self.references:
            self._try(lesson, lambda: None)
            if self.unusable:
                return

    def check(self, results):
        """Add those of `results` that are missing in the gradebook, or differ there."""
        for lesson in self.prepared:
            of_lesson = [result for result in results if result.lesson == lesson]

            def add_missing(lesson=lesson, results=of_lesson):
                for result in self.book.missing(lesson, results):
                    self.add(result)

            self._try(lesson, add_missing)

    def add(self, result):
        """Add one result: it is entered now, or later in a batch."""
        self.waiting[result.lesson][result.student] = result
        now = time.monotonic()
        self.since = self.since or now
        due = now - self.since > BATCH_SECONDS or sum(map(len, self.waiting.values())) >= BATCH
        if due and (self.unusable is None or now - self.tried > RETRY_SECONDS):
            self.flush()

    def flush(self):
        """Enter all waiting results, as far as the gradebook can be used."""
        for lesson, waiting in self.waiting.items():
            while waiting:
                batch = list(waiting.values())[:BATCH]
                if not self._try(lesson, lambda lesson=lesson, batch=batch: self.book.enter(lesson, batch)):
                    break
                for result in batch:
                    self.store.entered(result)
                    del waiting[result.student]
            if self.unusable:
                return
        self.since = None

    def _try(self, lesson, action):
        """Call `action` with the lesson prepared in the gradebook; whether that succeeded."""
        self.tried = time.monotonic()
        try:
            if lesson not in self.prepared:
                self.book.prepare(lesson, self.references[lesson])
                self.prepared.add(lesson)
            action()
        except LessonChanged as error:
            self.changed[lesson] = str(error)
            return False
        except GradebookError as error:
            self.unusable = str(error)
            return False
        self.unusable = None
        return True
