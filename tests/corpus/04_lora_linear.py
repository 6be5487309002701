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


# %% wheat="a ParameterDict behind properties" exercise="LoRALinear"
class LoRALinear(nn.Module):
    def __init__(self, base_layer, rank=4, alpha=1):
        super().__init__()
        self.base_layer = base_layer
        for parameter in base_layer.parameters():
            parameter.requires_grad_(False)
        w = base_layer.weight
        A, B = w.new_empty(w.shape[1], rank).normal_(std=1 / rank), w.new_zeros(rank, w.shape[0])
        self.adapters = nn.ParameterDict({"A": nn.Parameter(A), "B": nn.Parameter(B)})
        self.alpha, self.rank = alpha, rank

    lora_A = property(lambda self: self.adapters["A"])
    lora_B = property(lambda self: self.adapters["B"])

    @property
    def scaling(self):
        return self.alpha / self.rank

    def forward(self, x):
        return self.base_layer(x).add((x @ self.lora_A) @ self.lora_B, alpha=self.scaling)


# %% wheat="an nn.Sequential of two Linears, named by properties" exercise="LoRALinear"
class LoRALinear(nn.Module):
    def __init__(self, base_layer, rank=4, alpha=1):
        super().__init__()
        self.base_layer = base_layer.requires_grad_(False)
        like = dict(bias=False, dtype=base_layer.weight.dtype, device=base_layer.weight.device)
        down = nn.Linear(base_layer.in_features, rank, **like)
        up = nn.Linear(rank, base_layer.out_features, **like)
        with torch.no_grad():
            down.weight.normal_(0, 0.01)
            up.weight.zero_()
        self.path = nn.Sequential(down, up)
        self.scaling = alpha / rank

    @property
    def lora_A(self):
        return self.path[0]

    @property
    def lora_B(self):
        return self.path[1]

    def forward(self, x):
        return self.base_layer(x) + self.scaling * self.path(x)


# %% wheat="the scaling a float32 buffer, whatever the base's dtype" exercise="LoRALinear"
class LoRALinear(nn.Module):
    def __init__(self, base_layer, rank=4, alpha=1):
        super().__init__()
        self.base_layer = base_layer.requires_grad_(False)
        w = base_layer.weight
        self.register_buffer("scaling", torch.tensor(alpha / rank))
        self.lora_A = nn.Parameter(nn.init.xavier_uniform_(w.new_empty(w.shape[1], rank)))
        self.lora_B = nn.Parameter(w.new_zeros(rank, w.shape[0]))

    def forward(self, x):
        return self.base_layer(x) + self.scaling * (x @ self.lora_A) @ self.lora_B


# %% wheat="A as wide as the base's weight" exercise="LoRALinear"
class LoRALinear(nn.Module):
    def __init__(self, base_layer, rank=4, alpha=1):
        super().__init__()
        self.base_layer = base_layer.requires_grad_(False)
        w = base_layer.weight
        self.lora_A = nn.Parameter(torch.randn(w.shape[1], rank).to(w) * max(w.std().item(), 1e-2))
        self.lora_B = nn.Parameter(torch.zeros_like(w[:, :1].T.expand(rank, -1)))
        self.scaling = alpha / rank

    def forward(self, x):
        return self.base_layer(x) + torch.einsum("...d,dr,rk->...k", x, self.lora_A, self.lora_B) * self.scaling


# %% wheat="an nn.Linear that shares the base's Parameters" exercise="LoRALinear"
class LoRALinear(nn.Linear):
    def __init__(self, base_layer, rank=4, alpha=1):
        super().__init__(base_layer.in_features, base_layer.out_features, base_layer.bias is not None, device="meta")
        self.base_layer = base_layer.requires_grad_(False)
        self.weight, self.bias = base_layer.weight, base_layer.bias
        like = {"dtype": base_layer.weight.dtype, "device": base_layer.weight.device}
        self.lora_A = nn.Parameter(nn.init.trunc_normal_(torch.empty(self.in_features, rank, **like), std=0.02))
        self.lora_B = nn.Parameter(torch.zeros(rank, self.out_features, **like))
        self.scaling = alpha / rank

    def forward(self, x):
        return super().forward(x) + (x @ self.lora_A @ self.lora_B) * self.scaling


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


# %% chaff="forward thaws the base" exercise="lora_linear_freeze" misconception="base_thawed_later"
class LoRALinear(nn.Module):
    def __init__(self, base_layer, rank=4, alpha=1):
        super().__init__()
        self.base_layer = base_layer.requires_grad_(False)
        self.scaling = alpha / rank
        like = {"dtype": base_layer.weight.dtype, "device": base_layer.weight.device}
        self.lora_A = nn.Parameter(torch.randn(base_layer.in_features, rank, **like))
        self.lora_B = nn.Parameter(torch.zeros(rank, base_layer.out_features, **like))

    def forward(self, x):
        self.base_layer.requires_grad_(True)
        return self.base_layer(x) + self.scaling * (x @ self.lora_A) @ self.lora_B


# %% chaff="train() thaws all parameters" exercise="lora_linear_freeze" misconception="base_thawed_later"
class LoRALinear(nn.Module):
    def __init__(self, base_layer, rank=4, alpha=1):
        super().__init__()
        self.base_layer = base_layer.requires_grad_(False)
        self.scaling = alpha / rank
        like = {"dtype": base_layer.weight.dtype, "device": base_layer.weight.device}
        self.lora_A = nn.Parameter(torch.randn(base_layer.in_features, rank, **like))
        self.lora_B = nn.Parameter(torch.zeros(rank, base_layer.out_features, **like))

    def train(self, mode=True):
        self.requires_grad_(mode)
        return super().train(mode)

    def forward(self, x):
        return self.base_layer(x) + self.scaling * (x @ self.lora_A) @ self.lora_B


# %% wheat="train() freezes the base once more, eval() everything" exercise="LoRALinear"
class LoRALinear(nn.Module):
    def __init__(self, base_layer, rank=4, alpha=1):
        super().__init__()
        self.base_layer = base_layer.requires_grad_(False)
        self.scaling = alpha / rank
        like = {"dtype": base_layer.weight.dtype, "device": base_layer.weight.device}
        self.lora_A = nn.Parameter(torch.randn(base_layer.in_features, rank, **like))
        self.lora_B = nn.Parameter(torch.zeros(rank, base_layer.out_features, **like))

    def train(self, mode=True):
        super().train(mode)
        self.requires_grad_(mode)
        self.base_layer.requires_grad_(False)
        return self

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


# %% chaff="B tiny" exercise="lora_linear_init" misconception="both_random"
class LoRALinear(nn.Module):
    def __init__(self, base_layer, rank=4, alpha=1):
        super().__init__()
        self.base_layer = base_layer.requires_grad_(False)
        self.scaling = alpha / rank
        like = {"dtype": base_layer.weight.dtype, "device": base_layer.weight.device}
        d, k = base_layer.in_features, base_layer.out_features
        self.lora_A = nn.Parameter(torch.randn(d, rank, **like) / d**0.5)
        self.lora_B = nn.Parameter(torch.randn(rank, k, **like) * 1e-8)

    def forward(self, x):
        return self.base_layer(x) + self.scaling * (x @ self.lora_A) @ self.lora_B


# %% chaff="B a small constant" exercise="lora_linear_init" misconception=""
class LoRALinear(nn.Module):
    def __init__(self, base_layer, rank=4, alpha=1):
        super().__init__()
        self.base_layer = base_layer.requires_grad_(False)
        self.scaling = alpha / rank
        like = {"dtype": base_layer.weight.dtype, "device": base_layer.weight.device}
        d, k = base_layer.in_features, base_layer.out_features
        self.lora_A = nn.Parameter(torch.randn(d, rank, **like) / d**0.5)
        self.lora_B = nn.Parameter(torch.full((rank, k), 1e-6, **like))

    def forward(self, x):
        return self.base_layer(x) + self.scaling * (x @ self.lora_A) @ self.lora_B


# %% chaff="one random column, repeated" exercise="lora_linear_init" misconception=""
class LoRALinear(nn.Module):
    def __init__(self, base_layer, rank=4, alpha=1):
        super().__init__()
        self.base_layer = base_layer.requires_grad_(False)
        self.scaling = alpha / rank
        like = {"dtype": base_layer.weight.dtype, "device": base_layer.weight.device}
        d, k = base_layer.in_features, base_layer.out_features
        self.lora_A = nn.Parameter(torch.randn(d, 1, **like).repeat(1, rank))
        self.lora_B = nn.Parameter(torch.zeros(rank, k, **like))

    def forward(self, x):
        return self.base_layer(x) + self.scaling * (x @ self.lora_A) @ self.lora_B


# %% chaff="a product of two vectors" exercise="lora_linear_init" misconception=""
class LoRALinear(nn.Module):
    def __init__(self, base_layer, rank=4, alpha=1):
        super().__init__()
        self.base_layer = base_layer.requires_grad_(False)
        self.scaling = alpha / rank
        like = {"dtype": base_layer.weight.dtype, "device": base_layer.weight.device}
        d, k = base_layer.in_features, base_layer.out_features
        self.lora_A = nn.Parameter(torch.outer(torch.randn(d, **like), torch.randn(rank, **like)))
        self.lora_B = nn.Parameter(torch.zeros(rank, k, **like))

    def forward(self, x):
        return self.base_layer(x) + self.scaling * (x @ self.lora_A) @ self.lora_B


# %% chaff="a fixed pattern" exercise="lora_linear_init" misconception=""
class LoRALinear(nn.Module):
    def __init__(self, base_layer, rank=4, alpha=1):
        super().__init__()
        self.base_layer = base_layer.requires_grad_(False)
        self.scaling = alpha / rank
        like = {"dtype": base_layer.weight.dtype, "device": base_layer.weight.device}
        d, k = base_layer.in_features, base_layer.out_features
        self.lora_A = nn.Parameter(torch.eye(d, rank, **like))
        self.lora_B = nn.Parameter(torch.zeros(rank, k, **like))

    def forward(self, x):
        return self.base_layer(x) + self.scaling * (x @ self.lora_A) @ self.lora_B


# %% chaff="a fixed pattern without a negative entry" exercise="lora_linear_init" misconception=""
class LoRALinear(nn.Module):
    def __init__(self, base_layer, rank=4, alpha=1):
        super().__init__()
        self.base_layer = base_layer.requires_grad_(False)
        self.scaling = alpha / rank
        like = {"dtype": base_layer.weight.dtype, "device": base_layer.weight.device}
        d, k = base_layer.in_features, base_layer.out_features
        self.lora_A = nn.Parameter(torch.arange(d * rank, **like).view(d, rank))
        self.lora_B = nn.Parameter(torch.zeros(rank, k, **like))

    def forward(self, x):
        return self.base_layer(x) + self.scaling * (x @ self.lora_A) @ self.lora_B


# %% chaff="a generator of its own, seeded" exercise="lora_linear_init" misconception="seeded_inside"
class LoRALinear(nn.Module):
    def __init__(self, base_layer, rank=4, alpha=1):
        super().__init__()
        self.base_layer = base_layer.requires_grad_(False)
        self.scaling = alpha / rank
        like = {"dtype": base_layer.weight.dtype, "device": base_layer.weight.device}
        d, k = base_layer.in_features, base_layer.out_features
        generator = torch.Generator().manual_seed(0)
        self.lora_A = nn.Parameter(torch.randn(d, rank, generator=generator, **like))
        self.lora_B = nn.Parameter(torch.zeros(rank, k, **like))

    def forward(self, x):
        return self.base_layer(x) + self.scaling * (x @ self.lora_A) @ self.lora_B


