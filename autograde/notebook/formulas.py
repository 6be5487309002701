"""Whether MathJax can lay out the formulas in a text, and how much work that is. It calls itself for each level of nesting,
and some forty levels crash the page in Chromium. A formula is laid out in one go, and the page waits meanwhile: at worst two
milliseconds for a character, and a tenth of one for a place in a table, empty or not.
"""

import re
from html import unescape

MAX_WORK = 2_000  # of one formula; the longest of a lesson has 265 characters
MAX_NESTED = 20  # levels; a lesson's formulas have 4, and 40 \boxed crash the page

# Definitions can nest formulas without end; \verb hides what closes a level; \href is a link that nobody has looked at; of two
# equal labels in a page, MathJax refuses the second, which may be the lesson's.
_REFUSED = re.compile(
    r"\\(?:def|let|(?:re)?new(?:command|environment)|DeclareMathOperator|Newextarrow|require|verb|href|label)(?![a-zA-Z])"
)
_STYLES = r"(?:display|text|script|scriptscript)style|[tT]iny|scriptsize|small|normalsize|[lL]arge|LARGE|[hH]uge|color"
_MARK = rf"\\(?:begin|left|end|right|{_STYLES})(?![a-zA-Z])|\\.|[{{}}$&]"
_COMMENT = r"%[^\n]*"
# In a formula, % begins a comment; outside of one it does not. The deeper reading counts.
_READINGS = [re.compile(pattern, re.DOTALL) for pattern in (_MARK, rf"\\%|{_COMMENT}|{_MARK}")]
_OPENING, _CLOSING = {"{", r"\begin", r"\left"}, {"}", r"\end", r"\right"}
# A change of style or size holds to the end of its group, and all that follows there is nested in it.
_STYLE = re.compile(rf"\\(?:{_STYLES})")
_NEXT_CELL, _NEXT_FORMULA = "&", {"$", r"\(", r"\)", r"\[", r"\]"}
# Of commands that follow each other, each may be the argument of the one before: \sqrt\sqrt x, \frac1\frac1 x.
_COMMAND = r"\\[a-zA-Z]++\s*+(?:\[[^\]\\]{0,20}\]\s*+)?[^\\{}$\s]?+\s*+"
_COMMANDS = re.compile(rf"(?:{_COMMAND}){{{MAX_NESTED + 1}}}")

# MathJax finds a formula between two of these, within one piece of text. In its own braces, what ends it does not.
_BEGIN = re.compile(r"\\begin\{([^}]*)\}|\$\$?|\\[(\[]|\\+\$|\\(?:eq)?ref\{[^}]*\}")
_END = re.compile(r"\\end\{[^{}]*\}|\$\$?|\\.|[{}]", re.DOTALL)
_ENDS = {"$": "$", "$$": "$$", r"\(": r"\)", r"\[": r"\]"}
_NEXT_ROW = re.compile(r"\\\\|\\cr(?![a-zA-Z])")


def are_bounded(html):
    """Whether each formula in HTML, or in plain text, is at most `MAX_WORK`, nested no deeper than `MAX_NESTED`, and defines
    nothing.
    """
    pieces = _pieces(html)
    text = " ".join(pieces)
    if any(_work(formula) > MAX_WORK for formula in _formulas(pieces)):
        return False
    if "\\" not in text and "{" not in text:
        return True
    if _REFUSED.search(text) or _COMMANDS.search(text) or _COMMANDS.search(re.sub(_COMMENT, "", text)):
        return False
    return all(_depth(reading, text) <= MAX_NESTED for reading in _READINGS)


def work(html):
    """How much work all formulas in HTML, or in plain text, are at most: a character of one is 1, and so are 10 places of a
    table.
    """
    return sum(map(_work, _formulas(_pieces(html))))


def _work(formula):
    rows = _NEXT_ROW.split(formula)
    return 2 + len(formula) + len(rows) * (1 + max(row.count("&") for row in rows)) // 10


def _formulas(pieces):
    """The formulas in pieces of text. One that does not end counts to the end of its piece."""
    for piece in pieces:
        place = 0
        while found := _BEGIN.search(piece, place):
            place = found.end()
            if found[0].endswith(r"\$"):
                continue  # this one begins no formula
            if found[0].startswith((r"\ref", r"\eqref")):
                yield found[0]
                continue
            stop, place = _end_of(piece, place, _ENDS.get(found[0], rf"\end{{{found[1]}}}"))
            yield piece[found.end() : stop]


def _end_of(piece, place, end):
    """Where a formula ends that begins at `place`, and where the text after it begins."""
    braces = 0
    for found in _END.finditer(piece, place):
        if not braces and (found[0] == end or (end == "$" and found[0] == "$$")):
            return found.start(), found.start() + len(end)
        braces = max(braces + {"{": 1, "}": -1}.get(found[0], 0), 0)
    return len(piece), len(piece)


def _pieces(html):
    """The text of HTML as MathJax reads it: <br> is a line break, and no formula goes on beyond another tag."""
    lines = re.sub(r"<br\b[^<>]*+>|\r\n?", "\n", re.sub(r"<wbr\b[^<>]*+>", "", html), flags=re.IGNORECASE)
    return list(map(unescape, re.split(r"<[^<>]*+>", lines)))


def _depth(reading, text):
    styles = [0]  # changes of style so far, for each open group
    depth = most = 0
    for found in reading.finditer(text):
        mark = found[0]
        if mark in _OPENING:
            styles.append(0)
            depth += 1
        elif _STYLE.fullmatch(mark):
            styles[-1] += 1
            depth += 1
        elif mark in _CLOSING and len(styles) > 1:
            depth -= styles.pop() + 1
        elif mark == _NEXT_CELL or (mark in _NEXT_FORMULA | _CLOSING and len(styles) == 1):
            depth -= styles[-1]
            styles[-1] = 0
        most = max(most, depth)
    return most
