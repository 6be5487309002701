"""LoRA on a weight: what the module computes, what parametrize makes of it, and the same numbers as PEFT."""

import copy

import pytest
import torch
from real_peft import peft
from torch import nn
from torch.nn.utils import parametrize

from lora_ref import (
    LoRALinear,
    LoRAWeight,
    adapt_weight,
    adapter_parameters,
    adapters_off,
    count_parameters,
    fold,
    freeze_base,
    leaked_parameters,
)

LAYERS = {
    "linear": (lambda: nn.Linear(7, 5), (3, 7)),
    "linear without bias": (lambda: nn.Linear(7, 5, bias=False), (2, 3, 7)),
    "convolution": (lambda: nn.Conv2d(6, 10, (3, 2), stride=(2, 1), padding=1), (2, 6, 9, 8)),
    "grouped": (lambda: nn.Conv2d(6, 10, (3, 2), groups=2, dilation=2), (2, 6, 9, 8)),
    "depthwise": (lambda: nn.Conv2d(6, 12, 3, groups=6, bias=False), (2, 6, 9, 8)),
    "one axis": (lambda: nn.Conv1d(6, 10, 3), (2, 6, 9)),
    "three axes": (lambda: nn.Conv3d(2, 4, 2), (1, 2, 3, 4, 5)),
}


@pytest.fixture(params=LAYERS)
def case(request):
    """A double layer, an adapted copy of it whose B is not zero, and an x."""
    torch.manual_seed(0)
    make, shape = LAYERS[request.param]
    plain = make().double()
    adapted = adapt_weight(copy_of(plain), rank=2, alpha=5)
    nn.init.normal_(adapted.parametrizations.weight[0].B)
    return plain, adapted, torch.randn(shape, dtype=torch.float64)


def copy_of(layer):
    return copy.deepcopy(layer)


def lora_of(layer):
    return layer.parametrizations.weight[0]


def close(got, want):
    torch.testing.assert_close(got, want, rtol=1e-11, atol=1e-11)


# The module by itself


def test_the_published_interface():
    lora = LoRAWeight(5, 7, rank=2, alpha=3).double()
    assert lora.A.shape == (2, 7) and lora.B.shape == (5, 2) and lora.scale == 1.5 and lora.en is True
    assert LoRAWeight(in_f=5, out_f=7).scale == 1
    nn.init.normal_(lora.B)
    for shape in ((5, 7), (5, 7, 1), (35,), (7, 5)):
        wts = torch.randn(shape, dtype=torch.float64)
        wts = wts.T if shape == (7, 5) else wts  # a view that is not contiguous
        before = wts.clone()
        close(lora(wts), wts + 1.5 * (lora.B @ lora.A).reshape(wts.shape))
        assert torch.equal(wts, before)
        lora.en = False
        assert lora(wts) is wts
        lora.en = True


def test_it_starts_at_the_weight_and_learns():
    torch.manual_seed(0)
    lora, wts = LoRAWeight(50, 70, rank=2), torch.randn(50, 70)
    assert torch.equal(lora(wts), wts)
    assert 0.5 < lora.A.std() * 70**0.5 < 2
    lora(wts).square().sum().backward()
    assert lora.B.grad.any() and not lora.A.grad.any()
    assert not torch.equal(lora.A, LoRAWeight(50, 70, rank=2).A)


def test_a_rank_of_nothing_is_refused():
    with pytest.raises(ValueError, match="1 or more"):
        LoRAWeight(5, 7, rank=0)
    layer = nn.Linear(7, 5)
    with pytest.raises(ValueError, match="1 or more"):
        adapt_weight(layer, 0, 1)
    assert layer.weight.requires_grad and not parametrize.is_parametrized(layer)


# In front of a layer


def test_the_fresh_layer_computes_the_same_bit_for_bit(case):
    plain, _, x = case
    adapted = adapt_weight(copy_of(plain), rank=2, alpha=5)
    assert torch.equal(adapted(x), plain(x))


