"""exposes: a test that tells wrong layers from right ones."""

import secrets
from dataclasses import dataclass

import torch
from torch import nn

from autograde.checks.the_bug import layers
from autograde.checks.the_bug.layers import LAYERS, Layer
from autograde.judge import describe
from autograde.judge.answer import RightAnswer
from autograde.judge.check import Case, Check
from autograde.judge.compare import Fault
from autograde.judge.misconception import Misconception
from autograde.judge.random_inputs import Draw
from autograde.probes.the_bug import try_on
from autograde.remote.torch_state import known_torch_state
from autograde.remote.wire import Opaque

BUG, OTHERS = "the bug", "other kinds"


INVERTED = Misconception(
    "inverted",
    thought="True means that the layer is right.",
    hint="The name asks a question: does the test expose the layer? Read again what True stands for.",
)
EVIDENCE_DROPPED = Misconception(
    "evidence_dropped",
    thought="The answer is that of the last call, or of all calls together.",
    hint="In your test's own calls this layer gave wrong values or raised, but the test still returned False. "
    "Follow the result of such a call to the return: what happens to it when a later call is right?",
)
_SAYS = "Whatever a layer does, the test says True or False."


@dataclass(frozen=True)
class LayerCase(Case):
    """The question whether a learner's test exposes one layer."""

    layer: Layer = None
    seed: int = 0


def verdict_in(value):
    """True or False from the answer of a test: a bool of Python, numpy or torch; None for anything else."""
    if isinstance(value, torch.Tensor) and value.dtype == torch.bool and value.numel() == 1:
        return bool(value.item())
    return value if isinstance(value, bool) else None


ATTEMPT_ONE = next(layer for layer in LAYERS if "Attempt #1" in layer.words)


answer = RightAnswer("""
def exposes(layer_class):
    for d, k in ((5, 3), (4, 4), (3, 6)):
        base = nn.Linear(d, k)
        for x in (torch.randn(d), torch.randn(7, d), torch.randn(2, 7, d)):
            try:
                layer = layer_class(base, rank=2, alpha=6)
                nn.init.normal_(layer.lora_B)
                right = base(x) + 3 * (x @ layer.lora_A @ layer.lora_B)
                if not torch.allclose(layer(x), right, atol=1e-4):
                    return True
            except RuntimeError:
                return True
    return False
""")


