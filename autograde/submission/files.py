"""Finds and reads submissions: ``<student>/<lesson>/<lesson>.ipynb``, and the other files beside them.

The folders can hold anything: named pipes, links, directories in place of files, files of gigabytes. So files are opened
without blocking, checked by their descriptors, and read up to a limit. nbgrader's commands and `autograde grade` both
read submissions with this module.
"""

import datetime
import errno
import hashlib
import os
import re
import stat
import unicodedata
from dataclasses import dataclass
from pathlib import Path

from autograde.submission import misplaced
from autograde.submission.nbgrader_rules import nbgrader_utils
from autograde.terminal import MOST_MARKS, harmless, one_line

MAX_BYTES = 64 * 2**20  # of one notebook; a usual one with all its figures has a hundredth of that
MAX_FILES = 1_000  # beside a notebook
MAX_STRAYS = 10  # in a student's folder, that are named one by one
MAX_PATH = 1_000  # bytes, below the folder that was handed in
LONGEST_NAME = 128  # characters of a student's id in nbgrader's gradebook
TIMESTAMP = "timestamp.txt"  # nbgrader's file with the hand-in time

NO_NOTEBOOK = "The folder that was handed in holds no {0}.ipynb{1}. Hand in the notebook under the name it was given."
A_LINK = "The notebook that was handed in is a link to another place. Hand in the file itself."
NO_FILE = "The folder that was handed in holds no {0}.ipynb, but {1} of that name. Hand in the notebook itself."
TOO_LARGE = "The file that was handed in has {0:.0f} MB. Clear the outputs (Edit, Clear Outputs of All Cells) and save."
NOT_READ = "The file that was handed in could not be read ({0})."
NO_DATE = f"has a {TIMESTAMP} in which no date can be read, so it is graded as handed in at an unknown time: correct or remove that file"
TOO_MUCH = "has more files beside the notebook than are looked at ({0}); it is graded without them"
ALLOW = "allow that, with `chmod -R u+rX` if it is yours, and grade again"
CLOSED = f"may not be read by the account that grades, so nothing in it is graded: {ALLOW}."
HIDDEN = "begins with a dot, and nbgrader reads no such folders, so nothing in it is graded: rename it."
CLOSED_NOTEBOOK = f"holds a notebook that may not be read by the account that grades, so it gets no points: {ALLOW}"
CLOSED_BESIDE = (
    f"also holds {{0}}, which may not be read by the account that grades; it is graded without that: {ALLOW}"
)

# At the start of a name, or behind what separates the columns of a file; a name such as -anna or +49 is none.
_FORMULA = re.compile(r"(?:^|[;,])\s*(?:[=@]|[+-].*[(|!])")
# Letters and marks that show nothing, which Unicode does not count among the format characters.
_BLANK = re.compile(
    r"[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2800\u3164\ufe00-\ufe0f\uffa0\U000e0100-\U000e01ef]"
)
# What every object of JavaScript has: formgrader's pages look up students by name in one, and list nobody when one is found.
_OF_OBJECTS = {
    "constructor", "hasOwnProperty", "isPrototypeOf", "propertyIsEnumerable", "toLocaleString", "toString", "valueOf",
    "__proto__", "__defineGetter__", "__defineSetter__", "__lookupGetter__", "__lookupSetter__",
}  # fmt: skip
_KINDS = {stat.S_IFDIR: "a folder", stat.S_IFIFO: "a pipe", stat.S_IFSOCK: "a socket"}


class NotRegular(Exception):
    """Not a regular file; the message says what it is."""


class TooLarge(Exception):
    """A file is larger than the limit; the message is its size in bytes."""


def read_regular(path, limit, beneath=None):
    """The bytes of a regular file. Does not block, and does not follow a link at the end of the path.

    Args:
        path: of the file.
        limit: the maximum number of bytes.
        beneath: a folder above the file: no folder between the two may be a link, either. What was a folder when it was
            found may have been replaced since, by a link to a file of somebody else. None where that does not matter.

    Raises:
        NotRegular: it is a pipe, a folder, a link, ….
        TooLarge: it has more than `limit` bytes.
        OSError: it does not exist, or cannot be read.
    """
    try:
        descriptor = _opened(path, beneath)
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise NotRegular("a link") from None
        if error.errno == errno.ENXIO:
            raise NotRegular("a socket") from None
        raise
    status = os.fstat(descriptor)
    if not stat.S_ISREG(status.st_mode):
        os.close(descriptor)
        raise NotRegular(_KINDS.get(stat.S_IFMT(status.st_mode), "a device"))
    with os.fdopen(descriptor, "rb") as file:
        if status.st_size > limit:
            raise TooLarge(status.st_size)
        content = file.read(limit + 1)
    if len(content) > limit:  # it has grown meanwhile
        raise TooLarge(len(content))
    return content


