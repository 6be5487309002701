"""`autograde check` reads what Python and IPython take: no answer is passed over because of how its file is written."""

import codecs
import copy
import os
import subprocess
import sys

import nbformat
import pytest
from test_cli import RIGHT, ROOT, WRONG, started
from warm_cli import autograde

LESSON = "00_start_here"

LATIN = "# -*- coding: latin-1 -*-\n# café\n"
CHECKED = "from autograde import check\n"
SCRIPTS = {
    "a byte order mark": codecs.BOM_UTF8 + RIGHT.encode(),
    "latin-1, as it declares": (LATIN + RIGHT).encode("latin-1"),
    "lines ending as on Windows": RIGHT.replace("\n", "\r\n").encode(),
    "shell command and magic": ("!echo hello\n%matplotlib inline\n" + RIGHT).encode(),
    "its own path": ("open(__file__).close()\n" + RIGHT).encode(),
    "a main section": (RIGHT + "if __name__ == '__main__':\n    linear_by_hand\n").encode(),
}


def notebook(folder, *sources):
    path = folder / "answers.ipynb"
    nbformat.write(nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source) for source in sources]), path)
    return path


@pytest.mark.parametrize("name", SCRIPTS)
def test_a_right_script_passes_however_it_is_written(tmp_path, name):
    path = tmp_path / "answers.py"
    path.write_bytes(SCRIPTS[name])
    done = autograde("check", path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.startswith("✓ linear_by_hand") and not done.stderr


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no pipes in folders")
@pytest.mark.parametrize("kind", [".py", ".ipynb"])
def test_a_pipe_is_not_waited_for(tmp_path, kind):
    path = tmp_path / f"answers{kind}"
    os.mkfifo(path)
    done = autograde("check", path)
    assert done.returncode == 2 and "is a pipe; save your answer" in done.stderr


@pytest.mark.parametrize("magic", ["%%time", "%%capture shown", "%%time\n%matplotlib inline"])
def test_a_wrong_answer_under_a_magic_is_judged(tmp_path, magic):
    done = autograde("check", notebook(tmp_path, "import torch", f"{magic}\n{WRONG}"))
    assert done.returncode == 1
    assert "✗ linear_by_hand" in done.stdout and "likely thought" in done.stdout


def test_the_object_that_a_check_is_called_with_is_judged(tmp_path):
    path = tmp_path / "answers.py"
    path.write_text(CHECKED + WRONG.replace("linear_by_hand", "mine") + "check.linear_by_hand(mine)\n")
    done = autograde("check", path)
    assert done.returncode == 1 and "likely thought" in done.stdout


@pytest.mark.parametrize(
    ("cells", "said"),
    [
        ((RIGHT.replace("bias):", "bias)"),), "cell 1, line 4: SyntaxError: expected ':'"),
        (("import torch", "x = 1\n1 / 0\n" + RIGHT), "cell 2, line 2: ZeroDivisionError: division by zero"),
    ],
)
def test_the_first_error_is_shown_with_its_line_and_the_exercise_is_judged(tmp_path, cells, said):
    done = autograde("check", notebook(tmp_path, *cells))
    assert done.returncode == 1
    assert f"did not run to its end: {said}\n" in done.stderr
    assert "✗ linear_by_hand · 0 of 2 points" in done.stdout


def test_the_line_of_a_script_is_that_of_the_file(tmp_path):
    path = tmp_path / "answers.py"
    path.write_text(RIGHT + "\nundefined\n")
    done = autograde("check", path)
    assert "did not run to its end: line 7: NameError: name 'undefined' is not defined" in done.stderr


def test_a_cell_of_a_script_that_stops_does_not_stop_those_after_it(tmp_path):
    """A lesson that was exported as a script holds demonstrations, some of which grading refuses."""
    path = tmp_path / "answers.py"
    path.write_text(f"# In[1]:\n\nfrom lora_ref import inject\n\n# In[2]:\n\n{RIGHT}")
    done = autograde("check", path)
    assert done.returncode == 0 and done.stdout.startswith("✓ linear_by_hand"), done.stdout + done.stderr
    assert "line 3: ImportError" in done.stderr


CALLS = {
    "an expression": "check.linear_by_hand(torch.nn.functional.linear)\n",
    "a function without a name": "check.linear_by_hand(lambda x, w, b: torch.nn.functional.linear(x, w, b))\n",
    "another name of check": "from autograde import check as c\nmine = torch.nn.functional.linear\nc.linear_by_hand(mine)\n",
    "in a function": "mine = torch.nn.functional.linear\ndef main():\n    check.linear_by_hand(mine)\nmain()\n",
}


@pytest.mark.parametrize("name", CALLS)
def test_what_is_handed_to_a_check_is_judged_however_it_is_called(tmp_path, name):
    for text, code in ((CALLS[name], 0), (CALLS[name].replace("functional.linear", "functional.bilinear"), 1)):
        path = tmp_path / "answers.py"
        path.write_text("import torch\n" + CHECKED + text)
        done = autograde("check", path)
        assert done.returncode == code, done.stdout + done.stderr
        assert "linear_by_hand" in done.stdout and "there is no" not in done.stdout


def test_answers_of_another_file_are_found_where_all_of_it_is_imported(tmp_path):
    (tmp_path / "helper.py").write_text(WRONG)
    (tmp_path / "answers.PY").write_text("from helper import *\n")
    done = autograde("check", tmp_path / "answers.PY")
    assert done.returncode == 1 and "likely thought" in done.stdout


def test_what_could_not_be_judged_is_no_success(tmp_path):
    """The exit code is that of a failure, although all that was judged is right."""
    done = autograde("check", notebook(tmp_path, RIGHT, "adapter_parameters = lambda model: [model"))
    assert done.returncode == 1 and "✓ linear_by_hand" in done.stdout and "cell 2, line 1: SyntaxError" in done.stderr
    done = autograde("check", notebook(tmp_path, RIGHT, "%%bash\necho 'neither Python nor an answer ('"))
    assert done.returncode == 0, done.stdout + done.stderr
    path = tmp_path / "answers.py"
    path.write_text("try:\n    eval('(')\nexcept SyntaxError:\n    pass\n" + RIGHT)
    assert autograde("check", path).returncode == 0
    for imported, named in ((CHECKED, "check"), ("import autograde as a\n", "a.check")):
        path.write_text(f"{imported}{RIGHT}{named}.linear_by_hnd(linear_by_hand)\n")
        done = autograde("check", path)
        assert done.returncode == 2 and "there is no exercise 'linear_by_hnd'; did you mean" in done.stderr
        assert "line 7: " in done.stderr


def test_an_encoding_that_is_not_declared_is_named(tmp_path):
    path = tmp_path / "answers.py"
    path.write_bytes(("# café\n" + RIGHT).encode("latin-1"))
    done = autograde("check", path)
    assert done.returncode == 2 and "Save it as UTF-8" in done.stderr and done.stderr.count("\n") == 1


ODD_FILES = {
    "is a device; save": lambda path: path.symlink_to("/dev/zero"),
    "is a link; save": lambda path: path.symlink_to(path.name),
    "which is too much to be read": lambda path: (path.touch(), os.truncate(path, 2**32)),
    "an encoding that Python does not know": lambda path: path.write_bytes(b"# coding: zlib_codec\n"),
}


@pytest.mark.skipif(os.name != "posix", reason="devices and links")
@pytest.mark.parametrize("said", ODD_FILES)
def test_what_is_no_file_to_read_is_named(tmp_path, said):
    path = tmp_path / "answers.py"
    ODD_FILES[said](path)
    done = autograde("check", path)
    assert done.returncode == 2 and said in done.stderr and done.stderr.count("\n") == 1


def test_a_terminal_that_lacks_the_characters_gets_others(tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONIOENCODING", "cp1252")
    path = tmp_path / "answers.py"
    path.write_text(WRONG)
    done = started("check", path, encoding="cp1252")
    assert done.returncode == 1 and "linear_by_hand" in done.stdout and "Traceback" not in done.stderr


def test_a_check_is_judged_where_it_is_called(tmp_path):
    path = tmp_path / "answers.py"
    path.write_text(CHECKED + RIGHT + "check.linear_by_hand(linear_by_hand)\nlinear_by_hand = None\n")
    done = autograde("check", path)
    assert done.returncode == 0 and not done.stderr, done.stdout + done.stderr


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("x = 1\ny = (2\n", 2),
        (f"x = 1\ny = (2\n\n{RIGHT}\n", 1),
        (f"y = 1\nundefined\n{RIGHT}", 1),
        (f"y = 1\nassert not y\n{RIGHT}", 1),
    ],
    ids=["no exercise", "an exercise below", "a line that stops", "an exception without words"],
)
def test_a_script_that_stops_says_where(tmp_path, text, code):
    path = tmp_path / "answers.py"
    path.write_text(text)
    done = autograde("check", path)
    assert done.returncode == code and "line 2: " in done.stderr
    if code == 1:
        assert "After running the file up to this point" in done.stdout
        assert "The file stopped earlier: line 2: " in done.stdout and "AssertionError:" not in done.stdout


