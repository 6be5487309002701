"""`LocalWorkers` with fake grading processes, which only read submissions.

``python fake_workers.py COURSE`` grades the course with two of them, and prints how it ended and how many it graded.
"""

import sys
from pathlib import Path

import small_class

from autograde.batch.local_workers import LocalWorkers
from autograde.project import Course
from autograde.submission import grader_version

WORKER = Path(__file__).with_name("fake_grading_process.py")


def fake_workers(course, jobs=2):
    """`LocalWorkers` with `jobs` processes of fake_grading_process.py."""
    made = LocalWorkers(course, jobs, False)
    for grader in made.graders:
        grader.command = [sys.executable, str(WORKER), "0", str(course.root / "died-once")]
    return made


def main(root):
    grader_version.of_code = lambda *_: "today"  # as in the tests
    course = Course(Path(root))
    outcome = small_class.run(course, fake_workers(course))
    print("interrupted" if outcome.interrupted else "finished", len(outcome.graded))


if __name__ == "__main__":
    main(sys.argv[1])