class Exposes(Check):
    """Judges a test: by the layers that it exposes, and by those that it lets pass."""

    name = "exposes"
    answer = answer
    points = 4
    parts = {BUG: 2, OTHERS: 2}
    note = (
        "comparing with the formula, with a merged weight, entry by entry or by gradients: all of these see it, as "
        "long as B is not zero, and sizes, scalings and shapes are not the ones at which mistakes hide."
    )

    def cases(self, draw):
        cases, order = [], sorted(LAYERS, key=lambda layer: draw.integer(0, 2**31))
        first = next(
            layer for layer in order if layer.right
        )  # a test that keeps what it has found shows after a right one
        for layer in [first, *(layer for layer in order if layer is not first)]:
            part = BUG if layer.right or layer is ATTEMPT_ONE else OTHERS
            words = Opaque(f"a {'right ' if layer.right else ''}layer {layer.words}")
            cases.append(LayerCase({"layer_class": words}, "", part, layer=layer, seed=draw.integer(0, 2**31)))
        return cases

    dtype = "float64"  # default dtype while the learner's test runs

    def __init__(self):
        super().__init__()
        self._cache = {}

    def judge(self, target, seed=None):
        """Judge the test where rounding cannot mislead it, and only then, if need be, in float32.

        In float32 the difference between two right layers may exceed a usual tolerance now and then: no fault of the
        test. A test that itself asks for float32 cannot run with float64 layers, and is judged in its own dtype.
        """
        seed = secrets.randbelow(2**31) if seed is None else seed
        in_float64 = _InFloat64(self)
        verdict = in_float64.judge(target, seed)
        if verdict.status != "failed" or verdict.score:
            return verdict
        if _FewLayersInFloat32(self).judge(target, seed).score:  # else neither part is right in float32
            in_float32 = _InFloat32(self).judge(target, seed)
            if in_float32.score > verdict.score:
                return in_float32
        if not any(layer.right and verdict_in(seen.get("value")) for layer, seen in in_float64.seen.items()):
            return verdict
        # Not before now: it is asked about right layers only, so it tells which they are.
        about_rounding = _AboutRounding(self, target, in_float64.seen).judge(target, seed)
        return about_rounding if about_rounding.status == "failed" else verdict

    def prepare(self):
        """The known wrong tests, and what they say of each layer, which takes most of the time of a diagnosis."""
        known_wrong = super().prepare()
        with known_torch_state():
            for case in self.cases(Draw(0)):
                for test in known_wrong:
                    self.observe(test, case)
        return known_wrong

    def observe(self, target, case):
        """Run the test on one layer. The answers of the known wrong tests do not depend on the draw, so they are cached."""
        known_id = next((known.id for known in self.misconceptions if known.wrong is target), None)
        if (known_id, case.layer) in self._cache:
            return self._cache[known_id, case.layer]
        source, name = case.layer.source, layers.NAME
        observation = try_on(target, source=source, name=name, seed=case.seed, dtype=self.dtype)
        if known_id:
            self._cache[known_id, case.layer] = observation
        return observation

    def fault(self, case, observation):
        """What is wrong with the test's answer for one layer."""
        layer = case.layer
        a_layer = f"a right layer, one {layer.words}" if layer.right else f"a layer {layer.words}"
        if fault := self.failed_call(observation):
            if "raised" not in observation:
                return fault
            problem = f"On {a_layer}, {fault.problem.replace('The call', 'the test')}"
            hint = _SAYS if observation["in_layer"] else fault.hint or _SAYS
            return Fault(problem, hint=hint, where=fault.where)
        answered = verdict_in(observation["value"])
        if answered is None:
            returned = describe.contents(observation["value"])
            problem = f"On {a_layer}, the test returned neither True nor False."
            several = isinstance(observation["value"], torch.Tensor) and observation["value"].numel() > 1
            hint = (
                f"{_SAYS} This is a tensor of several values: which operation makes one value of them?"
                if several
                else _SAYS
            )
            return Fault(problem, returned, str(not layer.right), hint=hint)
        if answered is (not layer.right):
            return None
        if layer.right:
            hint = (
                "Print the difference between your test's own value and the layer's: rounding, or another formula? If "
                "nothing gets printed, a line of your own raises inside try."
            )
            return Fault(f"The test says True for {a_layer}.", "True", "False: there is nothing to expose", hint=hint)
        hint = "In your test's own calls this layer gave wrong values, or raised. Compare every value with a right one."
        if layer.gap(observation["calls"]):
            hint = f"This layer is wrong in calls where {' and '.join(layer.shows)}. Your test made no such call."
        return Fault(f"The test says False for {a_layer}.", "False", "True: this layer is wrong", hint=hint)

    def keeps(self, cases, observations, failed):
        """Whether a layer gets the answer that was found for one before it: a test that is right of the first layer, a right one,
        says True of all layers after the first wrong one, or calls no other layer at all; or one that calls no layer, and says
        True of all but the first.
        """
        answers = [verdict_in(observation.get("value")) for observation in observations]
        if answers[0] is not False or None in answers:
            return False
        if not any(observation["calls"] for observation in observations[1:]):
            return bool(observations[0]["calls"]) or all(answers[1:])
        if not observations[0]["calls"]:
            return False
        rounding = any(observation.get("by rounding") for observation in observations)
        since = next((i for i, case in enumerate(cases) if not case.layer.right), len(cases))
        return not rounding and not any(answers[:since]) and all(answers[since:])

    def cause_in_all(self, cases, observations):
        """`INVERTED` if the test calls every layer and says True for all right ones and False for many wrong ones;
        `EVIDENCE_DROPPED` if its answer is what its last call shows, or what all of its calls show.
        """
        answers = [
            verdict_in(observation.get("value")) if observation.get("calls") else None for observation in observations
        ]
        of_right, of_wrong = ([s for s, case in zip(answers, cases, strict=True) if case.layer.right is right]
                              for right in (True, False))  # fmt: skip
        swapped = None not in answers and all(of_right) and of_wrong.count(False) > len(of_wrong) / 4
        if swapped:
            return INVERTED
        return EVIDENCE_DROPPED if _drops_evidence(cases, observations) else None

    def so_far(self, cases, faults):
        """How many of the layers got the right answer."""
        results = [[fault is None for case, fault in zip(cases, faults, strict=True) if case.layer.right is right]
                for right in (True, False)]  # fmt: skip
        right, wrong = (f"{sum(part)} of {len(part)}" for part in results)
        return f"{right} right layers accepted, {wrong} wrong ones exposed"

    def same(self, case, a, b):
        """Whether two tests answer the same for one layer."""
        if "value" in a and "value" in b:
            return verdict_in(a["value"]) is verdict_in(b["value"])
        return "raised" in a and "raised" in b


