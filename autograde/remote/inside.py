"""What `check` is inside the process that runs handed-in code: a note, since the verdict is reached elsewhere."""

_inside = False


def enter():
    """Say that this process runs handed-in code: from now on it must not load what knows the right answers."""
    global _inside
    _inside = True


def here():
    """Whether this process runs handed-in code."""
    return _inside


class ChecksElsewhere:
    """Answers every `check.<exercise>(...)` in such a process with a note, so that stray calls stop nothing."""

    def __getattr__(self, exercise):
        if exercise.startswith("_"):
            raise AttributeError(exercise)

        return CheckElsewhere(exercise)


class CheckElsewhere:
    """What ``check.<exercise>`` is in such a process. What a notebook may ask of a check can be asked of it too."""

    answer = None

    def __init__(self, name):
        self.name = self.subject = name
        self.points = 0.0  # not known here, and a number as it is there
        self.parts = {}

    def __call__(self, *_args, **_kwargs):
        print(f"check.{self.name}: judged by the grader, outside this notebook.")

    def judge(self, *_args, **_kwargs):
        """As calling it: there is no verdict here."""
        self()

    def inputs(self, *_args, **_kwargs):
        """No inputs: they are drawn where the verdict is reached."""
        self()
        return []

    def __repr__(self):
        return f"<check.{self.name}, judged by the grader>"
