"""Makes the `Verdict` of a check: one function for each status, and the points that an answer gets."""

from dataclasses import replace

import torch

from autograde.judge import describe, exceptions
from autograde.judge.verdict import Line, Verdict

AT_YOUR_LINE = (
    "The message is about the line above. Print what this line uses just before it: is each name what you take it for?"
)
PICTURE_SIDE = 12  # rows and columns; more could not be told apart


def passed(check, cases, seed, left_out=()):
    """The verdict for a right answer; `left_out` says what was not checked."""
    devices = sorted({case.device for case in cases})
    where = ", ".join(devices) + ("" if torch.cuda.is_available() or "cuda" in devices else "; no CUDA device here")
    lines = (Line("also right", check.note),) if check.note else ()
    lines += tuple(Line("left out", each) for each in left_out if each)
    headline = f"Right on all {len(cases)} cases ({where})." if len(cases) > 1 else f"Right ({where})."
    return Verdict(check.name, check.points, check.points, "passed", headline, lines, seed=seed)


def not_started(check):
    """The verdict for an untouched stub."""
    headline = "Not started yet. Write your answer where the cell says YOUR CODE HERE, run it, then run this again."
    return Verdict(check.name, check.points, 0.0, "not_started", headline)


def missing(check, reason="", of="notebook"):
    """The verdict when the notebook, or whatever `of` names, holds no object of that name when it has run to this point."""
    headline = f"After running the {of} up to this point, there is no {check.subject}."
    hint = f"Keep the name {check.subject} exactly as it was given, and make sure that its cell runs without an error."
    lines = (Line("what happened", reason),) if reason else ()
    return Verdict(check.name, check.points, 0.0, "missing", headline, lines, hint=hint)


def because_of(verdict, cause):
    """The same verdict, with a cause that lies before the answer: what the answer itself did says nothing then."""
    return replace(verdict, headline=cause, misconception=None, thought="", hint="", picture=None)


def unreadable(check, reason):
    """The verdict when an answer is not of the form that this check's probes give."""
    headline = f"The answer could not be read ({describe.clean(reason, 120)})."
    hint = "Return plain tensors and numbers with the sizes that the exercise names, and do not change the checks."
    return Verdict(check.name, check.points, 0.0, "failed", headline, hint=hint)


def stopped(check, reason):
    """The verdict when the learner's process ended, or gave no answer, before or during this check."""
    return Verdict(check.name, check.points, 0.0, "stopped", reason)


def interrupted(check, where):
    """The verdict when the learner has interrupted the check; `where` is their line, as `remote.raised` gives it."""
    lines = (Line("your line", your_line(where), code=True),) if where else ()
    hint = (
        "If it ran for more than a few seconds, look for a loop that never ends. What should end it, and does "
        "that happen?"
    )
    headline = "The check was interrupted while your code was running." if where else "The check was interrupted."
    return Verdict(check.name, check.points, 0.0, "stopped", headline, lines, hint=hint if where else "")


def damaged(check, reason):
    """The verdict when the notebook no longer holds this check as it was handed out."""
    return Verdict(check.name, check.points, 0.0, "damaged", reason)


def failed(check, cases, faults, diagnosed, seed):
    """The verdict for a wrong answer. Headline, thought and hint are all about the same fault.

    Args:
        check: the `Check`.
        cases: all of its cases.
        faults: a `Fault` or None, one a case; at least one `Fault`.
        diagnosed: the `diagnosis.Candidate` that won, or None.
        seed: of the inputs.
    """
    wrong = [i for i, fault in enumerate(faults) if fault]
    shown = _most_telling(faults, diagnosed.explains if diagnosed else wrong)
    fault = faults[shown]
    lines = [Line("so far", check.so_far(cases, faults))] if len(cases) > 1 else []
    lines.append(Line("called", check.called(cases[shown]), code=True))
    if fault.returned != fault.expected:  # two tensors of one shape: the headline has said where they differ
        lines += [Line(*pair) for pair in (("returned", fault.returned), ("expected", fault.expected)) if pair[1]]
    if fault.where:
        lines.append(Line("your line", your_line(fault.where), code=True))
    known = diagnosed.misconception if diagnosed else None
    if known is None or (diagnosed.by_fault and fault.hint):
        hint = fault.hint or (AT_YOUR_LINE if _stopped_there(fault) else check.next_step) or _try_it(fault)
    else:
        hint = known.hint
    return Verdict(
        check.name,
        check.points,
        _score(check, {cases[i].part for i in wrong}),
        "failed",
        fault.problem,
        tuple(lines),
        misconception=known.id if known else None,
        thought=known.thought if known else "",
        hint=hint,
        replay=f"check.{check.name}({check.subject}, seed={seed})\n"
        f"check.{check.name}.inputs(seed={seed})[{shown}]  # the inputs of this call",
        seed=seed,
        picture=_picture(fault),
    )


def _score(check, wrong_parts):
    """The points of the parts that are right; none when the first, decisive part is wrong."""
    if next(iter(check.parts)) in wrong_parts:
        return 0.0
    return sum(points for part, points in check.parts.items() if part not in wrong_parts)


def _most_telling(faults, positions):
    """A wrong value says more than an exception, an exception more than nothing; the first case wins a tie."""
    return min(positions, key=lambda i: (faults[i].where is not None, not faults[i].returned))


def your_line(where):
    """`line 3 of area: return width * height`."""
    at = f"line {where['line']} of {describe.clean(str(where['function']), 60)}"
    code = describe.clean(str(where["text"]), 160)
    return f"{at}: {code}" if code else at


def _stopped_there(fault):
    """Whether an exception of unknown kind stopped the learner's code: then there is no result to look into."""
    message = {"type": "", "message": fault.problem}
    return fault.where is not None and exceptions.kind_of(message) != exceptions.SHAPE


def _try_it(fault):
    if fault.where:
        return "Make inputs of these shapes in a cell of your own, and look at the shapes just before your line."
    return "Make small inputs of these shapes in a cell of your own, work the answer out by hand, and compare."


def _picture(fault):
    if fault.tensors is None or fault.tensors[1].ndim < 2:
        return None
    got, expected = (tensor.double().flatten(0, -2) for tensor in fault.tensors)
    if max(got.shape) > PICTURE_SIDE:
        return None
    return got.tolist(), expected.tolist()
