"""Merging: right, once, without a trace, and through every way in which a layer is copied, moved, saved and loaded."""

import copy
import io
import pickle

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from trained_layer import DEVICES, DTYPES, make_layer

from lora_ref import delta_weight, merge


def bits(tensor):
    """As integers, since 0.0 == -0.0 and nan != nan."""
    return tensor.detach().contiguous().view({8: torch.int64, 4: torch.int32, 2: torch.int16}[tensor.element_size()])


def same_bits(a, b):
    return a.dtype == b.dtype and torch.equal(bits(a), bits(b))


def tolerance(dtype):
    return {"rtol": 64 * torch.finfo(dtype).eps, "atol": 64 * torch.finfo(dtype).eps}


sizes = st.tuples(st.integers(1, 12), st.integers(1, 12)).flatmap(
    lambda dk: st.tuples(st.just(dk[0]), st.just(dk[1]), st.integers(1, min(dk)))
)


# What is added


@settings(max_examples=60, deadline=None)
@given(sizes, st.floats(-32, 32), st.booleans(), st.integers(0, 2**32))
def test_delta_weight_is_what_the_adapter_does(dkr, alpha, bias, seed):
    torch.manual_seed(seed)
    d, k, r = dkr
    layer = make_layer(d, k, r, alpha, bias, torch.float64)
    x = torch.randn(3, d, dtype=torch.float64)
    delta = layer.delta_weight()
    assert delta.shape == (k, d)
    torch.testing.assert_close(x @ delta.T, layer(x) - layer.base_layer(x), rtol=1e-10, atol=1e-10)
    assert torch.equal(delta, delta_weight(layer))


def test_delta_weight_carries_gradients_to_A_and_B():
    layer = make_layer()
    layer.delta_weight().square().sum().backward()
    assert layer.lora_A.grad.abs().sum() > 0 and layer.lora_B.grad.abs().sum() > 0


def test_delta_weight_of_any_layer_that_has_the_three_names():
    class Plain(nn.Module):
        def __init__(self):
            super().__init__()
            self.base_layer = nn.Linear(7, 5)
            self.lora_A, self.lora_B = nn.Parameter(torch.randn(7, 3)), nn.Parameter(torch.randn(3, 5))
            self.scaling = 2.5

    layer, x = Plain(), torch.randn(4, 7)
    torch.testing.assert_close(delta_weight(layer), 2.5 * (layer.lora_A @ layer.lora_B).T)
    torch.testing.assert_close(merge(layer)(x), layer.base_layer(x) + 2.5 * (x @ layer.lora_A) @ layer.lora_B)


# In place


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("bias", [True, False])
def test_merge_keeps_the_output_and_unmerge_gives_every_bit_back(bias, dtype, device):
    layer = make_layer(33, 20, bias=bias, dtype=dtype, device=device)
    x = torch.randn(4, 33, dtype=dtype, device=device)
    weight = layer.base_layer.weight
    with torch.no_grad():
        weight[0, 0] = -0.0  # equal to 0.0, and yet other bits
    before, want = weight.clone(), layer(x)
    for _ in range(100):
        layer.merge()
        layer.merge()
        assert layer.merged and not same_bits(weight, before)
        layer.unmerge()
        layer.unmerge()
        assert not layer.merged and same_bits(weight, before)
    layer.merge()
    torch.testing.assert_close(layer(x), want, **tolerance(dtype))


def test_a_second_merge_changes_no_bit():
    layer = make_layer()
    layer.merge()
    once = layer.base_layer.weight.clone()
    layer.merge()
    assert same_bits(layer.base_layer.weight, once)


def test_the_bases_weight_stays_the_same_frozen_leaf():
    layer = make_layer()
    weight, place = layer.base_layer.weight, layer.base_layer.weight.data_ptr()
    for change in (layer.merge, layer.merge, layer.unmerge, layer.unmerge):
        change()
        assert layer.base_layer.weight is weight and isinstance(weight, nn.Parameter)
        assert weight.is_leaf and weight.grad_fn is None and not weight.requires_grad and weight.data_ptr() == place
        assert [name for name, p in layer.named_parameters() if p.requires_grad] == ["lora_A", "lora_B"]