def _opened(path, beneath):
    no_link = getattr(os, "O_NOFOLLOW", 0)
    flags = os.O_RDONLY | no_link | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
    if beneath is None or os.open not in os.supports_dir_fd:  # Windows has no way to do it
        return os.open(path, flags)
    to_pass = os.O_DIRECTORY | getattr(os, "O_PATH", os.O_RDONLY)  # a folder that may not be listed can be passed
    *folders, name = Path(path).relative_to(beneath).parts
    at = os.open(beneath, to_pass)
    try:
        for folder in folders:
            inner = os.open(folder, to_pass | no_link, dir_fd=at)
            os.close(at)
            at = inner
        return os.open(name, flags, dir_fd=at)
    finally:
        os.close(at)


@dataclass(frozen=True)
class Submission:
    """The folder that one student handed in for one lesson. `file` is the name of the notebook in it, if not the lesson's."""

    student: str
    lesson: str
    folder: Path
    file: str = ""

    @property
    def notebook(self):
        """The path of the notebook that is graded."""
        return self.folder / (self.file or f"{self.lesson}.ipynb")

    @property
    def _top(self):
        """The folder beneath which nothing may be a link: that of all submissions, or for a folder of our own that itself."""
        return self.folder.parents[1] if self.student else self.folder

    def read(self):
        """``(contents as bytes, None)``, or ``(b"", message for the learner)`` if there is nothing to grade."""
        try:
            if self.notebook.is_symlink():
                return b"", A_LINK
            return read_regular(self.notebook, MAX_BYTES, self._top), None
        except NotRegular as error:
            return b"", NO_FILE.format(self.lesson, error)
        except TooLarge as error:
            return b"", TOO_LARGE.format(error.args[0] / 1e6)
        except NotADirectoryError:
            return b"", NOT_READ.format("its folder was replaced meanwhile")
        except FileNotFoundError:
            return b"", NO_NOTEBOOK.format(self.lesson, misplaced.in_place_of_notebook(self.folder, self.lesson))
        except OSError as error:
            return b"", NOT_READ.format(error.strerror or type(error).__name__)

    def timestamp(self):
        """The hand-in time, as the text of nbgrader's timestamp file; None if it is unknown."""
        return hand_in_time(self.folder, self._top)[0]

    def contents(self, paths):
        """``{name: bytes}`` of those files of `others` that can still be read."""
        found = {}
        for path in paths:
            try:
                found[path.as_posix()] = read_regular(self.folder / path, MAX_BYTES, self._top)
            except (OSError, NotRegular, TooLarge):  # it has changed in the meantime
                continue
        return found

    def others(self):
        """The other files in the folder.

        Returns:
            ``(sorted paths relative to the folder, message)``: of regular files that can be read, since links may lead
            anywhere. The message says what was left out, of the files that cannot be read the first; None if nothing was.
            There are no paths if there are too many files, or too large ones.
        """
        found, size, seen, closed = [], 0, 0, []
        waiting = [self.folder]
        while waiting:
            # One level at a time: `os.walk` calls itself for each further one, and Python stops at a thousand calls.
            folder, folders, files = next(os.walk(waiting.pop()), ("", [], []))
            folders = [name for name in folders if name[0] != "." and not name.endswith(".ipynb")]
            inner = [Path(folder, name) for name in folders]
            waiting += [path for path in inner if not os.path.islink(path)]
            closed += [path for path in inner if not os.path.islink(path) and not may_open(path)]
            seen += len(folders) + len(files)
            if seen > MAX_FILES:
                return [], TOO_MUCH.format(f"{MAX_FILES:,} files")
            for name in files:
                path = Path(folder, name)
                relative = path.relative_to(self.folder)
                if name[0] == "." or path.suffix == ".ipynb" or relative.parts[0] == TIMESTAMP:
                    continue
                if "\n" in str(relative):  # nbgrader logs names: what follows would look like a line of its own
                    continue
                try:
                    status = path.lstat()
                except OSError:  # it has been removed in the meantime
                    continue
                if not stat.S_ISREG(status.st_mode) or len(os.fsencode(relative)) > MAX_PATH:
                    continue
                if os.access(path, os.R_OK):
                    found.append(relative)
                    size += status.st_size
                else:
                    closed.append(path)
            if size > MAX_BYTES:
                return [], TOO_MUCH.format(f"{MAX_BYTES // 2**20} MB")
        first = min((path.relative_to(self.folder).as_posix() for path in closed), default=None)
        return sorted(found), CLOSED_BESIDE.format(_quoted(first)) if first else None


