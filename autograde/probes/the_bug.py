"""Probes of lesson 02: shapes as tuples, and a learner's test run on a layer."""

import functools
import random
import traceback

import numpy as np
import torch

from autograde.probes import given
from autograde.probes.given import run_source
from autograde.remote import wire
from autograde.remote.call import parameters, returns_something
from autograde.remote.probe import probe
from autograde.remote.raised import catch

MAX_CALLS = 100  # different calls noted of one test


@probe
def call_with_shape(function, shape, sizes):
    """Call ``function(shape, *sizes)`` with `shape` as a tuple, which JSON would have made a list.

    Returns:
        As `autograde.remote.call.call`.
    """
    if not callable(function):
        return {"not_callable": wire.type_name(function)}
    value, error = catch(function, tuple(shape), *sizes)
    if error:
        return {"raised": error, "parameters": parameters(function)}
    return {
        "type": wire.type_name(value),
        "value": wire.plain(value),
        "changed": [],
        "returns": value is not None or returns_something(function),
        "parameters": parameters(function),
    }


@probe
def try_on(test, source, name, seed, dtype):
    """Run `source`, and hand the class called `name` that it defines to the learner's `test`.

    Args:
        source: Python source text.
        name: of the class in it.
        seed: for every random generator the test may use.
        dtype: the default dtype while the test runs.

    Returns:
        ``{"not_callable": type name}``, or what the test did: ``{"raised": …, "in_layer": whether the exception came
        out of the layer's forward}`` or ``{"type": …, "value": …}``. With it come ``"calls"``, the different calls of
        forward: ``[in_features, out_features, rank, alpha, has a bias, dimensions of x, lora_B is all zero, x or
        lora_A is all zero, lora_A and lora_B hold one value each, the last but one axis of x has rows that differ]``. ``"layer_raised"`` says whether one of them raised.
    """
    if not callable(test):
        return {"not_callable": wire.type_name(test)}
    calls, in_layer, layer_raised = {}, [], []
    layer_class = run_source(source)[name]
    _record_calls(layer_class, calls, layer_raised)

    def run_test(layer_class):
        try:
            return test(layer_class)
        except Exception as error:
            in_layer.append(_raised_in_forward(error))
            raise

    with _KnownRandomState(seed, getattr(torch, dtype)):
        value, error = catch(run_test, layer_class)
    noted = {"calls": [list(call) for call in calls], "layer_raised": bool(layer_raised)}
    if error:
        return noted | {"raised": error, "in_layer": any(in_layer)}
    return noted | {"type": wire.type_name(value), "value": wire.plain(value)}


def _record_calls(layer_class, calls, layer_raised):
    forward = layer_class.forward

    @functools.wraps(forward)
    def watched(self, x):
        _record_call(self, x, calls)
        try:
            return forward(self, x)
        except Exception:
            layer_raised.append(True)
            raise

    layer_class.forward = watched


def _record_call(layer, x, calls):
    if len(calls) >= MAX_CALLS:
        return
    try:
        base, A, B = layer.base_layer, layer.lora_A.detach(), layer.lora_B.detach()
        sizes = base.in_features, base.out_features, int(layer.rank), float(layer.alpha)
        of_A, of_B = ([float(end) for end in factor.aminmax()] for factor in (A, B))
        is_zero_input = of_A == [0, 0] or not x.detach().any()
        has_constant_factors = of_A[0] == of_A[1] and of_B[0] == of_B[1]
        rows_differ = x.ndim > 1 and x.numel() > 0 and bool((x.detach() != x.detach()[..., :1, :]).any())
        noted = base.bias is not None, x.ndim, of_B == [0, 0], bool(is_zero_input), has_constant_factors, rows_differ
        calls[*sizes, *noted] = None
    except Exception:  # inside a transform, or after the test has changed the layer: there is nothing to note
        return


def _raised_in_forward(error):
    codes = (frame.f_code for frame, _ in traceback.walk_tb(error.__traceback__))
    return any(code.co_filename == given.FILE and code.co_name == "forward" for code in codes)


class _KnownRandomState:
    """Context manager that seeds the random generators and sets the default dtype; restores the learner's at the end."""

    def __init__(self, seed, dtype):
        self.seed, self.dtype = seed, dtype

    def __enter__(self):
        self.before = torch.get_default_dtype(), random.getstate(), np.random.get_state()
        self.fork = torch.random.fork_rng(devices=[])
        self.fork.__enter__()
        torch.set_default_dtype(self.dtype)
        torch.default_generator.manual_seed(self.seed)  # torch.manual_seed notes a traceback for each kind of device
        random.seed(self.seed)
        np.random.seed(self.seed % 2**32)

    def __exit__(self, *error):
        dtype, state, numpy_state = self.before
        torch.set_default_dtype(dtype)
        random.setstate(state)
        np.random.set_state(numpy_state)
        self.fork.__exit__(*error)