class _InFloat64(Exposes):
    """The check with layers in float64, and nothing besides.

    Args:
        exposes: the check that knows the wrong tests, and what they say.

    Attributes:
        seen: what was observed of each layer, where a verdict took more than that.
    """

    judge = Check.judge

    def __init__(self, exposes):
        super().__init__()
        self._programs, self._cache, self.seen = exposes._programs, exposes._cache, {}

    def keeps(self, cases, observations, failed):
        """As `Exposes.keeps`, and note the observations."""
        self.seen = {case.layer: seen for case, seen in zip(cases, observations, strict=True)}
        return super().keeps(cases, observations, failed)


class _AboutRounding(_InFloat64):
    """The same observations, and for each right layer that was said to be wrong, whether that was by rounding."""

    def __init__(self, exposes, target, seen):
        super().__init__(exposes)
        self._target, self._observed = target, seen

    def observe(self, target, case):
        """What was observed; with it, whether the test accepts the layer where rounding makes no difference."""
        if target is not self._target and any(known.wrong is target for known in self.misconceptions):
            return super().observe(target, case)
        observation = self._observed[case.layer]
        if not case.layer.right or not verdict_in(observation.get("value")):
            return observation
        source = case.layer.rounding_tolerant
        tolerant = try_on(target, source=source, name=layers.NAME, seed=case.seed, dtype=self.dtype)
        return observation | {"by rounding": "value" in tolerant and verdict_in(tolerant["value"]) is False}


class _InFloat32(_InFloat64):
    """The check with layers in float32."""

    dtype = "float32"


class _FewLayersInFloat32(_InFloat32):
    """One wrong layer of each part, and no other."""

    def cases(self, draw):
        return list({case.part: case for case in super().cases(draw) if not case.layer.right}.values())


exposes = Exposes()


def _drops_evidence(cases, observations):
    """Whether a test makes all of its calls on each layer, and forgets at a later one what an earlier one has shown."""
    seen = [(case.layer, observation) for case, observation in zip(cases, observations, strict=True)]
    most = max(len(observation.get("calls", ())) for _, observation in seen)
    full = [(layer, observation) for layer, observation in seen if len(observation.get("calls", ())) == most]
    # An exception may end the calls, depending on where the test's `try` stands. A test that returns early is no such test.
    cut_short = [observation for _, observation in seen if len(observation.get("calls", ())) < most]
    if most < 2 or not all(observation.get("layer_raised") for observation in cut_short):
        return False
    said = [(layer, observation["calls"], verdict_in(observation.get("value"))) for layer, observation in full]
    if any(answer is None or (answer and layer.right) for layer, _, answer in said):
        return False
    wrong = [(layer, calls, answer) for layer, calls, answer in said if not layer.right]
    dropped = [layer for layer, calls, answer in wrong if not answer and layer.gap(calls) is None]
    by_last = all((layer.gap(calls[-1:]) is None) is answer for layer, calls, answer in wrong)
    by_all = all(all(layer.gap([call]) is None for call in calls) is answer for layer, calls, answer in wrong)
    return bool(dropped) and any(answer for *_, answer in wrong) and (by_last or by_all)


