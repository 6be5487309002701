"""Observes a learner's object in many ways at once: the questions travel to its process together, not one by one."""

from autograde.remote.probe import Remote


def observe_each(target, observers):
    """``[observe(target) for observe in observers]``. With a `Remote`, the first questions of all are asked in one request.

    Args:
        target: the learner's object, or a `Remote`.
        observers: functions that call probes on what they get. Up to its first question each is called twice, so it
            changes nothing until then.

    Raises:
        What the first failing question raises.
    """
    if not isinstance(target, Remote):
        return [observe(target) for observe in observers]
    questions = [_first_question(observe) for observe in observers]
    answers = iter(target.ask_each([question for question in questions if question]))
    targets = [_Answered(next(answers), target) if question else target for question in questions]
    return [observe(target) for observe, target in zip(observers, targets, strict=True)]


class _Asked(BaseException):
    """The first question: raised where it is asked, through whatever the observer catches."""

    def __init__(self, *question):
        super().__init__()
        self.question = question


class _Recorder(Remote):
    def __init__(self):
        """It has no session."""

    def ask(self, probe_name, arguments):
        raise _Asked(probe_name, arguments)


def _first_question(observe):
    """A probe's name and its arguments, or None if `observe` asks nothing."""
    try:
        observe(_Recorder())
    except _Asked as asked:
        return asked.question
    return None


class _Answered(Remote):
    """A handle whose first question has its answer already."""

    def __init__(self, answer, target):
        self.answers = [answer]
        self.target = target

    def ask(self, *question):
        return self.answers.pop() if self.answers else self.target.ask(*question)
