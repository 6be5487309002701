"""From results on disk to the gradebook: in batches, and again later when it cannot be used now."""

import time

from autograde.nbgrader_plugin.gradebook import GradebookError, LessonChanged

BATCH = 100  # results entered in one transaction
BATCH_SECONDS = 2.0  # how long the first of a batch waits for others
PATIENCE = 30.0  # seconds until a gradebook that could not be used is tried again


class Entry:
    """Enters results, and keeps those that the gradebook would not take.

    Args:
        book: the `Book`.
        store: the `Store`.
        masters: ``{lesson: the notebook submissions are held against}``.
    """

    def __init__(self, book, store, masters):
        self.book = book
        self.store = store
        self.masters = masters
        self.prepared = set()
        self.waiting = {lesson: {} for lesson in masters}  # of each, results by student
        self.since = None  # when the first of those in waiting came
        self.tried = float("-inf")
        self.unusable = None  # why the gradebook cannot be used now
        self.changed = {}  # why a lesson cannot be entered

    @property
    def problems(self):
        """Sentences that say why not everything is entered."""
        return [*filter(None, [self.unusable]), *self.changed.values()]

    def prepare(self):
        """Make every lesson known to the gradebook."""
        for lesson in self.masters:
            self._try(lesson, lambda: None)
            if self.unusable:
                return

    def check(self, results):
        """Take up those of `results` that the gradebook does not have, or has otherwise."""
        for lesson in self.prepared:
            of_lesson = [result for result in results if result.lesson == lesson]

            def take_up(lesson=lesson, results=of_lesson):
                for result in self.book.missing(lesson, results):
                    self.take(result)

            self._try(lesson, take_up)

    def take(self, result):
        """Take up one result: it is entered now, or with others."""
        self.waiting[result.lesson][result.student] = result
        now = time.monotonic()
        self.since = self.since or now
        due = now - self.since > BATCH_SECONDS or sum(map(len, self.waiting.values())) >= BATCH
        if due and (self.unusable is None or now - self.tried > PATIENCE):
            self.flush()

    def flush(self):
        """Enter all that waits, as far as the gradebook takes it."""
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
        """Do something with a lesson in the gradebook; whether that could be done."""
        self.tried = time.monotonic()
        try:
            if lesson not in self.prepared:
                self.book.prepare(lesson, self.masters[lesson])
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
