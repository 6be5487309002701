"""The process that runs handed-in code: its mark, and what `check` is there. The verdict is reached in another process."""

_marked = False


def mark():
    """Mark this process as one that runs handed-in code. From now on it must load no module that holds a right answer."""
    global _marked
    _marked = True


def is_marked():
    """Whether this process runs handed-in code."""
    return _marked


class CheckPlaceholders:
    """Stands in for `check`: each ``check.<exercise>(...)`` prints a note, so that such calls stop no cell."""

    def __getattr__(self, exercise):
        if exercise.startswith("_"):
            raise AttributeError(exercise)

        return CheckPlaceholder(exercise)


class CheckPlaceholder:
    """Stands in for one check, with the attributes and methods that a notebook may use."""

    answer = None

    def __init__(self, name):
        self.name = self.subject = name
        self.points = 0.0  # unknown here; a number, as in a check
        self.parts = {}

    def __call__(self, *_args, **_kwargs):
        print(f"check.{self.name}: judged by the grader, outside this notebook.")

    def judge(self, *_args, **_kwargs):
        """Print the note; there is no verdict here."""
        self()

    def inputs(self, *_args, **_kwargs):
        """Print the note; the inputs are made in the process that reaches the verdict."""
        self()
        return []

    def __repr__(self):
        return f"<check.{self.name}, judged by the grader>"
