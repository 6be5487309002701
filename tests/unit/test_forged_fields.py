"""A wrong answer of which one field was replaced on its way to the judge: nothing is gained by values that no probe notes."""

import pytest
import torch
from encoded_session import encoded
from known_answers import CHECKS

from autograde.judge.describe import shape
from autograde.remote.wire import WireError

CHECK = {check.name: check for check in CHECKS}
LARGE = torch.ones(300, 300)
REPLACED = [
    ("lora_linear_forward", "base_without_gradient", ["gradients"], []),
    ("lora_linear_forward", "data_in_forward", ["gradients"], []),
    ("lora_linear_init", "both_random", ["held", "lora_B", "values"], torch.empty(0)),
    ("lora_linear_init", "seeded_inside", ["other_A"], None),
    ("lora_linear_init", "both_zero", ["held", "lora_A", "shape"], LARGE),
    ("LoRAWeight", "both_zero", ["fresh", "A", "shape"], LARGE),
]


@pytest.mark.parametrize(("name", "known", "path", "value"), REPLACED)
def test_a_wrong_answer_stays_wrong(name, known, path, value):
    def forge(answer):
        place = answer
        for key in path[:-1]:
            place = place[key]
        assert path[-1] in place
        place[path[-1]] = value
        return answer

    wrong = next(mistake.wrong for mistake in CHECK[name].misconceptions if mistake.id == known)
    verdict = CHECK[name].judge(encoded(wrong, forge), seed=1)
    assert verdict.score == 0 and len(verdict.message) < 5_000, verdict.message


@pytest.mark.parametrize("size", [LARGE, "a" * 10, [1.5], [True], list(range(1_000)), None])
def test_a_shape_that_no_tensor_has_is_not_shown(size):
    with pytest.raises(WireError, match="shape"):
        shape(size)
