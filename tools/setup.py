"""Make .venv, or bring it up to date: `python tools/setup.py EXTRA...`, with extras from pyproject.toml.

venv and pip do the work. This file decides whether there is any, and handles what can go wrong: the network or the disk
fails, someone presses Ctrl-C, the course's folder is moved, two setups run at once, or `.venv` is not the course's own.
Every target of the Makefile runs it. Standard library only: nothing is installed yet.
"""

import contextlib
import csv
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

FLOOR = (3, 11)

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
PYTHON = VENV / "bin" / "python"
# Written last and removed first, so that it exists only while .venv is complete.
STAMP = VENV / "course-setup.json"
# What venv puts into a new environment. Until it has written pyvenv.cfg, an environment is known by these.
VENV_ENTRIES = {"bin", "include", "lib", "lib64", "share", "etc", ".gitignore", STAMP.name, "course-setup.part"}

# JupyterLab would ask on its first start whether it may fetch news, and look for updates: the course needs no network.
LAB_SETTINGS = {"@jupyterlab/apputils-extension:notification": {"fetchNews": "false", "checkForUpdates": False}}


def main(extras):
    if reason := why_not_ours():
        sys.exit(f"{reason}\nNothing was changed. Then run the same command again.")
    if is_ready(extras):
        return
    with only_one_at_a_time():
        if is_ready(extras):  # made by the setup that this one waited for
            return
        try:
            set_up(sorted({*extras, *read_stamp().get("extras", [])}))
        except KeyboardInterrupt:
            sys.exit("\nSetup was interrupted. Run the same command again: it goes on from where it stopped.")
        except (subprocess.CalledProcessError, OSError) as error:
            sys.exit(explain(error))


def why_not_ours():
    """Why the existing .venv must not be changed, and what to do; None if it may be changed."""
    if VENV.is_symlink():
        return (
            f"{VENV} is a symbolic link to {os.readlink(VENV)}. Setup would delete or overwrite what is there.\n"
            f"Remove the link, and a .venv is made in its place:  rm .venv"
        )
    if VENV.exists() and not VENV.is_dir():
        return f"{VENV} is a file, and the course's virtual environment has to be made there. Move the file away."
    if VENV.exists() and not (VENV / "pyvenv.cfg").exists():
        if others := sorted({path.name for path in VENV.iterdir()} - VENV_ENTRIES):
            return (
                f"{VENV} is not a virtual environment: it holds {', '.join(others[:3])} and no pyvenv.cfg. "
                "Move the folder away."
            )
    return None


def is_ready(extras):
    stamp = read_stamp()
    return (
        stamp.get("inputs") == inputs()
        and set(extras) <= set(stamp.get("extras", []))
        and PYTHON.exists()
        and not other_python_wanted(venv_settings().get("version", ""))
    )


def set_up(extras):
    started = time.monotonic()
    STAMP.unlink(missing_ok=True)
    if reason := why_unusable():
        if VENV.exists():
            print(f"Making .venv anew: {reason}.", flush=True)
        run(getattr(sys, "_base_executable", sys.executable), "-m", "venv", "--clear", str(VENV))
    else:
        remove_incomplete_packages()
    print(f"Installing into .venv ({', '.join(extras)}). The first time takes some minutes.", flush=True)
    quiet = [] if sys.stdout.isatty() else ["--quiet"]  # progress bars only in a terminal
    run(PYTHON, "-m", "pip", "install", *quiet, "--disable-pip-version-check", "-c", "constraints.txt",
        "-e", f".[{','.join(extras)}]")  # fmt: skip
    repair_scripts()
    settings = VENV / "etc" / "jupyter" / "labconfig" / "default_setting_overrides.json"
    settings.parent.mkdir(parents=True, exist_ok=True)
    settings.write_text(json.dumps(LAB_SETTINGS))

    unfinished = STAMP.with_suffix(".part")
    unfinished.write_text(json.dumps({"inputs": inputs(), "extras": extras}))
    unfinished.replace(STAMP)
    print(f"Ready in {time.monotonic() - started:.0f} s.", flush=True)


