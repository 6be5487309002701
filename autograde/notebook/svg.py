"""Tells whether an SVG picture is as small when it is drawn as it looks.

As an image nothing in an SVG runs, but elements that refer to elements that refer to others (``<use>``, patterns, masks)
are drawn as often as they are named: two kilobytes can keep a browser busy for hours. So can one that moves, and lines of
tiny dashes, each of which is drawn.
"""

import base64
import re
from xml.parsers import expat

MAX_DRAWN = 50_000  # elements, each counted as often as it is referred to; Chromium draws some 70,000 a second

MIN_PERIOD = 0.5  # length of a line's dashes and gaps together, in the picture's units; matplotlib's shortest have 2

_ANIMATIONS = {"animate", "animateColor", "animateMotion", "animateTransform", "set"}
_DASHES = re.compile(r"stroke-dasharray\s*:([^;]*)", re.IGNORECASE)
_NUMBER = re.compile(r"[-+]?(?:\d+\.?\d*|\.\d+)(?:e[-+]?\d+)?", re.IGNORECASE)
_FORBIDDEN = re.compile(r"url|\\|dasharray|@(?:-webkit-)?keyframes", re.IGNORECASE)
_REFERENCE = re.compile(r"url\(\s*['\"]?#([^)'\"]+)")


class _TooMuch(Exception):
    """It cannot be drawn in bounded time, or nobody can tell."""


def is_bounded(picture):
    """Whether SVG, as text or bytes, is well-formed and draws at most `MAX_DRAWN` elements."""
    drawing = _Drawing()
    try:
        drawing.read(picture)
        return drawing.drawn() <= MAX_DRAWN
    except (_TooMuch, expat.ExpatError, ValueError, LookupError):
        return False


def is_bounded_base64(data):
    """As `is_bounded`, of a picture in base64."""
    try:
        return is_bounded(base64.b64decode(data))
    except ValueError:
        return False


def _are_tiny(dashes):
    """Whether the dashes of a line are too short, or of a length that cannot be told."""
    lengths = [float(number) for number in _NUMBER.findall(dashes)]
    return "(" in dashes or "\\" in dashes or (bool(lengths) and sum(lengths) < MIN_PERIOD)


class _Drawing:
    """The elements of a picture, in order, and what each of them refers to."""

    def __init__(self):
        self.children = []  # for each element, those directly in it
        self.references = []  # for each element, the ids that it names
        self.ids = {}
        self.open = []

    def read(self, picture):
        parser = expat.ParserCreate()
        parser.StartElementHandler = self._start
        parser.EndElementHandler = lambda name: self.open.pop()
        parser.CharacterDataHandler = self._text
        parser.EntityDeclHandler = self._refuse
        parser.Parse(picture.encode("utf-8", "replace") if isinstance(picture, str) else picture, True)

    def _start(self, name, attributes):
        number = len(self.children)
        if number >= MAX_DRAWN:
            raise _TooMuch
        style = attributes.get("style", "")
        if "\\" in style or "/*" in style:  # another way to write a name
            raise _TooMuch
        dashes = [attributes.get("stroke-dasharray", ""), *_DASHES.findall(style)]
        if name.rpartition(":")[2] in _ANIMATIONS or any(map(_are_tiny, dashes)):
            raise _TooMuch
        if self.open:
            self.children[self.open[-1]].append(number)
        found = [word for value in attributes.values() for word in _REFERENCE.findall(value)]
        found += [value.strip()[1:] for key, value in attributes.items() if key.endswith("href") and "#" in value[:9]]
        self.children.append([])
        self.references.append(found)
        self.ids.setdefault(attributes.get("id"), number)
        self.open.append(number)

    def _text(self, text):
        if _FORBIDDEN.search(text):  # a style sheet refers to what it likes, from anywhere
            self._refuse()

    def _refuse(self, *_):
        raise _TooMuch

    def drawn(self):
        """How many elements are drawn."""
        sizes, waiting, begun = {}, [0], set()
        while waiting:
            number = waiting[-1]
            needs = [*self.children[number], *(self.ids[name] for name in self.references[number] if name in self.ids)]
            missing = [each for each in needs if each not in sizes]
            if number in begun or not missing:
                if missing:  # it refers to itself
                    raise _TooMuch
                sizes[number] = 1 + sum(sizes[each] for each in needs)
                waiting.pop()
            else:
                begun.add(number)
                if begun & set(missing):
                    raise _TooMuch
                waiting += missing
        return sizes[0]
