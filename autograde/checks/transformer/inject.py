"""inject: the layers that a list of names stands for, replaced in place, and a model that is otherwise as it was."""

import functools
import re
from dataclasses import replace

import torch
from torch import nn

from autograde.checks.shared.families import ADAPTER_SHARED, BOTH_ZERO, CONSTANT_A, FULL_NAME_AS_ATTRIBUTE
from autograde.checks.shared.start_values import start_fault, start_problem
from autograde.checks.transformer.models import TO_INJECT
from autograde.judge import describe, exceptions
from autograde.judge.answer import RightAnswer, compiled
from autograde.judge.check import ANSWER, Case, Check
from autograde.judge.compare import Fault, agree
from autograde.judge.misconception import Misconception
from autograde.probes.transformer import build_model, inject_into

MODEL = "the model"  # the part of the points that is for what must not happen to the model

TOP_LEVEL = (
    "This layer is a direct part of the model, so there is no dot in its name. What does your code use as its parent?"
)

SAYS_TIED = r"\bti(e|es|ed)\b|\btying\b|\b(un)?shar|\bsame\b|\balso\b|\bembedding"  # of a refusal that says why

NESTED = Misconception(
    "nested",
    thought="A layer that has an adapter can get another one.",
    hint="Print the names in named_modules() after a first call. Under which name do you find the old layer "
    "inside the new one?",
)
ENDLESS = Misconception(
    "replaced_while_walking",
    thought="The model can be changed while named_modules() walks through it.",
    hint="The walk also visits the layer that you have just put in, and the layer inside it. Collect the names in "
    "a list first.",
)
FROZE_OTHERS = Misconception(
    "freezes_all",
    thought="LoRA means that only adapters train, so inject freezes the model.",
    hint="The caller may want the norms to train. LoRALinear already freezes the layer that it wraps.",
)
COPIED = Misconception(
    "base_copied",
    thought="A copy of the layer is as good as the layer.",
    hint="Another module may share the weight: a change of one must also change the other. Use the layer that is "
    "there.",
)
SILENT = Misconception(
    "silent_no_match",
    thought="If nothing matches, there is nothing to do.",
    hint="After a typing error in a name, a model would be trained without any adapter. Which error should the "
    "docstring's reader get?",
)
LETTERS = Misconception(
    "letters_of_a_string",
    thought="target_modules always contains names.",
    hint="A string is a sequence, too. What does a loop over 'q_proj' give, one by one?",
)
NAMES_NOT_RETURNED = Misconception(
    "names_not_returned",
    thought="The model shows what was replaced, so the return value hardly matters.",
    hint="The caller needs the full names of the layers that were replaced, as a list. Print what you return "
    "beside the names in model.named_modules().",
)
ADAPTER_FROZEN = Misconception(
    "adapter_frozen",
    thought="LoRA freezes the model, so the new layer is frozen, too.",
    hint="A LoRALinear that is frozen as a whole cannot learn: lora_A and lora_B must train. It has frozen its base_layer already. "
    "What is left for you to freeze?",
)
FROZEN_LAST = ADAPTER_FROZEN.reworded(
    thought="Freezing comes last, when everything is in its place.",
    hint="By then the adapters are parameters of the model, too, and they must train. And inject leaves the rest "
    "as it is: whether it is frozen is up to the caller.",
)
BASE_UNFROZEN = Misconception(
    "base_unfrozen",
    thought="A layer that learns must require a gradient.",
    hint="Only its adapter learns: in a LoRALinear the base_layer is frozen. Which of your lines sets "
    "requires_grad, and for which parameters?",
)

answer = RightAnswer("""
from lora_ref.layer import LoRALinear


def inject(model, target_modules, rank, alpha):
    if isinstance(target_modules, str):
        raise TypeError("target_modules is a list of names")
    names = []
    for name, module in model.named_modules():
        if isinstance(module, nn.Linear) and any(f".{name}".endswith(f".{target}") for target in target_modules):
            names.append(name)
    if not names:
        linears = [name for name, module in model.named_modules() if isinstance(module, nn.Linear)]
        raise ValueError(f"no nn.Linear is called {target_modules}; there are {linears}")
    for name in names:
        module = model.get_submodule(name)
        parent, _, child = name.rpartition(".")
        setattr(model.get_submodule(parent), child, LoRALinear(module, rank, alpha))
    return names
""")


