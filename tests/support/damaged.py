"""The ways in which a submission comes damaged, each with what it must cost and what it must say.

Every case starts from the sample lesson with all answers right (2 + 3 + 1 points).
"""

import copy
import json
import os
from dataclasses import dataclass, field

import nbformat

ALL = ("double", "halve", "total")

# By a short name, a part of the sentence that the learner gets.
SAID = {
    "not json": "is not a notebook (it is not JSON)",
    "not utf-8": "is not a notebook (it is not text in UTF-8)",
    "empty file": "is not a notebook (the file is empty)",
    "other json": "is not a notebook (it is JSON, but of something else)",
    "no notebook": "is not a notebook (it is JSON, but has no cells)",
    "conflict": "is not a notebook (it holds the marks of a merge conflict",
    "web page": "is not a notebook (it is a web page)",
    "newer": "is not a notebook (its format is 5",
    "no format": "is not a notebook (its format is no number",
    "no cells": "has no cells. Hand in the one that you worked in",
    "too long": "is too long (2,101 cells)",
    "lost check": "was deleted. Copy your answers into a fresh copy",
    "lost answer": "is no longer in the notebook as an answer cell",
    "twice": "is defined in 2 cells of the notebook, each with another answer",
    "markdown": "was turned from a code cell into a Markdown cell",
    "raw": "was turned from a code cell into a Raw cell",
    "stripped": "has the metadata by which the grader finds",
    "other lesson": "is the notebook of another lesson (00_start_here)",
    "no name": "there is no double.",
    "no name, source": "there is no total.",
    "syntax": "Its cell stopped with SyntaxError",
    "endless cell": "ran longer than 10 s and was interrupted. Look for a loop that never ends",
    "endless call": "took longer than 6 s and was interrupted. Look for a loop that never ends",
    "exited": "ended its own Python process in cell 3 (exit code 3)",
    "crashed": "Python itself crashed in cell 3",
    "wrong": "Twice is to the power of two",
    "name": "holds no 90_sample.ipynb, but '90_sample (1).ipynb'",
    "absent": "holds no 90_sample.ipynb",
    "link": "is a link to another place",
    "unfinished": "Not started yet",
}


@dataclass
class Case:
    """One damaged submission.

    Attributes:
        file: makes the bytes of the file, given the answered notebook; None where `lay` puts it in its place.
        says: ``{exercise: key of SAID}`` for the exercises that it costs; the others get all their points.
        judged: those keys that come of running the notebook, not of looking at it.
        lay: ``lay(folder, answered notebook)``: puts files into the submission's folder.
    """

    file: object = None
    says: dict = field(default_factory=dict)
    judged: tuple = ()
    lay: object = None


CASES = {}


def _case(name, says, judged=()):
    says = dict.fromkeys(ALL, says) if isinstance(says, str) else says

    def register(make):
        CASES[name] = Case(make, says, judged)
        return make

    return register


def _edit(name, says, judged=()):
    """A case whose function changes the notebook as a dict."""

    def register(change):
        def make(answered):
            raw = json.loads(nbformat.writes(answered))
            change(raw)
            return json.dumps(raw).encode()

        _case(name, says, judged)(make)
        return change

    return register


def cell_of(raw, grade_id):
    """The cell of a notebook, as a dict, that has this grade_id."""
    return next(cell for cell in raw["cells"] if cell["metadata"].get("nbgrader", {}).get("grade_id") == grade_id)


# Files that are no notebook ------------------------------------------------------------------------------------------

_case("not_json", "not json")(lambda answered: nbformat.writes(answered).encode()[:-40])
_case("not_utf8", "not utf-8")(lambda answered: nbformat.writes(answered).replace("sample", "é").encode("latin-1"))
_case("utf16", "not utf-8")(lambda answered: nbformat.writes(answered).encode("utf-16"))
_case("empty_file", "empty file")(lambda answered: b"")
_case("blank_file", "empty file")(lambda answered: b" \n\n ")
_case("json_list", "other json")(lambda answered: b"[1, 2, 3]")
_case("json_other", "no notebook")(lambda answered: b'{"name": "alice", "cells": 3}')
_case("nested", "not json")(lambda answered: b"[" * 200_000)
_case("web_page", "web page")(lambda answered: b"<!DOCTYPE html>\n<html><body>90_sample.ipynb</body></html>")


@_case("merge_conflict", "conflict")
def _(answered):
    return nbformat.writes(answered).replace('"cells": [', '"cells": [\n<<<<<<< HEAD\n=======\n>>>>>>> theirs').encode()


@_edit("newer_format", "newer")
def _(raw):
    raw["nbformat"] = 5


@_edit("no_format", "no format")
def _(raw):
    raw["nbformat"] = None


