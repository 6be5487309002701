"""Probes of lesson 10: a layer with many adapters, a batch with several of them, and adapters that are combined."""

import contextlib
import sys

import torch
from torch.utils._python_dispatch import TorchDispatchMode

from autograde.lesson_kit import routing
from autograde.probes.layers import as_convention, base_trains, make_base, make_layer
from autograde.remote import facts, wire
from autograde.remote.call import call
from autograde.remote.probe import probe
from autograde.remote.raised import catch


class _Adapter:
    """The parameters that an add() registered. They are reported as A (d, r) and B (r, k), also if stored transposed."""

    def __init__(self, new, d, k, rank):
        self.new = new
        self.shapes = {"A": (d, rank), "B": (rank, k)}

    def parameters(self):
        """``{"A": (parameter, transposed), "B": (parameter, transposed)}``, of those that have one of the two shapes."""
        return {
            side: (parameter, tuple(parameter.shape) != shape)
            for side, shape in self.shapes.items()
            for parameter in self.new
            if tuple(parameter.shape) in (shape, shape[::-1])
        }

    def sides(self):
        """``{"A": tensor, "B": tensor}``: views of the parameters that have one of the two shapes."""
        return {
            side: as_convention(parameter.detach(), transposed)
            for side, (parameter, transposed) in self.parameters().items()
        }

    def fits(self):
        return len(self.new) == 2 and len(self.sides()) == 2

    def state(self):
        return {
            "count": len(self.new),
            "shapes": [list(facts.shape(parameter)) for parameter in self.new],
            "fits": self.fits(),
            "values": {side: wire.copy(wire.plain(value)) for side, value in self.sides().items()},
            "dtypes": [str(facts.dtype(parameter)) for parameter in self.new],
            "trains": [facts.requires_grad(parameter) for parameter in self.new],
        }


@probe
def follow(layer_class, weight, bias, steps, x):
    """Make a layer around a base, run `steps` on it, and take a snapshot after each.

    Args:
        steps: lists: ``["add", name, rank, alpha]``, ``["fill", name, A, B]`` (other values for an adapter),
            ``["activate", name or None]``, ``["learn"]`` (an optimiser's step on all that trains), ``["double"]`` (to
            float64), ``["eval"]``, ``["train"]``, ``["no_grad"]`` (the output is taken under torch.no_grad()),
            ``["gradients", name, cotangent]`` (of ``(layer(x) * cotangent).sum()``).

    Returns:
        ``not_callable``, ``no_module`` and the like (see `layers.make_layer`); or ``snapshots``, one for the start and one
        after each step: ``raised``, ``active``, ``out`` (of x, or None) with ``out_raised``, ``base`` (weight and bias
        of base_layer), ``trains`` (whether each of them requires a gradient), ``same`` (whether base_layer is the layer
        that was handed in), ``adapters`` (see `_Adapter.state`, by name), ``kept`` (whether all parameters of earlier
        adds are the same objects) ``moved`` (names of adapters of which the step has changed some values) and ``learned`` (names of
        those of which it has changed every parameter); after such a step ``gradients``
        of x, and of A and B of the named adapter (None where there is none); and ``unset``,
        the name of an adapter that cannot be filled, where a step had to be left out for it.
    """
    base = make_base(weight, bias)
    layer, problem = make_layer(layer_class, base, {})
    if problem:
        return problem
    d, k = base.in_features, base.out_features
    adapters, snapshots = {}, []
    for name, *inputs in [["start"], *steps]:
        parameters_before = {id(parameter): parameter for parameter in facts.parameters(layer).values()}
        values = {key: [facts.copied(facts.values(part)) for part in adapter.new] for key, adapter in adapters.items()}
        error, gradients = None, None
        if name == "fill":
            key, A, B = inputs
            if key not in adapters or not adapters[key].fits():
                return {"snapshots": snapshots, "unset": key}
            sides = adapters[key].sides()
            sides["A"].copy_(A)
            sides["B"].copy_(B)
        elif name == "double":
            _, error = catch(layer.double)
            x = x.double()
        elif name == "learn":
            _, error = catch(_optimiser_step, layer, x)
        elif name == "gradients":
            gradients, error = catch(_gradients, layer, x, adapters[inputs[0]], inputs[1])
        elif name not in ("start", "no_grad"):
            _, error = catch(getattr(layer, name, None) or _missing_method(name), *inputs)
            if name == "add" and inputs[0] not in adapters:
                new = [
                    parameter
                    for parameter in facts.parameters(layer).values()
                    if id(parameter) not in parameters_before
                ]
                adapters[inputs[0]] = _Adapter(new, d, k, inputs[1])
        unchanged = {key: list(map(_equal, old, adapters[key].new)) for key, old in values.items()}
        with torch.set_grad_enabled(name != "no_grad"):
            snapshot = _snapshot(layer, base, x, adapters, parameters_before)
        snapshots.append(
            snapshot
            | ({"gradients": wire.plain(gradients)} if gradients else {})
            | {"moved": [key for key, equal_values in unchanged.items() if not all(equal_values)]}
            | {"learned": [key for key, equal_values in unchanged.items() if not any(equal_values)]}
            | ({"raised": error} if error else {})
        )
    return {"snapshots": snapshots}


