"""Tells how much work a picture is for a browser, before one draws it. A unit is 20 microseconds of Chromium at worst."""

import base64

from autograde.notebook import raster, svg

SVG = "image/svg+xml"


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
