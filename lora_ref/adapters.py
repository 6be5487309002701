"""A model full of LoRA layers: what of it learns, what is frozen, and how to switch the adapters off.

What a layer owes to these functions, whatever its class:

    adapter_names      which of its parameters are its adapter. Nothing here looks for pieces of names, so a module
                       called `flora_proj` is nothing special.
    enabled            set to False, it computes what its base computes
    merged             whether its base's weight holds the adapter now; where that can be so, also
    merge(), unmerge() both in place; on a layer that is in that state already they do nothing
"""

from contextlib import contextmanager


def adapter_layers(model):
    """Every module in `model`, itself included, that carries an adapter."""
    return [module for module in model.modules() if hasattr(module, "adapter_names")]


def adapter_parameters(model):
    """The adapters' parameters, each once, as a list: what the optimiser gets."""
    named = (layer.get_parameter(name) for layer in adapter_layers(model) for name in layer.adapter_names)
    return list(dict.fromkeys(named))


def freeze_base(model):
    """Freeze all of `model` but its adapters: embeddings, norms, heads and biases too. Returns `model`.

    Raises ValueError where there is no adapter, since nothing would be left to train.
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

    Merged layers are unmerged for the time. At the end every layer is as it was, also when something raised within, and
    also when the layer had been off before: blocks may be nested.
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
