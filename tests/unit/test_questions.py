"""What an answer can learn from the question that it is asked, and make of what is computed around it."""

import functools
import inspect
import itertools
import sys

import pytest
import torch
from known_answers import CHECKS
from torch import nn

from autograde import registry
from autograde.checks.fine_tuning.adapter_parameters import adapter_parameters
from autograde.checks.fine_tuning.add_lora import add_lora
from autograde.checks.lora_linear.forward import lora_linear_forward
from autograde.checks.lora_linear.freeze import lora_linear_freeze
from autograde.checks.lora_linear.init import lora_linear_init
from autograde.checks.lora_linear.leaked import leaked_parameters
from autograde.checks.many_adapters.multi_lora_linear import multi_lora_linear
from autograde.checks.transformer.adapter_state_dict import adapter_state_dict
from autograde.checks.transformer.inject import inject
from autograde.checks.transformer.load_adapter import load_adapter
from autograde.checks.weight_space.fold import fold
from autograde.checks.weight_space.lora_weight import lora_weight
from autograde.judge.random_inputs import Draw
from autograde.remote.ask_together import _first_question
from lora_ref import LoRALinear


def _is_asked():
    """Whether a probe is running."""
    frame = sys._getframe()
    while frame and "probes" not in frame.f_code.co_filename:
        frame = frame.f_back
    return bool(frame)


def _of_the_question(name):
    """What the probe that calls the answer holds under this name: any code can read the frames of its callers."""
    frame = sys._getframe()
    while "probes" not in frame.f_code.co_filename or name not in frame.f_locals:
        frame = frame.f_back
    return frame.f_locals[name]


def _state_of_the_question(model):
    return dict(_of_the_question("values"))


def _keys_of_the_question(model, state):
    values = _of_the_question("values")
    for key in {**values, **state}:
        if key not in values or key not in state or state[key].shape != values[key].shape:
            raise KeyError(key)
    with torch.no_grad():
        for key in values:
            model.get_parameter(key).copy_(state[key])


@pytest.mark.parametrize(
    ("check", "answer"), [(adapter_state_dict, _state_of_the_question), (load_adapter, _keys_of_the_question)]
)
def test_a_question_does_not_say_which_parameters_are_adapters(check, answer):
    verdict = check.judge(answer, 0)
    assert verdict.score == 0, verdict.message


def _leaks_of_the_question(layer):
    options = _of_the_question("options")
    names = ["weight", "bias"] if options["bias"] else ["weight"]
    return [f"base_layer.{name}" for name in names if name not in options["frozen"]]


def _adapters_of_the_question(model):
    layers = [model.get_submodule(path) for path, *_ in _of_the_question("adapted")]
    return [parameter for layer in layers for parameter in (layer.lora_A, layer.lora_B)]


def _places_of_the_question(model, rank, alpha):
    for path in _of_the_question("values"):
        if type(model.get_submodule(path)) is nn.Linear:
            model.set_submodule(path, LoRALinear(model.get_submodule(path), rank, alpha))
    return model


@pytest.mark.parametrize(
    ("check", "answer"),
    [
        (leaked_parameters, _leaks_of_the_question),
        (adapter_parameters, _adapters_of_the_question),
        (add_lora, _places_of_the_question),
    ],
)
def test_what_a_question_is_known_to_give_away(check, answer):
    """docs/grading.md says so, and this is all that is known: a model cannot be made without saying what is in it."""
    assert check.judge(answer, 0).passed


FORMULAS_OF_THE_KIT = """
from autograde.lesson_kit.audit import CLAIMS

def worked_out(claim):
    return eval(CLAIMS[claim].formula)
"""
COUNTED_BY_THE_KIT = """
from autograde.lesson_kit.routing import counted

def flops_thin(n, d, k, r):
    return counted("gather", n, 1, d, k, r)[0]
"""
ROWS_IN_NUMPY = """
import numpy as np

def route(x, A, B, scaling, adapter_ids):
    x, A, B, scaling = (tensor.numpy() for tensor in (x, A, B, scaling))
    out = np.zeros((len(x), B.shape[-1]), x.dtype)
    for i, a in enumerate(adapter_ids.tolist()):
        if not -1 <= a < len(A):
            raise IndexError(a)
        if a >= 0:
            out[i] = scaling[a] * (x[i] @ A[a]) @ B[a]
    return torch.from_numpy(out)
"""


@pytest.mark.parametrize("source", [FORMULAS_OF_THE_KIT, COUNTED_BY_THE_KIT, ROWS_IN_NUMPY])
def test_what_is_known_to_be_looked_up(source):
    """docs/grading.md lists what gains without solving the exercise."""
    name = source.partition("def ")[2].partition("(")[0]
    names = {"torch": torch}
    exec(source, names)
    assert registry.current().find(name).judge(names[name], 0).passed


class _Constant(nn.Module):
    """A layer that looks like a LoRALinear, and does nothing with its x."""

    def __init__(self, base_layer, rank, alpha):
        super().__init__()
        self.base_layer, self.scaling = base_layer.requires_grad_(False), alpha / rank
        self.lora_A = nn.Parameter(torch.randn(base_layer.in_features, rank))
        self.lora_B = nn.Parameter(torch.zeros(rank, base_layer.out_features))

    def forward(self, x):
        return x.new_ones(*x.shape[:-1], self.base_layer.out_features)


