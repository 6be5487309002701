"""What right means, one package a lesson, and the known mistakes."""


def __getattr__(name):
    # An editor that completes `check` writes this import; it means the same as `from autograde import check`.
    if name == "check":
        from autograde import check

        return check
    raise AttributeError(f"module 'autograde.checks' has no attribute {name!r}")
