"""A learner's prediction beside what came out, or a tempting guess where nothing was predicted."""

LONGEST = 45  # characters that fit on a line behind what is said of them


def show_prediction(prediction, guess):
    """Print what was predicted before an experiment.

    Where it was left open, which is how the solved edition is published, a guess is shown that many would make and that
    the experiment corrects. The lesson says what makes it tempting.

    Args:
        prediction: a value, a tuple or a dict, as the lesson's prediction cell has it; "?" where nothing was written.
        guess: a plausible wrong prediction of the same form.
    """
    if left_open(prediction):
        print(f"you left the prediction open; a tempting guess:{_beside(guess)}")
    else:
        print(f"you predicted:{_beside(prediction)}")


def left_open(prediction):
    """Whether every entry of a prediction is still "?"."""
    if isinstance(prediction, dict):
        return all(left_open(value) for value in prediction.values())
    if isinstance(prediction, tuple | list):
        return all(left_open(value) for value in prediction)
    return prediction == "?"


def _beside(prediction):
    """A prediction as it stands after a colon: on the same line, or where it is long with a line for each entry."""
    written = _written(prediction)
    if not isinstance(prediction, dict) or len(written) <= LONGEST:
        return f" {written}"
    width = max(len(str(name)) for name in prediction) + 1
    return "".join(f"\n    {f'{name}:':{width}} {_written(value)}" for name, value in prediction.items())


def _written(prediction):
    if isinstance(prediction, dict):
        return "; ".join(f"{name}: {_written(value)}" for name, value in prediction.items())
    if isinstance(prediction, tuple | list):
        return ", ".join(map(_written, prediction))
    return str(prediction)
