"""Adapters on disk, in the format of the PEFT library, which most other software reads too.

A folder of two files. `adapter_config.json` says which modules are adapted and how strongly the adapter is scaled;
`adapter_model.safetensors` holds A and B of each module, transposed, because PEFT stores each as the weight of a layer:

    here                      there, under "base_model.model.<name of the module>"
    lora_A (d, r)             .lora_A.weight (r, d)                      an nn.Linear
    lora_B (r, k)             .lora_B.weight (k, r)
    A (r, in * kh * kw)       .lora_A.weight (r, in, kh, kw)             a convolution, see weight_space.py
    B (out, r)                .lora_B.weight (out, r, 1, 1)

PEFT itself reads generously: without the B's of a file it warns and computes the base, keys too many it drops, and what
it does not find it takes from its defaults. Here a file is read as a whole and exactly, or not at all.
"""

import json
import math
import re
from numbers import Real
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import nn
from torch.nn.utils import parametrize

from .formulas import to_linear_weights
from .layer import LoRALinear, check_fits
from .variants import portable_alpha
from .weight_space import LoRAWeight, adapt_weight

CONFIG, TENSORS = "adapter_config.json", "adapter_model.safetensors"
PREFIX, KEYS = "base_model.model.", (".lora_A.weight", ".lora_B.weight")
CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)

READ = ("peft_type", "r", "lora_alpha", "target_modules", "use_rslora", "init_lora_weights")
# Say where an adapter came from or how to train it on; what it computes does not depend on them.
WITHOUT_EFFECT = (
    "auto_mapping",
    "base_model_name_or_path",
    "eva_config",
    "inference_mode",
    "lora_dropout",
    "megatron_core",
    "peft_version",
    "qalora_group_size",
    "revision",
    "runtime_config",
    "task_type",
)
PLAIN_STARTS = (True, False, "gaussian", "orthogonal", "eva")  # these leave the base as it is


def write_peft_adapter(model, directory, rank, alpha, target_modules):
    """Write the adapters of `model`, LoRALinears and LoRAWeights, into `directory` for PEFT to read.

    directory       a str or a Path; it is made, with its parents, and the two files in it are replaced
    rank, alpha     those of every adapter in the model; for rank-stabilised ones, `portable_alpha(alpha, rank)`
    target_modules  what PEFT will find the modules by: a list of names, as for `inject`, or a regular expression for
                    the whole name. It must name the modules that are adapted and no others

    Each tensor keeps its dtype, bit for bit. Merged or switched off, the same is written. Raises ValueError for a model
    that such a file cannot describe; then nothing has been written.
    """
    adapters, names = _adapters(model)
    if not adapters:
        raise ValueError("This model holds no adapter: call inject or add_lora first.")
    for name, (A, _, scaling) in adapters.items():
        _refuse_several_places(name, names)
        if len(A) != rank or not math.isclose(scaling, alpha / rank):
            raise ValueError(
                f"{name or 'The model'} has rank {len(A)} and scaling {scaling:g}, not {rank} and {alpha} / {rank} = "
                f"{alpha / rank:g}. One file holds one rank and one alpha: write each kind into a folder of its own."
            )
    named = {name for name in names if _named(name, target_modules)}
    if wrong := sorted(named ^ set(adapters)):
        state = "is named by it and not adapted" if wrong[0] in named else "is adapted and not named by it"
        raise ValueError(
            f"target_modules must fit the adapters in the model: {wrong[0] or 'the model itself'} {state}."
        )
    state = {}
    for name, (A, B, _) in adapters.items():
        state |= {PREFIX + name + KEYS[0]: A.detach(), PREFIX + name + KEYS[1]: B.detach()}
    config = {
        "peft_type": "LORA",
        "r": rank,
        "lora_alpha": int(alpha) if float(alpha).is_integer() else alpha,  # some readers take whole numbers only
        "target_modules": target_modules if isinstance(target_modules, str) else list(target_modules),
        "lora_dropout": 0.0,
        "bias": "none",
        "use_rslora": False,
        "use_dora": False,
        "init_lora_weights": True,
        "inference_mode": True,
    }
    directory = Path(directory)
    directory.mkdir(parents=True, exist_ok=True)
    save_file(state, directory / TENSORS, metadata={"format": "pt"})
    (directory / CONFIG).write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")


