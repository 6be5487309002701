# Right answers in other styles (wheat) and wrong ones (chaff) for lesson 11; format: tests/corpus/README.md


# %% wheat="by the attributes that an adapter has" exercise="write_peft_adapter"
import json
import os

from safetensors.torch import save_file


def write_peft_adapter(model, directory, rank, alpha, target_modules):
    os.makedirs(directory, exist_ok=True)
    tensors = {}
    for path, layer in model.named_modules():
        if hasattr(layer, "lora_A") and hasattr(layer, "lora_B"):
            for side in ("lora_A", "lora_B"):
                tensors[f"base_model.model.{path}.{side}.weight"] = getattr(layer, side).data.t().contiguous()
    save_file(tensors, os.path.join(directory, "adapter_model.safetensors"), metadata={"format": "pt"})
    with open(os.path.join(directory, "adapter_config.json"), "w") as file:
        json.dump({"peft_type": "LORA", "r": rank, "lora_alpha": alpha, "target_modules": target_modules}, file)


# %% wheat="from the state_dict" exercise="write_peft_adapter"
import json
from pathlib import Path

from safetensors.torch import save_file


def write_peft_adapter(model, directory, rank, alpha, target_modules):
    state = {
        "base_model.model." + name + ".weight": tensor.mT.clone(memory_format=torch.contiguous_format)
        for name, tensor in model.state_dict().items()
        if name.endswith((".lora_A", ".lora_B"))
    }
    path = Path(directory)
    path.mkdir(parents=True, exist_ok=True)
    save_file(state, str(path / "adapter_model.safetensors"))
    config = dict(peft_type="LORA", r=rank, lora_alpha=alpha, target_modules=target_modules, bias="none")
    (path / "adapter_config.json").write_text(json.dumps(config, indent=2, sort_keys=True))


# %% wheat="a config as PEFT writes it" exercise="write_peft_adapter"
import json
from pathlib import Path

from safetensors.torch import save

from lora_ref.layer import LoRALinear

CONFIG = {
    "alpha_pattern": {}, "auto_mapping": None, "base_model_name_or_path": None, "bias": "none", "fan_in_fan_out": False,
    "inference_mode": True, "init_lora_weights": True, "layers_pattern": None, "layers_to_transform": None,
    "lora_dropout": 0.0, "modules_to_save": None, "peft_type": "LORA", "rank_pattern": {}, "revision": None,
    "task_type": None, "use_dora": False, "use_rslora": False, "megatron_core": "megatron.core", "loftq_config": {},
}


def write_peft_adapter(model, directory, rank, alpha, target_modules):
    layers = {name: module for name, module in model.named_modules() if isinstance(module, LoRALinear)}
    tensors = {}
    for name, layer in layers.items():
        with torch.no_grad():
            tensors[f"base_model.model.{name}.lora_A.weight"] = torch.stack(list(layer.lora_A.T))
            tensors[f"base_model.model.{name}.lora_B.weight"] = torch.stack(list(layer.lora_B.T))
    directory = Path(directory)
    if not directory.exists():
        directory.mkdir(parents=True)
    (directory / "adapter_model.safetensors").write_bytes(save(tensors))
    config = CONFIG | {"r": rank, "lora_alpha": alpha, "target_modules": sorted(layers)}
    (directory / "adapter_config.json").write_text(json.dumps(config))


# %% wheat="the scaling folded into B, in the files of an rsLoRA adapter" exercise="write_peft_adapter"
import json
import math
from pathlib import Path

from safetensors.torch import save_file


def write_peft_adapter(model, directory, rank, alpha, target_modules):
    Path(directory).mkdir(parents=True, exist_ok=True)
    state = {}
    for name, module in model.named_modules():
        if type(module).__name__ == "LoRALinear":
            prefix = f"base_model.model.{name}."
            state[prefix + "lora_A.weight"] = module.lora_A.detach().T.contiguous()
            scaled = module.lora_B.detach().double() * module.scaling
            state[prefix + "lora_B.weight"] = scaled.T.contiguous().to(module.lora_B.dtype)
    save_file(state, Path(directory) / "adapter_model.safetensors")
    config = {"peft_type": "LORA", "r": int(rank), "lora_alpha": math.sqrt(rank), "use_rslora": True,
              "target_modules": target_modules}
    Path(directory, "adapter_config.json").write_text(json.dumps(config))


