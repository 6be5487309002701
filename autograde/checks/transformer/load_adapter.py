"""load_adapter: everything fits and is written in place, or the key to blame is named and nothing has changed."""

from dataclasses import dataclass

import torch

from autograde.checks.transformer.models import AdaptedCase, adapted_models, values_for
from autograde.judge import describe, exceptions
from autograde.judge.answer import RightAnswer
from autograde.judge.check import ANSWER, Check
from autograde.judge.compare import Fault, raised_fault
from autograde.judge.misconception import Misconception
from autograde.probes.transformer import load_into
from autograde.remote.facts import same_bits

REFUSALS = "what does not fit"  # the part of the points that is for what must raise

HALF_LOADED = Misconception(
    "half_loaded",
    thought="Each tensor can be checked just before it is written.",
    hint="If the last key does not fit, the first ones have been written already. Check all of them before you "
    "write one.",
)
SHARED = Misconception(
    "memory_shared",
    thought="A tensor of the state can be used as it is.",
    hint="Change one entry of the state after loading, and look at the parameter. Do the two share memory?",
)
NEW_PARAMETERS = Misconception(
    "new_parameters",
    thought="A new Parameter with the new values is just as good.",
    hint="An optimiser may still have the old Parameters, and would go on training those. Write the values into "
    "the Parameters that are there.",
)
STATE_CHANGED = Misconception(
    "state_changed",
    thought="The state is not needed after loading.",
    hint="The caller may load it into a second model. Look for pop, del, or an operation in place.",
)
SILENT = Misconception(
    "nothing_named",
    thought="It is enough to say that something is wrong.",
    hint="The user has to find out what is wrong with a file. Which part of the file should the message name?",
)

answer = RightAnswer("""
from lora_ref.layer import LoRALinear


def load_adapter(model, state):
    adapters = {}
    for name, module in model.named_modules():
        if isinstance(module, LoRALinear):
            adapters |= {f"{name}.lora_A": module.lora_A, f"{name}.lora_B": module.lora_B}
    for key in adapters:
        if key not in state:
            raise KeyError(f"missing: {key}")
    for key in state:
        if key not in adapters:
            raise KeyError(f"not an adapter of this model: {key}")
    for key, parameter in adapters.items():
        if state[key].shape != parameter.shape:
            raise ValueError(f"{key} has the wrong shape")
    with torch.no_grad():
        for key, parameter in adapters.items():
            parameter.copy_(state[key])
""")


@dataclass(frozen=True)
class LoadCase(AdaptedCase):
    """A state for the adapters of a model.

    Attributes:
        blame: keys that are wrong; a message that has one of them is right.
    """

    blame: tuple = ()


class LoadAdapter(Check):
    """Calls the learner's function with states that fit, and with states that are wrong in one way each."""

    name = "load_adapter"
    points = 3
    parts = {ANSWER: 1, REFUSALS: 2}
    answer = answer
    note = (
        "any exception whose message has the key; a comparison of two sets of keys, load_state_dict on single layers, "
        "copy_ under no_grad or into .data."
    )
    next_step = "List what must be true of state before you write the first value, and check it in that order."

    def cases(self, draw):
        models = iter(adapted_models(draw, draw.shuffled([2, 3] * 8)))

        def case(label, edit=None, key=None, part=REFUSALS, turned=0):
            source, adapters, sizes = next(models)
            key = key and key(adapters, sizes)
            values = values_for(draw, source)
            state = {name: draw.tensor(*values[name].shape) for name in [*adapters[turned:], *adapters[:turned]]}
            if edit:
                state = edit(state, key, draw, values)
            blame = (key,) if key in values or key in state else tuple(name for name in adapters if name not in state)
            args = {"source": source, "seed": draw.integer(0, 10**6), "values": values, "keys": list(state),
                    "tensors": list(state.values())}  # fmt: skip
            return LoadCase(args, label.format(key=key), part, adapters=adapters, blame=blame)

        chosen = draw.integer(2, 7)  # every model has ten adapters or more
        return [
            case("all keys, in the order of the model", part=ANSWER),
            case("all keys, in another order", part=ANSWER, turned=5),
            case("all keys, strided tensors", _strided, part=ANSWER),
            case("without {key}", _missing, _last),
            case("without {key}", _missing, _first),
            case("without any lora_B", _without_B),
            case("with one more layer", _extra, _of_a_layer_more),
            case("with a key of the base", _extra, _of_the_base),
            case("with a key of the norm, which is in the model", _extra, lambda *_: "lora_norm.weight"),
            case("{key} transposed", _transposed, lambda adapters, _: adapters[chosen]),
            case("{key} transposed", _transposed, _last),
            case("{key} of another rank", _longer, _last),
            case("{key} of another rank", _wider, _first),
            case("{key} with a single row", _one_row, _last),
            case("{key} with a single column", _one_column, _first),
            case("{key} with one more axis", _axis, _first),
        ]

    def observe(self, target, case):
        return load_into(target, **case.args)

    def called(self, case):
        call = f"load_adapter(model, state)  # state: {case.label}"
        return f"{call}\nthe model has {len(case.adapters)} tensors in adapters: {case.adapters[0]}, {case.adapters[1]}, …, {case.adapters[-1]}"

    def fault(self, case, observation):
        if "not_callable" in observation:
            return self.failed_call(observation)
        return _loading_fault(self, case, observation) if case.part == ANSWER else _refusal_fault(case, observation)

    def keeps(self, cases, observations, failed):
        """Whether the first state was loaded, and every other one refused by a key of the first model that has nothing to do with it."""
        if 0 in failed or len(failed) < len(cases) - 1:
            return False
        messages = [seen.get("raised", {}).get("message", "") for seen in observations[1:]]
        of_first = [
            any(key in message for key in set(cases[0].adapters) - {*case.adapters, *case.args["keys"]})
            for case, message in zip(cases[1:], messages, strict=True)
        ]
        return all(of_first)

    def same(self, case, a, b):
        return _summary(a) == _summary(b)


