"""training_bytes: what training keeps in memory."""

from autograde.checks.shared.families import BRACKETS_LOST
from autograde.judge.check import Case, Check


class TrainingBytes(Check):
    """Compares values."""

    name = "training_bytes"
    points = 2
    note = "an int or a float; the four kinds one by one, or together."
    next_step = (
        "Take total = 1, trainable = 1, bytes_per_value = 1, and list the numbers that are kept. Then do the "
        "same with trainable = 0."
    )

    def cases(self, draw):
        small, large = draw.integer(11, 90), draw.integer(1001, 9000)

        def case(total, trainable, label, *width):
            named = {"bytes_per_value": width[0]} if width else {}
            return Case({"total": total, "trainable": trainable} | named, label)

        return [
            case(large, small, "in the width that is the default"),
            case(large, small, "in 16 bit", 2),
            case(large + 1, small + 3, "in 64 bit", 8),
            case(large, large, "everything trains"),
            case(large, 0, "nothing trains", 2),
            case(3 * small, 2 * small, "most of it trains", draw.choice([3, 5, 6, 7])),
            case(100 * large, 7 * large, "in bytes", 1),
            case(6_742_609_920, 4_194_304, "a large model", 2),
        ]

    def right(self, total, trainable, bytes_per_value=4):
        return bytes_per_value * (total + 3 * trainable)


training_bytes = TrainingBytes()


@training_bytes.misconception(
    "everything_for_all",
    thought="Every value has a gradient and two moments.",
    hint="That is full fine-tuning. Which values get a gradient when the base is frozen?",
)
def everything_for_all(total, trainable, bytes_per_value=4):
    return bytes_per_value * 4 * total


@training_bytes.misconception(
    "moments_for_all",
    thought="Adam keeps its moments for every value.",
    hint="Adam gets only the values that train. What would it do with a moment of a value that never changes? "
    "(And check that you use each of the two counts in the right place.)",
)
def moments_for_all(total, trainable, bytes_per_value=4):
    return bytes_per_value * (total + trainable + 2 * total)


@training_bytes.misconception(
    "gradients_for_all",
    thought="The backward pass stores a gradient for every value.",
    hint="A frozen parameter's .grad stays None. For which values is a gradient kept?",
)
def gradients_for_all(total, trainable, bytes_per_value=4):
    return bytes_per_value * (2 * total + 2 * trainable)


@training_bytes.misconception(
    "two_numbers_each",
    thought="For a value that trains, two more numbers are kept.",
    hint="Follow one value through a training step: the value itself, what the backward pass stores, and what "
    "Adam keeps from step to step. Which of these is not in your sum?",
)
def two_numbers_each(total, trainable, bytes_per_value=4):
    return bytes_per_value * (total + 2 * trainable)


@training_bytes.misconception(
    "one_number_each",
    thought="For a value that trains, one more number is kept.",
    hint="That is true for plain gradient descent. What does Adam keep from step to step?",
)
def one_number_each(total, trainable, bytes_per_value=4):
    return bytes_per_value * (total + trainable)


@training_bytes.misconception(
    "weights_alone",
    thought="Only the weights need memory.",
    hint="That is enough to use the model. What else is in memory while it is trained?",
)
def weights_alone(total, trainable, bytes_per_value=4):
    return bytes_per_value * total


@training_bytes.misconception(
    "frozen_weights_left_out",
    thought="Frozen values take no memory.",
    hint="Every row of the batch still goes through the frozen weights, so they are in memory. How many values "
    "are they?",
)
def frozen_weights_left_out(total, trainable, bytes_per_value=4):
    return bytes_per_value * 4 * trainable


@training_bytes.misconception(
    "weights_left_out",
    thought="Training memory is what training adds.",
    hint="The weights themselves have to be in memory too.",
)
def weights_left_out(total, trainable, bytes_per_value=4):
    return bytes_per_value * 3 * trainable


@training_bytes.misconception(
    "trainable_weights_twice",
    thought="total counts the frozen values, and those that train are added.",
    hint="total counts every value, trained or not. Which of them have you counted a second time?",
)
def trainable_weights_twice(total, trainable, bytes_per_value=4):
    return bytes_per_value * (total + 4 * trainable)


@training_bytes.misconception(
    "frozen_for_trainable",
    thought="The gradients and moments belong to total - trainable.",
    hint="total - trainable is the number of frozen values. Which of the two parts gets gradients?",
)
def frozen_for_trainable(total, trainable, bytes_per_value=4):
    return bytes_per_value * (total + 3 * (total - trainable))


@training_bytes.misconception(
    "values_not_bytes",
    thought="Counting the numbers is enough.",
    hint="That is how many numbers are kept. How many bytes does each of them take?",
)
def values_not_bytes(total, trainable, bytes_per_value=4):
    return total + 3 * trainable


@training_bytes.misconception(
    "always_four_bytes",
    thought="A number takes four bytes.",
    hint="In float32 it does. Call your function with bytes_per_value=2: what should change?",
)
def always_four_bytes(total, trainable, bytes_per_value=4):
    return 4 * (total + 3 * trainable)


@training_bytes.misconception(
    "moments_in_32_bit",
    thought="Adam keeps its moments in 32 bit, whatever the weights are in.",
    hint="Some programs do. In this exercise every number takes bytes_per_value bytes.",
)
def moments_in_32_bit(total, trainable, bytes_per_value=4):
    return bytes_per_value * (total + trainable) + 4 * 2 * trainable


@training_bytes.misconception(
    "width_for_weights_only",
    thought="bytes_per_value is about the weights.",
    hint="A gradient and a moment are numbers too, and take as many bytes as a weight.",
)
def width_for_weights_only(total, trainable, bytes_per_value=4):
    return bytes_per_value * total + 3 * trainable


@training_bytes.misconception(BRACKETS_LOST)
def brackets_lost(total, trainable, bytes_per_value=4):
    return total + 3 * trainable * bytes_per_value


@training_bytes.misconception(
    "in_bits",
    thought="A size in memory is in bits.",
    hint="The answer is in bytes, and so is bytes_per_value. What is the factor of eight for?",
)
def in_bits(total, trainable, bytes_per_value=4):
    return 8 * bytes_per_value * (total + 3 * trainable)


@training_bytes.misconception(
    "width_taken_for_bits",
    thought="bytes_per_value is in bits.",
    hint="4 is the number of bytes in a float32. What is the factor of eight for?",
)
def width_taken_for_bits(total, trainable, bytes_per_value=4):
    return bytes_per_value * (total + 3 * trainable) / 8


@training_bytes.misconception(
    "in_gigabytes",
    thought="Memory is stated in gigabytes.",
    hint="Convert when you print. The function returns bytes.",
)
def in_gigabytes(total, trainable, bytes_per_value=4):
    return bytes_per_value * (total + 3 * trainable) / 1e9


@training_bytes.misconception(
    "in_gibibytes",
    thought="Memory is stated in gibibytes.",
    hint="Convert when you print. The function returns bytes.",
)
def in_gibibytes(total, trainable, bytes_per_value=4):
    return bytes_per_value * (total + 3 * trainable) / 2**30


def _lacks_an_argument(case, observation):
    raised = observation.get("raised")
    return bool(raised) and raised["type"] == "TypeError" and "missing" in raised["message"]


@training_bytes.misconception(
    "default_lost",
    thought="bytes_per_value is always given.",
    hint="It may be left out. Compare your def line with the original one.",
    recognise=_lacks_an_argument,
)
def default_lost(total, trainable, bytes_per_value):
    return bytes_per_value * (total + 3 * trainable)
