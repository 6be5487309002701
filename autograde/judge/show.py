"""One report in two forms that say the same: text for terminals and tracebacks, HTML for notebooks and feedback."""

import html
import textwrap

from autograde.judge.verdict import Line

WIDTH = 96
_MARK = {"passed": "✓", "not_started": "○"}
_COLOUR = {"passed": "#1a7f37", "not_started": "#6e7781"}


def points_text(verdict):
    """`1.5 of 3 points`."""
    return f"{verdict.score:g} of {verdict.points:g} point{'' if verdict.points == 1 else 's'}"


def lines(verdict):
    """Every labelled line of the report: the facts, then what is known of the mistake, then how to see it again."""
    more = (
        Line("likely thought", verdict.thought),
        Line("hint", verdict.hint),
        Line("replay", verdict.replay, code=True),
    )
    return [*verdict.lines, *(line for line in more if line.text)]


def title(verdict):
    """`✗ area · 0 of 3 points`: the mark says at a glance which way it went."""
    return f"{_MARK.get(verdict.status, '✗')} {verdict.exercise} · {points_text(verdict)}"


def text(verdict):
    """The report as plain text, at most `WIDTH` columns wide where words allow it."""
    out = [title(verdict), *textwrap.wrap(verdict.headline, WIDTH - 2, initial_indent="  ", subsequent_indent="  ")]
    labelled = lines(verdict)
    margin = max((len(line.label) for line in labelled), default=0) + 4
    for line in labelled:
        first = "  " + line.label.ljust(margin - 2)
        wrapped = textwrap.wrap(line.text, WIDTH - margin, break_long_words=False)
        for i, part in enumerate((line.text.splitlines() if line.code else wrapped) or [""]):
            out.append((first if i == 0 else " " * margin) + part)
    return "\n".join(out)


def as_html(verdict):
    """The report as one self-contained element; all that came from the learner is escaped."""
    colour = _COLOUR.get(verdict.status, "#b35900")
    rows = "".join(
        f'<tr><th style="text-align:left;vertical-align:top;padding:1px 14px 1px 0;font-weight:600;white-space:nowrap">'
        f"{html.escape(line.label)}</th>"
        f'<td style="text-align:left;padding:1px 0">{_cell(line)}</td></tr>'
        for line in lines(verdict)
    )
    table = f'<table style="border:0;border-collapse:collapse;margin:6px 0 0;font-size:inherit">{rows}</table>'
    return (
        f'<div role="status" style="border-left:4px solid {colour};padding:6px 12px;margin:4px 0;max-width:60em;'
        f'line-height:1.45"><div><strong style="color:{colour}">{html.escape(title(verdict))}</strong></div>'
        f"<div>{html.escape(verdict.headline)}</div>{table if rows else ''}{picture(verdict)}</div>"
    )


def _cell(line):
    if line.code:
        return f'<code style="white-space:pre-wrap">{html.escape(line.text)}</code>'
    return html.escape(line.text)


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
    side, gap, width = 14, 18, len(expected[0])
    step = max(width * side, 70) + gap
    shapes = []
    for i, (name, rows) in enumerate(panels):
        shapes.append(f'<text x="{i * step}" y="11" font-size="11" fill="currentColor">{name}</text>')
        for y, row in enumerate(rows):
            for x, value in enumerate(row):
                shapes.append(_square(i * step + x * side, 17 + y * side, side, abs(value) / top, value))
    size = f'width="{3 * step}" height="{len(expected) * side + 20}"'
    label = f"Heat maps of {verdict.exercise}: what came back, what was expected, and the difference"
    return f'<svg role="img" aria-label="{label}" {size} style="margin-top:8px">{"".join(shapes)}</svg>'


def _square(x, y, side, strength, value):
    light = 255 - round(225 * min(strength, 1.0)) if strength == strength else 0
    negative = value < 0
    fill = f"rgb(255,{light},{light})" if negative else f"rgb({light},{light},255)"
    if strength != strength:
        fill = "rgb(0,0,0)"
    ink = "#fff" if light < 128 else "#000"
    middle = y + side / 2
    minus = f'<path d="M{x + 4} {middle}h{side - 8}" stroke="{ink}" stroke-width="1.5"/>' if negative else ""
    return (
        f'<rect x="{x}" y="{y}" width="{side}" height="{side}" fill="{fill}" stroke="#999" '
        f'stroke-width="0.5"><title>{value:.4g}</title></rect>{minus}'
    )
