"""The probe for exercises that ask for a function: call it, and say what came back."""

import torch

from autograde.judge import wire
from autograde.judge.probe import probe
from autograde.probes.raised import catch


def _same(before, after):
    if isinstance(before, torch.Tensor):
        return before.shape == after.shape and torch.equal(before, after.to(before.device))
    return True


@probe
def call(function, args, device="cpu"):
    """Call ``function(*args)`` with every tensor on `device`.

    Returns:
        A dict: ``not_callable`` with a type's name; or ``raised`` (see `raised`); or ``type``, the name of what came
        back, ``value``, its plain form, ``device``, of a tensor, and ``changed``, the positions of the tensors in
        `args` that the call changed in place.
    """
    if not callable(function):
        return {"not_callable": wire.type_name(function)}
    given = [arg.to(device) if isinstance(arg, torch.Tensor) else arg for arg in args]
    before = wire.copy([wire.plain(arg) for arg in given])
    value, error = catch(function, *given)
    if error:
        return {"raised": error}
    changed = [i for i, arg in enumerate(given) if not _same(before[i], wire.plain(arg))]
    return {
        "type": wire.type_name(value),
        "value": wire.plain(value),
        "device": value.device.type if isinstance(value, torch.Tensor) else None,
        "changed": changed,
    }