def _never_asked(right):
    """Recognises a wrong verdict given without one call of a layer."""

    def recognise(case, observation):
        return (
            case.layer.right is right
            and "value" in observation
            and verdict_in(observation["value"]) is right
            and not observation["calls"]
        )

    return recognise


def _gap(condition, unless=None):
    """Recognises a wrong layer let pass because no call met `condition`; not where no call met `unless` either."""

    def recognise(case, observation):
        missed = not case.layer.right and "value" in observation and verdict_in(observation["value"]) is False
        if unless and not any(layers.CONDITIONS[unless](*call) for call in observation.get("calls", ())):
            return False
        return missed and case.layer.gap(observation["calls"]) == condition

    return recognise


@exposes.misconception(
    "asserts",
    thought="A test fails by raising, as it does with assert.",
    hint="Here the test is a function that answers: return True where an assert would fail, and False at the end.",
    recognise=lambda case, observation: "raised" in observation and observation["raised"]["type"] == "AssertionError",
)
def asserts(layer_class):
    base = nn.Linear(5, 3)
    layer = layer_class(base, rank=2, alpha=6)
    nn.init.normal_(layer.lora_B)
    for x in (torch.randn(5), torch.randn(4, 5), torch.randn(2, 4, 5)):
        right = base(x) + 3 * (x @ layer.lora_A @ layer.lora_B)
        assert torch.allclose(layer(x), right, atol=1e-4)


@exposes.misconception(
    "lets_it_escape",
    thought="A layer that raises ends the test, and that is a failure too.",
    hint="A layer that raises for a good x is a wrong layer. Call it inside try, and answer True where it raises.",
    recognise=lambda case, observation: "raised" in observation and observation["in_layer"] and not case.layer.right,
)
def lets_it_escape(layer_class):
    for d, k in ((5, 3), (4, 4), (3, 6)):
        base = nn.Linear(d, k)
        layer = layer_class(base, rank=2, alpha=6)
        nn.init.normal_(layer.lora_B)
        for x in (torch.randn(d), torch.randn(7, d), torch.randn(2, 7, d)):
            right = base(x) + 3 * (x @ layer.lora_A @ layer.lora_B)
            if not torch.allclose(layer(x), right, atol=1e-4):
                return True
    return False


@exposes.misconception(
    "always_true",
    thought="A layer can be judged before it is called.",
    hint="Make a layer, set its adapters, call it with an x, and compare. If your test does all that inside try, run "
    "these lines without it: one of them raises before the layer is called.",
    recognise=_never_asked(right=True),
)
def always_true(layer_class):
    return True


@exposes.misconception(
    "always_false",
    thought="A layer's names, attributes or parameters tell whether it is right.",
    hint="All the layers look alike. Make one, set its adapters, call it with an x, and look at what it computes.",
    recognise=_never_asked(right=False),
)
def always_false(layer_class):
    layer = layer_class(nn.Linear(5, 3), rank=2, alpha=6)
    shapes = layer.lora_A.shape == (5, 2) and layer.lora_B.shape == (2, 3)
    return not (shapes and layer_class.__name__ == "LoRALinear" and layer.scaling is not None)


answer.slip(
    INVERTED,
    "return True\n            except RuntimeError:\n                return True\n    return False",
    "return False\n            except RuntimeError:\n                return False\n    return True",
)


answer.slip(
    "no_false_at_the_end",
    "\n    return False",
    "",
    thought="The test returns True for a wrong layer; for a right one there is nothing to return.",
    hint="A function that ends without return gives None. What should it give when nothing was found?",
    recognise=lambda case, observation: (
        case.layer.right and "value" in observation and observation["value"] is None and bool(observation["calls"])
    ),
)


answer.slip(
    "raising_is_fine",
    "except RuntimeError:\n                return True",
    "except RuntimeError:\n                pass",
    thought="A layer that raises has returned nothing wrong.",
    hint="A layer that raises for a good x is a wrong layer. What does your test answer when the call raises?",
    recognise=lambda case, observation: (
        not case.layer.right
        and "value" in observation
        and verdict_in(observation["value"]) is False
        and observation["layer_raised"]
    ),
)


