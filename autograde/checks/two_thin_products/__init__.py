"""Lesson 03: (x @ A) @ B, what it costs, and up to which rank it is cheap."""

from autograde.checks.two_thin_products.flops_full import flops_full
from autograde.checks.two_thin_products.flops_thin import flops_thin
from autograde.checks.two_thin_products.largest_cheap_rank import largest_cheap_rank
from autograde.checks.two_thin_products.lora_delta import lora_delta

CHECKS = [lora_delta, flops_thin, flops_full, largest_cheap_rank]
