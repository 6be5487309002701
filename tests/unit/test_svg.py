"""Of SVG pictures, those stay that are as small when they are drawn as they look."""

import base64
import io

import matplotlib.pyplot as plt
import nbformat
import numpy
import pytest
from growing_pictures import png

from autograde.notebook import sanitize, svg
from autograde.submission import read_notebook

HEAD = '<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink">'
DOUBLED = "".join(f'<g id="a{i}"><use xlink:href="#a{i - 1}"/><use href=" #a{i - 1}"/></g>' for i in range(1, 22))
LINE = '<path stroke="red" d="M0 0L300 300"/>'
ZIGZAG = "M" + " ".join(f"{place * 7919 % 800} {place % 2 * 600}" for place in range(60_000))
PATTERN = (
    '<pattern id="p" width="72" height="72" patternUnits="userSpaceOnUse"><rect width="72" height="72"/></pattern>'
)
BOMBS = {
    "elements that are doubled": f'{HEAD}<defs><g id="a0"/>{DOUBLED}</defs><use href="#a21"/></svg>',
    "an element in itself": f'{HEAD}<g id="a"><use href="#a"/></g></svg>',
    "two in each other": f'{HEAD}<g id="a"><use href="#b"/></g><g id="b"><use href="#a"/></g></svg>',
    "masks": HEAD + "".join(f'<mask id="a{i}">' + f'<rect mask="url(#a{i - 1})"/>' * 4 + "</mask>" for i in range(12))
    + "</svg>",
    "a style sheet": f"{HEAD}<style>g {{ mask: url(#a) }}</style></svg>",
    "entities": f'<!DOCTYPE svg [<!ENTITY a "aaaa">]>{HEAD}<text>&a;</text></svg>',
    "more than can be counted": HEAD + "<g/>" * 300_000 + "</svg>",
    "no end": HEAD,
    "animations": f'{HEAD}<rect>' + '<animate attributeName="x" values="0;1" dur="1ms"/>' * 20_000 + "</rect></svg>",
    "an animation by a style sheet": f"{HEAD}<style>@keyframes a {{}} g {{ animation: a 1ms infinite }}</style></svg>",
    "tiny dashes": HEAD + '<path stroke-dasharray=".001,.001" d="M0 0L300 300"/>' * 200 + "</svg>",
    "tiny dashes as a style": f'{HEAD}<path style="fill: none; stroke-dasharray: 1e-3" d="M0 0L300 300"/></svg>',
    "dashes of an unknown length": f'{HEAD}<path style="--a: .001; stroke-dasharray: var(--a)"/></svg>',
    "a style with an escape": f'{HEAD}<g id="a"><rect style="mask: u\\72l(#a)"/></g></svg>',
    "a filter": f'{HEAD}<filter id="a"><feGaussianBlur stdDeviation="100"/></filter><rect filter="url(#a)"/></svg>',
    "a blurred element": f'{HEAD}<rect filter="blur(100px)"/></svg>',
    "a blur as a style": f'{HEAD}<rect style="FILTER: blur(100px)"/></svg>',
    "a blur by a style sheet": f"{HEAD}<style>rect {{ fil<!-- -->ter: blur(100px) }}</style></svg>",
    "another language": f"{HEAD}<foreignObject><p xmlns='http://www.w3.org/1999/xhtml'>a</p></foreignObject></svg>",
    "a picture of this kind in it": f'{HEAD}<image href="data:image/svg+xml;base64,PHN2Zy8+"/></svg>',
    "a picture in it in another spelling": f'{HEAD}<image href="data:image/png;base64,%69VBOR"/></svg>',
    "a large picture in it": f'{HEAD}<image href="data:image/png;base64,{base64.b64encode(png(16_000)).decode()}"/></svg>',
    "a long text": f"{HEAD}<text>{'aé漢' * 4_000}</text></svg>",
    "a text that is drawn often": f'{HEAD}<text id="a">{"a" * 900}</text>' + '<use href="#a"/>' * 300 + "</svg>",
    "a long course": f'{HEAD}<path d="{"M0 0L1 1" * 300_000}"/></svg>',
    "dashes by a style sheet": f"{HEAD}<style>path {{ stroke-dasharray: .001 }}</style>{LINE}</svg>",
    "dashes of a group": f'{HEAD}<g stroke-dasharray=".001">{LINE}</g></svg>',
    "dashes where it is shown": f'{HEAD}<defs><g id="a">{LINE}</g></defs><use href="#a" stroke-dasharray=".001"/></svg>',
    "dashes in other units": f'{HEAD}<path style="stroke-dasharray: 1e-3em" d="M0 0L300 300"/></svg>',
    "dashes of a length that is said": f'{HEAD}<path pathLength="1000000" stroke-dasharray="1" d="M0 0L300 300"/></svg>',
    "dashes of letters": f'{HEAD}<text stroke-dasharray="1">漢字</text></svg>',
    "markers": f'{HEAD}<marker id="m"><circle r="9"/></marker><path marker-mid="url(#m)" d="M0 0L9 9L0 9"/></svg>',
    "markers as a style": f'{HEAD}<marker id="m"/><path style="marker-mid: url(#m)" d="M0 0L9 9L0 9"/></svg>',
    "shadows": f"{HEAD}<style>text {{ text-shadow: 0 0 99px red, 0 0 99px red }}</style><text>a</text></svg>",
    "a mask by a style sheet": f"{HEAD}<style>rect {{ mask: linear-gradient(red, transparent) }}</style></svg>",
    "boxes in space": f"{HEAD}<style>g {{ perspective: 1px; transform-style: preserve-3d }}</style></svg>",
    "blended layers": f'{HEAD}<g style="mix-blend-mode: multiply"/></svg>',
    "a wide line that crosses itself": f'{HEAD}<path fill="none" stroke="red" stroke-width="500" d="{ZIGZAG}"/></svg>',
    "a thin line that crosses itself": f'{HEAD}<path fill="none" stroke="red" d="{ZIGZAG}"/></svg>',
    "one with relative places": f'{HEAD}<path d="m0 0{"l99 600-99-600" * 40_000}"/></svg>',
    "a pattern of tiny tiles": f'{HEAD}<pattern id="p" width=".1" height=".1" patternUnits="userSpaceOnUse"/></svg>',
    "a pattern that all in a group have": f'{HEAD}{PATTERN}<g fill="url(#p)">{"<rect/>" * 6_000}</g></svg>',
    "a pattern where it is shown": f'{HEAD}{PATTERN}<g id="a">{"<rect/>" * 6_000}</g><use href="#a" fill="url(#p)"/></svg>',
    "ids in another spelling": f'{HEAD}<g id="a"/><use href="#%61"/></svg>',
    "a line of letters along another": f'{HEAD}<path id="a"/><text><textPath href="#a">a</textPath></text></svg>',
    "letters one by one": f'{HEAD}<text rotate="1 2 3">abc</text></svg>',
    "many blanks": f'{HEAD}<text xml:space="preserve">{" " * 20_000}</text></svg>',
    "a variable": f'{HEAD}<rect style="--a: 1px; stroke-width: var(--a)"/></svg>',
    "a value that is computed": f'{HEAD}<rect style="stroke-width: calc(1px * 9999)"/></svg>',
    "an escape in a style sheet": f"{HEAD}<style>rect {{ \\66ilter: blur(9px) }}</style></svg>",
    "a comment in a style sheet": f"{HEAD}<style>/*'*/ rect {{ mask: none }} /*'*/</style></svg>",
    "a style sheet as it stands": f"{HEAD}<style><![CDATA[rect {{ backdrop-filter: blur(9px) }}]]></style></svg>",
    "another style sheet": f'{HEAD}<style>@import "data:text/css,";</style></svg>',
    "a style sheet before it": f'<?xml-stylesheet href="data:text/css,rect%7Bmask:none%7D"?>{HEAD}</svg>',
    "a style sheet of HTML": f'{HEAD}<metadata><h:style xmlns:h="http://www.w3.org/1999/xhtml"/></metadata></svg>',
    "attributes by a declaration": f'<!DOCTYPE svg [<!ATTLIST rect filter CDATA "blur(9px)">]>{HEAD}<rect/></svg>',
    "names of HTML's characters": f'<!DOCTYPE svg PUBLIC "-//W3C//DTD XHTML 1.0 Strict//EN" "x">{HEAD}</svg>',
    "another encoding": f'<?xml version="1.0" encoding="utf-7"?>{HEAD}</svg>',
    "a filter with another prefix": f'{HEAD}<q:filter xmlns:q="http://www.w3.org/2000/svg"/></svg>',
    "an animation that only sets": f'{HEAD}<rect><set attributeName="x" to="1"/></rect></svg>',
    "a choice of languages": f'{HEAD}<switch><g systemLanguage="en"/></switch></svg>',
    "a depth without end": HEAD + "<g>" * 200 + "</g>" * 200 + "</svg>",
    "large elements from a small view": '<svg xmlns="http://www.w3.org/2000/svg" width="800" height="600" viewBox="0 0 8 6">'
    + '<rect width="8" height="6"/>' * 50_000 + "</svg>",
}  # fmt: skip


