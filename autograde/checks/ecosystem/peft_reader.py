"""Reads an adapter folder by PEFT's rules for plain LoRA over nn.Linears, without PEFT, in a few milliseconds.

Importing PEFT takes seconds, a check answers in less than one, and a folder that somebody handed in should not be given
to a library that can be told to import modules. The tests hold this reader to the real PEFT, folder by folder.
"""

import json
import math
import re
import sys
from dataclasses import dataclass, field

import torch
from safetensors import SafetensorError
from safetensors.torch import load

CONFIG, TENSORS = "adapter_config.json", "adapter_model.safetensors"
PREFIX = "base_model.model."
SIDES = ("lora_A", "lora_B")
DEFAULTS = {"r": 8, "lora_alpha": 8, "use_rslora": False, "init_lora_weights": True}
# Entries of PEFT's own config that do not change what plain LoRA computes, whatever they hold.
WITHOUT_EFFECT = {
    "auto_mapping", "base_model_name_or_path", "bias", "fan_in_fan_out", "inference_mode", "lora_dropout", "megatron_core",
    "peft_version", "qalora_group_size", "revision", "task_type",
}  # fmt: skip
# Entries that make of it something else, unless they are empty or false.
OTHER_KINDS = {
    "alora_invocation_tokens", "alpha_pattern", "arrow_config", "corda_config", "ensure_weight_tying", "eva_config",
    "exclude_modules", "kasa_config", "layer_replication", "layers_pattern", "layers_to_transform", "loftq_config", "lora_bias",
    "lora_ga_config", "megatron_config", "modules_to_save", "monteclora_config", "rank_pattern", "target_parameters",
    "trainable_token_indices", "use_bdlora", "use_dora", "use_qalora", "velora_config",
}  # fmt: skip
PLAIN_STARTS = (True, False, "gaussian")


@dataclass(frozen=True)
class Stop(Exception):
    """Raised where PEFT would raise, or where this reader cannot go on.

    Attributes:
        kind: what kind of problem it is: a key of `faults_of_folders.MESSAGES`.
        about: the name or value in the folder that causes it.
        raises: the name of PEFT's exception; empty where PEFT would go on.
    """

    kind: str
    about: str = ""
    raises: str = ""


@dataclass
class Reading:
    """The state that PEFT would have after loading.

    Attributes:
        config: the entries that matter, with PEFT's defaults for those that are absent.
        tensors: all that is in the file.
        adapters: ``{module: (A (r, in), B (out, r), scaling)}``; a side that the file lacks is None.
        missing, unused: names of tensors that PEFT looks for and does not find, and that it finds and does not look for.
    """

    config: dict
    tensors: dict
    adapters: dict = field(default_factory=dict)
    missing: list = field(default_factory=list)
    unused: list = field(default_factory=list)


def read(files, modules):
    """Load a folder.

    Args:
        files: the bytes of each file by name.
        modules: every module of the base by its full name: ``(out, in)`` of an nn.Linear, None of another one.

    Raises:
        Stop: see there.
    """
    config = _config(files)
    targets = _targets(config["target_modules"], modules)
    return _fill(Reading(config, tensors(files)), targets)


def entries(files):
    """The config's entries as they were written; none where there is no config that can be read."""
    try:
        config = json.loads(files[CONFIG])
    except (KeyError, ValueError, RecursionError):
        return {}
    return config if isinstance(config, dict) else {}


def _config(files):
    if CONFIG not in files:
        raise Stop("no config", raises="ValueError")
    try:
        config = json.loads(files[CONFIG])
    except (ValueError, RecursionError):
        raise Stop("config is no JSON", raises="JSONDecodeError") from None
    if not isinstance(config, dict):
        raise Stop("config is no JSON", "a dict", raises="TypeError")
    if "peft_type" not in config:
        raise Stop("no peft_type", raises="KeyError")
    if config["peft_type"] != "LORA":
        raise Stop("peft_type", str(config["peft_type"])[:40])
    for name in OTHER_KINDS & config.keys():
        if config[name] not in (None, {}, []) and config[name] is not False:
            raise Stop("other kind", name)
    config = DEFAULTS | config
    if config["init_lora_weights"] not in PLAIN_STARTS:
        raise Stop("start", str(config["init_lora_weights"])[:40])
    r, alpha = config["r"], config["lora_alpha"]
    if type(r) is not int or r < 1:
        raise Stop("r", str(r)[:40], raises="ValueError" if type(r) is int else "TypeError")
    if isinstance(alpha, bool) or not isinstance(alpha, (int, float)) or not abs(alpha) <= sys.float_info.max:
        raise Stop("lora_alpha", str(alpha)[:40], raises="TypeError")
    return config | {"target_modules": config.get("target_modules")}


