"""What a class handed in: ``autograde/submitted/<student>/<lesson>/<lesson>.ipynb``, and whatever else lies there."""

import hashlib
import os
import unicodedata
from dataclasses import dataclass
from pathlib import Path

MAX_BYTES = 64 * 2**20  # of one notebook; with all its figures, an honest one has a hundredth of that
LONGEST_NAME = 128  # characters of a student's id in nbgrader's gradebook
LITTER = {"__MACOSX", "__pycache__"}  # left by archives and by Python: no person's work
TIMESTAMP = "timestamp.txt"  # nbgrader's: when it was handed in

NO_NOTEBOOK = "The folder that was handed in holds no {0}.ipynb{1}. Hand in the notebook under the name it was given."
A_LINK = "The notebook that was handed in is a link to another place. Hand in the file itself."
TOO_LARGE = "The file that was handed in has {0:.0f} MB. Clear the outputs (Edit, Clear Outputs of All Cells) and save."
NOT_READ = "The file that was handed in could not be read ({0})."


@dataclass(frozen=True)
class Submission:
    """One student's folder for one lesson."""

    student: str
    lesson: str
    folder: Path

    @property
    def notebook(self):
        """The file that is graded."""
        return self.folder / f"{self.lesson}.ipynb"

    def read(self):
        """``(contents as bytes, None)``, or ``(b"", a sentence for the learner)`` where there is nothing to grade."""
        path = self.notebook
        try:
            if path.is_symlink():
                return b"", A_LINK
            if not path.is_file():
                others = sorted(other.name for other in self.folder.glob("*.ipynb"))
                return b"", NO_NOTEBOOK.format(self.lesson, f", but {others[0]!r}" if others else "")
            if path.stat().st_size > MAX_BYTES:
                return b"", TOO_LARGE.format(path.stat().st_size / 1e6)
            return path.read_bytes(), None
        except OSError as error:
            return b"", NOT_READ.format(error.strerror or type(error).__name__)

    def timestamp(self):
        """When it was handed in, as the text of nbgrader's timestamp file; None without one."""
        path = self.folder / TIMESTAMP
        try:
            if path.is_symlink() or path.stat().st_size > 200:
                return None
            return path.read_text(encoding="utf-8").strip() or None
        except (OSError, UnicodeDecodeError):
            return None

    def others(self):
        """Other files in the folder, relative to it: regular ones only, since a link may lead anywhere."""
        found = []
        for folder, folders, files in os.walk(self.folder):
            folders[:] = [name for name in folders if not name.startswith(".")]
            for name in files:
                path = Path(folder, name)
                if not name.startswith(".") and path != self.notebook and path.suffix != ".ipynb":
                    if path.is_file() and not path.is_symlink():
                        found.append(path.relative_to(self.folder))
        return sorted(found)


def beside(submission, course):
    """``{name: bytes}`` of what lies beside a notebook when it runs: what was handed in with it, and over that, as nbgrader
    does, the lesson's own files. Without the hand-in time; and empty where that is too much.
    """
    found = {}
    for folder in (submission.folder, course.solved(submission.lesson).parent):
        source = Submission(submission.student, submission.lesson, folder)
        try:
            paths = [path for path in source.others() if str(path) != TIMESTAMP]
            if sum((folder / path).stat().st_size for path in paths) <= MAX_BYTES:
                found |= {path.as_posix(): (folder / path).read_bytes() for path in paths}
        except OSError:  # it was there a moment ago
            continue
    return found


def fingerprint(content, sentence, files):
    """A hash of what there is to grade.

    Args:
        content: of the notebook.
        sentence: what stands in its place, or None.
        files: ``{name: bytes}`` of what lies beside it.
    """
    digest = hashlib.sha256(content)
    for part in (sentence or "", *sorted(files)):
        digest.update(b"\0" + part.encode("utf-8", "surrogateescape") + b"\0" + files.get(part, b""))
    return digest.hexdigest()


def find(course, lessons):
    """Look through the folder of submissions.

    Args:
        course: the `Course`.
        lessons: ids of the lessons that are wanted.

    Returns:
        ``(submissions sorted by lesson and student, sentences about what else lies there)``.
    """
    found, notices = [], []
    for student in _entries(course.submitted):
        where = f"submitted/{_shown(student.name)}"
        if problem := _unusable(student):
            notices.append(f"{where} {problem}")
            continue
        for folder in _entries(student):
            inside = f"{where}/{_shown(folder.name)}"
            if folder.name not in course.lessons:
                notices.append(f"{inside} is no lesson of this course; left alone.")
            elif folder.is_symlink() or not folder.is_dir():
                notices.append(f"{inside} is not a folder; left alone.")
            elif folder.name in lessons:
                found.append(Submission(student.name, folder.name, folder))
                extra = [path.name for path in sorted(folder.glob("*.ipynb")) if path.stem != folder.name]
                if extra and found[-1].notebook.exists():
                    notices.append(f"{inside} also holds {_shown(extra[0])}, which is no notebook of it; left alone.")
    return sorted(found, key=lambda one: (one.lesson, one.student)), notices


def _entries(folder):
    try:
        return sorted(path for path in folder.iterdir() if path.name[0] != "." and path.name not in LITTER)
    except FileNotFoundError:
        return []


def _unusable(student):
    """Why a folder's name cannot be a student's id, or None."""
    if student.is_symlink():
        return "is a link to another place; left alone. Put the folder itself there."
    if not student.is_dir():
        return "is a file, not a student's folder; left alone."
    if len(student.name) > LONGEST_NAME:
        return f"has a name of more than {LONGEST_NAME} characters, which no gradebook takes; rename it."
    if any(unicodedata.category(character) in ("Cc", "Cs", "Zl", "Zp") for character in student.name):
        return "has control characters or broken text in its name, which no gradebook takes; rename it."
    return None


def _shown(name):
    shown = "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in name)
    return shown if len(shown) <= 60 else shown[:59] + "…"
