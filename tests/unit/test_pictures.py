"""Pictures stay in a page as long as a browser draws them in bounded time: each by itself, and all together."""

import base64
import io
import json
import struct

import nbformat
import numpy
import pytest
from growing_pictures import png
from PIL import Image

from autograde.notebook import pictures, raster, sanitize
from autograde.submission import read_notebook

LARGE = png(16_000)
MIMES = {"PNG": "image/png", "JPEG": "image/jpeg", "GIF": "image/gif", "WEBP": "image/webp", "BMP": "image/bmp"}


def encoded(data):
    return base64.b64encode(data).decode()


def picture(kind):
    file = io.BytesIO()
    Image.fromarray(numpy.random.default_rng(0).integers(0, 255, (40, 50, 3), dtype=numpy.uint8)).save(file, kind)
    return file.getvalue()


def shown(data, budget, mime="image/png"):
    output = nbformat.v4.new_output("display_data", data={mime: encoded(data), "text/plain": "x"})
    return mime in sanitize.output(output, budget).data


@pytest.mark.parametrize("kind", MIMES)
def test_an_ordinary_picture_stays_wherever_it_is(kind):
    data, mime = picture(kind), MIMES[kind]
    address = f"data:{mime};base64,{encoded(data)}"
    assert raster.pixels(data) == 2_000
    assert read_notebook._attachments({"a": {mime: encoded(data)}}) == {"a": {mime: encoded(data)}}
    assert address in sanitize.html(f'<img src="{address}">')
    assert sanitize.markdown(f"![x]({address})") == f"![x]({address})"
    if mime in sanitize._IMAGES:
        assert shown(data, None, mime)


@pytest.mark.parametrize("mime", ["image/png", "image/jpeg", "image/gif", "image/bmp"])
def test_a_picture_of_too_many_pixels_is_left_out_whatever_it_says_that_it_is(mime):
    address = f"data:{mime};base64,{encoded(LARGE)}"
    assert read_notebook._attachments({"a": {mime: encoded(LARGE)}}) == {}
    assert address not in sanitize.html(f'<img src="{address}">')
    assert sanitize.markdown(f"![x]({address})") != f"![x]({address})"
    if mime in sanitize._IMAGES:
        assert not shown(LARGE, None, mime)


@pytest.mark.parametrize("name", ["checksum", "end", "nothing"])
def test_a_damaged_picture_stays_if_it_is_too_small_to_be_large(name):
    damage = {
        "checksum": lambda data: data[:29] + b"aaaa" + data[33:],
        "end": lambda data: data[:-40],
        "nothing": lambda data: b"no picture" + data,
    }[name]
    assert raster.pixels(damage(png(300))) is not None
    assert name == "nothing" or raster.pixels(damage(LARGE)) is None


@pytest.mark.parametrize("start", [b"RIFF\0\0\0\0WEBPVP8L", b"\0\0\0\x1cftypavif", b"\0\0\1\0", b"GIF89a"])
def test_what_a_browser_reads_and_we_do_not_is_left_out(start):
    assert raster.pixels(start + bytes(20)) is None


