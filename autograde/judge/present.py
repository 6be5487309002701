"""Shows a verdict where the check was called: a card in a notebook, text elsewhere, an exception unless it passed."""

import os
import sys

from autograde import terminal
from autograde.judge.render import as_html, text, title


class CheckFailed(Exception):
    """A check that did not pass. Its message is the report."""

    def __init__(self, verdict):
        super().__init__(text(verdict))
        self.verdict = verdict
        self._shown = False

    def _render_traceback_(self):
        """What IPython shows in place of a traceback, as lines. A notebook shows the card, and one line below it."""
        if not _shows_html():
            return text(self.verdict).splitlines()
        if not self._shown:  # IPython asks once to show the error, and once to keep it in its history
            _show_card(self.verdict)
        self._shown = True
        return [f"{title(self.verdict)}. The report is above."]


class NotStarted(CheckFailed, NotImplementedError):
    """A check of an exercise that still is the stub."""


def present(verdict):
    """Show a verdict: as a card in a notebook that a person works in, as text everywhere else.

    Raises:
        CheckFailed, NotStarted: unless it is a pass, so that "Run all" stops there and Validate sees it.
    """
    if not verdict.passed:
        raise (NotStarted if verdict.status == "not_started" else CheckFailed)(verdict)
    if _shows_html():
        _show_card(verdict)
    else:
        terminal.say(text(verdict))


def _show_card(verdict):
    from IPython.display import display

    display({"text/plain": text(verdict), "text/html": as_html(verdict)}, raw=True)


def _shows_html():
    """Whether this runs in a notebook's kernel, and not for nbgrader's Validate, which reads tracebacks only."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython else None
    return getattr(shell, "kernel", None) is not None and "NBGRADER_EXECUTION" not in os.environ
