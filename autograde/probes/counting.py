"""The probe of lesson 05: call a learner's function with a module that is made from source text."""

import functools

import torch
from torch import nn

from autograde.remote import wire
from autograde.remote.bits import same_bits
from autograde.remote.probe import probe
from autograde.remote.raised import catch


@probe
def call_on_module(function, source):
    """Run `source`, which makes a ``module``, and call ``function(module)``.

    Returns:
        As `autograde.remote.call.call`; ``changed`` is ``["module"]`` if the call changed which parameters
        the module has or which are frozen, and ``["values"]`` if it changed their values, their gradients or the mode.
    """
    if not callable(function):
        return {"not_callable": wire.type_name(function)}
    namespace = {"__name__": "given", "torch": torch, "nn": nn}
    with torch.random.fork_rng(devices=[]):  # the notebook's random state stays as it was
        exec(_compiled(source), namespace)
    module = namespace["module"]
    before, state_before = _snapshot(module), _tensor_state(module)
    value, error = catch(function, module)
    if error:
        return {"raised": error}
    changed = (
        ["module"]
        if _snapshot(module) != before
        else []
        if _unchanged(state_before, _tensor_state(module))
        else ["values"]
    )
    return {"type": wire.type_name(value), "value": wire.plain(value), "changed": changed}


@functools.lru_cache(maxsize=64)
def _compiled(source):
    return compile(
        source, f"{__file__}:given", "exec"
    )  # a path in this package: its lines are not reported as the learner's


def _snapshot(module):
    named = module.named_parameters(remove_duplicate=False)
    return [(name, id(parameter), tuple(parameter.shape), parameter.requires_grad) for name, parameter in named]


def _tensor_state(module):
    """The training modes of all modules in `module`, and copies of its values and gradients."""
    tensors = [*module.parameters(), *module.buffers(), *(p.grad for p in module.parameters() if p.grad is not None)]
    return [part.training for part in module.modules()], [tensor.detach().clone() for tensor in tensors]


def _unchanged(before, after):
    modes = before[0] == after[0] and len(before[1]) == len(after[1])
    return modes and all(same_bits(old, new) for old, new in zip(before[1], after[1], strict=True))
