"""The models of lesson 09's checks, as source text, which runs in the learner's process.

Their names are traps: `seq_proj` ends in the letters q_proj, `mlp.10` ends in the letter of `mlp.0`, a container is called
`v_proj`, another one holds a layer of its own name, and the letters that q_proj is made of are names of layers, too.
Each names the parameters that somebody has frozen; the probe freezes them.
"""

import itertools
from dataclasses import dataclass

from autograde.judge.check import Case
from autograde.probes.transformer import build_model

# d, e and v are sizes, pairwise distinct.
TO_INJECT = """
class Attention(nn.Module):
    def __init__(self):
        super().__init__()
        self.q_proj = nn.Linear({d}, {e})
        self.v_proj = nn.Linear({d}, {e}, bias=False)
        self.q_proj_old = nn.Linear({d}, {e})
        self.seq_proj = nn.Linear({e}, {d})

    def forward(self, x):
        return self.seq_proj(self.q_proj(x) + self.v_proj(x) * self.q_proj_old(x))


class Model(nn.Module):
    frozen = ("prior.out.weight",)

    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding({v}, {d})
        self.norm = nn.LayerNorm({d})
        self.blocks = nn.ModuleList(
            nn.ModuleDict({{"attention": Attention(), "cross": Attention(), "norm": nn.LayerNorm({d})}}) for _ in range(2)
        )
        self.prior = nn.ModuleDict({{"q_proj": nn.Linear({d}, {e}), "out": nn.Linear({e}, {d}, bias=False)}})
        self.q_proj = nn.ModuleDict({{"q_proj": nn.Linear({d}, {e}), "out": nn.Linear({e}, {d})}})
        self.memory = nn.ModuleDict({{"v_proj": nn.ModuleDict({{"inner": nn.Linear({d}, {d})}})}})
        self.letters = nn.ModuleDict({{"q": nn.Linear({d}, {d}), "o": nn.Linear({d}, {d})}})
        self.mlp = nn.Sequential(*(nn.Linear({d}, {d}) for _ in range(11)))
        self.lm_head = nn.Linear({d}, {v}, bias=False)
        self.lm_head.weight = self.embedding.weight

    def forward(self, ids):
        x = self.norm(self.embedding(ids))
        for block in self.blocks:
            x = x + block["norm"](block["attention"](x) + block["cross"](x))
        for pair in (self.prior, self.q_proj):
            x = x + pair["out"](pair["q_proj"](x))
        x = self.memory["v_proj"]["inner"](x) + self.letters["o"](self.letters["q"](x))
        return self.lm_head(self.mlp(x))
"""

# Adapters of different ranks and shapes, beside parts whose names sound like adapters, and a norm that trains.
ADAPTED = """
from lora_ref.layer import LoRALinear


class Model(nn.Module):
    frozen = ("{head}.lora_A",)

    def __init__(self):
        super().__init__()
        self.{blocks} = nn.ModuleList(
            nn.ModuleDict({{
                "{first}": LoRALinear(nn.Linear({d}, {e}), rank={r}, alpha=3),
                "{second}": LoRALinear(nn.Linear({e}, {d}, bias=False), rank={s}, alpha=1),
                "norm": nn.LayerNorm({d}),
                "lora_norm": nn.LayerNorm({d}),
            }})
            for _ in range({depth})
        )
        self.flora_proj = nn.Linear({d}, {d})
        self.lora_norm = nn.LayerNorm({d})
        self.lora_A = nn.Linear({d}, {e})
        self.alphaB = nn.Parameter(torch.ones({d}))
        self.gain = nn.Parameter(torch.ones({d}))
        self.{head} = LoRALinear(nn.Linear({d}, {v}), rank={s}, alpha=2)
"""
BLOCKS, HEADS = ("blocks", "layers", "encoder", "h"), ("head", "lm_head", "classifier")
PAIRS = (("q_proj", "o_proj"), ("up_proj", "down_proj"), ("query", "value"), ("fc1", "fc2"))


@dataclass(frozen=True)
class AdaptedCase(Case):
    """A model with adapters, as source text in its args.

    Attributes:
        adapters: the keys of all adapters, in the order of the model. They stay here: which they are is for the answer to find.
    """

    adapters: tuple = ()


def adapted_models(draw, depths):
    """``[(source, adapters, sizes)]`` of models like `ADAPTED`, with as many blocks as each of `depths` says, at most 16 of them.
    No two have a key of their blocks in common: what was met in one question is not asked for in the next.
    """
    names = draw.shuffled(list(itertools.product(BLOCKS, PAIRS)))
    return [_adapted_model(draw, *pair, depth) for pair, depth in zip(names, depths, strict=False)]


def _adapted_model(draw, blocks, pair, depth):
    d, e, v = draw.sizes(3, low=7, high=11)
    r, s = draw.sizes(2, low=2, high=4)
    (first, second), head = pair, draw.choice(HEADS)
    sizes = {"d": d, "e": e, "v": v, "r": r, "s": s, "depth": depth}
    layers = [f"{blocks}.{i}.{name}" for i in range(depth) for name in (first, second)] + [head]
    source = ADAPTED.format(blocks=blocks, head=head, first=first, second=second, **sizes)
    return source, tuple(f"{layer}.{side}" for layer in layers for side in ("lora_A", "lora_B")), sizes


def values_for(draw, source):
    """Values for every parameter of the model that `source` defines, by name. Not for the adapters alone: a question can be read
    by the answer, and would say which they are.
    """
    named = build_model(source, seed=0).named_parameters()
    return {name: draw.tensor(*parameter.shape, dtype=parameter.dtype) for name, parameter in named}
