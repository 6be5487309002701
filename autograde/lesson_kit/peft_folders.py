"""The real PEFT, for lessons: load an adapter folder, and report how PEFT reacted."""

import copy
import json
import shutil
import warnings
from pathlib import Path

from safetensors.torch import load_file, save_file

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import peft

CONFIG, TENSORS = "adapter_config.json", "adapter_model.safetensors"


def in_peft(base, **config):
    """PEFT's model of a copy of `base` with a new adapter; `config` goes to `peft.LoraConfig`."""
    return peft.get_peft_model(copy.deepcopy(base), peft.LoraConfig(**config))


def load(base, folder):
    """(PEFT's model of a copy of `base` with the adapter in `folder`, what PEFT did). The model is None if it raised."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            model = peft.PeftModel.from_pretrained(copy.deepcopy(base), folder)
        except Exception as error:  # the lesson shows whatever it is
            return None, f"raises {type(error).__name__}"
    has_warned = any(
        issubclass(warning.category, UserWarning) for warning in caught
    )  # not that something is deprecated
    return model, "warns" if has_warned else "says nothing"


def changed(folder, change):
    """A copy beside `folder`, with ``change(config, tensors)`` made to the two dicts that it holds."""
    copied = Path(f"{folder}_changed")
    shutil.rmtree(copied, ignore_errors=True)
    shutil.copytree(folder, copied)
    config, tensors = json.loads((copied / CONFIG).read_text()), load_file(copied / TENSORS)
    change(config, tensors)
    save_file({key: tensor.contiguous() for key, tensor in tensors.items()}, copied / TENSORS)
    (copied / CONFIG).write_text(json.dumps(config))
    return copied


def defaults(*fields):
    """The default values of these fields of `peft.LoraConfig`, as a dict."""
    config = peft.LoraConfig()
    return {field: getattr(config, field) for field in fields}


def config_of(folder):
    """The entries of `adapter_config.json`, as a dict."""
    return json.loads((Path(folder) / CONFIG).read_text())


def tensors_of(folder):
    """The tensors in `adapter_model.safetensors`, as a dict."""
    return load_file(Path(folder) / TENSORS)
