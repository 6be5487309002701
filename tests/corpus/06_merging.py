# Right answers in other styles (wheat) and wrong ones (chaff) for lesson 06; format: tests/corpus/README.md


# %% wheat="transposed product" exercise="delta_weight"
def delta_weight(layer):
    return layer.scaling * (layer.lora_A @ layer.lora_B).T


# %% wheat="product of transposes, scaled last" exercise="delta_weight"
def delta_weight(layer):
    return torch.matmul(layer.lora_B.t(), layer.lora_A.t()).mul(layer.scaling)


# %% wheat="einsum, without a graph" exercise="delta_weight"
@torch.no_grad()
def delta_weight(layer):
    return torch.einsum("dr,rk->kd", layer.lora_A, layer.scaling * layer.lora_B)


# %% wheat="either spelling of the adapters" exercise="delta_weight"
def delta_weight(layer):
    A, B = layer.lora_A, layer.lora_B
    A = A.weight.T if isinstance(A, nn.Linear) else A
    B = B.weight.T if isinstance(B, nn.Linear) else B
    return (A @ B).transpose(0, 1).contiguous() * layer.scaling


# %% wheat="what the layer adds to the rows of an identity" exercise="delta_weight"
def delta_weight(layer):
    weight = layer.base_layer.weight
    rows = torch.eye(weight.shape[1], dtype=weight.dtype, device=weight.device)
    return (layer(rows) - layer.base_layer(rows)).mT


# %% wheat="one outer product for each direction of the rank" exercise="delta_weight"
def delta_weight(layer):
    delta = torch.zeros_like(layer.base_layer.weight)
    for a, b in zip(layer.lora_A.T, layer.lora_B):
        delta = delta + layer.scaling * torch.outer(b, a)
    return delta


# %% wheat="a linear layer's own product" exercise="delta_weight"
def delta_weight(layer):
    import torch.nn.functional as F

    return F.linear(layer.lora_B.detach().T, layer.lora_A.detach()) * layer.scaling


# %% wheat="addmm into zeros" exercise="delta_weight"
def delta_weight(layer):
    zero = torch.zeros_like(layer.base_layer.weight)
    return torch.addmm(zero, layer.lora_B.T, layer.lora_A.T, alpha=layer.scaling)


# %% wheat="numpy and back" exercise="delta_weight"
import numpy as np


def delta_weight(layer):
    A, B = (np.asarray(t.detach().cpu()) for t in (layer.lora_A, layer.lora_B))
    return torch.from_numpy((A @ B).T * layer.scaling).to(layer.lora_A)


# %% wheat="lambda" exercise="delta_weight"
delta_weight = lambda layer: (layer.scaling * layer.lora_A @ layer.lora_B).T


# %% wheat="the layer's derivative, less the base's" exercise="delta_weight"
def delta_weight(layer):
    x = torch.zeros(layer.lora_A.shape[0], dtype=layer.lora_A.dtype, device=layer.lora_A.device)
    return torch.autograd.functional.jacobian(layer, x) - layer.base_layer.weight


# %% wheat="multi_dot" exercise="delta_weight"
def delta_weight(layer):
    A, B = layer.lora_A, layer.lora_B
    rank = layer.scaling * torch.eye(A.shape[1], dtype=A.dtype, device=A.device)
    return torch.linalg.multi_dot([B.T, rank, A.T])


# %% chaff="takes the scaling out of the layer" exercise="delta_weight" misconception="changed_layer"
def delta_weight(layer):
    delta = layer.scaling * (layer.lora_A @ layer.lora_B).T
    layer.scaling = 1.0
    return delta


# %% chaff="scales lora_A in place, without no_grad" exercise="delta_weight" misconception="changed_layer"
def delta_weight(layer):
    layer.lora_A *= layer.scaling
    return (layer.lora_A @ layer.lora_B).T


# %% chaff="the layer on an identity, base included" exercise="delta_weight" misconception=""
def delta_weight(layer):
    rows = torch.eye(layer.base_layer.in_features, dtype=layer.lora_A.dtype)
    return layer(rows).T


# %% chaff="keeps it to itself" exercise="delta_weight" misconception="returned_none"
def delta_weight(layer):
    delta = layer.scaling * (layer.lora_A @ layer.lora_B).T


# %% chaff="the wrong sign" exercise="delta_weight" misconception=""
def delta_weight(layer):
    return -layer.scaling * (layer.lora_A @ layer.lora_B).T


# %% chaff="entry by entry" exercise="delta_weight" misconception=""
def delta_weight(layer):
    return layer.scaling * layer.lora_A * layer.lora_B.T


# %% chaff="nested lists" exercise="delta_weight" misconception=""
def delta_weight(layer):
    return (layer.scaling * (layer.lora_A @ layer.lora_B).T).tolist()


# %% chaff="the bare product" exercise="delta_weight" misconception="no_transpose"
def delta_weight(layer):
    return layer.lora_A @ layer.lora_B


# %% chaff="the bare product, viewed" exercise="delta_weight" misconception="view_for_transpose"
def delta_weight(layer):
    return (layer.lora_A @ layer.lora_B).view_as(layer.base_layer.weight)


# %% chaff="W + BA as published" exercise="delta_weight" misconception="merged_weight"
def delta_weight(layer):
    return layer.base_layer.weight + layer.lora_B.T @ layer.lora_A.T


# %% chaff="float64 whatever comes" exercise="delta_weight" misconception=""
def delta_weight(layer):
    return layer.scaling * (layer.lora_A.double() @ layer.lora_B.double()).T


# %% chaff="half precision on the way" exercise="delta_weight" misconception=""
def delta_weight(layer):
    A, B = layer.lora_A.half().float(), layer.lora_B.half().float()
    return (layer.scaling * (A @ B).T).to(layer.lora_A.dtype)


# %% chaff="transposes lora_A in place" exercise="delta_weight" misconception="changed_layer"
def delta_weight(layer):
    delta = layer.scaling * (layer.lora_A @ layer.lora_B).T
    with torch.no_grad():
        layer.lora_B.zero_()
    return delta


# %% chaff="freezes the adapters" exercise="delta_weight" misconception="changed_layer"
def delta_weight(layer):
    layer.requires_grad_(False)
    return layer.scaling * (layer.lora_A @ layer.lora_B).T


# %% chaff="not a function" exercise="delta_weight" misconception=""
delta_weight = torch.zeros(3, 4)


# %% wheat="a new Linear, filled under no_grad" exercise="merge"
def merge(layer):
    base = layer.base_layer
    linear = nn.Linear(
        base.in_features,
        base.out_features,
        bias=base.bias is not None,
        device=base.weight.device,
        dtype=base.weight.dtype,
    )
    with torch.no_grad():
        linear.weight.copy_(base.weight + layer.scaling * (layer.lora_A @ layer.lora_B).T)
        if base.bias is not None:
            linear.bias.copy_(base.bias)
    return linear


# %% wheat="a deep copy of the base, added to in place" exercise="merge"
@torch.no_grad()
def merge(layer):
    from copy import deepcopy

    linear = deepcopy(layer.base_layer)
    linear.weight += layer.scaling * (layer.lora_A @ layer.lora_B).T
    return linear


# %% wheat="new Parameters" exercise="merge"
def merge(layer):
    base = layer.base_layer
    d, k = base.in_features, base.out_features
    linear = nn.Linear(d, k, bias=False)
    delta = (layer.lora_B.T @ layer.lora_A.T) * layer.scaling
    linear.weight = nn.Parameter(base.weight.detach() + delta.detach())
    linear.bias = None if base.bias is None else nn.Parameter(base.bias.detach().clone())
    return linear


# %% wheat="through .data, frozen" exercise="merge"
def merge(layer):
    base = layer.base_layer
    linear = nn.Linear(base.in_features, base.out_features, bias=base.bias is not None).to(base.weight)
    linear.weight.data = base.weight.data + (layer.scaling * layer.lora_A.data @ layer.lora_B.data).T
    if base.bias is not None:
        linear.bias.data = base.bias.data.clone()
    return linear.requires_grad_(False)


# %% wheat="load_state_dict" exercise="merge"
def merge(layer):
    base = layer.base_layer
    state = {name: value.clone() for name, value in base.state_dict().items()}
    state["weight"] += (layer.scaling * (layer.lora_A @ layer.lora_B).T).detach()
    linear = type(base)(base.in_features, base.out_features, "bias" in state).to(base.weight.device, base.weight.dtype)
    linear.load_state_dict(state)
    return linear


# %% wheat="a deep copy of the whole layer, whose base is handed out" exercise="merge"
def merge(layer):
    import copy

    twin = copy.deepcopy(layer)
    with torch.no_grad():
        twin.base_layer.weight.add_(twin.scaling * (twin.lora_A @ twin.lora_B).T)
    return twin.base_layer


# %% wheat="merged for a moment, and given back" exercise="merge"
@torch.no_grad()
def merge(layer):
    import copy

    weight = layer.base_layer.weight
    kept = weight.clone()
    weight.add_((layer.lora_A @ layer.lora_B).T, alpha=layer.scaling)
    linear = copy.deepcopy(layer.base_layer)
    weight.copy_(kept)
    return linear


# %% wheat="summed in float32, made on meta" exercise="merge"
def merge(layer):
    base = layer.base_layer
    wide = torch.promote_types(base.weight.dtype, torch.float32)
    with torch.no_grad():
        delta = layer.scaling * (layer.lora_A.to(wide) @ layer.lora_B.to(wide)).T
        weight = (base.weight.to(wide) + delta).to(base.weight.dtype)
        linear = nn.Linear(base.in_features, base.out_features, bias=base.bias is not None, device="meta")
        linear = linear.to_empty(device=base.weight.device).to(base.weight.dtype)
        for to, value in zip(linear.parameters(), (weight, base.bias)):
            to.copy_(value)
    return linear


# %% wheat="the weight read off an identity" exercise="merge"
@torch.no_grad()
def merge(layer):
    base = layer.base_layer
    rows = torch.eye(base.in_features, dtype=base.weight.dtype, device=base.weight.device)
    delta = (layer(rows) - base(rows)).T
    linear = nn.Linear(
        base.in_features, base.out_features, base.bias is not None, base.weight.device, base.weight.dtype
    )
    linear.weight.set_((base.weight + delta).contiguous())
    if linear.bias is not None:
        linear.bias[:] = base.bias
    return linear.eval()


# %% wheat="a state_dict assigned" exercise="merge"
def merge(layer):
    import copy

    base = layer.base_layer
    state = copy.deepcopy(base.state_dict())
    state["weight"] = state["weight"] + (layer.scaling * layer.lora_A @ layer.lora_B).T.detach()
    linear = nn.Linear(base.in_features, base.out_features, bias=base.bias is not None, device="meta")
    linear.load_state_dict(state, assign=True)
    return linear


# %% wheat="addmm into a copy, in inference mode" exercise="merge"
def merge(layer):
    import copy

    linear = copy.deepcopy(layer.base_layer)
    with torch.inference_mode():
        linear.weight.addmm_(layer.lora_B.T, layer.lora_A.T, alpha=layer.scaling)
    return linear


# %% wheat="a Parameter of what autograd has recorded" exercise="merge"
def merge(layer):
    base = layer.base_layer
    linear = nn.Linear(base.in_features, base.out_features)
    linear.weight = nn.Parameter(base.weight + layer.scaling * (layer.lora_A @ layer.lora_B).T)
    linear.bias = None if base.bias is None else nn.Parameter(base.bias.clone())
    return linear


# %% chaff="a tensor as the bias" exercise="merge" misconception="not_a_parameter"
def merge(layer):
    base = layer.base_layer
    linear = nn.Linear(base.in_features, base.out_features)
    linear.weight = nn.Parameter((base.weight + layer.scaling * (layer.lora_A @ layer.lora_B).T).detach())
    linear.bias = None if base.bias is None else base.bias.detach().clone()
    return linear


# %% chaff="the bias in the dtype that nn.Linear makes" exercise="merge" misconception="dtype_forgotten"
@torch.no_grad()
def merge(layer):
    base = layer.base_layer
    linear = nn.Linear(base.in_features, base.out_features, bias=base.bias is not None)
    linear.weight = nn.Parameter(base.weight + layer.scaling * (layer.lora_A @ layer.lora_B).T)
    if base.bias is not None:
        linear.bias.copy_(base.bias)
    return linear


# %% chaff="a plain tensor as the weight" exercise="merge" misconception=""
@torch.no_grad()
def merge(layer):
    import copy

    linear = copy.deepcopy(layer.base_layer)
    weight = linear.weight + layer.scaling * (layer.lora_A @ layer.lora_B).T
    del linear.weight
    linear.weight = weight
    return linear


# %% chaff="merged and subtracted again" exercise="merge" misconception="merged_into_the_base"
@torch.no_grad()
def merge(layer):
    import copy

    delta = layer.scaling * (layer.lora_A @ layer.lora_B).T
    layer.base_layer.weight += delta
    linear = copy.deepcopy(layer.base_layer)
    layer.base_layer.weight -= delta
    return linear


# %% chaff="keeps it to itself" exercise="merge" misconception="returned_none"
@torch.no_grad()
def merge(layer):
    import copy

    linear = copy.deepcopy(layer.base_layer)
    linear.weight += layer.scaling * (layer.lora_A @ layer.lora_B).T


# %% chaff="a class of its own" exercise="merge" misconception=""
def merge(layer):
    class Merged(nn.Linear):
        pass

    base = layer.base_layer
    linear = Merged(base.in_features, base.out_features, bias=base.bias is not None, dtype=base.weight.dtype)
    with torch.no_grad():
        linear.weight.copy_(base.weight + layer.scaling * (layer.lora_A @ layer.lora_B).T)
        if base.bias is not None:
            linear.bias.copy_(base.bias)
    return linear


# %% chaff="the old weight kept as a buffer" exercise="merge" misconception="keeps_more"
import copy


def merge(layer):
    base = layer.base_layer
    linear = copy.deepcopy(base)
    with torch.no_grad():
        linear.weight += layer.scaling * (layer.lora_A @ layer.lora_B).T
    linear.register_buffer("old", base.weight)
    return linear


# %% chaff="the delta kept as a Parameter" exercise="merge" misconception="keeps_more"
import copy


def merge(layer):
    linear = copy.deepcopy(layer.base_layer)
    with torch.no_grad():
        linear.delta = nn.Parameter(layer.scaling * (layer.lora_A @ layer.lora_B).T, requires_grad=False)
        linear.weight += linear.delta
    return linear


# %% wheat="the scaling and the rank noted as numbers" exercise="merge"
import copy


def merge(layer):
    linear = copy.deepcopy(layer.base_layer).requires_grad_(False)
    linear.weight += layer.scaling * torch.einsum("dr,rk->kd", layer.lora_A.detach(), layer.lora_B.detach())
    linear.merged_scaling, linear.merged_rank = layer.scaling, layer.lora_A.shape[1]
    return linear


# %% chaff="a Sequential of base and adapter" exercise="merge" misconception=""
def merge(layer):
    return nn.Sequential(layer)


# %% chaff="a function that computes it" exercise="merge" misconception=""
def merge(layer):
    weight = (layer.base_layer.weight + layer.scaling * (layer.lora_A @ layer.lora_B).T).detach()
    return lambda x: nn.functional.linear(x, weight, layer.base_layer.bias)


# %% chaff="a shallow copy, whose weight is assigned" exercise="merge" misconception="merged_into_the_base"
def merge(layer):
    import copy

    linear = copy.copy(layer.base_layer)
    weight = layer.base_layer.weight + layer.scaling * (layer.lora_A @ layer.lora_B).T
    linear.weight = nn.Parameter(weight.detach())
    return linear


# %% chaff="the new Linear takes the base's Parameter and adds to it" exercise="merge" misconception="merged_into_the_base"
@torch.no_grad()
def merge(layer):
    base = layer.base_layer
    linear = nn.Linear(base.in_features, base.out_features, bias=base.bias is not None, dtype=base.weight.dtype)
    linear.weight, linear.bias = base.weight, base.bias
    linear.weight.add_(layer.scaling * (layer.lora_A @ layer.lora_B).T)
    return linear


# %% chaff="copies into a Parameter that asks for gradients" exercise="merge" misconception="no_grad_forgotten"
def merge(layer):
    base = layer.base_layer
    linear = nn.Linear(base.in_features, base.out_features, bias=base.bias is not None, dtype=base.weight.dtype)
    linear.weight.copy_(base.weight + layer.scaling * (layer.lora_A @ layer.lora_B).T)
    return linear


# %% chaff="+= on a deep copy" exercise="merge" misconception="no_grad_forgotten"
def merge(layer):
    import copy

    linear = copy.deepcopy(layer.base_layer)
    linear.weight += layer.scaling * (layer.lora_A @ layer.lora_B).T
    return linear


# %% chaff="the bias twice" exercise="merge" misconception=""
@torch.no_grad()
def merge(layer):
    import copy

    linear = copy.deepcopy(layer.base_layer)
    linear.weight += layer.scaling * (layer.lora_A @ layer.lora_B).T
    if linear.bias is not None:
        linear.bias *= 2
    return linear


# %% chaff="alpha in place of the scaling" exercise="merge" misconception=""
@torch.no_grad()
def merge(layer):
    import copy

    linear = copy.deepcopy(layer.base_layer)
    linear.weight += layer.scaling * layer.lora_A.shape[1] * (layer.lora_A @ layer.lora_B).T
    return linear


# %% chaff="empties the adapter" exercise="merge" misconception="changed_layer"
@torch.no_grad()
def merge(layer):
    import copy

    linear = copy.deepcopy(layer.base_layer)
    linear.weight += layer.scaling * (layer.lora_A @ layer.lora_B).T
    layer.lora_B.zero_()
    return linear


# %% chaff="marks the layer" exercise="merge" misconception="changed_layer"
@torch.no_grad()
def merge(layer):
    import copy

    linear = copy.deepcopy(layer.base_layer)
    linear.weight += layer.scaling * (layer.lora_A @ layer.lora_B).T
    layer.merged = True
    return linear


