"""fine_tune: judged by what the model has learned, and by what is left of everything else."""

import functools

import torch
from torch import nn

from autograde.checks.fine_tuning.given import LAYER, linears, made, output
from autograde.judge import describe
from autograde.judge.answer import RightAnswer
from autograde.judge.check import ANSWER, Case, Check
from autograde.judge.compare import Fault, agree
from autograde.judge.misconception import CHANGED_INPUT, Misconception
from autograde.lesson_kit.digits import digits, turned
from autograde.probes.fine_tuning import tuned
from autograde.remote.facts import same_bits

# Few rows, many epochs, a small rate and a large alpha: here batches of 16 with momentum do not overshoot, and one step of
# plain SGD an epoch comes to .81, with a schedule that lowers the rate to .70 to .75. An early stop on a few rows kept
# aside can come to .66. The bar is below all of these. What a higher one would catch besides (a single epoch, a rate of
# one's own, half of the adapters, a few of the rows) is asked for directly.
RANK, ALPHA = 8, 24
ROWS, EPOCHS, RATE = 200, 100, 5e-3
BAR = 0.6  # of 397 held-out digits; before training it is below .5
ROWS_SEEN = 0.4  # of the rows, at least, must have been trained on: some are rightly kept aside
ONE_LABEL_BAR = 0.7  # of them answered with the label that every row had
NEAR_ONE_HOT = 0.04  # how near each row's mean logit is to 0.1, the mean of a one-hot row
FAVOURED = 0.5  # by how much the classes' mean logits differ, in the spread of each: after a regression 0 to .4, else .65 or more
GROWN = 3  # how far all logits together have moved up, in their own spread: classes that compete push each other down
NO_RATE, UNMOVED = 1e-9, 1e-5  # a rate of nearly nothing, and what the adapters may move with it
LEFT = "what is left behind"

READER = """
class Model(nn.Module):
    def __init__(self):
        super().__init__()
        hidden = [nn.Linear(64, 128), nn.LayerNorm(128), nn.ReLU(), nn.Linear(128, 128), nn.ReLU()]
        self.body = nn.Sequential(*hidden)
        self.head = nn.Linear(128, 10)

    def forward(self, x):
        return self.head(self.body(x))
"""

