"""Shows text with a terminal's colour codes as HTML: whatever they are, in a time that does not grow with their square."""

from html import escape

from nbconvert.filters import ansi2html, strip_ansi

MOST_WORK = 2 * 10**9  # codes times characters: nbconvert copies what is left of the text at each code

# nbgrader's pages have no colours for nbconvert's classes. These can be read on white and on pale grey.
_COLOURS = {
    "black": "#282c36", "red": "#b22b31", "green": "#007427", "yellow": "#7d5d00", "blue": "#0065ca",
    "magenta": "#a03196", "cyan": "#1a6a73", "white": "#6e7781",
}  # fmt: skip
_IN_COLOUR = "".join(
    f".ansi-{name}-fg, .ansi-{name}-intense-fg {{ color: {colour}; }} "
    f".ansi-{name}-bg, .ansi-{name}-intense-bg {{ background-color: {colour}40; }} "
    for name, colour in _COLOURS.items()
)
STYLE = (
    f"<style>{_IN_COLOUR}.ansi-default-inverse-fg {{ color: #fff; }} .ansi-default-inverse-bg {{ background-color: #000; }} "
    ".ansi-bold { font-weight: bold; } .ansi-underline { text-decoration: underline; }</style>"
)


def work(text):
    """How much work the colours of a text are, to be compared with `MOST_WORK`."""
    return text.count("\x1b[") * len(text)


def as_html(text):
    """The text as HTML; without colours where they are too much work, or where nbconvert fails at a code.

    Of a line that was written several times, such as a progress bar, the last state is shown: a browser would show them all, one
    below the other.
    """
    text = "\n".join(line.rstrip("\r").rpartition("\r")[2] for line in text.split("\n"))
    if work(text) <= MOST_WORK:
        try:
            return str(ansi2html(text))
        except Exception:  # a code that is cut off, such as ESC[38m, raises IndexError
            pass
    return escape(strip_ansi(text))