def _targets(target_modules, modules):
    """The modules that PEFT would adapt, with their sizes."""
    if isinstance(target_modules, list) and all(isinstance(name, str) for name in target_modules):
        names = [
            name for name in modules if any(name == target or name.endswith(f".{target}") for target in target_modules)
        ]
    elif isinstance(target_modules, str):
        if _could_take_for_ever(target_modules):
            raise Stop("pattern", target_modules[:60])
        try:
            names = [name for name in modules if re.fullmatch(target_modules, name)]
        except re.error:
            raise Stop("pattern", target_modules[:60], raises="error") from None
    else:
        raise Stop("no targets", raises="ValueError")
    if not names:
        raise Stop("targets match nothing", str(target_modules)[:120], raises="NoMatchingPeftModuleError")
    if not_linear := [name for name in names if modules[name] is None]:
        raise Stop("target is no Linear", not_linear[0], raises="ValueError")
    return {name: modules[name] for name in names}


def _could_take_for_ever(pattern):
    """Whether matching a module's name could take longer than a moment: each alternative, and each repetition in a repeated
    group, multiplies the ways that have to be tried.
    """
    repetitions, alternatives = len(re.findall(r"(?<!\()[*+?{]", pattern)), pattern.count("|")
    if len(pattern) > 300 or repetitions > 4 or alternatives > 8:
        return True
    # A space or a comment may stand between a group and its repetition. No name has one.
    if re.search(r"[\s#]", pattern):
        return True
    return bool(re.search(r"\)[*+{]", pattern)) and (alternatives > 0 or repetitions > 2)


def tensors(files):
    """The tensors in the safetensors file by name. Raises Stop if there is no such file or it cannot be read."""
    if TENSORS not in files:
        raise Stop(
            "pickle" if "adapter_model.bin" in files else "no tensors"
        )  # PEFT would look on the Hugging Face Hub
    try:
        return load(files[TENSORS])
    except (SafetensorError, ValueError, KeyError, TypeError, RuntimeError):
        raise Stop("tensors cannot be read", raises="SafetensorError") from None


def _fill(reading, targets):
    r, alpha = reading.config["r"], reading.config["lora_alpha"]
    scaling = alpha / math.sqrt(r) if reading.config["use_rslora"] else alpha / r
    used = set()
    for name, (out, size) in targets.items():
        sides = []
        for side, shape in zip(SIDES, ((r, size), (out, r)), strict=True):
            keys = [f"{PREFIX}{name}.{side}.weight", f"{PREFIX}{name}.{side}.default.weight"]
            key = next((key for key in keys if key in reading.tensors), None)
            if key is None:
                reading.missing.append(keys[0])
                sides.append(None)
                continue
            used.add(key)
            if (tensor := reading.tensors[key]).shape != shape:
                raise Stop("shape", f"{key} is {tuple(tensor.shape)}, not {shape}", raises="RuntimeError")
            sides.append(tensor)
        reading.adapters[name] = (*sides, scaling)
    reading.unused = [key for key in reading.tensors if key not in used]
    return reading


def delta(adapter):
    """What an adapter of a `Reading` adds to the weight, ``(out, in)`` in float64; None where B is missing, so zero."""
    A, B, scaling = adapter
    if B is None or A is None:
        return None
    return scaling * (B.double() @ A.double())


def as_bytes(files):
    """The probe's files, uint8 tensors, as bytes."""
    return {name: content.numpy().tobytes() for name, content in files.items() if isinstance(content, torch.Tensor)}
