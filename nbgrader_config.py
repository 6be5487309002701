"""The course as nbgrader sees it: its folders, and how it grades.

nbgrader reads this file when it is started here, and so do Validate and formgrader in a JupyterLab that was started
here (`make lab`).
"""

import os
import sys

c = get_config()  # noqa: F821 - given by nbgrader

ROOT = os.path.dirname(os.path.abspath(__file__))

# The course's package, where it is not installed.
if ROOT not in sys.path:
    sys.path.append(ROOT)

from autograde.nbgrader_plugin.config import configure  # noqa: E402 - only now can it be found

configure(c, ROOT)

c.CourseDirectory.course_id = "lora"
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

# Seconds for one cell, in grading and in Validate. The slowest of a lesson takes ten on an idle core, and machines are
# not always idle.
c.Execute.timeout = 60