def test_what_is_computed(case):
    plain, adapted, x = case
    lora = lora_of(adapted)
    with torch.no_grad():
        plain.weight += 2.5 * (lora.B @ lora.A).view(plain.weight.shape)
    close(adapted(x), plain(x))
    change = (adapted.weight - adapted.parametrizations.weight.original).flatten(1)
    assert torch.linalg.matrix_rank(change) == 2


def test_only_the_adapter_trains(case):
    plain, adapted, x = case
    lora = lora_of(adapted)
    assert [id(p) for p in adapter_parameters(adapted)] == [id(lora.A), id(lora.B)]
    assert {name for name, p in adapted.named_parameters() if p.requires_grad} == {
        "parametrizations.weight.0.A",
        "parametrizations.weight.0.B",
    }
    assert count_parameters(adapted)[0] == 2 * (plain.weight.shape[0] + plain.weight[0].numel())
    assert leaked_parameters(lora) == []
    freeze_base(adapted)
    assert len([p for p in adapted.parameters() if p.requires_grad]) == 2


def test_it_is_made_where_the_weight_is_and_follows():
    layer = adapt_weight(nn.Linear(7, 5, dtype=torch.bfloat16, device="meta"), rank=2)
    lora = lora_of(layer)
    assert lora.A.dtype == lora.B.dtype == torch.bfloat16 and lora.A.is_meta and lora.B.is_meta
    assert adapt_weight(nn.Linear(7, 5)).half().weight.dtype == torch.float16


def test_switching_off_a_model_of_both_kinds():
    torch.manual_seed(0)
    conv, linear = nn.Conv2d(1, 4, 3), nn.Linear(16, 3)
    model = nn.Sequential(copy_of(conv), nn.ReLU(), nn.Flatten(), copy_of(linear))
    x = torch.randn(2, 1, 4, 4)
    before = model(x)
    adapt_weight(model[0], rank=2)
    model[3] = LoRALinear(model[3], rank=2)
    for parameter in adapter_parameters(model):
        nn.init.normal_(parameter)
    after = model(x)
    assert not torch.equal(after, before)
    with adapters_off(model):
        assert torch.equal(model(x), before)
    assert torch.equal(model(x), after)


def test_a_second_call_is_an_error_and_changes_nothing():
    layer = adapt_weight(nn.Linear(7, 5), rank=2)
    keys = list(layer.state_dict())
    with pytest.raises(ValueError, match="parametrised already"):
        adapt_weight(layer, rank=3)
    assert list(layer.state_dict()) == keys


def test_other_modules_are_refused():
    for module in (nn.Embedding(5, 7), nn.LayerNorm(5), nn.ReLU(), nn.ConvTranspose2d(3, 4, 2)):
        with pytest.raises(TypeError, match="nn.Linear or a convolution"):
            adapt_weight(module)


def test_saving_and_loading():
    layer, other = (adapt_weight(nn.Conv2d(2, 3, 2), rank=2) for _ in range(2))
    nn.init.normal_(lora_of(layer).B)
    other.load_state_dict(layer.state_dict())
    assert torch.equal(other.weight, layer.weight)


# Folded


def test_fold(case):
    plain, adapted, x = case
    want, out = adapted.weight.clone(), adapted(x)
    assert fold(adapted) is adapted
    assert type(adapted) is type(plain) and set(adapted.state_dict()) == set(plain.state_dict())
    assert adapted.weight.is_leaf and isinstance(adapted.weight, nn.Parameter)
    assert torch.equal(adapted.weight, want) and torch.equal(adapted(x), out)
    assert not any(p.requires_grad for p in adapted.parameters())


def test_fold_keeps_who_trains():
    layer = adapt_weight(nn.Linear(7, 5))
    layer.bias.requires_grad_(True)
    fold(layer)
    assert layer.bias.requires_grad and not layer.weight.requires_grad
    layer = adapt_weight(nn.Linear(7, 5))
    layer.parametrizations.weight.original.requires_grad_(True)
    assert fold(layer).weight.requires_grad


