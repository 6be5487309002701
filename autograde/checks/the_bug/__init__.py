"""Lesson 02: what `(A @ B) * x` does, where it does it in silence, and a test that finds it out."""

from autograde.checks.the_bug.checks import CHECKS

__all__ = ["CHECKS"]
