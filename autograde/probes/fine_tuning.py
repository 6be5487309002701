"""Probes of lesson 08: adapters put into a model, collected from it, and trained in it."""

import importlib

import torch
from torch.nn import Linear  # this one: handed-in code may put another in its place
from torch.optim.optimizer import register_optimizer_step_pre_hook

from autograde.probes.given import run_source
from autograde.probes.layers import (
    ADAPTERS,
    adapter,
    as_convention,
    as_made_by_torch,
    attribute,
    negated,
    set_adapters,
    shared_adapter,
)
from autograde.remote import facts, wire
from autograde.remote.facts import same_bits, same_values
from autograde.remote.probe import probe
from autograde.remote.raised import catch


def _build_model(source, state, layer, adapted, frozen=(), training=False):
    """A model of the class `Model` that `source` defines.

    Args:
        source: of the class, without adapters.
        state: its values.
        layer: ``module:class`` of the LoRA layer that lessons are given.
        adapted: ``[[path, rank, alpha, A, B]]``: where such a layer stands already, with its adapters' values.
        frozen: names of parameters that somebody has frozen.
        training: whether it is in training mode.
    """
    model = run_source(source)["Model"]()
    model.load_state_dict(state)
    frozen_parameters = [facts.parameters(model)[name] for name in frozen]
    module, _, name = layer.partition(":")
    for path, rank, alpha, A, B in adapted:
        parent, _, child = path.rpartition(".")
        linear = facts.modules(model)[path]
        frozen_parameters += facts.parameters(linear).values()
        adapted_layer = getattr(importlib.import_module(module), name)(linear, rank=rank, alpha=alpha)
        set_adapters(adapted_layer, (A, B))
        setattr(model.get_submodule(parent), child, adapted_layer)
    model.train(training)
    as_made_by_torch(model)  # after all that a cell may have replaced
    facts.set_requires_grad(frozen_parameters, False)
    return model


def _linears(model):
    """The plain nn.Linears of a model by path: not those within a LoRA layer."""
    inside = {id(part) for module in _layers(model) for part in facts.modules(module).values()}
    return {
        path: part for path, part in facts.modules(model).items() if isinstance(part, Linear) and id(part) not in inside
    }


def _layers(module):
    """The LoRA layers in a module."""
    return [part for part in facts.modules(module).values() if hasattr(part, "base_layer")]


def _values(module):
    return [wire.copy(wire.plain(parameter)) for parameter in facts.parameters(module).values()]


def _same_values(before, after):
    return len(before) == len(after) and all(same_bits(a, b) for a, b in zip(before, after, strict=True))


def _frozen(linear):
    return not any(map(facts.requires_grad, facts.parameters(linear).values()))


def _describe_place(model, path, linear, frozen):
    """Describe the module that is now at the path of `linear`; `frozen`: whether all of that was, as soon as the call had ended."""
    replacement, _ = catch(model.get_submodule, path)
    if replacement is None or replacement is linear:
        return {"adapted": False, "gone": replacement is None, "frozen": frozen}
    base = attribute(replacement, "base_layer")
    shapes = [adapter(replacement, name) for name in ADAPTERS]
    scaling = attribute(replacement, "scaling")
    weight = attribute(base, "weight")
    return {
        "adapted": base is not None,
        "type": wire.type_name(replacement),
        "base": "same" if base is linear else "another" if isinstance(base, Linear) else wire.type_name(base),
        "shapes": [None if t is None else list(facts.shape(as_convention(t, transposed))) for t, transposed in shapes],
        "values": [None if t is None else wire.copy(wire.plain(t)) for t, _ in shapes],
        "trains": [t is not None and facts.requires_grad(t) for t, _ in shapes],
        "scaling": wire.plain(scaling),
        "layers": len(_layers(replacement)) if facts.is_module(replacement) else 0,
        "frozen": facts.is_tensor(weight) and frozen,
    }


