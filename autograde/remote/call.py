"""The probe for exercises that ask for a function: call it, and report what it returned."""

import dis
from decimal import Decimal
from fractions import Fraction
from types import CodeType

import torch

from autograde.remote import facts, learner_process, wire
from autograde.remote.probe import probe
from autograde.remote.raised import catch

MAX_ENTRIES = 20  # of a list or tuple, whose types are noted


def _number(value):
    """A Fraction or a Decimal as an int or a float, since neither type is plain data."""
    if type(value) not in (Fraction, Decimal):
        return value
    try:
        whole = int(value)
        return whole if whole == value else float(value)
    except (ArithmeticError, ValueError):  # too large for a float, or a Decimal that is no number
        return value


def returns_something(function):
    """Whether `function` has a return statement with a value: if so, a None that it returns is deliberate."""
    code = getattr(function, "__code__", None)
    before = None
    for step in dis.get_instructions(code) if type(code) is CodeType else ():
        constant = before is not None and before.opname == "LOAD_CONST" and before.argval is None
        # A conditional expression jumps to its return with the other value.
        if step.opname == "RETURN_VALUE" and (step.is_jump_target or not constant):
            return True
        before = step
    return False


def parameters(function):
    """The names of the parameters that a function takes by position; none for another callable object."""
    code = getattr(function, "__code__", None)
    return list(code.co_varnames[: code.co_argcount]) if type(code) is CodeType else []


@probe
def call(function, args, device="cpu"):
    """Call ``function(*args)`` with every tensor on `device`.

    Returns:
        A dict with ``not_callable``, the name of the type; or ``raised`` (see `raised`); or ``type``, the name of the
        returned type, ``entries``, those of the entries of a list or tuple, ``value``, its plain form, ``device``, the device of
        a returned tensor, ``changed``, the positions of the tensors in `args` that the call changed in place, and ``returns``:
        whether it returned a value or could have (see `returns_something`). With each of the last two ``parameters`` (see there).
    """
    if not callable(function):
        return {"not_callable": wire.type_name(function)}
    moved = [arg.to(device) if isinstance(arg, torch.Tensor) else arg for arg in args]
    before = wire.copy([wire.plain(arg) for arg in moved])
    value, error = catch(function, *moved)
    if error:
        return {"raised": error, "parameters": parameters(function)}
    changed = [
        i
        for i, (was, arg) in enumerate(zip(before, moved, strict=True))
        if facts.is_tensor(arg) and not facts.same_bits(was, facts.values(arg))
    ]
    return {
        "type": wire.type_name(value),
        "entries": [wire.type_name(entry) for entry in value[:MAX_ENTRIES]] if isinstance(value, (list, tuple)) else [],
        "value": wire.plain(_number(value)),
        "device": facts.device(value).type if facts.is_tensor(value) else None,
        "changed": changed,
        "returns": value is not None or returns_something(function),
        "parameters": parameters(function),
    }


@probe
def is_defined(target):
    """An empty dict; where the notebook has no such name, a probe raises `autograde.remote.probe.Missing`."""
    return {}


@probe
def note_checks(target, facts):
    """Let the placeholders `check.<exercise>` in this process answer what a notebook may ask (`learner_process.note_facts`)."""
    learner_process.note_facts(facts)
    return {}
