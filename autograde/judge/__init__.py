"""Observe, then judge.

A probe (`autograde.remote`) runs where the learner's code lives and returns plain data. A check (`check`) knows the
inputs (`random_inputs`), works out what is right, compares within one table of tolerances (`tolerance`) and names the
misconception behind a wrong answer (`diagnosis`). Most known mistakes are slips of the right answer (`answer`). The
result is a `Verdict` (`verdict`, `make_verdict`), rendered as text or HTML (`render`) and shown to the learner
(`present`).
"""
