"""Lesson 08: adapters put into a model, collected, and trained."""

from autograde.checks.fine_tuning.adapter_parameters import adapter_parameters
from autograde.checks.fine_tuning.add_lora import add_lora
from autograde.checks.fine_tuning.fine_tune import fine_tune

CHECKS = [add_lora, adapter_parameters, fine_tune]