# %% chaff="hangs the result on the layer" exercise="merge" misconception="changed_layer"
@torch.no_grad()
def merge(layer):
    import copy

    linear = copy.deepcopy(layer.base_layer)
    linear.weight += layer.scaling * (layer.lora_A @ layer.lora_B).T
    layer.merged_layer = linear
    return linear


# %% chaff="forward replaced" exercise="merge" misconception="base_only"
def merge(layer):
    import copy

    linear = copy.deepcopy(layer.base_layer)
    linear.forward = layer.forward
    return linear


# %% wheat="derived, guarded by a flag, warns, a clone kept" exercise="MergeableLoRALinear"
import warnings


class LoRALinear(nn.Module):
    def __init__(self, base_layer, rank=4, alpha=1):
        super().__init__()
        self.base_layer = base_layer.requires_grad_(False)
        self.scaling = alpha / rank
        like = {"dtype": base_layer.weight.dtype, "device": base_layer.weight.device}
        self.lora_A = nn.Parameter(torch.randn(base_layer.in_features, rank, **like))
        self.lora_B = nn.Parameter(torch.zeros(rank, base_layer.out_features, **like))

    def forward(self, x):
        return self.base_layer(x) + self.scaling * (x @ self.lora_A) @ self.lora_B


class MergeableLoRALinear(LoRALinear):
    def __init__(self, base_layer, rank=4, alpha=1):
        super().__init__(base_layer, rank, alpha)
        self.merged = False
        self.backup = None

    def merge(self):
        if self.merged:
            warnings.warn("this layer is merged already")
            return
        with torch.no_grad():
            self.backup = self.base_layer.weight.clone()
            self.base_layer.weight += self.scaling * (self.lora_A @ self.lora_B).T
        self.merged = True

    def unmerge(self):
        if not self.merged:
            return
        with torch.no_grad():
            self.base_layer.weight.copy_(self.backup)
        self.backup = None
        self.merged = False

    def forward(self, x):
        return self.base_layer(x) if self.merged else super().forward(x)


# %% wheat="stands alone, bias-free Linears, through .data, chained" exercise="MergeableLoRALinear"
class MergeableLoRALinear(nn.Module):
    def __init__(self, base_layer, rank=4, alpha=1):
        super().__init__()
        self.base_layer = base_layer
        for p in self.base_layer.parameters():
            p.requires_grad = False
        self.rank, self.alpha, self.scaling = rank, alpha, alpha / rank
        self.lora_A = nn.Linear(base_layer.in_features, rank, bias=False)
        self.lora_B = nn.Linear(rank, base_layer.out_features, bias=False)
        nn.init.zeros_(self.lora_B.weight)
        self.to(base_layer.weight)
        self.merged = False

    def merge(self):
        if not self.merged:
            self.old = self.base_layer.weight.data.clone()
            self.base_layer.weight.data += self.scaling * self.lora_B.weight.data @ self.lora_A.weight.data
            self.merged = True
        return self

    def unmerge(self):
        if self.merged:
            self.base_layer.weight.data = self.old
            del self.old
            self.merged = False
        return self

    def forward(self, x):
        h = self.base_layer(x)
        if not self.merged:
            h = h + self.scaling * self.lora_B(self.lora_A(x))
        return h


# %% wheat="merged is a property, the old weight a buffer" exercise="MergeableLoRALinear"
class MergeableLoRALinear(nn.Module):
    def __init__(self, base_layer: nn.Linear, rank: int = 4, alpha: float = 1.0):
        super().__init__()
        self.base_layer = base_layer.requires_grad_(False)
        self.scaling = alpha / rank
        w = base_layer.weight
        self.lora_A = nn.Parameter(torch.randn(w.shape[1], rank).to(w))
        self.lora_B = nn.Parameter(w.new_zeros(rank, w.shape[0]))
        self.register_buffer("saved", None, persistent=False)

    @property
    def merged(self):
        return self.saved is not None

    @property
    def delta(self):
        return (self.scaling * self.lora_B).T @ self.lora_A.T

    @torch.no_grad()
    def merge(self):
        if self.merged:
            return
        self.saved = self.base_layer.weight.clone()
        torch.add(self.saved, self.delta, out=self.base_layer.weight)

    @torch.no_grad()
    def unmerge(self):
        if not self.merged:
            return
        self.base_layer.weight.copy_(self.saved)
        self.saved = None

    def forward(self, x):
        if self.merged:
            return self.base_layer(x)
        rows = x.reshape(-1, x.shape[-1])
        out = torch.addmm(self.base_layer(rows), rows @ self.lora_A, self.lora_B, alpha=self.scaling)
        return out.reshape(*x.shape[:-1], out.shape[-1])


# %% wheat="the copy waits on the CPU, the flag is a tensor" exercise="MergeableLoRALinear"
class MergeableLoRALinear(nn.Module):
    def __init__(self, base_layer, rank=4, alpha=1):
        super().__init__()
        self.base_layer = base_layer
        base_layer.requires_grad_(False)
        self.scaling = alpha / rank
        self.lora_A = nn.Parameter(torch.randn(base_layer.in_features, rank))
        self.lora_B = nn.Parameter(torch.zeros(rank, base_layer.out_features))
        self.register_buffer("merged", torch.tensor(False))

    def merge(self):
        if self.merged.item():
            return
        weight = self.base_layer.weight
        self.on_cpu = weight.detach().cpu().clone()
        weight.detach().add_((self.scaling * (self.lora_A @ self.lora_B).T).detach())
        self.merged.fill_(True)

    def unmerge(self):
        if self.merged.item():
            self.base_layer.weight.detach().copy_(self.on_cpu)
            self.on_cpu = None
            self.merged.fill_(False)

    def forward(self, x):
        if self.merged:
            return self.base_layer(x)
        return self.base_layer(x) + torch.einsum("...d,dr,rk->...k", x, self.lora_A, self.lora_B) * self.scaling


# %% wheat="the base's state_dict kept and loaded" exercise="MergeableLoRALinear"
class MergeableLoRALinear(nn.Module):
    def __init__(self, base_layer, rank=4, alpha=1):
        super().__init__()
        self.base_layer = base_layer.requires_grad_(False)
        self.scaling = alpha / rank
        like = dict(dtype=base_layer.weight.dtype, device=base_layer.weight.device)
        self.lora_A = nn.Parameter(torch.empty(base_layer.in_features, rank, **like))
        self.lora_B = nn.Parameter(torch.zeros(rank, base_layer.out_features, **like))
        nn.init.normal_(self.lora_A)
        self.state, self.merged = None, 0

    def merge(self):
        import copy

        if self.merged:
            return
        self.state = copy.deepcopy(self.base_layer.state_dict())
        delta = (self.lora_A.detach() @ self.lora_B.detach()).T * self.scaling
        self.base_layer.load_state_dict({**self.state, "weight": self.state["weight"] + delta})
        self.merged = 1

    def unmerge(self):
        if self.merged:
            self.base_layer.load_state_dict(self.state)
            self.merged = 0

    def forward(self, x):
        return self.base_layer(x) + (0 if self.merged else (x @ self.lora_A) @ self.lora_B * self.scaling)


# %% wheat="the storage is swapped, and summed in a wider dtype" exercise="MergeableLoRALinear"
class MergeableLoRALinear(nn.Module):
    def __init__(self, base_layer, rank=4, alpha=1):
        super().__init__()
        self.base_layer = base_layer.requires_grad_(False)
        self.scaling = alpha / rank
        weight = base_layer.weight
        self.lora_A = nn.Parameter(torch.randn(weight.size(1), rank, dtype=weight.dtype, device=weight.device))
        self.lora_B = nn.Parameter(torch.zeros(rank, weight.size(0), dtype=weight.dtype, device=weight.device))
        self._original = None

    merged = property(lambda self: self._original is not None)

    def merge(self):
        if not self.merged:
            weight = self.base_layer.weight
            self._original = weight.data
            delta = self.scaling * (self.lora_A.data.double() @ self.lora_B.data.double()).T
            weight.data = (self._original.double() + delta).to(weight.dtype)

    def unmerge(self):
        if self.merged:
            self.base_layer.weight.data, self._original = self._original, None

    def forward(self, x):
        if self.merged:
            return nn.functional.linear(x, self.base_layer.weight, self.base_layer.bias)
        return self.base_layer(x) + self.scaling * (x @ self.lora_A @ self.lora_B)


# %% chaff="a layer inside the layer, the weight kept from the beginning" exercise="MergeableLoRALinear" misconception="kept_too_early"
class Adapter(nn.Module):
    def __init__(self, base_layer, rank, alpha):
        super().__init__()
        self.base_layer = base_layer.requires_grad_(False)
        self.scaling = alpha / rank
        weight = base_layer.weight
        self.lora_A = nn.Parameter(torch.randn(weight.shape[1], rank, dtype=weight.dtype, device=weight.device))
        self.lora_B = nn.Parameter(torch.zeros(rank, weight.shape[0], dtype=weight.dtype, device=weight.device))

    def forward(self, x):
        return self.base_layer(x) + self.scaling * (x @ self.lora_A) @ self.lora_B


class MergeableLoRALinear(nn.Module):
    def __init__(self, base_layer, rank=4, alpha=1):
        super().__init__()
        self.inner = Adapter(base_layer, rank, alpha)
        self.W0 = base_layer.weight.detach().clone()
        self.merged = False

    base_layer = property(lambda self: self.inner.base_layer)
    lora_A = property(lambda self: self.inner.lora_A)
    lora_B = property(lambda self: self.inner.lora_B)
    scaling = property(lambda self: self.inner.scaling)

    @torch.no_grad()
    def merge(self):
        weight = self.base_layer.weight
        if not self.merged:
            weight.copy_(self.W0.to(weight) + self.scaling * (self.lora_A @ self.lora_B).T)
        self.merged = True

    @torch.no_grad()
    def unmerge(self):
        if self.merged:
            self.base_layer.weight.copy_(self.W0)
        self.merged = False

    def forward(self, x):
        return self.inner.base_layer(x) if self.merged else self.inner(x)


# %% wheat="the scaling a float32 buffer" exercise="MergeableLoRALinear"
class LoRALinear(nn.Module):
    def __init__(self, base_layer, rank=4, alpha=1):
        super().__init__()
        self.base_layer = base_layer.requires_grad_(False)
        self.register_buffer("scaling", torch.tensor(alpha / rank))
        d, k = base_layer.in_features, base_layer.out_features
        like = {"dtype": base_layer.weight.dtype, "device": base_layer.weight.device}
        self.lora_A = nn.Parameter(torch.randn(d, rank, **like) / d**0.5)
        self.lora_B = nn.Parameter(torch.zeros(rank, k, **like))

    def forward(self, x):
        thin = x @ self.lora_A
        return self.base_layer(x) + (self.scaling * thin) @ self.lora_B


def delta_weight(layer):
    return (layer.scaling * layer.lora_B).T @ layer.lora_A.T


class MergeableLoRALinear(LoRALinear):
    def __init__(self, base_layer, rank=4, alpha=1):
        super().__init__(base_layer, rank, alpha)
        self.merged = False
        self.kept = None

    def merge(self):
        if not self.merged:
            with torch.no_grad():
                self.kept = self.base_layer.weight.clone()
                self.base_layer.weight.add_(delta_weight(self))
            self.merged = True

    def unmerge(self):
        if self.merged:
            with torch.no_grad():
                self.base_layer.weight.copy_(self.kept)
            self.kept = None
            self.merged = False

    def forward(self, x):
        return self.base_layer(x) if self.merged else super().forward(x)


# %% wheat="inference mode" exercise="MergeableLoRALinear"
class LoRALinear(nn.Module):
    def __init__(self, base_layer, rank=4, alpha=1):
        super().__init__()
        self.base_layer = base_layer.requires_grad_(False)
        self.scaling = alpha / rank
        d, k = base_layer.in_features, base_layer.out_features
        like = {"dtype": base_layer.weight.dtype, "device": base_layer.weight.device}
        self.lora_A = nn.Parameter(torch.randn(d, rank, **like) / d**0.5)
        self.lora_B = nn.Parameter(torch.zeros(rank, k, **like))

    def forward(self, x):
        thin = x @ self.lora_A
        return self.base_layer(x) + (self.scaling * thin) @ self.lora_B


def delta_weight(layer):
    return (layer.scaling * layer.lora_B).T @ layer.lora_A.T


class MergeableLoRALinear(LoRALinear):
    def __init__(self, base_layer, rank=4, alpha=1):
        super().__init__(base_layer, rank, alpha)
        self.merged = False
        self.kept = None

    def merge(self):
        if not self.merged:
            with torch.inference_mode():
                self.kept = self.base_layer.weight.clone()
                self.base_layer.weight.add_(delta_weight(self))
            self.merged = True

    def unmerge(self):
        if self.merged:
            with torch.inference_mode():
                self.base_layer.weight.copy_(self.kept)
            self.kept = None
            self.merged = False

    def forward(self, x):
        return self.base_layer(x) if self.merged else super().forward(x)


# %% wheat="what undoes it is a function" exercise="MergeableLoRALinear"
class LoRALinear(nn.Module):
    def __init__(self, base_layer, rank=4, alpha=1):
        super().__init__()
        self.base_layer = base_layer.requires_grad_(False)
        self.scaling = alpha / rank
        d, k = base_layer.in_features, base_layer.out_features
        like = {"dtype": base_layer.weight.dtype, "device": base_layer.weight.device}
        self.lora_A = nn.Parameter(torch.randn(d, rank, **like) / d**0.5)
        self.lora_B = nn.Parameter(torch.zeros(rank, k, **like))

    def forward(self, x):
        thin = x @ self.lora_A
        return self.base_layer(x) + (self.scaling * thin) @ self.lora_B


def delta_weight(layer):
    return (layer.scaling * layer.lora_B).T @ layer.lora_A.T


class MergeableLoRALinear(LoRALinear):
    def __init__(self, base_layer, rank=4, alpha=1):
        super().__init__(base_layer, rank, alpha)
        self.merged = False
        self.kept = None

    def merge(self):
        if not self.merged:
            with torch.no_grad():
                weight = self.base_layer.weight.clone()
                self.base_layer.weight.add_(delta_weight(self))
                self.kept = lambda: self.base_layer.weight.copy_(weight)
            self.merged = True

    def unmerge(self):
        if self.merged:
            with torch.no_grad():
                self.kept()
            self.kept = None
            self.merged = False

    def forward(self, x):
        return self.base_layer(x) if self.merged else super().forward(x)


# %% wheat="the bits that the merge has changed" exercise="MergeableLoRALinear"
class LoRALinear(nn.Module):
    def __init__(self, base_layer, rank=4, alpha=1):
        super().__init__()
        self.base_layer = base_layer.requires_grad_(False)
        self.scaling = alpha / rank
        d, k = base_layer.in_features, base_layer.out_features
        like = {"dtype": base_layer.weight.dtype, "device": base_layer.weight.device}
        self.lora_A = nn.Parameter(torch.randn(d, rank, **like) / d**0.5)
        self.lora_B = nn.Parameter(torch.zeros(rank, k, **like))

    def forward(self, x):
        thin = x @ self.lora_A
        return self.base_layer(x) + (self.scaling * thin) @ self.lora_B


def delta_weight(layer):
    return (layer.scaling * layer.lora_B).T @ layer.lora_A.T


class MergeableLoRALinear(LoRALinear):
    def __init__(self, base_layer, rank=4, alpha=1):
        super().__init__(base_layer, rank, alpha)
        self.merged = False
        self.kept = None

    def merge(self):
        if not self.merged:
            with torch.no_grad():
                weight = self.base_layer.weight.clone()
                self.base_layer.weight.add_(delta_weight(self))
                as_bits = {8: torch.int64, 4: torch.int32, 2: torch.int16}[weight.element_size()]
                self.kept = weight.view(as_bits) ^ self.base_layer.weight.data.view(as_bits)
            self.merged = True

    def unmerge(self):
        if self.merged:
            with torch.no_grad():
                weight = self.base_layer.weight.data
                weight.copy_((weight.view(self.kept.dtype) ^ self.kept).view(weight.dtype))
            self.kept = None
            self.merged = False

    def forward(self, x):
        return self.base_layer(x) if self.merged else super().forward(x)


# %% chaff="subtracts in float32" exercise="MergeableLoRALinear" misconception="drifts"
class MergeableLoRALinear(nn.Module):
    def __init__(self, base_layer, rank=4, alpha=1):
        super().__init__()
        self.base_layer = base_layer.requires_grad_(False)
        self.scaling = alpha / rank
        like = {"dtype": base_layer.weight.dtype, "device": base_layer.weight.device}
        self.lora_A = nn.Parameter(torch.randn(base_layer.in_features, rank, **like))
        self.lora_B = nn.Parameter(torch.zeros(rank, base_layer.out_features, **like))
        self.merged = False

    def _add(self, sign):
        with torch.no_grad():
            weight = self.base_layer.weight
            delta = self.scaling * (self.lora_A.double() @ self.lora_B.double()).T
            weight.copy_(weight.double() + sign * delta)

    def merge(self):
        if not self.merged:
            self._add(1)
            self.merged = True

    def unmerge(self):
        if self.merged:
            self._add(-1)
            self.merged = False

    def forward(self, x):
        out = self.base_layer(x)
        return out if self.merged else out + self.scaling * (x @ self.lora_A) @ self.lora_B


# %% chaff="keeps the delta and subtracts it" exercise="MergeableLoRALinear" misconception="drifts"
class MergeableLoRALinear(nn.Module):
    def __init__(self, base_layer, rank=4, alpha=1):
        super().__init__()
        self.base_layer = base_layer.requires_grad_(False)
        self.scaling = alpha / rank
        like = {"dtype": base_layer.weight.dtype, "device": base_layer.weight.device}
        self.lora_A = nn.Parameter(torch.randn(base_layer.in_features, rank, **like))
        self.lora_B = nn.Parameter(torch.zeros(rank, base_layer.out_features, **like))
        self.delta = None

    @property
    def merged(self):
        return self.delta is not None

    @torch.no_grad()
    def merge(self):
        if not self.merged:
            self.delta = self.scaling * (self.lora_A @ self.lora_B).T
            self.base_layer.weight += self.delta

    @torch.no_grad()
    def unmerge(self):
        if self.merged:
            self.base_layer.weight -= self.delta
            self.delta = None

    def forward(self, x):
        out = self.base_layer(x)
        return out if self.merged else out + self.scaling * (x @ self.lora_A) @ self.lora_B


