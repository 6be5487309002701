"""Hints for a function of x whose mistake is none of the known ones."""

import torch

from autograde.judge import describe, exceptions, tolerance


def for_factor(got, right, what):
    """A hint where `got` is `right` times one number other than 0 and 1; empty where it is not.

    Args:
        got, right: tensors of one shape.
        what: the subject of the sentence, such as "Every entry".
    """
    got, right = got.double(), right.double()
    squares = (right**2).sum()
    if right.numel() < 2 or not squares or not got.isfinite().all():
        return ""
    factor = float((got * right).sum() / squares)
    if min(abs(factor), abs(factor - 1)) < 1e-3 or not tolerance.close(got, factor * right, torch.float32):
        return ""
    return (
        f"{what} is {describe.number(factor)} times the right one. Which factor is missing, or which one is there "
        "twice?"
    )


def for_x(fault, x, observation):
    """A hint from the kind of the fault and from the input x; empty where neither suggests one.

    Args:
        fault: the `Fault`.
        x: tensor of shape (..., d), the input of the call.
        observation: the result of the probe `call`.
    """
    if fault.tensors is not None:
        return (
            "The shapes fit, so look at the values: run your function on the worked example, and compare step by step."
        )
    if "value" in observation:
        value = observation["value"]
        if not isinstance(value, torch.Tensor) or observation["type"].startswith("numpy."):
            return "Return a torch tensor, since x is one."
        if value.ndim < x.ndim:
            return (
                "The result keeps every leading axis of x, also one of size 1. Which of your operations drops an axis?"
            )
        if value.ndim > x.ndim:
            return (
                "The result must have as many axes as x; a single row has one. Which of your operations adds an axis?"
            )
        return ""
    if "raised" not in observation:
        return ""
    if hint := exceptions.hint_for(observation["raised"]):
        return hint  # an exception is answered by its kind first, and by the x that was given only then
    if not x.numel():
        return "This x has no rows, so the result has none either. Which of your operations needs at least one?"
    if not x.is_contiguous():
        return (
            "x is a view: its values are not in memory in the order of its axes. Which of your operations needs "
            "them in that order?"
        )
    if x.ndim != 2:
        return f"This x has {x.ndim} {'axis' if x.ndim == 1 else 'axes'}. Which of your operations expects two?"
    return ""
