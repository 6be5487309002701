"""The course as nbgrader sees it: its folders, and how it grades.

nbgrader reads this file when it is started here, and so do Validate and formgrader in a JupyterLab that was started
here (`make lab`).
"""

import os
import sys
import warnings

c = get_config()  # noqa: F821 - given by nbgrader

ROOT = os.path.dirname(os.path.abspath(__file__))

# The course's package, where it is not installed; and alembic, which nbgrader calls by name to make a gradebook.
if ROOT not in sys.path:
    sys.path.append(ROOT)
if os.path.dirname(sys.executable) not in os.environ.get("PATH", "").split(os.pathsep):
    os.environ["PATH"] = os.path.dirname(sys.executable) + os.pathsep + os.environ.get("PATH", "")

# SQLAlchemy's word on how nbgrader makes its rows, several times for each submission. The rows are right.
warnings.filterwarnings("ignore", "Object of type <Submitted", module="nbgrader.api")

c.CourseDirectory.course_id = "lora"
c.CourseDirectory.root = ROOT
c.CourseDirectory.source_directory = "solutions"
c.CourseDirectory.release_directory = "notebooks"
c.CourseDirectory.submitted_directory = "autograde/submitted"
c.CourseDirectory.autograded_directory = "autograde/autograded"
c.CourseDirectory.feedback_directory = "autograde/feedback"
# In a URL, ? and % have meanings of their own.
gradebook = os.path.join(ROOT, "autograde", "gradebook.db").replace("%", "%25").replace("?", "%3F")
c.CourseDirectory.db_url = f"sqlite:///{gradebook}"
if "%" in ROOT + sys.prefix:
    from autograde.nbgrader_plugin import percent

    percent.allow()

# Where nbgrader passes over files or deletes them without a word, its exporters are the place to say so.
c.GenerateAssignment.exporter_class = "autograde.nbgrader_plugin.exporters.ReleaseExporter"
c.Autograde.exporter_class = "autograde.nbgrader_plugin.exporters.SubmissionExporter"
c.GenerateFeedback.exporter_class = "autograde.nbgrader_plugin.exporters.FeedbackExporter"

# nbgrader's own list without its ClearOutput: our exporter has dropped all outputs but those of the demonstrations, which
# are not run again.
c.Autograde.sanitize_preprocessors = [
    "nbgrader.preprocessors.DeduplicateIds",
    "nbgrader.preprocessors.OverwriteKernelspec",
    "nbgrader.preprocessors.OverwriteCells",
    "nbgrader.preprocessors.CheckCellMetadata",
]

# nbgrader's own list, with our Execute: cells run in a box, and checks are judged outside of it.
c.Autograde.autograde_preprocessors = [
    "autograde.nbgrader_plugin.execute.Execute",
    "nbgrader.preprocessors.IgnorePattern",
    "nbconvert.preprocessors.ClearMetadataPreprocessor",
    "nbgrader.preprocessors.LimitOutput",
    "nbgrader.preprocessors.SaveAutoGrades",
    "nbgrader.preprocessors.AssignLatePenalties",
    "nbgrader.preprocessors.CheckCellMetadata",
]

# Seconds for one cell, in grading and in Validate. The slowest of a lesson takes ten on an idle core, and machines are
# not always idle.
c.Execute.timeout = 60

# A check's report is 96 columns wide; Validate indents it by 4 and cuts off lines that come within 3 of its width.
c.Validator.width = 104
