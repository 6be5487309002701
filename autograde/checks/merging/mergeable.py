"""MergeableLoRALinear: a merge in place that happens once, computes the same, and can be undone to the last bit."""

import torch

from autograde.checks.merging.given import adapted, base_in_words, options_in_words
from autograde.checks.merging.in_place_steps import DOES_NOTHING, EXACT, LAYER_MISTAKES, follow, in_words
from autograde.checks.shared.draws import layer_sizes
from autograde.checks.shared.families import (
    BIAS_DROPPED,
    KEPT_ON_THE_CLASS,
    NO_TRANSPOSE,
    SCALING_FORGOTTEN,
    SCALING_TWICE,
    VIEW_FOR_TRANSPOSE,
)
from autograde.judge import describe
from autograde.judge.answer import RightAnswer
from autograde.judge.check import ANSWER, Case, Check
from autograde.judge.exceptions import is_untouched
from autograde.judge.misconception import Misconception
from autograde.probes.merging import run_steps

GUARD_INVERTED = Misconception(
    "guard_inverted",
    thought="unmerge acts on a layer that is not merged.",
    hint="Read the condition in unmerge for a merged layer and for one that is not. In which of the two cases is "
    "there something to restore?",
)

MERGED_TWICE = Misconception(
    "merged_twice",
    thought="merge is called only once.",
    hint="A notebook cell may be run again, or a script may merge a layer that is merged already. What must a "
    "layer remember, so that a second call changes nothing?",
)
NO_GUARD_AT_ALL = MERGED_TWICE.reworded(
    thought="merge and unmerge are called in turn, each of them once.",
    hint="A notebook cell may be run again, and a script may call unmerge to be sure. What must a layer remember, "
    "so that neither a second merge nor an unnecessary unmerge changes anything?",
)

MERGE, UNMERGE, TRAIN, EVAL, NO_GRAD = ["merge"], ["unmerge"], ["train"], ["eval"], ["no_grad"]

answer = RightAnswer("""
class MergeableLoRALinear(nn.Module):
    def __init__(self, base_layer, rank=4, alpha=1):
        super().__init__()
        self.base_layer = base_layer.requires_grad_(False)
        self.scaling = alpha / rank
        like = {"dtype": base_layer.weight.dtype, "device": base_layer.weight.device}
        self.lora_A = nn.Parameter(torch.randn(base_layer.in_features, rank, **like))
        self.lora_B = nn.Parameter(torch.zeros(rank, base_layer.out_features, **like))
        self.merged, self.kept = False, None

    @torch.no_grad()
    def merge(self):
        if not self.merged:
            self.kept = self.base_layer.weight.detach().clone()
            self.base_layer.weight.add_(self.scaling * (self.lora_A @ self.lora_B).T)
            self.merged = True

    @torch.no_grad()
    def unmerge(self):
        if self.merged:
            self.base_layer.weight.copy_(self.kept)
            self.merged = False

    def forward(self, x):
        out = self.base_layer(x)
        return out if self.merged else out + self.scaling * (x @ self.lora_A) @ self.lora_B
""")


