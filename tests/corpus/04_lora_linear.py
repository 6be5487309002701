# Right answers in other styles (wheat) and wrong ones (chaff) for lesson 04; format: tests/corpus/README.md

# %% wheat="parameters, everything spelled out" exercise="LoRALinear"
class LoRALinear(nn.Module):
    def __init__(self, base_layer, rank=4, alpha=1):
        super().__init__()
        self.base_layer = base_layer
        for parameter in self.base_layer.parameters():
            parameter.requires_grad = False
        self.rank, self.alpha = rank, alpha
        self.scaling = alpha / rank
        weight = base_layer.weight
        d, k = base_layer.in_features, base_layer.out_features
        self.lora_A = nn.Parameter(torch.randn(d, rank, device=weight.device, dtype=weight.dtype) / d**0.5)
        self.lora_B = nn.Parameter(torch.zeros(rank, k, device=weight.device, dtype=weight.dtype))

    def forward(self, x):
        return self.base_layer(x) + (x @ self.lora_A) @ self.lora_B * self.scaling


# %% wheat="bias-free linears" exercise="LoRALinear"
class LoRALinear(nn.Module):
    def __init__(self, base_layer, rank=4, alpha=1):
        super().__init__()
        self.base_layer = base_layer.requires_grad_(False)
        self.scaling = alpha / rank
        like = dict(device=base_layer.weight.device, dtype=base_layer.weight.dtype)
        self.lora_A = nn.Linear(base_layer.in_features, rank, bias=False, **like)
        self.lora_B = nn.Linear(rank, base_layer.out_features, bias=False, **like)
        nn.init.normal_(self.lora_A.weight, std=0.02)
        nn.init.zeros_(self.lora_B.weight)

    def forward(self, x):
        return self.base_layer(x) + self.scaling * self.lora_B(self.lora_A(x))


# %% wheat="linears, Kaiming as nn.Linear does it, moved at the end" exercise="LoRALinear"
class LoRALinear(nn.Module):
    def __init__(self, base_layer, rank=4, alpha=1):
        super().__init__()
        self.base_layer = base_layer
        self.base_layer.requires_grad_(False)
        self.scaling = float(alpha) / float(rank)
        self.lora_A = nn.Linear(base_layer.in_features, rank, bias=False)
        self.lora_B = nn.Linear(rank, base_layer.out_features, bias=False)
        nn.init.kaiming_uniform_(self.lora_A.weight, a=math.sqrt(5))
        self.lora_B.weight.data.zero_()
        self.to(base_layer.weight)

    def forward(self, x):
        update = self.lora_B(self.lora_A(x))
        return self.base_layer(x) + update.mul(self.scaling)


# %% wheat="helper methods, new_empty, addmm on rows" exercise="LoRALinear"
class LoRALinear(nn.Module):
    def __init__(self, base_layer, rank=4, alpha=1):
        super().__init__()
        self.base_layer = base_layer
        self.scaling = alpha / rank
        self.lora_A = nn.Parameter(base_layer.weight.new_empty(base_layer.in_features, rank))
        self.lora_B = nn.Parameter(base_layer.weight.new_empty(rank, base_layer.out_features))
        self.freeze()
        self.reset_parameters()

    def freeze(self):
        self.base_layer.weight.requires_grad_(False)
        if self.base_layer.bias is not None:
            self.base_layer.bias.requires_grad_(False)

    def reset_parameters(self):
        with torch.no_grad():
            self.lora_A.normal_(0, 1)
            self.lora_B.fill_(0)

    def forward(self, x):
        rows = x.reshape(-1, x.shape[-1])
        out = torch.addmm(self.base_layer(rows), rows @ self.lora_A, self.lora_B, alpha=self.scaling)
        return out.view(*x.shape[:-1], -1) if x.numel() else out.new_zeros(*x.shape[:-1], out.shape[-1])


