"""What the new layers in a model start with: one of the two matrices is zero, and the other one is random."""

import torch

from autograde.checks.shared.families import BOTH_ZERO, CONSTANT_A
from autograde.judge.compare import Fault


def start_problem(A, B):
    """How the adapters of a new layer were filled: ``None`` as they should be, ``both_zero``, ``neither_zero``, ``constant`` (one
    number everywhere in the matrix that is not zero), or ``repeated`` (its columns or rows depend on each other).

    Args:
        A, B: tensors of shape (d, r) and (r, k), or transposed.
    """
    filled = [values.double() for values in (A, B) if values.any()]
    if len(filled) != 1:
        return "neither_zero" if filled else "both_zero"
    values = filled[0]
    if not values.isfinite().all() or values.numel() < 2:
        return None  # what nobody has filled shows in what the model computes, and a single number is no pattern
    if values.max() == values.min():
        return "constant"
    # Independent draws give columns that depend on each other with probability zero.
    return "repeated" if torch.linalg.matrix_rank(values, rtol=1e-5) < min(values.shape) else None


def start_fault(path, A, B):
    """The fault of a new layer whose adapters could not learn what they should; None where they could.

    Where neither matrix is zero, the model does not start as it was: that is for the check to say.
    """
    kind = start_problem(A, B)
    if kind == "both_zero":
        return Fault(f"At the start both lora_A and lora_B of the layer at {path} are zero.", misconception=BOTH_ZERO)
    if kind not in ("constant", "repeated"):
        return None
    name, other = ("lora_A", "lora_B") if A.any() else ("lora_B", "lora_A")
    if kind == "constant":
        problem = f"At the start {name} of the layer at {path} is the same number everywhere."
        return Fault(problem, misconception=CONSTANT_A if name == "lora_A" else None,
                     hint=f"Here {other} is zero, so {name} is drawn at random.")  # fmt: skip
    return Fault(
        f"The columns of {name} of the layer at {path} are copies or multiples of each other, or zero.",
        hint="Each of them is one direction that the update can take. LoRALinear draws every entry on its own: which of your "
        "lines writes into it?",
    )
