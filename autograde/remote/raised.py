"""Turns an exception of the learner's code into plain data, with the learner's line that raised it."""

import builtins
import difflib
import keyword
import linecache
import os
import traceback

MAX_LENGTH_DIFFERENCE = 2  # of a misspelt name and the one that was meant: `eig` is not what `weight` was meant for
SHORT = 2  # characters of a name that is close to many: nobody who writes `r` has misspelt `or`


_THIS_PACKAGE = os.path.dirname(os.path.dirname(__file__)) + os.sep


def _learner_line(frame, line):
    """The text of a line that the learner wrote: one of their cells, or of a file of theirs in the same folder. Empty for a
    line of a library or of what the course gives, and for code that has no text, such as a method made by `dataclass`.
    """
    filename = frame.f_code.co_filename
    if filename.startswith(_THIS_PACKAGE):  # also what a probe runs as if it stood in a cell
        return ""
    if frame.f_globals.get("__name__") != "__main__" and os.path.dirname(os.path.realpath(filename)) != _folder():
        return ""
    return linecache.getline(filename, line).strip()


def _folder():
    try:
        return os.path.realpath(os.curdir)
    except OSError:  # the folder was deleted
        return None


def _closest_name(error):
    """The existing name that is closest to a misspelt one, as Python's traceback suggests it; empty if there is none."""
    name = getattr(error, "name", None)
    try:
        if isinstance(error, AttributeError):
            candidates = dir(error.obj)
        elif isinstance(error, NameError):
            *_, (frame, _line) = traceback.walk_tb(error.__traceback__)
            candidates = [*frame.f_locals, *frame.f_globals, *dir(builtins), *keyword.kwlist]
        else:
            return ""
        if other_case := [each for each in candidates if each != name and each.lower() == name.lower()]:
            return other_case[0]
        if len(name) <= SHORT:
            return ""
        candidates = [candidate for candidate in candidates if abs(len(candidate) - len(name)) <= MAX_LENGTH_DIFFERENCE]
        matches = [match for match in difflib.get_close_matches(name, candidates, n=3) if match != name]
        return matches[0] if matches else ""
    except Exception:  # a learner's __dir__ may do anything
        return ""


_STUB_NAMES = {"NotImplementedError", "super", "__init__"}


def _is_stub(code):
    """Whether a function is still the stub that was handed out: at most ``super().__init__(…)``, and the
    ``raise NotImplementedError()`` that stands for the answer.
    """
    arguments = code.co_argcount + code.co_kwonlyargcount + bool(code.co_flags & 4) + bool(code.co_flags & 8)
    return {*code.co_names} <= _STUB_NAMES and code.co_nlocals == arguments


def raised(error):
    """`error` as a dict: ``type``, ``bases`` (names of its base types), ``message``, ``where`` (the innermost line of the
    learner's code, or None), ``near`` (the existing name that is closest to a misspelt one) and ``untouched`` (whether
    the function that raised it holds nothing but the stub).
    """
    try:
        message = str(error)
    except Exception:  # a learner's __str__ may do anything
        message = ""
    where, untouched = None, False
    for frame, line in traceback.walk_tb(error.__traceback__):
        if text := _learner_line(frame, line):
            where = {"function": frame.f_code.co_name, "line": line, "text": text}
            untouched = _is_stub(frame.f_code)
    return {
        "type": type(error).__name__,
        "bases": [base.__name__ for base in type(error).__mro__],
        "message": message[:2000],
        "where": where,
        "near": _closest_name(error),
        "untouched": untouched,
    }


def catch(function, *args, **kwargs):
    """Call `function`; return ``(value, None)`` or ``(None, the exception as plain data)``.

    KeyboardInterrupt is not caught: the learner has pressed the stop button.
    """
    try:
        return function(*args, **kwargs), None
    except KeyboardInterrupt:
        raise
    except SystemExit as error:
        return None, raised(error)
    except RecursionError as error:
        return None, raised(error.with_traceback(None)) | {"message": "maximum recursion depth exceeded"}
    except Exception as error:
        return None, raised(error)