def hand_in_time(folder, beneath=None):
    """``(text of nbgrader's timestamp file, or None, whether the file exists without a valid date)``. `beneath`: as in
    `read_regular`.
    """
    try:
        text = read_regular(Path(folder, TIMESTAMP), 200, beneath).decode("utf-8").strip()
        is_date = parsed_time(text) is not None
        return (text, False) if is_date else (None, True)
    except FileNotFoundError:
        return None, False
    except (NotRegular, TooLarge, OSError, ValueError):
        return None, True


def parsed_time(text):
    """A hand-in time as nbgrader stores it, in UTC; None if there is none, or if it is invalid: also in the first or the last
    year that a date can have, since formgrader's lists show times in another time zone, and stop at one that none has.
    """
    if not text:
        return None
    try:
        time = nbgrader_utils().parse_utc(text)
        return time if datetime.MINYEAR < time.year < datetime.MAXYEAR else None
    except Exception:  # more than dateutil promises: InvalidOperation where a minute has 70 digits
        return None


def files_beside(submission, course):
    """``{name: bytes}`` of the files beside a notebook when it runs: those handed in with it, overwritten by the lesson's
    own files, as in nbgrader. Without the hand-in time.
    """
    ours = Submission("", submission.lesson, course.solved(submission.lesson).parent)
    theirs = without_conflicts(submission.others()[0], ours.others()[0])
    return submission.contents(theirs) | ours.contents(ours.others()[0])


def without_conflicts(paths, others):
    """Those of `paths` that can be in one folder with `others`: none has the same name as a file or folder of theirs."""
    taken = {Path(*path.parts[:n]) for path in others for n in range(1, len(path.parts) + 1)}
    return [path for path in paths if path not in taken and not taken & set(path.parents) & set(others)]


def fingerprint(content, message, files):
    """A hash of a submission.

    Args:
        content: of the notebook, as bytes.
        message: why there is no notebook, or None.
        files: ``{name: bytes}`` of the files beside it.
    """
    digest = hashlib.sha256(content)
    for part in (message or "", *sorted(files)):
        digest.update(b"\0" + part.encode("utf-8", "surrogateescape") + b"\0" + files.get(part, b""))
    return digest.hexdigest()


def find(course, lessons, student=None):
    """Find the submissions of a course.

    Args:
        course: the `Course`.
        lessons: ids of the lessons to find.
        student: the name of one student; None for all.

    Returns:
        ``(submissions sorted by lesson and student, messages about other files in the folder)``.
    """
    found, notices = [], []
    known = list(dict.fromkeys([*course.lessons, *lessons]))
    for folder in [*_entries(course.submitted), *_hidden_students(course.submitted, known)]:
        if student is not None and folder.name != student:
            continue
        where = f"{course.submitted.name}/{one_line(folder.name)}"
        if folder.name[0] == ".":
            notices.append(f"{where} {HIDDEN}")
            continue
        if problem := why_unusable(folder):
            is_file = not folder.is_symlink() and not folder.is_dir()
            notices.append(f"{where} {misplaced.in_place_of_student(folder, known) + '.' if is_file else problem}")
            continue
        if not may_open(folder):
            notices.append(f"{where} {CLOSED}")
            continue
        strays = 0
        for inner in _entries(folder):
            inside = f"{where}/{one_line(inner.name)}"
            if inner.name not in known:
                strays += 1
                if strays <= MAX_STRAYS:
                    notices.append(f"{inside} {misplaced.in_place_of_lesson(inner, known)}.")
            elif inner.is_symlink() or not inner.is_dir():
                notices.append(f"{inside} is not a folder; left alone.")
            elif inner.name in lessons:
                found.append(Submission(folder.name, inner.name, inner))
                notices += [f"{inside} {problem}." for problem in warnings_about(found[-1])]
        if strays > MAX_STRAYS:
            notices.append(f"{where} holds {strays - MAX_STRAYS:,} more that are no lesson of this course; left alone.")
    return sorted(found, key=lambda one: (one.lesson, one.student)), notices


