"""An exception of the learner's code is answered by its kind, whatever the exercise, and charged once."""

import ast
import collections

import pytest
import torch
from known_answers import CHECKS, COURSE, SAMPLES, checks_of, defined

from autograde.judge import exceptions
from autograde.judge.make_verdict import AT_YOUR_LINE
from autograde.judge.present import CheckFailed
from autograde.remote.call import call

RAISING = {
    exceptions.DTYPE: "torch.ones(2, 2) @ torch.ones(2, 2, dtype=torch.float64)",
    exceptions.DEVICE: "torch.ones(2, device='meta').to('cpu')",
    exceptions.NONE: "torch.ones(2, 2) + None",
    exceptions.ATTRIBUTE: "torch.nn.Linear(2, 3).wieght",
    exceptions.NAME: "tensro = tensor",
    exceptions.BACKWARD: "y = torch.ones(1, requires_grad=True).exp().sum(); y.backward(); y.backward()",
}
ANOTHER_CAUSE = {
    ("load_adapter", exceptions.NONE),  # what cannot be loaded is refused by its key, and this says no key
    ("MergeableLoRALinear", exceptions.NONE),  # unmerge finds None where merge has kept nothing
    ("MergeableLoRALinear", exceptions.BACKWARD),  # its methods are called without gradients: there is no graph
}

RIGHT = [
    (check, next(sample for sample in SAMPLES if check in checks_of(sample) and sample.misconception is None))
    for check in CHECKS
]


def planted(source, line):
    """The source with `line` as the first of a function, once for each function: ``[(name of the function, source)]``."""
    functions = [node for node in ast.walk(ast.parse("import torch\n" + source)) if isinstance(node, ast.FunctionDef)]
    for function in functions:
        lines = ["import torch", *source.splitlines()]
        lines.insert(function.body[0].lineno - 1, " " * function.body[0].col_offset + line)
        yield function.name, "\n".join(lines) + "\n"


QUESTIONS = [
    pytest.param(check, sample, kind, id=f"{check.name}-{kind}", marks=[pytest.mark.slow] * (kind != exceptions.NAME))
    for check, sample in RIGHT
    for kind in RAISING
    if (check.name, kind) not in ANOTHER_CAUSE
]


@pytest.mark.parametrize(("check", "sample", "kind"), QUESTIONS)
def test_an_exception_is_answered_by_its_kind(check, sample, kind):
    failed = 0
    for where, source in planted(sample.source, RAISING[kind]):
        verdict = check.judge(defined(source, check.subject), 3)
        if verdict.passed:  # it raises in what another check looks at, or the answer catches it
            continue
        failed += 1
        assert verdict.status == "failed" and verdict.misconception is None, f"{where}: {verdict.message}"
        if kind in (exceptions.ATTRIBUTE, exceptions.NAME):
            assert "There is no" in verdict.hint, f"{where}: {verdict.message}"
        else:
            assert verdict.hint == exceptions._HINTS[kind], f"{where}: {verdict.message}"
    assert failed or check.name == "exposes"  # a test may call whatever raises an exposed layer


@pytest.mark.parametrize("kind", [kind for kind in RAISING if kind != exceptions.DEVICE])
def test_a_forward_that_raises_is_charged_by_one_check(kind):
    checks = [check for check in CHECKS if check.subject == "LoRALinear"]
    source = next(sample.source for check, sample in RIGHT if check is checks[0])
    layer = defined(dict(planted(source, RAISING[kind]))["forward"], "LoRALinear")
    assert [check.name for check in checks if not check.judge(layer, 3).passed] == ["lora_linear_forward"]


def test_only_an_untouched_stub_is_not_started():
    stub = 'def answer(x):\n    """It says what to do."""\n    raise NotImplementedError()\n'
    begun = "def answer(x):\n    print(x.shape)\n    raise NotImplementedError()\n"
    of_torch = "def answer(x):\n    return x.to('meta').to('cpu')\n"
    x = [COURSE.find("linear_by_hand").inputs(1)[0]["x"]]
    errors = [call(defined(source, "answer"), args=x)["raised"] for source in (stub, begun, of_torch)]
    assert [exceptions.is_untouched(error) for error in errors] == [True, False, False]
    assert exceptions.hint_for(errors[1]) == exceptions.STUB_LEFT


@pytest.mark.parametrize(
    ("name", "line"),
    [("math", "import math"), ("np", "import numpy as np"), ("F", "import torch.nn.functional as F"), ("cmat", None)],
)
def test_a_module_that_was_not_imported(name, line):
    error = {"type": "NameError", "bases": ["NameError"], "message": f"name '{name}' is not defined", "near": "format"}
    hint = exceptions.hint_for(error)
    assert (f"write {line} at the top" in hint) if line else ("Did you mean format?" in hint)


@pytest.mark.parametrize(
    ("name", "near"), [("r", ""), ("X", "x"), ("wieght", "weight"), ("retrun", "return"), ("q", "")]
)
def test_a_name_is_suggested_where_it_is_close(name, near):
    answer = defined(f"def answer(x, weight=None, rank=None):\n    return {name}\n", "answer")
    assert call(answer, args=[1])["raised"]["near"] == near


