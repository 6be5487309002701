"""Tells how much a browser draws for an SVG picture.

As an image nothing in an SVG runs, but two kilobytes can keep a browser busy for hours: with elements that are drawn as
often as others name them, with a million dashes, with a line that crosses itself everywhere. So only what plots, graphs and
simple drawings consist of is shown (lists of elements, attributes and properties), and all of it is counted. The prices
below were measured in Chromium (docs/grading.md): a unit is 20 microseconds at worst.
"""

import base64
import re
from math import hypot, inf
from xml.parsers import expat

from autograde.notebook import raster

MAX_WORK = 1_000_000  # units: 20 seconds at worst
MAX_ELEMENTS = 60_000  # it takes half a second to count so many
MAX_TEXT = 10_000  # characters; for more in one text, Chromium takes quadratic time
MAX_DEPTH = 50
MAX_RULES = 5_000  # characters of style sheets
MIN_TILE = 8  # sides of the tile of a pattern, which is repeated; matplotlib's have 72

PIXELS_A_UNIT = 1_000  # of a picture within
_LARGE = 600  # pixels. An element of this size, or an unknown one, costs the whole of these:
_SHAPE, _POINT = 9, 2.9
_SMALL_POINT = 0.1
_CROSSINGS = 0.0006  # for each pair of lines of one path that may cross: 12 nanoseconds
_PLACED = 0.00004  # for each pair of lines at the same height, even if they do not cross
_MANY = 2_000  # points of a path; only for more is it worth a look which lines can cross
_MAX_DASHES = 20_000  # in one path
_LETTER, _IMAGE, _LAYER, _CLIP, _ODD_CLIP, _GRADIENT, _PATTERN = 5, 60, 30, 16, 40, 30, 200
_TILES = 4  # the contents of a pattern are drawn again for some parts of the page

