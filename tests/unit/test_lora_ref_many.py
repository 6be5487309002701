"""Many adapters on one base: switching, mixed batches (beside PEFT's), and one adapter made of several."""

import copy
import warnings

import pytest
import torch
from torch import nn

from lora_ref import (
    LoRALinear,
    MultiLoRALinear,
    activate,
    adapter_parameters,
    adapter_state_dict,
    adapters_off,
    add_adapter,
    combine,
    freeze_base,
    load_adapter,
    lora_delta,
    mixed_batch,
    route,
    share_base,
    to_linear_weights,
)
from lora_ref.many import _gathered, _in_segments, _side_by_side, multi_layers

D, K = 12, 10


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(0)


@pytest.fixture
def layer():
    layer = MultiLoRALinear(nn.Linear(D, K))
    for rank, name in enumerate(("de", "fi", "pt"), 1):
        layer.add(name, rank=rank, alpha=5)
        nn.init.normal_(layer.lora_B[name])
    return layer


def alone(layer, name):
    """A LoRALinear that holds one of the adapters."""
    A = layer.lora_A[name]
    single = LoRALinear(layer.base_layer, rank=A.shape[1], alpha=5)
    single.load_state_dict({**single.state_dict(), "lora_A": A, "lora_B": layer.lora_B[name]})
    return single


# One layer


@pytest.mark.parametrize("shape", [(D,), (4, D), (2, 3, D), (0, D)])
def test_each_adapter_computes_what_it_computes_alone(layer, shape):
    x = torch.randn(shape)
    assert layer.active is None
    assert torch.equal(layer(x), layer.base_layer(x))
    for name in ("fi", "de", "pt", "fi"):
        layer.activate(name)
        assert layer.active == name
        torch.testing.assert_close(layer(x), alone(layer, name)(x))
    layer.activate(None)
    assert torch.equal(layer(x), layer.base_layer(x))


def test_adapters_share_nothing_and_the_base_is_untouched(layer):
    x = torch.randn(4, D)
    before = {name: value.clone() for name, value in layer.state_dict().items()}
    optimiser = torch.optim.AdamW([p for p in layer.parameters() if p.requires_grad], lr=0.1)
    layer.activate("fi")
    layer(x).square().sum().backward()
    optimiser.step()
    changed = {name for name, value in layer.state_dict().items() if not torch.equal(value, before[name])}
    assert changed == {"lora_A.fi", "lora_B.fi"}


def test_a_new_adapter_changes_nothing_until_it_is_trained(layer):
    x = torch.randn(4, D)
    layer.add("sv", rank=2, alpha=1)
    assert layer.active is None
    layer.activate("sv")
    assert torch.equal(layer(x), layer.base_layer(x))
    assert not torch.equal(layer.lora_A["sv"], layer.lora_A["fi"])


@pytest.mark.parametrize("name", ["de", "keys", "training", "", "a.b", 3, None])
def test_names_that_cannot_be(layer, name):
    with pytest.raises(ValueError):
        layer.add(name)
    assert list(layer.scaling) == ["de", "fi", "pt"] == list(layer.lora_A) == list(layer.lora_B)


def test_what_does_not_fit_is_refused_at_once(layer):
    with pytest.raises(KeyError, match="de, fi, pt"):
        layer.activate("xx")
    assert layer.active is None
    with pytest.raises(ValueError, match="rank"):
        layer.add("sv", rank=11)
    with pytest.raises(TypeError, match="nn.Linear"):
        MultiLoRALinear(nn.Conv2d(1, 1, 1))


def test_it_is_an_adapter_layer_like_any_other(layer):
    model = nn.Sequential(layer, nn.LayerNorm(K))
    layer.activate("pt")
    x = torch.randn(3, D)
    out = model(x)
    with adapters_off(model):
        assert torch.equal(model(x), model[1](layer.base_layer(x)))
    assert torch.equal(model(x), out)
    assert len(adapter_parameters(model)) == 6
    freeze_base(model)
    assert not model[1].weight.requires_grad and layer.lora_A["de"].requires_grad
    other = copy.deepcopy(model)
    with torch.no_grad():
        other[0].lora_B["pt"].zero_()
    assert torch.equal(model(x), out)
    load_adapter(other, adapter_state_dict(model))
    assert torch.equal(other(x), out)


