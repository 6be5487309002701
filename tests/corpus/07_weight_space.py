# Right answers in other styles (wheat) and wrong ones (chaff) for lesson 07; format: tests/corpus/README.md


# %% wheat="as published, mended" exercise="LoRAWeight"
class LoRAWeight(nn.Module):
    def __init__(self, in_f, out_f, rank=1, alpha=1, device: str = "cpu"):
        super().__init__()
        self.A = nn.Parameter(torch.zeros((rank, out_f)).to(device))
        self.B = nn.Parameter(torch.randn((in_f, rank)).to(device))
        self.scale = alpha / rank
        self.en = True

    def forward(self, wts):
        if self.en:
            return wts + torch.matmul(self.B, self.A).view(wts.shape) * self.scale
        else:
            return wts


# %% wheat="kaiming, addmm on the flattened weight" exercise="LoRAWeight"
class LoRAWeight(nn.Module):
    def __init__(self, in_f, out_f, rank=1, alpha=1, device="cpu"):
        super().__init__()
        self.A = nn.Parameter(torch.empty(rank, out_f, device=device))
        self.B = nn.Parameter(torch.empty(in_f, rank, device=device))
        nn.init.kaiming_uniform_(self.A, a=math.sqrt(5))
        nn.init.zeros_(self.B)
        self.rank, self.alpha, self.en = rank, alpha, True

    @property
    def scale(self):
        return self.alpha / self.rank

    def forward(self, wts):
        if not self.en:
            return wts
        flat = wts.reshape(self.B.shape[0], self.A.shape[1])
        return torch.addmm(flat, self.B, self.A, alpha=self.scale).reshape(wts.shape)


# %% wheat="a conditional expression, scale as a tensor" exercise="LoRAWeight"
class LoRAWeight(nn.Module):
    def __init__(self, in_f, out_f, rank=1, alpha=1, device="cpu"):
        super().__init__()
        self.en = True
        self.register_buffer("scale", torch.tensor(alpha / rank, device=device))
        A = torch.zeros(rank, out_f, device=device)
        self.register_parameter("A", nn.Parameter(nn.init.xavier_normal_(A)))
        self.register_parameter("B", nn.Parameter(torch.zeros(in_f, rank, device=device)))

    def forward(self, wts):
        return wts + (self.scale * (self.B @ self.A)).view_as(wts) if self.en else wts


# %% wheat="einsum and a sum of outer products" exercise="LoRAWeight"
class LoRAWeight(nn.Module):
    def __init__(self, in_f, out_f, rank=1, alpha=1, device="cpu"):
        nn.Module.__init__(self)
        generator = torch.rand(rank, out_f, device=device) - 0.5
        self.A, self.B = nn.Parameter(generator), nn.Parameter(torch.zeros(in_f, rank, device=device))
        self.scale, self.en = alpha / rank, True

    def delta(self):
        return self.scale * torch.einsum("ir,ro->io", self.B, self.A)

    def forward(self, wts):
        if self.en:
            wts = torch.add(wts, self.delta().unflatten(1, (-1,)).reshape(wts.size()))
        return wts


# %% wheat="the transpose taken back before the view" exercise="LoRAWeight"
class LoRAWeight(nn.Module):
    def __init__(self, in_f, out_f, rank=1, alpha=1, device="cpu"):
        super().__init__()
        self.A = nn.Parameter(0.02 * torch.randn(rank, out_f, device=device))
        self.B = nn.Parameter(self.A.new_zeros(in_f, rank))
        self.scale = float(alpha) / rank
        self.en = True

    def forward(self, wts):
        if self.en is False:
            return wts
        turned = (self.A.T * self.scale) @ self.B.T
        return turned.T.reshape(wts.shape) + wts


# %% chaff="writes into B after its use" exercise="LoRAWeight" misconception=""
class LoRAWeight(nn.Module):
    def __init__(self, in_f, out_f, rank=1, alpha=1, device="cpu"):
        super().__init__()
        self.A = nn.Parameter(torch.randn(rank, out_f, device=device))
        self.B = nn.Parameter(torch.zeros(in_f, rank, device=device))
        self.scale = alpha / rank
        self.en = True

    def forward(self, wts):
        if not self.en:
            return wts
        out = wts + (self.B @ self.A).view(wts.shape) * self.scale
        with torch.no_grad():
            self.B.mul_(1)
        return out


# %% chaff="one row of the rank only" exercise="LoRAWeight" misconception=""
class LoRAWeight(nn.Module):
    def __init__(self, in_f, out_f, rank=1, alpha=1, device="cpu"):
        super().__init__()
        self.A = nn.Parameter(torch.randn(rank, out_f, device=device))
        self.B = nn.Parameter(torch.zeros(in_f, rank, device=device))
        self.scale = alpha / rank
        self.en = True

    def forward(self, wts):
        if not self.en:
            return wts
        return wts - (self.B @ self.A).view(wts.shape) * self.scale


# %% chaff="A is all ones" exercise="LoRAWeight" misconception=""
class LoRAWeight(nn.Module):
    def __init__(self, in_f, out_f, rank=1, alpha=1, device="cpu"):
        super().__init__()
        self.A = nn.Parameter(torch.ones(rank, out_f, device=device))
        self.B = nn.Parameter(torch.zeros(in_f, rank, device=device))
        self.scale = alpha / rank
        self.en = True

    def forward(self, wts):
        return wts + (self.B @ self.A).view(wts.shape) * self.scale if self.en else wts


# %% chaff="A is enormous" exercise="LoRAWeight" misconception=""
class LoRAWeight(nn.Module):
    def __init__(self, in_f, out_f, rank=1, alpha=1, device="cpu"):
        super().__init__()
        self.A = nn.Parameter(torch.randn(rank, out_f, device=device) * 1e20)
        self.B = nn.Parameter(torch.zeros(in_f, rank, device=device))
        self.scale = alpha / rank
        self.en = True

    def forward(self, wts):
        if not self.en:
            return wts
        return wts + self.scale * (self.B @ self.A).reshape(wts.shape)


# %% chaff="A far from zero" exercise="LoRAWeight" misconception=""
class LoRAWeight(nn.Module):
    def __init__(self, in_f, out_f, rank=1, alpha=1, device="cpu"):
        super().__init__()
        self.A = nn.Parameter(torch.rand(rank, out_f, device=device) + 5)
        self.B = nn.Parameter(torch.zeros(in_f, rank, device=device))
        self.scale = alpha / rank
        self.en = True

    def forward(self, wts):
        if not self.en:
            return wts
        return wts + self.scale * (self.B @ self.A).reshape(wts.shape)


