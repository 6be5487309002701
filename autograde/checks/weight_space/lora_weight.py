"""LoRAWeight: a module that takes a weight and returns the adapted one."""

import importlib

import torch

from autograde.checks.lora_linear import modes
from autograde.checks.shared.families import DIVIDED_BY_RANK_AGAIN, GRADIENT_CUT, SCALING_FORGOTTEN, SCALING_TWICE
from autograde.checks.shared.lora_layers import CALL_SUPER, module_fault
from autograde.checks.weight_space.given import (
    ALPHA_NOT_DIVIDED,
    BOTH_RANDOM,
    BOTH_ZERO,
    LORA_WEIGHT,
    NOT_REGISTERED,
    SIZES_SWAPPED,
    alike,
    fresh_module_fault,
    gradient_fault,
    is_same,
)
from autograde.judge import describe
from autograde.judge.answer import RightAnswer
from autograde.judge.check import Case, Check
from autograde.judge.compare import Fault, agree, fault_between, raised_fault
from autograde.judge.exceptions import is_untouched
from autograde.judge.misconception import CHANGED_INPUT, RETURNED_NONE, Misconception
from autograde.probes.weight_space import adapted_weight

DEFAULTS = {"rank": 1, "alpha": 1}

COPY_WHEN_OFF = Misconception(
    "copy_when_off",
    thought="A copy of the weight is as good as the weight.",
    hint="A copy takes memory and time at every access, and is a different tensor. What does the "
    "docstring promise while en is False?",
)
SWITCH_IGNORED = Misconception(
    "switch_ignored",
    thought="en is only information for other code.",
    hint="Set en to False and call the module. What should it return, and where does your forward look at en?",
)
NOTHING_WHEN_OFF = RETURNED_NONE.reworded(
    thought="While the module is off, there is nothing to do, and nothing to return.",
    hint="layer.weight gives what forward returns. What should it give while en is False?",
)
EN_IS_TRAINING = Misconception(
    "en_is_training",
    thought="The adapter is on while the module trains.",
    hint="train() and eval() are for dropout and similar layers: an adapter is needed in evaluation, too. Which "
    "attribute is its switch?",
)
WITH_GRADIENTS_ONLY = modes.WITH_GRADIENTS_ONLY.reworded(
    hint="Call your module inside torch.no_grad(), and compare what it returns with wts. The learned change must "
    "be in the result there, too.",
)
MERGED_AT_EVAL = modes.MERGED_AT_EVAL.reworded(
    thought="In evaluation A and B do not change any more, so the weight of an earlier call can be kept.",
    hint="Give A and B other values, call eval() and then the module: from which values does it compute the weight?",
)
DEVICE_IGNORED = Misconception(
    "device_ignored",
    thought="The module is moved later anyway.",
    hint="The device is a parameter of __init__. Which of the functions that make A and B take one?",
)
PARAMETER_MOVED = Misconception(
    "parameter_moved",
    thought="A Parameter that is moved is still a Parameter.",
    hint='Print type(nn.Parameter(torch.zeros(2)).to("meta")): another device stands in for a GPU there. What does .to() return, and '
    "which of the two should come last, .to() or nn.Parameter?",
)
DOES_NOT_FOLLOW = Misconception(
    "does_not_follow",
    thought="A and B keep the dtype in which they were made.",
    hint="Move your module with .half() and print the dtype of A and B.",
)

answer = RightAnswer(LORA_WEIGHT)


