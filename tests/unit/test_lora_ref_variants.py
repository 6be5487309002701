"""rsLoRA, DoRA and PiSSA compute what PEFT's do."""

import math

import pytest
import torch
from real_peft import peft
from torch import nn

from lora_ref import dora_weight, pissa_as_lora, pissa_start, portable_alpha, rs_scaling, to_linear_weights

D, K, R, ALPHA = 7, 11, 3, 8


def in_peft(dtype=torch.float64, **config):
    """One nn.Linear from D to K with a trained-looking adapter, as PEFT holds it, and its untouched weight."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(D, K, dtype=dtype))
    weight = model[0].weight.detach().clone()
    model = peft.get_peft_model(model, peft.LoraConfig(r=R, lora_alpha=ALPHA, target_modules=["0"], **config))
    return model.base_model.model[0], weight


def factors(layer):
    """PEFT's adapter in this course's orientation: A (d, r), B (r, k)."""
    return layer.lora_A["default"].weight.detach().T.clone(), layer.lora_B["default"].weight.detach().T.clone()


def test_rank_stabilised_scaling():
    layer, _ = in_peft(use_rslora=True)
    assert rs_scaling(ALPHA, R) == pytest.approx(layer.scaling["default"])


@pytest.mark.parametrize("alpha, r", [(16, 4), (8, 3), (0.5, 256), (1, 1)])
def test_an_alpha_for_readers_that_only_divide_by_r(alpha, r):
    assert portable_alpha(alpha, r) / r == pytest.approx(rs_scaling(alpha, r))


def test_dora():
    layer, weight = in_peft(use_dora=True, init_lora_weights=False)
    A, B = factors(layer)
    magnitude = layer.lora_magnitude_vector["default"].weight
    with torch.no_grad():
        magnitude.mul_(torch.linspace(0.5, 2, K, dtype=torch.float64))
    x = torch.randn(4, D, dtype=torch.float64)
    ours = dora_weight(weight, ALPHA / R * (A @ B).T, magnitude)
    torch.testing.assert_close(nn.functional.linear(x, ours, layer.base_layer.bias), layer(x))


def test_dora_starts_at_the_weight_itself():
    weight = torch.randn(K, D, dtype=torch.float64)
    torch.testing.assert_close(dora_weight(weight, torch.zeros_like(weight), weight.norm(dim=1)), weight)


def test_pissa_starts_where_peft_starts():
    layer, weight = in_peft(torch.float32, init_lora_weights="pissa")
    A, B = factors(layer)
    ours_A, ours_B, rest = pissa_start(weight, R)
    torch.testing.assert_close(ours_A @ ours_B, ALPHA / R * (A @ B), rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(rest, layer.base_layer.weight, rtol=1e-5, atol=1e-6)
    # the factors agree but for a sign in each direction, and for PEFT's scaling, which it takes out of both
    torch.testing.assert_close(ours_A.abs(), (A * math.sqrt(ALPHA / R)).abs(), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(ours_B.abs(), (B * math.sqrt(ALPHA / R)).abs(), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("shape", [(K, D), (D, K), (5, 5)])
def test_pissa_leaves_the_weight_as_it_was_in_sum(shape):
    weight = torch.randn(shape, dtype=torch.float64)
    A, B, rest = pissa_start(weight, 2)
    torch.testing.assert_close(rest + (A @ B).T, weight)
    assert torch.linalg.matrix_rank(rest, atol=1e-10) == min(shape) - 2


@pytest.mark.parametrize("rank", [0, -1, 8])
def test_pissa_refuses_a_rank_that_the_weight_has_not(rank):
    with pytest.raises(ValueError, match="rank must be from 1 to 7"):
        pissa_start(torch.randn(K, D), rank)


def test_pissa_as_lora_over_the_untouched_weight():
    weight = torch.randn(K, D, dtype=torch.float64)
    A0, B0, rest = pissa_start(weight, R)
    A1, B1 = A0 + torch.randn_like(A0), B0 + torch.randn_like(B0)
    A, B = pissa_as_lora(A0, B0, A1, B1)
    assert A.shape == (D, 2 * R) and B.shape == (2 * R, K)
    torch.testing.assert_close(weight + (A @ B).T, rest + (A1 @ B1).T)


def test_pissa_as_lora_is_what_peft_saves(tmp_path):
    torch.manual_seed(0)
    base = nn.Sequential(nn.Linear(D, K))
    weight = base[0].weight.detach().clone()
    config = peft.LoraConfig(r=R, lora_alpha=R, target_modules=["0"], init_lora_weights="pissa")
    model = peft.get_peft_model(base, config)
    layer = model.base_model.model[0]
    A0, B0 = factors(layer)
    with torch.no_grad():
        layer.lora_A["default"].weight.add_(torch.randn(R, D))
    A1, B1 = factors(layer)
    # PEFT's own conversion wants the start saved beside the end
    start = peft.get_peft_model(
        nn.Sequential(nn.Linear(D, K)), peft.LoraConfig(r=R, lora_alpha=R, target_modules=["0"])
    )
    with torch.no_grad():
        for side, weights in zip(("lora_A", "lora_B"), to_linear_weights(A0, B0), strict=True):
            getattr(start.base_model.model[0], side)["default"].weight.copy_(weights)
    start.peft_config["default"].init_lora_weights = True
    start.save_pretrained(tmp_path / "start")
    model.save_pretrained(tmp_path / "end", path_initial_model_for_weight_conversion=tmp_path / "start")
    from safetensors.torch import load_file

    saved = load_file(tmp_path / "end" / "adapter_model.safetensors")
    A, B = pissa_as_lora(A0, B0, A1, B1)
    theirs = saved["base_model.model.0.lora_B.weight"] @ saved["base_model.model.0.lora_A.weight"]  # (k, d)
    assert saved["base_model.model.0.lora_A.weight"].shape == (2 * R, D)
    torch.testing.assert_close((A @ B).T, theirs, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(weight + theirs, layer.base_layer.weight + (A1 @ B1).T, rtol=1e-4, atol=1e-5)
