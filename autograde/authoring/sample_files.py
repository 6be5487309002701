"""Writes and removes the sample class on disk; never replaces or removes a file that it did not write."""

import hashlib
import shutil

from autograde.authoring import sample_class
from autograde.project import CourseError

# In the folder of submissions: the files of the sample class with their hashes, in the format of sha256sum.
MANIFEST = ".sample-class"


def write(course, force=False):
    """Write the sample class into the folder of submissions.

    Args:
        course: the `Course`.
        force: replace an earlier sample class; other submissions stay.

    Returns:
        The number of submissions.

    Raises:
        CourseError: there are submissions already and `force` is false; or, with `force`, a student outside the sample
            class has the same name, or a file of the sample class has been changed. Nothing is written then.
    """
    if not is_empty(course) and not force:
        raise CourseError(
            f"{course.submitted} holds submissions. To replace an earlier sample class in it, and nothing else, "
            "use --force"
        )
    files = sample_class.make(course)
    ours = _ours(course)
    _refuse_changed(course, ours)
    for student in sorted({path.split("/")[0] for path in files} - {path.split("/")[0] for path in ours}):
        if (course.submitted / student).exists():
            raise CourseError(f"{course.submitted / student} is not of the sample class. Move it elsewhere first")
    _delete(course, ours)
    for path, content in files.items():
        target = course.submitted / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content)
    lines = (f"{_hash(content)}  {path}\n" for path, content in files.items())
    (course.submitted / MANIFEST).write_text("".join(lines), encoding="utf-8")
    return _submissions(files)


def remove(course):
    """Remove the sample class; other submissions stay.

    Returns:
        The number of submissions.

    Raises:
        CourseError: a file of it was changed since it was written.
    """
    ours = _ours(course)
    _refuse_changed(course, ours)
    _delete(course, ours)
    (course.submitted / MANIFEST).unlink(missing_ok=True)
    return _submissions(ours)


def is_empty(course):
    """Whether nothing was handed in. Hidden files, as editors and file managers leave them, do not count."""
    folder = course.submitted
    return not folder.exists() or all(path.name.startswith(".") for path in folder.iterdir())


def _submissions(paths):
    return len({path.rsplit("/", 1)[0] for path in paths})


def _ours(course):
    """``{path: hash}`` of the sample class that was written here."""
    try:
        lines = (course.submitted / MANIFEST).read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        return {}
    return {path: digest for digest, _, path in (line.partition("  ") for line in lines) if path}


def _refuse_changed(course, ours):
    for path, digest in ours.items():
        file = course.submitted / path
        if file.exists() and _hash(file.read_bytes()) != digest:
            raise CourseError(f"{file} was changed after the sample class was made. Move it elsewhere first")


def _delete(course, ours):
    for path in ours:
        file = course.submitted / path
        file.unlink(missing_ok=True)
        shutil.rmtree(file.parent / ".ipynb_checkpoints", ignore_errors=True)
        for folder in (file.parent, file.parent.parent):
            if folder.is_dir() and not any(folder.iterdir()):
                folder.rmdir()


def _hash(content):
    return hashlib.sha256(content).hexdigest()
