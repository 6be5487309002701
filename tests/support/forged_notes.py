"""What a perfect forger of notes could gain: values as a wrong answer has them, everything else as a right one has it.

Run as a script it writes each known mistake that gains, with what it gains in points, into `KNOWN`. docs/grading.md says the
same, and tests/unit/test_forged_notes.py keeps all three in step.
"""

from pathlib import Path

import torch
from encoded_session import OneByOne
from known_answers import CHECKS

from autograde.remote import wire
from autograde.remote.probe import Remote, run_probe

KNOWN = Path(__file__).with_name("forgeable.txt")
VALUES = {"value", "out", "again"}  # under these names every number and name is a value, too


class Forger(OneByOne):
    """A session that answers each probe about `wrong` with the notes that it would have made about `right`."""

    def __init__(self, wrong, right):
        self.objects = wrong, right

    def ask(self, probe, _target, arguments):
        """As `autograde.sandbox.session.Session.ask`."""
        asked = wire.encode([probe, arguments])
        answers = []
        for target in self.objects:
            name, copies = wire.decode(asked, trusted=True)
            answers.append(run_probe(name, target, copies))
        return wire.decode(wire.encode(forged(*answers)))


def forged(wrong, right, of_value=False):
    """`right`, with the values of `wrong`: a tensor or a float cannot be had without knowing the answer."""
    if isinstance(right, dict) and isinstance(wrong, dict):
        known = {key: value for key, value in right.items() if key in wrong or not _holds_values(value)}
        return {key: forged(wrong.get(key, value), value, key in VALUES) for key, value in known.items()}
    if isinstance(right, list) and isinstance(wrong, list) and len(right) == len(wrong):
        return [forged(*pair, of_value) for pair in zip(wrong, right, strict=True)]
    return wrong if of_value or _holds_values(right) else right


def _holds_values(value):
    if isinstance(value, (dict, list)):
        return any(map(_holds_values, value.values() if isinstance(value, dict) else value))
    return isinstance(value, (torch.Tensor, float))


def gains(seed=1):
    """``{(exercise, misconception): (points with forged notes, points without, points of the exercise)}``, where more."""
    found = {}
    for check in CHECKS:
        for known in check.misconceptions if check.answer else ():
            honest = check.judge(known.wrong, seed).score
            try:
                score = check.judge(Remote(check.subject, Forger(known.wrong, check.answer.right)), seed).score
            except (KeyError, TypeError, IndexError, AttributeError):  # the judge misses a value: nothing is gained
                continue
            if score > honest:
                found[check.name, known.id] = score, honest, check.points
    return found


def lines():
    """`gains` in words: an exercise, a known mistake, and what it gains of how many points."""
    return [
        f"{exercise} {known} {score - honest:g} of {points:g}"
        for (exercise, known), (score, honest, points) in gains().items()
    ]


if __name__ == "__main__":
    KNOWN.write_text("".join(f"{line}\n" for line in lines()))
