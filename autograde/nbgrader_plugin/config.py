"""Reads the parts of nbgrader's configuration that grading needs, and configures nbgrader to grade with this engine."""

import os
import sys
import warnings
from dataclasses import dataclass
from pathlib import Path

from traitlets.config import Config

_PLUGIN = "autograde.nbgrader_plugin"


@dataclass(frozen=True)
class Settings:
    """The settings of nbgrader that grading needs.

    Attributes:
        config: the whole configuration, for nbgrader's own classes.
        db_url: URL of the gradebook.
        course_id: the name of the course in the gradebook.
    """

    config: Config
    db_url: str
    course_id: str


def load(course, db_url=None):
    """The settings of a course.

    Args:
        course: the `Course`.
        db_url: overrides the configured URL.
    """
    folders = course.config.CourseDirectory
    db_url = db_url or folders.get("db_url") or f"sqlite:///{course.root / 'gradebook.db'}"
    return Settings(course.config, str(db_url), str(folders.get("course_id", "")))


def configure(c, root):
    """Configure nbgrader to grade with this engine. A course calls it in its nbgrader_config.py, and names its folders there.

    Args:
        c: nbgrader's configuration, as ``get_config()`` gives it.
        root: the course's folder.
    """
    c.CourseDirectory.root = str(root)

    # nbgrader skips or deletes some files without a message; our exporters report them.
    c.GenerateAssignment.exporter_class = f"{_PLUGIN}.exporters.ReleaseExporter"
    c.Autograde.exporter_class = f"{_PLUGIN}.exporters.SubmissionExporter"
    c.GenerateFeedback.exporter_class = f"{_PLUGIN}.exporters.FeedbackExporter"

    # nbgrader's own list without ClearOutput: our exporter has already removed all outputs but those of demonstrations,
    # which are not run again.
    c.Autograde.sanitize_preprocessors = [
        "nbgrader.preprocessors.DeduplicateIds",
        "nbgrader.preprocessors.OverwriteKernelspec",
        "nbgrader.preprocessors.OverwriteCells",
        "nbgrader.preprocessors.CheckCellMetadata",
    ]
    # nbgrader's own list, with our Execute: cells run in a sandbox, and checks are judged outside of it.
    c.Autograde.autograde_preprocessors = [
        f"{_PLUGIN}.execute.Execute",
        "nbgrader.preprocessors.IgnorePattern",
        "nbconvert.preprocessors.ClearMetadataPreprocessor",
        "nbgrader.preprocessors.LimitOutput",
        "nbgrader.preprocessors.SaveAutoGrades",
        "nbgrader.preprocessors.AssignLatePenalties",
        "nbgrader.preprocessors.CheckCellMetadata",
    ]
    # A check's report is 96 columns wide; Validate indents it by 4 and cuts off lines that come within 3 of its width.
    c.Validator.width = 104

    # nbgrader calls alembic by name to make a gradebook.
    if os.path.dirname(sys.executable) not in os.environ.get("PATH", "").split(os.pathsep):
        os.environ["PATH"] = os.path.dirname(sys.executable) + os.pathsep + os.environ.get("PATH", "")
    # SQLAlchemy warns about how nbgrader makes its rows, several times for each submission. The rows are right.
    warnings.filterwarnings("ignore", "Object of type <Submitted", module="nbgrader.api")

    _guard_nbgrader(root)


def _guard_nbgrader(root):
    """If this process is nbgrader's, protect it from submissions (its log, its search for files, what its server answers),
    and have its Validate say what grading says.
    """
    if "nbgrader.converters.base" not in sys.modules:
        return
    from autograde import terminal
    from autograde.nbgrader_plugin import answers, folders, formgrader, validate
    from autograde.project import Course

    terminal.guard_logs()
    folders.guard(Course(Path(root)))
    formgrader.guard()
    answers.guard()
    validate.guard()