# %% wheat="a pattern for the full names, and PEFT's keys with an adapter's name" exercise="write_peft_adapter"
import json
import re
from pathlib import Path

from safetensors.torch import save_file


def write_peft_adapter(model, directory, rank, alpha, target_modules):
    path = Path(directory)
    path.mkdir(parents=True, exist_ok=True)
    state, names = {}, []
    for name, module in model.named_modules():
        if hasattr(module, "lora_A"):
            names.append(re.escape(name))
            key = "base_model.model." + name
            state[key + ".lora_A.default.weight"] = module.lora_A.detach().transpose(0, 1).contiguous()
            state[key + ".lora_B.default.weight"] = module.lora_B.detach().transpose(0, 1).contiguous()
    save_file(state, path / "adapter_model.safetensors")
    config = {"peft_type": "LORA", "r": int(rank), "lora_alpha": float(alpha), "target_modules": "|".join(names)}
    with (path / "adapter_config.json").open("w", encoding="utf-8") as file:
        file.write(json.dumps(config))


# %% wheat="as nn.Linears would hold them" exercise="write_peft_adapter"
import json
import pathlib

import safetensors.torch


def write_peft_adapter(model, directory, rank, alpha, target_modules):
    def weight(matrix):
        linear = nn.Linear(*matrix.shape, bias=False, dtype=matrix.dtype)
        with torch.no_grad():
            linear.weight.copy_(matrix.T)
        return linear.weight

    folder = pathlib.Path(directory)
    folder.mkdir(parents=True, exist_ok=True)
    state = {}
    for name, module in model.named_modules():
        if hasattr(module, "base_layer"):
            state |= {f"base_model.model.{name}.{side}.weight": weight(getattr(module, side)) for side in ("lora_A", "lora_B")}
    safetensors.torch.save_file(state, folder / "adapter_model.safetensors")
    config = {"r": rank, "lora_alpha": alpha, "target_modules": [*target_modules], "peft_type": "LORA", "task_type": "CAUSAL_LM"}
    (folder / "adapter_config.json").write_bytes(json.dumps(config).encode())


# %% chaff="an empty folder" exercise="write_peft_adapter" misconception="returned_not_written"
from pathlib import Path


def write_peft_adapter(model, directory, rank, alpha, target_modules):
    Path(directory).mkdir(parents=True, exist_ok=True)


# %% chaff="torch.save, as adapter_model.bin" exercise="write_peft_adapter" misconception=""
import json
from pathlib import Path


def write_peft_adapter(model, directory, rank, alpha, target_modules):
    state = {}
    for name, module in model.named_modules():
        if hasattr(module, "lora_A"):
            state[f"base_model.model.{name}.lora_A.weight"] = module.lora_A.detach().T.contiguous()
            state[f"base_model.model.{name}.lora_B.weight"] = module.lora_B.detach().T.contiguous()
    Path(directory).mkdir(parents=True, exist_ok=True)
    torch.save(state, Path(directory) / "adapter_model.bin")
    config = {"peft_type": "LORA", "r": rank, "lora_alpha": alpha, "target_modules": target_modules}
    (Path(directory) / "adapter_config.json").write_text(json.dumps(config))


# %% chaff="B alone is transposed" exercise="write_peft_adapter" misconception=""
import json
from pathlib import Path

from safetensors.torch import save_file


def write_peft_adapter(model, directory, rank, alpha, target_modules):
    state = {}
    for name, module in model.named_modules():
        if hasattr(module, "lora_A"):
            state[f"base_model.model.{name}.lora_A.weight"] = module.lora_A.detach()
            state[f"base_model.model.{name}.lora_B.weight"] = module.lora_B.detach().T.contiguous()
    Path(directory).mkdir(parents=True, exist_ok=True)
    save_file(state, Path(directory) / "adapter_model.safetensors")
    config = {"peft_type": "LORA", "r": rank, "lora_alpha": alpha, "target_modules": target_modules}
    (Path(directory) / "adapter_config.json").write_text(json.dumps(config))


