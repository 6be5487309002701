"""Probes of lesson 09: what an answer does to a model, and to the adapters in it.

The judge sends the source of a model, which defines `Model`. Which layers have adapters, and what they are called, is
for the judge to know; here is only looked at what is there.
"""

import contextlib
import sys

import torch
from torch.nn import Linear  # this one: handed-in code may put another in its place

from autograde.probes.given import run_source
from autograde.probes.layers import as_made_by_torch, base_trains, negated, shared_adapter
from autograde.remote import facts, wire
from autograde.remote.facts import same_bits
from autograde.remote.probe import probe
from autograde.remote.raised import catch

SIDES = ("lora_A", "lora_B")
NESTED_CALLS = 300  # of an answer: a model that is handed over has a handful of modules within each other
DEPTH = 12  # of names: no model that is handed over is half as deep


def build_model(source, seed):
    """The model that `source` defines, with the same random numbers for the same seed. What its class names in `frozen` is."""
    model_class = run_source(source)["Model"]
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)  # torch.manual_seed notes a traceback for each kind of device
        return _frozen(model_class())


def _frozen(model):
    parameters = facts.parameters(model)
    facts.set_requires_grad([parameters[name] for name in model.frozen], False)
    return model


def _modules(model):
    """Every module by its name, at each of its places. An answer may nest layers without end, so the depth is limited.
    Where a child's own name has dots in it, they are slashes here: ``model`` has no ``a.b`` then, if ``model.a`` has no ``b``.
    """
    by_name, pending = {}, [("", model)]
    while pending:
        name, module = pending.pop()
        by_name[name] = module
        if name.count(".") < DEPTH:
            children = reversed(facts.children(module).items())
            pending += [(f"{name}.{child.replace('.', '/')}".lstrip("."), part) for child, part in children]
    return by_name


def _parameters(model):
    """Every parameter by its name, at each of its places."""
    return {
        f"{name}.{own}".lstrip("."): parameter
        for name, module in _modules(model).items()
        for own, parameter in facts.own_parameters(module).items()
    }


def _describe_place(module, before):
    """Describe the module that has replaced `before`: its kind and, for an adapted layer, its parts, which of them train, and what
    they start with.
    """
    if module is before:
        return {"kind": "same"}
    base = getattr(module, "base_layer", None)
    sides = [getattr(module, side, None) for side in SIDES]
    if not facts.is_module(base) or not all(facts.is_tensor(side) or facts.is_module(side) for side in sides):
        return {"kind": "other", "type": wire.type_name(module)}
    kind = "lora" if base is before else "copy" if type(base) is type(before) else "other"
    if facts.is_module(getattr(base, "base_layer", None)):
        kind = "nested"
    tensors = [side.weight.mT if facts.is_module(side) else side for side in sides]
    return {
        "kind": kind,
        "type": wire.type_name(module),
        "shapes": [list(facts.shape(tensor)) for tensor in tensors],
        "scaling": wire.plain(getattr(module, "scaling", None)),
        "trains": [facts.requires_grad(side.weight if facts.is_module(side) else side) for side in sides],
        "values": [wire.copy(wire.plain(tensor)) for tensor in tensors],
    }


@contextlib.contextmanager
def _fewer_nested_calls():
    """Have Python stop a recursion without end after `NESTED_CALLS` calls. Of those that it allows otherwise, each would
    put one more layer into the model, and every walk through the model takes longer.
    """
    depth, frame, usual = 0, sys._getframe(), sys.getrecursionlimit()
    while frame:
        depth, frame = depth + 1, frame.f_back
    sys.setrecursionlimit(min(depth + NESTED_CALLS, usual))
    try:
        yield
    finally:
        sys.setrecursionlimit(usual)


def _call_inject(function, model, targets, rank, alpha):
    with _fewer_nested_calls():
        value, error = catch(function, model, targets, rank, alpha)
    if error:
        return {"raised": error}
    is_names = isinstance(value, (list, tuple))
    return {"type": wire.type_name(value), "value": wire.plain(list(value) if is_names else value)}