class MergeableLoRALinear(Check):
    """Takes a layer through steps with a snapshot after each. The first wrong snapshot is the fault."""

    name = "MergeableLoRALinear"
    answer = answer
    points = 5
    parts = {ANSWER: 3, EXACT: 2}
    note = (
        "a class of its own or one derived from LoRALinear; adapters as Parameters or as bias-free nn.Linears; what "
        "is kept may be a clone, a buffer, on the CPU; .data or no_grad."
    )
    next_step = (
        "Make such a layer in a cell, take the same steps one by one, and print base_layer.weight, merged and "
        "layer(x) after each."
    )

    def cases(self, draw):
        side = draw.integer(5, 9)

        def case(label, *steps, rows=(4,), part=ANSWER, options=None, **kind):
            if (
                kind.get("dtype") == torch.float64
            ):  # a rank of 2 makes alpha / rank exact: it may be kept as a float32 tensor
                kind["sizes"] = (*layer_sizes(draw)[:2], 2)
            adapted_case = adapted(draw, label, rows=rows, part=part, **kind)
            options = adapted_case.args["options"] if options is None else options
            return Case(adapted_case.args | {"options": options, "steps": [list(step) for step in steps]}, label, part)

        def new_adapter_values(adapted_case):
            """Other values for the adapters of a case, as a step."""
            A, B = adapted_case.args["A"], adapted_case.args["B"]
            return ["set", draw.tensor(*A.shape, dtype=A.dtype), draw.tensor(*B.shape, dtype=B.dtype)]

        trained_on = case("trained on between two merges", MERGE, UNMERGE)
        another = ["load", draw.tensor(*trained_on.args["weight"].shape)]
        trained_on.args["steps"] += [new_adapter_values(trained_on), MERGE, UNMERGE, another]
        learns = case("a backward pass after a merge is undone", MERGE, UNMERGE)
        out_features, in_features = learns.args["weight"].shape
        learns.args["steps"] += [["learn", draw.tensor(4, out_features)]]
        replaced = case("another adapter is loaded while merged", MERGE, part=EXACT, dtype=torch.bfloat16)
        replaced.args["steps"] += [new_adapter_values(replaced), UNMERGE]
        back_and_forth = [
            case(f"back and forth in {describe.dtype_name(dtype)}", *[MERGE, UNMERGE] * 3, part=EXACT, dtype=dtype)
            for dtype in (torch.float32, torch.bfloat16, torch.float16, torch.float64)
        ]
        beside_another = case("another layer is merged in between", MERGE)
        other_weight = draw.tensor(*beside_another.args["weight"].shape)
        beside_another.args["steps"] += [["other", other_weight], UNMERGE]
        loaded = case("another base is loaded before the first merge", part=EXACT)
        for _ in range(2):
            loaded.args["steps"] += [["load", draw.tensor(*loaded.args["weight"].shape)], MERGE, UNMERGE]
        return [
            case("as it is made", sizes=(40, 27, 4)),  # large enough to see whether lora_A lies around zero
            case("", MERGE, UNMERGE, MERGE),
            case("merged twice, no bias", MERGE, MERGE, UNMERGE, bias=False),
            case("nothing to unmerge", UNMERGE, MERGE, UNMERGE, UNMERGE),
            case("a square layer", MERGE, UNMERGE, sizes=(side, side, 3)),
            case("a batch of sequences, float64", MERGE, UNMERGE, rows=(2, 3), dtype=torch.float64),
            case(
                "rank and alpha left at their defaults, a single row",
                MERGE,
                UNMERGE,
                rows=(),
                sizes=(9, 7, 4),
                options={},
            ),
            case("without gradients", NO_GRAD, MERGE, NO_GRAD),
            case("evaluated and trained on", EVAL, TRAIN, MERGE, TRAIN, EVAL, UNMERGE),
            trained_on,
            learns,
            beside_another,
            *back_and_forth,
            replaced,
            loaded,
        ]

    def called(self, case):
        """How the layer is made, and the steps."""
        label = f"  # {case.label}" if case.label else ""
        return (
            f"layer = {self.subject}({base_in_words(case)}{options_in_words(case)}){label}\n"
            f"random values for lora_A and lora_B; x = {describe.kind(case.args['x'])}; layer(x) after each of:\n"
            f"{in_words(case.args['steps'])}"
            if case.args["steps"]
            else f"layer = {self.subject}({base_in_words(case)}{options_in_words(case)}){label}"
        )

    def observe(self, target, case):
        """Take the learner's class through the case. ``followed`` is what `follow` finds in it, worked out once."""
        observation = run_steps(target, **case.args, device=case.device)
        return observation | {"followed": follow(case, observation)}

    def cause_in_all(self, cases, observations):
        """`GUARD_INVERTED` if unmerge does nothing on a merged layer, and something on one that is not; `NO_GUARD_AT_ALL` if the only
        mistakes are those of a merge and of an unmerge without a guard.
        """
        followed = [observation.get("followed", (None, "")) for observation in observations]
        if {id for fault, id in followed if fault} == {MERGED_TWICE.id, "unmerge_unguarded"}:
            return NO_GUARD_AT_ALL
        ids = {id for _, id in followed}
        return GUARD_INVERTED if {DOES_NOTHING, "unmerge_unguarded"} <= ids else None

    def unfinished(self, observation):
        """The untouched stub: it cannot even be made."""
        return is_untouched(observation.get("raised")) and observation.get("during") == "construction"

    def fault(self, case, observation):
        """What is wrong with one layer during the steps."""
        if "not_callable" in observation:
            return self.failed_call(observation)
        return observation["followed"][0]

    def same(self, case, a, b):
        """Whether two classes go wrong in the same way."""
        if not self.fault(case, a) and not self.fault(case, b):
            return True
        return a["followed"][1] == b["followed"][1] != ""


