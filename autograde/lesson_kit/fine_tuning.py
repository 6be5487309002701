"""Training and pictures for comparing ways to fine-tune: a loop, averages over seeds, and four kinds of plot."""

import matplotlib.pyplot as plt
import torch
from torch import nn

MARKERS = ("o", "s", "^", "D", "v", "P")
# Far enough from white, and told apart by people who see few colours; in print, markers and lines tell them apart.
COLOURS = ("black", "#0072B2", "#D55E00", "#009E73")
LINES = ("-", "--", "-.", ":")


def losses(optimiser, model, x, y, steps=100, seed=0):
    """Let an optimiser train a model on 64 rows at a time; yields the loss of each step, after the step.

    Args:
        optimiser: torch optimiser; its own parameters' gradients are cleared.
        model: gives logits.
        x, y: training data.
        steps: of the optimiser.
        seed: of the batches.
    """
    generator = torch.Generator().manual_seed(seed)
    for _ in range(steps):
        rows = torch.randint(len(x), (64,), generator=generator).to(x.device)
        optimiser.zero_grad()
        loss = nn.functional.cross_entropy(model(x[rows]), y[rows])
        loss.backward()
        optimiser.step()
        yield loss.item()


def train(model, parameters, x, y, lr, steps=100, seed=0, look=None):
    """Train with Adam, 64 rows at a time.

    Args:
        model: gives logits.
        parameters: parameters to train.
        x, y: training data.
        lr: learning rate.
        steps: of the optimiser.
        seed: of the batches.
        look: called with the model after every 20 steps; None for no looks.

    Returns:
        What `look` returned, as a list.
    """
    results = []
    for step, _ in enumerate(losses(torch.optim.Adam(parameters, lr=lr), model, x, y, steps, seed), start=1):
        if look and step % 20 == 0:
            results.append(look(model))
    model.zero_grad()
    return results


def mean(values):
    """The average of some numbers."""
    values = list(values)
    return sum(values) / len(values)


def spread(values):
    """The average of some shares and their range: ``93 % (91 to 94)``."""
    values = [100 * value for value in values]
    return f"{mean(values):3.0f} % ({min(values):.0f} to {max(values):.0f})"


def plot_against_parameters(results, counts, baseline):
    """Accuracy against the number of parameters trained, each seed a point and their average a larger one.

    Args:
        results: ``{method: accuracies}``.
        counts: ``{method: parameters trained}``.
        baseline: accuracy before training.
    """
    figure, axis = plt.subplots(figsize=(8, 4), layout="constrained")
    for (method, values), marker in zip(results.items(), MARKERS, strict=False):
        axis.plot([counts[method]] * len(values), values, ".", color="0.5")
        axis.plot(counts[method], mean(values), marker, color="black", markersize=9, label=method)
    axis.axhline(baseline, color="0.5", linestyle=":", label="before")
    axis.set(xscale="log", xlabel="parameters trained", ylabel="accuracy, held-out turned digits", ylim=(None, 1))
    axis.legend(loc="center right")
    plt.show()


def plot_sweep(sweep):
    """Accuracy against the learning rate: a line through the averages, bars from the worst to the best seed.

    Args:
        sweep: ``{method: {rate: accuracies}}``.
    """
    figure, axis = plt.subplots(figsize=(8, 4), layout="constrained")
    for (method, by_rate), marker, colour, line in zip(sweep.items(), MARKERS, COLOURS, LINES, strict=False):
        means = [mean(values) for values in by_rate.values()]
        to_worst = [m - min(values) for m, values in zip(means, by_rate.values(), strict=True)]
        to_best = [max(values) - m for m, values in zip(means, by_rate.values(), strict=True)]
        axis.errorbar(
            list(by_rate),
            means,
            (to_worst, to_best),
            fmt=marker + line,
            color=colour,
            capsize=3,
            markersize=6,
            label=method,
        )
    axis.set(xscale="log", xlabel="learning rate", ylabel="accuracy, held-out turned digits", ylim=(0, 1))
    axis.legend()
    plt.show()


def plot_learned_against_forgotten(paths, start):
    """Accuracy on the new task against accuracy on the old one: one point a method, rate and step.

    Args:
        paths: ``{method: [(new, old), …]}``.
        start: ``(new, old)`` before training.
    """
    figure, axis = plt.subplots(figsize=(7, 4.5), layout="constrained")
    for (method, points), marker, colour in zip(paths.items(), MARKERS, COLOURS, strict=False):
        new, old = zip(*points, strict=True) if points else ((), ())
        axis.plot(new, old, marker, color=colour, alpha=0.7, markersize=5, linestyle="", label=method)
    axis.plot(*start, "*", color="black", markersize=16, label="before")
    axis.set(xlabel="accuracy on turned digits (learned)", ylabel="accuracy on upright digits (kept)")
    axis.legend()
    plt.show()


def plot_ranks(curves, full):
    """Accuracy against rank, one line a width, and full fine-tuning's as a horizontal one.

    Args:
        curves: ``{width: {rank: accuracies}}``.
        full: ``{width: accuracies}``.
    """
    figure, axis = plt.subplots(figsize=(8, 4), layout="constrained")
    for (width, by_rank), marker, colour in zip(curves.items(), MARKERS, COLOURS, strict=False):
        means = [mean(values) for values in by_rank.values()]
        axis.plot(list(by_rank), means, marker + "-", color=colour, label=f"LoRA, width {width:,}")
        axis.axhline(mean(full[width]), color=colour, linestyle=":")
    ranks = list(next(iter(curves.values())))
    axis.set(xscale="log", xlabel="rank", ylabel="accuracy, held-out turned digits", xticks=ranks, xticklabels=ranks)
    axis.minorticks_off()
    axis.plot([], [], ":", color="0.3", label="full fine-tuning, same width")
    axis.legend(loc="lower right")
    plt.show()
