"""Probes of lesson 07: a module that adapts weights, alone and as a parametrization of a layer, and the folded layer."""

import torch
from torch import nn
from torch.nn import Conv2d, Linear  # these: handed-in code may put others in their place
from torch.nn.utils import parametrize

from autograde.probes.given import run_source
from autograde.probes.layers import as_made_by_torch
from autograde.remote import facts, wire
from autograde.remote.facts import same_bits
from autograde.remote.probe import probe
from autograde.remote.raised import catch

KINDS = {"nn.Linear": Linear, "nn.Conv2d": Conv2d}
NAMES = ("A", "B")


def _adapter_state(module, name):
    """The state of one adapter of the module; ``values`` is None on the meta device."""
    value, _ = catch(getattr, module, name, None)
    if not facts.is_tensor(value):
        return {"type": wire.type_name(value)}
    own = {id(parameter) for parameter in facts.parameters(module).values()}
    return {
        "type": wire.type_name(value),
        "shape": list(facts.shape(value)),
        "registered": id(value) in own,
        "trains": facts.requires_grad(value),
        "dtype": str(facts.dtype(value)),
        "device": facts.device(value).type,
        "values": None if facts.is_meta(value) else wire.copy(wire.plain(value)),
    }


def _module_state(module):
    scale, _ = catch(getattr, module, "scale", None)
    en, _ = catch(getattr, module, "en", None)
    return {name: _adapter_state(module, name) for name in NAMES} | {"scale": wire.plain(scale), "en": wire.plain(en)}


def _place(module, name):
    """The device of an adapter's tensor in words, and whether it is a parameter of the module."""
    state = _adapter_state(module, name)
    return [str(state.get("device")), state.get("registered", False)]


def _same_values(module, other, name):
    one, two = (catch(getattr, each, name, None)[0] for each in (module, other))
    return all(facts.is_tensor(each) and not facts.is_meta(each) for each in (one, two)) and same_bits(
        facts.values(one), facts.values(two)
    )


def _set_adapters(module, values):
    """Write A and B into the module; None, or an observation of why that was not possible."""
    for name, value in zip(NAMES, values, strict=True):
        adapter, _ = catch(getattr, module, name, None)
        if not isinstance(adapter, torch.Tensor) or adapter.shape != value.shape:
            return {"unset": name}
        with torch.no_grad():
            _, error = catch(adapter.copy_, value)
        if error:
            return {"raised": error, "during": f"setting of {name}"}
    return None


@probe
def adapted_weight(module_class, sizes, options, A, B, wts, cotangent, by_position=False, device="cpu"):
    """Make the module, report its state, set A and B, and call it with a weight: on, off, and in the other modes.

    Returns:
        ``fresh`` (what A, B, scale and en are), ``alike`` (whether A, and B, hold the values that they hold in a second module),
        ``at_start`` (what the fresh module returns for the weight),
        ``elsewhere`` (where A and B are when made for the meta device, and whether they are parameters then; None where that
        raises), ``out``, ``type`` and
        ``dtype`` of what came back with A and B set, ``changed`` (wts was written into), ``gradients`` of A and B for
        ``(out * cotangent).sum()``, ``off`` (whether wts itself came back while en was false), ``off_out``,
        ``off_later`` (the same tensor once wts has changed its sign), ``modes``
        (while on, the outputs under torch.no_grad(), and after B has changed its sign and eval() was called), ``moved``
        (dtypes of A and B after .half()); or ``raised`` with ``during``, ``no_module``, ``no_init`` or ``unset``.
    """
    if not callable(module_class):
        return {"not_callable": wire.type_name(module_class)}

    def make():
        return module_class(*sizes, *options.values()) if by_position else module_class(*sizes, **options)

    module, error = catch(make)
    if error:
        return {"raised": error, "during": "construction"}
    if not facts.is_module(module):
        return {"no_module": True, "type": wire.type_name(module)}
    if getattr(module, "_modules", None) is None:
        return {"no_init": True}
    second, _ = catch(make)
    other, _ = catch(module_class, *sizes, **options, device="meta")
    observation = {
        "fresh": _module_state(module),
        "alike": [_same_values(module, second, name) for name in NAMES],
        "elsewhere": [_place(other, name) for name in NAMES] if facts.is_module(other) else None,
    }
    _, error = catch(module.to, device=device, dtype=wts.dtype)
    if error:
        return observation | {"raised": error, "during": "move"}
    wts = wts.to(device)
    before = wts.clone()
    out, error = catch(module, wts)
    if error:
        return observation | {"raised": error, "during": "forward"}
    observation["at_start"] = wire.copy(wire.plain(out))
    wts = before.clone()
    if problem := _set_adapters(module, (A.to(device), B.to(device))):
        return observation | problem
    out, error = catch(module, wts)
    if error:
        return observation | {"raised": error, "during": "forward"}
    changed = not same_bits(wire.plain(wts), wire.plain(before))
    wts = before.clone()
    observation |= {"type": wire.type_name(out), "out": wire.copy(wire.plain(out)), "changed": changed}
    adapter_parameters = [getattr(module, name) for name in NAMES]
    observation["gradients"] = _gradients(out, cotangent.to(device), adapter_parameters)
    with torch.no_grad():
        without_gradients, _ = catch(module, wts)
    observation["modes"] = [wire.copy(wire.plain(without_gradients))]
    _set_adapters(module, (A.to(device), -B.to(device)))
    in_eval, _ = catch(module.eval(), wts)
    observation["modes"].append(wire.copy(wire.plain(in_eval)))
    _set_adapters(module, (A.to(device), B.to(device)))
    module.train()
    _, error = catch(setattr, module, "en", False)
    if error:
        return observation | {"raised": error, "during": "setting of en"}
    off, error = catch(module, wts)
    if error:
        return observation | {"raised": error, "during": "forward with en = False"}
    observation |= {"off": off is wts, "off_out": wire.copy(wire.plain(off))}
    with torch.no_grad():
        wts.neg_()
    observation["off_later"] = wire.plain(off)
    catch(setattr, module, "en", True)
    catch(module.half)
    observation["moved"] = [str(getattr(getattr(module, name), "dtype", None)) for name in NAMES]
    return observation