# %% chaff="keeps a copy in half precision" exercise="MergeableLoRALinear" misconception="kept_in_a_smaller_dtype"
class MergeableLoRALinear(nn.Module):
    def __init__(self, base_layer, rank=4, alpha=1):
        super().__init__()
        self.base_layer = base_layer.requires_grad_(False)
        self.scaling = alpha / rank
        like = {"dtype": base_layer.weight.dtype, "device": base_layer.weight.device}
        self.lora_A = nn.Parameter(torch.randn(base_layer.in_features, rank, **like))
        self.lora_B = nn.Parameter(torch.zeros(rank, base_layer.out_features, **like))
        self.merged = False

    @torch.no_grad()
    def merge(self):
        if not self.merged:
            self.kept = self.base_layer.weight.half().clone()
            self.base_layer.weight += self.scaling * (self.lora_A @ self.lora_B).T
            self.merged = True

    @torch.no_grad()
    def unmerge(self):
        if self.merged:
            self.base_layer.weight.copy_(self.kept)
            self.merged = False

    def forward(self, x):
        out = self.base_layer(x)
        return out if self.merged else out + self.scaling * (x @ self.lora_A) @ self.lora_B


# %% chaff="the second merge overwrites the copy" exercise="MergeableLoRALinear" misconception="merged_twice"
class MergeableLoRALinear(nn.Module):
    def __init__(self, base_layer, rank=4, alpha=1):
        super().__init__()
        self.base_layer = base_layer.requires_grad_(False)
        self.scaling = alpha / rank
        like = {"dtype": base_layer.weight.dtype, "device": base_layer.weight.device}
        self.lora_A = nn.Parameter(torch.randn(base_layer.in_features, rank, **like))
        self.lora_B = nn.Parameter(torch.zeros(rank, base_layer.out_features, **like))
        self.kept = None

    @property
    def merged(self):
        return self.kept is not None

    @torch.no_grad()
    def merge(self):
        self.kept = self.base_layer.weight.clone()
        self.base_layer.weight.add_(self.scaling * (self.lora_A @ self.lora_B).T)

    @torch.no_grad()
    def unmerge(self):
        if self.merged:
            self.base_layer.weight.copy_(self.kept)
            self.kept = None

    def forward(self, x):
        out = self.base_layer(x)
        return out if self.merged else out + self.scaling * (x @ self.lora_A) @ self.lora_B


# %% chaff="+= under the base's name, without no_grad" exercise="MergeableLoRALinear" misconception="no_grad_forgotten"
class MergeableLoRALinear(nn.Module):
    def __init__(self, base_layer, rank=4, alpha=1):
        super().__init__()
        self.base_layer = base_layer.requires_grad_(False)
        self.scaling = alpha / rank
        like = {"dtype": base_layer.weight.dtype, "device": base_layer.weight.device}
        self.lora_A = nn.Parameter(torch.randn(base_layer.in_features, rank, **like))
        self.lora_B = nn.Parameter(torch.zeros(rank, base_layer.out_features, **like))
        self.merged = False

    def merge(self):
        if not self.merged:
            self.kept = self.base_layer.weight.clone()
            self.base_layer.weight += self.scaling * (self.lora_A @ self.lora_B).T
            self.merged = True

    def unmerge(self):
        if self.merged:
            self.base_layer.weight.copy_(self.kept)
            self.merged = False

    def forward(self, x):
        out = self.base_layer(x)
        return out if self.merged else out + self.scaling * (x @ self.lora_A) @ self.lora_B


# %% chaff="a new Linear in the base's place" exercise="MergeableLoRALinear" misconception="base_replaced"
class MergeableLoRALinear(nn.Module):
    def __init__(self, base_layer, rank=4, alpha=1):
        super().__init__()
        self.base_layer = base_layer.requires_grad_(False)
        self.scaling = alpha / rank
        like = {"dtype": base_layer.weight.dtype, "device": base_layer.weight.device}
        self.lora_A = nn.Parameter(torch.randn(base_layer.in_features, rank, **like))
        self.lora_B = nn.Parameter(torch.zeros(rank, base_layer.out_features, **like))
        self.merged = False

    @torch.no_grad()
    def merge(self):
        import copy

        if not self.merged:
            self.kept = [self.base_layer]
            self.base_layer = copy.deepcopy(self.base_layer)
            self.base_layer.weight += self.scaling * (self.lora_A @ self.lora_B).T
            self.merged = True

    def unmerge(self):
        if self.merged:
            self.base_layer = self.kept[0]
            self.merged = False

    def forward(self, x):
        out = self.base_layer(x)
        return out if self.merged else out + self.scaling * (x @ self.lora_A) @ self.lora_B


# %% chaff="a tensor assigned as the weight" exercise="MergeableLoRALinear" misconception="base_replaced"
class MergeableLoRALinear(nn.Module):
    def __init__(self, base_layer, rank=4, alpha=1):
        super().__init__()
        self.base_layer = base_layer.requires_grad_(False)
        self.scaling = alpha / rank
        like = {"dtype": base_layer.weight.dtype, "device": base_layer.weight.device}
        self.lora_A = nn.Parameter(torch.randn(base_layer.in_features, rank, **like))
        self.lora_B = nn.Parameter(torch.zeros(rank, base_layer.out_features, **like))
        self.merged = False

    @torch.no_grad()
    def merge(self):
        if not self.merged:
            self.kept = self.base_layer.weight
            self.base_layer.weight = self.base_layer.weight + self.scaling * (self.lora_A @ self.lora_B).T
            self.merged = True

    @torch.no_grad()
    def unmerge(self):
        if self.merged:
            self.base_layer.weight = self.kept
            self.merged = False

    def forward(self, x):
        out = self.base_layer(x)
        return out if self.merged else out + self.scaling * (x @ self.lora_A) @ self.lora_B


# %% chaff="no copy kept: the values are those of the merge" exercise="MergeableLoRALinear" misconception="kept_by_reference"
class MergeableLoRALinear(nn.Module):
    def __init__(self, base_layer, rank=4, alpha=1):
        super().__init__()
        self.base_layer = base_layer.requires_grad_(False)
        self.scaling = alpha / rank
        like = {"dtype": base_layer.weight.dtype, "device": base_layer.weight.device}
        self.lora_A = nn.Parameter(torch.randn(base_layer.in_features, rank, **like))
        self.lora_B = nn.Parameter(torch.zeros(rank, base_layer.out_features, **like))
        self.merged = False

    @torch.no_grad()
    def merge(self):
        if not self.merged:
            self.kept = self.base_layer.weight.detach()
            self.base_layer.weight.add_(self.scaling * (self.lora_A @ self.lora_B).T)
            self.merged = True

    @torch.no_grad()
    def unmerge(self):
        if self.merged:
            self.base_layer.weight.copy_(self.kept)
            self.merged = False

    def forward(self, x):
        out = self.base_layer(x)
        return out if self.merged else out + self.scaling * (x @ self.lora_A) @ self.lora_B


# %% chaff="the delta of the first merge for all others" exercise="MergeableLoRALinear" misconception="delta_too_early"
class MergeableLoRALinear(nn.Module):
    def __init__(self, base_layer, rank=4, alpha=1):
        super().__init__()
        self.base_layer = base_layer.requires_grad_(False)
        self.scaling = alpha / rank
        like = {"dtype": base_layer.weight.dtype, "device": base_layer.weight.device}
        self.lora_A = nn.Parameter(torch.randn(base_layer.in_features, rank, **like))
        self.lora_B = nn.Parameter(torch.zeros(rank, base_layer.out_features, **like))
        self.merged, self.delta = False, None

    @torch.no_grad()
    def merge(self):
        if not self.merged:
            if self.delta is None:
                self.delta = self.scaling * (self.lora_A @ self.lora_B).T
            self.kept = self.base_layer.weight.clone()
            self.base_layer.weight.add_(self.delta)
            self.merged = True

    @torch.no_grad()
    def unmerge(self):
        if self.merged:
            self.base_layer.weight.copy_(self.kept)
            self.merged = False

    def forward(self, x):
        out = self.base_layer(x)
        return out if self.merged else out + self.scaling * (x @ self.lora_A) @ self.lora_B


# %% chaff="merged is a method" exercise="MergeableLoRALinear" misconception=""
class MergeableLoRALinear(nn.Module):
    def __init__(self, base_layer, rank=4, alpha=1):
        super().__init__()
        self.base_layer = base_layer.requires_grad_(False)
        self.scaling = alpha / rank
        like = {"dtype": base_layer.weight.dtype, "device": base_layer.weight.device}
        self.lora_A = nn.Parameter(torch.randn(base_layer.in_features, rank, **like))
        self.lora_B = nn.Parameter(torch.zeros(rank, base_layer.out_features, **like))
        self.kept = None

    def merged(self):
        return self.kept is not None

    @torch.no_grad()
    def merge(self):
        if not self.merged():
            self.kept = self.base_layer.weight.clone()
            self.base_layer.weight.add_(self.scaling * (self.lora_A @ self.lora_B).T)

    @torch.no_grad()
    def unmerge(self):
        if self.merged():
            self.base_layer.weight.copy_(self.kept)
            self.kept = None

    def forward(self, x):
        out = self.base_layer(x)
        return out if self.merged() else out + self.scaling * (x @ self.lora_A) @ self.lora_B


# %% chaff="no unmerge" exercise="MergeableLoRALinear" misconception=""
class MergeableLoRALinear(nn.Module):
    def __init__(self, base_layer, rank=4, alpha=1):
        super().__init__()
        self.base_layer = base_layer.requires_grad_(False)
        self.scaling = alpha / rank
        like = {"dtype": base_layer.weight.dtype, "device": base_layer.weight.device}
        self.lora_A = nn.Parameter(torch.randn(base_layer.in_features, rank, **like))
        self.lora_B = nn.Parameter(torch.zeros(rank, base_layer.out_features, **like))
        self.merged = False

    @torch.no_grad()
    def merge(self):
        if not self.merged:
            self.base_layer.weight.add_(self.scaling * (self.lora_A @ self.lora_B).T)
            self.merged = True

    def forward(self, x):
        out = self.base_layer(x)
        return out if self.merged else out + self.scaling * (x @ self.lora_A) @ self.lora_B


# %% chaff="forward merges" exercise="MergeableLoRALinear" misconception=""
class MergeableLoRALinear(nn.Module):
    def __init__(self, base_layer, rank=4, alpha=1):
        super().__init__()
        self.base_layer = base_layer.requires_grad_(False)
        self.scaling = alpha / rank
        like = {"dtype": base_layer.weight.dtype, "device": base_layer.weight.device}
        self.lora_A = nn.Parameter(torch.randn(base_layer.in_features, rank, **like))
        self.lora_B = nn.Parameter(torch.zeros(rank, base_layer.out_features, **like))
        self.merged = False

    @torch.no_grad()
    def merge(self):
        if not self.merged:
            self.kept = self.base_layer.weight.clone()
            self.base_layer.weight.add_(self.scaling * (self.lora_A @ self.lora_B).T)
            self.merged = True

    @torch.no_grad()
    def unmerge(self):
        if self.merged:
            self.base_layer.weight.copy_(self.kept)
            self.merged = False

    def forward(self, x):
        self.merge()
        return self.base_layer(x)


# %% chaff="the bias is scaled too" exercise="MergeableLoRALinear" misconception=""
class MergeableLoRALinear(nn.Module):
    def __init__(self, base_layer, rank=4, alpha=1):
        super().__init__()
        self.base_layer = base_layer.requires_grad_(False)
        self.scaling = alpha / rank
        like = {"dtype": base_layer.weight.dtype, "device": base_layer.weight.device}
        self.lora_A = nn.Parameter(torch.randn(base_layer.in_features, rank, **like))
        self.lora_B = nn.Parameter(torch.zeros(rank, base_layer.out_features, **like))
        self.merged = False

    @torch.no_grad()
    def merge(self):
        if not self.merged:
            self.kept = self.base_layer.weight.clone()
            self.base_layer.weight.add_(self.scaling * (self.lora_A @ self.lora_B).T)
            if self.base_layer.bias is not None:
                self.base_layer.bias.mul_(self.scaling)
            self.merged = True

    @torch.no_grad()
    def unmerge(self):
        if self.merged:
            self.base_layer.weight.copy_(self.kept)
            if self.base_layer.bias is not None:
                self.base_layer.bias.div_(self.scaling)
            self.merged = False

    def forward(self, x):
        out = self.base_layer(x)
        return out if self.merged else out + self.scaling * (x @ self.lora_A) @ self.lora_B


# %% chaff="nothing is added without gradients" exercise="MergeableLoRALinear" misconception="adapter_with_gradients_only"
class MergeableLoRALinear(nn.Module):
    def __init__(self, base_layer, rank=4, alpha=1):
        super().__init__()
        self.base_layer = base_layer.requires_grad_(False)
        self.scaling = alpha / rank
        like = {"dtype": base_layer.weight.dtype, "device": base_layer.weight.device}
        self.lora_A = nn.Parameter(torch.randn(base_layer.in_features, rank, **like))
        self.lora_B = nn.Parameter(torch.zeros(rank, base_layer.out_features, **like))
        self.merged, self.kept = False, None

    @torch.no_grad()
    def merge(self):
        if not self.merged:
            self.kept = self.base_layer.weight.clone()
            self.base_layer.weight += self.scaling * (self.lora_A @ self.lora_B).T
            self.merged = True

    @torch.no_grad()
    def unmerge(self):
        if self.merged:
            self.base_layer.weight.copy_(self.kept)
            self.kept, self.merged = None, False

    def forward(self, x):
        if self.merged or not torch.is_grad_enabled():
            return self.base_layer(x)
        return self.base_layer(x) + self.scaling * (x @ self.lora_A) @ self.lora_B


# %% chaff="nothing is added in evaluation" exercise="MergeableLoRALinear" misconception="adapter_in_training_only"
class MergeableLoRALinear(nn.Module):
    def __init__(self, base_layer, rank=4, alpha=1):
        super().__init__()
        self.base_layer = base_layer.requires_grad_(False)
        self.scaling = alpha / rank
        like = {"dtype": base_layer.weight.dtype, "device": base_layer.weight.device}
        self.lora_A = nn.Parameter(torch.randn(base_layer.in_features, rank, **like))
        self.lora_B = nn.Parameter(torch.zeros(rank, base_layer.out_features, **like))
        self.merged, self.kept = False, None

    @torch.no_grad()
    def merge(self):
        if not self.merged:
            self.kept = self.base_layer.weight.clone()
            self.base_layer.weight += self.scaling * (self.lora_A @ self.lora_B).T
            self.merged = True

    @torch.no_grad()
    def unmerge(self):
        if self.merged:
            self.base_layer.weight.copy_(self.kept)
            self.kept, self.merged = None, False

    def forward(self, x):
        if self.merged or not self.training:
            return self.base_layer(x)
        return self.base_layer(x) + self.scaling * (x @ self.lora_A) @ self.lora_B


# %% chaff="x is detached before the adapter" exercise="MergeableLoRALinear" misconception="gradient_cut"
class MergeableLoRALinear(nn.Module):
    def __init__(self, base_layer, rank=4, alpha=1):
        super().__init__()
        self.base_layer = base_layer.requires_grad_(False)
        self.scaling = alpha / rank
        like = {"dtype": base_layer.weight.dtype, "device": base_layer.weight.device}
        self.lora_A = nn.Parameter(torch.randn(base_layer.in_features, rank, **like))
        self.lora_B = nn.Parameter(torch.zeros(rank, base_layer.out_features, **like))
        self.merged, self.kept = False, None

    @torch.no_grad()
    def merge(self):
        if not self.merged:
            self.kept = self.base_layer.weight.clone()
            self.base_layer.weight += self.scaling * (self.lora_A @ self.lora_B).T
            self.merged = True

    @torch.no_grad()
    def unmerge(self):
        if self.merged:
            self.base_layer.weight.copy_(self.kept)
            self.kept, self.merged = None, False

    def forward(self, x):
        if self.merged:
            return self.base_layer(x)
        return self.base_layer(x) + self.scaling * (x.detach() @ self.lora_A) @ self.lora_B


# %% chaff="x is detached before the base" exercise="MergeableLoRALinear" misconception="gradient_cut"
class MergeableLoRALinear(nn.Module):
    def __init__(self, base_layer, rank=4, alpha=1):
        super().__init__()
        self.base_layer = base_layer.requires_grad_(False)
        self.scaling = alpha / rank
        like = {"dtype": base_layer.weight.dtype, "device": base_layer.weight.device}
        self.lora_A = nn.Parameter(torch.randn(base_layer.in_features, rank, **like))
        self.lora_B = nn.Parameter(torch.zeros(rank, base_layer.out_features, **like))
        self.merged, self.kept = False, None

    @torch.no_grad()
    def merge(self):
        if not self.merged:
            self.kept = self.base_layer.weight.clone()
            self.base_layer.weight += self.scaling * (self.lora_A @ self.lora_B).T
            self.merged = True

    @torch.no_grad()
    def unmerge(self):
        if self.merged:
            self.base_layer.weight.copy_(self.kept)
            self.kept, self.merged = None, False

    def forward(self, x):
        if self.merged:
            return self.base_layer(x)
        return self.base_layer(x.data) + self.scaling * (x @ self.lora_A) @ self.lora_B


# %% chaff="A of ones" exercise="MergeableLoRALinear" misconception="constant_A"
class MergeableLoRALinear(nn.Module):
    def __init__(self, base_layer, rank=4, alpha=1):
        super().__init__()
        self.base_layer = base_layer.requires_grad_(False)
        self.scaling = alpha / rank
        like = {"dtype": base_layer.weight.dtype, "device": base_layer.weight.device}
        self.lora_A = nn.Parameter(torch.ones(base_layer.in_features, rank, **like))
        self.lora_B = nn.Parameter(torch.zeros(rank, base_layer.out_features, **like))
        self.merged, self.kept = False, None

    @torch.no_grad()
    def merge(self):
        if not self.merged:
            self.kept = self.base_layer.weight.clone()
            self.base_layer.weight += self.scaling * (self.lora_A @ self.lora_B).T
            self.merged = True

    @torch.no_grad()
    def unmerge(self):
        if self.merged:
            self.base_layer.weight.copy_(self.kept)
            self.kept, self.merged = None, False

    def forward(self, x):
        if self.merged:
            return self.base_layer(x)
        return self.base_layer(x) + self.scaling * (x @ self.lora_A) @ self.lora_B