def read_peft_adapter(model, directory):
    """Put the adapter that lies in `directory` into `model`, in place. Returns the names of the modules it adapts.

    An nn.Linear becomes a LoRALinear, a convolution gets a LoRAWeight, in the dtype and on the device of their weights;
    these are frozen. Rank-stabilised scaling is honoured. Raises FileNotFoundError for a file that is not there, and
    ValueError for one that is damaged, does not fit the model, or asks for more than plain LoRA; then the model is as
    it was.
    """
    config, state = _read_config(Path(directory) / CONFIG), _read_tensors(Path(directory) / TENSORS)
    rank, alpha = config["r"], config["lora_alpha"]
    if config.get("use_rslora"):
        alpha = portable_alpha(alpha, rank)
    model = getattr(model, "_orig_mod", model)  # under torch.compile
    adapters, names = _adapters(model)
    found = {name: module for name, module in names.items() if _named(name, config["target_modules"])}
    if not found:
        raise ValueError(f"No module is called {config['target_modules']}: is this the model it was trained on?")
    expected = {}
    for name, module in found.items():
        _refuse_several_places(name, names)
        if name in adapters:
            raise ValueError(f"{name} carries an adapter already: read this one into the plain model.")
        shapes = _shapes(name, module, rank, alpha)
        expected |= {PREFIX + name + key: shape for key, shape in zip(KEYS, shapes, strict=True)}
    _compare(expected, state)
    for name, module in found.items():  # nothing can fail from here on
        A, B = (state[PREFIX + name + key] for key in KEYS)
        with torch.no_grad():
            if isinstance(module, nn.Linear):
                layer = LoRALinear(module, rank, alpha)
                layer.lora_A.copy_(A.T), layer.lora_B.copy_(B.T)  # (r, d) -> (d, r), (k, r) -> (r, k)
                model.set_submodule(name, layer)
            else:
                adapter = adapt_weight(module, rank, alpha).parametrizations.weight[0]
                adapter.A.copy_(A.flatten(1)), adapter.B.copy_(B.flatten(1))  # (r, in * kh * kw), (out, r)
    return list(found)


def _adapters(model):
    """({name: (A, B, scaling)} as PEFT stores them, {name: module} of all modules that PEFT would see in the base)."""
    adapters, names = {}, {}
    for name, module in model.named_modules(remove_duplicate=False):
        name = ".".join(part for part in name.split(".") if part != "_orig_mod")  # torch.compile's own level
        if any(name == above or name.startswith(f"{above}.") for above in adapters):
            continue  # what an adapter is made of
        names[name] = module
        if isinstance(module, LoRALinear):
            adapters[name] = (*to_linear_weights(module.lora_A, module.lora_B), module.scaling)
        elif parametrize.is_parametrized(module, "weight"):
            adapter, shape = module.parametrizations.weight[0], module.parametrizations.weight.original.shape
            if isinstance(adapter, LoRAWeight):
                _refuse_what_peft_leaves_out(name, module)
                A, B = adapter.A.view(-1, *shape[1:]), adapter.B.view(*adapter.B.shape, *[1] * (len(shape) - 2))
                adapters[name] = A.contiguous(), B.contiguous(), adapter.scale
    return adapters, names


def _named(name, target_modules):
    """PEFT's rule: a list matches whole names, from the end back to a dot; a string is a pattern for all of a name."""
    if isinstance(target_modules, str):
        return bool(re.fullmatch(target_modules, name))
    return any(name == target or name.endswith(f".{target}") for target in target_modules)


