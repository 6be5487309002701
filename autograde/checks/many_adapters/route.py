"""route: a batch whose rows use different adapters, or none, without a loop over rows."""

from dataclasses import replace

import torch

from autograde.checks.shared.families import SCALING_FORGOTTEN
from autograde.judge import describe
from autograde.judge.answer import RightAnswer
from autograde.judge.check import ANSWER, Case, Check
from autograde.judge.compare import Fault
from autograde.judge.misconception import Misconception
from autograde.probes.many_adapters import operations, routed

NONE = "no adapter"  # the part of the points that is for rows without one, and for ids that are none
COST = "no loop over rows"

LOOP = Misconception(
    "loop_over_rows",
    thought="Each row has its own adapter, so each row needs its own product.",
    hint="A batched product does n products in one operation: collect the matrices that the rows need in one "
    "tensor. If you only check the ids one by one: a comparison can be done for all of them at once, too.",
)
ACCEPTED = Misconception(
    "id_not_checked",
    thought="Indexing raises when an id is out of range.",
    hint="Try A[-2] with three adapters. Which ids does indexing accept although no adapter has them?",
)
GIVEN = Misconception(
    "given_function_called",
    thought="The lesson imports a function that does this, so it can be called.",
    hint="That one is for timing only, and it cannot handle rows without an adapter. Write the products yourself: "
    "which matrices does each row need?",
)

SCALING_WITHOUT_AXIS = Misconception(
    "scaling_without_axis",
    thought="There are n scalings and n rows, so `*` multiplies each row with its own.",
    hint="`*` lines up the last axes, and the rows are the first. What shape must n numbers have, to stand one beside each row?",
)
NO_ROW_NO_MINIMUM = Misconception(
    "no_row_no_minimum",
    thought="Where the smallest and the largest id are allowed, all of them are.",
    hint="A batch without rows has no smallest id. Which question about all ids has an answer there, too?",
)

answer = RightAnswer("""
def route(x, A, B, scaling, adapter_ids):
    if ((adapter_ids < -1) | (adapter_ids >= len(A))).any():
        raise IndexError("adapter_ids go from -1 to m - 1")
    a = adapter_ids.clamp(min=0)
    thin = torch.einsum("nd,ndr->nr", x, A[a])
    out = torch.einsum("nr,nrk->nk", thin, B[a])
    return (scaling[a] * (adapter_ids >= 0))[:, None] * out
""")


