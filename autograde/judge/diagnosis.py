"""Which known mistake an answer is: the one whose wrong answer equals the learner's on the same inputs."""


def diagnose(check, pairs, failed):
    """The misconception behind a wrong answer, or None.

    Every misconception's wrong answer is put to the same cases as the learner's, by the same probe. One that agrees on
    all of them is the diagnosis. Failing that, one that agrees wherever the learner's answer came back wrong, unless
    it is marked `exactly`: a learner may have got a side issue right, or wrong, in a way of their own.

    Args:
        check: the `Check`.
        pairs: ``[(case, the learner's observation)]``.
        failed: the ids of the cases that failed.
    """
    if all(_is_none(seen) for _, seen in pairs):
        return RETURNED_NONE
    wrong_values = [(case, seen) for case, seen in pairs if id(case) in failed and "raised" not in seen]
    nearly = None
    for known in check.misconceptions:
        if known.recognise is not None:
            if any(known.recognise(case, seen) for case, seen in pairs if id(case) in failed):
                return known
            continue
        answers = {id(case): check.observe(known.wrong, case) for case, _ in pairs}
        if all(check.same(case, seen, answers[id(case)]) for case, seen in pairs):
            return known
        if nearly is None and wrong_values and not known.exactly:
            # What is right in a case explains nothing there: the learner's may only have the wrong dtype.
            if all(
                check.same(case, seen, answers[id(case)]) and check.fault(case, answers[id(case)])
                for case, seen in wrong_values
            ):
                nearly = known
    return nearly


def _is_none(observation):
    return observation.get("type") == "NoneType" and observation.get("value") is None


class RETURNED_NONE:
    """The mistake that every function can make."""

    id = "returned_none"
    thought = "The result is worked out, or printed, but never handed back: the function returns None."
    hint = "End the function with a return statement, and see that every path through it reaches one."
