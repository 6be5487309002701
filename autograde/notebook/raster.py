"""Tells how many pixels a picture has, without decoding it.

A PNG of 30 kilobytes may have 16,000 each way: to show it, a browser takes a second, and a gigabyte of memory.
"""

import io
import warnings

_FORMATS = ("PNG", "JPEG", "GIF", "WEBP", "BMP")
_SIGNATURES = (b"\x89PNG", b"\xff\xd8", b"GIF8", b"RIFF", b"BM", b"\0\0\1\0")  # the last one: icons
_DENSE = _SIGNATURES[:2]  # in these, a byte holds at most so many pixels
_PIXELS_A_BYTE = 8_240
_SMALL = 1_000  # bytes


def pixels(data):
    """The number of pixels that a file's contents make a browser draw, or None: too many, or nobody can tell.

    A browser looks at nothing but the contents to find out the format.
    """
    import PIL.WebPImagePlugin  # noqa: F401  (the only one of these formats that Pillow does not know from the start)
    from PIL import Image

    with warnings.catch_warnings():
        warnings.simplefilter("error", Image.DecompressionBombWarning)  # beyond 90 million pixels
        try:
            with Image.open(io.BytesIO(data), formats=_FORMATS) as picture:
                return picture.width * picture.height
        except Exception:  # a file that is damaged on purpose may raise anything
            return _at_most(data)


def _at_most(data):
    """The same of a file that is damaged: a browser may show what there is of it."""
    if not data.startswith(_SIGNATURES) and data[4:8] != b"ftyp":
        return 0
    return len(data) * _PIXELS_A_BYTE if data.startswith(_DENSE) and len(data) <= _SMALL else None