# %% chaff="one row of A for all" exercise="LoRAWeight" misconception=""
class LoRAWeight(nn.Module):
    def __init__(self, in_f, out_f, rank=1, alpha=1, device="cpu"):
        super().__init__()
        self.A = nn.Parameter(torch.randn(1, out_f, device=device).repeat(rank, 1))
        self.B = nn.Parameter(torch.zeros(in_f, rank, device=device))
        self.scale = alpha / rank
        self.en = True

    def forward(self, wts):
        if not self.en:
            return wts
        return wts + self.scale * (self.B @ self.A).reshape(wts.shape)


# %% chaff="nothing is added without gradients" exercise="LoRAWeight" misconception="adapter_with_gradients_only"
class LoRAWeight(nn.Module):
    def __init__(self, in_f, out_f, rank=1, alpha=1, device="cpu"):
        super().__init__()
        self.A = nn.Parameter(torch.randn(rank, out_f, device=device))
        self.B = nn.Parameter(torch.zeros(in_f, rank, device=device))
        self.scale = alpha / rank
        self.en = True

    def forward(self, wts):
        if not (self.en and torch.is_grad_enabled()):
            return wts
        return wts + self.scale * (self.B @ self.A).reshape(wts.shape)


# %% chaff="in evaluation the weight of the last training call" exercise="LoRAWeight" misconception="merged_at_eval"
class LoRAWeight(nn.Module):
    def __init__(self, in_f, out_f, rank=1, alpha=1, device="cpu"):
        super().__init__()
        self.A = nn.Parameter(torch.randn(rank, out_f, device=device))
        self.B = nn.Parameter(torch.zeros(in_f, rank, device=device))
        self.scale = alpha / rank
        self.en = True
        self.kept = None

    def forward(self, wts):
        if not self.en:
            return wts
        if self.training or self.kept is None:
            self.kept = wts + self.scale * (self.B @ self.A).reshape(wts.shape)
        return self.kept


# %% wheat="the product kept for as long as A and B stay the same" exercise="LoRAWeight"
class LoRAWeight(nn.Module):
    def __init__(self, in_f, out_f, rank=1, alpha=1, device="cpu"):
        super().__init__()
        self.A = nn.Parameter(torch.rand(rank, out_f, device=device))
        self.B = nn.Parameter(torch.zeros(in_f, rank, device=device))
        self.scale = alpha / rank
        self.en = True
        self.kept = None

    def forward(self, wts):
        if not self.en:
            return wts
        if torch.is_grad_enabled():
            return wts + self.scale * (self.B @ self.A).reshape(wts.shape)
        state = self.A._version, self.B._version, wts.data_ptr(), wts._version
        if self.kept is None or self.kept[0] != state:
            self.kept = state, torch.addmm(wts.flatten(1), self.B, self.A, alpha=self.scale).reshape(wts.shape)
        return self.kept[1]


# %% wheat="evaluated with a weight that is made when eval() is called" exercise="LoRAWeight"
class LoRAWeight(nn.Module):
    def __init__(self, in_f, out_f, rank=1, alpha=1, device="cpu"):
        super().__init__()
        self.A = nn.Parameter(nn.init.orthogonal_(torch.empty(rank, out_f, device=device)))
        self.B = nn.Parameter(torch.zeros(in_f, rank, device=device))
        self.scale = alpha / rank
        self.en = True
        self.change = None

    def train(self, mode=True):
        self.change = None if mode else self.scale * (self.B @ self.A)
        return super().train(mode)

    def forward(self, wts):
        if not self.en:
            return wts
        change = self.scale * (self.B @ self.A) if self.change is None else self.change
        return wts + change.view(wts.shape)


# %% chaff="matrices only: no kernels" exercise="LoRAWeight" misconception="product_not_reshaped"
class LoRAWeight(nn.Module):
    def __init__(self, in_f, out_f, rank=1, alpha=1, device="cpu"):
        super().__init__()
        self.A = nn.Parameter(torch.randn(rank, out_f, device=device))
        self.B = nn.Parameter(torch.zeros(in_f, rank, device=device))
        self.scale = alpha / rank
        self.en = True

    def forward(self, wts):
        return wts + self.B @ self.A * self.scale if self.en else wts


# %% chaff="kept in a list" exercise="LoRAWeight" misconception=""
class LoRAWeight(nn.Module):
    def __init__(self, in_f, out_f, rank=1, alpha=1, device="cpu"):
        super().__init__()
        self.matrices = [torch.zeros(in_f, rank), torch.randn(rank, out_f)]
        self.scale = alpha / rank
        self.en = True

    def forward(self, wts):
        B, A = self.matrices
        return wts + (B @ A).view(wts.shape) * self.scale if self.en else wts


# %% chaff="as published" exercise="LoRAWeight" misconception="both_zero"
class LoRAWeight(nn.Module):
    def __init__(self, in_f, out_f, rank=1, alpha=1, device: str = "cpu"):
        super().__init__()
        self.A = nn.Parameter(torch.zeros((rank, out_f)).to(device))
        self.B = nn.Parameter(torch.zeros((in_f, rank)).to(device))
        self.scale = alpha / rank
        self.en = True

    def forward(self, wts):
        if self.en:
            return wts + torch.matmul(self.B, self.A).view(wts.shape) * self.scale
        else:
            return wts


# %% chaff="plain tensors: they stay where they were made" exercise="LoRAWeight" misconception="not_registered"
class LoRAWeight(nn.Module):
    def __init__(self, in_f, out_f, rank=1, alpha=1, device="cpu"):
        super().__init__()
        self.A = torch.randn(rank, out_f, device=device, requires_grad=True)
        self.B = torch.zeros(in_f, rank, device=device, requires_grad=True)
        self.scale = alpha / rank
        self.en = True

    def forward(self, wts):
        return wts + (self.B @ self.A).view(wts.shape) * self.scale if self.en else wts