class Inject(Check):
    """Looks at every place in the model where an nn.Linear stood, and at what else has changed."""

    name = "inject"
    points = 4
    parts = {ANSWER: 2, MODEL: 2}
    answer = answer
    note = (
        "the last part of a name compared with the last parts of a target, a regular expression, a recursion over "
        "named_children; the error may come before or after a list of matches is made."
    )
    next_step = (
        "Print the names in model.named_modules(), mark by hand those that should match, and compare with your list."
    )

    def __init__(self):
        super().__init__()
        self.rules = []  # of matching, that are known to be wrong: (its `Misconception`, whether a target means a name)

    def cases(self, draw):
        d, e, v = draw.sizes(3, low=6, high=11)
        source = TO_INJECT.format(d=d, e=e, v=v)
        rank, alpha = draw.choice([2, 3]), draw.choice([5, 7, 11])  # LoRALinear's default rank is 4
        ids = draw.tensor(2, 3).abs().long() % v

        def case(targets, label, part=ANSWER, again=None, tied=None):
            args = {"source": source, "seed": draw.integer(0, 10**6), "target_modules": targets, "rank": rank,
                    "alpha": alpha, "ids": ids, "again": again, "tied": tied}  # fmt: skip
            return Case(args, label, part)

        tie = ["lm_head", "embedding"]
        return [
            case(["q_proj", "v_proj"], "two names"),
            case(("q_proj",), "a tuple with one name"),
            case(["attention.q_proj"], "a name of two parts"),
            case(["0"], "layers in a Sequential, which are called 0 to 10"),
            case(["blocks.1.cross.v_proj", "o"], "a full name, and a single letter"),
            case(["mlp.10", "k_proj"], "one name that is there and one that is not"),
            case(["q_proj", "v_proj"], "what was frozen, what trains, and the tie", MODEL, tied=tie),
            case(["lm_head"], "a layer whose weight is tied to the embedding", MODEL, tied=tie),
            case(["q_proj", "attention.q_proj"], "two names that stand for one layer", MODEL),
            case(["q_proj"], "and once more with the same names", MODEL, again=["q_proj"]),
            case(["q_proj"], "and once more with further names", MODEL, again=["q_proj", "v_proj"]),
            case(["query"], "a name that is nowhere", MODEL),
            case(["norm", "embedding", "memory.v_proj"], "names of modules that are no nn.Linear", MODEL),
            case("q_proj", "one string and no list", MODEL),
        ]

    def observe(self, target, case):
        return inject_into(target, **case.args)

    def called(self, case):
        targets, rank, alpha = (case.args[name] for name in ("target_modules", "rank", "alpha"))
        call = f"inject(model, {targets!r}, {rank}, {alpha})  # {case.label}"
        if case.args["again"]:
            call += f"\ninject(model, {case.args['again']!r}, {rank}, {alpha})"
        linear_names = list(linears_of(case))
        rows = [", ".join(linear_names[i : i + 3]) for i in range(0, len(linear_names), 3)]
        return "\n".join([call, "the nn.Linears of the model:", *(f"  {row}" for row in rows)])

    def fault(self, case, observation):
        if "not_callable" in observation:
            return self.failed_call(observation)
        target_layers = layers_matching(case, case.args["target_modules"])
        if not target_layers or isinstance(case.args["target_modules"], str):
            return _missing_exception_fault(self, case, observation)
        if "raised" in observation:
            return _exception_fault(self, case, observation)
        return (
            _places_fault(case, observation, target_layers)
            or _returned_names_fault(
                observation, target_layers, "The first call returned" if case.args["again"] else "The result is"
            )
            or _other_parts_fault(case, observation)
            or _second_call_fault(self, case, observation, target_layers)
        )

    def cause_in_all(self, cases, observations):
        """The wrong rule by which the answer found its layers in every call with a list, whatever else is wrong with it."""
        if any("places" not in observation for observation in observations):
            return None
        asked = [
            pair
            for pair in zip(cases, observations, strict=True)
            if not isinstance(pair[0].args["target_modules"], str)
        ]
        fitting = [
            misconception
            for misconception, is_meant in self.rules
            if all(_replaced_names(observation) == _meant(case, is_meant) for case, observation in asked)
        ]
        return fitting[0] if len(fitting) == 1 else None

    def same(self, case, a, b):
        return _summary(case, a) == _summary(case, b) and _says_what_is_there(case, a) == _says_what_is_there(case, b)


