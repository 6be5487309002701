"""`Verdict`: the result of a check, as data."""

from dataclasses import dataclass, field, fields

from autograde.judge.render import text
from autograde.terminal import harmless

STATUSES = ("passed", "failed", "not_started", "missing", "stopped", "damaged")
MOST_CHARACTERS = 10_000  # of one text


@dataclass(frozen=True)
class Line:
    """One labelled line of a report: ``returned   float32 tensor of shape (3, 5)``."""

    label: str
    text: str
    code: bool = False

    def __post_init__(self):
        _clean(self, "label", "text")


@dataclass(frozen=True)
class Verdict:
    """The outcome of one check.

    Attributes:
        exercise: the check's name.
        points: the highest score that the check can give.
        score: the score, between 0 and `points`.
        status: ``passed`` · ``failed`` · ``not_started`` · ``missing`` (no such name after the run) · ``stopped`` (the
            code ran into a limit) · ``damaged`` (the notebook no longer holds the check).
        headline: one sentence that says what happened.
        lines: facts: what was called, what came back, what was expected.
        misconception: the id of the misconception, or None if none is recognised.
        thought: what the learner probably thought; empty unless a misconception is known.
        hint: what to look at next; empty after a pass.
        replay: the call that repeats the check with the same inputs; empty if there is none.
        seed: of the inputs; None if no inputs were made.
        picture: ``(got, expected)`` as nested lists of floats, or None. It is drawn, and not kept.
    """

    exercise: str
    points: float
    score: float
    status: str
    headline: str
    lines: tuple[Line, ...] = field(default=())
    misconception: str | None = None
    thought: str = ""
    hint: str = ""
    replay: str = ""
    seed: int | None = None
    picture: tuple | None = None

    def __post_init__(self):
        _clean(self, "exercise", "status", "headline", "misconception", "thought", "hint", "replay")

    @property
    def passed(self):
        """Whether the answer is wholly right."""
        return self.status == "passed"

    @property
    def message(self):
        """The whole report as plain text."""
        return text(self)

    @property
    def report_lines(self):
        """Every `Line` of the report: the facts, then the known mistake, then the call that repeats the check."""
        more = (
            Line("likely thought", self.thought),
            Line("hint", self.hint),
            Line("replay", self.replay, code=True),
        )
        return [*self.lines, *(line for line in more if line.text)]

    def as_data(self):
        """The verdict as a dict for JSON, without the picture; ``passed`` and ``message`` are for readers only."""
        data = {each.name: getattr(self, each.name) for each in fields(self) if each.name not in ("lines", "picture")}
        lines = [{"label": line.label, "text": line.text, "code": line.code} for line in self.lines]
        numbers = {"points": float(self.points), "score": float(self.score)}
        return data | numbers | {"lines": lines, "passed": self.passed, "message": self.message}

    @classmethod
    def from_data(cls, data):
        """The verdict in a dict that `as_data` made. The dict may come from an untrusted file.

        Raises:
            ValueError: the dict is not of that form.
        """
        try:
            texts = {name: str(data[name]) for name in ("exercise", "status", "headline", "thought", "hint", "replay")}
            numbers = {name: float(data[name]) for name in ("points", "score")}
            lines = tuple(Line(str(line["label"]), str(line["text"]), bool(line["code"])) for line in data["lines"])
            named = {"misconception": _or_none(str, data["misconception"]), "seed": _or_none(int, data["seed"])}
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(f"not a verdict: {error!r}") from None
        if texts["status"] not in STATUSES:
            raise ValueError(f"not a verdict: its status is {texts['status']!r}")
        return cls(lines=lines, **texts, **numbers, **named)


def _clean(part, *names):
    """Take control characters out of texts, and cut them: a check may quote what an answer gave."""
    for name in names:
        value = getattr(part, name)
        if value:
            object.__setattr__(part, name, harmless(value[:MOST_CHARACTERS]))


def _or_none(kind, value):
    return None if value is None else kind(value)
