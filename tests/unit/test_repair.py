"""Submissions that are not as they were handed out: what is put back, what it costs, and what the learner is told."""

import copy
import json

import nbformat
import pytest
import sample_course
from damaged import CASES, SAID
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from autograde.notebook import demonstration
from autograde.notebook.cells import METADATA, grade_id
from autograde.notebook.demonstration import is_demonstration
from autograde.submission import grade_submission, read_notebook, repair


@pytest.fixture(scope="module")
def released(sample):
    """The sample's release."""
    return nbformat.read(sample.release(sample_course.LESSON), as_version=4)


def whole(notebook, released):
    """Every graded cell of the release is there once, as it was handed out, and the notebook is well-formed."""
    nbformat.validate(notebook)
    nbformat.writes(notebook).encode()
    wanted = {grade_id(cell): cell for cell in released.cells if grade_id(cell)}
    found = [grade_id(cell) for cell in notebook.cells if "nbgrader" in cell.metadata]
    assert sorted(found) == sorted(wanted)
    for cell in notebook.cells:
        if original := wanted.get(grade_id(cell)):
            assert cell.cell_type == original.cell_type
            assert cell.metadata.nbgrader == original.metadata.nbgrader
            assert original.metadata.nbgrader.solution or cell.source == original.source
        assert not cell.get("outputs")


@pytest.mark.parametrize("name", [name for name, case in CASES.items() if case.file is not None])
def test_a_damaged_file_becomes_a_whole_notebook(released, name):
    case = CASES[name]
    answered = sample_course.plant(released, sample_course.RIGHT)
    notebook, message = read_notebook.read_submission(case.file(answered), released)
    lost = {} if message else repair.repair(notebook, released)
    whole(notebook, released)
    for exercise, said in case.says.items():
        told = message or lost.get(exercise) or lost.get(f"check_{exercise}") or ""
        assert SAID[said] in told or said in case.judged, (exercise, told)
    assert set(lost) <= set(case.says) | {f"check_{exercise}" for exercise in case.says}


@pytest.mark.parametrize("name", [name for name, case in CASES.items() if case.file is not None])
def test_the_release_stays_as_it_is_and_shares_nothing_with_a_submission(released, name):
    """It is read once for all submissions of a lesson."""
    before = copy.deepcopy(released)
    answered = sample_course.plant(released, sample_course.RIGHT)
    notebook, _, _ = grade_submission.prepare(CASES[name].file(answered), released)
    for cell in notebook.cells:
        for part in (cell.metadata.get("nbgrader", {}), cell.metadata, cell):
            part.clear()
    notebook.cells.clear()
    notebook.metadata.clear()
    assert released == before


def test_an_undamaged_notebook_stays_as_it_is(released):
    answered = sample_course.plant(released, sample_course.RIGHT)
    notebook, message = read_notebook.read_submission(nbformat.writes(answered).encode(), released)
    assert message is None and repair.repair(notebook, released) == {}
    assert [(cell.cell_type, cell.source, cell.id) for cell in notebook.cells] == [
        (cell.cell_type, cell.source, cell.id) for cell in answered.cells
    ]
    assert all(repair.runs(cell) for cell in notebook.cells)


def _with_cells(*cells):
    return nbformat.writes(nbformat.v4.new_notebook(cells=cells)).encode()


def test_a_format_forges_no_line_of_a_log(released):
    content = json.dumps({"cells": [], "nbformat": "4\n[ERROR] forged"}).encode()
    _, message = read_notebook.read_submission(content, released)
    assert "its format is 4" in message and "\n" not in message


def test_a_notebook_may_be_long(released):
    picture = f"![mine](data:image/bmp;base64,{'A' * 700_000})"  # 500 by 350 pixels, pasted as text
    code = [nbformat.v4.new_code_cell("x = 1\n" * 500) for _ in range(30)]
    content = _with_cells(nbformat.v4.new_markdown_cell(picture), *code)
    _, message = read_notebook.read_submission(content, released)
    assert message is None


