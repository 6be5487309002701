"""adapter_state_dict: the adapters of a model, all of them and nothing else, under the names of its state_dict."""

import torch

from autograde.checks.shared.observed import alike
from autograde.checks.transformer.models import AdaptedCase, adapted_models, values_for
from autograde.judge import describe
from autograde.judge.answer import RightAnswer
from autograde.judge.check import Check
from autograde.judge.compare import Fault
from autograde.judge.misconception import CHANGED_INPUT, KEPT_BETWEEN_CALLS
from autograde.probes.transformer import state_of
from autograde.remote.facts import same_bits

answer = RightAnswer("""
from lora_ref.layer import LoRALinear


def adapter_state_dict(model):
    layers = [name for name, module in model.named_modules() if isinstance(module, LoRALinear)]
    wanted = {f"{name}.{side}" for name in layers for side in ("lora_A", "lora_B")}
    return {name: value.clone() for name, value in model.state_dict().items() if name in wanted}
""")


class AdapterStateDict(Check):
    """Compares keys first, then values bit for bit."""

    name = "adapter_state_dict"
    points = 2
    answer = answer
    note = (
        "a loop over named_modules or named_parameters, a filter of state_dict; references or copies, detached or the "
        "Parameters themselves."
    )
    next_step = (
        "Print your keys beside those of model.state_dict(), and say for each why it does or does not belong to "
        "an adapter."
    )

    def cases(self, draw):
        models = iter(adapted_models(draw, draw.shuffled([2, 3, 4])))

        def case(label, dtype=torch.float32):
            source, adapters, _ = next(models)
            if dtype != torch.float32:
                source += "        self.to(torch.bfloat16)\n"
            args = {"source": source, "seed": draw.integer(0, 10**6), "values": values_for(draw, source)}
            return AdaptedCase(args, label, adapters=adapters)

        return [case("float32"), case("bfloat16", torch.bfloat16), case("another model")]

    def observe(self, target, case):
        return state_of(target, **case.args)

    def called(self, case):
        rows = ", ".join(case.adapters[:2])
        return (
            f"adapter_state_dict(model)  # {case.label}\n"
            f"the model has {len(case.adapters)} tensors in adapters ({rows}, …), norms that train, layers\n"
            "called flora_proj, lora_norm and lora_A that are no LoRALinear, and parameters called alphaB and gain"
        )

    def fault(self, case, observation):
        if "not_callable" in observation or "raised" in observation:
            return self.failed_call(observation)
        if observation["is_dict"] is not True:
            return Fault("The result is not a dict.", describe.contents(observation["value"]), "a dict")
        return (
            _keys_fault(case, observation)
            or _values_fault(case, observation)
            or _model_fault(observation)
            or _later_fault(observation)
        )

    def keeps(self, cases, observations, failed):
        """Whether each dict but the first also has the keys of the model before, which are none of its own."""
        found = [set(map(str, seen.get("keys", ()))) for seen in observations]
        own = [set(case.adapters) for case in cases]
        before = all(one <= keys for one, keys in zip(own[:-1], found[1:], strict=True))
        return before and all(one <= keys for one, keys in zip(own, found, strict=True))

    def same(self, case, a, b):
        return _summary(a) == _summary(b)


adapter_state_dict = AdapterStateDict()


def _keys_fault(case, observation):
    keys, adapters = set(observation["keys"]), case.adapters
    extra, missing = sorted(keys - set(adapters)), [key for key in adapters if key not in keys]
    if extra and missing:
        return Fault(
            f"The keys are not those of the model's state_dict: there is {extra[0]}, and {missing[0]} is missing."
        )
    if extra:
        shown = ", ".join(extra[:3])
        return Fault(f"The dict has more than adapters: {shown}{' …' if len(extra) > 3 else ''}.")
    if missing:
        return Fault(f"{len(missing)} of the {len(adapters)} adapters' tensors are missing: {missing[0]} for one.")
    return None


def _values_fault(case, observation):
    if observation["graph"]:
        hint = "A saved tensor must not be part of a graph. Which values does model.state_dict() give?"
        return Fault(f"The value of {observation['graph'][0]} has a grad_fn.", hint=hint)
    for key, value in zip(observation["keys"], observation["entries"], strict=True):
        right = case.args["values"][key]
        if not isinstance(value, torch.Tensor):
            return Fault(f"The value of {key} is not a tensor.", describe.contents(value), describe.kind(right))
        if value.shape != right.shape or value.dtype != right.dtype:
            return Fault(f"The value of {key} has another shape or dtype.", describe.kind(value), describe.kind(right))
        if not same_bits(value, right):
            return Fault(f"The values of {key} are not those of the parameter.", tensors=(value, right))
    return None


def _model_fault(observation):
    for key, description in (("replaced", "are no longer the same Parameters"), ("changed", "have other values"), ("grads", "have another requires_grad")):  # fmt: skip
        if observation[key]:
            problem = f"The model has changed: {', '.join(observation[key][:3])} {description}."
            hint = "The model is still in use. Copy the values, and leave everything in the model as it is."
            return Fault(problem, hint=hint, misconception=CHANGED_INPUT)
    return None


def _later_fault(observation):
    if alike(observation["entries"], observation["entries_later"]):  # an entry may be anything, a list or None too
        return None
    problem = "After a call with a second model, the dict of the first call has the values of the second model."
    return Fault(problem, misconception=KEPT_BETWEEN_CALLS)