inject = Inject()


def linears_of(case):
    """The nn.Linears of a case's model: ``{name: (in_features, out_features)}``."""
    return _linears(case.args["source"])


@functools.lru_cache
def _linears(source):
    named = build_model(source, seed=0).named_modules()
    return {name: (part.in_features, part.out_features) for name, part in named if isinstance(part, nn.Linear)}


def layers_matching(case, targets):
    """The set of full names of the layers that match `targets`."""
    targets = [targets] if isinstance(targets, str) else targets
    return {name for name in linears_of(case) if any(f".{name}".endswith(f".{target}") for target in targets)}


def _meant(case, is_meant):
    """The set of full names of the layers that match the case's targets by another rule."""
    return {name for name in linears_of(case) if any(is_meant(name, target) for target in case.args["target_modules"])}


def _list_names(names):
    shown = ", ".join(sorted(names)[:4])
    return shown + (f" and {len(names) - 4} more" if len(names) > 4 else "")


def _replaced_names(observation):
    return {name for name, place in observation["places"].items() if place["kind"] != "same"} | set(
        observation["missing"]
    )


def _is_unchanged(observation):
    return not (_replaced_names(observation) or observation["added"] or observation["grads"] or observation["changed"])


def _missing_exception_fault(check, case, observation):
    """The fault of a call that should have raised; one string may also be taken as one name."""
    one_string = isinstance(case.args["target_modules"], str)
    target_layers = layers_matching(case, case.args["target_modules"])
    if "raised" not in observation:
        replaced = _replaced_names(observation)
        if one_string and replaced == target_layers:
            return (
                _places_fault(case, observation, target_layers)
                or _returned_names_fault(observation, target_layers, "The result is")
                or _other_parts_fault(case, observation)
            )
        if one_string:
            return Fault(
                "One string was treated as a list of its letters.",
                returned=f"replaced: {_list_names(replaced) or 'nothing'}",
                expected="a TypeError, or the layers of that one name",
                misconception=LETTERS if replaced == layers_matching(case, list(case.args["target_modules"])) else None,
            )
        if replaced:
            return Fault(f"No nn.Linear has such a name, but {_list_names(replaced)} was replaced.")
        expected = "a ValueError that names an nn.Linear of the model"
        returned = describe.contents(observation["value"])
        return Fault("Nothing matches, but no error was raised.", returned, expected)
    error = observation["raised"]
    kinds = ("TypeError", "ValueError") if one_string else ("ValueError",)
    error_text = exceptions.said(error)
    if not any(kind in error["bases"] for kind in kinds):
        return Fault(f"The call raised {error_text}", expected=f"a {kinds[0]}", where=error["where"])
    if not _is_unchanged(observation):
        changed_text = _list_names(
            _replaced_names(observation)
            or set(observation["grads"])
            or set(observation["changed"])
            or set(observation["added"])
        )
        return Fault(f"The call raised {error['type']}, but before that it had changed {changed_text}.",
                     hint="Find out whether anything matches before you change the model.")  # fmt: skip
    if not one_string and not _lists_a_linear(case, error["message"]):
        hint = "The user has to correct a name. What could the message list to help?"
        return Fault("The message of the ValueError names no nn.Linear of the model.", returned=error_text, hint=hint)
    return None


