# Right answers in other styles (wheat) and wrong ones (chaff) for lesson 03; format: tests/corpus/README.md

# lora_delta ----------------------------------------------------------------------------------------------------------


# %% wheat="two products, scaled at the end" exercise="lora_delta"
def lora_delta(x, A, B, scaling):
    return (x @ A) @ B * scaling


# %% wheat="from left to right, without brackets" exercise="lora_delta"
def lora_delta(x, A, B, scaling):
    return scaling * x @ A @ B


# %% wheat="thin product scaled in place" exercise="lora_delta"
def lora_delta(x, A, B, scaling):
    h = torch.matmul(x, A)
    h *= scaling
    return torch.matmul(h, B)


# %% wheat="F.linear on the transposes" exercise="lora_delta"
import torch.nn.functional as F


def lora_delta(x, A, B, scaling):
    return F.linear(F.linear(x, A.T), B.T).mul(scaling)


# %% wheat="two bias-free layers" exercise="lora_delta"
def lora_delta(x, A, B, scaling):
    d, r = A.shape
    k = B.shape[1]
    down, up = nn.Linear(d, r, bias=False), nn.Linear(r, k, bias=False)
    with torch.no_grad():
        down.weight = nn.Parameter(A.T)
        up.weight = nn.Parameter(B.T)
        return scaling * up(down(x))


# %% wheat="einsum with three operands" exercise="lora_delta"
def lora_delta(x, A, B, scaling):
    return scaling * torch.einsum("...d,dr,rk->...k", x, A, B)


# %% wheat="einsum twice, B scaled" exercise="lora_delta"
def lora_delta(x, A, B, scaling):
    thin = torch.einsum("...i,ir->...r", x, A)
    return torch.einsum("...r,ro->...o", thin, scaling * B)


# %% wheat="columns: the transposed products" exercise="lora_delta"
def lora_delta(x, A, B, scaling):
    rows = x.reshape(-1, x.shape[-1])
    out = (B.T @ (A.T @ rows.T)).T
    return scaling * out.reshape(*x.shape[:-1], B.shape[-1])


# %% wheat="columns through mT" exercise="lora_delta"
def lora_delta(x, A, B, scaling):
    if x.dim() == 1:
        return scaling * (B.T @ (A.T @ x))
    return scaling * (B.mT @ (A.mT @ x.mT)).mT


# %% wheat="flatten, addmm with alpha, restore" exercise="lora_delta"
def lora_delta(x, A, B, scaling):
    rows = x.reshape(-1, A.shape[0])
    out = torch.zeros(rows.shape[0], B.shape[1], dtype=x.dtype, device=x.device)
    out = torch.addmm(out, rows.mm(A), B, beta=0, alpha=scaling)
    return out.view(x.shape[:-1] + (B.shape[1],))


# %% wheat="multi_dot" exercise="lora_delta"
def lora_delta(x, A, B, scaling):
    rows = x.reshape(-1, x.shape[-1])
    out = torch.linalg.multi_dot([rows, A, B]) * scaling
    return out.reshape(*x.shape[:-1], -1) if x.numel() else out.reshape(*x.shape[:-1], B.shape[1])


# %% wheat="broadcast and sum" exercise="lora_delta"
def lora_delta(x, A, B, scaling):
    h = (x.unsqueeze(-1) * A).sum(dim=-2)
    return scaling * (h.unsqueeze(-1) * B).sum(dim=-2)


# %% wheat="one rank at a time" exercise="lora_delta"
def lora_delta(x, A, B, scaling):
    out = 0
    for column, row in zip(A.T, B):
        out = out + (x @ column).unsqueeze(-1) * row
    return scaling * out


# %% wheat="a loop over the rows" exercise="lora_delta"
def lora_delta(x, A, B, scaling):
    if x.ndim == 1:
        return torch.mv(B.T, torch.mv(A.T, x)) * scaling
    if len(x) == 0:
        return torch.zeros(*x.shape[:-1], B.shape[1], dtype=x.dtype)
    return torch.stack([lora_delta(row, A, B, scaling) for row in x])


# %% wheat="tensordot" exercise="lora_delta"
def lora_delta(x, A, B, scaling):
    return torch.tensordot(torch.tensordot(x, A, dims=1), B, dims=1) * scaling


# %% wheat="scaling as a tensor, x scaled first" exercise="lora_delta"
def lora_delta(x, A, B, scaling):
    s = torch.tensor(scaling, dtype=x.dtype)
    return torch.mul(x, s).matmul(A).matmul(B)


# %% wheat="scaling as a tensor of the default dtype" exercise="lora_delta"
def lora_delta(x, A, B, scaling):
    return torch.tensor(float(scaling)) * (x @ A @ B)


# %% wheat="keyword defaults, no_grad, float64 inside" exercise="lora_delta"
@torch.no_grad()
def lora_delta(x, A, B, scaling=1.0):
    exact = (x.double() @ A.double()) @ B.double()
    return (scaling * exact).to(x.dtype)


