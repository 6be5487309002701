"""What a kernel sends a notebook for a failed check: a card for a person, a traceback for nbgrader's Validate."""

import nbformat
from nbclient import NotebookClient

CELLS = [
    "from autograde import check\n\ndef linear_by_hand(x, weight, bias):\n    return x @ weight if bias is None else x @ weight + bias",
    "check.linear_by_hand(linear_by_hand)",
    "import os\nos.environ['NBGRADER_EXECUTION'] = 'validate'",
    "check.linear_by_hand(linear_by_hand)",
    "def linear_by_hand(x, weight, bias):\n    raise NotImplementedError()",
    "del os.environ['NBGRADER_EXECUTION']\ncheck.linear_by_hand(linear_by_hand)",
    "try:\n    check.linear_by_hand(linear_by_hand)\nexcept Exception as report:\n    print(report)",
]


def test_a_failed_check_is_a_card_for_people_and_a_traceback_for_validate():
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source) for source in CELLS])
    NotebookClient(notebook, timeout=600, kernel_name="python3", allow_errors=True).execute()
    outputs = [cell.outputs for cell in notebook.cells]

    card, error = outputs[1]
    assert card.output_type == "display_data" and set(card.data) == {"text/plain", "text/html"}
    assert "likely thought" in card.data["text/html"] and "likely thought" in card.data["text/plain"]
    assert error.output_type == "error" and error.ename == "CheckFailed"
    assert error.traceback == ["✗ linear_by_hand · 0 of 2 points. The report is above."]
    assert "likely thought" in error.evalue  # for programs that run notebooks, such as nbconvert

    (error,) = outputs[3]
    assert error.output_type == "error" and "likely thought" in "\n".join(error.traceback)

    card, error = outputs[5]
    assert "Not started yet" in card.data["text/html"]
    assert error.ename == "NotStarted" and len(error.traceback) == 1

    (printed,) = outputs[6]
    assert printed.output_type == "stream"  # an exception that is caught shows nothing by itself
