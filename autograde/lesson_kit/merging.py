"""Experiments and pictures of lesson 06: a base that adapters are added to and subtracted from, and autograd's graphs."""

import matplotlib.pyplot as plt
import torch
from torch import nn

SIDE, RANK, SCALING = 512, 8, 2.0


def switch_customers(visits, dtype, customers, device="cpu"):
    """Add a customer's change to one weight, subtract it again, and go on to the next customer.

    Args:
        visits: how many times that is done.
        dtype: of the weight and of the changes.
        customers: how many adapters there are; they come in turn. One: always the same.
        device: where it is done.

    Returns:
        ``(errors, shares)``, one entry a visit: the RMS error of the weight, and the share of its numbers that differ.
    """
    torch.manual_seed(0)
    make = {"dtype": dtype, "device": device}
    weight = nn.Linear(SIDE, SIDE, **make).weight.detach()
    A = torch.randn(SIDE, RANK, **make) / SIDE**0.5
    all_of_B = [0.02 * torch.randn(RANK, SIDE, **make) for _ in range(customers)]
    original, errors, shares = weight.clone(), [], []
    for visit in range(visits):
        change = SCALING * (A @ all_of_B[visit % customers]).T
        weight += change
        weight -= change
        errors.append((weight.double() - original.double()).square().mean().sqrt().item())
        shares.append((weight != original).double().mean().item())
    return errors, shares


STYLES = (("-", "black", 3), ("--", "black", 1.5), (":", "0.5", 4))


def plot_drift(runs):
    """The error of the weight, and the share of its numbers that differ, against the number of visits.

    Args:
        runs: ``{name: (errors, shares)}``, three of them.
    """
    figure, (left, right) = plt.subplots(1, 2, figsize=(11, 3.8), layout="constrained")
    for (name, (errors, shares)), (style, colour, width) in zip(runs.items(), STYLES, strict=True):
        visits = range(1, len(errors) + 1)
        kind = {"linestyle": style, "color": colour, "linewidth": width, "label": name}
        left.plot(visits, [error / errors[0] for error in errors], **kind)
        right.plot(visits, shares, **kind)
    left.set(xscale="log", xlabel="visits", ylabel="error, times that after one visit", ylim=(0, None))
    right.set(xscale="log", xlabel="visits", ylabel="share of numbers that differ", ylim=(0, 1))
    left.legend()
    plt.show()


def draw_graphs(tensors, names):
    """Draw the autograd graph of some tensors, each as a diagram.

    Args:
        tensors: ``{title: tensor}``.
        names: ``{name: parameter}`` of the parameters that the graphs lead to.
    """
    names_by_id = {id(parameter): name for name, parameter in names.items()}
    figure, axes = plt.subplots(1, len(tensors), figsize=(11, 3.4), layout="constrained")
    for axis, (title, tensor) in zip(axes, tensors.items(), strict=True):
        rows, lines = _graph_rows(tensor, names_by_id)
        place = {
            (row, column): (column - (len(labels) - 1) / 2, -row)
            for row, labels in enumerate(rows)
            for column in range(len(labels))
        }
        for start, end in lines:
            axis.plot(*zip(place[start], place[end], strict=True), color="0.6", zorder=1)
        for (row, column), (x, y) in place.items():
            box = {"boxstyle": "round", "facecolor": "white" if row else "0.85", "edgecolor": "black"}
            axis.text(x, y, rows[row][column], ha="center", va="center", fontsize=9, bbox=box)
        axis.set(title=title, xlim=(-1.6, 1.6), ylim=(-4.4, 0.6))
        axis.axis("off")
    plt.show()


def _graph_rows(tensor, names_by_id):
    """The nodes of a tensor's autograd graph, in rows, and the edges between them, as pairs of (row, column)."""
    rows, lines = [["weight"]], []
    nodes = [tensor.grad_fn] if tensor.grad_fn else []
    parents = {id(tensor.grad_fn): (0, 0)}
    while nodes:
        labels, children = [], {}
        for column, node in enumerate(nodes):
            parameter = getattr(node, "variable", None)
            labels.append(type(node).__name__ if parameter is None else names_by_id[id(parameter)])
            lines.append((parents[id(node)], (len(rows), column)))
            for child, _ in node.next_functions:
                if child:
                    children[id(child)] = (child, (len(rows), column))
        rows.append(labels)
        nodes = [child for child, _ in children.values()]
        parents = {key: place for key, (_, place) in children.items()}
    return rows, lines
