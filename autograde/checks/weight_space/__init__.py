"""Lesson 07: a module that adapts weights, in front of any layer, and folded into it."""

from autograde.checks.weight_space.adapt_weight import adapt_weight
from autograde.checks.weight_space.fold import fold
from autograde.checks.weight_space.lora_weight import lora_weight

CHECKS = [lora_weight, adapt_weight, fold]