mergeable = MergeableLoRALinear()


def slip(known, *edits, **words):
    """A slip of this exercise: it is recognised by what a layer does, however it is written."""
    id = known.id if isinstance(known, Misconception) else known
    answer.slip(known, *edits, **words, recognise=lambda case, observation: observation["followed"][1] == id)


slip(
    "base_replaced",
    "self.base_layer.weight.add_(self.scaling * (self.lora_A @ self.lora_B).T)",
    "self.base_layer.weight = nn.Parameter(self.base_layer.weight + self.scaling * (self.lora_A @ self.lora_B).T, False)",
    "self.base_layer.weight.copy_(self.kept)",
    "self.base_layer.weight = nn.Parameter(self.kept, False)",
    thought="The merged weight takes the place of the old one: base_layer.weight = nn.Parameter(…).",
    hint="An optimiser, a tied layer or another part of the model may use the old Parameter, and would not see "
    "the change. Write the new values into the one that is there.",
)

slip(
    "no_grad_forgotten",
    "    @torch.no_grad()\n    def merge",
    "    def merge",
    thought="The base is frozen, so autograd ignores what is done to its weight.",
    hint="Look at the experiment with add_ again: what happened to the frozen weight, and in which context are "
    "operations not recorded?",
)

slip(
    "merges_by_itself",
    "    def forward(self, x):",
    "    def train(self, mode=True):\n        super().train(mode)\n        self.unmerge() if mode else self.merge()\n        return self\n\n    def forward(self, x):",
    thought="Evaluating means that the training is over, so eval() can merge.",
    hint="eval() is called at every validation, between two epochs of training. Merging is the "
    "caller's decision: leave train() and eval() as they are.",
)

slip(
    "flag_forgotten",
    "            self.merged = True\n",
    "",
    "        if self.merged:\n",
    "        if self.kept is not None:\n",
    thought="Whether the layer is merged can be seen from its weight.",
    hint="The weight alone does not show it, not even to the layer. What must the layer record when it merges?",
)

slip(
    "flag_not_reset",
    "\n            self.merged = False",
    "",
    thought="A layer that has been merged stays merged.",
    hint="After unmerge the weight contains no delta. How do forward and the next merge learn that?",
)

slip(MERGED_TWICE, "if not self.merged:", "if True:")

slip(
    SCALING_FORGOTTEN,
    "add_(self.scaling * ",
    "add_(",
    thought="Merging adds the product of the two matrices: W + BA.",
    hint="Some published texts say so. delta_weight returns what must be added: does it pass its check, and do "
    "you use it?",
)

slip(
    VIEW_FOR_TRANSPOSE,
    "(self.lora_A @ self.lora_B).T",
    "(self.lora_A @ self.lora_B).reshape(self.base_layer.weight.shape)",
    hint="It makes the shape fit, but puts the values in the wrong places. Does your delta_weight pass its check?",
)

slip(
    NO_TRANSPOSE,
    ".lora_B).T",
    ".lora_B)",
    hint="On a square layer they do, and the result is wrong. Which shape has nn.Linear's weight? And "
    "does your delta_weight pass its check?",
)

