"""Replaces nbgrader's Execute, so that each of its commands grades in the sandbox and judges outside of it."""

import dataclasses
from pathlib import Path

import nbformat
from nbgrader.preprocessors import Execute as NbGraderExecute
from nbgrader.preprocessors import LimitOutput
from traitlets import Bool, Dict

from autograde.notebook.cells import METADATA
from autograde.project import CONFIG, Course, CourseError
from autograde.sandbox.limits import Limits
from autograde.submission.client import SHARED, question
from autograde.submission.files import Submission, files_beside


class GradingError(RuntimeError):
    """The grader failed. The submission gets no score, not even zero."""


def question_settings(config):
    """The settings of nbgrader's preprocessors for a grading process, as a dict for `client.question`.

    Raises:
        CourseError: a limit that does not exist, or that is no number above zero.
    """
    execute, limit = Execute(config=config), LimitOutput(config=config)
    return {
        "limits": _limits(execute),
        "max_lines": limit.max_lines,
        "max_traceback": limit.max_traceback,
    }


def _limits(execute):
    limits = {"cell": execute.timeout or Limits.session} | dict(execute.limits)
    known = [field.name for field in dataclasses.fields(Limits)]
    if unknown := [name for name in limits if name not in known]:
        raise CourseError(
            f"c.Execute.limits in {CONFIG}: there is no limit {unknown[0]!r}; there are {', '.join(known)}"
        )
    try:
        Limits(**limits)
    except ValueError as error:
        raise CourseError(f"c.Execute.limits in {CONFIG} (for 'cell' it may be c.Execute.timeout): {error}") from None
    return limits


class Execute(NbGraderExecute):
    """Passes a submission to the grading process, which reads, repairs, runs and judges it.

    Of nbgrader's own settings for `Execute`, only `timeout` (seconds for one cell) has an effect.
    """

    require_isolation = Bool(False, help="Grade nothing on a machine that has no full sandbox.").tag(config=True)
    limits = Dict(
        help="Limits of one submission that differ from the defaults, by the names in autograde.sandbox.limits."
    ).tag(config=True)

    def __call__(self, nb, resources):
        """Run in any case: the outputs in a submitted notebook are not to be trusted."""
        if not self.enabled:
            self.log.warning("--no-execute has no effect here: without running a notebook nothing can be judged.")
        return self.preprocess(nb, resources)

    def preprocess(self, nb, resources, km=None):
        """The graded notebook of a submission.

        Args:
            nb: the reference notebook, as the exporter gives it; it holds nothing of the submission.
            resources: nbgrader's resources, which name the student and the lesson.

        Raises:
            GradingError: the grader failed.
        """
        folders, names = self.parent.parent.coursedir, resources["nbgrader"]  # those of the exporter's converter
        # Not the copies beside the graded notebook: nbgrader has followed links for these.
        where = Path(folders.format_path(folders.submitted_directory, names["student"], names["assignment"]))
        submission = Submission(names["student"], names["notebook"], where)
        course = Course(Path(folders.root))
        asked = question(
            submission,
            files=files_beside(submission, course),
            reference=nbformat.writes(nb, version=4),
            version=None,
            settings=question_settings(self.config),
        )
        outcome, content = SHARED.ask(course, self.require_isolation, asked)
        if "trouble" in outcome:
            raise GradingError(outcome["trouble"])
        graded = nbformat.reads(content.decode(), as_version=4)
        graded.metadata[METADATA]["version"] = nb.metadata.get(METADATA, {}).get("version")
        self._log(outcome, graded.metadata[METADATA], resources["nbgrader"]["student"])
        return graded, resources

    def _log(self, outcome, metadata, student):
        for message in {metadata["unreadable"], *metadata["damage"].values()} - {None}:
            self.log.warning("%s: %s", student, message)
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