def _lists_a_linear(case, message):
    requested_names = case.args["target_modules"]
    for target in sorted(requested_names, key=len, reverse=True):
        message = message.replace(target, " ")  # what was asked for is no news
    names = linears_of(case)
    if any("." in name and name in message for name in names):
        return True
    said = {word.strip(".") for word in re.findall(r"[\w.]+", message)} & {name.rpartition(".")[2] for name in names}
    plain = {word for word in said if "_" not in word}  # 0, o, out: one alone may be a count or a word of the sentence
    quoted = set(re.findall(r"""['"`](\w+)['"`]""", message))
    return bool(said - plain or plain & quoted or len(plain) > 2)


def _says_what_is_there(case, observation):
    """Whether a list of names led to an exception that names an nn.Linear of the model."""
    is_list = not isinstance(case.args["target_modules"], str)
    return is_list and "raised" in observation and _lists_a_linear(case, observation["raised"]["message"])


def _exception_fault(check, case, observation):
    error = observation["raised"]
    if "RecursionError" in error["bases"]:
        return Fault("The call did not end: it ran into Python's recursion limit.", misconception=ENDLESS)
    if case.args["tied"] and case.args["target_modules"] == ["lm_head"] and _is_unchanged(observation):
        if "ValueError" in error["bases"] and re.search(SAYS_TIED, error["message"].lower()):
            return None  # refusing it, and saying why, is right too
    fault = check.failed_call(observation)
    return replace(fault, hint=TOP_LEVEL) if case.args["target_modules"] == ["lm_head"] and not fault.hint else fault


def _places_fault(case, observation, target_layers):
    """The fault of a place in the model: left alone or replaced when it should not be, or replaced by the wrong thing."""
    replaced = _replaced_names(observation)
    if nested := {name for name in target_layers if observation["places"].get(name, {}).get("kind") == "nested"}:
        return Fault(
            f"A layer inside an adapter got an adapter of its own: {_list_names(nested)}.", misconception=NESTED
        )
    if extra := replaced - target_layers:
        return Fault(
            f"It replaced {_list_names(extra)}, which {'does' if len(extra) == 1 else 'do'} not match.",
            returned=f"replaced: {_list_names(replaced)}",
            expected=f"replaced: {_list_names(target_layers)}",
        )
    if not_replaced := target_layers - replaced:
        dotted = {str(name).replace("/", ".") for name in observation["added"] if "/" in str(name)}
        return Fault(
            f"It did not replace {_list_names(not_replaced)}.",
            returned=f"replaced: {_list_names(replaced) or 'nothing'}",
            expected=f"replaced: {_list_names(target_layers)}",
            hint=TOP_LEVEL if all("." not in name for name in not_replaced) else "",
            misconception=FULL_NAME_AS_ATTRIBUTE if not_replaced <= dotted else None,
        )
    if observation["added"]:
        return Fault(f"There are modules under new names: {_list_names(set(observation['added']))}.")
    if observation["shared"]:
        first, second = map(str, observation["shared"])
        return Fault(f"{first} and {second} share an adapter.", misconception=ADAPTER_SHARED)
    sizes, rank, alpha = linears_of(case), case.args["rank"], case.args["alpha"]
    for name in sorted(target_layers):
        place = observation["places"][name]
        if place["kind"] == "copy":
            problem = f"The base_layer of {name} is not the nn.Linear that was there."
            return Fault(problem, misconception=COPIED)
        if place["kind"] != "lora":
            return Fault(f"{name} is not a LoRALinear around the old layer, but {describe.clean(place['type'], 60)}.")
        d, k = sizes[name]
        if place["shapes"] != [[d, rank], [rank, k]]:
            shapes = " and ".join(describe.shape(shape) for shape in place["shapes"])
            return Fault(f"The adapters of {name} have the shapes {shapes}.", expected=f"({d}, {rank}) and ({rank}, {k})",
                         hint="Which rank do you pass to LoRALinear, and as which argument?")  # fmt: skip
        if not agree(place["scaling"], alpha / rank):
            scaling_text = describe.contents(place["scaling"])
            return Fault(f"The scaling of {name} is {scaling_text}, not alpha / rank.",
                         hint="Do you pass alpha on to LoRALinear?")  # fmt: skip
        if fault := _training_fault(observation, name) or _start_fault(place, name):
            return fault
    return None


