"""Lesson 09: LoRA into a model by name, the adapters alone, and loading that refuses what does not fit."""

from autograde.checks.transformer.adapter_state_dict import adapter_state_dict
from autograde.checks.transformer.inject import inject
from autograde.checks.transformer.load_adapter import load_adapter

CHECKS = [inject, adapter_state_dict, load_adapter]