@pytest.mark.parametrize("name", BOMBS)
def test_a_picture_that_grows_is_left_out_of_outputs_attachments_and_addresses(name):
    encoded = base64.b64encode(BOMBS[name].encode()).decode()
    output = nbformat.v4.new_output("display_data", data={"image/svg+xml": BOMBS[name], "text/plain": "x"})
    assert set(sanitize.output(output).data) == {"text/plain"}
    assert read_notebook._attachments({"a.svg": {"image/svg+xml": encoded}}) == {}
    for address in (f"data:image/svg+xml;base64,{encoded}", f"data:image/SVG+XML;base64,{encoded}"):
        assert address not in sanitize.html(f'<img src="{address}">', 10**7)
        assert sanitize.markdown(f"![x]({address})") != f"![x]({address})"


GRAPH = """<?xml version="1.0" encoding="UTF-8" standalone="no"?>
<!DOCTYPE svg PUBLIC "-//W3C//DTD SVG 1.1//EN"
 "http://www.w3.org/Graphics/SVG/1.1/DTD/svg11.dtd">
<!-- Generated by graphviz version 2.43.0 (0) -->
<!-- Title: %3 Pages: 1 -->
<svg width="62pt" height="116pt"
 viewBox="0.00 0.00 62.00 116.00" xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink">
<g id="graph0" class="graph" transform="scale(1 1) rotate(0) translate(4 112)">
<title>%3</title>
<polygon fill="white" stroke="transparent" points="-4,4 -4,-112 58,-112 58,4 -4,4"/>
<g id="node1" class="node">
<title>a</title>
<g id="a_node1"><a xlink:href="https://example.org" xlink:title="weight" target="_blank">
<ellipse fill="#ffffe0" stroke="black" stroke-dasharray="5,2" cx="27" cy="-90" rx="27" ry="18"/>
<text xml:space="preserve" text-anchor="middle" x="27" y="-86.3" font-family="Times,serif" font-size="14.00">W &#45; 4&#215;4</text>
</a></g>
</g>
<g id="edge1" class="edge">
<title>a&#45;&gt;b</title>
<path fill="none" stroke="black" d="M27,-71.7C27,-63.98 27,-54.71 27,-46.11"/>
<polygon fill="black" stroke="black" points="30.5,-46.1 27,-36.1 23.5,-46.1 30.5,-46.1"/>
</g>
</g>
</svg>
"""
ICON = """<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 24 24" width="24" height="24" fill="none" stroke="currentColor"
 stroke-width="2" stroke-linecap="round" role="img" aria-label="a house" data-name="house">
<path d="m3 9 9-7 9 7v11a2 2 0 0 1-2 2H5a2 2 0 0 1-2-2z"/><polyline points="9 22 9 12 15 12 15 22"/></svg>"""
DRAWING = """<svg xmlns="http://www.w3.org/2000/svg" width="300" height="200">
<style><![CDATA[ /* colours */ .small { font: italic 13px sans-serif; fill: rgba(1, 2, 3, 50%) } text, .a { fill: red } ]]></style>
<defs><linearGradient id="g" x2="1"><stop offset="5%" stop-color="gold"/><stop offset="95%" style="stop-color: red"/>
</linearGradient><clipPath id="c"><circle cx="50" cy="50" r="40"/></clipPath>
<symbol id="s" viewBox="0 0 10 10"><rect width="10" height="10" rx="2"/></symbol></defs>
<desc>A drawing</desc><g clip-path="url(#c)" opacity=".9"><rect width="100%" height="100%" fill="url('#g')"/></g>
<use href="#s" x="9" width="20" height="20"/><line x1="0" y1="0" x2="300" y2="200" stroke="black" stroke-dasharray="5 2"/>
<text x="20" y="35" class="small" text-anchor="start">My <tspan font-weight="bold" dx="2">cat</tspan></text></svg>"""


