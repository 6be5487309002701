"""Stores results on disk, one file for each submission, so that grading can be resumed.

A result is written atomically: under a temporary name, then renamed. It is called ``<lesson>.new.json`` until it is in
the gradebook, then ``<lesson>.json``. Whenever a grader is killed, the next one finds each submission in one of three
states: without a result (it is graded), new (it is entered), or done.
"""

import contextlib
import json
import os
import shutil
import tempfile
from dataclasses import asdict, dataclass, field
from pathlib import Path, PurePosixPath

from autograde.project import CourseError
from autograde.submission.files import TIMESTAMP

FORMAT = 2  # of these files; submissions with results in another format are graded again
FOLDER = ".results"  # in the folder of graded notebooks, which git ignores; nbgrader skips hidden names
HALF_WRITTEN = ".half"
LOCK = ".lock"
GRADED, FAILED = "graded", "failed"
READ_ONLY = 0o444  # the mode that nbgrader gives to graded files


@dataclass
class Result:
    """The result of one submission.

    Attributes:
        student, lesson: ids.
        status: GRADED; or FAILED if the grader could not grade it, which gives no score.
        content: hash of the submission.
        version: of the lesson's grading (`autograde.submission.grader_version`).
        message: why it failed, or why the whole submission could not be run; empty otherwise.
        cells: ``{grade_id: [automatic score or None, highest score]}`` for the graded cells.
        comments: ``{grade_id: automatic comment or None}`` for the answer cells.
        verdicts: one dict for each check (`Verdict.as_data`).
        isolation: the sandbox's record of its isolation; None if nothing was run.
        seconds: wall time of the grading.
        timestamp: the hand-in time, as nbgrader writes it; None if it is unknown.
        bytes: size of the graded notebook.
    """

    student: str
    lesson: str
    status: str
    content: str
    version: str
    message: str = ""
    cells: dict = field(default_factory=dict)
    comments: dict = field(default_factory=dict)
    verdicts: list = field(default_factory=list)
    isolation: dict | None = None
    seconds: float = 0.0
    timestamp: str | None = None
    bytes: int = 0

    @property
    def score(self):
        """Sum of the automatic scores."""
        return sum(score or 0.0 for score, _ in self.cells.values())

    @property
    def points(self):
        """The highest possible score."""
        return sum(points for _, points in self.cells.values())


class Store:
    """All results of a course.

    Args:
        graded: the folder of graded notebooks.
    """

    def __init__(self, graded):
        self.graded = Path(graded)
        self.folder = self.graded / FOLDER

    def _done(self, student, lesson):
        return self.folder / student / f"{lesson}.json"

    def _new(self, student, lesson):
        return self.folder / student / f"{lesson}.new.json"

    def notebook(self, student, lesson):
        """The path of the graded notebook."""
        return self.graded / student / lesson / f"{lesson}.ipynb"

    def read(self, student, lesson):
        """``(result or None, whether it has yet to be entered into the gradebook)``."""
        for path, new in ((self._new(student, lesson), True), (self._done(student, lesson), False)):
            with contextlib.suppress(OSError, ValueError, TypeError):
                data = json.loads(path.read_bytes())
                if data.pop("format") == FORMAT:
                    return Result(**data), new
        return None, False

    def intact(self, result):
        """Whether the graded notebook of `result` exists with its full size."""
        try:
            return self.notebook(result.student, result.lesson).stat().st_size == result.bytes
        except OSError:
            return False

    def write(self, result, notebook, files):
        """Write a new result.

        Args:
            result: a `Result`. A FAILED one has no notebook and is not entered into the gradebook.
            notebook: the graded notebook as bytes; becomes nbgrader's autograded notebook.
            files: ``{name: bytes}`` of the files beside it, as in nbgrader.

        Raises:
            OSError: the disk is full, or not writable.
        """
        if result.status == FAILED:
            self._replace(self._done(result.student, result.lesson), _as_bytes(result))
            self._new(result.student, result.lesson).unlink(missing_ok=True)
            return
        target = self.notebook(result.student, result.lesson)
        result.bytes = len(notebook)
        self._write_files(files, target.parent)
        self._write_timestamp(result)
        self._replace(target, notebook, READ_ONLY)
        self._replace(self._new(result.student, result.lesson), _as_bytes(result))

    def is_writable(self):
        """Whether files and folders can be made where they are for all students."""
        return all(
            os.access(folder, os.W_OK | os.X_OK) for folder in (self.graded, self.folder, self.folder / HALF_WRITTEN)
        )

    def renew(self, result):
        """Write a result whose hand-in time has changed, so that it is entered again."""
        self._write_timestamp(result)
        self._replace(self._new(result.student, result.lesson), _as_bytes(result))

    def entered(self, result):
        """Mark a result as entered into the gradebook."""
        new = self._new(result.student, result.lesson)
        with contextlib.suppress(FileNotFoundError):
            os.replace(new, self._done(result.student, result.lesson))

    def keep(self, result):
        """Write a result of work that nbgrader's own command has graded and entered."""
        self._new(result.student, result.lesson).unlink(missing_ok=True)
        self._replace(self._done(result.student, result.lesson), _as_bytes(result))

    def _write_timestamp(self, result):
        path = self.notebook(result.student, result.lesson).with_name(TIMESTAMP)
        if result.timestamp:
            self._replace(path, result.timestamp.encode(), READ_ONLY)
        else:
            path.unlink(missing_ok=True)

    def _write_files(self, files, target):
        kept = {str(parent) for name in files for parent in (PurePosixPath(name), *PurePosixPath(name).parents)}
        for path in sorted(target.rglob("*")) if target.is_dir() else ():
            name = path.relative_to(target).as_posix()
            if path.is_dir() and not path.is_symlink():
                if name not in kept or name in files:
                    shutil.rmtree(path, ignore_errors=True)
            elif path.suffix != ".ipynb" and name not in files:
                path.unlink(missing_ok=True)
        for name, content in files.items():
            self._replace(target / name, content, READ_ONLY)

    @contextlib.contextmanager
    def locked(self):
        """Context manager that locks the course against other graders. The lock ends with this process in any case.

        Raises:
            CourseError: another grader is running.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        with open(self.folder / LOCK, "a") as file:
            try:
                import fcntl

                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except ImportError:  # Windows: no lock
                pass
            except OSError:
                raise CourseError(
                    "another `autograde grade` is at work on this course; wait until it has ended"
                ) from None
            # What a killed grader has not finished writing.
            shutil.rmtree(self.folder / HALF_WRITTEN, ignore_errors=True)
            yield

    def _replace(self, path, data, mode=0o644):
        path.parent.mkdir(parents=True, exist_ok=True)
        halves = self.folder / HALF_WRITTEN
        halves.mkdir(parents=True, exist_ok=True)
        descriptor, half = tempfile.mkstemp(dir=halves)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(data)
            os.chmod(half, mode)
            os.replace(half, path)
        except BaseException:
            Path(half).unlink(missing_ok=True)
            raise

    def all(self, lessons):
        """Every result of `lessons`, by lesson and student."""
        found = []
        for folder in self.folder.iterdir() if self.folder.is_dir() else ():
            for lesson in lessons if folder.name[0] != "." else ():
                result, _ = self.read(folder.name, lesson)
                if result:
                    found.append(result)
        return sorted(found, key=lambda result: (result.lesson, result.student))


def _as_bytes(result):
    return json.dumps({"format": FORMAT} | asdict(result), ensure_ascii=False).encode("utf-8", "replace")