answer.slip(
    "only_at_zero",
    "                nn.init.normal_(layer.lora_B)\n",
    "",
    thought="A layer as it comes from its constructor can be tested as it is.",
    hint="With B zero the adapter adds nothing, whatever it computes. Give lora_B other values, then call the layer.",
    recognise=_gap("B is not zero"),
)


answer.slip(
    "only_zeros",
    "torch.randn(d), torch.randn(7, d), torch.randn(2, 7, d)",
    "torch.zeros(d), torch.zeros(7, d), torch.zeros(2, 7, d)",
    thought="Zeros are the easiest numbers to work out by hand.",
    hint="With x or A all zero the adapter adds nothing, whatever it computes. Give both of them other values.",
    recognise=_gap("x and A are not zero"),
)


answer.slip(
    "only_one_value",
    "nn.init.normal_(layer.lora_B)",
    "nn.init.ones_(layer.lora_A)\n                nn.init.ones_(layer.lora_B)",
    thought="The same number in every entry keeps the sums easy.",
    hint="With all entries of A equal, and all of B, you cannot tell whether one went to the wrong "
    "place. Let them differ.",
    recognise=_gap("the entries of A or of B differ"),
)


answer.slip(
    "only_squares",
    "((5, 3), (4, 4), (3, 6))",
    "((4, 4),)",
    "torch.randn(d), torch.randn(7, d), torch.randn(2, 7, d)",
    "torch.randn(4), torch.randn(3, 4), torch.randn(4, 4), torch.randn(2, 3, 4)",
    thought="One size of layer stands for all, and a square one is the easiest to write.",
    hint="What works on a square layer may raise on another. Let d and k differ, in both directions.",
    recognise=_gap("d and k differ"),
)


answer.slip(
    "only_rank_one",
    "rank=2, alpha=6",
    "rank=1, alpha=3",
    thought="Rank 1 is the simplest case, and the others follow from it.",
    hint="At rank 1, dividing by the rank changes nothing. Which mistakes hide behind that? Try another rank.",
    recognise=_gap("rank is above 1"),
)


answer.slip(
    "only_alpha_equal_to_rank",
    "rank=2, alpha=6",
    "rank=2, alpha=2",
    "3 * (x",
    "(x",
    thought="alpha and rank are usually set to the same number, so testing that is enough.",
    hint="With alpha equal to rank the scaling is 1, and a factor of 1 cannot be seen. Which other values could you give?",
    recognise=_gap("alpha is not rank", unless="rank is above 1"),
)


answer.slip(
    "only_without_bias",
    "nn.Linear(d, k)",
    "nn.Linear(d, k, bias=False)",
    thought="LoRA leaves the bias alone, so a base layer without one is enough.",
    hint="A layer may do the wrong thing with the base's bias. Let the base have one.",
    recognise=_gap("the base has a bias"),
)


answer.slip(
    "only_equal_rows",
    "torch.randn(d), torch.randn(7, d), torch.randn(2, 7, d)",
    "torch.ones(d), torch.ones(7, d), torch.ones(2, 7, d)",
    thought="Every row of a batch is treated alike, so the rows may be alike.",
    hint="With the same numbers in every row you cannot tell whether a row got its own update or another row's. Let the rows differ, "
    "and ask for every entry of the output.",
    recognise=_gap("the rows of x differ", unless="the entries of A or of B differ"),
)


answer.slip(
    "only_rows",
    "(torch.randn(d), torch.randn(7, d), torch.randn(2, 7, d))",
    "(torch.randn(7, d),)",
    thought="x is a batch of rows: two dimensions.",
    hint="A transformer's x has three dimensions, a single input has one. Try x of several dimensions. If your test has a loop over "
    "them, does a `return` end it in the first round?",
    recognise=_gap("x is not 2-D"),
)


