"""Classifies an exception by its type and message, and says what to do about each kind."""

import re
import sys

from autograde.judge.describe import clean

DTYPE, DEVICE, NONE, SHAPE, ATTRIBUTE, NAME, BACKWARD, INPUT, TRUTH, NO_GRAPH, WHOLE, NOTHING_TO_TRAIN = (
    "dtype",
    "device",
    "None",
    "shape",
    "attribute",
    "name",
    "second backward",
    "input",
    "truth of a tensor",
    "no graph",
    "whole numbers",
    "nothing to train",
)

# The first pattern that matches counts: torch mentions shapes in messages of other kinds too.
_PATTERNS = (
    (BACKWARD, r"backward through the graph a second time"),
    (DEVICE, r"same device|copy out of meta|found at least two devices|Expected .* device"),
    (DTYPE, r"same dtype|dtypes match|to have the same dtype|dtypes? .*(?:!=|but got)|expected scalar type|expected m1 and m2|Found dtype"),
    (TRUTH, r"Boolean value of Tensor|truth value of an array"),
    (NO_GRAPH, r"does not require grad and does not have a grad_fn"),
    (WHOLE, r"not implemented for '(?:Long|Int|Short|Byte|Char)'"),
    (NOTHING_TO_TRAIN, r"optimizer got an empty parameter list"),
    (NONE, r"'?NoneType'?|must be Tensor, not None|but found None|got None"),
    (SHAPE, r"cannot be multiplied|must match the size|size mismatch|incorrect batch size|is invalid for input|"
            r"Expected size|inconsistent tensor size|must have the same size|expanded size|doesn't match the broadcast shape"),
)  # fmt: skip

_HINTS = {
    DTYPE: "Two tensors of different dtypes meet in this line. Print the dtype of each, and find the line that "
    "makes the wrong one.",
    DEVICE: "Two tensors on different devices meet in this line. Print the device of each, and find the line that "
    "makes the wrong one.",
    NONE: "Something in this line is None. Which name is it, and in which case is it None?",
    INPUT: "This line waits for input from the keyboard, and in grading there is none. Put the value in the code, "
    "or leave the line out.",
    TRUTH: "`if`, `not`, `and`, `or` and bool() need a single True or False, and this tensor has several values. "
    "What do you want to know: whether all of them are true, whether one is, or whether there is a tensor at "
    "all (is not None)?",
    NO_GRAPH: "This value does not depend on anything that trains. Look before this line for what cuts the graph: "
    "no_grad(), .detach(), .data, .item(), argmax, a comparison, or a new tensor made of numbers.",
    WHOLE: "This operation needs floats, but it got a tensor of integers. Which argument is that, and is it in the "
    "right place?",
    NOTHING_TO_TRAIN: "The optimiser got no parameters. Print len(list(…)) of what you pass. A generator is empty after one "
    "loop over it.",
    BACKWARD: "A graph from an earlier forward pass is used again. In a loop: do you compute the loss again in every "
    "round? In a layer: what does it keep from one call to the next?",
}


# Names under which modules are usually imported, beside those of the standard library.
_ABBREVIATIONS = {
    "F": "import torch.nn.functional as F",
    "nn": "from torch import nn",
    "np": "import numpy as np",
    "numpy": "import numpy",
    "plt": "import matplotlib.pyplot as plt",
    "torch": "import torch",
}

# Raised by the check's call itself, before any line of the learner's has run, or by a call in one of these lines.
_OTHER_PARAMETERS = re.compile(r"positional argument|unexpected keyword argument|required keyword-only argument")
PARAMETERS_CHANGED = (
    "The check calls it with the parameters of the original cell. Give it these again, in the same order."
)
CALLED_WITH_OTHERS = (
    "Compare this call with the def line of the function that it calls. Which arguments does that function take?"
)

_CHANGED_IN_LOOP = re.compile(r"(?:changed|changed size|mutated) during iteration")
CHANGED_IN_LOOP = "The body of this loop changes the collection that it runs over. Make a list first: for … in list(…)."

_CALLS_LOSS = re.compile(r"\b(?:\w*_loss|cross_entropy|\w*criterion|loss_\w+|nn\.\w+Loss\(.*\))\(")
OF_A_LOSS = (
    "A loss function got two tensors whose shapes or dtypes do not fit together. Print shape and dtype of both, and look "
    "up what it takes, in which order."
)