@probe
def lora_added(function, source, state, layer, adapted, frozen, rank, alpha, values, x):
    """Call the learner's function with a model, and describe every place that held an nn.Linear.

    Args:
        values: ``{path: [A, B]}``, written into the new layers.

    Returns:
        ``type``, ``same`` (whether the model itself came back), ``places`` (see `_describe_place`, by path), ``dotted``
        (whether a child of the model has a dot in its name), ``shared`` (two paths where one adapter stands, or none),
        ``kept`` (whether the layers that stood there already are the same, hold the same values and nothing new), ``others`` (names of other parameters that are gone, new
        or changed), ``unfrozen`` (names of those among them that train and did not), ``at_start`` (the output), ``out`` with
        `values` set, ``out_of_bases`` with other signs in the weights of the nn.Linears too, and ``again``: what a second call did (``raised``, ``kept``:
        every layer is the same and holds the same values, ``layers``: how many there are more); or ``raised``.
    """
    if not callable(function):
        return {"not_callable": wire.type_name(function)}
    model = _build_model(source, state, layer, adapted, frozen)
    linears, existing_layers = _linears(model), {path: model.get_submodule(path) for path, *_ in adapted}
    linear_parameters = {id(p) for module in linears.values() for p in facts.parameters(module).values()}
    others = {n: p for n, p in facts.parameters(model).items() if id(p) not in linear_parameters}
    state_before = {name: [wire.copy(wire.plain(p)), facts.requires_grad(p)] for name, p in others.items()}
    values_before = {path: _values(module) for path, module in existing_layers.items()}
    value, error = catch(function, model, rank, alpha)
    if error:
        return {"raised": error}
    frozen_now = {
        path: _frozen(linear) for path, linear in linears.items()
    }  # a look at a layer can run code that freezes
    observation = {"type": wire.type_name(value), "value": None if value is None else True, "same": value is model}
    if value is not model and facts.is_module(value) and _linears(model) == linears:
        return observation  # a model of its own: there is nothing to be seen in this one
    observation["places"] = {
        path: _describe_place(model, path, linear, frozen_now[path]) for path, linear in linears.items()
    }
    observation["dotted"] = any("." in name for name, _ in model.named_children())
    observation["shared"] = shared_adapter({path: catch(model.get_submodule, path)[0] for path in linears})
    observation["kept"] = all(
        catch(model.get_submodule, path)[0] is module
        and _same_values(values_before[path], _values(module))
        and len(_layers(module)) == 1
        for path, module in existing_layers.items()
    )
    parameters_now = facts.parameters(model)
    observation["others"] = [
        name
        for name, parameter in others.items()
        if parameters_now.get(name) is not parameter or not same_bits(wire.plain(parameter), state_before[name][0])
    ]
    observation["unfrozen"] = [
        name for name, p in others.items() if facts.requires_grad(p) and not state_before[name][1]
    ]
    out, error = catch(model, x)
    if error:
        return observation | {"raised": error, "during": "forward"}
    observation["at_start"] = wire.copy(wire.plain(out))
    for path, pair in values.items():
        if observation["places"][path]["adapted"]:
            set_adapters(model.get_submodule(path), pair)
    out, error = catch(model, x)
    if error:
        return observation | {"raised": error, "during": "forward"}
    observation["out"] = wire.copy(wire.plain(out))
    with negated([attribute(module, "weight") for module in linears.values()]):
        observation["out_of_bases"] = wire.copy(wire.plain(catch(model, x)[0]))
    layers = _layers(model)
    values_before = [_values(module) for module in layers]
    _, error = catch(function, model, rank, alpha)
    after = _layers(model)
    all_kept = len(after) >= len(layers) and all(any(module is one for one in after) for module in layers)
    all_kept = all_kept and all(
        _same_values(values, _values(module)) for values, module in zip(values_before, layers, strict=True)
    )
    return observation | {"again": {"raised": error, "kept": all_kept, "layers": len(after) - len(layers)}}