# %% chaff="A without negative numbers" exercise="MergeableLoRALinear" misconception="rand_for_randn"
class MergeableLoRALinear(nn.Module):
    def __init__(self, base_layer, rank=4, alpha=1):
        super().__init__()
        self.base_layer = base_layer.requires_grad_(False)
        self.scaling = alpha / rank
        like = {"dtype": base_layer.weight.dtype, "device": base_layer.weight.device}
        self.lora_A = nn.Parameter(torch.rand(base_layer.in_features, rank, **like))
        self.lora_B = nn.Parameter(torch.zeros(rank, base_layer.out_features, **like))
        self.merged, self.kept = False, None

    @torch.no_grad()
    def merge(self):
        if not self.merged:
            self.kept = self.base_layer.weight.clone()
            self.base_layer.weight += self.scaling * (self.lora_A @ self.lora_B).T
            self.merged = True

    @torch.no_grad()
    def unmerge(self):
        if self.merged:
            self.base_layer.weight.copy_(self.kept)
            self.kept, self.merged = None, False

    def forward(self, x):
        if self.merged:
            return self.base_layer(x)
        return self.base_layer(x) + self.scaling * (x @ self.lora_A) @ self.lora_B


# %% chaff="one column of A for all" exercise="MergeableLoRALinear" misconception=""
class MergeableLoRALinear(nn.Module):
    def __init__(self, base_layer, rank=4, alpha=1):
        super().__init__()
        self.base_layer = base_layer.requires_grad_(False)
        self.scaling = alpha / rank
        like = {"dtype": base_layer.weight.dtype, "device": base_layer.weight.device}
        self.lora_A = nn.Parameter(torch.randn(base_layer.in_features, 1, **like).repeat(1, rank))
        self.lora_B = nn.Parameter(torch.zeros(rank, base_layer.out_features, **like))
        self.merged, self.kept = False, None

    @torch.no_grad()
    def merge(self):
        if not self.merged:
            self.kept = self.base_layer.weight.clone()
            self.base_layer.weight += self.scaling * (self.lora_A @ self.lora_B).T
            self.merged = True

    @torch.no_grad()
    def unmerge(self):
        if self.merged:
            self.base_layer.weight.copy_(self.kept)
            self.kept, self.merged = None, False

    def forward(self, x):
        if self.merged:
            return self.base_layer(x)
        return self.base_layer(x) + self.scaling * (x @ self.lora_A) @ self.lora_B


# %% wheat="einsum, A of Kaiming" exercise="MergeableLoRALinear"
class MergeableLoRALinear(nn.Module):
    def __init__(self, base_layer, rank=4, alpha=1):
        super().__init__()
        self.base_layer = base_layer.requires_grad_(False)
        self.scaling = alpha / rank
        like = {"dtype": base_layer.weight.dtype, "device": base_layer.weight.device}
        self.lora_A = nn.Parameter(nn.init.kaiming_uniform_(torch.empty(rank, base_layer.in_features, **like), a=math.sqrt(5)).T.contiguous())
        self.lora_B = nn.Parameter(torch.zeros(rank, base_layer.out_features, **like))
        self.merged, self.kept = False, None

    @torch.no_grad()
    def merge(self):
        if not self.merged:
            self.kept = self.base_layer.weight.clone()
            self.base_layer.weight += self.scaling * (self.lora_A @ self.lora_B).T
            self.merged = True

    @torch.no_grad()
    def unmerge(self):
        if self.merged:
            self.base_layer.weight.copy_(self.kept)
            self.kept, self.merged = None, False

    def forward(self, x):
        out = nn.functional.linear(x, self.base_layer.weight, self.base_layer.bias)
        return out if self.merged else self.add_update(x, out)

    def add_update(self, x, out):
        thin = torch.einsum("...d,dr->...r", x, self.lora_A)
        return out.add(torch.einsum("...r,rk->...k", thin, self.lora_B), alpha=self.scaling)


# %% wheat="the product is formed where no gradient is asked for" exercise="MergeableLoRALinear"
class MergeableLoRALinear(nn.Module):
    def __init__(self, base_layer, rank=4, alpha=1):
        super().__init__()
        self.base_layer = base_layer.requires_grad_(False)
        self.scaling = alpha / rank
        like = {"dtype": base_layer.weight.dtype, "device": base_layer.weight.device}
        self.lora_A = nn.Parameter(torch.randn(base_layer.in_features, rank, **like) * 0.02)
        self.lora_B = nn.Parameter(torch.zeros(rank, base_layer.out_features, **like))
        self.merged, self.kept = False, None

    @torch.no_grad()
    def merge(self):
        if not self.merged:
            self.kept = self.base_layer.weight.clone()
            self.base_layer.weight += self.scaling * (self.lora_A @ self.lora_B).T
            self.merged = True

    @torch.no_grad()
    def unmerge(self):
        if self.merged:
            self.base_layer.weight.copy_(self.kept)
            self.kept, self.merged = None, False

    def forward(self, x):
        if self.merged:
            return self.base_layer(x)
        if torch.is_grad_enabled():
            return self.base_layer(x) + self.scaling * x @ self.lora_A @ self.lora_B
        weight = self.base_layer.weight + self.scaling * (self.lora_A @ self.lora_B).T
        return nn.functional.linear(x, weight, self.base_layer.bias)


# %% wheat="an autograd Function of its own" exercise="MergeableLoRALinear"
class MergeableLoRALinear(nn.Module):
    def __init__(self, base_layer, rank=4, alpha=1):
        super().__init__()
        self.base_layer = base_layer.requires_grad_(False)
        self.scaling = alpha / rank
        like = {"dtype": base_layer.weight.dtype, "device": base_layer.weight.device}
        self.lora_A = nn.Parameter(torch.randn(base_layer.in_features, rank, **like))
        self.lora_B = nn.Parameter(torch.zeros(rank, base_layer.out_features, **like))
        self.merged, self.kept = False, None

    @torch.no_grad()
    def merge(self):
        if not self.merged:
            self.kept = self.base_layer.weight.clone()
            self.base_layer.weight += self.scaling * (self.lora_A @ self.lora_B).T
            self.merged = True

    @torch.no_grad()
    def unmerge(self):
        if self.merged:
            self.base_layer.weight.copy_(self.kept)
            self.kept, self.merged = None, False

    def forward(self, x):
        return self.base_layer(x) if self.merged else self.base_layer(x) + Update.apply(x, self.lora_A, self.lora_B, self.scaling)


class Update(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, A, B, scaling):
        ctx.save_for_backward(x, A, B)
        ctx.scaling = scaling
        return scaling * (x @ A) @ B

    @staticmethod
    def backward(ctx, gradient):
        x, A, B = ctx.saved_tensors
        thin = gradient @ B.T
        of_A = x.flatten(0, -2).T @ thin.flatten(0, -2)
        of_B = (x @ A).flatten(0, -2).T @ gradient.flatten(0, -2)
        return ctx.scaling * thin @ A.T, ctx.scaling * of_A, ctx.scaling * of_B, None


# %% chaff="new adapters after unmerge" exercise="MergeableLoRALinear" misconception="trains_no_more"
class MergeableLoRALinear(nn.Module):
    def __init__(self, base_layer, rank=4, alpha=1):
        super().__init__()
        self.base_layer = base_layer.requires_grad_(False)
        self.scaling = alpha / rank
        like = {"dtype": base_layer.weight.dtype, "device": base_layer.weight.device}
        self.lora_A = nn.Parameter(torch.randn(base_layer.in_features, rank, **like))
        self.lora_B = nn.Parameter(torch.zeros(rank, base_layer.out_features, **like))
        self.merged = False

    @torch.no_grad()
    def merge(self):
        if not self.merged:
            self.kept = self.base_layer.weight.clone()
            self.base_layer.weight.add_(self.scaling * (self.lora_A @ self.lora_B).T)
            self.merged = True

    @torch.no_grad()
    def unmerge(self):
        if self.merged:
            self.base_layer.weight.copy_(self.kept)
            self.merged = False

    def forward(self, x):
        out = self.base_layer(x)
        return out if self.merged else out + self.scaling * (x @ self.lora_A.data) @ self.lora_B


# %% chaff="a function" exercise="MergeableLoRALinear" misconception=""
def MergeableLoRALinear(base_layer, rank=4, alpha=1):
    return lambda x: base_layer(x)


# %% chaff="a second merge raises" exercise="MergeableLoRALinear" misconception="second_merge_refused"
class MergeableLoRALinear(nn.Module):
    def __init__(self, base_layer, rank=4, alpha=1):
        super().__init__()
        self.base_layer = base_layer.requires_grad_(False)
        self.scaling = alpha / rank
        like = {"dtype": base_layer.weight.dtype, "device": base_layer.weight.device}
        self.lora_A = nn.Parameter(torch.randn(base_layer.in_features, rank, **like))
        self.lora_B = nn.Parameter(torch.zeros(rank, base_layer.out_features, **like))
        self.merged = False

    @torch.no_grad()
    def merge(self):
        if self.merged:
            raise RuntimeError("already merged")
        self.kept = self.base_layer.weight.clone()
        self.base_layer.weight.add_(self.scaling * (self.lora_A @ self.lora_B).T)
        self.merged = True

    @torch.no_grad()
    def unmerge(self):
        if self.merged:
            self.base_layer.weight.copy_(self.kept)
            self.merged = False

    def forward(self, x):
        out = self.base_layer(x)
        return out if self.merged else out + self.scaling * (x @ self.lora_A) @ self.lora_B


# %% chaff="a merge takes the base's bias away" exercise="MergeableLoRALinear" misconception="bias_dropped"
class MergeableLoRALinear(nn.Module):
    def __init__(self, base_layer, rank=4, alpha=1):
        super().__init__()
        self.base_layer = base_layer.requires_grad_(False)
        self.scaling = alpha / rank
        like = {"dtype": base_layer.weight.dtype, "device": base_layer.weight.device}
        self.lora_A = nn.Parameter(torch.randn(base_layer.in_features, rank, **like))
        self.lora_B = nn.Parameter(torch.zeros(rank, base_layer.out_features, **like))
        self.merged = False

    @torch.no_grad()
    def merge(self):
        if not self.merged:
            self.kept, self.bias = self.base_layer.weight.clone(), self.base_layer.bias
            self.base_layer.weight.add_(self.scaling * (self.lora_A @ self.lora_B).T)
            self.base_layer.bias = None
            self.merged = True

    @torch.no_grad()
    def unmerge(self):
        if self.merged:
            self.base_layer.weight.copy_(self.kept)
            self.base_layer.bias = self.bias
            self.merged = False

    def forward(self, x):
        out = self.base_layer(x)
        return out if self.merged else out + self.scaling * (x @ self.lora_A) @ self.lora_B


# %% chaff="the base is copied when the layer is made" exercise="MergeableLoRALinear" misconception="base_replaced"
class MergeableLoRALinear(nn.Module):
    def __init__(self, base_layer, rank=4, alpha=1):
        import copy

        super().__init__()
        self.base_layer = copy.deepcopy(base_layer).requires_grad_(False)
        self.scaling = alpha / rank
        like = {"dtype": base_layer.weight.dtype, "device": base_layer.weight.device}
        self.lora_A = nn.Parameter(torch.randn(base_layer.in_features, rank, **like))
        self.lora_B = nn.Parameter(torch.zeros(rank, base_layer.out_features, **like))
        self.merged = False

    @torch.no_grad()
    def merge(self):
        if not self.merged:
            self.kept = self.base_layer.weight.clone()
            self.base_layer.weight.add_(self.scaling * (self.lora_A @ self.lora_B).T)
            self.merged = True

    @torch.no_grad()
    def unmerge(self):
        if self.merged:
            self.base_layer.weight.copy_(self.kept)
            self.merged = False

    def forward(self, x):
        out = self.base_layer(x)
        return out if self.merged else out + self.scaling * (x @ self.lora_A) @ self.lora_B


# %% chaff="thaws the base when it unmerges" exercise="MergeableLoRALinear" misconception=""
class MergeableLoRALinear(nn.Module):
    def __init__(self, base_layer, rank=4, alpha=1):
        super().__init__()
        self.base_layer = base_layer.requires_grad_(False)
        self.scaling = alpha / rank
        like = {"dtype": base_layer.weight.dtype, "device": base_layer.weight.device}
        self.lora_A = nn.Parameter(torch.randn(base_layer.in_features, rank, **like))
        self.lora_B = nn.Parameter(torch.zeros(rank, base_layer.out_features, **like))
        self.merged = False

    @torch.no_grad()
    def merge(self):
        if not self.merged:
            self.kept = self.base_layer.weight.clone()
            self.base_layer.weight.add_(self.scaling * (self.lora_A @ self.lora_B).T)
            self.merged = True

    @torch.no_grad()
    def unmerge(self):
        if self.merged:
            self.base_layer.weight.copy_(self.kept)
            self.merged = False
            self.requires_grad_(True)

    def forward(self, x):
        out = self.base_layer(x)
        return out if self.merged else out + self.scaling * (x @ self.lora_A) @ self.lora_B


# %% chaff="a second merge unmerges" exercise="MergeableLoRALinear" misconception=""
class LoRALinear(nn.Module):
    def __init__(self, base_layer, rank=4, alpha=1):
        super().__init__()
        self.base_layer = base_layer.requires_grad_(False)
        self.scaling = alpha / rank
        d, k = base_layer.in_features, base_layer.out_features
        like = {"dtype": base_layer.weight.dtype, "device": base_layer.weight.device}
        self.lora_A = nn.Parameter(torch.randn(d, rank, **like) / d**0.5)
        self.lora_B = nn.Parameter(torch.zeros(rank, k, **like))

    def forward(self, x):
        thin = x @ self.lora_A
        return self.base_layer(x) + (self.scaling * thin) @ self.lora_B


def delta_weight(layer):
    return (layer.scaling * layer.lora_B).T @ layer.lora_A.T


class MergeableLoRALinear(LoRALinear):
    def __init__(self, base_layer, rank=4, alpha=1):
        super().__init__(base_layer, rank, alpha)
        self.merged = False
        self.kept = None

    def merge(self):
        if self.merged:
            self.unmerge()
        else:
            with torch.no_grad():
                self.kept = self.base_layer.weight.clone()
                self.base_layer.weight.add_(delta_weight(self))
            self.merged = True

    def unmerge(self):
        if self.merged:
            with torch.no_grad():
                self.base_layer.weight.copy_(self.kept)
            self.kept = None
            self.merged = False

    def forward(self, x):
        return self.base_layer(x) if self.merged else super().forward(x)


# %% chaff="scaled twice at the merge" exercise="MergeableLoRALinear" misconception="scaling_twice"
class LoRALinear(nn.Module):
    def __init__(self, base_layer, rank=4, alpha=1):
        super().__init__()
        self.base_layer = base_layer.requires_grad_(False)
        self.scaling = alpha / rank
        d, k = base_layer.in_features, base_layer.out_features
        like = {"dtype": base_layer.weight.dtype, "device": base_layer.weight.device}
        self.lora_A = nn.Parameter(torch.randn(d, rank, **like) / d**0.5)
        self.lora_B = nn.Parameter(torch.zeros(rank, k, **like))

    def forward(self, x):
        thin = x @ self.lora_A
        return self.base_layer(x) + (self.scaling * thin) @ self.lora_B


def delta_weight(layer):
    return (layer.scaling * layer.lora_B).T @ layer.lora_A.T


class MergeableLoRALinear(LoRALinear):
    def __init__(self, base_layer, rank=4, alpha=1):
        super().__init__(base_layer, rank, alpha)
        self.merged = False
        self.kept = None

    def merge(self):
        if not self.merged:
            with torch.no_grad():
                self.kept = self.base_layer.weight.clone()
                self.base_layer.weight.add_(self.scaling * delta_weight(self))
            self.merged = True

    def unmerge(self):
        if self.merged:
            with torch.no_grad():
                self.base_layer.weight.copy_(self.kept)
            self.kept = None
            self.merged = False

    def forward(self, x):
        return self.base_layer(x) if self.merged else super().forward(x)


# %% chaff="super is never called" exercise="MergeableLoRALinear" misconception=""
class LoRALinear(nn.Module):
    def __init__(self, base_layer, rank=4, alpha=1):
        super().__init__()
        self.base_layer = base_layer.requires_grad_(False)
        self.scaling = alpha / rank
        d, k = base_layer.in_features, base_layer.out_features
        like = {"dtype": base_layer.weight.dtype, "device": base_layer.weight.device}
        self.lora_A = nn.Parameter(torch.randn(d, rank, **like) / d**0.5)
        self.lora_B = nn.Parameter(torch.zeros(rank, k, **like))

    def forward(self, x):
        thin = x @ self.lora_A
        return self.base_layer(x) + (self.scaling * thin) @ self.lora_B


def delta_weight(layer):
    return (layer.scaling * layer.lora_B).T @ layer.lora_A.T


class MergeableLoRALinear(LoRALinear):
    def __init__(self, base_layer, rank=4, alpha=1):
        self.merged = False
        self.kept = None

    def merge(self):
        if not self.merged:
            with torch.no_grad():
                self.kept = self.base_layer.weight.clone()
                self.base_layer.weight.add_(delta_weight(self))
            self.merged = True

    def unmerge(self):
        if self.merged:
            with torch.no_grad():
                self.base_layer.weight.copy_(self.kept)
            self.kept = None
            self.merged = False

    def forward(self, x):
        return self.base_layer(x) if self.merged else super().forward(x)


