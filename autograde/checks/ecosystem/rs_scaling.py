"""rs_scaling: alpha / √r."""

from autograde.checks.ecosystem.scalings import alphas_and_ranks
from autograde.checks.shared.families import POWER_BEFORE_DIVISION, WHOLE_ROOT
from autograde.judge.answer import RightAnswer
from autograde.judge.check import Check

answer = RightAnswer("""
def rs_scaling(alpha, r):
    return alpha / math.sqrt(r)
""")


class RsScaling(Check):
    """Compares one number."""

    name = "rs_scaling"
    points = 1
    answer = answer
    note = "math.sqrt, a power of 0.5, or of -0.5 as a factor."
    next_step = "For alpha = 16 and r = 4 the answer is 8. Put the numbers in, one step at a time."

    def cases(self, draw):
        return alphas_and_ranks(draw)


rs_scaling = RsScaling()

answer.slip(
    "plain_scaling",
    "math.sqrt(r)",
    "r",
    thought="The scaling is the usual one.",
    hint="That is the scaling under which the gradient falls with the rank. Which line of the picture is level?",
)
answer.slip(
    "root_of_the_quotient",
    "alpha / math.sqrt(r)",
    "math.sqrt(alpha / r)",
    thought="The root goes over the whole fraction.",
    hint="rsLoRA changes what happens to the rank, and leaves alpha as it is. What does the root belong to?",
)
answer.slip(POWER_BEFORE_DIVISION, "alpha / math.sqrt(r)", "alpha / r ** 1 / 2")
answer.slip(
    "turned_over",
    "alpha / math.sqrt(r)",
    "math.sqrt(r) / alpha",
    thought="The scaling is √r / alpha.",
    hint="Twice the alpha should double the update. Does yours?",
)
answer.slip(
    "multiplied",
    "alpha / math.sqrt(r)",
    "alpha * math.sqrt(r)",
    thought="The root of r makes up for the division.",
    hint="That is the alpha that you hand on, and the next exercise. Here the scaling itself is asked for.",
)
answer.slip(
    "rank_forgotten",
    " / math.sqrt(r)",
    "",
    thought="alpha is the scaling.",
    hint="How does the size of A @ B change when the rank grows fourfold? The scaling has to make up for it.",
)
answer.slip(
    "rounded_down",
    "alpha / math.sqrt(r)",
    "alpha // math.sqrt(r)",
    thought="`//` is the division that gives a number.",
    hint="`//` drops the fractional part. Which operator keeps it?",
)
answer.slip(WHOLE_ROOT, "math.sqrt(r)", "math.isqrt(r)")
