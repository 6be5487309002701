"""The walls between the rooms of autograde/ stand, and the engine knows nothing of this course."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
COURSE_ROOMS = {"checks", "probes", "lesson_kit"}
OF_THIS_COURSE = re.compile(r"lora|peft|adapter|\brank\b|lesson_kit|autograde\.(checks|probes)", re.IGNORECASE)
ENGINE = [
    path
    for path in sorted((ROOT / "autograde").rglob("*.py"))
    if path.relative_to(ROOT / "autograde").parts[0] not in {*COURSE_ROOMS, "submitted", "autograded"}
]


def lint_imports(*options, cwd=ROOT):
    command = [str(Path(sys.executable).with_name("lint-imports")), "--no-cache", *options]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)


def test_no_room_imports_one_above_it_and_the_engine_imports_no_course():
    done = lint_imports()
    assert done.returncode == 0, done.stdout


def test_a_wall_that_falls_is_seen(tmp_path):
    config = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    lower, upper = '"registry : source_files",\n  "project",', '"project",\n  "registry : source_files",'
    assert lower in config
    (tmp_path / "pyproject.toml").write_text(config.replace(lower, upper), encoding="utf-8")
    done = lint_imports("--config", str(tmp_path / "pyproject.toml"))
    assert done.returncode == 1 and "autograde.registry -> autograde.project" in done.stdout


@pytest.mark.parametrize("path", ENGINE, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_the_engine_holds_no_word_of_this_course(path):
    words = {match[0] for match in OF_THIS_COURSE.finditer(path.read_text(encoding="utf-8"))}
    assert not words, f"{path.relative_to(ROOT)} speaks of {sorted(words)}"