def test_a_script_that_python_runs_prints_its_report_on_any_terminal(tmp_path):
    path = tmp_path / "answers.py"
    path.write_text(CHECKED + RIGHT + "check.linear_by_hand(linear_by_hand)\n")
    environment = os.environ | {"PYTHONPATH": str(ROOT), "PYTHONIOENCODING": "cp1252"}
    done = subprocess.run([sys.executable, path], cwd=ROOT, env=environment, capture_output=True, timeout=600)
    assert done.returncode == 0 and b"linear_by_hand" in done.stdout and not done.stderr, done.stderr


# A lesson's notebook: what grading would say ---------------------------------------------------------------------------


@pytest.fixture
def lesson():
    """The lesson's notebook with a right answer, and its cells by grade_id."""
    notebook = nbformat.read(ROOT / "notebooks" / LESSON / f"{LESSON}.ipynb", as_version=4)
    cells = {cell.metadata.nbgrader.grade_id: cell for cell in notebook.cells if "nbgrader" in cell.metadata}
    cells["linear_by_hand"].source = RIGHT
    return notebook, cells


def test_a_split_answer_is_whole_and_a_deleted_check_costs_its_points(tmp_path, lesson):
    notebook, cells = lesson
    upper = copy.deepcopy(cells["linear_by_hand"])
    upper.id, upper.source = "upper", "%%time\nhelper = 1"
    notebook.cells.insert(notebook.cells.index(cells["linear_by_hand"]), upper)
    nbformat.write(notebook, tmp_path / "mine.ipynb")
    assert autograde("check", tmp_path / "mine.ipynb").returncode == 0
    notebook.cells.remove(cells["check_linear_by_hand"])
    nbformat.write(notebook, tmp_path / "mine.ipynb")
    done = autograde("check", tmp_path / "mine.ipynb")
    assert done.returncode == 1 and "check cell of linear_by_hand was deleted" in " ".join(done.stdout.split())


@pytest.mark.slow
def test_a_notebook_that_lost_its_metadata_is_known_by_its_name_only(tmp_path, lesson):
    notebook, _ = lesson
    notebook.metadata = {}
    for cell in notebook.cells:
        cell.metadata = {}
    nbformat.write(notebook, tmp_path / f"{LESSON}.ipynb")
    done = autograde("check", tmp_path / f"{LESSON}.ipynb")
    assert done.returncode == 1 and "has the metadata by which the grader finds" in " ".join(done.stdout.split())
    (tmp_path / f"{LESSON}.ipynb").rename(tmp_path / "my notes.ipynb")
    assert autograde("check", tmp_path / "my notes.ipynb").returncode == 0, "a notebook of one's own, run as it is"
