"""Lesson 03's measures of cost (floating-point operations, numbers written, seconds) and its plot."""

import math
import time

import matplotlib.pyplot as plt
import numpy as np
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode


def count_flops(function, *inputs):
    """The floating-point operations of all matrix products in ``function(*inputs)``, as torch counts them."""
    with FlopCounterMode(display=False) as counter:
        function(*inputs)
    return counter.get_total_flops()


class CountWrites(TorchDispatchMode):
    """Adds up how many numbers torch's operations write. A view writes none."""

    written = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        if not func.is_view:
            self.written += out.numel()
        return out


def costs(layer):
    """What one call of `layer` costs, as an array: FLOPs forward, FLOPs forward and backward, numbers written forward."""
    with CountWrites() as writes, FlopCounterMode(display=False) as flops:
        out = layer()
        forward, written = flops.get_total_flops(), writes.written
        out.sum().backward()
    return np.array([forward, flops.get_total_flops(), written])


def seconds(layer, repeats=5):
    """The best of several calls of `layer`: the one least disturbed by other work on the machine."""
    finish = torch.cuda.synchronize if torch.cuda.is_available() else lambda: None  # a GPU's work is only queued
    best = math.inf
    with torch.no_grad():
        for _ in range(repeats):
            finish()
            start = time.perf_counter()
            layer()
            finish()
            best = min(best, time.perf_counter() - start)
    return best


def plot_flops(thin, full, base, counted, times, title):
    """Two pictures: FLOPs against the rank, and how many times as many the full product takes, against the rows.

    Args:
        thin, full: ``{rank: FLOPs}`` of the two orders.
        base: FLOPs of the base layer's own product.
        counted: ``[(rank, FLOPs thin, FLOPs full), …]``: what torch counted.
        times: ``{rank: {rows: full / thin}}``.
        title: of the left picture.
    """
    figure, (left, right) = plt.subplots(1, 2, figsize=(11, 4.2), layout="constrained")
    left.plot(list(full), list(full.values()), "--", color="0.45", label="full product first")
    left.plot(list(full), [base] * len(full), ":", color="black", label="the base layer, x W")
    left.plot(list(thin), list(thin.values()), "-", color="black", label="two thin products")
    for rank, in_thin, in_full in counted:
        left.plot(rank, in_full, "s", color="0.45")
        left.plot(rank, in_thin, "o", color="black")
    left.set(xscale="log", yscale="log", xlabel="rank r", ylabel="FLOPs", title=title)
    left.legend()
    for (rank, curve), line in zip(times.items(), ("-", "--", ":"), strict=False):
        right.plot(list(curve), list(curve.values()), line, color="black", label=f"r = {rank}")
    right.axhline(1, color="0.7", linewidth=1)
    right.set(xscale="log", yscale="log", xlabel="rows n", ylabel="times as many FLOPs")
    right.set(title="full product first ÷ thin")
    right.legend()
    plt.show()