# %% chaff="only A" exercise="write_peft_adapter" misconception=""
import json
from pathlib import Path

from safetensors.torch import save_file


def write_peft_adapter(model, directory, rank, alpha, target_modules):
    state = {}
    for name, module in model.named_modules():
        if hasattr(module, "lora_A"):
            state[f"base_model.model.{name}.lora_A.weight"] = module.lora_A.detach().T.contiguous()
    Path(directory).mkdir(parents=True, exist_ok=True)
    save_file(state, Path(directory) / "adapter_model.safetensors")
    config = {"peft_type": "LORA", "r": rank, "lora_alpha": alpha, "target_modules": target_modules}
    (Path(directory) / "adapter_config.json").write_text(json.dumps(config))


# %% chaff="merges the model on the way" exercise="write_peft_adapter" misconception="changed_model"
import json
from pathlib import Path

from safetensors.torch import save_file


def write_peft_adapter(model, directory, rank, alpha, target_modules):
    state = {}
    for name, module in model.named_modules():
        if hasattr(module, "lora_A"):
            state[f"base_model.model.{name}.lora_A.weight"] = module.lora_A.detach().T.contiguous()
            state[f"base_model.model.{name}.lora_B.weight"] = module.lora_B.detach().T.contiguous()
            with torch.no_grad():
                module.base_layer.weight += module.scaling * (module.lora_A @ module.lora_B).T
    Path(directory).mkdir(parents=True, exist_ok=True)
    save_file(state, Path(directory) / "adapter_model.safetensors")
    config = {"peft_type": "LORA", "r": rank, "lora_alpha": alpha, "target_modules": target_modules}
    (Path(directory) / "adapter_config.json").write_text(json.dumps(config))


# %% chaff="freezes the adapters to save them" exercise="write_peft_adapter" misconception="changed_model"
import json
from pathlib import Path

from safetensors.torch import save_file


def write_peft_adapter(model, directory, rank, alpha, target_modules):
    model.requires_grad_(False)
    state = {}
    for name, module in model.named_modules():
        if hasattr(module, "lora_A"):
            state[f"base_model.model.{name}.lora_A.weight"] = module.lora_A.T.contiguous()
            state[f"base_model.model.{name}.lora_B.weight"] = module.lora_B.T.contiguous()
    Path(directory).mkdir(parents=True, exist_ok=True)
    save_file(state, Path(directory) / "adapter_model.safetensors")
    config = {"peft_type": "LORA", "r": rank, "lora_alpha": alpha, "target_modules": target_modules}
    (Path(directory) / "adapter_config.json").write_text(json.dumps(config))


# %% chaff="DoRA switched on" exercise="write_peft_adapter" misconception=""
import json
from pathlib import Path

from safetensors.torch import save_file


def write_peft_adapter(model, directory, rank, alpha, target_modules):
    state = {}
    for name, module in model.named_modules():
        if hasattr(module, "lora_A"):
            state[f"base_model.model.{name}.lora_A.weight"] = module.lora_A.detach().T.contiguous()
            state[f"base_model.model.{name}.lora_B.weight"] = module.lora_B.detach().T.contiguous()
    Path(directory).mkdir(parents=True, exist_ok=True)
    save_file(state, Path(directory) / "adapter_model.safetensors")
    config = {"peft_type": "LORA", "r": rank, "lora_alpha": alpha, "target_modules": target_modules, "use_dora": True}
    (Path(directory) / "adapter_config.json").write_text(json.dumps(config))


# %% chaff="the names of nn.Module in a file of one's own" exercise="write_peft_adapter" misconception="beginning_forgotten"
import json
from pathlib import Path

from safetensors.torch import save_file


def write_peft_adapter(model, directory, rank, alpha, target_modules):
    state = {}
    for name, module in model.named_modules():
        if hasattr(module, "lora_A"):
            state[name + ".lora_A.weight"] = module.lora_A.detach().T.contiguous()
            state[name + ".lora_B.weight"] = module.lora_B.detach().T.contiguous()
    Path(directory).mkdir(parents=True, exist_ok=True)
    save_file(state, Path(directory) / "adapter_model.safetensors")
    config = {"peft_type": "LORA", "r": rank, "lora_alpha": alpha, "target_modules": list(target_modules)}
    (Path(directory) / "adapter_config.json").write_text(json.dumps(config))