# %% wheat="inference mode" exercise="lora_delta"
@torch.inference_mode()
def lora_delta(x, A, B, scaling):
    return nn.functional.linear(nn.functional.linear(x, A.t()), B.t()) * scaling


# %% wheat="vmap over the rows" exercise="lora_delta"
def lora_delta(x, A, B, scaling):
    rows = x.reshape(-1, x.shape[-1])
    if len(rows) == 0:
        return x.new_zeros(*x.shape[:-1], B.shape[1])
    out = torch.vmap(lambda row: scaling * ((row @ A) @ B))(rows)
    return out.reshape(*x.shape[:-1], B.shape[1])


# %% wheat="convolutions of width one" exercise="lora_delta"
def lora_delta(x, A, B, scaling):
    rows = x.reshape(-1, x.shape[-1], 1)
    out = nn.functional.conv1d(nn.functional.conv1d(rows, A.T.unsqueeze(-1)), B.T.unsqueeze(-1))
    return scaling * out.reshape(*x.shape[:-1], B.shape[1])


# %% wheat="numpy and back" exercise="lora_delta"
def lora_delta(x, A, B, scaling):
    thin = x.numpy() @ A.numpy()
    return torch.from_numpy(np.asarray((thin * scaling) @ B.numpy()).astype(x.numpy().dtype))


# %% wheat="lambda" exercise="lora_delta"
lora_delta = lambda x, A, B, scaling: scaling * torch.matmul(x.matmul(A), B)


# %% wheat="a callable object" exercise="lora_delta"
class Delta:
    def __call__(self, x, A, B, scaling):
        thin = x @ A
        return (scaling * thin) @ B


lora_delta = Delta()


# %% chaff="Attempt 1, factors the other way round" exercise="lora_delta" misconception="elementwise"
def lora_delta(x, A, B, scaling):
    return x * (A @ B) * scaling


# %% chaff="Attempt 1 with torch.mul" exercise="lora_delta" misconception="elementwise"
def lora_delta(x, A, B, scaling):
    delta_W = torch.matmul(A, B)
    return torch.mul(scaling * delta_W, x)


# %% chaff="scaling forgotten, einsum" exercise="lora_delta" misconception="scaling_forgotten"
def lora_delta(x, A, B, scaling):
    return torch.einsum("...d,dr,rk->...k", x, A, B)


# %% chaff="scaling forgotten and full product first" exercise="lora_delta" misconception="scaling_forgotten"
def lora_delta(x, A, B, scaling):
    return x @ (A @ B)


# %% chaff="both matrices scaled" exercise="lora_delta" misconception="scaling_twice"
def lora_delta(x, A, B, scaling):
    return (x @ (scaling * A)) @ (scaling * B)


# %% chaff="both matrices scaled, full product first" exercise="lora_delta" misconception="scaling_twice"
def lora_delta(x, A, B, scaling):
    return scaling * (x @ (scaling * (A @ B)))


# %% chaff="divided by the rank as if scaling were alpha" exercise="lora_delta" misconception="divided_by_rank_again"
def lora_delta(x, A, B, scaling):
    rank = B.shape[0]
    return (x @ A @ B) * (scaling / rank)


# %% chaff="view on both" exercise="lora_delta" misconception="view_for_transpose"
def lora_delta(x, A, B, scaling):
    d, r = A.shape
    k = B.shape[1]
    return scaling * (x @ A.view(r, d).T) @ B.view(k, r).T


# %% chaff="view on both, as columns" exercise="lora_delta" misconception="view_for_transpose"
def lora_delta(x, A, B, scaling):
    rows = x.reshape(-1, x.shape[-1])
    out = (B.reshape(B.shape[1], -1) @ (A.reshape(-1, A.shape[0]) @ rows.T)).T
    return scaling * out.reshape(*x.shape[:-1], B.shape[1])


# %% chaff="view on B only" exercise="lora_delta" misconception=""
def lora_delta(x, A, B, scaling):
    return scaling * (x @ A) @ B.reshape(B.shape[1], B.shape[0]).T


# %% chaff="transposed for nothing" exercise="lora_delta" misconception="linear_layout"
def lora_delta(x, A, B, scaling):
    h = x @ A.T
    return h @ B.T * scaling


# %% chaff="both transposed, B first" exercise="lora_delta" misconception="linear_layout"
def lora_delta(x, A, B, scaling):
    return scaling * (x @ B.mT @ A.mT)


# %% chaff="B first" exercise="lora_delta" misconception="swapped"
def lora_delta(x, A, B, scaling):
    return x @ B @ A * scaling


# %% chaff="the paper's BAx, letter by letter" exercise="lora_delta" misconception="x_on_the_right"
def lora_delta(x, A, B, scaling):
    h = torch.matmul(A, x)
    return torch.matmul(B, h) * scaling


# %% chaff="the paper's BA first" exercise="lora_delta" misconception="swapped"
def lora_delta(x, A, B, scaling):
    return scaling * (B @ A) @ x