@pytest.mark.parametrize(
    "cells, said",
    [
        ([nbformat.v4.new_code_cell("x = 1\n" * 9_000) for _ in range(2)], "108,000 characters of code"),
        ([nbformat.v4.new_markdown_cell("a" * 600_000) for _ in range(2)], "1,200,000 characters in its cells"),
        ([nbformat.v4.new_markdown_cell("a") for _ in range(501)], "501 cells"),
        (
            [nbformat.v4.new_markdown_cell("a", attachments={f"{i}.png": {"image/png": "aaaa"} for i in range(501)})],
            "501 pasted pictures",
        ),
    ],
    ids=["code", "text", "cells", "pictures"],
)
def test_a_notebook_may_be_too_long(released, cells, said):
    _, message = read_notebook.read_submission(_with_cells(*cells), released)
    assert f"too long ({said})" in message


@pytest.mark.parametrize(
    "content, said",
    [
        ('{"cells": [], "a": {' + ",".join(f'"{i:x}":1' for i in range(1_000_000)) + "}}", "1,000,002 colons"),
        ('{"cells": [], "a": [' + "1," * 5_000_000 + "1]}", "5,000,001 commas"),
        ('{"nbformat": 3, "worksheets": [' + '{"cells": []},' * 600 + '{"cells": []}]}', "601 worksheets"),
    ],
    ids=["keys", "numbers", "worksheets"],
)
def test_a_file_may_hold_too_much_to_be_read_soon(released, content, said):
    _, message = read_notebook.read_submission(content.encode(), released)
    assert f"too long ({said})" in message


def test_lost_cells_come_back_where_they_were(released):
    answered = sample_course.plant(released, sample_course.RIGHT)
    order = [grade_id(cell) for cell in released.cells if grade_id(cell)]
    for name in order:
        notebook = copy.deepcopy(answered)
        notebook.cells = [cell for cell in notebook.cells if grade_id(cell) != name]
        repair.repair(notebook, released)
        assert [grade_id(cell) for cell in notebook.cells if grade_id(cell)] == order


def test_an_answer_that_was_put_back_does_not_run(released):
    notebook = sample_course.plant(released, sample_course.RIGHT)
    notebook.cells = [cell for cell in notebook.cells if grade_id(cell) != "double"]
    repair.repair(notebook, released)
    assert [grade_id(cell) for cell in notebook.cells if not repair.runs(cell)] == ["double"]


def test_what_is_not_run_is_not_for_the_learner_to_say(released):
    """A test that is not run has not failed: passed over as a demonstration, it would give all its points."""
    handed_out = copy.deepcopy(released)
    test = {"grade": True, "grade_id": "plain", "locked": True, "points": 2.0, "schema_version": 3, "solution": False,
            "task": False}  # fmt: skip
    handed_out.cells.append(nbformat.v4.new_code_cell("assert False", metadata={"nbgrader": test}))
    answered = sample_course.plant(handed_out, sample_course.RIGHT)
    for cell in answered.cells:
        cell.metadata[METADATA] = {"demonstration": True, "runs": False}
    notebook, _ = read_notebook.read_submission(nbformat.writes(answered).encode(), handed_out)
    assert repair.repair(notebook, handed_out) == {}
    assert all(repair.runs(cell) for cell in notebook.cells)
    passed_over = [cell.source for cell in notebook.cells if is_demonstration(cell)]
    assert passed_over == ['print("the demonstration ran")']


def test_what_a_learner_builds_on_is_run(released):
    """A demonstration makes names that somebody may use."""
    handed_out = copy.deepcopy(released)
    at = next(i for i, cell in enumerate(handed_out.cells) if is_demonstration(cell))
    for source in ("first = 1", "second = [first for _ in range(3)]", "third = 3\nprint(third)"):
        handed_out.cells.insert(at, cell := nbformat.v4.new_code_cell(source))
        demonstration.mark(cell)
        at += 1
    for answer, run in {
        "def total(x):\n    return x.sum()": set(),
        "def total(x, second=2):\n    first = second\n    return x.sum() + first - second": set(),
        "third = 0\ndef total(x):\n    return x.sum() + third": set(),
        "def total(x):\n    return x.sum() + 0 * third": {"third"},
        "class total:\n    def __call__(self, x):\n        return [n for n in second]": {"first", "second"},
        "%time second": {"first", "second"},
        "this is no Python, third": set(),
    }.items():
        answered = sample_course.plant(handed_out, sample_course.RIGHT | {"total": answer})
        notebook, _ = read_notebook.read_submission(nbformat.writes(answered).encode(), handed_out)
        repair.repair(notebook, handed_out)
        sources = [cell.source for cell in notebook.cells if is_demonstration(cell)]
        passed_over = {name for name in ("first", "second", "third") if any(s.startswith(name) for s in sources)}
        assert {"first", "second", "third"} - passed_over == run, answer


