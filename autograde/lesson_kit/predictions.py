"""Shows a learner's prediction next to the result, or a tempting guess where nothing was predicted."""

LONGEST = 45  # characters that fit on the line after the label


def show_prediction(prediction, guess):
    """Print what was predicted before an experiment.

    Where it was left open, as in the published solved edition, a common wrong guess is shown, which the experiment
    corrects.

    Args:
        prediction: a value, a tuple or a dict, as the lesson's prediction cell has it; "?" where nothing was written.
        guess: a plausible wrong prediction of the same form.
    """
    if left_open(prediction):
        print(f"you left the prediction open; a tempting guess:{_after_colon(guess)}")
    else:
        print(f"you predicted:{_after_colon(prediction)}")


def left_open(prediction):
    """Whether every entry of a prediction is still "?"."""
    if isinstance(prediction, dict):
        return all(left_open(value) for value in prediction.values())
    if isinstance(prediction, tuple | list):
        return all(left_open(value) for value in prediction)
    return prediction == "?"


def _after_colon(prediction):
    """A prediction to print after a colon: on the same line, or, if it is long, with a line for each entry."""
    text = _as_text(prediction)
    if not isinstance(prediction, dict) or len(text) <= LONGEST:
        return f" {text}"
    width = max(len(str(name)) for name in prediction) + 1
    return "".join(f"\n    {f'{name}:':{width}} {_as_text(value)}" for name, value in prediction.items())


def _as_text(prediction):
    if isinstance(prediction, dict):
        return "; ".join(f"{name}: {_as_text(value)}" for name, value in prediction.items())
    if isinstance(prediction, tuple | list):
        return ", ".join(map(_as_text, prediction))
    return str(prediction)
