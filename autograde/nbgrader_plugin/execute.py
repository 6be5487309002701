"""What nbgrader runs in place of its own Execute, so that all its doors grade in the sandbox and judge outside of it."""

from pathlib import Path

import nbformat
from nbgrader.preprocessors import Execute as NbGraderExecute
from nbgrader.preprocessors import LimitOutput
from traitlets import Bool, Dict

from autograde.notebook.cells import METADATA
from autograde.project import Course
from autograde.sandbox.limits import Limits
from autograde.submission.client import SHARED, question
from autograde.submission.files import Submission, beside


class GradingError(RuntimeError):
    """The grader could not do its work, which is nobody's zero."""


def question_settings(config):
    """What the settings of nbgrader's preprocessors mean for a grading process: a dict for `client.question`."""
    execute, limit = Execute(config=config), LimitOutput(config=config)
    return {
        "limits": {"cell": execute.timeout or Limits.session} | dict(execute.limits),
        "max_lines": limit.max_lines,
        "max_traceback": limit.max_traceback,
    }


class Execute(NbGraderExecute):
    """Has a submission graded by the grading process: read, repaired, run in the sandbox and judged there.

    Of nbgrader's settings for `Execute`, `timeout` counts: seconds for one cell.
    """

    require_isolation = Bool(False, help="Grade nothing on a machine that has no full sandbox.").tag(config=True)
    limits = Dict(
        help="What one submission may use beyond or short of the usual, by the names in autograde.sandbox.limits."
    ).tag(config=True)

    def __call__(self, nb, resources):
        """Run always: what a notebook says that it once came to is its owner's word."""
        if not self.enabled:
            self.log.warning("--no-execute has no effect here: without running a notebook nothing can be judged.")
        return self.preprocess(nb, resources)

    def preprocess(self, nb, resources, km=None):
        """The graded notebook of a submission.

        Args:
            nb: the notebook that it is held against, as the exporter gives it; nothing of the submission.
            resources: nbgrader's, which say whose it is.

        Raises:
            GradingError: the grader could not do its work.
        """
        folders, names = self.parent.parent.coursedir, resources["nbgrader"]  # those of the exporter's converter
        # Not the copies beside the graded notebook: nbgrader has followed links for these.
        where = Path(folders.format_path(folders.submitted_directory, names["student"], names["assignment"]))
        submission = Submission(names["student"], names["notebook"], where)
        course = Course(Path(folders.root))
        asked = question(
            submission,
            files=beside(submission, course),
            reference=nbformat.writes(nb, version=4),
            version=None,
            settings=question_settings(self.config),
        )
        outcome, content = SHARED.ask(course, self.require_isolation, asked)
        if "trouble" in outcome:
            raise GradingError(outcome["trouble"])
        graded = nbformat.reads(content.decode(), as_version=4)
        graded.metadata[METADATA]["version"] = nb.metadata.get(METADATA, {}).get("version")
        self._tell(outcome, graded.metadata[METADATA], resources["nbgrader"]["student"])
        return graded, resources

    def _tell(self, outcome, metadata, student):
        for said in {metadata["unreadable"], *metadata["damage"].values()} - {None}:
            self.log.warning("%s: %s", student, said)
        isolation = outcome["isolation"]
        scores = [
            f"{verdict['exercise']} {verdict['score']:g}/{verdict['points']:g}" for verdict in outcome["verdicts"]
        ]
        level = (isolation or {}).get("level", "nothing was run")
        log = self.log.info if level in ("full", "nothing was run") else self.log.warning
        log(
            "%s: %s (%.1f s, isolation: %s)",
            student,
            ", ".join(scores) or "no check of the course",
            outcome["seconds"],
            level,
        )
