"""Exporters for nbgrader's setting `exporter_class`: they give nbgrader its notebooks, and report what it would skip.

nbgrader creates an exporter once in a run, after it has listed the files and before it processes any of them. At that
moment, ours makes sure that every submission is graded, and reports what nbgrader would skip or delete.
"""

import copy
import fnmatch
import hashlib
import os
import shutil
import time
from pathlib import Path

import nbformat
from nbconvert.exporters import NotebookExporter
from nbgrader.api import Gradebook, MissingEntry
from nbgrader.converters.base import NbGraderException

from autograde.authoring import release
from autograde.nbgrader_plugin import reference
from autograde.nbgrader_plugin.config import Settings
from autograde.nbgrader_plugin.folders import find_folders
from autograde.nbgrader_plugin.gradebook import Book, GradebookError
from autograde.nbgrader_plugin.pages import FEEDBACK_POLICY, CleanHTMLExporter, readable, with_policy
from autograde.notebook.cells import METADATA
from autograde.project import Course
from autograde.submission import files, grader_version
from autograde.submission.files import Submission, may_open, why_unusable
from autograde.terminal import one_line

REPLACED = "replaced"  # folder beside the graded notebooks, for files that nbgrader's --force would have deleted


def _names(ids):
    ids = sorted(one_line(name) for name in ids)
    return ", ".join(ids[:5]) + (f" and {len(ids) - 5} more" if len(ids) > 5 else "")


