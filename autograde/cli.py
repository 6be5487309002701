"""The command line."""

import os
import sys
from pathlib import Path

import click

from autograde import __version__

# nbgrader calls `alembic` by name; it lies beside this interpreter even when that folder is not on PATH.
os.environ["PATH"] = str(Path(sys.executable).parent) + os.pathsep + os.environ.get("PATH", "")


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(__version__, prog_name="autograde")
def main():
    """Build the lessons, check answers, grade a class."""


class _Problem(click.ClickException):
    """One line on stderr, exit code 2."""

    exit_code = 2

    def show(self, file=None):
        click.echo(f"autograde: {self.message}", err=True)


def _course():
    from autograde.course.layout import CourseError, find_course

    try:
        return find_course()
    except CourseError as error:
        raise _Problem(str(error)) from None


def _lessons(words):
    from autograde.course.layout import CourseError, choose

    try:
        return choose(words)
    except CourseError as error:
        raise _Problem(str(error)) from None


@main.command()
@click.argument("lessons", nargs=-1, metavar="[LESSON]...")
@click.option("--check", "only_check", is_flag=True, help="Verify the notebooks; write nothing.")
@click.option("--force", is_flag=True, help="Build again what is up to date, and over notebooks that were worked in.")
def build(lessons, only_check, force):
    """Make the notebooks of each LESSON (all when none is named) from solutions/LESSON.py."""
    from autograde.course import build as building
    from autograde.course.layout import CourseError

    course = _course()
    chosen = _lessons(lessons)

    def action(lesson):
        return building.verify(course, lesson) or "in step" if only_check else building.build(course, lesson, force)

    failed = 0
    for lesson, result in building.each(action, chosen):
        if isinstance(result, CourseError):
            failed += 1
            click.echo(f"✗ {result}", err=True)
        else:
            click.echo(f"✓ {lesson}: {result}")
    if failed:
        sys.exit(1)


if __name__ == "__main__":
    main()
