"""portable_alpha: alpha · √r, for readers that divide by r."""

from autograde.checks.ecosystem.scalings import alphas_and_ranks
from autograde.checks.shared.families import POWER_BEFORE_DIVISION, WHOLE_ROOT
from autograde.judge.answer import RightAnswer
from autograde.judge.check import Check
from autograde.judge.compare import as_number, is_number

answer = RightAnswer("""
def portable_alpha(alpha, r):
    return alpha * math.sqrt(r)
""")


class PortableAlpha(Check):
    """Compares one number."""

    name = "portable_alpha"
    points = 1
    answer = answer
    note = "alpha times the square root of r; or the scaling that you want, times r, because the reader divides by r."
    next_step = "Divide your answer by r, as the reader will. Is that the scaling that the adapter was trained with?"

    def cases(self, draw):
        return alphas_and_ranks(draw)


portable_alpha = PortableAlpha()

answer.slip(
    "the_scaling_itself",
    "alpha * math.sqrt(r)",
    "alpha / math.sqrt(r)",
    thought="The reader needs the scaling that the adapter was trained with.",
    hint="The reader divides your value by r again. Which value gives the right scaling after that division?",
)
answer.slip(
    "unchanged",
    " * math.sqrt(r)",
    "",
    thought="The alpha from training can be passed on unchanged.",
    hint="With it the reader computes alpha / r. By which factor is that too small?",
)
answer.slip(
    "times_the_rank",
    "math.sqrt(r)",
    "r",
    thought="The reader divides by r, so alpha is multiplied by r.",
    hint="Then the reader's scaling is alpha itself. Which scaling was the adapter trained with?",
)
answer.slip(
    "plain_scaling",
    "alpha * math.sqrt(r)",
    "alpha / r",
    thought="The reader's scaling is alpha / r.",
    hint="It is, and the reader computes it itself. You only give it the alpha.",
)
answer.slip(POWER_BEFORE_DIVISION, "alpha * math.sqrt(r)", "alpha * r ** 1 / 2")
answer.slip(
    "root_of_the_product",
    "alpha * math.sqrt(r)",
    "math.sqrt(alpha * r)",
    thought="The square root is taken of the whole product.",
    hint="The two scalings differ only in the rank. Of what must you take the square root?",
)
answer.slip(
    "made_whole",
    "alpha * math.sqrt(r)",
    "round(alpha * math.sqrt(r))",
    thought="An alpha is a whole number.",
    hint="Most readers accept any number, and this exercise asks for it unrounded. Below you see what to do for "
    "the others.",
    recognise=lambda case, observation: _is_made_whole(case, observation),
)
answer.slip(WHOLE_ROOT, "math.sqrt(r)", "math.isqrt(r)")


def _is_made_whole(case, observation):
    """Whether the result is a whole number less than 1 away from the right one."""
    value = observation.get("value")
    return is_number(value) and as_number(value) % 1 == 0 and abs(as_number(value) - portable_alpha.expected(case)) < 1