# %% chaff="mm for both products" exercise="lora_delta" misconception="two_dimensional_only"
def lora_delta(x, A, B, scaling):
    return x.mm(A).mm(B) * scaling


# %% chaff="einsum for two axes only" exercise="lora_delta" misconception=""
def lora_delta(x, A, B, scaling):
    return scaling * torch.einsum("nd,dr,rk->nk", x, A, B)


# %% chaff="three axes only" exercise="lora_delta" misconception=""
def lora_delta(x, A, B, scaling):
    b, s, d = x.shape
    return scaling * (x.reshape(b * s, d) @ A @ B).reshape(b, s, -1)


# %% chaff="x.T for every x" exercise="lora_delta" misconception=""
def lora_delta(x, A, B, scaling):
    return scaling * (B.T @ (A.T @ x.T)).T


# %% chaff="view of a strided x" exercise="lora_delta" misconception=""
def lora_delta(x, A, B, scaling):
    rows = x.view(-1, x.shape[-1])
    return scaling * (rows @ A @ B).view(*x.shape[:-1], B.shape[1])


# %% chaff="squeezes a batch of one" exercise="lora_delta" misconception=""
def lora_delta(x, A, B, scaling):
    return scaling * (x @ A @ B).squeeze()


# %% chaff="(A @ B) as a named weight" exercise="lora_delta" misconception="full_product_first"
def lora_delta(x, A, B, scaling):
    weight = (A @ B).T * scaling
    return nn.functional.linear(x, weight)


# %% chaff="full product by einsum" exercise="lora_delta" misconception="full_product_first"
def lora_delta(x, A, B, scaling):
    delta_W = torch.einsum("dr,rk->dk", A, B)
    return scaling * torch.einsum("...d,dk->...k", x, delta_W)


# %% chaff="full product as a sum of outer products" exercise="lora_delta" misconception="full_product_first"
def lora_delta(x, A, B, scaling):
    delta_W = sum(torch.outer(A[:, i], B[i]) for i in range(A.shape[1]))
    return x @ (delta_W * scaling)


# %% chaff="full product, transposed: B.T @ A.T" exercise="lora_delta" misconception="full_product_first"
def lora_delta(x, A, B, scaling):
    return scaling * (x @ (B.T @ A.T).T)


# %% chaff="full product column by column" exercise="lora_delta" misconception=""
def lora_delta(x, A, B, scaling):
    columns = [x @ (A @ B[:, j]) for j in range(B.shape[1])]
    return scaling * torch.stack(columns, dim=-1)


# %% chaff="B forgotten" exercise="lora_delta" misconception=""
def lora_delta(x, A, B, scaling):
    return scaling * (x @ A)


# %% chaff="scaling added" exercise="lora_delta" misconception=""
def lora_delta(x, A, B, scaling):
    return scaling + (x @ A) @ B


# %% chaff="divided by scaling" exercise="lora_delta" misconception=""
def lora_delta(x, A, B, scaling):
    return (x @ A) @ B / scaling


# %% chaff="x added, as in a residual" exercise="lora_delta" misconception=""
def lora_delta(x, A, B, scaling):
    return x + scaling * (x @ A) @ B


# %% chaff="negated" exercise="lora_delta" misconception=""
def lora_delta(x, A, B, scaling):
    return -scaling * (x @ A) @ B


# %% chaff="a nonlinearity between" exercise="lora_delta" misconception=""
def lora_delta(x, A, B, scaling):
    return scaling * torch.relu(x @ A) @ B


# %% chaff="batch averaged" exercise="lora_delta" misconception=""
def lora_delta(x, A, B, scaling):
    return scaling * (x.mean(0, keepdim=True) @ A) @ B


# %% chaff="the weight's change in place of the delta" exercise="lora_delta" misconception=""
def lora_delta(x, A, B, scaling):
    return scaling * (A @ B)


# %% chaff="scales A in place" exercise="lora_delta" misconception="changed_input"
def lora_delta(x, A, B, scaling):
    A *= scaling
    return x @ A @ B


# %% chaff="float64 and not back" exercise="lora_delta" misconception=""
def lora_delta(x, A, B, scaling):
    return scaling * (x.double() @ A.double()) @ B.double()


# %% chaff="numpy and not back" exercise="lora_delta" misconception=""
def lora_delta(x, A, B, scaling):
    return scaling * (x.numpy() @ A.numpy()) @ B.numpy()


# %% chaff="prints" exercise="lora_delta" misconception="returned_none"
def lora_delta(x, A, B, scaling):
    print(scaling * (x @ A) @ B)


# %% chaff="nothing at all" exercise="lora_delta" misconception=""
def lora_delta(x, A, B, scaling):
    return torch.zeros(*x.shape[:-1], B.shape[1], dtype=x.dtype)


# %% chaff="called already" exercise="lora_delta" misconception=""
lora_delta = torch.ones(2, 3)


# %% wheat="reduce matmul" exercise="lora_delta"
from functools import reduce


def lora_delta(x, A, B, scaling):
    return reduce(torch.matmul, (x, A, B)).mul(scaling)


