"""Lesson 04: a LoRALinear that starts where its base is, trains only its adapters, and computes the formula."""

from autograde.checks.lora_linear.forward import lora_linear_forward
from autograde.checks.lora_linear.freeze import lora_linear_freeze
from autograde.checks.lora_linear.init import lora_linear_init
from autograde.checks.lora_linear.leaked import leaked_parameters
from autograde.checks.lora_linear.linear_weights import to_linear_weights
from autograde.checks.lora_linear.placement import lora_linear_placement

CHECKS = [
    lora_linear_init,
    lora_linear_freeze,
    lora_linear_forward,
    lora_linear_placement,
    leaked_parameters,
    to_linear_weights,
]