class LoRAWeightCheck(Check):
    """Looks at a fresh module, and at the weight that it returns."""

    name = "LoRAWeight"
    answer = answer
    points = 4
    note = (
        "either matrix may be the random one, with any sensible width; addmm or einsum; reshape, view_as or unflatten."
    )
    next_step = "Set A and B to the numbers of the worked example, as the next cell does, and compare entry by entry."

    def prepare(self):
        """The known wrong answers, and what random numbers on the device "meta" make torch import: sympy, for half a second."""
        importlib.import_module("torch.fx.experimental.symbolic_shapes")
        return super().prepare()

    def cases(self, draw):
        rows, columns = draw.sizes(2, low=4, high=9)
        side = draw.integer(5, 8)
        outputs, inputs, kh, kw = draw.sizes(4, low=2, high=5)
        r = draw.choice([2, 3])
        alpha = draw.choice([n for n in (3, 5, 7, 11) if n != r])
        options = {"rank": r, "alpha": alpha}
        return [
            self._case(draw, (rows, columns), options, "the weight of a linear layer"),
            self._case(draw, (side, side), options, "a square weight"),
            self._case(draw, (outputs, inputs, kh, kw), options, "the weight of a convolution"),
            self._case(draw, (rows, columns), {}, "rank and alpha left out"),
            # 3 / 2 and the like: scale may be a tensor in float32, and must not be what is inexact
            self._case(draw, (rows, columns), {"rank": 2, "alpha": draw.choice([3, 5, 7])}, "float64", torch.float64),
            self._case(draw, (rows, columns), options, "rank and alpha by position", by_position=True),
        ]

    def _case(self, draw, shape, options, label, dtype=torch.float32, by_position=False):
        rank, columns = options.get("rank", 1), torch.Size(shape[1:]).numel()
        args = {"sizes": [shape[0], columns], "options": options, "A": draw.tensor(rank, columns, dtype=dtype)}
        args |= {"B": draw.tensor(shape[0], rank, dtype=dtype), "wts": draw.tensor(*shape, dtype=dtype)}
        args |= {"by_position": True} if by_position else {}
        return Case(args | {"cotangent": draw.tensor(*shape, dtype=dtype)}, label)

    def called(self, case):
        """How the module is made, and the weight."""
        sizes = ", ".join(map(str, case.args["sizes"]))
        by_position = case.args.get("by_position", False)
        options = "".join(
            f", {value if by_position else f'{name}={value}'}" for name, value in case.args["options"].items()
        )
        return f"{self.subject}({sizes}{options})(wts)  # {case.label}\n  wts = {describe.kind(case.args['wts'])}"

    def observe(self, target, case):
        """Make the module and call it with the case's weight."""
        return adapted_weight(target, **case.args, device=case.device)

    def unfinished(self, observation):
        """The untouched stub: it cannot even be made."""
        return is_untouched(observation.get("raised")) and observation.get("during") == "construction"

    def fault(self, case, observation):
        """What is wrong with the module for one weight."""
        args = case.args
        if fault := module_fault(self.subject, observation):
            return fault
        options = DEFAULTS | args["options"]
        if "fresh" in observation:
            rows, columns = args["sizes"]
            expected_shapes = {"A": (options["rank"], columns), "B": (rows, options["rank"])}
            if fault := fresh_module_fault(
                observation["fresh"], expected_shapes, options["alpha"], options["rank"], "The module"
            ):
                return fault
            if observation["alike"] == [True, True]:
                return Fault(
                    "Two modules made one after the other start with the same random numbers.",
                    hint="Each module must draw its own. A fixed pattern gives the same numbers every time, and "
                    "so does a seed that the module sets itself.",
                )
        if "raised" in observation:
            return self._raised_fault(observation)
        if "unset" in observation:
            return Fault(f"Values cannot be written into {observation['unset']}.")
        if fault := self.failed_call(observation):
            return fault
        return (
            self._values_fault(case, observation, options)
            or self._switch_fault(case, observation)
            or self._places_fault(observation)
        )

    def _raised_fault(self, observation):
        error = observation["raised"]
        if is_untouched(error):
            return Fault("forward is not written yet.", hint="Go on to forward, and then run this again.")
        hint = CALL_SUPER if "before Module.__init__() call" in str(error["message"]) else ""
        return raised_fault(f"The {describe.clean(str(observation['during']), 40)}", error, hint)

    def adapted(self, case):
        """The right weight, in float64."""
        wts, B, A = (case.args[name].double() for name in ("wts", "B", "A"))
        options = DEFAULTS | case.args["options"]
        return wts + options["alpha"] / options["rank"] * (B @ A).view(wts.shape)

    def _values_fault(self, case, observation, options):
        wts, dtype = case.args["wts"], case.args["wts"].dtype
        B, A = case.args["B"].double(), case.args["A"].double()
        scale = options["alpha"] / options["rank"]
        right = self.adapted(case)
        if fault := fault_between(observation["out"], observation["type"], right, dtype=dtype, device=case.device):
            return fault
        if observation["changed"]:
            return Fault(
                "The result is right, but the call wrote into wts itself: the layer's own weight.",
                hint="A frozen weight that is changed at each access drifts further each time. Make a new tensor.",
                misconception=CHANGED_INPUT,
            )
        if not is_same(observation["at_start"], wts):
            return Fault("A new module does not return the weight bit for bit as it came.")
        back = case.args["cotangent"].double().view(len(B), -1)
        return gradient_fault(observation, (scale * B.T @ back, scale * back @ A.T), dtype, case.device)

    def _switch_fault(self, case, observation):
        wts = case.args["wts"]
        without_gradients, in_eval = observation["modes"]
        if not agree(without_gradients, observation["out"], wts.dtype, case.device):
            is_off = agree(without_gradients, wts, wts.dtype, case.device)
            return Fault(
                "Under torch.no_grad() the module does not compute the same as before.",
                misconception=WITH_GRADIENTS_ONLY if is_off else None,
            )
        scale = (DEFAULTS | case.args["options"])["alpha"] / (DEFAULTS | case.args["options"])["rank"]
        change = scale * (case.args["B"].double() @ case.args["A"].double()).view(wts.shape)
        if not agree(in_eval, wts.double() - change, wts.dtype, case.device):  # B has changed its sign by then
            is_off = agree(in_eval, wts, wts.dtype, case.device)
            is_kept = agree(in_eval, wts.double() + change, wts.dtype, case.device)
            return Fault(
                "After new values in B and eval(), the module does not compute the same as in training.",
                misconception=MERGED_AT_EVAL if is_kept else EN_IS_TRAINING if is_off else None,
            )
        if observation["off_out"] is None:
            return Fault("With en = False the module returns None.", misconception=NOTHING_WHEN_OFF)
        if not agree(observation["off_out"], wts, wts.dtype, case.device):
            return Fault("With en = False the module still changes the weight.", misconception=SWITCH_IGNORED)
        if observation["off"] is not True or not agree(observation["off_later"], -wts, wts.dtype, case.device):
            return Fault(
                "With en = False the values are right, but the module returns another tensor, not wts itself.",
                misconception=COPY_WHEN_OFF,
            )
        return None

    def _places_fault(self, observation):
        elsewhere = observation["elsewhere"] or []
        if any(place != "meta" for place, _ in elsewhere):
            return Fault("Made with device=…, A and B are on another device.", misconception=DEVICE_IGNORED)
        if not all(is_parameter for _, is_parameter in elsewhere):
            return Fault(
                "Made on another device than the CPU, A and B are not among the module's parameters.",
                misconception=PARAMETER_MOVED,
            )
        if observation["moved"] != ["torch.float16"] * 2:
            return Fault("A and B do not follow .half().", misconception=DOES_NOT_FOLLOW)
        return None

    def same(self, case, a, b):
        """Whether two modules agree in everything that the probe reports."""
        return alike(a, b, case.device)


