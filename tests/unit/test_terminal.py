"""Nothing that others wrote commands the terminal that shows it."""

import io
import json
import logging
import os
import re
import subprocess
import sys

import pytest
from rich.progress import Progress
from rich.table import Table
from rich.text import Text

from autograde import terminal
from autograde.judge.render import as_html
from autograde.judge.verdict import Line, Verdict

COMMANDS = [
    "\x1b]0;another title\x07",
    "\x1b]52;c;cm0gLXJmIH4=\x07",  # the clipboard
    "\x1b[2J\x1b[H",
    "\x9b31m",  # the same in one character
    "a\rb\x08\x00\x7f",
    "\u202edlrow\u202c \u200b\u2066",
    "\ud800",
]


@pytest.mark.parametrize("text", COMMANDS)
def test_no_command_is_left(text, capsys):
    for shown in (terminal.harmless(text), terminal.one_line(text)):
        assert shown and not set(shown) & set("\x1b\x9b\x07\x08\r\x00\x7f\u202e\u202c\u2066\u200b\ud800")
    terminal.say(text)
    terminal.say(text, error=True)
    assert not set("".join(capsys.readouterr())) & set("\x1b\x9b\x07\x08\r\x00\u202e\ud800")


@pytest.mark.parametrize("text", COMMANDS)
def test_no_verdict_holds_a_command_that_an_answer_gave(text):
    """Not even where a check quotes a name as it came."""
    quoted = dict.fromkeys(("status", "headline", "misconception", "thought", "hint", "replay"), text)
    verdict = Verdict("linear_by_hand", 2.0, 0.0, lines=(Line(text, text),), **quoted)
    for shown in (verdict.message, as_html(verdict), json.dumps(verdict.as_data(), ensure_ascii=False)):
        assert not set(shown) & set("\x1b\x9b\x07\x08\r\x00\x7f\u202e\u202c\u2066\u200b\ud800")
        assert not re.search(r"\\u00[0189]", shown)


@pytest.mark.parametrize("marks", ["\u0301" * 9, "\u0316" * 400, "\u0301\u0489\u0316" * 30])
def test_a_heap_of_marks_lies_over_no_other_line(marks):
    """In a terminal, in the report, and in a verdict, where they would lie over the points."""
    quoted = f"a{marks}b"
    verdict = Verdict("linear_by_hand", 2.0, 0.0, status="failed", headline=quoted, lines=(Line("got", quoted),))
    for shown in (terminal.harmless(quoted), terminal.one_line(quoted), verdict.message, as_html(verdict)):
        assert marks[:4] in shown and marks[:5] not in shown


def test_honest_text_stays():
    for text in (
        "Việt Nam, Vie\u0323\u0302t",
        "שָׁלוֹם",
        "नमस्ते",
        "Zoë Ångström",
        "名前",
        "a\tb\nc",
        "✓ linear · 2 of 2 points …",
        "",
    ):
        assert terminal.harmless(text) == text
    assert terminal.one_line("a\nb" + "x" * 100, 20) == "a�b" + "x" * 16 + "…"


def test_richs_own_colours_stay_and_the_texts_do_not():
    out = io.StringIO()
    console = terminal.console(file=out, force_terminal=True, color_system="truecolor", width=80)
    table = Table(title="\x1b]0;title\x07")
    table.add_column("\x1b[2J")
    table.add_row(Text("\x1b]52;c;x\x07"), style="bold red")
    console.print(table)
    console.print("\x1b]0;title\x07", markup=False)
    console.log("\x1b]0;title\x07")
    with Progress(console=console) as progress:
        progress.add_task("\x1b]0;title\x07", total=1)
    shown = out.getvalue()
    assert "\x1b[" in shown, "colours"
    for command in ("\x1b]0", "\x1b]52", "\x1b[2J", "\x07"):
        assert command not in shown


def test_logs_and_their_tracebacks(monkeypatch):
    monkeypatch.setattr(logging, "_logRecordFactory", logging.getLogRecordFactory())
    terminal.guard_logs()
    out = io.StringIO()
    logger = logging.Logger("nbgrader")
    logger.addHandler(logging.StreamHandler(out))
    logger.warning("%s", "\x1b]0;title\x07")
    try:
        raise ValueError("\x1b]52;c;x\x07")
    except ValueError:
        logger.exception("it \x1b[2J failed")
    assert "\x1b" not in out.getvalue() and "ValueError" in out.getvalue()


def test_a_terminal_that_lacks_characters():
    command = [sys.executable, "-c", "from autograde import terminal; terminal.prepare(); terminal.say('✓ 名前 “x”')"]
    done = subprocess.run(command, env=os.environ | {"PYTHONIOENCODING": "cp1252"}, capture_output=True, check=True)
    assert b"? ??" in done.stdout
