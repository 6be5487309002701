"""Stands in for `autograde.submission.grading_process`: a process that speaks its language and does as a submission bids it."""

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


def pretend(asked, content, *files):
    """What a worker would answer, by reading alone."""
    score = re.search(rb"SCORE=([\d.]+)", content)
    cells = {}
    for cell in json.loads(asked["reference"])["cells"]:
        if about := cell["metadata"].get("nbgrader"):
            cells[about["grade_id"]] = about.get("points")
    about = {
        "content": fingerprint(content, asked["problem"], dict(zip(asked["names"], files, strict=True))),
        "message": asked["problem"] or "",
        "verdicts": [],
        "isolation": {"level": "full"},
        "seconds": 0.01,
        "cells": {name: [float(score[1]) if score else 0.0, points] for name, points in cells.items() if points},
        "comments": {name: None for name, points in cells.items() if not points},
    }
    return about, asked["reference"].encode()


def main(patience, once):
    """Answer messages until there are no more.

    Args:
        patience: seconds that each answer takes.
        once: a file that exists when a worker has died of DIE-ONCE; an answer that holds WAIT waits for a file `GO_ON`
            beside it.
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
            if select.select([0], [], [], 0.02)[0]:  # nothing else is asked meanwhile: the grader is gone
                return
        time.sleep(patience)
        out.write(
            message.pack({"trouble": "no session today", "stop": False}, b"")
            if b"TROUBLE" in content
            else message.pack(*pretend(asked, content, *files))
        )
        out.flush()


if __name__ == "__main__":
    main(float(sys.argv[1]), Path(sys.argv[2]))
