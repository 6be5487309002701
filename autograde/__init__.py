"""Checks that say which mistake was made. All that a notebook needs of it: ``from autograde import check``."""

__version__ = "0.1.0"


def __getattr__(name):
    # `check` is made on first use: the process that runs handed-in code imports this package for its probes, and
    # must never load the modules that know what is right.
    if name == "check":
        from autograde.remote import inside

        if inside.here():
            return inside.ChecksElsewhere()
        from autograde.registry import check

        return check
    raise AttributeError(f"module 'autograde' has no attribute {name!r}")
