"""Judges all known answers with fresh inputs and fresh random numbers, and prints those that get another verdict than they must.

    PYTHONPATH=.:tests/support python tests/support/fresh_seeds.py [CHECK ...]

The tests use fixed seeds, so that they are repeatable. What a verdict owes to a lucky seed shows here. Without names all
checks are run, which takes a quarter of an hour.
"""

import contextlib
import io
import secrets
import sys
import warnings

import torch
from known_answers import CHECKS, SAMPLES, checks_of, defined

TIMES = 3  # how often each answer is judged


def answers(check):
    """(misconception, empty if it has no name and None if the answer is right; style; a function that makes the answer)."""
    for slip in check.misconceptions:
        yield slip.id, "slip", lambda slip=slip: slip.wrong
    for sample in SAMPLES:
        if check in checks_of(sample):
            yield sample.misconception, sample.style, lambda sample=sample: defined(sample.source, check.subject)


def judged(check):
    """Print each verdict of a check that is not the expected one, and return how many there were, and of how many."""
    wrong = total = 0
    for expected, style, make in answers(check):
        for _ in range(TIMES):
            seed = secrets.randbelow(10**6)
            torch.manual_seed(seed)
            with contextlib.redirect_stdout(io.StringIO()):  # some answers print
                verdict = check.judge(make(), seed)
            got = None if verdict.passed else verdict.misconception or ""
            total += 1
            if got != expected:
                wrong += 1
                print(f"{check.name}  {style}  seed {seed}: {_said(expected)}, and is {_said(got)}", flush=True)
    return wrong, total


def _said(misconception):
    return "right" if misconception is None else misconception or "wrong without a name"


if __name__ == "__main__":
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    if unknown := set(sys.argv[1:]) - {check.name for check in CHECKS}:
        sys.exit(f"No check is called {', '.join(sorted(unknown))}.")
    chosen = [check for check in CHECKS if check.name in sys.argv[1:] or not sys.argv[1:]]
    wrong, total = (sum(numbers) for numbers in zip(*map(judged, chosen), strict=True))
    print(f"{wrong} of {total} verdicts were not the expected ones.")
