"""Checks in the form that lessons had before: their hooks are given as decorators. Goes when the last of them has moved."""

from autograde.judge import check
from autograde.judge.draw import Draw


class Check(check.Check):
    def __init__(self, name, points, note="", parts=None, subject="", next_step=""):
        self.name, self.points, self.note, self.parts = name, points, note, parts or {}
        self.subject, self.next_step = subject, next_step
        super().__init__()
        if hasattr(self, "__post_init__"):
            self.__post_init__()

    def cases(self, given):
        if isinstance(given, Draw):
            return self._cases(given)
        self._cases = given
        return given

    def right(self, *function, **args):
        if not function:
            return self._right(**args)
        (self._right,) = function
        return self._right

    def compared(self, given, case=None):
        if case is not None:
            return self._compared(given, case) if hasattr(self, "_compared") else given
        self._compared = given
        return given