# %% chaff="Parameters renewed at each call, so that .to() is undone" exercise="LoRAWeight" misconception="does_not_follow"
class LoRAWeight(nn.Module):
    def __init__(self, in_f, out_f, rank=1, alpha=1, device="cpu"):
        super().__init__()
        self.A = nn.Parameter(torch.randn(rank, out_f, device=device))
        self.B = nn.Parameter(torch.zeros(in_f, rank, device=device))
        self.scale = alpha / rank
        self.en = True

    def half(self):
        return self

    def forward(self, wts):
        return wts + (self.B @ self.A).view(wts.shape) * self.scale if self.en else wts


# %% wheat="sizes from the weight" exercise="adapt_weight"
from torch.nn.utils import parametrize


class LoRAWeight(nn.Module):
    def __init__(self, in_f, out_f, rank=1, alpha=1, device="cpu"):
        super().__init__()
        self.A = nn.Parameter(torch.randn(rank, out_f, device=device) / math.sqrt(out_f))
        self.B = nn.Parameter(torch.zeros(in_f, rank, device=device))
        self.scale = alpha / rank
        self.en = True

    def forward(self, wts):
        return wts + self.scale * (self.B @ self.A).reshape(wts.shape) if self.en else wts


def adapt_weight(module, rank, alpha):
    if parametrize.is_parametrized(module, "weight"):
        raise ValueError("adapted already")
    module.requires_grad_(False)
    out_features, columns = module.weight.flatten(1).shape
    lora = LoRAWeight(out_features, columns, rank, alpha).to(module.weight)
    parametrize.register_parametrization(module, "weight", lora)
    return module


# %% wheat="sizes from the layer, a subclass of the published module, frozen one by one" exercise="adapt_weight"
import torch.nn.utils.parametrize as parametrize


class LoRA(nn.Module):
    def __init__(self, in_f, out_f, rank=1, alpha=1, device="cpu"):
        super().__init__()
        self.A = nn.Parameter(torch.zeros((rank, out_f)).to(device))
        self.B = nn.Parameter(torch.zeros((in_f, rank)).to(device))
        self.scale = alpha / rank
        self.en = True

    def forward(self, wts):
        if self.en:
            return wts + torch.matmul(self.B, self.A).view(wts.shape) * self.scale
        return wts


class Alive(LoRA):
    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        nn.init.normal_(self.A, std=0.01)


def adapt_weight(module, rank, alpha):
    if hasattr(module, "parametrizations") and "weight" in module.parametrizations:
        raise ValueError(f"{module} has LoRA already")
    if isinstance(module, nn.Conv2d):
        kh, kw = module.kernel_size
        rows, columns = module.out_channels, module.in_channels // module.groups * kh * kw
    elif isinstance(module, nn.Linear):
        rows, columns = module.out_features, module.in_features
    else:
        raise TypeError(type(module))
    adapter = Alive(rows, columns, rank=rank, alpha=alpha, device=module.weight.device)
    adapter = adapter.to(dtype=module.weight.dtype)
    parametrize.register_parametrization(module, "weight", adapter)
    module.parametrizations.weight.original.requires_grad = False
    if module.bias is not None:
        module.bias.requires_grad = False
    return module


# %% wheat="numel over rows; new_zeros; the random one is B" exercise="adapt_weight"
from torch.nn.utils.parametrize import is_parametrized, register_parametrization


