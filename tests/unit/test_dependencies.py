"""What the course needs is said in one list: pyproject.toml, constraints.txt, conda, Binder and the Makefile agree."""

import importlib.metadata
import importlib.util
import re
import shutil
import subprocess
import sys
import tomllib
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


def test_importing_all_checks_imports_no_other_library():
    """Each `check.<exercise>` in a notebook does it. scikit-learn, for one, would take a second."""
    code = (
        "from autograde import registry\n"
        "course = registry.current()\n"
        "assert all(course.checks_of(lesson) for lesson in course.course.lessons[:-1])\n"
        "import sys\n"
        "print(sorted({'sklearn', 'scipy', 'matplotlib', 'sympy', 'peft'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.stdout == "[]\n", done.stdout + done.stderr
