"""The command line."""

import os
import sys
from pathlib import Path

import click

from autograde import __version__, terminal
from autograde.startup import quick_imports, skip_slow_imports

# nbgrader calls `alembic` by name; it lies beside this interpreter even when that folder is not on PATH.
os.environ["PATH"] = str(Path(sys.executable).parent) + os.pathsep + os.environ.get("PATH", "")


class _Problem(click.ClickException):
    """One line on stderr, exit code 2."""

    exit_code = 2

    def show(self, file=None):
        terminal.say(f"autograde: {self.message}", error=True)


class _Failure(_Problem):
    """The same, where the command was right: exit code 1."""

    exit_code = 1


class _Commands(click.Group):
    """Commands that say what is wrong with a course, or with the machine's files, in one line and without a traceback."""

    def invoke(self, ctx):
        from autograde.project import CourseError

        try:
            return super().invoke(ctx)
        except CourseError as error:
            raise _Problem(str(error)) from None
        except BrokenPipeError:  # nobody reads on: click ends the command without a word
            raise
        except OSError as error:
            if error.filename is not None:
                raise _Failure(f"{error.filename}: {error.strerror}") from None
            terminal.give_up_stdout()
            raise _Failure(f"cannot go on: {error.strerror or error}. If the disk is full, make room on it") from None


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(__version__, prog_name="autograde")
def main():
    """Build the lessons, check answers, grade a class."""
    skip_slow_imports()
    terminal.prepare()


def _course():
    from autograde.project import CONFIG, find_course

    if Path(CONFIG).is_file() and not Path("pyproject.toml").is_file():
        raise _Problem(
            f"this folder has an {CONFIG}, and no pyproject.toml to say where the checks of the course are: "
            "docs/another_course.md shows what a course needs"
        )
    return find_course()


@main.command(short_help="Make the notebooks from their sources.")
@click.argument("lessons", nargs=-1, metavar="[LESSON]...")
@click.option("--check", "only_check", is_flag=True, help="Verify the notebooks; write nothing.")
@click.option(
    "--all", "run_all", is_flag=True, help="With --check: execute every notebook, also where nothing has changed."
)
@click.option("--force", is_flag=True, help="Build again what is up to date, and over notebooks that were worked in.")
def build(lessons, only_check, run_all, force):
    """Make the notebooks of each LESSON (all when none is named) from its source, LESSON.py.

    --check compares sources and notebooks, and executes the lessons whose checks, modules or libraries have changed
    since they were built.
    """
    from autograde.authoring import build as building
    from autograde.project import CourseError, resolve_lessons

    if run_all and not only_check:
        raise _Problem("--all goes with --check; to build everything again, use --force")
    course = _course()
    chosen = resolve_lessons(course, lessons)

    def action(lesson):
        if only_check:
            return f"in step ({building.verify(course, lesson, run_all)})"
        return building.build(course, lesson, force)

    failed = 0
    for lesson, result in building.each(action, chosen):
        if isinstance(result, CourseError):
            failed += 1
            terminal.say(f"✗ {result}", error=True)
        else:
            terminal.say(f"✓ {lesson}: {result}")
    if failed:
        sys.exit(1)


@main.command(short_help="Judge a .py or .ipynb file of your own.")
@click.argument("file", metavar="FILE")
@click.argument("exercises", nargs=-1, metavar="[EXERCISE]...")
@click.option("--json", "as_json", is_flag=True, help="Print the verdicts as JSON.")
def check(file, exercises, as_json):
    """Judge a .py or .ipynb FILE of your own.

    Judges each EXERCISE; when none is named, those whose checks the file calls and those whose names it defines. The exit
    code is 0 when all pass, 1 when one does not or could not be judged.
    """
    import json

    from autograde.check_file import AnswerFileError, judge_file

    try:
        judged = judge_file(file, exercises)
    except (AnswerFileError, KeyError) as error:
        raise _Problem(error.args[0]) from None
    if judged.trouble:
        terminal.say(f"autograde: {file} did not run to its end: {judged.trouble}", error=True)
    if as_json:
        keys = ("points", "score", "passed", "misconception", "message")
        data_of = {name: verdict.as_data() for name, verdict in judged.verdicts.items()}
        terminal.say(json.dumps({name: {key: data[key] for key in keys} for name, data in data_of.items()}, indent=2))
    else:
        terminal.say("\n\n".join(verdict.message for verdict in judged.verdicts.values()))
    if not judged.passed:
        sys.exit(1)


@main.command(short_help="Say how far you have come.")
def progress():
    """Say how far you have come in the notebooks of this course."""
    from autograde import registry
    from autograde.authoring.release import edited
    from autograde.check_file import AnswerFileError, judge_file
    from autograde.judge.render import title

    course = _course()
    known = registry.of(course)
    for lesson in course.lessons:
        path = course.release(lesson)
        if not edited(path):
            terminal.say(f"○ {lesson} · " + ("not started yet" if path.exists() else "its notebook is missing"))
            continue
        try:
            verdicts = judge_file(path, [check.name for check in known.checks_of(lesson)]).verdicts
        except AnswerFileError as error:
            terminal.say(f"✗ {lesson} · {error}")
            continue
        score = sum(verdict.score for verdict in verdicts.values())
        most = sum(verdict.points for verdict in verdicts.values())
        mark = "✓" if all(verdict.passed for verdict in verdicts.values()) else "…"
        terminal.say(f"{mark} {lesson} · {score:g} of {most:g} points")
        for verdict in verdicts.values():
            terminal.say(f"    {title(verdict)}")


