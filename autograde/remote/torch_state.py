"""Torch's global settings: a notebook's settings must not affect the judge, and the judge must restore them."""

import contextlib

import torch


@contextlib.contextmanager
def known_torch_state():
    """Context manager with torch's default settings: gradients on, float32, the CPU, no inference mode, not deterministic.

    At its end, the earlier settings are restored.
    """
    dtype, device = torch.get_default_dtype(), torch.get_default_device()
    deterministic = _deterministic()
    elsewhere = device.type != "cpu"
    with torch.inference_mode(False), torch.enable_grad(), torch.autocast("cpu", enabled=False, cache_enabled=False):
        torch.set_default_dtype(torch.float32)
        if elsewhere:
            torch.set_default_device(None)
        _set_deterministic(False, False)
        try:
            yield
        finally:
            torch.set_default_dtype(dtype)
            if elsewhere:
                torch.set_default_device(device)
            _set_deterministic(*deterministic)


def _deterministic():
    return torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()


def _set_deterministic(mode, warn_only):
    if (mode, warn_only) != _deterministic():  # torch's function imports its compiler, 800 modules, in a second
        torch.use_deterministic_algorithms(mode, warn_only=warn_only)
