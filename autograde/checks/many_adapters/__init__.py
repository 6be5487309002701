"""Lesson 10: many adapters on one base, a batch with several of them, and one adapter made of several."""

from autograde.checks.many_adapters.combine import combine
from autograde.checks.many_adapters.multi_lora_linear import multi_lora_linear
from autograde.checks.many_adapters.route import route

CHECKS = [multi_lora_linear, route, combine]
