"""A small GPT that writes text a character at a time, in one file, to be read from top to bottom.

Letters in the shapes: B texts in a batch, T characters in each, C the width of the model, H heads, V characters in the
vocabulary. Every matrix is an `nn.Linear` without a bias, under the name that large models give it: `q_proj`, `k_proj`,
`v_proj`, `o_proj`, `up_proj`, `down_proj`, `lm_head`.
"""

from dataclasses import dataclass

import torch
from torch import nn
from torch.nn import functional as F


@dataclass
class Config:
    """The sizes of a model. `width` is divisible by `heads`."""

    vocabulary: int  # V
    context: int = 64  # the most characters that the model looks back on
    width: int = 128  # C
    heads: int = 4  # H
    layers: int = 3


class Attention(nn.Module):
    """Each character looks back at those before it and takes a weighted sum of what they offer."""

    def __init__(self, config):
        super().__init__()
        C = config.width
        self.heads = config.heads
        self.q_proj = nn.Linear(C, C, bias=False)  # what am I looking for?
        self.k_proj = nn.Linear(C, C, bias=False)  # what have I to offer?
        self.v_proj = nn.Linear(C, C, bias=False)  # what do I hand over when I am chosen?
        self.o_proj = nn.Linear(C, C, bias=False)  # and back into the stream, all heads together

    def forward(self, x):
        B, T, C = x.shape
        q, k, v = (
            proj(x).view(B, T, self.heads, C // self.heads).transpose(1, 2)  # (B, H, T, C / H)
            for proj in (self.q_proj, self.k_proj, self.v_proj)
        )
        out = F.scaled_dot_product_attention(q, k, v, is_causal=True)  # (B, H, T, C / H)
        return self.o_proj(out.transpose(1, 2).reshape(B, T, C))  # (B, T, C)


class MLP(nn.Module):
    """Each character thinks for itself. Three times the width, where most models take four."""

    def __init__(self, config):
        super().__init__()
        self.up_proj = nn.Linear(config.width, 3 * config.width, bias=False)
        self.down_proj = nn.Linear(3 * config.width, config.width, bias=False)

    def forward(self, x):
        return self.down_proj(F.relu(self.up_proj(x)))  # (B, T, C) -> (B, T, 3C) -> (B, T, C)


class Block(nn.Module):
    """Attention, then the MLP, each added to the stream that runs through the model."""

    def __init__(self, config):
        super().__init__()
        self.norm_1 = nn.LayerNorm(config.width)
        self.attention = Attention(config)
        self.norm_2 = nn.LayerNorm(config.width)
        self.mlp = MLP(config)

    def forward(self, x):
        x = x + self.attention(self.norm_1(x))
        return x + self.mlp(self.norm_2(x))


class GPT(nn.Module):
    """Characters in, and for each of them the scores of the character that comes next.

    The table of embeddings and `lm_head.weight` are tied: one Parameter `(V, C)` in two places.
    """

    def __init__(self, config):
        super().__init__()
        self.config = config
        self.embedding = nn.Embedding(config.vocabulary, config.width)
        self.position = nn.Embedding(config.context, config.width)
        self.blocks = nn.ModuleList(Block(config) for _ in range(config.layers))
        self.norm = nn.LayerNorm(config.width)
        self.lm_head = nn.Linear(config.width, config.vocabulary, bias=False)
        self.lm_head.weight = self.embedding.weight
        self.apply(_init_weights)
        for block in self.blocks:  # what is added to the stream starts small: there are two such sums in each block
            nn.init.normal_(block.attention.o_proj.weight, std=0.02 / (2 * config.layers) ** 0.5)
            nn.init.normal_(block.mlp.down_proj.weight, std=0.02 / (2 * config.layers) ** 0.5)

    def forward(self, ids):
        """ids `(B, T)`, int64, T at most the context, to scores `(B, T, V)`."""
        places = torch.arange(ids.shape[1], device=ids.device)  # (T,)
        x = self.embedding(ids) + self.position(places)  # (B, T, C) + (T, C)
        for block in self.blocks:
            x = block(x)
        return self.lm_head(self.norm(x))  # (B, T, C) -> (B, T, V)

    def loss(self, ids):
        """The mean cross-entropy, in nats a character, of guessing each next one in ids `(B, T)`."""
        scores = self(ids[:, :-1])  # (B, T - 1, V)
        return F.cross_entropy(scores.flatten(0, 1), ids[:, 1:].flatten())

    @torch.no_grad()
    def generate(self, ids, length, temperature=1.0, generator=None):
        """Go on writing: ids `(B, T)` to `(B, T + length)`, each character drawn from the scores, made sharper by a
        temperature below 1.
        """
        for _ in range(length):
            scores = self(ids[:, -self.config.context :])[:, -1]  # (B, V): only the last character's guess counts
            chances = (scores / temperature).softmax(-1)
            ids = torch.cat([ids, torch.multinomial(chances, 1, generator=generator)], 1)
        return ids


def _init_weights(module):
    if isinstance(module, nn.Linear | nn.Embedding):
        nn.init.normal_(module.weight, std=0.02)
