"""The same numbers as PEFT: forward, gradients, merge, a training run."""

import pytest
import torch
from real_peft import peft
from torch import nn

from lora_ref import LoRALinear, adapter_parameters, adapters_off, count_parameters, freeze_base, to_linear_weights


class Net(nn.Module):
    def __init__(self, dtype):
        super().__init__()
        self.up = nn.Linear(7, 11, dtype=dtype)
        self.down = nn.Linear(11, 5, bias=False, dtype=dtype)

    def forward(self, x):
        return self.down(torch.tanh(self.up(x)))


@pytest.fixture(params=[torch.float64, torch.float32], ids=str)
def pair(request):
    """One trained-looking adapter on one base, as PEFT holds it and as we do."""
    torch.manual_seed(0)
    theirs = Net(request.param)
    ours = Net(request.param)
    ours.load_state_dict(theirs.state_dict())
    config = peft.LoraConfig(r=3, lora_alpha=8, target_modules=["up", "down"], init_lora_weights=False)
    theirs = peft.get_peft_model(theirs, config)
    for name in ("up", "down"):
        layer = LoRALinear(getattr(ours, name), rank=3, alpha=8)
        nn.init.normal_(layer.lora_B)
        setattr(ours, name, layer)
        peft_layer = getattr(theirs.base_model.model, name)
        with torch.no_grad():
            weights = to_linear_weights(layer.lora_A, layer.lora_B)
            for side, weight in zip((peft_layer.lora_A, peft_layer.lora_B), weights, strict=True):
                side["default"].weight.copy_(weight)
    return freeze_base(ours), theirs, request.param


def close(got, want, dtype):
    tolerance = 1e-4 if dtype == torch.float32 else 1e-12
    torch.testing.assert_close(got, want, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("shape", [(7,), (4, 7), (2, 3, 7), (0, 7)])
def test_forward(pair, shape):
    ours, theirs, dtype = pair
    x = torch.randn(shape, dtype=dtype)
    close(ours(x), theirs(x), dtype)
    with adapters_off(ours), theirs.disable_adapter():
        close(ours(x), theirs(x), dtype)


def test_gradients(pair):
    ours, theirs, dtype = pair
    x = torch.randn(2, 3, 7, dtype=dtype)
    x_ours, x_theirs = x.clone().requires_grad_(), x.clone().requires_grad_()
    ours(x_ours).square().sum().backward()
    theirs(x_theirs).square().sum().backward()
    close(x_ours.grad, x_theirs.grad, dtype)
    for name in ("up", "down"):
        layer, peft_layer = getattr(ours, name), getattr(theirs.base_model.model, name)
        close(layer.lora_A.grad.T, peft_layer.lora_A["default"].weight.grad, dtype)
        close(layer.lora_B.grad.T, peft_layer.lora_B["default"].weight.grad, dtype)


def test_merge(pair):
    ours, theirs, dtype = pair
    theirs.merge_adapter()
    for name in ("up", "down"):
        layer, peft_layer = getattr(ours, name), getattr(theirs.base_model.model, name)
        close(layer.delta_weight(), peft_layer.get_delta_weight("default"), dtype)
        close(layer.to_linear().weight, peft_layer.base_layer.weight, dtype)
        layer.merge()
        close(layer.base_layer.weight, peft_layer.base_layer.weight, dtype)
    x = torch.randn(4, 7, dtype=dtype)
    close(ours(x), theirs(x), dtype)


def test_the_same_parameters_train(pair):
    ours, theirs, _ = pair
    trainable, total = theirs.get_nb_trainable_parameters()
    assert count_parameters(ours) == (trainable, total)


def test_training_takes_the_same_path(pair):
    ours, theirs, dtype = pair
    x, y = torch.randn(16, 7, dtype=dtype), torch.randn(16, 5, dtype=dtype)
    losses = []
    for model, parameters in ((ours, adapter_parameters(ours)), (theirs, theirs.parameters())):
        optimiser = torch.optim.SGD([p for p in parameters if p.requires_grad], lr=0.01)
        path = []
        for _ in range(20):
            loss = nn.functional.mse_loss(model(x), y)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            path.append(loss.item())
        losses.append(path)
    assert losses[0][-1] < 0.9 * losses[0][0]
    assert losses[0] == pytest.approx(losses[1], rel=1e-4 if dtype == torch.float32 else 1e-10)