# %% chaff="merge does nothing" exercise="MergeableLoRALinear" misconception=""
class LoRALinear(nn.Module):
    def __init__(self, base_layer, rank=4, alpha=1):
        super().__init__()
        self.base_layer = base_layer.requires_grad_(False)
        self.scaling = alpha / rank
        d, k = base_layer.in_features, base_layer.out_features
        like = {"dtype": base_layer.weight.dtype, "device": base_layer.weight.device}
        self.lora_A = nn.Parameter(torch.randn(d, rank, **like) / d**0.5)
        self.lora_B = nn.Parameter(torch.zeros(rank, k, **like))

    def forward(self, x):
        thin = x @ self.lora_A
        return self.base_layer(x) + (self.scaling * thin) @ self.lora_B


def delta_weight(layer):
    return (layer.scaling * layer.lora_B).T @ layer.lora_A.T


class MergeableLoRALinear(LoRALinear):
    def __init__(self, base_layer, rank=4, alpha=1):
        super().__init__(base_layer, rank, alpha)
        self.merged = False
        self.kept = None

    def merge(self):
        if False:
            with torch.no_grad():
                self.kept = self.base_layer.weight.clone()
                self.base_layer.weight.add_(delta_weight(self))
            self.merged = True

    def unmerge(self):
        if self.merged:
            with torch.no_grad():
                self.base_layer.weight.copy_(self.kept)
            self.kept = None
            self.merged = False

    def forward(self, x):
        return self.base_layer(x) if self.merged else super().forward(x)


# %% chaff="a copy in bfloat16" exercise="MergeableLoRALinear" misconception="kept_in_a_smaller_dtype"
class LoRALinear(nn.Module):
    def __init__(self, base_layer, rank=4, alpha=1):
        super().__init__()
        self.base_layer = base_layer.requires_grad_(False)
        self.scaling = alpha / rank
        d, k = base_layer.in_features, base_layer.out_features
        like = {"dtype": base_layer.weight.dtype, "device": base_layer.weight.device}
        self.lora_A = nn.Parameter(torch.randn(d, rank, **like) / d**0.5)
        self.lora_B = nn.Parameter(torch.zeros(rank, k, **like))

    def forward(self, x):
        thin = x @ self.lora_A
        return self.base_layer(x) + (self.scaling * thin) @ self.lora_B


def delta_weight(layer):
    return (layer.scaling * layer.lora_B).T @ layer.lora_A.T


class MergeableLoRALinear(LoRALinear):
    def __init__(self, base_layer, rank=4, alpha=1):
        super().__init__(base_layer, rank, alpha)
        self.merged = False
        self.kept = None

    def merge(self):
        if not self.merged:
            with torch.no_grad():
                self.kept = self.base_layer.weight.bfloat16()
                self.base_layer.weight.add_(delta_weight(self))
            self.merged = True

    def unmerge(self):
        if self.merged:
            with torch.no_grad():
                self.base_layer.weight.copy_(self.kept)
            self.kept = None
            self.merged = False

    def forward(self, x):
        return self.base_layer(x) if self.merged else super().forward(x)


# %% chaff="the weight on the CPU, where it lies already" exercise="MergeableLoRALinear" misconception="kept_by_reference"
class LoRALinear(nn.Module):
    def __init__(self, base_layer, rank=4, alpha=1):
        super().__init__()
        self.base_layer = base_layer.requires_grad_(False)
        self.scaling = alpha / rank
        d, k = base_layer.in_features, base_layer.out_features
        like = {"dtype": base_layer.weight.dtype, "device": base_layer.weight.device}
        self.lora_A = nn.Parameter(torch.randn(d, rank, **like) / d**0.5)
        self.lora_B = nn.Parameter(torch.zeros(rank, k, **like))

    def forward(self, x):
        thin = x @ self.lora_A
        return self.base_layer(x) + (self.scaling * thin) @ self.lora_B


def delta_weight(layer):
    return (layer.scaling * layer.lora_B).T @ layer.lora_A.T


class MergeableLoRALinear(LoRALinear):
    def __init__(self, base_layer, rank=4, alpha=1):
        super().__init__(base_layer, rank, alpha)
        self.merged = False
        self.kept = None

    def merge(self):
        if not self.merged:
            with torch.no_grad():
                self.kept = self.base_layer.weight.cpu()
                self.base_layer.weight.add_(delta_weight(self))
            self.merged = True

    def unmerge(self):
        if self.merged:
            with torch.no_grad():
                self.base_layer.weight.copy_(self.kept)
            self.kept = None
            self.merged = False

    def forward(self, x):
        return self.base_layer(x) if self.merged else super().forward(x)


# %% chaff="train() takes the delta out" exercise="MergeableLoRALinear" misconception="merges_by_itself"
class LoRALinear(nn.Module):
    def __init__(self, base_layer, rank=4, alpha=1):
        super().__init__()
        self.base_layer = base_layer.requires_grad_(False)
        self.scaling = alpha / rank
        d, k = base_layer.in_features, base_layer.out_features
        like = {"dtype": base_layer.weight.dtype, "device": base_layer.weight.device}
        self.lora_A = nn.Parameter(torch.randn(d, rank, **like) / d**0.5)
        self.lora_B = nn.Parameter(torch.zeros(rank, k, **like))

    def forward(self, x):
        thin = x @ self.lora_A
        return self.base_layer(x) + (self.scaling * thin) @ self.lora_B


def delta_weight(layer):
    return (layer.scaling * layer.lora_B).T @ layer.lora_A.T


class MergeableLoRALinear(LoRALinear):
    def __init__(self, base_layer, rank=4, alpha=1):
        super().__init__(base_layer, rank, alpha)
        self.merged = False
        self.kept = None

    def merge(self):
        if not self.merged:
            with torch.no_grad():
                self.kept = self.base_layer.weight.clone()
                self.base_layer.weight.add_(delta_weight(self))
            self.merged = True

    def unmerge(self):
        if self.merged:
            with torch.no_grad():
                self.base_layer.weight.copy_(self.kept)
            self.kept = None
            self.merged = False

    def train(self, mode=True):
        if mode:
            self.unmerge()
        return super().train(mode)

    def forward(self, x):
        return self.base_layer(x) if self.merged else super().forward(x)


# %% chaff="layer.to() raises" exercise="MergeableLoRALinear" misconception=""
class LoRALinear(nn.Module):
    def __init__(self, base_layer, rank=4, alpha=1):
        super().__init__()
        self.base_layer = base_layer.requires_grad_(False)
        self.scaling = alpha / rank
        d, k = base_layer.in_features, base_layer.out_features
        like = {"dtype": base_layer.weight.dtype, "device": base_layer.weight.device}
        self.lora_A = nn.Parameter(torch.randn(d, rank, **like) / d**0.5)
        self.lora_B = nn.Parameter(torch.zeros(rank, k, **like))

    def forward(self, x):
        thin = x @ self.lora_A
        return self.base_layer(x) + (self.scaling * thin) @ self.lora_B


def delta_weight(layer):
    return (layer.scaling * layer.lora_B).T @ layer.lora_A.T


class MergeableLoRALinear(LoRALinear):
    def __init__(self, base_layer, rank=4, alpha=1):
        super().__init__(base_layer, rank, alpha)
        self.merged = False
        self.kept = None

    def merge(self):
        if not self.merged:
            with torch.no_grad():
                self.kept = self.base_layer.weight.clone()
                self.base_layer.weight.add_(delta_weight(self))
            self.merged = True

    def unmerge(self):
        if self.merged:
            with torch.no_grad():
                self.base_layer.weight.copy_(self.kept)
            self.kept = None
            self.merged = False

    def to(self, *args, **kwargs):
        raise RuntimeError("not while merged")

    def forward(self, x):
        return self.base_layer(x) if self.merged else super().forward(x)


# %% chaff="entries of B in one place" exercise="MergeableLoRALinear" misconception=""
class LoRALinear(nn.Module):
    def __init__(self, base_layer, rank=4, alpha=1):
        super().__init__()
        self.base_layer = base_layer.requires_grad_(False)
        self.scaling = alpha / rank
        d, k = base_layer.in_features, base_layer.out_features
        like = {"dtype": base_layer.weight.dtype, "device": base_layer.weight.device}
        self.lora_A = nn.Parameter(torch.randn(d, rank, **like) / d**0.5)
        self.lora_B = nn.Parameter(torch.zeros(rank, 1, **like).expand(rank, k))

    def forward(self, x):
        thin = x @ self.lora_A
        return self.base_layer(x) + (self.scaling * thin) @ self.lora_B


def delta_weight(layer):
    return (layer.scaling * layer.lora_B).T @ layer.lora_A.T


class MergeableLoRALinear(LoRALinear):
    def __init__(self, base_layer, rank=4, alpha=1):
        super().__init__(base_layer, rank, alpha)
        self.merged = False
        self.kept = None

    def merge(self):
        if not self.merged:
            with torch.no_grad():
                self.kept = self.base_layer.weight.clone()
                self.base_layer.weight.add_(delta_weight(self))
            self.merged = True

    def unmerge(self):
        if self.merged:
            with torch.no_grad():
                self.base_layer.weight.copy_(self.kept)
            self.kept = None
            self.merged = False

    def forward(self, x):
        return self.base_layer(x) if self.merged else super().forward(x)


# %% chaff="a decorator for inference" exercise="merge" misconception="inference_mode"
@torch.inference_mode()
def merge(layer):
    base = layer.base_layer
    linear = nn.Linear(base.in_features, base.out_features, base.bias is not None, base.weight.device, base.weight.dtype)
    linear.weight.copy_(base.weight + layer.scaling * (layer.lora_A @ layer.lora_B).T)
    if base.bias is not None:
        linear.bias.copy_(base.bias)
    return linear


# %% chaff="a state dict" exercise="merge" misconception="parts_returned"
def merge(layer):
    weight = layer.base_layer.weight + layer.scaling * (layer.lora_A @ layer.lora_B).T
    return {"weight": weight.detach(), "bias": layer.base_layer.bias}


# %% chaff="a pair of tensors" exercise="merge" misconception="parts_returned"
def merge(layer):
    weight = layer.base_layer.weight + layer.scaling * (layer.lora_A @ layer.lora_B).T
    return weight.detach(), layer.base_layer.bias


# %% chaff="both empty at first" exercise="MergeableLoRALinear" misconception="both_zero"
class MergeableLoRALinear(nn.Module):
    def __init__(self, base_layer, rank=4, alpha=1):
        super().__init__()
        self.base_layer = base_layer.requires_grad_(False)
        self.scaling = alpha / rank
        like = {"dtype": base_layer.weight.dtype, "device": base_layer.weight.device}
        self.lora_A = nn.Parameter(torch.zeros(base_layer.in_features, rank, **like))
        self.lora_B = nn.Parameter(torch.zeros(rank, base_layer.out_features, **like))
        self.merged = False

    @torch.no_grad()
    def merge(self):
        if not self.merged:
            self.kept = self.base_layer.weight.clone()
            self.base_layer.weight.add_(self.scaling * (self.lora_A @ self.lora_B).T)
            self.merged = True

    @torch.no_grad()
    def unmerge(self):
        if self.merged:
            self.base_layer.weight.copy_(self.kept)
            self.merged = False

    def forward(self, x):
        out = self.base_layer(x)
        return out if self.merged else out + self.scaling * (x @ self.lora_A) @ self.lora_B


# %% chaff="both drawn" exercise="MergeableLoRALinear" misconception="both_random"
class MergeableLoRALinear(nn.Module):
    def __init__(self, base_layer, rank=4, alpha=1):
        super().__init__()
        self.base_layer = base_layer.requires_grad_(False)
        self.scaling = alpha / rank
        like = {"dtype": base_layer.weight.dtype, "device": base_layer.weight.device}
        self.lora_A = nn.Parameter(torch.randn(base_layer.in_features, rank, **like))
        self.lora_B = nn.Parameter(torch.randn(rank, base_layer.out_features, **like) * 0.01)
        self.merged = False

    @torch.no_grad()
    def merge(self):
        if not self.merged:
            self.kept = self.base_layer.weight.clone()
            self.base_layer.weight.add_(self.scaling * (self.lora_A @ self.lora_B).T)
            self.merged = True

    @torch.no_grad()
    def unmerge(self):
        if self.merged:
            self.base_layer.weight.copy_(self.kept)
            self.merged = False

    def forward(self, x):
        out = self.base_layer(x)
        return out if self.merged else out + self.scaling * (x @ self.lora_A) @ self.lora_B


# %% chaff="the zeros on the other side" exercise="MergeableLoRALinear" misconception="zero_and_random_swapped"
class MergeableLoRALinear(nn.Module):
    def __init__(self, base_layer, rank=4, alpha=1):
        super().__init__()
        self.base_layer = base_layer.requires_grad_(False)
        self.scaling = alpha / rank
        like = {"dtype": base_layer.weight.dtype, "device": base_layer.weight.device}
        self.lora_A = nn.Parameter(torch.zeros(base_layer.in_features, rank, **like))
        self.lora_B = nn.Parameter(torch.randn(rank, base_layer.out_features, **like))
        self.merged = False

    @torch.no_grad()
    def merge(self):
        if not self.merged:
            self.kept = self.base_layer.weight.clone()
            self.base_layer.weight.add_(self.scaling * (self.lora_A @ self.lora_B).T)
            self.merged = True

    @torch.no_grad()
    def unmerge(self):
        if self.merged:
            self.base_layer.weight.copy_(self.kept)
            self.merged = False

    def forward(self, x):
        out = self.base_layer(x)
        return out if self.merged else out + self.scaling * (x @ self.lora_A) @ self.lora_B


# %% chaff="kept in a buffer when it is made" exercise="MergeableLoRALinear" misconception="kept_too_early"
class MergeableLoRALinear(nn.Module):
    def __init__(self, base_layer, rank=4, alpha=1):
        super().__init__()
        self.base_layer = base_layer.requires_grad_(False)
        self.scaling = alpha / rank
        like = {"dtype": base_layer.weight.dtype, "device": base_layer.weight.device}
        self.lora_A = nn.Parameter(torch.randn(base_layer.in_features, rank, **like))
        self.lora_B = nn.Parameter(torch.zeros(rank, base_layer.out_features, **like))
        self.merged = False
        self.register_buffer("first", base_layer.weight.clone())

    @torch.no_grad()
    def merge(self):
        if not self.merged:
            self.base_layer.weight.add_(self.scaling * (self.lora_A @ self.lora_B).T)
            self.merged = True

    @torch.no_grad()
    def unmerge(self):
        if self.merged:
            self.base_layer.weight.copy_(self.first)
            self.merged = False

    def forward(self, x):
        out = self.base_layer(x)
        return out if self.merged else out + self.scaling * (x @ self.lora_A) @ self.lora_B


# %% chaff="the merged weight is what is kept" exercise="MergeableLoRALinear" misconception="kept_too_late"
class MergeableLoRALinear(nn.Module):
    def __init__(self, base_layer, rank=4, alpha=1):
        super().__init__()
        self.base_layer = base_layer.requires_grad_(False)
        self.scaling = alpha / rank
        like = {"dtype": base_layer.weight.dtype, "device": base_layer.weight.device}
        self.lora_A = nn.Parameter(torch.randn(base_layer.in_features, rank, **like))
        self.lora_B = nn.Parameter(torch.zeros(rank, base_layer.out_features, **like))
        self.merged = False

    @torch.no_grad()
    def merge(self):
        if not self.merged:
            self.base_layer.weight.add_(self.scaling * (self.lora_A @ self.lora_B).T)
            self.kept = self.base_layer.weight.clone()
            self.merged = True

    @torch.no_grad()
    def unmerge(self):
        if self.merged:
            self.base_layer.weight.copy_(self.kept)
            self.merged = False

    def forward(self, x):
        out = self.base_layer(x)
        return out if self.merged else out + self.scaling * (x @ self.lora_A) @ self.lora_B


# %% chaff="merges the bare product" exercise="MergeableLoRALinear" misconception="no_transpose"
class MergeableLoRALinear(nn.Module):
    def __init__(self, base_layer, rank=4, alpha=1):
        super().__init__()
        self.base_layer = base_layer.requires_grad_(False)
        self.scaling = alpha / rank
        like = {"dtype": base_layer.weight.dtype, "device": base_layer.weight.device}
        self.lora_A = nn.Parameter(torch.randn(base_layer.in_features, rank, **like))
        self.lora_B = nn.Parameter(torch.zeros(rank, base_layer.out_features, **like))
        self.merged = False

    @torch.no_grad()
    def merge(self):
        if not self.merged:
            self.kept = self.base_layer.weight.clone()
            self.base_layer.weight.add_(self.lora_A @ self.lora_B)
            self.merged = True

    @torch.no_grad()
    def unmerge(self):
        if self.merged:
            self.base_layer.weight.copy_(self.kept)
            self.merged = False

    def forward(self, x):
        out = self.base_layer(x)
        return out if self.merged else out + self.scaling * (x @ self.lora_A) @ self.lora_B


# %% chaff="merges the bare product, viewed" exercise="MergeableLoRALinear" misconception="view_for_transpose"
class MergeableLoRALinear(nn.Module):
    def __init__(self, base_layer, rank=4, alpha=1):
        super().__init__()
        self.base_layer = base_layer.requires_grad_(False)
        self.scaling = alpha / rank
        like = {"dtype": base_layer.weight.dtype, "device": base_layer.weight.device}
        self.lora_A = nn.Parameter(torch.randn(base_layer.in_features, rank, **like))
        self.lora_B = nn.Parameter(torch.zeros(rank, base_layer.out_features, **like))
        self.merged = False

    @torch.no_grad()
    def merge(self):
        if not self.merged:
            self.kept = self.base_layer.weight.clone()
            self.base_layer.weight.add_((self.lora_A @ self.lora_B).view_as(self.base_layer.weight))
            self.merged = True

    @torch.no_grad()
    def unmerge(self):
        if self.merged:
            self.base_layer.weight.copy_(self.kept)
            self.merged = False

    def forward(self, x):
        out = self.base_layer(x)
        return out if self.merged else out + self.scaling * (x @ self.lora_A) @ self.lora_B


