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
    next_step = "Print your keys beside those of model.state_dict(), and say for each why it is or is not an adapter's."

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
            return Fault("The result is no dict.", describe.contents(observation["value"]), "a dict")
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
        return Fault(f"There is more in it than adapters: {shown}{' …' if len(extra) > 3 else ''}.")
    if missing:
        return Fault(f"{len(missing)} of the {len(adapters)} adapters' tensors are missing: {missing[0]} for one.")
    return None


def _values_fault(case, observation):
    if observation["graph"]:
        hint = "What is saved must not drag a graph along. Which values does model.state_dict() give?"
        return Fault(f"The value of {observation['graph'][0]} has a grad_fn.", hint=hint)
    for key, value in zip(observation["keys"], observation["entries"], strict=True):
        right = case.args["values"][key]
        if not isinstance(value, torch.Tensor):
            return Fault(f"The value of {key} is no tensor.", describe.contents(value), describe.kind(right))
        if value.shape != right.shape or value.dtype != right.dtype:
            return Fault(f"The value of {key} has another shape or dtype.", describe.kind(value), describe.kind(right))
        if not same_bits(value, right):
            return Fault(f"The values of {key} are not the parameter's.", tensors=(value, right))
    return None


def _model_fault(observation):
    for key, description in (("replaced", "are not the same Parameters any more"), ("changed", "have other values"), ("grads", "train or are frozen otherwise")):  # fmt: skip
        if observation[key]:
            problem = f"The model has changed: {', '.join(observation[key][:3])} {description}."
            hint = "The model is still in use. Take the values out of it, and leave everything in it as it is."
            return Fault(problem, hint=hint, misconception=CHANGED_INPUT)
    return None


def _later_fault(observation):
    if alike(observation["entries"], observation["entries_later"]):  # an entry may be anything, a list or None too
        return None
    problem = "After a call with a second model, the dict of the first call holds what the second one has."
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
    thought="The state of the model is what has to be saved.",
    hint="Count the numbers in your dict, and those that have been trained. The receiver has the base "
        "already.",
)  # fmt: skip
answer.slip(
    "lora_in_the_name", CONDITION, 'if "lora" in name',
    thought="What is an adapter's has lora in its name.",
    hint="Other people's layers have names, too: flora_proj, lora_norm. What is there by which an adapter is known for certain?",
)  # fmt: skip
answer.slip(
    "lora_in_the_name", CONDITION, 'if "lora_" in name',
    thought="What is an adapter's has lora_ in its name.",
    hint="Other people's layers have names, too: lora_norm. What is there by which an adapter is known for certain?",
)  # fmt: skip
answer.slip(
    "lora_in_the_name", CONDITION, 'if "lora_A" in name or "lora_B" in name',
    thought="No other layer is called lora_A.",
    hint="There may be a plain layer called lora_A, and its weight is no adapter. By its class an adapter is known for certain.",
)  # fmt: skip
answer.slip(
    "lora_in_the_name", CONDITION, 'if ".lora_" in name',
    thought="What stands in a layer and begins with lora_ is an adapter.",
    hint="A block may hold a norm that is called lora_norm. What is there by which an adapter is known for certain?",
)  # fmt: skip
answer.slip(
    "by_the_last_letter", CONDITION, "if name[-1] in 'AB'",
    thought="Only the names of adapters end in A or B.",
    hint="Somebody's model may hold a parameter called alphaB. What is there by which an adapter is known for certain?",
)  # fmt: skip
answer.slip(
    "all_but_weights_and_biases", CONDITION, "if not name.endswith(('weight', 'bias'))",
    thought="Whatever is neither a weight nor a bias is an adapter's.",
    hint="A module may hold parameters of other names, like gain and alphaB. What is there by which an adapter is known for certain?",
)  # fmt: skip
answer.slip(
    "what_trains", CONDITION, "if model.get_parameter(name).requires_grad",
    thought="The adapters are what trains.",
    hint="A norm may train as well, and an adapter may be frozen for a while. Neither makes it what it is.",
)  # fmt: skip
answer.slip(
    "only_B", '("lora_A", "lora_B")', '("lora_B",)',
    thought="B is what has been trained.",
    hint="A starts at random and is trained, too. What would a model compute with your B and another "
        "A?",
)  # fmt: skip
answer.slip(
    "only_A", '("lora_A", "lora_B")', '("lora_A",)',
    thought="One of the two matrices is enough.",
    hint="What would a model compute with your A and a B as it is at the start?",
)  # fmt: skip
answer.slip(
    "short_keys", "{name: value.clone()", "{name.rpartition('.')[2]: value.clone()",
    thought="A key says which matrix it is.",
    hint="There are several layers. What happens in a dict to the lora_A of the first when that of the second comes?",
)  # fmt: skip
answer.slip(
    "keys_of_peft", "{name: value.clone()", "{'base_model.model.' + name: value.clone()",
    thought="An adapter's keys begin as they do in PEFT.",
    hint="That is another file format, and lesson 11 writes it. Here the keys are those of model.state_dict().",
)  # fmt: skip
answer.slip(
    "keys_of_layers", "{name: value.clone()", "{name.replace('.lora_', '_lora_'): value.clone()",
    thought="A key need only be unique.",
    hint="The loader looks for the keys that model.state_dict() has.",
)  # fmt: skip
answer.slip(
    "graph_kept", "value.clone() for name, value in model.state_dict().items()",
    "value.clone() for name, value in model.named_parameters()",
    thought="A clone is a tensor of its own.",
    hint="Print the grad_fn of a value. What does a clone of a Parameter remember?",
)  # fmt: skip
answer.slip(
    "delta_saved", "    return {name: value.clone() for name, value in model.state_dict().items() if name in wanted}",
    "    return {f'{name}.delta': model.get_submodule(name).delta_weight().detach() for name in layers}",
    thought="The change of the weight is what the adapter is.",
    hint="Compare the number of entries in the change with that of A and B. Why were there two thin matrices?",
)  # fmt: skip
answer.slip(
    KEPT_BETWEEN_CALLS, "def adapter_state_dict(model):\n", "kept = {}\n\n\ndef adapter_state_dict(model):\n",
    "    return {name: value.clone() for name, value in model.state_dict().items() if name in wanted}",
    "    kept.update({name: value.clone() for name, value in model.state_dict().items() if name in wanted})\n    return kept",
)  # fmt: skip
