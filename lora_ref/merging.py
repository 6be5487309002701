"""A and B folded into W: afterwards the layer costs what it cost before LoRA. Paper: section 4.1.

    x Wᵀ + scaling · (x A) B  =  x (W + scaling · (A B)ᵀ)ᵀ

These two functions read a layer and change nothing. `LoRALinear.merge` folds in place.
"""

import torch
from torch import nn


def delta_weight(layer):
    """What a merge adds to `layer.base_layer.weight`: `(k, d)`, in the adapter's dtype, differentiable.

    `layer` is anything that has `lora_A` `(d, r)`, `lora_B` `(r, k)` and `scaling`.
    """
    A, B = layer.lora_A, layer.lora_B
    with torch.autocast(A.device.type, enabled=False):  # weights keep their precision, wherever the merge is called
        # naive: layer.scaling * (A @ B).T, which goes over all of (k, d) once more to scale it
        return (layer.scaling * B).T @ A.T  # (k, r) @ (r, d) -> (k, d)


@torch.no_grad()
def merge(layer):
    """A new nn.Linear that computes what `layer` computes with its adapter on. The layer stays as it is.

    The new weight and bias are ordinary trainable Parameters in the base's dtype and on its device, and share no
    memory with the layer.
    """
    base = layer.base_layer
    linear = nn.utils.skip_init(
        nn.Linear,
        base.in_features,
        base.out_features,
        bias=base.bias is not None,
        device=base.weight.device,
        dtype=base.weight.dtype,
    )
    linear.weight.copy_(base.weight)
    if not getattr(layer, "merged", False):  # a merged layer's weight has its delta already
        linear.weight.add_(delta_weight(layer))
    if base.bias is not None:
        linear.bias.copy_(base.bias)
    return linear