@pytest.mark.parametrize("picture", [GRAPH, ICON, DRAWING], ids=["graphviz", "icon", "drawing"])
def test_a_graph_and_a_simple_drawing_stay(picture):
    output = nbformat.v4.new_output("display_data", data={"image/svg+xml": picture})
    assert sanitize.output(output).data["image/svg+xml"] == picture
    assert svg.work(picture.encode()) < sanitize.MAX_DRAWN / 300


def _places(many):
    return numpy.random.default_rng(0).normal(size=(2, many))


def _styles(axes):
    for number, style in enumerate(["-", "--", "-.", ":", (0, (1, 1))]):
        axes.plot([0, 1], [number, 2], linestyle=style, linewidth=number + 1, marker="os^vD"[number], label=f"{number}")
    axes.legend(shadow=True)


def _words(axes):
    axes.text(0.5, 0.5, r"$\int_0^1 \frac{x^2}{\sqrt{y}}\,dx$", rotation=30, bbox={"boxstyle": "round"})
    axes.annotate("here", (0.1, 0.1), (0.5, 0.9), arrowprops={"arrowstyle": "->"})
    axes.set(title="Täst & <x>", xscale="log", yscale="log")


ACROSS, DOWN = numpy.meshgrid(numpy.linspace(-3, 3, 40), numpy.linspace(-3, 3, 40))
HILLS = numpy.sin(ACROSS) * numpy.cos(DOWN)
PLOTS = {
    "points": lambda axes: axes.scatter(*_places(5_000), c=_places(5_000)[0], s=20 + 9 * _places(5_000)[1] ** 2, alpha=0.5),
    "markers": lambda axes: axes.plot(*_places(5_000), "."),
    "a long line": lambda axes: axes.plot(_places(100_000)[0]),
    "kinds of lines": _styles,
    "words": _words,
    "a picture": lambda axes: axes.figure.colorbar(axes.imshow(HILLS)),
    "areas": lambda axes: axes.contourf(HILLS, 20, hatches=["/", "o", "*", "xx"]),
    "heights": lambda axes: axes.clabel(axes.contour(HILLS)),
    "arrows": lambda axes: axes.quiver(ACROSS, DOWN, HILLS, -HILLS, HILLS),
    "streams": lambda axes: axes.streamplot(ACROSS, DOWN, HILLS, -HILLS, color=HILLS),
    "bars": lambda axes: axes.bar(range(9), range(9), hatch=["/", "o", "*", "x", "+", "|", "-", "O", "."], alpha=0.5),
    "errors": lambda axes: axes.errorbar(range(9), range(9), yerr=0.5, capsize=3),
    "a filled area": lambda axes: axes.fill_between(range(9), range(9), alpha=0.3),
    "boxes": lambda axes: axes.boxplot(_places(50).T),
    "violins": lambda axes: axes.violinplot(_places(50).T),
    "a pie": lambda axes: axes.pie([1, 2, 3], labels="abc", shadow=True),
    "a histogram": lambda axes: axes.hist(_places(9_999)[0], 100),
    "hexagons": lambda axes: axes.hexbin(*_places(5_000)),
    "cells": lambda axes: axes.pcolormesh(HILLS),
    "a round clip": lambda axes: axes.imshow(HILLS).set_clip_path(plt.Circle((20, 20), 9, transform=axes.transData)),
    "links": lambda axes: axes.scatter([1, 2], [3, 4]).set_urls(["https://example.org/a", None]),
    "a surface": lambda axes: axes.plot_surface(ACROSS, DOWN, HILLS),
    "a net": lambda axes: axes.plot_wireframe(ACROSS, DOWN, HILLS),
    "an angle": lambda axes: axes.plot(numpy.linspace(0, 9, 300), numpy.linspace(0, 1, 300)),
}  # fmt: skip
PROJECTIONS = {"a surface": "3d", "a net": "3d", "an angle": "polar"}