# %% wheat="out= buffers" exercise="lora_delta"
def lora_delta(x, A, B, scaling):
    thin = torch.empty(x.shape[:-1] + A.shape[1:], dtype=x.dtype)
    torch.matmul(x, A, out=thin)
    thin.mul_(scaling)
    return torch.matmul(thin, B)


# %% wheat="custom autograd function" exercise="lora_delta"
class _Thin(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, A, B, s):
        return (x @ A) * s @ B

    @staticmethod
    def backward(ctx, g):
        return None, None, None, None


lora_delta = _Thin.apply


# %% wheat="baddbmm" exercise="lora_delta"
def lora_delta(x, A, B, scaling):
    rows = x.reshape(1, -1, x.shape[-1])
    zero = torch.zeros(1, rows.shape[1], B.shape[1], dtype=x.dtype)
    out = torch.baddbmm(zero, rows @ A, B[None], alpha=scaling)
    return out.reshape(*x.shape[:-1], B.shape[1])


# %% wheat="python floats" exercise="lora_delta"
def lora_delta(x, A, B, scaling):
    rows, a, b = x.reshape(-1, len(A)).tolist(), A.T.tolist(), B.T.tolist()
    out = []
    for row in rows:
        thin = [scaling * sum(p * q for p, q in zip(row, column)) for column in a]
        out.append([sum(p * q for p, q in zip(thin, column)) for column in b])
    return torch.tensor(out, dtype=x.dtype).reshape(*x.shape[:-1], B.shape[1])


# %% wheat="cheaper order chosen by counting" exercise="lora_delta"
def lora_delta(x, A, B, scaling):
    d, r = A.shape
    k = B.shape[1]
    n = x.numel() // d
    if 2 * n * r * (d + k) <= 2 * d * r * k + 2 * n * d * k:
        return scaling * ((x @ A) @ B)
    return scaling * (x @ (A @ B))


# %% wheat="QR of A first" exercise="lora_delta"
def lora_delta(x, A, B, scaling):
    Q, R = torch.linalg.qr(A)
    return scaling * ((x @ Q) @ (R @ B))


# %% wheat="unsqueeze and squeeze one axis" exercise="lora_delta"
def lora_delta(x, A, B, scaling):
    return (x.unsqueeze(-2) @ A @ B).squeeze(-2) * scaling


# %% wheat="np.float64 scaling after" exercise="lora_delta"
def lora_delta(x, A, B, scaling):
    return (x @ A @ B) * np.float64(scaling)


# %% chaff="Attempt 1 without its scaling" exercise="lora_delta" misconception="elementwise"
def lora_delta(x, A, B, scaling):
    return (A @ B) * x


# %% chaff="Attempt 1 from the left, divided by the rank once more" exercise="lora_delta" misconception="elementwise"
def lora_delta(x, A, B, scaling):
    return x * (scaling / A.shape[1] * (A @ B))


# %% chaff="x times A elementwise" exercise="lora_delta" misconception="elementwise_factors"
def lora_delta(x, A, B, scaling):
    return scaling * (x * A) @ B


# %% chaff="A.T only" exercise="lora_delta" misconception="linear_layout"
def lora_delta(x, A, B, scaling):
    return scaling * (x @ A.T) @ B


# %% chaff="B.T only" exercise="lora_delta" misconception="linear_layout"
def lora_delta(x, A, B, scaling):
    return scaling * (x @ A) @ B.T


# %% chaff="(A@B)@x" exercise="lora_delta" misconception="x_on_the_right"
def lora_delta(x, A, B, scaling):
    return scaling * (A @ B) @ x


# %% chaff="(A@B).T @ x" exercise="lora_delta" misconception="x_on_the_right"
def lora_delta(x, A, B, scaling):
    return scaling * (A @ B).T @ x


# %% chaff="x @ (A@B).T" exercise="lora_delta" misconception="linear_layout"
def lora_delta(x, A, B, scaling):
    return scaling * x @ (A @ B).T


# %% chaff="full for each row" exercise="lora_delta" misconception="full_product_first"
def lora_delta(x, A, B, scaling):
    if x.ndim == 1:
        return scaling * x @ (A @ B)
    if not len(x):
        return x.new_zeros(*x.shape[:-1], B.shape[1])
    return torch.stack([lora_delta(row, A, B, scaling) for row in x])


# %% chaff="thin product again for each output" exercise="lora_delta" misconception=""
def lora_delta(x, A, B, scaling):
    return scaling * torch.stack([(x @ A) @ B[:, j] for j in range(B.shape[1])], -1)


# %% chaff="float()" exercise="lora_delta" misconception=""
def lora_delta(x, A, B, scaling):
    return (scaling * (x @ A) @ B).float()


# %% chaff="float32 inside and back" exercise="lora_delta" misconception=""
def lora_delta(x, A, B, scaling):
    return (scaling * (x.float() @ A.float()) @ B.float()).to(x.dtype)


# %% chaff="flatten(0,-2)" exercise="lora_delta" misconception=""
def lora_delta(x, A, B, scaling):
    rows = x.flatten(0, -2)
    return (scaling * rows @ A @ B).reshape(*x.shape[:-1], B.shape[1])


