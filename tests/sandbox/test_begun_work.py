"""Work that was begun and went wrong outside the answer: the report names the first cause, and its cell."""

import nbformat
import pytest
from small_class import FORGOTTEN, RIGHT, handed_in

from autograde.notebook.cells import grade_id
from autograde.submission import read_notebook, repair
from autograde.submission.grade_notebook import grade

LESSON = "00_start_here"
USES_NN = "def linear_by_hand(x, weight, bias):\n    return nn.functional.linear(x, weight, bias)"
BROKEN_IMPORT = "import torhc\nimport torch\nfrom torch import nn\nfrom autograde import check"


@pytest.fixture
def verdict(pool, course):
    """What grading says to an answer: ``verdict(answer, first=…, above=…, below=…)``, sources of cells; `swapped`: whether the
    check stands above the answer.
    """

    def judged(answer, first=None, above=None, below=None, swapped=False):
        released = nbformat.read(course.release(LESSON), as_version=4)
        notebook = handed_in(course, answer)
        if swapped:
            places = [i for i, cell in enumerate(notebook.cells) if (grade_id(cell) or "").endswith("linear_by_hand")]
            notebook.cells.insert(places[0], notebook.cells.pop(places[1]))
        if first:
            notebook.cells[0].source = first
        if above:
            notebook.cells.insert(1, nbformat.v4.new_code_cell(above))
        if below:
            notebook.cells.append(nbformat.v4.new_code_cell(below))
        notebook, reason = read_notebook.read_submission(nbformat.writes(notebook).encode(), released)
        assert reason is None
        damage = repair.repair(notebook, released)
        done = grade(notebook, lambda code: pool.open(code=code), damage)
        return done.verdicts["linear_by_hand"]

    return judged


def test_an_exception_without_words_is_named_alone(verdict):
    found = verdict(USES_NN, first="assert False\nfrom torch import nn")
    assert "Cell 1 stopped with AssertionError, so nn is missing" in found.headline


@pytest.mark.parametrize("answer", [USES_NN, "class Mine(nn.Linear):\n    pass\n\n" + RIGHT])
def test_an_import_that_failed_is_named_with_its_cell(verdict, answer):
    found = verdict(answer, first=BROKEN_IMPORT)
    assert found.score == 0
    assert "Cell 1 stopped with ModuleNotFoundError: No module named 'torhc', so nn is missing" in found.headline
    assert found.misconception is None and not found.hint


def test_a_helper_that_does_not_parse_is_the_cause(verdict):
    answer = "def linear_by_hand(x, weight, bias):\n    return helper(x, weight, bias)"
    found = verdict(answer, above="def helper(x, weight, bias)\n    return 1")
    assert "SyntaxError" in found.headline and "so helper is missing" in found.headline


def test_what_an_answer_does_not_need_is_no_cause(verdict):
    assert verdict(RIGHT, first=BROKEN_IMPORT).passed
    assert "torch" not in verdict(FORGOTTEN, first=BROKEN_IMPORT).headline


def test_what_is_there_all_the_same_is_not_called_missing(verdict):
    found = verdict(FORGOTTEN + "\nF = nn.functional", above="from torch import nn\n1 / 0")
    assert "right shape but wrong values" in found.headline and found.misconception == "bias_forgotten"


def test_an_answer_in_another_cell_is_found(verdict):
    for place, words in (("above", "above it, and the cell for it then puts the stub"), ("below", "below this check")):
        found = verdict(None, **{place: RIGHT})
        assert found.status == "not_started" and words in found.headline


def test_a_check_above_its_answer_is_told_so(verdict):
    found = verdict(RIGHT, swapped=True)
    assert found.headline == "linear_by_hand is defined in a cell below this check. Move the check below that cell."
    assert found.score == 0 and not found.hint


def test_an_untouched_stub_is_not_started(verdict):
    assert "Not started yet" in verdict(None).headline


def test_the_line_that_the_cell_came_with_is_named_where_it_was_left(verdict):
    found = verdict("def linear_by_hand(x, weight, bias):\n    out = x @ weight.T\n    raise NotImplementedError()")
    assert found.status == "failed" and "was in the cell from the start" in found.hint


def test_a_line_that_waits_for_a_person_is_named(verdict):
    found = verdict("def linear_by_hand(x, weight, bias):\n    input()\n    return x @ weight.T")
    assert "waits for input from the keyboard" in found.hint
    assert any(line.label == "your line" and "input()" in line.text for line in found.lines)


@pytest.mark.parametrize(
    "line", ["@torch.compile\n{}", "{}\nlinear_by_hand = torch.compile(linear_by_hand)"], ids=["decorator", "call"]
)
def test_what_is_compiled_in_the_notebook_runs_uncompiled(verdict, line):
    assert verdict(line.format(RIGHT)).passed


def test_a_breakpoint_that_was_left_does_nothing(verdict):
    assert verdict(RIGHT.replace("    out", "    breakpoint()\n    out", 1)).passed
