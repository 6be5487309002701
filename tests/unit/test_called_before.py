"""A notebook calls a function before its check does, and checks it again: what the function has kept from that is no surprise."""

import pytest
from known_answers import SAMPLES, checks_of, defined

SEEDS = (1, 2, 3, 1)
# What a store has taken up in earlier checks cannot always be seen in the last one.
UNSEEN = (
    "one result for each shape",
    "a verdict for each class name is kept",
    "findings are kept in a list outside",
    "keys of the first call are remembered",
)


@pytest.mark.parametrize(
    ("check", "sample"),
    [
        pytest.param(check, sample, id=f"{check.name}-{sample.style}")
        for sample in SAMPLES
        if sample.misconception == "kept_between_calls" and sample.style not in UNSEEN
        for check in checks_of(sample)
    ],
)
def test_a_check_that_is_run_again_gives_no_other_mistake_a_name(check, sample):
    target = defined(sample.source, check.subject)
    verdicts = [check.judge(target, seed) for seed in SEEDS]
    assert not any(verdict.passed for verdict in verdicts)
    assert {verdict.misconception for verdict in verdicts} <= {"kept_between_calls", "same_every_call", None}


@pytest.mark.parametrize(
    ("name", "style", "times"),
    [
        ("adapter_parameters", "a list that is a default value", 8),
        ("leaked_parameters", "list kept outside", 4),
        ("count_parameters", "counters outside of the function", 4),
        ("count_parameters", "a set that is a default value", 4),
        ("fine_tune", "one optimiser for all calls", 3),
        ("MultiLoRALinear", "one dict for all layers", 3),
    ],
)
def test_what_grows_from_call_to_call_is_named_however_often_it_was_called(name, style, times):
    check, source = next(
        (check, sample.source)
        for sample in SAMPLES
        if sample.style == style
        for check in checks_of(sample)
        if check.name == name
    )
    target = defined(source, check.subject)
    verdicts = [check.judge(target, SEEDS[i % len(SEEDS)]) for i in range(times)]
    assert {verdict.misconception for verdict in verdicts} <= {"kept_between_calls", "kept_on_the_class"}