def test_all_pictures_of_a_notebook_together_are_bounded():
    budget, data = sanitize.Budget(), png(8_000)
    each = pictures.work("image/png", data)
    stay = [shown(data, budget) for _ in range(20)]
    assert stay == [True] * (sanitize.MAX_DRAWN // each) + [False] * (20 - sanitize.MAX_DRAWN // each)
    assert shown(picture("PNG"), budget)  # a small one still has room


@pytest.mark.parametrize("name", ["html", "markdown", "attachment", "svg"])
def test_a_picture_counts_wherever_it_is_and_as_often_as_it_is_named(name):
    budget, data = sanitize.Budget(), png(5_000)
    address = f"data:image/png;base64,{encoded(data)}"
    before = budget.drawn
    if name == "html":
        sanitize.html(f'<img src="{address}">' * 3, budget=budget)
    elif name == "markdown":
        sanitize.markdown(f"![x]({address}) " * 3, budget=budget)
    elif name == "attachment":
        sanitize.markdown("![x](attachment:a) " * 3, {"a": {"image/png": encoded(data)}}, budget)
    else:
        svg = f'<svg xmlns="http://www.w3.org/2000/svg"><image id="a" href="{address}"/><use href="#a"/><use href="#a"/></svg>'
        budget.draws("image/svg+xml", svg.encode())
    assert (before - budget.drawn) // pictures.work("image/png", data) == 3


def test_pictures_without_padding_are_read():
    assert pictures.work("image/png", encoded(picture("PNG")).rstrip("=")) is not None


def test_a_picture_beside_a_notebook_that_stops_the_page_is_not_shown(tmp_path):
    drawn = b'<svg xmlns="http://www.w3.org/2000/svg">' + b"<rect/>" * 100 + b"</svg>"
    files = {"plot.svg": drawn, "plot.png": png(1_000), "notes.txt": b"<filter>" * 10**5, "data.csv": b"1,2"}
    stops = {
        "many.svg": drawn.replace(b"<rect/>", b"<rect/>" * 1_000),
        "blurred.SVG": drawn.replace(b"rect", b"filter"),
    }
    stops |= {"large.png": png(9_000), "named.jpg": png(9_000)}
    for name, content in (files | stops).items():
        (tmp_path / name).write_bytes(content)
    assert [name for name in files | stops if not pictures.may_show(tmp_path / name)] == list(stops)


def test_files_are_shown_as_often_as_the_largest_could_be():
    budget = sanitize.Budget()
    texts = [sanitize.markdown(f"![x](plot{i}.png)", budget=budget) for i in range(30)]
    assert [text.startswith("![") for text in texts] == [True] * 20 + [False] * 10
    assert budget.draws("image/png", png(10))


def animation(kind, frames):
    shades = [Image.new("RGB", (50, 40), (7 * number, 0, 0)) for number in range(frames)]
    file = io.BytesIO()
    shades[0].save(file, kind, save_all=True, append_images=shades[1:], duration=50, loop=0)
    return file.getvalue()


@pytest.mark.parametrize("kind", ["GIF", "PNG", "WEBP"])
def test_the_frames_of_an_animation_count_and_a_short_one_stays(kind):
    data = animation(kind, 12)
    assert raster.pixels(data) == 12 * 2_000
    address = f"data:{MIMES[kind]};base64,{encoded(data)}"
    assert address in sanitize.html(f'<img src="{address}">')


def test_the_scans_of_a_jpeg_count_and_those_of_an_ordinary_one_are_few():
    file = io.BytesIO()
    Image.new("L", (3_000, 3_000), 128).save(file, "JPEG", progressive=True)
    data = file.getvalue()
    assert raster.pixels(data) <= 12 * 9_000_000
    assert shown(data, None, "image/jpeg")
    last = data[data.rfind(b"\xff\xda") : -2]
    many = data[:-2] + last * 3_000 + data[-2:]
    assert raster.pixels(many) is None
    assert not shown(many, None, "image/jpeg")
    assert read_notebook._attachments({"a": {"image/jpeg": encoded(many)}}) == {}


def test_an_animation_of_thousands_of_large_frames_is_left_out():
    screen = b"GIF89a" + struct.pack("<HHBBB", 4_000, 4_000, 0x80, 0, 0) + b"\0\0\0\xff\xff\xff"
    frame = b"," + struct.pack("<HHHHB", 0, 0, 4_000, 4_000, 0) + b"\x02\x02\x4c\x01\0"
    assert raster.pixels(screen + frame * 2 + b";") == 2 * 16_000_000
    assert raster.pixels(screen + frame * 5_000 + b";") is None
    still = png(4_000)
    assert raster.pixels(still[:33] + b"\0\0\0\0fcTL" * 800 + still[33:]) is None


@pytest.mark.parametrize("length", range(0, 60, 7))
def test_an_animation_that_ends_in_the_middle_does_not_end_the_search(length):
    data = animation("GIF", 3)
    assert raster._frames_of_gif(data[: 13 + length]) <= 3


@pytest.mark.parametrize(
    ("name", "source"),
    [
        ("a.png", "![x](attachment:a.png)"),
        ("my plot.png", "![x](<attachment:my plot.png>)"),
        ("my plot.png", "![x](attachment:my%20plot.png)"),
        ("a_b.png", "![x](attachment:a\\_b.png)"),
        ("a&b.png", "![x](attachment:a&amp;b.png)"),
        ("a.png", "![x][y]\n\n[y]: attachment:a.png"),
        ("é.png", '<img src="attachment:é.png">'),
    ],
)
def test_of_pasted_pictures_those_stay_that_their_text_names(name, source):
    held = {other: {"image/png": encoded(png(9))} for other in (name, "left.png", "behind.png")}
    cell = {"cell_type": "markdown", "source": source, "metadata": {}, "attachments": held}
    notebook = {"cells": [cell, cell | {"source": "x"}], "metadata": {}, "nbformat": 4, "nbformat_minor": 5}
    made = read_notebook.parse(json.dumps(notebook).encode())
    assert made.cells[0].attachments == {name: held[name]}
    assert "attachments" not in made.cells[1]
