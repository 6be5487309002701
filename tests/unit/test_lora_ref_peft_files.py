"""Adapter folders go to PEFT and come from PEFT with the same numbers; what cannot be honoured is refused whole."""

import copy
import json
import pickle
import warnings

import pytest
import torch
from real_peft import peft
from safetensors.torch import load_file, save_file
from torch import nn

from lora_ref import (
    LoRALinear,
    adapt_weight,
    adapter_parameters,
    freeze_base,
    inject,
    merge,
    portable_alpha,
    read_peft_adapter,
    write_peft_adapter,
)

DTYPES = [torch.float64, torch.float32, torch.bfloat16, torch.float16]


class Block(nn.Module):
    def __init__(self, **like):
        super().__init__()
        self.q_proj = nn.Linear(7, 11, **like)
        self.seq_proj = nn.Linear(11, 7, bias=False, **like)
        self.norm = nn.LayerNorm(7, **like)

    def forward(self, x):
        return self.norm(x + self.seq_proj(torch.tanh(self.q_proj(x))))


class Net(nn.Module):
    """Linears at two depths, names that contain one another, an embedding tied to the head."""

    def __init__(self, **like):
        super().__init__()
        self.embed = nn.Embedding(13, 7, **like)
        self.blocks = nn.ModuleList([Block(**like), Block(**like)])
        self.head = nn.Linear(7, 13, bias=False, **like)
        self.head.weight = self.embed.weight

    def forward(self, tokens):
        x = self.embed(tokens)
        for block in self.blocks:
            x = block(x)
        return self.head(x)


class Pictures(nn.Module):
    def __init__(self, **like):
        super().__init__()
        self.first = nn.Conv2d(3, 6, (3, 2), stride=2, padding=1, **like)
        self.second = nn.Conv2d(6, 5, 1, bias=False, **like)
        self.out = nn.Linear(5, 4, **like)

    def forward(self, x):
        return self.out(self.second(torch.tanh(self.first(x))).mean((-2, -1)))


TOKENS, PICTURES = torch.randint(13, (3, 5)), torch.randn(2, 3, 8, 9)
TARGETS = {Net: ["q_proj", "seq_proj", "head"], Pictures: ["first", "second", "out"]}


def given(kind, dtype):
    return TOKENS if kind is Net else PICTURES.to(dtype)


def same(kind, ours, theirs, dtype=torch.float32):
    """The same outputs, up to the roundings of `dtype`: PEFT multiplies and sums in another order."""
    with torch.no_grad():
        x = given(kind, dtype)
        got, want = ours(x).double(), theirs(x).double()
    assert (got - want).norm() < {torch.float16: 4e-3, torch.bfloat16: 3e-2}.get(dtype, 1e-6) * want.norm()


def trained(kind, rank=3, alpha=8, dtype=torch.float32, seed=0):
    """A base, and a copy of it that carries a trained-looking adapter."""
    torch.manual_seed(seed)
    base = kind(dtype=dtype)
    model = copy.deepcopy(base)
    for module in list(model.modules()):
        if isinstance(module, nn.Conv2d):
            adapt_weight(module, rank, alpha)
    inject(model, TARGETS[kind], rank, alpha)
    with torch.no_grad():
        for parameter in adapter_parameters(model):
            parameter.normal_(std=0.3)
    return base, model


def from_peft(kind, folder, dtype=torch.float32, **config):
    """A base, PEFT's trained-looking model on a copy of it, and the folder that PEFT wrote."""
    torch.manual_seed(0)
    base = kind(dtype=dtype)
    config = {"r": 3, "lora_alpha": 8, "target_modules": TARGETS[kind], "init_lora_weights": False} | config
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = peft.get_peft_model(copy.deepcopy(base), peft.LoraConfig(**config))
        model.save_pretrained(folder)
    return base, model