def _training_fault(observation, name):
    """The fault of a new layer that trains what it should not, or does not train what it should."""
    trains = observation["places"][name]["trains"]
    if name in observation["base_trains"]:
        return Fault(f"The base_layer of {name} requires a gradient, so it would train.", misconception=BASE_UNFROZEN)
    if trains == [True, True]:
        return None
    if not any(trains):
        problem = f"Neither lora_A nor lora_B of {name} requires a gradient, so nothing can train there."
        return Fault(problem, misconception=FROZEN_LAST if observation["grads"] else ADAPTER_FROZEN)
    side = "lora_B" if trains[0] else "lora_A"
    hint = "LoRALinear lets both of its matrices train. Which of your lines freezes one?"
    return Fault(f"{side} of {name} requires no gradient, so it cannot train.", hint=hint)


def _start_fault(place, name):
    """The fault of a new layer that does not start as a LoRALinear does. Where neither matrix is zero, that shows in the output."""
    values = place["values"]
    if all(isinstance(t, torch.Tensor) and list(t.shape) == s for t, s in zip(values, place["shapes"], strict=True)):
        return start_fault(name, *values)
    return Fault(f"The adapters of {name} are not ordinary tensors of real numbers.")


def _returned_names_fault(observation, target_layers, subject):
    value = observation["value"]
    if not isinstance(value, list) or not all(isinstance(name, str) for name in value):
        return Fault(
            f"{subject} no list of names.",
            describe.contents(value),
            f"the names: {_list_names(target_layers)}",
            misconception=NAMES_NOT_RETURNED,
        )
    if sorted(set(value)) != sorted(target_layers):
        return Fault(f"{subject} not the list of the full names that were replaced.",
                     f"[{', '.join(value[:6])}]", f"[{', '.join(sorted(target_layers)[:6])}]",
                     misconception=NAMES_NOT_RETURNED)  # fmt: skip
    return None


def _other_parts_fault(case, observation):
    """The fault of what is not replaced, and of the model as a whole."""
    if case.part == MODEL:
        if observation["grads"]:
            return Fault(
                f"requires_grad of {_list_names(set(observation['grads']))} has changed, outside the replaced layers.",
                misconception=FROZE_OTHERS,
            )
        if case.args["tied"] and not observation["tied"]:
            return Fault("lm_head and the embedding shared one weight, and now they have two.", misconception=COPIED)
    if observation["changed"]:
        return Fault(f"The values of {_list_names(set(observation['changed']))} have changed.")
    if not agree(observation["out"], _right_output(case)):
        return Fault("The model does not compute the same as before: B is zero, so the output should not have changed.")
    if not agree(observation["out_of_bases"], _right_output(case, _replaced_names(observation))):
        problem = (
            "The model does not use the weights of the nn.Linears that were there: when they change, its "
            "output does not."
        )
        return Fault(problem, misconception=COPIED)
    return None


def _right_output(case, negated=()):
    """What the case's model computes with zero in each B, worked out here; `negated`: names of nn.Linears whose weights have other
    signs.
    """
    ids = tuple(map(tuple, case.args["ids"].tolist()))
    return _output(case.args["source"], case.args["seed"], ids, frozenset(negated))


@functools.lru_cache(maxsize=64)
def _output(source, seed, ids, negated):
    model = build_model(source, seed)
    with torch.no_grad():
        for name in negated:
            model.get_submodule(name).weight.neg_()
        return model(torch.tensor(ids))


