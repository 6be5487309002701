"""Probes for a learner's LoRALinear: build it around a given base, and report its state and its outputs."""

import inspect

import torch
from torch import nn

from autograde.probes.given import run_source
from autograde.probes.layers import (
    ADAPTERS,
    adapter_state,
    adapter_states,
    adapters,
    as_convention,
    attribute,
    base_tensors,
    base_trains,
    make_base,
    make_layer,
    move,
    set_adapters,
)
from autograde.probes.meta_tensors import MetaTensors
from autograde.remote import facts, wire
from autograde.remote.facts import same_bits
from autograde.remote.probe import probe
from autograde.remote.raised import catch


@probe
def start(layer_class, weight, bias, options):
    """Make two layers around equal bases, and report their adapters before any training.

    Returns:
        ``held`` (see `adapter_states`), ``other_A`` (lora_A of the second layer), ``reset`` (whether making a layer
        resets torch's random state) and ``generator`` (whether its class creates a generator of its own), or ``raised``
        with ``during``.
    """
    layer, problem = make_layer(layer_class, make_base(weight, bias), options)
    if problem:
        return problem
    after_first = torch.get_rng_state()
    second, problem = make_layer(layer_class, make_base(weight, bias), options)  # the base alone draws some numbers
    if problem:
        return problem
    return {
        "held": adapter_states(layer),
        "other_A": adapter_state(second, "lora_A").get("values"),
        "reset": same_bits(after_first, torch.get_rng_state()),
        "generator": not GENERATORS.isdisjoint(_names_in(layer_class)),
    }


GENERATORS = {"Generator", "default_rng", "RandomState"}


def _names_in(layer_class):
    """The names that the methods of a class use."""
    methods = vars(layer_class).values() if inspect.isclass(layer_class) else ()
    return {name for method in methods if inspect.isfunction(method) for name in method.__code__.co_names}


@probe
def forward(layer_class, weight, bias, options, x, A, B, cotangent, by_position=False, device="cpu"):
    """Move the layer to x's dtype, set the adapters to A and B, run it on x, and take the gradients of
    ``(output * cotangent).sum()``; then run it again in other ways.

    Before the first call another layer is made, with the alpha `OTHER_ALPHA`.

    Returns:
        ``out``, ``wrote`` (which of the adapters and the base's tensors the call has changed), ``scaling``,
        ``own_scaling`` (the layer's before the other one was made), ``biased`` (the adapters that are an nn.Linear with a bias), ``changed`` (whether the call changed x), under ``gradients`` those of x, A and B
        (None where there is none), and under ``again`` what else the layer gave: ``[way, "out" or "raised", value]``
        for each way of `WAYS`. Or ``unset``, the adapter that could not be set, with ``held``; or ``raised`` with
        ``during``. With each of these ``defaults``, those of rank and alpha that are numbers or None, and ``order``, the
        names of the parameters as far as they can be given by position.
    """
    signature, _ = catch(inspect.signature, layer_class)
    parameters = signature.parameters if signature else {}
    by_position_kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    order = [name for name, parameter in parameters.items() if parameter.kind in by_position_kinds]
    defaults = {name: parameters[name].default for name in ("rank", "alpha") if name in parameters}
    signature_facts = {
        "defaults": {name: value for name, value in defaults.items() if value is None or type(value) in (int, float)},
        "order": order,
    }
    by_position = by_position and not {"rank", "alpha"} - {*order}  # keyword-only arguments cannot be confused
    return signature_facts | _forward(layer_class, (weight, bias), options, x, (A, B), cotangent, by_position, device)


OTHER_ALPHA = 97

# The ways in which a layer is run again, in this order, with the sign of the values that are written into lora_B before.
SAME, OPPOSITE = 1, -1
WAYS = {
    "the same call again": SAME,
    "under torch.no_grad()": SAME,
    "after layer.eval()": SAME,
    "after layer.train() and new values in lora_B": OPPOSITE,
    "after new values in lora_B and layer.eval()": OPPOSITE,
}