@probe
def inject_into(function, source, seed, target_modules, rank, alpha, ids, again=None, tied=None):
    """Call the learner's function with a model made from `source`, and a second time with the names `again` if given.

    Returns:
        ``not_callable``; or for the first call ``raised``, or ``type`` and ``value``, and

        - ``places``: for each name that an nn.Linear had, what is there now (see `_describe_place`);
        - ``base_trains``: names of those in replaced layers of which a parameter requires a gradient, as soon as the call had
          ended;
        - ``missing``: names of those that nothing stands at any more; ``added``: names of new modules elsewhere;
        - ``grads``: names of parameters that are in no replaced layer and whose requires_grad changed;
        - ``shared``: the names of two replaced layers that hold an adapter's tensor between them, or none;
        - ``changed``: names of parameters that got other values;
        - ``out``: the model's output on `ids` (None where it raises);
        - ``out_of_bases``: the same while the weights of the replaced nn.Linears have other signs;
        - ``tied``: whether the two paths in `tied` still lead to one Parameter;
        - ``second``: of the second call ``raised`` or ``value``, the ``places``, and ``kept``, whether the adapters of
          the first call are the same Parameters with the values that were written into them in between.
    """
    if not callable(function):
        return {"not_callable": wire.type_name(function)}
    model = _frozen(as_made_by_torch(build_model(source, seed)))
    modules, parameters = _modules(model), _parameters(model)
    linears = {name: module for name, module in modules.items() if isinstance(module, Linear)}
    grads = {name: facts.requires_grad(parameter) for name, parameter in parameters.items()}
    values = {name: facts.copied(facts.values(parameter)) for name, parameter in parameters.items()}

    observation = _call_inject(function, model, target_modules, rank, alpha)
    trains_now = [name for name, linear in linears.items() if any(base_trains(linear))]
    modules_now = _modules(model)
    observation["places"] = {
        name: _describe_place(modules_now.get(name), linear) for name, linear in linears.items() if name in modules_now
    }
    observation["missing"] = [name for name in linears if name not in modules_now]
    replaced = [name for name, place in observation["places"].items() if place["kind"] != "same"]
    observation["base_trains"] = [name for name in trains_now if name in replaced]
    observation["shared"] = shared_adapter(
        {name: modules_now[name] for name in replaced if observation["places"][name]["kind"] in ("lora", "copy")}
    )
    observation["added"] = [
        name for name in modules_now if name not in modules and not any(name.startswith(f"{top}.") for top in replaced)
    ][:20]
    replaced_parameters = {id(parameter) for name in replaced for parameter in facts.parameters(linears[name]).values()}
    changed = [name for name, parameter in parameters.items() if facts.requires_grad(parameter) != grads[name]]
    observation["grads"] = [name for name in changed if id(parameters[name]) not in replaced_parameters]
    observation["changed"] = [
        name for name, parameter in parameters.items() if not same_bits(facts.values(parameter), values[name])
    ]
    observation["out"] = wire.copy(wire.plain(catch(model, ids)[0]))
    with negated([linears[name].weight for name in replaced]):
        observation["out_of_bases"] = wire.copy(wire.plain(catch(model, ids)[0]))
    if tied:
        tied_weights, _ = catch(lambda: [_weight_at(model, path) for path in tied])
        observation["tied"] = bool(tied_weights) and tied_weights[0] is tied_weights[1]
    if again is not None and "raised" not in observation:
        observation["second"] = _inject_again(function, model, linears, again, rank, alpha)
    return observation


def _weight_at(model, path):
    module = model.get_submodule(path)
    while facts.is_module(getattr(module, "base_layer", None)):
        module = module.base_layer
    return module.weight


def _inject_again(function, model, linears, again, rank, alpha):
    adapters = {name: part for name, part in _parameters(model).items() if name.rpartition(".")[2] in SIDES}
    with torch.no_grad():
        for parameter in adapters.values():
            parameter.fill_(0.5)  # as if it had been trained
    observation = _call_inject(function, model, again, rank, alpha)
    modules_now, parameters = _modules(model), _parameters(model)
    observation["places"] = {
        name: _describe_place(modules_now.get(name), linear) for name, linear in linears.items() if name in modules_now
    }
    observation["kept"] = all(
        parameters.get(name) is part and bool((part == 0.5).all()) for name, part in adapters.items()
    )
    return observation