ALL_HANDED_OVER = Misconception(
    "all_handed_over",
    thought="The optimiser changes only adapters.",
    hint="It changes every parameter that it was given and that has a gradient, and a norm of this model has one. "
    "Which of your functions returns what it should get?",
)
BASE_UNFROZEN = Misconception(
    "base_unfrozen",
    thought="Training means that everything requires a gradient.",
    hint="Which line of yours sets requires_grad, and for which parameters?",
)
NOT_CLEARED = Misconception(
    "gradients_not_cleared",
    thought="backward() makes new gradients each time.",
    hint="It adds to what is in .grad. After ten steps, the gradients of which steps does the optimiser use?",
)
NO_GRADIENT = Misconception(
    "gradient_never_arrives",
    thought="step() finds out by itself how the adapters should change.",
    hint="It uses what is in .grad. Print .grad of one adapter just before a step. Is backward() called, with its "
    "brackets, on a loss that comes from model(x), without .detach() or plain numbers in between?",
)
CLEARED_TOO_EARLY = Misconception(
    "cleared_before_step",
    thought="Gradients are cleared once per step, no matter where.",
    hint="The step uses what backward() has left in .grad. What is in it when your optimiser steps?",
)
NO_STEP = Misconception(
    "step_forgotten",
    thought="backward() trains the model.",
    hint="It computes gradients. Which call uses them to change the parameters?",
)
WITHOUT_ADAPTERS = Misconception(
    "optimiser_without_adapters",
    thought="An optimiser made from the model trains the model.",
    hint="Print how many parameters your optimiser has, and how many of them are a lora_A or a lora_B.",
)
OF_COPIES = Misconception(
    "optimiser_of_copies",
    thought="Only the values count.",
    hint="The optimiser has changed tensors that are not in this model. Did it get the model's Parameters, or "
    "copies of them, or those of a copy of the model?",
)
EVAL_FORGOTTEN = Misconception(
    "eval_forgotten",
    thought="The model may stay in the mode that training needs.",
    hint="Print model.training after the call. Dropout would still be active when the model is used next.",
)
GRADIENTS_LEFT = Misconception(
    "gradients_left",
    thought="After the last step .grad is not used.",
    hint="They take as much memory as the adapters, and the next training would add to them. Where in your loop "
    "do you clear them, and what happens after the last step?",
)
LEFT_FROZEN = Misconception(
    "left_frozen",
    thought="What is frozen for the training can stay frozen.",
    hint="Compare requires_grad of every parameter before and after the call. Does the optimiser need anything to be frozen?",
)
WRONG_AXIS = Misconception(
    "wrong_axis",
    thought="Probabilities add up to 1 over the batch.",
    hint="Here all labels were the same, and the model does not answer that label. The classes of one row compete with each "
    "other: over which axis does your loss normalise?",
)
ONE_MATRIX = Misconception(
    "one_matrix_trained",
    thought="Only one of the two matrices has to learn.",
    hint="Compare every lora_A and every lora_B before and after the call. Which parameters does your optimiser get?",
)
LEFT_OUT = Misconception(
    "adapters_left_out",
    thought="The optimiser has the adapters.",
    hint="It has some of them. Each LoRALinear, at any depth, has two Parameters: does your optimiser have that many?",
)
ONE_EPOCH = Misconception(
    "one_epoch",
    thought="The loop runs as often as it should.",
    hint="Count the rows that go through the model. Does something end the loop in its first round?",
)
EPOCHS_IGNORED = Misconception(
    "epochs_ignored",
    thought="The number of epochs is a setting of the training loop.",
    hint="Where does your function use its argument epochs? What does it do when it is called with epochs=2?",
)
SAME_ROWS = Misconception(
    "same_rows",
    thought="One batch is trained on in every round, so all of them are.",
    hint="Print which rows are in each batch. Does an index start again in every round, or does the loop end "
    "after its first batch?",
)
SHUFFLED_APART = Misconception(
    "shuffled_apart",
    thought="The rows are shuffled, and the labels are shuffled, each for itself.",
    hint="Each row needs its own label. Draw one permutation, and use it for both.",
)
REGRESSION = Misconception(
    "regression_on_classes",
    thought="Each logit has a target: 1 for the right class, 0 for the others.",
    hint="A logit may be any number: the right one only has to be larger than the others. Which loss takes a row of logits and "
    "the number of a class?",
)
EPOCHS_OFF_BY_ONE = Misconception(
    "epochs_off_by_one",
    thought="range gives as many rounds as its last number says.",
    hint="Print the number of each round for epochs=3. How many lines are there, and how many should there be?",
)
RESTARTED = Misconception(
    "adapters_restarted",
    thought="A training begins with fresh adapters.",
    hint="The values of lora_A and lora_B may have been learned before. Which of your lines changes them before "
    "the first step?",
)
MERGED = Misconception(
    "merged_at_the_end",
    thought="After training, what was learned is merged into the base.",
    hint="The adapters still add it, so the model has it twice. What does the docstring say about every other "
    "parameter?",
)
NO_LOG_SOFTMAX = Misconception(
    "no_log_softmax",
    thought="A loss for classes takes what the model gives.",
    hint="Print your loss in every round: it falls below zero and keeps falling, because all logits may grow. "
    "With which loss do the classes of a row compete with each other, and which input does yours expect?",
)
RATE_CHANGED = Misconception(
    "rate_changed",
    thought="The learning rate that is given must be adapted first.",
    hint="The caller has chosen it. Print the lr of your optimiser beside the one that was given: which line changes it?",
)
UPHILL = Misconception(
    "uphill",
    thought="The optimiser makes the number that it is given as large as it can.",
    hint="It makes the loss smaller. Print yours in every epoch: does it fall? Look for a minus sign, or for "
    "maximize=True.",
)
REST_DROPPED = Misconception(
    "rest_dropped",
    thought="The rows fill whole batches.",
    hint="With fewer rows than your batch size, no row goes through the model at all. What does your loop do with "
    "rows that do not fill a batch? Look for len(x) // size and for drop_last=True.",
)
RATE_IGNORED = Misconception(
    "rate_ignored",
    thought="The optimiser chooses a good learning rate itself.",
    hint="It has a default. Where does your function use its argument lr?",
)

