"""The command ``autograde grade``."""

import os
import signal
import sys

from autograde import terminal
from autograde.batch import local_workers, pipeline, progress, table
from autograde.nbgrader_plugin import config

INTERRUPTED = 130  # exit code of a command that Ctrl-C has ended


def run(course, lessons, *, jobs, scheduler, require_isolation, force, db):
    """Grade a class and print the results.

    Args:
        course: the `Course`.
        lessons: ids.
        jobs: number of workers on this machine; None for one per core.
        scheduler: address of a Dask scheduler, or None.
        require_isolation, force: see the options of the command.
        db: URL of the gradebook, or None for the configured one.

    Returns:
        The exit code: 0 if everything is graded and entered, 1 if not, 130 if a person interrupted it.

    Raises:
        CourseError, ClusterError: a problem that a person must fix first.
    """
    console = terminal.console(soft_wrap=False, width=None if sys.stdout.isatty() else 110)
    showing = progress.Bar(console) if console.is_terminal else progress.Lines(terminal.say)
    grading = pipeline.Grading(
        course,
        lessons,
        config.load(course, db),
        showing,
        force=force,
        require_isolation=require_isolation,
    )
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    reason = None
    try:
        with showing:
            grading.run(_workers(course, jobs, scheduler, require_isolation))
    except local_workers.CannotGrade as error:
        reason = f"nothing more can be graded here: {error}"
    except OSError as error:
        reason = f"results cannot be kept: {error}. Fix that and grade again: what was graded is not lost"
    outcome = grading.outcome
    table.show(console, outcome, lessons)
    if not (outcome.graded or outcome.skipped or outcome.failed or reason or outcome.interrupted):
        where = os.path.relpath(course.submitted)
        terminal.say(f"There is nothing to grade: {where}/<student>/<lesson>/<lesson>.ipynb is where submissions go.")
    else:
        terminal.say(table.summary(outcome))
    for message in outcome.problems:
        terminal.say(f"autograde: {message}", error=True)
    if outcome.problems:
        terminal.say("autograde: The results are kept. Grade again to enter them; none is graded twice.", error=True)
    if reason:
        terminal.say(f"autograde: {reason}", error=True)
    if outcome.interrupted:
        terminal.say("autograde: stopped. What is graded is kept; grade again to go on.", error=True)
        return INTERRUPTED
    return 1 if reason or outcome.failed or outcome.problems else 0


def _workers(course, jobs, scheduler, require_isolation):
    if scheduler:
        from autograde.batch.dask_workers import DaskWorkers

        return DaskWorkers(scheduler, require_isolation)
    from autograde.batch.local_workers import LocalWorkers

    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return LocalWorkers(course, jobs or cores, require_isolation)