def test_shapes_that_meet_in_a_loss_get_the_hint_for_losses():
    answer = defined("def answer(x):\n    return F.mse_loss(x, torch.ones(3))\n", "answer")
    assert exceptions.hint_for(call(answer, args=[torch.ones(4, 10)])["raised"]) == exceptions.OF_A_LOSS
    answer = defined("def answer(x):\n    return x + torch.ones(3)\n", "answer")
    assert exceptions.hint_for(call(answer, args=[torch.ones(4, 10)])["raised"]) == ""


@pytest.mark.parametrize(
    ("line", "at_the_line"), [("[1, 2][3]", True), ("return 3", False), ("return weight @ x @ x", False)]
)
def test_what_stops_with_an_unknown_exception_gets_no_advice_on_its_result(line, at_the_line):
    check = COURSE.find("linear_by_hand")
    verdict = check.judge(defined(f"def linear_by_hand(x, weight, bias):\n    {line}\n", "linear_by_hand"), 3)
    assert (verdict.hint == AT_YOUR_LINE) == at_the_line, verdict.message


def changed_parameters(source, subject):
    """The source of an answer whose function, or whose class's ``__init__``, has lost its last parameter, or got one more."""
    for change in (
        lambda arguments: arguments.args.pop(),
        lambda arguments: arguments.args.append(ast.arg("one_more")),
    ):
        tree = ast.parse(source)
        found = next(node for node in tree.body if getattr(node, "name", None) == subject)
        if isinstance(found, ast.ClassDef):
            found = next(node for node in found.body if getattr(node, "name", None) == "__init__")
        change(found.args)
        found.args.defaults = []
        yield ast.unparse(tree)


@pytest.mark.parametrize("name", ["linear_by_hand", "merge", "lora_parameters", "adapt_weight"])
def test_other_parameters_than_those_of_the_stub(name):
    check, sample = next(pair for pair in RIGHT if pair[0].name == name)
    for source in changed_parameters(sample.source, check.subject):
        verdict = check.judge(defined(source, check.subject), 3)
        assert verdict.hint == exceptions.PARAMETERS_CHANGED, verdict.message


def test_parameters_of_a_function_of_their_own_are_those_of_its_def_line():
    answer = defined("def helper(x):\n    return x\n\ndef answer(x):\n    return helper(x, x)\n", "answer")
    assert exceptions.hint_for(call(answer, args=[1])["raised"]) == exceptions.CALLED_WITH_OTHERS


@pytest.mark.parametrize(
    ("line", "hint"),
    [
        ("bool(torch.ones(2) > 0)", "single True or False"),
        ("torch.ones(2).sum().backward()", "what cuts the graph"),
        ("torch.log_softmax(torch.arange(3), 0)", "tensor of integers"),
        ("torch.optim.Adam(iter(()))", "The optimiser got no parameters"),
        ("torch.ones(2).sum().item().backward()", "of type float"),
        ("(torch.ones(2),).shape", "of type tuple"),
        ("nn.Linear(2, 3).weight = torch.ones(3, 2)", "cannot assign a plain tensor"),
        ("nn.Parameter(torch.ones(2)).weight", "the tensor itself"),
        ("nn.Linear(2, 3).device", "its tensors have"),
    ],
)
def test_a_kind_of_exception_has_a_hint_of_its_own(line, hint):
    answer = defined(f"def answer():\n    {line}\n", "answer")
    assert hint in exceptions.hint_for(call(answer, args=[])["raised"])


def test_a_loop_over_what_its_body_changes():
    def grows(x):
        for key in x:
            x[key + 1] = key

    def shrinks(x):
        items = collections.deque(x)
        for item in items:
            items.remove(item)

    for function in (grows, shrinks):
        hint = exceptions.hint_for(call(function, args=[{1: 1, 2: 2}])["raised"])
        assert hint == exceptions.CHANGED_IN_LOOP


def test_nan_is_followed_to_where_it_comes_from():
    for name, source in [
        ("linear_by_hand", "linear_by_hand = lambda x, weight, bias: x @ weight.T * float('nan')"),
        ("reduction", "reduction = lambda d, k, r: float('nan')"),
    ]:
        verdict = COURSE.find(name).judge(defined(source, name), 3)
        assert verdict.hint.startswith("nan comes from"), verdict.message


def test_an_interrupted_check_shows_the_learner_s_line():
    interrupted = "raise KeyboardInterrupt"  # as the stop button raises it, in whatever line is running
    answer = defined(f"def linear_by_hand(x, weight, bias):\n    {interrupted}\n", "linear_by_hand")
    with pytest.raises(CheckFailed) as stop:
        COURSE.find("linear_by_hand")(answer)
    assert "The check was interrupted while your code was running." in str(stop.value)
    assert "of linear_by_hand: raise KeyboardInterrupt" in str(stop.value)
