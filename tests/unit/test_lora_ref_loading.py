"""Adapters alone, out of a model and into another one: everything fits, or nothing is changed."""

import copy

import pytest
import torch
from safetensors.torch import load, save
from torch import nn

from lora_ref import LoRALinear, adapter_parameters, adapter_state_dict, inject, load_adapter


class Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.blocks = nn.ModuleList(nn.ModuleDict({"q_proj": nn.Linear(6, 5), "o_proj": nn.Linear(5, 6)}) for _ in "ab")
        self.norm = nn.LayerNorm(6)

    def forward(self, x):
        for block in self.blocks:
            x = x + block["o_proj"](block["q_proj"](x))
        return self.norm(x)


def adapted(seed=0, targets=("q_proj", "o_proj")):
    torch.manual_seed(seed)
    model = Model()
    inject(model, list(targets), rank=2, alpha=3)
    with torch.no_grad():
        for parameter in adapter_parameters(model):
            parameter.normal_()
    return model


@pytest.fixture
def model():
    return adapted()


@pytest.fixture
def other(model):
    """The same base with other adapters."""
    other = copy.deepcopy(model)
    with torch.no_grad():
        for parameter in adapter_parameters(other):
            parameter.normal_()
    return other


X = torch.randn(4, 6)
KEY = "blocks.1.q_proj.lora_B"


def test_there_are_the_adapters_and_nothing_else(model):
    state = adapter_state_dict(model)
    full = model.state_dict()
    assert set(state) == {name for name in full if "lora_" in name}
    assert all(torch.equal(state[name], full[name]) and state[name].grad_fn is None for name in state)


def test_a_copy_and_no_reference(model):
    state = adapter_state_dict(model)
    before = state[KEY].clone()
    with torch.no_grad():
        model.blocks[1]["q_proj"].lora_B.zero_()
    assert torch.equal(state[KEY], before)


def test_through_a_file_into_another_model(model, other):
    assert not torch.equal(other(X), model(X))
    parameters = adapter_parameters(other)
    load_adapter(other, load(save(adapter_state_dict(model))))
    assert torch.equal(other(X), model(X))
    assert all(a is b for a, b in zip(adapter_parameters(other), parameters, strict=True))


def test_what_is_loaded_shares_no_memory(model, other):
    state = adapter_state_dict(model)
    load_adapter(other, state)
    with torch.no_grad():
        other.blocks[1]["q_proj"].lora_B.zero_()
    assert state[KEY].abs().sum() > 0


def test_a_merged_model_computes_the_new_adapter(model, other):
    other.blocks[1]["q_proj"].merge()
    load_adapter(other, adapter_state_dict(model))
    assert other.blocks[1]["q_proj"].merged
    torch.testing.assert_close(other(X), model(X))


def test_a_dtype_is_cast(model, other):
    load_adapter(other, {name: value.double() for name, value in adapter_state_dict(model).items()})
    assert torch.equal(other(X), model(X))
    assert adapter_parameters(other)[0].dtype == torch.float32


def test_the_model_itself_may_be_the_layer():
    layer = LoRALinear(nn.Linear(4, 3), rank=2)
    assert set(adapter_state_dict(layer)) == {"lora_A", "lora_B"}


def missing(state):
    del state[KEY]


def extra(state):
    state["blocks.2.q_proj.lora_B"] = torch.zeros(2, 5)


def of_the_base(state):
    state["blocks.1.q_proj.base_layer.weight"] = torch.zeros(5, 6)


def transposed(state):
    state[KEY] = state[KEY].T


def another_rank(state):
    state[KEY] = torch.zeros(3, 5)


def integers(state):
    state[KEY] = torch.zeros(2, 5, dtype=torch.int64)


def no_tensor(state):
    state[KEY] = [0.0]


def with_a_prefix(state):
    for name in list(state):
        state["base_model.model." + name] = state.pop(name)


@pytest.mark.parametrize(
    ("damage", "named"),
    [
        (missing, f"missing: {KEY}"),
        (extra, "not an adapter of this model: blocks.2.q_proj.lora_B"),
        (of_the_base, "not an adapter of this model: blocks.1.q_proj.base_layer.weight"),
        (transposed, f"shape (5, 2) and not (2, 5), which is transposed: {KEY}"),
        (another_rank, f"shape (3, 5) and not (2, 5): {KEY}"),
        (integers, f"no tensor of floats: {KEY}"),
        (no_tensor, f"no tensor of floats: {KEY}"),
        (with_a_prefix, f"not an adapter of this model: base_model.model.{KEY}"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_what_does_not_fit_is_named_and_nothing_is_loaded(model, other, damage, named):
    state = adapter_state_dict(model)
    damage(state)
    before = {name: value.clone() for name, value in other.state_dict().items()}
    with pytest.raises(ValueError) as raised:
        load_adapter(other, state)
    assert named in str(raised.value)
    assert all(torch.equal(value, before[name]) for name, value in other.state_dict().items())


def test_an_adapter_of_other_layers_is_refused(other):
    with pytest.raises(ValueError, match="missing: blocks.0.o_proj.lora_A"):
        load_adapter(other, adapter_state_dict(adapted(targets=["q_proj"])))


def test_no_adapter_and_no_mapping():
    with pytest.raises(ValueError, match="inject"):
        load_adapter(Model(), {})
    with pytest.raises(TypeError, match="list"):
        load_adapter(adapted(), [])