slip(
    SCALING_TWICE,
    "add_(self.scaling * ",
    "add_(self.scaling**2 * ",
    thought="The delta is scaled when it is merged.",
    hint="The result of delta_weight contains the scaling already. Count how many times the product is multiplied "
    "by the scaling, there and here.",
)

slip(
    "nothing_added",
    "self.base_layer.weight.add_(",
    "self.base_layer.weight.add(",
    thought="merge has put the delta into the weight.",
    hint="The weight has not changed. `+` and .add() make a new tensor, w = w + delta only rebinds the name w, "
    "and a condition may end the method early. Follow the delta from the line that computes it to "
    "base_layer.weight.",
)

slip(
    "kept_in_a_smaller_dtype",
    ".weight.detach().clone()",
    ".weight.detach().bfloat16()",
    thought="A copy in a smaller dtype has the same values.",
    hint="It has them rounded. Print the dtype of your copy and of base_layer.weight. Which dtype keeps every bit?",
)

slip(
    "unmerge_refused",
    "    def unmerge(self):\n",
    "    def unmerge(self):\n        assert self.merged\n",
    thought="Unmerging a layer that is not merged is a mistake of the caller, so it must raise.",
    hint="A script may call unmerge to be sure. What should such a call change, and should it raise?",
)

slip(
    "alpha_ignored",
    "alpha / rank",
    "1 / rank",
    thought="The alpha of __init__ gets to the place where it is needed by itself.",
    hint="__init__ gets an alpha. Which of its lines uses it, or passes it on?",
)

slip(
    GUARD_INVERTED,
    "def unmerge(self):\n        if self.merged:",
    "def unmerge(self):\n        if not self.merged:",
)

slip(
    "merged_beside",
    "self.kept = self.base_layer.weight.detach().clone()\n            self.base_layer.weight.add_(self.scaling * (self.lora_A @ self.lora_B).T)",
    "self.kept = self.base_layer.weight + self.scaling * (self.lora_A @ self.lora_B).T",
    "self.base_layer.weight.copy_(self.kept)",
    "self.kept = None",
    "out = self.base_layer(x)\n",
    "if self.merged:\n            return F.linear(x, self.kept, self.base_layer.bias)\n        out = self.base_layer(x)\n",
    thought="forward can give the merged output while the base's weight stays as it is.",
    hint="Code that saves or reads base_layer then gets the old weight. Which tensor must have the merged values?",
)

slip(
    "delta_too_early",
    "self.merged, self.kept = False, None",
    "self.merged, self.kept = False, None\n        self.delta = (self.scaling * (self.lora_A @ self.lora_B).T).detach()",
    "add_(self.scaling * (self.lora_A @ self.lora_B).T)",
    "add_(self.delta)",
    thought="The delta can be computed when the layer is made, or at the first merge.",
    hint="When the layer is made, lora_B is zero, and every step of training changes it. When must the delta be "
    "computed?",
)

slip(
    "second_merge_refused",
    "    def merge(self):\n",
    "    def merge(self):\n        if self.merged:\n            raise RuntimeError('merged already')\n",
    thought="Merging twice is a mistake of the caller, so it must raise.",
    hint="A cell is often run twice, and that is no mistake. What should a second merge change, and should it raise?",
)

slip(
    "unmerge_unguarded",
    "        if self.merged:\n            self.base_layer.weight.copy_(self.kept)\n            self.merged = False",
    "        self.base_layer.weight.sub_(self.scaling * (self.lora_A @ self.lora_B).T)\n        self.merged = False",
    thought="unmerge is only called after merge.",
    hint="Call unmerge on a layer that was just made: there is nothing to restore. What should happen?",
)

slip(
    "drifts",
    "self.base_layer.weight.copy_(self.kept)",
    "self.base_layer.weight.sub_(self.scaling * (self.lora_A @ self.lora_B).T)",
    thought="What was added can be subtracted again.",
    hint="Floating-point sums round: the experiment with the fifty customers showed what (w + δ) - δ is. Which "
    "values should you have kept?",
)

