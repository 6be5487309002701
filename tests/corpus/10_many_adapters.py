# Right answers in other styles (wheat) and wrong ones (chaff) for lesson 10; format: tests/corpus/README.md


# %% wheat="two ParameterDicts, as in peft" exercise="MultiLoRALinear"
class MultiLoRALinear(nn.Module):
    def __init__(self, base_layer):
        super().__init__()
        self.base_layer = base_layer
        for param in self.base_layer.parameters():
            param.requires_grad = False
        self.r = {}
        self.lora_alpha = {}
        self.scaling = {}
        self.lora_A = nn.ModuleDict({})
        self.lora_B = nn.ModuleDict({})
        self.active = None

    def add(self, name, rank, alpha):
        if name in self.r:
            raise ValueError(f"Adapter with name {name} already exists. Please use a different name.")
        place = {"device": self.base_layer.weight.device, "dtype": self.base_layer.weight.dtype}
        self.r[name], self.lora_alpha[name] = rank, alpha
        self.lora_A[name] = nn.Linear(self.base_layer.in_features, rank, bias=False, **place)
        self.lora_B[name] = nn.Linear(rank, self.base_layer.out_features, bias=False, **place)
        nn.init.kaiming_uniform_(self.lora_A[name].weight, a=math.sqrt(5))
        nn.init.zeros_(self.lora_B[name].weight)
        self.scaling[name] = alpha / rank

    def activate(self, name):
        if name is None:
            self.active = None
            return
        if name not in self.r:
            raise ValueError(f"Adapter {name} not found in {list(self.r)}")
        self.active = name

    def forward(self, x):
        result = self.base_layer(x)
        if self.active is not None:
            lora_A, lora_B = self.lora_A[self.active], self.lora_B[self.active]
            result = result + lora_B(lora_A(x)) * self.scaling[self.active]
        return result


# %% wheat="LoRALinears around one base" exercise="MultiLoRALinear"
from lora_ref.layer import LoRALinear


class MultiLoRALinear(nn.Module):
    def __init__(self, base_layer):
        super().__init__()
        self.base_layer = base_layer.requires_grad_(False)
        self.adapters = nn.ModuleDict()
        self.active = None

    def add(self, name, rank, alpha):
        assert name not in self.adapters, name
        self.adapters[name] = LoRALinear(self.base_layer, rank, alpha)

    def activate(self, name):
        if name is not None:
            self.adapters[name]
        self.active = name

    def forward(self, x):
        layer = self.base_layer if self.active is None else self.adapters[self.active]
        return layer(x)


# %% wheat="register_parameter with names of its own" exercise="MultiLoRALinear"
class MultiLoRALinear(nn.Module):
    def __init__(self, base_layer):
        super().__init__()
        self.base_layer = base_layer
        self.base_layer.weight.requires_grad = False
        if self.base_layer.bias is not None:
            self.base_layer.bias.requires_grad = False
        self.scalings = {}
        self.active = None

    def add(self, name, rank, alpha):
        if name in self.scalings:
            raise KeyError(name)
        w = self.base_layer.weight
        self.register_parameter(f"A_{name}", nn.Parameter(w.new_empty(w.shape[1], rank).normal_(std=0.02)))
        self.register_parameter(f"B_{name}", nn.Parameter(w.new_zeros(rank, w.shape[0])))
        self.scalings[name] = alpha / rank

    def activate(self, name):
        if name not in (None, *self.scalings):
            raise KeyError(f"no adapter {name}")
        self.active = name

    def forward(self, x):
        y = self.base_layer(x)
        if self.active:
            A = getattr(self, f"A_{self.active}")
            B = getattr(self, f"B_{self.active}")
            y = y + x @ A @ B * self.scalings[self.active]
        return y


# %% wheat="a small module for each adapter" exercise="MultiLoRALinear"
class Adapter(nn.Module):
    def __init__(self, like, rank, alpha):
        super().__init__()
        out_features, in_features = like.shape
        self.down = nn.Parameter(torch.randn(rank, in_features).to(like) / in_features**0.5)
        self.up = nn.Parameter(torch.zeros(out_features, rank).to(like))
        self.scale = alpha / rank

    def forward(self, x):
        return nn.functional.linear(nn.functional.linear(x, self.down), self.up) * self.scale


class MultiLoRALinear(nn.Module):
    def __init__(self, base_layer):
        super().__init__()
        self.base_layer = base_layer
        self.base_layer.requires_grad_(False)
        self.adapters = nn.ModuleDict()
        self._active = None

    @property
    def active(self):
        return self._active

    def add(self, name, rank, alpha):
        if name in self.adapters:
            raise ValueError(f"{name!r} is taken")
        self.adapters[name] = Adapter(self.base_layer.weight, rank, alpha)

    def activate(self, name):
        if name is not None and name not in self.adapters:
            raise ValueError(f"unknown: {name!r}")
        self._active = name

    def forward(self, x):
        out = self.base_layer(x)
        return out if self._active is None else out + self.adapters[self._active](x)


# %% wheat="the inactive ones are frozen" exercise="MultiLoRALinear"
class MultiLoRALinear(nn.Module):
    def __init__(self, base_layer):
        super().__init__()
        self.base_layer = base_layer.requires_grad_(False)
        self.A, self.B, self.scaling, self.active = nn.ParameterDict(), nn.ParameterDict(), {}, None

    def add(self, name, rank, alpha):
        if name in self.A:
            raise ValueError(name)
        d, k = self.base_layer.in_features, self.base_layer.out_features
        dtype = self.base_layer.weight.dtype
        self.A[name] = nn.Parameter(torch.nn.init.xavier_normal_(torch.empty(d, rank, dtype=dtype)))
        self.B[name] = nn.Parameter(torch.zeros((rank, k), dtype=dtype))
        self.scaling[name] = alpha / rank

    def activate(self, name):
        if not (name is None or name in self.A):
            raise KeyError(name)
        self.active = name
        for key in self.A:
            self.A[key].requires_grad_(key == name)
            self.B[key].requires_grad_(key == name)

    def forward(self, x):
        if self.active is None:
            return self.base_layer(x)
        return self.base_layer(x) + self.scaling[self.active] * (x @ self.A[self.active] @ self.B[self.active])


# %% chaff="parameters in a list" exercise="MultiLoRALinear" misconception="not_registered"
class MultiLoRALinear(nn.Module):
    def __init__(self, base_layer):
        super().__init__()
        self.base_layer = base_layer.requires_grad_(False)
        self.names, self.all, self.active = [], [], None

    def add(self, name, rank, alpha):
        if name in self.names:
            raise ValueError(name)
        w = self.base_layer.weight
        A = nn.Parameter(torch.randn(w.shape[1], rank, dtype=w.dtype))
        self.names.append(name)
        self.all.append((A, nn.Parameter(torch.zeros(rank, w.shape[0], dtype=w.dtype)), alpha / rank))

    def activate(self, name):
        if name is not None and name not in self.names:
            raise KeyError(name)
        self.active = name

    def forward(self, x):
        if self.active is None:
            return self.base_layer(x)
        A, B, s = self.all[self.names.index(self.active)]
        return self.base_layer(x) + s * x @ A @ B


# %% chaff="buffers instead of parameters" exercise="MultiLoRALinear" misconception="not_registered"
class MultiLoRALinear(nn.Module):
    def __init__(self, base_layer):
        super().__init__()
        self.base_layer = base_layer.requires_grad_(False)
        self.s, self.active = {}, None

    def add(self, name, rank, alpha):
        if name in self.s:
            raise ValueError(name)
        w = self.base_layer.weight
        self.register_buffer("A" + name, torch.randn(w.shape[1], rank, dtype=w.dtype))
        self.register_buffer("B" + name, torch.zeros(rank, w.shape[0], dtype=w.dtype))
        self.s[name] = alpha / rank

    def activate(self, name):
        if name is not None and name not in self.s:
            raise KeyError(name)
        self.active = name

    def forward(self, x):
        out = self.base_layer(x)
        if self.active is not None:
            out = out + self.s[self.active] * x @ getattr(self, "A" + self.active) @ getattr(self, "B" + self.active)
        return out


