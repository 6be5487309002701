"""Whether MathJax can lay out the formulas in a text. It calls itself for each level of nesting, and some forty levels crash
the page in Chromium.
"""

import re
from html import unescape

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


def are_bounded(html):
    """Whether the formulas in HTML, or in plain text, are nested no deeper than `MAX_NESTED` and define nothing."""
    text = _text(html)
    if "\\" not in text and "{" not in text:
        return True
    if _REFUSED.search(text) or _COMMANDS.search(text) or _COMMANDS.search(re.sub(_COMMENT, "", text)):
        return False
    return all(_depth(reading, text) <= MAX_NESTED for reading in _READINGS)


def count(html):
    """How many formulas HTML, or plain text, holds at most."""
    text = _text(html)
    return (text.count("$") + 1) // 2 + sum(map(text.count, (r"\(", r"\[", r"\begin")))


def _text(html):
    """The text of HTML as MathJax reads it: <br> is a line break, and no formula goes on beyond another tag."""
    lines = re.sub(r"<br\b[^<>]*+>|\r\n?", "\n", re.sub(r"<wbr\b[^<>]*+>", "", html), flags=re.IGNORECASE)
    return unescape(re.sub(r"<[^<>]*+>", " ", lines))


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