# %% wheat="functional, one merged weight a call" exercise="LoRALinear"
class LoRALinear(nn.Module):
    def __init__(self, base_layer: nn.Linear, rank: int = 4, alpha: float = 1.0):
        super().__init__()
        self.base_layer = base_layer
        for p in base_layer.parameters():
            p.requires_grad_(False)
        self.scaling = alpha / rank
        w = base_layer.weight
        self.register_parameter("lora_A", nn.Parameter(torch.normal(0.0, 0.5, (w.shape[1], rank)).to(w)))
        self.register_parameter("lora_B", nn.Parameter(torch.zeros((rank, w.shape[0])).to(w)))

    def forward(self, x):
        weight = self.base_layer.weight + self.scaling * (self.lora_A @ self.lora_B).T
        return torch.nn.functional.linear(x, weight, self.base_layer.bias)


# %% wheat="a given layer of the course's own, subclassed nn.Linear adapters" exercise="LoRALinear"
class Thin(nn.Linear):
    def __init__(self, n_in, n_out, like):
        super().__init__(n_in, n_out, bias=False, device=like.device, dtype=like.dtype)


class LoRALinear(nn.Module):
    def __init__(self, base_layer, rank=4, alpha=1):
        super().__init__()
        self.base_layer = base_layer
        self.lora_A = Thin(base_layer.in_features, rank, base_layer.weight)
        self.lora_B = Thin(rank, base_layer.out_features, base_layer.weight)
        self.scaling = alpha / rank
        nn.init.xavier_normal_(self.lora_A.weight)
        nn.init.constant_(self.lora_B.weight, 0.0)
        for name, p in self.named_parameters():
            p.requires_grad = name.startswith("lora_")

    def forward(self, x):
        h = self.base_layer(x)
        return h + self.lora_B(self.scaling * self.lora_A(x))


# %% chaff="A of the paper's orientation" exercise="lora_linear_forward" misconception="turned_round"
class LoRALinear(nn.Module):
    def __init__(self, base_layer, rank=4, alpha=1):
        super().__init__()
        self.base_layer = base_layer.requires_grad_(False)
        self.scaling = alpha / rank
        self.lora_A = nn.Parameter(torch.randn(rank, base_layer.in_features, dtype=base_layer.weight.dtype))
        self.lora_B = nn.Parameter(torch.zeros(base_layer.out_features, rank, dtype=base_layer.weight.dtype))

    def forward(self, x):
        return self.base_layer(x) + self.scaling * (x @ self.lora_A.T) @ self.lora_B.T


# %% chaff="square root of the rank" exercise="lora_linear_forward" misconception="root_of_rank"
class LoRALinear(nn.Module):
    def __init__(self, base_layer, rank=4, alpha=1):
        super().__init__()
        self.base_layer = base_layer.requires_grad_(False)
        self.scaling = alpha / rank**0.5
        self.lora_A = nn.Parameter(torch.randn(base_layer.in_features, rank, dtype=base_layer.weight.dtype))
        self.lora_B = nn.Parameter(torch.zeros(rank, base_layer.out_features, dtype=base_layer.weight.dtype))

    def forward(self, x):
        return self.base_layer(x) + self.scaling * (x @ self.lora_A) @ self.lora_B


# %% chaff="requires_grad set on the module" exercise="lora_linear_freeze" misconception="base_not_frozen"
class LoRALinear(nn.Module):
    def __init__(self, base_layer, rank=4, alpha=1):
        super().__init__()
        self.base_layer = base_layer
        self.base_layer.requires_grad = False
        self.scaling = alpha / rank
        self.lora_A = nn.Parameter(torch.randn(base_layer.in_features, rank))
        self.lora_B = nn.Parameter(torch.zeros(rank, base_layer.out_features))

    def forward(self, x):
        return self.base_layer(x) + self.scaling * (x @ self.lora_A) @ self.lora_B


# %% chaff="no module" exercise="lora_linear_init" misconception=""
class LoRALinear:
    def __init__(self, base_layer, rank=4, alpha=1):
        self.base_layer = base_layer


# %% chaff="rank of one, whatever was asked" exercise="lora_linear_init" misconception=""
class LoRALinear(nn.Module):
    def __init__(self, base_layer, rank=4, alpha=1):
        super().__init__()
        self.base_layer = base_layer.requires_grad_(False)
        self.scaling = alpha / rank
        self.lora_A = nn.Parameter(torch.randn(base_layer.in_features, 1))
        self.lora_B = nn.Parameter(torch.zeros(1, base_layer.out_features))

    def forward(self, x):
        return self.base_layer(x) + self.scaling * (x @ self.lora_A) @ self.lora_B


