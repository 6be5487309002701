"""Many adapters on one base: switch between them, use several in one batch, make one out of several.

A server that has a base in memory can have a hundred adapters beside it: each holds r(d + k) numbers where the base's
weight holds dk, and the base itself is never touched.
"""

import math
from contextlib import contextmanager

import torch
import torch.nn.functional as F
from torch import nn

from .formulas import lora_delta
from .inject import find_linears, replace
from .layer import LoRALinear, check_fits


class MultiLoRALinear(nn.Module):
    """A frozen nn.Linear with any number of adapters, each under a name. One of them is active, or none.

    base_layer  an nn.Linear of d in_features and k out_features; its weight and bias are frozen here

    An adapter is a parameter `lora_A.<name>` `(d, r)` and a parameter `lora_B.<name>` `(r, k)`; ranks may differ.
    """

    merged = False  # never: what one row of a batch needs in the weight, the next row must not have

    def __init__(self, base_layer):
        super().__init__()
        check_fits(base_layer, rank=1, alpha=1)
        self.base_layer = base_layer.requires_grad_(False)
        self.lora_A, self.lora_B = nn.ParameterDict(), nn.ParameterDict()
        self.scaling = {}
        self.active = None
        self.enabled = True
        self._rows = None  # within `mixed_batch`: the name of each row's adapter

    @property
    def adapter_names(self):
        """The names of its adapters' parameters: see `adapters.py`."""
        return tuple(f"{side}.{name}" for name in self.scaling for side in ("lora_A", "lora_B"))

    def add(self, name, rank=4, alpha=1):
        """A new adapter, which changes nothing until it is active and trained.

        Raises ValueError for a name that is taken or cannot be one, and what LoRALinear raises for rank and alpha.
        """
        if name in self.scaling:
            raise ValueError(f"There is an adapter {name!r} already: choose another name.")
        if not isinstance(name, str) or not name.isidentifier() or hasattr(self.lora_A, name):
            raise ValueError(f"{name!r} cannot be an adapter's name: letters, digits and _ make one, such as 'de_2'.")
        fresh = LoRALinear(self.base_layer, rank, alpha)
        self.lora_A[name], self.lora_B[name] = fresh.lora_A, fresh.lora_B
        self.scaling[name] = fresh.scaling

    def activate(self, name):
        """Use this adapter from now on; None: the base alone. Raises KeyError for a name that is not there."""
        self.active = self._known(name)

    def _known(self, name):
        if name is not None and name not in self.scaling:
            raise KeyError(f"There is no adapter {name!r}, only {', '.join(self.scaling) or 'none at all'}: add it.")
        return name

    def forward(self, x):
        """x `(..., d)` to `(..., k)`. Within `mixed_batch`, x is `(n, ..., d)`, and each row has its own adapter."""
        out = self.base_layer(x)
        if not self.enabled:
            return out
        if self._rows is not None:
            return self._mixed(x, out)
        if self.active is None:
            return out
        name = self.active
        return out + lora_delta(x, self.lora_A[name], self.lora_B[name], self.scaling[name])

    def _mixed(self, x, out):
        used = list(dict.fromkeys(name for name in self._rows if name is not None))
        if not used:
            return out
        place = {None: -1} | {name: i for i, name in enumerate(used)}
        ids = torch.tensor([place[name] for name in self._rows], device=x.device)
        A, B = [self.lora_A[name] for name in used], [self.lora_B[name] for name in used]
        return route(x, A, B, [self.scaling[name] for name in used], ids, out)

    def extra_repr(self):
        return f"adapters={list(self.scaling)}, active={self.active!r}"


# A model full of such layers


def share_base(model, target_modules):
    """Put a MultiLoRALinear around every nn.Linear that `target_modules` names, as `inject` does. Returns their names."""
    found = find_linears(model, target_modules)
    replace(model, found, MultiLoRALinear)
    return list(found)


def add_adapter(model, name, rank=4, alpha=1):
    """`add` in each layer, or in none where one refuses."""
    layers = multi_layers(model)
    for layer in layers:
        check_fits(layer.base_layer, rank, alpha)
    for layer in layers:
        layer.add(name, rank, alpha)


def activate(model, name):
    """`activate` in each layer."""
    for layer in multi_layers(model):
        layer.activate(name)


@contextmanager
def mixed_batch(model, names):
    """Within `with mixed_batch(model, ["de", None, "fi"]):` row i of a batch is computed with the adapter names[i].

    None is the base alone. All layers get the same rows: the first dimension of what goes into them is the batch.
    Raises KeyError for a name that is not there.
    """
    layers = multi_layers(model)
    before = [layer._rows for layer in layers]
    rows = [[layer._known(name) for name in names] for layer in layers]  # all of them, before the first one is changed
    try:
        for layer, its_rows in zip(layers, rows, strict=True):
            layer._rows = its_rows
        yield model
    finally:
        for layer, its_rows in zip(layers, before, strict=True):
            layer._rows = its_rows


def multi_layers(model):
    """Every MultiLoRALinear in `model`. Raises ValueError where there is none."""
    layers = [module for module in model.modules() if isinstance(module, MultiLoRALinear)]
    if not layers:
        raise ValueError("This model holds no MultiLoRALinear: call share_base on it first.")
    return layers


# One batch, several adapters