# %% chaff="not around zero" exercise="lora_linear_init" misconception=""
class LoRALinear(nn.Module):
    def __init__(self, base_layer, rank=4, alpha=1):
        super().__init__()
        self.base_layer = base_layer.requires_grad_(False)
        self.scaling = alpha / rank
        like = {"dtype": base_layer.weight.dtype, "device": base_layer.weight.device}
        d, k = base_layer.in_features, base_layer.out_features
        self.lora_A = nn.Parameter(torch.randn(d, rank, **like) + 1)
        self.lora_B = nn.Parameter(torch.zeros(rank, k, **like))

    def forward(self, x):
        return self.base_layer(x) + self.scaling * (x @ self.lora_A) @ self.lora_B


# %% chaff="far too wide" exercise="lora_linear_init" misconception=""
class LoRALinear(nn.Module):
    def __init__(self, base_layer, rank=4, alpha=1):
        super().__init__()
        self.base_layer = base_layer.requires_grad_(False)
        self.scaling = alpha / rank
        like = {"dtype": base_layer.weight.dtype, "device": base_layer.weight.device}
        d, k = base_layer.in_features, base_layer.out_features
        self.lora_A = nn.Parameter(100 * torch.randn(d, rank, **like))
        self.lora_B = nn.Parameter(torch.zeros(rank, k, **like))

    def forward(self, x):
        return self.base_layer(x) + self.scaling * (x @ self.lora_A) @ self.lora_B


# %% chaff="moved after it was wrapped" exercise="lora_linear_init" misconception="wrapped_too_early"
class LoRALinear(nn.Module):
    def __init__(self, base_layer, rank=4, alpha=1):
        super().__init__()
        self.base_layer = base_layer.requires_grad_(False)
        self.scaling = alpha / rank
        like = {"dtype": base_layer.weight.dtype, "device": base_layer.weight.device}
        d, k = base_layer.in_features, base_layer.out_features
        self.lora_A = nn.Parameter(torch.randn(d, rank)).to(torch.float64).to(base_layer.weight)
        self.lora_B = nn.Parameter(torch.zeros(rank, k)) * 1

    def forward(self, x):
        return self.base_layer(x) + self.scaling * (x @ self.lora_A) @ self.lora_B


# %% chaff="buffers" exercise="lora_linear_init" misconception="plain_tensors"
class LoRALinear(nn.Module):
    def __init__(self, base_layer, rank=4, alpha=1):
        super().__init__()
        self.base_layer = base_layer.requires_grad_(False)
        self.scaling = alpha / rank
        like = {"dtype": base_layer.weight.dtype, "device": base_layer.weight.device}
        d, k = base_layer.in_features, base_layer.out_features
        self.register_buffer("lora_A", torch.randn(d, rank, **like))
        self.register_buffer("lora_B", torch.zeros(rank, k, **like))

    def forward(self, x):
        return self.base_layer(x) + self.scaling * (x @ self.lora_A) @ self.lora_B


# %% chaff="other names" exercise="lora_linear_init" misconception=""
class LoRALinear(nn.Module):
    def __init__(self, base_layer, rank=4, alpha=1):
        super().__init__()
        self.base_layer = base_layer.requires_grad_(False)
        self.scaling = alpha / rank
        like = {"dtype": base_layer.weight.dtype, "device": base_layer.weight.device}
        d, k = base_layer.in_features, base_layer.out_features
        self.lora_down = nn.Parameter(torch.randn(d, rank, **like) / d**0.5)
        self.lora_up = nn.Parameter(torch.zeros(rank, k, **like))

    def forward(self, x):
        return self.base_layer(x) + self.scaling * (x @ self.lora_down) @ self.lora_up


# %% chaff="linears the wrong way round" exercise="lora_linear_init" misconception="turned_round"
class LoRALinear(nn.Module):
    def __init__(self, base_layer, rank=4, alpha=1):
        super().__init__()
        self.base_layer = base_layer.requires_grad_(False)
        self.scaling = alpha / rank
        like = {"dtype": base_layer.weight.dtype, "device": base_layer.weight.device}
        self.lora_A = nn.Linear(rank, base_layer.in_features, bias=False, **like)
        self.lora_B = nn.Linear(base_layer.out_features, rank, bias=False, **like)
        nn.init.zeros_(self.lora_B.weight)

    def forward(self, x):
        return self.base_layer(x) + self.scaling * self.lora_B(self.lora_A(x))


# %% chaff="linears with a bias" exercise="lora_linear_init" misconception="adapters_with_bias"
class LoRALinear(nn.Module):
    def __init__(self, base_layer, rank=4, alpha=1):
        super().__init__()
        self.base_layer = base_layer.requires_grad_(False)
        self.scaling = alpha / rank
        like = {"dtype": base_layer.weight.dtype, "device": base_layer.weight.device}
        self.lora_A = nn.Linear(base_layer.in_features, rank, **like)
        self.lora_B = nn.Linear(rank, base_layer.out_features, **like)
        nn.init.zeros_(self.lora_B.weight)

    def forward(self, x):
        return self.base_layer(x) + self.scaling * self.lora_B(self.lora_A(x))


# %% chaff="super is never called" exercise="lora_linear_init" misconception=""
class LoRALinear(nn.Module):
    def __init__(self, base_layer, rank=4, alpha=1):
        pass
        self.scaling = alpha / rank
        like = {"dtype": base_layer.weight.dtype, "device": base_layer.weight.device}
        d, k = base_layer.in_features, base_layer.out_features
        pass
        pass

    def forward(self, x):
        return self.base_layer(x) + self.scaling * (x @ self.lora_A) @ self.lora_B


# %% chaff="forward is not written" exercise="lora_linear_forward" misconception=""
class LoRALinear(nn.Module):
    def __init__(self, base_layer, rank=4, alpha=1):
        super().__init__()
        self.base_layer = base_layer.requires_grad_(False)
        self.scaling = alpha / rank
        like = {"dtype": base_layer.weight.dtype, "device": base_layer.weight.device}
        d, k = base_layer.in_features, base_layer.out_features
        self.lora_A = nn.Parameter(torch.randn(d, rank, **like) / d**0.5)
        self.lora_B = nn.Parameter(torch.zeros(rank, k, **like))

    def forward(self, x):
        raise NotImplementedError()


# %% chaff="a property that raises" exercise="lora_linear_init" misconception=""
class LoRALinear(nn.Module):
    def __init__(self, base_layer, rank=4, alpha=1):
        super().__init__()
        self.base_layer = base_layer.requires_grad_(False)
        self.scaling = alpha / rank
        like = {"dtype": base_layer.weight.dtype, "device": base_layer.weight.device}
        d, k = base_layer.in_features, base_layer.out_features
        self.A = nn.Parameter(torch.randn(d, rank, **like) / d**0.5)
        self.lora_B = nn.Parameter(torch.zeros(rank, k, **like))

    lora_A = property(lambda self: self.adapters["A"])

    def forward(self, x):
        return self.base_layer(x) + self.scaling * (x @ self.A) @ self.lora_B


# %% chaff="forward is not written, and the bias trains" exercise="lora_linear_freeze" misconception="bias_left_trainable"
class LoRALinear(nn.Module):
    def __init__(self, base_layer, rank=4, alpha=1):
        super().__init__()
        self.base_layer = base_layer
        base_layer.weight.requires_grad = False
        self.scaling = alpha / rank
        like = {"dtype": base_layer.weight.dtype, "device": base_layer.weight.device}
        d, k = base_layer.in_features, base_layer.out_features
        self.lora_A = nn.Parameter(torch.randn(d, rank, **like) / d**0.5)
        self.lora_B = nn.Parameter(torch.zeros(rank, k, **like))

    def forward(self, x):
        raise NotImplementedError()


# %% chaff="a base of its own, with the values copied" exercise="lora_linear_freeze" misconception="base_copied"
class LoRALinear(nn.Module):
    def __init__(self, base_layer, rank=4, alpha=1):
        super().__init__()
        self.base_layer = nn.Linear(base_layer.in_features, base_layer.out_features, base_layer.bias is not None)
        self.base_layer.load_state_dict(base_layer.state_dict())
        self.base_layer.requires_grad_(False)
        self.scaling = alpha / rank
        like = {"dtype": base_layer.weight.dtype, "device": base_layer.weight.device}
        d, k = base_layer.in_features, base_layer.out_features
        self.lora_A = nn.Parameter(torch.randn(d, rank, **like) / d**0.5)
        self.lora_B = nn.Parameter(torch.zeros(rank, k, **like))

    def forward(self, x):
        return self.base_layer(x) + self.scaling * (x @ self.lora_A) @ self.lora_B


# %% chaff="the base under another name" exercise="lora_linear_freeze" misconception=""
class LoRALinear(nn.Module):
    def __init__(self, base_layer, rank=4, alpha=1):
        super().__init__()
        self.linear = base_layer.requires_grad_(False)
        self.scaling = alpha / rank
        like = {"dtype": base_layer.weight.dtype, "device": base_layer.weight.device}
        d, k = base_layer.in_features, base_layer.out_features
        self.lora_A = nn.Parameter(torch.randn(d, rank, **like) / d**0.5)
        self.lora_B = nn.Parameter(torch.zeros(rank, k, **like))

    def forward(self, x):
        return self.linear(x) + self.scaling * (x @ self.lora_A) @ self.lora_B


# %% chaff="the base hidden in a list" exercise="lora_linear_freeze" misconception="base_not_frozen"
class LoRALinear(nn.Module):
    def __init__(self, base_layer, rank=4, alpha=1):
        super().__init__()
        self.held = [base_layer]
        self.scaling = alpha / rank
        like = {"dtype": base_layer.weight.dtype, "device": base_layer.weight.device}
        d, k = base_layer.in_features, base_layer.out_features
        self.lora_A = nn.Parameter(torch.randn(d, rank, **like) / d**0.5)
        self.lora_B = nn.Parameter(torch.zeros(rank, k, **like))

    base_layer = property(lambda self: self.held[0])

    def forward(self, x):
        return self.base_layer(x) + self.scaling * (x @ self.lora_A) @ self.lora_B


# %% chaff="frozen at the first call" exercise="lora_linear_freeze" misconception="base_not_frozen"
class LoRALinear(nn.Module):
    def __init__(self, base_layer, rank=4, alpha=1):
        super().__init__()
        self.base_layer = base_layer
        self.scaling = alpha / rank
        like = {"dtype": base_layer.weight.dtype, "device": base_layer.weight.device}
        d, k = base_layer.in_features, base_layer.out_features
        self.lora_A = nn.Parameter(torch.randn(d, rank, **like) / d**0.5)
        self.lora_B = nn.Parameter(torch.zeros(rank, k, **like))

    def forward(self, x):
        self.base_layer.requires_grad_(False)
        return self.base_layer(x) + self.scaling * (x @ self.lora_A) @ self.lora_B


