"""The handwritten digits that scikit-learn ships, and transformations of them."""

import math

import torch
from torch import nn

TRAINING = 1400  # of 1,797; the others are held out


def digits(device="cpu", seed=0):
    """Images and their classes, shuffled and split.

    Args:
        device: where the tensors live.
        seed: of the split.

    Returns:
        ``(x, y), (x, y)``: 1,400 to learn from and 397 held out. x is float32 (n, 8, 8) from 0 (paper) to 1 (ink); y is
        int64 (n,).
    """
    from sklearn.datasets import load_digits  # takes a second, which not everybody who imports this module needs

    dataset = load_digits()
    order = torch.randperm(len(dataset.target), generator=torch.Generator().manual_seed(seed))
    x = torch.tensor(dataset.images / 16, dtype=torch.float32)[order].to(device)
    y = torch.tensor(dataset.target)[order].to(device)
    return (x[:TRAINING], y[:TRAINING]), (x[TRAINING:], y[TRAINING:])


def turned(images, degrees):
    """The images (n, 8, 8) rotated about their centres; the corners are filled with paper (0)."""
    angle = math.radians(degrees)
    rotation = [[math.cos(angle), -math.sin(angle), 0.0], [math.sin(angle), math.cos(angle), 0.0]]
    rotation = torch.tensor(rotation, dtype=images.dtype, device=images.device).expand(len(images), 2, 3)
    grid = nn.functional.affine_grid(rotation, (len(images), 1, 8, 8), align_corners=False)
    return nn.functional.grid_sample(images[:, None], grid, align_corners=False)[:, 0]


def inverted(images):
    """The images with ink and paper exchanged."""
    return 1 - images


def accuracy(model, x, y):
    """The share of rows whose largest logit is that of their class, as a float."""
    with torch.no_grad():
        return (model(x).argmax(-1) == y).float().mean().item()
