"""Lesson 11: adapters for other libraries, and LoRA's best-known variants."""

from autograde.checks.ecosystem.dora_weight import dora_weight
from autograde.checks.ecosystem.pissa_as_lora import pissa_as_lora
from autograde.checks.ecosystem.portable_alpha import portable_alpha
from autograde.checks.ecosystem.rs_scaling import rs_scaling
from autograde.checks.ecosystem.write_peft_adapter import write_peft_adapter

CHECKS = [write_peft_adapter, rs_scaling, portable_alpha, dora_weight, pissa_as_lora]