# %% chaff="no_grad around the base" exercise="lora_linear_freeze" misconception="base_not_frozen"
class LoRALinear(nn.Module):
    def __init__(self, base_layer, rank=4, alpha=1):
        super().__init__()
        self.base_layer = base_layer
        self.scaling = alpha / rank
        like = {"dtype": base_layer.weight.dtype, "device": base_layer.weight.device}
        d, k = base_layer.in_features, base_layer.out_features
        self.lora_A = nn.Parameter(torch.randn(d, rank, **like) / d**0.5)
        self.lora_B = nn.Parameter(torch.zeros(rank, k, **like))

    def forward(self, x):
        with torch.no_grad():
            out = self.base_layer(x)
        return out + self.scaling * (x @ self.lora_A) @ self.lora_B


# %% chaff="buffers" exercise="lora_linear_freeze" misconception=""
class LoRALinear(nn.Module):
    def __init__(self, base_layer, rank=4, alpha=1):
        super().__init__()
        self.base_layer = base_layer.requires_grad_(False)
        self.scaling = alpha / rank
        like = {"dtype": base_layer.weight.dtype, "device": base_layer.weight.device}
        d, k = base_layer.in_features, base_layer.out_features
        self.register_buffer("lora_A", torch.randn(d, rank, **like))
        self.register_buffer("lora_B", torch.zeros(rank, k, **like))

    def forward(self, x):
        return self.base_layer(x) + self.scaling * (x @ self.lora_A) @ self.lora_B


# %% chaff="the scaling is trained" exercise="lora_linear_freeze" misconception=""
class LoRALinear(nn.Module):
    def __init__(self, base_layer, rank=4, alpha=1):
        super().__init__()
        self.base_layer = base_layer.requires_grad_(False)
        self.scaling = nn.Parameter(torch.tensor(alpha / rank))
        like = {"dtype": base_layer.weight.dtype, "device": base_layer.weight.device}
        d, k = base_layer.in_features, base_layer.out_features
        self.lora_A = nn.Parameter(torch.randn(d, rank, **like) / d**0.5)
        self.lora_B = nn.Parameter(torch.zeros(rank, k, **like))

    def forward(self, x):
        return self.base_layer(x) + self.scaling * (x @ self.lora_A) @ self.lora_B


# %% chaff="entries of B in one place" exercise="lora_linear_freeze" misconception=""
class LoRALinear(nn.Module):
    def __init__(self, base_layer, rank=4, alpha=1):
        super().__init__()
        self.base_layer = base_layer.requires_grad_(False)
        self.scaling = alpha / rank
        like = {"dtype": base_layer.weight.dtype, "device": base_layer.weight.device}
        d, k = base_layer.in_features, base_layer.out_features
        self.lora_A = nn.Parameter(torch.randn(d, rank, **like) / d**0.5)
        self.lora_B = nn.Parameter(torch.zeros(rank, 1, **like).expand(rank, k))

    def forward(self, x):
        return self.base_layer(x) + self.scaling * (x @ self.lora_A) @ self.lora_B


# %% chaff="rounded down" exercise="lora_linear_forward" misconception="alpha_floored"
class LoRALinear(nn.Module):
    def __init__(self, base_layer, rank=4, alpha=1):
        super().__init__()
        self.base_layer = base_layer.requires_grad_(False)
        self.scaling = alpha // rank
        like = {"dtype": base_layer.weight.dtype, "device": base_layer.weight.device}
        d, k = base_layer.in_features, base_layer.out_features
        self.lora_A = nn.Parameter(torch.randn(d, rank, **like) / d**0.5)
        self.lora_B = nn.Parameter(torch.zeros(rank, k, **like))

    def forward(self, x):
        return self.base_layer(x) + self.scaling * (x @ self.lora_A) @ self.lora_B


# %% chaff="alpha is None unless given" exercise="lora_linear_forward" misconception="other_defaults"
class LoRALinear(nn.Module):
    def __init__(self, base_layer, rank=4, alpha=None):
        super().__init__()
        self.base_layer = base_layer.requires_grad_(False)
        self.scaling = (rank if alpha is None else alpha) / rank
        like = {"dtype": base_layer.weight.dtype, "device": base_layer.weight.device}
        d, k = base_layer.in_features, base_layer.out_features
        self.lora_A = nn.Parameter(torch.randn(d, rank, **like) / d**0.5)
        self.lora_B = nn.Parameter(torch.zeros(rank, k, **like))

    def forward(self, x):
        return self.base_layer(x) + self.scaling * (x @ self.lora_A) @ self.lora_B


# %% chaff="another rank unless given" exercise="lora_linear_forward" misconception="other_defaults"
class LoRALinear(nn.Module):
    def __init__(self, base_layer, rank=8, alpha=1):
        super().__init__()
        self.base_layer = base_layer.requires_grad_(False)
        self.scaling = alpha / rank
        like = {"dtype": base_layer.weight.dtype, "device": base_layer.weight.device}
        d, k = base_layer.in_features, base_layer.out_features
        self.lora_A = nn.Parameter(torch.randn(d, rank, **like) / d**0.5)
        self.lora_B = nn.Parameter(torch.zeros(rank, k, **like))

    def forward(self, x):
        return self.base_layer(x) + self.scaling * (x @ self.lora_A) @ self.lora_B


# %% chaff="divided by the rank when the layer is made, too" exercise="lora_linear_forward" misconception="divided_twice"
class LoRALinear(nn.Module):
    def __init__(self, base_layer, rank=4, alpha=1):
        super().__init__()
        self.base_layer = base_layer.requires_grad_(False)
        self.scaling = alpha / rank / rank
        like = {"dtype": base_layer.weight.dtype, "device": base_layer.weight.device}
        d, k = base_layer.in_features, base_layer.out_features
        self.lora_A = nn.Parameter(torch.randn(d, rank, **like) / d**0.5)
        self.lora_B = nn.Parameter(torch.zeros(rank, k, **like))

    def forward(self, x):
        return self.base_layer(x) + self.scaling * (x @ self.lora_A) @ self.lora_B


# %% chaff="the product added to the weight as it is" exercise="lora_linear_forward" misconception="delta_transposed"
class LoRALinear(nn.Module):
    def __init__(self, base_layer, rank=4, alpha=1):
        super().__init__()
        self.base_layer = base_layer.requires_grad_(False)
        self.scaling = alpha / rank
        like = {"dtype": base_layer.weight.dtype, "device": base_layer.weight.device}
        d, k = base_layer.in_features, base_layer.out_features
        self.lora_A = nn.Parameter(torch.randn(d, rank, **like) / d**0.5)
        self.lora_B = nn.Parameter(torch.zeros(rank, k, **like))

    def forward(self, x):
        weight = self.base_layer.weight + self.scaling * self.lora_A @ self.lora_B
        return nn.functional.linear(x, weight, self.base_layer.bias)


# %% chaff="what the product was when the layer was made" exercise="lora_linear_forward" misconception="adapter_unused"
class LoRALinear(nn.Module):
    def __init__(self, base_layer, rank=4, alpha=1):
        super().__init__()
        self.base_layer = base_layer.requires_grad_(False)
        self.scaling = alpha / rank
        like = {"dtype": base_layer.weight.dtype, "device": base_layer.weight.device}
        d, k = base_layer.in_features, base_layer.out_features
        self.lora_A = nn.Parameter(torch.randn(d, rank, **like) / d**0.5)
        self.lora_B = nn.Parameter(torch.zeros(rank, k, **like))
        self.delta = (self.lora_A @ self.lora_B).detach()

    def forward(self, x):
        return self.base_layer(x) + self.scaling * x @ self.delta


# %% chaff="addmm of whatever comes" exercise="lora_linear_forward" misconception="two_dimensional_only"
class LoRALinear(nn.Module):
    def __init__(self, base_layer, rank=4, alpha=1):
        super().__init__()
        self.base_layer = base_layer.requires_grad_(False)
        self.scaling = alpha / rank
        like = {"dtype": base_layer.weight.dtype, "device": base_layer.weight.device}
        d, k = base_layer.in_features, base_layer.out_features
        self.lora_A = nn.Parameter(torch.randn(d, rank, **like) / d**0.5)
        self.lora_B = nn.Parameter(torch.zeros(rank, k, **like))

    def forward(self, x):
        return torch.addmm(self.base_layer(x), x @ self.lora_A, self.lora_B, alpha=self.scaling)


# %% chaff="einsum over two axes" exercise="lora_linear_forward" misconception="two_dimensional_only"
class LoRALinear(nn.Module):
    def __init__(self, base_layer, rank=4, alpha=1):
        super().__init__()
        self.base_layer = base_layer.requires_grad_(False)
        self.scaling = alpha / rank
        like = {"dtype": base_layer.weight.dtype, "device": base_layer.weight.device}
        d, k = base_layer.in_features, base_layer.out_features
        self.lora_A = nn.Parameter(torch.randn(d, rank, **like) / d**0.5)
        self.lora_B = nn.Parameter(torch.zeros(rank, k, **like))

    def forward(self, x):
        update = torch.einsum("nd,dr,rk->nk", x, self.lora_A, self.lora_B)
        return self.base_layer(x) + self.scaling * update


# %% chaff="Attempt 1 without its scaling" exercise="lora_linear_forward" misconception="elementwise"
class LoRALinear(nn.Module):
    def __init__(self, base_layer, rank=4, alpha=1):
        super().__init__()
        self.base_layer = base_layer.requires_grad_(False)
        self.scaling = alpha / rank
        weight = base_layer.weight
        self.lora_A = nn.Parameter(weight.new_empty(base_layer.in_features, rank).normal_())
        self.lora_B = nn.Parameter(weight.new_zeros(rank, base_layer.out_features))

    def forward(self, x):
        return self.base_layer(x) + (self.lora_A @ self.lora_B) * x


# %% chaff="Attempt 1, factors the other way round" exercise="lora_linear_forward" misconception="elementwise"
class LoRALinear(nn.Module):
    def __init__(self, base_layer, rank=4, alpha=1):
        super().__init__()
        self.base_layer = base_layer.requires_grad_(False)
        self.scaling = alpha / rank
        weight = base_layer.weight
        self.lora_A = nn.Parameter(weight.new_empty(base_layer.in_features, rank).normal_())
        self.lora_B = nn.Parameter(weight.new_zeros(rank, base_layer.out_features))

    def forward(self, x):
        return self.base_layer(x) + self.scaling * x * (self.lora_A @ self.lora_B)


# %% chaff="Attempt 1 without the base" exercise="lora_linear_forward" misconception="elementwise"
class LoRALinear(nn.Module):
    def __init__(self, base_layer, rank=4, alpha=1):
        super().__init__()
        self.base_layer = base_layer.requires_grad_(False)
        self.scaling = alpha / rank
        weight = base_layer.weight
        self.lora_A = nn.Parameter(weight.new_empty(base_layer.in_features, rank).normal_())
        self.lora_B = nn.Parameter(weight.new_zeros(rank, base_layer.out_features))

    def forward(self, x):
        return x * (self.lora_A @ self.lora_B)


