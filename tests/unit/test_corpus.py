"""What holds for every check, whatever its lesson: its known answers get the verdicts that they must get, and differ."""

import contextlib
import functools
import itertools
import signal
from collections import Counter

import pytest
from encoded_session import encoded
from known_answers import CHECKS, SAMPLES, checks_of, defined

from autograde.judge.random_inputs import Draw
from autograde.notebook.python_source import names

SEEDS = (1, 20, 300)  # the inputs are fresh at every run; fixed draws keep this suite repeatable
ENDLESS = 5  # seconds of this process's own time after which a planted answer counts as one that never ends

# Known answers ----------------------------------------------------------------------------------------------------------


def _answers():
    """Parameters of the next test. `make test` has two right answers to each check and one of each mistake, others are slow."""
    counted = Counter()
    for i, sample in enumerate(SAMPLES):
        for check in checks_of(sample) or [None]:
            kind = check, sample.misconception
            counted[kind] += 1
            slow = counted[kind] > (2 if sample.misconception is None else 1)
            name = f"{check and check.name}-{sample.style}"
            yield pytest.param(check, sample, SEEDS[i % len(SEEDS)], id=name, marks=[pytest.mark.slow] * slow)


@pytest.mark.parametrize(("check", "sample", "seed"), _answers())
def test_a_known_answer_gets_its_verdict(check, sample, seed):
    assert check, f"no check is called {sample.exercise}"
    verdict = check.judge(defined(sample.source, check.subject), seed)
    if sample.misconception is None:
        assert verdict.passed and verdict.score == check.points, verdict.message
    else:
        assert not verdict.passed and verdict.score < check.points, verdict.message
        assert (verdict.misconception or "") == sample.misconception, verdict.message
        assert bool(verdict.thought) == bool(verdict.misconception) and verdict.hint


def test_right_answers_import_functional():
    """F is given here for the sake of known mistakes that use it; in a notebook it is not."""
    right = [sample for sample in SAMPLES if sample.misconception is None]
    assert not [sample.style for sample in right if "F" in names(sample.source)[0]]


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.name)
def test_every_check_has_wheat_and_named_chaff(check):
    of_this = [sample for sample in SAMPLES if check in checks_of(sample)]
    wheat = [sample for sample in of_this if sample.misconception is None]
    assert len(wheat) >= 4, f"{check.name} has {len(wheat)} right styles; write at least 4"
    assert check.misconceptions, f"{check.name} knows no misconception"
    told = {}
    for known in check.misconceptions:
        assert known.thought and known.hint and known.thought != known.hint
        # Several wrong answers may be of one misconception, and each may be told in its own words.
        told.setdefault(known.id, []).append(known)
    assert {sample.misconception for sample in of_this} >= set(told)


@pytest.mark.parametrize("check", [check for check in CHECKS if check.answer], ids=lambda check: check.name)
def test_the_answer_that_slips_are_made_of_is_right(check):
    verdict = check.judge(check.answer.right, SEEDS[0])
    assert verdict.passed and verdict.score == check.points, verdict.message


KNOWN = [
    pytest.param(check, known, id=f"{check.name}-{known.id}", marks=[pytest.mark.slow] * (known is not first))
    for check in CHECKS
    for first in check.misconceptions[:1]
    for known in check.misconceptions
]


@pytest.mark.parametrize(("check", "known"), KNOWN)
def test_a_verdict_is_the_same_for_an_object_in_another_process(check, known):
    here, there = (check.judge(target, SEEDS[0]) for target in (known.wrong, encoded(known.wrong)))
    assert not here.passed
    assert (here.status, here.score, here.misconception) == (there.status, there.score, there.misconception)


# Known mistakes -----------------------------------------------------------------------------------------------------------


@functools.cache
def cases_of(check):
    return check.make_cases(Draw(SEEDS[1]))


@functools.cache
def observed(check, known):
    return [check.observe(known.wrong, case) for case in cases_of(check)]


def equal(check, seen, others):
    """Whether two answers agree in every case."""
    return all(map(check.same, cases_of(check), seen, others))


DEAR = ("inject", "load_adapter", "MultiLoRALinear")  # to run all of their wrong answers takes seconds


@pytest.mark.parametrize(
    "check", [pytest.param(check, id=check.name, marks=[pytest.mark.slow] * (check.name in DEAR)) for check in CHECKS]
)
def test_any_two_misconceptions_differ_somewhere(check):
    """Where two of them gave the same answers to all questions, neither could be named."""
    compared = [known for known in check.misconceptions if known.recognise is None]
    for known in compared:
        assert any(map(check.fault, cases_of(check), observed(check, known))), known.id
    for one, other in itertools.combinations(compared, 2):
        if one.id != other.id:
            assert not equal(check, observed(check, one), observed(check, other)), f"{one.id} and {other.id}"


class Endless(KeyboardInterrupt):
    """A planted answer that never ends: in a loop, a slip may take away what stops it. Probes let this through."""


@contextlib.contextmanager
def limited(seconds):
    """Raise `Endless` after so many seconds of this process's own time."""

    def interrupt(*_):
        raise Endless

    before = signal.signal(signal.SIGVTALRM, interrupt)
    signal.setitimer(signal.ITIMER_VIRTUAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, before)


@pytest.mark.slow
@pytest.mark.parametrize("check", [check for check in CHECKS if check.answer], ids=lambda check: check.name)
def test_a_slip_planted_into_a_right_answer_is_named_where_it_is_the_same_mistake(check):
    """In another style the same edit may make another mistake, or none: then it is only judged."""
    right = [sample for sample in SAMPLES if sample.misconception is None and check in checks_of(sample)]
    misnamed = []
    for slip, sample in itertools.product(check.answer.slips, right):
        source = slip.planted(sample.source)
        if source is None:
            continue
        try:
            with limited(ENDLESS):
                target = defined(source, check.subject)
                seen = [check.observe(target, case) for case in cases_of(check)]
                verdict = check.judge(target, SEEDS[1])
        except (Endless, SyntaxError):  # several lines in place of one need not fit another style's indentation
            continue
        if equal(check, seen, observed(check, slip)) and (verdict.passed or verdict.misconception != slip.id):
            misnamed.append((slip.id, sample.style, verdict.message))
    assert not misnamed
