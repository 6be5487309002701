"""A wrong answer of which one field was replaced on its way to the judge: nothing is gained by values that no probe notes."""

import pytest
import torch
from encoded_session import encoded
from known_answers import CHECKS

from autograde.judge.compare import agree, fault_between
from autograde.judge.describe import shape
from autograde.remote.wire import WireError, decode, encode

CHECK = {check.name: check for check in CHECKS}
LARGE = torch.ones(300, 300)
REPLACED = [
    ("lora_linear_forward", "base_without_gradient", ["gradients"], []),
    ("lora_linear_forward", "data_in_forward", ["gradients"], []),
    ("lora_linear_init", "both_random", ["held", "lora_B", "values"], torch.empty(0)),
    ("lora_linear_init", "seeded_inside", ["other_A"], None),
    ("lora_linear_init", "both_zero", ["held", "lora_A", "shape"], LARGE),
    ("LoRAWeight", "both_zero", ["fresh", "A", "shape"], LARGE),
    ("adapt_weight", "bias_trains", ["bias", 1], False),
    ("load_adapter", "half_loaded", ["changed"], []),
]
# In place of a list of names, which would be gone through.
LONG = [
    ("fold", ["parameters"]),
    ("LoRAWeight", ["elsewhere"]),
    ("lora_linear_freeze", ["trains"]),
    ("adapter_parameters", ["items"]),
    ("adapter_state_dict", ["graph"]),
    ("load_adapter", ["changed"]),
    ("fine_tune", ["trains"]),
    ("write_peft_adapter", ["changed"]),
]


def replaced(answer, path, value):
    """The answer of a probe with one field replaced, where it has that field."""
    place = answer
    for key in path[:-1]:
        place = place.get(key, {}) if isinstance(place, dict) else place[key]
    if isinstance(place, list) or isinstance(place, dict) and path[-1] in place:
        place[path[-1]] = value
    return answer


@pytest.mark.parametrize(("name", "known", "path", "value"), REPLACED)
def test_a_wrong_answer_stays_wrong(name, known, path, value):
    def forge(answer):
        return replaced(answer, path, value)

    wrong = next(mistake.wrong for mistake in CHECK[name].misconceptions if mistake.id == known)
    honest, verdict = (CHECK[name].judge(seen, seed=1) for seen in (encoded(wrong), encoded(wrong, forge)))
    assert not verdict.passed and verdict.score <= honest.score and len(verdict.message) < 5_000, verdict.message


@pytest.mark.parametrize(("name", "path"), LONG)
def test_nobody_goes_through_a_long_tensor(name, path, monkeypatch):
    """It would take the judge seconds: a tensor that is iterated makes a tensor of each of its entries."""
    gone_through = []
    of_torch = torch.Tensor.__iter__

    def noted(tensor):
        gone_through.extend([tuple(tensor.shape)] * (len(tensor) > 10_000))
        return of_torch(tensor)

    monkeypatch.setattr(torch.Tensor, "__iter__", noted)
    long = torch.zeros(50_000)
    right = encoded(CHECK[name].answer.right, lambda answer: replaced(answer, path, long))
    verdict = CHECK[name].judge(right, seed=1)
    assert not gone_through and verdict.score == 0 and len(verdict.message) < 5_000, verdict.message


def test_a_long_tensor_is_compared_as_any_other():
    value = decode(encode(torch.ones(50_000, dtype=torch.float64)))
    assert agree(value, torch.ones(50_000)) and type(value + 1) is torch.Tensor
    assert fault_between(value, "torch.Tensor", torch.ones(50_000), dtype=torch.float64) is None
    assert "sequence" in fault_between(value, "torch.Tensor", (1, 2)).problem


@pytest.mark.parametrize("size", [LARGE, "a" * 10, [1.5], [True], list(range(1_000)), None])
def test_a_shape_that_no_tensor_has_is_not_shown(size):
    with pytest.raises(WireError, match="shape"):
        shape(size)
