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

        def note(*_args, **_kwargs):
            print(f"check.{exercise}: judged by the grader, outside this notebook.")

        return note
