"""LoRA into a model that somebody else wrote: its nn.Linears are replaced in place, by name or all of them.

Other modules do not change, nor does their requires_grad: a norm that was trained goes on training.
`adapters.freeze_base` freezes them.
"""

from collections.abc import Iterable

from torch import nn

from .adapters import adapter_layers
from .layer import LoRALinear, check_fits


def inject(model, target_modules, rank=4, alpha=1):
    """Put a LoRALinear around every nn.Linear that `target_modules` names. Returns the full names of those replaced.

    target_modules  a list of names; each matches the modules with exactly this name and those whose full name ends in
                    "." followed by it: "q_proj" matches "layers.0.attn.q_proj", but not "seq_proj" nor "q_proj.inner"

    An adapter that is there stays as it is: a second call with the same names returns []. A Linear at several places
    becomes one LoRALinear at all of them, and a weight that is tied to another module stays tied, since the LoRALinear
    keeps the same nn.Linear object.
    Raises TypeError for a single string and for what is not a name, ValueError if nothing matches or a rank does not
    fit; then nothing has changed.
    """
    found = find_linears(model, target_modules)
    _replace(model, found, rank, alpha)
    return list(found)


def add_lora(model, rank=4, alpha=1):
    """Put a LoRALinear around every nn.Linear in `model`, which is not an nn.Linear itself. Returns the model.

    A second call adds nothing. Raises ValueError for a rank that does not fit; then nothing has changed.
    """
    _replace(model, _linears(model), rank, alpha)
    return model


def find_linears(model, target_modules):
    """The nn.Linears that `inject` would replace, by their full names. Raises what `inject` raises for names."""
    if isinstance(target_modules, str):
        raise TypeError(f"target_modules must be a list of names: pass [{target_modules!r}].")
    targets = list(target_modules) if isinstance(target_modules, Iterable) else [None]
    if not all(isinstance(target, str) for target in targets):
        raise TypeError(f"target_modules must be a list of names such as ['q_proj'], not {target_modules!r}.")
    linears, endings = _linears(model), tuple(f".{target}" for target in targets)
    found = {name: linear for name, linear in linears.items() if f".{name}".endswith(endings)}
    adapted = [name for name, module in model.named_modules() if hasattr(module, "adapter_names")]
    if not found and not any(f".{name}".endswith(endings) for name in adapted):
        there = ", ".join(dict.fromkeys(name.rpartition(".")[2] for name in linears)) or "none that is not adapted"
        raise ValueError(f"No nn.Linear is called {' or '.join(targets)}. There are: {there}.")
    return found


def replace(model, linears, wrap):
    """Put `wrap(linear)` in the place of each of `linears`, a dict by full name: one layer for a Linear at two places."""
    layers = {linear: wrap(linear) for linear in dict.fromkeys(linears.values())}
    for name, linear in linears.items():
        parent, _, child = name.rpartition(".")
        setattr(model.get_submodule(parent), child, layers[linear])


def _linears(model):
    """Every nn.Linear below `model` by its full name, at each of its places, but those that belong to an adapter."""
    inside = {part for layer in adapter_layers(model) for part in layer.modules()}
    named = model.named_modules(remove_duplicate=False)
    return {name: part for name, part in named if name and isinstance(part, nn.Linear) and part not in inside}


def _replace(model, linears, rank, alpha):
    for linear in linears.values():
        check_fits(linear, rank, alpha)  # all of them, before the first one is changed
    replace(model, linears, lambda linear: LoRALinear(linear, rank, alpha))
