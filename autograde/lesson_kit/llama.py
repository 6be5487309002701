"""The parameters of Llama-2-7B on the meta device, where they take no memory: for counting only."""

import torch
from torch import nn

VOCABULARY, WIDTH, HIDDEN, BLOCKS = 32_000, 4_096, 11_008, 32


def llama_2_7b(adapted):
    """The model, frozen, with adapters on the q and v projections of every block, on the meta device.

    Args:
        adapted: called with each of these projections, an ``nn.Linear``; returns the module that takes its place.
    """
    with torch.device("meta"):
        blocks = nn.ModuleList([_block(adapted) for _ in range(BLOCKS)])
        embedding, norm = nn.Embedding(VOCABULARY, WIDTH), nn.RMSNorm(WIDTH)
        head = nn.Linear(WIDTH, VOCABULARY, bias=False)
    rest = nn.ModuleDict({"reads": embedding, "norm": norm, "writes": head}).requires_grad_(False)
    return nn.ModuleDict({"blocks": blocks, "around": rest})


def _block(adapted):
    sizes = dict.fromkeys(("q", "k", "v", "o"), (WIDTH, WIDTH))
    sizes |= {"gate": (WIDTH, HIDDEN), "up": (WIDTH, HIDDEN), "down": (HIDDEN, WIDTH)}
    layers = {name: nn.Linear(*size, bias=False) for name, size in sizes.items()}
    norms = {"norm_1": nn.RMSNorm(WIDTH), "norm_2": nn.RMSNorm(WIDTH)}
    block = nn.ModuleDict(layers | norms).requires_grad_(False)
    for name in ("q", "v"):
        block[name] = adapted(block[name])
    return block
