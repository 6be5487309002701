"""Tells how much a browser draws for an SVG picture.

As an image nothing in an SVG runs, but elements that refer to elements that refer to others (``<use>``, patterns, masks)
are drawn as often as they are named: two kilobytes can keep a browser busy for hours. So can one that moves, lines of
tiny dashes, each of which is drawn, blurred elements, and a long text.
"""

import base64
import re
from xml.parsers import expat

from autograde.notebook import raster

MAX_WORK = 20_000  # elements, each counted as often as it is referred to
MAX_TEXT = 10_000  # characters, each of which counts as an element; for more, Chromium takes quadratic time
CHARACTERS_AN_ELEMENT = 100  # of the course of a line
PIXELS_AN_ELEMENT = 10_000  # of a picture within

MIN_PERIOD = 0.5  # length of a line's dashes and gaps together, in the picture's units; matplotlib's shortest have 2

_REFUSED = {"animate", "animateColor", "animateMotion", "animateTransform", "set", "filter", "foreignObject"}
_DASHES = re.compile(r"stroke-dasharray\s*:([^;]*)", re.IGNORECASE)
_NUMBER = re.compile(r"[-+]?(?:\d+\.?\d*|\.\d+)(?:e[-+]?\d+)?", re.IGNORECASE)
_FORBIDDEN = re.compile(r"url|\\|dasharray|filter|@(?:-webkit-)?keyframes", re.IGNORECASE)
_REFERENCE = re.compile(r"url\(\s*['\"]?#([^)'\"]+)")
_EMBEDDED = re.compile(r"data:image/(?:png|jpe?g|gif|webp|bmp);base64,([A-Za-z0-9+/=\s]*)", re.IGNORECASE)


class _TooMuch(Exception):
    """It cannot be drawn in bounded time, or nobody can tell."""


def work(picture):
    """How many elements an SVG draws, or None: it is not well-formed, draws more than `MAX_WORK`, or nobody can tell.

    Args:
        picture: the file's contents as bytes.
    """
    drawing = _Drawing()
    try:
        drawing.read(picture)
        elements = drawing.work()
    except (_TooMuch, expat.ExpatError, ValueError, LookupError):
        return None
    return elements if elements <= MAX_WORK else None


def _are_tiny(dashes):
    """Whether the dashes of a line are too short, or of a length that cannot be told."""
    lengths = [float(number) for number in _NUMBER.findall(dashes)]
    return "(" in dashes or "\\" in dashes or (bool(lengths) and sum(lengths) < MIN_PERIOD)


def _pixels(address):
    """The pixels of a picture within the picture; none of another address, which an image does not load."""
    if address[:5].lower() != "data:":
        return 0
    embedded = _EMBEDDED.fullmatch(address)
    found = raster.pixels(base64.b64decode(embedded[1] + "===")) if embedded else None  # None: such as another SVG
    if found is None:
        raise _TooMuch
    return found


class _Drawing:
    """The elements of a picture, in order, and what each of them refers to."""

    def __init__(self):
        self.own = []  # for each element, how much work it is without others
        self.children = []  # for each element, those directly in it
        self.references = []  # for each element, the ids that it names
        self.ids = {}
        self.open = []
        self.text = []
        self.characters = 0

    def read(self, picture):
        parser = expat.ParserCreate()
        parser.StartElementHandler = self._start
        parser.EndElementHandler = lambda name: self.open.pop()
        parser.CharacterDataHandler = self._text
        parser.EntityDeclHandler = self._refuse
        parser.Parse(picture, True)
        if _FORBIDDEN.search("".join(self.text)):  # a style sheet refers to what it likes, from anywhere
            raise _TooMuch

    def _start(self, name, attributes):
        number = len(self.children)
        if number >= MAX_WORK:
            raise _TooMuch
        style = attributes.get("style", "")
        if "\\" in style or "/*" in style:  # another way to write a name
            raise _TooMuch
        if name.rpartition(":")[2] in _REFUSED or "filter" in attributes or "filter" in style.lower():
            raise _TooMuch
        if any(map(_are_tiny, [attributes.get("stroke-dasharray", ""), *_DASHES.findall(style)])):
            raise _TooMuch
        if self.open:
            self.children[self.open[-1]].append(number)
        addresses = [value.strip() for key, value in attributes.items() if key.endswith("href")]
        found = [word for value in attributes.values() for word in _REFERENCE.findall(value)]
        found += [address[1:] for address in addresses if address.startswith("#")]
        course = sum(len(attributes.get(key, "")) for key in ("d", "points"))
        self.own.append(1 + course // CHARACTERS_AN_ELEMENT + sum(map(_pixels, addresses)) // PIXELS_AN_ELEMENT)
        self.children.append([])
        self.references.append(found)
        self.ids.setdefault(attributes.get("id"), number)
        self.open.append(number)

    def _text(self, text):
        self.text.append(text)
        self.characters += len(text.strip())
        if self.characters > MAX_TEXT:
            raise _TooMuch
        self.own[self.open[-1]] += len(text.strip())

    def _refuse(self, *_):
        raise _TooMuch

    def work(self):
        """How many elements are drawn."""
        sizes, waiting, begun = {}, [0], set()
        while waiting:
            number = waiting[-1]
            needs = [*self.children[number], *(self.ids[name] for name in self.references[number] if name in self.ids)]
            missing = [each for each in needs if each not in sizes]
            if number in begun or not missing:
                if missing:  # it refers to itself
                    raise _TooMuch
                sizes[number] = self.own[number] + sum(sizes[each] for each in needs)
                waiting.pop()
            else:
                begun.add(number)
                if begun & set(missing):
                    raise _TooMuch
                waiting += missing
        return sizes[0]
