"""The base that lessons 09 and 10 start from: a GPT that `train_base.py` has taught to write English."""

import json
from pathlib import Path

from safetensors import safe_open

from autograde.lesson_kit.gpt import GPT, Config
from autograde.lesson_kit.text import Characters

CHECKPOINT = Path(__file__).with_name("gpt.safetensors")


def metadata():
    """The metadata in the file: sizes, vocabulary, seed, versions, hashes of the text, and the command that made it."""
    with safe_open(CHECKPOINT, "pt") as file:
        return file.metadata()


def load_base(device="cpu"):
    """(model, characters): the trained GPT, float32, in eval mode, and its vocabulary."""
    with safe_open(CHECKPOINT, "pt") as file:
        metadata = file.metadata()
        state = {name: file.get_tensor(name) for name in file.keys()}
    model = GPT(Config(**json.loads(metadata["config"])))
    state["lm_head.weight"] = state["embedding.weight"]  # tied, so the file holds it once
    model.load_state_dict(state)
    return model.to(device).eval(), Characters(metadata["vocabulary"])