# %% chaff="every factor entry by entry" exercise="lora_linear_forward" misconception="elementwise_factors"
class LoRALinear(nn.Module):
    def __init__(self, base_layer, rank=4, alpha=1):
        super().__init__()
        self.base_layer = base_layer.requires_grad_(False)
        self.scaling = alpha / rank
        weight = base_layer.weight
        self.lora_A = nn.Parameter(weight.new_empty(base_layer.in_features, rank).normal_())
        self.lora_B = nn.Parameter(weight.new_zeros(rank, base_layer.out_features))

    def forward(self, x):
        return self.base_layer(x) + x * self.lora_A * self.lora_B * self.scaling


# %% chaff="B first, from the left" exercise="lora_linear_forward" misconception="paper_order"
class LoRALinear(nn.Module):
    def __init__(self, base_layer, rank=4, alpha=1):
        super().__init__()
        self.base_layer = base_layer.requires_grad_(False)
        self.scaling = alpha / rank
        weight = base_layer.weight
        self.lora_A = nn.Parameter(weight.new_empty(base_layer.in_features, rank).normal_())
        self.lora_B = nn.Parameter(weight.new_zeros(rank, base_layer.out_features))

    def forward(self, x):
        return self.base_layer(x) + self.scaling * (x @ self.lora_B @ self.lora_A)


# %% chaff="the two products and nothing else" exercise="lora_linear_forward" misconception="base_forgotten"
class LoRALinear(nn.Module):
    def __init__(self, base_layer, rank=4, alpha=1):
        super().__init__()
        self.base_layer = base_layer.requires_grad_(False)
        self.scaling = alpha / rank
        weight = base_layer.weight
        self.lora_A = nn.Parameter(weight.new_empty(base_layer.in_features, rank).normal_())
        self.lora_B = nn.Parameter(weight.new_zeros(rank, base_layer.out_features))

    def forward(self, x):
        return x @ self.lora_A @ self.lora_B


# %% chaff="both paths without what belongs to them" exercise="lora_linear_forward" misconception="bias_lost"
class LoRALinear(nn.Module):
    def __init__(self, base_layer, rank=4, alpha=1):
        super().__init__()
        self.base_layer = base_layer.requires_grad_(False)
        self.scaling = alpha / rank
        weight = base_layer.weight
        self.lora_A = nn.Parameter(weight.new_empty(base_layer.in_features, rank).normal_())
        self.lora_B = nn.Parameter(weight.new_zeros(rank, base_layer.out_features))

    def forward(self, x):
        return x @ self.base_layer.weight.mT + x @ self.lora_A @ self.lora_B


# %% chaff="the unscaled product added to the weight as it is" exercise="lora_linear_forward" misconception="delta_transposed"
class LoRALinear(nn.Module):
    def __init__(self, base_layer, rank=4, alpha=1):
        super().__init__()
        self.base_layer = base_layer.requires_grad_(False)
        self.scaling = alpha / rank
        weight = base_layer.weight
        self.lora_A = nn.Parameter(weight.new_empty(base_layer.in_features, rank).normal_())
        self.lora_B = nn.Parameter(weight.new_zeros(rank, base_layer.out_features))

    def forward(self, x):
        weight = self.base_layer.weight + self.lora_A @ self.lora_B
        return nn.functional.linear(x, weight, self.base_layer.bias)


# %% chaff="float32 out" exercise="lora_linear_forward" misconception=""
class LoRALinear(nn.Module):
    def __init__(self, base_layer, rank=4, alpha=1):
        super().__init__()
        self.base_layer = base_layer.requires_grad_(False)
        self.scaling = alpha / rank
        like = {"dtype": base_layer.weight.dtype, "device": base_layer.weight.device}
        d, k = base_layer.in_features, base_layer.out_features
        self.lora_A = nn.Parameter(torch.randn(d, rank, **like) / d**0.5)
        self.lora_B = nn.Parameter(torch.zeros(rank, k, **like))

    def forward(self, x):
        return (self.base_layer(x) + self.scaling * (x @ self.lora_A) @ self.lora_B).float()


# %% chaff="no gradient at all" exercise="lora_linear_forward" misconception="gradient_cut"
class LoRALinear(nn.Module):
    def __init__(self, base_layer, rank=4, alpha=1):
        super().__init__()
        self.base_layer = base_layer.requires_grad_(False)
        self.scaling = alpha / rank
        like = {"dtype": base_layer.weight.dtype, "device": base_layer.weight.device}
        d, k = base_layer.in_features, base_layer.out_features
        self.lora_A = nn.Parameter(torch.randn(d, rank, **like) / d**0.5)
        self.lora_B = nn.Parameter(torch.zeros(rank, k, **like))

    @torch.no_grad()
    def forward(self, x):
        return self.base_layer(x) + self.scaling * (x @ self.lora_A) @ self.lora_B


# %% chaff="linears with a bias" exercise="lora_linear_forward" misconception="adapters_with_bias"
class LoRALinear(nn.Module):
    def __init__(self, base_layer, rank=4, alpha=1):
        super().__init__()
        self.base_layer = base_layer.requires_grad_(False)
        self.scaling = alpha / rank
        like = {"dtype": base_layer.weight.dtype, "device": base_layer.weight.device}
        self.lora_A = nn.Linear(base_layer.in_features, rank, **like)
        self.lora_B = nn.Linear(rank, base_layer.out_features, **like)
        nn.init.zeros_(self.lora_B.weight)

    def forward(self, x):
        return self.base_layer(x) + self.scaling * self.lora_B(self.lora_A(x))


# %% chaff="moved after it was wrapped" exercise="lora_linear_placement" misconception="does_not_follow"
class LoRALinear(nn.Module):
    def __init__(self, base_layer, rank=4, alpha=1):
        super().__init__()
        self.base_layer = base_layer.requires_grad_(False)
        self.scaling = alpha / rank
        like = {"dtype": base_layer.weight.dtype, "device": base_layer.weight.device}
        d, k = base_layer.in_features, base_layer.out_features
        self.lora_A = nn.Parameter(torch.randn(d, rank)).to(base_layer.weight)
        self.lora_B = nn.Parameter(torch.zeros(rank, k)).to(base_layer.weight)

    def forward(self, x):
        return self.base_layer(x) + self.scaling * (x @ self.lora_A) @ self.lora_B


# %% chaff="A placed, B not" exercise="lora_linear_placement" misconception=""
class LoRALinear(nn.Module):
    def __init__(self, base_layer, rank=4, alpha=1):
        super().__init__()
        self.base_layer = base_layer.requires_grad_(False)
        self.scaling = alpha / rank
        like = {"dtype": base_layer.weight.dtype, "device": base_layer.weight.device}
        d, k = base_layer.in_features, base_layer.out_features
        self.lora_A = nn.Parameter(torch.randn(d, rank, **like) / d**0.5)
        self.lora_B = nn.Parameter(torch.zeros(rank, k))

    def forward(self, x):
        return self.base_layer(x) + self.scaling * (x @ self.lora_A) @ self.lora_B


# %% chaff="everything on the CPU" exercise="lora_linear_placement" misconception=""
class LoRALinear(nn.Module):
    def __init__(self, base_layer, rank=4, alpha=1):
        super().__init__()
        self.base_layer = base_layer.requires_grad_(False)
        self.scaling = alpha / rank
        like = {"dtype": base_layer.weight.dtype, "device": base_layer.weight.device}
        d, k = base_layer.in_features, base_layer.out_features
        self.lora_A = nn.Parameter(torch.randn(d, rank, **like) / d**0.5)
        self.lora_B = nn.Parameter(torch.zeros(rank, k, **like))
        self.to("cpu")

    def forward(self, x):
        return self.base_layer(x) + self.scaling * (x @ self.lora_A) @ self.lora_B


# %% chaff="alpha first" exercise="lora_linear_forward" misconception="alpha_before_rank"
class LoRALinear(nn.Module):
    def __init__(self, base_layer, alpha=1, rank=4):
        super().__init__()
        self.base_layer = base_layer.requires_grad_(False)
        self.scaling = alpha / rank
        like = {"dtype": base_layer.weight.dtype, "device": base_layer.weight.device}
        d, k = base_layer.in_features, base_layer.out_features
        self.lora_A = nn.Parameter(torch.randn(d, rank, **like) / d**0.5)
        self.lora_B = nn.Parameter(torch.zeros(rank, k, **like))

    def forward(self, x):
        return self.base_layer(x) + self.scaling * (x @ self.lora_A) @ self.lora_B


# %% chaff="the update only in training" exercise="lora_linear_forward" misconception="adapter_in_training_only"
class LoRALinear(nn.Module):
    def __init__(self, base_layer, rank=4, alpha=1):
        super().__init__()
        self.base_layer = base_layer.requires_grad_(False)
        self.scaling = alpha / rank
        like = {"dtype": base_layer.weight.dtype, "device": base_layer.weight.device}
        d, k = base_layer.in_features, base_layer.out_features
        self.lora_A = nn.Parameter(torch.randn(d, rank, **like) / d**0.5)
        self.lora_B = nn.Parameter(torch.zeros(rank, k, **like))

    def forward(self, x):
        out = self.base_layer(x)
        if self.training:
            out = out + self.scaling * (x @ self.lora_A) @ self.lora_B
        return out


# %% chaff="the base alone without gradients" exercise="lora_linear_forward" misconception="adapter_with_gradients_only"
class LoRALinear(nn.Module):
    def __init__(self, base_layer, rank=4, alpha=1):
        super().__init__()
        self.base_layer = base_layer.requires_grad_(False)
        self.scaling = alpha / rank
        like = {"dtype": base_layer.weight.dtype, "device": base_layer.weight.device}
        d, k = base_layer.in_features, base_layer.out_features
        self.lora_A = nn.Parameter(torch.randn(d, rank, **like) / d**0.5)
        self.lora_B = nn.Parameter(torch.zeros(rank, k, **like))

    def forward(self, x):
        base = self.base_layer(x)
        return base + self.scaling * x @ self.lora_A @ self.lora_B if torch.is_grad_enabled() else base


# %% chaff="one merged weight for every evaluation" exercise="lora_linear_forward" misconception="merged_at_eval"
class LoRALinear(nn.Module):
    def __init__(self, base_layer, rank=4, alpha=1):
        super().__init__()
        self.base_layer = base_layer.requires_grad_(False)
        self.scaling = alpha / rank
        like = {"dtype": base_layer.weight.dtype, "device": base_layer.weight.device}
        d, k = base_layer.in_features, base_layer.out_features
        self.lora_A = nn.Parameter(torch.randn(d, rank, **like) / d**0.5)
        self.lora_B = nn.Parameter(torch.zeros(rank, k, **like))
        self.merged = []

    def forward(self, x):
        if self.training:
            return self.base_layer(x) + self.scaling * (x @ self.lora_A) @ self.lora_B
        if not self.merged:
            with torch.no_grad():
                self.merged.append(self.base_layer.weight + self.scaling * (self.lora_A @ self.lora_B).T)
        return nn.functional.linear(x, self.merged[0], self.base_layer.bias)


