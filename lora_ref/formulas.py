"""What is computed, on bare tensors.

In these shapes `...` stands for any number of leading dimensions, none included. All tensors of a call share one float
dtype and one device; torch raises where they do not, or where sizes do not fit.
"""


def linear_by_hand(x, weight, bias):
    """What nn.Linear computes: x `(..., d)`, weight `(k, d)`, bias `(k,)` or None, to `(..., k)`.

    The weight is stored as (out, in). Every transpose in this package comes from that.
    """
    out = x @ weight.T  # (..., d) @ (d, k) -> (..., k)
    return out if bias is None else out + bias


def lora_delta(x, A, B, scaling):
    """What LoRA adds to a layer's output: x `(..., d)`, A `(d, r)`, B `(r, k)`, to `(..., k)`. Paper: section 4.1.

    Two thin products cost 2nr(d + k) operations; forming A @ B first costs about as much as the layer itself.
    """
    thin = x @ A  # (..., d) @ (d, r) -> (..., r)
    # naive: scaling * (thin @ B). Scaling the r thin columns is a pass over (..., r) and not over (..., k).
    return (scaling * thin) @ B  # (..., r) @ (r, k) -> (..., k)


def to_linear_weights(lora_A, lora_B):
    """The weights `(r, d)` and `(k, r)` with which two bias-free nn.Linears compute (x @ A) @ B.

    Contiguous, because a file format that writes memory as it lies cannot write a transposed view.
    """
    return lora_A.T.contiguous(), lora_B.T.contiguous()