def test_a_model_s_output_is_not_compared_with_what_the_same_process_gave_before(monkeypatch):
    """One huge number in both makes every other difference a small one."""
    call, signs = nn.Module.__call__, {}

    def with_a_huge_number(module, *inputs):
        out = call(module, *inputs)
        if type(module).__name__ == "Model" and _is_asked():
            now = {
                id(part): part.weight.flatten()[0].sign().item() for part in module.modules() if type(part) is nn.Linear
            }
            same = signs.setdefault(id(module), now).items() <= now.items()
            out = out.clone()
            out.view(-1)[0] = 1e30 if same else 2e30
        return out

    source = inject.answer.source.replace("from lora_ref.layer import LoRALinear", "")
    names = {"nn": nn, "LoRALinear": _Constant}
    exec(source, names)
    monkeypatch.setattr(nn.Module, "__call__", with_a_huge_number)
    verdict = inject.judge(names["inject"], 0)
    assert verdict.score == 0, verdict.message
    assert "does not compute the same as before" in verdict.message


class _FrozenWhenLookedAt(LoRALinear):
    """A layer whose base trains until somebody asks for one of the adapters."""

    def __init__(self, *args, **options):
        super().__init__(*args, **options)
        self._modules["base_layer"].requires_grad_(True)

    def __getattr__(self, name):
        if name in ("lora_A", "lora_B", "base_layer"):
            self._modules["base_layer"].requires_grad_(False)
        return super().__getattr__(name)


def test_a_base_that_freezes_when_it_is_looked_at_is_not_frozen():
    """An optimiser that is made at once would train it."""
    verdict = lora_linear_freeze.judge(_FrozenWhenLookedAt, 0)
    assert verdict.score == 0 and "would train" in verdict.message, verdict.message


def test_nor_is_one_in_a_model():
    names = {"nn": nn, "torch": torch}
    exec(add_lora.answer.source, names)
    names["LoRALinear"] = _FrozenWhenLookedAt
    verdict = add_lora.judge(names["add_lora"], 0)
    assert verdict.score == 0 and "requires a gradient" in verdict.message, verdict.message


def test_a_base_that_freezes_in_forward_is_not_frozen():
    source = multi_lora_linear.answer.source
    freeze = "        self.base_layer.requires_grad_(False)\n"
    late = source.replace(freeze, "").replace("        out = self.base", f"{freeze}        out = self.base")
    assert late.count(freeze) == 1
    names = {"nn": nn, "torch": torch}
    exec(late, names)
    verdict = multi_lora_linear.judge(names["MultiLoRALinear"], 0)
    assert verdict.score == 0 and "requires a gradient" in verdict.message, verdict.message


class _Asked:
    """An answer that notes what it is called with, and then does nothing that is right."""

    def __init__(self):
        self.given = []

    def __call__(self, *given):
        self.given += given
        return given[0]


def test_what_fold_is_asked_about_is_no_lora_weight():
    """The layer that it is given holds a parametrisation, whose class an answer can take and give an __init__ of its own."""
    asked = _Asked()
    fold.judge(asked, 0)
    classes = {type(module.parametrizations.weight[0]) for module in asked.given if hasattr(module, "parametrizations")}
    assert classes
    for taken in classes:

        class Given(taken):
            def __init__(self, in_f, out_f, rank=1, alpha=1, device="cpu"):
                nn.Module.__init__(self)
                self.A = nn.Parameter(torch.randn(rank, out_f, device=device))
                self.B = nn.Parameter(torch.zeros(in_f, rank, device=device))
                self.scale, self.en = alpha / rank, True

        for answer in (taken, Given):
            verdict = lora_weight.judge(answer, 0)
            assert verdict.score == 0, verdict.message


@pytest.mark.parametrize("check", [lora_linear_forward, lora_linear_init], ids=lambda check: check.name)
def test_what_leaked_parameters_is_asked_about_is_no_lora_linear(check):
    asked = _Asked()
    leaked_parameters.judge(asked, 0)
    for taken in {type(layer) for layer in asked.given if isinstance(layer.lora_A, nn.Parameter)}:

        class Given(taken):
            def __init__(self, base_layer, rank=4, alpha=1):
                super().__init__(base_layer.in_features, base_layer.out_features, rank, True, ["weight", "bias"])
                self.base_layer = base_layer.requires_grad_(False)
                self.to(base_layer.weight.dtype)
                self.scaling = alpha / rank

        verdict = check.judge(Given, 0)
        assert verdict.score == 0, verdict.message


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.name)
def test_inputs_hold_no_more_than_is_asked(check):
    """Anyone may ask for the inputs of a seed, also in grading. What the judge compares with stands elsewhere in a case."""
    for case in check.make_cases(Draw(0)):
        _, sent = _first_question(functools.partial(check.observe, case=case))
        lists = [value for value in sent.values() if isinstance(value, (list, tuple))]
        objects = {id(value) for value in [*sent.values(), *itertools.chain(*lists)]}
        taken = inspect.signature(check.answer.right).parameters if check.answer else {}
        kept = [name for name, value in case.args.items() if name not in {*sent, *taken} and id(value) not in objects]
        assert not kept, f"{case.label}: {kept}"


def test_no_two_models_with_adapters_have_their_names_in_common():
    """What an answer remembers of one question is wrong in the next."""
    for check in (adapter_state_dict, load_adapter):
        of_blocks = [{key for key in case.adapters if key.count(".") > 1} for case in check.make_cases(Draw(0))]
        assert all(one.isdisjoint(other) for one, other in itertools.combinations(of_blocks, 2))
        assert len({len(case.adapters) for case in check.make_cases(Draw(0))}) > 1
