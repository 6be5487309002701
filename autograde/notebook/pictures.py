"""Tells how much work a picture is for a browser, before one draws it. A unit is 20 microseconds of Chromium at worst."""

import base64

from autograde.notebook import raster, svg

SVG = "image/svg+xml"
SUFFIXES = (".png", ".jpg", ".jpeg", ".gif", ".webp", ".bmp", ".svg")  # of files that a page shows as pictures
MAX_FILE = 50_000  # work of one such file


def work(mime, data, scaled=False):
    """The work to draw a picture, or None where it is too much, or no picture.

    Args:
        mime: its MIME type. A browser believes it of an SVG only; of others it looks at the contents.
        data: the file's contents, as bytes or in base64.
        scaled: whether the page may show it larger than it is.
    """
    if isinstance(data, str):
        try:
            data = base64.b64decode(data + "===")  # browsers do without padding, too
        except ValueError:
            return None
    if mime.lower() == SVG:
        return svg.work(data, scaled)
    pixels = raster.pixels(data)
    return None if pixels is None else 1 + pixels // svg.PIXELS_A_UNIT


def may_show(path):
    """Whether a file is no picture for a browser, or one that it draws soon. Pages show a file as often as a text names it."""
    if path.suffix.lower() not in SUFFIXES:
        return True
    found = work(SVG if path.suffix.lower() == ".svg" else "", path.read_bytes())
    return found is not None and found <= MAX_FILE
