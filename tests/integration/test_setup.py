"""The doors into the course, `make`, .ci/run, conda and Binder: they agree, and when stuck they say what to do."""

import base64
import hashlib
import importlib.metadata
import importlib.util
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import time
import tomllib
import urllib.request
import zipfile
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).resolve().parents[2]
FLOOR = "3.11"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
EXTRAS = PROJECT["project"]["optional-dependencies"]
REQUIREMENTS = [*PROJECT["project"]["dependencies"], *(line for lines in EXTRAS.values() for line in lines)]
PIN_LINES = [line for line in (ROOT / "constraints.txt").read_text().splitlines() if not line.startswith("#")]
PINS = {canonicalize_name(line.split("==")[0]): line.split("==")[-1] for line in PIN_LINES}

MAKE = shutil.which("make")
needs_make = pytest.mark.skipif(MAKE is None, reason="no make on PATH, so the Makefile is not tried")


# The lists agree


def test_every_dependency_says_what_it_is_for():
    text = (ROOT / "pyproject.toml").read_text()
    for requirement in REQUIREMENTS:
        line = re.search(rf'^\s*"{re.escape(requirement)}",(.*)$', text, re.MULTILINE)
        assert line, f"{requirement} does not stand on a line of its own"
        assert re.match(r" # \S+ \S+", line[1]), f"{requirement} does not say what it is for"


def test_only_the_constraints_hold_versions():
    assert [line for line in REQUIREMENTS if Requirement(line).specifier] == []
    wrong = [line for line in PIN_LINES if not re.fullmatch(r"[A-Za-z0-9._-]+==\d[\w.]*", line)]
    assert wrong == [], "name==version, with no local tag (+cpu), no option and no path"
    assert list(PINS) == sorted(PINS)
    assert len(PINS) == len(PIN_LINES)


def needed_here():
    """All that the course needs on this machine, as (name, what of it) with what it needs in turn."""
    queue = [Requirement(line) for line in REQUIREMENTS]
    seen = {}
    while queue:
        requirement = queue.pop()
        key = canonicalize_name(requirement.name), frozenset(requirement.extras)
        # torch names the exact builds of NVIDIA's libraries itself.
        exact = any(rule.operator == "==" and "*" not in rule.version for rule in requirement.specifier)
        if key in seen or (exact and key[0] not in PINS):
            continue
        seen[key] = requirement
        for line in importlib.metadata.requires(requirement.name) or []:
            further = Requirement(line)
            extras = requirement.extras or {""}
            if further.marker is None or any(further.marker.evaluate({"extra": extra}) for extra in extras):
                queue.append(further)
    return {name for name, _ in seen}


def test_everything_needed_is_pinned():
    assert {canonicalize_name(Requirement(line).name) for line in REQUIREMENTS} - PINS.keys() == set()
    assert needed_here() - PINS.keys() == set()


@pytest.mark.skipif(
    sys.platform != "linux" or sys.version_info[:2] != (3, 11),
    reason="the constraints are of Linux with Python 3.11; another platform needs a little less",
)
def test_nothing_else_is_pinned():
    assert PINS.keys() - needed_here() == set()


def test_the_pinned_versions_are_those_tested():
    installed = {name: Version(importlib.metadata.version(name)).public for name in needed_here() & PINS.keys()}
    assert {name: version for name, version in installed.items() if version != PINS[name]} == {}


def test_every_pinned_version_runs_on_the_lowest_python():
    # A library may ask for 3.11.5, say, and leave out the Python that Debian 12 comes with.
    for name in needed_here() & PINS.keys():
        wanted = importlib.metadata.metadata(name).get("Requires-Python", "")
        assert SpecifierSet(wanted).contains(f"{FLOOR}.0"), f"{name}=={PINS[name]} wants Python {wanted}"


def test_one_lowest_python_everywhere():
    assert PROJECT["project"]["requires-python"] == f">={FLOOR}"
    assert PROJECT["tool"]["ruff"]["target-version"] == "py" + FLOOR.replace(".", "")
    assert f"\nfloor={FLOOR}\n" in (ROOT / "tools/find_python.sh").read_text()
    assert f"\nFLOOR = ({FLOOR.replace('.', ', ')})\n" in (ROOT / "tools/setup.py").read_text()