@_edit("no_cells", "no cells")
def _(raw):
    raw["cells"] = []


@_edit("many_cells", "too long")
def _(raw):
    empty = {"cell_type": "code", "metadata": {}, "source": "", "outputs": [], "execution_count": None}
    raw["cells"] += [copy.deepcopy(empty) for _ in range(2_101 - len(raw["cells"]))]


# Files that look unusual and cost nothing ----------------------------------------------------------------------------


@_edit("format_with_a_point", {})
def _(raw):
    """As programs write it that know one kind of numbers."""
    raw |= {"nbformat": 4.0, "nbformat_minor": 5.0}


@_case("byte_order_mark", {})
def _(answered):
    return b"\xef\xbb\xbf" + nbformat.writes(answered).encode()


@_case("format_3", {})
def _(answered):
    raw = json.loads(nbformat.writes(nbformat.convert(copy.deepcopy(answered), 3), version=3))
    assert raw["nbformat"] == 3 and "worksheets" in raw
    raw["worksheets"][0]["cells"][1]["outputs"] = [{"output_type": 5}]
    return json.dumps(raw).encode()


@_edit("giant_output", {})
def _(raw):
    raw["cells"][1]["outputs"] = [{"output_type": "stream", "name": "stdout", "text": "ha" * 10_000_000}]


@_edit("malformed_outputs", {})
def _(raw):
    for broken, cell in zip([5, ["x"], [{"output_type": 5}], {}, None, "x"], raw["cells"][1:], strict=False):
        cell["outputs"] = broken


@_edit("half_characters", {})
def _(raw):
    raw["cells"][1]["source"] = "# \ud800\n" + "".join(raw["cells"][1]["source"])
    raw["metadata"]["authors"] = ["\udfff"]


@_edit("same_ids", {})
def _(raw):
    for cell in raw["cells"]:
        cell["id"] = "same"


@_edit("odd_cells", {})
def _(raw):
    raw["cells"] += [5, None, "text", [], {"cell_type": "heading", "source": ["old"], "level": 1}, {}]
    raw["metadata"] = {"kernelspec": 5, "language_info": [], "widgets": {"state": 3}}
    raw["cells"][0]["metadata"] = {"tags": 5, "jupyter": "x", "collapsed": {}, "name": []}


@_edit("shown_scores", {})
def _(raw):
    # The outputs that a check cell claims to have shown give no score.
    shown = {"output_type": "execute_result", "execution_count": 1, "metadata": {}, "data": {"text/plain": "0.0"}}
    cell_of(raw, "check_double")["outputs"] = [shown]


# Cells that were lost, doubled or turned into something else ---------------------------------------------------------


def _without(raw, grade_id):
    raw["cells"].remove(cell_of(raw, grade_id))


_edit("lost_check", {"double": "lost check"})(lambda raw: _without(raw, "check_double"))
_edit("lost_answer", {"halve": "lost answer"})(lambda raw: _without(raw, "halve"))


@_edit("lost_all_checks", "lost check")
def _(raw):
    for exercise in ALL:
        _without(raw, f"check_{exercise}")


def _twice(raw, grade_id):
    raw["cells"].append(copy.deepcopy(cell_of(raw, grade_id)) | {"id": "copied"})


_edit("answer_copied", {})(lambda raw: _twice(raw, "total"))
_edit("check_copied", {})(lambda raw: _twice(raw, "check_halve"))


@_edit("check_copied_and_changed", {})
def _(raw):
    _twice(raw, "check_halve")
    raw["cells"][-1]["source"] = "check.halve(halve, seed=3)"


@_edit("two_answers", {"total": "twice"})
def _(raw):
    _twice(raw, "total")
    raw["cells"][-1]["source"] = "def total(x):\n    return x.mean()"


@_edit("stub_left_beside_the_answer", {})
def _(raw):
    stub = copy.deepcopy(cell_of(raw, "total")) | {"id": "stub"}
    stub["source"] = "def total(x):\n    # another comment\n    return torch.sum(x)"
    raw["cells"].insert(raw["cells"].index(cell_of(raw, "total")) + 1, stub)


@_edit("answer_split_in_two", {})
def _(raw):
    """As JupyterLab splits a cell: both halves have its metadata."""
    cell = cell_of(raw, "halve")
    half = copy.deepcopy(cell) | {"id": "half", "source": "def half_of(x):\n    return 0.5 * x"}
    cell["source"] = "def halve(x):\n    return half_of(x)"
    raw["cells"].insert(raw["cells"].index(cell), half)


@_edit("answer_kept_as_text_too", {})
def _(raw):
    text = copy.deepcopy(cell_of(raw, "double")) | {"id": "as-text", "cell_type": "markdown"}
    del text["outputs"], text["execution_count"]
    raw["cells"].append(text)