def _fill(model, values):
    """Write `values`, by name, into a model's parameters."""
    parameters = _parameters(model)
    with torch.no_grad():
        for name, value in values.items():
            parameters[name].copy_(value)


def _snapshot(model):
    return {
        name: (id(p), facts.requires_grad(p), facts.copied(facts.values(p))) for name, p in _parameters(model).items()
    }


def _changes(model, before):
    """Names of the parameters that are gone or new or other objects, that got other values, another requires_grad."""
    parameters_now = _parameters(model)
    in_both = [name for name in before if name in parameters_now]
    return {
        "replaced": [name for name in {**before, **parameters_now} if name not in parameters_now or name not in before]
        + [name for name in in_both if id(parameters_now[name]) != before[name][0]],
        "changed": [name for name in in_both if not same_bits(facts.values(parameters_now[name]), before[name][2])],
        "grads": [name for name in in_both if facts.requires_grad(parameters_now[name]) != before[name][1]],
    }


@probe
def state_of(function, source, seed, values):
    """Call the learner's function with a model made from `source`, with `values` in its parameters.

    Returns:
        ``not_callable`` or ``raised``; or ``type``, ``is_dict``, ``keys`` (in order), ``entries`` (plain, in this order),
        ``graph`` (keys of tensors with a grad_fn), what `_changes` says of the model, and ``entries_later``: the same
        once the function was called with a second model, whose parameters have other signs.
    """
    if not callable(function):
        return {"not_callable": wire.type_name(function)}
    model = build_model(source, seed)
    _fill(model, values)
    before = _snapshot(model)
    value, error = catch(function, model)
    if error:
        return {"raised": error}
    observation = {"type": wire.type_name(value), "is_dict": isinstance(value, dict)} | _changes(model, before)
    if not isinstance(value, dict):
        return observation | {"value": wire.plain(value)}
    entries = {str(key): entry for key, entry in value.items()}
    observation |= {
        "keys": list(entries),
        "entries": [wire.copy(wire.plain(entry)) for entry in entries.values()],
        "graph": [key for key, entry in entries.items() if facts.is_tensor(entry) and facts.has_graph(entry)],
    }
    other = build_model(source, seed)
    _fill(other, {name: -tensor for name, tensor in values.items()})
    catch(function, other)
    return observation | {"entries_later": [wire.plain(entry) for entry in value.values()]}


@probe
def load_into(function, source, seed, values, keys, tensors):
    """Call the learner's function with a model made from `source`, with `values` in its parameters, and a state.

    Args:
        keys, tensors: of the state, in this order.

    Returns:
        ``not_callable``; or ``raised`` where it raised, and in any case what `_changes` says of the model, ``shares``
        (names of parameters that share memory with the state), ``state`` (its keys and its tensors) and ``now``:
        by name the values of all parameters, as the model's first Parameters hold them once the tensors of the state have
        changed their signs.
    """
    if not callable(function):
        return {"not_callable": wire.type_name(function)}
    model = build_model(source, seed)
    _fill(model, values)
    before, parameters = _snapshot(model), _parameters(model)
    state = dict(zip(keys, tensors, strict=True))
    _, error = catch(function, model, state)
    observation = {"raised": error} if error else {}
    observation |= _changes(model, before)
    memory = {facts.memory(tensor) for tensor in tensors if tensor.numel()}
    observation |= {
        "shares": [name for name, part in _parameters(model).items() if facts.memory(part) in memory],
        "state": [wire.plain(list(state)), [wire.copy(wire.plain(tensor)) for tensor in state.values()]],
    }
    with torch.no_grad():
        for tensor in tensors:
            tensor.neg_()
    return observation | {"now": {name: wire.plain(parameters[name]) for name in values}}
