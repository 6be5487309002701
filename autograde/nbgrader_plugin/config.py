"""What nbgrader's configuration means to grading, and what grading asks of it."""

import os
import sys
import warnings
from dataclasses import dataclass

from traitlets.config import Config

_PLUGIN = "autograde.nbgrader_plugin"


@dataclass(frozen=True)
class Settings:
    """What grading needs to know.

    Attributes:
        config: all of it, for nbgrader's own classes.
        db_url: of the gradebook.
        course_id: the gradebook's name of the course.
    """

    config: Config
    db_url: str
    course_id: str


def load(course, db_url=None):
    """The settings of a course.

    Args:
        course: the `Course`.
        db_url: takes the place of the configured one.
    """
    folders = course.config.CourseDirectory
    db_url = db_url or folders.get("db_url") or f"sqlite:///{course.root / 'gradebook.db'}"
    return Settings(course.config, str(db_url), str(folders.get("course_id", "")))


def configure(c, root):
    """Have nbgrader grade as this engine does. A course calls it in its nbgrader_config.py, and names its folders there.

    Args:
        c: nbgrader's configuration, as ``get_config()`` gives it.
        root: the course's folder.
    """
    c.CourseDirectory.root = str(root)

    # Where nbgrader passes over files or deletes them without a word, its exporters are the place to say so.
    c.GenerateAssignment.exporter_class = f"{_PLUGIN}.exporters.ReleaseExporter"
    c.Autograde.exporter_class = f"{_PLUGIN}.exporters.SubmissionExporter"
    c.GenerateFeedback.exporter_class = f"{_PLUGIN}.exporters.FeedbackExporter"

    # nbgrader's own list without its ClearOutput: our exporter has dropped all outputs but those of the demonstrations,
    # which are not run again.
    c.Autograde.sanitize_preprocessors = [
        "nbgrader.preprocessors.DeduplicateIds",
        "nbgrader.preprocessors.OverwriteKernelspec",
        "nbgrader.preprocessors.OverwriteCells",
        "nbgrader.preprocessors.CheckCellMetadata",
    ]
    # nbgrader's own list, with our Execute: cells run in a box, and checks are judged outside of it.
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
    # SQLAlchemy's word on how nbgrader makes its rows, several times for each submission. The rows are right.
    warnings.filterwarnings("ignore", "Object of type <Submitted", module="nbgrader.api")

    _guard_nbgrader()


def _guard_nbgrader():
    """See that what is handed in does no harm in the process that reads this configuration, if it is nbgrader's: in its
    log, in the folders it looks through, and in formgrader's pages.
    """
    if "nbgrader.converters.base" not in sys.modules:
        return
    from autograde import terminal
    from autograde.nbgrader_plugin import folders, formgrader

    terminal.guard_logs()
    folders.guard()
    formgrader.guard()
