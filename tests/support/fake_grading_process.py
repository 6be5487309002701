"""A fake `autograde.submission.grading_process`: it speaks the same protocol and does what words in a submission say."""

import json
import os
import re
import select
import signal
import sys
import time
from pathlib import Path

from autograde.submission import message
from autograde.submission.files import fingerprint

GO_ON = "go-on"


def fake_answer(asked, content, *files):
    """The answer of a grading process, from the text of the submission alone: nothing is run."""
    score = re.search(rb"SCORE=([\d.]+)", content)
    cells = {}
    for cell in json.loads(asked["reference"])["cells"]:
        if metadata := cell["metadata"].get("nbgrader"):
            cells[metadata["grade_id"]] = metadata.get("points")
    outcome = {
        "content": fingerprint(content, asked["problem"], dict(zip(asked["names"], files, strict=True))),
        "message": asked["problem"] or "",
        "verdicts": [],
        "isolation": {"level": "full"},
        "seconds": 0.01,
        "cells": {name: [float(score[1]) if score else 0.0, points] for name, points in cells.items() if points},
        "comments": {name: None for name, points in cells.items() if not points},
    }
    return outcome, asked["reference"].encode()


def main(patience, once):
    """Answer messages until there are no more.

    Args:
        patience: seconds that each answer takes.
        once: a file that exists once a process has died of DIE-ONCE. A submission with the word WAIT is answered when
            there is a file `GO_ON` beside it.
    """
    out = sys.stdout.buffer
    message.read(sys.stdin.buffer.read)  # how to grade
    if os.path.exists(once.with_name("no-start")):
        sys.exit("the reason is here")
    out.write(message.pack({"ready": True}))
    out.flush()
    while question := message.read(sys.stdin.buffer.read):
        asked, content, *files = message.unpack(question)
        if b"DIE-ALWAYS" in content or (b"DIE-ONCE" in content and not once.exists()):
            once.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        if b"FAIL" in content:
            sys.exit("the reason is here")
        while b"HANG" in content or (b"WAIT" in content and not once.with_name(GO_ON).exists()):
            if select.select([0], [], [], 0.02)[0]:  # no other message is expected, so the grader is gone
                return
        time.sleep(patience)
        out.write(
            message.pack({"trouble": "no session today", "stop": False}, b"")
            if b"TROUBLE" in content
            else message.pack(*fake_answer(asked, content, *files))
        )
        out.flush()


if __name__ == "__main__":
    main(float(sys.argv[1]), Path(sys.argv[2]))
