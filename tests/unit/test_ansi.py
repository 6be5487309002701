"""What a program prints for a terminal is shown on a page as a terminal would show it."""

import re

from autograde.nbgrader_plugin import ansi


def test_a_progress_bar_is_shown_as_it_ended():
    bar = "".join(f"\rtrain: {percent:3}%|\x1b[32m{'█' * (percent // 10)}\x1b[0m|" for percent in range(101))
    shown = ansi.as_html(f"begin\r\n{bar}\n\rnext: 1\r\nend")
    assert re.sub("<[^>]*>", "", shown) == f"begin\ntrain: 100%|{'█' * 10}|\nnext: 1\nend"


def test_many_returns_take_no_time():
    assert ansi.as_html("\r" * 10**6 + "x" * 10**6 + "\r" * 10**6) == "x" * 10**6
