"""Observe, then judge.

A probe (`autograde.remote`) runs where the learner's code lives and returns plain data. A check (`check`) knows the
inputs (`draw`), works out what is right, compares within one table of tolerances (`tolerance`) and names the
misconception behind a wrong answer (`diagnosis`). Most of those it knows are slips of the right answer (`answer`). It
ends in a verdict (`verdict`) that shows itself as text and as HTML.
"""
