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
    note = "math.sqrt, the power 0.5, or a factor with the power -0.5."
    next_step = "For alpha = 16 and r = 4 the answer is 8. Put the numbers in, one step at a time."

    def cases(self, draw):
        return alphas_and_ranks(draw)


rs_scaling = RsScaling()

answer.slip(
    "plain_scaling",
    "math.sqrt(r)",
    "r",
    thought="The scaling is the usual one.",
    hint="With that scaling the gradient falls with the rank. Which line of the picture is level?",
)
answer.slip(
    "root_of_the_quotient",
    "alpha / math.sqrt(r)",
    "math.sqrt(alpha / r)",
    thought="The square root is taken of the whole fraction.",
    hint="rsLoRA changes only what happens to the rank. Of what must you take the square root?",
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
    thought="alpha is multiplied by the square root of r, to make up for the division.",
    hint="That is the alpha of the next exercise. Here you need the scaling itself.",
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
    thought="`//` is the division of two numbers.",
    hint="`//` drops the fractional part. Which operator keeps it?",
)
answer.slip(WHOLE_ROOT, "math.sqrt(r)", "math.isqrt(r)")
