"""nbgrader's configuration of a course, read as nbgrader itself reads it."""

from dataclasses import dataclass

from jupyter_core.paths import jupyter_config_path
from traitlets.config import Config, ConfigFileNotFound, JSONFileConfigLoader, PyFileConfigLoader


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
    """The settings in Jupyter's folders, and over them those of the course.

    Args:
        course: the `Course`.
        db_url: takes the place of the configured one.
    """
    config = Config()
    for folder in [*reversed(jupyter_config_path()), str(course.root)]:
        for loader, name in (
            (JSONFileConfigLoader, "nbgrader_config.json"),
            (PyFileConfigLoader, "nbgrader_config.py"),
        ):
            try:
                config.merge(loader(name, path=folder).load_config())
            except ConfigFileNotFound:
                continue
    folders = config.CourseDirectory
    db_url = db_url or folders.get("db_url") or f"sqlite:///{course.root / 'gradebook.db'}"
    return Settings(config, str(db_url), str(folders.get("course_id", "")))
