"""Handwritten digits, upright and rotated, and a small network that classifies them in seconds."""

import math
from typing import NamedTuple

import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.nn import functional as F


class Rows(NamedTuple):
    """Pictures x `(n, 64)`, from 0 to 1, and their labels y `(n,)`."""

    x: torch.Tensor
    y: torch.Tensor


class Digits(NamedTuple):
    """1,400 pictures to learn from and 397 to be tested on."""

    train: Rows
    test: Rows


def digits(degrees=30):
    """(upright, turned): scikit-learn's handwritten digits, in one shuffled order, and the same ones turned."""
    dataset = load_digits()
    order = torch.randperm(len(dataset.target), generator=torch.Generator().manual_seed(0))
    pictures = torch.tensor(dataset.images / 16, dtype=torch.float32)[order]  # (1797, 8, 8)
    labels = torch.tensor(dataset.target)[order]
    splits = []
    for x in (pictures.flatten(1), _turn(pictures, degrees).flatten(1)):
        splits.append(Digits(Rows(x[:1400], labels[:1400]), Rows(x[1400:], labels[1400:])))
    return tuple(splits)


def _turn(pictures, degrees):
    cos, sin = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    rotation = torch.tensor([[cos, -sin, 0.0], [sin, cos, 0.0]]).expand(len(pictures), 2, 3)
    grid = F.affine_grid(rotation, (len(pictures), 1, 8, 8), align_corners=False)
    return F.grid_sample(pictures[:, None], grid, align_corners=False)[:, 0]


class Reader(nn.Module):
    """Reads a digit: 64 pixels to ten scores, in three layers with a ReLU between them."""

    def __init__(self):
        super().__init__()
        self.up = nn.Linear(64, 256)
        self.middle = nn.Linear(256, 256)
        self.head = nn.Linear(256, 10)

    def forward(self, x):
        x = torch.relu(self.up(x))  # (n, 64) -> (n, 256)
        x = torch.relu(self.middle(x))  # (n, 256) -> (n, 256)
        return self.head(x)  # (n, 256) -> (n, 10)


def train(model, rows, steps, lr, seed=1):
    """Train what requires a gradient in a model on batches of 128 rows; returns the model."""
    optimiser = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=lr)
    generator = torch.Generator().manual_seed(seed)
    for _ in range(steps):
        batch = torch.randint(len(rows.x), (128,), generator=generator)
        loss = F.cross_entropy(model(rows.x[batch]), rows.y[batch])
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    return model


@torch.no_grad()
def accuracy(model, rows):
    """The share of rows that the model classifies correctly."""
    return (model(rows.x).argmax(dim=-1) == rows.y).float().mean().item()