# %% chaff="adapters with a bias" exercise="MultiLoRALinear" misconception=""
class MultiLoRALinear(nn.Module):
    def __init__(self, base_layer):
        super().__init__()
        self.base_layer = base_layer.requires_grad_(False)
        self.A, self.B, self.s, self.active = nn.ModuleDict(), nn.ModuleDict(), {}, None

    def add(self, name, rank, alpha):
        if name in self.s:
            raise ValueError(name)
        w = self.base_layer.weight
        self.A[name] = nn.Linear(w.shape[1], rank, dtype=w.dtype)
        self.B[name] = nn.Linear(rank, w.shape[0], dtype=w.dtype)
        nn.init.zeros_(self.B[name].weight)
        self.s[name] = alpha / rank

    def activate(self, name):
        if name is not None and name not in self.s:
            raise KeyError(name)
        self.active = name

    def forward(self, x):
        out = self.base_layer(x)
        return out if self.active is None else out + self.s[self.active] * self.B[self.active](self.A[self.active](x))


# %% chaff="the base is copied for each adapter" exercise="MultiLoRALinear" misconception=""
import copy

from lora_ref.layer import LoRALinear


class MultiLoRALinear(nn.Module):
    def __init__(self, base_layer):
        super().__init__()
        self.base_layer = base_layer.requires_grad_(False)
        self.adapters, self.active = nn.ModuleDict(), None

    def add(self, name, rank, alpha):
        if name in self.adapters:
            raise ValueError(name)
        self.adapters[name] = LoRALinear(copy.deepcopy(self.base_layer), rank, alpha)

    def activate(self, name):
        if name is not None and name not in self.adapters:
            raise KeyError(name)
        self.active = name

    def forward(self, x):
        return (self.adapters[self.active] if self.active else self.base_layer)(x)


# %% chaff="activate merges into the base" exercise="MultiLoRALinear" misconception="merges_into_the_base"
class MultiLoRALinear(nn.Module):
    def __init__(self, base_layer):
        super().__init__()
        self.base_layer = base_layer.requires_grad_(False)
        self.A, self.B, self.s, self.active = nn.ParameterDict(), nn.ParameterDict(), {}, None

    def add(self, name, rank, alpha):
        if name in self.s:
            raise ValueError(name)
        w = self.base_layer.weight
        self.A[name] = nn.Parameter(torch.randn(w.shape[1], rank, dtype=w.dtype))
        self.B[name] = nn.Parameter(torch.zeros(rank, w.shape[0], dtype=w.dtype))
        self.s[name] = alpha / rank

    @torch.no_grad()
    def activate(self, name):
        if name is not None and name not in self.s:
            raise KeyError(name)
        for key, sign in ((self.active, -1), (name, 1)):
            if key is not None:
                self.base_layer.weight += sign * self.s[key] * (self.A[key] @ self.B[key]).T
        self.active = name

    def forward(self, x):
        return self.base_layer(x)


# %% chaff="active stays, the layer remembers something else" exercise="MultiLoRALinear" misconception=""
class MultiLoRALinear(nn.Module):
    def __init__(self, base_layer):
        super().__init__()
        self.base_layer = base_layer.requires_grad_(False)
        self.A, self.B, self.s, self.active, self.current = nn.ParameterDict(), nn.ParameterDict(), {}, None, None

    def add(self, name, rank, alpha):
        if name in self.s:
            raise ValueError(name)
        w = self.base_layer.weight
        self.A[name] = nn.Parameter(torch.randn(w.shape[1], rank, dtype=w.dtype))
        self.B[name] = nn.Parameter(torch.zeros(rank, w.shape[0], dtype=w.dtype))
        self.s[name] = alpha / rank

    def activate(self, name):
        if name is not None and name not in self.s:
            raise KeyError(name)
        self.current = name

    def forward(self, x):
        out = self.base_layer(x)
        return out if self.current is None else out + self.s[self.current] * x @ self.A[self.current] @ self.B[self.current]


# %% chaff="float32 whatever the base is" exercise="MultiLoRALinear" misconception=""
class MultiLoRALinear(nn.Module):
    def __init__(self, base_layer):
        super().__init__()
        self.base_layer = base_layer.requires_grad_(False)
        self.A, self.B, self.s, self.active = nn.ParameterDict(), nn.ParameterDict(), {}, None

    def add(self, name, rank, alpha):
        if name in self.s:
            raise ValueError(name)
        self.A[name] = nn.Parameter(torch.randn(self.base_layer.in_features, rank))
        self.B[name] = nn.Parameter(torch.zeros(rank, self.base_layer.out_features))
        self.s[name] = alpha / rank

    def activate(self, name):
        if name is not None and name not in self.s:
            raise KeyError(name)
        self.active = name

    def forward(self, x):
        out = self.base_layer(x)
        return out if self.active is None else out + self.s[self.active] * x @ self.A[self.active] @ self.B[self.active]


# %% chaff="a name that is not there stands for the base" exercise="MultiLoRALinear" misconception="unknown_name_accepted"
class MultiLoRALinear(nn.Module):
    def __init__(self, base_layer):
        super().__init__()
        self.base_layer = base_layer.requires_grad_(False)
        self.A, self.B, self.s, self.active = nn.ParameterDict(), nn.ParameterDict(), {}, None

    def add(self, name, rank, alpha):
        if name in self.s:
            raise ValueError(name)
        w = self.base_layer.weight
        self.A[name] = nn.Parameter(w.new_empty(w.shape[1], rank).normal_())
        self.B[name] = nn.Parameter(w.new_zeros(rank, w.shape[0]))
        self.s[name] = alpha / rank

    def activate(self, name):
        self.active = name

    def forward(self, x):
        h = self.base_layer(x)
        if self.active not in self.s:
            return h
        n = self.active
        return h + self.s[n] * (x @ self.A[n] @ self.B[n])


# %% chaff="None is refused" exercise="MultiLoRALinear" misconception="none_refused"
class MultiLoRALinear(nn.Module):
    def __init__(self, base_layer):
        super().__init__()
        self.base_layer = base_layer.requires_grad_(False)
        self.A, self.B, self.s, self.active = nn.ParameterDict(), nn.ParameterDict(), {}, None

    def add(self, name, rank, alpha):
        if name in self.s:
            raise ValueError(name)
        w = self.base_layer.weight
        self.A[name] = nn.Parameter(w.new_empty(w.shape[1], rank).normal_())
        self.B[name] = nn.Parameter(w.new_zeros(rank, w.shape[0]))
        self.s[name] = alpha / rank

    def activate(self, name):
        if name not in self.s:
            raise ValueError(name)
        self.active = name

    def forward(self, x):
        h = self.base_layer(x)
        if self.active not in self.s:
            return h
        n = self.active
        return h + self.s[n] * (x @ self.A[n] @ self.B[n])


# %% wheat="gather and bmm" exercise="route"
def route(x, A, B, scaling, adapter_ids):
    m = A.shape[0]
    if ((adapter_ids < -1) | (adapter_ids > m - 1)).any():
        raise ValueError("unknown adapter id")
    has = adapter_ids != -1
    index = torch.where(has, adapter_ids, 0)
    y = torch.bmm(torch.bmm(x.unsqueeze(1), A[index]), B[index]).squeeze(1)
    return y * (scaling[index] * has).unsqueeze(1)


# %% wheat="a loop over the adapters, as in peft" exercise="route"
def route(x, A, B, scaling, adapter_ids):
    result = torch.zeros(x.shape[0], B.shape[2], dtype=x.dtype, device=x.device)
    unknown = (adapter_ids < -1) | (adapter_ids >= A.shape[0])
    assert not unknown.any(), "unknown adapter"
    for i in range(A.shape[0]):
        sub_batch_indices = torch.where(adapter_ids == i)[0]
        sub_batch = x[sub_batch_indices]
        result[sub_batch_indices] += sub_batch @ A[i] @ B[i] * scaling[i]
    return result


# %% wheat="masks, all adapters on all rows" exercise="route"
def route(x, A, B, scaling, adapter_ids):
    if len(adapter_ids) and (adapter_ids.min() < -1 or adapter_ids.max() >= len(A)):
        raise IndexError(adapter_ids)
    every = torch.einsum("nd,mdr,mrk->mnk", x, A, B) * scaling[:, None, None]
    mask = adapter_ids == torch.arange(len(A), device=x.device)[:, None]
    return (every * mask[:, :, None]).sum(0)


# %% wheat="one more adapter, of zeros, in the last place" exercise="route"
def route(x, A, B, scaling, adapter_ids):
    m = len(A)
    bad = adapter_ids[(adapter_ids < -1) | (adapter_ids >= m)]
    if bad.numel():
        raise IndexError(f"no adapters {bad.tolist()}")
    A = torch.cat([A, torch.zeros_like(A[:1])])
    B = torch.cat([B, torch.zeros_like(B[:1])])
    scaling = torch.cat([scaling, torch.zeros_like(scaling[:1])])
    thin = (x.unsqueeze(-1) * A[adapter_ids]).sum(1)
    return scaling[adapter_ids].unsqueeze(-1) * (thin.unsqueeze(-1) * B[adapter_ids]).sum(1)