answer = RightAnswer("""
from lora_ref.layer import LoRALinear


def fine_tune(model, x, y, epochs, lr):
    layers = [module for module in model.modules() if isinstance(module, LoRALinear)]
    adapters = [p for layer in layers for p in (layer.lora_A, layer.lora_B)]
    optimiser = torch.optim.Adam(adapters, lr=lr)
    model.train()
    for epoch in range(epochs):
        optimiser.zero_grad()
        loss = nn.functional.cross_entropy(model(x), y)
        loss.backward()
        optimiser.step()
    optimiser.zero_grad()
    model.eval()
""")


@functools.cache
def data():
    """Turned digits, ``((x, y), (x, y))`` as rows of 64 pixels: 1,400 to learn from and 397 held out."""
    return tuple((turned(images, 30).flatten(1), labels) for images, labels in digits())


@functools.cache
def trained_state():
    """The values of a `READER` that has learned the upright digits."""
    (images, y), _ = digits()
    rows, y = images.flatten(1)[:700], y[:700]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = made(READER)
    parameters = list(model.parameters())
    momentum = [torch.zeros_like(parameter) for parameter in parameters]
    for _ in range(60):  # by hand: the first step of an optimiser of torch's imports its compiler, for a second
        with torch.enable_grad():
            gradients = torch.autograd.grad(nn.functional.cross_entropy(model(rows), y), parameters)
        with torch.no_grad():
            for parameter, moved, gradient in zip(parameters, momentum, gradients, strict=True):
                parameter.sub_(moved.mul_(0.9).add_(gradient), alpha=0.2)
    return {name: value.detach().clone() for name, value in model.state_dict().items()}


