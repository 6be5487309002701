"""Whether MathJax can lay out the formulas in a text. It calls itself for each level of nesting, and some forty levels crash
the page in Chromium.
"""

import re
from html import unescape

MAX_NESTED = 20  # levels; a lesson's formulas have 4, and 40 \boxed crash the page

# Definitions can nest formulas without end; \verb hides what closes a level.
_REFUSED = re.compile(
    r"\\(?:def|let|(?:re)?new(?:command|environment)|DeclareMathOperator|Newextarrow|require|verb)(?![a-zA-Z])"
)
_MARK = r"\\(?:begin|left|end|right)(?![a-zA-Z])|\\.|[{}]"
_COMMENT = r"%[^\n]*"
# In a formula, % begins a comment; outside of one it does not. The deeper reading counts.
_READINGS = [re.compile(pattern, re.DOTALL) for pattern in (_MARK, rf"\\%|{_COMMENT}|{_MARK}")]
_OPENING, _CLOSING = {"{", r"\begin", r"\left"}, {"}", r"\end", r"\right"}
# Of commands that follow each other, each may be the argument of the one before: \sqrt\sqrt x, \frac1\frac1 x.
_COMMAND = r"\\[a-zA-Z]++\s*+(?:\[[^\]\\]{0,20}\]\s*+)?[^\\{}$\s]?+\s*+"
_COMMANDS = re.compile(rf"(?:{_COMMAND}){{{MAX_NESTED + 1}}}")


def are_bounded(html):
    """Whether the formulas in HTML, or in plain text, are nested no deeper than `MAX_NESTED` and define nothing."""
    text = unescape(re.sub(r"<[^<>]*+>", "", html))
    if "\\" not in text and "{" not in text:
        return True
    if _REFUSED.search(text) or _COMMANDS.search(text) or _COMMANDS.search(re.sub(_COMMENT, "", text)):
        return False
    return all(_depth(reading, text) <= MAX_NESTED for reading in _READINGS)


def _depth(reading, text):
    depth = most = 0
    for found in reading.finditer(text):
        if found[0] in _OPENING:
            depth += 1
            most = max(most, depth)
        elif found[0] in _CLOSING:
            depth = max(0, depth - 1)
    return most
