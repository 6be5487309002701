"""Formulas that MathJax cannot lay out: they crash the tab of whoever opens the page."""

import re
from html import unescape

import nbformat
import pytest

from autograde.notebook import formulas, sanitize
from autograde.submission import grade_notebook

DEEP = {
    "braces": r"\sqrt{" * 50 + "x" + "}" * 50,
    "exponents": "x^{" * 50 + "}" * 50,
    "no braces": r"\sqrt" * 50 + "x",
    "one argument before the next": r"\frac1" * 50 + "x",
    "an option before the next": r"\sqrt[3]" * 50 + "x",
    "delimiters": r"\left(" * 50 + r"\right)" * 50,
    "environments": r"\begin{matrix}" * 50 + r"\end{matrix}" * 50,
    "closed in a comment": "\\sqrt{%}\n" * 50,
    "closed in what is shown as it is": r"\sqrt{\verb|}|" * 50,
    "begun in a comment that is none": "50 % of " + r"\sqrt{" * 50,
    "comments in between": "\\sqrt% and\n" * 50,
    "spelt as entities": r"\sqrt&lbrace;" * 50,
    "defined": r"\def\a{\sqrt}\a x",
    "styles": r"\displaystyle abc" * 50,
    "sizes": r"\Huge abc" * 50,
    "styles in formulas in texts": (r"\displaystyle a" * 15 + r"\text{$") * 4,
    "closed in a comment of a file with other line ends": "\\sqrt{%}\r" * 50,
    "a link": r"\href{http://127.0.0.1:8888/logout}{x}",
    "a label": r"\label{loss} x",
    "very many": r"\alpha$ $" * 6_000,
    "one that is long": "x+" * 1_100,
    "a table of few characters and many places": r"\begin{matrix}" + "&" * 400 + r"\\" * 400 + r"\end{matrix}",
    "long, in an environment": "$ \\begin{align}" + "a&=b\\\\" * 400 + "\\end{align} $",
    "long, with its end in braces": "x+{$" * 20 + "x+" * 1_100,
    "references": r"$ \ref{a} $" * 2_000,
    "defined with an argument": r"\newcommand{\a}[1]{\sqrt{#1}} \a x",
}
PLAIN = {
    "a lesson's": r"W + \frac{\alpha}{r} B A, \quad A \in \mathbb{R}^{r \times k}",
    "many of them": r"\mathbf{x}_{i}, " * 60,
    "a matrix": r"\begin{pmatrix} 1 & \cdots & 0 \\ \vdots & \ddots & \vdots \end{pmatrix} " * 20,
    "beside a share": r"50 % of \sqrt{2}. " * 30,
    "a style in each of many": r"\displaystyle \sum_i x_i$ and $" * 60,
    "a style in each entry": r"\begin{matrix}" + r"\displaystyle a & \displaystyle b \\ " * 30 + r"\end{matrix}",
    "a style in each group": r"{\small a}" * 60,
    "a set": r"\left\{ a \mid a > 0 \right\} " * 30,
}


def shown(formula, how):
    """What a page would get of a formula, or None."""
    if how == "markdown":
        return sanitize.markdown(f"${formula}$")
    if how == "paragraph":
        return sanitize.markdown(f"<p>${formula}$</p>")
    if how == "raw":
        cell = nbformat.v4.new_raw_cell(f"${formula}$")
        sanitize.text_cell(cell)
        return cell.source
    data = {how: f"${formula}$", "text/plain": "a formula"}
    return sanitize.output(nbformat.v4.new_output("display_data", data)).data.get(how)


HOW = ("markdown", "paragraph", "raw", "text/latex", "text/html", "text/markdown")


@pytest.mark.parametrize("how", HOW)
@pytest.mark.parametrize("name", DEEP)
def test_a_formula_that_crashes_the_page_is_not_laid_out(name, how):
    if "entities" in name and how in ("text/latex", "markdown", "text/markdown"):
        pytest.skip("an entity is no brace there: its & is escaped")
    result = shown(DEEP[name], how)
    assert result is None or "\\" not in result, result


@pytest.mark.parametrize("how", HOW)
@pytest.mark.parametrize("name", PLAIN)
def test_an_ordinary_formula_is_laid_out(name, how):
    result = shown(PLAIN[name], how)
    assert result is not None and "\\" in result, result


@pytest.mark.parametrize("name", DEEP)
def test_a_page_lays_out_no_such_formula_in_a_text_that_nobody_has_looked_at(name):
    if "entities" in name:
        pytest.skip("an entity is no brace there: its & is escaped")
    assert sanitize.rendered(f"${DEEP[name]}$").startswith("<pre>")


def test_a_long_text_with_short_formulas_is_no_long_formula():
    text = "The rank $r$ is at most $\\min(m, n)$, and costs 5\\$ or more, which is a long story. " * 100
    assert sanitize.markdown(text) == text and "<pre>" not in sanitize.rendered(text)


def test_a_line_break_within_a_command_does_not_hide_it():
    for source in (r"<p>$\newcommand<br>\a{x}$</p>", r"<p>$\new<wbr>command{\a}{x}$</p>"):
        assert "\\" not in sanitize.html(source)


@pytest.mark.parametrize("named", [r"$\rule{9em}{9em}$", r"\(\Huge x\)", r"\begin{align}x\end{align}", "<b>`*x*`</b>"])
def test_a_message_quotes_what_was_handed_in_and_lays_out_none_of_it(named):
    released = nbformat.v4.new_notebook()
    grade_notebook.grade(released, open_session=None, unreadable=f"There is no notebook, but '{named}'.")
    shown = sanitize.rendered(released.cells[0].source)
    assert "This notebook was not graded." in shown
    assert formulas.work(shown) < 5  # a mark that begins a formula without an end
    assert "<b>`" not in shown and "<em>" not in shown
    assert re.sub(r"<[^>]*>|`", "", named) in unescape(re.sub(r"<[^>]*>", "", shown))


def test_no_formula_goes_on_beyond_a_tag():
    html = r"<p>the file <span>\</span>def.txt costs <span>$</span>5</p>"
    assert sanitize.html(html) == html


def test_the_formulas_of_a_notebook_are_counted():
    budget = sanitize.Budget()
    shown = [sanitize.html("<p>" + "$x$ " * 1_500 + "</p>", budget=budget) for _ in range(4)]
    assert ["$x$" in each for each in shown] == [True, True, False, False]
    assert sanitize.html("<p>no formula</p>", budget=budget) == "<p>no formula</p>"
