"""The probe of lesson 05: call a learner's function with a module that is made from source text."""

import torch

from autograde.probes.given import run_source
from autograde.remote import facts, wire
from autograde.remote.facts import same_bits
from autograde.remote.probe import probe
from autograde.remote.raised import catch


@probe
def call_on_module(function, source):
    """Run `source`, which makes a ``module``, and call ``function(module)``.

    Returns:
        As `autograde.remote.call.call`; ``changed`` is ``["module"]`` if the call changed which parameters
        the module has or which are frozen, and ``["values"]`` if it changed their values, their gradients or the mode;
        ``again`` is what a second call with the same module returned (None where it raised).
    """
    if not callable(function):
        return {"not_callable": wire.type_name(function)}
    with torch.random.fork_rng(devices=[]):  # the notebook's random state stays as it was
        module = run_source(source)["module"]
    before, state_before = _snapshot(module), _state(module, facts.copied)
    value, error = catch(function, module)
    if error:
        return {"raised": error}
    changed = ["module"] if _snapshot(module) != before else [] if _is_still(state_before, module) else ["values"]
    first = wire.copy(wire.plain(value))
    again, _ = catch(function, module)
    return {"type": wire.type_name(value), "value": first, "changed": changed, "again": wire.plain(again)}


def _snapshot(module):
    return [
        (name, key, id(held), facts.is_tensor(held) and (tuple(facts.shape(held)), facts.requires_grad(held)))
        for name, part in facts.modules(module).items()
        for kind in ("_parameters", "_modules")
        for key, held in facts.attributes(part)[kind].items()
    ]


def _state(module, read):
    """The training modes of all modules in `module`, and what `read` makes of its values and gradients."""
    parameters = facts.parameters(module).values()
    gradients = [facts.grad(parameter) for parameter in parameters]
    tensors = [*parameters, *module.buffers(), *(each for each in gradients if each is not None)]
    modes = [part.training for part in facts.modules(module).values()]
    return modes, [read(facts.values(tensor)) for tensor in tensors]


def _is_still(before, module):
    (modes, values), (modes_now, values_now) = before, _state(module, lambda values: values)
    if modes != modes_now or len(values) != len(values_now):
        return False
    return all(same_bits(old, new) for old, new in zip(values, values_now, strict=True))
