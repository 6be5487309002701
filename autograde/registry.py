"""What right means, one module a lesson, and the known ways to be wrong.

A module's name is its lesson's id without the number; `CHECKS` in it lists the lesson's checks in order.
"""

import difflib
import importlib

LESSONS = (
    "00_start_here",
    "01_low_rank",
    "02_the_bug",
    "03_two_thin_products",
    "04_lora_linear",
    "05_counting",
    "06_merging",
)


def of_lesson(lesson):
    """The checks of one lesson, in the order in which the lesson has them."""
    return importlib.import_module(f"autograde.checks.{lesson[3:]}").CHECKS


def find(name):
    """The check called `name`.

    Raises:
        KeyError: there is none; the message names the nearest.
    """
    known = {check.name: check for lesson in LESSONS for check in of_lesson(lesson)}
    if name in known:
        return known[name]
    near = difflib.get_close_matches(name, known, n=1)
    raise KeyError(f"there is no exercise {name!r}" + (f"; did you mean {near[0]!r}?" if near else ""))


class _Namespace:
    """``check.<exercise>``: every check of the course as an attribute."""

    def __getattr__(self, name):
        try:
            return find(name)
        except KeyError as error:
            raise AttributeError(error.args[0]) from None

    def __dir__(self):
        return [check.name for lesson in LESSONS for check in of_lesson(lesson)]


check = _Namespace()
