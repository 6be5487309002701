"""The real PEFT, for lessons: load an adapter folder, and say what it did about it."""

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
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        try:
            model = peft.PeftModel.from_pretrained(copy.deepcopy(base), folder)
        except Exception as error:  # the lesson shows whatever it is
            return None, f"raises {type(error).__name__}"
    warned = any(issubclass(warning.category, UserWarning) for warning in said)  # not that something is deprecated
    return model, "warns" if warned else "says nothing"


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
    """What `peft.LoraConfig` holds under these names when nothing is said, as a dict."""
    config = peft.LoraConfig()
    return {field: getattr(config, field) for field in fields}


def config_of(folder):
    """What `adapter_config.json` says, as a dict."""
    return json.loads((Path(folder) / CONFIG).read_text())


def tensors_of(folder):
    """What `adapter_model.safetensors` holds, as a dict of tensors."""
    return load_file(Path(folder) / TENSORS)