class _Exporter:
    """Base class of the three exporters: it calls `begin` with nbgrader's converter when it is created."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        if self.parent is not None and getattr(self.parent, "coursedir", None):
            self.begin(self.parent)

    def begin(self, converter):
        """Inspect, and complete, the list of what `converter` is about to process."""
        raise NotImplementedError

    @property
    def _folders(self):
        return self.parent.coursedir

    def _path(self, step, student, assignment):
        return Path(os.path.normpath(self._folders.format_path(step, student, assignment)))

    def _listed(self, converter, step):
        """``[(student, folder)]`` that nbgrader has listed. `step` is the setting with the directory that it reads."""
        depth = len(Path(self._path(step, ".", ".")).parts)
        return [(Path(os.path.normpath(folder)).parts[depth], Path(folder)) for folder in converter.assignments]


class SubmissionExporter(_Exporter, NotebookExporter):
    """For `nbgrader autograde`: whatever a submitted file holds, nbgrader gets a complete notebook with all graded cells."""

    def begin(self, converter):
        self._released, self._versions, self._known = {}, {}, {}
        for assignment in {self._folders.assignment_id, *(Path(folder).name for folder in converter.assignments)}:
            self._register(assignment)
            names = self._known[assignment] = self._notebooks(assignment)
            self._list_what_is_missing(converter, assignment, names)
            if not converter.force:
                if self._folders.notebook_id == "*":  # else what is removed would not be graded whole
                    self._begin_again(converter, assignment)
                self._warn_of_skipping(converter, assignment, names)
        for notice in self._notices():
            self.log.warning("%s", notice)
        for folder in list(converter.assignments):
            self._filter(converter, folder)

    def _notices(self):
        """What `autograde grade` says of the folder of submissions too."""
        student = self._folders.student_id
        pattern = student == "*" or (
            "*" in student and not self._path(self._folders.submitted_directory, student, ".").is_dir()
        )
        return files.find(Course(Path(self._folders.root)), list(self._known), None if pattern else student)[1]

    def _filter(self, converter, folder):
        """Remove unusable folders, and notebooks that do not belong to the lesson, from nbgrader's list: `files.find` has said so."""
        student, lesson = Path(folder).parent, Path(folder).name
        if why_unusable(student) or not may_open(student) or Path(folder).is_symlink():
            del converter.assignments[folder]
            return
        if known := self._known[lesson]:  # nbgrader would log a message for each of the others
            listed = converter.assignments[folder]
            converter.assignments[folder] = [path for path in listed if Path(path).stem in known]

    def _register(self, assignment):
        """Enter a lesson into the gradebook, as generate_assignment does, so that nobody has to run that first."""
        folders = self._folders
        course = Course(Path(folders.root))
        if assignment not in course.lessons:
            return
        settings = Settings(self.parent.config, folders.db_url, folders.course_id)
        try:
            whole = reference.of_lesson(course, assignment, settings.config)
        except (OSError, ValueError) as error:
            self.log.warning("The gradebook was not brought up to date with %s: %s", assignment, error)
            return
        book = Book(settings)
        try:
            book.prepare(assignment, whole)
            if students := book.update_penalties(assignment):  # also of those that nbgrader is about to skip
                self.log.warning("%s: late penalties follow the due date: %s", assignment, _names(students))
        except GradebookError as error:
            self.log.error("%s", error)
            raise NbGraderException(str(error)) from None
        finally:
            book.close()
        self._released[assignment, assignment] = whole
        self._versions[assignment] = grader_version.of_lesson(course, assignment, nbformat.writes(whole))

    def _notebooks(self, assignment):
        """The names of the notebooks of an assignment that this run includes."""
        with Gradebook(self._folders.db_url, self._folders.course_id) as book:
            try:
                names = [notebook.name for notebook in book.find_assignment(assignment).notebooks]
            except MissingEntry:
                return []  # nbgrader reports this itself
        return [name for name in names if fnmatch.fnmatch(name, self._folders.notebook_id)]

    def _list_what_is_missing(self, converter, assignment, names):
        """Add what nbgrader skips: folders without notebooks, and notebooks under other names."""
        students = self._path(self._folders.submitted_directory, ".", ".") / self._folders.student_id
        for folder in map(Path, find_folders(str(students))):
            if names and not folder.name.startswith(".") and may_open(folder) and (folder / assignment).is_dir():
                found = converter.assignments.setdefault(str(folder / assignment), [])
                found += [path for name in names if (path := str(folder / assignment / f"{name}.ipynb")) not in found]

    def _begin_again(self, converter, assignment):
        """Remove what a run has left that was killed in the middle of a submission: nbgrader would take it for graded."""
        removed = []
        for student, folder in self._listed(converter, self._folders.submitted_directory):
            graded = self._path(self._folders.autograded_directory, student, assignment)
            if folder.name == assignment and graded.is_dir() and _is_unfinished(graded):
                shutil.rmtree(graded, ignore_errors=True)
                removed += [] if graded.exists() else [student]
        if removed:
            self.log.warning(
                "An earlier run was ended in the middle of these, which are graded now: %s", _names(removed)
            )

    def _warn_of_skipping(self, converter, assignment, names):
        changed, skipped = [], 0
        for student, folder in self._listed(converter, self._folders.submitted_directory):
            graded = self._path(self._folders.autograded_directory, student, assignment)
            if graded.is_dir():
                skipped += 1
                if not self._newer(folder, graded) and any(_differs(folder, graded, name) for name in names):
                    changed.append(student)
        if changed:
            self.log.warning(
                "Handed in again since they were graded, and skipped all the same: %s. "
                "nbgrader grades again what is graded only with --force.",
                _names(changed),
            )
        if skipped:
            self.log.info("Graded already, and skipped: %d. With --force they are graded again.", skipped)

    def _newer(self, folder, graded):
        """Whether the submission has a newer timestamp than the graded one, in which case nbgrader does not skip it."""
        old, new = (self._folders.get_existing_timestamp(path) for path in (graded, folder))
        return old is not None and new is not None and new > old

    def from_filename(self, filename, resources=None, **kwargs):
        """The notebook in a file. For a submitted file, the reference notebook: only the grading process reads submitted
        files (`autograde.nbgrader_plugin.execute`).
        """
        keys = (resources or {}).get("nbgrader", {})
        submitted = self._path(self._folders.submitted_directory, keys["student"], keys["assignment"])
        if Path(os.path.normpath(filename)).parent != submitted:
            return super().from_filename(filename, resources=resources, **kwargs)
        resources["metadata"] = {"name": keys["notebook"], "path": str(submitted)}
        notebook = copy.deepcopy(self._release(keys["assignment"], keys["notebook"]))
        notebook.metadata[METADATA] = notebook.metadata.get(METADATA, {}) | {
            "lesson": keys["notebook"],
            "version": self._versions.get(keys["assignment"]),
        }
        return self.from_notebook_node(notebook, resources=resources, **kwargs)

    def _release(self, assignment, name):
        if (assignment, name) not in self._released:
            with Gradebook(self._folders.db_url, self._folders.course_id) as book:
                self._released[assignment, name] = _from_gradebook(book.find_notebook(name, assignment))
        return self._released[assignment, name]


def _digest(data):
    return hashlib.sha256(data).hexdigest()


def _is_unfinished(graded):
    """Whether a folder of graded notebooks has one that is not yet graded, or is cut off, or has none at all."""
    notebooks = list(graded.glob("*.ipynb"))
    return not notebooks or any(map(_is_half_graded, notebooks))