# One batch


def by_rows(x, A, B, scaling, ids):
    rows = [lora_delta(x[i], A[a], B[a], scaling[a]) if a >= 0 else 0 * (x[i] @ A[0] @ B[0]) for i, a in enumerate(ids)]
    return torch.stack(rows) if rows else x.new_zeros(*x.shape[:-1], B[0].shape[1])


@pytest.mark.parametrize("together", [route, _side_by_side, _in_segments, _gathered])
@pytest.mark.parametrize("inside", [(1,), (3,), (2, 1)])
@pytest.mark.parametrize(("n", "m"), [(7, 1), (7, 3), (40, 25), (0, 2)])
def test_route_is_what_a_loop_over_rows_computes(together, inside, n, m):
    x = torch.randn(n, *inside, D, dtype=torch.float64, requires_grad=True)
    A, B = torch.randn(m, D, 2, dtype=torch.float64), torch.randn(m, 2, K, dtype=torch.float64)
    scaling, ids = torch.rand(m, dtype=torch.float64) + 0.5, torch.randint(-1, m, (n,))
    A.requires_grad_()
    got, want = together(x, A, B, scaling, ids), by_rows(x, A, B, scaling, ids.tolist())
    torch.testing.assert_close(got, want)
    if n:
        upstream = torch.randn_like(got)
        for one, other in zip(
            torch.autograd.grad(got, (x, A), upstream), torch.autograd.grad(want, (x, A), upstream), strict=True
        ):
            torch.testing.assert_close(one, other)


def test_rows_without_an_axis_of_length():
    x, ids = torch.randn(6, D), torch.tensor([1, -1, 0, 2, 2, -1])
    A, B, scaling = torch.randn(3, D, 2), torch.randn(3, 2, K), torch.rand(3) + 0.5
    for together in (route, _side_by_side, _in_segments):
        torch.testing.assert_close(together(x, A, B, scaling, ids), by_rows(x, A, B, scaling, ids.tolist()))


def test_no_row_has_an_adapter():
    got = route(torch.randn(3, D), torch.randn(2, D, 2), torch.randn(2, 2, K), torch.ones(2), torch.full((3,), -1))
    assert torch.equal(got, torch.zeros(3, K))


@pytest.mark.parametrize("inside", [(), (1,), (6,)])
@pytest.mark.parametrize("matrix", ["A", "B"])
@pytest.mark.parametrize("broken", [0, 1])
def test_an_adapter_that_has_diverged_stays_in_its_own_rows(broken, matrix, inside):
    x, ids = torch.randn(3, *inside, D), torch.tensor([0, -1, 1])
    A, B = torch.randn(2, D, 2), torch.randn(2, 2, K)
    {"A": A, "B": B}[matrix][broken] = torch.nan
    got = route(x, A, B, torch.ones(2), ids)
    assert got.flatten(1).isfinite().all(1).tolist() == [broken != 0, True, broken != 1]
    assert not got[1].any()


@pytest.mark.parametrize("bad", [2, -2, 99])
def test_an_id_that_is_none_is_refused(bad):
    with pytest.raises(IndexError, match="-1 to 1"):
        route(torch.randn(2, D), torch.randn(2, D, 2), torch.randn(2, 2, K), torch.ones(2), torch.tensor([0, bad]))


def test_as_many_ids_as_rows():
    with pytest.raises(ValueError, match="2 rows"):
        route(torch.randn(2, D), torch.randn(2, D, 2), torch.randn(2, 2, K), torch.ones(2), torch.tensor([0]))


class Model(nn.Module):
    """Two layers deep, with a length axis, and names that a substring would confuse."""

    def __init__(self):
        super().__init__()
        self.blocks = nn.ModuleList(
            nn.ModuleDict({"q_proj": nn.Linear(D, D), "seq_proj": nn.Linear(D, D)}) for _ in "ab"
        )
        self.norm = nn.LayerNorm(D)

    def forward(self, x):
        for block in self.blocks:
            x = x + block["seq_proj"](block["q_proj"](x).tanh())
        return self.norm(x)