@pytest.mark.parametrize(
    "outputs",
    [7, ["text"], [{"output_type": "stream"}], [{"output_type": "display_data", "data": {"image/png": [1]}}],
     [{"output_type": "stream", "name": "stdout", "text": ["a\n", {"b": 1}]}], [{"output_type": ["error"]}],
     [{"output_type": "execute_result", "data": None}, {"output_type": "error", "traceback": [None]}]],
)  # fmt: skip
def test_broken_outputs_do_no_harm(released, outputs):
    raw = json.loads(nbformat.writes(sample_course.plant(released, sample_course.RIGHT)))
    for cell in raw["cells"]:
        if cell["cell_type"] == "code":
            cell["outputs"] = outputs
    notebook, message = read_notebook.read_submission(json.dumps(raw).encode(), released)
    assert message is None and repair.repair(notebook, released) == {}
    nbformat.validate(notebook)


def test_what_a_person_marks_is_left_to_that_person(released):
    """An answer that bears points itself, as nbgrader's manually graded ones do, is never taken for damaged."""
    essay = nbformat.v4.new_markdown_cell("YOUR ANSWER HERE", metadata={"nbgrader": {
        "grade": True, "grade_id": "essay", "locked": False, "points": 2.0, "schema_version": 3, "solution": True,
        "task": False}})  # fmt: skip
    handed_out = copy.deepcopy(released)
    handed_out.cells.append(essay)
    notebook = sample_course.plant(handed_out, sample_course.RIGHT)
    notebook.cells[-1] = nbformat.v4.new_code_cell("what I think", metadata=essay.metadata)
    assert repair.repair(notebook, handed_out) == {}
    assert notebook.cells[-1].cell_type == "markdown" and notebook.cells[-1].source == "what I think"
    lost = copy.deepcopy(notebook)
    del lost.cells[-1]
    assert repair.repair(lost, handed_out) == {}
    assert lost.cells[-1].source == "YOUR ANSWER HERE"


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=12), inner, max_size=4),
    max_leaves=12,
)
FIELDS = (
    "attachments", "cell_type", "cells", "execution_count", "grade_id", "id", "autograde", "metadata", "nbformat",
    "nbformat_minor", "nbgrader", "outputs", "source", "worksheets",
)  # fmt: skip


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_whatever_a_field_holds_the_notebook_becomes_whole(released, data):
    raw = json.loads(nbformat.writes(sample_course.plant(released, sample_course.RIGHT)))
    places = [raw, raw["metadata"], *raw["cells"], *(cell["metadata"] for cell in raw["cells"])]
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.sampled_from(places))
        place[data.draw(st.sampled_from(FIELDS))] = data.draw(anything)
    notebook, message = read_notebook.read_submission(json.dumps(raw).encode(), released)
    if not message:
        repair.repair(notebook, released)
    whole(notebook, released)


@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.binary(max_size=200))
def test_any_bytes_get_a_sentence(released, data):
    notebook, message = read_notebook.read_submission(data, released)
    assert message and notebook == released and notebook is not released


def test_the_name_of_another_lesson_is_one_line_of_a_terminal(released):
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("x = 1")])
    notebook.metadata.autograde = {"lesson": "01_x)\n19 graded, 0 failed\x1b[2J"}
    read, _ = read_notebook.read_submission(nbformat.writes(notebook).encode(), released)
    message = " ".join(repair.repair(read, released).values())
    assert "01_x" in message and not any(ord(character) < 32 for character in message)