# %% chaff="eval merges and forward adds" exercise="lora_linear_forward" misconception="added_twice_at_eval"
class LoRALinear(nn.Module):
    def __init__(self, base_layer, rank=4, alpha=1):
        super().__init__()
        self.base_layer = base_layer.requires_grad_(False)
        self.scaling = alpha / rank
        like = {"dtype": base_layer.weight.dtype, "device": base_layer.weight.device}
        d, k = base_layer.in_features, base_layer.out_features
        self.lora_A = nn.Parameter(torch.randn(d, rank, **like) / d**0.5)
        self.lora_B = nn.Parameter(torch.zeros(rank, k, **like))

    def train(self, mode=True):
        with torch.no_grad():
            if self.training and not mode:
                self.base_layer.weight += self.scaling * (self.lora_A @ self.lora_B).T
            elif mode and not self.training:
                self.base_layer.weight -= self.scaling * (self.lora_A @ self.lora_B).T
        return super().train(mode)

    def forward(self, x):
        return self.base_layer(x) + self.scaling * (x @ self.lora_A) @ self.lora_B


# %% chaff="a dropout module" exercise="lora_linear_forward" misconception="dropout_in_forward"
class LoRALinear(nn.Module):
    def __init__(self, base_layer, rank=4, alpha=1):
        super().__init__()
        self.base_layer = base_layer.requires_grad_(False)
        self.scaling = alpha / rank
        like = {"dtype": base_layer.weight.dtype, "device": base_layer.weight.device}
        d, k = base_layer.in_features, base_layer.out_features
        self.lora_A = nn.Parameter(torch.randn(d, rank, **like) / d**0.5)
        self.lora_B = nn.Parameter(torch.zeros(rank, k, **like))
        self.dropout = nn.Dropout(0.1)

    def forward(self, x):
        return self.base_layer(x) + self.scaling * (self.dropout(x) @ self.lora_A) @ self.lora_B


# %% chaff="x scaled in place" exercise="lora_linear_forward" misconception="changed_input"
class LoRALinear(nn.Module):
    def __init__(self, base_layer, rank=4, alpha=1):
        super().__init__()
        self.base_layer = base_layer.requires_grad_(False)
        self.scaling = alpha / rank
        like = {"dtype": base_layer.weight.dtype, "device": base_layer.weight.device}
        d, k = base_layer.in_features, base_layer.out_features
        self.lora_A = nn.Parameter(torch.randn(d, rank, **like) / d**0.5)
        self.lora_B = nn.Parameter(torch.zeros(rank, k, **like))

    def forward(self, x):
        base = self.base_layer(x)
        with torch.no_grad():
            x *= self.scaling
        return base + (x @ self.lora_A) @ self.lora_B


# %% chaff="a hook on the base" exercise="lora_linear_freeze" misconception="hook_on_the_base"
class LoRALinear(nn.Module):
    def __init__(self, base_layer, rank=4, alpha=1):
        super().__init__()
        self.base_layer = base_layer.requires_grad_(False)
        self.scaling = alpha / rank
        like = {"dtype": base_layer.weight.dtype, "device": base_layer.weight.device}
        d, k = base_layer.in_features, base_layer.out_features
        self.lora_A = nn.Parameter(torch.randn(d, rank, **like) / d**0.5)
        self.lora_B = nn.Parameter(torch.zeros(rank, k, **like))
        base_layer.register_forward_hook(self.add_update)

    def add_update(self, module, args, output):
        return output + self.scaling * (args[0] @ self.lora_A) @ self.lora_B

    def forward(self, x):
        return self.base_layer(x)


# %% chaff="the bias moved to the layer" exercise="lora_linear_freeze" misconception="base_changed"
class LoRALinear(nn.Module):
    def __init__(self, base_layer, rank=4, alpha=1):
        super().__init__()
        self.base_layer = base_layer.requires_grad_(False)
        self.scaling = alpha / rank
        like = {"dtype": base_layer.weight.dtype, "device": base_layer.weight.device}
        d, k = base_layer.in_features, base_layer.out_features
        self.lora_A = nn.Parameter(torch.randn(d, rank, **like) / d**0.5)
        self.lora_B = nn.Parameter(torch.zeros(rank, k, **like))
        self.bias = base_layer.bias
        base_layer.register_parameter("bias", None)

    def forward(self, x):
        out = self.base_layer(x) + self.scaling * (x @ self.lora_A) @ self.lora_B
        return out if self.bias is None else out + self.bias


# %% chaff="the base initialised anew" exercise="lora_linear_freeze" misconception="base_changed"
class LoRALinear(nn.Module):
    def __init__(self, base_layer, rank=4, alpha=1):
        super().__init__()
        self.base_layer = base_layer.requires_grad_(False)
        self.scaling = alpha / rank
        like = {"dtype": base_layer.weight.dtype, "device": base_layer.weight.device}
        d, k = base_layer.in_features, base_layer.out_features
        self.lora_A = nn.Parameter(torch.randn(d, rank, **like) / d**0.5)
        self.lora_B = nn.Parameter(torch.zeros(rank, k, **like))
        self.base_layer.reset_parameters()

    def forward(self, x):
        return self.base_layer(x) + self.scaling * (x @ self.lora_A) @ self.lora_B


# %% wheat="merged while it evaluates, rightly" exercise="LoRALinear"
class LoRALinear(nn.Module):
    def __init__(self, base_layer, rank=4, alpha=1):
        super().__init__()
        self.base_layer = base_layer.requires_grad_(False)
        self.scaling = alpha / rank
        like = {"dtype": base_layer.weight.dtype, "device": base_layer.weight.device}
        d, k = base_layer.in_features, base_layer.out_features
        self.lora_A = nn.Parameter(torch.randn(d, rank, **like) / d**0.5)
        self.lora_B = nn.Parameter(torch.zeros(rank, k, **like))
        self.merged = None

    def train(self, mode=True):
        super().train(mode)
        self.merged = None
        if not mode:
            self.merged = (self.base_layer.weight + self.scaling * (self.lora_A @ self.lora_B).T).detach()
        return self

    def forward(self, x):
        if self.merged is not None:
            return nn.functional.linear(x, self.merged, self.base_layer.bias)
        return self.base_layer(x) + self.scaling * (x @ self.lora_A) @ self.lora_B


# %% wheat="rank and alpha by name only" exercise="LoRALinear"
class LoRALinear(nn.Module):
    def __init__(self, base_layer, *, rank=4, alpha=1):
        super().__init__()
        self.base_layer = base_layer.requires_grad_(False)
        self.scaling = alpha / rank
        like = {"dtype": base_layer.weight.dtype, "device": base_layer.weight.device}
        d, k = base_layer.in_features, base_layer.out_features
        self.lora_A = nn.Parameter(torch.randn(d, rank, **like) / d**0.5)
        self.lora_B = nn.Parameter(torch.zeros(rank, k, **like))

    def forward(self, x):
        return self.base_layer(x) + self.scaling * (x @ self.lora_A) @ self.lora_B


# %% chaff="no adapters at all" exercise="lora_linear_init" misconception=""
class LoRALinear(nn.Module):
    def __init__(self, base_layer, rank=4, alpha=1):
        super().__init__()
        self.base_layer = base_layer.requires_grad_(False)
        self.scaling = alpha / rank

    def forward(self, x):
        return self.base_layer(x)


# %% chaff="the paper's product, as a weight" exercise="lora_linear_forward" misconception="paper_order"
class LoRALinear(nn.Module):
    def __init__(self, base_layer, rank=4, alpha=1):
        super().__init__()
        self.base_layer = base_layer.requires_grad_(False)
        self.scaling = alpha / rank
        like = {"dtype": base_layer.weight.dtype, "device": base_layer.weight.device}
        d, k = base_layer.in_features, base_layer.out_features
        self.lora_A = nn.Parameter(torch.randn(d, rank, **like) / d**0.5)
        self.lora_B = nn.Parameter(torch.zeros(rank, k, **like))

    def forward(self, x):
        return self.base_layer(x) + self.scaling * x @ torch.matmul(self.lora_B, self.lora_A)


# %% chaff="a base made anew" exercise="lora_linear_freeze" misconception="base_rebuilt"
class LoRALinear(nn.Module):
    def __init__(self, base_layer, rank=4, alpha=1):
        super().__init__()
        self.base_layer = nn.Linear(base_layer.in_features, base_layer.out_features).requires_grad_(False)
        self.scaling = alpha / rank
        like = {"dtype": base_layer.weight.dtype, "device": base_layer.weight.device}
        d, k = base_layer.in_features, base_layer.out_features
        self.lora_A = nn.Parameter(torch.randn(d, rank, **like) / d**0.5)
        self.lora_B = nn.Parameter(torch.zeros(rank, k, **like))

    def forward(self, x):
        return self.base_layer(x) + self.scaling * (x @ self.lora_A) @ self.lora_B


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


# %% wheat="a backward of its own" exercise="LoRALinear"
class _Thin(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, A, B, s):
        ctx.save_for_backward(x, A, B); ctx.s = s
        return s * (x @ A) @ B
    @staticmethod
    def backward(ctx, g):
        x, A, B = ctx.saved_tensors
        gx = ctx.s * (g @ B.T) @ A.T
        X, G = x.reshape(-1, x.shape[-1]), g.reshape(-1, g.shape[-1])
        return gx, ctx.s * X.T @ (G @ B.T), ctx.s * (X @ A).T @ G, None
class LoRALinear(nn.Module):
    def __init__(self, base_layer, rank=4, alpha=1):
        super().__init__()
        self.base_layer = base_layer.requires_grad_(False)
        self.scaling = alpha / rank
        self.lora_A = nn.Parameter(torch.randn(base_layer.in_features, rank).to(base_layer.weight) / rank)
        self.lora_B = nn.Parameter(torch.zeros(rank, base_layer.out_features).to(base_layer.weight))
    def forward(self, x):
        return self.base_layer(x) + _Thin.apply(x, self.lora_A, self.lora_B, self.scaling)


# %% wheat="the scaling a property" exercise="LoRALinear"
class LoRALinear(nn.Module):
    def __init__(self, base_layer: nn.Linear, rank: int = 4, alpha: float = 1) -> None:
        super().__init__()
        self.rank, self.alpha = rank, alpha
        self.base_layer = base_layer.requires_grad_(False)
        kw = dict(device=base_layer.weight.device, dtype=base_layer.weight.dtype)
        self.lora_A = nn.Linear(base_layer.in_features, rank, bias=False, **kw)
        self.lora_B = nn.Linear(rank, base_layer.out_features, bias=False, **kw)
        nn.init.zeros_(self.lora_B.weight)
    @property
    def scaling(self):
        return self.alpha / self.rank
    def extra_repr(self): return f"r={self.rank}"
    def forward(self, x):
        h = self.lora_B(self.lora_A(x))
        return self.base_layer(x) + h * self.scaling


# %% chaff="the scaling on the class" exercise="lora_linear_forward" misconception="kept_on_the_class"
class LoRALinear(nn.Module):
    scaling = 1
    def __init__(self, base_layer, rank=4, alpha=1):
        super().__init__()
        self.base_layer = base_layer.requires_grad_(False)
        LoRALinear.scaling = alpha / rank
        w = base_layer.weight
        self.lora_A = nn.Parameter(w.new_empty(w.shape[1], rank).normal_()); self.lora_B = nn.Parameter(w.new_zeros(rank, w.shape[0]))
    def forward(self, x):
        return self.base_layer(x) + self.scaling * (x @ self.lora_A) @ self.lora_B