@probe
def collected(function, source, state, layer, adapted, twice):
    """Ask the learner's function for the adapters of a model.

    Args:
        twice: ``[path, name]``: the layer at the path also stands in the model under this name; empty for none.

    Returns:
        ``type``, ``length`` (of what came back), and ``items``: for each thing in it, of the first and the last hundred, the
        name of the model's parameter that it is, or ``copy`` with the name of one whose memory or values it has, or ``other`` with its type, ``text`` (whether it is or holds a
        str), ``parameters`` (whether it holds Parameters of the model alone) and ``foreign`` (whether it is a Parameter of
        something else); ``frozen``, names of those in it that are the model's and require no gradient now; and ``marked``:
        the model's parameters by name, once the first that came back was filled with ones, the second with twos, and so on;
        or ``raised``.
    """
    if not callable(function):
        return {"not_callable": wire.type_name(function)}
    model = _build_model(source, state, layer, adapted)
    if twice:
        setattr(model, twice[1], model.get_submodule(twice[0]))
    parameters = facts.parameters(model)
    value, error = catch(function, model)
    if error:
        return {"raised": error}
    observation = {"type": wire.type_name(value), "value": None if value is None else True}
    items, error = catch(list, value)
    if error:
        return observation
    names = {id(parameter): name for name, parameter in parameters.items()}
    observation["length"] = len(items)
    observation["items"] = [
        _describe_item(item, names, parameters) for item in (items if len(items) < 200 else items[:100] + items[-100:])
    ]
    returned = {item["name"] for item in observation["items"] if "name" in item}
    observation["frozen"] = [name for name, p in parameters.items() if name in returned and not facts.requires_grad(p)]
    with torch.no_grad():
        for number, item in enumerate(items[:200], start=1):
            if facts.is_tensor(item):
                catch(item.fill_, number)
    return observation | {"marked": {name: wire.copy(wire.plain(p)) for name, p in parameters.items()}}


def _describe_item(item, names, parameters):
    if id(item) in names:
        return {"name": names[id(item)]}
    if facts.is_tensor(item):
        for name, parameter in parameters.items():
            if facts.shape(item) == facts.shape(parameter) and same_bits(wire.plain(item), wire.plain(parameter)):
                return {"copy": name}
    parts = item if isinstance(item, (tuple, list)) else (item,)
    own = [id(part) in names for part in parts]
    return {
        "other": wire.type_name(item),
        "text": any(isinstance(part, str) for part in parts),
        "parameters": bool(own) and all(own),
        "foreign": isinstance(item, torch.nn.Parameter),
    }


def _rows(batch):
    """The rows of a batch, (n, width): under `torch.vmap` those of the whole tensor that is mapped over, in which the width
    need not be the last axis."""
    width = batch.shape[-1]
    while torch._C._functorch.is_functorch_wrapped_tensor(batch):
        batch = torch._C._functorch.get_unwrapped(batch)
    return batch.detach().reshape(-1, width)


def _bytes_of_rows(rows):
    return {row.tobytes() for row in rows.numpy()}


