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
    note = "alpha times the root of r; or the scaling that you want, times r, because the reader divides by r."
    next_step = "Divide your answer by r, as the reader will. Is that the scaling that the adapter was trained with?"

    def cases(self, draw):
        return alphas_and_ranks(draw)


portable_alpha = PortableAlpha()

answer.slip(
    "the_scaling_itself",
    "alpha * math.sqrt(r)",
    "alpha / math.sqrt(r)",
    thought="The reader needs the scaling that the adapter was trained with.",
    hint="The reader divides what you give it by r once more. What must it be given, so that the scaling comes out?",
)
answer.slip(
    "unchanged",
    " * math.sqrt(r)",
    "",
    thought="The alpha from training can be handed on unchanged.",
    hint="With it the reader computes alpha / r. By which factor is that too small?",
)
answer.slip(
    "times_the_rank",
    "math.sqrt(r)",
    "r",
    thought="The reader divides by r, so alpha is multiplied with r.",
    hint="Then the reader's scaling is alpha itself. Which scaling was the adapter trained with?",
)
answer.slip(
    "plain_scaling",
    "alpha * math.sqrt(r)",
    "alpha / r",
    thought="The reader's scaling is alpha / r.",
    hint="It is, and the reader works it out by itself. You hand over the alpha that it starts from.",
)
answer.slip(POWER_BEFORE_DIVISION, "alpha * math.sqrt(r)", "alpha * r ** 1 / 2")
answer.slip(
    "root_of_the_product",
    "alpha * math.sqrt(r)",
    "math.sqrt(alpha * r)",
    thought="The root goes over all of it.",
    hint="Only the rank's part differs between the two scalings. What does the root belong to?",
)
answer.slip(
    "made_whole",
    "alpha * math.sqrt(r)",
    "round(alpha * math.sqrt(r))",
    thought="An alpha is a whole number.",
    hint="Most readers take any number, and this exercise asks for it unrounded. Below you see what to do for those that do not.",
    recognise=lambda case, observation: _is_made_whole(case, observation),
)
answer.slip(WHOLE_ROOT, "math.sqrt(r)", "math.isqrt(r)")


def _is_made_whole(case, observation):
    """Whether the result is a whole number less than 1 away from the right one."""
    value = observation.get("value")
    return is_number(value) and as_number(value) % 1 == 0 and abs(as_number(value) - portable_alpha.expected(case)) < 1
