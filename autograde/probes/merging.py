"""Probes of lesson 06: call a function with a given layer, or take a layer class through a sequence of steps.

They report values, which tensors are the same object, which share memory, and what autograd has recorded.
"""

import torch
from torch.nn import Linear  # this one: handed-in code may put another in its place

from autograde.probes.given import run_source
from autograde.probes.layers import adapters, as_convention, base_trains, make_base, make_layer, set_adapters
from autograde.remote import facts, wire
from autograde.remote.facts import same_bits
from autograde.remote.probe import probe
from autograde.remote.raised import catch

MAX_NAMES = 20  # of what a returned nn.Linear holds; it should be two


def _build_layer(source, name, weight, bias, options, A, B, device):
    """A layer of the class called `name` that `source` defines, its adapters set to A and B."""
    layer = run_source(source)[name](make_base(weight, bias, device), **options)
    set_adapters(layer, (A.to(device), B.to(device)))
    return layer


def _values(layer):
    return {name: wire.copy(wire.plain(parameter)) for name, parameter in facts.parameters(layer).items()}


def _ids(layer):
    return {name: (id(each), facts.requires_grad(each)) for name, each in facts.parameters(layer).items()}


def _modes(layer):
    return {name: module.training for name, module in facts.modules(layer).items()}


def _call_on_layer(function, layer):
    """Call the learner's function on `layer`: ``(value, observation)``, with what the call changed in the layer."""
    if not callable(function):
        return None, {"not_callable": wire.type_name(function)}
    values, ids, scaling, training = _values(layer), _ids(layer), layer.scaling, _modes(layer)
    value, error = catch(function, layer)
    if error:
        return None, {"raised": error}
    now_values, now_ids = _values(layer), _ids(layer)
    changed = [name for name in values if name not in now_values or not same_bits(values[name], now_values[name])]
    scaling_after = facts.attributes(layer).get("scaling")
    changed += [] if type(scaling_after) is float and scaling_after == scaling else ["scaling"]
    changed += [] if _modes(layer) == training else ["training"]
    return value, {
        "type": wire.type_name(value),
        "changed": changed,
        "gone": [name for name in values if name not in now_values],
        "replaced": [name for name in ids if name not in now_ids or ids[name] != now_ids[name]],
        "added": [name for name in now_ids if name not in ids],
        "marked": bool(facts.attributes(layer).get("merged", False)),
    }


@probe
def delta_of(function, source, name, weight, bias, options, A, B, device="cpu"):
    """Call the learner's function with a layer made from `source`.

    Returns:
        As `autograde.remote.call.call`, with names in ``changed`` (what of the layer got other values), ``gone`` (those of its
        parameters that it has no more), ``replaced`` (its
        parameters that are other objects now, or train or are frozen where they were not), ``added`` (new ones) and
        ``marked`` (whether the layer holds a true attribute `merged`).
    """
    layer = _build_layer(source, name, weight, bias, options, A, B, device)
    value, observation = _call_on_layer(function, layer)
    return observation | {"value": wire.plain(value)} if "type" in observation else observation


@probe
def linear_of(function, source, name, weight, bias, options, A, B, x, device="cpu"):
    """Call the learner's function with a layer made from `source`, and describe the nn.Linear that it returns.

    Returns:
        As `delta_of` where nothing with a `weight` came back. Else, in place of ``value``: ``plain`` (whether the type
        is nn.Linear and no other), ``own`` (whether it is the layer's own base), ``sizes``, ``weight``, ``bias``,
        ``device``, ``parameter``, ``leaf``, ``graph`` (whether the weight has a grad_fn),
        ``inference`` (whether it was made under inference_mode), ``shares`` (``[its
        parameter or buffer, the layer's]`` for each two that share memory), ``names`` (of all that its state holds),
        ``out`` (what it makes of x, or None where it raises), ``kept`` (the layer's output before and after) and ``alone``
        (as ``out``, once all the layer's parameters have changed their signs).
    """
    layer = _build_layer(source, name, weight, bias, options, A, B, device)
    x = x.to(device)
    before = wire.plain(layer(x))
    value, observation = _call_on_layer(function, layer)
    if "type" not in observation:
        return observation
    result_weight = getattr(value, "weight", None)
    if not facts.is_module(value) or not facts.is_tensor(result_weight):
        return observation | {"value": wire.plain(value)}
    out, _ = catch(value, x)
    after = wire.copy(wire.plain(catch(layer, x)[0]))
    observation |= {"out": wire.copy(wire.plain(out)), "kept": [before, after]} | _describe_linear(
        value, result_weight, layer, observation["added"]
    )
    with torch.no_grad():
        for parameter in facts.parameters(layer).values():
            parameter.neg_()
    return observation | {"alone": wire.plain(catch(value, x)[0])}


def _describe_linear(value, result_weight, layer, added):
    """Describe an nn.Linear with the weight `result_weight`; `added`: names of parameters that the layer got in the call."""
    return {
        "plain": type(value) is Linear,
        "own": value is layer.base_layer,
        "sizes": [wire.plain(getattr(value, size, None)) for size in ("in_features", "out_features")],
        "weight": wire.copy(wire.plain(result_weight)),
        "bias": wire.copy(wire.plain(getattr(value, "bias", None))),
        "device": facts.device(result_weight).type,
        "parameter": facts.is_parameter(result_weight),
        "leaf": facts.is_leaf(result_weight),
        "graph": facts.has_graph(result_weight),
        "inference": any(map(facts.is_inference, (result_weight, *facts.parameters(value).values()))),
        "names": facts.state_names(value)[:MAX_NAMES],
        "shares": [
            [result_name, layer_name]
            for result_name, result_parameter in (facts.parameters(value) | facts.buffers(value)).items()
            for layer_name, layer_parameter in facts.parameters(layer).items()
            if layer_name not in added
            if facts.memory(result_parameter) == facts.memory(layer_parameter)
        ],
    }