class Route(Check):
    """Compares values; in the `COST` case it also counts the operations on tensors, for few rows and for many."""

    name = "route"
    points = 4
    parts = {ANSWER: 2, NONE: 1, COST: 1}
    answer = answer
    note = (
        "gather and bmm or einsum, a loop over the m adapters with masks or sorted segments, one wide product with "
        "zeros for what is not a row's own."
    )
    next_step = "Take three rows and two adapters of rank 1 with d = k = 1, and compute each row by hand."

    def cases(self, draw):
        n, m, d, r, k = draw.sizes(5, low=3, high=9)

        def case(ids, label, part=ANSWER, m=m, k=k, dtype=torch.float32):
            n = len(ids)
            ids = torch.tensor(ids, dtype=torch.int64)
            args = {
                "x": draw.tensor(n, d, dtype=dtype),
                "A": draw.tensor(m, d, r, dtype=dtype),
                "B": draw.tensor(m, r, k, dtype=dtype),
                "scaling": (draw.tensor(m, dtype=torch.float64).abs() + 0.5).to(dtype),
                "adapter_ids": ids,
            }
            return Case(args, label, part)

        def random_ids(count, low, high):
            return [draw.integer(low, high) for _ in range(count)]

        every = [*reversed(range(m)), 0, 0, m - 1]  # each adapter at least once, and not in order
        uneven = [m - 1, 1, m - 1, 0, m - 1, 1, 0]
        mixed = [1, -1, m - 1, -1, 0, 1]
        return [
            case(every, "every adapter, not in order"),
            case(uneven, "some adapters, several rows each", dtype=torch.float64),
            case(random_ids(n, 0, m - 1), "drawn at random"),
            case([1] * n, "the same adapter for every row"),
            case([0] * 4, "a single adapter", m=1),
            case([], "no row at all"),
            case([1], "a single row"),
            case(every, "a single output", k=1),
            case(mixed, "-1 among the ids", NONE),
            case([-1] * 3, "-1 for every row", NONE),
            case([-1, 0, -1], "a single adapter, and -1", NONE, m=1),
            case([0, 1, m], f"{m} among the ids, with {m} adapters", NONE),
            case([-2, 1, 0], "-2 among the ids", NONE),
            case([1, -m, 0], f"-{m} among the ids, with {m} adapters", NONE),
            case(random_ids(60, 0, m - 1), "60 rows, operations counted", COST),
        ]

    def right(self, x, A, B, scaling, adapter_ids):
        """Row by row, in float64."""
        rows = [scale * (row @ A[a]) @ B[a] if (scale := scaling[a] if a >= 0 else 0) is not None else None
                for row, a in zip(x, adapter_ids.tolist(), strict=True)]  # fmt: skip
        return torch.stack(rows) if rows else x.new_zeros(0, B.shape[-1])

    def observe(self, target, case):
        if case.part != COST:
            return routed(target, args=list(case.args.values()), device=case.device)
        few, many = (operations(target, args=list(args.values())) for args in (few_rows(case).args, case.args))
        if not {"value"} <= few.keys() & many.keys():
            return next(observation for observation in (few, many) if "value" not in observation)
        return many | {"counts": [few["count"], many["count"]], "few": few}

    def fault(self, case, observation):
        if case.part == COST:
            few = observation.get("few")
            wrong = super().fault(case, observation) or (few and super().fault(few_rows(case), few))
            return wrong or _cost(observation)
        if observation.get("given"):
            name = describe.clean(str(observation["given"][0]), 40)
            return Fault(
                f"route calls {name}() of the lesson kit instead of computing the result itself.", misconception=GIVEN
            )
        if has_unknown_id(case):
            if "raised" in observation or "not_callable" in observation:
                return None
            bad = next(a for a in case.args["adapter_ids"].tolist() if not -1 <= a < len(case.args["A"]))
            return Fault(f"There is no adapter {bad}, but no error was raised.", expected="an exception")
        return super().fault(case, observation)

    def same(self, case, a, b):
        if case.part == COST:
            return grows_with_rows(a) == grows_with_rows(b) and super().same(case, a, b)
        if has_unknown_id(case):
            return ("raised" in a) == ("raised" in b)
        same_effects = all(a.get(key) == b.get(key) for key in ("given", "changed"))
        return same_effects and super().same(case, a, b)

    def called(self, case):
        text = super().called(case)
        ids = case.args["adapter_ids"]
        return text + f": {ids.tolist()}" if len(ids) <= 12 else text


route = Route()


def has_unknown_id(case):
    """Whether the case has an id that is neither an adapter's nor -1."""
    return any(not -1 <= a < len(case.args["A"]) for a in case.args["adapter_ids"].tolist())


def few_rows(case):
    """The case with one row for each adapter only."""
    m = len(case.args["A"])
    return replace(case, args=case.args | {"x": case.args["x"][:m], "adapter_ids": torch.arange(m)})


def grows_with_rows(observation):
    """Whether the number of operations grows with the number of rows."""
    few, many = (int(count) for count in observation.get("counts", (0, 0)))
    return many > few + 40  # there are at least 51 rows more


def _cost(observation):
    if not grows_with_rows(observation):
        return None
    few, many = (int(count) for count in observation["counts"])
    return Fault(
        f"The number of operations grows with the rows: {many} for 60 of them.",
        returned=f"{few} operations on tensors for few rows, {many} for 60",
        expected="about as many for 60 rows as for few",
        misconception=LOOP,
    )


