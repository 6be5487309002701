"""Probes for a learner's LoRALinear: build it around a given base, and say what it holds and what it does.

Adapters may be `nn.Parameter`s of shape (d, r) and (r, k) or bias-free `nn.Linear`s; both are reported as (d, r) and
(r, k).
"""

import torch
from torch import nn

from autograde.judge import wire
from autograde.judge.probe import probe
from autograde.probes.raised import catch

ADAPTERS = ("lora_A", "lora_B")


def _base(weight, bias, device="cpu"):
    out_features, in_features = weight.shape
    base = nn.Linear(in_features, out_features, bias=bias is not None, dtype=weight.dtype, device=device)
    with torch.no_grad():
        base.weight.copy_(weight)
        if bias is not None:
            base.bias.copy_(bias)
    return base


def _tensor(adapter):
    """The adapter's tensor as it lies in memory, and whether it is an nn.Linear's, that is, transposed."""
    if isinstance(adapter, nn.Module) and isinstance(getattr(adapter, "weight", None), torch.Tensor):
        return adapter.weight, True
    return (adapter if isinstance(adapter, torch.Tensor) else None), False


def _values(tensor, transposed):
    return tensor.mT if transposed and tensor.ndim == 2 else tensor


def _held(layer, name):
    """What `layer` holds under an adapter's name."""
    adapter = getattr(layer, name, None)
    tensor, transposed = _tensor(adapter)
    if tensor is None:
        return {"type": wire.type_name(adapter)}
    own = {id(parameter) for parameter in layer.parameters()}
    return {
        "type": wire.type_name(adapter),
        "shape": list(_values(tensor, transposed).shape),
        "registered": id(tensor) in own,
        "trains": tensor.requires_grad,
        "dtype": str(tensor.dtype),
        "device": tensor.device.type,
        "values": None if tensor.is_meta else wire.plain(_values(tensor, transposed)),
    }


def _set(layer, values):
    """Write `values` into the adapters; the name of one that cannot take them, or None."""
    for name, value in zip(ADAPTERS, values, strict=True):
        tensor, transposed = _tensor(getattr(layer, name, None))
        if tensor is None or _values(tensor, transposed).shape != value.shape:
            return name
        with torch.no_grad():
            _values(tensor, transposed).copy_(value)
    return None


def _made(layer_class, base, options):
    """``(layer, None)``, or ``(None, an observation)`` when there is none."""
    if not callable(layer_class):
        return None, {"not_callable": wire.type_name(layer_class)}
    layer, error = catch(layer_class, base, **options)
    if error:
        return None, {"raised": error, "during": "construction"}
    if not isinstance(layer, nn.Module):
        return None, {"type": wire.type_name(layer), "value": wire.plain(layer), "no_module": True}
    return layer, None


@probe
def start(layer_class, weight, bias, options, x):
    """Make two layers around equal bases and look at them before any training.

    Returns:
        ``held`` (what is under each adapter's name), ``other_A`` (lora_A of the second layer), ``out`` and ``base_out``
        (the first layer's output and its base's own), or ``raised`` with ``during``.
    """
    layer, problem = _made(layer_class, _base(weight, bias), options)
    if problem:
        return problem
    second, problem = _made(layer_class, _base(weight, bias), options)
    if problem:
        return problem
    out, error = catch(layer, x)
    if error:
        return {"raised": error, "during": "forward"}
    return {
        "held": {name: _held(layer, name) for name in ADAPTERS},
        "other_A": _held(second, "lora_A").get("values"),
        "type": wire.type_name(out),
        "out": wire.plain(out),
        "base_out": wire.plain(_base(weight, bias)(x)),
    }


@probe
def forward(layer_class, weight, bias, options, x, A, B, cotangent, device="cpu"):
    """Set the adapters to A and B, run the layer on x, and take the gradients of ``(output * cotangent).sum()``.

    Returns:
        ``out``, ``scaling``, and under ``gradients`` those of x, A and B (None where there is none); or ``unset``, the
        adapter that could not be set, with ``held``; or ``raised`` with ``during``.
    """
    tensors = [tensor.to(device) for tensor in (x, A, B, cotangent)]
    x, A, B, cotangent = tensors
    layer, problem = _made(layer_class, _base(weight, bias, device), options)
    if problem:
        return problem
    if unset := _set(layer, (A, B)):
        return {"unset": unset, "held": {name: _held(layer, name) for name in ADAPTERS}}
    x.requires_grad_()
    out, error = catch(layer, x)
    if error:
        return {"raised": error, "during": "forward"}
    seen = {"type": wire.type_name(out), "out": wire.plain(out), "scaling": wire.plain(getattr(layer, "scaling", None))}
    if isinstance(out, torch.Tensor) and out.shape == cotangent.shape and out.requires_grad:
        _, error = catch((out * cotangent).sum().backward)
        if error:
            return {"raised": error, "during": "backward"}
    adapters = [_tensor(getattr(layer, name)) for name in ADAPTERS]
    grads = [None if t.grad is None else _values(t.grad, turned) for t, turned in adapters]
    return seen | {"gradients": [wire.plain(x.grad), *(wire.plain(grad) for grad in grads)]}


@probe
def train(layer_class, weight, bias, options, x, A, B, steps, lr, weight_decay):
    """Set the adapters, then take optimiser steps, weight decay included, on all that the layer offers for training.

    Returns:
        ``trains`` (names of the parameters that require a gradient), ``adapters`` (names of the adapters' own),
        ``before`` and ``after`` (base weight, base bias, A, B), or ``unset`` or ``raised``.
    """
    base = _base(weight, bias)
    layer, problem = _made(layer_class, base, options)
    if problem:
        return problem
    if unset := _set(layer, (A, B)):
        return {"unset": unset, "held": {name: _held(layer, name) for name in ADAPTERS}}
    adapters = [_tensor(getattr(layer, name)) for name in ADAPTERS]
    own = {id(tensor) for tensor, _ in adapters}
    names = dict(layer.named_parameters())

    def look():
        state = [base.weight, base.bias, *(_values(*adapter) for adapter in adapters)]
        return [wire.copy(wire.plain(tensor)) for tensor in state]

    before = look()
    trainable = [parameter for parameter in layer.parameters() if parameter.requires_grad]
    if trainable:
        _, error = catch(_steps, layer, trainable, x, steps, lr, weight_decay)
        if error:
            return {"raised": error, "during": "training"}
    return {
        "trains": [name for name, parameter in names.items() if parameter.requires_grad],
        "adapters": [name for name, parameter in names.items() if id(parameter) in own],
        "before": before,
        "after": look(),
    }


def _steps(layer, parameters, x, steps, lr, weight_decay):
    optimiser = torch.optim.AdamW(parameters, lr=lr, weight_decay=weight_decay)
    for _ in range(steps):
        optimiser.zero_grad()
        layer(x).square().mean().backward()
        optimiser.step()


@probe
def place(layer_class, weight, bias, options, x, device, moved_to):
    """Make the layer around a base on `device`, then move it to the dtype named `moved_to` and run it on x.

    Returns:
        ``held`` (at first), ``moved`` (afterwards; None on a device without values), ``out``, or ``raised``.
    """
    layer, problem = _made(layer_class, _base(weight, bias, device), options)
    if problem:
        return problem
    held = {name: _held(layer, name) for name in ADAPTERS}
    if device == "meta":
        return {"held": held, "moved": None, "out": None}
    dtype = getattr(torch, moved_to)
    layer.to(dtype)
    moved = {name: _held(layer, name) for name in ADAPTERS}
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