slip(
    "kept_by_reference",
    ".weight.detach().clone()",
    ".weight.data",
    thought="self.kept = weight keeps the old values.",
    hint="After unmerge the delta is still in the weight. Assigning a tensor copies nothing: both names mean the "
    "same tensor, so an addition in place changes both. What makes a copy?",
)

slip(
    "still_adding",
    "out if self.merged else out +",
    "out +",
    thought="forward stays as it is: merging changes the weight and nothing else.",
    hint="Now the weight contains the delta. What does forward still add to base_layer(x)?",
)

slip(
    "flag_inverted",
    "out if self.merged else out +",
    "out if not self.merged else out +",
    thought="forward adds the adapter's part when the layer is merged.",
    hint="Where is the delta while merged is True, in the weight or still to be added? And where is it while merged is False?",
)

slip(
    KEPT_ON_THE_CLASS,
    "self.kept = self.base_layer.weight.detach().clone()",
    "type(self).kept_by_all = self.base_layer.weight.detach().clone()",
    "copy_(self.kept)",
    "copy_(self.kept_by_all)",
)

slip(
    BIAS_DROPPED,
    "out = self.base_layer(x)\n",
    "if self.merged:\n            return x @ self.base_layer.weight.T\n        out = self.base_layer(x)\n",
    hint="Merge a layer whose base has a bias, and call it and base_layer with x = 0.",
)

slip(
    "adapter_lost",
    "            self.merged = True",
    "            self.merged = True\n            self.lora_B.zero_()",
    "out if self.merged else out +",
    "out +",
    thought="With the delta in the weight, the adapter can be set to zero, and forward needs no change.",
    hint="Then there is nothing to add after unmerge, and what was learned is lost. Do not change lora_A and "
    "lora_B, and let forward look at merged.",
)

slip(
    "trains_no_more",
    "            self.merged = True",
    "            self.merged = True\n            self.lora_A.requires_grad_(False)\n            self.lora_B.requires_grad_(False)",
    thought="After a merge the adapter is no longer needed, so it is frozen or removed.",
    hint="unmerge is there so that training can go on: lora_A and lora_B must get gradients again, and be the same "
    "Parameters that they were.",
)

slip(
    "kept_too_early",
    "self.merged, self.kept = False, None",
    "self.merged, self.kept = False, base_layer.weight.detach().clone()",
    "            self.kept = self.base_layer.weight.detach().clone()\n",
    "",
    thought="The base never changes, so it is enough to keep its weight once.",
    hint="Another weight may be loaded after the layer is made, or between two merges. Which weight must unmerge "
    "restore, and when must you copy it?",
)

slip(
    "kept_too_late",
    "            self.kept = self.base_layer.weight.detach().clone()\n",
    "",
    "lora_B).T)\n",
    "lora_B).T)\n            self.kept = self.base_layer.weight.detach().clone()\n",
    thought="After unmerge the weight is the old one again.",
    hint="The delta is still in it. Does unmerge write into the weight, and did you copy the old values before "
    "the delta was added?",
)

LESSON_04 = [
    ("both_zero", "torch.randn", "torch.zeros"),
    ("both_random", "torch.zeros", "torch.randn"),
    ("zero_and_random_swapped", "torch.randn", "torch.zeros", "torch.zeros(rank", "0.02 * torch.randn(rank"),
    ("elementwise", "(x @ self.lora_A) @ self.lora_B", "(self.lora_A @ self.lora_B) * x"),
    ("paper_order", "(x @ self.lora_A) @ self.lora_B", "x @ (self.lora_B @ self.lora_A)"),
    ("no_scaling", "out + self.scaling * ", "out + "),
    ("root_of_rank", "alpha / rank", "alpha / rank**0.5"),
    ("base_forgotten", "else out + self", "else self"),
    ("subtracted", "else out +", "else out -"),
    ("scaled_twice", "(x @ self.lora_A)", "(x @ self.lora_A * self.scaling)"),
    (
        "bias_lost",
        "out = self.base_layer(x)",
        "out = self.base_layer(x) if self.merged else x @ self.base_layer.weight.T",
    ),
]
for known, *edits in LESSON_04:
    slip(LAYER_MISTAKES[known], *edits)
