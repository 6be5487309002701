"""Which parts of the file system handed-in code may see: the system's programs, this Python, and of this package only
what a probe needs. Everything else (the course with its solutions, the checks, the gradebook, other submissions, every
home directory) is not hidden one by one; it is simply never shown.

One rule decides where two meet: the more specific path counts. So a virtual environment within a hidden course is seen,
and the checks within a seen site-packages are not.
"""

import contextlib
import importlib.util
import os
import shutil
import site
import stat
import subprocess
import sys
import sysconfig
from pathlib import Path

PACKAGE = Path(__file__).resolve().parents[2]  # autograde/
SHOWN_OF_PACKAGE = ("__init__.py", "remote")
SYSTEM = """
    /usr /bin /sbin /lib /lib32 /lib64 /libx32 /nix/store /etc/ld.so.cache /etc/ld.so.conf /etc/ld.so.conf.d
    /etc/alternatives /etc/fonts /etc/localtime /etc/mime.types
""".split()
OF_PREFIX = ("bin", "lib", "lib64", "include", "share", "etc", "pyvenv.cfg")
DEVICES = ("/dev/null", "/dev/full", "/dev/random", "/dev/urandom")


def _python():
    for prefix in {sys.prefix, sys.exec_prefix, sys.base_prefix, sys.base_exec_prefix}:
        for name in OF_PREFIX:
            yield Path(prefix, name)
    for key in ("stdlib", "platstdlib", "purelib", "platlib"):
        yield Path(sysconfig.get_paths()[key])
    yield Path(sys.executable).parent
    yield Path(os.path.realpath(sys.executable)).parent
    if site.ENABLE_USER_SITE:
        yield Path(site.getusersitepackages())
    for entry in sys.path + os.environ.get("LD_LIBRARY_PATH", "").split(os.pathsep):
        if Path(entry).name in ("site-packages", "dist-packages", "lib", "lib64"):
            yield Path(entry)


def _module(name):
    """Where a module lies, or None."""
    beside = PACKAGE.parent / name
    if beside.is_dir():
        return beside
    try:
        found = importlib.util.find_spec(name)
    except (ImportError, ValueError):
        return None
    if found is None or not found.origin or not os.path.isabs(found.origin):
        return None
    origin = Path(found.origin)
    return origin.parent if found.submodule_search_locations else origin


def _package(name):
    """Where a package of the course lies, and the files that run when the packages around it are imported."""
    parent, _, _ = name.rpartition(".")
    around = _package(parent)[:-1] if parent else []
    found = importlib.util.find_spec(name)
    if found is None:
        return [*around, Path(os.devnull)]
    entrance = Path(found.origin)
    return [*around, entrance, entrance.parent if found.submodule_search_locations else entrance]


def _resolve(path, links):
    """The real path, with the symbolic links on the way collected in `links`."""
    done = Path("/")
    parts = list(Path(os.path.abspath(path)).parts[1:])
    for _ in range(1000):
        if not parts:
            return done
        done = done / parts.pop(0)
        if done.is_symlink():
            target = os.readlink(done)
            links[str(done)] = target
            parts = [*Path(os.path.normpath(done.parent / target)).parts[1:], *parts]
            done = Path("/")
    raise OSError(f"too many symbolic links in {path}")


def _readable_by_others(paths):
    """Whether a user without rights of its own can read what lies at the paths."""
    for path in paths:
        bits = os.stat(path).st_mode
        if not bits & stat.S_IROTH or (stat.S_ISDIR(bits) and not bits & stat.S_IXOTH):
            return False
    return True


def modules_of(course, links=None):
    """The real path of each module that a course refuses, by name; links on the way are collected in `links`."""
    found = {name: _module(name) for name in course.refused}
    return {
        name: str(_resolve(path, {} if links is None else links))
        for name, path in found.items()
        if path and path.exists()
    }