def why_unusable():
    """Why the existing .venv cannot be kept; None if it can."""
    settings = venv_settings()
    try:
        version = settings["version"]
        run(PYTHON, "-m", "pip", "--version", stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    except (KeyError, subprocess.CalledProcessError, OSError):
        return "it is incomplete"
    if tuple(map(int, version.split(".")[:2])) < FLOOR:
        return f"it is of Python {version}"
    if other_python_wanted(version):
        return f"it is of Python {version}, and PYTHON={os.environ['PYTHON']} was asked for"
    # Commands in a virtual environment hold its path, and so does the command that made it.
    if not settings.get("command", "").endswith(f" {VENV}"):
        return "it was made in another place"
    return None


def venv_settings():
    """The settings in pyvenv.cfg; empty if there is none."""
    try:
        lines = (VENV / "pyvenv.cfg").read_text(encoding="utf-8").splitlines()
    except OSError:
        return {}
    return dict(line.split(" = ", 1) for line in lines if " = " in line)


def other_python_wanted(version):
    return bool(os.environ.get("PYTHON")) and version.split(".")[:2] != [str(part) for part in sys.version_info[:2]]


def remove_incomplete_packages():
    """Make pip install incomplete packages again: after an interrupt, a package can look installed and lack files.

    Each package lists its files with their sizes. One that lacks any of them is no longer listed as installed.
    """
    for package in VENV.glob("lib/python*/site-packages/*.dist-info"):
        try:
            with (package / "RECORD").open(encoding="utf-8", newline="") as record:
                listed = [(name, int(size)) for name, _, size in csv.reader(record) if size]
            files = [(package.parent / name, size) for name, size in listed if not name.startswith("..")]  # no scripts
            complete = bool(files) and all(path.stat().st_size == size for path, size in files)
        except (OSError, ValueError):
            complete = False
        if not complete:
            print("Half installed, so once more:", package.name, flush=True)
            shutil.rmtree(package)


def repair_scripts():
    """Make the commands in .venv/bin start in a folder whose path means something to a shell.

    pip writes the path of Python between double quotes, where these characters are not taken as they are.
    """
    if not set(str(VENV)) & set('"$`\\'):
        return
    for script in (VENV / "bin").iterdir():
        lines = script.read_bytes().split(b"\n", 2) if script.is_file() and not script.is_symlink() else []
        if lines[:1] == [b"#!/bin/sh"] and lines[1].startswith(b"'''exec'"):
            lines[1] = b"""'''exec' "$(dirname "$0")/python" "$0" "$@\""""
            script.write_bytes(b"\n".join(lines))


def inputs():
    """A hash of what .venv is made from: when it changes, .venv is out of date."""
    digest = hashlib.sha256(str(ROOT).encode())
    for name in ["pyproject.toml", "constraints.txt", "tools/setup.py"]:
        digest.update((ROOT / name).read_bytes())
    return digest.hexdigest()


def read_stamp():
    try:
        stamp = json.loads(STAMP.read_text())
        return stamp if isinstance(stamp, dict) else {}
    except (OSError, ValueError):
        return {}


def run(*command, **options):
    # A personal pip setting of `user = true` would send everything past the virtual environment.
    return subprocess.run(command, cwd=ROOT, env={**os.environ, "PIP_USER": "0"}, check=True, **options)


@contextlib.contextmanager
def only_one_at_a_time():
    """Two `make`s may run at once: the second waits. The lock ends with its process, so none is ever left behind."""
    import fcntl

    directory = os.open(ROOT, os.O_RDONLY)
    try:
        fcntl.flock(directory, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        print("Another setup of .venv is under way; waiting for it.", flush=True)
        fcntl.flock(directory, fcntl.LOCK_EX)
    except OSError:
        pass  # a file system without locks
    try:
        yield
    finally:
        os.close(directory)


def explain(error):
    def free(folder):
        return f"{shutil.disk_usage(folder).free / 1e9:.1f} GB free in {folder}"

    reason = "" if isinstance(error, subprocess.CalledProcessError) else f"{error}\n"
    return (
        f"\n{reason}Setup stopped before it was finished; the reason is printed above. Common causes:\n"
        "  network  pip could not reach its package index. Behind a proxy, set HTTPS_PROXY; pip's own settings apply.\n"
        f"  disk     {free(ROOT)}, {free(tempfile.gettempdir())} (TMPDIR). Setup needs 2 GB, and\n"
        "           several more where torch comes with NVIDIA's libraries, as it does on most Linux machines.\n"
        "Then run the same command again: it goes on from where it stopped."
    )


if __name__ == "__main__":
    main(sys.argv[1:])