def _first(adapters, _):
    return adapters[0]


def _last(adapters, _):
    return adapters[-1]


def _of_a_layer_more(adapters, sizes):
    """The key of an lora_B that would stand in a block after the last."""
    blocks, _, layer, _ = adapters[0].split(".")
    return f"{blocks}.{sizes['depth'] + 4}.{layer}.lora_B"


def _of_the_base(adapters, _):
    return adapters[4].removesuffix("lora_A") + "base_layer.weight"


def _strided(state, key, draw, values):
    return {name: value.mT.contiguous().mT for name, value in state.items()}


def _missing(state, key, draw, values):
    return {name: value for name, value in state.items() if name != key}


def _without_B(state, key, draw, values):
    return {name: value for name, value in state.items() if "lora_B" not in name}


def _extra(state, key, draw, values):
    """Of the shape that the model has under this key: a look at the shapes alone refuses nothing here."""
    like = values[key] if key in values else next(value for name, value in state.items() if name.endswith("lora_B"))
    return {**state, key: draw.tensor(*like.shape)}


def _transposed(state, key, draw, values):
    return {**state, key: state[key].T.contiguous()}


def _longer(state, key, draw, values):
    return {**state, key: torch.cat([state[key], state[key]])}


def _wider(state, key, draw, values):
    return {**state, key: torch.cat([state[key], state[key]], dim=1)}


def _one_row(state, key, draw, values):
    return {**state, key: state[key][:1].clone()}


def _one_column(state, key, draw, values):
    return {**state, key: state[key][:, :1].clone()}


def _axis(state, key, draw, values):
    return {**state, key: state[key][None].clone()}


load_adapter = LoadAdapter()


def _changed_names(case, observation):
    noted = [name for key in ("replaced", "changed", "grads") for name in observation[key]]
    return list(dict.fromkeys([*noted, *(name for name in case.adapters if not _is_kept(case, observation, name))]))


def _is_kept(case, observation, name):
    """Whether an adapter has the values that it had before the call."""
    value = observation["now"][name]
    return isinstance(value, torch.Tensor) and same_bits(value, case.args["values"][name])


def _is_state_kept(case, observation):
    keys, tensors = observation["state"]
    return keys == case.args["keys"] and all(map(same_bits, tensors, case.args["tensors"]))


def _loading_fault(check, case, observation):
    """The faults of loading what fits."""
    if "raised" in observation:
        return check.failed_call(observation)
    if observation["replaced"]:
        return Fault(
            f"{observation['replaced'][0]} is no longer the Parameter that it was.", misconception=NEW_PARAMETERS
        )
    if observation["shares"]:
        return Fault(f"{observation['shares'][0]} shares its memory with the state.", misconception=SHARED)
    state = dict(zip(case.args["keys"], case.args["tensors"], strict=True))
    for name in case.adapters:
        loaded = observation["now"][name]
        if not isinstance(loaded, torch.Tensor) or not same_bits(loaded, state[name]):
            tensors = (
                (loaded, state[name])
                if isinstance(loaded, torch.Tensor) and loaded.shape == state[name].shape
                else None
            )
            problem = (
                f"{name} has kept its old values."
                if _is_kept(case, observation, name)
                else f"{name} does not have the values that the state has for it."
            )
            return Fault(problem, tensors=tensors)
    if other_names := [name for name in observation["changed"] if name not in case.adapters]:
        return Fault(f"The values of {other_names[0]} have changed, and it is not an adapter.")
    if observation["grads"]:
        hint = "A loader does not decide which parameters train: leave requires_grad alone."
        return Fault(f"requires_grad of {observation['grads'][0]} has changed.", hint=hint)
    if not _is_state_kept(case, observation):
        return Fault("The call has changed the state that it was given.", misconception=STATE_CHANGED)
    return None


