"""Renders a verdict's report: text for terminals and tracebacks, HTML with the same words for notebooks and feedback."""

import base64
import html
import re
import textwrap

WIDTH = 96
_SIDE = 14  # pixels of a heat map's square
_CELL = "text-align:left;vertical-align:top"
_MARK = {"passed": "✓", "not_started": "○"}
_COLOUR = {"passed": "#1a7f37", "not_started": "#6e7781"}


def points_text(verdict):
    """`1.5 of 3 points`."""
    return f"{verdict.score:g} of {verdict.points:g} point{'' if verdict.points == 1 else 's'}"


def title(verdict):
    """`✗ area · 0 of 3 points`: the mark says at a glance which way it went."""
    return f"{_MARK.get(verdict.status, '✗')} {verdict.exercise} · {points_text(verdict)}"


def text(verdict):
    """The report as plain text, at most `WIDTH` columns wide where words allow it."""
    out = [title(verdict), *textwrap.wrap(verdict.headline, WIDTH - 2, initial_indent="  ", subsequent_indent="  ")]
    labelled = verdict.report_lines
    margin = max((len(line.label) for line in labelled), default=0) + 4
    for line in labelled:
        first = "  " + line.label.ljust(margin - 2)
        wrapped = textwrap.wrap(line.text, WIDTH - margin, break_long_words=False)
        for i, part in enumerate((line.text.splitlines() if line.code else wrapped) or [""]):
            out.append((first if i == 0 else " " * margin) + part)
    return "\n".join(out)


def as_html(verdict):
    """The report as one self-contained element; all that came from the learner is escaped.

    It reads without its `style` attributes too, which pages that show a stranger's notebook take away. Text has the
    colour of the page around it, light or dark, and the other colours can be seen on both.
    """
    colour = _COLOUR.get(verdict.status, "#b35900")
    mark, rest = title(verdict).split(" ", 1)
    rows = "".join(
        f'<tr style="background:none"><th style="{_CELL};padding:1px 14px 1px 0;font-weight:600;white-space:nowrap">'
        f'{_escaped(line.label)}</th><td style="{_CELL};padding:1px 0">{_cell(line)}</td></tr>'
        for line in verdict.report_lines
    )
    table = f'<table style="border:0;border-collapse:collapse;margin:6px 0 0;font-size:inherit">{rows}</table>'
    return (
        f'<div role="status" style="border-left:4px solid {colour};padding:6px 12px;margin:4px 0;max-width:60em;'
        f'line-height:1.45"><div><strong><span style="color:{colour}">{mark}</span> {_escaped(rest)}</strong></div>'
        f"<div>{prose(verdict.headline)}</div>{table if rows else ''}{_image(verdict)}</div>"
    )


def _cell(line):
    return _code(line.text) if line.code else prose(line.text)


def prose(text):
    """Text as HTML, with the parts between backticks set as code."""
    return re.sub(r"`([^`]+)`", r'<code style="background:none;padding:0">\1</code>', _escaped(text))


def _escaped(text):
    """Text as HTML in which MathJax finds no formula: what an exception says could cover the report with another one."""
    return re.sub(r"[$\\]", r"<span>\g<0></span>", html.escape(text))


def _code(source):
    """Source as HTML, with its line breaks and indentation."""
    lines = [(len(line) - len(line.lstrip(" ")), line.lstrip(" ")) for line in source.splitlines()]
    shown = "<br>".join("&nbsp;" * indent + _escaped(line) for indent, line in lines)
    return f'<code style="white-space:pre-wrap;background:none;padding:0">{shown}</code>'


def _image(verdict):
    """`picture` as an image, which pages may show that show no SVG of their own; empty where there is none."""
    drawn = picture(verdict)
    if not drawn:
        return ""
    label = f"Heat maps of {verdict.exercise}: what came back, what was expected, and the difference"
    source = base64.b64encode(drawn.encode()).decode()
    return f'<div><img alt="{html.escape(label)}" src="data:image/svg+xml;base64,{source}"></div>'


def picture(verdict):
    """Heat maps of got, expected and their difference on one scale, as SVG; empty where there is none.

    A shade says how large a value is. A negative one carries a minus sign besides its other colour, so that the sign can
    be seen in grey too.
    """
    if verdict.picture is None:
        return ""
    got, expected = verdict.picture
    difference = [[a - b for a, b in zip(*rows, strict=True)] for rows in zip(got, expected, strict=True)]
    panels = [("got", got), ("expected", expected), ("difference", difference)]
    top = max((abs(v) for _, rows in panels for row in rows for v in row if abs(v) < float("inf")), default=1.0) or 1.0
    step = max(len(expected[0]) * _SIDE, 70) + 18
    drawn = "".join(_heat_map(8 + i * step, name, rows, top) for i, (name, rows) in enumerate(panels))
    width, height = 3 * step - 2, len(expected) * _SIDE + 32
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" font-size="11" '
        f'font-family="sans-serif"><rect width="{width}" height="{height}" fill="#fff"/>{drawn}</svg>'
    )


def _heat_map(left, name, rows, top):
    squares, minus = [], {"#fff": "", "#000": ""}
    for y, row in enumerate(rows):
        for x, value in enumerate(row):
            light = 255 - round(225 * min(abs(value) / top, 1.0)) if value == value else 0
            rgb = (255, light, light) if value < 0 else (light, light, 255 if value == value else 0)
            squares.append(f'<path fill="#{bytes(rgb).hex()}" d="M{x} {y}h1v1h-1z"/>')
            if value < 0:
                minus["#fff" if light < 128 else "#000"] += f"M{x}.3 {y}.5h.4"
    signs = "".join(f'<path class="minus" stroke="{ink}" stroke-width=".1" d="{d}"/>' for ink, d in minus.items() if d)
    return (
        f'<text x="{left}" y="17">{name}</text><g transform="translate({left} 24) scale({_SIDE})" stroke="#999" '
        f'stroke-width=".04">{"".join(squares)}{signs}</g>'
    )