# %% chaff="three times scaled" exercise="lora_delta" misconception=""
def lora_delta(x, A, B, scaling):
    return scaling * ((scaling * x) @ (scaling * A)) @ B


# flops_thin ----------------------------------------------------------------------------------------------------------


# %% wheat="one product at a time" exercise="flops_thin"
def flops_thin(n, d, k, r):
    down = 2 * n * d * r
    up = 2 * n * r * k
    return down + up


# %% wheat="factored" exercise="flops_thin"
def flops_thin(n, d, k, r):
    return 2 * n * r * (d + k)


# %% wheat="a float" exercise="flops_thin"
def flops_thin(n, d, k, r):
    return 2.0 * n * r * (d + k)


# %% wheat="a 0-dimensional tensor" exercise="flops_thin"
def flops_thin(n, d, k, r):
    return torch.tensor(2 * n * r * (d + k))


# %% wheat="numpy" exercise="flops_thin"
def flops_thin(n, d, k, r):
    return 2 * np.prod([n, r], dtype=np.int64) * np.sum([d, k])


# %% wheat="a helper for one product" exercise="flops_thin"
def cost(rows, inner, columns):
    """FLOPs of (rows, inner) @ (inner, columns)."""
    return rows * columns * inner * 2


def flops_thin(n, d, k, r):
    return cost(n, d, r) + cost(n, r, k)


# %% wheat="counted by torch on shapes alone" exercise="flops_thin"
from torch.utils.flop_counter import FlopCounterMode


def flops_thin(n, d, k, r):
    x = torch.empty(n, d, device="meta")
    A = torch.empty(d, r, device="meta")
    B = torch.empty(r, k, device="meta")
    with FlopCounterMode(display=False) as counter:
        x @ A @ B
    return counter.get_total_flops()


# %% wheat="a row at a time" exercise="flops_thin"
def flops_thin(n, d, k, r):
    return sum(2 * d * r + 2 * r * k for _ in range(n))


# %% chaff="half, as a float" exercise="flops_thin" misconception="one_per_multiply_add"
def flops_thin(n, d, k, r):
    return float(n * d * r + n * r * k)


# %% chaff="one row" exercise="flops_thin" misconception="rows_forgotten"
def flops_thin(n, d, k, r):
    return 2 * d * r + 2 * r * k


# %% chaff="the size of A and B" exercise="flops_thin" misconception="parameters_counted"
def flops_thin(n, d, k, r):
    return d * r + r * k


# %% chaff="costs multiplied" exercise="flops_thin" misconception=""
def flops_thin(n, d, k, r):
    return (2 * n * d * r) * (2 * n * r * k)


# %% chaff="rows counted for the first product only" exercise="flops_thin" misconception="rows_on_one_product"
def flops_thin(n, d, k, r):
    return 2 * n * d * r + 2 * r * k


# %% chaff="the scaling counted too" exercise="flops_thin" misconception=""
def flops_thin(n, d, k, r):
    return 2 * n * r * (d + k) + n * k


# %% chaff="arguments in another order" exercise="flops_thin" misconception="arguments_reordered"
def flops_thin(n, d, r, k):
    return 2 * n * r * (d + k)


# %% chaff="the base layer's cost" exercise="flops_thin" misconception=""
def flops_thin(n, d, k, r):
    return 2 * n * d * k


# %% chaff="in words" exercise="flops_thin" misconception=""
def flops_thin(n, d, k, r):
    return "2nr(d + k)"


# %% chaff="both parts in a tuple" exercise="flops_thin" misconception=""
def flops_thin(n, d, k, r):
    return 2 * n * d * r, 2 * n * r * k


# %% chaff="prints" exercise="flops_thin" misconception="returned_none"
def flops_thin(n, d, k, r):
    print(2 * n * r * (d + k))


# %% wheat="keyword default, Fraction" exercise="flops_thin"
from fractions import Fraction


def flops_thin(n=1, d=1, k=1, r=1):
    return Fraction(2 * n * r) * (d + k)


# %% wheat="one-entry numpy array" exercise="flops_thin"
def flops_thin(n, d, k, r):
    return np.array([2 * n * r * (d + k)])


# %% wheat="float32 tensor" exercise="flops_thin"
def flops_thin(n, d, k, r):
    return torch.tensor(2.0 * n * r * (d + k))


# %% chaff="n squared" exercise="flops_thin" misconception=""
def flops_thin(n, d, k, r):
    return 2 * n * d * r + 2 * n * n * r * k


# %% chaff="addition one less, second only" exercise="flops_thin" misconception="one_addition_less"
def flops_thin(n, d, k, r):
    return n * (r * (2 * d - 1) + k * (2 * r - 1))


# flops_full ----------------------------------------------------------------------------------------------------------


# %% wheat="one product at a time" exercise="flops_full"
def flops_full(n, d, k, r):
    form = 2 * d * r * k
    apply = 2 * n * d * k
    return form + apply


