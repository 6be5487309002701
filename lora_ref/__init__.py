"""LoRA in plain PyTorch, small enough to read in one sitting.

A layer that somebody trained is frozen. Beside it run two thin matrices, and only they learn:

            ┌───────── W, bias : frozen ─────────┐
    x ──────┤                                    ├──(+)── h        h = x Wᵀ + bias + (alpha / r) · (x A) B
    (n, d)  └── A : (d, r) ──── B : (r, k) ── · ─┘      (n, k)
                 Gaussian         zero      alpha / r

`d` is in_features, `k` is out_features, and the rank `r` is far smaller than both: A and B together hold r(d + k)
numbers where W holds dk. B starts at zero, so training starts from exactly the layer that was given.

Reading order, one subject a file:

    formulas.py       what is computed, on bare tensors
    layer.py          LoRALinear: those formulas, and what a layer owes to the rest of PyTorch
    merging.py        A and B folded into W, when the training is done
    adapters.py       a model full of such layers: what learns, what is frozen, switching it all off, saving, loading
    inject.py         such layers into a model that somebody else wrote
    many.py           many adapters on one base: switching, one batch for several, one made of several
    training.py       the shortest training loop, which changes nothing but adapters
    weight_space.py   the same update on a weight instead of a layer: convolutions too
    variants.py       what others have changed: rsLoRA's scaling, DoRA's magnitudes, PiSSA's start
    peft_format.py    adapters on disk, as PEFT and others read them
    counting.py       parameters, floating-point operations and bytes
    low_rank.py       why a thin product can be enough: the singular value decomposition

The paper: Hu et al., "LoRA: Low-Rank Adaptation of Large Language Models", 2021, arXiv 2106.09685. It writes
h = W x + B A x for columns x; here a sample is a row, as everywhere in PyTorch, so A comes first.
"""

from .adapters import (
    adapter_layers,
    adapter_parameters,
    adapter_state_dict,
    adapters_off,
    freeze_base,
    leaked_parameters,
    load_adapter,
)
from .counting import (
    count_parameters,
    flops_full,
    flops_thin,
    largest_cheap_rank,
    largest_rank_within,
    lora_parameters,
    reduction,
    training_bytes,
)
from .formulas import linear_by_hand, lora_delta, to_linear_weights
from .inject import add_lora, inject
from .layer import LoRALinear
from .low_rank import best_low_rank, rank_for_energy
from .many import MultiLoRALinear, activate, add_adapter, combine, mixed_batch, route, share_base
from .merging import delta_weight, merge
from .peft_format import read_peft_adapter, write_peft_adapter
from .training import fine_tune
from .variants import dora_weight, pissa_as_lora, pissa_start, portable_alpha, rs_scaling
from .weight_space import LoRAWeight, adapt_weight, fold

__all__ = [
    "LoRALinear",
    "LoRAWeight",
    "MultiLoRALinear",
    "activate",
    "adapt_weight",
    "adapter_layers",
    "adapter_parameters",
    "adapter_state_dict",
    "adapters_off",
    "add_adapter",
    "add_lora",
    "best_low_rank",
    "combine",
    "count_parameters",
    "delta_weight",
    "dora_weight",
    "fine_tune",
    "flops_full",
    "flops_thin",
    "fold",
    "freeze_base",
    "inject",
    "largest_cheap_rank",
    "largest_rank_within",
    "leaked_parameters",
    "linear_by_hand",
    "load_adapter",
    "lora_delta",
    "lora_parameters",
    "merge",
    "mixed_batch",
    "pissa_as_lora",
    "pissa_start",
    "portable_alpha",
    "rank_for_energy",
    "read_peft_adapter",
    "reduction",
    "route",
    "rs_scaling",
    "share_base",
    "to_linear_weights",
    "training_bytes",
    "write_peft_adapter",
]