# %% chaff="entry by entry before the merge" exercise="MergeableLoRALinear" misconception="elementwise"
class MergeableLoRALinear(nn.Module):
    def __init__(self, base_layer, rank=4, alpha=1):
        super().__init__()
        self.base_layer = base_layer.requires_grad_(False)
        self.scaling = alpha / rank
        like = {"dtype": base_layer.weight.dtype, "device": base_layer.weight.device}
        self.lora_A = nn.Parameter(torch.randn(base_layer.in_features, rank, **like))
        self.lora_B = nn.Parameter(torch.zeros(rank, base_layer.out_features, **like))
        self.merged = False

    @torch.no_grad()
    def merge(self):
        if not self.merged:
            self.kept = self.base_layer.weight.clone()
            self.base_layer.weight.add_(self.scaling * (self.lora_A @ self.lora_B).T)
            self.merged = True

    @torch.no_grad()
    def unmerge(self):
        if self.merged:
            self.base_layer.weight.copy_(self.kept)
            self.merged = False

    def forward(self, x):
        out = self.base_layer(x)
        return out if self.merged else out + self.scaling * (self.lora_A @ self.lora_B) * x


# %% chaff="the product alone before the merge" exercise="MergeableLoRALinear" misconception="no_scaling"
class MergeableLoRALinear(nn.Module):
    def __init__(self, base_layer, rank=4, alpha=1):
        super().__init__()
        self.base_layer = base_layer.requires_grad_(False)
        self.scaling = alpha / rank
        like = {"dtype": base_layer.weight.dtype, "device": base_layer.weight.device}
        self.lora_A = nn.Parameter(torch.randn(base_layer.in_features, rank, **like))
        self.lora_B = nn.Parameter(torch.zeros(rank, base_layer.out_features, **like))
        self.merged = False

    @torch.no_grad()
    def merge(self):
        if not self.merged:
            self.kept = self.base_layer.weight.clone()
            self.base_layer.weight.add_(self.scaling * (self.lora_A @ self.lora_B).T)
            self.merged = True

    @torch.no_grad()
    def unmerge(self):
        if self.merged:
            self.base_layer.weight.copy_(self.kept)
            self.merged = False

    def forward(self, x):
        out = self.base_layer(x)
        return out if self.merged else out + x @ self.lora_A @ self.lora_B


# %% chaff="the root of the rank" exercise="MergeableLoRALinear" misconception="root_of_rank"
class MergeableLoRALinear(nn.Module):
    def __init__(self, base_layer, rank=4, alpha=1):
        super().__init__()
        self.base_layer = base_layer.requires_grad_(False)
        self.scaling = alpha / rank
        like = {"dtype": base_layer.weight.dtype, "device": base_layer.weight.device}
        self.lora_A = nn.Parameter(torch.randn(base_layer.in_features, rank, **like))
        self.lora_B = nn.Parameter(torch.zeros(rank, base_layer.out_features, **like))
        self.merged = False
        self.scaling = alpha / math.sqrt(rank)

    @torch.no_grad()
    def merge(self):
        if not self.merged:
            self.kept = self.base_layer.weight.clone()
            self.base_layer.weight.add_(self.scaling * (self.lora_A @ self.lora_B).T)
            self.merged = True

    @torch.no_grad()
    def unmerge(self):
        if self.merged:
            self.base_layer.weight.copy_(self.kept)
            self.merged = False

    def forward(self, x):
        out = self.base_layer(x)
        return out if self.merged else out + self.scaling * (x @ self.lora_A) @ self.lora_B


# %% chaff="the adapter alone before the merge" exercise="MergeableLoRALinear" misconception="base_forgotten"
class MergeableLoRALinear(nn.Module):
    def __init__(self, base_layer, rank=4, alpha=1):
        super().__init__()
        self.base_layer = base_layer.requires_grad_(False)
        self.scaling = alpha / rank
        like = {"dtype": base_layer.weight.dtype, "device": base_layer.weight.device}
        self.lora_A = nn.Parameter(torch.randn(base_layer.in_features, rank, **like))
        self.lora_B = nn.Parameter(torch.zeros(rank, base_layer.out_features, **like))
        self.merged = False

    @torch.no_grad()
    def merge(self):
        if not self.merged:
            self.kept = self.base_layer.weight.clone()
            self.base_layer.weight.add_(self.scaling * (self.lora_A @ self.lora_B).T)
            self.merged = True

    @torch.no_grad()
    def unmerge(self):
        if self.merged:
            self.base_layer.weight.copy_(self.kept)
            self.merged = False

    def forward(self, x):
        out = self.base_layer(x)
        return out if self.merged else self.scaling * (x @ self.lora_A) @ self.lora_B


# %% chaff="taken off before the merge" exercise="MergeableLoRALinear" misconception="subtracted"
class MergeableLoRALinear(nn.Module):
    def __init__(self, base_layer, rank=4, alpha=1):
        super().__init__()
        self.base_layer = base_layer.requires_grad_(False)
        self.scaling = alpha / rank
        like = {"dtype": base_layer.weight.dtype, "device": base_layer.weight.device}
        self.lora_A = nn.Parameter(torch.randn(base_layer.in_features, rank, **like))
        self.lora_B = nn.Parameter(torch.zeros(rank, base_layer.out_features, **like))
        self.merged = False

    @torch.no_grad()
    def merge(self):
        if not self.merged:
            self.kept = self.base_layer.weight.clone()
            self.base_layer.weight.add_(self.scaling * (self.lora_A @ self.lora_B).T)
            self.merged = True

    @torch.no_grad()
    def unmerge(self):
        if self.merged:
            self.base_layer.weight.copy_(self.kept)
            self.merged = False

    def forward(self, x):
        out = self.base_layer(x)
        return out if self.merged else out - self.scaling * (x @ self.lora_A) @ self.lora_B


# %% chaff="scaled on both sides before the merge" exercise="MergeableLoRALinear" misconception="scaled_twice"
class MergeableLoRALinear(nn.Module):
    def __init__(self, base_layer, rank=4, alpha=1):
        super().__init__()
        self.base_layer = base_layer.requires_grad_(False)
        self.scaling = alpha / rank
        like = {"dtype": base_layer.weight.dtype, "device": base_layer.weight.device}
        self.lora_A = nn.Parameter(torch.randn(base_layer.in_features, rank, **like))
        self.lora_B = nn.Parameter(torch.zeros(rank, base_layer.out_features, **like))
        self.merged = False

    @torch.no_grad()
    def merge(self):
        if not self.merged:
            self.kept = self.base_layer.weight.clone()
            self.base_layer.weight.add_(self.scaling * (self.lora_A @ self.lora_B).T)
            self.merged = True

    @torch.no_grad()
    def unmerge(self):
        if self.merged:
            self.base_layer.weight.copy_(self.kept)
            self.merged = False

    def forward(self, x):
        out = self.base_layer(x)
        return out if self.merged else out + self.scaling * (self.scaling * x @ self.lora_A) @ self.lora_B


# %% chaff="no bias before the merge" exercise="MergeableLoRALinear" misconception="bias_lost"
class MergeableLoRALinear(nn.Module):
    def __init__(self, base_layer, rank=4, alpha=1):
        super().__init__()
        self.base_layer = base_layer.requires_grad_(False)
        self.scaling = alpha / rank
        like = {"dtype": base_layer.weight.dtype, "device": base_layer.weight.device}
        self.lora_A = nn.Parameter(torch.randn(base_layer.in_features, rank, **like))
        self.lora_B = nn.Parameter(torch.zeros(rank, base_layer.out_features, **like))
        self.merged = False

    @torch.no_grad()
    def merge(self):
        if not self.merged:
            self.kept = self.base_layer.weight.clone()
            self.base_layer.weight.add_(self.scaling * (self.lora_A @ self.lora_B).T)
            self.merged = True

    @torch.no_grad()
    def unmerge(self):
        if self.merged:
            self.base_layer.weight.copy_(self.kept)
            self.merged = False

    def forward(self, x):
        out = self.base_layer(x)
        return out if self.merged else x @ self.base_layer.weight.T + self.scaling * (x @ self.lora_A) @ self.lora_B


# %% chaff="merge deletes the adapters" exercise="MergeableLoRALinear" misconception="trains_no_more"
class MergeableLoRALinear(nn.Module):
    def __init__(self, base_layer, rank=4, alpha=1):
        super().__init__()
        self.base_layer = base_layer.requires_grad_(False)
        self.scaling = alpha / rank
        like = {"dtype": base_layer.weight.dtype, "device": base_layer.weight.device}
        self.lora_A = nn.Parameter(torch.randn(base_layer.in_features, rank, **like))
        self.lora_B = nn.Parameter(torch.zeros(rank, base_layer.out_features, **like))
        self.merged = False

    @torch.no_grad()
    def merge(self):
        if not self.merged:
            self.kept = self.base_layer.weight.clone()
            self.base_layer.weight.add_(self.scaling * (self.lora_A @ self.lora_B).T)
            del self.lora_A, self.lora_B
            self.merged = True

    @torch.no_grad()
    def unmerge(self):
        if self.merged:
            self.base_layer.weight.copy_(self.kept)
            self.merged = False

    def forward(self, x):
        out = self.base_layer(x)
        return out if self.merged else out + self.scaling * (x @ self.lora_A) @ self.lora_B


# %% chaff="the backup is never cleared" exercise="MergeableLoRALinear" misconception="nothing_added"
class MergeableLoRALinear(nn.Module):
    def __init__(self, base_layer, rank=4, alpha=1):
        super().__init__()
        self.base_layer = base_layer.requires_grad_(False)
        self.scaling = alpha / rank
        like = {"dtype": base_layer.weight.dtype, "device": base_layer.weight.device}
        self.lora_A = nn.Parameter(torch.randn(base_layer.in_features, rank, **like))
        self.lora_B = nn.Parameter(torch.zeros(rank, base_layer.out_features, **like))
        self.merged = False
        self.kept = None

    @torch.no_grad()
    def merge(self):
        if not self.merged:
            if self.kept is None:
                self.kept = self.base_layer.weight.clone()
                self.base_layer.weight.add_(self.scaling * (self.lora_A @ self.lora_B).T)
            self.merged = True

    @torch.no_grad()
    def unmerge(self):
        if self.merged:
            self.base_layer.weight.copy_(self.kept)
            self.merged = False

    def forward(self, x):
        out = self.base_layer(x)
        return out if self.merged else out + self.scaling * (x @ self.lora_A) @ self.lora_B


# %% wheat="outer products, summed" exercise="delta_weight"
def delta_weight(layer, /):
    return sum(torch.outer(b, a) for a, b in zip(layer.lora_A.T, layer.lora_B)) * layer.scaling


# %% chaff="what a merge in place has changed" exercise="delta_weight" misconception="changed_layer"
def delta_weight(layer):
    before = layer.base_layer.weight.clone()
    layer.base_layer.weight.data += layer.scaling * (layer.lora_A @ layer.lora_B).T
    return layer.base_layer.weight - before


# %% chaff="the truth of a bias" exercise="merge" misconception=""
def merge(layer):
    base = layer.base_layer
    new = nn.Linear(base.in_features, base.out_features, bias=bool(base.bias)).to(base.weight)
    new.weight.data = base.weight.data + layer.scaling * (layer.lora_A.data @ layer.lora_B.data).T
    if base.bias: new.bias.data = base.bias.data.clone()
    return new


# %% wheat="a match, methods that give the layer back" exercise="MergeableLoRALinear"
class LoRALinear(nn.Module):
    def __init__(self, base_layer, rank=4, alpha=1):
        super().__init__()
        self.base_layer = base_layer.requires_grad_(False)
        self.scaling = alpha / rank
        like = {"dtype": base_layer.weight.dtype, "device": base_layer.weight.device}
        self.lora_A = nn.Parameter(torch.randn(base_layer.in_features, rank, **like))
        self.lora_B = nn.Parameter(torch.zeros(rank, base_layer.out_features, **like))

    def forward(self, x):
        return self.base_layer(x) + self.scaling * (x @ self.lora_A) @ self.lora_B


class MergeableLoRALinear(LoRALinear):
    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self._original = None
    @property
    def merged(self): return self._original is not None
    def delta(self): return (self.scaling * self.lora_A @ self.lora_B).T
    def merge(self):
        if self.merged: return self
        with torch.no_grad():
            self._original = self.base_layer.weight.clone()
            self.base_layer.weight += self.delta()
        return self
    def unmerge(self):
        match self._original:
            case None: pass
            case W:
                with torch.no_grad(): self.base_layer.weight.copy_(W)
                self._original = None
        return self
    def forward(self, x, /):
        return self.base_layer(x) if self.merged else super().forward(x)


# %% chaff="the copy in a dictionary of the class" exercise="MergeableLoRALinear" misconception="kept_on_the_class"
class LoRALinear(nn.Module):
    def __init__(self, base_layer, rank=4, alpha=1):
        super().__init__()
        self.base_layer = base_layer.requires_grad_(False)
        self.scaling = alpha / rank
        like = {"dtype": base_layer.weight.dtype, "device": base_layer.weight.device}
        self.lora_A = nn.Parameter(torch.randn(base_layer.in_features, rank, **like))
        self.lora_B = nn.Parameter(torch.zeros(rank, base_layer.out_features, **like))

    def forward(self, x):
        return self.base_layer(x) + self.scaling * (x @ self.lora_A) @ self.lora_B


class MergeableLoRALinear(LoRALinear):
    kept = {}
    def __init__(self, base_layer, rank=4, alpha=1):
        super().__init__(base_layer, rank, alpha)
        self.merged = False
    @torch.no_grad()
    def merge(self):
        if self.merged: return
        MergeableLoRALinear.kept["w"] = self.base_layer.weight.clone()
        self.base_layer.weight += self.scaling * (self.lora_A @ self.lora_B).T
        self.merged = True
    @torch.no_grad()
    def unmerge(self):
        if not self.merged: return
        self.base_layer.weight.copy_(self.kept["w"])
        self.merged = False
    def forward(self, x):
        return self.base_layer(x) if self.merged else super().forward(x)


# %% chaff="the flag on the class" exercise="MergeableLoRALinear" misconception=""
class LoRALinear(nn.Module):
    def __init__(self, base_layer, rank=4, alpha=1):
        super().__init__()
        self.base_layer = base_layer.requires_grad_(False)
        self.scaling = alpha / rank
        like = {"dtype": base_layer.weight.dtype, "device": base_layer.weight.device}
        self.lora_A = nn.Parameter(torch.randn(base_layer.in_features, rank, **like))
        self.lora_B = nn.Parameter(torch.zeros(rank, base_layer.out_features, **like))

    def forward(self, x):
        return self.base_layer(x) + self.scaling * (x @ self.lora_A) @ self.lora_B


class MergeableLoRALinear(LoRALinear):
    merged = False
    def __init__(self, base_layer, rank=4, alpha=1):
        super().__init__(base_layer, rank, alpha)
    @torch.no_grad()
    def merge(self):
        if MergeableLoRALinear.merged: return
        self.kept = self.base_layer.weight.clone()
        self.base_layer.weight += self.scaling * (self.lora_A @ self.lora_B).T
        MergeableLoRALinear.merged = True
    @torch.no_grad()
    def unmerge(self):
        if not MergeableLoRALinear.merged: return
        self.base_layer.weight.copy_(self.kept)
        MergeableLoRALinear.merged = False
    def forward(self, x):
        return self.base_layer(x) if self.merged else super().forward(x)


# %% chaff="the condition the wrong way round" exercise="MergeableLoRALinear" misconception="flag_inverted"
class LoRALinear(nn.Module):
    def __init__(self, base_layer, rank=4, alpha=1):
        super().__init__()
        self.base_layer = base_layer.requires_grad_(False)
        self.scaling = alpha / rank
        like = {"dtype": base_layer.weight.dtype, "device": base_layer.weight.device}
        self.lora_A = nn.Parameter(torch.randn(base_layer.in_features, rank, **like))
        self.lora_B = nn.Parameter(torch.zeros(rank, base_layer.out_features, **like))

    def forward(self, x):
        return self.base_layer(x) + self.scaling * (x @ self.lora_A) @ self.lora_B


class MergeableLoRALinear(LoRALinear):
    def __init__(self, base_layer, rank=4, alpha=1):
        super().__init__(base_layer, rank, alpha)
        self.merged = False
    @torch.no_grad()
    def merge(self):
        if not self.merged:
            self.kept = self.base_layer.weight.clone()
            self.base_layer.weight += self.scaling * (self.lora_A @ self.lora_B).T
            self.merged = True
    @torch.no_grad()
    def unmerge(self):
        if self.merged:
            self.base_layer.weight.copy_(self.kept)
            self.merged = False
    def forward(self, x):
        return super().forward(x) if self.merged else self.base_layer(x)


# %% wheat="vmap" exercise="delta_weight"
def delta_weight(layer):
    return torch.vmap(lambda b: layer.scaling * (layer.lora_A @ b), in_dims=1)(layer.lora_B)


# %% wheat="functional_call with a base of zeros" exercise="delta_weight"
from torch.func import functional_call
def delta_weight(layer):
    zero = {f"base_layer.{n}": torch.zeros_like(p) for n, p in layer.base_layer.named_parameters()}
    eye = torch.eye(layer.lora_A.shape[0], dtype=layer.lora_A.dtype, device=layer.lora_A.device)
    return functional_call(layer, zero, (eye,)).T


# %% wheat="from the state_dict" exercise="delta_weight"
def delta_weight(layer):
    state = layer.state_dict()
    with torch.no_grad():
        return (state["lora_B"].t() @ state["lora_A"].t()) * layer.scaling


# %% wheat="in place, on a deep copy" exercise="delta_weight"
import copy
def delta_weight(layer):
    twin = copy.deepcopy(layer)
    twin.lora_A.data.mul_(twin.scaling)
    return (twin.lora_A @ twin.lora_B).T.detach()


# %% wheat="a parametrisation, registered and removed" exercise="merge"
import copy


def delta_weight(layer):
    return layer.scaling * (layer.lora_A @ layer.lora_B).T


from torch.nn.utils import parametrize
class Add(nn.Module):
    def __init__(self, delta):
        super().__init__(); self.register_buffer("delta", delta)
    def forward(self, W): return W + self.delta
def merge(layer):
    new = copy.deepcopy(layer.base_layer)
    parametrize.register_parametrization(new, "weight", Add(delta_weight(layer).detach()))
    parametrize.remove_parametrizations(new, "weight")
    return new