@main.command(short_help="Grade what was handed in.")
@click.argument("lessons", nargs=-1, metavar="[LESSON]...")
@click.option(
    "--jobs", type=click.IntRange(1), metavar="N", help="Workers on this machine; one for each core if left out."
)
@click.option("--scheduler", metavar="ADDRESS", help="Grade on the Dask cluster with its scheduler there.")
@click.option("--require-isolation", is_flag=True, help="Grade nothing on a machine that has no full sandbox.")
@click.option("--force", is_flag=True, help="Grade again what is graded and has not changed.")
@click.option("--db", metavar="URL", help="The gradebook, in place of the one that nbgrader_config.py names.")
def grade(lessons, jobs, scheduler, require_isolation, force, db):
    """Grade what was handed in for each LESSON (all when none is named) into the gradebook.

    Submissions are STUDENT/LESSON/LESSON.ipynb in the folder that nbgrader_config.py names. Those that are graded and
    have not changed are skipped. The exit code is 0 when all is graded, 1 when something could not be, 2 when the command is wrong.
    """
    with quick_imports():
        from autograde.batch import command
    from autograde.project import resolve_lessons

    if jobs and scheduler:
        raise _Problem("--jobs is for this machine; a cluster has the workers that it has")
    options = {"jobs": jobs, "scheduler": scheduler, "require_isolation": require_isolation, "force": force, "db": db}
    course = _course()
    sys.exit(command.run(course, resolve_lessons(course, lessons), **options))


@main.command("sample-class", short_help="Make a class of invented students.")
@click.option("--force", is_flag=True, help="Replace an earlier sample class; other submissions stay.")
@click.option("--if-empty", is_flag=True, help="Do nothing where there are submissions already.")
@click.option("--remove", is_flag=True, help="Remove the sample class; other submissions stay.")
def sample_class(force, if_empty, remove):
    """Make a class of invented students to try grading on.

    Right answers, mistakes, unfinished work and damaged files, in every lesson. The class is the same at every run.
    """
    from autograde.authoring import sample_files

    course = _course()
    if if_empty and not sample_files.is_empty(course):
        return
    if remove:
        count = sample_files.remove(course)
        terminal.say(f"{count} submissions of invented students removed; what grading has made of them stays")
    else:
        count = sample_files.write(course, force)
        terminal.say(f"{count} submissions of invented students, in {os.path.relpath(course.submitted)}")


@main.command(short_help="Show the class on one page.")
@click.argument("lessons", nargs=-1, metavar="[LESSON]...")
@click.option("-o", "--output", type=click.Path(dir_okay=False, path_type=Path), help="The page, if elsewhere.")
def report(lessons, output):
    """Show the class on one page: scores, misconceptions, timings. Writes report.html beside the graded notebooks."""
    from autograde.project import resolve_lessons
    from autograde.report.write import write

    course = _course()
    terminal.say(str(write(course, resolve_lessons(course, lessons), output)))


@main.command(short_help="Write the marks for Canvas or Moodle, or as JSON.")
@click.argument("kind", type=click.Choice(["canvas", "moodle", "json"]), metavar="canvas|moodle|json")
@click.argument("lessons", nargs=-1, metavar="[LESSON[=COLUMN]]...")
@click.option(
    "--fill", metavar="FILE", type=click.Path(path_type=Path), help="A file from Canvas or Moodle to fill in."
)
@click.option("--match", metavar="COLUMN", help="Its column that says who a row is about, if it is not found.")
@click.option("-o", "--output", type=click.Path(path_type=Path), help="The file to write, if elsewhere.")
@click.option("--db", metavar="URL", help="The gradebook, in place of the one that nbgrader_config.py names.")
def export(kind, lessons, fill, match, output, db):
    """Write the marks of each LESSON (all when none is named) as the gradebook has them, late penalties included.

    Writes canvas.csv, moodle.csv or result.json beside the graded notebooks: a new file by the ids of the students, or
    with --fill the FILE that you downloaded, with the marks filled in and everything else as it was. COLUMN is the name
    of a lesson's column there, if it is not the lesson's.
    """
    with quick_imports():
        from autograde.export import command

    path, holds, notices = command.run(_course(), kind, lessons, fill=fill, match=match, output=output, db=db)
    for notice in notices:
        terminal.say(f"autograde: {notice}", error=True)
    terminal.say(f"{path}: {holds}")


@main.command(short_help="Write the solved lessons as web pages.")
@click.argument("folder", metavar="[DIR]", default="site", type=click.Path(file_okay=False, path_type=Path))
def site(folder):
    """Write the reading edition, all lessons solved and executed, as static pages into DIR (site/ if left out)."""
    from autograde.authoring import site as pages

    try:
        count = pages.write(_course(), folder)
    except OSError as error:
        raise _Problem(str(error)) from None
    terminal.say(f"{count} lessons; open {folder / pages.INDEX}")


if __name__ == "__main__":
    main()
