"""Where a line of an SVG runs, and how many of its parts may cross, as far as that can be told without drawing it."""

import re
from math import inf

from autograde.notebook.svg_values import read_length, read_numbers

_MANY = 2_000  # points of a path; only for more is it worth a look which lines can cross
_COMMAND = re.compile(r"[a-df-zA-DF-Z]")


class Line:
    """Where a path, or an element of another shape, runs: as far as it can be told without drawing it.

    Attributes:
        points: how many it goes through, at most.
        size, length: in pixels, at most; infinite where that depends on something else.
        places: the coordinates of its points, across and down; None where there are few or nobody can tell.
        parts: how many separate lines it may consist of.
    """

    def __init__(self, name, attributes):
        self.points, self.size, self.length, self.places, self.parts = 4, inf, inf, None, 1
        if name == "path":
            self._of_path(attributes.get("d", ""))
        elif name in ("polyline", "polygon"):
            self._through(read_numbers(attributes.get("points", "")), 1)
        elif name == "line":
            sides = [
                abs(read_length(attributes.get(axis + "2")) - read_length(attributes.get(axis + "1"))) for axis in "xy"
            ]
            self.size, self.length = max(sides), sum(sides)
        elif name == "rect":
            self.size, self.length = self._box([read_length(attributes.get(side)) for side in ("width", "height")])
        else:
            self.points = 9
            radii = [read_length(attributes.get(radius)) for radius in ("r", "rx", "ry")]
            self.size, self.length = self._box([2 * max(map(abs, radii))] * 2)

    @staticmethod
    def _box(sides):
        return max(map(abs, sides)), 2 * sum(map(abs, sides))

    def _of_path(self, course):
        numbers = read_numbers(course)
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