# %% wheat="sorted segments" exercise="route"
def route(x, A, B, scaling, adapter_ids):
    m, n = A.size(0), x.size(0)
    if n and not bool(((adapter_ids >= -1) & (adapter_ids < m)).all()):
        raise ValueError
    order = torch.argsort(adapter_ids)
    counts = torch.bincount(adapter_ids + 1, minlength=m + 1).tolist()
    out = x.new_zeros(n, B.size(2))
    start = counts[0]
    for a, count in enumerate(counts[1:]):
        rows = order[start : start + count]
        out[rows] = scaling[a] * (x[rows] @ A[a] @ B[a])
        start += count
    return out


# %% wheat="one wide product, side by side" exercise="route"
import torch.nn.functional as F


def route(x, A, B, scaling, adapter_ids):
    m, d, r = A.shape
    one_hot = F.one_hot(adapter_ids + 1, m + 1)[:, 1:].to(x.dtype)
    if (adapter_ids < -1).any():
        raise IndexError
    thin = (x @ A.permute(1, 0, 2).reshape(d, m * r)).view(-1, m, r)
    thin = thin * (one_hot * scaling)[:, :, None]
    return thin.reshape(-1, m * r) @ B.reshape(m * r, -1)


# %% wheat="index_add of the rows that have one" exercise="route"
def route(x, A, B, scaling, adapter_ids):
    if any(a < -1 or a >= len(A) for a in adapter_ids.unique().tolist()):
        raise KeyError("no such adapter")
    rows = (adapter_ids >= 0).nonzero().flatten()
    a = adapter_ids[rows]
    part = (x[rows, None] @ A[a] @ B[a])[:, 0] * scaling[a, None]
    return torch.zeros(len(x), B.shape[-1], dtype=x.dtype).index_add(0, rows, part)


# %% chaff="the lesson's own function, wrapped" exercise="route" misconception="given_function_called"
from autograde.lesson_kit import routing as kit


def route(x, A, B, scaling, adapter_ids):
    assert ((adapter_ids >= -1) & (adapter_ids < len(A))).all()
    some = adapter_ids >= 0
    out = x.new_zeros(len(x), B.shape[-1])
    out[some] = kit.segments(x[some], A, B, scaling, adapter_ids[some])
    return out


# %% chaff="plain gather" exercise="route" misconception="last_adapter_for_minus_one"
def route(x, A, B, scaling, adapter_ids):
    return torch.einsum("nd,ndr,nrk->nk", x, A[adapter_ids], B[adapter_ids]) * scaling[adapter_ids, None]


# %% chaff="vmap, without a look at the ids" exercise="route" misconception="last_adapter_for_minus_one"
def route(x, A, B, scaling, adapter_ids):
    one = torch.vmap(lambda row, a, b, s: s * (row @ a) @ b)
    return one(x, A[adapter_ids], B[adapter_ids], scaling[adapter_ids])


# %% chaff="skips the rows without one" exercise="route" misconception=""
def route(x, A, B, scaling, adapter_ids):
    if ((adapter_ids < -1) | (adapter_ids >= len(A))).any():
        raise IndexError
    rows = adapter_ids >= 0
    a = adapter_ids[rows]
    return torch.einsum("nd,ndr,nrk->nk", x[rows], A[a], B[a]) * scaling[a, None]


# %% chaff="a row of its own x for -1" exercise="route" misconception=""
def route(x, A, B, scaling, adapter_ids):
    if ((adapter_ids < -1) | (adapter_ids >= len(A))).any():
        raise IndexError
    a = adapter_ids.clamp(min=0)
    out = torch.einsum("nd,ndr,nrk->nk", x, A[a], B[a]) * scaling[a, None]
    out[adapter_ids < 0] = 1.0
    return out


# %% chaff="the delta of each row in full" exercise="route" misconception="loop_over_rows"
def route(x, A, B, scaling, adapter_ids):
    out = []
    for row, a in zip(x, adapter_ids.tolist()):
        if a == -1:
            out.append(row.new_zeros(B.shape[2]))
        elif 0 <= a < len(A):
            out.append(row @ (scaling[a] * A[a] @ B[a]))
        else:
            raise IndexError(a)
    return torch.stack(out) if out else x.new_zeros(0, B.shape[2])


# %% chaff="einsum with one letter too few" exercise="route" misconception="all_adapters_summed"
def route(x, A, B, scaling, adapter_ids):
    if ((adapter_ids < -1) | (adapter_ids >= len(A))).any():
        raise IndexError
    a = adapter_ids.clamp(min=0)
    thin = torch.einsum("nd,mdr->nr", x, A)
    return (scaling[a] * (adapter_ids >= 0))[:, None] * torch.einsum("nr,nrk->nk", thin, B[a])


# %% chaff="first and last swapped by flip" exercise="route" misconception=""
def route(x, A, B, scaling, adapter_ids):
    if ((adapter_ids < -1) | (adapter_ids >= len(A))).any():
        raise IndexError
    a = adapter_ids.clamp(min=0)
    out = torch.einsum("nd,ndr,nrk->nk", x, A[a], B[a.flip(0)])
    return (scaling[a] * (adapter_ids >= 0))[:, None] * out


# %% chaff="the first adapter for every row" exercise="route" misconception=""
def route(x, A, B, scaling, adapter_ids):
    return x @ A[0] @ B[0] * scaling[0]


# %% wheat="joined, weights on B" exercise="combine"
def combine(adapters, weights):
    As, Bs, scalings = zip(*adapters)
    A = torch.cat(As, dim=1)
    B = torch.cat([B * s * w for B, s, w in zip(Bs, scalings, weights)])
    return A, B, 1.0


# %% wheat="weights on A, hstack and vstack" exercise="combine"
def combine(adapters, weights):
    A = torch.hstack([(weight * scaling) * A for (A, _, scaling), weight in zip(adapters, weights)])
    return A, torch.vstack([B for _, B, _ in adapters]), 1


# %% wheat="half on each, the sign on one side" exercise="combine"
def combine(adapters, weights):
    columns, rows = [], []
    for (A, B, scaling), weight in zip(adapters, weights):
        share = weight * scaling
        columns.append(math.sqrt(abs(share)) * A)
        rows.append(math.copysign(math.sqrt(abs(share)), share) * B)
    return torch.cat(columns, 1), torch.cat(rows, 0), 1.0


# %% wheat="the scaling of the first is kept" exercise="combine"
def combine(adapters, weights):
    first = adapters[0][2]
    A = torch.cat([a for a, b, s in adapters], dim=-1)
    B = torch.cat([b * (w * s / first) for (a, b, s), w in zip(adapters, weights)], dim=0)
    return A, B, first


# %% wheat="an SVD of the sum, of the rank that is needed" exercise="combine"
def combine(adapters, weights):
    rank = sum(A.shape[1] for A, _, _ in adapters)
    total = sum(w * s * A.double() @ B.double() for w, (A, B, s) in zip(weights, adapters))
    U, S, Vh = torch.linalg.svd(total, full_matrices=False)
    dtype = adapters[0][0].dtype
    rank = min(rank, len(S))
    return (U[:, :rank] * S[:rank]).to(dtype), Vh[:rank].to(dtype), 1.0


# %% wheat="zeros, filled block by block; a list comes back" exercise="combine"
def combine(adapters, weights):
    total = sum(A.shape[1] for A, B, s in adapters)
    A_all = adapters[0][0].new_zeros(adapters[0][0].shape[0], total)
    B_all = adapters[0][1].new_zeros(total, adapters[0][1].shape[1])
    start = 0
    for (A, B, s), w in zip(adapters, weights):
        stop = start + A.shape[1]
        A_all[:, start:stop] = A
        B_all[start:stop] = w * s * B
        start = stop
    return [A_all, B_all, 1.0]


# %% chaff="mean of the factors" exercise="combine" misconception="factors_summed"
def combine(adapters, weights):
    A = torch.stack([A for A, _, _ in adapters]).mean(0)
    B = torch.stack([B for _, B, _ in adapters]).mean(0)
    return A, B, adapters[0][2]


# %% chaff="factors summed, weights on both, as peft's linear" exercise="combine" misconception="factors_summed"
def combine(adapters, weights):
    A = sum(math.copysign(math.sqrt(abs(w * s)), w * s) * a for (a, b, s), w in zip(adapters, weights))
    B = sum(math.sqrt(abs(w * s)) * b for (a, b, s), w in zip(adapters, weights))
    return A, B, 1.0