lora_weight = LoRAWeightCheck()

answer.slip(BOTH_ZERO, "torch.randn(rank, out_f", "torch.zeros(rank, out_f")
answer.slip(BOTH_RANDOM, "torch.zeros(in_f, rank", "torch.randn(in_f, rank")
answer.slip(ALPHA_NOT_DIVIDED, "alpha / rank", "alpha")
answer.slip(SCALING_FORGOTTEN, " * self.scale", "")
answer.slip(
    NOT_REGISTERED,
    "nn.Parameter(torch.randn(rank, out_f, device=device))",
    "torch.randn(rank, out_f, device=device, requires_grad=True)",
)
answer.slip(
    SIZES_SWAPPED,
    "torch.randn(rank, out_f",
    "torch.randn(rank, in_f",
    "torch.zeros(in_f, rank",
    "torch.zeros(out_f, rank",
)
answer.slip(COPY_WHEN_OFF, "return wts\n", "return wts.clone()\n")
answer.slip(NOTHING_WHEN_OFF, "return wts\n", "return None\n")
answer.slip(EN_IS_TRAINING, "if not self.en:", "if not self.training:")
answer.slip(SWITCH_IGNORED, "        if not self.en:\n            return wts\n", "")
answer.slip(
    "switch_inverted",
    "if not self.en:",
    "if self.en:",
    thought="en = True means that the weight is left alone.",
    hint="What is en at the start, and should a fresh module adapt the weight? Read your condition aloud for both values.",
)
answer.slip(
    "product_kept",
    "        self.en = True",
    "        self.en = True\n        self.change = self.B @ self.A",
    "(self.B @ self.A).view",
    "self.change.view",
    thought="The product of A and B can be computed when the module is made.",
    hint="Every step of training changes A and B. Which values of them does your forward use?",
)
answer.slip(
    "alpha_before_rank",
    "rank=1, alpha=1",
    "alpha=1, rank=1",
    thought="rank and alpha are always given by name, so their order does not matter.",
    hint="They may be given by position. Compare your def line with the one that you were given.",
)
answer.slip(SCALING_TWICE, "* self.scale", "* self.scale**2")
answer.slip(DEVICE_IGNORED, "out_f, device=device", "out_f", "rank, device=device", "rank")
answer.slip(
    PARAMETER_MOVED,
    "out_f, device=device))", "out_f)).to(device)", "rank, device=device))", "rank)).to(device)",
)  # fmt: skip
answer.slip(
    CHANGED_INPUT,
    "return wts + (self.B @ self.A).view(wts.shape) * self.scale",
    "wts += (self.B.detach() @ self.A.detach()).view(wts.shape) * self.scale\n        return wts",
    exactly=True,
)
RESHAPED = "(self.B @ self.A).view(wts.shape)"


