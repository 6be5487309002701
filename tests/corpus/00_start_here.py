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