def test_bias_adapters_and_mode_are_not_touched():
    layer = make_layer().train()
    before = [t.clone() for t in (layer.base_layer.bias, layer.lora_A, layer.lora_B)]
    layer.merge()
    layer.eval()
    layer.train()
    assert layer.merged
    after = (layer.base_layer.bias, layer.lora_A, layer.lora_B)
    assert all(same_bits(a, b) for a, b in zip(after, before, strict=True))


def test_unmerge_restores_values_that_no_subtraction_could():
    layer = make_layer(dtype=torch.bfloat16)
    with torch.no_grad():
        layer.base_layer.weight.mul_(1e-6)  # far below what survives a sum with the delta in 8 bits of precision
        layer.base_layer.weight[0, :3] = torch.tensor([float("inf"), float("nan"), 0.0])
    before = layer.base_layer.weight.clone()
    layer.merge()
    layer.unmerge()
    assert same_bits(layer.base_layer.weight, before)


def test_adapters_that_changed_while_merged_do_not_spoil_the_base():
    layer = make_layer()
    before = layer.base_layer.weight.clone()
    layer.merge()
    with torch.no_grad():
        layer.lora_B.normal_()
    layer.unmerge()
    assert same_bits(layer.base_layer.weight, before)


def test_a_merge_within_autocast_keeps_full_precision():
    inside, outside = (layer := make_layer(64, 48)), copy.deepcopy(layer)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside.merge()
    outside.merge()
    assert same_bits(inside.base_layer.weight, outside.base_layer.weight)


def test_a_merge_within_inference_mode_can_be_undone_and_trained_on():
    layer = make_layer()
    before = layer.base_layer.weight.clone()
    with torch.inference_mode():
        layer.merge()
    layer.unmerge()
    assert same_bits(layer.base_layer.weight, before)
    layer(torch.randn(4, 7)).sum().backward()
    assert layer.lora_B.grad is not None


def test_a_merge_that_fails_leaves_the_layer_unmerged(monkeypatch):
    layer = make_layer()
    before = layer.base_layer.weight.clone()
    monkeypatch.setattr(layer, "delta_weight", lambda: 1 / 0)  # out of memory, say
    with pytest.raises(ZeroDivisionError):
        layer.merge()
    assert not layer.merged and same_bits(layer.base_layer.weight, before)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64])
def test_a_merged_layer_that_changed_dtype_unmerges_to_the_converted_base(dtype):
    layer = make_layer()
    converted = layer.base_layer.weight.to(dtype)
    layer.merge()
    layer.to(dtype)
    layer.unmerge()
    assert same_bits(layer.base_layer.weight, converted)


# To a plain Linear


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("merged", [False, True])
def test_to_linear(merged, bias, dtype, device):
    layer = make_layer(33, 20, bias=bias, dtype=dtype, device=device)
    x = torch.randn(4, 33, dtype=dtype, device=device)
    want = layer(x)
    if merged:
        layer.merge()
    before = copy.deepcopy(layer.state_dict())
    for linear in (layer.to_linear(), merge(layer)):
        assert type(linear) is nn.Linear
        assert (linear.in_features, linear.out_features, linear.bias is None) == (33, 20, not bias)
        torch.testing.assert_close(linear(x), want, **tolerance(dtype))
        ours = {p.untyped_storage().data_ptr() for p in (*layer.parameters(), *layer.buffers())}
        for parameter in linear.parameters():
            assert parameter.is_leaf and parameter.grad_fn is None and parameter.requires_grad
            assert parameter.untyped_storage().data_ptr() not in ours
            assert parameter.device == layer.lora_A.device and parameter.dtype == dtype
            nn.init.zeros_(parameter)
    assert layer.merged == merged
    assert all(same_bits(value, before[name]) for name, value in layer.state_dict().items())


