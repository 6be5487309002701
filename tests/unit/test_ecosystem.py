"""Lesson 11's checks: the reader of adapter folders says what the real PEFT does, and hostile folders do no harm."""

import copy
import json
import math
import warnings

import pytest
import torch
from real_peft import peft
from safetensors.torch import load, save
from torch import nn

from autograde.checks.ecosystem import peft_reader
from autograde.checks.ecosystem.write_peft_adapter import GIVEN, answer, write_peft_adapter
from autograde.probes.ecosystem import make_model, written

RANK, ALPHA = 3, 7
CONFIG, TENSORS = peft_reader.CONFIG, peft_reader.TENSORS
KEY = "base_model.model.blocks.0.q_proj"


def part(name, rows, columns, adapted=True):
    made = {"name": name, "weight": torch.randn(rows, columns), "bias": None}
    return made | ({"A": torch.randn(columns, RANK), "B": torch.randn(RANK, rows)} if adapted else {})


torch.manual_seed(0)
PARTS = [
    part("blocks.0.q_proj", 7, 5),
    part("blocks.0.seq_proj", 5, 7, adapted=False),
    {"name": "blocks.0.norm", "size": 5},
    part("blocks.1.q_proj", 4, 4),
]
BASE = make_model(
    [{key: value for key, value in each.items() if key not in "AB"} for each in PARTS], GIVEN, RANK, ALPHA
)
MODULES = {name: None for name, _ in BASE.named_modules()}
MODULES |= {each["name"]: tuple(each["weight"].shape) for each in PARTS if "weight" in each}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The right answer's files, as bytes."""
    at = tmp_path_factory.mktemp("right")
    answer.right(make_model(PARTS, GIVEN, RANK, ALPHA), at, RANK, ALPHA, ["q_proj"])
    return {name: (at / name).read_bytes() for name in (CONFIG, TENSORS)}


def config(**changes):
    def change(files):
        said = json.loads(files[CONFIG]) | changes
        return files | {CONFIG: json.dumps({key: value for key, value in said.items() if value is not ...}).encode()}

    return change


def tensors(edit):
    return lambda files: files | {TENSORS: save({k: t.contiguous() for k, t in edit(load(files[TENSORS])).items()})}


def renamed(old, new):
    return tensors(lambda state: {key.replace(old, new): tensor for key, tensor in state.items()})


def without(*words):
    return tensors(lambda state: {key: t for key, t in state.items() if not all(word in key for word in words)})


def with_(**more):
    return tensors(lambda state: state | more)


CHANGES = {
    "right": lambda files: files,
    "a float for alpha": config(lora_alpha=6.5),
    "no alpha": config(lora_alpha=...),
    "alpha is a text": config(lora_alpha="16"),
    "no rank": config(r=...),
    "another rank": config(r=2),
    "rank 0": config(r=0),
    "rank is a text": config(r="3"),
    "no type": config(peft_type=...),
    "another type": config(peft_type="LOHA", r=RANK),
    "small letters": config(peft_type="lora"),
    "rank-stabilised": config(use_rslora=True),
    "PEFT's entries": config(bias="none", lora_dropout=0.1, inference_mode=True, task_type=None, fan_in_fan_out=False),
    "unknown entry": config(rank=RANK),
    "start True": config(init_lora_weights=True),
    "start False": config(init_lora_weights=False),
    "start Gaussian": config(init_lora_weights="gaussian"),
    "no targets": config(target_modules=...),
    "targets None": config(target_modules=None),
    "empty targets": config(target_modules=[]),
    "targets nowhere": config(target_modules=["k_proj"]),
    "one full name": config(target_modules=["blocks.1.q_proj"]),
    "full names": config(target_modules=["blocks.0.q_proj", "blocks.1.q_proj"]),
    "part of a name": config(target_modules=["proj"]),
    "half a path": config(target_modules=["0.q_proj"]),
    "one more Linear": config(target_modules=["q_proj", "seq_proj"]),
    "a norm": config(target_modules=["q_proj", "norm"]),
    "a container": config(target_modules=["q_proj", "blocks"]),
    "targets joined": config(target_modules="q_proj,seq_proj"),
    "targets as text": config(target_modules="q_proj"),
    "a pattern": config(target_modules=r".*\.q_proj"),
    "a pattern for one": config(target_modules=r"blocks\.1\..*q_proj"),
    "a pattern that is none": config(target_modules="*q"),
    "no A": without("lora_A"),
    "no B": without("lora_B"),
    "one B missing": without("lora_B", ".1."),
    "nothing": without(),
    "no beginning": renamed("base_model.model.", ""),
    "half a beginning": renamed("base_model.model.", "model."),
    "no ending": renamed(".weight", ""),
    "with base_layer": renamed("q_proj.", "q_proj.base_layer."),
    "an adapter's name": renamed("lora_A.weight", "lora_A.default.weight"),
    "another adapter's name": renamed("lora_A.weight", "lora_A.mine.weight"),
    "small letters in names": renamed("lora_A", "lora_a"),
    "sides swapped": lambda files: renamed("lora_X", "lora_B")(renamed("lora_B", "lora_A")(renamed("lora_A", "lora_X")(files))),
    "one more": with_(**{"base_model.model.tail.lora_A.weight": torch.ones(3, 4)}),
    "transposed": tensors(lambda state: {key: tensor.T for key, tensor in state.items()}),
    "square ones transposed": tensors(lambda state: {k: t.T if t.shape[0] == t.shape[1] else t for k, t in state.items()}),
    "in half": tensors(lambda state: {key: tensor.half() for key, tensor in state.items()}),
    "float64": tensors(lambda state: {key: tensor.double() for key, tensor in state.items()}),
    "cut short": lambda files: files | {TENSORS: files[TENSORS][:-5]},
    "no tensors": lambda files: {CONFIG: files[CONFIG]},
    "no config": lambda files: {TENSORS: files[TENSORS]},
    "config is no JSON": lambda files: files | {CONFIG: b"{'r': 3}"},
    "config is a list": lambda files: files | {CONFIG: b"[]"},
}  # fmt: skip


