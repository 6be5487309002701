"""A real crew on this machine whose workers only pretend to grade; as a script, a grader with such a crew.

``python pretend_crew.py COURSE`` grades the course with two workers and prints how it ended and how many it graded.
"""

import sys
from pathlib import Path

import small_class

from autograde.batch.local_workers import LocalWorkers
from autograde.project import Course
from autograde.submission import grader_version

WORKER = Path(__file__).with_name("pretend_worker.py")


def crew(course, jobs=2):
    """`LocalWorkers`: `jobs` processes of pretend_worker.py."""
    made = LocalWorkers(course, jobs, False)
    for grader in made.graders:
        grader.command = [sys.executable, str(WORKER), "0", str(course.root / "died-once")]
    return made


def main(root):
    grader_version.of_code = lambda *_: "today"  # as the tests have it
    course = Course(Path(root))
    outcome = small_class.run(course, crew(course))
    print("interrupted" if outcome.interrupted else "finished", len(outcome.graded))


if __name__ == "__main__":
    main(sys.argv[1])