def test_conda_and_binder_lead_to_the_same_list_and_versions():
    environment = yaml.safe_load((ROOT / "environment.yml").read_text())
    *conda, pip = environment["dependencies"]
    # Binder reads one version, not a range; nothing else may come from conda, where versions differ.
    assert conda == [f"python={FLOOR}", "pip"]
    constraints, course = pip["pip"]
    assert constraints == "-c constraints.txt"
    wanted = re.fullmatch(r"-e \.\[([\w,]+)\]", course)
    assert wanted and set(wanted[1].split(",")) == extras_of("ready-lab")


def extras_of(target):
    """The extras that a target of the Makefile installs."""
    recipe = re.search(rf"^{target}:\n\t(.*)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    return set(recipe[1].partition("tools/setup.py")[2].split())


def test_make_installs_extras_that_there_are():
    assert "lab" in extras_of("ready-lab")
    assert extras_of("ready-lab") < extras_of("ready-all") == set(EXTRAS)


def test_the_course_has_one_version():
    import autograde

    assert PROJECT["project"]["version"] == autograde.__version__


def files_of_the_course():
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    if listed.returncode == 0:
        return [ROOT / name for name in listed.stdout.split("\0") if name]
    return [path for path in ROOT.rglob("*") if ".venv" not in path.parts]


def test_no_package_registry_is_named():
    # Where packages come from is the reader's own setting. Put together here, or this file would name them.
    hosts = ["pypi org", "pythonhosted org", "download pytorch org", "anaconda org", "anaconda com", "npmjs org"]
    options = ["--index url", "--extra-index url", "--find links"]
    named = "|".join([host.replace(" ", r"\.") for host in hosts] + [option.replace(" ", "-") for option in options])
    files = [path for path in files_of_the_course() if path.is_file()]
    assert ROOT / "Makefile" in files
    found = [path for path in files if re.search(named.encode(), path.read_bytes(), re.IGNORECASE)]
    assert found == []


def test_git_leaves_out_what_is_made_and_what_is_handed_in(tmp_path):
    if shutil.which("git") is None:
        pytest.skip("no git on PATH")
    for name in [".gitignore", ".gitattributes"]:
        shutil.copy(ROOT / name, tmp_path)

    def git(*words):
        return subprocess.run(["git", *words], cwd=tmp_path, capture_output=True, text=True).stdout

    git("init", "--quiet")
    made = [".venv/bin/python", "autograde/gradebook.db", "autograde/autograded/a/b.ipynb", "autograde/feedback/a.html",
            "autograde/submitted/a/b/b.ipynb"]  # fmt: skip
    kept = ["notebooks/b/b.ipynb", "solutions/b/b.ipynb", "lora_ref/layer.py"]
    assert git("check-ignore", "--no-index", *made, *kept).split() == made
    assert git("check-attr", "eol", kept[0]).endswith(": lf\n"), "built files are the same bytes on every machine"


# Without the right Python


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


def make(*words, cwd=ROOT, **environment):
    # A make that runs these tests must not hand on its own variables and job slots.
    outer = {"MAKEFLAGS", "MFLAGS", "MAKELEVEL", "MAKEOVERRIDES", "PYTHON", "PORT"}
    environment = {**{key: value for key, value in os.environ.items() if key not in outer}, **environment}
    return subprocess.run([MAKE, *words], cwd=cwd, env=environment, capture_output=True, text=True, timeout=600)


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
        "help", "lab", "test", "test-all", "build", "grade", "bench", "clean",
    ]  # fmt: skip


# Setting up, for real, on a course that needs no network: one dependency in a folder, and a build that asks for nothing

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


# JupyterLab