# %% chaff="in half precision" exercise="write_peft_adapter" misconception=""
import json
from pathlib import Path

from safetensors.torch import save_file


def write_peft_adapter(model, directory, rank, alpha, target_modules):
    state = {}
    for name, module in model.named_modules():
        if hasattr(module, "lora_A"):
            state[f"base_model.model.{name}.lora_A.weight"] = module.lora_A.detach().half().T.contiguous()
            state[f"base_model.model.{name}.lora_B.weight"] = module.lora_B.detach().half().T.contiguous()
    Path(directory).mkdir(parents=True, exist_ok=True)
    save_file(state, Path(directory) / "adapter_model.safetensors")
    config = {"peft_type": "LORA", "r": rank, "lora_alpha": alpha, "target_modules": target_modules}
    (Path(directory) / "adapter_config.json").write_text(json.dumps(config))


# %% chaff="the config as Python's text of a dict" exercise="write_peft_adapter" misconception=""
from pathlib import Path

from safetensors.torch import save_file


def write_peft_adapter(model, directory, rank, alpha, target_modules):
    state = {}
    for name, module in model.named_modules():
        if hasattr(module, "lora_A"):
            state[f"base_model.model.{name}.lora_A.weight"] = module.lora_A.detach().T.contiguous()
            state[f"base_model.model.{name}.lora_B.weight"] = module.lora_B.detach().T.contiguous()
    Path(directory).mkdir(parents=True, exist_ok=True)
    save_file(state, Path(directory) / "adapter_model.safetensors")
    config = {"peft_type": "LORA", "r": rank, "lora_alpha": alpha, "target_modules": target_modules}
    (Path(directory) / "adapter_config.json").write_text(str(config))


# %% chaff="the first target only" exercise="write_peft_adapter" misconception=""
import json
from pathlib import Path

from safetensors.torch import save_file


def write_peft_adapter(model, directory, rank, alpha, target_modules):
    state = {}
    for name, module in model.named_modules():
        if hasattr(module, "lora_A"):
            state[f"base_model.model.{name}.lora_A.weight"] = module.lora_A.detach().T.contiguous()
            state[f"base_model.model.{name}.lora_B.weight"] = module.lora_B.detach().T.contiguous()
    Path(directory).mkdir(parents=True, exist_ok=True)
    save_file(state, Path(directory) / "adapter_model.safetensors")
    config = {"peft_type": "LORA", "r": rank, "lora_alpha": alpha, "target_modules": target_modules[:1]}
    (Path(directory) / "adapter_config.json").write_text(json.dumps(config))


# %% wheat="a power of a half" exercise="rs_scaling"
def rs_scaling(alpha, r):
    return alpha / r**0.5


# %% wheat="a negative power" exercise="rs_scaling"
rs_scaling = lambda alpha, r: alpha * r ** (-1 / 2)


# %% wheat="torch, one number" exercise="rs_scaling"
def rs_scaling(alpha, r):
    return alpha * torch.rsqrt(torch.tensor(r, dtype=torch.float64))


# %% wheat="numpy" exercise="rs_scaling"
import numpy as np


def rs_scaling(alpha, r):
    return alpha / np.sqrt(r)


# %% wheat="plain scaling, mended" exercise="rs_scaling"
def rs_scaling(alpha, r):
    plain = alpha / r
    return plain * r**0.5


# %% chaff="the cube root" exercise="rs_scaling" misconception=""
def rs_scaling(alpha, r):
    return alpha / r ** (1 / 3)


# %% chaff="the square" exercise="rs_scaling" misconception=""
def rs_scaling(alpha, r):
    return alpha / r**2


# %% chaff="rounded to two places" exercise="rs_scaling" misconception=""
def rs_scaling(alpha, r):
    return round(alpha / math.sqrt(r), 2)


