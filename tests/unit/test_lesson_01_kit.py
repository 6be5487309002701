"""What lesson 01 measures with: training at a rank, and the rank that is enough."""

import torch
from torch import nn

from autograde.lesson_kit import low_rank as kit


def network():
    torch.manual_seed(0)
    layers = [nn.Linear(64, 20, bias=False), nn.ReLU(), nn.Linear(20, 12, bias=False), nn.ReLU()]
    return nn.Sequential(*layers, nn.Linear(12, 10, bias=False))


def test_training_at_a_rank_leaves_the_weights_and_makes_a_change_of_that_rank():
    upright, _, labels = kit.sideways_digits()
    weights = kit.weights_of(network())
    before = [weight.clone() for weight in weights]
    after = kit.train_at_rank(weights, upright[:200], labels[:200], rank=2, epochs=60, lr=1e-2)
    assert all(torch.equal(a, b) for a, b in zip(weights, before, strict=True))
    changes = [a - b for a, b in zip(after, before, strict=True)]
    assert [torch.linalg.matrix_rank(change, rtol=1e-4).item() for change in changes] == [2, 2, 2]
    assert kit.accuracy(after, upright[:200], labels[:200]) > kit.accuracy(before, upright[:200], labels[:200])


def test_accuracy_is_that_of_the_model():
    model = network()
    upright, sideways, labels = kit.sideways_digits()
    right = (model(upright).argmax(-1) == labels).float().mean().item()
    assert abs(kit.accuracy(kit.weights_of(model), upright, labels) - 100 * right) < 1e-3
    assert torch.equal(sideways.view(-1, 8, 8).rot90(-1, dims=(1, 2)).flatten(1), upright)


def test_enough_is_the_rank_from_which_on_the_curve_stays_near():
    curve = [0.0] * len(kit.RANKS)
    curve[2:] = [90.0] * (len(curve) - 2)
    assert kit.enough(curve, 90.5) == kit.RANKS[2]
    curve[5] = 80.0  # falls back once more
    assert kit.enough(curve, 90.5) == kit.RANKS[6]
    assert kit.enough(curve, 100.0) is None


def test_rows_of_the_change_that_are_zero_belong_to_units_that_are_zero_for_every_picture():
    upright, sideways, labels = kit.sideways_digits()
    torch.manual_seed(0)
    layers = [nn.Linear(64, 160, bias=False), nn.ReLU(), nn.Linear(160, 96, bias=False), nn.ReLU()]
    model = nn.Sequential(*layers, nn.Linear(96, 10, bias=False))
    kit.train(model, upright[:1000], labels[:1000], epochs=25)
    before = model[2].weight.detach().clone()
    silent_before = (model[:4](sideways[:500]) == 0).all(dim=0)
    kit.train(model, sideways[:500], labels[:500], epochs=10)
    silent = silent_before & (model[:4](sideways[:500]) == 0).all(dim=0)
    unchanged = (model[2].weight == before).all(dim=1)
    assert unchanged.any()
    assert torch.equal(unchanged, unchanged & silent)
