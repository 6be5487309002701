"""Setting up, for real, on a course that needs no network: what goes wrong is mended or said, and nothing is lost."""

import base64
import hashlib
import json
import os
import shutil
import tomllib
import zipfile

import pytest
from run_make import MAKE, ROOT, make, needs_make

EXTRAS = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]

# The course: one dependency, which lies in a folder, and a build that asks for nothing.
BACKEND = """
import zipfile
def build_editable(wheel_directory, config_settings=None, metadata_directory=None):
    name = "tiny-0-py3-none-any.whl"
    with zipfile.ZipFile(f"{wheel_directory}/{name}", "w") as wheel:
        wheel.writestr("tiny-0.dist-info/METADATA", METADATA)
        wheel.writestr("tiny-0.dist-info/WHEEL", WHEEL)
        wheel.writestr("tiny-0.dist-info/RECORD", "")
    return name
"""
WHEEL = "Wheel-Version: 1.0\nGenerator: tests\nRoot-Is-Purelib: true\nTag: py3-none-any\n"


def write_wheel(folder, name):
    files = {
        f"{name}.py": b"answer = 42\n" * 100,
        f"{name}-1.0.dist-info/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n".encode(),
        f"{name}-1.0.dist-info/WHEEL": WHEEL.encode(),
    }
    record = f"{name}-1.0.dist-info/RECORD"
    lines = [f"{record},,"]
    for file, content in files.items():
        digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
        lines.append(f"{file},sha256={digest},{len(content)}")
    folder.mkdir(exist_ok=True)
    with zipfile.ZipFile(folder / f"{name}-1.0-py3-none-any.whl", "w") as wheel:
        for file, content in {**files, record: "\n".join(lines)}.items():
            wheel.writestr(file, content)


# Each of these means something to a shell, to make, in a URL or in a format string.
ODD_NAME = 'a course\'s "copy" %20 ?#&;{x}'