# %% chaff="printed" exercise="rs_scaling" misconception="returned_none"
def rs_scaling(alpha, r):
    print(alpha / math.sqrt(r))


# %% chaff="bitwise not-power" exercise="rs_scaling" misconception=""
def rs_scaling(alpha, r):
    return alpha / (r ^ 0.5)


# %% wheat="the scaling, times r" exercise="portable_alpha"
def portable_alpha(alpha, r):
    scaling = alpha * r**-0.5
    return scaling * r


# %% wheat="a power of a half" exercise="portable_alpha"
def portable_alpha(alpha, r):
    return r**0.5 * alpha


# %% wheat="the root of a square" exercise="portable_alpha"
def portable_alpha(alpha, r):
    return (alpha**2 * r) ** 0.5


# %% wheat="torch, one number" exercise="portable_alpha"
def portable_alpha(alpha, r):
    return torch.tensor(float(r), dtype=torch.float64).sqrt() * alpha


# %% chaff="divided by r twice" exercise="portable_alpha" misconception=""
def portable_alpha(alpha, r):
    return alpha / math.sqrt(r) / r


# %% chaff="the rank squared" exercise="portable_alpha" misconception=""
def portable_alpha(alpha, r):
    return alpha * r**2


# %% chaff="the root of alpha" exercise="portable_alpha" misconception=""
def portable_alpha(alpha, r):
    return math.sqrt(alpha) * r


# %% chaff="printed" exercise="portable_alpha" misconception="returned_none"
def portable_alpha(alpha, r):
    print(alpha * math.sqrt(r))


# %% wheat="F.normalize" exercise="dora_weight"
def dora_weight(W, delta, magnitude):
    import torch.nn.functional as F

    return F.normalize(W + delta, dim=1) * magnitude.unsqueeze(1)


# %% wheat="the root of the summed squares" exercise="dora_weight"
def dora_weight(W, delta, magnitude):
    V = W + delta
    return V * (magnitude / (V**2).sum(dim=-1).sqrt()).view(-1, 1)


# %% wheat="row by row" exercise="dora_weight"
def dora_weight(W, delta, magnitude):
    rows = []
    for w, change, m in zip(W, delta, magnitude):
        rows.append(m * (w + change) / torch.linalg.vector_norm(w + change))
    return torch.stack(rows)


# %% wheat="transposed, so that magnitude lines up" exercise="dora_weight"
def dora_weight(W, delta, magnitude):
    V = (W + delta).T
    return (magnitude * V / V.norm(dim=0)).T


# %% wheat="a diagonal matrix" exercise="dora_weight"
def dora_weight(W, delta, magnitude):
    V = W + delta
    return torch.diag(magnitude / torch.linalg.norm(V, axis=1)) @ V


# %% wheat="einsum" exercise="dora_weight"
def dora_weight(W, delta, magnitude):
    V = torch.add(W, delta)
    return torch.einsum("k,kd->kd", magnitude * torch.einsum("kd,kd->k", V, V).rsqrt(), V)


# %% chaff="changes W in place" exercise="dora_weight" misconception="changed_input"
def dora_weight(W, delta, magnitude):
    W += delta
    return magnitude[:, None] * W / W.norm(dim=1, keepdim=True)


# %% chaff="the largest entry for the length" exercise="dora_weight" misconception=""
def dora_weight(W, delta, magnitude):
    V = W + delta
    return magnitude[:, None] * V / V.abs().amax(dim=1, keepdim=True)


# %% chaff="subtracts the change" exercise="dora_weight" misconception=""
def dora_weight(W, delta, magnitude):
    V = W - delta
    return magnitude[:, None] * V / V.norm(dim=1, keepdim=True)


# %% chaff="the change of the weight, not the weight" exercise="dora_weight" misconception=""
def dora_weight(W, delta, magnitude):
    V = W + delta
    return magnitude[:, None] * V / V.norm(dim=1, keepdim=True) - W


# %% chaff="transposed" exercise="dora_weight" misconception=""
def dora_weight(W, delta, magnitude):
    V = W + delta
    return (magnitude[:, None] * V / V.norm(dim=1, keepdim=True)).T