def may_open(folder):
    """Whether this process may list what a folder holds, and reach it: for graders that are not root, a folder may forbid that."""
    return os.access(folder, os.R_OK | os.X_OK)


def student_folders(course):
    """The folders of students in the folder of submissions."""
    return [folder for folder in _entries(course.submitted) if not why_unusable(folder)]


def warnings_about(submission):
    """Warnings for the instructor about a submission that can be graded, as ends of sentences."""
    found = []
    extra = sorted(path.name for path in _entries(submission.folder) if path.suffix == ".ipynb")
    extra = [name for name in extra if name != submission.notebook.name]
    if extra and os.path.lexists(submission.notebook):
        more = f" and {len(extra) - 1} more, which are no notebooks" if len(extra) > 1 else ", which is no notebook"
        found.append(f"also holds {one_line(extra[0])}{more} of it; left alone")
    if not _may_read(submission):
        found.append(CLOSED_NOTEBOOK)
    if os.access(submission.folder, os.X_OK) and hand_in_time(submission.folder)[1]:
        found.append(NO_DATE)
    if left_out := submission.others()[1]:
        found.append(left_out)
    return found


def _may_read(submission):
    """Whether the right to read the notebook is not what is missing."""
    if not os.access(submission.folder, os.X_OK):
        return False
    path = submission.notebook
    return os.access(path, os.R_OK) or not os.path.lexists(path) or path.is_symlink()


def _entries(folder):
    try:
        return sorted(path for path in folder.iterdir() if not misplaced.is_litter(path.name))
    except OSError:
        return []


def _hidden_students(folder, lessons):
    """Folders whose names begin with a dot, and that hold one of `lessons` all the same."""
    found = sorted(folder.glob(".*"))
    return [path for path in found if any((path / lesson).is_dir() for lesson in lessons)]


def why_unusable(student):
    """Why nbgrader cannot use a folder as a student's, as the end of a sentence; None if it can."""
    if student.is_symlink():
        return "is a link to another place; left alone. Put the folder itself there."
    if not student.is_dir():
        return "is a file, not a student's folder; left alone."
    if len(student.name) > LONGEST_NAME:
        return f"has a name of more than {LONGEST_NAME} characters, which no gradebook takes; rename it."
    if any(_is_invisible(character) for character in student.name):
        return "has control or invisible characters, or broken text, in its name, which no gradebook takes; rename it."
    if not student.name.strip():
        return "has a name of blanks, which nobody sees; rename it."
    if harmless(student.name) != student.name:  # nothing invisible is left
        return f"has a letter with more than {MOST_MARKS} marks in its name, which lie over other names in a list; rename it."
    if set(student.name) & set('<>"\\'):
        return 'has one of the characters < > " \\ in its name, which a web page could take for markup; rename it.'
    if _FORMULA.search(student.name):
        return "has a name that a spreadsheet takes for a formula, and `nbgrader export` writes one; rename it."
    if student.name in _OF_OBJECTS:
        return "has a name that formgrader's pages take for a part of JavaScript, and list no student; rename it."
    if set(student.name) <= {"*", "?"}:
        return "has a name that nbgrader takes for all students; rename it."
    return None


def is_plain(name):
    """Whether a name is safe in a table: no spreadsheet takes it for a formula, and all of it can be seen."""
    return not _FORMULA.search(name) and not any(_is_invisible(character) for character in name)


def _is_invisible(character):
    return unicodedata.category(character) in ("Cc", "Cf", "Cs", "Zl", "Zp") or _BLANK.match(character) is not None


def _quoted(name):
    return repr(one_line(name))
