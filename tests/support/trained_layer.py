"""The dtypes and devices that the tests of lora_ref try, and a layer as after training."""

import pytest
import torch
from torch import nn

from lora_ref import LoRALinear

DTYPES = [torch.float64, torch.float32, torch.float16, torch.bfloat16]
NEEDS_GPU = pytest.mark.skipif(not torch.cuda.is_available(), reason="this machine has no GPU")
DEVICES = [
    "cpu",
    pytest.param("cuda", marks=[pytest.mark.cuda, NEEDS_GPU]),
]


def make_layer(d=7, k=5, rank=3, alpha=8, bias=True, dtype=torch.float32, device="cpu"):
    """A layer whose B is not zero, as after training."""
    layer = LoRALinear(nn.Linear(d, k, bias=bias, dtype=dtype, device=device), rank=rank, alpha=alpha)
    with torch.no_grad():
        layer.lora_B.normal_()
    return layer