def _shapes(name, module, rank, alpha):
    """What A and B of a module must be like in the file. Raises ValueError for a module that cannot be adapted."""
    if isinstance(module, nn.Linear):
        check_fits(module, rank, alpha)
    elif not isinstance(module, CONVOLUTIONS):
        raise ValueError(f"{name} is a {type(module).__name__}: only nn.Linears and convolutions can be adapted here.")
    _refuse_what_peft_leaves_out(name, module)
    out, *rest = module.weight.shape
    return (rank, *rest), (out, rank, *[1] * (len(rest) - 1))


def _refuse_several_places(name, names):
    if len(places := [other for other, module in names.items() if module is names[name]]) > 1:
        raise ValueError(f"{' and '.join(places)} are one layer, and PEFT would adapt it at the first place only.")


def _refuse_what_peft_leaves_out(name, module):
    if isinstance(module, CONVOLUTIONS):
        if module.groups != 1 or set(module.dilation) != {1} or module.padding_mode != "zeros":
            raise ValueError(
                f"PEFT's adapter of a convolution knows no groups, dilation or padding_mode: {name} has one."
            )


def _read_config(path):
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise FileNotFoundError(f"There is no {path}: name the folder that holds it.") from None
    except ValueError as error:
        raise ValueError(f"{path} is damaged ({error}): get the file again.") from None
    if not isinstance(config, dict) or config.get("peft_type") != "LORA":
        raise ValueError(f'{path} describes no LoRA adapter: its peft_type must be "LORA".')
    if config.get("init_lora_weights", True) not in PLAIN_STARTS:
        raise ValueError(
            f"init_lora_weights is {config['init_lora_weights']!r} in {path}: this adapter was trained over a changed "
            "base. Save it from PEFT as plain LoRA (save_pretrained with path_initial_model_for_weight_conversion)."
        )
    for field, value in config.items():
        off = value is None or value is False or value in ("none", {}, [])  # 0 is not: layers_to_transform may be 0
        if field not in (*READ, *WITHOUT_EFFECT) and not off:
            raise ValueError(
                f"{path} asks for {field} = {value!r}, which plain LoRA cannot do. Load the adapter in PEFT, and merge "
                "it there with merge_and_unload."
            )
    if type(config.get("r")) is not int or config["r"] < 1:
        raise ValueError(
            f"r must be a whole number from 1 in {path}, not {config.get('r')!r}: it is the rows of lora_A."
        )
    alpha, targets = config.get("lora_alpha"), config.get("target_modules")
    if not isinstance(alpha, Real) or isinstance(alpha, bool) or not math.isfinite(alpha):
        raise ValueError(f"lora_alpha must be a number in {path}, not {alpha!r}: ask who trained it.")
    if not isinstance(targets, str) and not (isinstance(targets, list) and all(isinstance(t, str) for t in targets)):
        raise ValueError(f"target_modules must be a list of names or one pattern in {path}, not {targets!r}.")
    return config


def _read_tensors(path):
    try:
        return load_file(path)
    except FileNotFoundError:
        raise FileNotFoundError(
            f"There is no {path}. (An adapter_model.bin is a pickle, which can run code; have it saved as safetensors.)"
        ) from None
    except SafetensorError as error:
        raise ValueError(f"{path} is damaged or cut short ({error}): get the file again.") from None


def _compare(expected, state):
    """Raise ValueError unless `state` holds exactly the tensors that are expected, in their shapes."""
    if missing := [key for key in expected if key not in state]:
        raise ValueError(f"The file lacks {missing[0]} ({len(missing)} of {len(expected)} tensors are missing).")
    if extra := [key for key in state if key not in expected]:
        raise ValueError(f"The file holds {extra[0]}, for which this model has no place ({len(extra)} such tensors).")
    for key, shape in expected.items():
        tensor = state[key]
        if tensor.shape != shape:
            raise ValueError(f"{key} is {tuple(tensor.shape)} in the file; r and this model ask for {tuple(shape)}.")
        if not tensor.is_floating_point():
            raise ValueError(f"{key} holds {tensor.dtype}: an adapter is made of floating-point numbers.")
