"""Shared by the probes of LoRA layers: make a base and a layer around it, find its adapters, set their values.

Adapters may be `nn.Parameter`s of shape (d, r) and (r, k) or bias-free `nn.Linear`s; both are reported in the first
form.
"""

import contextlib

import torch
from torch import nn

from autograde.remote import facts, wire
from autograde.remote.raised import catch

ADAPTERS = ("lora_A", "lora_B")


def make_base(weight, bias, device="cpu"):
    """An nn.Linear on `device` with copies of `weight` and `bias`; without a bias if `bias` is None."""
    out_features, in_features = weight.shape
    base = nn.Linear(in_features, out_features, bias=bias is not None, dtype=weight.dtype, device=device)
    with torch.no_grad():
        base.weight.copy_(weight)
        if bias is not None:
            base.bias.copy_(bias)
    return as_made_by_torch(base)


def as_made_by_torch(module):
    """The module, all of its parameters trainable. A cell may have had every parameter frozen that is made later, by a hook of
    `torch.nn` or a replaced method: what a learner's code is given to freeze must not be frozen already.
    """
    facts.set_requires_grad(facts.parameters(module).values(), True)
    return module


def base_trains(base):
    """Whether weight and bias of a base require a gradient. To be asked before anything is asked of the layer around it, which may
    run the learner's code and freeze the base as late as that: an optimiser that is made at once would train it.
    """
    own = facts.own_parameters(base)
    return [name in own and facts.requires_grad(own[name]) for name in ("weight", "bias")]


def make_layer(layer_class, base, options, by_position=False):
    """``(layer, None)``, or ``(None, observation)`` if none could be made. `options` are passed by name, or by position."""
    if not callable(layer_class):
        return None, {"not_callable": wire.type_name(layer_class)}
    layer, error = catch(layer_class, base, *options.values()) if by_position else catch(layer_class, base, **options)
    if error:
        return None, {"raised": error, "during": "construction"}
    if not facts.is_module(layer):
        return None, {"type": wire.type_name(layer), "value": wire.plain(layer), "no_module": True}
    if facts.attributes(layer).get("_modules") is None:  # super().__init__() was not called: none of its methods works
        return None, {"type": wire.type_name(layer), "no_init": True}
    return layer, None


def attribute(layer, name):
    """The attribute `name` of `layer`; None if there is none, or if getting it raises an exception."""
    value, _ = catch(getattr, layer, name, None)
    return value


def adapter(layer, name):
    """``(tensor or None, transposed)``: the adapter's tensor as stored, and whether an nn.Linear holds it, transposed."""
    holder = attribute(layer, name)
    transposed = facts.is_module(holder)
    tensor = attribute(holder, "weight") if transposed else holder
    if not facts.is_tensor(tensor) or nn.parameter.is_lazy(tensor):
        return None, False
    return tensor, transposed


def adapters(layer):
    """`adapter` for lora_A and lora_B."""
    return [adapter(layer, name) for name in ADAPTERS]


def as_convention(tensor, transposed):
    """A view of an adapter's tensor, or of one of its shape, as (d, r) or (r, k)."""
    return tensor.mT if transposed and len(facts.shape(tensor)) == 2 else tensor


def adapter_state(layer, name):
    """The state of an adapter of `layer`, as a dict: type, shape, whether it is registered, trains, and so on."""
    tensor, transposed = adapter(layer, name)
    holder = attribute(layer, name)
    kind = wire.type_name(holder)
    if tensor is None:
        return {"type": kind}
    own = {id(parameter) for parameter in facts.parameters(layer).values()}
    return {
        "type": kind,
        "shape": list(facts.shape(as_convention(tensor, transposed))),
        "registered": id(tensor) in own,
        "leaf": facts.is_leaf(tensor),
        "bias": transposed and facts.is_tensor(attribute(holder, "bias")),
        "trains": facts.requires_grad(tensor),
        "dtype": str(facts.dtype(tensor)),
        "device": facts.device(tensor).type,
        "values": None if facts.is_meta(tensor) else wire.plain(as_convention(tensor, transposed)),
    }


def adapter_states(layer):
    """`adapter_state` of both adapters by name; ``others``, the names of parameters that belong to neither an adapter nor
    the base; and ``listed``, whether a plain list or dict of the layer holds tensors or modules."""
    known_tensors = [*adapters(layer), *((tensor, False) for tensor in base_tensors(layer))]
    ids = {id(tensor) for tensor, _ in known_tensors}
    other_names = [name for name, parameter in facts.parameters(layer).items() if id(parameter) not in ids]
    listed = any(_holds_tensors(value) for name, value in facts.attributes(layer).items() if not name.startswith("_"))
    return {name: adapter_state(layer, name) for name in ADAPTERS} | {"others": other_names, "listed": listed}


def _holds_tensors(value):
    """Whether `value` is a plain list, tuple or dict with tensors or modules in it."""
    items = value.values() if isinstance(value, dict) else value if isinstance(value, (list, tuple)) else ()
    return any(facts.is_tensor(item) or facts.is_module(item) for item in items)


def move(layer, dtype, device):
    """Move a layer, and its adapters if they are not parameters; None, or an observation with the exception."""
    _, error = catch(layer.to, device=device, dtype=dtype)
    if error:
        return {"raised": error, "during": "move"}
    for name in ADAPTERS:
        tensor = attribute(layer, name)
        if isinstance(tensor, torch.Tensor) and (tensor.dtype != dtype or tensor.device.type != device):
            moved = tensor.detach().to(device, dtype).requires_grad_(tensor.requires_grad)
            catch(setattr, layer, name, moved)
    return None


def base_tensors(layer):
    """The weight and the bias of ``layer.base_layer``; None for each that is missing."""
    base = attribute(layer, "base_layer")
    return [getattr(base, name, None) for name in ("weight", "bias")]


@contextlib.contextmanager
def negated(tensors):
    """Within it, the tensors have the opposite signs: what uses them computes something else."""

    def negate():
        with torch.no_grad():
            for tensor in filter(facts.is_tensor, tensors):
                tensor.neg_()

    negate()
    try:
        yield
    finally:
        negate()


def set_adapters(layer, values):
    """Write `values` into the adapters; None, or an observation: which one could not be set, and their states.

    An adapter of the right shape may still not be writable, for instance an expanded tensor or one on the meta device.
    """
    for name, value in zip(ADAPTERS, values, strict=True):
        tensor, transposed = adapter(layer, name)
        if tensor is None or as_convention(tensor, transposed).shape != value.shape:
            return {"unset": name, "held": adapter_states(layer)}
        with torch.no_grad():
            _, error = catch(as_convention(tensor, transposed).copy_, value)
        if error:
            return {"raised": error, "during": f"setting of {name}"}
    return None


def shared_adapter(layers):
    """The paths of two of `layers`, by path, that hold one adapter's tensor between them; empty where none do."""
    holders = {}
    for path, layer in layers.items():
        for tensor, _ in adapters(layer) if layer is not None else ():
            if tensor is not None and holders.setdefault(id(tensor), path) != path:
                return [holders[id(tensor)], path]
    return []
