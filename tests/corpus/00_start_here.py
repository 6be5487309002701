# Right answers in other styles (wheat) and wrong ones (chaff) for lesson 00; format: tests/corpus/README.md

# %% wheat="matmul" exercise="linear_by_hand"
def linear_by_hand(x, weight, bias):
    out = torch.matmul(x, weight.transpose(0, 1))
    if bias is not None:
        out = out + bias
    return out


# %% wheat="einsum" exercise="linear_by_hand"
def linear_by_hand(x, weight, bias):
    out = torch.einsum("...d,kd->...k", x, weight)
    return out if bias is None else bias + out


# %% wheat="broadcast and sum" exercise="linear_by_hand"
def linear_by_hand(x, weight, bias=None):
    out = (x.unsqueeze(-2) * weight).sum(dim=-1)
    return out + (0 if bias is None else bias)


# %% wheat="loop over outputs, in-place on its own tensor" exercise="linear_by_hand"
def linear_by_hand(x, weight, bias):
    columns = [(x * row).sum(-1) for row in weight]
    out = torch.stack(columns, dim=-1)
    if bias is not None:
        out += bias
    return out


# %% wheat="flatten, addmm, restore" exercise="linear_by_hand"
def linear_by_hand(x, weight, bias):
    rows = x.reshape(-1, x.shape[-1])
    out = rows.mm(weight.t()) if bias is None else torch.addmm(bias, rows, weight.t())
    return out.view(*x.shape[:-1], weight.shape[0])


# %% wheat="library call" exercise="linear_by_hand"
def linear_by_hand(x, weight, bias):
    import torch.nn.functional as F

    return F.linear(x, weight, bias)


# %% wheat="lambda" exercise="linear_by_hand"
linear_by_hand = lambda x, weight, bias: (weight @ x.unsqueeze(-1)).squeeze(-1) + (bias if bias is not None else 0.0)


# %% wheat="numpy and back" exercise="linear_by_hand"
def linear_by_hand(x, weight, bias):
    out = x.numpy() @ weight.numpy().T
    if bias is not None:
        out = out + bias.numpy()
    return torch.from_numpy(out)


# %% chaff="F.linear with the bias, and the bias" exercise="linear_by_hand" misconception="bias_twice"
import torch.nn.functional as F


def linear_by_hand(x, weight, bias):
    out = F.linear(x, weight, bias)
    return out if bias is None else out + bias


# %% chaff="torch.mul in place of @" exercise="linear_by_hand" misconception="elementwise"
def linear_by_hand(x, weight, bias):
    y = torch.mul(weight, x)
    if bias is not None:
        y = y + bias
    return y


# %% chaff="bias only" exercise="linear_by_hand" misconception=""
def linear_by_hand(x, weight, bias):
    return torch.zeros(*x.shape[:-1], weight.shape[0], dtype=x.dtype) + (0 if bias is None else bias)


# %% chaff="changes x" exercise="linear_by_hand" misconception="changed_input"
def linear_by_hand(x, weight, bias):
    out = x @ weight.T
    x *= 0
    return out if bias is None else out + bias


# %% chaff="prints" exercise="linear_by_hand" misconception="returned_none"
def linear_by_hand(x, weight, bias):
    print("done")


# %% chaff="not a function" exercise="linear_by_hand" misconception=""
linear_by_hand = 3


# %% chaff="upcasts and does not come back" exercise="linear_by_hand" misconception=""
def linear_by_hand(x, weight, bias):
    out = x.double() @ weight.double().T + 0.5 - 0.5
    return out if bias is None else out + bias


# %% wheat="vmap over outputs" exercise="linear_by_hand"
def linear_by_hand(x, weight, bias):
    one = lambda row: (x * row).sum(-1)
    out = torch.vmap(one, out_dims=-1)(weight)
    return out if bias is None else out + bias


# %% wheat="homogeneous coordinates" exercise="linear_by_hand"
def linear_by_hand(x, weight, bias):
    if bias is None:
        bias = weight.new_zeros(len(weight))
    x1 = torch.cat([x, torch.ones_like(x[..., :1])], dim=-1)
    return x1 @ torch.cat([weight, bias[:, None]], dim=1).T


# %% wheat="input by input" exercise="linear_by_hand"
def linear_by_hand(x, weight, bias):
    out = 0 if bias is None else bias
    for i in range(x.shape[-1]):
        out = out + x[..., i, None] * weight[:, i]
    return out


# %% wheat="out= buffer" exercise="linear_by_hand"
def linear_by_hand(x, weight, bias):
    buffer = torch.empty(*x.shape[:-1], weight.size(0), dtype=x.dtype)
    torch.matmul(x, weight.t(), out=buffer)
    if bias is not None:
        buffer.add_(bias)
    return buffer


# %% wheat="try except" exercise="linear_by_hand"
def linear_by_hand(x, weight, bias):
    h = x @ weight.T
    try:
        return h + bias
    except TypeError:
        return h


# %% wheat="callable class" exercise="linear_by_hand"
class Hand(nn.Module):
    def forward(self, x, weight, bias=None):
        h = torch.inner(x, weight)
        if bias is not None:
            h = h + bias
        return h


