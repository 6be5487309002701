"""A model full of LoRA layers: freezing, collecting, finding leaks, switching off."""

import copy

import pytest
import torch
from torch import nn

from lora_ref import (
    LoRALinear,
    adapter_layers,
    adapter_parameters,
    adapters_off,
    count_parameters,
    freeze_base,
    leaked_parameters,
)


class Block(nn.Module):
    """LoRA layers at two depths, among layers whose names look like adapters and are none."""

    def __init__(self):
        super().__init__()
        self.flora_proj = nn.Linear(7, 7)
        self.lora_norm = nn.LayerNorm(7)
        self.query = LoRALinear(nn.Linear(7, 6), rank=2, alpha=5)
        self.mlp = nn.Sequential(LoRALinear(nn.Linear(6, 9), rank=3, alpha=2), nn.Tanh(), nn.Linear(9, 4))
        for layer in (self.query, self.mlp[0]):
            nn.init.normal_(layer.lora_B)

    def forward(self, x):
        return self.mlp(self.query(self.lora_norm(self.flora_proj(x))))


def before_lora(model):
    """The same model with the adapters taken out again."""
    model = copy.deepcopy(model)
    model.query, model.mlp[0] = model.query.base_layer, model.mlp[0].base_layer
    return model


@pytest.fixture
def model():
    return Block()


@pytest.fixture
def x():
    return torch.randn(3, 7)


# What learns


def test_layers_and_parameters_in_order(model):
    first, second = model.query, model.mlp[0]
    assert adapter_layers(model) == [first, second]
    got = adapter_parameters(model)
    want = [first.lora_A, first.lora_B, second.lora_A, second.lora_B]
    assert len(got) == 4 and all(a is b for a, b in zip(got, want, strict=True))


def test_a_layer_is_itself_a_model(model):
    assert len(adapter_parameters(model.query)) == 2


@pytest.mark.filterwarnings("ignore:.*jit:DeprecationWarning")  # raised by torch itself
def test_a_layer_used_twice_is_collected_once(model):
    model.again, model.tied = model.query, LoRALinear(nn.Linear(7, 6), rank=2)
    model.tied.lora_A = model.query.lora_A
    assert len(adapter_parameters(model)) == 5
    assert len(adapter_parameters(nn.ModuleList([torch.compile(model.query), model.query]))) == 2


def test_a_model_without_adapters_has_no_adapter_parameters():
    assert adapter_parameters(nn.Linear(3, 2)) == []


def test_freeze_base_leaves_exactly_the_adapters(model):
    assert freeze_base(model) is model
    trained = {name for name, p in model.named_parameters() if p.requires_grad}
    assert trained == {"query.lora_A", "query.lora_B", "mlp.0.lora_A", "mlp.0.lora_B"}
    assert count_parameters(model)[0] == 2 * (7 + 6) + 3 * (6 + 9)


def test_freeze_base_thaws_a_frozen_adapter(model):
    freeze_base(model.requires_grad_(False))
    assert all(p.requires_grad for p in adapter_parameters(model))


def test_freeze_base_refuses_a_model_without_adapters():
    plain = nn.Linear(3, 2)
    with pytest.raises(ValueError, match="holds no adapter: put LoRALinear"):
        freeze_base(plain)
    assert plain.weight.requires_grad


def test_a_layer_of_another_kind_names_its_own_adapter():
    class Scaled(nn.Module):
        adapter_names = ("inner.gain",)

        def __init__(self):
            super().__init__()
            self.inner = nn.Module()
            self.inner.gain = nn.Parameter(torch.ones(3))
            self.weight = nn.Parameter(torch.ones(3))

    model = freeze_base(nn.Sequential(Scaled()))
    assert [name for name, p in model.named_parameters() if p.requires_grad] == ["0.inner.gain"]
    assert leaked_parameters(model[0]) == []
    assert leaked_parameters(Scaled()) == ["weight"]


# What leaks


class Textbook(nn.Module):
    """Freezes the weight and forgets the bias."""

    def __init__(self, adapter):
        super().__init__()
        self.linear = nn.Linear(512, 512)
        self.linear.weight.requires_grad_(False)
        if adapter == "parameters":
            self.lora_A, self.lora_B = nn.Parameter(torch.randn(512, 4)), nn.Parameter(torch.zeros(4, 512))
        else:
            self.lora_A, self.lora_B = nn.Linear(512, 4, bias=False), nn.Linear(4, 512, bias=False)


@pytest.mark.parametrize("adapter", ["parameters", "linears"])
def test_the_textbooks_leak_is_named_and_counted(adapter):
    layer = Textbook(adapter)
    assert leaked_parameters(layer) == ["linear.bias"]
    assert count_parameters(layer)[0] == 4608
    layer.linear.bias.requires_grad_(False)
    assert leaked_parameters(layer) == []
    assert count_parameters(layer)[0] == 4096


def test_names_that_only_look_like_an_adapter_leak_too(model):
    model.query.lora_Alpha = nn.Parameter(torch.ones(1))
    model.query.base_layer.requires_grad_(True)
    assert leaked_parameters(model.query) == ["lora_Alpha", "base_layer.weight", "base_layer.bias"]


# Switching off


def states(model):
    return [(layer.enabled, layer.merged) for layer in adapter_layers(model)]


@pytest.mark.parametrize("merged", [(), (0,), (0, 1)])
def test_off_is_the_model_before_it_had_adapters(model, x, merged):
    want, plain = model(x), before_lora(model)(x)
    assert not torch.allclose(want, plain)
    for index in merged:
        adapter_layers(model)[index].merge()
    before, weight = states(model), model.query.base_layer.weight.clone()
    with adapters_off(model) as same:
        assert same is model
        assert torch.equal(model(x), plain)
    assert states(model) == before and torch.equal(model.query.base_layer.weight, weight)
    torch.testing.assert_close(model(x), want)


def test_what_raises_within_switches_everything_on_again(model, x):
    model.query.merge()
    before, want = states(model), model(x)
    with pytest.raises(RuntimeError, match="within"):
        with adapters_off(model):
            raise RuntimeError("within")
    assert states(model) == before
    torch.testing.assert_close(model(x), want)


def test_nested_blocks_give_back_what_they_found(model, x):
    plain = before_lora(model)(x)
    with adapters_off(model):
        with adapters_off(model.query):
            assert torch.equal(model(x), plain)
        assert torch.equal(model(x), plain)
    assert states(model) == [(True, False)] * 2
    with adapters_off(model.mlp):
        assert states(model) == [(True, False), (False, False)]
        with adapters_off(model):
            assert torch.equal(model(x), plain)
        assert states(model) == [(True, False), (False, False)]


def test_a_layer_switched_off_by_hand_stays_off(model):
    model.query.enabled = False
    with adapters_off(model):
        pass
    assert states(model) == [(False, False), (True, False)]


def test_a_merge_within_ends_with_the_block(model, x):
    want = model(x)
    with adapters_off(model):
        model.query.merge()
    assert states(model) == [(True, False)] * 2
    assert torch.equal(model(x), want)


def test_off_gives_adapters_no_gradient(model, x):
    with adapters_off(model):
        model(x).sum().backward()
    assert all(p.grad is None for p in adapter_parameters(model))
    model(x).sum().backward()
    assert all(p.grad is not None for p in adapter_parameters(model))