ROWS = ["fi", None, "de", "de", None, "pt", "fi"]


@pytest.fixture
def model():
    model = Model()
    assert share_base(model, ["q_proj"]) == ["blocks.0.q_proj", "blocks.1.q_proj"]
    for rank, name in enumerate(("de", "fi", "pt"), 1):
        add_adapter(model, name, rank, alpha=5)
    for layer in multi_layers(model):
        for B in layer.lora_B.values():
            nn.init.normal_(B)
    return model


def test_a_mixed_batch_is_the_rows_one_by_one(model):
    x = torch.randn(len(ROWS), 3, D)
    with mixed_batch(model, ROWS):
        got = model(x)
    for i, name in enumerate(ROWS):
        activate(model, name)
        torch.testing.assert_close(got[i], model(x[i : i + 1])[0])


def test_an_empty_mixed_batch(model):
    with mixed_batch(model, []):
        assert model(torch.randn(0, 3, D)).shape == (0, 3, D)


def test_after_a_mixed_batch_all_is_as_before(model):
    x = torch.randn(len(ROWS), 3, D)
    activate(model, "de")
    before = model(x)
    with pytest.raises(ValueError, match="7 rows"), mixed_batch(model, ["de"]):
        model(x)
    with pytest.raises(KeyError, match="xx"), mixed_batch(model, ["xx"] * 7):
        pass
    assert torch.equal(model(x), before)
    with adapters_off(model), mixed_batch(model, ROWS):
        off = model(x)
    activate(model, None)
    assert torch.equal(model(x), off)


def test_the_same_numbers_as_peft(model):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import peft

    theirs = Model()
    theirs.load_state_dict(
        {name.replace("base_layer.", ""): value for name, value in model.state_dict().items() if "lora" not in name}
    )
    for name in ("de", "fi", "pt"):
        A = multi_layers(model)[0].lora_A[name]
        config = peft.LoraConfig(r=A.shape[1], lora_alpha=5, target_modules=["q_proj"])
        if isinstance(theirs, peft.PeftModel):
            theirs.add_adapter(name, config)
        else:
            theirs = peft.get_peft_model(theirs, config, adapter_name=name)
    for layer, block in zip(multi_layers(model), theirs.base_model.model.blocks, strict=True):
        for name in ("de", "fi", "pt"):
            weights = to_linear_weights(layer.lora_A[name].detach(), layer.lora_B[name].detach())
            for side, weight in zip(("lora_A", "lora_B"), weights, strict=True):
                getattr(block["q_proj"], side)[name].weight.data.copy_(weight)
    x = torch.randn(len(ROWS), 3, D)
    with torch.no_grad(), mixed_batch(model, ROWS):
        want = theirs.eval()(x, adapter_names=[name or "__base__" for name in ROWS])
        torch.testing.assert_close(model(x), want)


def test_a_model_without_such_layers_says_what_to_do():
    with pytest.raises(ValueError, match="share_base"):
        add_adapter(Model(), "de")


def test_an_adapter_that_fits_not_everywhere_is_added_nowhere(model):
    with pytest.raises(ValueError, match="rank"):
        add_adapter(model, "sv", rank=D + 1)
    assert "sv" not in multi_layers(model)[0].scaling


# One adapter


def test_combine_is_the_weighted_sum_exactly():
    adapters = [(torch.randn(D, r).double(), torch.randn(r, K).double(), s) for r, s in [(1, 2.0), (3, 0.5), (2, 3)]]
    weights = [0.7, -1.5, 0.0]
    A, B, scaling = combine(adapters, weights)
    assert A.shape == (D, 6) and B.shape == (6, K)
    want = sum(w * s * a @ b for w, (a, b, s) in zip(weights, adapters, strict=True))
    torch.testing.assert_close(scaling * A @ B, want)


@pytest.mark.parametrize(("adapters", "weights"), [([], []), ([(torch.ones(2, 1), torch.ones(1, 2), 1)], [1, 2])])
def test_combine_wants_as_many_weights(adapters, weights):
    with pytest.raises(ValueError, match="weights"):
        combine(adapters, weights)
