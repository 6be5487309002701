"""The probe of lesson 05: hand a learner's function a module that source text makes."""

import functools

import torch
from torch import nn

from autograde.judge import wire
from autograde.judge.probe import probe
from autograde.probes.raised import catch


@probe
def call_on_module(function, source):
    """Run `source`, which makes a ``module``, and call ``function(module)``.

    Returns:
        As `functions.call`; ``changed`` is ``[0]`` where the module's parameters, or what is frozen among them, are not
        what they were before the call.
    """
    if not callable(function):
        return {"not_callable": wire.type_name(function)}
    given = {"__name__": "given", "torch": torch, "nn": nn}
    with torch.random.fork_rng(devices=[]):  # the notebook's own random numbers go on as if nothing had been made
        exec(_compiled(source), given)
    module = given["module"]
    before = _look(module)
    value, error = catch(function, module)
    if error:
        return {"raised": error}
    changed = [] if _look(module) == before else [0]
    return {"type": wire.type_name(value), "value": wire.plain(value), "changed": changed}


@functools.lru_cache(maxsize=64)
def _compiled(source):
    return compile(source, f"{__file__}:given", "exec")  # in this package: its lines are never taken for the learner's


def _look(module):
    named = module.named_parameters(remove_duplicate=False)
    return [(name, id(parameter), tuple(parameter.shape), parameter.requires_grad) for name, parameter in named]
