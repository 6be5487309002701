"""Recognises, by the answers to several calls alone, a function whose results come from elsewhere than its arguments."""

import itertools

import torch


def is_kept(cases, returned, failed):
    """Whether later calls gave back what an earlier one had returned, or added to it.

    Args:
        cases: all cases.
        returned: plain data that each case's call returned, in the order of the calls; None where it returned none.
        failed: positions of the cases with a wrong answer.
    """
    return bool(failed) and failed[0] > 0 and (_same_again(cases, returned, failed) or _grows(returned))


def is_always_the_same(cases, returned):
    """Whether all calls gave back the very same numbers, although their inputs have nothing to do with each other."""
    if len(cases) < 2 or not all(_is_telling(value) and _identical(value, returned[0]) for value in returned):
        return False
    is_constant = all(bool((tensor == tensor.round()).all()) for tensor in _tensors(returned[0]))  # such as torch.eye
    return not is_constant and any(_are_unrelated(case.args, cases[0].args) for case in cases[1:])


def _same_again(cases, returned, failed):
    """Whether each wrong answer is the very one that an earlier case got, where it was right. Where the inputs have nothing to
    do with each other, numbers that are no constant come back only from a store.
    """
    right = [i for i, value in enumerate(returned) if i not in failed and _is_telling(value)]
    wrong = [i for i in failed if returned[i] is not None]

    def came_before(i):
        same = (j for j in right if j < i and _identical(returned[i], returned[j]))
        return any(_are_unrelated(cases[i].args, cases[j].args) for j in same)

    return bool(wrong) and all(map(came_before, wrong))


def _are_unrelated(one, other):
    """Whether no tensor of one case holds the numbers of one of the other's, in whatever order and with whatever signs.

    Of x and -x a function may come to the same for another reason, and of the same x with another option as well.
    """
    numbers, others = ([tensor.abs().flatten().sort().values for tensor in _tensors(args)] for args in (one, other))
    return bool(numbers and others) and not any(_identical(a, b) for a in numbers for b in others)


def _tensors(value):
    if isinstance(value, torch.Tensor):
        return [value] if value.is_floating_point() and value.numel() > 1 else []
    parts = value.values() if isinstance(value, dict) else value if isinstance(value, (list, tuple)) else ()
    return [tensor for part in parts for tensor in _tensors(part)]


def _grows(returned):
    """Whether each list begins with the one before it, and the last is longer than the first that is not empty."""
    returned = list(itertools.dropwhile(lambda value: value == [], returned))
    if len(returned) < 3 or not all(isinstance(value, list) for value in returned):
        return False
    pairs = list(zip(returned, returned[1:], strict=False))
    begins = all(len(one) <= len(two) and _identical(one, two[: len(one)]) for one, two in pairs)
    return begins and len(returned[-1]) > len(returned[0])


def _is_telling(value):
    """Whether a value holds a tensor of several different numbers: two calls do not come to the same by accident."""
    return any(bool((tensor != tensor.flatten()[0]).any()) for tensor in _tensors(value))


def _identical(a, b):
    if isinstance(a, torch.Tensor) or isinstance(b, torch.Tensor):
        both = isinstance(a, torch.Tensor) and isinstance(b, torch.Tensor)
        return both and a.dtype == b.dtype and torch.equal(a, b)
    if isinstance(a, dict) and isinstance(b, dict):
        return a.keys() == b.keys() and all(_identical(a[key], b[key]) for key in a)
    if isinstance(a, list) and isinstance(b, list):
        return len(a) == len(b) and all(map(_identical, a, b))
    return type(a) is type(b) and a == b