# Copied, saved, loaded


def by_torch_save(layer):
    file = io.BytesIO()
    torch.save(layer, file)
    file.seek(0)
    return torch.load(file, weights_only=False)


COPIES = {"deepcopy": copy.deepcopy, "pickle": lambda layer: pickle.loads(pickle.dumps(layer)), "save": by_torch_save}


@pytest.mark.parametrize("how", COPIES)
@pytest.mark.parametrize("merged", [False, True])
def test_copies_are_right_and_independent(merged, how):
    layer = make_layer()
    x, base = torch.randn(4, 7), layer.base_layer.weight.clone()
    want = layer(x).detach()
    if merged:
        layer.merge()
    other = COPIES[how](layer)
    assert other.merged == merged
    other.merge()  # does nothing, if the copy was merged
    torch.testing.assert_close(other(x), want)
    other.unmerge()
    assert same_bits(other.base_layer.weight, base)
    torch.testing.assert_close(other(x), want)
    with torch.no_grad():
        for parameter in other.parameters():
            parameter.zero_()
    torch.testing.assert_close(layer(x), want)
    assert layer.merged == merged
    layer.unmerge()
    assert same_bits(layer.base_layer.weight, base)
    other.load_state_dict(layer.state_dict())  # the hooks of a copy are its own
    other.merge()
    assert same_bits(other.state_dict()["base_layer.weight"], base) and not layer.merged


def test_a_state_dict_is_the_same_whether_merged_or_not():
    layer = make_layer()
    before = copy.deepcopy(layer.state_dict())
    assert list(before) == ["lora_A", "lora_B", "base_layer.weight", "base_layer.bias"]
    layer.merge()
    after = layer.state_dict()
    assert list(after) == list(before)
    assert all(same_bits(after[name], before[name]) and not after[name].requires_grad for name in before)


@pytest.mark.parametrize("assign", [False, True])
@pytest.mark.parametrize("loaded_merged", [False, True])
@pytest.mark.parametrize("saved_merged", [False, True])
def test_a_state_dict_fits_whichever_side_is_merged(saved_merged, loaded_merged, assign):
    """Nested in a model, so that names carry a prefix."""
    source, target = nn.Sequential(nn.ReLU(), make_layer()), nn.Sequential(nn.ReLU(), make_layer())
    x, base = torch.randn(4, 7), source[1].base_layer.weight.clone()
    want = source(x).detach()
    if saved_merged:
        source[1].merge()
    if loaded_merged:
        target[1].merge()
    file = io.BytesIO()
    torch.save(source.state_dict(), file)
    file.seek(0)
    missing = target.load_state_dict(torch.load(file), assign=assign)
    assert not missing.missing_keys and not missing.unexpected_keys
    assert source[1].merged == saved_merged and not target[1].merged
    torch.testing.assert_close(target(x), want)
    assert same_bits(target[1].base_layer.weight, base)
    target[1].merge()
    torch.testing.assert_close(target(x), want)
    target[1].unmerge()
    assert same_bits(target[1].base_layer.weight, base)
    assert [n for n, p in target.named_parameters() if p.requires_grad] == ["1.lora_A", "1.lora_B"]


def test_an_adapter_alone_can_be_loaded_into_a_merged_layer():
    layer, other = make_layer(), make_layer()
    x = torch.randn(4, 7)
    want = layer.base_layer(x) + other.scaling * (x @ other.lora_A) @ other.lora_B
    layer.merge()
    layer.load_state_dict({name: getattr(other, name).detach() for name in other.adapter_names}, strict=False)
    torch.testing.assert_close(layer(x), want)


def test_loading_its_own_state_over_and_over_changes_nothing():
    layer = make_layer()
    x = torch.randn(4, 7)
    want = layer(x).detach()
    for _ in range(3):
        layer.merge()
        layer.load_state_dict(copy.deepcopy(layer.state_dict()))
        torch.testing.assert_close(layer(x), want)
