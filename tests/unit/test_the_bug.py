"""Lesson 02: what it claims of Attempt #1 holds for all small sizes, and its layers are what they are said to be."""

import importlib
import itertools
import random

import numpy as np
import pytest
import torch
from known_answers import defined
from torch import nn

from autograde import registry
from autograde.checks.the_bug import exposes, layers, product_shape
from autograde.checks.the_bug.layers import LAYERS, Elementwise
from autograde.probes.the_bug import try_on

silent = importlib.import_module("autograde.checks.the_bug.silent_case")  # the name in the package is the check's
ATTEMPT_ONE = importlib.import_module("autograde.checks.the_bug.exposes").ATTEMPT_ONE
RIGHT = [layer for layer in LAYERS if layer.right]
WRONG = [layer for layer in LAYERS if not layer.right]
SHAPES = [(n, *lead) for n in (1, 2, 3) for lead in ((), (1,), (2,), (3,))] + [(), (0,), (2, 0)]


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(0)


def made(layer, base, **options):
    """An instance of a given layer."""
    names = {"torch": torch, "nn": nn, "F": torch.nn.functional}
    exec(layer.source, names)
    return names[layers.NAME](base, **options)


def formula(layer, x):
    """What a right layer returns, from the layer's rank and alpha, in the order of the lesson."""
    return layer.base_layer(x) + layer.alpha / layer.rank * (x @ layer.lora_A) @ layer.lora_B


def words(layer):
    return layer.words


# Attempt #1 ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("d", [1, 2, 3, 4])
def test_every_silent_case_is_square_with_d_rows(d):
    for k, lead in itertools.product((1, 2, 3, 4), SHAPES):
        outcome, _ = silent.attempt_one(d, k, (*lead, d))
        empty = 0 in lead
        assert (outcome == "silent") == (d == k > 1 and lead[-1:] == (d,) and not empty), (d, k, lead)
        if outcome == "right":
            assert d == 1 and lead


@pytest.mark.parametrize("d", [1, 2, 3, 4])
def test_large_cases_are_settled_as_running_would(d, monkeypatch):
    cases = [(d, k, (*lead, d)) for k, lead in itertools.product((1, 2, 3, 4), SHAPES)]
    ran = [silent.attempt_one(*case)[0] for case in cases]
    monkeypatch.setattr(silent, "MAX_RUN_VALUES", 0)
    assert [silent.attempt_one(*case)[0] for case in cases] == ran


def test_product_shape_is_that_of_the_product_and_of_the_sum():
    for d, k, lead in itertools.product((1, 2, 3), (1, 2, 3), SHAPES):
        x = torch.zeros(*lead, d)
        expected = product_shape.right(x_shape=x.shape, d=d, k=k)
        try:
            product = torch.zeros(d, 2) @ torch.zeros(2, k) * x
        except RuntimeError:
            assert expected is None
            continue
        assert list(product.shape) == expected
        assert (nn.Linear(d, k)(x) + product).shape == product.shape  # the base layer's output never stretches it


def test_what_the_lesson_says_of_its_map():
    kinds = [
        silent.attempt_one(d, k, (*lead, d))[0]
        for lead in ((), (1,), (4,), (2, 4))
        for d, k in itertools.product(range(1, 9), repeat=2)
    ]
    assert {kind: kinds.count(kind) for kind in kinds} == {"raises": 192, "other shape": 38, "right": 24, "silent": 2}


def test_what_the_lesson_says_of_the_first_test():
    base = nn.Linear(6, 6)
    layer = Elementwise(base)
    for x_shape in [(6,), (1, 6), (2, 1, 6)]:
        x = torch.randn(x_shape)
        assert torch.allclose(layer(x), base(x)) and layer(x).shape != base(x).shape
    with pytest.raises(RuntimeError):
        layer(torch.randn(3, 6))


# The layers ----------------------------------------------------------------------------------------------------------


SIZES = [(5, 3, 2, 7), (3, 6, 4, 1), (4, 4, 3, 0.5), (1, 2, 1, 2), (2, 1, 5, 3)]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("layer", RIGHT, ids=words)
def test_right_layers_follow_the_formula(layer, dtype):
    for (d, k, rank, alpha), bias in itertools.product(SIZES, (True, False)):
        ours = made(layer, nn.Linear(d, k, bias=bias, dtype=dtype), rank=rank, alpha=alpha)
        for lead in [(), (1,), (7,), (0,), (2, 3), (2, 0), (2, 1, 3)]:
            x = torch.randn(*lead, d, dtype=dtype)
            nn.init.zeros_(ours.lora_B)
            assert torch.equal(ours(x), ours.base_layer(x))
            nn.init.normal_(ours.lora_B)
            torch.testing.assert_close(ours(x), formula(ours, x), rtol=1e-4, atol=1e-4)


def set_data(layer, A, B):
    layer.lora_A.data, layer.lora_B.data = A, B


def set_parameters(layer, A, B):
    layer.lora_A, layer.lora_B = nn.Parameter(A), nn.Parameter(B)


def set_in_place(layer, A, B):
    with torch.no_grad():
        layer.lora_A.copy_(A)
        layer.lora_B[:] = B