def by_peft(files, at):
    """``(changes of the weights, None)`` or ``(None, the name of what PEFT raises)``."""
    for name, content in files.items():
        (at / name).write_bytes(content)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.manual_seed(1)
        try:
            model = peft.PeftModel.from_pretrained(copy.deepcopy(BASE), at).base_model.model
        except Exception as error:
            return None, type(error).__name__
    return {
        name: module.get_delta_weight("default").detach()
        for name, module in model.named_modules()
        if hasattr(module, "get_delta_weight")
    }, None


@pytest.mark.parametrize("name", CHANGES)
def test_the_reader_says_what_peft_does(name, folder, tmp_path):
    files = CHANGES[name](dict(folder))
    theirs, raised = by_peft(files, tmp_path)
    try:
        ours = peft_reader.read(files, MODULES)
    except peft_reader.Stop as stop:
        # Where it names no exception, the reader gives up on what is no plain LoRA, and PEFT may well go on.
        assert stop.raises in ("", raised), (stop, raised)
        return
    assert raised is None
    assert ours.adapters.keys() == theirs.keys()
    for module, change in theirs.items():
        A, B, _ = ours.adapters[module]
        if B is None:
            assert not change.any()
        elif A is not None:  # without its A, PEFT's is random
            torch.testing.assert_close(peft_reader.delta(ours.adapters[module]).float(), change, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("entry", sorted(peft_reader.OTHER_KINDS | peft_reader.WITHOUT_EFFECT))
def test_the_entries_are_peft_s(entry):
    assert hasattr(peft.LoraConfig(), entry)


def test_every_entry_of_peft_s_config_is_known():
    known = peft_reader.OTHER_KINDS | peft_reader.WITHOUT_EFFECT | set(peft_reader.DEFAULTS)
    assert set(peft.LoraConfig().to_dict()) - known <= {"peft_type", "target_modules", "runtime_config"}


HOSTILE = {
    "nested": {CONFIG: b"[" * 100_000},
    "a long pattern": {CONFIG: json.dumps({"peft_type": "LORA", "target_modules": "(((a+)+)+)+" * 5}).encode()},
    "a slow pattern": {CONFIG: json.dumps({"peft_type": "LORA", "target_modules": "(.*)*(.*)*(.*)*x"}).encode()},
    "a huge header": {TENSORS: (2**62).to_bytes(8, "little") + b"{}"},
    "no bytes": {CONFIG: b"", TENSORS: b""},
    "numbers out of range": {
        CONFIG: b'{"peft_type": "LORA", "r": 3, "lora_alpha": 1e999, "target_modules": ["q_proj"]}'
    },
    "an alpha beyond any float": {
        CONFIG: b'{"peft_type": "LORA", "r": 3, "lora_alpha": 1' + b"0" * 400 + b', "target_modules": ["q_proj"]}'
    },
    "targets of all kinds": {CONFIG: b'{"peft_type": "LORA", "r": 3, "target_modules": [1, null, {}]}'},
    "a start of another kind": {
        CONFIG: b'{"peft_type": "LORA", "r": 3, "init_lora_weights": {}, "target_modules": ["q"]}'
    },
    "a type of another kind": {CONFIG: b'{"peft_type": ["LORA"]}'},
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_folders_are_refused_at_once(name, folder):
    with pytest.raises(peft_reader.Stop):
        peft_reader.read(folder | HOSTILE[name], MODULES)


@pytest.mark.parametrize(
    "pattern", ["(.|.)*x", "(.?.?)+x", "((.+)+)+x", "(?x)(.|.) *x", "(.|.)(?#-)*x", "(?x)(.|.)#\n*x", "(|)" * 9 + "x"]
)
def test_patterns_that_could_take_for_ever_are_not_tried(pattern):
    """Each alternative in a repeated group doubles the ways for each letter of a name."""
    config = {"peft_type": "LORA", "target_modules": pattern}
    with pytest.raises(peft_reader.Stop) as stopped:
        peft_reader.read({CONFIG: json.dumps(config).encode()}, {"q_proj": (3, 3)})
    assert stopped.value.kind == "pattern"


@pytest.mark.parametrize(
    "pattern", [r".*\.(q|k|v|o|up|gate|down)_proj", r"(?:.*\.)*q_proj", r"(blocks\.[0-9]+\.)?q_proj"]
)
def test_patterns_as_people_write_them_are_tried(pattern):
    config = {"peft_type": "LORA", "target_modules": pattern}
    with pytest.raises(peft_reader.Stop) as stopped:
        peft_reader.read({CONFIG: json.dumps(config).encode()}, {"blocks.0.q_proj": (3, 3)})
    assert stopped.value.kind == "no tensors", "which comes after the targets"


@pytest.mark.parametrize("dtype", [torch.int8, torch.bool, torch.float8_e4m3fn])
def test_tensors_of_other_kinds_get_a_verdict(dtype):
    def wrong(model, directory, rank, alpha, target_modules):
        answer.right(model, directory, rank, alpha, target_modules)
        path = directory / TENSORS if hasattr(directory, "joinpath") else f"{directory}/{TENSORS}"
        with open(path, "rb") as file:
            state = load(file.read())
        with open(path, "wb") as file:
            file.write(save({key: tensor.to(dtype) for key, tensor in state.items()}))

    assert not write_peft_adapter.judge(wrong, 0).passed


def test_not_a_number_is_not_right():
    def wrong(model, directory, rank, alpha, target_modules):
        with torch.no_grad():
            copied = copy.deepcopy(model)
            for name, parameter in copied.named_parameters():
                if name.endswith("lora_B"):
                    parameter.fill_(math.nan)
        answer.right(copied, directory, rank, alpha, target_modules)

    verdict = write_peft_adapter.judge(wrong, 0)
    assert not verdict.passed


def test_lora_ref_passes():
    from autograde.checks.ecosystem import CHECKS
    from lora_ref import dora_weight, pissa_as_lora, portable_alpha, rs_scaling
    from lora_ref import write_peft_adapter as reference

    for function in (reference, rs_scaling, portable_alpha, dora_weight, pissa_as_lora):
        check = next(check for check in CHECKS if check.name == function.__name__)
        assert check.judge(function, 0).passed


def test_what_the_probe_brings_back_is_small():
    def large(model, directory, *_):
        directory.mkdir()
        (directory / TENSORS).write_bytes(bytes(3 * 2**20))
        for i in range(100):
            (directory / f"{i}.txt").write_text("x")

    asked = {
        "parts": PARTS,
        "given": GIVEN,
        "rank": RANK,
        "alpha": ALPHA,
        "target_modules": ["q_proj"],
        "folder": "a",
        "there": {},
    }
    seen = written(large, **asked, as_text=False)
    assert len(seen["files"]) <= 20 and len(seen["names"]) <= 20
    assert all(content.numel() <= 2**20 + 1 for content in seen["files"].values())


def test_the_answer_may_be_a_class_that_is_called():
    class Writer:
        def __call__(self, *arguments):
            return answer.right(*arguments)

    assert write_peft_adapter.judge(Writer(), 0).passed
    assert not write_peft_adapter.judge(nn.Linear(2, 2), 0).passed
