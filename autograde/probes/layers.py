"""What the probes of LoRA layers share: make a base and a layer around it, find its adapters, set them.

Adapters may be `nn.Parameter`s of shape (d, r) and (r, k) or bias-free `nn.Linear`s; both are seen in the first
form.
"""

import torch
from torch import nn

from autograde.remote import wire
from autograde.remote.raised import catch

ADAPTERS = ("lora_A", "lora_B")


def make_base(weight, bias, device="cpu"):
    """An nn.Linear on `device` that holds copies of `weight` and `bias` (None: it has no bias)."""
    out_features, in_features = weight.shape
    base = nn.Linear(in_features, out_features, bias=bias is not None, dtype=weight.dtype, device=device)
    with torch.no_grad():
        base.weight.copy_(weight)
        if bias is not None:
            base.bias.copy_(bias)
    return base


def make_layer(layer_class, base, options, by_position=False):
    """``(layer, None)``, or ``(None, an observation)`` when there is none; `options` go by name, unless `by_position`."""
    if not callable(layer_class):
        return None, {"not_callable": wire.type_name(layer_class)}
    layer, error = catch(layer_class, base, *options.values()) if by_position else catch(layer_class, base, **options)
    if error:
        return None, {"raised": error, "during": "construction"}
    if not isinstance(layer, nn.Module):
        return None, {"type": wire.type_name(layer), "value": wire.plain(layer), "no_module": True}
    if getattr(layer, "_modules", None) is None:  # nothing that torch asks of it would come to an answer
        return None, {"type": wire.type_name(layer), "no_init": True}
    return layer, None


def under(layer, name):
    """What `layer` holds under `name`; None where nothing is, or where asking for it raises."""
    found, _ = catch(getattr, layer, name, None)
    return found


def adapter(layer, name):
    """The adapter's tensor as it lies in memory (or None), and whether it is an nn.Linear's, that is, transposed."""
    found = under(layer, name)
    turned = isinstance(found, nn.Module)
    tensor = under(found, "weight") if turned else found
    if not isinstance(tensor, torch.Tensor) or nn.parameter.is_lazy(tensor):
        return None, False
    return tensor, turned


def adapters(layer):
    """`adapter` for lora_A and lora_B."""
    return [adapter(layer, name) for name in ADAPTERS]


def as_convention(tensor, transposed):
    """A tensor of an adapter, or of its size, as (d, r) or (r, k): a view."""
    return tensor.mT if transposed and tensor.ndim == 2 else tensor


def parameters_of(layer):
    """The parameters of `layer` by name, as torch keeps them: its class may say otherwise."""
    return dict(nn.Module.named_parameters(layer))


def look_at(layer, name):
    """What `layer` holds under an adapter's name."""
    tensor, transposed = adapter(layer, name)
    held = under(layer, name)
    kind = wire.type_name(held)
    if tensor is None:
        return {"type": kind}
    own = {id(parameter) for parameter in parameters_of(layer).values()}
    return {
        "type": kind,
        "shape": list(as_convention(tensor, transposed).shape),
        "registered": id(tensor) in own,
        "leaf": tensor.is_leaf,
        "bias": transposed and isinstance(getattr(held, "bias", None), torch.Tensor),
        "trains": tensor.requires_grad,
        "dtype": str(tensor.dtype),
        "device": tensor.device.type,
        "values": None if tensor.is_meta else wire.plain(as_convention(tensor, transposed)),
    }


def look_at_all(layer):
    """`look_at` for both adapters, by name; under ``others`` the names of parameters that are no adapter's or base's,
    and under ``listed`` whether tensors or modules are in a plain list or dict of the layer's."""
    known = [*adapters(layer), *((tensor, False) for tensor in base_tensors(layer))]
    ids = {id(tensor) for tensor, _ in known}
    others = [name for name, parameter in parameters_of(layer).items() if id(parameter) not in ids]
    listed = any(_holds_tensors(value) for name, value in vars(layer).items() if not name.startswith("_"))
    return {name: look_at(layer, name) for name in ADAPTERS} | {"others": others, "listed": listed}


def _holds_tensors(value):
    """Whether `value` is a plain list, tuple or dict with tensors or modules in it."""
    inside = value.values() if isinstance(value, dict) else value if isinstance(value, (list, tuple)) else ()
    return any(isinstance(each, (torch.Tensor, nn.Module)) for each in inside)


def move(layer, dtype, device):
    """Move a layer, its adapters too where they are no parameters of it; None, or an observation of what raised."""
    _, error = catch(layer.to, device=device, dtype=dtype)
    if error:
        return {"raised": error, "during": "move"}
    for name in ADAPTERS:
        tensor = under(layer, name)
        if isinstance(tensor, torch.Tensor) and (tensor.dtype != dtype or tensor.device.type != device):
            moved = tensor.detach().to(device, dtype).requires_grad_(tensor.requires_grad)
            catch(setattr, layer, name, moved)
    return None


def base_tensors(layer):
    """The weight and the bias of ``layer.base_layer``, None for what is not there."""
    base = under(layer, "base_layer")
    return [getattr(base, name, None) for name in ("weight", "bias")]


def set_adapters(layer, values):
    """Write `values` into the adapters; None, or an observation: which one cannot take them, and what is held.

    One that has the right shape may still not be writable: its entries may lie in one place, or nowhere.
    """
    for name, value in zip(ADAPTERS, values, strict=True):
        tensor, transposed = adapter(layer, name)
        if tensor is None or as_convention(tensor, transposed).shape != value.shape:
            return {"unset": name, "held": look_at_all(layer)}
        with torch.no_grad():
            _, error = catch(as_convention(tensor, transposed).copy_, value)
        if error:
            return {"raised": error, "during": f"setting of {name}"}
    return None
