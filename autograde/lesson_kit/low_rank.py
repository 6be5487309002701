"""Lesson 01's experiments and plots: digits turned by 90 degrees, and networks of three weights.

A network here is a list of its weights, each `(out, in)`, with a ReLU between them and no biases.
"""

import copy

import matplotlib.pyplot as plt
import torch
from torch import nn
from torch.nn import functional as F

from autograde.lesson_kit.digits import digits

RANKS = (1, 2, 3, 4, 5, 6, 8, 10, 12, 14, 16, 20, 24, 28, 32, 40, 48, 56, 64, 80, 96)
UNSEEN = slice(1000, None)  # of the 1,797 pictures: no network here learns from these


def sideways_digits(device="cpu"):
    """(upright, sideways, labels): each picture in both orientations, `(1797, 64)`, and its class, `(1797,)`, shuffled."""
    (images, labels), (more_images, more_labels) = digits(device)
    images = torch.cat([images, more_images])
    return images.flatten(1), images.rot90(dims=(1, 2)).flatten(1), torch.cat([labels, more_labels])


def train(model, x, y, epochs, lr=3e-3):
    """Train every weight of `model` on pictures x with labels y: Adam, 64 pictures at a time."""
    _train(model, list(model.parameters()), x, y, epochs, lr)


def _train(model, parameters, x, y, epochs, lr):
    optimiser = torch.optim.Adam(parameters, lr=lr, fused=True)  # fused: the same steps, in less time
    shuffle = torch.Generator().manual_seed(1)
    for _ in range(epochs):
        for rows in torch.randperm(len(x), generator=shuffle).split(64):
            loss = F.cross_entropy(model(x[rows]), y[rows])
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()


def train_at_rank(weights, x, y, rank, epochs, lr=3e-3, seed=0):
    """Train two thin matrices beside each weight, which stays as it is; returns the weights with their products added.

    This is LoRA. Lessons 02 to 04 take it apart.
    """
    generator = torch.Generator().manual_seed(seed)
    pairs = []
    for weight in weights:
        k, d = weight.shape
        r = min(rank, k, d)
        A = torch.randn(d, r, generator=generator).to(weight) / d**0.5
        B = torch.zeros(r, k).to(weight)
        pairs.append((A.requires_grad_(), B.requires_grad_()))

    def model(x):
        for weight, (A, B) in zip(weights[:-1], pairs[:-1], strict=True):
            x = torch.relu(F.linear(x, weight) + (x @ A) @ B)
        A, B = pairs[-1]
        return F.linear(x, weights[-1]) + (x @ A) @ B

    _train(model, [matrix for pair in pairs for matrix in pair], x, y, epochs, lr)
    return [weight + (A @ B).T.detach() for weight, (A, B) in zip(weights, pairs, strict=True)]


def weights_of(model):
    """A copy of the weights of a model, as a list of plain tensors."""
    return [weight.detach().clone() for weight in model.parameters()]


def accuracy(weights, x, y):
    """The percentage of the pictures x that a network with these weights classifies as y."""
    for weight in weights[:-1]:
        x = torch.relu(F.linear(x, weight))
    return 100 * (F.linear(x, weights[-1]).argmax(dim=-1) == y).float().mean().item()


def enough(curve, goal):
    """The smallest of `RANKS` from which on the accuracies in `curve` stay within one point of `goal`; None if none do."""
    too_small = [rank for rank, reached in zip(RANKS, curve, strict=True) if reached < goal - 1]
    return next((rank for rank in RANKS if not too_small or rank > too_small[-1]), None)


def ranks_needed(width, seed, device="cpu"):
    """Train a network 64 → width → width → 10 on upright digits, fine-tune in full on 500 sideways ones, truncate.

    Returns:
        (accuracy of full fine-tuning, sufficient rank for the change, sufficient rank for the whole weight).
    """
    upright, sideways, labels = sideways_digits(device)
    torch.manual_seed(seed)
    layers = [nn.Linear(64, width, bias=False), nn.ReLU(), nn.Linear(width, width, bias=False), nn.ReLU()]
    model = nn.Sequential(*layers, nn.Linear(width, 10, bias=False)).to(device)
    train(model, upright[:1000], labels[:1000], epochs=25, lr=1e-3)
    before, tuned = weights_of(model), copy.deepcopy(model)
    train(tuned, sideways[:500], labels[:500], epochs=40, lr=1e-3)
    after = weights_of(tuned)
    truncate_change = [_truncator(a - b) for a, b in zip(after, before, strict=True)]
    truncate_weight = [_truncator(a) for a in after]
    x, y = sideways[UNSEEN], labels[UNSEEN]
    full_accuracy = accuracy(after, x, y)
    curves = (
        [accuracy([b + truncate(r) for b, truncate in zip(before, truncate_change, strict=True)], x, y) for r in RANKS],
        [accuracy([truncate(r) for truncate in truncate_weight], x, y) for r in RANKS],
    )
    return full_accuracy, *(enough(curve, full_accuracy) for curve in curves)


