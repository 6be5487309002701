"""Allows % in the path of a course: nbgrader writes paths into alembic's configuration, where % has a special meaning."""

from nbgrader import dbutil

_write = dbutil.write_alembic_ini


def write_alembic_ini(alembic_ini="alembic.ini", db_url="sqlite:///gradebook.db"):
    """As nbgrader's own function, with each % doubled: alembic reads %% as one %."""
    folder = dbutil.ALEMBIC_DIR
    dbutil.ALEMBIC_DIR = folder.replace("%", "%%")
    try:
        _write(alembic_ini, db_url.replace("%", "%%"))
    finally:
        dbutil.ALEMBIC_DIR = folder


def allow():
    """Make nbgrader in this process create and upgrade gradebooks in paths with a %."""
    dbutil.write_alembic_ini = write_alembic_ini
