"""Shortens the start of the grader's processes."""

import contextlib
import gc
import sys


def skip_slow_imports():
    """Prevent an import that takes two seconds of CPU time and that a grader does not need.

    If rfc3987_syntax is installed, jsonschema imports it for the format "iri", which the notebook schema does not use,
    and it builds a grammar at import. Call this before anything that imports nbformat.
    """
    sys.modules.setdefault("rfc3987_syntax", None)


@contextlib.contextmanager
def quick_imports():
    """Import without the garbage collector: it would go through hundreds of thousands of new objects again and again,
    which takes a third of the time that importing torch takes. Later too, it leaves alone what is there by then.
    """
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
    gc.freeze()