def _truncator(M):
    U, S, Vh = torch.linalg.svd(M, full_matrices=False)
    return lambda rank: (U[:, :rank] * S[:rank]) @ Vh[:rank]


def show_digit(**pictures):
    """Pictures of 64 pixels side by side, each under its name."""
    figure, axes = plt.subplots(1, len(pictures), figsize=(2 * len(pictures), 2), layout="constrained")
    for axis, (name, picture) in zip(axes, pictures.items(), strict=True):
        axis.imshow(picture.reshape(8, 8).cpu(), cmap="Greys")
        axis.set(title=name, xticks=[], yticks=[])
    plt.show()


def plot_spectra(matrices, rank_for_energy):
    """Two pictures: singular values divided by the largest, and the share of the energy that a rank holds.

    Args:
        matrices: ``{name: matrix}``.
        rank_for_energy: ``rank_for_energy(M, fraction)``, the learner's.
    """
    fractions = torch.linspace(0.01, 0.99, 50).tolist()
    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 3.6), layout="constrained")
    for (name, M), (line, shade) in zip(matrices.items(), (("-", "0.5"), ("-", "black"), (":", "black")), strict=False):
        values = torch.linalg.svdvals(M).cpu()
        style = {"linestyle": line, "color": shade, "label": name}
        left.semilogy(range(1, len(values) + 1), values / values[0], **style)
        right.plot([int(rank_for_energy(M, fraction)) for fraction in fractions], fractions, **style)
    right.axhline(0.9, color="black", linewidth=0.5, linestyle="--", label="90 %")
    left.set(xlabel="number of the singular value", ylabel="singular value / largest", ylim=(1e-3, 1.3))
    right.set(xlabel="rank r", ylabel="share of the energy held", ylim=(0, 1))
    left.legend()
    right.legend()
    plt.show()


def plot_accuracy(curves, levels=None, xlabel="rank r", ylabel="sideways digits right, %"):
    """Accuracy against rank: a line with marks for each curve, a dashed or dotted one for each level.

    Args:
        curves: ``{name: {rank: accuracy}}``.
        levels: ``{name: accuracy}``: horizontal lines.
        xlabel, ylabel: of the axes.
    """
    figure, axis = plt.subplots(figsize=(8, 4), layout="constrained")
    for (name, level), line in zip((levels or {}).items(), ("--", ":"), strict=False):
        axis.axhline(level, color="black", linestyle=line, linewidth=1, label=name)
    for (name, curve), (mark, shade) in zip(
        curves.items(), (("o", "black"), ("s", "0.55"), ("x", "0.3")), strict=False
    ):
        axis.plot(list(curve), list(curve.values()), color=shade, marker=mark, label=name)
    axis.set(xscale="log", xlabel=xlabel, ylabel=ylabel, ylim=(0, 102))
    ranks = sorted(set().union(*curves.values()))
    ticks = ranks if len(ranks) <= 8 else [rank for rank in ranks if rank.bit_count() == 1]  # powers of two
    axis.set_xticks(ticks, ticks)
    axis.minorticks_off()
    axis.legend(loc="lower right")
    plt.show()


def plot_widths(needed):
    """The rank that is enough against the width of the network, a point for each seed.

    Args:
        needed: ``{width: [(change, whole), …]}``, a pair for each seed.
    """
    figure, axis = plt.subplots(figsize=(8, 4), layout="constrained")
    for part, (name, mark, shade) in enumerate((("the change", "o", "black"), ("the whole weight", "s", "0.55"))):
        means = [sum(pair[part] for pair in pairs) / len(pairs) for pairs in needed.values()]
        axis.plot(list(needed), means, color=shade, linewidth=1)
        for width, pairs in needed.items():
            ranks = [pair[part] for pair in pairs]
            axis.plot([width] * len(ranks), ranks, mark, color=shade, label=name if width == min(needed) else None)
    axis.set(xscale="log", xlabel="width of the network", ylabel="rank that is enough", ylim=(0, None))
    axis.set_xticks(list(needed), list(needed))
    axis.minorticks_off()
    axis.legend()
    plt.show()