@probe
def run_steps(layer_class, weight, bias, options, A, B, x, steps, device="cpu"):
    """Make a layer around a base, set its adapters to A and B, and take it through `steps`, with a snapshot after each.

    Args:
        steps: lists: ``["merge"]``, ``["unmerge"]``, ``["train"]``, ``["eval"]``, ``["set", A, B]`` (other values for
            the adapters), ``["load", weight]`` (another weight for the base), ``["learn", cotangent]`` (the
            gradients of ``(layer(x) * cotangent).sum()``), ``["no_grad"]`` (the layer is called under torch.no_grad()) or
            ``["other", weight]`` (another layer of the class is made around this weight, and merged).

    Returns:
        ``snapshots``, one before the first step and one after each, and ``raised`` with ``during`` (a step's name,
        "forward", "construction", "move" or "setting of …") where something raised; or ``no_module`` or ``unset``. A snapshot holds ``weight``
        and ``bias`` of layer.base_layer, ``same`` (whether that weight is the very Parameter that the base came with),
        ``leaf``, ``graph`` (it has a grad_fn), ``trains`` (which of base weight and bias require a gradient),
        ``merged``, ``out`` and, after learning, ``gradients`` of A, B and x; ``adapters`` (whether each is the Parameter
        that it was at first), ``alias`` (whether the layer keeps the weight's own memory under another name) and
        ``zeros`` (whether it keeps a matrix of zeros of the weight's size). With the snapshots comes ``start``:
        lora_A and lora_B of a new layer (None: there is no such tensor).
    """
    base = make_base(weight, bias, device)
    original, x = base.weight, x.to(device)
    layer, problem = make_layer(layer_class, base, options)
    if problem:
        return problem
    start = [None if tensor is None else wire.copy(wire.plain(tensor)) for tensor, _ in adapters(layer)]
    _, error = catch(layer.to, device=device, dtype=weight.dtype)
    if error:
        return {"raised": error, "during": "move"}
    original_adapters = [tensor for tensor, _ in adapters(layer)]
    if problem := set_adapters(layer, (A.to(device), B.to(device))):
        return problem
    snapshots = []
    for name, *inputs in [["forward"], *steps]:
        gradients = None
        if name != "forward":
            given = [tensor.to(device) for tensor in inputs]
            if name == "other":
                error = _merge_other(layer_class, given[0], bias, options, (A.to(device), B.to(device)))
            else:
                gradients, error = catch(_step, layer, original, x, name, given)
            if error:
                return {"raised": error, "during": name, "snapshots": snapshots, "start": start}
        trains = base_trains(base)
        with torch.set_grad_enabled(name != "no_grad"):
            out, error = catch(layer, x)
        if error:
            return {"raised": error, "during": "forward", "snapshots": snapshots, "start": start}
        snapshot = _snapshot(layer, original, original_adapters) | {"trains": trains, "out": wire.plain(out)}
        snapshots.append(snapshot | {"gradients": wire.plain(gradients)})
    return {"snapshots": snapshots, "start": start}


def _merge_other(layer_class, weight, bias, options, values):
    """Make another layer of the class and merge it; the exception that this raises, or None."""
    other, problem = make_layer(layer_class, make_base(weight, bias, weight.device), options)
    if problem:
        return problem.get("raised")
    set_adapters(other, values)
    return catch(lambda: other.merge())[1]


def _step(layer, original, x, name, inputs):
    if name == "set":
        set_adapters(layer, inputs)
    elif name == "load":  # into the Parameter that the base came with: a layer that holds another does not follow
        with torch.no_grad():
            original.copy_(inputs[0])
    elif name == "learn":
        adapter_pair = adapters(layer)
        for tensor, _ in adapter_pair:
            tensor.grad = None
        x = x.clone().requires_grad_()
        (layer(x) * inputs[0]).sum().backward()
        return [
            None if tensor.grad is None else as_convention(tensor.grad, transposed)
            for tensor, transposed in [*adapter_pair, (x, False)]
        ]
    elif name != "no_grad":
        getattr(layer, name)()


def _kept_tensors(layer):
    """The tensors that `layer` keeps as attributes, buffers or Parameters of its own, inside lists and dicts too."""
    tensors, held = [], [facts.attributes(layer)]
    for _ in range(3):
        values = [each for one in held for each in (one.values() if isinstance(one, dict) else one)]
        tensors += [value for value in values if facts.is_tensor(value)]
        held = [value for value in values if isinstance(value, (dict, list, tuple))]
    return tensors


def _snapshot(layer, original, original_adapters):
    base = getattr(layer, "base_layer", None)
    weight, bias = getattr(base, "weight", None), getattr(base, "bias", None)
    merged, _ = catch(getattr, layer, "merged", None)
    is_tensor = facts.is_tensor(weight)
    kept = _kept_tensors(layer)
    return {
        "weight": wire.copy(wire.plain(weight)),
        "bias": wire.copy(wire.plain(bias)),
        "same": weight is original,
        "leaf": is_tensor and facts.is_leaf(weight),
        "graph": is_tensor and facts.has_graph(weight),
        "merged": wire.copy(wire.plain(merged)),
        "adapters": [
            tensor is original_adapter
            for (tensor, _), original_adapter in zip(adapters(layer), original_adapters, strict=True)
        ],
        "alias": is_tensor and any(_same_memory(tensor, weight) for tensor in kept),
        "zeros": any(facts.shape(tensor) == original.shape and not tensor.any() for tensor in kept),
    }


def _same_memory(one, other):
    same, _ = catch(lambda: facts.memory(one) == facts.memory(other))
    return bool(same)
