"""Observe, then judge.

A probe (`probe`) runs where the learner's code lives and returns plain data (`wire`). A check (`check`) knows the
inputs (`draw`), works out what is right, compares within one table of tolerances (`tolerance`), names the
misconception (`diagnosis`) and ends in a verdict (`verdict`) that shows itself as text and as HTML.
"""
