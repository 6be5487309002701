"""An answer that only counts its calls, and gives what was right in this order once before, is wrong."""

import pytest
from encoded_session import encoded
from known_answers import CHECKS

from autograde.judge.random_inputs import Draw

CHECK = {check.name: check for check in CHECKS}
OF_FEW_ANSWERS = [
    "rank_for_energy", "product_shape", "leaked_parameters", "flops_thin", "flops_full", "largest_cheap_rank",
    "lora_parameters", "reduction", "largest_rank_within", "training_bytes", "rs_scaling", "portable_alpha",
]  # fmt: skip


@pytest.mark.parametrize("name", OF_FEW_ANSWERS)
def test_the_number_of_a_call_does_not_tell_what_is_right(name):
    check = CHECK[name]
    once = [check.expected(case) for case in check.make_cases(Draw(1), remote=True)]
    for seed, score in ((1, check.points), (2, 0), (3, 0)):
        answers = iter(once)
        verdict = check.judge(encoded(lambda *_, answers=answers: next(answers)), seed)
        assert verdict.score == score, verdict.message