def route(x, A, B, scaling, adapter_ids, out=None):
    """The adapters' part for a batch whose rows use different ones: row i is scaling[a] * (x[i] @ A[a]) @ B[a].

    x `(n, ..., d)`, A `(m, d, r)` and B `(m, r, k)` or lists of matrices whose ranks may differ, scaling `(m,)`, and
    adapter_ids `(n,)` of integers: a = adapter_ids[i], and -1 stands for no adapter, whose row is zero.
    Returns `(n, ..., k)`; with `out`, a tensor of this shape, it is added to that, in place. Raises IndexError for an id
    outside of -1 ... m - 1: to Python, -2 would be the one before the last.
    """
    if len(adapter_ids) != len(x):
        raise ValueError(f"{len(x)} rows need as many adapter ids, not {len(adapter_ids)}.")
    if len(x) and not -1 <= int(adapter_ids.min()) <= int(adapter_ids.max()) < len(A):
        raise IndexError(f"adapter_ids go from -1 to {len(A) - 1}, not {adapter_ids.min()} to {adapter_ids.max()}.")
    ranks, (d, k) = [a.shape[1] for a in A], (A[0].shape[0], B[0].shape[1])
    if math.prod(x.shape[1:-1]) > max(ranks):
        return _gathered(x, A, B, scaling, adapter_ids, out)
    part = _side_by_side(x, A, B, scaling, adapter_ids) if sum(ranks) * (d + k) < d * k else None
    if part is None or not part.isfinite().all():  # 0 * nan is nan: a broken adapter stays in its own rows
        part = _in_segments(x, A, B, scaling, adapter_ids)
    return part if out is None else out.add_(part)


def _gathered(x, A, B, scaling, ids, out=None):
    """A copy of its adapter's matrices for every row. For long rows, beside which such a copy is small."""
    r, rows = max(a.shape[1] for a in A), x.flatten(1, -2)
    A = torch.stack([F.pad(a, (0, r - a.shape[1])) for a in A])  # (m, d, r): thinner ones get columns of zeros
    B = torch.stack([F.pad(b, (0, 0, 0, r - b.shape[0])) for b in B])  # (m, r, k)
    A, B = (F.pad(both, (0, 0, 0, 0, 0, 1)) for both in (A, B))  # zeros at m, where an id of -1 finds them
    scale = F.pad(torch.as_tensor(scaling, dtype=x.dtype, device=x.device), (0, 1))[ids]  # (n,)
    thin = torch.bmm(rows, A[ids])  # (n, T, d) @ (n, d, r) -> (n, T, r)
    thin = thin * scale[:, None, None]
    if out is not None:  # scaled and summed as it is made, as in LoRALinear
        out.view(*rows.shape[:-1], B.shape[-1]).baddbmm_(thin.to(out.dtype), B[ids].to(out.dtype))  # (n, T, k) += ...
        return out
    return torch.bmm(thin, B[ids]).view(*x.shape[:-1], B.shape[-1])  # (n, T, r) @ (n, r, k) -> (n, T, k)


def _side_by_side(x, A, B, scaling, ids):
    """Every row through all adapters in two products, and what is not its own made zero in between. For few of them."""
    ranks = torch.tensor([a.shape[1] for a in A], device=x.device)
    owner = torch.arange(len(A), device=x.device).repeat_interleave(ranks)  # (R,): whose column it is, R of all ranks
    scale = torch.as_tensor(scaling, dtype=x.dtype, device=x.device)[owner]  # (R,)
    own = torch.where(ids[:, None] == owner, scale, 0)  # (n, R)
    thin = x @ torch.cat([*A], 1)  # (n, ..., d) @ (d, R) -> (n, ..., R)
    thin = thin * own.view(len(ids), *[1] * (x.dim() - 2), len(owner))
    return thin @ torch.cat([*B], 0)  # (n, ..., R) @ (R, k) -> (n, ..., k)


def _in_segments(x, A, B, scaling, ids):
    """Rows sorted by adapter, so that each adapter has its rows in one piece. For many of them."""
    order = ids.argsort()
    counts = torch.bincount(ids + 1, minlength=len(A) + 1).tolist()  # the first is for -1
    none, *parts = x[order].split(counts)
    parts = [lora_delta(part, A[i], B[i], scaling[i]) for i, part in enumerate(parts) if len(part)]
    parts = [x.new_zeros(*none.shape[:-1], B[0].shape[1]), *parts]
    return torch.cat(parts)[order.argsort()]  # and back into the order in which they came


def combine(adapters, weights):
    """One adapter that adds the weighted sum of what several add, exactly.

    adapters  a list of (A `(d, r_i)`, B `(r_i, k)`, scaling); ranks may differ
    weights   as many numbers

    Returns (A, B, scaling): the A's side by side and the B's on top of each other, of rank r_1 + r_2 + ... Summing the
    factors instead, (A_1 + A_2) @ (B_1 + B_2), would add A_1 @ B_2 and A_2 @ B_1, which nobody has trained.
    """
    if not adapters or len(adapters) != len(weights):
        raise ValueError(f"{len(adapters)} adapters and {len(weights)} weights: there must be as many, at least one.")
    A = torch.cat([A for A, _, _ in adapters], 1)  # (d, r_1 + r_2 + ...)
    B = torch.cat([w * scaling * B for (_, B, scaling), w in zip(adapters, weights, strict=True)])  # (r_1 + ..., k)
    return A, B, 1.0