def _summary(observation):
    if "keys" not in observation:
        return observation["raised"]["type"] if "raised" in observation else sorted(observation)
    entries = [
        (describe.kind(e), e.double().sum().item()) if isinstance(e, torch.Tensor) else str(e)
        for e in observation["entries"]
    ]
    entry_summary = sorted(zip(observation["keys"], map(str, entries), strict=True))
    return (
        entry_summary,
        sorted(observation["graph"]),
        [bool(observation[key]) for key in ("replaced", "changed", "grads")],
        _later_fault(observation) is None,
    )


CONDITION = "if name in wanted"

answer.slip(
    "whole_state", f" {CONDITION}", "",
    thought="The whole state of the model has to be saved.",
    hint="Compare the number of values in your dict with the number that were trained. The receiver has the base "
        "already.",
)  # fmt: skip
answer.slip(
    "lora_in_the_name", CONDITION, 'if "lora" in name',
    thought="A parameter of an adapter has lora in its name.",
    hint="Layers of other models can have such names: flora_proj, lora_norm. How can you recognise an adapter "
        "with certainty?",
)  # fmt: skip
answer.slip(
    "lora_in_the_name", CONDITION, 'if "lora_" in name',
    thought="A parameter of an adapter has lora_ in its name.",
    hint="Layers of other models can have such names: lora_norm. How can you recognise an adapter with certainty?",
)  # fmt: skip
answer.slip(
    "lora_in_the_name", CONDITION, 'if "lora_A" in name or "lora_B" in name',
    thought="No other layer is called lora_A.",
    hint="There may be a plain layer called lora_A, and its weight is not an adapter. The class of a module tells "
        "you for certain.",
)  # fmt: skip
answer.slip(
    "lora_in_the_name", CONDITION, 'if ".lora_" in name',
    thought="A part of a module whose name begins with lora_ is an adapter.",
    hint="A block may have a norm that is called lora_norm. How can you recognise an adapter with certainty?",
)  # fmt: skip
answer.slip(
    "by_the_last_letter", CONDITION, "if name[-1] in 'AB'",
    thought="Only the names of adapters end in A or B.",
    hint="A model may have a parameter called alphaB. How can you recognise an adapter with certainty?",
)  # fmt: skip
answer.slip(
    "all_but_weights_and_biases", CONDITION, "if not name.endswith(('weight', 'bias'))",
    thought="Every parameter that is neither a weight nor a bias belongs to an adapter.",
    hint="A module may have parameters with other names, such as gain and alphaB. How can you recognise an "
        "adapter with certainty?",
)  # fmt: skip
answer.slip(
    "what_trains", CONDITION, "if model.get_parameter(name).requires_grad",
    thought="A parameter that trains belongs to an adapter.",
    hint="A norm may train as well, and an adapter may be frozen for a while. So requires_grad does not tell you "
        "what is an adapter.",
)  # fmt: skip
answer.slip(
    "only_B", '("lora_A", "lora_B")', '("lora_B",)',
    thought="Only B has been trained.",
    hint="A is random at the start and is trained, too. What would a model compute with your B and another A?",
)  # fmt: skip
answer.slip(
    "only_A", '("lora_A", "lora_B")', '("lora_A",)',
    thought="One of the two matrices is enough.",
    hint="What would a model compute with your A and a B as it is at the start?",
)  # fmt: skip
answer.slip(
    "short_keys", "{name: value.clone()", "{name.rpartition('.')[2]: value.clone()",
    thought="A key says which matrix it is.",
    hint="There are several layers. What happens to the first layer's lora_A in a dict when you add that of the "
        "second?",
)  # fmt: skip
answer.slip(
    "keys_of_peft", "{name: value.clone()", "{'base_model.model.' + name: value.clone()",
    thought="An adapter's keys begin as they do in PEFT.",
    hint="That is another file format; you write it in lesson 11. Here the keys are those of model.state_dict().",
)  # fmt: skip
answer.slip(
    "keys_of_layers", "{name: value.clone()", "{name.replace('.lora_', '_lora_'): value.clone()",
    thought="A key only has to be unique.",
    hint="The loader looks for the keys that model.state_dict() has.",
)  # fmt: skip
answer.slip(
    "graph_kept", "value.clone() for name, value in model.state_dict().items()",
    "value.clone() for name, value in model.named_parameters()",
    thought="A clone is a tensor of its own.",
    hint="Print the grad_fn of a value. Is a clone of a Parameter still part of the graph?",
)  # fmt: skip
answer.slip(
    "delta_saved", "    return {name: value.clone() for name, value in model.state_dict().items() if name in wanted}",
    "    return {f'{name}.delta': model.get_submodule(name).delta_weight().detach() for name in layers}",
    thought="The adapter is the change of the weight.",
    hint="Compare the number of entries in the change with that in A and B. Why are there two thin matrices?",
)  # fmt: skip
answer.slip(
    KEPT_BETWEEN_CALLS, "def adapter_state_dict(model):\n", "kept = {}\n\n\ndef adapter_state_dict(model):\n",
    "    return {name: value.clone() for name, value in model.state_dict().items() if name in wanted}",
    "    kept.update({name: value.clone() for name, value in model.state_dict().items() if name in wanted})\n    return kept",
)  # fmt: skip