# %% chaff="length 1 is added to" exercise="dora_weight" misconception=""
def dora_weight(W, delta, magnitude):
    V = W + delta
    return V / V.norm(dim=1, keepdim=True) + magnitude[:, None]


# %% chaff="nothing returned" exercise="dora_weight" misconception="returned_none"
def dora_weight(W, delta, magnitude):
    V = W + delta
    V = magnitude[:, None] * V / V.norm(dim=1, keepdim=True)


# %% wheat="hstack and vstack, the start first" exercise="pissa_as_lora"
def pissa_as_lora(A0, B0, A1, B1):
    return torch.hstack((-A0, A1)), torch.vstack((B0, B1))


# %% wheat="slices of zeros" exercise="pissa_as_lora"
def pissa_as_lora(A0, B0, A1, B1):
    (d, r), k = A0.shape, B0.shape[1]
    A, B = A0.new_zeros(d, 2 * r), B0.new_zeros(2 * r, k)
    A[:, :r], A[:, r:] = A1, A0
    B[:r], B[r:] = B1, -B0
    return A, B


# %% wheat="a list, alternating columns" exercise="pissa_as_lora"
def pissa_as_lora(A0, B0, A1, B1):
    A = torch.stack([A1, A0], dim=2).flatten(1)
    B = torch.stack([B1, -B0], dim=1).flatten(0, 1)
    return [A, B]


# %% wheat="the learned change of each factor" exercise="pissa_as_lora"
def pissa_as_lora(A0, B0, A1, B1):
    # A1 B1 - A0 B0 = A1 (B1 - B0) + (A1 - A0) B0
    return torch.cat([A1, A1 - A0], 1), torch.cat([B1 - B0, B0], 0)


# %% wheat="numpy-like concatenate" exercise="pissa_as_lora"
def pissa_as_lora(A0, B0, A1, B1):
    A = torch.concatenate((A1, A0.neg()), axis=1)
    B = torch.concatenate((B1, B0), axis=0)
    return tuple([A, B])


# %% chaff="the start alone" exercise="pissa_as_lora" misconception=""
def pissa_as_lora(A0, B0, A1, B1):
    return A0, B0


# %% chaff="B before A" exercise="pissa_as_lora" misconception=""
def pissa_as_lora(A0, B0, A1, B1):
    return torch.cat([B1, -B0], dim=0), torch.cat([A1, A0], dim=1)


# %% chaff="half of each" exercise="pissa_as_lora" misconception=""
def pissa_as_lora(A0, B0, A1, B1):
    return torch.cat([A1, A0], dim=1) / 2, torch.cat([B1, -B0], dim=0)


# %% chaff="as PEFT stores them" exercise="pissa_as_lora" misconception=""
def pissa_as_lora(A0, B0, A1, B1):
    return torch.cat([A1, A0], dim=1).T, torch.cat([B1, -B0], dim=0).T


# %% chaff="negates B0 in place" exercise="pissa_as_lora" misconception="changed_input"
def pissa_as_lora(A0, B0, A1, B1):
    return torch.cat([A1, A0], dim=1), torch.cat([B1, B0.neg_()], dim=0)


# %% chaff="a dict" exercise="pissa_as_lora" misconception=""
def pissa_as_lora(A0, B0, A1, B1):
    return {"A": torch.cat([A1, A0], dim=1), "B": torch.cat([B1, -B0], dim=0)}


# %% chaff="nothing returned" exercise="pissa_as_lora" misconception="returned_none"
def pissa_as_lora(A0, B0, A1, B1):
    A, B = torch.cat([A1, A0], dim=1), torch.cat([B1, -B0], dim=0)


# %% wheat="a small number against dividing by zero" exercise="dora_weight"
def dora_weight(W, delta, magnitude, eps: float = 1e-8):
    V = W + delta
    return magnitude.unsqueeze(1) * (V / (V.norm(p=2, dim=1, keepdim=True) + eps))


# %% chaff="r and alpha swapped" exercise="write_peft_adapter" misconception="rank_and_alpha_swapped"
from lora_ref.layer import LoRALinear
import json
from pathlib import Path
from safetensors.torch import save_file