class FineTune(Check):
    """Lets a network learn turned digits, one single label, and a little, and looks at the network afterwards."""

    name = "fine_tune"
    answer = answer
    points = 4
    parts = {ANSWER: 2, LEFT: 2}
    note = "any optimiser and schedule, batches or all rows at once; how often the model is called is up to you."
    next_step = "Train the lesson's network in a cell, and print the loss in every epoch: does it fall?"

    def prepare(self):
        """The known wrong answers, the data, and the network that has learned: each is made once in a process."""
        data(), trained_state()
        return super().prepare()

    def cases(self, draw):
        (x, y), _ = data()
        order = torch.randperm(len(x), generator=torch.Generator().manual_seed(draw.integer(0, 10**6)))
        x, y = x[order], y[order]
        label = draw.integer(0, 9)
        return [
            self._case(draw, f"{ROWS} turned digits", x[:ROWS], y[:ROWS], EPOCHS),
            self._case(draw, f"64 digits, and every label is {label}", x[:64], torch.full((64,), label), EPOCHS // 2),
            self._case(draw, "a learning rate of nearly nothing", x[:64], y[:64], 2, lr=NO_RATE),
            self._case(draw, "a little: 64 digits, 2 epochs", x[:64], y[:64], 2, ["body.1.bias"], LEFT),
        ]

    def _case(self, draw, label, x, y, epochs, frozen=(), part=ANSWER, lr=RATE):
        adapted = [
            [path, RANK, ALPHA, draw.tensor(d, RANK) / d**0.5, torch.zeros(RANK, k)]
            for path, (d, k) in linears(READER).items()
        ]
        args = {"source": READER, "state": trained_state(), "layer": LAYER, "adapted": adapted, "frozen": list(frozen)}
        args |= {"training": part == LEFT, "x": x, "y": y, "epochs": epochs, "lr": lr}
        return Case(args, label, part)

    def make_cases(self, draw, remote=False):
        """The cases, on the CPU alone: what is learned is the same elsewhere."""
        return self.cases(draw)

    def called(self, case):
        """The call, and the model."""
        rows = len(case.args["x"])
        return (
            f"fine_tune(model, x, y, epochs={case.args['epochs']}, lr={case.args['lr']})  # {case.label}\n"
            f"  model: 64 → 128 → norm → 128 → 10, LoRALinears with rank {RANK} and alpha {ALPHA}; the norm requires a gradient\n"
            f"  x = float32 tensor of shape ({rows}, 64), y = int64 tensor of shape ({rows},)"
        )

    def observe(self, target, case):
        """Let the case's model be trained."""
        return tuned(target, **case.args)

    def fault(self, case, observation):
        """What is wrong with the model afterwards."""
        seen = observation
        if fault := self.failed_call(seen):
            return fault
        before = _before(case)
        if sorted(seen["parameters"]) != sorted(before):
            return Fault(
                "The model does not have the same parameters as before.",
                hint="Train the model as it is: replace no layer.",
            )
        if seen["changed"]:
            name = describe.clean(str(seen["changed"][0]), 20)
            hint = f"{name} belongs to the caller. Look for what writes into it (-=, /=, a name ending in _), and make a new tensor."
            return Fault(f"The call has changed {name} in place.", hint=hint, misconception=CHANGED_INPUT)
        if seen["watched"]["restarted"] is True:
            problem = (
                "When the first rows went through the model, the adapters no longer had the values from before "
                "the call."
            )
            return Fault(problem, misconception=RESTARTED)
        if case.part == LEFT:
            return _base_fault(case, seen, before) or _state_fault(seen)
        if case.args["lr"] == NO_RATE:
            return _rate_fault(seen, before) or _epochs_fault(case, seen)
        return (
            _nothing_learned(seen, before)
            or _way_fault(case, seen)
            or _left_out(seen, before)
            or _learned_fault(case, seen)
            or _lowered_fault(case, seen)
        )

    def cause_in_all(self, cases, observations):
        """`RATE_IGNORED` if the rate is the same in two calls that give different ones; `UPHILL` if the steps of nearly nothing go
        where the loss grows; `REST_DROPPED` if rows are trained on only where there are many of them."""
        watched = [seen.get("watched") for seen in observations]
        if None in watched:
            return None
        i = next(i for i, case in enumerate(cases) if case.args["lr"] == NO_RATE)
        if watched[0]["lr"] == watched[i]["lr"] and _rate_fault(observations[i], _before(cases[i])):
            return RATE_IGNORED
        if _goes_uphill(cases[i], observations[i]):
            return UPHILL
        rows = [seen["rows"] for seen in watched]
        return REST_DROPPED if rows[0] and not any(rows[1:]) else None

    def keeps(self, cases, observations, failed):
        """Whether the optimiser of every training but the first holds none of its model's parameters. The first one is right, or
        its optimiser has been used before.
        """
        watched = [observation.get("watched") for observation in observations]
        if None in watched or not all(seen["steps"] and not seen["held"] for seen in watched[1:]):
            return False
        return bool(watched[0]["held"]) if 0 not in failed else watched[0]["used"] is True

    def same(self, case, a, b):
        """Whether two functions go wrong in the same way. Right ones differ in every digit, so values are not compared."""
        if "raised" in a or "raised" in b:
            return super().same(case, a, b)
        return False


def _before(case):
    """The values of all parameters before the call."""
    paths = {path: (A, B) for path, _, _, A, B in case.args["adapted"]}
    values = {}
    for name, value in case.args["state"].items():
        path, _, last = name.rpartition(".")
        values[f"{path}.base_layer.{last}" if path in paths else name] = value
    for path, (A, B) in paths.items():
        values |= {f"{path}.lora_A": A, f"{path}.lora_B": B}
    return values


def _is_adapter(name):
    return name.endswith((".lora_A", ".lora_B"))


def _changed(seen, before):
    return [name for name, value in before.items() if not same_bits(seen["parameters"][name], value)]


def _base_fault(case, seen, before):
    changed = [name for name in _changed(seen, before) if not _is_adapter(name)]
    if not changed:
        return None
    frozen = [name for name in changed if ".base_layer." in name or name in case.args["frozen"]]
    problem = (
        f"{describe.counted(len(changed), 'parameter')} outside the adapters changed, the first of them {changed[0]}."
    )
    if not frozen:
        return Fault(problem, misconception=ALL_HANDED_OVER)
    if _is_merged(case, seen, before):
        return Fault(problem, misconception=MERGED)
    given = set(frozen) & {*map(str, seen["watched"]["held"])} or set(seen["trains"][1]) - set(seen["trains"][0])
    hint = "" if given else "Which of your lines writes into a parameter that is not an adapter?"
    return Fault(problem, hint=hint, misconception=BASE_UNFROZEN if given else None)


def _is_merged(case, seen, before):
    """Whether what each adapter adds was added to its base's weight."""

    def merged(path):
        A, B = (seen["parameters"][f"{path}.{name}"].double() for name in ("lora_A", "lora_B"))
        weight = f"{path}.base_layer.weight"
        delta = seen["parameters"][weight].double() - before[weight].double()
        return agree(delta.float(), (ALPHA / RANK * (A @ B).T).float())

    return all(merged(path) for path, *_ in case.args["adapted"])


def _is_not_zero(gradient):
    return not isinstance(gradient, torch.Tensor) or bool(gradient.any())


def _state_fault(seen):
    if seen["training"] is not False:
        return Fault("Afterwards the model, or a part of it, is in training mode.", misconception=EVAL_FORGOTTEN)
    if left := [gradient for gradient in seen["left"].values() if _is_not_zero(gradient)]:
        return Fault(
            f"Afterwards .grad is not zero for {describe.counted(len(left), 'tensor')} of the adapters.",
            misconception=NOT_CLEARED if _piled_up(seen["watched"]) else GRADIENTS_LEFT,
        )
    was, now = seen["trains"]
    if was != now:
        name = sorted(set(was) ^ set(now))[0]
        said = (
            "required a gradient before, and does not now"
            if name in was
            else "requires a gradient now, and did not before"
        )
        return Fault(f"{name} {said}.", misconception=LEFT_FROZEN if name in was else BASE_UNFROZEN)
    return None


def held_out(case, seen):
    """(logits (397, 10), labels) of held-out digits, with the base as it was: what the adapters have learned."""
    updates = {
        path: (seen["parameters"][f"{path}.lora_A"], seen["parameters"][f"{path}.lora_B"], ALPHA / RANK)
        for path, *_ in case.args["adapted"]
    }
    _, (x, y) = data()
    return output(READER, case.args["state"], updates, x), y


def _nothing_learned(seen, before):
    """The fault of adapters that have all stayed as they were."""
    watched, adapters = seen["watched"], set(filter(_is_adapter, before))
    if adapters & set(_changed(seen, before)):
        return None
    problem, held = "No adapter has changed.", set(map(str, watched["held"]))
    if watched["steps"] and not held:
        return Fault(problem + " The optimiser has no parameter of this model.", misconception=OF_COPIES)
    if watched["steps"] and not adapters & held:
        return Fault(problem + " The optimiser has none of them.", misconception=WITHOUT_ADAPTERS)
    if watched["steps"] and not watched["backwards"] and adapters <= held:
        return Fault(problem + " No gradient has reached them.", misconception=NO_GRADIENT)
    if watched["backwards"] and not watched["steps"]:
        return Fault(problem + " Gradients were computed, but no optimiser made a step.", misconception=NO_STEP)
    if held and not adapters <= held:
        return Fault(problem + " The optimiser has only some of them.", misconception=_part(adapters - held))
    if watched["backwards"] and watched["empty"] == watched["steps"]:
        return Fault(
            problem + " At each step of the optimiser, the gradients had already been cleared.",
            misconception=CLEARED_TOO_EARLY,
        )
    return Fault(problem, hint="Print the loss and one lora_B before and after each step.")


def _left_out(seen, before):
    """The fault of adapters that have stayed as they were, where others have changed."""
    watched, adapters = seen["watched"], list(filter(_is_adapter, before))
    unchanged = sorted(set(adapters) - set(_changed(seen, before)))
    if not unchanged:
        return None
    if watched["steps"] and watched["empty"] == watched["steps"]:  # what has changed did so by weight decay
        return Fault(
            "At each step of the optimiser, the gradients had already been cleared.", misconception=CLEARED_TOO_EARLY
        )
    return Fault(
        f"{len(unchanged)} of {len(adapters)} adapters have not changed, the first of them {unchanged[0]}.",
        misconception=_part(unchanged) if set(unchanged) - set(map(str, watched["held"])) else None,
    )


def _part(names):
    """The mistake of leaving these adapters out: one matrix of each, or some layers."""
    return ONE_MATRIX if len({name.rpartition(".")[2] for name in names}) == 1 else LEFT_OUT


def _way_fault(case, seen):
    """The fault of a training that is not what was asked for, whatever it came to."""
    watched, rows, epochs = seen["watched"], len(case.args["x"]), case.args["epochs"]
    # Somebody who stops early keeps rows aside, or does not stop exactly one round before the end.
    if (
        watched["distinct"] == rows
        and watched["trained"] == rows * (epochs - 1)
        and watched["backwards"] <= watched["steps"]
    ):
        return Fault(
            f"With epochs={epochs}, all rows were trained on {epochs - 1} times.", misconception=EPOCHS_OFF_BY_ONE
        )
    if 0 < watched["rows"] <= 1.5 * rows:
        return Fault(
            f"With epochs={case.args['epochs']}, {watched['rows']} rows have gone through the model for training, and x has "
            f"{rows}.",
            misconception=ONE_EPOCH,
        )
    if 0 < watched["distinct"] < ROWS_SEEN * rows:
        return Fault(
            f"Only {watched['distinct']} of the {rows} rows have ever gone through the model for training.",
            misconception=SAME_ROWS,
        )
    if _piled_up(watched):
        return Fault(
            "The optimiser steps with gradients that still contain those of earlier steps.", misconception=NOT_CLEARED
        )
    return None


def _piled_up(watched):
    """Whether gradients were added to earlier ones and a step was made each time: nothing is accumulated on purpose."""
    backwards = watched["backwards"]
    return backwards > 1 and watched["steps"] >= 0.9 * backwards and watched["piled_up"] >= 0.5 * (backwards - 1)


def _rate_fault(seen, before):
    """The fault of adapters that move although the learning rate is nearly nothing."""
    moved = max((seen["parameters"][name] - before[name]).abs().max().item() for name in before if _is_adapter(name))
    rates = seen["watched"]["lr"]
    if moved <= UNMOVED or rates and max(rates) < 1000 * NO_RATE:  # a line search goes as far as it likes
        return None
    said = f" The optimiser's lr was {rates[0]:g}." if rates else ""
    return Fault(f"With lr={NO_RATE:g} the adapters moved by up to {moved:.1g}.{said}", misconception=RATE_IGNORED)


def _goes_uphill(case, seen):
    """Whether the lora_B's, which were zero, have moved along the gradient of the loss and not against it. Of adapters that were
    drawn anew, which have other gradients, that cannot be told.
    """
    now = seen["parameters"]
    if any((now[f"{path}.lora_A"] - A).abs().max() > UNMOVED for path, _, _, A, _ in case.args["adapted"]):
        return False
    model = made(READER).double()
    model.load_state_dict({name: value.double() for name, value in case.args["state"].items()})
    with torch.enable_grad():
        nn.functional.cross_entropy(model(case.args["x"].double()), case.args["y"]).backward()
    moved, gradient = [], []
    for path, _, _, A, _ in case.args["adapted"]:
        moved.append(now[f"{path}.lora_B"].double().flatten())
        gradient.append((model.get_submodule(path).weight.grad @ A.double()).T.flatten())
    return bool(torch.cosine_similarity(torch.cat(moved), torch.cat(gradient), dim=0) > 0.3)


def _lowered_fault(case, seen):
    """The fault of an optimiser that never gets near the rate of the call. A schedule may begin and end with less."""
    rates = seen["watched"]["lr"]
    if not rates or max(rates) > 0.6 * case.args["lr"]:
        return None
    return Fault(
        f"The optimiser's lr was never more than {max(rates):g}, but the call passed lr={case.args['lr']:g}.",
        misconception=RATE_CHANGED,
    )


def _epochs_fault(case, seen):
    """The fault of a loop that runs more often than it was asked to; one whose steps need several gradients may."""
    watched, epochs = seen["watched"], case.args["epochs"]
    ran = watched["trained"] / len(case.args["x"])
    if watched["backwards"] > watched["steps"] or ran < epochs + 0.9:
        return None
    return Fault(
        f"With epochs={epochs}, all rows were trained on {ran:.0f} times.",
        misconception=EPOCHS_OFF_BY_ONE if watched["trained"] == (epochs + 1) * len(case.args["x"]) else EPOCHS_IGNORED,
    )


def _learned_fault(case, seen):
    """The fault of a training that came to too little."""
    logits, y = held_out(case, seen)
    if not logits.isfinite().all():
        problem = "After the training the model's logits are nan or infinite."
        hint = (
            "The loss has grown without limit. Print it in every epoch: what does it measure, and how large is a step?"
        )
        return _raised_rate_fault(case, seen, problem) or Fault(problem, hint=hint)
    answers = logits.argmax(-1)
    if len(set(case.args["y"].tolist())) == 1:
        share = (answers == case.args["y"][0]).double().mean().item()
        if share >= ONE_LABEL_BAR:
            return None
        # Normalised over the rows, the loss is least where this class's logit is the same for all of them.
        along = logits.std(0)
        over_rows = bool(along[case.args["y"][0]] < 0.5 * along.mean())
        problem = f"Every label was the same, but the model gives it for only {share:.0%} of other digits."
        return Fault(problem, misconception=WRONG_AXIS if over_rows else None)
    reached = (answers == y).double().mean().item()
    if reached >= BAR:
        return None
    # Certain of nothing, after all that training: there was nothing to be learned.
    unsure = logits.softmax(-1).amax(-1).mean() < 0.35 and reached < 0.45 and logits.std(0).mean() > 0.02
    problem = f"After training, the model reads {reached:.0%} of held-out digits correctly."
    expected = f"{BAR:.0%} or more; before training it is below 50 %"
    if fault := _raised_rate_fault(case, seen, problem, expected):
        return fault
    if logits.mean() > GROWN * logits.std(1).mean():
        return Fault(problem, expected=expected, misconception=NO_LOG_SOFTMAX)
    if _is_like_one_hot(logits):
        return Fault(problem, expected=expected, misconception=REGRESSION)
    cause = SHUFFLED_APART if unsure and seen["watched"]["backwards"] >= EPOCHS else None
    return Fault(problem, expected=expected, misconception=cause)


def _raised_rate_fault(case, seen, problem, expected=""):
    """The fault of a training that failed with a larger rate than that of the call."""
    rates = seen["watched"]["lr"]
    if not rates or max(rates) <= 2 * case.args["lr"]:
        return None
    hint = f"The optimiser's lr was {max(rates):g}, but the call passed lr={case.args['lr']:g}. Which line changes it?"
    return Fault(problem, expected=expected, hint=hint, misconception=RATE_CHANGED)


def _is_like_one_hot(logits):
    """Whether the logits of a row add up to 1 and no class is favoured, as after a regression on one-hot rows. After training
    on labels of other rows they may add up to 1 by chance, and some classes have larger logits in all rows.
    """
    off = (logits.mean(1) - 1 / logits.shape[1]).abs().mean()
    return bool(off < NEAR_ONE_HOT and logits.mean(0).std() < FAVOURED * logits.std(0).mean())


fine_tune = FineTune()


def _never(case, seen):
    return False  # the fault itself says which mistake it is


MADE = "optimiser = torch.optim.Adam(adapters, lr=lr)\n"  # where most slips are made

answer.slip(ALL_HANDED_OVER, MADE, MADE.replace("adapters", "model.parameters()"), recognise=_never)
answer.slip(
    BASE_UNFROZEN,
    MADE,
    "adapters = list(model.requires_grad_(True).parameters())\n    " + MADE,
    recognise=_never,
)
answer.slip(NOT_CLEARED, "        optimiser.zero_grad()\n        loss =", "        loss =", recognise=_never)
answer.slip(
    CLEARED_TOO_EARLY,
    "loss.backward()\n        optimiser.step()",
    "loss.backward()\n        model.zero_grad()\n        optimiser.step()",
    recognise=_never,
)
answer.slip(NO_GRADIENT, "loss.backward()", "loss.backward", recognise=_never)
answer.slip(NO_STEP, "        optimiser.step()\n", "", recognise=_never)
answer.slip(
    WITHOUT_ADAPTERS,
    MADE,
    MADE.replace("adapters", "[p for n, p in model.named_parameters() if 'lora' not in n]"),
    recognise=_never,
)
answer.slip(
    EVAL_FORGOTTEN, "    optimiser.zero_grad()\n    model.eval()\n", "    optimiser.zero_grad()\n", recognise=_never
)
answer.slip(OF_COPIES, MADE, MADE.replace("adapters", "[p.detach().clone() for p in adapters]"), recognise=_never)
answer.slip(GRADIENTS_LEFT, "    optimiser.zero_grad()\n    model.eval()", "    model.eval()", recognise=_never)
answer.slip(
    LEFT_FROZEN,
    MADE,
    MADE + "    model.requires_grad_(False)\n    for p in adapters:\n        p.requires_grad_(True)\n",
    recognise=_never,
)
answer.slip(WRONG_AXIS, "cross_entropy(model(x), y)", "nll_loss(model(x).log_softmax(dim=0), y)", recognise=_never)
answer.slip(
    ONE_EPOCH,
    "        optimiser.step()\n    optimiser",
    "        optimiser.step()\n        break\n    optimiser",
    recognise=_never,
)
answer.slip(
    SHUFFLED_APART,
    "cross_entropy(model(x), y)",
    "cross_entropy(model(x[torch.randperm(len(x))]), y[torch.randperm(len(y))])",
    recognise=_never,
)
answer.slip(
    REGRESSION,
    "cross_entropy(model(x), y)",
    "mse_loss(model(x), nn.functional.one_hot(y, 10).float())",
    recognise=_never,
)
answer.slip(EPOCHS_IGNORED, "range(epochs)", "range(30)", recognise=_never)
answer.slip(EPOCHS_OFF_BY_ONE, "range(epochs)", "range(1, epochs)", recognise=_never)
answer.slip(EPOCHS_OFF_BY_ONE, "range(epochs)", "range(epochs + 1)", recognise=_never)
answer.slip(
    RESTARTED, MADE, MADE + "    for layer in layers:\n        nn.init.normal_(layer.lora_A)\n", recognise=_never
)
answer.slip(
    MERGED,
    "    model.eval()\n",
    "    model.eval()\n    for layer in layers:\n"
    "        layer.base_layer.weight.data += layer.scaling * (layer.lora_A @ layer.lora_B).T.data\n",
    recognise=_never,
)
answer.slip(NO_LOG_SOFTMAX, "cross_entropy(model(x), y)", "nll_loss(model(x), y)", recognise=_never)
answer.slip(CHANGED_INPUT, "    model.train()\n", "    x -= x.mean()\n    model.train()\n", recognise=_never)
answer.slip(SAME_ROWS, "cross_entropy(model(x), y)", "cross_entropy(model(x[:32]), y[:32])", recognise=_never)
answer.slip(RATE_CHANGED, MADE, MADE.replace("lr=lr", "lr=lr / 10"), recognise=_never)
answer.slip(UPHILL, "loss.backward()", "(-loss).backward()", recognise=_never)
answer.slip(
    REST_DROPPED,
    "        optimiser.zero_grad()\n        loss = nn.functional.cross_entropy(model(x), y)\n"
    "        loss.backward()\n        optimiser.step()\n",
    "        for i in range(len(x) // 100):\n            batch = slice(100 * i, 100 * i + 100)\n            optimiser.zero_grad()\n"
    "            nn.functional.cross_entropy(model(x[batch]), y[batch]).backward()\n            optimiser.step()\n",
    recognise=_never,
)
answer.slip(RATE_IGNORED, MADE, MADE.replace(", lr=lr", ""), recognise=_never)
answer.slip(ONE_MATRIX, "(layer.lora_A, layer.lora_B)", "(layer.lora_B,)", recognise=_never)
answer.slip(LEFT_OUT, "in model.modules()", "in model.children()", recognise=_never)
