"""Tells how much a browser draws for an SVG picture.

As an image nothing in an SVG runs, but two kilobytes can keep a browser busy for hours: with elements that are drawn as
often as others name them, with a million dashes, with a line that crosses itself everywhere. So only what plots, graphs and
simple drawings consist of is shown (`svg_values` has the lists), and all of it is counted. The prices below were measured in
Chromium (docs/grading.md): a unit is 20 microseconds at worst.
"""

import re
from math import inf
from xml.parsers import expat

from autograde.notebook import svg_values
from autograde.notebook.svg_line import Line
from autograde.notebook.svg_values import TooMuch

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
_MAX_DASHES = 20_000  # in one path
_LETTER, _IMAGE, _LAYER, _CLIP, _ODD_CLIP, _GRADIENT, _PATTERN = 5, 60, 30, 16, 40, 30, 200
_TILES = 4  # the contents of a pattern are drawn again for some parts of the page
_RULE = re.compile(r"\s*([\w.#*-]+(?:\s*,\s*[\w.#*-]+)*)\s*\{([^{}]*)\}\s*")
_COMMENT = re.compile(r"/\*.*?\*/", re.DOTALL)


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
    except (TooMuch, expat.ExpatError, ValueError, LookupError, OverflowError):
        return None
    return int(units) + 1 if units <= MAX_WORK else None  # not a number is no number of units


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
        self.lines = []  # (element, Line, context)
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
        raise TooMuch

    def _declaration(self, version, encoding, standalone):
        if (encoding and encoding.lower()) not in svg_values.ENCODINGS:
            raise TooMuch

    def _doctype(self, name, system, public, has_internal_subset):
        if has_internal_subset or (public and not public.startswith("-//W3C//DTD SVG")):  # XHTML's has entities
            raise TooMuch

    def _start(self, name, attributes):
        number = len(self.children)
        namespace, _, name = name.rpartition(" ")
        if number >= MAX_ELEMENTS or len(self.open) >= MAX_DEPTH:
            raise TooMuch
        if self.open and self.names[self.open[-1]] == "style":
            raise TooMuch
        if namespace in svg_values.DESCRIBING:
            name, attributes = "metadata", {}
        elif (
            namespace not in (svg_values.SVG, "") or name not in svg_values.ELEMENTS
        ):  # "": JupyterLab adds the namespace
            raise TooMuch
        if self.open:
            self.children[self.open[-1]].append(number)
        self.open.append(number)
        self.text_depth += name in svg_values.TEXTS
        self.names.append(name)
        self.children.append([])
        plain, length = self._plain(attributes)
        addresses = [value for key, value in attributes.items() if key.rpartition(" ")[2] == "href"]
        self.own.append(1 + length // 100)
        self.shapes.append(name in svg_values.SHAPES or name in ("text", "tspan", "image"))
        self.uses.append(self._named(name, addresses))
        self.clips.append([])
        self.paints.append(())
        self.ids.setdefault(plain.get("id"), number)
        self._place(number, name, plain)
        if name == "image":
            self.own[number] += _IMAGE + sum(
                svg_values.embedded_pixels(address.strip()) / PIXELS_A_UNIT for address in addresses
            )

    def _plain(self, attributes):
        """The attributes that mean something, and how long they are."""
        plain, length = {}, 0
        for key, value in attributes.items():
            namespace, _, key = key.rpartition(" ")
            if namespace == svg_values.XML:
                if key not in ("space", "lang"):
                    raise TooMuch
            elif not namespace:
                if (
                    key not in svg_values.ATTRIBUTES
                    and key not in svg_values.PROPERTIES
                    and not key.startswith("data-")
                ):
                    raise TooMuch
                plain[key] = value
                length += len(value) if key not in ("d", "points", "href", "style") else 0
            elif namespace not in svg_values.DESCRIBING and namespace != svg_values.XLINK:
                raise TooMuch
        return plain, length

    def _named(self, name, addresses):
        """The ids that an element's addresses name."""
        if name in ("a", "image"):  # an image loads nothing from an address, and leads nowhere
            return []
        found = [re.fullmatch(rf"#({svg_values.ID})", address.strip()) for address in addresses]
        if None in found or (found and name == "pattern"):
            raise TooMuch
        return [each[1] for each in found]

    def _place(self, number, name, plain):
        """Take what an element looks like, and what those in it have from it."""
        above, context = self.contexts[-1], _Context()
        self.contexts.append(context)
        properties = {key: [value.strip()] for key, value in plain.items() if key in svg_values.PROPERTIES}
        if properties:
            svg_values.check_properties(properties)
        if style := plain.get("style"):
            if style not in self.styles:
                self.styles[style] = svg_values.read_style(style)
            for key, values in self.styles[style].items():
                properties[key] = properties.get(key, []) + values
        context.width = (
            max(map(svg_values.read_length, properties["stroke-width"]))
            if "stroke-width" in properties
            else above.width
        )
        miters = [svg_values.read_length(value, 4.0) for value in properties.get("stroke-miterlimit", ())]
        context.miter = max([above.miter, *miters])
        context.period = min([above.period, *map(svg_values.dash_period, properties.get("stroke-dasharray", ()))])
        named = {
            key: map(svg_values.REFERENCE.fullmatch, properties[key]) for key in svg_values.PAINTED & properties.keys()
        }
        self.clips[number] += [each[2] for each in named.pop("clip-path", ()) if each]
        paints = [each[2] for found in named.values() for each in found if each]
        context.paints = (*above.paints, *paints) if paints else above.paints
        if len(context.paints) > 10:
            raise TooMuch
        context.scale = (
            above.scale * svg_values.largest_scale(plain["transform"]) if "transform" in plain else above.scale
        )
        if "viewBox" in plain:
            context.scale *= self._view(plain) if number == 0 else inf
        if number == 0:
            self.scale = context.scale
        if set(properties.get("opacity", ())) - {"1"}:
            self.own[number] += _LAYER
        if self.shapes[number] or name == "use":
            self.paints[number] = context.paints
        self.dashed_text |= name in ("text", "tspan") and context.period < inf
        if name in svg_values.SHAPES:
            self.lines.append((number, Line(name, plain), context))
        elif name == "use":
            self.width, self.miter = max(self.width, context.width), max(self.miter, context.miter)
            self.period = min(self.period, context.period)
            self.magnified |= not context.scale <= self.scale  # what is in `defs` counts as if shown in this scale
        elif name == "pattern":
            self._check_tile(plain)

    @staticmethod
    def _view(plain):
        """How many times as large as written a picture is shown."""
        sides = [svg_values.read_length(plain.get(side), inf) for side in ("width", "height")]
        view = svg_values.read_numbers(plain["viewBox"])
        return max(side / whole if whole > 0 else inf for side, whole in zip(sides, view[2:], strict=True))

    @staticmethod
    def _check_tile(plain):
        units = plain.get("patternUnits"), plain.get("patternContentUnits", "userSpaceOnUse")
        sides = [svg_values.read_length(plain.get(side)) for side in ("width", "height")]
        if set(units) != {"userSpaceOnUse"} or not all(MIN_TILE <= side < inf for side in sides):
            raise TooMuch

    def _end(self, _):
        name = self.names[self.open.pop()]
        self.contexts.pop()
        self.text_depth -= name in svg_values.TEXTS

    def _text(self, text):
        if not self.text_depth:
            return
        if self.names[self.open[-1]] == "style":
            self.rules.append(text)
            return
        self.characters += len(text)
        if self.characters > MAX_TEXT:
            raise TooMuch
        self.own[self.open[-1]] += _LETTER * len(text)

    def _read_rules(self, sheet):
        """Take a style sheet. What it says may hold for every element."""
        if len(sheet) > MAX_RULES or ("/*" in sheet and ("'" in sheet or '"' in sheet)):
            raise TooMuch
        sheet, end = _COMMENT.sub(" ", sheet), 0
        while end < len(sheet.rstrip()):
            found = _RULE.match(sheet, end)
            if not found or "url" in found[2].lower():
                raise TooMuch
            end = found.end()
            self.selectors += 1 + found[1].count(",")
            properties = svg_values.read_style(found[2])
            self.width = max([self.width, *map(svg_values.read_length, properties.get("stroke-width", ()))])
            self.miter = max(
                [self.miter, *(svg_values.read_length(each, 4.0) for each in properties.get("stroke-miterlimit", ()))]
            )
            self.period = min([self.period, *map(svg_values.dash_period, properties.get("stroke-dasharray", ()))])
            self.layer |= "opacity" in properties

    # The sum -------------------------------------------------------------------------------------------------------

    def work(self):
        """How much work it is to draw everything, each element as often as it is referred to."""
        if self.dashed_text or (self.characters and self.period < inf):  # nobody can tell how long letters' lines are
            raise TooMuch
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
                    raise TooMuch
                sizes[number] = self._sum(number, sizes)
                waiting.pop()
            else:
                begun.add(number)
                if begun & set(missing):
                    raise TooMuch
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
                raise TooMuch
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
        simple = len(within) == 1 and within[0] in svg_values.SHAPES and not self.clips[number]
        return (_CLIP if simple else _ODD_CLIP) + sizes[number][0]