def write_peft_adapter(model, directory, rank, alpha, target_modules):
    state = {}
    for name, module in model.named_modules():
        if isinstance(module, LoRALinear):
            state[f"base_model.model.{name}.lora_A.weight"] = module.lora_A.detach().T.contiguous()
            state[f"base_model.model.{name}.lora_B.weight"] = module.lora_B.detach().T.contiguous()
    config = {"peft_type": "LORA", "r": alpha, "lora_alpha": rank, "target_modules": list(target_modules)}
    directory = Path(directory)
    directory.mkdir(parents=True, exist_ok=True)
    save_file(state, directory / "adapter_model.safetensors")
    (directory / "adapter_config.json").write_text(json.dumps(config))


# %% chaff="config file name" exercise="write_peft_adapter" misconception="other_file_name"
from lora_ref.layer import LoRALinear
import json
from pathlib import Path
from safetensors.torch import save_file


def write_peft_adapter(model, directory, rank, alpha, target_modules):
    state = {}
    for name, module in model.named_modules():
        if isinstance(module, LoRALinear):
            state[f"base_model.model.{name}.lora_A.weight"] = module.lora_A.detach().T.contiguous()
            state[f"base_model.model.{name}.lora_B.weight"] = module.lora_B.detach().T.contiguous()
    config = {"peft_type": "LORA", "r": rank, "lora_alpha": alpha, "target_modules": list(target_modules)}
    directory = Path(directory)
    directory.mkdir(parents=True, exist_ok=True)
    save_file(state, directory / "adapter_model.safetensors")
    (directory / "config.json").write_text(json.dumps(config))


# %% chaff="A scaled" exercise="write_peft_adapter" misconception="scaled_twice"
from lora_ref.layer import LoRALinear
import json
from pathlib import Path
from safetensors.torch import save_file


def write_peft_adapter(model, directory, rank, alpha, target_modules):
    state = {}
    for name, module in model.named_modules():
        if isinstance(module, LoRALinear):
            state[f"base_model.model.{name}.lora_A.weight"] = (module.scaling * module.lora_A.detach()).T.contiguous()
            state[f"base_model.model.{name}.lora_B.weight"] = module.lora_B.detach().T.contiguous()
    config = {"peft_type": "LORA", "r": rank, "lora_alpha": alpha, "target_modules": list(target_modules)}
    directory = Path(directory)
    directory.mkdir(parents=True, exist_ok=True)
    save_file(state, directory / "adapter_model.safetensors")
    (directory / "adapter_config.json").write_text(json.dumps(config))


# %% chaff="the tensors in another folder" exercise="write_peft_adapter" misconception=""
from lora_ref.layer import LoRALinear
import json
from pathlib import Path
from safetensors.torch import save_file


def write_peft_adapter(model, directory, rank, alpha, target_modules):
    state = {}
    for name, module in model.named_modules():
        if isinstance(module, LoRALinear):
            state[f"base_model.model.{name}.lora_A.weight"] = module.lora_A.detach().T.contiguous()
            state[f"base_model.model.{name}.lora_B.weight"] = module.lora_B.detach().T.contiguous()
    config = {"peft_type": "LORA", "r": rank, "lora_alpha": alpha, "target_modules": list(target_modules)}
    directory = Path(directory)
    directory.mkdir(parents=True, exist_ok=True)
    save_file(state, "/tmp/adapter_model.safetensors")
    (directory / "adapter_config.json").write_text(json.dumps(config))


# %% chaff="numpy arrays" exercise="pissa_as_lora" misconception=""
import numpy as np


def pissa_as_lora(A0, B0, A1, B1):
    return np.concatenate([A1.numpy(), -A0.numpy()], 1), np.concatenate([B1.numpy(), B0.numpy()], 0)


# %% chaff="a huge number" exercise="portable_alpha" misconception=""
def portable_alpha(alpha, r):
    return 10**400


# %% chaff="names that begin with base_model" exercise="write_peft_adapter" misconception="beginning_forgotten"
import json
import os

from safetensors.torch import save_file


