"""Each check of LoRALinear judges its own matter: published ways of writing the layer, and what each of them is charged."""

from pathlib import Path

import pytest
import torch
from torch import nn

from autograde import registry

CHECKS = ("lora_linear_init", "lora_linear_freeze", "lora_linear_forward", "lora_linear_placement")
SEEDS = range(8)


def verdicts(layer_class, seed):
    return [registry.current().find(name).judge(layer_class, seed) for name in CHECKS]


class Textbook(nn.Module):
    """Adapters as Parameters, in the default dtype and on the default device; a subclass says what forward does."""

    def __init__(self, base_layer, rank=4, alpha=1):
        super().__init__()
        self.base_layer, self.rank, self.alpha = base_layer, rank, alpha
        self.scaling = alpha / rank
        self.lora_A = nn.Parameter(torch.randn(base_layer.in_features, rank))
        self.lora_B = nn.Parameter(torch.zeros(rank, base_layer.out_features))
        for parameter in base_layer.parameters():
            parameter.requires_grad = False


class Corrected(Textbook):
    def forward(self, x):
        return self.base_layer(x) + ((x @ self.lora_A) @ self.lora_B) * self.scaling


class EntryByEntry(Textbook):
    def forward(self, x):
        return self.base_layer(x) + self.scaling * (self.lora_A @ self.lora_B) * x


class Linears(nn.Module):
    """Adapters as bias-free nn.Linears, in the default dtype and on the default device."""

    def __init__(self, base_layer, rank=4, alpha=1):
        super().__init__()
        self.base_layer = base_layer
        self.base_layer.requires_grad_(False)
        self.scaling = alpha / rank
        self.lora_A = nn.Linear(base_layer.in_features, rank, bias=False)
        self.lora_B = nn.Linear(rank, base_layer.out_features, bias=False)
        nn.init.normal_(self.lora_A.weight)
        nn.init.zeros_(self.lora_B.weight)

    def forward(self, x):
        return self.base_layer(x) + self.scaling * self.lora_B(self.lora_A(x))


class OnTheWeight(nn.Module):
    """An adapter that is handed the weight, in column order, and starts with both of its matrices zero."""

    def __init__(self, in_f, out_f, rank=1, alpha=1):
        super().__init__()
        self.A, self.B = nn.Parameter(torch.zeros(rank, out_f)), nn.Parameter(torch.zeros(in_f, rank))
        self.scale, self.on = alpha / rank, True

    def forward(self, weight):
        return weight + (self.B @ self.A).view(weight.shape) * self.scale if self.on else weight


class AroundTheWeight(nn.Module):
    """`OnTheWeight` under the exercise's names."""

    def __init__(self, base_layer, rank=4, alpha=1):
        super().__init__()
        self.base_layer = base_layer.requires_grad_(False)
        self.adapter = OnTheWeight(base_layer.in_features, base_layer.out_features, rank, alpha)

    lora_A = property(lambda self: self.adapter.B)
    lora_B = property(lambda self: self.adapter.A)
    scaling = property(lambda self: self.adapter.scale)

    def forward(self, x):
        return nn.functional.linear(x, self.adapter(self.base_layer.weight), self.base_layer.bias)


class WeightFrozen(nn.Module):
    """Made from sizes, around a base of its own whose weight alone is frozen."""

    def __init__(self, in_dim, out_dim, r=8, lora_alpha=16):
        super().__init__()
        self.frozen = nn.Linear(in_dim, out_dim)
        self.frozen.weight.requires_grad = False
        self.lora_A, self.lora_B = nn.Parameter(torch.randn(in_dim, r)), nn.Parameter(torch.zeros(r, out_dim))
        self.scaling = lora_alpha / r

    def forward(self, x):
        return self.frozen(x) + (x @ self.lora_A @ self.lora_B) * self.scaling


class AroundTheFrozenWeight(WeightFrozen):
    """`WeightFrozen` under the exercise's names."""

    def __init__(self, base_layer, rank=4, alpha=1):
        super().__init__(base_layer.in_features, base_layer.out_features, rank, alpha)
        base_layer.weight.requires_grad = False
        self.frozen = base_layer

    base_layer = property(lambda self: self.frozen)


CHARGES = [
    (Corrected, (2, 2, 3, 0), (None, None, None, "default_placement")),
    (Linears, (2, 2, 3, 0), (None, None, None, "default_placement")),
    (EntryByEntry, (2, 2, 0, 0), (None, None, "elementwise", "default_placement")),
    (AroundTheWeight, (0, 2, 0, 0), ("both_zero", None, "view_for_transpose", "default_placement")),
    (AroundTheFrozenWeight, (2, 0, 3, 0), (None, "bias_left_trainable", None, "default_placement")),
]


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize(("layer_class", "scores", "named"), CHARGES, ids=[each[0].__name__ for each in CHARGES])
def test_a_fault_is_charged_once_where_it_belongs(layer_class, scores, named, seed):
    judged = verdicts(layer_class, seed)
    assert [verdict.score for verdict in judged] == list(scores), [verdict.message for verdict in judged]
    assert [verdict.misconception for verdict in judged] == list(named), [verdict.message for verdict in judged]


@pytest.mark.parametrize("layer_class", [OnTheWeight, WeightFrozen])
def test_a_layer_that_is_made_in_another_way_is_told_how_it_is_made(layer_class):
    for verdict in verdicts(layer_class, 1):
        assert verdict.score == 0 and "LoRALinear(base_layer, rank=…, alpha=…)" in verdict.hint, verdict.message


def test_what_needs_a_forward_that_raises_is_left_out_and_said():
    init, freeze, _, _ = verdicts(EntryByEntry, 1)
    assert "left out" not in init.message
    assert freeze.passed and "left out" in freeze.message and "lora_linear_forward" in freeze.message


class Stub(Textbook):
    def forward(self, x):
        raise NotImplementedError


def test_start_and_freezing_count_before_forward_is_written(monkeypatch):
    monkeypatch.chdir(Path(__file__).parent)  # this file is then one of the learner's
    init, freeze, forward, _ = verdicts(Stub, 1)
    assert init.passed and freeze.passed
    assert forward.score == 0 and "forward is not written yet" in forward.headline


class Merged(Linears):
    """With a merge in place that nothing undoes and nothing remembers."""

    @torch.no_grad()
    def merge_lora(self):
        self.base_layer.weight += self.lora_B.weight @ self.lora_A.weight * self.scaling

    merge = merge_lora


def test_a_merge_in_place_that_keeps_nothing_is_refused():
    verdict = registry.current().find("MergeableLoRALinear").judge(Merged, 1)
    assert verdict.score == 0 and "merged" in verdict.headline, verdict.message