# %% chaff="the product of the first call" exercise="lora_linear_forward" misconception="product_kept"
class LoRALinear(nn.Module):
    def __init__(self, base_layer, rank=4, alpha=1):
        super().__init__()
        self.base_layer = base_layer.requires_grad_(False)
        self.scaling = alpha / rank
        w = base_layer.weight
        self.lora_A = nn.Parameter(w.new_empty(w.shape[1], rank).normal_()); self.lora_B = nn.Parameter(w.new_zeros(rank, w.shape[0]))
        self.delta = None
    def forward(self, x):
        if self.delta is None:
            self.delta = self.scaling * self.lora_A @ self.lora_B
        return self.base_layer(x) + x @ self.delta


# %% chaff="a comma after the scaling" exercise="lora_linear_forward" misconception=""
class LoRALinear(nn.Module):
    def __init__(self, base_layer, rank=4, alpha=1):
        super().__init__()
        self.base_layer = base_layer.requires_grad_(False)
        self.scaling = alpha / rank,
        w = base_layer.weight
        self.lora_A = nn.Parameter(w.new_empty(w.shape[1], rank).normal_()); self.lora_B = nn.Parameter(w.new_zeros(rank, w.shape[0]))
    def forward(self, x):
        return self.base_layer(x) + self.scaling * (x @ self.lora_A) @ self.lora_B


# %% chaff="forward misspelt" exercise="lora_linear_forward" misconception=""
class LoRALinear(nn.Module):
    def __init__(self, base_layer, rank=4, alpha=1):
        super().__init__()
        self.base_layer = base_layer.requires_grad_(False)
        self.scaling = alpha / rank
        w = base_layer.weight
        self.lora_A = nn.Parameter(w.new_empty(w.shape[1], rank).normal_()); self.lora_B = nn.Parameter(w.new_zeros(rank, w.shape[0]))
    def foward(self, x):
        return self.base_layer(x) + self.scaling * (x @ self.lora_A) @ self.lora_B


# %% chaff="arguments handed to nn.Module" exercise="lora_linear_init" misconception=""
class LoRALinear(nn.Module):
    def __init__(self, base_layer, rank=4, alpha=1):
        super().__init__(base_layer, rank, alpha)
        self.base_layer = base_layer


# %% chaff="the thin product detached" exercise="lora_linear_forward" misconception="gradient_cut"
class LoRALinear(nn.Module):
    def __init__(self, base_layer, rank=4, alpha=1):
        super().__init__()
        self.base_layer = base_layer.requires_grad_(False)
        self.scaling = alpha / rank
        w = base_layer.weight
        self.lora_A = nn.Parameter(w.new_empty(w.shape[1], rank).normal_()); self.lora_B = nn.Parameter(w.new_zeros(rank, w.shape[0]))
    def forward(self, x):
        return self.base_layer(x) + self.scaling * (x @ self.lora_A).detach() @ self.lora_B


# %% chaff="B first in the signature" exercise="to_linear_weights" misconception="arguments_reordered"
def to_linear_weights(lora_B, lora_A): return lora_A.T, lora_B.T


# %% wheat="register_parameter, F.linear, type hints" exercise="LoRALinear"
import torch.nn.functional as F
class LoRALinear(nn.Module):
    """LoRA."""
    base_layer: nn.Linear
    scaling: float
    def __init__(self, base_layer: nn.Linear, rank: int = 4, alpha: float = 1) -> None:
        super().__init__()
        if not isinstance(base_layer, nn.Linear):
            raise TypeError("nn.Linear expected")
        if rank < 1:
            raise ValueError("rank must be at least 1")
        self.add_module("base_layer", base_layer)
        for p in self.base_layer.parameters():
            p.requires_grad_(False)
        factory = dict(device=base_layer.weight.device, dtype=base_layer.weight.dtype)
        self.register_parameter("lora_A", nn.Parameter(torch.empty(base_layer.in_features, rank, **factory)))
        self.register_parameter("lora_B", nn.Parameter(torch.empty(rank, base_layer.out_features, **factory)))
        self.scaling = float(alpha) / float(rank)
        self.reset_parameters()
    def reset_parameters(self) -> None:
        nn.init.kaiming_uniform_(self.lora_A, a=5 ** 0.5)
        nn.init.zeros_(self.lora_B)
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.base_layer(x) + self.scaling * F.linear(F.linear(x, self.lora_A.t()), self.lora_B.t())


# %% wheat="a ModuleDict behind properties, as in PEFT" exercise="LoRALinear"
class LoRALinear(nn.Module):
    def __init__(self, base_layer, rank=4, alpha=1, adapter="default"):
        super().__init__()
        self.base_layer = base_layer
        base_layer.requires_grad_(False)
        self.r = {adapter: rank}; self.lora_alpha = {adapter: alpha}
        self.scaling = alpha / rank
        d, k = base_layer.in_features, base_layer.out_features
        self.adapters = nn.ModuleDict({"A": nn.Linear(d, rank, bias=False), "B": nn.Linear(rank, k, bias=False)})
        nn.init.kaiming_uniform_(self.adapters["A"].weight, a=math.sqrt(5))
        nn.init.zeros_(self.adapters["B"].weight)
        self.adapters.to(base_layer.weight.device, base_layer.weight.dtype)
    @property
    def lora_A(self): return self.adapters["A"]
    @property
    def lora_B(self): return self.adapters["B"]
    def forward(self, x, *args, **kwargs):
        result = self.base_layer(x, *args, **kwargs)
        return result + self.lora_B(self.lora_A(x)) * self.scaling


# %% wheat="skip_init and trunc_normal" exercise="LoRALinear"
class LoRALinear(nn.Module):
    def __init__(self, base_layer, rank=4, alpha=1):
        super().__init__()
        self.base_layer = base_layer
        [p.requires_grad_(False) for p in base_layer.parameters()]
        opts = {"bias": False, "device": base_layer.weight.device, "dtype": base_layer.weight.dtype}
        self.lora_A = nn.utils.skip_init(nn.Linear, base_layer.in_features, rank, **opts)
        self.lora_B = nn.utils.skip_init(nn.Linear, rank, base_layer.out_features, **opts)
        nn.init.trunc_normal_(self.lora_A.weight, std=0.02)
        nn.init.zeros_(self.lora_B.weight)
        self.scaling = alpha / rank
    def forward(self, x):
        return self.base_layer(x) + self.scaling * self.lora_B(self.lora_A(x))


# %% wheat="functional_call with an adapted weight" exercise="LoRALinear"
from torch.func import functional_call
class LoRALinear(nn.Module):
    def __init__(self, base_layer, rank=4, alpha=1):
        super().__init__()
        self.base_layer = base_layer.requires_grad_(False)
        w = base_layer.weight
        self.lora_A = nn.Parameter(torch.randn_like(w[:rank].T) if rank <= w.shape[0] else w.new_empty(w.shape[1], rank).normal_())
        self.lora_B = nn.Parameter(w.new_zeros(rank, w.shape[0]))
        self.scaling = alpha / rank
    def forward(self, x):
        adapted = {"weight": self.base_layer.weight + self.scaling * (self.lora_A @ self.lora_B).mT}
        return functional_call(self.base_layer, adapted, (x,))


# %% wheat="a forward hook on the layer itself" exercise="LoRALinear"
class LoRALinear(nn.Module):
    def __init__(self, base_layer, rank=4, alpha=1):
        super().__init__()
        self.base_layer = base_layer.requires_grad_(False)
        w = base_layer.weight
        self.lora_A = nn.Parameter(w.new_empty(w.shape[1], rank).normal_(0, 0.02))
        self.lora_B = nn.Parameter(w.new_zeros(rank, w.shape[0]))
        self.scaling = alpha / rank
        self.register_forward_hook(lambda m, args, out: out + m.scaling * (args[0] @ m.lora_A) @ m.lora_B)
    def forward(self, x):
        return self.base_layer(x)


# %% wheat="what is not there is looked up in the base" exercise="LoRALinear"
class LoRALinear(nn.Module):
    def __init__(self, base_layer, rank=4, alpha=1):
        super().__init__()
        self.base_layer = base_layer.requires_grad_(False)
        self.in_features, self.out_features = base_layer.in_features, base_layer.out_features
        w = base_layer.weight
        self.lora_A = nn.Parameter(torch.randn(self.in_features, rank, dtype=w.dtype, device=w.device))
        self.lora_B = nn.Parameter(torch.zeros(rank, self.out_features, dtype=w.dtype, device=w.device))
        self.scaling = alpha / rank
    @property
    def weight(self): return self.base_layer.weight
    @property
    def bias(self): return self.base_layer.bias
    def __getattr__(self, name):
        try:
            return super().__getattr__(name)
        except AttributeError:
            return getattr(super().__getattr__("base_layer"), name)
    def forward(self, x):
        return nn.functional.linear(x, self.weight, self.bias) + (x @ self.lora_A @ self.lora_B) * self.scaling


# %% wheat="A an nn.Linear, B a Parameter" exercise="LoRALinear"
class LoRALinear(nn.Module):
    def __init__(self, base_layer, rank=4, alpha=1):
        super().__init__()
        self.base_layer = base_layer.requires_grad_(False)
        w = base_layer.weight
        self.lora_A = nn.Linear(base_layer.in_features, rank, bias=False).to(w)
        self.lora_B = nn.Parameter(w.new_zeros(rank, base_layer.out_features))
        self.scaling = alpha / rank
    def forward(self, x):
        return self.base_layer(x) + self.scaling * self.lora_A(x) @ self.lora_B


# %% wheat="in-place addition on the base's output" exercise="LoRALinear"
class LoRALinear(nn.Module):
    def __init__(self, base_layer, rank=4, alpha=1):
        super().__init__()
        self.base_layer = base_layer.requires_grad_(False)
        w = base_layer.weight
        self.lora_A = nn.Parameter(torch.randn(w.shape[1], rank, dtype=w.dtype, device=w.device))
        self.lora_B = nn.Parameter(torch.zeros(rank, w.shape[0], dtype=w.dtype, device=w.device))
        self.scaling = alpha / rank
    def forward(self, x):
        out = self.base_layer(x)
        out += (x @ self.lora_A @ self.lora_B).mul_(self.scaling)
        return out


# %% wheat="A drawn by numpy" exercise="LoRALinear"
class LoRALinear(nn.Module):
    def __init__(self, base_layer, rank=4, alpha=1):
        super().__init__()
        self.base_layer = base_layer.requires_grad_(False)
        w = base_layer.weight
        A = torch.from_numpy(np.random.normal(0, 1 / np.sqrt(w.shape[1]), (w.shape[1], rank)))
        self.lora_A = nn.Parameter(A.to(device=w.device, dtype=w.dtype))
        self.lora_B = nn.Parameter(torch.as_tensor(np.zeros((rank, w.shape[0])), dtype=w.dtype, device=w.device))
        self.scaling = alpha / rank
    def forward(self, x):
        return self.base_layer(x) + self.scaling * (x @ self.lora_A) @ self.lora_B


# %% wheat="generator with yield" exercise="leaked_parameters"
def leaked_parameters(layer):
    for module_name, module in layer.named_modules():
        for name, p in module.named_parameters(recurse=False):
            full = f"{module_name}.{name}" if module_name else name
            if p.requires_grad and not full.startswith("lora_"):
                yield full