def _product_met_a_convolution(case, observation):
    """Whether the product, as a matrix, was to be added to the weight of a convolution."""
    wts, (_, columns) = case.args["wts"], case.args["sizes"]
    if wts.ndim == 2 or "raised" not in observation:
        return False
    message, last = str(observation["raised"]["message"]), wts.shape[-1]
    met = ((last, columns), (columns, last))
    return any(f"tensor a ({a}) must match the size of tensor b ({b})" in message for a, b in met)


not_reshaped = answer.slip(
    "product_not_reshaped",
    ".view(wts.shape)",
    "",
    thought="The product can be added to every weight as it is.",
    hint="B @ A has two axes. How many has the weight of a convolution, and which shape must the product get?",
    recognise=_product_met_a_convolution,
)


def _is_flattened(case, observation):
    """Whether the right weight came back as a matrix, for a convolution."""
    wts, out = case.args["wts"], observation.get("out")
    if wts.ndim == 2 or not isinstance(out, torch.Tensor) or list(out.shape) != list(case.args["sizes"]):
        return False
    return agree(out, lora_weight.adapted(case).flatten(1), wts.dtype, case.device)


answer.slip(
    "weight_flattened",
    f"wts + {RESHAPED}",
    "wts.flatten(1) + (self.B @ self.A)",
    thought="The adapted weight can be returned as a matrix.",
    hint="The layer computes with what your forward returns. Print its shape beside wts.shape, for the weight of a convolution.",
    recognise=_is_flattened,
)
answer.slip(GRADIENT_CUT, "self.B @ self.A", "self.B.data @ self.A.data")
answer.slip(
    "product_scrambled",
    "(self.B @ self.A).view",
    "(self.A.T @ self.B.T).reshape",
    thought="The product has as many entries as the weight, so view puts them where they belong.",
    hint="view keeps the order in memory. One row of the weight is one output: is one row of your product one "
    "output, too? The rank shows the mistake: print torch.linalg.matrix_rank of the change for a weight that "
    "is not square.",
)
answer.slip(
    "factors_turned_round",
    "self.B @ self.A",
    "self.A @ self.B",
    thought="The product is A @ B, as in the lessons before.",
    hint="Here A is (rank, out_f) and B is (in_f, rank). The product must have in_f rows: which matrix has them?",
)
change_only = answer.slip(
    "change_only",
    "wts + (self.B",
    "(self.B",
    thought="The module returns only the change.",
    hint="layer.weight gives what your forward returns. Where is the layer's own weight in it?",
)
answer.slip(
    DIVIDED_BY_RANK_AGAIN,
    "* self.scale",
    "* self.scale / self.A.shape[0]",
    thought="The product has to be divided by the rank.",
    hint="scale is already alpha / rank. What is left to divide by?",
)
answer.slip(
    "entry_by_entry",
    "(self.B @ self.A).view(wts.shape)",
    "(self.B[:, :1] * self.A[:1]).view(wts.shape)",
    thought="`*` is the product of the two matrices.",
    hint="For rank 1 it is. Which operator sums over the rank?",
)
answer.both(change_only, not_reshaped)
