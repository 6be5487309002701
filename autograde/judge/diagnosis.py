"""Finds the misconception behind a wrong answer, by one rule that does not depend on the order of the candidates.

Candidates are the known wrong answers that agree with the learner's on the same inputs, the mistakes whose
`recognise` accepts it, and causes that the probe has observed. The strongest candidate wins:

    EVERYWHERE  the known wrong answer agrees in every case, or all cases together show the mistake;
    OBSERVED    a cause was seen: an input that was changed, a tensor that is no leaf, an exception of a known kind;
    WHERE_WRONG the known wrong answer agrees in every case in which the learner's value is wrong, and these are at
                least `MIN_SHARE` of the cases that the known wrong answer gets wrong;
    OF_TWO      the same, of a known wrong answer that makes two mistakes: its main one is named.

Of two in the same class, the one that agrees in more cases is stronger. If two different misconceptions are equally
strong, neither is named.
"""

from dataclasses import dataclass, replace

from autograde.judge import exceptions
from autograde.judge.kept import is_always_the_same
from autograde.judge.misconception import (
    ARGUMENTS_REORDERED,
    KEPT_BETWEEN_CALLS,
    RETURNED_NONE,
    SAME_EVERY_CALL,
    Misconception,
)

EVERYWHERE, OBSERVED, WHERE_WRONG, OF_TWO = 3, 2, 1, 0
MIN_SHARE = 0.75  # with less, an answer that fails in an edge case would be given the name of another mistake


@dataclass(frozen=True)
class Candidate:
    """A misconception that may be behind a wrong answer.

    Attributes:
        misconception: the `Misconception`.
        strength: EVERYWHERE, OBSERVED, WHERE_WRONG or OF_TWO.
        explains: positions of the failed cases that it accounts for.
        agrees: the number of cases in which it matches the observation.
        by_fault: whether the faults of these cases named it. Their hints are then more specific than its own.
    """

    misconception: Misconception
    strength: int
    explains: tuple
    agrees: int
    by_fault: bool = False


def diagnose(check, cases, observations, faults):
    """The `Candidate` that wins, or None.

    Args:
        check: the `Check`.
        cases: all of its cases.
        observations: the learner's, one a case.
        faults: a `Fault` or None, one a case.
    """
    failed = [i for i, fault in enumerate(faults) if fault]
    found = []
    nothing = all(seen.get("type") == "NoneType" and seen.get("value") is None for seen in observations)
    # If None is right in some case, a function that can also return something else returns None on purpose.
    decisive = [i for i, case in enumerate(cases) if case.part == next(iter(check.parts))]
    on_purpose = not set(decisive) <= set(failed) and any(seen.get("returns") for seen in observations)
    if nothing and not on_purpose:
        return Candidate(RETURNED_NONE, EVERYWHERE, tuple(failed), len(cases))
    if _reordered(cases, observations):
        return Candidate(ARGUMENTS_REORDERED, EVERYWHERE, tuple(failed), len(cases))
    if check.keeps(cases, observations, failed):
        return Candidate(KEPT_BETWEEN_CALLS, EVERYWHERE, tuple(failed), len(cases))
    if is_always_the_same(cases, list(map(check.returned, observations))):
        return Candidate(SAME_EVERY_CALL, EVERYWHERE, tuple(failed), len(cases))
    if cause := check.cause_in_all(cases, observations):
        found.append(Candidate(cause, EVERYWHERE, tuple(failed), len(cases)))
    everywhere_only = _crashed(observations)
    causes = set() if everywhere_only else {faults[i].misconception for i in failed if faults[i].misconception}
    for cause in causes:
        explains = tuple(i for i in failed if faults[i].misconception == cause)
        found.append(Candidate(cause, OBSERVED, explains, len(explains), by_fault=True))
    recognised = []
    for known in check.misconceptions:
        if known.recognise is not None:
            explains = tuple(i for i in failed if known.recognise(cases[i], observations[i]))
            if explains:
                recognised.append((known, explains))
        elif candidate := _same_answers(_Comparison(check, known, cases, observations), failed):
            found.append(candidate)
    named = {candidate.misconception.id for candidate in found} | {known.id for known, _ in recognised}
    for known, explains in recognised:
        # Of one misconception alone, it makes no difference how strong it is: its wrong answer is not run.
        rivals = len(named) > 1 or everywhere_only
        everywhere = rivals and _Comparison(check, known, cases, observations).is_the_same_everywhere(failed)
        strength = (EVERYWHERE, len(cases)) if everywhere else (OBSERVED, len(explains))
        found.append(Candidate(known.misconception, strength[0], explains, strength[1]))
    return strongest([each for each in found if each.strength == EVERYWHERE or not everywhere_only])


