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
    DTYPE: "Two tensors of different dtypes meet in this line. Print the dtype of each, and see where the other one was made.",
    DEVICE: "Two tensors on different devices meet in this line. Print the device of each, and see where the other one was made.",
    NONE: "Something in this line is None. Which name is it, and in which case does nothing stand behind it?",
    INPUT: "This line waits for somebody to type, and in grading nobody is there. Give the value in the code, or leave the line out.",
    TRUTH: "`if`, `not`, `and`, `or` and bool() need a single True or False, and this tensor holds several values. What do you "
    "want to know: whether all of them are true, whether one is, or whether the tensor is there at all (is not None)?",
    NO_GRAPH: "No path leads from this value back to anything that trains. Look before this line for what cuts it: no_grad(), "
    ".detach(), .data, .item(), argmax, a comparison, or a new tensor made of numbers.",
    WHOLE: "This operation works on floats, and a tensor of whole numbers reached it. Which argument is that, and does it stand "
    "in the right place?",
    NOTHING_TO_TRAIN: "No parameter reached the optimiser. Print len(list(…)) of what you hand over. A generator is empty once it "
    "has been gone through.",
    BACKWARD: "A graph that was built earlier is used again. In a loop: is the loss worked out anew in every round? In a layer: "
    "what does it keep from one call to the next?",
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
    "The check calls it with the parameters that the cell came with. Give it these again, in their order."
)
CALLED_WITH_OTHERS = "Compare this call with the def line of what it calls. Which arguments does that take?"

_CHANGED_IN_LOOP = re.compile(r"(?:changed|changed size|mutated) during iteration")
CHANGED_IN_LOOP = "The body of this loop changes what the loop goes through. Make a list first: for … in list(…)."

_CALLS_LOSS = re.compile(r"\b(?:\w*_loss|cross_entropy|\w*criterion|loss_\w+|nn\.\w+Loss\(.*\))\(")
OF_A_LOSS = (
    "A loss function compares two tensors whose shapes or dtypes do not go together. Print shape and dtype of both, and look "
    "up which it takes, in which order."
)

# What else a message says for certain. These are no kinds: other mistakes may come to such an exception too.
_BY_MESSAGE = (
    (
        r"leaf Variable that requires grad|non-leaf Tensor to parameter",
        "A Parameter that trains is written into here, and autograd would have to record that. In which context does it record "
        "nothing?",
    ),
    (
        r"cannot assign '.*' as parameter",
        "Under this name the layer keeps an nn.Parameter, and another tensor cannot take its place. Write the numbers into the "
        "Parameter that is there, or make an nn.Parameter of the new ones.",
    ),
    (
        r"'Parameter' object has no attribute 'weight'",
        "An nn.Parameter is the tensor itself. A weight is what a module has, such as an nn.Linear.",
    ),
    (
        r"'(?:\w*Linear|Sequential)' object has no attribute '(?:device|dtype|shape)'",
        "A module has no shape, dtype or device of its own: its tensors have. Which tensor of it can you ask?",
    ),
    (
        r"modified by an inplace operation",
        "backward() needs numbers that have been written over since the forward pass. Is the loss worked out anew for every "
        "backward(), after the optimiser's last step? Or does an operation in place (+=, a name ending in _) come between?",
    ),
    (
        r"(?:too many|not enough) values to unpack",
        "This line gives names to the parts of something, and it has more or fewer parts than names. Print it, and its len(): is it "
        "the same number in every call?",
    ),
    (
        r"grad can be implicitly created only for scalar outputs",
        "backward() starts from a single number, and this loss holds several. What makes one number of them?",
    ),
    (
        r"floating point type for target with class probabilities|Target size \(.*must be the same as input size",
        OF_A_LOSS,
    ),
)

STUB_LEFT = (
    "This is the line that the cell came with. Python still reaches it: delete it where your answer takes its place."
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
        return f"What stands before .{other.group(2)} is of type {other.group(1)}. What did you expect there, and which line made it?"
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
        return f"{there_is_no}. Compare its spelling with the line that makes it, and see that this line has run."
    return f"{there_is_no}. Compare its spelling with the line that sets it, and see that this line comes first."