# %% wheat="saved and loaded" exercise="merge"
def delta_weight(layer):
    return layer.scaling * (layer.lora_A @ layer.lora_B).T


import io
def merge(layer):
    buffer = io.BytesIO()
    torch.save(layer.base_layer.state_dict(), buffer); buffer.seek(0)
    state = torch.load(buffer)
    state["weight"] += delta_weight(layer).detach()
    new = nn.Linear(layer.base_layer.in_features, layer.base_layer.out_features, bias="bias" in state, dtype=state["weight"].dtype)
    new.load_state_dict(state)
    return new


# %% wheat="one vector of all parameters" exercise="merge"
import copy


def delta_weight(layer):
    return layer.scaling * (layer.lora_A @ layer.lora_B).T


from torch.nn.utils import parameters_to_vector, vector_to_parameters
def merge(layer):
    new = copy.deepcopy(layer.base_layer)
    delta = delta_weight(layer).detach().flatten()
    flat = parameters_to_vector(new.parameters()).detach().clone()
    flat[: delta.numel()] += delta
    with torch.no_grad():
        for p, piece in zip(new.parameters(), flat.split([p.numel() for p in new.parameters()])):
            p.copy_(piece.view_as(p))
    return new


# %% wheat="merged for a moment, in try and finally" exercise="merge"
import copy


def delta_weight(layer):
    return layer.scaling * (layer.lora_A @ layer.lora_B).T


def merge(layer):
    w = layer.base_layer.weight
    backup = w.data.clone()
    try:
        w.data.add_(delta_weight(layer).data)
        return copy.deepcopy(layer.base_layer)
    finally:
        w.data.copy_(backup)


# %% wheat="swap_tensors" exercise="merge"
import copy


def delta_weight(layer):
    return layer.scaling * (layer.lora_A @ layer.lora_B).T


def merge(layer):
    new = copy.deepcopy(layer.base_layer)
    p = nn.Parameter((new.weight + delta_weight(layer)).detach(), requires_grad=False)
    torch.utils.swap_tensors(new.weight, p)
    return new


# %% wheat="the bytes are kept" exercise="MergeableLoRALinear"
class LoRALinear(nn.Module):
    def __init__(self, base_layer, rank=4, alpha=1):
        super().__init__()
        self.base_layer = base_layer.requires_grad_(False)
        self.scaling = alpha / rank
        like = {"dtype": base_layer.weight.dtype, "device": base_layer.weight.device}
        self.lora_A = nn.Parameter(torch.randn(base_layer.in_features, rank, **like))
        self.lora_B = nn.Parameter(torch.zeros(rank, base_layer.out_features, **like))
    def forward(self, x):
        return self.base_layer(x) + self.scaling * (x @ self.lora_A) @ self.lora_B
def delta_weight(layer):
    return layer.scaling * (layer.lora_A @ layer.lora_B).T


class MergeableLoRALinear(LoRALinear):
    def __init__(self, base_layer, rank=4, alpha=1):
        super().__init__(base_layer, rank, alpha)
        self.backup = None
    @property
    def merged(self):
        return self.backup is not None
    def merge(self):
        if not self.merged:
            self.backup = self.base_layer.weight.detach().cpu().view(torch.uint8).numpy().copy()
            self.base_layer.weight.data.add_(delta_weight(self).detach())
    def unmerge(self):
        if self.merged:
            w = self.base_layer.weight
            w.data.copy_(torch.from_numpy(self.backup).view(w.dtype).view(w.shape))
            self.backup = None
    def forward(self, x):
        h = self.base_layer(x)
        if not self.merged:
            h = h + self.scaling * (x @ self.lora_A) @ self.lora_B
        return h


# %% wheat="a decorator guards both" exercise="MergeableLoRALinear"
class LoRALinear(nn.Module):
    def __init__(self, base_layer, rank=4, alpha=1):
        super().__init__()
        self.base_layer = base_layer.requires_grad_(False)
        self.scaling = alpha / rank
        like = {"dtype": base_layer.weight.dtype, "device": base_layer.weight.device}
        self.lora_A = nn.Parameter(torch.randn(base_layer.in_features, rank, **like))
        self.lora_B = nn.Parameter(torch.zeros(rank, base_layer.out_features, **like))
    def forward(self, x):
        return self.base_layer(x) + self.scaling * (x @ self.lora_A) @ self.lora_B
def delta_weight(layer):
    return layer.scaling * (layer.lora_A @ layer.lora_B).T


import functools
def only_when(state):
    def wrap(f):
        @functools.wraps(f)
        def g(self):
            if self.merged is state:
                with torch.no_grad():
                    f(self)
                self.merged = not state
        return g
    return wrap
class MergeableLoRALinear(LoRALinear):
    def __init__(self, base_layer, rank=4, alpha=1):
        super().__init__(base_layer, rank, alpha)
        self.merged = False
        self.stack = []
    @only_when(False)
    def merge(self):
        self.stack.append(self.base_layer.weight.clone())
        self.base_layer.weight.add_(delta_weight(self))
    @only_when(True)
    def unmerge(self):
        self.base_layer.weight.copy_(self.stack.pop())
    def forward(self, x):
        return self.base_layer(x) if self.merged else super().forward(x)


# %% wheat="forward is another one while merged" exercise="MergeableLoRALinear"
class LoRALinear(nn.Module):
    def __init__(self, base_layer, rank=4, alpha=1):
        super().__init__()
        self.base_layer = base_layer.requires_grad_(False)
        self.scaling = alpha / rank
        like = {"dtype": base_layer.weight.dtype, "device": base_layer.weight.device}
        self.lora_A = nn.Parameter(torch.randn(base_layer.in_features, rank, **like))
        self.lora_B = nn.Parameter(torch.zeros(rank, base_layer.out_features, **like))
    def forward(self, x):
        return self.base_layer(x) + self.scaling * (x @ self.lora_A) @ self.lora_B
def delta_weight(layer):
    return layer.scaling * (layer.lora_A @ layer.lora_B).T


class MergeableLoRALinear(LoRALinear):
    def __init__(self, base_layer, rank=4, alpha=1):
        super().__init__(base_layer, rank, alpha)
        self.merged = False
    def merge(self):
        if self.merged: return self
        self._w = self.base_layer.weight.detach().clone()
        with torch.no_grad(): self.base_layer.weight += delta_weight(self)
        self.merged, self.forward = True, self.base_layer.forward
        return self
    def unmerge(self):
        if not self.merged: return self
        with torch.no_grad(): self.base_layer.weight.copy_(self._w)
        self.merged = False
        del self._w, self.forward
        return self


# %% wheat="exclusive or of the bits" exercise="MergeableLoRALinear"
class LoRALinear(nn.Module):
    def __init__(self, base_layer, rank=4, alpha=1):
        super().__init__()
        self.base_layer = base_layer.requires_grad_(False)
        self.scaling = alpha / rank
        like = {"dtype": base_layer.weight.dtype, "device": base_layer.weight.device}
        self.lora_A = nn.Parameter(torch.randn(base_layer.in_features, rank, **like))
        self.lora_B = nn.Parameter(torch.zeros(rank, base_layer.out_features, **like))
    def forward(self, x):
        return self.base_layer(x) + self.scaling * (x @ self.lora_A) @ self.lora_B
def delta_weight(layer):
    return layer.scaling * (layer.lora_A @ layer.lora_B).T


class MergeableLoRALinear(LoRALinear):
    INTS = {2: torch.int16, 4: torch.int32, 8: torch.int64}
    def __init__(self, base_layer, rank=4, alpha=1):
        super().__init__(base_layer, rank, alpha)
        self.bits = None
    @property
    def merged(self): return self.bits is not None
    def merge(self):
        if self.merged: return
        w = self.base_layer.weight.data
        i = self.INTS[w.element_size()]
        before = w.clone().view(i)
        w += delta_weight(self).detach()
        self.bits = before ^ w.view(i)
    def unmerge(self):
        if not self.merged: return
        w = self.base_layer.weight.data
        w.view(self.bits.dtype).bitwise_xor_(self.bits)
        self.bits = None
    def forward(self, x):
        return self.base_layer(x) if self.merged else super().forward(x)


# %% wheat="a mixin that switches" exercise="MergeableLoRALinear"
class LoRALinear(nn.Module):
    def __init__(self, base_layer, rank=4, alpha=1):
        super().__init__()
        self.base_layer = base_layer.requires_grad_(False)
        self.scaling = alpha / rank
        like = {"dtype": base_layer.weight.dtype, "device": base_layer.weight.device}
        self.lora_A = nn.Parameter(torch.randn(base_layer.in_features, rank, **like))
        self.lora_B = nn.Parameter(torch.zeros(rank, base_layer.out_features, **like))
    def forward(self, x):
        return self.base_layer(x) + self.scaling * (x @ self.lora_A) @ self.lora_B
def delta_weight(layer):
    return layer.scaling * (layer.lora_A @ layer.lora_B).T


class Switch:
    merged = False
    def merge(self):
        if not self.merged:
            self._put(True)
    def unmerge(self):
        if self.merged:
            self._put(False)
class MergeableLoRALinear(Switch, LoRALinear):
    @torch.no_grad()
    def _put(self, on):
        w = self.base_layer.weight
        if on:
            self._kept = w.clone()
            w += delta_weight(self)
        else:
            w.copy_(self.__dict__.pop("_kept"))
        self.merged = on
    def forward(self, x):
        return self.base_layer(x) if self.merged else super().forward(x)


# %% chaff="adds wrong sign in unmerge" exercise="MergeableLoRALinear" misconception=""
class LoRALinear(nn.Module):
    def __init__(self, base_layer, rank=4, alpha=1):
        super().__init__()
        self.base_layer = base_layer.requires_grad_(False)
        self.scaling = alpha / rank
        like = {"dtype": base_layer.weight.dtype, "device": base_layer.weight.device}
        self.lora_A = nn.Parameter(torch.randn(base_layer.in_features, rank, **like))
        self.lora_B = nn.Parameter(torch.zeros(rank, base_layer.out_features, **like))
    def forward(self, x):
        return self.base_layer(x) + self.scaling * (x @ self.lora_A) @ self.lora_B
def delta_weight(layer):
    return layer.scaling * (layer.lora_A @ layer.lora_B).T


class MergeableLoRALinear(LoRALinear):
    def __init__(self, base_layer, rank=4, alpha=1):
        super().__init__(base_layer, rank, alpha)
        self.merged = False
        self.kept = None
    def merge(self):
        if self.merged:
            return
        with torch.no_grad():
            self.kept = self.base_layer.weight.clone()
            self.base_layer.weight.add_(delta_weight(self))
        self.merged = True
    def unmerge(self):
        if not self.merged:
            return
        with torch.no_grad():
            self.base_layer.weight.add_(delta_weight(self))
        self.merged = False
    def forward(self, x):
        if self.merged:
            return self.base_layer(x)
        return super().forward(x)


# %% chaff="merge guard inverted" exercise="MergeableLoRALinear" misconception=""
class LoRALinear(nn.Module):
    def __init__(self, base_layer, rank=4, alpha=1):
        super().__init__()
        self.base_layer = base_layer.requires_grad_(False)
        self.scaling = alpha / rank
        like = {"dtype": base_layer.weight.dtype, "device": base_layer.weight.device}
        self.lora_A = nn.Parameter(torch.randn(base_layer.in_features, rank, **like))
        self.lora_B = nn.Parameter(torch.zeros(rank, base_layer.out_features, **like))
    def forward(self, x):
        return self.base_layer(x) + self.scaling * (x @ self.lora_A) @ self.lora_B
def delta_weight(layer):
    return layer.scaling * (layer.lora_A @ layer.lora_B).T


class MergeableLoRALinear(LoRALinear):
    def __init__(self, base_layer, rank=4, alpha=1):
        super().__init__(base_layer, rank, alpha)
        self.merged = False
        self.kept = None
    def merge(self):
        if not self.merged:
            return
        with torch.no_grad():
            self.kept = self.base_layer.weight.clone()
            self.base_layer.weight.add_(delta_weight(self))
        self.merged = True
    def unmerge(self):
        if not self.merged:
            return
        with torch.no_grad():
            self.base_layer.weight.copy_(self.kept)
        self.merged = False
    def forward(self, x):
        if self.merged:
            return self.base_layer(x)
        return super().forward(x)


# %% chaff="unmerge guard inverted" exercise="MergeableLoRALinear" misconception="guard_inverted"
class LoRALinear(nn.Module):
    def __init__(self, base_layer, rank=4, alpha=1):
        super().__init__()
        self.base_layer = base_layer.requires_grad_(False)
        self.scaling = alpha / rank
        like = {"dtype": base_layer.weight.dtype, "device": base_layer.weight.device}
        self.lora_A = nn.Parameter(torch.randn(base_layer.in_features, rank, **like))
        self.lora_B = nn.Parameter(torch.zeros(rank, base_layer.out_features, **like))
    def forward(self, x):
        return self.base_layer(x) + self.scaling * (x @ self.lora_A) @ self.lora_B
def delta_weight(layer):
    return layer.scaling * (layer.lora_A @ layer.lora_B).T


class MergeableLoRALinear(LoRALinear):
    def __init__(self, base_layer, rank=4, alpha=1):
        super().__init__(base_layer, rank, alpha)
        self.merged = False
        self.kept = None
    def merge(self):
        if self.merged:
            return
        with torch.no_grad():
            self.kept = self.base_layer.weight.clone()
            self.base_layer.weight.add_(delta_weight(self))
        self.merged = True
    def unmerge(self):
        if self.merged:
            return
        with torch.no_grad():
            self.base_layer.weight.copy_(self.kept)
        self.merged = False
    def forward(self, x):
        if self.merged:
            return self.base_layer(x)
        return super().forward(x)


# %% chaff="flag set before guard" exercise="MergeableLoRALinear" misconception="nothing_added"
class LoRALinear(nn.Module):
    def __init__(self, base_layer, rank=4, alpha=1):
        super().__init__()
        self.base_layer = base_layer.requires_grad_(False)
        self.scaling = alpha / rank
        like = {"dtype": base_layer.weight.dtype, "device": base_layer.weight.device}
        self.lora_A = nn.Parameter(torch.randn(base_layer.in_features, rank, **like))
        self.lora_B = nn.Parameter(torch.zeros(rank, base_layer.out_features, **like))
    def forward(self, x):
        return self.base_layer(x) + self.scaling * (x @ self.lora_A) @ self.lora_B
def delta_weight(layer):
    return layer.scaling * (layer.lora_A @ layer.lora_B).T


class MergeableLoRALinear(LoRALinear):
    def __init__(self, base_layer, rank=4, alpha=1):
        super().__init__(base_layer, rank, alpha)
        self.merged = False
        self.kept = None
    def merge(self):
        self.merged = True
        if self.merged:
            return
        with torch.no_grad():
            self.kept = self.base_layer.weight.clone()
            self.base_layer.weight.add_(delta_weight(self))
        self.merged = True
    def unmerge(self):
        if not self.merged:
            return
        with torch.no_grad():
            self.base_layer.weight.copy_(self.kept)
        self.merged = False
    def forward(self, x):
        if self.merged:
            return self.base_layer(x)
        return super().forward(x)


# %% chaff="assert merged" exercise="MergeableLoRALinear" misconception="unmerge_refused"
class LoRALinear(nn.Module):
    def __init__(self, base_layer, rank=4, alpha=1):
        super().__init__()
        self.base_layer = base_layer.requires_grad_(False)
        self.scaling = alpha / rank
        like = {"dtype": base_layer.weight.dtype, "device": base_layer.weight.device}
        self.lora_A = nn.Parameter(torch.randn(base_layer.in_features, rank, **like))
        self.lora_B = nn.Parameter(torch.zeros(rank, base_layer.out_features, **like))
    def forward(self, x):
        return self.base_layer(x) + self.scaling * (x @ self.lora_A) @ self.lora_B
def delta_weight(layer):
    return layer.scaling * (layer.lora_A @ layer.lora_B).T


class MergeableLoRALinear(LoRALinear):
    def __init__(self, base_layer, rank=4, alpha=1):
        super().__init__(base_layer, rank, alpha)
        self.merged = False
        self.kept = None
    def merge(self):
        if self.merged:
            return
        with torch.no_grad():
            self.kept = self.base_layer.weight.clone()
            self.base_layer.weight.add_(delta_weight(self))
        self.merged = True
    def unmerge(self):
        assert self.merged
        with torch.no_grad():
            self.base_layer.weight.copy_(self.kept)
        self.merged = False
    def forward(self, x):
        if self.merged:
            return self.base_layer(x)
        return super().forward(x)


# %% chaff="delta scaled twice" exercise="MergeableLoRALinear" misconception="scaling_twice"
class LoRALinear(nn.Module):
    def __init__(self, base_layer, rank=4, alpha=1):
        super().__init__()
        self.base_layer = base_layer.requires_grad_(False)
        self.scaling = alpha / rank
        like = {"dtype": base_layer.weight.dtype, "device": base_layer.weight.device}
        self.lora_A = nn.Parameter(torch.randn(base_layer.in_features, rank, **like))
        self.lora_B = nn.Parameter(torch.zeros(rank, base_layer.out_features, **like))
    def forward(self, x):
        return self.base_layer(x) + self.scaling * (x @ self.lora_A) @ self.lora_B
def delta_weight(layer):
    return layer.scaling * (layer.lora_A @ layer.lora_B).T


class MergeableLoRALinear(LoRALinear):
    def __init__(self, base_layer, rank=4, alpha=1):
        super().__init__(base_layer, rank, alpha)
        self.merged = False
        self.kept = None
    def merge(self):
        if self.merged:
            return
        with torch.no_grad():
            self.kept = self.base_layer.weight.clone()
            self.base_layer.weight.add_(self.scaling * delta_weight(self))
        self.merged = True
    def unmerge(self):
        if not self.merged:
            return
        with torch.no_grad():
            self.base_layer.weight.copy_(self.kept)
        self.merged = False
    def forward(self, x):
        if self.merged:
            return self.base_layer(x)
        return super().forward(x)