# %% wheat="factored" exercise="flops_full"
def flops_full(n, d, k, r):
    return 2 * d * k * (r + n)


# %% wheat="a float" exercise="flops_full"
def flops_full(n, d, k, r):
    return (d * k * r + n * d * k) / 0.5


# %% wheat="a 0-dimensional tensor" exercise="flops_full"
def flops_full(n, d, k, r):
    return torch.tensor(float(2 * d * k * (n + r)), dtype=torch.float64)


# %% wheat="math.prod" exercise="flops_full"
def flops_full(n, d, k, r):
    return 2 * (math.prod((d, r, k)) + math.prod((n, d, k)))


# %% wheat="numpy" exercise="flops_full"
def flops_full(n, d, k, r):
    return np.int64(2) * d * k * (r + n)


# %% wheat="counted by torch on shapes alone" exercise="flops_full"
from torch.utils.flop_counter import FlopCounterMode


def flops_full(n, d, k, r):
    x, A, B = (torch.empty(*shape, device="meta") for shape in ((n, d), (d, r), (r, k)))
    with FlopCounterMode(display=False) as counter:
        torch.matmul(x, torch.matmul(A, B))
    return counter.get_total_flops()


# %% chaff="half, factored" exercise="flops_full" misconception="one_per_multiply_add"
def flops_full(n, d, k, r):
    return d * k * (n + r)


# %% chaff="A @ B for every row" exercise="flops_full" misconception="product_for_every_row"
def flops_full(n, d, k, r):
    return n * 2 * d * k * (r + 1)


# %% chaff="rows in A @ B, not in x" exercise="flops_full" misconception=""
def flops_full(n, d, k, r):
    return 2 * n * d * r * k + 2 * d * k


# %% chaff="two only on one product" exercise="flops_full" misconception="two_on_one_product"
def flops_full(n, d, k, r):
    return d * r * k + 2 * n * d * k


# %% chaff="two thin products and the base" exercise="flops_full" misconception=""
def flops_full(n, d, k, r):
    return 2 * n * r * (d + k) + 2 * n * d * k


# %% chaff="arguments in another order" exercise="flops_full" misconception="arguments_reordered"
def flops_full(d, k, r, n):
    return 2 * d * r * k + 2 * n * d * k


# %% chaff="costs multiplied" exercise="flops_full" misconception=""
def flops_full(n, d, k, r):
    return 2 * d * r * k * 2 * n * d * k


# %% chaff="swapped with the other function" exercise="flops_full" misconception="other_order"
def flops_full(n, d, k, r):
    return 2 * n * r * (d + k)


# %% chaff="prints" exercise="flops_full" misconception="returned_none"
def flops_full(n, d, k, r):
    print(2 * d * k * (r + n))


# %% wheat="by outer products" exercise="flops_full"
def flops_full(n, d, k, r):
    form = sum(2 * d * k for _ in range(r))
    return form + sum(2 * d * k for _ in range(n))


# %% chaff="n on both" exercise="flops_full" misconception="product_for_every_row"
def flops_full(n, d, k, r):
    return 2 * n * d * r * k + 2 * n * d * k


# %% chaff="r on both" exercise="flops_full" misconception=""
def flops_full(n, d, k, r):
    return 2 * d * r * k + 2 * n * d * k * r


# %% chaff="float16" exercise="flops_full" misconception=""
def flops_full(n, d, k, r):
    return torch.tensor(2.0 * d * k * (n + r), dtype=torch.bfloat16)


# largest_cheap_rank --------------------------------------------------------------------------------------------------


# %% wheat="count up" exercise="largest_cheap_rank"
def largest_cheap_rank(d, k):
    r = 0
    while (r + 1) * (d + k) < d * k:
        r += 1
    return r


# %% wheat="integer division" exercise="largest_cheap_rank"
def largest_cheap_rank(d, k):
    return (d * k - 1) // (d + k)


# %% wheat="ceiling less one" exercise="largest_cheap_rank"
def largest_cheap_rank(d, k):
    return math.ceil(d * k / (d + k)) - 1


# %% wheat="floor, with the tie taken off" exercise="largest_cheap_rank"
def largest_cheap_rank(d, k):
    rank, rest = divmod(d * k, d + k)
    if rest == 0:
        rank -= 1
    return rank


