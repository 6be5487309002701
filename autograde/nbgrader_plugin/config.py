"""What grading needs to know of nbgrader's configuration."""

from dataclasses import dataclass

from traitlets.config import Config


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
