"""LoRALinear as a layer: its formula, its start, what trains, where it lives, and what it refuses."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode
from trained_layer import DEVICES, DTYPES, make_layer

from lora_ref import LoRALinear, leaked_parameters


def in_float64(layer, x):
    """The formula, every factor widened first, and the size of what is summed: by that, rounding errors are judged."""
    x, W, A, B = (t.detach().double() for t in (x, layer.base_layer.weight, layer.lora_A, layer.lora_B))
    b = 0 if layer.base_layer.bias is None else layer.base_layer.bias.detach().double()
    want = x @ W.T + b + layer.scaling * (x @ A) @ B
    size = x.abs() @ W.T.abs() + abs(b) + abs(layer.scaling) * (x.abs() @ A.abs()) @ B.abs()
    return want, size


def assert_within_rounding(got, want, size, terms):
    """Half precisions are summed in float32 inside a product, so that only the few roundings between ops count."""
    eps = torch.finfo(got.dtype).eps
    allowed = (4 if eps > 1e-4 else terms) * eps * size + torch.finfo(got.dtype).tiny
    assert got.shape == want.shape
    assert ((got.detach().double() - want).abs() <= allowed).all()


sizes = st.tuples(st.integers(1, 17), st.integers(1, 17)).flatmap(
    lambda dk: st.tuples(st.just(dk[0]), st.just(dk[1]), st.integers(1, min(dk)))
)
leads = st.lists(st.integers(0, 4), max_size=3).map(tuple)
alphas = st.floats(-64, 64).map(lambda alpha: round(alpha, 2))


def laid_out(layout, lead, d, dtype):
    """The same kind of values, in memory that lies as it comes in real models."""
    if layout == "transposed":
        return torch.randn(d, *lead).to(dtype).movedim(0, -1)
    if layout == "every other":
        return torch.randn(*lead, 2 * d).to(dtype)[..., ::2]
    if layout == "expanded":
        return torch.randn(d).to(dtype).expand(*lead, d)
    return torch.randn(*lead, d).to(dtype)


layouts = st.sampled_from(["plain", "transposed", "every other", "expanded"])


# The formula


@settings(max_examples=150, deadline=None)
@given(sizes, leads, layouts, alphas, st.booleans(), st.sampled_from(DTYPES), st.integers(0, 2**32))
def test_forward_is_the_formula(dkr, lead, layout, alpha, bias, dtype, seed):
    torch.manual_seed(seed)
    d, k, r = dkr
    layer = make_layer(d, k, r, alpha, bias, dtype)
    x = laid_out(layout, lead, d, dtype)
    got = layer(x)
    assert got.dtype == dtype
    assert_within_rounding(got, *in_float64(layer, x), terms=d + r + 4)


@settings(max_examples=60, deadline=None)
@given(sizes, leads, layouts, st.booleans(), st.integers(0, 2**32))
def test_gradients_are_the_formulas(dkr, lead, layout, bias, seed):
    torch.manual_seed(seed)
    d, k, r = dkr
    layer = make_layer(d, k, r, bias=bias, dtype=torch.float64)
    x = laid_out(layout, lead, d, torch.float64).requires_grad_()
    upstream = torch.randn(*lead, k, dtype=torch.float64)
    wrt = [x, layer.lora_A, layer.lora_B]
    naive = layer.base_layer(x) + layer.scaling * (x @ (layer.lora_A @ layer.lora_B))
    got, want = (torch.autograd.grad(out, wrt, upstream) for out in (layer(x), naive))
    torch.testing.assert_close(got, want, rtol=1e-11, atol=1e-11)


def test_first_and_second_derivatives_agree_with_finite_differences():
    layer = make_layer(dtype=torch.float64)
    x = torch.randn(2, 3, 7, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(layer, (x,))
    assert torch.autograd.gradgradcheck(layer, (x,))


def test_the_input_is_left_alone():
    layer, x = make_layer(), torch.randn(4, 7)
    before = x.clone()
    layer(x)
    assert torch.equal(x, before)


@pytest.mark.parametrize("shape", [(7,), (6, 7), (2, 3, 7)])
def test_wrong_number_of_features_raises(shape):
    with pytest.raises(RuntimeError, match="shapes cannot be multiplied"):
        make_layer(d=6)(torch.randn(shape))  # 6 * 7 values: a careless view would take them for 7 rows of 6


# The start


@settings(max_examples=80, deadline=None)
@given(sizes, leads, st.booleans(), st.sampled_from(DTYPES), st.integers(0, 2**32))
def test_a_new_layer_is_exactly_its_base(dkr, lead, bias, dtype, seed):
    torch.manual_seed(seed)
    d, k, r = dkr
    base = nn.Linear(d, k, bias=bias, dtype=dtype)
    x = torch.randn(*lead, d).to(dtype)
    want = base(x)
    assert torch.equal(LoRALinear(base, rank=r, alpha=16)(x), want)


@pytest.mark.parametrize("d, r", [(768, 16), (64, 64), (2048, 2)])
def test_A_is_gaussian_with_the_variance_that_keeps_x_at_its_size(d, r):
    torch.manual_seed(0)
    A = LoRALinear(nn.Linear(d, max(r, 100)), rank=r).lora_A.detach()
    assert A.std() * math.sqrt(d) == pytest.approx(1, abs=4 / math.sqrt(d * r))
    assert (A.abs() > 2 * A.std()).float().mean() == pytest.approx(0.0455, abs=0.02)  # a uniform one would give 0
    thin = torch.randn(500, d) @ A
    assert thin.std() == pytest.approx(1, abs=0.15)


def test_two_layers_start_with_different_A():
    base = nn.Linear(7, 5)
    assert not torch.equal(LoRALinear(base).lora_A, LoRALinear(base).lora_A)


def test_healthy_first_step():
    layer = LoRALinear(nn.Linear(7, 5), rank=3)
    layer(torch.randn(4, 7)).square().sum().backward()
    assert layer.lora_B.grad.abs().max() > 0
    assert torch.equal(layer.lora_A.grad, torch.zeros(7, 3))


def test_defaults_and_scaling():
    layer = LoRALinear(nn.Linear(7, 5))
    assert (layer.lora_A.shape, layer.lora_B.shape, layer.scaling) == ((7, 4), (4, 5), 1 / 4)
    assert LoRALinear(nn.Linear(7, 5), rank=2, alpha=16).scaling == 8.0
    assert not layer.merged


# What trains


def test_only_the_adapter_trains():
    layer = make_layer()
    assert [name for name, p in layer.named_parameters() if p.requires_grad] == ["lora_A", "lora_B"]
    assert leaked_parameters(layer) == []


@pytest.mark.parametrize("optimiser", [torch.optim.SGD, torch.optim.AdamW])
def test_a_step_with_weight_decay_leaves_the_base_bit_identical(optimiser):
    layer = make_layer()
    before = {name: p.detach().clone() for name, p in layer.named_parameters()}
    step = optimiser(layer.parameters(), lr=0.1, weight_decay=0.5)  # handed everything, frozen weights too
    layer(torch.randn(4, 7)).square().sum().backward()
    step.step()
    changed = [name for name, p in layer.named_parameters() if not torch.equal(p, before[name])]
    assert changed == ["lora_A", "lora_B"]


# Where it lives


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("dtype", DTYPES)
def test_adapters_are_made_beside_the_base(dtype, device):
    layer = LoRALinear(nn.Linear(7, 5, dtype=dtype, device=device))
    for adapter in (layer.lora_A, layer.lora_B):
        assert adapter.dtype == dtype and adapter.device == layer.base_layer.weight.device
    x = torch.randn(4, 7, dtype=dtype, device=device)
    assert torch.equal(layer(x), layer.base_layer(x))


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("merged", [False, True])
def test_everything_follows_to(device, merged):
    layer = make_layer()
    if merged:
        layer.merge()
    layer.to(device, torch.float64)
    for tensor in (*layer.parameters(), *layer.buffers(), *layer.state_dict().values()):
        assert (tensor.device.type, tensor.dtype) == (device, torch.float64)
    assert layer(torch.randn(2, 7, dtype=torch.float64, device=device)).dtype == torch.float64


def test_it_can_be_made_without_memory_and_filled_later():
    trained = make_layer()
    with torch.device("meta"):
        layer = LoRALinear(nn.Linear(7, 5), rank=3, alpha=8)
    layer.load_state_dict(trained.state_dict(), assign=True)
    x = torch.randn(4, 7)
    assert torch.equal(layer(x), trained(x))
    assert leaked_parameters(layer) == []


# Under the rest of PyTorch


@pytest.mark.parametrize("shape", [(7,), (4, 7), (2, 3, 7)])
@pytest.mark.parametrize("narrow", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("device", DEVICES)
def test_autocast(device, narrow, shape):
    layer = make_layer(device=device)
    x = torch.randn(shape, device=device)
    with torch.autocast(device, dtype=narrow):
        got = layer(x)
    assert got.dtype == narrow
    want, size = in_float64(layer, x)
    assert ((got.double() - want).abs() <= 4 * torch.finfo(narrow).eps * size).all()
    got.float().sum().backward()
    assert layer.lora_A.grad.dtype == layer.lora_B.grad.dtype == torch.float32


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*jit:DeprecationWarning")  # raised by torch itself
def test_compile_gives_the_same_numbers_before_and_after_a_merge():
    torch.compiler.reset()
    layer = make_layer()
    compiled = torch.compile(layer, fullgraph=True)
    x = torch.randn(2, 3, 7, requires_grad=True)
    wrt = [x, layer.lora_A, layer.lora_B]
    want = layer(x)
    torch.testing.assert_close(compiled(x), want)
    torch.testing.assert_close(*(torch.autograd.grad(out.sum(), wrt) for out in (compiled(x), want)))
    layer.merge()
    torch.testing.assert_close(compiled(x), want)
    layer.unmerge()
    torch.testing.assert_close(compiled(x), want)


@pytest.mark.filterwarnings("ignore:There is a performance drop")
def test_per_sample_gradients():
    layer, x = make_layer(dtype=torch.float64), torch.randn(4, 7, dtype=torch.float64)
    adapter = {name: getattr(layer, name).detach() for name in layer.adapter_names}

    def loss(adapter, row):
        return torch.func.functional_call(layer, adapter, (row,)).square().sum()

    each = torch.func.vmap(torch.func.grad(loss), in_dims=(None, 0))(adapter, x)
    layer(x).square().sum().backward()
    for name, gradients in each.items():
        torch.testing.assert_close(gradients.sum(0), getattr(layer, name).grad)


def test_repr_says_what_it_is():
    assert "LoRALinear(\n  rank=3, scaling=2.66667, merged=False\n" in repr(make_layer())


# What the forward costs


class Storages(TorchDispatchMode):
    """Keeps whatever is made while it is on, and counts the pieces of memory that hold at least `least` bytes."""

    def __init__(self, least):
        super().__init__()
        self.least, self.kept = least, []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        self.kept.append(out)
        return out

    def count(self):
        made = [t.untyped_storage() for t in self.kept if isinstance(t, torch.Tensor)]
        return len({storage.data_ptr() for storage in made if storage.nbytes() >= self.least})


@pytest.mark.parametrize("shape", [(64, 24), (4, 16, 24)])
def test_one_tensor_as_large_as_the_output_is_made(shape):
    layer, x = make_layer(24, 40, 3), torch.randn(shape, requires_grad=True)
    with Storages(least=64 * 40 * 4) as ours:
        layer(x)
    with Storages(least=64 * 40 * 4) as naive:
        layer.base_layer(x) + layer.scaling * ((x @ layer.lora_A) @ layer.lora_B)
    assert (ours.count(), naive.count()) == (1, 4)


@pytest.mark.parametrize("shape", [(64, 24), (4, 16, 24)])
def test_backward_needs_only_x_and_the_thin_product(shape):
    layer, x = make_layer(24, 40, 3), torch.randn(shape, requires_grad=True)
    saved = {}

    def keep(tensor):
        saved[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        layer(x)
    for known in (x, *layer.parameters()):
        saved.pop(known.untyped_storage().data_ptr(), None)
    assert list(saved.values()) == [64 * 3 * 4]


# What it refuses


class Lookalike(nn.Module):
    """Has all that a Linear has, and computes who knows what."""

    def __init__(self):
        super().__init__()
        self.in_features, self.out_features, self.bias = 7, 5, None
        self.weight = nn.Parameter(torch.randn(5, 7))


@pytest.mark.parametrize(
    "base", [nn.Conv2d(7, 5, 1), nn.Sequential(nn.Linear(7, 5)), Lookalike(), make_layer(), nn.Linear, "linear", None]
)
def test_base_must_be_a_linear(base):
    with pytest.raises(TypeError, match=f"must be an nn.Linear, not {type(base).__name__}: wrap the Linear inside"):
        LoRALinear(base)


def test_base_must_own_its_weight():
    base = nn.utils.parametrizations.weight_norm(nn.Linear(7, 5))
    with pytest.raises(TypeError, match="remove its parametrization"):
        LoRALinear(base)


@pytest.mark.parametrize("rank", [0, -1, 6, 7, 100])
def test_rank_out_of_range(rank):
    with pytest.raises(ValueError, match=f"rank must be from 1 to 5 on a layer of 7 to 5 features, not {rank}"):
        LoRALinear(nn.Linear(7, 5), rank=rank)


@pytest.mark.parametrize("rank", [4.0, "4", None, True, torch.tensor(4)])
def test_rank_must_be_an_int(rank):
    with pytest.raises(TypeError, match="rank must be an int"):
        LoRALinear(nn.Linear(7, 5), rank=rank)


@pytest.mark.parametrize("alpha", [math.inf, -math.inf, math.nan])
def test_alpha_must_be_finite(alpha):
    with pytest.raises(ValueError, match="alpha must be finite"):
        LoRALinear(nn.Linear(7, 5), alpha=alpha)


@pytest.mark.parametrize("alpha", ["16", None, [16], 1j])
def test_alpha_must_be_a_number(alpha):
    with pytest.raises(TypeError, match="alpha must be a number"):
        LoRALinear(nn.Linear(7, 5), alpha=alpha)


def test_a_refused_base_is_left_trainable():
    base = nn.Linear(7, 5)
    with pytest.raises(ValueError):
        LoRALinear(base, rank=6)
    assert base.weight.requires_grad and base.bias.requires_grad


@pytest.mark.parametrize("rank", [1, 5])
def test_the_ranks_at_either_end_are_taken(rank):
    assert make_layer(rank=rank)(torch.randn(2, 7)).shape == (2, 5)
