"""SVG charts for the report: bars of outcomes, bars of counts, and a histogram of times."""

from html import escape

OUTCOMES = {
    "passed": "right",
    "partly": "partly right",
    "wrong": "wrong",
    "not_started": "not started",
    "not_judged": "could not be judged",
}
WIDTH, HEIGHT = 320, 18

PATTERNS = """<svg width="0" height="0" style="position:absolute" aria-hidden="true"><defs>
<pattern id="dots" width="5" height="5" patternUnits="userSpaceOnUse"><circle class="pattern" cx="2" cy="2" r=".9"/>
</pattern><pattern id="stripes" width="6" height="6" patternUnits="userSpaceOnUse" patternTransform="rotate(45)">
<path class="pattern" d="M0 0H6" stroke-width="2"/></pattern></defs></svg>"""


def outcome_bar(counts):
    """A bar divided by outcome, as SVG.

    Args:
        counts: ``{outcome: number of students}``.
    """
    total = sum(counts.values()) or 1
    parts, x = [], 0.0
    for outcome, words in OUTCOMES.items():
        width = WIDTH * counts.get(outcome, 0) / total
        if width:
            tooltip = f"{words}: {counts[outcome]}"
            parts.append(
                f'<rect class="{outcome}" x="{x:.1f}" width="{width:.1f}" height="{HEIGHT}"><title>{tooltip}</title></rect>'
                f'<rect class="frame" x="{x:.1f}" width="{width:.1f}" height="{HEIGHT}"/>'
            )
        x += width
    label = ", ".join(f"{counts[outcome]} {words}" for outcome, words in OUTCOMES.items() if counts.get(outcome))
    return _svg(WIDTH + 1, HEIGHT + 1, label, parts)


def legend():
    """The legend of `outcome_bar`, as HTML."""
    boxes = (
        f'<span><svg width="16" height="12" aria-hidden="true"><rect class="{outcome}" width="15" height="11"/>'
        f'<rect class="frame" width="15" height="11"/></svg>{words}</span>'
        for outcome, words in OUTCOMES.items()
    )
    return f'<div class="key">{"".join(boxes)}</div>'


def count_bar(count, of, width=64):
    """A bar that shows a count as a share of a whole, as SVG."""
    filled = f'<rect class="bar" width="{width * count / max(of, 1):.1f}" height="6"/>'
    return _svg(width + 1, 7, f"{count} of {of}", [filled, f'<rect class="frame" width="{width}" height="6"/>'])


def histogram(seconds, bins=24):
    """A histogram of grading times from 0 to the longest, with its axis, as SVG."""
    top = max(seconds)
    counts = [0] * bins
    for value in seconds:
        counts[min(bins - 1, int(value / top * bins)) if top else 0] += 1
    step, height = 14, 70
    bars = (
        f'<rect class="bar" x="{i * step + 1}" y="{height - height * n / max(counts):.1f}" width="{step - 2}" '
        f'height="{height * n / max(counts):.1f}"><title>{n}</title></rect>'
        for i, n in enumerate(counts)
        if n
    )
    end = bins * step
    axis = (
        f'<path class="frame" d="M0 {height}H{end}"/><text x="0" y="{height + 14}">0 s</text>'
        f'<text x="{end}" y="{height + 14}" text-anchor="end">{top:.3g} s</text>'
    )
    label = f"Histogram of {len(seconds)} times from 0 to {top:.3g} seconds"
    return _svg(end, height + 18, label, [*bars, axis])


def _svg(width, height, label, parts):
    return (
        f'<svg role="img" aria-label="{escape(label)}" width="{width}" height="{height}" '
        f'viewBox="0 0 {width} {height}">{"".join(parts)}</svg>'
    )
