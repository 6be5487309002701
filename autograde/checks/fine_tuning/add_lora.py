"""add_lora: a LoRALinear around every nn.Linear of a model."""

import torch

from autograde.checks.fine_tuning.given import FLAT, LAYER, NESTED, adapters, fresh_state, linears, output
from autograde.checks.shared.families import (
    ADAPTER_SHARED,
    BOTH_ZERO,
    CONSTANT_A,
    DIVIDED_BY_RANK_AGAIN,
    FULL_NAME_AS_ATTRIBUTE,
)
from autograde.checks.shared.observed import alike
from autograde.checks.shared.start_values import start_fault, start_problem
from autograde.judge import describe
from autograde.judge.answer import RightAnswer
from autograde.judge.check import Case, Check
from autograde.judge.compare import Fault, agree, as_number, fault_between, is_number, raised_fault
from autograde.judge.exceptions import hint_for
from autograde.judge.misconception import RETURNED_NONE, Misconception
from autograde.probes.fine_tuning import lora_added

NESTED_MISSED = Misconception(
    "nested_missed",
    thought="A model's layers are its children.",
    hint="Children have children. Print the names in model.named_modules() and mark those that your loop visits.",
)
NEVER_TWICE = Misconception(
    "wrapped_twice",
    thought="Every nn.Linear must be wrapped, wherever it is.",
    hint="A LoRALinear contains an nn.Linear, too: its base_layer. Your code must not look inside a LoRALinear, "
    "neither a new one nor one that was there before.",
)
RENEWED = Misconception(
    "renewed",
    thought="A second call starts the adapters again from the beginning.",
    hint="Then what they have learned is lost. A LoRALinear that is already there must stay as it is.",
)
UNFROZE_ALL = Misconception(
    "unfroze_all",
    thought="Everything may train again, since LoRALinear freezes what must not.",
    hint="Someone may have frozen a norm on purpose before calling add_lora. Which of your lines makes it train again?",
)
BASE_COPIED = Misconception(
    "base_copied",
    thought="A layer with the same values is the same layer.",
    hint="Another module may share the weight: a copy breaks that tie and doubles the memory. Pass the layer itself.",
)
COPY_RETURNED = Misconception(
    "copy_returned",
    thought="It is safer to change a copy of the model.",
    hint="In place means: afterwards the model that was passed in has the adapters. Return that same object.",
)
ADAPTER_FROZEN = Misconception(
    "adapter_frozen",
    thought="Freezing comes last, when everything is in its place.",
    hint="By then the adapters are parameters of the model, too. In which order do you freeze and wrap?",
)
NOTHING_REPLACED = Misconception(
    "nothing_replaced",
    thought="Assigning to the variable of a loop changes the model.",
    hint="It only rebinds a local name. Which line changes an attribute of a module of the model?",
)
ALPHA_OR_RANK_LOST = Misconception(
    "alpha_or_rank_lost",
    thought="LoRALinear knows which rank and alpha are meant.",
    hint="Its defaults are rank=4 and alpha=1. Print one of the layers that your function has made.",
)
RANK_AND_ALPHA_SWAPPED = Misconception(
    "rank_and_alpha_swapped",
    thought="rank and alpha are two numbers, in either order.",
    hint="LoRALinear takes them by position or by name. In which order does it expect them, and in which do you pass them?",
)
DEFAULT_RANK = 4  # of LoRALinear

answer = RightAnswer("""
from lora_ref.layer import LoRALinear


def add_lora(model, rank, alpha):
    for name, part in list(model.named_children()):
        if isinstance(part, nn.Linear):
            setattr(model, name, LoRALinear(part, rank, alpha))
        elif not isinstance(part, LoRALinear):
            add_lora(part, rank, alpha)
    return model
""")