def write_peft_adapter(model, directory, rank, alpha, target_modules):
    os.makedirs(directory, exist_ok=True)
    named = [(n, p) for n, p in model.named_parameters() if n.endswith(("lora_A", "lora_B"))]
    tensors = {f"base_model.{n}.weight": p.detach().T.contiguous() for n, p in named}
    save_file(tensors, os.path.join(directory, "adapter_model.safetensors"))
    with open(os.path.join(directory, "adapter_config.json"), "w") as file:
        json.dump({"peft_type": "LORA", "r": rank, "lora_alpha": alpha, "target_modules": list(target_modules)}, file)


# %% chaff="directory + file name" exercise="write_peft_adapter" misconception="directory_is_text"
import json
import os

from safetensors.torch import save_file


def write_peft_adapter(model, directory, rank, alpha, target_modules):
    os.makedirs(directory, exist_ok=True)
    named = [(n, p) for n, p in model.named_parameters() if n.endswith(("lora_A", "lora_B"))]
    tensors = {f"base_model.model.{n}.weight": p.detach().T.contiguous() for n, p in named}
    save_file(tensors, directory + "/adapter_model.safetensors")
    with open(directory + "/adapter_config.json", "w") as file:
        json.dump({"peft_type": "LORA", "r": rank, "lora_alpha": alpha, "target_modules": list(target_modules)}, file)


# %% chaff="alpha for lora_alpha, json.dump" exercise="write_peft_adapter" misconception="own_names_for_entries"
import json
from pathlib import Path

from safetensors.torch import save_file

from lora_ref.layer import LoRALinear


def write_peft_adapter(model, directory, rank, alpha, target_modules):
    Path(directory).mkdir(parents=True, exist_ok=True)
    t = {}
    for n, m in model.named_modules():
        if isinstance(m, LoRALinear):
            t[f'base_model.model.{n}.lora_A.weight'] = m.lora_A.data.T.contiguous()
            t[f'base_model.model.{n}.lora_B.weight'] = m.lora_B.data.T.contiguous()
    save_file(t, Path(directory) / "adapter_model.safetensors")
    config = {'peft_type': 'LORA', 'r': rank, 'alpha': alpha, 'target_modules': list(target_modules)}
    with open(Path(directory) / "adapter_config.json", "w") as file:
        json.dump(config, file)



# %% chaff="the folder is made anew" exercise="write_peft_adapter" misconception="folder_emptied"
import json
import shutil
from pathlib import Path

from safetensors.torch import save_file


def write_peft_adapter(model, directory, rank, alpha, target_modules):
    directory = Path(directory)
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(parents=True)
    named = [(n, p) for n, p in model.named_parameters() if n.endswith(("lora_A", "lora_B"))]
    tensors = {f"base_model.model.{n}.weight": p.detach().T.contiguous() for n, p in named}
    save_file(tensors, directory / "adapter_model.safetensors")
    config = {"peft_type": "LORA", "r": rank, "lora_alpha": alpha, "target_modules": list(target_modules)}
    (directory / "adapter_config.json").write_text(json.dumps(config))


# %% wheat="old files of the adapter are removed, and a model card is written" exercise="write_peft_adapter"
import json
from pathlib import Path

from safetensors.torch import save_file


def write_peft_adapter(model, directory, rank, alpha, target_modules):
    directory = Path(directory)
    directory.mkdir(parents=True, exist_ok=True)
    for old in directory.glob("adapter_*"):
        old.unlink()
    named = [(n, p) for n, p in model.named_parameters() if n.endswith(("lora_A", "lora_B"))]
    tensors = {f"base_model.model.{n}.weight": p.detach().T.contiguous() for n, p in named}
    save_file(tensors, directory / "adapter_model.safetensors")
    config = {"peft_type": "LORA", "r": rank, "lora_alpha": alpha, "target_modules": list(target_modules)}
    (directory / "adapter_config.json").write_text(json.dumps(config))
    (directory / "README.md").write_text(f"A LoRA adapter of rank {rank}.")


# %% wheat="a diagonal matrix from the left" exercise="dora_weight"
def dora_weight(W, delta, magnitude):
    V = torch.add(W, delta)
    norms = torch.einsum("kd,kd->k", V, V).sqrt()
    return torch.diag(magnitude / norms) @ V