_SVG = "http://www.w3.org/2000/svg"
_DESCRIBING = {  # elements of these say who made a picture; a browser draws nothing for them
    "http://www.w3.org/1999/02/22-rdf-syntax-ns#",
    "http://purl.org/dc/elements/1.1/",
    "http://creativecommons.org/ns#",
    "http://web.resource.org/cc/",
    "http://www.inkscape.org/namespaces/inkscape",
    "http://sodipodi.sourceforge.net/DTD/sodipodi-0.dtd",
}
_XLINK, _XML = "http://www.w3.org/1999/xlink", "http://www.w3.org/XML/1998/namespace"
_SHAPES = {"path", "rect", "circle", "ellipse", "line", "polyline", "polygon"}
_ELEMENTS = _SHAPES | set(
    "svg g a defs use symbol text tspan clipPath linearGradient radialGradient stop pattern image style title desc "
    "metadata".split()
)
_TEXTS = {"text", "style"}  # what is written in other elements is not shown
_ATTRIBUTES = set(
    "id class style href transform x y x1 y1 x2 y2 cx cy r rx ry fx fy fr width height d points dx dy offset viewBox "
    "preserveAspectRatio version baseProfile gradientUnits gradientTransform spreadMethod patternUnits "
    "patternContentUnits clipPathUnits textLength lengthAdjust type target role title lang aria-label aria-labelledby "
    "aria-hidden focusable enable-background".split()
)
_PROPERTIES = set(
    "fill fill-opacity fill-rule stroke stroke-opacity stroke-width stroke-linecap stroke-linejoin stroke-miterlimit "
    "stroke-dasharray stroke-dashoffset color opacity stop-color stop-opacity clip-path clip-rule display visibility "
    "font font-family font-size font-style font-weight font-variant font-stretch text-anchor text-decoration "
    "dominant-baseline alignment-baseline baseline-shift line-height white-space shape-rendering text-rendering "
    "image-rendering color-rendering color-interpolation pointer-events".split()
)
_PAINTED = {"fill", "stroke", "clip-path"}  # properties that may name an element
_ID = r"[\w.:~-]+"  # of others, with % or \, a browser reads another name than is written
_REFERENCE = re.compile(rf"url\(\s*(['\"]?)#({_ID})\1\s*\)(.*)", re.DOTALL)
_VALUE = re.compile(r"(?:(?:rgb|hsl)a?\([\d\s.,%/+-]*\)|[\w\s.,#%+'\"-])*")
_RULE = re.compile(r"\s*([\w.#*-]+(?:\s*,\s*[\w.#*-]+)*)\s*\{([^{}]*)\}\s*")
_COMMENT = re.compile(r"/\*.*?\*/", re.DOTALL)
_NUMBER = re.compile(r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?")
_LENGTH = re.compile(rf"\s*({_NUMBER.pattern})(px|pt)?\s*")
_COMMAND = re.compile(r"[a-df-zA-DF-Z]")
_TRANSFORM = re.compile(r"\s*(translate|rotate|scale|matrix)\s*\(([^()]*)\)[\s,]*")
_EMBEDDED = re.compile(r"data:image/(?:png|jpe?g|gif|webp|bmp);base64,([A-Za-z0-9+/=\s]*)", re.IGNORECASE)
_ENCODINGS = {None, "utf-8", "us-ascii", "ascii", "iso-8859-1"}  # in others a browser may read what we do not


class _TooMuch(Exception):
    """It cannot be drawn in bounded time, or nobody can tell."""


def work(picture, scaled=False):
    """How many units of work an SVG is, or None: it is not well-formed, more than `MAX_WORK`, or nobody can tell.

    Args:
        picture: the file's contents as bytes.
        scaled: whether the page may show it larger than it is.
    """
    if b"\0" in picture:  # UTF-16
        return None
    drawing = _Drawing(scaled)
    try:
        drawing.read(picture)
        units = drawing.work()
    except (_TooMuch, expat.ExpatError, ValueError, LookupError, OverflowError):
        return None
    return int(units) + 1 if units <= MAX_WORK else None  # not a number is no number of units


def _numbers(text):
    found = [float(number) for number in _NUMBER.findall(text)]
    if inf in map(abs, found):
        raise _TooMuch
    return found


def _length(value, default=0.0):
    """A length in pixels; infinite where it depends on something else."""
    if not value:
        return default
    found = _LENGTH.fullmatch(value)
    return float(found[1]) * (4 / 3 if found[2] == "pt" else 1) if found else inf


def _scale(transform):
    """How many times as large something may become, at most."""
    scale, end = 1.0, 0
    while found := _TRANSFORM.match(transform, end):
        end, numbers = found.end(), _numbers(found[2])
        if found[1] == "scale":
            scale *= max(map(abs, numbers))
        elif found[1] == "matrix":
            scale *= hypot(*numbers[:4])
    return scale if end == len(transform) else inf  # such as `skewX`


def _pixels(address):
    """The pixels of a picture within the picture; none of another address, which an image does not load."""
    if address[:5].lower() != "data:":
        return 0
    embedded = _EMBEDDED.fullmatch(address)
    found = raster.pixels(base64.b64decode(embedded[1] + "===")) if embedded else None  # None: such as another SVG
    if found is None:
        raise _TooMuch
    return found


def _period(value):
    """The length of a line's dashes and gaps together; infinite of a line without."""
    words = value.replace(",", " ").split()
    if words in (["none"], ["inherit"]):
        return inf
    lengths = [_length(word) for word in words]
    if not all(0 <= length < inf for length in lengths):
        raise _TooMuch
    return sum(lengths) or inf


def _style(declarations):
    """The properties of a style, each with a list of its values."""
    found = {}
    for each in declarations.split(";"):
        name, colon, value = each.partition(":")
        if colon:
            found.setdefault(name.strip().lower(), []).append(value.strip())
        elif each.strip():
            raise _TooMuch
    return _checked(found)


def _checked(properties):
    for name, values in properties.items():
        if name not in _PROPERTIES:
            raise _TooMuch
        for value in values:
            reference = _REFERENCE.fullmatch(value) if name in _PAINTED else None
            if not _VALUE.fullmatch(reference[3] if reference else value):
                raise _TooMuch
    return properties


class _Line:
    """Where a path, or an element of another shape, runs: as far as it can be told without drawing it."""

    def __init__(self, name, attributes):
        self.points, self.size, self.length, self.places, self.parts = 4, inf, inf, None, 1
        if name == "path":
            self._of_path(attributes.get("d", ""))
        elif name in ("polyline", "polygon"):
            self._through(_numbers(attributes.get("points", "")), 1)
        elif name == "line":
            sides = [abs(_length(attributes.get(axis + "2")) - _length(attributes.get(axis + "1"))) for axis in "xy"]
            self.size, self.length = max(sides), sum(sides)
        elif name == "rect":
            self.size, self.length = self._box([_length(attributes.get(side)) for side in ("width", "height")])
        else:
            self.points = 9
            radii = [_length(attributes.get(radius)) for radius in ("r", "rx", "ry")]
            self.size, self.length = self._box([2 * max(map(abs, radii))] * 2)

    @staticmethod
    def _box(sides):
        return max(map(abs, sides)), 2 * sum(map(abs, sides))

    def _of_path(self, course):
        numbers = _numbers(course)
        commands = _COMMAND.findall(course)
        if set("MLCQZz").issuperset(commands):
            self._through(numbers, 1 + sum(command in "MZz" for command in commands))
        else:  # with relative places, arcs and so on; for these, eight times the numbers is more than any of them runs
            self.points = len(numbers)
            self.size = self.length = 8 * sum(map(abs, numbers))

    def _through(self, numbers, parts):
        across, down = numbers[::2], numbers[1::2]
        self.points, self.parts = len(across), parts
        self.size = max((max(each) - min(each) for each in (across, down) if each), default=0)
        steps = (zip(each, each[1:], strict=False) for each in (across, down))
        self.length = 2 * sum(abs(after - before) for each in steps for before, after in each)
        if self.points > _MANY:
            self.places = across, down

    def neighbours(self, width):
        """How many of its lines, this wide, one of them may cross, and how many may be beside it: at most."""
        if self.places is None or not width < inf:
            return self.points, self.points
        found = [min(self.parts + _side_by_side(each, width), self.points) for each in self.places]
        return min(found), max(found)


def _side_by_side(places, width):
    """How many of the lines through these places, on one axis, are at one place. Curves stay between four of them."""
    four = list(zip(places, places[1:], places[2:], places[3:], strict=False))
    begins, ends = sorted(map(min, four)), sorted(max(each) + width for each in four)
    most = ended = 0
    for begun, begin in enumerate(begins, 1):
        while ends[ended] < begin:
            ended += 1
        most = max(most, begun - ended)
    return most


class _Context:
    """What an element passes on to those in it."""

    scale, width, miter, period = 1.0, 1.0, 4.0, inf
    paints = ()  # ids of gradients and patterns


class _Drawing:
    """The elements of a picture, in order, and what each of them refers to."""

    def __init__(self, scaled):
        self.names = []
        self.own = []  # for each element, how much work it is without others
        self.shapes = []  # for each element, whether it draws something itself
        self.children = []  # for each element, those directly in it
        self.uses, self.clips, self.paints = [], [], []  # for each element, the ids that it names
        self.lines = []  # (element, _Line, context)
        self.ids = {}
        self.open, self.contexts, self.text_depth = [], [_Context()], 0
        self.rules, self.characters, self.selectors = [], 0, 0
        self.styles, self.dashed_text = {}, False
        self.magnified, self.scale = scaled, 1.0
        # What may hold for any element: of style sheets, and of elements that show others.
        self.width, self.miter, self.period, self.layer = 0.0, 4.0, inf, False

    def read(self, picture):
        parser = expat.ParserCreate(namespace_separator=" ")
        parser.buffer_text = True
        parser.StartElementHandler = self._start
        parser.EndElementHandler = self._end
        parser.CharacterDataHandler = self._text
        parser.XmlDeclHandler = self._declaration
        parser.StartDoctypeDeclHandler = self._doctype
        parser.EntityDeclHandler = parser.SkippedEntityHandler = parser.ProcessingInstructionHandler = self._refuse
        parser.Parse(picture, True)
        self._read_rules("".join(self.rules))

    def _refuse(self, *_):
        raise _TooMuch

    def _declaration(self, version, encoding, standalone):
        if (encoding and encoding.lower()) not in _ENCODINGS:
            raise _TooMuch

    def _doctype(self, name, system, public, has_internal_subset):
        if has_internal_subset or (public and not public.startswith("-//W3C//DTD SVG")):  # XHTML's has entities
            raise _TooMuch

    def _start(self, name, attributes):
        number = len(self.children)
        namespace, _, name = name.rpartition(" ")
        if number >= MAX_ELEMENTS or len(self.open) >= MAX_DEPTH:
            raise _TooMuch
        if self.open and self.names[self.open[-1]] == "style":
            raise _TooMuch
        if namespace in _DESCRIBING:
            name, attributes = "metadata", {}
        elif namespace not in (_SVG, "") or name not in _ELEMENTS:  # "": JupyterLab adds the namespace
            raise _TooMuch
        if self.open:
            self.children[self.open[-1]].append(number)
        self.open.append(number)
        self.text_depth += name in _TEXTS
        self.names.append(name)
        self.children.append([])
        plain, length = self._plain(attributes)
        addresses = [value for key, value in attributes.items() if key.rpartition(" ")[2] == "href"]
        self.own.append(1 + length // 100)
        self.shapes.append(name in _SHAPES or name in ("text", "tspan", "image"))
        self.uses.append(self._named(name, addresses))
        self.clips.append([])
        self.paints.append(())
        self.ids.setdefault(plain.get("id"), number)
        self._place(number, name, plain)
        if name == "image":
            self.own[number] += _IMAGE + sum(_pixels(address.strip()) / PIXELS_A_UNIT for address in addresses)

    def _plain(self, attributes):
        """The attributes that mean something, and how long they are."""
        plain, length = {}, 0
        for key, value in attributes.items():
            namespace, _, key = key.rpartition(" ")
            if namespace == _XML:
                if key not in ("space", "lang"):
                    raise _TooMuch
            elif not namespace:
                if key not in _ATTRIBUTES and key not in _PROPERTIES and not key.startswith("data-"):
                    raise _TooMuch
                plain[key] = value
                length += len(value) if key not in ("d", "points", "href", "style") else 0
            elif namespace not in _DESCRIBING and namespace != _XLINK:
                raise _TooMuch
        return plain, length

    def _named(self, name, addresses):
        """The ids that an element's addresses name."""
        if name in ("a", "image"):  # an image loads nothing from an address, and leads nowhere
            return []
        found = [re.fullmatch(rf"#({_ID})", address.strip()) for address in addresses]
        if None in found or (found and name == "pattern"):
            raise _TooMuch
        return [each[1] for each in found]

    def _place(self, number, name, plain):
        """Take what an element looks like, and what those in it have from it."""
        above, context = self.contexts[-1], _Context()
        self.contexts.append(context)
        properties = {key: [value.strip()] for key, value in plain.items() if key in _PROPERTIES}
        if properties:
            _checked(properties)
        if style := plain.get("style"):
            if style not in self.styles:
                self.styles[style] = _style(style)
            for key, values in self.styles[style].items():
                properties[key] = properties.get(key, []) + values
        context.width = max(map(_length, properties["stroke-width"])) if "stroke-width" in properties else above.width
        miters = [_length(value, 4.0) for value in properties.get("stroke-miterlimit", ())]
        context.miter = max([above.miter, *miters])
        context.period = min([above.period, *map(_period, properties.get("stroke-dasharray", ()))])
        named = {key: map(_REFERENCE.fullmatch, properties[key]) for key in _PAINTED & properties.keys()}
        self.clips[number] += [each[2] for each in named.pop("clip-path", ()) if each]
        paints = [each[2] for found in named.values() for each in found if each]
        context.paints = (*above.paints, *paints) if paints else above.paints
        if len(context.paints) > 10:
            raise _TooMuch
        context.scale = above.scale * _scale(plain["transform"]) if "transform" in plain else above.scale
        if "viewBox" in plain:
            context.scale *= self._view(plain) if number == 0 else inf
        if number == 0:
            self.scale = context.scale
        if set(properties.get("opacity", ())) - {"1"}:
            self.own[number] += _LAYER
        if self.shapes[number] or name == "use":
            self.paints[number] = context.paints
        self.dashed_text |= name in ("text", "tspan") and context.period < inf
        if name in _SHAPES:
            self.lines.append((number, _Line(name, plain), context))
        elif name == "use":
            self.width, self.miter = max(self.width, context.width), max(self.miter, context.miter)
            self.period = min(self.period, context.period)
            self.magnified |= not context.scale <= self.scale  # what is in `defs` counts as if shown in this scale
        elif name == "pattern":
            self._check_tile(plain)

    @staticmethod
    def _view(plain):
        """How many times as large as written a picture is shown."""
        sides = [_length(plain.get(side), inf) for side in ("width", "height")]
        view = _numbers(plain["viewBox"])
        return max(side / whole if whole > 0 else inf for side, whole in zip(sides, view[2:], strict=True))

    @staticmethod
    def _check_tile(plain):
        units = plain.get("patternUnits"), plain.get("patternContentUnits", "userSpaceOnUse")
        sides = [_length(plain.get(side)) for side in ("width", "height")]
        if set(units) != {"userSpaceOnUse"} or not all(MIN_TILE <= side < inf for side in sides):
            raise _TooMuch

    def _end(self, _):
        name = self.names[self.open.pop()]
        self.contexts.pop()
        self.text_depth -= name in _TEXTS

    def _text(self, text):
        if not self.text_depth:
            return
        if self.names[self.open[-1]] == "style":
            self.rules.append(text)
            return
        self.characters += len(text)
        if self.characters > MAX_TEXT:
            raise _TooMuch
        self.own[self.open[-1]] += _LETTER * len(text)

    def _read_rules(self, sheet):
        """Take a style sheet. What it says may hold for every element."""
        if len(sheet) > MAX_RULES or ("/*" in sheet and ("'" in sheet or '"' in sheet)):
            raise _TooMuch
        sheet, end = _COMMENT.sub(" ", sheet), 0
        while end < len(sheet.rstrip()):
            found = _RULE.match(sheet, end)
            if not found or "url" in found[2].lower():
                raise _TooMuch
            end = found.end()
            self.selectors += 1 + found[1].count(",")
            properties = _style(found[2])
            self.width = max([self.width, *map(_length, properties.get("stroke-width", ()))])
            self.miter = max([self.miter, *(_length(each, 4.0) for each in properties.get("stroke-miterlimit", ()))])
            self.period = min([self.period, *map(_period, properties.get("stroke-dasharray", ()))])
            self.layer |= "opacity" in properties

    # The sum -------------------------------------------------------------------------------------------------------

    def work(self):
        """How much work it is to draw everything, each element as often as it is referred to."""
        if self.dashed_text or (self.characters and self.period < inf):  # nobody can tell how long letters' lines are
            raise _TooMuch
        for number, line, context in self.lines:
            self.own[number] += self._price(line, context)
        sizes, waiting, begun = {}, [0], set()
        while waiting:
            number = waiting[-1]
            needs = self.children[number] + [
                self.ids[name]
                for name in (*self.uses[number], *self.clips[number], *self.paints[number])
                if name in self.ids
            ]
            missing = [each for each in needs if each not in sizes]
            if number in begun or not missing:
                if missing:  # it refers to itself
                    raise _TooMuch
                sizes[number] = self._sum(number, sizes)
                waiting.pop()
            else:
                begun.add(number)
                if begun & set(missing):
                    raise _TooMuch
                waiting += missing
        return sizes[0][0] * (1 + self.selectors / 20)

    def _price(self, line, context):
        """What it costs to draw one shape."""
        width, miter = max(context.width, self.width), max(context.miter, self.miter)
        size = inf if self.magnified else (line.size + width * miter) * context.scale
        part = min(size / _LARGE, 1.0) if size >= 0 else 1.0  # not a number: infinite times zero
        price = _SHAPE * part + line.points * (_SMALL_POINT + _POINT * part)
        crossing, beside = line.neighbours(width)
        price += line.points * (crossing * _CROSSINGS + beside * _PLACED)
        period = min(context.period, self.period)
        if period < inf:
            dashes = line.length / period
            if not dashes <= _MAX_DASHES:
                raise _TooMuch
            price += dashes + dashes**2 * _CROSSINGS / 3
        return price

    def _sum(self, number, sizes):
        """The work of an element with all in it, and how many shapes that draws."""
        whole, shapes = self.own[number] + (_LAYER if self.layer else 0), int(self.shapes[number])
        for each in (*self.children[number], *(self.ids[name] for name in self.uses[number] if name in self.ids)):
            whole, shapes = whole + sizes[each][0], shapes + sizes[each][1]
        for name in self.clips[number]:
            if name in self.ids:
                whole += self._clip(self.ids[name], sizes)
        painted = 1 if self.names[number] != "use" else shapes
        for name in self.paints[number]:
            if name in self.ids:
                pattern = self.names[self.ids[name]] == "pattern"
                whole += painted * (_PATTERN if pattern else _GRADIENT)
                whole += painted * (_TILES if pattern else 1) * sizes[self.ids[name]][0]
        return whole, shapes

    def _clip(self, number, sizes):
        """What it costs to draw only what is within another element; a rectangle costs next to nothing."""
        within = [self.names[each] for each in self.children[number]]
        if within == ["rect"] and not self.clips[number] and not self.clips[self.children[number][0]]:
            return 0
        simple = len(within) == 1 and within[0] in _SHAPES and not self.clips[number]
        return (_CLIP if simple else _ODD_CLIP) + sizes[number][0]