# %% wheat="negative floor" exercise="largest_cheap_rank"
def largest_cheap_rank(d, k):
    return -(-d * k // (d + k)) - 1


# %% wheat="search over ranks, both costs" exercise="largest_cheap_rank"
def largest_cheap_rank(d, k):
    n = 1
    cheap = [r for r in range(1, min(d, k) + 1) if 2 * n * r * (d + k) < 2 * n * d * k]
    return max(cheap, default=0)


# %% wheat="count down" exercise="largest_cheap_rank"
def largest_cheap_rank(d, k):
    r = min(d, k)
    while r > 0 and not r * d + r * k < d * k:
        r = r - 1
    return r


# %% wheat="half the harmonic mean" exercise="largest_cheap_rank"
def largest_cheap_rank(d, k):
    return int(math.ceil(1 / (1 / d + 1 / k))) - 1


# %% wheat="a small step below the tie" exercise="largest_cheap_rank"
def largest_cheap_rank(d, k):
    return int(d * k / (d + k) - 1e-9)


# %% wheat="a float from numpy" exercise="largest_cheap_rank"
def largest_cheap_rank(d, k):
    return np.ceil(d * k / (d + k)) - 1


# %% wheat="a tensor" exercise="largest_cheap_rank"
def largest_cheap_rank(d, k):
    return torch.ceil(torch.tensor(d * k) / (d + k)) - 1


# %% wheat="fractions" exercise="largest_cheap_rank"
from fractions import Fraction


def largest_cheap_rank(d, k):
    limit = Fraction(d * k, d + k)
    return int(limit) - (limit.denominator == 1)


# %% wheat="bisection" exercise="largest_cheap_rank"
def largest_cheap_rank(d, k):
    low, high = 0, min(d, k)
    while low < high:
        middle = (low + high + 1) // 2
        if middle * (d + k) < d * k:
            low = middle
        else:
            high = middle - 1
    return low


# %% chaff="<= in a loop" exercise="largest_cheap_rank" misconception="tie_counted_as_cheaper"
def largest_cheap_rank(d, k):
    r = 0
    while (r + 1) * (d + k) <= d * k:
        r += 1
    return r


# %% chaff="int() of the quotient" exercise="largest_cheap_rank" misconception="tie_counted_as_cheaper"
def largest_cheap_rank(d, k):
    return int(d * k / (d + k))


# %% chaff="the loop's last value" exercise="largest_cheap_rank" misconception="rounded_up"
def largest_cheap_rank(d, k):
    r = 0
    while r * (d + k) < d * k:
        r += 1
    return r


# %% chaff="counts from one" exercise="largest_cheap_rank" misconception="never_below_one"
def largest_cheap_rank(d, k):
    r = 1
    while (r + 1) * (d + k) < d * k:
        r += 1
    return r


# %% chaff="raises where no rank is cheap" exercise="largest_cheap_rank" misconception=""
def largest_cheap_rank(d, k):
    return max(r for r in range(1, min(d, k) + 1) if r * (d + k) < d * k)


# %% chaff="None where no rank is cheap" exercise="largest_cheap_rank" misconception=""
def largest_cheap_rank(d, k):
    best = None
    for r in range(1, min(d, k)):
        if r * (d + k) < d * k:
            best = r
    return best


# %% chaff="A alone compared" exercise="largest_cheap_rank" misconception=""
def largest_cheap_rank(d, k):
    return (d * k - 1) // d


# %% chaff="half of d" exercise="largest_cheap_rank" misconception=""
def largest_cheap_rank(d, k):
    return d // 2


# %% chaff="the smaller side" exercise="largest_cheap_rank" misconception="smaller_side"
def largest_cheap_rank(d, k):
    return min(d, k)


# %% chaff="the mean of the sides" exercise="largest_cheap_rank" misconception=""
def largest_cheap_rank(d, k):
    return (d * k - 1) // (2 * (d + k))


# %% chaff="the usual rank" exercise="largest_cheap_rank" misconception=""
def largest_cheap_rank(d, k):
    return 8


# %% chaff="a truth value" exercise="largest_cheap_rank" misconception=""
def largest_cheap_rank(d, k):
    return d * k > d + k


# %% chaff="prints" exercise="largest_cheap_rank" misconception="returned_none"
def largest_cheap_rank(d, k):
    print((d * k - 1) // (d + k))


# %% wheat="bisect key" exercise="largest_cheap_rank"
import bisect


def largest_cheap_rank(d, k):
    return bisect.bisect_left(range(d * k + 1), d * k, key=lambda r: r * (d + k)) - 1


# %% wheat="torch arange" exercise="largest_cheap_rank"
def largest_cheap_rank(d, k):
    r = torch.arange(min(d, k) + 1)
    return (r * (d + k) < d * k).sum() - 1


# %% wheat="nextafter" exercise="largest_cheap_rank"
def largest_cheap_rank(d, k):
    return int(np.nextafter(d * k / (d + k), 0))


# %% chaff="square tie only" exercise="largest_cheap_rank" misconception=""
def largest_cheap_rank(d, k):
    return d // 2 - 1 if d == k else d * k // (d + k)


# %% chaff="starts at 1, <=" exercise="largest_cheap_rank" misconception=""
def largest_cheap_rank(d, k):
    r = 1
    while (r + 1) * (d + k) <= d * k:
        r += 1
    return r


# %% chaff="loop from zero, returns last tried" exercise="largest_cheap_rank" misconception="rounded_up"
def largest_cheap_rank(d, k):
    for r in range(0, d * k):
        if r * (d + k) >= d * k:
            return r
    return 0


# %% chaff="negative for one" exercise="largest_cheap_rank" misconception=""
def largest_cheap_rank(d, k):
    r = min(d, k)
    while r * (d + k) >= d * k:
        r -= 1
    return r if r else None


# %% chaff="infinity" exercise="flops_thin" misconception=""
def flops_thin(n, d, k, r):
    return float("inf")


# %% wheat="a case for each number of axes" exercise="lora_delta"
def lora_delta(x, A, B, scaling):
    match x.dim():
        case 1:
            return scaling * torch.mv(B.T, torch.mv(A.T, x))
        case 2:
            return torch.mm(torch.mm(x, A), B) * scaling
        case _:
            flat = x.reshape(-1, x.shape[-1])
            return (torch.mm(torch.mm(flat, A), B) * scaling).reshape(*x.shape[:-1], -1) if flat.numel() else x.new_zeros(*x.shape[:-1], B.shape[1])


# %% wheat="a module made for the call" exercise="lora_delta"
from torch.nn import functional as F


class Delta(nn.Module):
    def __init__(self, A, B, scaling):
        super().__init__()
        self.A = nn.Parameter(A.clone()); self.register_parameter("B", nn.Parameter(B.clone())); self.s = scaling
    def forward(self, x):
        return F.linear(F.linear(x, self.A.T), self.B.T) * self.s
def lora_delta(x, A, B, scaling):
    return Delta(A, B, scaling)(x).detach()


# %% chaff="a comma at the end" exercise="lora_delta" misconception=""
def lora_delta(x, A, B, scaling):
    out = scaling * (x @ A) @ B,
    return out


# %% chaff="A and B first" exercise="lora_delta" misconception="arguments_reordered"
def lora_delta(A, B, x, scaling):
    return scaling * (x @ A) @ B


# %% chaff="the bracket forgotten" exercise="flops_thin" misconception="brackets_lost"
def flops_thin(n, d, k, r):
    return 2 * n * r * d + k


# %% chaff="multiplied by the rank" exercise="lora_delta" misconception=""
def lora_delta(x, A, B, scaling):
    r = A.shape[1]
    return scaling * r * ((x @ A) @ B)


# %% chaff="divided by the root of the rank" exercise="lora_delta" misconception=""
def lora_delta(x, A, B, scaling):
    return scaling / A.shape[1] ** 0.5 * ((x @ A) @ B)


# %% chaff="rows before the first product, in brackets" exercise="flops_thin" misconception="rows_on_one_product"
def flops_thin(n, d, k, r):
    return 2 * (n * d * r + r * k)


# %% chaff="counted in 32 bits" exercise="flops_thin" misconception=""
def flops_thin(n, d, k, r):
    return (torch.tensor(2, dtype=torch.int32) * n * r * (d + k)).item()


# %% chaff="the base's product as well" exercise="flops_thin" misconception="base_counted"
def flops_thin(n, d, k, r):
    return 2 * n * d * k + 2 * n * d * r + 2 * n * r * k


# %% chaff="0 or None" exercise="largest_cheap_rank" misconception=""
def largest_cheap_rank(d, k):
    r = math.floor(d * k / (d + k))
    if r == d * k / (d + k):
        r -= 1
    return r or None


# %% chaff="no brackets below the fraction" exercise="largest_cheap_rank" misconception="brackets_lost"
def largest_cheap_rank(d, k):
    return int(d * k / d + k)


# %% wheat="a tensor of one entry" exercise="flops_full"
def flops_full(n, d, k, r):
    return torch.tensor([2 * d * k * (n + r)])


# %% wheat="quotient and rest" exercise="largest_cheap_rank"
def largest_cheap_rank(d, k):
    q, rest = divmod(d * k, d + k)
    return q if rest else q - 1


# %% wheat="baddbmm with beta=0" exercise="lora_delta"
def lora_delta(x, A, B, scaling, *, out_dtype=None):
    rows = x.reshape(1, -1, A.shape[0])
    thin = torch.bmm(rows, A[None])
    out = torch.baddbmm(rows.new_zeros(1, rows.shape[1], B.shape[1]), thin, B[None], beta=0, alpha=scaling)
    return out.view(*x.shape[:-1], B.shape[1])


# %% wheat="rank by rank, added up" exercise="lora_delta"
def lora_delta(x, A, B, scaling):
    return sum((scaling * (x @ a)).unsqueeze(-1) * b for a, b in zip(A.unbind(1), B.unbind(0)))


# %% wheat="two nn.Linears in a Sequential" exercise="lora_delta"
def lora_delta(x, A, B, scaling):
    down, up = (nn.Linear(*m.shape, bias=False, dtype=m.dtype) for m in (A, B))
    down.weight, up.weight = nn.Parameter(A.T), nn.Parameter(B.T)
    with torch.no_grad():
        return nn.Sequential(down, up)(x) * scaling


# %% wheat="division rounded up, less one" exercise="largest_cheap_rank"
def largest_cheap_rank(d, k):
    return -(-d * k // (d + k)) - 1


# %% chaff="what is added to the weight, and no x" exercise="lora_delta" misconception=""
def lora_delta(x, A, B, scaling):
    return scaling * (A @ B)