def strongest(candidates):
    """The strongest candidate; None where there is none, or where two misconceptions are equally strong."""

    def strength(candidate):
        return candidate.strength, candidate.agrees

    best = max(map(strength, candidates), default=None)
    winners = [candidate for candidate in candidates if strength(candidate) == best]
    if len({candidate.misconception.id for candidate in winners}) != 1:
        return None
    first = min(winners, key=lambda candidate: candidate.by_fault)
    return replace(first, explains=tuple(sorted({i for candidate in winners for i in candidate.explains})))


def _crashed(observations):
    """Whether one line stopped every case with an exception whose kind says what is wrong: it hides all the rest."""
    errors = [seen["raised"] for seen in observations if "raised" in seen]
    lines = {(error["type"], tuple((error["where"] or {}).items())) for error in errors}
    kinds = {exceptions.kind_of(error) for error in errors}
    return len(errors) == len(observations) > 1 and len(lines) == 1 and kinds.isdisjoint({"", exceptions.SHAPE})


def _reordered(cases, observations):
    """Whether the learner's function takes arguments of the given names in another order."""
    given, taken = max((list(case.args) for case in cases), key=len), observations[0].get("parameters")
    return bool(taken) and taken != given and sorted(taken) == sorted(given)


class _Comparison:
    """The learner's observations beside those of a known wrong answer, which is run on a case when that is first needed."""

    def __init__(self, check, known, cases, observations):
        self.check = check
        self.known = known
        self.cases = cases
        self.observations = observations
        self._answers = {}  # observation, and whether it agrees, by case

    def answer(self, i):
        """What was observed of the known wrong answer in case `i`."""
        return self._looked_up(i)[0]

    def agrees(self, i):
        """Whether both answers are the same in case `i`."""
        return self._looked_up(i)[1]

    def _looked_up(self, i):
        if i not in self._answers:
            answer = self.check.observe(self.known.wrong, self.cases[i])
            self._answers[i] = answer, self.check.same(self.cases[i], self.observations[i], answer)
        return self._answers[i]

    def is_the_same_everywhere(self, failed):
        """Whether both answers are the same in all cases. The failed ones come first: on others, many wrong answers agree."""
        return all(map(self.agrees, [*failed, *(i for i in range(len(self.cases)) if i not in failed)]))


def _same_answers(both, failed):
    """The `Candidate` that a known mistake is by the answers of its wrong answer, or None."""
    known, observations, everything = both.known, both.observations, range(len(both.cases))
    # Most known wrong answers differ from the learner's in the first failed case, and are not run on the others.
    values = [i for i in failed if "raised" not in observations[i]]
    if not all(map(both.agrees, values or failed)):
        return None
    agreed = [i for i in everything if both.agrees(i)]
    if len(agreed) == len(both.cases):
        strength = OF_TWO if known.of_two else EVERYWHERE
        return Candidate(known.misconception, strength, tuple(failed), len(both.cases))
    if known.exactly:
        return None
    # A case that the known wrong answer gets right explains no failure: the learner's dtype alone may be wrong.
    ran = [i for i in everything if "raised" not in observations[i]]
    wrong = [i for i in ran if both.check.fault(both.cases[i], both.answer(i))]
    explains = [i for i in wrong if i in agreed]
    if not values or not set(values) <= set(explains) or len(explains) < MIN_SHARE * len(wrong):
        return None
    both_raised = [i for i in everything if "raised" in observations[i] and "raised" in both.answer(i)]
    strength = OF_TWO if known.of_two else WHERE_WRONG
    return Candidate(known.misconception, strength, tuple(values), len({*agreed, *both_raised}))
