"""nbgrader's configuration of this course: its folders, and how it is graded.

nbgrader reads this file when it is started in this folder, and so do Validate and formgrader in a JupyterLab that was
started here (`make lab`).
"""

import os
import sys

c = get_config()  # noqa: F821 - given by nbgrader

ROOT = os.path.dirname(os.path.abspath(__file__))

# To import the course's package if it is not installed.
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
# In a URL, ? and % have special meanings.
gradebook = os.path.join(ROOT, "autograde", "gradebook.db").replace("%", "%25").replace("?", "%3F")
c.CourseDirectory.db_url = f"sqlite:///{gradebook}"
if "%" in ROOT + sys.prefix:
    from autograde.nbgrader_plugin import percent

    percent.allow()

# Seconds for one cell, in grading and in Validate. The slowest cell of a lesson takes ten on an idle core.
c.Execute.timeout = 60
