"""Lesson 01: the closest matrix of low rank, and how much of a matrix a given rank holds."""

from autograde.checks.low_rank.best_low_rank import best_low_rank
from autograde.checks.low_rank.rank_for_energy import rank_for_energy

CHECKS = [best_low_rank, rank_for_energy]