def _refusal_fault(case, observation):
    """The faults of loading what does not fit."""
    blame, changed = case.blame[0], _changed_names(case, observation)
    if "raised" not in observation:
        consequence = (
            f"and {describe.counted(len(changed), 'parameter')} changed" if changed else "and nothing was loaded"
        )
        return Fault(
            f"The state does not fit, nothing was raised, {consequence}.", expected=f"an exception that names {blame}"
        )
    error = observation["raised"]
    error_text = exceptions.said(error, 200)
    # A message that names the key may speak of dtypes or devices too: it was written for this.
    names_key = any(key in error["message"] for key in case.blame)
    if not names_key and exceptions.kind_of(error) not in ("", exceptions.NONE, exceptions.SHAPE):
        return raised_fault("The call", error)
    if changed:
        shown = ", ".join(changed[:2])
        return Fault(f"It raised {error['type']}, but before that it had changed {shown}{' …' if len(changed) > 2 else ''}.",
                     misconception=HALF_LOADED)  # fmt: skip
    if not names_key:
        return Fault("The exception does not name the key that is wrong.", error_text, f"a message that contains {blame}",
                     misconception=SILENT, where=error["where"])  # fmt: skip
    if not _is_state_kept(case, observation):
        return Fault("The call has changed the state that it was given.", misconception=STATE_CHANGED)
    return None


def _summary(observation):
    if "replaced" not in observation:
        return sorted(observation)
    new_values = sorted(
        (name, value.double().sum().item())
        for name, value in observation["now"].items()
        if isinstance(value, torch.Tensor)
    )
    raised = observation["raised"]["type"] if "raised" in observation else None
    return (
        raised,
        sorted(observation["replaced"]),
        new_values,
        sorted(observation["grads"]),
        sorted(observation["shares"]),
        observation["state"][0],
    )


MISSING = 'if key not in state:\n            raise KeyError(f"missing: {key}")'
EXTRA = 'if key not in adapters:\n            raise KeyError(f"not an adapter of this model: {key}")'
SHAPE = "if state[key].shape != parameter.shape:"
COPY = "parameter.copy_(state[key])"
WRITE = "        for key, parameter in adapters.items():\n            parameter.copy_(state[key])"