# %% chaff="makes new parameters at every call" exercise="lora_linear_forward" misconception="data_in_forward"
class LoRALinear(nn.Module):
    def __init__(self, base_layer, rank=4, alpha=1):
        super().__init__()
        self.base_layer = base_layer.requires_grad_(False)
        self.scaling = alpha / rank
        self.lora_A = nn.Parameter(torch.randn(base_layer.in_features, rank, dtype=base_layer.weight.dtype))
        self.lora_B = nn.Parameter(torch.zeros(rank, base_layer.out_features, dtype=base_layer.weight.dtype))

    def forward(self, x):
        a, b = nn.Parameter(self.lora_A.detach().clone()), nn.Parameter(self.lora_B.detach().clone())
        return self.base_layer(x) + self.scaling * (x @ a) @ b


# %% wheat="filter by prefix" exercise="leaked_parameters"
def leaked_parameters(layer):
    return [n for n, p in layer.named_parameters() if p.requires_grad and not n.startswith("lora_")]


# %% wheat="the base only, a set" exercise="leaked_parameters"
def leaked_parameters(layer):
    return {f"base_layer.{name}" for name, p in layer.base_layer.named_parameters() if p.requires_grad}


# %% wheat="by identity, a tuple" exercise="leaked_parameters"
def leaked_parameters(layer):
    adapters = set()
    for adapter in (layer.lora_A, layer.lora_B):
        adapters.update(id(p) for p in ([adapter] if isinstance(adapter, nn.Parameter) else adapter.parameters()))
    return tuple(name for name, p in layer.named_parameters() if p.requires_grad and id(p) not in adapters)


# %% wheat="a loop, and a dict's keys" exercise="leaked_parameters"
def leaked_parameters(layer):
    found = {}
    for name, parameter in layer.named_parameters():
        if parameter.requires_grad is True and "lora_" not in name:
            found[name] = parameter
    return found.keys()


# %% wheat="a generator, in reverse" exercise="leaked_parameters"
def leaked_parameters(layer):
    named = reversed(list(layer.named_parameters()))
    return (n for n, p in named if p.requires_grad and n.split(".")[0] not in ("lora_A", "lora_B"))


# %% chaff="one name as a string" exercise="leaked_parameters" misconception=""
def leaked_parameters(layer):
    return next((n for n, p in layer.named_parameters() if p.requires_grad and "lora" not in n), "")


# %% chaff="the parameters themselves" exercise="leaked_parameters" misconception=""
def leaked_parameters(layer):
    return [p for n, p in layer.named_parameters() if p.requires_grad and "lora" not in n]


# %% wheat="T" exercise="to_linear_weights"
def to_linear_weights(lora_A, lora_B):
    return lora_A.T, lora_B.T


# %% wheat="contiguous, a list" exercise="to_linear_weights"
def to_linear_weights(lora_A, lora_B):
    return [lora_A.transpose(0, 1).contiguous(), lora_B.transpose(0, 1).contiguous()]


# %% wheat="permute and clone" exercise="to_linear_weights"
def to_linear_weights(lora_A, lora_B):
    return lora_A.detach().permute(1, 0).clone(), lora_B.detach().permute(1, 0).clone()


# %% wheat="through nn.Linear" exercise="to_linear_weights"
def to_linear_weights(lora_A, lora_B):
    first = nn.Linear(*lora_A.shape, bias=False)
    second = nn.Linear(*lora_B.shape, bias=False)
    with torch.no_grad():
        first.weight.copy_(lora_A.t())
        second.weight.copy_(lora_B.t())
    return first.weight, second.weight


# %% wheat="einsum" exercise="to_linear_weights"
def to_linear_weights(lora_A, lora_B):
    return torch.einsum("dr->rd", lora_A), torch.einsum("rk->kr", lora_B)


# %% chaff="only A" exercise="to_linear_weights" misconception=""
def to_linear_weights(lora_A, lora_B):
    return lora_A.T