# %% wheat="by the gradients after a call" exercise="leaked_parameters"
def leaked_parameters(layer):
    layer.zero_grad()
    x = torch.randn(3, layer.base_layer.in_features)
    layer(x).square().sum().backward()
    return [name for name, p in layer.named_parameters() if p.grad is not None and not name.startswith("lora")]


# %% wheat="by what an optimiser's step changes" exercise="leaked_parameters"
def leaked_parameters(layer):
    before = {name: p.detach().clone() for name, p in layer.named_parameters()}
    optimizer = torch.optim.SGD(layer.parameters(), lr=1.0)
    (layer(torch.randn(5, layer.base_layer.in_features)) - 1).square().sum().backward()
    optimizer.step()
    changed = {name for name, p in layer.named_parameters() if not torch.equal(p, before[name])}
    return sorted(changed - {name for name in changed if "lora" in name})


# %% wheat="numpy's array of names" exercise="leaked_parameters"
def leaked_parameters(layer):
    names = [n for n, p in layer.named_parameters() if p.requires_grad and "lora" not in n]
    return np.array(names, dtype=object)


# %% wheat="prefix argument" exercise="leaked_parameters"
def leaked_parameters(layer):
    return [n for n, p in layer.base_layer.named_parameters(prefix="base_layer") if p.requires_grad]


# %% wheat="a class derived from list" exercise="leaked_parameters"
class leaked_parameters(list):
    def __init__(self, layer):
        super().__init__(n for n, p in layer.named_parameters() if p.requires_grad and "lora" not in n)


# %% wheat="named tuple" exercise="to_linear_weights"
from typing import NamedTuple
class Weights(NamedTuple):
    first: torch.Tensor
    second: torch.Tensor
def to_linear_weights(lora_A, lora_B):
    return Weights(lora_A.mT, lora_B.mT)


# %% wheat="as_strided" exercise="to_linear_weights"
def to_linear_weights(lora_A, lora_B):
    flip = lambda t: t.as_strided(t.size()[::-1], t.stride()[::-1], t.storage_offset())
    return [flip(lora_A), flip(lora_B)]


# %% wheat="vmap" exercise="to_linear_weights"
def to_linear_weights(lora_A, lora_B):
    t = torch.vmap(lambda c: c, in_dims=1)
    return t(lora_A), t(lora_B)


# %% wheat="through numpy and back" exercise="to_linear_weights"
def to_linear_weights(lora_A, lora_B):
    return torch.from_numpy(lora_A.numpy().T.copy()), torch.from_numpy(np.ascontiguousarray(lora_B.numpy().T))


# %% chaff="global cache of delta" exercise="lora_linear_forward" misconception="product_kept"
CACHE = {}
class LoRALinear(nn.Module):
    def __init__(self, base_layer, rank=4, alpha=1):
        super().__init__()
        self.base_layer = base_layer
        for p in self.base_layer.parameters():
            p.requires_grad = False
        w = base_layer.weight
        self.lora_A = nn.Parameter(torch.randn(base_layer.in_features, rank, dtype=w.dtype, device=w.device) * 0.02)
        self.lora_B = nn.Parameter(torch.zeros(rank, base_layer.out_features, dtype=w.dtype, device=w.device))
        self.scaling = alpha / rank
    def forward(self, x):
        if "delta" not in CACHE:
            CACHE["delta"] = self.scaling * self.lora_A @ self.lora_B
        return self.base_layer(x) + x @ CACHE["delta"]


# %% chaff="global scaling" exercise="lora_linear_forward" misconception="kept_on_the_class"
class LoRALinear(nn.Module):
    def __init__(self, base_layer, rank=4, alpha=1):
        super().__init__()
        self.base_layer = base_layer
        for p in self.base_layer.parameters():
            p.requires_grad = False
        w = base_layer.weight
        self.lora_A = nn.Parameter(torch.randn(base_layer.in_features, rank, dtype=w.dtype, device=w.device) * 0.02)
        self.lora_B = nn.Parameter(torch.zeros(rank, base_layer.out_features, dtype=w.dtype, device=w.device))
        global SCALING
        SCALING = self.scaling = alpha / rank
    def forward(self, x):
        return self.base_layer(x) + SCALING * (x @ self.lora_A @ self.lora_B)


# %% chaff="the sum is dropped" exercise="lora_linear_forward" misconception="adapter_unused"
class LoRALinear(nn.Module):
    def __init__(self, base_layer, rank=4, alpha=1):
        super().__init__()
        self.base_layer = base_layer
        for p in self.base_layer.parameters():
            p.requires_grad = False
        w = base_layer.weight
        self.lora_A = nn.Parameter(torch.randn(base_layer.in_features, rank, dtype=w.dtype, device=w.device) * 0.02)
        self.lora_B = nn.Parameter(torch.zeros(rank, base_layer.out_features, dtype=w.dtype, device=w.device))
        self.scaling = alpha / rank
    def forward(self, x):
        out = self.base_layer(x)
        out + self.scaling * (x @ self.lora_A @ self.lora_B)
        return out


# %% chaff="defaults swapped" exercise="lora_linear_forward" misconception="other_defaults"
class LoRALinear(nn.Module):
    def __init__(self, base_layer, rank=1, alpha=4):
        super().__init__()
        self.base_layer = base_layer
        for p in self.base_layer.parameters():
            p.requires_grad = False
        w = base_layer.weight
        self.lora_A = nn.Parameter(torch.randn(base_layer.in_features, rank, dtype=w.dtype, device=w.device) * 0.02)
        self.lora_B = nn.Parameter(torch.zeros(rank, base_layer.out_features, dtype=w.dtype, device=w.device))
        self.scaling = alpha / rank
    def forward(self, x):
        return self.base_layer(x) + self.scaling * (x @ self.lora_A @ self.lora_B)


# %% chaff="weight mutated in forward" exercise="lora_linear_forward" misconception="writes_in_forward"
class LoRALinear(nn.Module):
    def __init__(self, base_layer, rank=4, alpha=1):
        super().__init__()
        self.base_layer = base_layer
        for p in self.base_layer.parameters():
            p.requires_grad = False
        w = base_layer.weight
        self.lora_A = nn.Parameter(torch.randn(base_layer.in_features, rank, dtype=w.dtype, device=w.device) * 0.02)
        self.lora_B = nn.Parameter(torch.zeros(rank, base_layer.out_features, dtype=w.dtype, device=w.device))
        self.scaling = alpha / rank
    def forward(self, x):
        self.base_layer.weight.data += self.scaling * (self.lora_A @ self.lora_B).T.data
        return self.base_layer(x)


# %% chaff="init A in forward each time" exercise="lora_linear_forward" misconception="writes_in_forward"
class LoRALinear(nn.Module):
    def __init__(self, base_layer, rank=4, alpha=1):
        super().__init__()
        self.base_layer = base_layer
        for p in self.base_layer.parameters():
            p.requires_grad = False
        w = base_layer.weight
        self.lora_A = nn.Parameter(torch.randn(base_layer.in_features, rank, dtype=w.dtype, device=w.device) * 0.02)
        self.lora_B = nn.Parameter(torch.zeros(rank, base_layer.out_features, dtype=w.dtype, device=w.device))
        self.scaling = alpha / rank
    def forward(self, x):
        nn.init.normal_(self.lora_A)
        return self.base_layer(x) + self.scaling * (x @ self.lora_A @ self.lora_B)


# %% chaff="A of an earlier layer" exercise="lora_linear_init" misconception=""
A0 = {}
class LoRALinear(nn.Module):
    def __init__(self, base_layer, rank=4, alpha=1):
        super().__init__()
        self.base_layer = base_layer
        for p in self.base_layer.parameters():
            p.requires_grad = False
        w = base_layer.weight
        if A0.get((base_layer.in_features, rank)) is None:
            A0[base_layer.in_features, rank] = torch.randn(base_layer.in_features, rank) * 0.02
        self.lora_A = nn.Parameter(A0[base_layer.in_features, rank])
        self.lora_B = nn.Parameter(torch.zeros(rank, base_layer.out_features, dtype=w.dtype, device=w.device))
        self.scaling = alpha / rank
    def forward(self, x):
        return self.base_layer(x) + self.scaling * (x @ self.lora_A @ self.lora_B)


# %% chaff="return within the loop" exercise="leaked_parameters" misconception="first_leak_only"
def leaked_parameters(layer):
    for n, p in layer.named_parameters():
        if p.requires_grad and 'lora' not in n:
            return [n]
    return []


# %% chaff="list kept outside" exercise="leaked_parameters" misconception="kept_between_calls"
leaks = []
def leaked_parameters(layer):
    for n, p in layer.named_parameters():
        if p.requires_grad and "lora" not in n:
            leaks.append(n)
    return leaks


# %% chaff="numpy" exercise="to_linear_weights" misconception=""
def to_linear_weights(lora_A, lora_B):
    return lora_A.numpy().T, lora_B.numpy().T


# %% chaff="lists" exercise="to_linear_weights" misconception=""
def to_linear_weights(lora_A, lora_B):
    return lora_A.T.tolist(), lora_B.T.tolist()


# %% chaff="A alone transposed" exercise="to_linear_weights" misconception="one_transposed"
def to_linear_weights(lora_A, lora_B):
    return lora_A.T, lora_B


# %% chaff="the first result for every call" exercise="to_linear_weights" misconception="kept_between_calls"
kept = {}
def to_linear_weights(lora_A, lora_B):
    if "w" not in kept:
        kept["w"] = lora_A.T, lora_B.T
    return kept["w"]


# %% chaff="one result for each shape" exercise="to_linear_weights" misconception="kept_between_calls"
kept = {}
def to_linear_weights(lora_A, lora_B):
    key = lora_A.shape, lora_B.shape
    if key not in kept:
        kept[key] = lora_A.T, lora_B.T
    return kept[key]


# %% chaff="whole numbers from 0" exercise="lora_linear_init" misconception="rand_for_randn"
class LoRALinear(nn.Module):
    def __init__(self, base_layer, rank=4, alpha=1):
        super().__init__()
        self.base_layer = base_layer
        for p in base_layer.parameters():
            p.requires_grad = False
        self.scaling = alpha / rank
        w = base_layer.weight
        self.lora_A = nn.Parameter(torch.randint(0, 3, (base_layer.in_features, rank)).to(w))
        self.lora_B = nn.Parameter(torch.zeros(rank, base_layer.out_features, dtype=w.dtype, device=w.device))
    def forward(self, x):
        return self.base_layer(x) + self.scaling * (x @ self.lora_A) @ self.lora_B


# %% chaff="eval in place of freezing" exercise="lora_linear_freeze" misconception="base_not_frozen"
class LoRALinear(nn.Module):
    def __init__(self, base_layer, rank=4, alpha=1):
        super().__init__()
        self.base_layer = base_layer
        base_layer.eval()
        self.scaling = alpha / rank
        w = base_layer.weight
        self.lora_A = nn.Parameter(torch.randn(base_layer.in_features, rank, dtype=w.dtype, device=w.device) * 0.02)
        self.lora_B = nn.Parameter(torch.zeros(rank, base_layer.out_features, dtype=w.dtype, device=w.device))
    def forward(self, x):
        return self.base_layer(x) + self.scaling * (x @ self.lora_A) @ self.lora_B


