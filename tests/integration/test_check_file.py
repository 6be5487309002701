"""`autograde check` reads what Python and IPython take: no answer is passed over because of how its file is written."""

import codecs

import nbformat
import pytest
from test_cli import RIGHT, WRONG, autograde

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


def test_an_encoding_that_is_not_declared_is_named(tmp_path):
    path = tmp_path / "answers.py"
    path.write_bytes(("# café\n" + RIGHT).encode("latin-1"))
    done = autograde("check", path)
    assert done.returncode == 2 and "Save it as UTF-8" in done.stderr and done.stderr.count("\n") == 1


def test_a_terminal_that_lacks_the_characters_gets_others(tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONIOENCODING", "cp1252")
    path = tmp_path / "answers.py"
    path.write_text(WRONG)
    done = autograde("check", path, encoding="cp1252")
    assert done.returncode == 1 and "linear_by_hand" in done.stdout and "Traceback" not in done.stderr
