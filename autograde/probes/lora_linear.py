"""Probes for a learner's LoRALinear: build it around a given base, and say what it holds and what it does."""

import inspect

import torch
from torch import equal, nn  # this `equal`: handed-in code may put another in its place

from autograde.probes.layers import (
    ADAPTERS,
    adapters,
    as_convention,
    look_at,
    look_at_all,
    make_base,
    make_layer,
    parameters_of,
    set_adapters,
    under,
)
from autograde.probes.stand_in import StandIn
from autograde.remote import wire
from autograde.remote.probe import probe
from autograde.remote.raised import catch


@probe
def start(layer_class, weight, bias, options, x):
    """Make two layers around equal bases and look at them before any training.

    Returns:
        ``held`` (what is under each adapter's name), ``other_A`` (lora_A of the second layer), ``reset`` (whether making
        a layer set torch's random numbers back), ``out`` (the first layer's output), or ``raised`` with ``during``.
    """
    layer, problem = make_layer(layer_class, make_base(weight, bias), options)
    if problem:
        return problem
    after_first = torch.get_rng_state()
    second, problem = make_layer(layer_class, make_base(weight, bias), options)  # the base alone draws some numbers
    if problem:
        return problem
    seen = {
        "held": look_at_all(layer),
        "other_A": look_at(second, "lora_A").get("values"),
        "reset": equal(after_first, torch.get_rng_state()),
    }
    out, error = catch(layer, x)
    if error:
        return seen | {"raised": error, "during": "forward"}
    return seen | {"type": wire.type_name(out), "out": wire.plain(out)}


@probe
def forward(layer_class, weight, bias, options, x, A, B, cotangent, device="cpu"):
    """Set the adapters to A and B, run the layer on x, and take the gradients of ``(output * cotangent).sum()``.

    Returns:
        ``out``, ``scaling``, ``biased`` (the adapters that are an nn.Linear with a bias), and under ``gradients`` those
        of x, A and B (None where there is none); or ``unset``, the adapter that could not be set, with ``held``; or
        ``raised`` with ``during``. With each of these ``defaults``, those of rank and alpha that are numbers or
        None.
    """
    return {"defaults": _defaults(layer_class)} | _forward(
        layer_class, weight, bias, options, x, A, B, cotangent, device
    )


def _defaults(layer_class):
    signature, _ = catch(inspect.signature, layer_class)
    given = signature.parameters if signature else {}
    found = {name: given[name].default for name in ("rank", "alpha") if name in given}
    return {name: value for name, value in found.items() if value is None or type(value) in (int, float)}


def _forward(layer_class, weight, bias, options, x, A, B, cotangent, device):
    tensors = [tensor.to(device) for tensor in (x, A, B, cotangent)]
    x, A, B, cotangent = tensors
    layer, problem = make_layer(layer_class, make_base(weight, bias, device), options)
    if problem:
        return problem
    if problem := set_adapters(layer, (A, B)):
        return problem
    x.requires_grad_()
    out, error = catch(layer, x)
    if error:
        return {"raised": error, "during": "forward"}
    seen = {"type": wire.type_name(out), "out": wire.plain(out), "scaling": wire.plain(under(layer, "scaling"))}
    seen["biased"] = [name for name in ADAPTERS if look_at(layer, name).get("bias")]
    if isinstance(out, torch.Tensor) and out.shape == cotangent.shape and out.requires_grad:
        _, error = catch(lambda: (out * cotangent).sum().backward())
        if error:
            return {"raised": error, "during": "backward"}
    both = adapters(layer)
    grads = [None if t.grad is None else as_convention(t.grad, turned) for t, turned in both]
    return seen | {"gradients": [wire.plain(x.grad), *(wire.plain(grad) for grad in grads)]}


@probe
def train(layer_class, weight, bias, options, x, A, B, steps, lr, weight_decay):
    """Set the adapters, then take optimiser steps, weight decay included, on all that the layer offers for training.

    Returns:
        ``trains`` (names of the parameters that require a gradient before the first step), ``adapters`` (names of the
        adapters' own), ``base`` (what layer.base_layer is: "same", "copy", "other" or None), ``base_trains`` (whether
        weight and bias of the base that was handed in require a gradient), ``before`` and ``after`` (base weight, base
        bias, A, B), or in their place ``raised`` with ``during``; or ``unset``.
    """
    base = make_base(weight, bias)
    layer, problem = make_layer(layer_class, base, options)
    if problem:
        return problem
    if problem := set_adapters(layer, (A, B)):
        return problem
    both = adapters(layer)
    own = {id(tensor) for tensor, _ in both}
    names = parameters_of(layer)
    seen = {
        "trains": [name for name, parameter in names.items() if parameter.requires_grad],
        "adapters": [name for name, parameter in names.items() if id(parameter) in own],
        "base": _which(under(layer, "base_layer"), base),
        "base_trains": [tensor is not None and tensor.requires_grad for tensor in (base.weight, base.bias)],
    }

    def look():
        state = [base.weight, base.bias, *(as_convention(*adapter) for adapter in both)]
        return [wire.copy(wire.plain(tensor)) for tensor in state]

    before = look()
    trainable = [parameter for parameter in names.values() if parameter.requires_grad]
    if trainable:
        _, error = catch(_steps, layer, trainable, x, steps, lr, weight_decay)
        if error:
            return seen | {"raised": error, "during": "training"}
    return seen | {"before": before, "after": look()}


def _which(held, base):
    """What a layer keeps under the name of its base: the very one, a copy of it, something else, or nothing."""
    if held is None or held is base:
        return None if held is None else "same"
    weight = getattr(held, "weight", None)
    copied = isinstance(weight, torch.Tensor) and weight.shape == base.weight.shape and equal(weight, base.weight)
    return "copy" if copied else "other"


def _steps(layer, parameters, x, steps, lr, weight_decay):
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
        with StandIn():
            layer, problem = make_layer(layer_class, make_base(weight, bias, device), options)
        return problem or {"held": look_at_all(layer), "moved": None, "out": None}
    layer, problem = make_layer(layer_class, make_base(weight, bias, device), options)
    if problem:
        return problem
    held = look_at_all(layer)
    dtype = getattr(torch, moved_to)
    _, error = catch(layer.to, dtype)
    if error:
        return {"raised": error, "during": "move", "held": held, "moved": held}
    moved = look_at_all(layer)
    out, error = catch(layer, x.to(device, dtype))
    if error:
        return {"raised": error, "during": "forward", "held": held, "moved": moved}
    return {"held": held, "moved": moved, "out": wire.plain(out)}


@probe
def names_of(function, source, options):
    """Hand a layer made from `source` to the learner's function, and list the names it gives back.

    Returns:
        As `functions.call`; any iterable of names comes back as a list.
    """
    if not callable(function):
        return {"not_callable": wire.type_name(function)}
    given = {"__name__": "given", "torch": torch, "nn": nn}
    exec(source, given)
    layer = given["Layer"](**options)
    value, error = catch(function, layer)
    if error:
        return {"raised": error}
    kind = wire.type_name(value)
    if not isinstance(value, (str, torch.Tensor, nn.Module)):
        listed, error = catch(list, value)
        value = value if error else listed
    return {"type": kind, "value": wire.plain(value), "changed": []}