# What else a message says for certain. These are no kinds: other mistakes may come to such an exception too.
_BY_MESSAGE = (
    (
        r"leaf Variable that requires grad|non-leaf Tensor to parameter",
        "This line writes into a Parameter that trains, and autograd refuses to record that. In which "
        "context does it record nothing?",
    ),
    (
        r"cannot assign '.*' as parameter",
        "Under this name the layer has an nn.Parameter, and you cannot assign a plain tensor to it. Write "
        "the values into the Parameter that is there, or make an nn.Parameter of the new ones.",
    ),
    (
        r"'Parameter' object has no attribute 'weight'",
        "An nn.Parameter is the tensor itself. Only a module, such as an nn.Linear, has a weight.",
    ),
    (
        r"'(?:\w*Linear|Sequential)' object has no attribute '(?:device|dtype|shape)'",
        "A module has no shape, dtype or device of its own: its tensors have them. Which of its tensors can you use?",
    ),
    (
        r"modified by an inplace operation",
        "backward() needs values that have been overwritten since the forward pass. Do you compute the loss "
        "again for every backward(), after the optimiser's last step? Or is there an operation in place (+=, "
        "a name ending in _) in between?",
    ),
    (
        r"(?:too many|not enough) values to unpack",
        "This line unpacks a value into names, and the value has more or fewer parts than there are names. "
        "Print the value and its len(): is it the same number in every call?",
    ),
    (
        r"grad can be implicitly created only for scalar outputs",
        "backward() starts from a single number, and this loss has several. Which operation makes one number of them?",
    ),
    (
        r"floating point type for target with class probabilities|Target size \(.*must be the same as input size",
        OF_A_LOSS,
    ),
)

STUB_LEFT = (
    "This line was in the cell from the start, and Python still reaches it. Delete it when you have written "
    "your answer."
)


def said(error, limit=300):
    """`TypeError: unsupported operand`: an exception's type and message in one text."""
    return clean(f"{error['type']}: {error['message']}".rstrip(": "), limit)


def is_stub(error):
    """Whether an exception is a stub's own. What torch has not implemented raises the same type, with a message."""
    return bool(error) and "NotImplementedError" in error["bases"] and not error["message"]


def is_untouched(error):
    """Whether an exception was raised by a stub in which nothing has been written yet."""
    return is_stub(error) and error["untouched"] is True


def kind_of(error):
    """The kind of an exception, as `remote.raised` gives it: one of the names above, or an empty text."""
    if error["type"] in ("NameError", "UnboundLocalError"):
        return NAME
    if error["type"] == "StdinNotImplementedError" or (error["type"] == "EOFError" and "input" in str(error["where"])):
        return INPUT
    message = str(error["message"])
    for kind, pattern in _PATTERNS:
        if re.search(pattern, message):
            return kind
    return ATTRIBUTE if error["type"] == "AttributeError" else ""


# Of Python's and numpy's own objects whose attributes are asked for by mistake, mostly in place of a tensor's.
_NO_TENSORS = (
    r"'(float|int|bool|str|tuple|list|dict|set|generator|map|filter|zip|numpy\.\w+|function|method|builtin\w*)' object"
)


def _import_of(name):
    """The line that imports a well-known module under this name; empty if there is none."""
    return _ABBREVIATIONS.get(name) or (f"import {name}" if name in sys.stdlib_module_names else "")


def hint_for(error):
    """What to do about an exception, by its kind; empty if the kind is unknown or gives no advice."""
    if is_stub(error):
        return STUB_LEFT
    if error["type"] == "TypeError" and _OTHER_PARAMETERS.search(str(error["message"])):
        return PARAMETERS_CHANGED if error["where"] is None else CALLED_WITH_OTHERS
    if _CHANGED_IN_LOOP.search(str(error["message"])):
        return CHANGED_IN_LOOP
    kind, message = kind_of(error), str(error["message"])
    if hint := next((hint for pattern, hint in _BY_MESSAGE if re.search(pattern, message)), ""):
        return hint
    if kind in _HINTS:
        return _HINTS[kind]
    if kind == SHAPE and _CALLS_LOSS.search(str((error["where"] or {}).get("text", ""))):
        return OF_A_LOSS
    if kind == ATTRIBUTE and (other := re.search(_NO_TENSORS + r" has no attribute '(\w+)'", message)):
        return (
            f"The value before .{other.group(2)} is of type {other.group(1)}. What did you expect there, and "
            "which line made it?"
        )
    missing = re.search(r"(?:name|variable|attribute) '(\w+)'", message)
    if kind not in (NAME, ATTRIBUTE) or not missing:
        return ""
    name = missing.group(1)
    there_is_no = f"There is no {name} here"
    if kind == NAME and (line := _import_of(name)):
        return f"{there_is_no}. If you mean the module, write {line} at the top of your answer."
    if near := str(error.get("near", "")):
        return f"{there_is_no}. Did you mean {clean(near, 60)}?"
    if kind == NAME:
        return (
            f"{there_is_no}. Compare its spelling with the line that defines it, and make sure that this line has run."
        )
    return f"{there_is_no}. Compare its spelling with the line that sets it, and make sure that this line comes first."
