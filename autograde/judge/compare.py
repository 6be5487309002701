"""Compares an answer with the expected one, and describes the difference in one sentence."""

import math
from dataclasses import dataclass

import torch

from autograde.judge import describe, exceptions, tolerance
from autograde.judge.misconception import Misconception
from autograde.remote.wire import Opaque


@dataclass(frozen=True)
class Fault:
    """One thing that is wrong with an answer.

    Attributes:
        problem: one sentence.
        returned, expected: descriptions of both; empty if they would only repeat the problem.
        hint: what to do next; empty where the misconception or the check's own next step says it.
        misconception: the `Misconception`, if the fault alone identifies it.
        tensors: ``(got, expected)`` of one shape, where a picture would help.
        where: the learner's line, as `remote.raised` gives it.
    """

    problem: str
    returned: str = ""
    expected: str = ""
    hint: str = ""
    misconception: Misconception | None = None
    tensors: tuple | None = None
    where: dict | None = None


_FIND_NAN = (
    "nan comes from 0 / 0, from inf - inf, or from the square root or the logarithm of a negative number, "
    "and every later step keeps it. Print each step, and find the first one with a nan."
)


def _has_nan(value):
    if isinstance(value, torch.Tensor):
        return value.is_floating_point() and bool(value.double().isnan().any())
    return isinstance(value, float) and math.isnan(value)


def raised_fault(what, error, hint=""):
    """The fault of an exception: `what` raised it.

    Args:
        what: the subject of the sentence, as in "The call".
        error: the exception as `remote.raised` gives it.
        hint: what to do next; left out, the exception's kind says it.
    """
    return Fault(
        f"{what} raised {exceptions.said(error)}", hint=hint or exceptions.hint_for(error), where=error["where"]
    )


def is_number(value):
    """Whether plain data is one number: int, float, or a tensor with a single non-bool entry. A bool is not."""
    if isinstance(value, torch.Tensor):
        return value.numel() == 1 and value.dtype != torch.bool
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def as_number(value):
    """The Python number in plain data for which `is_number` holds; an int beyond any float is infinite."""
    number = value.item() if isinstance(value, torch.Tensor) else value
    try:
        float(number)
    except OverflowError:
        return math.inf if number > 0 else -math.inf
    return number


def agree(a, b, dtype=None, device="cpu"):
    """Whether two values of plain data are equal: tensors within `judge.tolerance`, numbers within 1e-6."""
    if isinstance(a, torch.Tensor) and isinstance(b, torch.Tensor) and a.shape == b.shape:
        wider = torch.promote_types(a.dtype, b.dtype)
        narrower = a.dtype if wider == b.dtype else b.dtype
        return tolerance.close(a, b, dtype or narrower, device)
    if is_number(a) and is_number(b):
        return _numbers_agree(as_number(a), as_number(b))
    if isinstance(a, (list, tuple)) and isinstance(b, (list, tuple)):
        return len(a) == len(b) and all(agree(x, y, dtype, device) for x, y in zip(a, b, strict=True))
    if isinstance(a, Opaque) or isinstance(b, Opaque):
        return isinstance(a, Opaque) and isinstance(b, Opaque) and a.type == b.type
    truth = _truth(a), _truth(b)
    if None not in truth:
        return truth[0] == truth[1]
    return type(a) is type(b) and not isinstance(a, torch.Tensor) and a == b


def _numbers_agree(a, b):
    if isinstance(a, int) and isinstance(b, int):
        return a == b
    # For math.isclose, an infinity is close to no number, however large the relative tolerance is.
    return math.isclose(a, b, rel_tol=1e-6)


def _truth(value):
    if isinstance(value, torch.Tensor) and value.numel() == 1 and value.dtype == torch.bool:
        return bool(value.item())
    return value if isinstance(value, bool) else None


_FORMS = {
    "NoneType": "For this input the function ends without returning a value. Which path through it reaches no return?",
    "str": "Return the value itself, not its text: no quotes, no f-string, no str().",
    "generator": "A generator has not computed its values yet. Return the values themselves: list(…) or tuple(…).",
}


FROM_NUMPY = "Return a torch tensor. torch.from_numpy makes one from a numpy array, without changing the dtype."
NO_NUMBERS = (
    "to_dense() makes a dense tensor from a sparse one, and .real is the real part of a complex one. On the "
    "device meta a tensor has no values at all. Which line makes this kind of tensor?"
)
TOO_LARGE = "Print its shape and the shapes of the tensors from which you compute it. Which line makes it so large?"
NUMBERS = "Return a torch tensor; this is a list of numbers. Leave out tolist(), or make a tensor of the list."


def holds_numbers(value):
    """Whether a list is made of several numbers, or of lists of them."""
    return isinstance(value, list) and len(value) > 0 and all(is_number(each) or holds_numbers(each) for each in value)


