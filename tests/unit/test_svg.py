"""Of SVG pictures, those stay that are as small when they are drawn as they look."""

import base64
import io

import matplotlib.pyplot as plt
import nbformat
import pytest
from growing_pictures import png

from autograde.notebook import sanitize, svg
from autograde.submission import read_notebook

HEAD = '<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink">'
DOUBLED = "".join(f'<g id="a{i}"><use xlink:href="#a{i - 1}"/><use href=" #a{i - 1}"/></g>' for i in range(1, 22))
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
    "tiny dashes as a style": f'{HEAD}<path style="fill: none; stroke-dasharray: 1e-3"/></svg>',
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
    "a text that is drawn often": f'{HEAD}<text id="a">{"a" * 900}</text>' + '<use href="#a"/>' * 30 + "</svg>",
    "a long course": f'{HEAD}<path d="{"M0 0L1 1" * 300_000}"/></svg>',
    "dashes by a style sheet": f"{HEAD}<style>path {{ stroke-dasharray: .001 }}</style></svg>",
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


def test_a_figure_stays():
    figure, axes = plt.subplots()
    axes.scatter(range(2_000), range(2_000), label="points")
    axes.bar([1, 2], [3, 4], hatch="/")
    axes.plot([1, 2], [3, 4], linestyle="--")
    axes.plot([1, 2], [4, 3], linestyle=":")
    axes.legend()
    file = io.StringIO()
    figure.savefig(file, format="svg")
    plt.close(figure)
    assert svg.work(file.getvalue().encode())
    output = nbformat.v4.new_output("display_data", data={"image/svg+xml": file.getvalue()})
    assert sanitize.output(output).data["image/svg+xml"] == file.getvalue()
