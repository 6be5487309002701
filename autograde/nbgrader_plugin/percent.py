"""A percent sign in the path of the course: nbgrader writes paths into alembic's configuration, where % has a meaning."""

from nbgrader import dbutil

_write = dbutil.write_alembic_ini


def write_alembic_ini(alembic_ini="alembic.ini", db_url="sqlite:///gradebook.db"):
    """As nbgrader's own, with each % doubled, which alembic reads as one."""
    folder = dbutil.ALEMBIC_DIR
    dbutil.ALEMBIC_DIR = folder.replace("%", "%%")
    try:
        _write(alembic_ini, db_url.replace("%", "%%"))
    finally:
        dbutil.ALEMBIC_DIR = folder


def allow():
    """Let nbgrader of this process make and upgrade gradebooks although there is a % in a path."""
    dbutil.write_alembic_ini = write_alembic_ini