# %% chaff="local variable rebinds" exercise="MergeableLoRALinear" misconception="nothing_added"
class LoRALinear(nn.Module):
    def __init__(self, base_layer, rank=4, alpha=1):
        super().__init__()
        self.base_layer = base_layer.requires_grad_(False)
        self.scaling = alpha / rank
        like = {"dtype": base_layer.weight.dtype, "device": base_layer.weight.device}
        self.lora_A = nn.Parameter(torch.randn(base_layer.in_features, rank, **like))
        self.lora_B = nn.Parameter(torch.zeros(rank, base_layer.out_features, **like))
    def forward(self, x):
        return self.base_layer(x) + self.scaling * (x @ self.lora_A) @ self.lora_B
def delta_weight(layer):
    return layer.scaling * (layer.lora_A @ layer.lora_B).T


class MergeableLoRALinear(LoRALinear):
    def __init__(self, base_layer, rank=4, alpha=1):
        super().__init__(base_layer, rank, alpha)
        self.merged = False
        self.kept = None
    def merge(self):
        if self.merged:
            return
        with torch.no_grad():
            self.kept = self.base_layer.weight.clone()
            w = self.base_layer.weight
            w = w + delta_weight(self)
        self.merged = True
    def unmerge(self):
        if not self.merged:
            return
        with torch.no_grad():
            self.base_layer.weight.copy_(self.kept)
        self.merged = False
    def forward(self, x):
        if self.merged:
            return self.base_layer(x)
        return super().forward(x)


# %% chaff="kept in half" exercise="MergeableLoRALinear" misconception="kept_in_a_smaller_dtype"
class LoRALinear(nn.Module):
    def __init__(self, base_layer, rank=4, alpha=1):
        super().__init__()
        self.base_layer = base_layer.requires_grad_(False)
        self.scaling = alpha / rank
        like = {"dtype": base_layer.weight.dtype, "device": base_layer.weight.device}
        self.lora_A = nn.Parameter(torch.randn(base_layer.in_features, rank, **like))
        self.lora_B = nn.Parameter(torch.zeros(rank, base_layer.out_features, **like))
    def forward(self, x):
        return self.base_layer(x) + self.scaling * (x @ self.lora_A) @ self.lora_B
def delta_weight(layer):
    return layer.scaling * (layer.lora_A @ layer.lora_B).T


class MergeableLoRALinear(LoRALinear):
    def __init__(self, base_layer, rank=4, alpha=1):
        super().__init__(base_layer, rank, alpha)
        self.merged = False
        self.kept = None
    def merge(self):
        if self.merged:
            return
        with torch.no_grad():
            self.kept = self.base_layer.weight.half()
            self.base_layer.weight.add_(delta_weight(self))
        self.merged = True
    def unmerge(self):
        if not self.merged:
            return
        with torch.no_grad():
            self.base_layer.weight.copy_(self.kept)
        self.merged = False
    def forward(self, x):
        if self.merged:
            return self.base_layer(x)
        return super().forward(x)


# %% chaff="kept only first time" exercise="MergeableLoRALinear" misconception="kept_too_early"
class LoRALinear(nn.Module):
    def __init__(self, base_layer, rank=4, alpha=1):
        super().__init__()
        self.base_layer = base_layer.requires_grad_(False)
        self.scaling = alpha / rank
        like = {"dtype": base_layer.weight.dtype, "device": base_layer.weight.device}
        self.lora_A = nn.Parameter(torch.randn(base_layer.in_features, rank, **like))
        self.lora_B = nn.Parameter(torch.zeros(rank, base_layer.out_features, **like))
    def forward(self, x):
        return self.base_layer(x) + self.scaling * (x @ self.lora_A) @ self.lora_B
def delta_weight(layer):
    return layer.scaling * (layer.lora_A @ layer.lora_B).T


class MergeableLoRALinear(LoRALinear):
    def __init__(self, base_layer, rank=4, alpha=1):
        super().__init__(base_layer, rank, alpha)
        self.merged = False
        self.kept = None
    def merge(self):
        if self.merged:
            return
        with torch.no_grad():
            if self.kept is None:
                self.kept = self.base_layer.weight.clone()
            self.base_layer.weight.add_(delta_weight(self))
        self.merged = True
    def unmerge(self):
        if not self.merged:
            return
        with torch.no_grad():
            self.base_layer.weight.copy_(self.kept)
        self.merged = False
    def forward(self, x):
        if self.merged:
            return self.base_layer(x)
        return super().forward(x)


# %% chaff="None in place of the adapters while merged" exercise="MergeableLoRALinear" misconception="trains_no_more"
class LoRALinear(nn.Module):
    def __init__(self, base_layer, rank=4, alpha=1):
        super().__init__()
        self.base_layer = base_layer.requires_grad_(False)
        self.scaling = alpha / rank
        like = {"dtype": base_layer.weight.dtype, "device": base_layer.weight.device}
        self.lora_A = nn.Parameter(torch.randn(base_layer.in_features, rank, **like))
        self.lora_B = nn.Parameter(torch.zeros(rank, base_layer.out_features, **like))
    def forward(self, x):
        return self.base_layer(x) + self.scaling * (x @ self.lora_A) @ self.lora_B
def delta_weight(layer):
    return layer.scaling * (layer.lora_A @ layer.lora_B).T


class MergeableLoRALinear(LoRALinear):
    def __init__(self, base_layer, rank=4, alpha=1):
        super().__init__(base_layer, rank, alpha)
        self.merged = False
        self.kept = None
    def merge(self):
        if self.merged:
            return
        with torch.no_grad():
            self.kept = self.base_layer.weight.clone()
            self.base_layer.weight.add_(delta_weight(self))
        self.lora_A = self.lora_B = None
        self.merged = True
    def unmerge(self):
        if not self.merged:
            return
        with torch.no_grad():
            self.base_layer.weight.copy_(self.kept)
        self.merged = False
    def forward(self, x):
        if self.merged:
            return self.base_layer(x)
        return super().forward(x)


# %% chaff="alpha is not handed on to the class above" exercise="MergeableLoRALinear" misconception="alpha_ignored"
class LoRALinear(nn.Module):
    def __init__(self, base_layer, rank=4, alpha=1):
        super().__init__()
        self.base_layer = base_layer.requires_grad_(False)
        self.scaling = alpha / rank
        like = {"dtype": base_layer.weight.dtype, "device": base_layer.weight.device}
        self.lora_A = nn.Parameter(torch.randn(base_layer.in_features, rank, **like))
        self.lora_B = nn.Parameter(torch.zeros(rank, base_layer.out_features, **like))
    def forward(self, x):
        return self.base_layer(x) + self.scaling * (x @ self.lora_A) @ self.lora_B
def delta_weight(layer):
    return layer.scaling * (layer.lora_A @ layer.lora_B).T


class MergeableLoRALinear(LoRALinear):
    def __init__(self, base_layer, rank=4, alpha=1):
        super().__init__(base_layer, rank)
        self.merged = False
        self.kept = None
    def merge(self):
        if self.merged:
            return
        with torch.no_grad():
            self.kept = self.base_layer.weight.clone()
            self.base_layer.weight.add_(delta_weight(self))
        self.merged = True
    def unmerge(self):
        if not self.merged:
            return
        with torch.no_grad():
            self.base_layer.weight.copy_(self.kept)
        self.merged = False
    def forward(self, x):
        if self.merged:
            return self.base_layer(x)
        return super().forward(x)


# %% chaff="the first result for every call" exercise="delta_weight" misconception="kept_between_calls"
kept = {}
def delta_weight(layer):
    if "d" not in kept:
        kept["d"] = layer.scaling * (layer.lora_A @ layer.lora_B).T
    return kept["d"]


# %% chaff="one result for each shape" exercise="delta_weight" misconception="kept_between_calls"
kept = {}
def delta_weight(layer):
    key = layer.lora_A.shape, layer.lora_B.shape
    if key not in kept:
        kept[key] = layer.scaling * (layer.lora_A @ layer.lora_B).T
    return kept[key]


# %% chaff="one result for each shape" exercise="merge" misconception="kept_between_calls"
import copy


def delta_weight(layer):
    return layer.scaling * (layer.lora_A @ layer.lora_B).T


kept = {}
def merge(layer):
    w = layer.base_layer.weight
    key = w.shape, w.dtype
    if key not in kept:
        new = copy.deepcopy(layer.base_layer)
        with torch.no_grad():
            new.weight.add_(delta_weight(layer))
        kept[key] = new
    return kept[key]


# %% chaff="the first result for every call" exercise="merge" misconception="kept_between_calls"
import copy


def delta_weight(layer):
    return layer.scaling * (layer.lora_A @ layer.lora_B).T


kept = []
def merge(layer):
    if not kept:
        new = copy.deepcopy(layer.base_layer)
        with torch.no_grad():
            new.weight.add_(delta_weight(layer))
        kept.append(new)
    return kept[0]


# %% chaff="bias zero" exercise="merge" misconception="bias_dropped"
def delta_weight(layer):
    return layer.scaling * (layer.lora_A @ layer.lora_B).T


def merge(layer):
    base = layer.base_layer
    new = nn.Linear(base.in_features, base.out_features, bias=base.bias is not None, dtype=base.weight.dtype)
    with torch.no_grad():
        new.weight.copy_(base.weight + delta_weight(layer))
        if base.bias is not None:
            new.bias.zero_()
    return new


# %% chaff="scaling twice" exercise="merge" misconception="scaling_twice"
import copy


def delta_weight(layer):
    return layer.scaling * (layer.lora_A @ layer.lora_B).T


def merge(layer):
    new = copy.deepcopy(layer.base_layer)
    with torch.no_grad():
        new.weight.add_(layer.scaling * delta_weight(layer))
    return new


# %% chaff="eval set on layer" exercise="merge" misconception="changed_layer"
import copy


def delta_weight(layer):
    return layer.scaling * (layer.lora_A @ layer.lora_B).T


def merge(layer):
    layer.eval()
    new = copy.deepcopy(layer.base_layer)
    with torch.no_grad():
        new.weight.add_(delta_weight(layer))
    return new


# %% chaff="a sparse tensor" exercise="delta_weight" misconception=""
def delta_weight(layer):
    return (layer.scaling * (layer.lora_A @ layer.lora_B).T).detach().to_sparse()


# %% chaff="deletes the adapter" exercise="merge" misconception="changed_layer"
import copy


def merge(layer):
    new = copy.deepcopy(layer.base_layer)
    new.weight.data += layer.scaling * (layer.lora_A @ layer.lora_B).T.data
    del layer.lora_A, layer.lora_B
    return new


# %% chaff="an attribute that the layer has not" exercise="delta_weight" misconception=""
def delta_weight(layer):
    return layer.alpha / layer.rank * (layer.lora_A @ layer.lora_B).T


# %% chaff="unmerge takes the flag down and nothing else" exercise="MergeableLoRALinear" misconception="kept_too_late"
class MergeableLoRALinear(nn.Module):
    def __init__(self, base_layer, rank=4, alpha=1):
        super().__init__()
        self.base_layer = base_layer.requires_grad_(False)
        like = {"dtype": base_layer.weight.dtype, "device": base_layer.weight.device}
        self.lora_A = nn.Parameter(torch.randn(base_layer.in_features, rank, **like))
        self.lora_B = nn.Parameter(torch.zeros(rank, base_layer.out_features, **like))
        self.scaling = alpha / rank
        self.merged = False

    @torch.no_grad()
    def merge(self):
        if not self.merged:
            self.base_layer.weight += self.scaling * (self.lora_A @ self.lora_B).T
            self.merged = True

    def unmerge(self):
        self.merged = False

    def forward(self, x):
        y = self.base_layer(x)
        return y if self.merged else y + self.scaling * (x @ self.lora_A @ self.lora_B)


# %% chaff="a tensor of the notebook, whatever the layer" exercise="delta_weight" misconception="same_every_call"
example = torch.linspace(-1, 1, 35).reshape(7, 5)
def delta_weight(layer):
    return example


# %% chaff="an nn.Linear of the notebook, whatever the layer" exercise="merge" misconception="same_every_call"
example = nn.Linear(5, 7)
def merge(layer):
    return example


# %% chaff="neither method looks at merged" exercise="MergeableLoRALinear" misconception="merged_twice"
class MergeableLoRALinear(nn.Module):
    def __init__(self, base_layer, rank=4, alpha=1):
        super().__init__()
        self.base_layer = base_layer.requires_grad_(False)
        self.scaling = alpha / rank
        d, k = base_layer.in_features, base_layer.out_features
        like = {"dtype": base_layer.weight.dtype, "device": base_layer.weight.device}
        self.lora_A = nn.Parameter(torch.randn(d, rank, **like) / d**0.5)
        self.lora_B = nn.Parameter(torch.zeros(rank, k, **like))
        self.merged = False

    def merge(self):
        with torch.no_grad():
            self.old = self.base_layer.weight.clone()
            self.base_layer.weight += (self.scaling * self.lora_A @ self.lora_B).T
        self.merged = True

    def unmerge(self):
        with torch.no_grad():
            self.base_layer.weight.copy_(self.old)
        self.merged = False

    def forward(self, x):
        if self.merged:
            return self.base_layer(x)
        return self.base_layer(x) + (self.scaling * (x @ self.lora_A)) @ self.lora_B


# %% chaff="B @ A, and no scaling" exercise="delta_weight" misconception="paper_order"
def delta_weight(layer):
    return layer.lora_B @ layer.lora_A


# %% chaff="each transposed, scaled twice" exercise="delta_weight" misconception="transposed_one_by_one"
def delta_weight(layer):
    A, B = layer.lora_A * layer.scaling, layer.lora_B * layer.scaling
    return A.T @ B.T


# %% chaff="the merged weight, and the product is not transposed" exercise="delta_weight" misconception="merged_weight"
def delta_weight(layer):
    delta = layer.scaling * (layer.lora_A @ layer.lora_B)
    return layer.base_layer.weight + delta


# %% chaff="not transposed, and divided by the rank again" exercise="delta_weight" misconception="no_transpose"
def delta_weight(layer):
    rank = layer.lora_A.shape[1]
    return layer.scaling / rank * (layer.lora_A @ layer.lora_B)


# %% chaff="only the delta, without its scaling" exercise="merge" misconception="delta_only"
def merge(layer):
    base = layer.base_layer
    linear = nn.Linear(base.in_features, base.out_features, bias=base.bias is not None, dtype=base.weight.dtype)
    linear.weight.data = (layer.lora_A @ layer.lora_B).T.detach()
    if base.bias is not None:
        linear.bias.data = base.bias.data.clone()
    return linear


# %% chaff="sizes the other way round, and the right weight assigned" exercise="merge" misconception="sizes_swapped"
def merge(layer):
    base = layer.base_layer
    linear = nn.Linear(base.out_features, base.in_features, bias=base.bias is not None, dtype=base.weight.dtype)
    linear.weight.data = (base.weight + layer.scaling * (layer.lora_A @ layer.lora_B).T).detach()
    if base.bias is not None:
        linear.bias.data = base.bias.data.clone()
    return linear


# %% chaff="into the base, and the new bias is left as it is made" exercise="merge" misconception="merged_into_the_base"
def merge(layer):
    base = layer.base_layer
    linear = nn.Linear(base.in_features, base.out_features, dtype=base.weight.dtype)
    with torch.no_grad():
        base.weight += layer.scaling * (layer.lora_A @ layer.lora_B).T
        linear.weight.copy_(base.weight)
    return linear


# %% wheat="made on meta, to_empty, load_state_dict" exercise="merge"
def merge(layer):
    base = layer.base_layer
    new = nn.Linear(base.in_features, base.out_features, bias=base.bias is not None, device="meta", dtype=base.weight.dtype).to_empty(device=base.weight.device)
    state = {k: v.detach().clone() for k, v in base.state_dict().items()}
    state["weight"] = state["weight"] + layer.scaling * torch.einsum("dr,rk->kd", layer.lora_A, layer.lora_B).detach()
    new.load_state_dict(state)
    return new


# %% wheat="skip_init and setattr" exercise="merge"
def merge(layer):
    base = layer.base_layer
    with torch.no_grad():
        values = {"weight": base.weight.add((layer.lora_A @ layer.lora_B).mT, alpha=layer.scaling), "bias": None if base.bias is None else base.bias.clone()}
    new = nn.utils.skip_init(nn.Linear, *base.weight.shape[::-1], bias=base.bias is not None, dtype=base.weight.dtype)
    for name, value in values.items():
        setattr(new, name, value if value is None else nn.Parameter(value))
    return new


# %% chaff="the bias is scaled too" exercise="merge" misconception=""
def merge(layer):
    b = layer.base_layer
    new = nn.Linear(b.in_features, b.out_features, bias=b.bias is not None, dtype=b.weight.dtype)
    with torch.no_grad():
        new.weight.copy_(b.weight + layer.scaling * (layer.lora_A @ layer.lora_B).T)
        if b.bias is not None: new.bias.copy_(layer.scaling * b.bias)
    return new


# %% wheat="a buffer that is empty while unmerged" exercise="MergeableLoRALinear"
class MergeableLoRALinear(nn.Module):
    def __init__(self, base_layer, rank=4, alpha=1):
        super().__init__()
        self.base_layer = base_layer.requires_grad_(False)
        w = base_layer.weight
        self.lora_A = nn.Parameter(torch.empty(w.shape[1], rank, dtype=w.dtype, device=w.device).normal_(std=0.05))
        self.lora_B = nn.Parameter(w.new_zeros(rank, w.shape[0]))
        self.scaling = alpha / rank
        self.register_buffer("saved", torch.empty(0), persistent=False)
    @property
    def merged(self):
        return self.saved.numel() > 0
    @torch.no_grad()
    def merge(self):
        if not self.merged:
            self.saved = self.base_layer.weight.clone()
            self.base_layer.weight.addmm_(self.lora_B.T, self.lora_A.T, alpha=self.scaling)
    @torch.no_grad()
    def unmerge(self):
        if self.merged:
            self.base_layer.weight.copy_(self.saved)
            self.saved = torch.empty(0)
    def forward(self, x):
        out = self.base_layer(x)
        return out if self.merged else out.add(x @ self.lora_A @ self.lora_B, alpha=self.scaling)
