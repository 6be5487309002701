"""Checks that say which mistake was made. A notebook needs only ``from autograde import check``."""

__version__ = "0.1.0"


def __getattr__(name):
    # `check` is made on first use: the process that runs handed-in code imports this package for its probes, and
    # must never load the modules that hold right answers.
    if name == "check":
        from autograde.remote import learner_process

        if learner_process.is_marked():
            return learner_process.CheckPlaceholders()
        from autograde.registry import check

        return check
    raise AttributeError(f"module 'autograde' has no attribute {name!r}")
