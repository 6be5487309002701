"""Points as they are written into files."""

DECIMALS = 5  # as many as Moodle keeps; Canvas shows two


def as_text(points):
    """Points as text, with a point, which Canvas and Moodle take in every language: ``3``, ``2.5``."""
    return f"{points:.{DECIMALS}f}".rstrip("0").rstrip(".")
