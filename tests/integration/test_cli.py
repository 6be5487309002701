"""The command line, as a person types it: what it prints, and its exit codes."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from click.testing import CliRunner
from small_class import hand_in, make_course
from warm_cli import autograde

from autograde.cli import main

ROOT = Path(__file__).parents[2]
RIGHT = (
    "import torch\n\n\ndef linear_by_hand(x, weight, bias):\n    return torch.nn.functional.linear(x, weight, bias)\n"
)
WRONG = RIGHT.replace("linear(x, weight, bias)\n", "linear(x, weight)\n")


def started(*words, encoding=None):
    """Run ``autograde`` as a person does, in a process of its own."""
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "autograde", *map(str, words)]
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, encoding=encoding)


def refused(*words):
    """What the command line says of words that it refuses: one line, and exit code 2. Nothing is run, so no process is."""
    done = CliRunner().invoke(main, [*map(str, words)])
    assert done.exit_code == 2 and done.stdout == ""
    return done.stderr


def written(folder, text, name="answers.py"):
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def test_the_list_of_commands_says_what_each_does_in_full():
    listed = CliRunner().invoke(main, ["--help"], terminal_width=80).stdout.partition("Commands:")[2]
    assert "..." not in listed and all(name in listed for name in main.commands)


def test_a_right_file_passes(tmp_path):
    done = started("check", written(tmp_path, RIGHT))
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("✓ linear_by_hand · 2 of 2 points")


def test_a_wrong_one_is_told_which_mistake_it_is(tmp_path):
    done = autograde("check", written(tmp_path, WRONG), "linear_by_hand", "--json")
    assert done.returncode == 1
    verdict = json.loads(done.stdout)["linear_by_hand"]
    assert {key: verdict[key] for key in ("points", "score", "passed", "misconception")} == {
        "points": 2.0,
        "score": 0.0,
        "passed": False,
        "misconception": "bias_forgotten",
    }
    assert "likely thought" in verdict["message"]


def test_a_file_may_import_what_lies_beside_it(tmp_path):
    written(tmp_path, RIGHT, "helper.py")
    done = autograde("check", written(tmp_path, "from helper import linear_by_hand\n"))
    assert done.returncode == 0, done.stdout + done.stderr


def test_what_a_lesson_gives_is_no_answer(tmp_path):
    text = (
        "from lora_ref.layer import LoRALinear\n\n"
        "def adapter_parameters(model):\n"
        "    layers = [module for module in model.modules() if isinstance(module, LoRALinear)]\n"
        "    return [parameter for layer in layers for parameter in (layer.lora_A, layer.lora_B)]\n"
    )
    done = autograde("check", written(tmp_path, text), "--json")
    assert done.returncode == 0, done.stdout + done.stderr
    assert list(json.loads(done.stdout)) == ["adapter_parameters"]


@pytest.mark.slow
def test_a_file_that_stops_is_still_judged_by_what_it_defined(tmp_path):
    done = autograde("check", written(tmp_path, RIGHT + "\n1 / 0\n"))
    assert done.returncode == 0
    assert "did not run to its end: line 7: ZeroDivisionError" in done.stderr
    done = autograde("check", written(tmp_path, "def linear_by_hand(:\n"), "linear_by_hand")
    assert done.returncode == 1
    assert "SyntaxError" in done.stderr
    assert "there is no linear_by_hand" in done.stdout


@pytest.mark.slow
def test_notebooks_solved_and_unsolved():
    done = autograde("check", ROOT / "solutions" / "00_start_here" / "00_start_here.ipynb")
    assert done.returncode == 0, done.stdout
    done = autograde("check", ROOT / "notebooks" / "00_start_here" / "00_start_here.ipynb")
    assert done.returncode == 1
    assert "Not started yet" in done.stdout


@pytest.mark.parametrize(
    ("name", "text", "exercise", "said"),
    [
        ("absent.py", None, "", "there is no file"),
        (".", None, "", "is a folder"),
        ("notes.txt", "x", "", "neither a .py nor an .ipynb"),
        ("broken.ipynb", "{", "", "is not a notebook"),
        ("empty.py", "x = 1\n", "", "defines none of the course's exercises"),
        ("near.py", "def linear_by_hands(x):\n    return x\n", "", "linear_by_hands: did you mean linear_by_hand?"),
        ("answers.py", RIGHT, "linear_by_hnd", "did you mean 'linear_by_hand'?"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(tmp_path, name, text, exercise, said):
    path = tmp_path / name
    if text is not None:
        path.write_text(text, encoding="utf-8")
    words = refused("check", path, *filter(None, [exercise]))
    assert said in words
    assert len(words.strip().splitlines()) == 1


def test_a_misspelt_command_names_the_nearest():
    assert "Did you mean 'check'?" in refused("chek", "answers.py")


def test_outside_a_course_build_uses_the_installed_one_and_says_which_lessons_there_are(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert "00_start_here" in refused("build", "99")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no device that is always full")
def test_what_cannot_be_written_is_told_in_one_line(tmp_path):
    def said(words):
        command = f'"{sys.executable}" -m autograde {words}'
        environment = os.environ | {"PYTHONPATH": str(ROOT)}
        done = subprocess.run(command, shell=True, cwd=course.root, env=environment, capture_output=True, text=True)
        return done.returncode, done.stderr

    course = make_course(tmp_path / "course")
    code, error = said("progress >/dev/full")
    assert (
        code == 1 and error.startswith("autograde: cannot go on: No space left on device.") and error.count("\n") == 1
    )
    hand_in(course, "ada", RIGHT)
    assert said("grade >&-") == (0, "")
    shutil.rmtree(course.autograded)
    course.autograded.write_text("a file")
    code, error = said("grade")
    assert code == 1 and str(course.autograded) in error and error.count("\n") == 1


def test_progress_tells_worked_in_from_untouched(tmp_path):
    for name in ("notebooks", "solutions"):
        shutil.copytree(ROOT / name / "00_start_here", tmp_path / name / "00_start_here")
    for name in ("nbgrader_config.py", "pyproject.toml"):
        shutil.copy(ROOT / name, tmp_path)
    assert "○ 00_start_here · not started yet" in autograde("progress", cwd=tmp_path).stdout
    path = tmp_path / "notebooks" / "00_start_here" / "00_start_here.ipynb"
    notebook = nbformat.read(path, as_version=4)
    cell = next(c for c in notebook.cells if c["id"] == "linear_by_hand")
    cell.source = cell.source.replace(
        "raise NotImplementedError()", "return torch.nn.functional.linear(x, weight, bias)"
    )
    nbformat.write(notebook, path)
    assert "✓ 00_start_here · 2 of 2 points" in autograde("progress", cwd=tmp_path).stdout


def test_half_a_course_is_refused_and_no_other_is_graded_in_its_place(tmp_path, monkeypatch):
    shutil.copy(ROOT / "nbgrader_config.py", tmp_path)
    monkeypatch.chdir(tmp_path)
    assert "no pyproject.toml" in refused("grade")