class _TrainingWatcher:
    """Counts what happens while a model is trained: rows, backward passes, steps, and what the optimiser holds.

    `rows` is how many rows the model has been given, `distinct` how many different ones (0 where it cannot be told),
    `trained` how many with a backward pass after them, and `restarted` whether an adapter had other values than at first when the
    first of them arrived, and `used` whether the optimiser had made steps before this training. Nothing is counted under
    `torch.no_grad`.
    """

    def __init__(self, model, adapters, rows):
        self.names = {id(parameter): name for name, parameter in facts.parameters(model).items()}
        self.adapters = adapters
        self.rows = self.trained = self.backwards = self.piled_up = self.steps = self.empty = 0
        self.held, self.lr, self.gradient = set(), [], None
        self.given, self.different = rows, set()
        self.batches = []  # numbers of rows since the last backward pass
        self.used = False
        self.first_values, self.restarted = [wire.copy(wire.plain(p)) for p in adapters], False
        last = adapters[-1]
        self.handles = [
            model.register_forward_pre_hook(self._forward),
            last.register_hook(self._backward),
            last.register_post_accumulate_grad_hook(self._accumulated),
            register_optimizer_step_pre_hook(self._step),
        ]

    def _forward(self, _, inputs):
        if torch.is_grad_enabled() and inputs:
            rows = _rows(inputs[0])
            if not self.rows:
                now = [wire.plain(parameter) for parameter in self.adapters]
                self.restarted = not all(map(same_bits, self.first_values, now))
            self.rows += len(rows)
            self.batches.append(len(rows))
            if len(self.different) < self.given:
                found, _ = catch(_bytes_of_rows, rows)
                self.different |= found or set()

    def _backward(self, gradient):
        self.backwards += 1
        self.trained += min(self.batches, default=0)  # a call between a batch's and its backward pass is a measurement
        self.batches.clear()
        self.gradient = facts.copied(facts.values(gradient))

    def _accumulated(self, parameter):
        if self.gradient is None or not bool(self.gradient.isfinite().all()):  # nan equals nothing, and not itself
            return
        if not same_values(facts.values(facts.grad(parameter)), self.gradient):
            self.piled_up += 1

    def _step(self, optimiser, *_):
        if not self.steps:
            self.used = bool(optimiser.state)
        self.steps += 1
        rates = [wire.plain(group.get("lr")) for group in optimiser.param_groups]
        if rates and all(isinstance(rate, float) for rate in rates):
            self.lr = [*self.lr[:1], max(*self.lr, *rates, 0.0)]  # of the first step, and the largest of all
        self.held |= {self.names.get(id(p)) for group in optimiser.param_groups for p in group["params"]}
        if not any(p.grad is not None and bool(p.grad.any()) for p in self.adapters):
            self.empty += 1

    def end(self):
        """Stop counting; returns the counts."""
        for handle in self.handles:
            handle.remove()
        counts = ("rows", "trained", "backwards", "piled_up", "steps", "empty", "lr")
        watched = {name: getattr(self, name) for name in counts}
        return watched | {
            "distinct": len(self.different),
            "held": sorted(filter(None, self.held)),
            "restarted": self.restarted,
            "used": self.used,
        }


def _gradient(parameter):
    gradient = facts.grad(parameter)
    return wire.copy(wire.plain(torch.zeros(()) if gradient is None else gradient))


@probe
def tuned(function, source, state, layer, adapted, frozen, training, x, y, epochs, lr):
    """Call the learner's function with a model and training data, and describe the model afterwards.

    Args:
        training: whether the model is in training mode before the call.

    Returns:
        ``parameters`` (values by name), ``trains`` (names of those that require a gradient, before and after),
        ``training`` (whether any part of the model is in training mode), ``left`` (the gradients of the adapters, zeros for
        none), ``changed`` (which of x and y the call has changed), and ``watched``: the counts of `_TrainingWatcher`; or
        ``raised``.
    """
    if not callable(function):
        return {"not_callable": wire.type_name(function)}
    model = _build_model(source, state, layer, adapted, frozen, training)
    named = facts.parameters(model)
    adapters = {name: p for name, p in named.items() if name.rpartition(".")[2] in ADAPTERS}
    before = sorted(name for name, p in named.items() if facts.requires_grad(p))
    given = {"x": wire.copy(x), "y": wire.copy(y)}
    watcher = _TrainingWatcher(model, list(adapters.values()), len(x))
    try:
        value, error = catch(function, model, x, y, epochs, lr)
    finally:  # also when the learner stops it: one of the hooks is of all optimisers
        counts = watcher.end()
    if error:
        return {"raised": error}
    parameters_now = facts.parameters(model)
    return {
        "type": wire.type_name(value),
        "value": True,
        "parameters": {name: wire.copy(wire.plain(p)) for name, p in parameters_now.items()},
        "trains": [before, sorted(name for name, p in parameters_now.items() if facts.requires_grad(p))],
        "changed": [name for name, value in (("x", x), ("y", y)) if not same_bits(given[name], value)],
        "training": any(module.training for module in facts.modules(model).values()),
        "left": {n: _gradient(p) for n, p in parameters_now.items() if n in adapters},
        "watched": counts,
    }