def _missing_method(name):
    def call(*_):
        raise AttributeError(f"the layer has no method {name}")

    return call


def _equal(before, now):
    return facts.same_bits(before, facts.values(now))


def _optimiser_step(layer, x):
    layer.zero_grad()
    layer(x).square().mean().backward()
    with torch.no_grad():
        for parameter in facts.parameters(layer).values():
            if facts.requires_grad(parameter) and parameter.grad is not None:
                parameter.sub_(0.1 * parameter.grad.sign())


def _gradients(layer, x, adapter, cotangent):
    """The gradients of x, A and B, each None where there is none."""
    x = x.clone().requires_grad_()
    sources = [(x, False), *(adapter.parameters().get(side, (None, False)) for side in "AB")]
    out = layer(x)
    asked = [i for i, (tensor, _) in enumerate(sources) if tensor is not None and facts.requires_grad(tensor)]
    computed = torch.autograd.grad((out * cotangent).sum(), [sources[i][0] for i in asked], allow_unused=True)
    gradients = [None, None, None]
    for i, gradient in zip(asked, computed, strict=True):
        gradients[i] = None if gradient is None else as_convention(gradient, sources[i][1])
    return gradients


def _snapshot(layer, base, x, adapters, parameters_before):
    trains = base_trains(base)
    out, error = catch(layer, x)
    base_layer = getattr(layer, "base_layer", None)
    tensors = [getattr(base_layer, name, None) for name in ("weight", "bias")]
    parameter_ids = {id(parameter) for parameter in facts.parameters(layer).values()}
    active, _ = catch(getattr, layer, "active", "nothing")
    observation = {
        "active": wire.plain(active),
        "out": wire.copy(wire.plain(out)),
        "base": [wire.copy(wire.plain(tensor)) for tensor in tensors],
        "trains": trains,
        "same": base_layer is base,
        "adapters": {name: adapter.state() for name, adapter in adapters.items()},
        "kept": set(parameters_before) <= parameter_ids,
    }
    return observation | ({"out_raised": error} if error else {})


class _OperationCounter(TorchDispatchMode):
    """Counts the operations on tensors."""

    count = 0

    @classmethod
    def _should_skip_dynamo(cls):
        return False  # without this, the first operator would import torch's compiler, for seconds

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.count += 1
        return func(*args, **(kwargs or {}))


@contextlib.contextmanager
def _record_given_functions(called_names):
    """Record in a set which of the lesson kit's own routing functions are called, under any name."""
    ways = {way.__code__: way.__name__ for way in routing.WAYS}

    def note(frame, event, _):
        if event == "call" and frame.f_code in ways:
            called_names.add(ways[frame.f_code])

    previous_profiler = sys.getprofile()
    sys.setprofile(note)
    try:
        yield
    finally:
        sys.setprofile(previous_profiler)


@probe
def routed(function, args, device="cpu"):
    """As `call.call`, and ``given``: names of the lesson's own ways to route that were called."""
    called_names = set()
    with _record_given_functions(called_names):
        observation = call(function, args=args, device=device)
    return observation | {"given": sorted(called_names)}


@probe
def operations(function, args):
    """As `call.call`, and ``count``: how many operations on tensors the call takes."""
    mode = _OperationCounter()

    def counted(*arguments):
        with mode:
            return function(*arguments)

    return call(counted if callable(function) else function, args=args) | {"count": mode.count}


@probe
def combined(function, adapters, weights):
    """Call ``function([(A, B, scaling), ...], weights)``.

    Returns:
        As `call.call`; ``changed`` holds the positions of the adapters that have changed.
    """
    if not callable(function):
        return {"not_callable": wire.type_name(function)}
    adapter_tuples = [tuple(adapter) for adapter in adapters]
    before = [(facts.copied(A), facts.copied(B)) for A, B, _ in adapter_tuples]
    value, error = catch(function, adapter_tuples, list(weights))
    if error:
        return {"raised": error}
    changed = [
        i for i, (A, B, _) in enumerate(adapter_tuples) if not (_equal(before[i][0], A) and _equal(before[i][1], B))
    ]
    return {"type": wire.type_name(value), "value": wire.plain(value), "changed": changed}
