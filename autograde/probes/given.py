"""Source text that comes with a question: the layers and models that the learner's code is given."""

import functools

import torch
import torch.nn.functional as F
from torch import nn

FILE = (
    f"{__file__}:source"  # where a traceback says that it stands: in this package, so it is not taken for the learner's
)


@functools.lru_cache(maxsize=256)
def _compiled(source):
    return compile(source, FILE, "exec")


def run_source(source):
    """Run `source`, which may use torch, nn and F, as if it stood in the learner's notebook.

    Returns:
        What it defines, a dict.
    """
    names = {"__name__": "__main__", "torch": torch, "nn": nn, "F": F}
    exec(_compiled(source), names)
    return names
