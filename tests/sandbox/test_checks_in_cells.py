"""What a learner asks a check besides its verdict (its points, its inputs) works in grading as it does in the notebook."""

import nbformat
import pytest
from small_class import RIGHT, handed_in

import autograde
from autograde import registry
from autograde.submission import repair
from autograde.submission.grade_notebook import grade

LESSON = "00_start_here"
IMPORTS = (
    "from autograde import check",
    "from autograde.checks import check",
    "import autograde\ncheck = autograde.check",
)


def after_the_answer(course, pool, source):
    """A cell of a learner's own, run in grading below a right answer, and the verdict of the answer."""
    notebook = handed_in(course, RIGHT)
    own = nbformat.v4.new_code_cell(source)
    notebook.cells.append(own)
    damage = repair.repair(notebook, nbformat.read(course.release(LESSON), as_version=4))
    assert grade(notebook, lambda code: pool.open(code=code), damage, lesson=LESSON).verdicts["linear_by_hand"].passed
    return own


@pytest.mark.parametrize("importing", IMPORTS)
def test_points_and_the_inputs_of_a_seed(course, pool, importing):
    source = f"""{importing}
asked = check.linear_by_hand
case = asked.inputs(seed=7)[0]
again = check.linear_by_hand.inputs(seed=7)[0]
first = linear_by_hand(**again)
case["x"].zero_()
verdict = check.linear_by_hand.judge(linear_by_hand)
print(asked.points, asked.subject, sorted(again), verdict.passed in (True, False), again["x"].sum().item())"""
    cell = after_the_answer(course, pool, source)
    check = registry.of(course).find("linear_by_hand")
    expected = f"2.0 linear_by_hand ['bias', 'weight', 'x'] True {check.inputs(7)[0]['x'].sum().item()}"
    assert cell.outputs[-1].get("text", "").splitlines()[-1] == expected, cell.outputs


ASKED_BY_NAME = {
    "a name for the seed": "seed = 3\ncases = check.linear_by_hand.inputs(seed)",
    "a name by keyword": "seed = 3\ncases = check.linear_by_hand.inputs(seed=seed)",
    "a name for the check": "asked = check.linear_by_hand\ncases = asked.inputs(seed=3)",
    "another name of check": "from autograde import check as c\ncases = c.linear_by_hand.inputs(seed=3)",
}


@pytest.mark.parametrize("name", ASKED_BY_NAME)
def test_the_inputs_of_a_seed_that_has_a_name(course, pool, name):
    cell = after_the_answer(course, pool, f"{ASKED_BY_NAME[name]}\nprint(cases[0]['x'].sum().item())")
    expected = registry.of(course).find("linear_by_hand").inputs(3)[0]["x"].sum().item()
    assert cell.outputs[-1].get("text") == f"{expected}\n", cell.outputs


def test_a_seed_that_is_known_only_when_the_cell_runs_gives_none_says_why_and_stops_nothing(course, pool):
    cell = after_the_answer(course, pool, "for case in check.linear_by_hand.inputs(1 + 2):\n    1 / 0\nprint('on')")
    said = cell.outputs[-1].text
    assert said.startswith("check.linear_by_hand.inputs(seed=3): no inputs.") and said.endswith("(seed=7).\non\n")


@pytest.mark.parametrize(
    "call",
    [
        "check.linear_by_hnd(linear_by_hand)",
        "import autograde\nautograde.check.linear_by_hnd.points",
        "from autograde import check as c\nc.linear_by_hnd(linear_by_hand)",
    ],
)
def test_a_check_that_does_not_exist_is_named_as_in_the_notebook(course, pool, call):
    cell = after_the_answer(course, pool, call)
    with pytest.raises(AttributeError) as raised:
        autograde.check.linear_by_hnd  # noqa: B018
    assert "did you mean" in str(raised.value)
    assert (cell.outputs[-1].ename, cell.outputs[-1].evalue) == ("AttributeError", str(raised.value))