def _is_half_graded(path):
    """Whether the notebook is as `SubmissionExporter.from_filename` gives it to nbgrader, which writes that first."""
    try:
        said = nbformat.read(path, as_version=4).metadata.get(METADATA, {})
    except (OSError, ValueError):
        return os.access(path, os.R_OK)
    return "version" in said and "graded" not in said


def _differs(folder, graded, name):
    """Whether a submitted file differs from the one that was graded; False if that is unknown."""
    try:
        notebook = nbformat.read(graded / f"{name}.ipynb", as_version=4)
        return notebook.metadata[METADATA]["submission"] != _digest(
            Submission(folder.parent.name, name, folder).read()[0]
        )
    except (OSError, ValueError, KeyError):
        return False


def _from_gradebook(notebook):
    """An instructor's own notebook with the graded cells from the gradebook, including hidden tests."""
    points = {cell.name: cell.max_score for cell in [*notebook.grade_cells, *notebook.task_cells]}
    grades, answers, tasks = (
        {cell.name for cell in cells} for cells in (notebook.grade_cells, notebook.solution_cells, notebook.task_cells)
    )
    made = nbformat.v4.new_notebook()
    for cell in notebook.source_cells:
        name = cell.name
        graded = {"grade": name in grades, "grade_id": name, "locked": cell.locked, "schema_version": 3,
                  "solution": name in answers, "task": name in tasks, "checksum": cell.checksum}  # fmt: skip
        if name in points:
            graded["points"] = points[name]
        new = getattr(nbformat.v4, f"new_{cell.cell_type}_cell")
        made.cells.append(new(cell.source, metadata={"nbgrader": graded}))
    return made


class ReleaseExporter(_Exporter, NotebookExporter):
    """For `nbgrader generate_assignment`: reports what is skipped, and keeps a copy of what --force would delete.

    The metadata of a release do not depend on the checks, so the release does not change when only checks change.
    """

    def from_notebook_node(self, notebook, resources=None, **options):
        """As nbconvert's method, without the hash of the code that the solved notebook ran."""
        notebook = copy.deepcopy(notebook)
        notebook.metadata.get(METADATA, {}).pop("inputs_hash", None)
        return super().from_notebook_node(notebook, resources, **options)

    def begin(self, converter):
        for _, folder in self._listed(converter, self._folders.source_directory):
            target = self._path(self._folders.release_directory, ".", folder.name)
            if not target.is_dir():
                continue
            if not converter.force:
                self.log.warning(
                    "%s is there already, so nbgrader leaves it and the gradebook as they are. "
                    "To write it again, run this with --force.",
                    os.path.relpath(target, self._folders.root),
                )
            elif any(release.edited(path) for path in target.glob("*.ipynb")):
                self._keep(target)

    def _keep(self, target):
        moment = time.strftime("%Y-%m-%d_%H.%M.%S")
        kept = (
            Path(self._folders.root, self._folders.autograded_directory).parent / REPLACED / f"{target.name}_{moment}"
        )
        shutil.copytree(target, kept, dirs_exist_ok=True)
        self.log.warning(
            "%s has been worked in, and is written again. Its former contents are in %s.",
            *(os.path.relpath(path, self._folders.root) for path in (target, kept)),
        )


class FeedbackExporter(_Exporter, CleanHTMLExporter):
    """For `nbgrader generate_feedback`: pages in which no code of a learner runs. Reports pages that nbgrader skips although
    they are older than the grades.
    """

    def from_notebook_node(self, nb, resources=None, **kwargs):
        """The page as text, and nbgrader's resources."""
        page, resources = super().from_notebook_node(nb, resources, **kwargs)
        return with_policy(readable(page), FEEDBACK_POLICY), resources

    def begin(self, converter):
        if converter.force:
            return
        stale = []
        for student, folder in self._listed(converter, self._folders.autograded_directory):
            pages = self._path(self._folders.feedback_directory, student, folder.name)
            if pages.is_dir() and not any(pages.glob("*.html")):  # of a run that was killed: nbgrader takes it for done
                shutil.rmtree(pages, ignore_errors=True)
            for notebook in folder.glob("*.ipynb"):
                page = pages / f"{notebook.stem}.html"
                if page.exists() and page.stat().st_mtime < notebook.stat().st_mtime:
                    stale.append(student)
        if stale:
            self.log.warning(
                "Graded again since their feedback was made, which nbgrader leaves as it is: %s. "
                "To write it again, run this with --force.",
                _names(set(stale)),
            )
