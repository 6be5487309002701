"""Make .venv, or bring it up to date: `python tools/setup.py EXTRA...`, with extras from pyproject.toml.

Run by every target of the Makefile, so it has to be quick where there is nothing to do, and right after anything that
can happen to a setup: the network or the disk gives out, someone presses Ctrl-C, the folder is moved, two of them run
at once. Standard library only: nothing is installed yet.
"""

import contextlib
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
# Written last and removed first, so that it stands there only when .venv is whole.
STAMP = VENV / "course-setup.json"
LOG = VENV / "course-setup.log"

# A pip that is stopped while it installs can leave a package that looks installed and is not. Each package lists its
# files and their sizes; this makes pip forget the packages whose files are not all there, so that it installs them.
FORGET_HALF_INSTALLED = """
import os, pathlib, shutil, sysconfig
from importlib.metadata import Distribution
for folder in pathlib.Path(sysconfig.get_path("purelib")).glob("*.dist-info"):
    package = Distribution.at(folder)
    whole = bool(package.read_text("METADATA")) and bool(package.read_text("RECORD"))
    for file in (package.files or []) if whole else []:
        path = file.locate()
        whole = whole and os.path.exists(path) and file.size in (None, os.path.getsize(path))
    if not whole:
        print("Half installed, so once more:", folder.name, flush=True)
        shutil.rmtree(folder)
"""

# JupyterLab would ask on its first start whether it may fetch news, and look for updates: the course needs no network.
LAB_SETTINGS = {"@jupyterlab/apputils-extension:notification": {"fetchNews": "false", "checkForUpdates": False}}


def main(extras):
    if is_ready(extras):
        return
    with only_one_at_a_time():
        if is_ready(extras):  # by the one that was waited for
            return
        try:
            set_up(sorted({*extras, *read_stamp().get("extras", [])}))
        except KeyboardInterrupt:
            sys.exit("\nSetup was interrupted. Run the same command again: it goes on from where it stopped.")
        except (subprocess.CalledProcessError, OSError) as error:
            sys.exit(explain(error))


def is_ready(extras):
    stamp = read_stamp()
    return (
        stamp.get("inputs") == inputs()
        and set(extras) <= set(stamp.get("extras", []))
        and PYTHON.exists()
        and not other_python_wanted(stamp.get("python"))
    )


def set_up(extras):
    started = time.monotonic()
    STAMP.unlink(missing_ok=True)
    if reason := unusable():
        if VENV.exists():
            print(f"Making .venv anew: {reason}.", flush=True)
        run(getattr(sys, "_base_executable", sys.executable), "-m", "venv", "--clear", str(VENV))
    else:
        run(PYTHON, "-c", FORGET_HALF_INSTALLED)
    print(f"Installing into .venv ({', '.join(extras)}). The first time takes some minutes.", flush=True)
    pip_install("-e", f".[{','.join(extras)}]")
    settings = VENV / "etc" / "jupyter" / "labconfig" / "default_setting_overrides.json"
    settings.parent.mkdir(parents=True, exist_ok=True)
    settings.write_text(json.dumps(LAB_SETTINGS))

    version = ask("import sys; print('%d.%d' % sys.version_info[:2])")
    unfinished = STAMP.with_suffix(".part")
    unfinished.write_text(json.dumps({"inputs": inputs(), "extras": extras, "python": version}))
    unfinished.replace(STAMP)
    print(f"Ready in {time.monotonic() - started:.0f} s.", flush=True)


def unusable():
    """Why the .venv that is there cannot be kept; None where it can."""
    try:
        version = ask("import pip, sys; print('%d.%d' % sys.version_info[:2])")
    except (subprocess.CalledProcessError, OSError):
        return "it is incomplete"
    if tuple(map(int, version.split("."))) < FLOOR:
        return f"it is of Python {version}"
    if other_python_wanted(version):
        return f"it is of Python {version}, and PYTHON={os.environ['PYTHON']} was asked for"
    # Commands in a virtual environment hold its path; the first lines of this one say which.
    pip = VENV / "bin" / "pip"
    if not pip.exists() or f"{VENV}/bin" not in pip.read_text(errors="replace")[:1000]:
        return "it was made in another place"
    return None


def other_python_wanted(version):
    return bool(os.environ.get("PYTHON")) and version != "{}.{}".format(*sys.version_info)


def inputs():
    """What .venv is made from: it is out of date when any of these has changed."""
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


def pip_install(*what):
    command = [PYTHON, "-m", "pip", "install", "--disable-pip-version-check", "-c", "constraints.txt", *what]
    if sys.stdout.isatty():
        run(*command)  # with its progress bars
        return
    with LOG.open("w+") as log:
        try:
            run(*command, stdout=log, stderr=subprocess.STDOUT)
        except subprocess.CalledProcessError:
            log.seek(0)
            print(*log.readlines()[-20:], f"(all of it: {LOG})\n", sep="", file=sys.stderr)
            raise


def run(*command, **options):
    # A personal pip setting of `user = true` would send everything past the virtual environment.
    return subprocess.run(command, cwd=ROOT, env={**os.environ, "PIP_USER": "0"}, check=True, **options)


def ask(code):
    """What the Python of .venv prints when it runs this."""
    return run(PYTHON, "-c", code, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True).stdout.strip()


@contextlib.contextmanager
def only_one_at_a_time():
    """Two `make`s may run at once: the second waits. The lock goes with its process, so none is ever left behind."""
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
        f"\n{reason}Setup stopped before it was finished; the reason stands above. What it often is:\n"
        "  network  pip could not reach its package index. Behind a proxy, set HTTPS_PROXY; pip's own settings hold.\n"
        f"  disk     {free(ROOT)}, {free(tempfile.gettempdir())} (TMPDIR). It takes 2 GB, and\n"
        "           several more where torch comes with NVIDIA's libraries, as it does on most Linux machines.\n"
        "Then run the same command again: it goes on from where it stopped."
    )


if __name__ == "__main__":
    main(sys.argv[1:])