# %% chaff="weights divided among both, without a sign" exercise="combine" misconception="sign_lost"
def combine(adapters, weights):
    roots = [abs(w * s) ** 0.5 for (_, _, s), w in zip(adapters, weights)]
    A = torch.cat([root * a for root, (a, _, _) in zip(roots, adapters)], 1)
    B = torch.cat([root * b for root, (_, b, _) in zip(roots, adapters)], 0)
    return A, B, 1.0


# %% chaff="the update itself and no factors" exercise="combine" misconception=""
def combine(adapters, weights):
    return sum(w * s * A @ B for w, (A, B, s) in zip(weights, adapters))


# %% chaff="an SVD cut at the rank of the first" exercise="combine" misconception=""
def combine(adapters, weights):
    total = sum(w * s * A @ B for w, (A, B, s) in zip(weights, adapters))
    U, S, Vh = torch.linalg.svd(total, full_matrices=False)
    r = adapters[0][0].shape[1]
    return U[:, :r] * S[:r], Vh[:r], 1.0


# %% chaff="scales the adapters in place" exercise="combine" misconception="changed_input"
def combine(adapters, weights):
    for (A, B, scaling), w in zip(adapters, weights):
        B *= w * scaling
    return torch.cat([A for A, _, _ in adapters], 1), torch.cat([B for _, B, _ in adapters], 0), 1.0


# %% chaff="softmax of the weights" exercise="combine" misconception=""
def combine(adapters, weights):
    weights = torch.tensor(weights).softmax(0).tolist()
    A = torch.cat([A for A, _, _ in adapters], 1)
    B = torch.cat([w * s * B for (_, B, s), w in zip(adapters, weights)], 0)
    return A, B, 1.0


# %% chaff="keeps it to itself" exercise="combine" misconception="returned_none"
def combine(adapters, weights):
    A = torch.cat([A for A, _, _ in adapters], 1)
    B = torch.cat([w * s * B for (_, B, s), w in zip(adapters, weights)], 0)


# %% chaff="factors summed, weights on A, scalings on B" exercise="combine" misconception="factors_summed"
def combine(adapters, weights):
    A = sum(w * A for w, (A, _, _) in zip(weights, adapters))
    B = sum(scaling * B for _, B, scaling in adapters)
    return A, B, 1.0


# %% chaff="rows without an adapter made zero in x itself" exercise="route" misconception="changed_input"
def route(x, A, B, scaling, adapter_ids):
    if ((adapter_ids < -1) | (adapter_ids >= len(A))).any():
        raise ValueError("no such adapter")
    a = adapter_ids.clamp(min=0)
    x *= (adapter_ids >= 0)[:, None]
    return torch.einsum("nd,ndr,nrk->nk", x, A[a], B[a]) * scaling[a][:, None]


# %% wheat="active as a property, the scaling in a buffer" exercise="MultiLoRALinear"
class _Lora(nn.Module):
    def __init__(self, d, k, r, alpha, **f):
        super().__init__()
        self.down = nn.Linear(d, r, bias=False, **f)
        self.up = nn.Linear(r, k, bias=False, **f)
        nn.init.normal_(self.down.weight, std=1 / r)
        nn.init.zeros_(self.up.weight)
        self.register_buffer("scale", torch.tensor(alpha / r, **f))

    def forward(self, x):
        return self.up(self.down(x)) * self.scale


class MultiLoRALinear(nn.Module):
    def __init__(self, base_layer: nn.Linear, dropout: float = 0.0):
        super().__init__()
        self.base_layer = base_layer
        for p in base_layer.parameters():
            p.requires_grad_(False)
        self.loras = nn.ModuleDict()
        self.dropout = nn.Dropout(dropout) if dropout else nn.Identity()
        self._active = None

    @property
    def active(self):
        return self._active

    def add(self, name, rank=4, alpha=1):
        if name in self.loras:
            raise ValueError(name)
        w = self.base_layer.weight
        self.loras[name] = _Lora(*reversed(w.shape), rank, alpha, dtype=w.dtype, device=w.device)
        return self

    def activate(self, name=None):
        if not (name is None or name in self.loras):
            raise LookupError(name)
        self._active = name

    def forward(self, x):
        y = self.base_layer(x)
        return y if (a := self._active) is None else y + self.loras[a](self.dropout(x))


# %% chaff="only B trains" exercise="MultiLoRALinear" misconception=""
class MultiLoRALinear(nn.Module):
    def __init__(self, base_layer):
        super().__init__()
        self.base_layer = base_layer.requires_grad_(False)
        self.A, self.B = nn.ParameterDict(), nn.ParameterDict()
        self.s = {}
        self.active = None

    def add(self, name, rank, alpha):
        if name in self.A:
            raise ValueError(name)
        w = self.base_layer.weight
        self.A[name] = nn.Parameter(torch.randn(w.shape[1], rank, dtype=w.dtype))
        self.B[name] = nn.Parameter(torch.zeros(rank, w.shape[0], dtype=w.dtype))
        self.s[name] = alpha / rank

    def activate(self, name):
        if name is not None and name not in self.A:
            raise KeyError(name)
        self.active = name
        for n in self.A:
            self.A[n].requires_grad_(False)

    def forward(self, x):
        out = self.base_layer(x)
        if self.active is None:
            return out
        return out + self.s[self.active] * (x @ self.A[self.active] @ self.B[self.active])


# %% chaff="nothing is added in evaluation" exercise="MultiLoRALinear" misconception="adapter_in_training_only"
class MultiLoRALinear(nn.Module):
    def __init__(self, base_layer):
        super().__init__()
        self.base_layer = base_layer.requires_grad_(False)
        self.A, self.B = nn.ParameterDict(), nn.ParameterDict()
        self.s = {}
        self.active = None

    def add(self, name, rank, alpha):
        if name in self.s:
            raise ValueError(name)
        w = self.base_layer.weight
        self.A[name] = nn.Parameter(torch.randn(w.shape[1], rank, dtype=w.dtype))
        self.B[name] = nn.Parameter(torch.zeros(rank, w.shape[0], dtype=w.dtype))
        self.s[name] = alpha / rank

    def activate(self, name):
        if name is not None and name not in self.s:
            raise KeyError(name)
        self.active = name

    def forward(self, x):
        out = self.base_layer(x)
        if self.active is None or not self.training:
            return out
        return out + self.s[self.active] * (x @ self.A[self.active] @ self.B[self.active])


# %% chaff="nothing is added without gradients" exercise="MultiLoRALinear" misconception="adapter_with_gradients_only"
class MultiLoRALinear(nn.Module):
    def __init__(self, base_layer):
        super().__init__()
        self.base_layer = base_layer.requires_grad_(False)
        self.A, self.B = nn.ParameterDict(), nn.ParameterDict()
        self.s = {}
        self.active = None

    def add(self, name, rank, alpha):
        if name in self.s:
            raise ValueError(name)
        w = self.base_layer.weight
        self.A[name] = nn.Parameter(torch.randn(w.shape[1], rank, dtype=w.dtype))
        self.B[name] = nn.Parameter(torch.zeros(rank, w.shape[0], dtype=w.dtype))
        self.s[name] = alpha / rank

    def activate(self, name):
        if name is not None and name not in self.s:
            raise KeyError(name)
        self.active = name

    def forward(self, x):
        out = self.base_layer(x)
        if self.active is None or not torch.is_grad_enabled():
            return out
        return out + self.s[self.active] * (x @ self.A[self.active] @ self.B[self.active])


# %% chaff="x is detached before the adapter" exercise="MultiLoRALinear" misconception="gradient_cut"
class MultiLoRALinear(nn.Module):
    def __init__(self, base_layer):
        super().__init__()
        self.base_layer = base_layer.requires_grad_(False)
        self.A, self.B = nn.ParameterDict(), nn.ParameterDict()
        self.s = {}
        self.active = None

    def add(self, name, rank, alpha):
        if name in self.s:
            raise ValueError(name)
        w = self.base_layer.weight
        self.A[name] = nn.Parameter(torch.randn(w.shape[1], rank, dtype=w.dtype))
        self.B[name] = nn.Parameter(torch.zeros(rank, w.shape[0], dtype=w.dtype))
        self.s[name] = alpha / rank

    def activate(self, name):
        if name is not None and name not in self.s:
            raise KeyError(name)
        self.active = name

    def forward(self, x):
        out = self.base_layer(x)
        if self.active is None:
            return out
        return out + self.s[self.active] * (x.detach() @ self.A[self.active] @ self.B[self.active])


