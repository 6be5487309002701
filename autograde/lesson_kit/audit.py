"""The claims audit of lesson 05: ten answers, each behind a line that opens."""

from html import escape
from typing import NamedTuple

from IPython.display import display


class Claim(NamedTuple):
    """A published figure, and the formula that reproduces it."""

    published: float
    formula: str  # Python; a test evaluates it
    remark: str = ""


CLAIMS = {
    "A": Claim(256, "4096 * 4096 / (4096 * 8 + 8 * 4096)"),
    "B": Claim(400, "5000 * 10000 / (5000 * 8 + 8 * 10000)", "It claims less than is true."),
    "C": Claim(10_000, "175e9 / (96 * 2 * 4 * (12288 + 12288))", "Rounded, and upwards."),
    "D": Claim(
        35e6, "2 * 96 * 2 * 4 * (12288 + 12288)", "Good enough for a slogan. To plan a disk, work out the number."
    ),
    "E": Claim(
        37.7e6,
        "96 * 4 * 2 * (12288 + 12288)",
        "Twice too large. The other half of the same line is right: q and v at r = 8 give twice as much as this. "
        "Authors of papers make slips too.",
    ),
    "F": Claim(
        0.35e6,
        "24 * 2 * 4 * (1024 + 1024)",
        "It falls short by a ninth of what its own settings give. The formula cannot say what was counted there.",
    ),
    "G": Claim(0.3e6, "12 * 2 * 8 * (768 + 768)", "Rounded to one digit, as the table says."),
    "H": Claim(
        6_742_609_920,
        "6738415616 + 32 * 2 * 8 * (4096 + 4096)",
        "The total contains the adapters. It is more than the model had before.",
    ),
    "I": Claim(
        4096,
        "4 * (512 + 512) + 512",
        "The last 512 are the bias, which was left to train. The formula was right and the layer was not: count the "
        "model too.",
    ),
    "J": Claim(
        10_000,
        "3 * 2 * 175e9 / (3 * 2 * 96 * 2 * 4 * (12288 + 12288))",
        "True of what it names, except for “over”. Of all training memory it would be wrong by a factor of thousands.",
    ),
}


def verdict(published, computed):
    """ "exact", "near" (within 10 % of the computed value) or "wrong"."""
    if published == computed:
        return "exact"
    return "near" if abs(published - computed) <= 0.1 * computed else "wrong"


def reveal(computed, guesses):
    """Show a closed line for each claim, to be opened one at a time.

    Args:
        computed: ``{letter: computed value}``.
        guesses: ``{letter: verdict}`` as the learner wrote it; "?" where nothing was written.
    """
    lines = []
    for letter, (published, formula, remark) in CLAIMS.items():
        guess = guesses.get(letter, "?")
        guess_note = f" · you said {escape(str(guess))}" if guess != "?" else ""
        value = computed[letter]
        numbers = f"published {number(published)}, worked out {number(value)}: <b>{verdict(published, value)}</b>"
        arithmetic = f"<code>{escape(formula)}</code>"
        content = "<br>".join(filter(None, [numbers, arithmetic, escape(remark)]))
        lines.append(f"<details><summary><b>{letter}</b>{guess_note}</summary><p>{content}</p></details>")
    plain_text = "The ten answers stand behind their letters: open them one at a time in JupyterLab or a browser."
    display({"text/html": "".join(lines), "text/plain": plain_text}, raw=True)


def number(value):
    """A number in groups of three digits, with one decimal if it is not whole."""
    return f"{value:,.0f}" if value == round(value) else f"{value:,.1f}"
