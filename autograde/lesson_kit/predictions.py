"""A learner's prediction beside what came out, or a tempting guess where nothing was predicted."""


def show_prediction(prediction, guess):
    """Print what was predicted before an experiment.

    Where it was left open, which is how the solved edition is published, a guess is shown that many would make and that
    the experiment corrects. The lesson says what makes it tempting.

    Args:
        prediction: a value, a tuple or a dict, as the lesson's prediction cell has it; "?" where nothing was written.
        guess: a plausible wrong prediction of the same form.
    """
    if left_open(prediction):
        print(f"you left the prediction open; a tempting guess: {_written(guess)}")
    else:
        print(f"you predicted: {_written(prediction)}")


def left_open(prediction):
    """Whether every entry of a prediction is still "?"."""
    if isinstance(prediction, dict):
        return all(left_open(value) for value in prediction.values())
    if isinstance(prediction, tuple | list):
        return all(left_open(value) for value in prediction)
    return prediction == "?"


def _written(prediction):
    if isinstance(prediction, dict):
        return "; ".join(f"{name}: {_written(value)}" for name, value in prediction.items())
    if isinstance(prediction, tuple | list):
        return ", ".join(map(_written, prediction))
    return str(prediction)