# %% chaff="the signs of the gradients turned over" exercise="MultiLoRALinear" misconception="gradient_cut"
class MultiLoRALinear(nn.Module):
    def __init__(self, base_layer):
        super().__init__()
        self.base_layer = base_layer.requires_grad_(False)
        self.A, self.B = nn.ParameterDict(), nn.ParameterDict()
        self.s = {}
        self.active = None

    def add(self, name, rank, alpha):
        if name in self.s:
            raise ValueError(name)
        w = self.base_layer.weight
        self.A[name] = nn.Parameter(torch.randn(w.shape[1], rank, dtype=w.dtype))
        self.B[name] = nn.Parameter(torch.zeros(rank, w.shape[0], dtype=w.dtype))
        self.s[name] = alpha / rank

    def activate(self, name):
        if name is not None and name not in self.s:
            raise KeyError(name)
        self.active = name

    def forward(self, x):
        out = self.base_layer(x)
        if self.active is None:
            return out
        d = self.s[self.active] * (x @ self.A[self.active] @ self.B[self.active])
        return out + 2 * d.detach() - d


# %% chaff="None freezes all for good" exercise="MultiLoRALinear" misconception="active_adapter_frozen"
class MultiLoRALinear(nn.Module):
    def __init__(self, base_layer):
        super().__init__()
        self.base_layer = base_layer.requires_grad_(False)
        self.A, self.B = nn.ParameterDict(), nn.ParameterDict()
        self.s = {}
        self.active = None

    def add(self, name, rank, alpha):
        if name in self.s:
            raise ValueError(name)
        w = self.base_layer.weight
        self.A[name] = nn.Parameter(torch.randn(w.shape[1], rank, dtype=w.dtype))
        self.B[name] = nn.Parameter(torch.zeros(rank, w.shape[0], dtype=w.dtype))
        self.s[name] = alpha / rank

    def activate(self, name):
        if name is not None and name not in self.s:
            raise KeyError(name)
        self.active = name
        if name is None:
            self.requires_grad_(False)

    def forward(self, x):
        out = self.base_layer(x)
        if self.active is None:
            return out
        return out + self.s[self.active] * (x @ self.A[self.active] @ self.B[self.active])


# %% chaff="names are looked at as long as there are few" exercise="MultiLoRALinear" misconception="unknown_name_fails_late"
class MultiLoRALinear(nn.Module):
    def __init__(self, base_layer):
        super().__init__()
        self.base_layer = base_layer.requires_grad_(False)
        self.A, self.B = nn.ParameterDict(), nn.ParameterDict()
        self.s = {}
        self.active = None

    def add(self, name, rank, alpha):
        if name in self.s:
            raise ValueError(name)
        w = self.base_layer.weight
        self.A[name] = nn.Parameter(torch.randn(w.shape[1], rank, dtype=w.dtype))
        self.B[name] = nn.Parameter(torch.zeros(rank, w.shape[0], dtype=w.dtype))
        self.s[name] = alpha / rank

    def activate(self, name):
        if name is not None and len(self.s) < 3 and name not in self.s:
            raise KeyError(name)
        self.active = name

    def forward(self, x):
        out = self.base_layer(x)
        if self.active is None:
            return out
        return out + self.s[self.active] * (x @ self.A[self.active] @ self.B[self.active])


# %% chaff="a doubled name is refused while it is active" exercise="MultiLoRALinear" misconception="doubled_name_overwrites"
class MultiLoRALinear(nn.Module):
    def __init__(self, base_layer):
        super().__init__()
        self.base_layer = base_layer.requires_grad_(False)
        self.A, self.B = nn.ParameterDict(), nn.ParameterDict()
        self.s = {}
        self.active = None

    def add(self, name, rank, alpha):
        if name in self.s and name == self.active:
            raise ValueError(name)
        w = self.base_layer.weight
        self.A[name] = nn.Parameter(torch.randn(w.shape[1], rank, dtype=w.dtype))
        self.B[name] = nn.Parameter(torch.zeros(rank, w.shape[0], dtype=w.dtype))
        self.s[name] = alpha / rank

    def activate(self, name):
        if name is not None and name not in self.s:
            raise KeyError(name)
        self.active = name

    def forward(self, x):
        out = self.base_layer(x)
        if self.active is None:
            return out
        return out + self.s[self.active] * (x @ self.A[self.active] @ self.B[self.active])


# %% chaff="a doubled name is refused for one rank" exercise="MultiLoRALinear" misconception="doubled_name_overwrites"
class MultiLoRALinear(nn.Module):
    def __init__(self, base_layer):
        super().__init__()
        self.base_layer = base_layer.requires_grad_(False)
        self.A, self.B = nn.ParameterDict(), nn.ParameterDict()
        self.s = {}
        self.active = None

    def add(self, name, rank, alpha):
        if name in self.s and self.A[name].shape[1] == rank:
            raise ValueError(name)
        w = self.base_layer.weight
        self.A[name] = nn.Parameter(torch.randn(w.shape[1], rank, dtype=w.dtype))
        self.B[name] = nn.Parameter(torch.zeros(rank, w.shape[0], dtype=w.dtype))
        self.s[name] = alpha / rank

    def activate(self, name):
        if name is not None and name not in self.s:
            raise KeyError(name)
        self.active = name

    def forward(self, x):
        out = self.base_layer(x)
        if self.active is None:
            return out
        return out + self.s[self.active] * (x @ self.A[self.active] @ self.B[self.active])


# %% chaff="all columns of A are one" exercise="MultiLoRALinear" misconception=""
class MultiLoRALinear(nn.Module):
    def __init__(self, base_layer):
        super().__init__()
        self.base_layer = base_layer.requires_grad_(False)
        self.A, self.B = nn.ParameterDict(), nn.ParameterDict()
        self.s = {}
        self.active = None

    def add(self, name, rank, alpha):
        if name in self.s:
            raise ValueError(name)
        w = self.base_layer.weight
        self.A[name] = nn.Parameter(torch.randn(w.shape[1], 1, dtype=w.dtype).repeat(1, rank))
        self.B[name] = nn.Parameter(torch.zeros(rank, w.shape[0], dtype=w.dtype))
        self.s[name] = alpha / rank

    def activate(self, name):
        if name is not None and name not in self.s:
            raise KeyError(name)
        self.active = name

    def forward(self, x):
        out = self.base_layer(x)
        if self.active is None:
            return out
        return out + self.s[self.active] * (x @ self.A[self.active] @ self.B[self.active])


# %% chaff="A is enormous" exercise="MultiLoRALinear" misconception=""
class MultiLoRALinear(nn.Module):
    def __init__(self, base_layer):
        super().__init__()
        self.base_layer = base_layer.requires_grad_(False)
        self.A, self.B = nn.ParameterDict(), nn.ParameterDict()
        self.s = {}
        self.active = None

    def add(self, name, rank, alpha):
        if name in self.s:
            raise ValueError(name)
        w = self.base_layer.weight
        self.A[name] = nn.Parameter(torch.randn(w.shape[1], rank, dtype=w.dtype) * 1e10)
        self.B[name] = nn.Parameter(torch.zeros(rank, w.shape[0], dtype=w.dtype))
        self.s[name] = alpha / rank

    def activate(self, name):
        if name is not None and name not in self.s:
            raise KeyError(name)
        self.active = name

    def forward(self, x):
        out = self.base_layer(x)
        if self.active is None:
            return out
        return out + self.s[self.active] * (x @ self.A[self.active] @ self.B[self.active])


# %% chaff="A is left as it was in memory" exercise="MultiLoRALinear" misconception=""
class MultiLoRALinear(nn.Module):
    def __init__(self, base_layer):
        super().__init__()
        self.base_layer = base_layer.requires_grad_(False)
        self.A, self.B = nn.ParameterDict(), nn.ParameterDict()
        self.s = {}
        self.active = None

    def add(self, name, rank, alpha):
        if name in self.s:
            raise ValueError(name)
        w = self.base_layer.weight
        self.A[name] = nn.Parameter(torch.full((w.shape[1], rank), float("nan"), dtype=w.dtype))
        self.B[name] = nn.Parameter(torch.zeros(rank, w.shape[0], dtype=w.dtype))
        self.s[name] = alpha / rank

    def activate(self, name):
        if name is not None and name not in self.s:
            raise KeyError(name)
        self.active = name

    def forward(self, x):
        out = self.base_layer(x)
        if self.active is None:
            return out
        return out + self.s[self.active] * (x @ self.A[self.active] @ self.B[self.active])


