"""What an answer must freeze, or leave alone, is not frozen already by code that runs before or after it: in a method of
torch that a cell has replaced, or in a hook of torch.
"""

import pytest
from known_answers import CHECKS
from torch import nn

CHECK = {check.name: check for check in CHECKS}


def freeze(module):
    """Freeze all of a module but its adapters."""
    for name, parameter in module.named_parameters():
        if name.rpartition(".")[2] not in ("lora_A", "lora_B", "A", "B"):
            parameter.requires_grad_(False)


def wrong(exercise, known):
    return next(mistake.wrong for mistake in CHECK[exercise].misconceptions if mistake.id == known)


@pytest.mark.parametrize(
    ("exercise", "known", "way"),
    [
        ("adapter_parameters", "all_that_train", "eval"),
        ("adapter_parameters", "all_that_train", "train"),
        ("adapter_parameters", "all_that_train", "load_state_dict"),
        pytest.param("fine_tune", "all_handed_over", "eval", marks=pytest.mark.slow),
        ("adapt_weight", "original_trains", "__call__"),
        ("adapt_weight", "bias_trains", "__call__"),
    ],
)
def test_a_method_that_freezes_gains_nothing(exercise, known, way, monkeypatch):
    method = getattr(nn.Module, way)

    def freezing(self, *arguments, **options):
        result = method(self, *arguments, **options)
        if type(self).__name__ in ("Model", "Linear", "Conv2d"):
            freeze(self)
        return result

    monkeypatch.setattr(nn.Module, way, freezing)
    verdict = CHECK[exercise].judge(wrong(exercise, known), seed=1)
    assert not verdict.passed, verdict.message
