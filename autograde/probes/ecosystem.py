"""The probe of lesson 11: let the learner's function write a model's adapters to a folder, and return its files."""

import shutil
import tempfile
from pathlib import Path

import torch
from torch import nn

from autograde.probes.given import run_source
from autograde.probes.layers import make_base
from autograde.remote import facts, wire
from autograde.remote.facts import same_bits
from autograde.remote.probe import probe
from autograde.remote.raised import catch

MAX_BYTES = 2**20  # of one file; an honest one has a few thousand
MAX_FILES = 20


def _module(part, layer_class, rank, alpha):
    """An nn.LayerNorm, an nn.Linear, or a layer of the class around one, as `part` says."""
    if "weight" not in part:
        return nn.LayerNorm(part["size"])
    base = make_base(part["weight"], part["bias"])
    if "A" not in part:
        return base
    layer = layer_class(base, rank=rank, alpha=alpha)
    with torch.no_grad():
        layer.lora_A.copy_(part["A"])
        layer.lora_B.copy_(part["B"])
    return layer


def make_model(parts, layer_source, rank, alpha):
    """A model with a module at the full name of each part. `layer_source` defines the class LoRALinear."""
    names = run_source(layer_source)
    model = nn.Module()
    for part in parts:
        *path, last = part["name"].split(".")
        parent = model
        for name in path:
            if name not in parent._modules:
                parent.add_module(name, nn.Module())
            parent = parent._modules[name]
        parent.add_module(last, _module(part, names["LoRALinear"], rank, alpha))
    return model


def _state(model):
    """The type and mode of each module, and the values of each parameter and whether it trains."""
    modules = {name: (wire.type_name(module), module.training) for name, module in facts.modules(model).items()}
    parameters = {
        name: (id(parameter), facts.requires_grad(parameter), wire.copy(wire.plain(parameter)))
        for name, parameter in facts.parameters(model).items()
    }
    scalings = {name: facts.attributes(module).get("scaling") for name, module in facts.modules(model).items()}
    return modules, parameters, scalings


def _changed(before, after):
    """The names of modules and parameters that have changed."""
    if before[0] != after[0] or before[1].keys() != after[1].keys():
        return ["its modules"]
    changed = [
        name
        for name, (old_id, was_trainable, old_values) in before[1].items()
        if after[1][name][:2] != (old_id, was_trainable) or not same_bits(old_values, after[1][name][2])
    ]
    return changed + [f"{name}.scaling" for name, scaling in before[2].items() if after[2][name] != scaling]


def _bytes(path):
    with open(path, "rb") as file:
        return torch.frombuffer(bytearray(file.read(MAX_BYTES + 1) or b"\0"), dtype=torch.uint8)


@probe
def written(function, parts, given, rank, alpha, target_modules, folder, as_text, there):
    """Call `function` to write the adapters of a model that is built from `parts`.

    Args:
        parts: of the model, each a dict: ``name``; ``weight`` and ``bias`` of an nn.Linear, or ``size`` of a norm;
            ``A`` and ``B`` where the Linear is adapted.
        given: see `make_model`.
        folder: the name of the directory, in an empty one. It does not exist, unless `there` has files.
        as_text: whether the function gets its path as a str, not as a Path.
        there: files that it holds before the call, as a dict of text by name.

    Returns:
        ``not_callable`` or ``raised``, as `call`; or ``files``, a dict of the bytes (uint8) of each file by name;
        ``names``, the names of everything in the directory; ``changed``, what the call changed in the model.
    """
    if not callable(function):
        return {"not_callable": wire.type_name(function)}
    parent = Path(tempfile.mkdtemp())
    try:
        directory = parent / folder
        for name, text in there.items():
            directory.mkdir(parents=True, exist_ok=True)
            (directory / name).write_text(text)
        model = make_model(parts, given, rank, alpha)
        before = _state(model)
        path = str(directory) if as_text else directory
        _, error = catch(function, model, path, rank, alpha, list(target_modules))
        if error:
            return {"raised": error}
        files = sorted(path for path in directory.glob("*") if path.is_file())[:MAX_FILES]
        return {
            "files": {path.name: _bytes(path) for path in files},
            "names": sorted(str(path.relative_to(directory)) for path in directory.rglob("*"))[:MAX_FILES],
            "changed": _changed(before, _state(model)),
        }
    finally:
        shutil.rmtree(parent, ignore_errors=True)