def _gradients(out, cotangent, parameters):
    """The gradients of ``(out * cotangent).sum()``, as plain data; None where there are none, and what was raised where a
    tensor that they need has been written into.
    """
    gradients, error = catch(lambda: torch.autograd.grad((out * cotangent).sum(), parameters, allow_unused=True))
    return {"raised": error} if error and "inplace operation" in error["message"] else wire.plain(gradients)


def _layer(kind, options, weight, bias, device):
    """A layer of one of the `KINDS` that holds copies of weight and bias."""
    layer = KINDS[kind](**options, bias=bias is not None).to(device=device, dtype=weight.dtype)
    with torch.no_grad():
        layer.weight.copy_(weight)
        if bias is not None:
            layer.bias.copy_(bias)
    return as_made_by_torch(layer)


def _parametrisations(layer):
    """The parametrizations of the layer's weight; an empty list if it has none."""
    is_parametrized, _ = catch(parametrize.is_parametrized, layer, "weight")
    return list(layer.parametrizations.weight) if is_parametrized is True else []


def _parameters(layer):
    return {name: [wire.copy(wire.plain(p)), facts.requires_grad(p)] for name, p in facts.parameters(layer).items()}


def _step(layer, x, cotangent):
    """Change all parameters that require a gradient by that of ``(layer(x) * cotangent).sum()``."""
    training = [parameter for parameter in facts.parameters(layer).values() if facts.requires_grad(parameter)]
    gradients = torch.autograd.grad((layer(x) * cotangent).sum(), training, allow_unused=True)
    with torch.no_grad():
        for parameter, gradient in zip(training, gradients, strict=True):
            if gradient is not None:
                parameter.add_(gradient)


@probe
def adapted_layer(function, kind, options, weight, bias, rank, alpha, A, B, x, cotangent, device="cpu"):
    """Call the learner's function with a layer, and report how it changed the layer.

    Returns:
        ``type``, ``same`` (whether the layer itself came back), ``parametrised``, ``original`` and ``bias`` (``[values,
        requires_grad]``; None where there is none), ``own`` (whether the original weight is the tensor that it
        was, or has its memory, and the bias too, and whether that is a Parameter), ``fresh`` (what the module in front of the weight holds),
        ``at_start`` (the weight in use), ``out`` after A and B were set, ``gradients`` of A
        and B, ``off`` (the output has its first bits again while en is false), ``trained`` (weight and bias after a step
        on all that requires a gradient), ``again``: what a second call did, and one more with another rank (each
        ``raised`` with a type's bases, and ``changed``), and ``second``: the weight in use of a second layer like the
        first, adapted after all of this; or ``raised`` or ``unset``.
    """
    if not callable(function):
        return {"not_callable": wire.type_name(function)}
    layer, x = _layer(kind, options, weight, bias, device), x.to(device)
    before = layer(x).detach()
    as_made_by_torch(layer)  # again: a call of the layer may run code that freezes it, and so may a look at it below
    weight_before, bias_before = layer.weight, layer.bias
    value, error = catch(function, layer, rank, alpha)
    if error:
        return {"raised": error}
    trains = {id(parameter): facts.requires_grad(parameter) for parameter in facts.parameters(layer).values()}
    observation = {"type": wire.type_name(value), "value": None if value is None else True, "same": value is layer}
    layer = value if facts.is_module(value) else layer  # `same` has recorded whether it is the same one
    modules = _parametrisations(layer)
    observation["parametrised"] = len(modules)
    own_bias = catch(getattr, layer, "bias", None)[0]
    bias_now = _with_training(own_bias, trains) if facts.is_tensor(own_bias) else None
    if not modules:
        return observation | {"bias": bias_now, "parameters": sorted(_parameters(layer))}
    original = layer.parametrizations.weight.original
    adapter = modules[0]
    observation |= {"original": _with_training(original, trains), "bias": bias_now}
    observation["own"] = {
        "weight": _same_memory(original, weight_before),
        "bias": bias_before is None or _same_memory(own_bias, bias_before),
        "bias_parameter": bias_before is None or facts.is_parameter(own_bias),
    }
    observation["fresh"] = _module_state(adapter)
    out, error = catch(layer, x)
    if error:
        return observation | {"raised": error, "during": "forward"}
    # Of the weight, not of the output: in another order of memory, the same weight may give other last bits.
    observation["at_start"] = wire.copy(wire.plain(layer.weight))
    if problem := _set_adapters(adapter, (A.to(device), B.to(device))):
        return observation | problem
    out, error = catch(layer, x)
    if error:
        return observation | {"raised": error, "during": "forward"}
    gradients = _gradients(out, cotangent.to(device), [adapter.A, adapter.B])
    observation |= {"out": wire.copy(wire.plain(out)), "gradients": gradients}
    catch(setattr, adapter, "en", False)
    out, _ = catch(layer, x)
    observation["off"] = facts.is_tensor(out) and same_bits(wire.plain(out), wire.plain(before))
    catch(setattr, adapter, "en", True)
    catch(_step, layer, x, cotangent.to(device))
    observation["trained"] = [
        wire.copy(wire.plain(original)),
        wire.copy(wire.plain(catch(getattr, layer, "bias", None)[0])),
    ]
    again = [_call_again(function, layer, other_rank, alpha) for other_rank in (rank, rank + 1)]
    second = _layer(kind, options, weight, bias, device)
    catch(function, second, rank, alpha)
    return observation | {
        "again": again,
        "second": wire.plain(catch(getattr, second, "weight")[0]),
    }


