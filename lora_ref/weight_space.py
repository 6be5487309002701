"""LoRA on a weight instead of a layer: one module reaches every layer that has a weight.

    weight_space.LoRAWeight : W  ->  W + scale * (B A)        LoRALinear : x  ->  x Wᵀ + scaling * (x A) B

It is written in the paper's order, because a weight is stored as (out, in): B `(out, r)` times A `(r, in)`.
`torch.nn.utils.parametrize` registers it on a layer's weight: all code that reads `layer.weight` gets the adapted one.
The price: W + BA is computed at each access; within `parametrize.cached()`, only once.
"""

import torch
from torch import nn
from torch.nn.utils import parametrize

LAYERS = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)  # their weights begin with the outputs: (out, in / groups, ...)


class LoRAWeight(nn.Module):
    """Takes a weight and returns the adapted one: wts + scale * (B @ A), in the shape of the weight. Paper: section 4.1.

    in_f, out_f    rows and columns of the weight, flattened to a matrix; for nn.Linear these are its out and in features
    rank, alpha    as in LoRALinear: scale = alpha / rank

    B `(in_f, rank)` is zero and A `(rank, out_f)` random, so that it starts at the weight that it is given and learns.
    `en = False` switches it off. Raises ValueError for a rank below 1.
    """

    adapter_names = ("A", "B")
    merged = False  # see adapters.py; its merge is `fold`, which cannot be undone

    def __init__(self, in_f, out_f, rank=1, alpha=1, device="cpu", dtype=None):
        super().__init__()
        if rank < 1:
            raise ValueError(f"rank must be 1 or more, not {rank}.")
        self.A = nn.Parameter(torch.empty(rank, out_f, device=device, dtype=dtype))
        self.B = nn.Parameter(torch.zeros(in_f, rank, device=device, dtype=dtype))
        nn.init.normal_(self.A, std=out_f**-0.5)  # both zero would stay zero: see LoRALinear
        self.scale = alpha / rank
        self.en = True

    @property
    def enabled(self):
        """`en` under the name that LoRALinear has for it."""
        return self.en

    @enabled.setter
    def enabled(self, on):
        self.en = on

    def forward(self, wts):
        """wts, of any shape with in_f * out_f entries, to a new tensor of the same shape; to wts itself when off."""
        if not self.en:
            return wts
        delta = self.scale * self.B @ self.A  # (in_f, r) @ (r, out_f) -> (in_f, out_f)
        return wts + delta.view(wts.shape)  # a kernel (out, in, kh, kw) is a matrix (out, in * kh * kw), row by row


def adapt_weight(module, rank=4, alpha=1):
    """Register a LoRAWeight on the weight of an nn.Linear or a convolution, in place. Returns the module.

    The weight and the bias are frozen. A convolution's weight (out, in / groups, kh, kw) is adapted as a matrix of
    (out, in / groups * kh * kw), which is LoRA as a k x k convolution to `rank` channels and a 1 x 1 one from there.
    Raises TypeError for a module of another kind, ValueError for a weight that is parametrised already and for a rank
    below 1; then nothing has changed.
    """
    if not isinstance(module, LAYERS):
        raise TypeError(f"module must be an nn.Linear or a convolution, not {type(module).__name__}.")
    if parametrize.is_parametrized(module, "weight"):
        raise ValueError("This weight is parametrised already: fold it first, or train the adapter that is there.")
    weight = module.weight
    rows, columns = weight.shape[0], weight[0].numel()
    adapter = LoRAWeight(rows, columns, rank, alpha, weight.device, weight.dtype)
    module.requires_grad_(False)
    parametrize.register_parametrization(module, "weight", adapter)  # keeps the Parameter, as `original`
    return module


def fold(module):
    """Leave the adapted weight in the module and take the parametrisation out, in place. Returns the module.

    A plain nn.Linear or convolution again, A and B gone; weight and bias train or are frozen as before. An adapter
    that is off leaves the original weight. Raises ValueError for a weight that is not parametrised.
    """
    if not parametrize.is_parametrized(module, "weight"):
        raise ValueError("This weight is not parametrised: there is nothing to fold.")
    # A deepcopy shares the class that parametrize made for its original, and removing takes `weight` off that class:
    # with a class of its own, a copy can be folded and the original still works.
    shared = type(module)
    module.__class__ = type(shared.__name__, shared.__bases__, dict(vars(shared)))
    parametrize.remove_parametrizations(module, "weight", leave_parametrized=True)
    return module