answer.slip(
    "missing_ignored", MISSING, "pass", SHAPE, "if key in state and state[key].shape != parameter.shape:",
    COPY, "parameter.copy_(state.get(key, parameter))",
    thought="A loader loads what is in the file and leaves the rest as it is.",
    hint="Then half of an adapter is missing. What does a layer compute with the loaded A and a B that is still "
        "zero?",
)  # fmt: skip
answer.slip(
    "extra_ignored", EXTRA, "pass",
    thought="A tensor that the model has no place for does no harm.",
    hint="It was trained, and now it is not used: the model does not compute what the saved one computed.",
)  # fmt: skip
answer.slip(
    "only_lora_keys_looked_at", "if key not in adapters:", "if 'lora_' in key and key not in adapters:",
    thought="Only keys with lora in them can be wrong.",
    hint="A file with a weight of the base in it is not an adapter file. What should happen when a key is not used?",
)  # fmt: skip
answer.slip(
    "keys_of_the_base_accepted", "if key not in adapters:", "if key not in model.state_dict():",
    thought="Every key of the model can be loaded.",
    hint="The model has keys that belong to no adapter. What does your loader do with them?",
)  # fmt: skip
answer.slip(
    "keys_of_the_base_accepted", "if key not in adapters:", "if key not in model.state_dict():",
    WRITE, "        for key, value in state.items():\n            model.state_dict()[key].copy_(value)",
    thought="Every key of the model can be loaded.",
    hint="The model has keys that belong to no adapter, and your loader writes what the state has for them. Which "
        "keys may it write?",
)  # fmt: skip
answer.slip(
    "shape_not_looked_at", SHAPE, "if False:",
    thought="copy_ raises when a shape does not fit.",
    hint="copy_ broadcasts: try torch.zeros(3, 4).copy_(torch.ones(1, 4)). And where it raises, which key does it name?",
)  # fmt: skip
answer.slip(
    "one_axis_looked_at", SHAPE, "if state[key].ndim != 2 or state[key].shape[0] != parameter.shape[0]:",
    thought="The length of a matrix says whether it fits.",
    hint="A matrix has two sizes. Try torch.zeros(4, 3).copy_(torch.ones(4, 1)): what happened to the single "
        "column?",
)  # fmt: skip
answer.slip(
    "one_axis_looked_at", SHAPE, "if state[key].ndim != 2 or state[key].shape[-1] != parameter.shape[-1]:",
    thought="The last size of a matrix says whether it fits.",
    hint="A matrix has two sizes. Try torch.zeros(3, 4).copy_(torch.ones(1, 4)): what happened to the single row?",
)  # fmt: skip
answer.slip(
    "reshaped_to_fit", SHAPE, "if state[key].numel() != parameter.numel():",
    COPY, "parameter.copy_(state[key].reshape(parameter.shape))",
    thought="A tensor with the right number of entries can be reshaped to fit.",
    hint="A transposed matrix has the same number of entries, in another order. What does reshape do to that order?",
)  # fmt: skip
answer.slip(
    "transposed_to_fit", SHAPE, "if state[key].shape != parameter.shape and state[key].T.shape != parameter.shape:",
    COPY, "parameter.copy_(state[key] if state[key].shape == parameter.shape else state[key].T)",
    thought="A transposed matrix only has to be turned back.",
    hint="You cannot see whether a square matrix is transposed. Do not guess: refuse a file in another layout.",
)  # fmt: skip
answer.slip(
    "loaded_by_order", WRITE,
    "        for value, parameter in zip(state.values(), adapters.values()):\n            if value.shape == parameter.shape:\n"
    "                parameter.copy_(value)",
    thought="A dict keeps its order, so the values are in the order of the layers.",
    hint="A file may have its keys in any order. What tells you where a tensor belongs?",
)  # fmt: skip
answer.slip(
    HALF_LOADED,
    "    for key, parameter in adapters.items():\n        if state[key].shape != parameter.shape:\n"
    '            raise ValueError(f"{key} has the wrong shape")\n    with torch.no_grad():\n' + WRITE,
    "    with torch.no_grad():\n        for key, parameter in adapters.items():\n"
    "            if state[key].shape != parameter.shape:\n"
    '                raise ValueError(f"{key} has the wrong shape")\n            parameter.copy_(state[key])',
)  # fmt: skip
answer.slip(
    HALF_LOADED,
    MISSING, "pass",
    "    with torch.no_grad():\n" + WRITE,
    "    with torch.no_grad():\n        for key, parameter in adapters.items():\n            if key not in state:\n"
    '                raise KeyError(f"missing: {key}")\n            parameter.copy_(state[key])',
    SHAPE, "if key in state and state[key].shape != parameter.shape:",
)  # fmt: skip
answer.slip(SHARED, COPY, "parameter.data = state[key]")
answer.slip(
    NEW_PARAMETERS, WRITE,
    "        for key in adapters:\n            name, _, side = key.rpartition('.')\n"
    "            setattr(model.get_submodule(name), side, nn.Parameter(state[key].clone()))",
)  # fmt: skip
answer.slip(STATE_CHANGED, COPY, "parameter.copy_(state.pop(key))")
answer.slip(
    SILENT, 'f"missing: {key}"', '"a key is missing"', 'f"not an adapter of this model: {key}"', '"one key too many"',
    'f"{key} has the wrong shape"', '"a wrong shape"',
)  # fmt: skip
answer.slip(
    "made_trainable", COPY, "parameter.copy_(state[key])\n            parameter.requires_grad_(True)",
    thought="Adapters train, so loaded adapters must require a gradient.",
    hint="A caller may have frozen the adapters, to use them for inference only. What does your loader change "
        "besides the values?",
)  # fmt: skip
answer.slip(
    "no_grad_forgotten", "with torch.no_grad():", "if True:",
    thought="Copying numbers has nothing to do with autograd.",
    hint="A parameter that trains is a leaf of the graph, and autograd refuses to record that you write into it. "
        "In which context does it record nothing?",
    recognise=lambda case, observation: "raised" in observation and "a leaf Variable that requires grad" in observation["raised"]["message"],
)  # fmt: skip
answer.slip(
    "strict_false",
    answer.source[answer.source.index("    adapters = {}") :], "    model.load_state_dict(state, strict=False)\n", exactly=True,
    thought="load_state_dict with strict=False loads what is there.",
    hint="It loads what is there and does not report what is missing. Which of your keys did it use? It also "
        "writes before it raises.",
)  # fmt: skip


@load_adapter.misconception(
    "lora_in_the_name",
    thought="A part of a module whose name begins with lora_ is an adapter.",
    hint="A block may have a norm that is called lora_norm, and an adapter file has no key for it. How can you "
    "recognise an adapter with certainty?",
)
def by_lora_in_the_name(model, state):
    own = {name: parameter for name, parameter in model.named_parameters() if ".lora_" in name}
    for key in [*own, *state]:
        if key not in own or key not in state or state[key].shape != own[key].shape:
            raise KeyError(key)
    with torch.no_grad():
        for key, parameter in own.items():
            parameter.copy_(state[key])