def plan(private, course):
    """What the fork server needs to know about paths, as plain data.

    Args:
        private: directories that must not be seen although they may lie below one that is.
        course: the `Registry` of the course: its probes and what is `importable` are seen, what is `refused` is not.

    Returns:
        A dict: "visible" and "hidden", lists of real paths; "links", the symbolic links that lead there; "modules",
        where each refused module lies; "refused", what a learner is told of each; "open", whether any user may read what is visible.
    """
    links = {}
    torch = importlib.util.find_spec("torch").origin
    shown = [Path(path) for path in SYSTEM] + list(_python()) + [PACKAGE / name for name in SHOWN_OF_PACKAGE]
    for package in (course.probes, *course.importable):
        shown += _package(package)
    visible = {str(_resolve(path, links)) for path in shown if path.exists()}
    modules = modules_of(course, links)
    hidden = {str(_resolve(path, {})) for path in [PACKAGE, Path.cwd(), *homes(), *private] if path.exists()}
    return {
        "visible": sorted(visible),
        "hidden": sorted(hidden - visible - {"/"}),
        "links": links,
        "modules": modules,
        "refused": course.refused,
        "open": os.name == "posix" and _readable_by_others([*visible, *modules.values(), torch]),
    }


def _below(path, roots):
    return any(path == root or path.startswith(root.rstrip("/") + "/") for root in roots)


def steps(plan_):
    """What to do to an empty root, in order: ``("show" or "hide", path)``. Only what changes anything is there."""
    marks = dict.fromkeys([*plan_["visible"], *plan_["modules"].values()], "show")
    marks |= dict.fromkeys(plan_["hidden"], "hide")
    done = {}
    for path in sorted(marks, key=lambda path: (path.count("/"), path)):
        above = max((other for other in done if _below(path, [other])), key=len, default=None)
        if marks[path] != (done[above] if above else "hide"):
            done[path] = marks[path]
    return [(mark, path) for path, mark in done.items()]


def given_files(modules, parts):
    """The files of some parts of refused modules.

    Args:
        modules: where each refused module lies, as `plan` says.
        parts: dotted names.

    Returns:
        ``{part: path}`` for those that there are.
    """
    files = {}
    for part in parts:
        top, *rest = part.split(".")
        file = Path(modules.get(top, ""), *rest).with_suffix(".py")
        if rest and top in modules and file.is_file():
            files[part] = str(file)
    return files


def allowed(plan_, given):
    """The paths to allow one by one where nothing can be mounted: no hidden place lies below any of them.

    Args:
        plan_: what `plan` says.
        given: files of refused modules that may be read.
    """
    marks = dict.fromkeys(plan_["modules"].values(), "hide") | dict.fromkeys(given, "show")
    for mark, path in steps(plan_):
        marks.setdefault(path, mark)
    for path in (path for path, mark in marks.items() if mark == "show"):
        yield from _split(path, marks)


def _split(path, marks):
    inside = [other for other in marks if other != path and _below(other, [path])]
    if not any(marks[other] == "hide" for other in inside):
        yield path
        return
    try:
        entries = [os.path.join(path, name) for name in os.listdir(path)]
    except OSError:
        return
    for entry in entries:
        if entry not in marks and not os.path.islink(entry):
            yield from _split(entry, marks)


def remove(folder):
    """Remove a folder that hostile code has filled: nested deeper than Python can follow, or made unreadable."""
    if folder is None:
        return
    with contextlib.suppress(RecursionError):
        shutil.rmtree(folder, ignore_errors=True)
    if os.path.exists(folder) and os.name == "posix":
        subprocess.run(["chmod", "-R", "u+rwx", folder], stderr=subprocess.DEVNULL, check=False)
        subprocess.run(["rm", "-rf", folder], stderr=subprocess.DEVNULL, check=False)


def homes():
    """The home directory of the grading account, in a list; an account without an entry, as in some containers, has none."""
    try:
        return [Path.home()]
    except RuntimeError:
        return []
