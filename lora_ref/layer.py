"""LoRALinear: a frozen nn.Linear, and beside it two thin matrices that learn."""

import math
from numbers import Real

import torch
from torch import nn

from . import merging


class LoRALinear(nn.Module):
    """h = base_layer(x) + scaling * (x @ lora_A) @ lora_B, with scaling = alpha / rank. Paper: section 4.1.

    base_layer  an nn.Linear of d in_features and k out_features; its weight and bias are frozen here
    rank        r, from 1 to min(d, k)
    alpha       how strong the adapter's part is; dividing by rank keeps that comparable from one rank to another

    lora_A `(d, r)` and lora_B `(r, k)` are made in the base's dtype and on its device, and follow `.to()`.
    Raises TypeError for a base that is not a plain nn.Linear, a rank that is not an int, an alpha that is not a number;
    ValueError for a rank out of range and an alpha that is not finite.
    """

    adapter_names = ("lora_A", "lora_B")  # the layer itself says which of its parameters learn: nobody has to guess

    def __init__(self, base_layer, rank=4, alpha=1):
        super().__init__()
        check_fits(base_layer, rank, alpha)
        d, k = base_layer.in_features, base_layer.out_features
        self.base_layer = base_layer.requires_grad_(False)  # weight and bias: a bias left trainable is a leak
        self.lora_A = nn.Parameter(base_layer.weight.new_empty(d, rank))
        self.lora_B = nn.Parameter(base_layer.weight.new_zeros(rank, k))
        # B is zero, so the layer starts as exactly its base. A must not be zero, too: the gradient of each has the other
        # as a factor, so nothing would ever learn. x @ A sums over d features; with a variance of 1/d its entries are
        # about as large as those of x for every d and r. (nn.init.kaiming_uniform_ would use r, A's second size, as fan-in.)
        nn.init.normal_(self.lora_A, std=d**-0.5)
        self.scaling = float(alpha) / rank
        self.enabled = True
        # While merged: the base's weight as it was. A buffer, so that it follows .to(), deepcopy and pickle.
        self.register_buffer("unmerged_weight", None, persistent=False)
        self.register_state_dict_post_hook(_save_unmerged)
        self.register_load_state_dict_pre_hook(_load_unmerged)

    def forward(self, x):
        """x `(..., d)` to `(..., k)`: any number of leading dimensions, none and empty ones included.

        The sum is made in the base's output itself: a hook on base_layer that keeps that output must clone it.
        """
        if self.merged or not self.enabled:
            return self.base_layer(x)
        if x.dim() != 2:  # leading dimensions become rows, and come back at the end
            return self.forward(x.reshape(-1, x.shape[-1])).view(*x.shape[:-1], self.base_layer.out_features)
        out = self.base_layer(x)  # (n, d) @ (d, k) -> (n, k)
        thin = x @ self.lora_A  # (n, d) @ (d, r) -> (n, r)
        # naive: out + scaling * (thin @ lora_B), which makes three more tensors as large as out. Here the product is
        # scaled and summed as it is made, into out itself; backward needs out's gradient only, not its values.
        # (.to() does nothing, except under autocast, which has made out and thin narrower than lora_B.)
        return out.addmm_(thin, self.lora_B.to(out.dtype), alpha=self.scaling)  # (n, k) += (n, r) @ (r, k)

    def delta_weight(self):
        """What a merge adds to the base's weight, `(k, d)`."""
        return merging.delta_weight(self)

    def to_linear(self):
        """A new plain nn.Linear that computes the same; this layer stays as it is."""
        return merging.merge(self)

    @property
    def merged(self):
        """Whether the base's weight holds the delta now."""
        return self.unmerged_weight is not None

    @torch.no_grad()  # without it, add_ on a frozen leaf would silently make the weight part of a graph
    def merge(self):
        """Add the delta to the base's weight, in place; on a merged layer, do nothing.

        While merged, A and B are not used in the forward pass and get no gradient. The original weight is kept, because
        subtracting the delta again would not restore it exactly: floating-point sums round.
        Another layer that shares the weight changes, too; if that is not wanted, use `to_linear`.
        """
        if not self.merged:
            weight, delta = self.base_layer.weight, self.delta_weight()
            self.unmerged_weight = weight.clone()
            weight.add_(delta)

    @torch.no_grad()
    def unmerge(self):
        """Restore the base's own weight, bit for bit; on a layer that is not merged, do nothing."""
        if self.merged:
            self.base_layer.weight.copy_(self.unmerged_weight)
            self.unmerged_weight = None

    def extra_repr(self):
        return f"rank={self.lora_A.shape[1]}, scaling={self.scaling:g}, merged={self.merged}"


# A state_dict always holds the unmerged layer: merged or not, it has the same keys and the same values, so that nothing
# saved while merged can be merged a second time. And loading leaves a layer unmerged: what comes in is a base's weight.


def _save_unmerged(layer, state_dict, prefix, _):
    if layer.merged:
        state_dict[prefix + "base_layer.weight"] = layer.unmerged_weight


def _load_unmerged(layer, *_):
    layer.unmerge()


def check_fits(base_layer, rank, alpha):
    """Raise what LoRALinear raises for arguments that do not fit; changes nothing."""
    if not isinstance(base_layer, nn.Linear):
        raise TypeError(f"base_layer must be an nn.Linear, not {type(base_layer).__name__}: wrap the Linear inside it.")
    if not isinstance(base_layer.weight, nn.Parameter):
        raise TypeError("base_layer.weight is computed, not stored: remove its parametrization or pruning first.")
    if type(rank) is not int:
        raise TypeError(f"rank must be an int, not {rank!r}: it is how many columns lora_A has.")
    d, k = base_layer.in_features, base_layer.out_features
    if not 1 <= rank <= min(d, k):
        raise ValueError(f"rank must be from 1 to {min(d, k)} on a layer of {d} to {k} features, not {rank}.")
    if not isinstance(alpha, Real):
        raise TypeError(f"alpha must be a number, not {alpha!r}: pass one such as 16.")
    if not math.isfinite(alpha):
        raise ValueError(f"alpha must be finite, not {alpha!r}: the adapter's output is multiplied by alpha / rank.")
