"""Lesson 05: how many values an adapter holds, a module has, a budget pays for and training keeps; three claims."""

from autograde.checks.counting.count_parameters import count_parameters
from autograde.checks.counting.largest_rank_within import largest_rank_within
from autograde.checks.counting.lora_parameters import lora_parameters
from autograde.checks.counting.reduction import reduction
from autograde.checks.counting.training_bytes import training_bytes
from autograde.checks.counting.worked_out import worked_out

CHECKS = [lora_parameters, reduction, count_parameters, largest_rank_within, training_bytes, worked_out]