def _turn(raw, grade_id, kind):
    cell = cell_of(raw, grade_id)
    cell["cell_type"] = kind
    del cell["outputs"], cell["execution_count"]


_edit("answer_markdown", {"double": "markdown"})(lambda raw: _turn(raw, "double", "markdown"))
_edit("answer_raw", {"halve": "raw"})(lambda raw: _turn(raw, "halve", "raw"))
_edit("check_markdown", {"total": "markdown"})(lambda raw: _turn(raw, "check_total", "markdown"))


@_edit("renamed_function", {"double": "no name"}, judged=("no name",))
def _(raw):
    cell_of(raw, "double")["source"] = "def doubled(x):\n    return 2 * x"


@_edit("renamed_id", {"double": "lost answer"})
def _(raw):
    cell_of(raw, "double")["metadata"]["nbgrader"]["grade_id"] = "doubled"


@_edit("odd_id", {"double": "lost answer"})
def _(raw):
    cell_of(raw, "double")["metadata"]["nbgrader"]["grade_id"] = ["double"]


@_edit("stripped", "stripped")
def _(raw):
    raw["metadata"] = {}
    for cell in raw["cells"]:
        cell["metadata"] = {}


@_edit("other_lesson", "other lesson")
def _(raw):
    raw["metadata"]["autograde"] = {"lesson": "00_start_here"}
    for cell in raw["cells"]:
        cell["metadata"] = {}


@_edit("edited_check", {"double": "wrong"}, judged=("wrong",))
def _(raw):
    cell_of(raw, "double")["source"] = "def double(x):\n    return x * x"
    check = cell_of(raw, "check_double")
    check["source"] = "2.0"
    check["metadata"]["nbgrader"]["points"] = 100.0
    check["metadata"]["nbgrader"]["locked"] = False


@_edit("source_is_a_number", {"total": "no name, source"}, judged=("no name, source",))
def _(raw):
    cell_of(raw, "total")["source"] = 5


# Code that does not come to an end -----------------------------------------------------------------------------------


@_edit("broken_syntax", {"halve": "syntax"}, judged=("syntax",))
def _(raw):
    cell_of(raw, "halve")["source"] = "def halve(x)\n    return x / 2"


@_edit("endless_cell", {"halve": "endless cell"}, judged=("endless cell",))
def _(raw):
    cell_of(raw, "halve")["source"] = "while True:\n    pass"


@_edit("endless_call", {"total": "endless call"}, judged=("endless call",))
def _(raw):
    cell_of(raw, "total")["source"] = "def total(x):\n    while True:\n        pass"


@_edit("exits", {"halve": "exited", "total": "exited"}, judged=("exited",))
def _(raw):
    cell_of(raw, "halve")["source"] = "import os\n\nprint('last words', flush=True)\nos._exit(3)"


@_edit("crashes", {"halve": "crashed", "total": "crashed"}, judged=("crashed",))
def _(raw):
    cell_of(raw, "halve")["source"] = "import ctypes\n\nctypes.string_at(0)"


@_case("nothing_done", "unfinished", judged=("unfinished",))
def _(answered):
    raw = json.loads(nbformat.writes(answered))
    for exercise in ALL:
        cell_of(raw, exercise)["source"] = f"def {exercise}(x):\n    # YOUR CODE HERE\n    raise NotImplementedError()"
    return json.dumps(raw).encode()


# Folders that do not hold the file -----------------------------------------------------------------------------------


def _lay(name, says):
    def register(lay):
        CASES[name] = Case(None, says if isinstance(says, dict) else dict.fromkeys(ALL, says), lay=lay)
        return lay

    return register


@_lay("wrong_name", "name")
def _(folder, answered):
    nbformat.write(answered, folder / "90_sample (1).ipynb")


@_lay("no_file", "absent")
def _(folder, answered):
    (folder / "notes.txt").write_text("I had no time.", encoding="utf-8")


@_lay("empty_folder", "absent")
def _(folder, answered):
    pass


@_lay("a_folder", "absent")
def _(folder, answered):
    (folder / "90_sample.ipynb").mkdir()


@_lay("a_link", "link")
def _(folder, answered):
    """To the work of somebody else."""
    (folder / "90_sample.ipynb").symlink_to("../../aaron/90_sample/90_sample.ipynb")


@_lay("links_beside", {})
def _(folder, answered):
    """To what is not theirs, in the hope that it is handed back; and files that are none."""
    nbformat.write(answered, folder / "90_sample.ipynb")
    (folder / "notes.txt").write_text("mine", encoding="utf-8")
    (folder / "data.txt").symlink_to("../../../../nbgrader_config.py")
    (folder / "gone.txt").symlink_to("nowhere")
    os.mkfifo(folder / "pipe")