def _with_training(tensor, trains):
    """The values of a tensor, and whether it required a gradient when `trains` was noted, or does so now."""
    return [wire.copy(wire.plain(tensor)), trains.get(id(tensor), False) or facts.requires_grad(tensor)]


def _same_memory(tensor, other):
    """Whether a tensor is the other one, which may have got other memory (by a right_inverse), or has the memory of it."""
    return tensor is other or (facts.is_tensor(tensor) and facts.memory(tensor) == facts.memory(other))


def _call_again(function, layer, rank, alpha):
    """Call the learner's function with an adapted layer: ``raised``, the bases of an exception's type, and ``changed``."""
    before = _parameters(layer)
    _, error = catch(function, layer, rank, alpha)
    now = _parameters(layer)
    is_kept = sorted(now) == sorted(before) and all(
        same_bits(now[name][0], before[name][0]) and now[name][1] == before[name][1] for name in before
    )
    return {"raised": error["bases"] if error else [], "changed": not is_kept}


@probe
def folded(function, source, kind, options, weight, bias, rank, alpha, A, B, en, trains, x, device="cpu"):
    """Call the learner's function with an adapted layer (a plain one if rank is 0), and report the layer that it returns.

    Args:
        source: of the class LoRAWeight that adapts it; it is made from A, B, scale and en.
        en: whether the adapter is on.
        trains: whether the original weight and the bias require a gradient.

    Returns:
        ``type``, ``same``, ``plain`` (the class is that of a plain layer), ``parameters`` (names), ``weight``, ``leaf``,
        ``parameter``, ``graph``, ``trains`` (of weight and bias), ``bias`` and ``out``; or ``raised``.
    """
    if not callable(function):
        return {"not_callable": wire.type_name(function)}
    layer, x = _layer(kind, options, weight, bias, device), x.to(device)
    if rank:
        adapter_class = run_source(source)["LoRAWeight"]
        adapter = adapter_class(A.to(device, copy=True), B.to(device, copy=True), alpha / rank, en)
        parametrize.register_parametrization(layer, "weight", adapter)
        layer.parametrizations.weight.original.requires_grad_(trains[0])
        if bias is not None:
            layer.bias.requires_grad_(trains[1])
    value, error = catch(function, layer)
    if error:
        return {"raised": error}
    observation = {"type": wire.type_name(value), "value": None if value is None else True, "same": value is layer}
    weight_now, error = catch(getattr, layer, "weight")
    if error:
        return observation | {"raised": error, "during": "layer.weight"}
    out, error = catch(layer, x)
    if error:
        return observation | {"raised": error, "during": "forward"}
    own_bias = layer.bias
    return observation | {
        "plain": type(layer) is KINDS[kind],
        "parameters": sorted(nn.Module.state_dict(layer)),
        "weight": wire.plain(weight_now),
        "leaf": facts.is_leaf(weight_now),
        "parameter": facts.is_parameter(weight_now),
        "graph": facts.has_graph(weight_now),
        "trains": [facts.requires_grad(weight_now), facts.is_tensor(own_bias) and facts.requires_grad(own_bias)],
        "bias": wire.plain(own_bias),
        "out": wire.plain(out),
    }