linear_by_hand = Hand()


# %% wheat="tensordot" exercise="linear_by_hand"
def linear_by_hand(x, weight, bias):
    h = torch.tensordot(x, weight, dims=([-1], [1]))
    return h if bias == None else h + bias


# %% wheat="transposed and back in place" exercise="linear_by_hand"
def linear_by_hand(x, weight, bias):
    weight.t_()
    h = x @ weight
    weight.t_()
    return h if bias is None else h + bias


# %% wheat="python numbers" exercise="linear_by_hand"
def linear_by_hand(x, weight, bias):
    rows = x.reshape(-1, x.shape[-1]).tolist()
    W = weight.tolist()
    b = [0.0] * len(W) if bias is None else bias.tolist()
    out = [[sum(a * w for a, w in zip(row, W[j])) + b[j] for j in range(len(W))] for row in rows]
    return torch.tensor(out, dtype=x.dtype).reshape(*x.shape[:-1], len(W))


# %% chaff="bias + product, None not handled" exercise="linear_by_hand" misconception="bias_none_not_handled"
def linear_by_hand(x, weight, bias):
    return bias + x @ weight.T


# %% chaff="+= None" exercise="linear_by_hand" misconception="bias_none_not_handled"
def linear_by_hand(x, weight, bias):
    out = x @ weight.T
    out += bias
    return out


# %% chaff="bias attribute None" exercise="linear_by_hand" misconception="bias_none_not_handled"
def linear_by_hand(x, weight, bias):
    return x @ weight.T + bias.unsqueeze(0).squeeze(0)


# %% chaff="returns None when no bias" exercise="linear_by_hand" misconception="bias_none_not_handled"
def linear_by_hand(x, weight, bias):
    if bias is not None:
        return x @ weight.T + bias


# %% chaff="bias or zero" exercise="linear_by_hand" misconception="bias_truth_value"
def linear_by_hand(x, weight, bias):
    return x @ weight.T + (bias or 0)


# %% chaff="bias != 0" exercise="linear_by_hand" misconception="bias_truth_value"
def linear_by_hand(x, weight, bias):
    out = x @ weight.T
    if bias != 0:
        out = out + bias
    return out


# %% chaff="columns, (W x^T)^T" exercise="linear_by_hand" misconception=""
def linear_by_hand(x, weight, bias):
    out = (weight @ x.T).T
    return out if bias is None else out + bias


# %% chaff="weight @ x.T, not back" exercise="linear_by_hand" misconception="x_on_the_right"
def linear_by_hand(x, weight, bias):
    out = weight @ x.T
    return out if bias is None else out + bias


# %% chaff="einsum two axes" exercise="linear_by_hand" misconception="two_dimensional_only"
def linear_by_hand(x, weight, bias):
    out = torch.einsum("nd,kd->nk", x, weight)
    return out if bias is None else out + bias


# %% chaff="n, d = x.shape" exercise="linear_by_hand" misconception="two_dimensional_only"
def linear_by_hand(x, weight, bias):
    n, d = x.shape
    out = torch.zeros(n, len(weight), dtype=x.dtype)
    for i in range(n):
        out[i] = weight @ x[i]
    return out if bias is None else out + bias


# %% chaff="x.view on strided" exercise="linear_by_hand" misconception=""
def linear_by_hand(x, weight, bias):
    out = x.view(-1, x.shape[-1]) @ weight.T
    out = out.view(*x.shape[:-1], weight.shape[0])
    return out if bias is None else out + bias


# %% chaff="stack loop over rows, empty fails" exercise="linear_by_hand" misconception=""
def linear_by_hand(x, weight, bias):
    if x.ndim == 1:
        out = weight @ x
        return out if bias is None else out + bias
    return torch.stack([linear_by_hand(row, weight, bias) for row in x])


# %% chaff="1-D becomes 2-D" exercise="linear_by_hand" misconception=""
def linear_by_hand(x, weight, bias):
    x = torch.atleast_2d(x)
    out = x @ weight.T
    return out if bias is None else out + bias


# %% chaff="float32 result" exercise="linear_by_hand" misconception=""
def linear_by_hand(x, weight, bias):
    out = x @ weight.T
    return (out if bias is None else out + bias).float()


# %% chaff="default dtype buffer" exercise="linear_by_hand" misconception=""
def linear_by_hand(x, weight, bias):
    out = torch.zeros(*x.shape[:-1], weight.shape[0])
    out += x @ weight.T
    return out if bias is None else out + bias


# %% chaff="elementwise with transpose" exercise="linear_by_hand" misconception="elementwise"
def linear_by_hand(x, weight, bias):
    out = x * weight.T
    return out if bias is None else out + bias


# %% chaff="x times weight, other order" exercise="linear_by_hand" misconception="elementwise"
def linear_by_hand(x, weight, bias):
    out = x * weight
    return out if bias is None else out + bias


# %% chaff="squeeze" exercise="linear_by_hand" misconception=""
def linear_by_hand(x, weight, bias):
    out = (weight @ x.unsqueeze(-1)).squeeze()
    return out if bias is None else out + bias