def into_peft(base, folder):
    """PEFT's model of the folder; any warning (a key that is missing) fails the test."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.filterwarnings("ignore", message=".*tie.*")  # that a tied layer is adapted
        model = peft.PeftModel.from_pretrained(copy.deepcopy(base), folder)
    held = peft.get_peft_model_state_dict(model)
    assert held.keys() == load_file(folder / "adapter_model.safetensors").keys()  # every key is used
    return model


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("kind", [Net, Pictures])
def test_peft_reads_what_is_written(kind, dtype, tmp_path):
    base, model = trained(kind, dtype=dtype)
    write_peft_adapter(model, tmp_path / "not" / "there", 3, 8, TARGETS[kind])
    same(kind, model, into_peft(base, tmp_path / "not" / "there"), dtype)
    assert {
        tensor.dtype for tensor in load_file(tmp_path / "not" / "there" / "adapter_model.safetensors").values()
    } == {dtype}


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("kind", [Net, Pictures])
def test_what_peft_writes_is_read(kind, dtype, tmp_path):
    base, theirs = from_peft(kind, tmp_path, dtype)
    names = read_peft_adapter(base, tmp_path)
    assert names == [name for name, module in theirs.get_base_model().named_modules() if hasattr(module, "lora_A")]
    same(kind, base, theirs, dtype)


@pytest.mark.parametrize("kind", [Net, Pictures])
def test_rank_stabilised_adapters(kind, tmp_path):
    base, theirs = from_peft(kind, tmp_path, use_rslora=True)
    read_peft_adapter(base, tmp_path)
    same(kind, base, theirs)
    write_peft_adapter(base, tmp_path / "plain", 3, portable_alpha(8, 3), TARGETS[kind])
    same(kind, base, into_peft(kind_of(base), tmp_path / "plain"))
    assert json.loads((tmp_path / "plain" / "adapter_config.json").read_text())["use_rslora"] is False


def kind_of(model):
    """The base of `from_peft`, made again."""
    torch.manual_seed(0)
    return type(model)()


@pytest.mark.parametrize("targets", [r"blocks\.\d+\.q_proj|head", ["blocks.1.seq_proj"], ["head", "blocks.0.q_proj"]])
def test_target_modules_mean_what_they_mean_to_peft(targets, tmp_path):
    base, theirs = from_peft(Net, tmp_path / "theirs", target_modules=targets)
    read_peft_adapter(base, tmp_path / "theirs")
    same(Net, base, theirs)
    write_peft_adapter(base, tmp_path / "ours", 3, 8, targets)
    same(Net, base, into_peft(kind_of(base), tmp_path / "ours"))


@pytest.mark.parametrize("start", ["gaussian", "orthogonal", True])
def test_starts_that_leave_the_base_alone(start, tmp_path):
    base, theirs = from_peft(Net, tmp_path, init_lora_weights=start, r=4)
    read_peft_adapter(base, tmp_path)
    same(Net, base, theirs)


def test_the_bits_survive_there_and_back(tmp_path):
    base, model = trained(Net, dtype=torch.bfloat16)
    write_peft_adapter(model, tmp_path, 3, 8, TARGETS[Net])
    read_peft_adapter(base, tmp_path)
    assert [n for n, _ in base.named_parameters()] == [n for n, _ in model.named_parameters()]
    assert all(map(torch.equal, base.parameters(), model.parameters()))


def test_ties_live_on_and_the_rest_is_left_alone(tmp_path):
    base, _ = from_peft(Net, tmp_path)
    head, norm = base.head, base.blocks[0].norm
    read_peft_adapter(base, tmp_path)
    assert base.head.base_layer is head and base.head.base_layer.weight is base.embed.weight
    assert base.blocks[0].norm is norm and norm.weight.requires_grad


def test_a_model_that_was_read_lives_like_any_other(tmp_path):
    base, theirs = from_peft(Net, tmp_path)
    read_peft_adapter(base, tmp_path)
    same(Net, copy.deepcopy(base), theirs)
    same(Net, pickle.loads(pickle.dumps(base)), theirs)
    again = kind_of(base)
    inject(again, TARGETS[Net], 3, 8)
    again.load_state_dict(base.state_dict())
    same(Net, again, theirs)
    same(Net, torch.compile(base, backend="aot_eager"), theirs)
    before = [parameter.clone() for parameter in freeze_base(base).parameters()]
    base(TOKENS).square().sum().backward()
    torch.optim.SGD(adapter_parameters(base), lr=0.1).step()
    moved = {name for (name, p), old in zip(base.named_parameters(), before, strict=True) if not torch.equal(p, old)}
    assert moved == {name for name, _ in base.named_parameters() if "lora_" in name}


@pytest.mark.parametrize("state", ["merged", "off", "compiled", "compiled within"])
def test_what_is_written_does_not_depend_on_the_state_of_the_model(state, tmp_path):
    _, model = trained(Net)
    write_peft_adapter(model, tmp_path / "plain", 3, 8, TARGETS[Net])
    if state == "merged":
        model.blocks[0].q_proj.merge()
    elif state == "off":
        model.blocks[0].q_proj.enabled = False
    elif state == "compiled":
        model = torch.compile(model, backend="eager")
    else:
        model.blocks[0].q_proj = torch.compile(model.blocks[0].q_proj, backend="eager")
    write_peft_adapter(model, tmp_path / "other", 3, 8, TARGETS[Net])
    for name in ("adapter_model.safetensors", "adapter_config.json"):
        assert (tmp_path / "plain" / name).read_bytes() == (tmp_path / "other" / name).read_bytes()


def test_a_compiled_model_can_be_read_into(tmp_path):
    base, theirs = from_peft(Net, tmp_path)
    model = torch.compile(base, backend="eager")
    read_peft_adapter(model, tmp_path)
    same(Net, model, theirs)


def test_files_that_are_there_are_replaced(tmp_path):
    _, model = trained(Net, seed=1)
    write_peft_adapter(model, tmp_path, 3, 8, TARGETS[Net])
    base, model = trained(Net)
    write_peft_adapter(model, str(tmp_path), 3, 8, TARGETS[Net])
    same(Net, model, into_peft(base, tmp_path))


# What is refused -------------------------------------------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path):
    """A folder that PEFT wrote for a Net."""
    from_peft(Net, tmp_path)
    return tmp_path


def refused(folder, match, error=ValueError, base=None):
    """Reading raises, with a message that says what to do, and the model is as it was to the last bit and flag."""
    base = base or kind_of(Net())
    before, modules = copy.deepcopy(base.state_dict()), list(base.modules())
    training = [parameter.requires_grad for parameter in base.parameters()]
    with pytest.raises(error, match=match):
        read_peft_adapter(base, folder)
    assert list(base.modules()) == modules
    assert [parameter.requires_grad for parameter in base.parameters()] == training
    after = base.state_dict()
    assert before.keys() == after.keys() and all(torch.equal(before[key], after[key]) for key in before)


def configured(folder, **changes):
    path = folder / "adapter_config.json"
    config = json.loads(path.read_text()) | changes
    path.write_text(json.dumps({key: value for key, value in config.items() if value is not ...}))


@pytest.mark.parametrize(
    "changes, match",
    [
        ({"use_dora": True}, "use_dora.*merge_and_unload"),
        ({"rank_pattern": {"q_proj": 4}}, "rank_pattern"),
        ({"alpha_pattern": {"q_proj": 4}}, "alpha_pattern"),
        ({"bias": "all"}, "bias = 'all'"),
        ({"bias": "lora_only"}, "bias"),
        ({"lora_bias": True}, "lora_bias"),
        ({"modules_to_save": ["head"]}, "modules_to_save"),
        ({"fan_in_fan_out": True}, "fan_in_fan_out"),
        ({"layers_to_transform": 0}, "layers_to_transform = 0"),
        ({"exclude_modules": ["head"]}, "exclude_modules"),
        ({"a_field_of_tomorrow": 7}, "a_field_of_tomorrow"),
        ({"init_lora_weights": "pissa"}, "init_lora_weights.*changed base.*save_pretrained"),
        ({"init_lora_weights": "pissa_niter_4"}, "changed base"),
        ({"init_lora_weights": "olora"}, "changed base"),
        ({"init_lora_weights": "loftq"}, "changed base"),
        ({"r": ...}, "r must be a whole number.*None"),
        ({"r": 0}, "r must be"),
        ({"r": "3"}, "r must be"),
        ({"r": True}, "r must be"),
        ({"r": 2}, "ask for"),
        ({"lora_alpha": ...}, "lora_alpha must be a number"),
        ({"lora_alpha": "8"}, "lora_alpha"),
        ({"lora_alpha": float("nan")}, "lora_alpha"),
        ({"target_modules": ...}, "target_modules must be"),
        ({"target_modules": ["nowhere"]}, "No module is called.*trained on"),
        ({"target_modules": ["q_proj"]}, "no place"),
        ({"target_modules": ["q_proj", "seq_proj", "head", "norm"]}, "LayerNorm"),
        ({"target_modules": ["q_proj", "seq_proj", "head", "embed"]}, "Embedding"),
        ({"peft_type": "LOHA"}, "LoRA adapter"),
        ({"peft_type": ...}, "LoRA adapter"),
    ],
)
def test_a_config_that_asks_for_more_than_plain_lora(folder, changes, match):
    configured(folder, **changes)
    refused(folder, match)


@pytest.mark.parametrize("text", ["", "{", "[]", "null", "\x00"])
def test_a_config_that_is_no_config(folder, text):
    (folder / "adapter_config.json").write_text(text)
    refused(folder, "damaged|no LoRA adapter")


def dropped(state, key):
    return {k: v for k, v in state.items() if k != key}


KEY = "base_model.model.blocks.0.q_proj.lora_B.weight"


@pytest.mark.parametrize(
    "change, match",
    [
        (lambda state: dropped(state, KEY), f"lacks {KEY} .1 of 10"),
        (lambda state: {k: v for k, v in state.items() if "lora_A" in k}, "5 of 10"),
        (lambda state: {}, "10 of 10"),
        (lambda state: {k.removeprefix("base_model.model."): v for k, v in state.items()}, "lacks"),
        (lambda state: state | {"base_model.model.embed.lora_embedding_A": torch.ones(3, 13)}, "no place"),
        (lambda state: state | {KEY.replace("lora_B.weight", "lora_magnitude_vector"): torch.ones(11)}, "no place"),
        (lambda state: state | {KEY: state[KEY].T.contiguous()}, r"is \(3, 11\) in the file.*\(11, 3\)"),
        (lambda state: state | {KEY: state[KEY][:, :2].contiguous()}, "ask for"),
        (lambda state: state | {KEY: state[KEY].to(torch.int32)}, "int32"),
    ],
)
def test_tensors_that_do_not_fit(folder, change, match):
    path = folder / "adapter_model.safetensors"
    save_file(change(load_file(path)), path)
    refused(folder, match)


@pytest.mark.parametrize("keep", [0, 4, 100, 0.5, -1])
def test_a_file_that_was_cut_short(folder, keep):
    path = folder / "adapter_model.safetensors"
    whole = path.read_bytes()
    path.write_bytes(whole[: int(keep * len(whole)) if isinstance(keep, float) else keep])
    refused(folder, "damaged or cut short")


@pytest.mark.parametrize("name", ["adapter_config.json", "adapter_model.safetensors"])
def test_a_file_that_is_not_there(folder, name):
    (folder / name).unlink()
    refused(folder, name, FileNotFoundError)


def test_a_model_that_carries_one_already(folder):
    base = kind_of(Net())
    inject(base, ["head"])
    refused(folder, "head carries an adapter already", base=base)


def test_a_layer_at_several_places(folder):
    base = kind_of(Net())
    base.blocks[1].q_proj = base.blocks[0].q_proj
    refused(folder, "are one layer", base=base)


def test_a_rank_that_the_model_has_no_room_for(tmp_path):
    from_peft(Net, tmp_path, r=9)
    refused(tmp_path, "rank must be from 1 to 7")


@pytest.mark.parametrize("options", [{"groups": 3}, {"dilation": 2}, {"padding_mode": "circular"}])
def test_convolutions_that_peft_cannot_adapt(options, tmp_path):
    model = nn.Sequential(nn.Conv2d(3, 6, 3, padding=1, **options))
    adapt_weight(model[0], rank=3, alpha=8)
    with pytest.raises(ValueError, match="knows no groups"):
        write_peft_adapter(model, tmp_path, 3, 8, ["0"])
    from_peft(Pictures, tmp_path, target_modules=["first"])
    base = Pictures()
    base.first = nn.Conv2d(3, 6, (3, 2), stride=2, padding=1, **options)
    refused(tmp_path, "knows no groups", base=base)


@pytest.mark.parametrize(
    "arguments, match",
    [
        ((4, 8, TARGETS[Net]), "has rank 3 and scaling"),
        ((3, 7, TARGETS[Net]), "scaling 2.66667"),
        ((3, 8, ["q_proj", "head"]), "seq_proj is adapted and not named"),
        ((3, 8, ["q_proj", "seq_proj", "head", "norm"]), "norm is named by it and not adapted"),
        ((3, 8, "q_proj"), "not named"),
    ],
)
def test_arguments_that_do_not_describe_the_model(arguments, match, tmp_path):
    _, model = trained(Net)
    with pytest.raises(ValueError, match=match):
        write_peft_adapter(model, tmp_path / "new", *arguments)
    assert not (tmp_path / "new").exists()


def test_models_that_one_file_cannot_describe(tmp_path):
    with pytest.raises(ValueError, match="holds no adapter"):
        write_peft_adapter(Net(), tmp_path, 3, 8, ["head"])
    _, model = trained(Net)
    model.blocks[1].q_proj = model.blocks[0].q_proj
    with pytest.raises(ValueError, match="are one layer"):
        write_peft_adapter(model, tmp_path, 3, 8, TARGETS[Net])
    with pytest.raises(ValueError, match="The model"):
        write_peft_adapter(LoRALinear(nn.Linear(3, 4), 2, 8), tmp_path, 3, 8, [""])


def test_a_merge_of_a_model_that_was_read(tmp_path):
    base, theirs = from_peft(Net, tmp_path)
    read_peft_adapter(base, tmp_path)
    merged = theirs.merge_and_unload()
    torch.testing.assert_close(merge(base.blocks[0].q_proj).weight, merged.blocks[0].q_proj.weight)