class AddLora(Check):
    """Looks at every place where an nn.Linear stood."""

    name = "add_lora"
    answer = answer
    points = 3
    note = "a function that calls itself, or a list of names with get_submodule; setattr, _modules or set_submodule."
    next_step = "Call it on a small nested model in a cell, and print the model before, after, and after a second call."

    def cases(self, draw):
        return [
            self._case(draw, FLAT, "a flat model"),
            self._case(draw, NESTED, "a nested model"),
            self._case(
                draw,
                NESTED,
                "a nested model with two trained LoRALinears in it",
                ["blocks.0.up", "heads.main"],
                ["blocks.1.norm.weight"],
            ),
        ]

    def _case(self, draw, source, label, paths=(), frozen=()):
        rank = draw.choice([2, 3])
        alpha = draw.choice([n for n in (5, 7, 11) if n != rank])
        existing = adapters(draw, source, paths, rank=2)
        args = {
            "source": source,
            "state": fresh_state(draw, source),
            "layer": LAYER,
            "adapted": [[path, 2, 3, *pair] for path, pair in existing.items()],
            "frozen": list(frozen),
            "rank": rank,
            "alpha": alpha,
            "values": adapters(draw, source, [path for path in linears(source) if path not in paths], rank),
            "x": draw.tensor(3, 6),
        }
        return Case(args, label)

    def make_cases(self, draw, remote=False):
        """The cases, on the CPU only: the device does not matter for this exercise."""
        return self.cases(draw)

    def called(self, case):
        """The call, and where the model has its Linears."""
        args = case.args
        lines = [f"add_lora(model, rank={args['rank']}, alpha={args['alpha']})  # {case.label}"]
        lines.append("  nn.Linears at " + ", ".join(args["values"]))
        if args["adapted"]:
            lines.append("  LoRALinears at " + ", ".join(path for path, *_ in args["adapted"]))
        return "\n".join(lines)

    def observe(self, target, case):
        """Call the learner's function with the case's model."""
        return lora_added(target, **case.args)

    def fault(self, case, observation):
        """What is wrong with the model after the call."""
        args = case.args
        if "raised" in observation and "during" in observation:
            return raised_fault("Afterwards, calling the model", observation["raised"])
        if fault := self.failed_call(observation):
            return fault
        if observation["same"] is not True:
            kind = describe.clean(str(observation["type"]), 80)
            if kind == "NoneType":
                return Fault("The call returned None, not the model.", misconception=RETURNED_NONE)
            if kind.rpartition(".")[2] != "Model":
                hint = (
                    "Which return is reached first, and what does it return? A return inside a loop ends the "
                    "call at once."
                )
                return Fault(f"The call returned a {kind}, not the model.", hint=hint)
            return Fault(f"The call returned another {kind}, not the model itself.", misconception=COPY_RETURNED)
        return (
            self._places_fault(args, observation)
            or self._other_parameters_fault(args, observation)
            or self._values_fault(args, observation)
            or self._second_call_fault(observation)
        )

    def _places_fault(self, args, observation):
        places = observation["places"]
        plain = [path for path, place in places.items() if place["adapted"] is not True]
        if plain:
            nested = {path for path in places if "." in path}
            problem = f"There is no LoRALinear at {', '.join(plain[:4])}{', and so on' if len(plain) > 4 else ''}."
            if len(plain) == len(places):
                # A LoRALinear freezes its base: where nothing is frozen, none was made.
                made = any(places[path]["frozen"] is True for path in plain)
                return Fault(
                    f"None of the {len(plain)} nn.Linears was replaced.",
                    hint="Print the name and the type of each module that your loop visits. Which of them should "
                    "it replace, and does it?",
                    misconception=NOTHING_REPLACED if made else None,
                )
            if observation["dotted"] is True:
                return Fault(problem, misconception=FULL_NAME_AS_ATTRIBUTE)
            return Fault(problem, misconception=NESTED_MISSED if nested == set(plain) else None)
        if observation["shared"]:
            first, second = (describe.clean(str(path), 60) for path in observation["shared"])
            return Fault(f"The layers at {first} and {second} share an adapter.", misconception=ADAPTER_SHARED)
        for path, place in places.items():
            (d, k), rank = linears(args["source"])[path], args["rank"]
            if place["layers"] > 1:
                return Fault(f"At {path} a LoRALinear wraps another LoRALinear.", misconception=NEVER_TWICE)
            if place["base"] != "same":
                description = (
                    "another nn.Linear" if place["base"] == "another" else describe.clean(str(place["base"]), 60)
                )
                return Fault(
                    f"base_layer at {path} is {description}, not the nn.Linear that was there.",
                    misconception=BASE_COPIED,
                )
            scale = place["scaling"]
            right = is_number(scale) and agree(float(as_number(scale)), args["alpha"] / rank)
            if place["shapes"] != [[d, rank], [rank, k]] or not right:
                shapes = " and ".join(describe.shape(shape or ()) for shape in place["shapes"])
                cause = _arguments_cause(args, place["shapes"], scale)
                return Fault(
                    f"At {path}, A and B have shapes {shapes}, and scaling is {describe.contents(scale)}.",
                    expected=f"{(d, rank)} and {(rank, k)}, and {describe.contents(args['alpha'] / rank)}",
                    hint=""
                    if cause
                    else "LoRALinear divides alpha by the rank itself. What do you hand to it as each of them?",
                    misconception=cause,
                )
            if place["frozen"] is not True:
                return Fault(f"base_layer at {path} requires a gradient.")
            if place["trains"] != [True, True]:
                problem = f"The adapter at {path} does not require a gradient, so nothing trains."
                return Fault(problem, misconception=ADAPTER_FROZEN)
        return None

    def _other_parameters_fault(self, args, observation):
        if observation["kept"] is not True:
            return Fault(
                "A LoRALinear that was in the model before has been replaced or wrapped, or has other values.",
                hint="It must stay as it is, with nothing new inside it. What does your code do when it finds one?",
            )
        if observation["others"]:
            names = describe.clean(", ".join(map(str, observation["others"][:3])), 120)
            return Fault(f"Other parameters have changed: {names}.")
        if observation["unfrozen"]:
            names = describe.clean(", ".join(map(str, observation["unfrozen"][:3])), 120)
            return Fault(f"Frozen before the call, but not after it: {names}.", misconception=UNFROZE_ALL)
        return None

    def _values_fault(self, args, observation):
        source, state, x = args["source"], args["state"], args["x"]
        existing = {path: (A, B, alpha / rank) for path, rank, alpha, A, B in args["adapted"]}
        at_start = output(source, state, existing, x)
        starts = {path: _start(place) for path, place in observation["places"].items()}
        if fault := next(filter(None, (start_fault(path, *pair) for path, pair in starts.items() if pair)), None):
            return fault
        is_zero = all(pair and start_problem(*pair) != "neither_zero" for pair in starts.values())
        if not is_zero or not agree(observation["at_start"], at_start, x.dtype):
            hint = (
                "LoRALinear makes lora_B zero, but it is not zero in every new layer. Which of your lines writes "
                "into it?"
            )
            problem = "Before any training, the model no longer computes exactly what it computed before."
            return Fault(problem, hint="" if is_zero else hint)
        updates = existing | {path: (A, B, args["alpha"] / args["rank"]) for path, (A, B) in args["values"].items()}
        right = output(source, state, updates, x)
        if fault := fault_between(observation["out"], "torch.Tensor", right, dtype=x.dtype, what="The model's output"):
            return fault
        negated = state | {f"{path}.weight": -state[f"{path}.weight"] for path in args["values"]}
        if not agree(observation["out_of_bases"], output(source, negated, updates, x), x.dtype):
            problem = (
                "The model does not use the weights of the nn.Linears that were there: when they change, its "
                "output does not."
            )
            return Fault(problem, misconception=BASE_COPIED)
        return None

    def _second_call_fault(self, observation):
        second_call = observation["again"]
        if second_call["raised"]:
            hint = "A model may have LoRALinears already. What does your code do when it finds one?"
            raised = second_call["raised"]
            return raised_fault("A second call", raised, hint_for(raised) or hint)
        if second_call["layers"]:
            return Fault("A second call has wrapped the base layers of LoRALinears.", misconception=NEVER_TWICE)
        if second_call["kept"] is not True:
            return Fault("A second call has replaced the adapters, and what they had learned.", misconception=RENEWED)
        return None

    def same(self, case, a, b):
        """Whether two functions have the same effect, in everything that the probe reports."""
        return alike(_without_random_values(a), _without_random_values(b))


