"""What a learner asks a check besides its verdict (its points, its inputs) works in grading as it does in the notebook."""

import nbformat
import pytest
from small_class import RIGHT, handed_in

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


def test_a_seed_that_is_no_number_in_the_notebook_gives_none_and_stops_nothing(course, pool):
    cell = after_the_answer(
        course, pool, "seed = 3\nfor case in check.linear_by_hand.inputs(seed):\n    1 / 0\nprint('on')"
    )
    assert cell.outputs[-1].text.endswith("judged by the grader, outside this notebook.\non\n")
