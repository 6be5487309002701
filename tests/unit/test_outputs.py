"""What a cell shows is collected from any events, with work in proportion to their number."""

import subprocess
import sys
from pathlib import Path

import pytest

from autograde.notebook.outputs import Outputs
from autograde.submission import grade_notebook
from autograde.submission.grading_process import CPU_SECONDS, MEMORY


def shown(name, text=None, kind="display_data"):
    data = {"text/plain": name if text is None else text}
    return {"type": kind, "content": {"data": data, "metadata": {}, "transient": {"display_id": name}}}


def printed(text, name="stdout"):
    return {"type": "stream", "content": {"name": name, "text": text}}


FLUSH = {"type": "flush", "content": {"name": "stdout"}}
CLEAR = {"type": "clear_output", "content": {"wait": False}}


def collected(*events):
    cell = Outputs()
    for event in events:
        cell.add(event)
    return cell.end()


def test_pieces_of_a_stream_are_one_output_and_others_come_between():
    found = collected(printed("a"), FLUSH, printed("b"), shown("x"), printed("c"), printed("d", "stderr"))
    assert [output.get("text") for output in found] == ["ab", None, "c", "d"]


def test_what_is_cleared_is_updated_no_more_and_what_an_earlier_cell_shows_still_is():
    cell = Outputs()
    cell.add(shown("x", "first"))
    (first,) = cell.end()
    cell.begin()
    for event in (shown("x", "second"), printed("gone"), FLUSH, CLEAR, printed("stays"), FLUSH):
        cell.add(event)
    cell.add(shown("x", "third", "update_display_data"))
    assert [output["text"] for output in cell.end()] == ["stays"]
    assert first["data"]["text/plain"] == "third"


# Many more than a session lets through: one that looks at all of them for each takes minutes.
MANY = {
    "displays that are cleared": "[event for i in range(20_000) for event in (shown(str(i)), CLEAR)] + [CLEAR] * 20_000",
    "text that is flushed in pieces": "[event for _ in range(100_000) for event in (printed('a' * 200), FLUSH)]",
}


@pytest.mark.slow
@pytest.mark.parametrize("name", MANY)
def test_many_events_stay_within_what_a_grading_process_may_take(name):
    source = (
        f"{Path(__file__).read_text(encoding='utf-8').partition('MANY = ')[0]}\nset_limits({MEMORY}, {CPU_SECONDS})\n"
    )
    code = f"from autograde.sandbox.limits import set_limits\n{source}\ncollected(*{MANY[name]})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]


def test_empty_lines_have_an_end_too():
    """A megabyte of them stops a page for ten seconds."""
    grading = grade_notebook._Grading(None, {}, None)
    outputs = [{"output_type": "stream", "name": "stdout", "text": "\n" * 99_000} for _ in range(14)]
    kept = list(grading._fitting(outputs))
    assert kept[-1].text == grade_notebook.TOO_MANY
    assert sum(output.text.count("\n") for output in kept) < 150_000