@pytest.mark.parametrize(("name", "fonttype"), [*((name, "path") for name in PLOTS), ("words", "none")])
def test_plots_stay_and_a_notebook_has_room_for_many(name, fonttype):
    picture = _figure(PLOTS[name], PROJECTIONS.get(name), {"svg.fonttype": fonttype})
    assert svg.work(picture.encode()) < sanitize.MAX_DRAWN / 12
    output = nbformat.v4.new_output("display_data", data={"image/svg+xml": picture})
    assert sanitize.output(output).data["image/svg+xml"] == picture


@pytest.mark.slow
@pytest.mark.parametrize(
    "draw", [lambda axes: axes.scatter(*_places(50_000), s=3), lambda axes: axes.plot(_places(100_000)[0])]
)
def test_very_many_points_stay(draw):  # Chromium takes some 4 seconds
    assert svg.work(_figure(draw, None, {"path.simplify": False}).encode()) > sanitize.MAX_DRAWN / 10


def _figure(draw, projection, settings):
    with plt.rc_context(settings):
        figure, axes = plt.subplots(subplot_kw={"projection": projection})
        draw(axes)
        file = io.StringIO()
        figure.savefig(file, format="svg")
        plt.close(figure)
    return file.getvalue()


def test_an_element_costs_less_where_it_is_small_for_certain():
    def price(shape, head=HEAD, scaled=False):
        return svg.work(f"{head}{shape * 1000}</svg>".encode(), scaled)

    small = price('<rect width="9" height="9"/>')
    assert price('<rect width="900" height="900"/>') > 5 * small
    assert price('<rect width="9" height="9" transform="scale(100)"/>') > 5 * small
    assert price('<rect width="9%" height="9"/>') > 5 * small
    assert price('<rect width="9" height="9" stroke-width="9in"/>') > 5 * small
    assert price('<rect width="9" height="9"/>', scaled=True) > 5 * small
    assert price('<rect width="9" height="9"/>', HEAD[:-1] + ' viewBox="0 0 1 1" width="99" height="99">') > 5 * small


def test_of_very_many_bytes_of_drawings_only_the_first_are_looked_at():
    budget, drawing = sanitize.Budget(), HEAD + " " * 2**20 + "</svg>"
    shown = [budget.draws("image/svg+xml", drawing.encode()) for _ in range(6)]
    assert 2 < sum(shown) < 6 and shown == sorted(shown, reverse=True)