@pytest.fixture
def lab(monkeypatch):
    """tools/lab.py as a module, on a machine without display, run by nobody in particular."""
    spec = importlib.util.spec_from_file_location("lab", ROOT / "tools" / "lab.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setattr(module.sys, "platform", "linux")
    for name in ["BROWSER", "DISPLAY", "WAYLAND_DISPLAY", "PORT", "JUPYTER_PATH"]:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(os, "geteuid", lambda: 1000, raising=False)
    monkeypatch.chdir(ROOT)
    return module


@pytest.fixture
def taken():
    """A port that another program listens on."""
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        yield other.getsockname()[1]


def command_of(lab, monkeypatch, *options):
    commands = []
    monkeypatch.setattr(os, "execv", lambda program, command: commands.append(command))
    lab.main(options)
    return commands[0]


def test_a_port_that_was_asked_for_and_is_taken(taken):
    cases = {str(taken): "taken by another program", "80a": "is not a port", "70000": "is not a port"}
    for port, reason in cases.items():
        environment = {**os.environ, "PORT": port}
        done = subprocess.run(
            [sys.executable, "tools/lab.py"], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60
        )
        assert done.returncode == 1 and reason in done.stderr and "make lab PORT=" in done.stderr


def test_a_port_that_nobody_asked_for_and_is_taken(lab, monkeypatch, capsys, taken):
    monkeypatch.setattr(lab, "DEFAULT_PORT", taken)
    port = int(command_of(lab, monkeypatch)[3].removeprefix("--port="))
    assert taken < port < taken + 50
    assert f"Port {taken}: taken by another program. Using port {port}." in capsys.readouterr().out


def test_a_free_port_that_was_asked_for_is_used_or_nothing(lab, monkeypatch, taken):
    monkeypatch.setattr(lab, "in_the_way", lambda port: None)
    monkeypatch.setenv("PORT", str(taken))
    assert {f"--port={taken}", "--ServerApp.port_retries=0"} < set(command_of(lab, monkeypatch))


def test_root_is_let_in_and_others_need_no_leave(lab, monkeypatch):
    assert "--allow-root" not in command_of(lab, monkeypatch)
    monkeypatch.setattr(os, "geteuid", lambda: 0, raising=False)
    assert "--allow-root" in command_of(lab, monkeypatch)


def test_a_browser_opens_where_there_is_a_display(lab, monkeypatch, capsys):
    assert "--no-browser" in command_of(lab, monkeypatch)
    assert "open the address below" in capsys.readouterr().out
    monkeypatch.setenv("DISPLAY", ":0")
    assert "--no-browser" not in command_of(lab, monkeypatch)


def test_options_are_passed_on(lab, monkeypatch):
    assert command_of(lab, monkeypatch, "--ip=0.0.0.0")[-1] == "--ip=0.0.0.0"


@pytest.mark.slow
def test_jupyterlab_serves_the_course_with_its_own_kernel(tmp_path):
    """The server answers, nbgrader is in it, and a stale kernel named python3 does not get in the way."""
    stale = {"argv": ["/no/such/python"], "display_name": "stale", "language": "python"}
    for folder in [tmp_path / "home/.local/share/jupyter", tmp_path / "path"]:
        (folder / "kernels/python3").mkdir(parents=True)
        (folder / "kernels/python3/kernel.json").write_text(json.dumps(stale))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = {
        **os.environ,
        "HOME": str(tmp_path / "home"),
        "JUPYTER_DATA_DIR": str(tmp_path / "home/.local/share/jupyter"),
        "JUPYTER_PATH": str(tmp_path / "path"),
        "JUPYTER_CONFIG_DIR": str(tmp_path / "config"),
        "PORT": str(port),
    }
    log = tmp_path / "log"
    with log.open("w") as stream:
        command = [sys.executable, ROOT / "tools/lab.py", "--no-browser"]
        server = subprocess.Popen(command, env=environment, stdout=stream, stderr=subprocess.STDOUT)
    try:
        address = None
        for _ in range(600):
            if address := re.search(rf"http://127\.0\.0\.1:{port}/lab/tree/notebooks\?token=(\w+)", log.read_text()):
                break
            assert server.poll() is None, log.read_text()
            time.sleep(0.2)
        assert address, "the address to open was not printed"

        def get(page):
            request = urllib.request.Request(f"http://127.0.0.1:{port}{page}")
            request.add_header("Authorization", f"token {address[1]}")
            with urllib.request.urlopen(request, timeout=60) as answer:
                return json.load(answer)

        assert get("/api/kernelspecs")["kernelspecs"]["python3"]["spec"]["display_name"] != "stale"
        assert get("/api/contents/solutions?content=0")["type"] == "directory", "formgrader has to reach it all"
        assert get(f"/nbgrader_version?version={PINS['nbgrader']}") == {"success": True}, "Validate is there"
    finally:
        server.terminate()
        server.wait(60)


# Continuous integration


def test_ci_ends_in_the_line_of_pytest_and_the_status_of_make(path, tmp_path):
    for name in ["bash", "dirname", "id"]:
        (path / name).symlink_to(shutil.which(name))
    lines = ["#!/bin/sh", 'echo "$@"', 'echo "== 1 failed =="', 'echo "make: *** [test] Error 1" >&2', "exit 2"]
    (path / "make").write_text("\n".join(lines))
    (path / "make").chmod(0o755)
    done = subprocess.run([ROOT / ".ci" / "run"], cwd=tmp_path, env={"PATH": str(path)}, capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (2, "test-all\n== 1 failed ==\n", "")