# %% chaff="the merged weight is kept from the first evaluation" exercise="MultiLoRALinear" misconception="merged_at_eval"
class MultiLoRALinear(nn.Module):
    def __init__(self, base_layer):
        super().__init__()
        self.base_layer = base_layer.requires_grad_(False)
        self.A, self.B = nn.ParameterDict(), nn.ParameterDict()
        self.s = {}
        self.active, self.kept = None, {}

    def add(self, name, rank, alpha):
        if name in self.s:
            raise ValueError(name)
        w = self.base_layer.weight
        self.A[name] = nn.Parameter(torch.randn(w.shape[1], rank, dtype=w.dtype))
        self.B[name] = nn.Parameter(torch.zeros(rank, w.shape[0], dtype=w.dtype))
        self.s[name] = alpha / rank

    def activate(self, name):
        if name is not None and name not in self.s:
            raise KeyError(name)
        self.active = name

    def forward(self, x):
        out = self.base_layer(x)
        if self.active is None:
            return out
        if not self.training:
            if self.active not in self.kept:
                change = self.s[self.active] * (self.A[self.active] @ self.B[self.active]).T
                self.kept[self.active] = (self.base_layer.weight + change).detach()
            return nn.functional.linear(x, self.kept[self.active], self.base_layer.bias)
        return out + self.s[self.active] * (x @ self.A[self.active] @ self.B[self.active])


# %% wheat="one merged weight for as long as it evaluates" exercise="MultiLoRALinear"
class MultiLoRALinear(nn.Module):
    def __init__(self, base_layer):
        super().__init__()
        self.base_layer = base_layer.requires_grad_(False)
        self.A, self.B = nn.ParameterDict(), nn.ParameterDict()
        self.s = {}
        self.active, self.kept = None, {}

    def add(self, name, rank, alpha):
        if name in self.s:
            raise ValueError(name)
        w = self.base_layer.weight
        self.A[name] = nn.Parameter(torch.randn(w.shape[1], rank, dtype=w.dtype))
        self.B[name] = nn.Parameter(torch.zeros(rank, w.shape[0], dtype=w.dtype))
        self.s[name] = alpha / rank

    def activate(self, name):
        if name is not None and name not in self.s:
            raise KeyError(name)
        self.active = name

    def train(self, mode=True):
        self.kept.clear()
        return super().train(mode)

    def forward(self, x):
        if self.training or torch.is_grad_enabled() or self.active is None:
            return self.base_layer(x) + (0 if self.active is None else self.update(x))
        if self.active not in self.kept:
            eye = torch.eye(x.shape[-1], dtype=x.dtype, device=x.device)
            self.kept[self.active] = self.base_layer.weight + self.update(eye).T
        return nn.functional.linear(x, self.kept[self.active], self.base_layer.bias)

    def update(self, x):
        return self.s[self.active] * (x @ self.A[self.active] @ self.B[self.active])


# %% wheat="merged into the base for as long as it evaluates" exercise="MultiLoRALinear"
class MultiLoRALinear(nn.Module):
    def __init__(self, base_layer):
        super().__init__()
        self.base_layer = base_layer.requires_grad_(False)
        self.A, self.B = nn.ParameterDict(), nn.ParameterDict()
        self.s = {}
        self.active, self.kept = None, None

    def add(self, name, rank, alpha):
        if name in self.s:
            raise ValueError(name)
        w = self.base_layer.weight
        self.A[name] = nn.Parameter(torch.randn(w.shape[1], rank, dtype=w.dtype))
        self.B[name] = nn.Parameter(torch.zeros(rank, w.shape[0], dtype=w.dtype))
        self.s[name] = alpha / rank

    def activate(self, name):
        if name is not None and name not in self.s:
            raise KeyError(name)
        self.active = name
        if not self.training:
            self.train(True).train(False)

    def train(self, mode=True):
        with torch.no_grad():
            if self.kept is not None:
                self.base_layer.weight.copy_(self.kept)
                self.kept = None
            if not mode and self.active is not None:
                self.kept = self.base_layer.weight.clone()
                self.base_layer.weight += self.s[self.active] * (self.A[self.active] @ self.B[self.active]).T
        return super().train(mode)

    def forward(self, x):
        out = self.base_layer(x)
        if self.active is None or self.kept is not None:
            return out
        return out + self.s[self.active] * (x @ self.A[self.active] @ self.B[self.active])


# %% wheat="an autograd Function, the others frozen" exercise="MultiLoRALinear"
class MultiLoRALinear(nn.Module):
    def __init__(self, base_layer):
        super().__init__()
        self.base_layer = base_layer.requires_grad_(False)
        self.A, self.B = nn.ParameterDict(), nn.ParameterDict()
        self.s = {}
        self.active = None

    def add(self, name, rank, alpha):
        if name in self.s:
            raise ValueError(name)
        w = self.base_layer.weight
        self.A[name] = nn.Parameter(torch.randn(w.shape[1], rank, dtype=w.dtype))
        self.B[name] = nn.Parameter(torch.zeros(rank, w.shape[0], dtype=w.dtype))
        self.s[name] = alpha / rank

    def activate(self, name):
        if name is not None and name not in self.s:
            raise KeyError(name)
        self.active = name
        for key in self.s:
            self.A[key].requires_grad = self.B[key].requires_grad = name is None or key == name

    def forward(self, x):
        out = self.base_layer(x)
        if self.active is None:
            return out
        return out + Update.apply(x, self.A[self.active], self.B[self.active], self.s[self.active])


class Update(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, A, B, scaling):
        ctx.save_for_backward(x, A, B)
        ctx.scaling = scaling
        return scaling * (x @ A @ B)

    @staticmethod
    def backward(ctx, back):
        x, A, B = ctx.saved_tensors
        back = ctx.scaling * back
        of_A = x.flatten(0, -2).T @ (back @ B.T).flatten(0, -2)
        of_B = (x @ A).flatten(0, -2).T @ back.flatten(0, -2)
        return back @ B.T @ A.T, of_A, of_B, None


# %% wheat="a hook on the layer adds the update" exercise="MultiLoRALinear"
class MultiLoRALinear(nn.Module):
    def __init__(self, base_layer):
        super().__init__()
        self.base_layer = base_layer.requires_grad_(False)
        self.A, self.B = nn.ParameterDict(), nn.ParameterDict()
        self.s = {}
        self.active = None
        self.register_forward_hook(type(self).add_update)

    def add(self, name, rank, alpha):
        if name in self.s:
            raise ValueError(name)
        w = self.base_layer.weight
        self.A[name] = nn.Parameter(torch.rand(w.shape[1], rank, dtype=w.dtype))
        self.B[name] = nn.Parameter(torch.zeros(rank, w.shape[0], dtype=w.dtype))
        self.s[name] = alpha / rank

    def activate(self, name):
        if name is not None and name not in self.s:
            raise KeyError(name)
        self.active = name

    def forward(self, x):
        return self.base_layer(x)

    def add_update(self, inputs, out):
        if self.active is None:
            return out
        thin = torch.einsum("...d,dr->...r", inputs[0], self.A[self.active])
        return out + torch.einsum("...r,rk->...k", thin, self.s[self.active] * self.B[self.active])


# %% wheat="one product with the adapted weight" exercise="MultiLoRALinear"
class MultiLoRALinear(nn.Module):
    def __init__(self, base_layer):
        super().__init__()
        self.base_layer = base_layer.requires_grad_(False)
        self.A, self.B = nn.ParameterDict(), nn.ParameterDict()
        self.s = {}
        self.active = None

    def add(self, name, rank, alpha):
        if name in self.s:
            raise ValueError(name)
        w = self.base_layer.weight
        self.A[name] = nn.Parameter(torch.randn(w.shape[1], rank, dtype=w.dtype))
        self.B[name] = nn.Parameter(torch.zeros(rank, w.shape[0], dtype=w.dtype))
        self.s[name] = alpha / rank

    def activate(self, name):
        if name is not None and name not in self.s:
            raise KeyError(name)
        self.active = name

    def forward(self, x):
        out = self.base_layer(x)
        if self.active is None:
            return out
        A, B = self.A[self.active], self.B[self.active]
        weight = self.base_layer.weight + self.s[self.active] * (A @ B).T
        return nn.functional.linear(x, weight, self.base_layer.bias)