def _second_call_fault(check, case, observation, target_layers):
    second_targets = case.args["again"]
    if second_targets is None:
        return None
    second_call, new = observation["second"], layers_matching(case, second_targets) - target_layers
    places = second_call["places"]
    adapted_layers = {name for name, place in places.items() if place["kind"] != "same"}
    if nested := {name for name in adapted_layers if places[name]["kind"] == "nested"}:
        return Fault(
            f"In the second call, a layer inside an adapter got an adapter of its own: {_list_names(nested)}.",
            misconception=NESTED,
        )
    if "raised" in second_call:
        error = second_call["raised"]
        if "RecursionError" in error["bases"]:
            return Fault("The second call did not end: it ran into Python's recursion limit.", misconception=ENDLESS)
        if new or "ValueError" not in error["bases"]:
            fault = check.failed_call(second_call)
            return Fault(fault.problem.replace("The call", "The second call"), where=fault.where)
    if not second_call["kept"]:
        hint = (
            "An accidental second call would lose what was trained. What should your code do with a layer "
            "that has an adapter already?"
        )
        return Fault("The second call replaced adapters that were there, or their values.", hint=hint)
    if adapted_layers != target_layers | new:
        expected = f"adapted: {_list_names(target_layers | new)}"
        return Fault(
            "After the second call the wrong layers are adapted.", f"adapted: {_list_names(adapted_layers)}", expected
        )
    return None if "raised" in second_call else _returned_names_fault(second_call, new, "The second call returned")


def _summary(case, observation):
    """A summary of an observation: two answers with equal summaries have the same effect on the model."""
    if "places" not in observation:
        return sorted(observation)
    value = observation.get("value")
    names = tuple(sorted(map(str, value))) if isinstance(value, list) else observation.get("type")
    return (
        observation["raised"]["type"] if "raised" in observation else None,
        sorted(
            (name, place["kind"], str(place.get("shapes")), str(place.get("scaling")), *_start_of(place))
            for name, place in observation["places"].items()
        ),
        sorted(observation["base_trains"]),
        sorted(observation["missing"]),
        sorted(observation["added"]),
        list(observation["shared"]),
        sorted(observation["grads"]),
        sorted(observation["changed"]),
        names,
        agree(observation["out"], _right_output(case)),
        observation.get("tied"),
        (_short(observation["second"]), observation["second"]["kept"]) if "second" in observation else None,
    )


def _start_of(place):
    """Which of a new layer's matrices train, and how they were filled; nothing of a place that holds none."""
    values = place.get("values", ())
    tensors = [values for values in values if isinstance(values, torch.Tensor) and values.ndim == 2]
    return str(place.get("trains")), str(start_problem(*tensors) if len(tensors) == 2 else None)


def _short(second):
    value = second.get("value")
    names = tuple(sorted(map(str, value))) if isinstance(value, list) else second.get("type")
    kinds = sorted((name, place["kind"]) for name, place in second["places"].items())
    return second["raised"]["type"] if "raised" in second else None, kinds, names


def _has_alpha_for_rank(case, observation):
    """Whether LoRALinear was made with alpha as its rank, or has refused that."""
    if "raised" in observation:
        return str(observation["raised"]["message"]).endswith(f"features, not {case.args['alpha']}.")
    sizes, alpha = linears_of(case), case.args["alpha"]
    shapes = {
        name: place.get("shapes") for name, place in observation.get("places", {}).items() if place["kind"] == "lora"
    }
    return bool(shapes) and all(shapes[name] == [[sizes[name][0], alpha], [alpha, sizes[name][1]]] for name in shapes)


# What is known to be wrong --------------------------------------------------------------------------------------------

MATCH = 'f".{name}".endswith(f".{target}")'
RETURN = "    return names"


def _matches_by(known, rule, *, thought, hint):
    """Add the slip of an answer that finds its layers by another rule: an expression of name and target."""
    slip = answer.slip(known, MATCH, rule, thought=thought, hint=hint)
    is_meant = compiled(f"def is_meant(name, target):\n    return {rule}\n", "is_meant")
    inject.rules.append((slip.misconception, is_meant))


