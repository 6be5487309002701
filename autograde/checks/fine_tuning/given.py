"""The models that add_lora and adapter_parameters are asked about, as source text, with fresh values."""

import torch

from autograde.judge.answer import compiled

LAYER = "lora_ref.layer:LoRALinear"  # what lessons from 08 on are given; the learner's side imports it

FLAT = """
class Model(nn.Sequential):
    def __init__(self):
        super().__init__(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 5, bias=False))
"""

NESTED = """
class Block(nn.Module):
    def __init__(self, d, h):
        super().__init__()
        self.norm = nn.LayerNorm(d)
        self.up = nn.Linear(d, h)
        self.down = nn.Linear(h, d, bias=False)

    def forward(self, x):
        return x + self.down(torch.tanh(self.up(self.norm(x))))


class Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.first = nn.Sequential(nn.Linear(6, 7), nn.Tanh())
        self.blocks = nn.ModuleList([Block(7, 9), Block(7, 8)])
        self.heads = nn.ModuleDict({"main": nn.Linear(7, 5), "other": nn.Sequential(nn.Sequential(nn.Linear(7, 4)))})
        self.head = nn.Linear(9, 9)

    def forward(self, x):
        x = self.first(x)
        for block in self.blocks:
            x = block(x)
        return self.head(torch.cat([self.heads["main"](x), self.heads["other"](x)], dim=-1))
"""


def made(source):
    """A model of the class `Model` that `source` defines."""
    return compiled(source, "Model")()


def fresh_state(draw, source):
    """Values for a model."""
    return {name: draw.tensor(*value.shape) / 2 for name, value in made(source).state_dict().items()}


def linears(source):
    """``{path: (in_features, out_features)}`` of a model's nn.Linears."""
    parts = made(source).named_modules()
    return {path: (part.in_features, part.out_features) for path, part in parts if isinstance(part, torch.nn.Linear)}


def adapters(draw, source, paths, rank):
    """``{path: [A, B]}`` with fresh values. Those of B are small: a large change of each weight saturates one layer after another,
    and what float32 rounds away grows beyond the tolerance.
    """
    sizes = linears(source)
    return {path: [draw.tensor(sizes[path][0], rank), draw.tensor(rank, sizes[path][1]) / 10] for path in paths}


def output(source, state, updates, x):
    """What the model makes of x in float64.

    Args:
        source, state: the model's, without adapters.
        updates: ``{path: (A, B, scaling)}``.
        x: its input.
    """
    model = made(source).double().eval()
    model.load_state_dict({name: value.double() for name, value in state.items()})
    with torch.no_grad():
        for path, (A, B, scaling) in updates.items():
            model.get_submodule(path).weight.add_(scaling * (A.double() @ B.double()).T)
        return model(x.double())
