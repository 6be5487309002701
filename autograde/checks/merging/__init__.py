"""Lesson 06: what a merge adds, a merge into a new layer, and one in place that can be undone."""

from autograde.checks.merging.delta import delta_weight
from autograde.checks.merging.in_place_misconceptions import mergeable
from autograde.checks.merging.new_linear import merge

CHECKS = [delta_weight, merge, mergeable]