def _form_hint(value):
    """What to do about a result of the wrong kind, by its kind; empty where that gives no advice."""
    if value is None or isinstance(value, str):
        return _FORMS["NoneType" if value is None else "str"]
    if isinstance(value, Opaque) and value.type in _FORMS:
        return _FORMS[value.type]
    if isinstance(value, torch.Tensor) and value.numel() > 1:
        return f"This tensor has {value.numel()} values, but the answer is one value. Which of them is it?"
    if isinstance(value, list) and len(value) == 1:
        return (
            "This is a sequence with one entry. Is there a comma at the end of a line, or one pair of brackets "
            "too many?"
        )
    return "The answer is one value. Return it alone." if isinstance(value, list) else ""


def fault_between(value, type_name, expected, *, entries=(), dtype=None, device="cpu", what="The result"):
    """How `value`, of the learner's type `type_name`, differs from `expected`, as a `Fault`; None if it does not.

    Args:
        value: the plain data that was returned.
        entries: the learner's types of the entries of a list or tuple, where they are known.
        expected: plain data (or a tuple); a tensor's dtype is required of the learner's tensor too, unless `dtype` says
            otherwise, and a float64 `expected` may stand for the exact value of a narrower dtype.
        dtype: the dtype the learner's tensors of floats must have.
        what: the subject of the sentence, such as "The result".
    """
    shown = describe.contents(value), describe.contents(expected)
    if isinstance(expected, torch.Tensor):
        wanted = dtype if dtype and expected.is_floating_point() else expected.dtype
        return _tensor_fault(value, type_name, expected, wanted, device, what)
    if isinstance(expected, (list, tuple)):
        if not isinstance(value, list):
            if isinstance(value, torch.Tensor) and value.shape == (len(expected),) and agree(value.tolist(), expected):
                return None
            hint = "" if isinstance(value, torch.Tensor) else _form_hint(value)
            return Fault(f"{what} is not a sequence of {len(expected)}.", *shown, hint=hint)
        if len(value) != len(expected):
            return Fault(f"{what} has {describe.counted(len(value), 'entry')}, not {len(expected)}.", *shown)
        for i, (item, right) in enumerate(zip(value, expected, strict=True)):
            kind = str(entries[i]) if i < len(entries) else ""
            entry = f"Entry {i} of {what.lower()}"
            if fault := fault_between(item, kind, right, dtype=dtype, device=device, what=entry):
                return Fault(fault.problem, *shown, hint=fault.hint)
        return None
    if agree(value, expected):
        return None
    if is_number(value) and is_number(expected):
        shown = describe.format_distinct(as_number(value), as_number(expected)) if shown[0] == shown[1] else shown
    if isinstance(expected, str):
        return Fault(f"{what} is not the right name.", *shown)
    if expected is not None and not isinstance(expected, bool) and not is_number(value):
        return Fault(f"{what} is not a number.", *shown, hint=_form_hint(value))
    return Fault(f"{what} is not the right one.", *shown, hint=_FIND_NAN if _has_nan(value) else "")


def _tensor_fault(value, type_name, expected, dtype, device, what):
    wanted = f"{describe.dtype_name(dtype)} tensor of shape {describe.shape(expected.shape)}"
    if not isinstance(value, torch.Tensor) or type_name.startswith("numpy."):
        kind = "None" if value is None else type_name or describe.contents(value)
        returned = kind if isinstance(value, torch.Tensor) else describe.contents(value)
        if isinstance(value, Opaque) and "tensor of shape" in value.text:
            problem = f"{what} is a tensor that cannot be compared: {describe.clean(value.text, 120)}."
            return Fault(problem, value.text, wanted, hint=TOO_LARGE if "too large" in value.text else NO_NUMBERS)
        hint = FROM_NUMPY if type_name.startswith("numpy.") else NUMBERS if holds_numbers(value) else _form_hint(value)
        return Fault(f"{what} is not a torch tensor but {kind}.", returned, wanted, hint=hint)
    shown = describe.contents(value), describe.contents(expected.to(dtype))
    if value.shape != expected.shape:
        sizes = f"{describe.shape(value.shape)}, not {describe.shape(expected.shape)}"
        return Fault(f"{what} has shape {sizes}.", describe.contents(value), wanted)
    narrow = tolerance.close(value, expected, torch.float32, device)
    if narrow and dtype == torch.float64 and not tolerance.close(value, expected, dtype, device):
        if value.dtype == dtype:
            hint = "Some intermediate tensor was float32. Make new tensors with dtype=x.dtype, and do not convert."
            return Fault(f"{what} is float64, but it is right to seven digits only.", *shown, hint=hint)
    elif not tolerance.close(value, expected, dtype, device):
        difference = describe.largest_difference(value, expected)
        hint = _FIND_NAN if _has_nan(value) and not _has_nan(expected) else ""
        problem = f"{what} has the right shape but wrong values: {difference}."
        return Fault(problem, *shown, hint=hint, tensors=(value, expected))
    if value.dtype != dtype:
        names = f"{describe.dtype_name(value.dtype)}, not {describe.dtype_name(dtype)}"
        hint = "Let the dtype follow from the inputs: do not convert, and make new tensors with dtype=x.dtype."
        return Fault(f"{what} has the right values in the wrong dtype: {names}.", *shown, hint=hint)
    return None
