"""LoRA into somebody else's model: what is replaced, what is left alone, what is refused."""

import pytest
import torch
from torch import nn

from lora_ref import LoRALinear, adapter_parameters, add_lora, inject


class Attention(nn.Module):
    def __init__(self):
        super().__init__()
        self.q_proj, self.v_proj, self.seq_proj = (nn.Linear(6, 6) for _ in range(3))
        self.norm = nn.LayerNorm(6)

    def forward(self, x):
        return self.norm(self.seq_proj(self.v_proj(self.q_proj(x))))


class Model(nn.Module):
    """Nested, with a Linear at two places and a head tied to the embedding."""

    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(9, 6)
        self.layers = nn.ModuleList(Attention() for _ in range(2))
        self.again = self.layers[0].q_proj
        self.proj_q_proj = nn.ModuleDict({"inner": nn.Linear(6, 6)})
        self.head = nn.Linear(6, 9, bias=False)
        self.head.weight = self.embedding.weight

    def forward(self, ids):
        x = self.embedding(ids)
        for layer in self.layers:
            x = layer(x)
        return self.head(self.proj_q_proj["inner"](self.again(x)))


@pytest.fixture
def model():
    torch.manual_seed(0)
    return Model()


IDS = torch.tensor([[1, 2, 8], [0, 3, 3]])


def adapted(model):
    named = model.named_modules(remove_duplicate=False)
    return sorted(name for name, module in named if isinstance(module, LoRALinear))


def state(model):
    return [(name, p.requires_grad, id(p)) for name, p in model.named_parameters()]


def test_suffix_at_a_dot(model):
    before = model(IDS)
    q0, linear = model.layers[0].q_proj, model.layers[1].v_proj
    names = inject(model, ["q_proj", "1.v_proj"], rank=2, alpha=3)
    assert sorted(names) == ["layers.0.q_proj", "layers.1.q_proj", "layers.1.v_proj"]
    assert model.layers[0].q_proj.base_layer is q0 and model.layers[1].v_proj.base_layer is linear
    assert model.layers[0].q_proj.scaling == 1.5 and model.layers[0].q_proj.lora_A.shape == (6, 2)
    assert torch.equal(model(IDS), before)
    assert type(model.again) is nn.Linear  # it is called `again` at this place


def test_a_full_name_and_a_tuple(model):
    assert inject(model, ("layers.0.q_proj", "inner")) == ["layers.0.q_proj", "proj_q_proj.inner"]


def test_what_is_no_linear_and_what_is_not_named_is_left_alone(model):
    inject(model, ["q_proj"])
    frozen = {name for name, p in model.named_parameters() if not p.requires_grad}
    assert frozen == {f"layers.{i}.q_proj.base_layer.{p}" for i in (0, 1) for p in ("weight", "bias")}
    assert type(model.layers[0].seq_proj) is nn.Linear


def test_a_second_call_adds_nothing(model):
    inject(model, ["q_proj"], rank=2)
    for parameter in adapter_parameters(model):
        nn.init.normal_(parameter)
    before, out = state(model), model(IDS)
    for targets in (["q_proj"], ["layers.0.q_proj"]):
        assert inject(model, targets, rank=3) == []
    with pytest.raises(ValueError, match="called base_layer"):
        inject(model, ["base_layer"])
    assert state(model) == before and torch.equal(model(IDS), out)
    assert inject(model, ["q_proj", "v_proj"]) == ["layers.0.v_proj", "layers.1.v_proj"]


@pytest.mark.parametrize("targets", [["w_proj"], ["proj"], ["norm"], ["layers"], []])
def test_no_match_is_an_error_that_names_candidates(model, targets):
    before = state(model)
    with pytest.raises(ValueError, match="There are: q_proj, v_proj, seq_proj, again, inner, head"):
        inject(model, targets)
    assert state(model) == before and not adapted(model)


def test_a_single_string_is_refused(model):
    with pytest.raises(TypeError, match=r"pass \['q_proj'\]"):
        inject(model, "q_proj")


@pytest.mark.parametrize("targets", [nn.Linear, [nn.Linear], ["q_proj", nn.Conv2d], None, 3, [3]], ids=str)
def test_a_class_or_another_thing_that_is_no_name_is_refused(model, targets):
    before = state(model)
    with pytest.raises(TypeError, match=r"a list of names such as \['q_proj'\]"):
        inject(model, targets)
    assert state(model) == before and not adapted(model)


def test_a_rank_that_does_not_fit_changes_nothing(model):
    model.layers[1].v_proj = nn.Linear(6, 2)
    before = state(model)
    for call in (lambda: inject(model, ["q_proj", "v_proj"], rank=3), lambda: add_lora(model, rank=3)):
        with pytest.raises(ValueError, match="rank must be from 1 to 2"):
            call()
        assert state(model) == before and not adapted(model)


def test_ties_live_on(model):
    inject(model, ["head", "again"], rank=2)
    assert model.head.base_layer.weight is model.embedding.weight
    assert not model.embedding.weight.requires_grad  # one Parameter, frozen as the head's


def test_add_lora(model):
    before, linears = model(IDS), [m for m in model.modules() if isinstance(m, nn.Linear)]
    assert add_lora(model, rank=2, alpha=4) is model
    assert len(adapted(model)) == len(linears) + 1 == 9  # one of them at two places
    assert model.again is model.layers[0].q_proj
    assert torch.equal(model(IDS), before)
    assert [m for m in model.modules() if isinstance(m, nn.Linear)] == linears
    assert all(p.requires_grad for p in model.layers[0].norm.parameters())
    made = [m for m in model.modules() if isinstance(m, LoRALinear)]
    add_lora(model, rank=3)
    assert [m for m in model.modules() if isinstance(m, LoRALinear)] == made