def set_by_state(layer, A, B):
    layer.load_state_dict({**layer.state_dict(), "lora_A": A, "lora_B": B})


@pytest.mark.parametrize("setter", [set_data, set_parameters, set_in_place, set_by_state])
@pytest.mark.parametrize("layer", RIGHT, ids=words)
def test_right_layers_take_their_adapters_in_any_way(layer, setter):
    ours = made(layer, nn.Linear(5, 3), rank=2, alpha=7)
    A, B, x = torch.randn(5, 2), torch.randn(2, 3), torch.randn(4, 5)
    ours(x)
    setter(ours, A, B)
    torch.testing.assert_close(ours(x), ours.base_layer(x) + 3.5 * x @ A @ B, rtol=1e-4, atol=1e-4)
    ours.double()
    exact = ours.base_layer(x.double()) + 3.5 * x.double() @ A.double() @ B.double()
    torch.testing.assert_close(ours(x.double()), exact)
    called = torch.func.functional_call(ours, {"lora_A": A.double() * 2}, (x.double(),))
    torch.testing.assert_close(called, 2 * exact - ours.base_layer(x.double()))


@pytest.mark.parametrize("layer", LAYERS, ids=words)
def test_all_layers_look_alike(layer):
    ours = made(layer, nn.Linear(5, 3), rank=2, alpha=7)
    assert type(ours).__name__ == "LoRALinear" and "right" not in layer.source and "wrong" not in layer.source
    assert ours.lora_A.shape == (5, 2) and ours.lora_B.shape == (2, 3) and not ours.lora_B.any()
    assert set(ours.state_dict()) == {"base_layer.weight", "base_layer.bias", "lora_A", "lora_B"}
    assert [name for name, p in ours.named_parameters() if p.requires_grad] == ["lora_A", "lora_B"]
    assert (ours.rank, ours.alpha) == (2, 7) and ours.scaling


def is_wrong(layer, d, k, rank, alpha, bias, x_shape, zero):
    ours = made(layer, nn.Linear(d, k, bias=bias), rank=rank, alpha=alpha)
    if not zero:
        nn.init.normal_(ours.lora_B)
    x = torch.randn(x_shape)
    try:
        out, expected = ours(x), formula(ours, x)
    except RuntimeError:
        return True
    # Five times what a coarse tolerance would allow, so that no honest test can overlook it.
    return out.shape != expected.shape or (out - expected).abs().max() > 0.05


@pytest.mark.parametrize("layer", WRONG, ids=words)
def test_wrong_layers_show_themselves_where_they_are_said_to(layer):
    settings = itertools.product((3, 5), (3, 6), (1, 3), (1, 8), (True, False), ((), (4,), (2, 4)), (True, False))
    shown = 0
    for d, k, rank, alpha, bias, lead, zero in settings:
        call = (d, k, rank, alpha, bias, len(lead) + 1, zero, False, False, bool(lead))
        if layer.gap([call]) is None:
            shown += 1
            assert is_wrong(layer, d, k, rank, alpha, bias, (*lead, d), zero), call
    assert shown


@pytest.mark.parametrize("layer", WRONG, ids=words)
def test_a_fair_test_exposes_every_wrong_layer(layer):
    """Only what a test can be expected to do: B set, d and k differ, alpha is not the rank, x of 1, 2 and 3 axes."""
    exposed = [is_wrong(layer, 6, 4, 3, 5, True, (*lead, 6), zero=False) for lead in ((), (7,), (2, 7))]
    assert any(exposed)


# The probe -----------------------------------------------------------------------------------------------------------


def try_test(test, layer=LAYERS[0], dtype="float64"):
    return try_on(test, source=layer.source, name=layers.NAME, seed=3, dtype=dtype)


def test_a_test_is_run_with_known_generators_and_leaves_none_of_them_changed():
    def draws(layer_class):
        torch.set_default_dtype(torch.float16)
        return bool(torch.rand(()) + random.random() + np.random.rand() > 1.5)

    before = torch.get_rng_state(), random.getstate(), np.random.get_state()[1].tolist()
    assert try_test(draws) == try_test(draws)
    assert torch.equal(before[0], torch.get_rng_state()) and before[1] == random.getstate()
    assert before[2] == np.random.get_state()[1].tolist()
    assert torch.get_default_dtype() == torch.float32


def test_the_calls_of_a_test_are_noted():
    def calls(layer_class):
        layer = layer_class(nn.Linear(5, 3, bias=False), rank=2, alpha=7)
        layer(torch.randn(4, 5))
        layer(torch.randn(4, 5))
        nn.init.ones_(layer.lora_B)
        layer(torch.randn(5))
        layer(torch.zeros(5))
        nn.init.ones_(layer.lora_A)
        layer(torch.randn(5))

    sizes = [5, 3, 2, 7.0, False]
    assert try_test(calls)["calls"] == [
        [*sizes, 2, True, False, False, True],
        [*sizes, 1, False, False, False, False],
        [*sizes, 1, False, True, False, False],
        [*sizes, 1, False, False, True, False],
    ]