answer.slip(
    "only_one_row",
    "(torch.randn(d), torch.randn(7, d), torch.randn(2, 7, d))",
    "(torch.randn(d),)",
    thought="What holds for one input holds for a batch of them.",
    hint="Try a batch of rows, and a batch of sequences: x of several dimensions. If your test has a loop over them, is "
    "`return False` inside it? Then it ends in the first round.",
    recognise=_gap("x is not 1-D"),
)


answer.slip(
    "only_sequences",
    "(torch.randn(d), torch.randn(7, d), torch.randn(2, 7, d))",
    "(torch.randn(2, 7, d),)",
    thought="x is a batch of sequences: three dimensions.",
    hint="A layer may also get a batch of rows, or a single one. Try x of several dimensions. If your test has a loop over them, does "
    "a `return` end it in the first round?",
    recognise=_gap("x is not 3-D"),
)


answer.slip(
    "only_batches",
    "torch.randn(d), torch.randn(7, d)",
    "torch.randn(7, d)",
    thought="x always comes as a batch.",
    hint="A single input, of shape (d,), is a good x as well. Try it too.",
    recognise=_gap("x is 1-D"),
)


answer.slip(
    "trusts_the_scaling",
    "3 * (x",
    "layer.scaling * (x",
    thought="The layer knows its scaling: layer.scaling can be used in the expected value.",
    hint="You are testing the layer, so do not rely on it. Compute the scaling from the alpha and the rank that "
    "you gave it.",
)


answer.slip(
    "to_the_last_digit",
    "rank=2, alpha=6",
    "rank=3, alpha=5",
    "base(x) + 3 * (x @ layer.lora_A @ layer.lora_B)",
    "5 * (x @ layer.lora_A @ layer.lora_B) / 3 + base(x)",
    "not torch.allclose(layer(x), right, atol=1e-4)",
    "not torch.equal(layer(x), right)",
    thought="Two right layers agree in every digit.",
    hint="Sums taken in another order round differently. Allow a small difference, and print the largest one that you "
    "meet: 1e-6 is rounding, 0.1 is another formula.",
    recognise=lambda case, observation: case.layer.right and bool(observation.get("by rounding")),
)


answer.slip(
    "expects_alpha_undivided",
    "3 * (x",
    "6 * (x",
    thought="The change is multiplied by alpha.",
    hint="Your test accepts a layer that multiplies by alpha. Look up the scaling: what is alpha divided by?",
)


answer.slip(
    "expects_no_scaling",
    "3 * (x",
    "(x",
    thought="The change is added as it is.",
    hint="Your test accepts a layer that never uses its scaling. Go through the formula: what comes before (xA)B?",
)


answer.slip(
    "expects_the_inverse",
    "3 * (x",
    "1 / 3 * (x",
    thought="The scaling is the rank over alpha.",
    hint="Your test accepts a layer that divides the rank by alpha. Look up the scaling: which of the two is divided?",
)


answer.slip(
    "expects_no_base",
    "base(x) + 3",
    "3",
    thought="The layer's output is what the adapter computes.",
    hint="Your test accepts a layer that leaves the base out. Go through the formula: to what is the change added?",
)


@exposes.misconception(
    "expects_the_bug",
    thought="The change that a right layer makes is A @ B times x, entry by entry.",
    hint="Your test accepts Attempt #1 and refuses right layers. Which product does the formula have?",
)
def expects_the_bug(layer_class):
    base, x = nn.Linear(4, 4), torch.randn(4, 4)
    layer = layer_class(base, rank=2, alpha=6)
    nn.init.normal_(layer.lora_B)
    right = base(x) + 3 * (layer.lora_A @ layer.lora_B) * x
    try:
        return not torch.allclose(layer(x), right, atol=1e-4)
    except RuntimeError:
        return True


answer.slip(
    "shape_is_enough",
    "not torch.allclose(layer(x), right, atol=1e-4)",
    "layer(x).shape != right.shape",
    thought="A layer that runs and returns the right shape is right.",
    hint="In what your test tried, this layer gave wrong values. Compare every value with the right one, and allow no "
    "more than rounding.",
)