def test_fold_of_an_adapter_that_is_off_leaves_the_original():
    plain = nn.Linear(7, 5)
    layer = adapt_weight(copy_of(plain))
    nn.init.normal_(lora_of(layer).B)
    lora_of(layer).en = False
    assert torch.equal(fold(layer).weight, plain.weight)


def test_fold_of_a_plain_module_is_an_error():
    with pytest.raises(ValueError, match="nothing to fold"):
        fold(nn.Linear(7, 5))


def test_a_copy_can_be_folded_and_the_original_goes_on():
    layer = adapt_weight(nn.Linear(7, 5), rank=2)
    nn.init.normal_(lora_of(layer).B)
    x, copied = torch.randn(3, 7), copy.deepcopy(layer)
    want = layer(x)
    assert torch.equal(fold(copied)(x), want) and type(copied) is nn.Linear
    assert torch.equal(layer(x), want) and parametrize.is_parametrized(layer, "weight")
    assert torch.equal(fold(layer)(x), want)


def test_it_can_be_adapted_again():
    layer = fold(adapt_weight(nn.Linear(7, 5), rank=2))
    assert torch.equal(adapt_weight(layer, rank=3).weight, layer.parametrizations.weight.original)


# The same numbers as LoRALinear and as PEFT


def test_the_same_as_lora_linear():
    torch.manual_seed(0)
    base, x = nn.Linear(7, 5).double(), torch.randn(2, 3, 7, dtype=torch.float64)
    layer, adapted = LoRALinear(copy_of(base), rank=3, alpha=5), adapt_weight(copy_of(base), rank=3, alpha=5)
    nn.init.normal_(layer.lora_B)
    lora = lora_of(adapted)
    with torch.no_grad():
        lora.A.copy_(layer.lora_A.T)
        lora.B.copy_(layer.lora_B.T)
    close(adapted(x), layer(x))


class Net(nn.Module):
    def __init__(self, groups):
        super().__init__()
        self.conv = nn.Conv2d(6, 10, (3, 2), stride=(1, 2), padding=1, groups=groups)

    def forward(self, x):
        return self.conv(x)


@pytest.mark.filterwarnings("ignore:LoRA adapter added to ConvNd layer with groups")
@pytest.mark.parametrize("groups", [1, 2])
def test_the_same_as_peft(groups):
    """PEFT's first convolution sees all inputs and its second one is grouped: each group's own `rank` channels.

    Where A is the same in every group and looks at that group's inputs only, that is this package's one pair: its rank r
    is then PEFT's r * groups.
    """
    torch.manual_seed(0)
    rank, alpha = 3, 4
    theirs = Net(groups).double()
    ours = adapt_weight(copy_of(theirs.conv), rank, alpha)
    lora = lora_of(ours)
    nn.init.normal_(lora.B)
    config = peft.LoraConfig(r=rank * groups, lora_alpha=alpha * groups, target_modules=["conv"])
    theirs = peft.get_peft_model(theirs, config)
    layer = theirs.base_model.model.conv
    A, B = layer.lora_A["default"].weight, layer.lora_B["default"].weight
    with torch.no_grad():
        kernel = lora.A.view(rank, 6 // groups, 3, 2)
        A.zero_()
        for own in A.view(groups, rank, groups, 6 // groups, 3, 2).diagonal(dim1=0, dim2=2).unbind(-1):
            own.copy_(kernel)
        B.copy_(lora.B.view(B.shape))
    x = torch.randn(2, 6, 7, 8, dtype=torch.float64)
    close(ours(x), theirs(x))
    if groups == 1:  # PEFT merges no grouped convolution
        close(ours.weight - ours.parametrizations.weight.original, layer.get_delta_weight("default"))
        theirs.merge_adapter()
        close(fold(ours).weight, layer.base_layer.weight)
