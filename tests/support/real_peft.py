"""The real PEFT, imported when a test first uses it: that takes seconds, and each process of pytest-xdist reads every file."""

import functools
import warnings

import pytest


class _WhenUsed:
    def __getattr__(self, name):
        return getattr(_imported(), name)


@functools.cache
def _imported():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return pytest.importorskip("peft")


peft = _WhenUsed()
