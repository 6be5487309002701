"""Lesson 00: what nn.Linear computes."""

from autograde.checks.start_here.linear_by_hand import linear_by_hand

CHECKS = [linear_by_hand]