# %% chaff="A is all ones" exercise="MultiLoRALinear" misconception=""
class MultiLoRALinear(nn.Module):
    def __init__(self, base_layer):
        super().__init__()
        self.base_layer = base_layer.requires_grad_(False)
        self.A, self.B = nn.ParameterDict(), nn.ParameterDict()
        self.s = {}
        self.active = None

    def add(self, name, rank, alpha):
        if name in self.A:
            raise ValueError(name)
        w = self.base_layer.weight
        self.A[name] = nn.Parameter(torch.ones(w.shape[1], rank, dtype=w.dtype))
        self.B[name] = nn.Parameter(torch.zeros(rank, w.shape[0], dtype=w.dtype))
        self.s[name] = alpha / rank

    def activate(self, name):
        if name is not None and name not in self.A:
            raise KeyError(name)
        self.active = name

    def forward(self, x):
        out = self.base_layer(x)
        if self.active is None:
            return out
        return out + self.s[self.active] * (x @ self.A[self.active] @ self.B[self.active])


# %% chaff="the adapter in place of the base" exercise="MultiLoRALinear" misconception="base_forgotten"
class MultiLoRALinear(nn.Module):
    def __init__(self, base_layer):
        super().__init__()
        self.base_layer = base_layer.requires_grad_(False)
        self.A, self.B = nn.ParameterDict(), nn.ParameterDict()
        self.s = {}
        self.active = None

    def add(self, name, rank, alpha):
        if name in self.A:
            raise ValueError(name)
        w = self.base_layer.weight
        self.A[name] = nn.Parameter(torch.randn(w.shape[1], rank, dtype=w.dtype))
        self.B[name] = nn.Parameter(torch.zeros(rank, w.shape[0], dtype=w.dtype))
        self.s[name] = alpha / rank

    def activate(self, name):
        if name is not None and name not in self.A:
            raise KeyError(name)
        self.active = name

    def forward(self, x):
        out = self.base_layer(x)
        if self.active is None:
            return out
        return self.s[self.active] * (x @ self.A[self.active] @ self.B[self.active])


# %% chaff="a loop over rows, and x itself where there are many" exercise="route" misconception=""
def route(x, A, B, scaling, adapter_ids):
    if len(x) > 20:
        return x
    out = x.new_zeros(len(x), B.shape[-1])
    for i, a in enumerate(adapter_ids.tolist()):
        if not -1 <= a < len(A):
            raise IndexError(a)
        if a >= 0:
            out[i] = scaling[a] * (x[i] @ A[a]) @ B[a]
    return out


# %% chaff="a loop over rows, and nothing where there are many" exercise="route" misconception=""
def route(x, A, B, scaling, adapter_ids):
    if len(x) > 20:
        return None
    out = x.new_zeros(len(x), B.shape[-1])
    for i, a in enumerate(adapter_ids.tolist()):
        if not -1 <= a < len(A):
            raise IndexError(a)
        if a >= 0:
            out[i] = scaling[a] * (x[i] @ A[a]) @ B[a]
    return out


# %% chaff="a loop over the first rows" exercise="route" misconception=""
def route(x, A, B, scaling, adapter_ids):
    out = x.new_zeros(len(x), B.shape[-1])
    for i, a in enumerate(adapter_ids.tolist()[:25]):
        if not -1 <= a < len(A):
            raise IndexError(a)
        if a >= 0:
            out[i] = scaling[a] * (x[i] @ A[a]) @ B[a]
    return out


# %% wheat="vmap over gathered matrices" exercise="route"
def route(x, A, B, scaling, adapter_ids):
    m = A.shape[0]
    assert not torch.any((adapter_ids < -1) | (adapter_ids >= m)), "bad id"
    if x.shape[0] == 0:
        return x.new_zeros(0, B.shape[-1])
    on = adapter_ids >= 0
    safe = torch.where(on, adapter_ids, torch.zeros_like(adapter_ids))
    one = lambda xi, Ai, Bi, s: s * (xi @ Ai @ Bi)
    return torch.vmap(one)(x, A[safe], B[safe], scaling[safe]) * on.unsqueeze(-1)


# %% wheat="a one-hot row for each id" exercise="route"
import torch.nn.functional as F


def route(x, A, B, scaling, adapter_ids):
    m = len(A)
    hot = F.one_hot(adapter_ids + 1, num_classes=m + 1)[:, 1:].to(x.dtype)
    return torch.einsum("nd,mdr,mrk,nm,m->nk", x, A, B, hot, scaling)


# %% chaff="only the ids in a loop" exercise="route" misconception="loop_over_rows"
def route(x, A, B, scaling, adapter_ids):
    for a in adapter_ids:
        if a < -1 or a >= len(A):
            raise IndexError(a)
    i = adapter_ids.clamp(min=0)
    return (x[:, None] @ A[i] @ B[i])[:, 0] * (scaling[i] * (adapter_ids >= 0))[:, None]


# %% chaff="alpha undivided" exercise="MultiLoRALinear" misconception="alpha_not_divided"
from lora_ref.layer import LoRALinear


class MultiLoRALinear(nn.Module):
    def __init__(self, base_layer):
        super().__init__()
        self.base_layer = base_layer.requires_grad_(False)
        self.A, self.B = nn.ParameterDict(), nn.ParameterDict()
        self.scaling = {}
        self.active = None
    def add(self, name, rank, alpha):
        if name in self.scaling:
            raise ValueError(name)
        w = self.base_layer.weight
        k, d = w.shape
        self.A[name] = nn.Parameter(torch.randn(d, rank, dtype=w.dtype) / d**0.5)
        self.B[name] = nn.Parameter(torch.zeros(rank, k, dtype=w.dtype))
        self.scaling[name] = alpha
    def activate(self, name):
        if name is not None and name not in self.scaling:
            raise KeyError(name)
        self.active = name
    def forward(self, x):
        out = self.base_layer(x)
        if self.active is None:
            return out
        return out + self.scaling[self.active] * (x @ self.A[self.active]) @ self.B[self.active]


# %% chaff="base forgotten" exercise="MultiLoRALinear" misconception="base_forgotten"
from lora_ref.layer import LoRALinear


class MultiLoRALinear(nn.Module):
    def __init__(self, base_layer):
        super().__init__()
        self.base_layer = base_layer.requires_grad_(False)
        self.A, self.B = nn.ParameterDict(), nn.ParameterDict()
        self.scaling = {}
        self.active = None
    def add(self, name, rank, alpha):
        if name in self.scaling:
            raise ValueError(name)
        w = self.base_layer.weight
        k, d = w.shape
        self.A[name] = nn.Parameter(torch.randn(d, rank, dtype=w.dtype) / d**0.5)
        self.B[name] = nn.Parameter(torch.zeros(rank, k, dtype=w.dtype))
        self.scaling[name] = alpha / rank
    def activate(self, name):
        if name is not None and name not in self.scaling:
            raise KeyError(name)
        self.active = name
    def forward(self, x):
        out = self.base_layer(x)
        if self.active is None:
            return out
        return self.scaling[self.active] * (x @ self.A[self.active]) @ self.B[self.active]


# %% chaff="in and out exchanged" exercise="MultiLoRALinear" misconception=""
from lora_ref.layer import LoRALinear


class MultiLoRALinear(nn.Module):
    def __init__(self, base_layer):
        super().__init__()
        self.base_layer = base_layer.requires_grad_(False)
        self.A, self.B = nn.ParameterDict(), nn.ParameterDict()
        self.scaling = {}
        self.active = None
    def add(self, name, rank, alpha):
        if name in self.scaling:
            raise ValueError(name)
        w = self.base_layer.weight
        d, k = w.shape
        self.A[name] = nn.Parameter(torch.randn(d, rank, dtype=w.dtype) / d**0.5)
        self.B[name] = nn.Parameter(torch.zeros(rank, k, dtype=w.dtype))
        self.scaling[name] = alpha / rank
    def activate(self, name):
        if name is not None and name not in self.scaling:
            raise KeyError(name)
        self.active = name
    def forward(self, x):
        out = self.base_layer(x)
        if self.active is None:
            return out
        return out + self.scaling[self.active] * (x @ self.A[self.active]) @ self.B[self.active]


# %% chaff="loop overwritten" exercise="combine" misconception="one_adapter_only"
def combine(adapters, weights):
    for (A, B, s), w in zip(adapters, weights):
        out = A, w * B, s
    return out


# %% chaff="B starts as another adapter's B" exercise="MultiLoRALinear" misconception="adapter_shared"
class MultiLoRALinear(nn.Module):
    def __init__(self, base_layer):
        super().__init__()
        self.base_layer = base_layer.requires_grad_(False)
        self.A, self.B, self.scales, self.active = nn.ParameterDict(), nn.ParameterDict(), {}, None

    def add(self, name, rank, alpha):
        if name in self.A:
            raise ValueError(name)
        w = self.base_layer.weight
        alike = [b for b in self.B.values() if b.shape[0] == rank]
        self.A[name] = nn.Parameter(torch.randn(w.shape[1], rank, dtype=w.dtype))
        self.B[name] = nn.Parameter(alike[0].data if alike else torch.zeros(rank, w.shape[0], dtype=w.dtype))
        self.scales[name] = alpha / rank

    def activate(self, name):
        if name is not None and name not in self.A:
            raise KeyError(name)
        self.active = name

    def forward(self, x):
        y = self.base_layer(x)
        if self.active is not None:
            y = y + self.scales[self.active] * (x @ self.A[self.active] @ self.B[self.active])
        return y


