"""Results on disk, one file a submission: what makes grading resumable.

A result is written whole, under another name first, and renamed; so a reader finds all of it or none. It is called
``<lesson>.new.json`` until the gradebook has it, then ``<lesson>.json``. Whatever moment a grader is killed at, the next
one finds each submission in one of three states: nothing written (it is graded), new (it is entered), or done.
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

FORMAT = 2  # of these files; others are not read, and their submissions graded again
FOLDER = ".results"  # in the folder of graded notebooks: git leaves that alone, and nbgrader passes over hidden names
HALF_WRITTEN = ".half"
LOCK = ".lock"
GRADED, FAILED = "graded", "failed"
READ_ONLY = 0o444  # what nbgrader gives to graded files


@dataclass
class Result:
    """The outcome of one submission.

    Attributes:
        student, lesson: whose, and of what.
        status: GRADED, or FAILED where the grader could not do its work: that is no one's score.
        content: hash of the file that was handed in.
        version: of the lesson's grading (`autograde.submission.grader_version`).
        message: why it failed, or what is wrong with the whole submission; empty where nothing is.
        cells: ``{grade_id: [automatic score or None, highest score]}`` for the graded cells.
        comments: ``{grade_id: automatic comment or None}`` for the answer cells.
        verdicts: one dict a check (`Verdict.as_data`).
        isolation: what the sandbox reached; None where nothing was run.
        seconds: wall time of the grading.
        timestamp: when it was handed in, as nbgrader writes it; None when that is not known.
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
        """The most it can give."""
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
        """Where the graded notebook is."""
        return self.graded / student / lesson / f"{lesson}.ipynb"

    def read(self, student, lesson):
        """``(result or None, whether it still is to be entered into the gradebook)``."""
        for path, new in ((self._new(student, lesson), True), (self._done(student, lesson), False)):
            with contextlib.suppress(OSError, ValueError, TypeError):
                data = json.loads(path.read_bytes())
                if data.pop("format") == FORMAT:
                    return Result(**data), new
        return None, False

    def intact(self, result):
        """Whether the graded notebook that belongs to `result` is there."""
        try:
            return self.notebook(result.student, result.lesson).stat().st_size == result.bytes
        except OSError:
            return False

    def write(self, result, notebook, files):
        """Keep a fresh result.

        Args:
            result: a `Result`; one that is FAILED has no notebook, and is entered nowhere.
            notebook: the graded notebook's text as bytes; becomes nbgrader's autograded notebook.
            files: ``{name: bytes}`` of what lies beside it, as nbgrader has it.

        Raises:
            OSError: the disk is full, or may not be written to.
        """
        if result.status == FAILED:
            self._replace(self._done(result.student, result.lesson), _as_bytes(result))
            self._new(result.student, result.lesson).unlink(missing_ok=True)
            return
        target = self.notebook(result.student, result.lesson)
        result.bytes = len(notebook)
        self._bring(files, target.parent)
        self._date(result)
        self._replace(target, notebook, READ_ONLY)
        self._replace(self._new(result.student, result.lesson), _as_bytes(result))

    def renew(self, result):
        """Keep a result whose hand-in time has changed: it is to be entered again."""
        self._date(result)
        self._replace(self._new(result.student, result.lesson), _as_bytes(result))

    def entered(self, result):
        """The gradebook has it."""
        new = self._new(result.student, result.lesson)
        with contextlib.suppress(FileNotFoundError):
            os.replace(new, self._done(result.student, result.lesson))

    def _date(self, result):
        path = self.notebook(result.student, result.lesson).with_name(TIMESTAMP)
        if result.timestamp:
            self._replace(path, result.timestamp.encode(), READ_ONLY)
        else:
            path.unlink(missing_ok=True)

    def _bring(self, files, target):
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
        """Keep other graders out of this course meanwhile. The system unlocks it when this process ends, however it ends.

        Raises:
            CourseError: another one is at work.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        with open(self.folder / LOCK, "a") as file:
            try:
                import fcntl

                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except ImportError:  # Windows: there one has to see to it oneself
                pass
            except OSError:
                raise CourseError(
                    "another `autograde grade` is at work on this course; wait until it has ended"
                ) from None
            # What a killed grader left half written.
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
