"""The Makefile's targets and .ci/run: they find a Python that will do, and say what to do where there is none."""

import re
import shutil
import subprocess
import sys

import pytest
from run_make import ROOT, make, needs_make


@pytest.fixture
def path(tmp_path):
    """A PATH with nothing on it but a shell; tests put Pythons there."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for name in ["sh", "sed"]:
        (folder / name).symlink_to(shutil.which(name))
    return folder


def put_python(folder, name, startup="", **modules):
    """A Python that runs `startup` first, and finds `modules` before its own."""
    home = folder.parent / f"{name}-modules"
    home.mkdir()
    for module, code in {"sitecustomize": startup, **modules}.items():
        (home / f"{module}.py").write_text(code)
    python = folder / name
    python.write_text(f'#!/bin/sh\nPYTHONPATH="{home}" exec "{sys.executable}" "$@"\n')
    python.chmod(0o755)
    return python


OLD = "import sys; sys.version_info = (3, 9, 2, 'final', 0)"
BARE = {"ensurepip": "raise ImportError"}


@needs_make
@pytest.mark.parametrize("door", ["lab", "test"])
def test_too_old_a_python_is_named_with_what_to_install(path, door):
    put_python(path, "python3", OLD)
    done = make(door, PATH=str(path))
    assert done.returncode == 2
    assert "needs Python 3.11 or newer. python3 is 3.9.2." in done.stderr
    assert "apt-get install python3" in done.stderr and "brew install" in done.stderr
    assert "environment.yml" in done.stderr and "make PYTHON=" in done.stderr
    assert "Traceback" not in done.stderr


@needs_make
def test_no_python_at_all(path):
    done = make("test", PATH=str(path))
    assert done.returncode == 2
    assert "No Python was found on the PATH" in done.stderr
    assert "apt-get install python3" in done.stderr


@needs_make
def test_a_python_that_cannot_make_virtual_environments(path):
    put_python(path, "python3", **BARE)
    done = make("test", PATH=str(path))
    assert done.returncode == 2
    minor = "{}.{}".format(*sys.version_info)
    assert f"apt-get install python{minor}-venv" in done.stderr


@needs_make
def test_python_can_be_named_and_is_not_replaced_in_silence(path):
    put_python(path, "python3")
    old = put_python(path, "elsewhere", OLD)
    done = make("test", f"PYTHON={old}", PATH=str(path))
    assert done.returncode == 2 and f"{old} is 3.9.2" in done.stderr
    done = make("test", "PYTHON=/no/such/python", PATH=str(path))
    assert done.returncode == 2 and "PYTHON=/no/such/python does not run" in done.stderr


def test_the_first_python_that_will_do_is_taken(path):
    put_python(path, "python3", OLD)
    put_python(path, "python3.13", **BARE)
    good = put_python(path, "python3.12")
    command = ["sh", "tools/find_python.sh"]
    found = subprocess.run(command, cwd=ROOT, env={"PATH": str(path)}, capture_output=True, text=True)
    assert (found.returncode, found.stdout, found.stderr) == (0, f"{good}\n", "")


@needs_make
def test_make_alone_lists_the_targets():
    done = make()
    assert done.returncode == 0
    assert re.findall(r"^  make ([\w-]+)", done.stdout, re.MULTILINE) == [
        "help", "lab", "test", "test-all", "build", "grade", "encore", "bench", "clean",
    ]  # fmt: skip


# Continuous integration


def test_ci_ends_in_the_line_of_pytest_and_the_status_of_make(path, tmp_path):
    for name in ["bash", "dirname", "id"]:
        (path / name).symlink_to(shutil.which(name))
    lines = ["#!/bin/sh", 'echo "$@"', 'echo "== 1 failed =="', 'echo "make: *** [test] Error 1" >&2', "exit 2"]
    (path / "make").write_text("\n".join(lines))
    (path / "make").chmod(0o755)
    done = subprocess.run([ROOT / ".ci" / "run"], cwd=tmp_path, env={"PATH": str(path)}, capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (2, "test-all\n== 1 failed ==\n", "")
