"""A model full of LoRA layers: what learns, what is frozen, how to switch the adapters off, save them and load them.

What these functions need from a layer, whatever its class:

    adapter_names      which of its parameters are its adapter. Nothing here looks for pieces of names, so a module
                       called `flora_proj` is nothing special.
    enabled            set to False, it computes what its base computes
    merged             whether its base's weight holds the adapter now; where that can be so, also
    merge(), unmerge() both in place; on a layer that is in that state already they do nothing
"""

from collections.abc import Mapping
from contextlib import contextmanager

import torch


def adapter_layers(model):
    """Every module in `model`, itself included, that has an adapter."""
    return [module for module in model.modules() if hasattr(module, "adapter_names")]


def adapter_parameters(model):
    """The adapters' parameters, each once, as a list: what the optimiser gets."""
    named = (layer.get_parameter(name) for layer in adapter_layers(model) for name in layer.adapter_names)
    return list(dict.fromkeys(named))


def freeze_base(model):
    """Freeze all of `model` but its adapters: embeddings, norms, heads and biases, too. Returns `model`.

    Raises ValueError if there is no adapter, since nothing would be left to train.
    """
    adapters = adapter_parameters(model)
    if not adapters:
        raise ValueError("This model holds no adapter: put LoRALinear around some of its layers first.")
    model.requires_grad_(False)
    for parameter in adapters:
        parameter.requires_grad_(True)
    return model


def leaked_parameters(layer):
    """The names of the parameters of one LoRA layer that train and should not.

    For a layer that does not name its adapter, `lora_A` and `lora_B` are taken to be it, as Parameters or as modules.
    """
    adapter = tuple(f"{name}." for name in getattr(layer, "adapter_names", ("lora_A", "lora_B")))
    trained = [name for name, parameter in layer.named_parameters() if parameter.requires_grad]
    return [name for name in trained if not f"{name}.".startswith(adapter)]  # whole names, up to a dot


@contextmanager
def adapters_off(model):
    """Within `with adapters_off(model):` the model computes what it computed before it had adapters.

    Merged layers are unmerged meanwhile. At the end every layer is as it was, also after an exception, and also if the
    layer had been off before: blocks may be nested.
    """
    before = [(layer, layer.enabled, layer.merged) for layer in adapter_layers(model)]
    try:
        for layer, _, merged in before:
            layer.enabled = False
            if merged:
                layer.unmerge()
        yield model
    finally:
        for layer, enabled, merged in before:
            layer.enabled = enabled
            if merged != layer.merged:  # somebody may have merged within
                layer.merge() if merged else layer.unmerge()


def adapter_state_dict(model):
    """Only the adapters, to be saved: a dict from names, those of `model.state_dict()`, to copies of the tensors."""
    return {name: parameter.detach().clone() for name, parameter in _named_adapters(model)}


def load_adapter(model, state):
    """Write what `adapter_state_dict` returned into `model`, which has the same adapters with other values.

    All or nothing: before the first value is written, every name must match, and every tensor must have its parameter's
    shape. The parameters stay the same objects, so an optimiser that has them goes on working. Values are cast to the
    parameter's dtype and moved to its device.
    Raises TypeError if `state` is not a mapping, ValueError for a model without adapters, and for names that are missing
    or not in the model, shapes that differ, or values that are not float tensors: the message names each of them.
    """
    if not isinstance(state, Mapping):
        raise TypeError(f"state must map names to tensors, not be a {type(state).__name__}: load the file first.")
    adapters = dict(_named_adapters(model))
    if not adapters:
        raise ValueError("This model holds no adapter: inject adapters into the layers first that the file is for.")
    wrong = [f"missing: {name}" for name in adapters if name not in state]
    wrong += [f"not an adapter of this model: {name}" for name in state if name not in adapters]
    wrong += [problem for name in adapters if name in state for problem in _misfit(name, state[name], adapters[name])]
    if wrong:
        raise ValueError("\n    ".join(["This is no adapter for this model, and nothing was loaded.", *wrong]))
    merged = [layer for layer in adapter_layers(model) if layer.merged]
    for layer in merged:
        layer.unmerge()
    with torch.no_grad():
        for name, parameter in adapters.items():
            parameter.copy_(state[name])
    for layer in merged:  # now with the new numbers
        layer.merge()


def _named_adapters(model):
    for path, layer in model.named_modules():
        for name in getattr(layer, "adapter_names", ()):
            yield f"{path}.{name}" if path else name, layer.get_parameter(name)


def _misfit(name, value, parameter):
    if not isinstance(value, torch.Tensor) or not value.is_floating_point():
        yield f"no tensor of floats: {name}"
    elif value.shape != parameter.shape:
        hint = ", which is transposed" if value.dim() == 2 and value.mT.shape == parameter.shape else ""
        yield f"of shape {tuple(value.shape)} and not {tuple(parameter.shape)}{hint}: {name}"