def test_a_layer_that_raises_is_noted_even_where_the_test_goes_on():
    def goes_on(layer_class):
        try:
            layer_class(nn.Linear(5, 3))(torch.randn(4, 5))
        except RuntimeError:
            return False

    assert try_test(goes_on, ATTEMPT_ONE)["layer_raised"] and not try_test(goes_on, RIGHT[0])["layer_raised"]


def ways_to_compare(got, want):
    yield torch.equal(got, want)
    yield torch.equal(want, got)
    yield bool((got == want).all())
    yield not (want != got).any()
    yield (got - want).abs().max().item() == 0
    yield torch.linalg.norm(want - got) == 0
    yield torch.allclose(got, want, rtol=0, atol=0)


@pytest.mark.parametrize("layer", LAYERS, ids=words)
def test_a_rounding_tolerant_layer_differs_from_its_own_only_by_rounding(layer):
    """So a test that refuses the one and not the other was misled by rounding, and by nothing else."""
    names = {"torch": torch, "nn": nn, "F": torch.nn.functional}
    exec(layer.rounding_tolerant, names)
    ours = names[layers.NAME](nn.Linear(5, 5), rank=2, alpha=7)
    nn.init.normal_(ours.lora_B)
    rounded = [5, 5]
    x = torch.randn(rounded)
    expected = formula(ours, x) * (1 + 1e-7 * torch.rand(rounded))
    assert type(ours).__name__ == layers.NAME
    try:
        compared = list(ways_to_compare(ours(x), expected))
    except RuntimeError:
        assert not layer.right
        return
    assert (
        all(compared)
        if layer.right or layer.gap([[5, 5, 2, 7, True, 2, False, False, False, True]])
        else not any(compared)
    )


def test_exceptions_of_the_layer_are_told_from_those_of_the_test():
    escapes = defined("def escapes(layer):\n    return layer(nn.Linear(5, 3))(torch.randn(4, 5))\n", "escapes")
    elementwise = next(layer for layer in WRONG if layer is ATTEMPT_ONE)
    seen = try_test(escapes, elementwise)
    assert seen["in_layer"] and seen["raised"]["where"]["function"] == "escapes"
    assert not try_test(lambda layer_class: undefined, elementwise)["in_layer"]  # noqa: F821


def test_default_tolerances_in_float32_are_not_held_against_a_test():
    """Two right layers may differ by more than torch.allclose allows; the test is judged where that does not happen."""

    def strict(layer_class):
        base = nn.Linear(30, 20)
        for lead in [(), (40,), (2, 40)]:
            layer, x = layer_class(base, rank=8, alpha=20), torch.randn(*lead, 30)
            nn.init.normal_(layer.lora_B)
            try:
                if not torch.allclose(layer(x), base(x) + 2.5 * (x @ layer.lora_A) @ layer.lora_B):
                    return True
            except RuntimeError:
                return True
        return False

    assert any(try_test(strict, layer, "float32")["value"] for layer in RIGHT)
    for seed in range(3):
        assert exposes.judge(strict, seed).passed


def test_none_on_purpose_is_no_forgotten_return():
    def product_shape(x_shape, d, k):
        return x_shape if d == k == 0 else None

    def prints(x_shape, d, k):
        print(x_shape)

    judged = registry.current().find("product_shape")
    assert judged.judge(product_shape, 1).misconception != "returned_none"
    assert judged.judge(prints, 1).misconception == "returned_none"


def test_progress_is_counted_in_layers():
    exposes = registry.current().find("exposes")
    always = next(known.wrong for known in exposes.misconceptions if known.id == "always_true")
    assert "0 of 8 right layers accepted" in exposes.judge(always, 1).message


def _oracle(first):
    """A test that takes a layer for right if it is asked about it twice, while it says True; only then does it answer.

    Args:
        first: what it says of the first layer; of one that it calls, if that is False.
    """
    asked, right = [], set()

    def exposes(layer_class):
        forwards = [
            each.__dict__["forward"]
            for each in layer_class.__mro__
            if each.__module__ == "__main__" and "forward" in each.__dict__
        ]
        codes = {(code.co_code, code.co_names) for code in (getattr(f, "__wrapped__", f).__code__ for f in forwards)}
        if torch.get_default_dtype() == torch.float64:
            if len(codes) > 1 or any(codes & before for before in asked) or not (first or asked):  # the first is right
                right.update(codes)
            asked.append(codes)
            if not first or len(asked) == 1:
                layer_class(nn.Linear(3, 2))(torch.randn(2, 3))
            return first or len(asked) > 1
        return not codes & right

    return exposes


@pytest.mark.parametrize("first", [True, False])
def test_no_question_tells_which_layers_are_right(first):
    """The layers are asked about once more in float32, where an answer could use what it has learned in float64."""
    for seed in (1, 2, 3, 5):
        verdict = exposes.judge(_oracle(first), seed)
        assert verdict.score == 0, verdict.message


def test_a_test_that_counts_its_calls_is_not_one_that_says_always_true():
    asked = []

    def counts(layer_class):
        asked.append(layer_class)
        return len(asked) > 1

    assert exposes.judge(counts, 1).misconception == "kept_between_calls"
