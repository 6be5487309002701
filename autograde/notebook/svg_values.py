"""The elements, attributes and styles of an SVG that are shown, and what their values mean.

What is not on one of these lists, or may mean something else to a browser, raises `TooMuch`.
"""

import base64
import re
from math import hypot, inf

from autograde.notebook import raster

SVG = "http://www.w3.org/2000/svg"
DESCRIBING = {  # elements of these say who made a picture; a browser draws nothing for them
    "http://www.w3.org/1999/02/22-rdf-syntax-ns#",
    "http://purl.org/dc/elements/1.1/",
    "http://creativecommons.org/ns#",
    "http://web.resource.org/cc/",
    "http://www.inkscape.org/namespaces/inkscape",
    "http://sodipodi.sourceforge.net/DTD/sodipodi-0.dtd",
}
XLINK, XML = "http://www.w3.org/1999/xlink", "http://www.w3.org/XML/1998/namespace"
SHAPES = {"path", "rect", "circle", "ellipse", "line", "polyline", "polygon"}
ELEMENTS = SHAPES | set(
    "svg g a defs use symbol text tspan clipPath linearGradient radialGradient stop pattern image style title desc "
    "metadata".split()
)
TEXTS = {"text", "style"}  # what is written in other elements is not shown
ATTRIBUTES = set(
    "id class style href transform x y x1 y1 x2 y2 cx cy r rx ry fx fy fr width height d points dx dy offset viewBox "
    "preserveAspectRatio version baseProfile gradientUnits gradientTransform spreadMethod patternUnits "
    "patternContentUnits clipPathUnits textLength lengthAdjust type target role title lang aria-label aria-labelledby "
    "aria-hidden focusable enable-background".split()
)
PROPERTIES = set(
    "fill fill-opacity fill-rule stroke stroke-opacity stroke-width stroke-linecap stroke-linejoin stroke-miterlimit "
    "stroke-dasharray stroke-dashoffset color opacity stop-color stop-opacity clip-path clip-rule display visibility "
    "font font-family font-size font-style font-weight font-variant font-stretch text-anchor text-decoration "
    "dominant-baseline alignment-baseline baseline-shift line-height white-space shape-rendering text-rendering "
    "image-rendering color-rendering color-interpolation pointer-events".split()
)
PAINTED = {"fill", "stroke", "clip-path"}  # properties that may name an element
ENCODINGS = {None, "utf-8", "us-ascii", "ascii", "iso-8859-1"}  # in others a browser may read what we do not
ID = r"[\w.:~-]+"  # of others, with % or \, a browser reads another name than is written
REFERENCE = re.compile(rf"url\(\s*(['\"]?)#({ID})\1\s*\)(.*)", re.DOTALL)
_VALUE = re.compile(r"(?:(?:rgb|hsl)a?\([\d\s.,%/+-]*\)|[\w\s.,#%+'\"-])*")
_NUMBER = re.compile(r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?")
_LENGTH = re.compile(rf"\s*({_NUMBER.pattern})(px|pt)?\s*")
_TRANSFORM = re.compile(r"\s*(translate|rotate|scale|matrix)\s*\(([^()]*)\)[\s,]*")
_EMBEDDED = re.compile(r"data:image/(?:png|jpe?g|gif|webp|bmp);base64,([A-Za-z0-9+/=\s]*)", re.IGNORECASE)


class TooMuch(Exception):
    """It cannot be drawn in bounded time, or nobody can tell."""


def read_numbers(text):
    """All numbers in a text, as floats."""
    found = [float(number) for number in _NUMBER.findall(text)]
    if inf in map(abs, found):
        raise TooMuch
    return found


def read_length(value, default=0.0):
    """A length in pixels; infinite where it depends on something else."""
    if not value:
        return default
    found = _LENGTH.fullmatch(value)
    return float(found[1]) * (4 / 3 if found[2] == "pt" else 1) if found else inf


def largest_scale(transform):
    """How many times as large something may become, at most."""
    scale, end = 1.0, 0
    while found := _TRANSFORM.match(transform, end):
        end, numbers = found.end(), read_numbers(found[2])
        if found[1] == "scale":
            scale *= max(map(abs, numbers))
        elif found[1] == "matrix":
            scale *= hypot(*numbers[:4])
    return scale if end == len(transform) else inf  # such as `skewX`


def embedded_pixels(address):
    """The pixels of a picture within the picture; none of another address, which an image does not load."""
    if address[:5].lower() != "data:":
        return 0
    embedded = _EMBEDDED.fullmatch(address)
    found = raster.pixels(base64.b64decode(embedded[1] + "===")) if embedded else None  # None: such as another SVG
    if found is None:
        raise TooMuch
    return found


def dash_period(value):
    """The length of a line's dashes and gaps together; infinite of a line without."""
    words = value.replace(",", " ").split()
    if words in (["none"], ["inherit"]):
        return inf
    lengths = [read_length(word) for word in words]
    if not all(0 <= length < inf for length in lengths):
        raise TooMuch
    return sum(lengths) or inf


def read_style(declarations):
    """The properties of a style, each with a list of its values."""
    found = {}
    for each in declarations.split(";"):
        name, colon, value = each.partition(":")
        if colon:
            found.setdefault(name.strip().lower(), []).append(value.strip())
        elif each.strip():
            raise TooMuch
    return check_properties(found)


def check_properties(properties):
    """The same properties, as `read_style` gives them, if each of them and each value is known."""
    for name, values in properties.items():
        if name not in PROPERTIES:
            raise TooMuch
        for value in values:
            reference = REFERENCE.fullmatch(value) if name in PAINTED else None
            if not _VALUE.fullmatch(reference[3] if reference else value):
                raise TooMuch
    return properties
