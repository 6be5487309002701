"""The training loop: it learns, and nothing but adapters changes."""

import copy

import pytest
import torch
from torch import nn

from lora_ref import adapter_parameters, adapters_off, add_lora, fine_tune


@pytest.fixture
def task():
    torch.manual_seed(0)
    model = add_lora(nn.Sequential(nn.Linear(8, 16), nn.LayerNorm(16), nn.Dropout(0.1), nn.Linear(16, 3)), rank=2)
    x = torch.randn(60, 8)
    return model, x, x[:, :3].argmax(1)


def test_it_learns_and_the_base_stays(task):
    model, x, y = task
    before, trains = copy.deepcopy(model.eval()), [p.requires_grad for p in model.parameters()]
    assert fine_tune(model, x, y, epochs=60, lr=0.05) is model
    assert (model(x).argmax(1) == y).float().mean() > 0.85
    adapters = {id(p) for p in adapter_parameters(model)}
    for (name, now), was in zip(model.named_parameters(), before.parameters(), strict=True):
        assert torch.equal(now, was) == (id(now) not in adapters), name
    with adapters_off(model), adapters_off(before):
        assert torch.equal(model(x), before(x))
    assert [p.requires_grad for p in model.parameters()] == trains
    assert not any(module.training for module in model.modules())
    assert all(p.grad is None for p in model.parameters())


def test_old_gradients_take_no_part(task):
    model, x, y = task
    other = copy.deepcopy(model)
    for p in other.parameters():
        p.grad = torch.ones_like(p) if p.requires_grad else None
    for one in (model, other):
        torch.manual_seed(1)
        fine_tune(one, x, y, epochs=2, lr=0.05)
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), other.parameters(), strict=True))


def test_a_model_without_adapters_is_refused():
    with pytest.raises(ValueError, match="no adapter"):
        fine_tune(nn.Linear(2, 2), torch.ones(1, 2), torch.tensor([0]), 1, 0.1)