def _forward(layer_class, base, options, x, values, cotangent, by_position, device):
    x, cotangent, A, B = (tensor.to(device) for tensor in (x, cotangent, *values))
    layer, problem = make_layer(layer_class, make_base(*base, device), options, by_position)
    problem = problem or move(layer, x.dtype, device) or set_adapters(layer, (A, B))
    if problem:
        return problem
    own_scaling = wire.copy(wire.plain(attribute(layer, "scaling")))
    make_layer(layer_class, make_base(*base, device), {**options, "alpha": OTHER_ALPHA}, by_position)
    adapter_pair = adapters(layer)
    for tensor, _ in adapter_pair:
        catch(tensor.requires_grad_)  # whether they train is another question
    x.requires_grad_()
    x_copy = x.clone()  # not a leaf, so that writing into it raises no error and is noticed
    tensors_before = _own_values(layer)
    out, error = catch(layer, x_copy)
    if error:
        return {"raised": error, "during": "forward"}
    observation = {
        "type": wire.type_name(out),
        "out": wire.copy(wire.plain(out)),
        "scaling": wire.plain(attribute(layer, "scaling")),
        "own_scaling": own_scaling,
    }
    tensors_now = _own_values(layer)
    observation["wrote"] = [
        name
        for name in tensors_now
        if name in tensors_before and not same_bits(tensors_before[name], tensors_now[name])
    ]
    observation["biased"] = [name for name in ADAPTERS if adapter_state(layer, name).get("bias")]
    observation["changed"] = not same_bits(facts.values(x_copy), facts.values(x))
    gradients = [None, None, None]
    if facts.is_tensor(out) and facts.shape(out) == cotangent.shape and facts.requires_grad(out):
        requested = [
            i for i, tensor in enumerate((x, *(tensor for tensor, _ in adapter_pair))) if facts.requires_grad(tensor)
        ]
        tensors = [(x, adapter_pair[0][0], adapter_pair[1][0])[i] for i in requested]
        computed, error = catch(torch.autograd.grad, (out * cotangent).sum(), tensors, allow_unused=True)
        if error:
            return {"raised": error, "during": "backward"}
        for i, gradient in zip(requested, computed, strict=True):
            transposed = i > 0 and adapter_pair[i - 1][1]
            gradients[i] = None if gradient is None else wire.plain(as_convention(gradient, transposed))
    return observation | {"gradients": gradients, "again": _run_in_other_ways(layer, x.detach(), A, B)}


def _own_values(layer):
    """Copies of the values of lora_A, lora_B and the base's weight and bias, by name; without those that are not there."""
    tensors = dict(zip(("lora_A", "lora_B"), (tensor for tensor, _ in adapters(layer)), strict=True))
    tensors |= dict(zip(("the base's weight", "the base's bias"), base_tensors(layer), strict=True))
    return {
        name: wire.copy(wire.plain(tensor))
        for name, tensor in tensors.items()
        if facts.is_tensor(tensor) and not facts.is_meta(tensor)
    }


def _run_in_other_ways(layer, x, A, B):
    outcomes = []
    for way, sign in WAYS.items():
        error = None
        if way.endswith("layer.eval()"):
            _, error = catch(layer.eval)
        elif way.startswith("after layer.train()"):
            _, error = catch(layer.train)
        set_adapters(layer, (A, sign * B))
        out = None
        if not error:
            with torch.set_grad_enabled(way != "under torch.no_grad()"):
                out, error = catch(layer, x.clone())
        outcomes.append([way, "raised", error] if error else [way, "out", wire.copy(wire.plain(out))])
    return outcomes