_matches_by(
    "substring_match", "target in name",
    thought="A layer matches when its name contains the target.",
    hint="Which names in the model contain your target but are other names? Look at seq_proj, letter by letter.",
)  # fmt: skip
_matches_by(
    "ends_with_letters", "name.endswith(target)",
    thought="A layer matches when its name ends with the target.",
    hint="seq_proj ends in the letters q_proj, and mlp.10 in 0. Which character must come before the target?",
)  # fmt: skip
_matches_by(
    "any_part_of_the_path", "target in name.split('.')",
    thought="A layer matches when the target is a part of its path.",
    hint="A container may have the same name as the target. Which part of the path is the layer's own name?",
)  # fmt: skip
_matches_by(
    "any_part_of_the_path", 'f".{target}." in f".{name}."',
    thought="A layer matches when the target is a part of its path.",
    hint="A container may have the same name as the target. Which part of the path is the layer's own name?",
)  # fmt: skip
answer.slip(
    ADAPTER_SHARED, "    for name in names:\n", "    layers = {}\n    for name in names:\n",
    "alpha))\n    return names",
    "alpha))\n        layer = model.get_submodule(name)\n        first = layers.setdefault(module.weight.shape, layer)\n"
    "        layer.lora_A, layer.lora_B = first.lora_A, first.lora_B\n    return names",
)  # fmt: skip
_matches_by(
    "last_part_only", "name.split('.')[-1] == target",
    thought="A target is always the last part of a name.",
    hint="A target such as attention.q_proj has two parts: it means the q_proj inside an attention only. Which "
        "layers does your code find for it?",
)  # fmt: skip
_matches_by(
    "full_names_only", "name == target",
    thought="A target is the full name of a layer.",
    hint="Then a user would have to list every block. A target stands for every layer whose path ends in it.",
)  # fmt: skip
_matches_by(
    "starts_like_it", "name.split('.')[-1].startswith(target)",
    thought="A layer matches when its own name begins with the target.",
    hint="q_proj_old is another layer. Where does a name end?",
)  # fmt: skip
answer.slip(
    "containers_too", "isinstance(module, nn.Linear) and any(", "any(",
    thought="Every module with the name matches.",
    hint="It may be a container or a norm. Which modules can a LoRALinear wrap?",
)  # fmt: skip
answer.slip(
    SILENT, "    if not names:", "    if names is None:",
)  # fmt: skip
answer.slip(
    "message_without_names", "; there are {linears}", "",
    thought="It is enough to say that it failed.",
    hint="The user has to correct a name. What could the message list to help?",
)  # fmt: skip
answer.slip(
    "every_name_must_match", "    if not names:",
    "    if not all(any(f'.{name}'.endswith(f'.{target}') for name in names) for target in target_modules):",
    thought="A name that matches nothing is an error, even if the others match.",
    hint="One list may be used for several models. It is an error only if none of the names matches.",
)  # fmt: skip
answer.slip(
    LETTERS, "isinstance(target_modules, str)", "target_modules is None",
)  # fmt: skip
answer.slip(
    "parent_by_first_occurrence", 'parent, _, child = name.rpartition(".")',
    'child = name.split(".")[-1]\n        parent = name[: name.index(child)].rstrip(".")',
    thought="Cutting the layer's own name out of the path leaves the parent.",
    hint="A parent may have the same name as its child. Where does the last part begin?",
)  # fmt: skip
answer.slip(
    "parent_by_strip", 'parent, _, child = name.rpartition(".")',
    'child = name.split(".")[-1]\n        parent = name.rstrip("." + child)',
    thought="rstrip removes a word from the end.",
    hint="Try 'prior.q_proj'.rstrip('.q_proj') in a cell: rstrip removes every last letter that is among those "
        "given.",
)  # fmt: skip
answer.slip(
    "split_at_the_first_dot", 'name.rpartition(".")', 'name.partition(".")',
    thought="A path has two parts, the parent and the child.",
    hint="A path may have many parts. Which of the dots stands between the parent and the layer?",
)  # fmt: skip
answer.slip(
    "set_on_the_model", "model.get_submodule(parent)", "model",
    thought="The layers belong to the model, so the new layer is set on the model.",
    hint="Which module has the layer as its attribute? Print the names of the model's modules after the call.",
)  # fmt: skip
answer.slip(
    FULL_NAME_AS_ATTRIBUTE, "setattr(model.get_submodule(parent), child,", "setattr(model, name,",
)  # fmt: skip
answer.slip(
    "first_only", "alpha))\n    return names", "alpha))\n        return names",
    thought="There is one layer of each name.",
    hint="Count the names that match. Where does your function return?",
)  # fmt: skip
answer.slip(
    COPIED, "LoRALinear(module, rank", "LoRALinear(__import__('copy').deepcopy(module), rank",
)  # fmt: skip
answer.slip(
    FROZE_OTHERS, "    names = []", "    model.requires_grad_(False)\n    names = []",
)  # fmt: skip
answer.slip(
    "alpha_forgotten", "LoRALinear(module, rank, alpha)", "LoRALinear(module, rank)",
    thought="LoRALinear knows its alpha.",
    hint="LoRALinear has a default for alpha. Do you pass on the alpha that inject gets?",
)  # fmt: skip
answer.slip(
    "rank_forgotten", "LoRALinear(module, rank, alpha)", "LoRALinear(module, alpha=alpha)",
    thought="LoRALinear knows its rank.",
    hint="LoRALinear has a default for rank. Do you pass on the rank that inject gets?",
)  # fmt: skip
answer.slip(
    "rank_and_alpha_swapped", "LoRALinear(module, rank, alpha)", "LoRALinear(module, alpha, rank)",
    thought="The order of two numbers does not matter.",
    hint="Which one comes first in LoRALinear? If you pass them by name, the order does not matter.",
    recognise=lambda case, observation: _has_alpha_for_rank(case, observation),
)  # fmt: skip
answer.slip(
    "short_names", RETURN, "    return [name.split('.')[-1] for name in names]",
    thought="The name of a layer is the last part of its path.",
    hint="The caller must be able to find each layer with the list: model.get_submodule(name).",
)  # fmt: skip
answer.slip(
    "model_returned", RETURN, "    return model",
    thought="The function changes a model, so it returns it.",
    hint="The model is changed in place, so the caller has it already. What should the function return, according "
        "to the docstring?",
)  # fmt: skip
answer.slip(
    "count_returned", RETURN, "    return len(names)",
    thought="The number of replaced layers is enough.",
    hint="Two models can have the same number of matches and different layers. Only the names show which ones "
        "they are.",
)  # fmt: skip
answer.slip(
    NESTED, MATCH, 'f".{name}".removesuffix(".base_layer").endswith(f".{target}")',
)  # fmt: skip
answer.slip(
    "adapter_renewed",
    "isinstance(module, nn.Linear) and any(", "isinstance(module, (nn.Linear, LoRALinear)) and any(",
    "module = model.get_submodule(name)",
    "module = model.get_submodule(name)\n        module = getattr(module, 'base_layer', module)",
    thought="A second call starts again.",
    hint="An accidental second call would lose what was trained. What should your code do with a layer that has "
        "an adapter already?",
)  # fmt: skip
LAYER = "        setattr(model.get_submodule(parent), child, LoRALinear(module, rank, alpha))\n"
FILLED = """        layer = LoRALinear(module, rank, alpha)
        nn.init.zeros_(layer.lora_A)
        setattr(model.get_submodule(parent), child, layer)
"""
answer.slip(BOTH_ZERO, LAYER, FILLED)
answer.slip(CONSTANT_A, LAYER, FILLED.replace("zeros_", "ones_"))
answer.slip(ADAPTER_FROZEN, "LoRALinear(module, rank, alpha)", "LoRALinear(module, rank, alpha).requires_grad_(False)")
answer.slip(
    FROZEN_LAST, "    return names", "    model.requires_grad_(False)\n    return names",
)  # fmt: skip
answer.slip(BASE_UNFROZEN, "LoRALinear(module, rank, alpha)", "LoRALinear(module, rank, alpha).requires_grad_(True)")