class TinyCourse:
    """The Makefile and tools of the course, with a package of its own."""

    def __init__(self, folder):
        self.folder = folder
        (folder / "tools").mkdir(parents=True)
        for name in ["Makefile", "tools/find_python.sh", "tools/setup.py"]:
            shutil.copy(ROOT / name, folder / name)
        (folder / "pyproject.toml").write_text(
            '[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n'
            '[project]\nname = "tiny"\nversion = "0"\n'
        )
        (folder / "constraints.txt").write_text("half==1.0\n")
        self.needs("half")
        write_wheel(folder / "wheels", "half")

    def needs(self, *names):
        lines = ["Metadata-Version: 2.1", "Name: tiny", "Version: 0"]
        lines += [f"Provides-Extra: {extra}" for extra in EXTRAS] + [f"Requires-Dist: {name}" for name in names]
        metadata = "\n".join(lines) + "\n"
        (self.folder / "backend.py").write_text(f"METADATA = {metadata!r}\nWHEEL = {WHEEL!r}\n{BACKEND}")

    def environment(self):
        return {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": "wheels", "PIP_CONFIG_FILE": os.devnull, "PIP_USER": "1"}

    def make(self, *words):
        return make(*words, cwd=self.folder, **self.environment())

    @property
    def stamp(self):
        return self.folder / ".venv" / "course-setup.json"

    def package(self):
        return next(self.folder.glob(".venv/lib/python*/site-packages/half.py"))


@pytest.fixture(scope="module")
def ready(tmp_path_factory):
    """A course that has been set up by `make ready-lab`."""
    if MAKE is None:
        pytest.skip("no make on PATH, so the Makefile is not tried")
    course = TinyCourse(tmp_path_factory.mktemp("doors") / ODD_NAME)
    done = course.make("ready-lab")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Installing into .venv (interop, lab)" in done.stdout and "Ready in" in done.stdout
    return course


def test_a_second_run_does_nothing(ready):
    course, before = ready, ready.stamp.stat().st_mtime_ns
    done = course.make("ready-lab")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert ready.stamp.stat().st_mtime_ns == before


def test_either_door_may_be_first(ready):
    done = ready.make("ready-all")
    assert done.returncode == 0 and "cluster, interop, lab, test" in done.stdout
    assert ready.make("ready-lab").stdout == "", "what is there already is not installed again"


def test_a_change_of_the_lists_is_installed(ready):
    constraints = ready.folder / "constraints.txt"
    constraints.write_text(constraints.read_text() + "# changed\n")
    done = ready.make("ready-lab")
    assert done.returncode == 0 and "Installing" in done.stdout
    assert ready.make("ready-lab").stdout == ""


def test_a_setup_that_failed_is_not_taken_for_finished(ready):
    ready.needs("half", "unreachable")
    (ready.folder / "constraints.txt").write_text("half==1.0\n# changed once more\n")
    for _ in range(2):  # the second time, too
        done = ready.make("ready-lab")
        assert done.returncode == 2
        assert "No matching distribution found for unreachable" in done.stderr
        assert "Setup stopped before it was finished" in done.stderr and "GB free in" in done.stderr
        assert "run the same command again" in done.stderr and "Traceback" not in done.stderr
        assert not ready.stamp.exists()
    write_wheel(ready.folder / "wheels", "unreachable")
    assert ready.make("ready-lab").returncode == 0, "and goes on when the network is back"
    ready.needs("half")


def test_a_package_that_was_left_half_installed_is_installed_again(ready):
    whole = ready.package().read_bytes()
    ready.package().write_bytes(whole[:20])
    ready.stamp.unlink()
    done = ready.make("ready-lab")
    assert done.returncode == 0 and "Half installed, so once more: half-1.0.dist-info" in done.stdout
    assert ready.package().read_bytes() == whole


@pytest.mark.slow
def test_a_venv_without_pip_is_made_anew(ready):
    # What is left when `python -m venv` is interrupted.
    shutil.rmtree(next(ready.folder.glob(".venv/lib/python*/site-packages/pip")))
    ready.stamp.unlink()
    done = ready.make("ready-lab")
    assert done.returncode == 0 and "Making .venv anew: it is incomplete." in done.stdout
    assert ready.package().exists()


def contents(folder):
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@needs_make
@pytest.mark.parametrize("target", ["folder", "environment", "nothing"])
def test_a_linked_venv_is_refused_and_what_it_points_to_is_kept(tmp_path, target):
    course = TinyCourse(tmp_path / "course")
    elsewhere = tmp_path / "elsewhere"
    if target != "nothing":
        (elsewhere / "work").mkdir(parents=True)
        (elsewhere / "work" / "thesis.txt").write_text("years")
    if target == "environment":
        (elsewhere / "pyvenv.cfg").write_text("home = /usr/bin\nversion = 3.11.0\n")
    before = contents(elsewhere)
    (course.folder / ".venv").symlink_to(elsewhere)
    done = course.make("ready-lab")
    assert done.returncode == 2 and done.stdout == ""
    assert f".venv is a symbolic link to {elsewhere}" in done.stderr and "rm .venv" in done.stderr
    assert "Traceback" not in done.stderr
    assert contents(elsewhere) == before
    assert (course.folder / ".venv").is_symlink()


@needs_make
def test_a_venv_that_is_a_file_or_a_folder_of_other_things_is_refused(tmp_path):
    course = TinyCourse(tmp_path / "course")
    venv = course.folder / ".venv"
    venv.write_text("a file")
    done = course.make("ready-lab")
    assert done.returncode == 2 and ".venv is a file" in done.stderr and "Move the file away" in done.stderr
    assert venv.read_text() == "a file"
    venv.unlink()
    (venv / "lib").mkdir(parents=True)
    (venv / "conda-meta").mkdir()
    (venv / "conda-meta" / "history").write_text("kept")
    done = course.make("ready-lab")
    assert done.returncode == 2 and "not a virtual environment: it holds conda-meta" in done.stderr
    assert "Move the folder away" in done.stderr and "Traceback" not in done.stderr
    assert list(contents(venv).values()) == [b"kept"]


@pytest.mark.slow
def test_a_venv_whose_making_was_interrupted_is_made_anew(ready):
    shutil.rmtree(next(ready.folder.glob(".venv/lib/python*/site-packages/pip")))
    (ready.folder / ".venv" / "pyvenv.cfg").unlink()
    ready.stamp.unlink()
    done = ready.make("ready-lab")
    assert done.returncode == 0 and "Making .venv anew: it is incomplete." in done.stdout
    assert ready.package().exists()


def test_two_at_once_take_turns(ready):
    ready.stamp.unlink()
    done = ready.make("-j", "ready-lab", "ready-all")
    assert done.returncode == 0, done.stderr
    assert "Another setup of .venv is under way; waiting for it." in done.stdout
    assert set(json.loads(ready.stamp.read_text())["extras"]) == set(EXTRAS)


@pytest.mark.slow
def test_a_course_that_was_moved_does_not_use_the_old_place(ready, tmp_path):
    moved = TinyCourse.__new__(TinyCourse)
    moved.folder = tmp_path / "moved"
    shutil.copytree(ready.folder, moved.folder, symlinks=True)
    done = moved.make("ready-lab")
    assert done.returncode == 0 and "Making .venv anew: it was made in another place." in done.stdout
    assert str(ready.folder) not in (moved.folder / ".venv" / "bin" / "pip").read_text()
