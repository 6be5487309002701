"""Tells how many pixels a browser draws for a picture, without decoding it.

A PNG of 30 kilobytes may have 16,000 each way: to show it, a browser takes a second, and a gigabyte of memory. A JPEG may
come in thousands of scans, and an animation in thousands of frames; each is decoded over the whole picture.
"""

import io
import warnings

_FORMATS = ("PNG", "JPEG", "GIF", "WEBP", "BMP")
_SIGNATURES = (b"\x89PNG", b"\xff\xd8", b"GIF8", b"RIFF", b"BM", b"\0\0\1\0")  # the last one: icons
_DENSE = _SIGNATURES[:2]  # in these, a byte holds at most so many pixels
_PIXELS_A_BYTE = 8_240
_SMALL = 1_000  # bytes
MAX_DECODED = 10**9  # pixels of all scans, or frames, of a picture; a progressive JPEG usually has ten scans


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
                decoded = picture.width * picture.height * _times(data, picture.format)
                return decoded if decoded <= MAX_DECODED else None
        except Exception:  # a file that is damaged on purpose may raise anything
            return _at_most(data)


def _at_most(data):
    """The same of a file that is damaged: a browser may show what there is of it."""
    if not data.startswith(_SIGNATURES) and data[4:8] != b"ftyp":
        return 0
    return len(data) * _PIXELS_A_BYTE if data.startswith(_DENSE) and len(data) <= _SMALL else None


def _times(data, kind):
    """How often the pixels of a picture are decoded, at most: its scans, or its frames."""
    if kind == "JPEG":
        return max(data.count(b"\xff\xda"), 1)  # a zero follows any other FF in the pixels
    if kind == "PNG":
        return max(data.count(b"fcTL"), 1)
    if kind == "WEBP":
        return max(data.count(b"ANMF"), 1)
    return max(_frames_of_gif(data), 1) if kind == "GIF" else 1


def _frames_of_gif(data):
    """The frames of a GIF, as the blocks say, one after another. Pillow would look at the pixels of each, too."""
    frames, place = 0, 13 + _colours(data[10])
    while place + 1 < len(data):
        kind = data[place]
        if kind == 0x2C and place + 10 < len(data):
            frames += 1
            place += 11 + _colours(data[place + 9])
        elif kind == 0x21:
            place += 2
        else:
            break
        while place < len(data) and data[place]:  # each piece of a block begins with its length
            place += 1 + data[place]
        place += 1
    return frames


def _colours(flags):
    """The length of a table of colours."""
    return 3 * 2 ** (1 + flags % 8) if flags & 0x80 else 0