# %% chaff="transposes only when needed" exercise="linear_by_hand" misconception="no_transpose"
def linear_by_hand(x, weight, bias):
    W = weight if weight.shape[0] == x.shape[-1] else weight.T
    out = x @ W
    return out if bias is None else out + bias


# %% chaff="as many zeros as rows for a missing bias" exercise="linear_by_hand" misconception="bias_of_another_size"
def linear_by_hand(x, weight, bias):
    if bias is None:
        bias = torch.zeros(x.shape[0])
    return x @ weight.T + bias


# %% wheat="all arguments in one, a Parameter as result" exercise="linear_by_hand"
def linear_by_hand(*args):
    x, weight, bias = args
    return nn.Parameter(torch.matmul(x, weight.mT) + (torch.zeros(1, dtype=x.dtype) if bias is None else bias))


# %% wheat="nn.Linear made for the call, with a bias only where there is one" exercise="linear_by_hand"
def linear_by_hand(x, weight, bias):
    lin = nn.Linear(weight.shape[1], weight.shape[0], bias=bias is not None)
    lin.weight.data = weight
    if bias is not None:
        lin.bias.data = bias
    return lin(x)


# %% chaff="nn.Linear made for the call, and its own bias stays" exercise="linear_by_hand" misconception="bias_left_as_made"
def linear_by_hand(x, weight, bias):
    lin = nn.Linear(weight.shape[1], weight.shape[0])
    lin.weight.data = weight
    if bias is not None:
        lin.bias.data = bias
    return lin(x)


# %% chaff="nn.Linear, values copied in, and its own bias stays" exercise="linear_by_hand" misconception="bias_left_as_made"
def linear_by_hand(x, weight, bias):
    k, d = weight.shape
    lin = nn.Linear(d, k, dtype=x.dtype)
    with torch.no_grad():
        lin.weight.copy_(weight)
        if bias is not None:
            lin.bias.copy_(bias)
    return lin(x)


# %% chaff="nn.Linear in float32, and its own bias stays" exercise="linear_by_hand" misconception="bias_left_as_made"
def linear_by_hand(x, weight, bias):
    lin = nn.Linear(weight.shape[1], weight.shape[0])
    with torch.no_grad():
        lin.weight.copy_(weight)
        if bias is not None:
            lin.bias.copy_(bias)
    return lin(x)


# %% chaff="ones where there is no bias" exercise="linear_by_hand" misconception=""
def linear_by_hand(x, weight, bias):
    if bias is None:
        bias = torch.ones(weight.shape[0])
    return x @ weight.T + bias


# %% wheat="a decorator, weight @ columns, walrus" exercise="linear_by_hand"
import functools


def plain(f):
    @functools.wraps(f)
    def wrapped(x, weight, bias=None, *, extra=None):
        return f(x, weight, bias)
    return wrapped


@plain
@torch.no_grad()
def linear_by_hand(x, weight, bias):
    if (out := torch.matmul(weight, x.unsqueeze(-1)).squeeze(-1)) is not None and bias is not None:
        out += bias
    return out


# %% wheat="a dataclass that is called, match" exercise="linear_by_hand"
from dataclasses import dataclass


@dataclass
class Product:
    w: torch.Tensor
    b: torch.Tensor = None
    def __call__(self, x):
        y = torch.einsum("kd,...d->...k", self.w, x)
        match self.b:
            case None: return y
            case b: return y.add(b)


def linear_by_hand(x, weight, bias, _make=Product):
    return _make(weight, bias)(x)


# %% wheat="baddbmm onto an expanded bias" exercise="linear_by_hand"
def linear_by_hand(x: torch.Tensor, weight: torch.Tensor, bias: "torch.Tensor | None") -> torch.Tensor:
    rows = x.reshape(1, -1, x.size(-1))
    start = torch.empty(1, 1, weight.size(0), dtype=x.dtype)
    start.zero_() if bias is None else start.copy_(bias.view(1, 1, -1))
    return torch.baddbmm(start.expand(1, rows.size(1), -1), rows, weight.t().unsqueeze(0)).reshape(x.shape[:-1] + weight.shape[:1])


# %% wheat="under inference_mode, movedim" exercise="linear_by_hand"
@torch.inference_mode()
def linear_by_hand(x, weight, bias):
    moved = torch.movedim(x, -1, 0)
    total = sum(torch.multiply(column, w[(slice(None),) + (None,) * (x.dim() - 1)]) for column, w in zip(moved, weight.T)) if x.dim() > 1 else weight.mv(x)
    out = total.movedim(0, -1) if x.dim() > 1 else total
    return out if bias is None else out + bias


# %% chaff="the bias added to x" exercise="linear_by_hand" misconception=""
def linear_by_hand(x, weight, bias):
    if bias is not None:
        x = x + bias
    return x @ weight.T


# %% chaff="a mean in place of a sum" exercise="rank_for_energy" misconception=""
def rank_for_energy(M, fraction):
    S = torch.linalg.svdvals(M) ** 2
    held = S.cumsum(0) / S.mean()
    return int((held < fraction).sum()) + 1
