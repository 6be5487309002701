"""worked_out: three published figures of the audit, worked out again."""

from dataclasses import replace

from autograde.judge.answer import RightAnswer
from autograde.judge.check import Case, Check
from autograde.judge.compare import agree, is_number
from autograde.judge.misconception import Misconception

WHAT = {
    "D": "the adapter's file, in bytes",
    "E": "the values that train with q, k, v and o adapted",
    "F": "the values that train in GPT-2 medium",
}

SAME_FOR_ALL = Misconception(
    "same_for_all_claims",
    thought='claim == "D" or "E" asks whether the claim is one of the two.',
    hint='Your function returns the same number for every claim. `or` joins two whole conditions, and "E" alone '
    "counts as true. Which branch does each claim take?",
)

answer = RightAnswer("""
def worked_out(claim):
    layers, matrices, width, rank, each = {
        "D": (96, 2, 12288, 4, 2),
        "E": (96, 4, 12288, 2, 1),
        "F": (24, 2, 1024, 4, 1),
    }[claim]
    return each * layers * matrices * 2 * rank * width
""")


class WorkedOut(Check):
    """Compares values, one claim a case."""

    name = "worked_out"
    points = 3
    note = "your own lora_parameters, the formula written out, or the number itself."
    next_step = (
        "For each claim write down: how many layers, how many adapted matrices in a layer, and how many "
        "values in the adapter of one matrix. Then multiply."
    )
    answer = answer

    def cases(self, draw):
        return [Case({"claim": claim}, label) for claim, label in WHAT.items()]

    def fault(self, case, observation):
        fault = super().fault(case, observation)
        # The question is the same each time, so what was expected would be the answer to type in.
        return fault and replace(fault, expected="")

    def cause_in_all(self, cases, observations):
        """`SAME_FOR_ALL` if every claim got the same number."""
        first, *others = (observation.get("value") for observation in observations)
        return SAME_FOR_ALL if is_number(first) and all(agree(first, other) for other in others) else None

    def called(self, case):
        return f"worked_out({case.args['claim']!r})  # {case.label}"

    def so_far(self, cases, faults):
        claims = {"right": [], "wrong": []}
        for case, fault in zip(cases, faults, strict=True):
            claims["wrong" if fault else "right"].append(case.args["claim"])
        return "; ".join(
            f"{' and '.join(claims_of_kind)} {word}" for word, claims_of_kind in claims.items() if claims_of_kind
        )


worked_out = WorkedOut()


def _returned(**wrong):
    """Return a recogniser: the answer to one of these claims is the given number; the other answers do not matter."""

    def recognise(case, observation):
        value, number = observation.get("value"), wrong.get(case.args["claim"])
        return number is not None and agree(value, number)

    return recognise


@worked_out.misconception(
    "published_figure",
    thought="The published figure is the answer.",
    hint="That is the claim itself. What do you get when you multiply layers, matrices and the size of one "
    "matrix's adapter?",
    recognise=_returned(D=35e6, E=37.7e6, F=0.35e6),
)
def published_figure(claim):
    return {"D": 35_000_000, "E": 37_700_000, "F": 350_000}[claim]


@worked_out.misconception(
    "in_millions",
    thought="The claims are in MB and in millions, so the answers are too.",
    hint="Return the number itself, of bytes or of values. 1 MB is 1,000,000 bytes.",
    recognise=_returned(D=37.748736, E=18.874368, F=0.393216),
)
def in_millions(claim):
    return {"D": 37.748736, "E": 18.874368, "F": 0.393216}[claim]


answer.slip(
    "one_matrix_a_layer",
    "layers * matrices",
    "layers",
    thought="A layer of the model has one adapter.",
    hint="Count the projections that are adapted in each layer, and give each of them an adapter of its own.",
)

answer.slip(
    "layers_forgotten",
    "layers * matrices",
    "matrices",
    thought="The adapters of one layer are the adapter.",
    hint="The claim is about the whole model. How many layers does it have?",
)

answer.slip(
    "one_factor",
    "2 * rank * width",
    "rank * width",
    thought="An adapter is one thin matrix of width times rank.",
    hint="A and B both train. How many numbers are in the two together?",
)

answer.slip(
    "four_bytes",
    "12288, 4, 2)",
    "12288, 4, 4)",
    thought="A number takes four bytes.",
    hint="The claim says 16 bit. How many bytes are 16 bits?",
    recognise=_returned(D=75_497_472),
)

answer.slip(
    "bytes_forgotten",
    "12288, 4, 2)",
    "12288, 4, 1)",
    thought="A file has as many bytes as values.",
    hint="The claim says 16 bit. How many bytes does each value take?",
    recognise=_returned(D=18_874_368),
)

answer.slip(
    SAME_FOR_ALL,
    "    layers, matrices",
    '    claim = "D"\n    layers, matrices',
)

answer.slip(
    "in_bits",
    "12288, 4, 2)",
    "12288, 4, 16)",
    thought='"In 16 bit" means to multiply by 16.',
    hint="That is the size in bits. The question is about bytes.",
    recognise=_returned(D=301_989_888),
)

answer.slip(
    "training_memory",
    "12288, 4, 2)",
    "12288, 4, 8)",
    thought="The file needs as much space as training needs memory.",
    hint="A file contains the values, but no gradients and no moments.",
    recognise=_returned(D=150_994_944),
)

answer.slip(
    "rank_of_the_other_claim",
    "4, 12288, 2, 1)",
    "4, 12288, 4, 1)",
    thought="GPT-3 is adapted at r = 4.",
    hint="Claim E has another rank.",
    recognise=_returned(E=37_748_736),
)

answer.slip(
    "q_and_v_only",
    "96, 4, 12288",
    "96, 2, 12288",
    thought="The paper adapts q and v.",
    hint="Claim E adapts four projections in each layer.",
)
