"""Lesson 06: what a merge adds, a merge into a new layer, and one in place that can be undone."""

from autograde.checks.merging.delta_weight import delta_weight
from autograde.checks.merging.merge import merge
from autograde.checks.merging.mergeable import mergeable

CHECKS = [delta_weight, merge, mergeable]
