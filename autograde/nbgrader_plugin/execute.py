"""What nbgrader runs in place of its own Execute, so that all its doors grade in the box and judge outside of it."""

from pathlib import Path

from nbgrader.preprocessors import Execute as NbGraderExecute
from traitlets import Bool, Dict

from autograde import registry
from autograde.notebook.cells import METADATA
from autograde.project import Course
from autograde.sandbox.limits import Limits
from autograde.sandbox.shared_pool import KEPT
from autograde.submission import grade
from autograde.submission.files import Submission, beside


class Execute(NbGraderExecute):
    """Runs a submitted notebook in the box and writes the verdicts of its checks into it.

    Of nbgrader's settings for `Execute`, `timeout` counts: seconds for one cell.
    """

    require_isolation = Bool(False, help="Grade nothing on a machine that has no full box.").tag(config=True)
    limits = Dict(
        help="What one submission may use beyond or short of the usual, by the names in autograde.sandbox.limits."
    ).tag(config=True)

    def __call__(self, nb, resources):
        """Run always: what a notebook says that it once came to is its owner's word."""
        if not self.enabled:
            self.log.warning("--no-execute has no effect here: without running a notebook nothing can be judged.")
        return self.preprocess(nb, resources)

    def preprocess(self, nb, resources, km=None):
        """Grade `nb` in place; the exporter has left in its metadata what is damaged."""
        known = nb.metadata.get(METADATA, {})
        graded = grade.grade(
            nb, lambda code: self._session(resources, code), known.get("damage"), known.get("unreadable")
        )
        self._tell(graded, resources)
        return nb, resources

    def _session(self, resources, code):
        limits = {"cell": self.timeout or Limits.session} | self.limits
        folders, about = self.parent.parent.coursedir, resources["nbgrader"]  # those of the exporter's converter
        # Not the copies beside the graded notebook: nbgrader has followed links for these.
        submitted = folders.format_path(folders.submitted_directory, about["student"], about["assignment"])
        handed_in = Submission(about["student"], about["notebook"], Path(submitted))
        course = Course(Path(folders.root))
        known = registry.of(course)
        return KEPT.session(
            course=known,
            limits=Limits(**limits),
            files=beside(handed_in, course),
            given=known.given_to(about["assignment"]),
            code=code,
            require_isolation=self.require_isolation,
            private=[folders.root],
        )

    def _tell(self, graded, resources):
        scores = [f"{verdict.exercise} {verdict.score:g}/{verdict.points:g}" for verdict in graded.verdicts.values()]
        level = (graded.isolation or {}).get("level", "nothing was run")
        said = self.log.info if level in ("full", "nothing was run") else self.log.warning
        said(
            "%s: %s (%.1f s, isolation: %s)",
            resources["nbgrader"]["student"],
            ", ".join(scores) or "no check of the course",
            graded.seconds,
            level,
        )