def _without_random_values(observation):
    places = {
        path: {**place, "values": start_problem(*pair) if (pair := _start(place)) else "none"}
        for path, place in observation.get("places", {}).items()
    }
    return observation | {"places": places, "at_start": None}


def _start(place):
    """``(A, B)`` of a new layer before anything was written into them; None where there are no such tensors."""
    pair = place.get("values") or [None, None]
    return tuple(pair) if all(isinstance(values, torch.Tensor) and values.ndim == 2 for values in pair) else None


def _arguments_cause(args, shapes, scale):
    """The `Misconception` that shows in a LoRALinear made with other arguments than rank and alpha; None where none does."""
    rank = shapes[0][-1] if shapes[0] else None
    scale = float(as_number(scale)) if is_number(scale) else None
    if rank == args["alpha"]:
        return RANK_AND_ALPHA_SWAPPED
    if agree(scale, args["alpha"] / args["rank"] ** 2):
        hint = "LoRALinear itself divides alpha by the rank. What do you pass as alpha?"
        return DIVIDED_BY_RANK_AGAIN.reworded(hint=hint)
    if rank and (rank == DEFAULT_RANK or agree(scale, 1 / rank)):
        return ALPHA_OR_RANK_LOST
    return None


add_lora = AddLora()

answer.slip(
    NESTED_MISSED, "        elif not isinstance(part, LoRALinear):\n            add_lora(part, rank, alpha)\n", ""
)
answer.slip(NEVER_TWICE, "elif not isinstance(part, LoRALinear):", "else:")
answer.slip(ALPHA_OR_RANK_LOST, "LoRALinear(part, rank, alpha)", "LoRALinear(part)")
answer.slip(RANK_AND_ALPHA_SWAPPED, "LoRALinear(part, rank, alpha)", "LoRALinear(part, alpha, rank)", exactly=True)
MADE = "            setattr(model, name, LoRALinear(part, rank, alpha))\n"
FILLED = """            layer = LoRALinear(part, rank, alpha)
            nn.init.zeros_(layer.lora_A)
            setattr(model, name, layer)
"""
answer.slip(BOTH_ZERO, MADE, FILLED)
answer.slip(CONSTANT_A, MADE, FILLED.replace("zeros_", "ones_"))
answer.slip(
    DIVIDED_BY_RANK_AGAIN,
    "LoRALinear(part, rank, alpha)",
    "LoRALinear(part, rank, alpha / rank)",
    hint="LoRALinear itself divides alpha by the rank. What do you pass as alpha?",
)
answer.slip(
    BASE_COPIED,
    "from lora_ref.layer import LoRALinear\n",
    "import copy\n\nfrom lora_ref.layer import LoRALinear\n",
    "LoRALinear(part, rank, alpha)",
    "LoRALinear(copy.deepcopy(part), rank, alpha)",
)
answer.slip(UNFROZE_ALL, "    for name, part in list", "    model.requires_grad_(True)\n    for name, part in list")
answer.slip(
    ADAPTER_FROZEN,
    "\n    return model",
    "\n    for p in model.parameters():\n        p.requires_grad_(False)\n    return model",
)
answer.slip(RETURNED_NONE, "\n    return model", "")
answer.slip(
    RENEWED,
    "        elif not isinstance(part, LoRALinear):\n",
    "        elif isinstance(part, LoRALinear):\n"
    "            setattr(model, name, LoRALinear(part.base_layer, rank, alpha))\n"
    "        else:\n",
)
answer.slip(
    COPY_RETURNED,
    "from lora_ref.layer import LoRALinear\n",
    "import copy\n\nfrom lora_ref.layer import LoRALinear\n",
    "    for name, part in list",
    "    model = copy.deepcopy(model)\n    for name, part in list",
)


answer.slip(
    FULL_NAME_AS_ATTRIBUTE,
    "model.named_children()",
    "model.named_modules()",
    "if isinstance(part, nn.Linear):",
    'if isinstance(part, nn.Linear) and not name.endswith("base_layer"):',
    "        elif not isinstance(part, LoRALinear):\n            add_lora(part, rank, alpha)\n",
    "",
)
answer.slip(
    NOTHING_REPLACED,
    "setattr(model, name, LoRALinear(part, rank, alpha))",
    "part = LoRALinear(part, rank, alpha)",
)
answer.slip(
    ADAPTER_SHARED,
    """    for name, part in list(model.named_children()):
        if isinstance(part, nn.Linear):
            setattr(model, name, LoRALinear(part, rank, alpha))
        elif not isinstance(part, LoRALinear):
            add_lora(part, rank, alpha)
""",
    """    matrices = {}
    for path, part in list(model.named_modules()):
        if isinstance(part, nn.Linear) and not path.endswith("base_layer"):
            parent, _, name = path.rpartition(".")
            layer = LoRALinear(part, rank, alpha)
            layer.lora_A = matrices.setdefault(part.in_features, layer.lora_A)
            setattr(model.get_submodule(parent), name, layer)
""",
)