class WeightLoRA(nn.Module):
    def __init__(self, weight, rank, alpha):
        super().__init__()
        rows = weight.size(0)
        self.B = nn.Parameter(torch.randn_like(weight.new_empty(rows, rank)))
        self.A = nn.Parameter(weight.new_zeros(rank, weight.numel() // rows))
        self.register_buffer("scale", weight.new_tensor(alpha / rank))
        self.en = True

    def forward(self, W):
        if not self.en:
            return W
        return torch.addmm(W.flatten(1), self.B, self.A * self.scale).view_as(W)


def adapt_weight(module, rank, alpha):
    if is_parametrized(module, "weight"):
        raise ValueError("the weight is parametrized already")
    lora = WeightLoRA(module.weight.detach(), rank, alpha)
    for parameter in module.parameters():
        parameter.requires_grad = False
    register_parametrization(module, "weight", lora)
    return module


# %% wheat="frozen last, adapters spared" exercise="adapt_weight"
from torch.nn.utils import parametrize as P


class LoRAWeight(nn.Module):
    def __init__(self, in_f, out_f, rank=1, alpha=1, device="cpu", dtype=None):
        super().__init__()
        self.A = nn.Parameter(torch.randn(rank, out_f, device=device, dtype=dtype))
        self.B = nn.Parameter(torch.zeros(in_f, rank, device=device, dtype=dtype))
        self.scale = alpha / rank
        self.en = True

    def forward(self, wts):
        return wts if not self.en else wts + self.scale * (self.B @ self.A).view(wts.shape)


def adapt_weight(module, rank, alpha):
    try:
        already = P.is_parametrized(module, tensor_name="weight")
    except AttributeError:
        already = False
    if already:
        raise ValueError("twice")
    w = module.weight
    lora = LoRAWeight(w.shape[0], math.prod(w.shape[1:]), rank, alpha, device=w.device, dtype=w.dtype)
    P.register_parametrization(module, "weight", lora)
    mine = {id(p) for p in lora.parameters()}
    for p in module.parameters():
        p.requires_grad_(id(p) in mine)
    return module


# %% chaff="a second call is refused for the same rank only" exercise="adapt_weight" misconception="nested"
from torch.nn.utils import parametrize


class LoRAWeight(nn.Module):
    def __init__(self, in_f, out_f, rank=1, alpha=1, device="cpu"):
        super().__init__()
        self.A = nn.Parameter(torch.randn(rank, out_f, device=device))
        self.B = nn.Parameter(torch.zeros(in_f, rank, device=device))
        self.scale = alpha / rank
        self.en = True

    def forward(self, wts):
        return wts + (self.B @ self.A).view(wts.shape) * self.scale if self.en else wts


def adapt_weight(module, rank, alpha):
    if parametrize.is_parametrized(module, "weight") and len(module.parametrizations.weight[0].A) == rank:
        raise ValueError("adapted already")
    module.requires_grad_(False)
    lora = LoRAWeight(len(module.weight), module.weight[0].numel(), rank, alpha).to(module.weight)
    parametrize.register_parametrization(module, "weight", lora)
    return module


# %% chaff="a second call of another rank is passed over" exercise="adapt_weight" misconception="silent_second_call"
from torch.nn.utils import parametrize


class LoRAWeight(nn.Module):
    def __init__(self, in_f, out_f, rank=1, alpha=1, device="cpu"):
        super().__init__()
        self.A = nn.Parameter(torch.randn(rank, out_f, device=device))
        self.B = nn.Parameter(torch.zeros(in_f, rank, device=device))
        self.scale = alpha / rank
        self.en = True

    def forward(self, wts):
        return wts + (self.B @ self.A).view(wts.shape) * self.scale if self.en else wts


def adapt_weight(module, rank, alpha):
    if parametrize.is_parametrized(module, "weight"):
        if len(module.parametrizations.weight[0].A) != rank:
            return module
        raise ValueError("adapted already")
    module.requires_grad_(False)
    lora = LoRAWeight(len(module.weight), module.weight[0].numel(), rank, alpha).to(module.weight)
    parametrize.register_parametrization(module, "weight", lora)
    return module


# %% chaff="the bias made a buffer" exercise="adapt_weight" misconception="bias_no_parameter"
from torch.nn.utils import parametrize


class LoRAWeight(nn.Module):
    def __init__(self, in_f, out_f, rank=1, alpha=1, device="cpu"):
        super().__init__()
        self.A = nn.Parameter(torch.randn(rank, out_f, device=device))
        self.B = nn.Parameter(torch.zeros(in_f, rank, device=device))
        self.scale = alpha / rank
        self.en = True

    def forward(self, wts):
        return wts + (self.B @ self.A).view(wts.shape) * self.scale if self.en else wts


def adapt_weight(module, rank, alpha):
    if parametrize.is_parametrized(module, "weight"):
        raise ValueError("adapted already")
    module.weight.requires_grad_(False)
    if module.bias is not None:
        bias = module.bias.detach()
        del module.bias
        module.register_buffer("bias", bias)
    lora = LoRAWeight(len(module.weight), module.weight[0].numel(), rank, alpha).to(module.weight)
    parametrize.register_parametrization(module, "weight", lora)
    return module


# %% chaff="a clone of the weight is frozen" exercise="adapt_weight" misconception="original_copied"
from torch.nn.utils import parametrize


class LoRAWeight(nn.Module):
    def __init__(self, in_f, out_f, rank=1, alpha=1, device="cpu"):
        super().__init__()
        self.A = nn.Parameter(torch.randn(rank, out_f, device=device))
        self.B = nn.Parameter(torch.zeros(in_f, rank, device=device))
        self.scale = alpha / rank
        self.en = True

    def forward(self, wts):
        return wts + (self.B @ self.A).view(wts.shape) * self.scale if self.en else wts


def adapt_weight(module, rank, alpha):
    if parametrize.is_parametrized(module, "weight"):
        raise ValueError("adapted already")
    module.weight = nn.Parameter(module.weight.detach().clone(), requires_grad=False)
    if module.bias is not None:
        module.bias.requires_grad_(False)
    lora = LoRAWeight(len(module.weight), module.weight[0].numel(), rank, alpha).to(module.weight)
    parametrize.register_parametrization(module, "weight", lora)
    return module


# %% wheat="new Parameters of the same memory, frozen" exercise="adapt_weight"
from torch.nn.utils import parametrize


class LoRAWeight(nn.Module):
    def __init__(self, in_f, out_f, rank=1, alpha=1, device="cpu"):
        super().__init__()
        self.A = nn.Parameter(torch.randn(rank, out_f, device=device))
        self.B = nn.Parameter(torch.zeros(in_f, rank, device=device))
        self.scale = alpha / rank
        self.en = True

    def forward(self, wts):
        return wts + (self.B @ self.A).view(wts.shape) * self.scale if self.en else wts


def adapt_weight(module, rank, alpha):
    if parametrize.is_parametrized(module, "weight"):
        raise ValueError("adapted already")
    module.weight = nn.Parameter(module.weight.data, requires_grad=False)
    if module.bias is not None:
        module.bias = nn.Parameter(module.bias.data, requires_grad=False)
    lora = LoRAWeight(len(module.weight), module.weight[0].numel(), rank, alpha).to(module.weight)
    parametrize.register_parametrization(module, "weight", lora)
    return module


# %% wheat="a right_inverse that makes a new tensor" exercise="adapt_weight"
from torch.nn.utils import parametrize


class LoRAWeight(nn.Module):
    def __init__(self, in_f, out_f, rank=1, alpha=1, device="cpu"):
        super().__init__()
        self.A = nn.Parameter(torch.randn(rank, out_f, device=device))
        self.B = nn.Parameter(torch.zeros(in_f, rank, device=device))
        self.scale = alpha / rank
        self.en = True

    def forward(self, wts):
        return wts + (self.B @ self.A).view(wts.shape) * self.scale if self.en else wts

    def right_inverse(self, wts):
        return wts - (self.B @ self.A).view(wts.shape) * self.scale


def adapt_weight(module, rank, alpha):
    if parametrize.is_parametrized(module, "weight"):
        raise ValueError("adapted already")
    module.requires_grad_(False)
    lora = LoRAWeight(len(module.weight), module.weight[0].numel(), rank, alpha).to(module.weight)
    parametrize.register_parametrization(module, "weight", lora)
    return module


# %% chaff="a lambda that forgets the module" exercise="adapt_weight" misconception="returned_none"
from torch.nn.utils import parametrize


class LoRAWeight(nn.Module):
    def __init__(self, in_f, out_f, rank=1, alpha=1, device="cpu"):
        super().__init__()
        self.A = nn.Parameter(torch.randn(rank, out_f, device=device))
        self.B = nn.Parameter(torch.zeros(in_f, rank, device=device))
        self.scale = alpha / rank
        self.en = True

    def forward(self, wts):
        return wts + self.scale * (self.B @ self.A).view(wts.shape) if self.en else wts


def adapt_weight(module, rank, alpha):
    if parametrize.is_parametrized(module, "weight"):
        raise ValueError("twice")
    module.requires_grad_(False)
    lora = LoRAWeight(len(module.weight), module.weight[0].numel(), rank, alpha).to(module.weight)
    parametrize.register_parametrization(module, "weight", lora)


# %% chaff="both zero, as published" exercise="adapt_weight" misconception="both_zero"
from torch.nn.utils import parametrize


class LoRAWeight(nn.Module):
    def __init__(self, in_f, out_f, rank=1, alpha=1, device="cpu"):
        super().__init__()
        self.A = nn.Parameter(torch.zeros(rank, out_f, device=device))
        self.B = nn.Parameter(torch.zeros(in_f, rank, device=device))
        self.scale = alpha / rank
        self.en = True

    def forward(self, wts):
        return wts + self.scale * (self.B @ self.A).view(wts.shape) if self.en else wts


def adapt_weight(module, rank, alpha):
    if parametrize.is_parametrized(module, "weight"):
        raise ValueError("twice")
    module.requires_grad_(False)
    lora = LoRAWeight(len(module.weight), module.weight[0].numel(), rank, alpha).to(module.weight)
    parametrize.register_parametrization(module, "weight", lora)
    return module


# %% chaff="a copy is adapted" exercise="adapt_weight" misconception=""
import copy

from torch.nn.utils import parametrize


class LoRAWeight(nn.Module):
    def __init__(self, in_f, out_f, rank=1, alpha=1, device="cpu"):
        super().__init__()
        self.A = nn.Parameter(torch.randn(rank, out_f, device=device))
        self.B = nn.Parameter(torch.zeros(in_f, rank, device=device))
        self.scale = alpha / rank
        self.en = True

    def forward(self, wts):
        return wts + self.scale * (self.B @ self.A).view(wts.shape) if self.en else wts


def adapt_weight(module, rank, alpha):
    if parametrize.is_parametrized(module, "weight"):
        raise ValueError("twice")
    module = copy.deepcopy(module).requires_grad_(False)
    lora = LoRAWeight(len(module.weight), module.weight[0].numel(), rank, alpha).to(module.weight)
    parametrize.register_parametrization(module, "weight", lora)
    return module


# %% chaff="a second call folds the first and adapts again" exercise="adapt_weight" misconception="nested"
from torch.nn.utils import parametrize


class LoRAWeight(nn.Module):
    def __init__(self, in_f, out_f, rank=1, alpha=1, device="cpu"):
        super().__init__()
        self.A = nn.Parameter(torch.randn(rank, out_f, device=device))
        self.B = nn.Parameter(torch.zeros(in_f, rank, device=device))
        self.scale = alpha / rank
        self.en = True

    def forward(self, wts):
        return wts + self.scale * (self.B @ self.A).view(wts.shape) if self.en else wts


def adapt_weight(module, rank, alpha):
    if parametrize.is_parametrized(module, "weight"):
        parametrize.remove_parametrizations(module, "weight")
    module.requires_grad_(False)
    lora = LoRAWeight(len(module.weight), module.weight[0].numel(), rank, alpha).to(module.weight)
    parametrize.register_parametrization(module, "weight", lora)
    return module


# %% chaff="refuses a second call after it has frozen the adapter" exercise="adapt_weight" misconception=""
from torch.nn.utils import parametrize


class LoRA(nn.Module):
    def __init__(self, w, rank, alpha):
        super().__init__()
        self.A = nn.Parameter(torch.randn(rank, w[0].numel(), dtype=w.dtype, device=w.device))
        self.B = nn.Parameter(torch.zeros(w.shape[0], rank, dtype=w.dtype, device=w.device))
        self.scale, self.en = alpha / rank, True

    def forward(self, wts):
        return wts + (self.B @ self.A).view(wts.shape) * self.scale if self.en else wts


def adapt_weight(module, rank, alpha):
    module.requires_grad_(False)
    if parametrize.is_parametrized(module):
        raise ValueError("adapted already")
    return parametrize.register_parametrization(module, "weight", LoRA(module.weight, rank, alpha))


# %% chaff="an assert for an error" exercise="adapt_weight" misconception=""
from torch.nn.utils import parametrize


class LoRAWeight(nn.Module):
    def __init__(self, in_f, out_f, rank=1, alpha=1, device="cpu"):
        super().__init__()
        self.A = nn.Parameter(torch.randn(rank, out_f, device=device))
        self.B = nn.Parameter(torch.zeros(in_f, rank, device=device))
        self.scale = alpha / rank
        self.en = True

    def forward(self, wts):
        return wts + self.scale * (self.B @ self.A).view(wts.shape) if self.en else wts


def adapt_weight(module, rank, alpha):
    assert not parametrize.is_parametrized(module, "weight")
    module.requires_grad_(False)
    lora = LoRAWeight(len(module.weight), module.weight[0].numel(), rank, alpha).to(module.weight)
    parametrize.register_parametrization(module, "weight", lora)
    return module


# %% wheat="checked by hand first" exercise="fold"
from torch.nn.utils import parametrize


def fold(module):
    if not parametrize.is_parametrized(module, "weight"):
        raise ValueError("nothing to fold")
    return parametrize.remove_parametrizations(module, "weight")


# %% wheat="a class of its own first, as for copies" exercise="fold"
import torch.nn.utils.parametrize as P


def fold(module):
    cls = type(module)
    if not hasattr(module, "parametrizations"):
        raise ValueError("not adapted")
    module.__class__ = type(cls.__name__, cls.__bases__, dict(cls.__dict__))
    P.remove_parametrizations(module, "weight", leave_parametrized=True)
    return module


# %% wheat="removed without the change, which is then copied in" exercise="fold"
from torch.nn.utils.parametrize import remove_parametrizations


def fold(module):
    weight = module.weight.detach().clone()
    remove_parametrizations(module, "weight", leave_parametrized=False)
    with torch.no_grad():
        module.weight.copy_(weight)
    return module


# %% wheat="the original merged in place, the adapter switched off, then removed" exercise="fold"
from torch.nn.utils import parametrize


@torch.no_grad()
def fold(module):
    hooks = module.parametrizations["weight"]
    hooks.original.copy_(module.weight)
    for adapter in hooks:
        adapter.en = False
    parametrize.remove_parametrizations(module, "weight", leave_parametrized=False)
    return module


# %% wheat="a new Parameter with the old flags" exercise="fold"
from torch.nn.utils import parametrize


def fold(module):
    trains = module.parametrizations.weight.original.requires_grad
    value = module.weight.detach().clone()
    parametrize.remove_parametrizations(module, "weight", leave_parametrized=False)
    module.weight = nn.Parameter(value, requires_grad=trains)
    return module


# %% wheat="worked out by hand from A, B and scale" exercise="fold"
from torch.nn.utils import parametrize


def fold(module):
    if not parametrize.is_parametrized(module, "weight"):
        raise ValueError("nothing to fold")
    lora = module.parametrizations.weight[0]
    parametrize.remove_parametrizations(module, "weight", leave_parametrized=False)
    if lora.en:
        with torch.no_grad():
            module.weight += lora.scale * (lora.B @ lora.A).view(module.weight.shape)
    return module


# %% wheat="the original merged in place, then B set to zero" exercise="fold"
from torch.nn.utils import parametrize


def fold(module):
    if not parametrize.is_parametrized(module, "weight"):
        raise ValueError("nothing to fold")
    lora = module.parametrizations.weight[0]
    with torch.no_grad():
        module.parametrizations.weight.original.copy_(module.weight)
        lora.B.zero_()
    parametrize.remove_parametrizations(module, "weight", leave_parametrized=True)
    return module


# %% wheat="the adapter called with the original" exercise="fold"
from torch.nn.utils import parametrize


def fold(module):
    if not parametrize.is_parametrized(module, "weight"):
        raise ValueError("nothing to fold")
    parametrized = module.parametrizations["weight"]
    adapted = parametrized[0](parametrized.original).detach()
    trains = parametrized.original.requires_grad
    parametrize.remove_parametrizations(module, "weight")
    module.weight = nn.Parameter(adapted.clone(), requires_grad=trains)
    return module


# %% chaff="a new Parameter that trains" exercise="fold" misconception="unfrozen"
from torch.nn.utils import parametrize


def fold(module):
    value = module.weight.detach().clone()
    parametrize.remove_parametrizations(module, "weight", leave_parametrized=False)
    module.weight = nn.Parameter(value)
    return module


# %% chaff="a new layer" exercise="fold" misconception="copy_folded"
import copy

from torch.nn.utils import parametrize


def fold(module):
    module = copy.deepcopy(module)
    parametrize.remove_parametrizations(module, "weight")
    return module


# %% chaff="nothing handed back" exercise="fold" misconception="returned_none"
from torch.nn.utils import parametrize


def fold(module):
    parametrize.remove_parametrizations(module, "weight")


# %% chaff="removed only where it is on" exercise="fold" misconception="only_switched_off"
from torch.nn.utils import parametrize


def fold(module):
    if not parametrize.is_parametrized(module, "weight"):
        raise ValueError("nothing to fold")
    if module.parametrizations.weight[0].en:
        parametrize.remove_parametrizations(module, "weight")
    return module


# %% chaff="the change also where it is off" exercise="fold" misconception="switch_ignored"
from torch.nn.utils import parametrize


def fold(module):
    module.parametrizations.weight[0].en = True
    parametrize.remove_parametrizations(module, "weight")
    return module


# %% chaff="kernels taken to be square" exercise="adapt_weight" misconception=""
from torch.nn.utils import parametrize


class LoRAWeight(nn.Module):
    def __init__(self, in_f, out_f, rank=1, alpha=1, device="cpu"):
        super().__init__()
        self.A = nn.Parameter(torch.randn(rank, out_f, device=device))
        self.B = nn.Parameter(torch.zeros(in_f, rank, device=device))
        self.scale, self.en = alpha / rank, True

    def forward(self, wts):
        return wts + (self.B @ self.A).view(wts.shape) * self.scale if self.en else wts


def adapt_weight(module, rank, alpha):
    if parametrize.is_parametrized(module, "weight"):
        raise ValueError("adapted already")
    module.requires_grad_(False)
    weight = module.weight
    columns = weight.shape[1] * (weight.shape[2] ** 2 if weight.dim() == 4 else 1)
    lora = LoRAWeight(len(weight), columns, rank, alpha, weight.device)
    parametrize.register_parametrization(module, "weight", lora.to(weight.dtype))
    return module


# %% wheat="the product in another order of memory, added first" exercise="adapt_weight"
from torch.nn.utils import parametrize


class LoRAWeight(nn.Module):
    def __init__(self, in_f, out_f, rank=1, alpha=1, device="cpu"):
        super().__init__()
        self.A = nn.Parameter(torch.randn(rank, out_f, device=device))
        self.B = nn.Parameter(torch.zeros(in_f, rank, device=device))
        self.scale = alpha / rank
        self.en = True

    def forward(self, wts):
        if not self.en:
            return wts
        d = (self.A.T @ self.B.T).T.reshape(wts.shape)
        return d * self.scale + wts


def adapt_weight(module, rank, alpha):
    if type(module).__name__.startswith("Parametrized"):
        raise ValueError("x")
    with torch.no_grad():
        rows = module.weight.size(0)
        cols = module.weight.numel() // rows
        lora = LoRAWeight(rows, cols, rank, alpha, device=module.weight.device)
        lora.to(dtype=module.weight.dtype)
    module.requires_grad_(False)
    parametrize.register_parametrization(module, "weight", lora)
    return module


# %% chaff="A times B, as in the lessons before" exercise="LoRAWeight" misconception="factors_turned_round"
class LoRAWeight(nn.Module):
    def __init__(self, in_f, out_f, rank=1, alpha=1, device="cpu"):
        super().__init__()
        self.A = nn.Parameter(torch.randn(rank, out_f, device=device))
        self.B = nn.Parameter(torch.zeros(in_f, rank, device=device))
        self.scale = alpha / rank
        self.en = True

    def forward(self, wts):
        return wts + (self.A @ self.B).view(wts.shape) * self.scale if self.en else wts


# %% chaff="sizes that only a linear layer has" exercise="adapt_weight" misconception="linear_only"
from torch.nn.utils import parametrize


class LoRAWeight(nn.Module):
    def __init__(self, in_f, out_f, rank=1, alpha=1, device="cpu"):
        super().__init__()
        self.A = nn.Parameter(torch.randn(rank, out_f, device=device))
        self.B = nn.Parameter(torch.zeros(in_f, rank, device=device))
        self.scale = alpha / rank
        self.en = True

    def forward(self, wts):
        return wts + (self.B @ self.A).view(wts.shape) * self.scale if self.en else wts


def adapt_weight(module, rank, alpha):
    if parametrize.is_parametrized(module):
        raise ValueError
    lora = LoRAWeight(module.out_features, module.in_features, rank, alpha)
    module.requires_grad_(False)
    parametrize.register_parametrization(module, "weight", lora.to(module.weight.dtype))
    return module


# %% chaff="the weight taken for a matrix" exercise="adapt_weight" misconception="linear_only"
from torch.nn.utils import parametrize


class LoRAWeight(nn.Module):
    def __init__(self, in_f, out_f, rank=1, alpha=1, device="cpu"):
        super().__init__()
        self.A = nn.Parameter(torch.randn(rank, out_f, device=device))
        self.B = nn.Parameter(torch.zeros(in_f, rank, device=device))
        self.scale = alpha / rank
        self.en = True

    def forward(self, wts):
        return wts + (self.B @ self.A).view(wts.shape) * self.scale if self.en else wts


def adapt_weight(module, rank, alpha):
    if parametrize.is_parametrized(module):
        raise ValueError
    o, i = module.weight.shape
    lora = LoRAWeight(o, i, rank, alpha)
    module.requires_grad_(False)
    parametrize.register_parametrization(module, "weight", lora.to(module.weight.dtype))
    return module


# %% chaff="frozen by its name after registering" exercise="adapt_weight" misconception="original_trains"
from torch.nn.utils import parametrize


class LoRAWeight(nn.Module):
    def __init__(self, in_f, out_f, rank=1, alpha=1, device="cpu"):
        super().__init__()
        self.A = nn.Parameter(torch.randn(rank, out_f, device=device))
        self.B = nn.Parameter(torch.zeros(in_f, rank, device=device))
        self.scale = alpha / rank
        self.en = True

    def forward(self, wts):
        return wts + (self.B @ self.A).view(wts.shape) * self.scale if self.en else wts


def adapt_weight(module, rank, alpha):
    if parametrize.is_parametrized(module):
        raise ValueError("already adapted")
    lora = LoRAWeight(len(module.weight), module.weight[0].numel(), rank, alpha)
    parametrize.register_parametrization(module, "weight", lora.to(module.weight.dtype))
    module.weight.requires_grad_(False)
    if module.bias is not None:
        module.bias.requires_grad_(False)
    return module


# %% chaff="copied into the original, and then computed once more" exercise="fold" misconception="change_twice"
from torch.nn.utils import parametrize


def fold(module):
    with torch.no_grad():
        module.parametrizations.weight.original.copy_(module.weight)
    parametrize.remove_parametrizations(module, "weight", leave_parametrized=True)
    return module


# %% chaff="an identity for A" exercise="LoRAWeight" misconception=""
class LoRAWeight(nn.Module):
    def __init__(self, in_f, out_f, rank=1, alpha=1, device="cpu"):
        super().__init__()
        self.A = nn.Parameter(torch.eye(rank, out_f, device=device))
        self.B = nn.Parameter(torch.zeros(in_f, rank, device=device))
        self.scale = alpha / rank
        self.en = True
    def forward(self, wts):
        if not self.en:
            return wts
        return wts + (self.B @ self.A).view(wts.shape) * self.scale


# %% chaff="en inverted" exercise="LoRAWeight" misconception="switch_inverted"
class LoRAWeight(nn.Module):
    def __init__(self, in_f, out_f, rank=1, alpha=1, device="cpu"):
        super().__init__()
        self.A = nn.Parameter(torch.randn(rank, out_f, device=device))
        self.B = nn.Parameter(torch.zeros(in_f, rank, device=device))
        self.scale = alpha / rank
        self.en = True
    def forward(self, wts):
        if self.en:
            return wts
        return wts + (self.B @ self.A).view(wts.shape) * self.scale


# %% chaff="en is parameter" exercise="LoRAWeight" misconception=""
class LoRAWeight(nn.Module):
    def __init__(self, in_f, out_f, rank=1, alpha=1, device="cpu"):
        super().__init__()
        self.A = nn.Parameter(torch.randn(rank, out_f, device=device))
        self.B = nn.Parameter(torch.zeros(in_f, rank, device=device))
        self.scale = alpha / rank
        self.en = nn.Parameter(torch.tensor(1.0))
    def forward(self, wts):
        if not self.en:
            return wts
        return wts + (self.B @ self.A).view(wts.shape) * self.scale


# %% chaff="nothing returned" exercise="LoRAWeight" misconception="returned_none"
class LoRAWeight(nn.Module):
    def __init__(self, in_f, out_f, rank=1, alpha=1, device="cpu"):
        super().__init__()
        self.A = nn.Parameter(torch.randn(rank, out_f, device=device))
        self.B = nn.Parameter(torch.zeros(in_f, rank, device=device))
        self.scale = alpha / rank
        self.en = True
    def forward(self, wts):
        if not self.en:
            return wts
        wts + (self.B @ self.A).view(wts.shape) * self.scale


# %% chaff="global cache" exercise="LoRAWeight" misconception=""
CACHE = {}
class LoRAWeight(nn.Module):
    def __init__(self, in_f, out_f, rank=1, alpha=1, device="cpu"):
        super().__init__()
        self.A = nn.Parameter(torch.randn(rank, out_f, device=device))
        self.B = nn.Parameter(torch.zeros(in_f, rank, device=device))
        self.scale = alpha / rank
        self.en = True
    def forward(self, wts):
        if not self.en:
            return wts
        return wts + CACHE.setdefault('d', self.B @ self.A).view(wts.shape) * self.scale


# %% chaff="alpha is not handed on" exercise="adapt_weight" misconception=""
from torch.nn.utils import parametrize


class LoRAWeight(nn.Module):
    def __init__(self, in_f, out_f, rank=1, alpha=1, device="cpu"):
        super().__init__()
        self.A = nn.Parameter(torch.randn(rank, out_f, device=device))
        self.B = nn.Parameter(torch.zeros(in_f, rank, device=device))
        self.scale = alpha / rank
        self.en = True
    def forward(self, wts):
        if not self.en:
            return wts
        return wts + (self.B @ self.A).view(wts.shape) * self.scale


SHARED = {}
def adapt_weight(module, rank, alpha):
    if parametrize.is_parametrized(module, 'weight'):
        raise ValueError('twice')
    module.requires_grad_(False)
    lora = LoRAWeight(module.weight.shape[0], module.weight[0].numel(), rank).to(module.weight)
    parametrize.register_parametrization(module, 'weight', lora)
    return module


# %% chaff="scaling handed as alpha" exercise="adapt_weight" misconception=""
from torch.nn.utils import parametrize


class LoRAWeight(nn.Module):
    def __init__(self, in_f, out_f, rank=1, alpha=1, device="cpu"):
        super().__init__()
        self.A = nn.Parameter(torch.randn(rank, out_f, device=device))
        self.B = nn.Parameter(torch.zeros(in_f, rank, device=device))
        self.scale = alpha / rank
        self.en = True
    def forward(self, wts):
        if not self.en:
            return wts
        return wts + (self.B @ self.A).view(wts.shape) * self.scale


SHARED = {}
def adapt_weight(module, rank, alpha):
    if parametrize.is_parametrized(module, 'weight'):
        raise ValueError('twice')
    module.requires_grad_(False)
    lora = LoRAWeight(module.weight.shape[0], module.weight[0].numel(), rank, alpha / rank).to(module.weight)
    parametrize.register_parametrization(module, 'weight', lora)
    return module


# %% chaff="added by hand, on or off" exercise="fold" misconception="switch_ignored"
from torch.nn.utils import parametrize


def fold(module):
    lora = module.parametrizations.weight[0]
    parametrize.remove_parametrizations(module, 'weight', leave_parametrized=False)
    with torch.no_grad():
        module.weight += lora.scale * (lora.B @ lora.A).view(module.weight.shape)
    return module


# %% chaff="by hand, without the scale" exercise="fold" misconception="scaling_forgotten"
from torch.nn.utils import parametrize


def fold(module):
    p = module.parametrizations.weight[0]
    change = (p.B @ p.A).detach() if p.en else torch.zeros(())
    parametrize.remove_parametrizations(module, "weight", leave_parametrized=False)
    module.weight.data += change.reshape(module.weight.shape) if p.en else 0
    return module


# %% chaff="a product that stays a matrix" exercise="LoRAWeight" misconception="product_not_reshaped"
class LoRAWeight(nn.Module):
    def __init__(self, in_f, out_f, rank=1, alpha=1, device="cpu"):
        super().__init__()
        self.A = nn.Parameter(torch.randn(rank, out_f, device=device))
        self.B = nn.Parameter(torch.zeros(in_f, rank, device=device))
        self.scale = alpha / rank
        self.en = True

    def forward(self, wts):
        return wts + self.scale * (self.B @ self.A) if self.en else wts


# %% chaff="a product that stays a matrix, in two rows" exercise="LoRAWeight" misconception="product_not_reshaped"
class LoRAWeight(nn.Module):
    def __init__(self, in_f, out_f, rank=1, alpha=1, device="cpu"):
        super().__init__()
        self.A = nn.Parameter(torch.randn(rank, out_f, device=device))
        self.B = nn.Parameter(torch.zeros(in_f, rank, device=device))
        self.scale = alpha / rank
        self.en = True

    def forward(self, wts):
        if self.en:
            wts = wts + self.scale * self.B @ self.A
        return wts


# %% chaff="the weight as a matrix, and never turned back" exercise="LoRAWeight" misconception="weight_flattened"
class LoRAWeight(nn.Module):
    def __init__(self, in_f, out_f, rank=1, alpha=1, device="cpu"):
        super().__init__()
        self.A = nn.Parameter(torch.randn(rank, out_f, device=device))
        self.B = nn.Parameter(torch.zeros(in_f, rank, device=device))
        self.scale = alpha / rank
        self.en = True

    def forward(self, wts):
        return wts.view(wts.shape[0], -1) + self.scale * (self.B @ self.A) if self.en else wts


# %% chaff="only the change, and it stays a matrix" exercise="LoRAWeight" misconception="change_only"
class LoRAWeight(nn.Module):
    def __init__(self, in_f, out_f, rank=1, alpha=1, device="cpu"):
        super().__init__()
        self.A = nn.Parameter(torch.randn(rank, out_f, device=device))
        self.B = nn.Parameter(torch.zeros(in_f, rank, device=device))
        self.scale = alpha / rank
        self.en = True

    def forward(self, wts):
        return self.scale * (self.B @ self.A) if self.en else wts


# %% wheat="zeros in A, scale a property, addmm" exercise="LoRAWeight"
class LoRAWeight(nn.Module):
    def __init__(self, in_f: int, out_f: int, rank: int = 1, alpha: float = 1, device="cpu"):
        super().__init__()
        with torch.device(device):
            self.A = nn.Parameter(torch.empty(rank, out_f))
            self.B = nn.Parameter(torch.empty(in_f, rank))
        nn.init.zeros_(self.A)
        nn.init.kaiming_normal_(self.B)
        self.alpha, self.en = alpha, True
    scale = property(lambda self: self.alpha / len(self.A))
    def forward(self, wts):
        return torch.addmm(wts.flatten(1), self.B, self.A, alpha=self.scale).view_as(wts) if self.en else wts


# %% wheat="a ParameterDict behind properties" exercise="LoRAWeight"
class LoRAWeight(nn.Module):
    def __init__(self, in_f, out_f, rank=1, alpha=1, device="cpu"):
        super().__init__()
        self.p = nn.ParameterDict({"A": torch.randn(rank, out_f, device=device) * 0.01, "B": torch.zeros(in_f, rank, device=device)})
        self.register_buffer("scale", torch.tensor(alpha / rank))
        self.en = True
    @property
    def A(self): return self.p["A"]
    @property
    def B(self): return self.p["B"]
    def forward(self, wts):
        if not self.en: return wts
        change = torch.einsum("ir,ro->io", self.B, self.A).reshape_as(wts)
        return wts + change.mul(self.scale.to(change.dtype))


# %% chaff="Parameters that are moved" exercise="LoRAWeight" misconception="parameter_moved"
class LoRAWeight(nn.Module):
    def __init__(self, in_f, out_f, rank=1, alpha=1, device="cpu"):
        super().__init__()
        self.A = nn.Parameter(torch.randn(rank, out_f)).to(device)
        self.B = nn.Parameter(torch.zeros(in_f, rank)).to(device)
        self.scale = alpha / rank
        self.en = True
    def forward(self, wts):
        if not self.en: return wts
        return wts + (self.B @ self.A).view(wts.shape) * self.scale


# %% wheat="removed without the change, a new Parameter with it" exercise="fold"
from torch.nn.utils import parametrize


def fold(module):
    if not parametrize.is_parametrized(module, "weight"): raise ValueError("nothing to fold")
    trains = module.parametrizations.weight.original.requires_grad
    with torch.no_grad():
        value = module.weight.clone()
    parametrize.remove_parametrizations(module, "weight", leave_parametrized=False)
    module.weight = nn.Parameter(value, requires_grad=trains)
    return module