@probe
def train(layer_class, weight, bias, options, x, A, B, steps, lr, weight_decay):
    """Set the adapters, then take optimiser steps, weight decay included, on all that the layer offers for training.

    Returns:
        ``held`` (see `adapter_states`), ``trains`` (names of the parameters that require a gradient as soon as the layer is
        made), ``adapters`` (names of the adapters' own), ``base`` (what layer.base_layer is: "same", "copy",
        "other" or None), ``base_trains`` (whether weight and bias of the base that was handed in require a gradient),
        ``base_now`` (its weight and bias after the layer is made), ``base_out`` (its output for x then) and ``before``
        and ``after`` (base weight, base bias, A, B), with ``trains_again`` (as ``base_trains``, after the steps, and after a call
        of the layer, eval() and train()); or ``raised`` with ``during`` in place of ``after``.
    """
    base = make_base(weight, bias)
    layer, problem = make_layer(layer_class, base, options)
    if problem:
        return problem
    of_base = base_trains(base)
    trains = [name for name, parameter in facts.parameters(layer).items() if facts.requires_grad(parameter)]
    problem = set_adapters(layer, (A, B))
    if problem and "unset" not in problem:  # adapters of other shapes are trained as they are
        return problem
    adapter_pair = adapters(layer)
    own = {id(tensor) for tensor, _ in adapter_pair}
    names = facts.parameters(layer)

    def snapshot():
        tensors = [attribute(base, "weight"), attribute(base, "bias")]
        tensors += [
            None if tensor is None else as_convention(tensor, transposed) for tensor, transposed in adapter_pair
        ]
        return [wire.copy(wire.plain(tensor)) for tensor in tensors]

    before = snapshot()
    out, _ = catch(base, x)
    observation = {
        "held": adapter_states(layer),
        "trains": trains,
        "adapters": [name for name, parameter in names.items() if id(parameter) in own],
        "base": _base_relation(attribute(layer, "base_layer"), base),
        "base_trains": of_base,
        "base_now": before[:2],
        "base_out": wire.plain(out),
        "before": before,
    }
    trainable = [parameter for parameter in names.values() if facts.requires_grad(parameter)]
    if trainable:
        _, error = catch(_optimiser_steps, layer, trainable, x, steps, lr, weight_decay)
        if error:
            return observation | {"raised": error, "during": "training"}
    after = snapshot()
    trains_again = base_trains(base)
    for call in (lambda: layer(x), lambda: layer.eval(), lambda: layer.train()):
        catch(call)
        trains_again = [*map(max, trains_again, base_trains(base))]
    return observation | {"after": after, "trains_again": trains_again}


def _base_relation(kept_layer, base):
    """How a layer's base_layer relates to the base: "same" (the one handed in), "copy", "other" or None."""
    if kept_layer is None or kept_layer is base:
        return None if kept_layer is None else "same"
    weight, original_weight = attribute(kept_layer, "weight"), attribute(base, "weight")
    both_tensors = facts.is_tensor(weight) and facts.is_tensor(original_weight)
    return "copy" if both_tensors and same_bits(facts.values(weight), facts.values(original_weight)) else "other"


def _optimiser_steps(layer, parameters, x, steps, lr, weight_decay):
    # What Adam does in its first steps, by hand: torch.optim imports torch's compiler first, which takes seconds.
    for _ in range(steps):
        layer.zero_grad()
        layer(x).square().mean().backward()
        with torch.no_grad():
            for parameter in parameters:
                if parameter.grad is not None:
                    parameter.mul_(1 - lr * weight_decay).sub_(lr * parameter.grad.sign())


@probe
def place(layer_class, weight, bias, options, x, device, moved_to):
    """Make the layer around a base on `device`, then move it to the dtype named `moved_to` and run it on x.

    Returns:
        ``held`` (at first), ``moved`` (afterwards; None on a device without values), ``out``, or ``raised``.
    """
    if device == "meta":
        with MetaTensors():
            layer, problem = make_layer(layer_class, make_base(weight, bias, device), options)
        return problem or {"held": adapter_states(layer), "moved": None, "out": None}
    layer, problem = make_layer(layer_class, make_base(weight, bias, device), options)
    if problem:
        return problem
    state_before = adapter_states(layer)
    dtype = getattr(torch, moved_to)
    _, error = catch(layer.to, dtype)
    if error:
        return {"raised": error, "during": "move", "held": state_before, "moved": state_before}
    state_after = adapter_states(layer)
    out, error = catch(layer, x.to(device, dtype))
    if error:
        return {"raised": error, "during": "forward", "held": state_before, "moved": state_after}
    return {"held": state_before, "moved": state_after, "out": wire.plain(out)}


@probe
def names_of(function, source, options):
    """Call the learner's function with a layer made from `source`, and list the names it returns.

    Returns:
        As `autograde.remote.call.call`; any iterable of names comes back as a list.
    """
    if not callable(function):
        return {"not_callable": wire.type_name(function)}
    layer = run_source(source)["Layer"](**options)
    value, error = catch(function, layer)
    if error:
        return {"raised": error}
    kind = wire.type_name(value)
    if not isinstance(value, (str, torch.Tensor, nn.Module)):
        listed, error = catch(list, value)
        value = value if error else listed
    return {"type": kind, "value": wire.plain(value), "changed": []}
