"""A worker: a process that grades one submission after another, and touches neither the gradebook nor any file.

Run as ``python -m autograde.batch.worker`` it reads parcels from its standard input and answers on its standard
output; `autograde.batch.local_workers` starts it. It owns one warm process, and ends when its input does.
"""

import copy
import functools
import hashlib
import json
import os
import queue
import signal
import sys
import threading

from autograde.batch import message
from autograde.startup import quickly

quickly()

import nbformat  # noqa: E402  (only now are these imports quick)
from nbgrader import utils  # noqa: E402
from nbgrader.preprocessors import LimitOutput  # noqa: E402

from autograde import registry  # noqa: E402
from autograde.nbgrader_plugin import config as settings  # noqa: E402
from autograde.nbgrader_plugin.execute import Execute  # noqa: E402
from autograde.notebook.cells import METADATA, grade_id  # noqa: E402
from autograde.project import find_course  # noqa: E402
from autograde.sandbox.limits import Limits  # noqa: E402
from autograde.sandbox.pool import IsolationError, Warm, WarmError  # noqa: E402
from autograde.sandbox.session import SessionEnded  # noqa: E402
from autograde.submission import grade as notebook  # noqa: E402
from autograde.submission import grader_version, repair  # noqa: E402
from autograde.submission.files import fingerprint  # noqa: E402


class Grader:
    """Grades submissions of a course.

    Args:
        course: the `Course`.
        warm: the `Warm` that gives sessions.
    """

    def __init__(self, course, warm):
        self.course = course
        self.warm = warm
        config = settings.load(course).config
        self.limit_output = LimitOutput(config=config)
        execute = Execute(config=config)
        self.limits = Limits(**({"cell": execute.timeout or Limits.session} | execute.limits))

    def grade(self, asked, content, *files):
        """Grade one submission.

        Args:
            asked: a dict: ``lesson``; ``version`` of its grading; ``master``, the text of the notebook it is held
                against; ``sentence``, which stands where there is no file to grade; ``names`` of other files.
            content: the notebook as it was handed in.
            files: contents of the other files.

        Returns:
            ``(what came of it, the graded notebook)``, a dict and bytes. The dict holds ``trouble`` where the grader
            could not do its work, and then ``stop``, whether that will be so for every submission.
        """
        if asked["version"] != grader_version.of_lesson(self.course, asked["lesson"], asked["master"]):
            return {"trouble": "its worker has another version of the course", "stop": True}, b""
        released = copy.deepcopy(_parsed(asked["master"]))
        if asked["sentence"]:
            submitted, sentence = copy.deepcopy(released), asked["sentence"]
        else:
            submitted, sentence = repair.read_submission(content, released)
        lost = {} if sentence else repair.repair(submitted, released)
        submitted.metadata["kernelspec"] = released.metadata.get("kernelspec", {})
        submitted.metadata[METADATA] = {
            "lesson": asked["lesson"],
            "submission": hashlib.sha256(content).hexdigest(),
            "unreadable": sentence,
            "damage": lost,
        }
        files = dict(zip(asked["names"], files, strict=True))
        try:
            given = registry.of(self.course).given_to(asked["lesson"])
            graded = notebook.grade(
                submitted, lambda code: self.warm.open(self.limits, files, given, code), lost, sentence
            )
        except (IsolationError, WarmError, SessionEnded) as error:
            return _trouble(error), b""
        submitted, _ = self.limit_output.preprocess(submitted, {})
        about = {
            "content": fingerprint(content, asked["sentence"], files),
            "sentence": sentence or "",
            "verdicts": [verdict.as_data() for verdict in graded.verdicts.values()],
            "isolation": graded.isolation,
            "seconds": round(graded.seconds, 4),
        }
        return about | _marks(submitted), (nbformat.writes(submitted, version=4) + "\n").encode("utf-8", "replace")


def _trouble(error):
    return {"trouble": str(error), "stop": isinstance(error, IsolationError)}


@functools.lru_cache(64)
def _parsed(text):
    return nbformat.reads(text, as_version=4)


def _marks(graded):
    """Scores and comments, read off a graded notebook by nbgrader's own rules."""
    cells, comments = {}, {}
    for cell in graded.cells:
        if utils.is_grade(cell):
            cells[grade_id(cell)] = utils.determine_grade(cell)
        if utils.is_task(cell):
            cells[grade_id(cell)] = None, float(cell.metadata.nbgrader.points)
        if utils.is_solution(cell) or utils.is_task(cell):
            untouched = cell.metadata.nbgrader.get("checksum") == utils.compute_checksum(cell)
            comments[grade_id(cell)] = "No response." if untouched and not utils.is_task(cell) else None
    return {"cells": cells, "comments": comments}


def main(options):
    """Serve parcels from standard input.

    Args:
        options: ``require_isolation``.
    """
    course = find_course()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the stop key reaches the whole group: the grader decides
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # whatever else is printed must not get among the answers
    questions = queue.SimpleQueue()
    threading.Thread(target=_listen, args=(questions,), daemon=True).start()

    def answer(about, content=b""):
        answers.write(message.pack(about, content))
        answers.flush()

    try:
        with Warm(registry.of(course), require_isolation=options["require_isolation"], private=[course.root]) as warm:
            grader = Grader(course, warm)
            answer({"ready": True})
            while True:
                answer(*grader.grade(*questions.get()))
    except (IsolationError, WarmError) as error:
        answer(_trouble(error))


def _listen(questions):
    while question := message.read(sys.stdin.buffer.read):
        questions.put(message.unpack(question))
    # The grader is gone, and nobody waits for what is being graded. The warm process goes when this one does.
    os._exit(0)


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