CHECKED = "((adapter_ids < -1) | (adapter_ids >= len(A))).any()"
FIRST = "a = adapter_ids.clamp(min=0)"
RETURN = "(scaling[a] * (adapter_ids >= 0))[:, None] * out"

answer.slip(
    "last_adapter_for_minus_one", FIRST, "a = adapter_ids", RETURN, "scaling[a][:, None] * out",
    thought="-1 means no adapter, so indexing selects none.",
    hint="Print A[-1] beside A[m - 1]. What does indexing do with -1?",
)  # fmt: skip
answer.slip(
    "last_adapter_for_minus_one", CHECKED, "False", FIRST, "a = adapter_ids", RETURN, "scaling[a][:, None] * out",
    thought="-1 means no adapter, so indexing selects none.",
    hint="Print A[-1] beside A[m - 1]. What does indexing do with -1, and with other ids that no adapter has?",
)  # fmt: skip
answer.slip(
    "first_adapter_for_minus_one", RETURN, "scaling[a][:, None] * out",
    thought="clamp makes -1 harmless.",
    hint="It turns -1 into 0, and adapter 0 is a real adapter. What must the row of a -1 be in the end?",
)  # fmt: skip
answer.slip(
    ACCEPTED, CHECKED, "False",
)  # fmt: skip
answer.slip(
    ACCEPTED, CHECKED, "(adapter_ids >= len(A)).any()",
)  # fmt: skip
answer.slip(
    ACCEPTED, CHECKED, "(adapter_ids < -1).any()", "clamp(min=0)", "clamp(min=0, max=len(A) - 1)",
)  # fmt: skip
answer.slip(
    ACCEPTED, CHECKED, "False", "clamp(min=0)", "clamp(min=0, max=len(A) - 1)",
)  # fmt: skip
answer.slip(
    "minus_one_refused", "adapter_ids < -1", "adapter_ids < 0",
    thought="A negative id is an error.",
    hint="-1 is a valid request: this row uses the base alone.",
)  # fmt: skip
answer.slip(
    "b_by_position", "B[a]", "B[torch.arange(len(a)) % len(B)]",
    thought="Row i uses the B at position i.",
    hint="Row i needs the A and the B of one adapter. Which index selects each of them?",
)  # fmt: skip
answer.slip(
    "a_by_position", "A[a]", "A[torch.arange(len(a)) % len(A)]",
    thought="Row i uses the A at position i.",
    hint="Row i needs the A and the B of one adapter. Which index selects each of them?",
)  # fmt: skip
answer.slip(
    "scaling_of_the_wrong_row", "scaling[a]", "scaling[torch.arange(len(a)) % len(scaling)]",
    thought="Row i uses the scaling at position i.",
    hint="There are m scalings and n rows. Which index selects a row's scaling?",
)  # fmt: skip
answer.slip(
    "scaling_sorted", "scaling[a]", "scaling[a.sort().values]",
    thought="The scalings are in the order of the adapters.",
    hint="The rows are in the order in which they came. Follow one row from x to the result.",
)  # fmt: skip
answer.slip(
    SCALING_FORGOTTEN, "scaling[a] * (adapter_ids >= 0)", "(adapter_ids >= 0)",
    thought="The product of the two matrices is the whole result.",
    hint="Each adapter has a scaling. What should change in a row when the scaling of its adapter is doubled?",
)  # fmt: skip
answer.slip(
    "one_scaling", "scaling[a] *", "scaling[0] *",
    thought="All adapters have the same scaling.",
    hint="scaling has an entry for each adapter. Which one belongs to row i?",
)  # fmt: skip
answer.slip(
    SCALING_WITHOUT_AXIS, RETURN, "(scaling[a] * (adapter_ids >= 0)) * out",
)  # fmt: skip
answer.slip(
    SCALING_WITHOUT_AXIS, RETURN, "out * (scaling[a] * (adapter_ids >= 0))",
)  # fmt: skip
answer.slip(
    NO_ROW_NO_MINIMUM, CHECKED, "adapter_ids.min() < -1 or adapter_ids.max() >= len(A)",
)  # fmt: skip
answer.slip(
    NO_ROW_NO_MINIMUM, CHECKED, "adapter_ids.max() >= len(A) or adapter_ids.min() < -1",
)  # fmt: skip
answer.slip(
    "rows_left_sorted",
    'thin = torch.einsum("nd,ndr->nr", x, A[a])', 'order = a.argsort(stable=True)\n'
    '    adapter_ids, a, x = adapter_ids[order], a[order], x[order]\n    thin = torch.einsum("nd,ndr->nr", x, A[a])',
    thought="Once the rows are sorted by adapter and computed piece by piece, the result is ready.",
    hint="Row i of the result must belong to row i of x. What undoes a sort?",
)  # fmt: skip
answer.slip(
    "sorted_twice",
    'thin = torch.einsum("nd,ndr->nr", x, A[a])', 'order = a.argsort(stable=True)\n'
    '    adapter_ids, a, x = adapter_ids[order], a[order], x[order]\n    thin = torch.einsum("nd,ndr->nr", x, A[a])',
    RETURN, f"({RETURN})[order]",
    thought="Applying the same order again undoes a sort.",
    hint="Take the order 2, 0, 1 and apply it twice. Which order takes each row back to where it came from?",
)  # fmt: skip
answer.slip(
    "ids_changed", FIRST, "a = adapter_ids\n    has_one = a >= 0\n    a[a < 0] = 0",
    RETURN, "(scaling[a] * has_one)[:, None] * out",
    thought="The ids are only read here, so they can be written into.",
    hint="They belong to the caller, who uses them for the next layer. Make a new tensor.",
)  # fmt: skip
answer.slip(
    "squeezed", 'torch.einsum("nr,nrk->nk", thin, B[a])', "torch.bmm(thin[:, None], B[a]).squeeze()",
    thought="squeeze removes only the axis that the batched product needed.",
    hint="It removes every axis of size 1. With a single output, which other axis is removed, and how do the "
        "scalings broadcast then? You can tell squeeze which axis you mean.",
)  # fmt: skip
answer.slip(
    "all_adapters_summed", 'torch.einsum("nd,ndr->nr", x, A[a])', 'torch.einsum("nd,mdr->nr", x, A)',
    thought="einsum finds out which matrix belongs to which row.",
    hint="einsum sums over each letter that is not in the result. Over which letters does yours sum?",
)  # fmt: skip


@route.misconception(LOOP)
def loop_over_rows(x, A, B, scaling, adapter_ids):
    out = x.new_zeros(len(x), B.shape[-1])
    for i, a in enumerate(adapter_ids.tolist()):
        if not -1 <= a < len(A):
            raise IndexError(a)
        if a >= 0:
            out[i] = scaling[a] * (x[i] @ A[a]) @ B[a]
    return out


@route.misconception(LOOP)
def list_of_rows(x, A, B, scaling, adapter_ids):
    if any(not -1 <= a < len(A) for a in adapter_ids.tolist()):
        raise IndexError("no such adapter")
    if not len(x):
        return x.new_zeros(0, B.shape[-1])
    return torch.stack([scaling[a] * x[i] @ A[a] @ B[a] * (a >= 0) for i, a in enumerate(adapter_ids)])


@route.misconception(GIVEN)
def given_function_called(x, A, B, scaling, adapter_ids):
    from autograde.lesson_kit.routing import gather

    if ((adapter_ids < -1) | (adapter_ids >= len(A))).any():
        raise IndexError("adapter_ids go from -1 to m - 1")
    return gather(x, A, B, scaling, adapter_ids.clamp(min=0)) * (adapter_ids >= 0)[:, None]
