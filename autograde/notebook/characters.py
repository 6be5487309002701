"""Bounds how long a browser takes to find the shapes and the order of a page's characters.

It sets ordinary text, and long stretches of one script, in no time. But wherever the script changes it begins anew, and it
goes to some length for marks, for control characters and for what is written from right to left: up to two tenths of a
millisecond for each, so that a megabyte of them stops the page for minutes.
"""

import re

MAX_WORK = 30_000  # of one page, in these changes and characters: six seconds at worst

# ASCII and other Latin letters are not counted. A run of one of these counts once, and each character that is in none of them.
_ORDINARY = (
    "\u0370-\u0482\u048a-\u052f",  # Greek, Cyrillic
    "\u2010-\u2027\u2030-\u205e\u2070-\u20cf\u2100-\u2bff",  # punctuation, arrows, mathematics, boxes
    "\u3000-\u3029\u3030-\u3098\u309b-\u9fff\uac00-\ud7a3\uff00-\uffef",  # Chinese, Japanese, Korean
)
_UNUSUAL = re.compile("|".join([*(f"[{each}]+" for each in _ORDINARY), "[^\t\n\r -~\xa0-\xac\xae-\u024f]"]))
# From right to left, and what changes the direction. In a line with one of these, brackets are looked for in quadratic time.
_TURNED = re.compile(
    "[\u0590-\u08ff\u200f\u202a-\u202e\u2066-\u2069\ufb1d-\ufdff\ufe70-\ufefc\U00010800-\U00010fff\U0001e800-\U0001efff]"
)
_TAG = re.compile(r"<[^<>]*+>")


def bounded(page):
    """The page with a question mark for each stretch of unusual characters, from the line on that exceeds `MAX_WORK`."""
    lines, left = page.split("\n"), MAX_WORK
    for number, line in enumerate(lines):
        left -= _work(line)
        if left < 0:
            return "\n".join([*lines[:number], _UNUSUAL.sub("?", "\n".join(lines[number:]))])
    return page


def _work(line):
    count = len(_UNUSUAL.findall(line))
    if count and _TURNED.search(line):
        count += len(_TAG.sub("", line)) ** 2 // 20_000
    return count
