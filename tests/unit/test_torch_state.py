"""What a notebook sets in torch reaches neither the judge nor its probes, and is as it was afterwards."""

import contextlib

import pytest
import torch

import lora_ref
from autograde import registry

SETTINGS = {
    "gradients off": lambda: torch.set_grad_enabled(False),
    "float64": lambda: torch.set_default_dtype(torch.float64),
    "bfloat16": lambda: torch.set_default_dtype(torch.bfloat16),
    "another device": lambda: torch.set_default_device("meta"),
    "deterministic": lambda: torch.use_deterministic_algorithms(True, warn_only=True),
}
CHECKS = (
    "linear_by_hand",
    "lora_linear_init",
    "lora_linear_freeze",
    "lora_linear_forward",
    "lora_linear_placement",
    "merge",
)


def state():
    return (
        torch.is_grad_enabled(),
        torch.get_default_dtype(),
        torch.get_default_device(),
        torch.are_deterministic_algorithms_enabled(),
        torch.is_deterministic_algorithms_warn_only_enabled(),
    )


@contextlib.contextmanager
def restored():
    grad, dtype, device, deterministic, warn_only = state()
    try:
        yield
    finally:
        torch.set_grad_enabled(grad)
        torch.set_default_dtype(dtype)
        torch.set_default_device(None if device.type == "cpu" else device)
        torch.use_deterministic_algorithms(deterministic, warn_only=warn_only)


@pytest.mark.parametrize("setting", SETTINGS)
@pytest.mark.parametrize("name", CHECKS)
def test_a_setting_of_the_notebook_reaches_no_check_and_stays(name, setting):
    check = registry.current().find(name)
    with restored():
        SETTINGS[setting]()
        before = state()
        verdict = check.judge(getattr(lora_ref, check.subject), 3)
        assert verdict.passed, verdict.message
        assert state() == before


def test_inference_mode_around_a_check():
    with torch.inference_mode():
        assert registry.current().find("lora_linear_forward").judge(lora_ref.LoRALinear, 3).passed
        assert torch.is_inference_mode_enabled()


def test_an_answer_that_sets_something_leaves_the_next_check_alone():
    def linear_by_hand(x, weight, bias):
        torch.set_grad_enabled(False)
        torch.set_default_dtype(torch.float64)
        return torch.nn.functional.linear(x, weight, bias)

    before = state()
    assert registry.current().find("linear_by_hand").judge(linear_by_hand, 3).passed
    assert state() == before
