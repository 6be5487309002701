"""Lesson 02: what `(A @ B) * x` does, where it does it in silence, and a test that finds it out."""

from autograde.checks.the_bug.exposes import exposes
from autograde.checks.the_bug.product_shape import product_shape
from autograde.checks.the_bug.silent_case import silent_case

CHECKS = [product_shape, silent_case, exposes]
