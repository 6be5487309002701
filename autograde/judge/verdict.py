"""What a check concludes, as data."""

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Line:
    """One labelled line of a report: ``returned   float32 tensor of shape (3, 5)``."""

    label: str
    text: str
    code: bool = False


@dataclass(frozen=True)
class Verdict:
    """The outcome of one check.

    Attributes:
        exercise: the check's name.
        points: the most it can give.
        score: what it gives, between 0 and `points`.
        status: ``passed`` · ``failed`` · ``not_started`` · ``missing`` (no such name after the run) · ``stopped`` (the
            code ran into a limit) · ``damaged`` (the notebook no longer holds the check).
        headline: one sentence that says what happened.
        lines: what was called, what came back, what was expected, the misconception, the hint, how to replay it.
        misconception: its id, or None.
        picture: ``(got, expected)`` as nested lists of floats, or None.
    """

    exercise: str
    points: float
    score: float
    status: str
    headline: str
    lines: tuple[Line, ...] = field(default=())
    misconception: str | None = None
    picture: tuple | None = None

    @property
    def passed(self):
        """Whether the answer is wholly right."""
        return self.status == "passed"

    @property
    def message(self):
        """The whole report as plain text."""
        from autograde.judge.show import text

        return text(self)

    def as_json(self):
        """What ``autograde check --json`` prints for this exercise."""
        return {
            "points": float(self.points),
            "score": float(self.score),
            "passed": self.passed,
            "misconception": self.misconception,
            "message": self.message,
        }