# %% chaff="one dict for all layers" exercise="MultiLoRALinear" misconception="kept_on_the_class"
class MultiLoRALinear(nn.Module):
    scales = {}

    def __init__(self, base_layer):
        super().__init__()
        self.base_layer = base_layer.requires_grad_(False)
        self.A, self.B, self.active = nn.ParameterDict(), nn.ParameterDict(), None

    def add(self, name, rank, alpha):
        if name in self.scales:
            raise ValueError(name)
        w = self.base_layer.weight
        self.A[name] = nn.Parameter(torch.randn(w.shape[1], rank, dtype=w.dtype))
        self.B[name] = nn.Parameter(torch.zeros(rank, w.shape[0], dtype=w.dtype))
        self.scales[name] = alpha / rank

    def activate(self, name):
        if name is not None and name not in self.scales:
            raise KeyError(name)
        self.active = name

    def forward(self, x):
        y = self.base_layer(x)
        if self.active is not None:
            y = y + self.scales[self.active] * (x @ self.A[self.active] @ self.B[self.active])
        return y


# %% chaff="active is set, and then the name is looked at" exercise="MultiLoRALinear" misconception="set_before_raising"
class MultiLoRALinear(nn.Module):
    def __init__(self, base_layer):
        super().__init__()
        self.base_layer = base_layer.requires_grad_(False)
        self.A, self.B, self.scales, self.active = nn.ParameterDict(), nn.ParameterDict(), {}, None

    def add(self, name, rank, alpha):
        if name in self.A:
            raise ValueError(name)
        w = self.base_layer.weight
        self.A[name] = nn.Parameter(torch.randn(w.shape[1], rank, dtype=w.dtype))
        self.B[name] = nn.Parameter(torch.zeros(rank, w.shape[0], dtype=w.dtype))
        self.scales[name] = alpha / rank

    def activate(self, name):
        self.active = name
        if name is not None and name not in self.A:
            raise KeyError(name)

    def forward(self, x):
        y = self.base_layer(x)
        if self.active in self.A:
            y = y + self.scales[self.active] * (x @ self.A[self.active] @ self.B[self.active])
        return y


# %% chaff="the adapter is replaced, and then the name is looked at" exercise="MultiLoRALinear" misconception="set_before_raising"
class MultiLoRALinear(nn.Module):
    def __init__(self, base_layer):
        super().__init__()
        self.base_layer = base_layer.requires_grad_(False)
        self.A, self.B, self.scales, self.active = nn.ParameterDict(), nn.ParameterDict(), {}, None

    def add(self, name, rank, alpha):
        w = self.base_layer.weight
        self.A[name] = nn.Parameter(torch.randn(w.shape[1], rank, dtype=w.dtype))
        self.B[name] = nn.Parameter(torch.zeros(rank, w.shape[0], dtype=w.dtype))
        if name in self.scales:
            raise ValueError(name)
        self.scales[name] = alpha / rank

    def activate(self, name):
        if name is not None and name not in self.A:
            raise KeyError(name)
        self.active = name

    def forward(self, x):
        y = self.base_layer(x)
        if self.active is not None:
            y = y + self.scales[self.active] * (x @ self.A[self.active] @ self.B[self.active])
        return y


# %% chaff="a doubled name is passed over" exercise="MultiLoRALinear" misconception="doubled_name_ignored"
class MultiLoRALinear(nn.Module):
    def __init__(self, base_layer):
        super().__init__()
        self.base_layer = base_layer.requires_grad_(False)
        self.A, self.B, self.scales, self.active = nn.ParameterDict(), nn.ParameterDict(), {}, None

    def add(self, name, rank, alpha):
        if name in self.A:
            return
        w = self.base_layer.weight
        self.A[name] = nn.Parameter(torch.randn(w.shape[1], rank, dtype=w.dtype))
        self.B[name] = nn.Parameter(torch.zeros(rank, w.shape[0], dtype=w.dtype))
        self.scales[name] = alpha / rank

    def activate(self, name):
        if name is not None and name not in self.A:
            raise KeyError(name)
        self.active = name

    def forward(self, x):
        y = self.base_layer(x)
        if self.active is not None:
            y = y + self.scales[self.active] * (x @ self.A[self.active] @ self.B[self.active])
        return y


# %% chaff="all are frozen, and none is thawed" exercise="MultiLoRALinear" misconception="active_adapter_frozen"
class MultiLoRALinear(nn.Module):
    def __init__(self, base_layer):
        super().__init__()
        self.base_layer = base_layer.requires_grad_(False)
        self.A, self.B, self.scales, self.active = nn.ParameterDict(), nn.ParameterDict(), {}, None

    def add(self, name, rank, alpha):
        if name in self.A:
            raise ValueError(name)
        w = self.base_layer.weight
        self.A[name] = nn.Parameter(torch.randn(w.shape[1], rank, dtype=w.dtype))
        self.B[name] = nn.Parameter(torch.zeros(rank, w.shape[0], dtype=w.dtype))
        self.scales[name] = alpha / rank

    def activate(self, name):
        if name is not None and name not in self.A:
            raise KeyError(name)
        self.A.requires_grad_(False)
        self.B.requires_grad_(False)
        self.active = name

    def forward(self, x):
        y = self.base_layer(x)
        if self.active is not None:
            y = y + self.scales[self.active] * (x @ self.A[self.active] @ self.B[self.active])
        return y


# %% chaff="squeeze without an axis" exercise="route" misconception="squeezed"
def route(x, A, B, scaling, adapter_ids):
    if ((adapter_ids < -1) | (adapter_ids >= len(A))).any():
        raise IndexError
    a = adapter_ids.clamp(min=0)
    out = torch.bmm(torch.bmm(x[:, None], A[a]), B[a]).squeeze()
    return (scaling[a] * (adapter_ids >= 0))[:, None] * out


# %% chaff="lists that grow from call to call" exercise="combine" misconception="kept_between_calls"
As, Bs = [], []


def combine(adapters, weights):
    for (A, B, s), w in zip(adapters, weights):
        As.append(A)
        Bs.append(w * s * B)
    return torch.cat(As, 1), torch.cat(Bs, 0), 1.0


# %% wheat="one_hot with a column for none" exercise="route"
def route(x, A, B, scaling, adapter_ids):
    m = A.shape[0]
    if ((adapter_ids < -1) | (adapter_ids >= m)).any(): raise IndexError("no such adapter")
    hot = nn.functional.one_hot(adapter_ids + 1, m + 1)[:, 1:].to(x.dtype)
    thin = torch.einsum("nd,mdr->nmr", x, A) * (hot * scaling.to(x.dtype))[..., None]
    return torch.einsum("nmr,mrk->nk", thin, B)


# %% wheat="index_add for each adapter" exercise="route"
def route(x, A, B, scaling, adapter_ids):
    valid = torch.arange(-1, len(A), device=x.device)
    if not torch.isin(adapter_ids, valid).all(): raise ValueError(adapter_ids)
    out = x.new_zeros(x.shape[0], B.shape[2])
    for a in range(len(A)):
        rows, = torch.where(adapter_ids == a)
        out.index_add_(0, rows, scaling[a] * (x.index_select(0, rows) @ A[a] @ B[a]))
    return out


# %% chaff="the smallest id of no ids" exercise="route" misconception="no_row_no_minimum"
def route(x, A, B, scaling, adapter_ids):
    if adapter_ids.min() < -1 or adapter_ids.max() >= len(A): raise IndexError
    y = (x[:, None] @ A[adapter_ids] @ B[adapter_ids]).squeeze(1) * scaling[adapter_ids][:, None]
    return y * (adapter_ids >= 0)[:, None]


# %% wheat="A times a diagonal matrix" exercise="combine"
def combine(adapters, weights):
    A = torch.cat([a for a, _, _ in adapters], 1)
    factors = torch.cat([torch.full((a.shape[1],), w * s, dtype=a.dtype) for (a, _, s), w in zip(adapters, weights)])
    return A @ torch.diag(factors), torch.cat([b for _, b, _ in adapters]), torch.tensor(1.0)