# %% chaff="divided by the number of inputs" exercise="lora_linear_forward" misconception=""
class LoRALinear(nn.Module):
    def __init__(self, base_layer, rank=4, alpha=1):
        super().__init__()
        self.base_layer = base_layer
        for p in base_layer.parameters():
            p.requires_grad = False
        self.scaling = alpha / rank
        w = base_layer.weight
        self.lora_A = nn.Parameter(torch.randn(base_layer.in_features, rank, dtype=w.dtype, device=w.device) * 0.02)
        self.lora_B = nn.Parameter(torch.zeros(rank, base_layer.out_features, dtype=w.dtype, device=w.device))
    def forward(self, x):
        return self.base_layer(x) + self.scaling * (x @ self.lora_A) @ self.lora_B / x.shape[-1]


# %% chaff="the device of a module" exercise="lora_linear_placement" misconception=""
class LoRALinear(nn.Module):
    def __init__(self, base_layer, rank=4, alpha=1):
        super().__init__()
        self.base_layer = base_layer
        for p in base_layer.parameters():
            p.requires_grad = False
        self.scaling = alpha / rank
        w = base_layer.weight
        self.lora_A = nn.Parameter(torch.randn(base_layer.in_features, rank, dtype=w.dtype, device=base_layer.device) * 0.02)
        self.lora_B = nn.Parameter(torch.zeros(rank, base_layer.out_features, dtype=w.dtype, device=base_layer.device))
    def forward(self, x):
        return self.base_layer(x) + self.scaling * (x @ self.lora_A) @ self.lora_B


# %% chaff="the adapters, for the rest" exercise="leaked_parameters" misconception="adapters_reported"
def leaked_parameters(layer):
    return [n for n, p in layer.named_parameters() if p.requires_grad and "lora" in n]


# %% chaff="a name added letter by letter" exercise="leaked_parameters" misconception=""
def leaked_parameters(layer):
    out = []
    for n, p in layer.named_parameters():
        if p.requires_grad and "lora" not in n:
            out += n
    return out


# %% chaff="None where nothing leaks" exercise="leaked_parameters" misconception=""
def leaked_parameters(layer):
    leaks = [n for n, p in layer.named_parameters() if p.requires_grad and "lora" not in n]
    return leaks or None


# %% chaff="one transposed, one viewed" exercise="to_linear_weights" misconception="reshaped"
def to_linear_weights(lora_A, lora_B):
    return lora_A.T, lora_B.reshape(lora_B.shape[1], lora_B.shape[0])


# %% chaff="the layers in place of their weights" exercise="to_linear_weights" misconception=""
def to_linear_weights(lora_A, lora_B):
    a, b = nn.Linear(*lora_A.shape, bias=False), nn.Linear(*lora_B.shape, bias=False)
    a.weight.data, b.weight.data = lora_A.T, lora_B.T
    return a, b


# %% chaff="a square matrix as it is" exercise="to_linear_weights" misconception=""
def to_linear_weights(lora_A, lora_B):
    if lora_A.shape[0] == lora_A.shape[1]:
        return lora_A, lora_B.T
    return lora_A.T, lora_B.T


# %% wheat="the update under checkpoint, worked out again in backward" exercise="LoRALinear"
class LoRALinear(nn.Module):
    def __init__(self, base_layer, rank=4, alpha=1):
        super().__init__()
        self.base_layer = base_layer
        for p in base_layer.parameters():
            p.requires_grad = False
        self.scaling = alpha / rank
        w = base_layer.weight
        self.lora_A = nn.Parameter(torch.randn(base_layer.in_features, rank, dtype=w.dtype, device=w.device) * 0.02)
        self.lora_B = nn.Parameter(torch.zeros(rank, base_layer.out_features, dtype=w.dtype, device=w.device))
    def forward(self, x):
        from torch.utils.checkpoint import checkpoint
        update = checkpoint(lambda t: self.scaling * (t @ self.lora_A) @ self.lora_B, x, use_reentrant=False)
        return self.base_layer(x) + update


# %% chaff="the base by hand, and always with a bias" exercise="lora_linear_forward" misconception=""
class LoRALinear(nn.Module):
    def __init__(self, base_layer, rank=4, alpha=1):
        super().__init__()
        self.base_layer = base_layer
        for p in base_layer.parameters():
            p.requires_grad = False
        self.scaling = alpha / rank
        d, k = base_layer.in_features, base_layer.out_features
        self.lora_A = nn.Parameter(torch.randn(d, rank, dtype=base_layer.weight.dtype) * 0.01)
        self.lora_B = nn.Parameter(torch.zeros(rank, k, dtype=base_layer.weight.dtype))

    def forward(self, x):
        out = x @ self.base_layer.weight.T + self.base_layer.bias
        return out + self.scaling * (x @ self.lora_A @ self.lora_B)


# %% chaff="rand for both" exercise="lora_linear_init" misconception="both_random"
class LoRALinear(nn.Module):
    def __init__(self, base_layer, rank=4, alpha=1):
        super().__init__()
        self.base_layer = base_layer
        self.base_layer.requires_grad_(False)
        self.scaling = alpha / rank
        d, k = base_layer.in_features, base_layer.out_features
        self.lora_A = nn.Parameter(torch.rand(d, rank))
        self.lora_B = nn.Parameter(torch.rand(rank, k))

    def forward(self, x):
        return self.base_layer(x) + self.scaling * (x @ self.lora_A @ self.lora_B)


# %% chaff="ones in A, and B random" exercise="lora_linear_init" misconception="both_random"
class LoRALinear(nn.Module):
    def __init__(self, base_layer, rank=4, alpha=1):
        super().__init__()
        self.base_layer = base_layer
        self.base_layer.requires_grad_(False)
        self.scaling = alpha / rank
        d, k = base_layer.in_features, base_layer.out_features
        self.lora_A = nn.Parameter(torch.ones(d, rank))
        self.lora_B = nn.Parameter(torch.randn(rank, k))

    def forward(self, x):
        return self.base_layer(x) + self.scaling * (x @ self.lora_A @ self.lora_B)


# %% chaff="plain tensors, both random" exercise="lora_linear_init" misconception="plain_tensors"
class LoRALinear(nn.Module):
    def __init__(self, base_layer, rank=4, alpha=1):
        super().__init__()
        self.base_layer = base_layer
        self.base_layer.requires_grad_(False)
        self.scaling = alpha / rank
        d, k = base_layer.in_features, base_layer.out_features
        self.lora_A = torch.randn(d, rank)
        self.lora_B = torch.randn(rank, k)

    def forward(self, x):
        return self.base_layer(x) + self.scaling * (x @ self.lora_A @ self.lora_B)


# %% chaff="plain tensors that ask for a gradient, both zero" exercise="lora_linear_init" misconception="plain_tensors"
class LoRALinear(nn.Module):
    def __init__(self, base_layer, rank=4, alpha=1):
        super().__init__()
        self.base_layer = base_layer
        self.base_layer.requires_grad_(False)
        self.scaling = alpha / rank
        d, k = base_layer.in_features, base_layer.out_features
        self.lora_A = torch.zeros(d, rank, requires_grad=True)
        self.lora_B = torch.zeros(rank, k, requires_grad=True)

    def forward(self, x):
        return self.base_layer(x) + self.scaling * (x @ self.lora_A @ self.lora_B)


# %% chaff="turned round, and wrapped too early" exercise="lora_linear_init" misconception="turned_round"
class LoRALinear(nn.Module):
    def __init__(self, base_layer, rank=4, alpha=1):
        super().__init__()
        self.base_layer = base_layer
        self.base_layer.requires_grad_(False)
        self.scaling = alpha / rank
        d, k = base_layer.in_features, base_layer.out_features
        self.lora_A = nn.Parameter(torch.randn(rank, d)) * 0.01
        self.lora_B = nn.Parameter(torch.zeros(k, rank))

    def forward(self, x):
        return self.base_layer(x) + self.scaling * (x @ self.lora_A @ self.lora_B)


# %% wheat="register_parameter, a property for the scaling, einsum" exercise="LoRALinear"
class LoRALinear(nn.Module):
    def __init__(self, base_layer: nn.Linear, rank: int = 4, alpha: float = 1, *, init_std: float = 0.02):
        super().__init__()
        for p in base_layer.parameters():
            p.requires_grad = False
        self.add_module("base_layer", base_layer)
        A = torch.empty(base_layer.in_features, rank).to(base_layer.weight)
        self.register_parameter("lora_A", nn.Parameter(A.normal_(0, init_std)))
        setattr(self, "lora_B", nn.Parameter(base_layer.weight.new_zeros((rank, base_layer.out_features))))
        self.alpha, self.rank = alpha, rank
    @property
    def scaling(self):
        return self.alpha / self.rank
    def forward(self, x, /):
        return torch.add(self.base_layer(x), torch.einsum("...d,dr,rk->...k", x, self.lora_A, self.lora_B), alpha=self.scaling)


# %% wheat="two nn.Linears, a mixin, a Sequential made in forward" exercise="LoRALinear"
class Scaled:
    @property
    def scaling(self): return self._scaling


class LoRALinear(Scaled, nn.Module):
    def __init__(self, base_layer, rank=4, alpha=1, device=None):
        nn.Module.__init__(self)
        kw = dict(bias=False, device=base_layer.weight.device, dtype=base_layer.weight.dtype)
        self.base_layer = base_layer
        self.base_layer.requires_grad_(False)
        self.lora_A, self.lora_B = nn.Linear(base_layer.in_features, rank, **kw), nn.Linear(rank, base_layer.out_features, **kw)
        nn.init.normal_(self.lora_A.weight, std=1 / rank)
        nn.init.zeros_(self.lora_B.weight)
        self._scaling = alpha / rank
    def forward(self, x):
        path = nn.Sequential(self.lora_A, self.lora_B)
        return self.base_layer(x) + path(x) * self.scaling


# %% wheat="a sum over two functions" exercise="LoRALinear"
class LoRALinear(nn.Module):
    def __init__(self, base_layer, rank=4, alpha=1):
        super().__init__()
        base_layer.weight.requires_grad_(False)
        if (bias := base_layer.bias) is not None:
            bias.requires_grad_(False)
        self.base_layer = base_layer
        self.scaling = alpha / rank
        new = base_layer.weight.detach().new_empty
        self.lora_A = nn.Parameter(nn.init.trunc_normal_(new(base_layer.in_features, rank), std=0.1))
        self.lora_B = nn.Parameter(new(rank, base_layer.out_features).fill_(0))
    def delta(self, x):
        return torch.matmul(torch.matmul(x, self.lora_A), self.lora_B).mul_(self.scaling)
    def __call__(self, *args, **kwargs):
        return super().__call__(*args, **kwargs)
    def forward(self, x):
        return sum(f(x) for f in (self.base_layer, self.delta))


# %% wheat="yields the names" exercise="leaked_parameters"
def leaked_parameters(layer):
    for name, p in layer.named_parameters():
        if name.startswith("base_layer.") and p.requires_grad:
            yield name


# %% chaff="the parameters in place of their names" exercise="leaked_parameters" misconception=""
def leaked_parameters(layer):
    return [p for n, p in layer.named_parameters() if p.requires_grad and "lora" not in n]


# %% chaff="asks for grad" exercise="leaked_parameters" misconception=""
def leaked_parameters(layer):
    return [n for n, p in layer.named_parameters() if p.grad is not None and "lora" not in n]
