"""A class with many hostile submissions beside an honest class of the same size: what they cost everybody else in time.

    python benchmarks/bench_hostile.py [--honest 10] [--hostile 50]

Both classes hand in lesson 00, the shortest, so that hostile work weighs most; honest notebooks are whole, with all that
the lesson shows. They are graded in one run, in turn, by
`autograde grade` on all cores, twice; the lesser time of each counts. Hostile submissions are those of
`tests/support/hostile.py` in turn. One that loops without end is not among them: it costs the limit that you set for a
cell (``c.Execute.timeout``), which no grader can know better. Exit status 1 if an honest mark is wrong, if a submission
has no row, or if the hostile class took more than twice as long.
"""

import argparse
import itertools
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from nbgrader.api import Gradebook

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests" / "support"))

from bench_grading import notebooks  # noqa: E402
from hostile import CODE, ENDS, FILES  # noqa: E402
from small_class import LESSON, RIGHT, hand_in, make_course  # noqa: E402

MOST = 2.0


def main():
    """Print times and their ratio; the exit status."""
    arguments = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    arguments.add_argument("--honest", type=int, default=10)
    arguments.add_argument("--hostile", type=int, default=50)
    arguments.add_argument("--each", action="store_true", help="also grade each kind by itself")
    arguments = arguments.parse_args()
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        folder = Path(folder)
        honest = make_class(folder / "honest", arguments.honest + arguments.hostile, 0)
        mixed = make_class(folder / "mixed", arguments.honest, arguments.hostile)
        times = {"honest": [], "mixed": []}
        for _ in range(2):
            times["honest"].append(grade(honest))
            times["mixed"].append(grade(mixed))
        best = {name: tuple(map(min, zip(*found, strict=True))) for name, found in times.items()}
        for name, (wall, cpu) in best.items():
            print(f"{name:8}{wall:8.1f} s, {cpu:8.1f} s of processor time")
        ratio = best["mixed"][0] / best["honest"][0]
        print(f"ratio   {ratio:8.2f}; of processor time {best['mixed'][1] / best['honest'][1]:.2f}")
        if arguments.each:
            each(folder)
        return int(not all(map(whole, (honest, mixed))) or ratio > MOST)


def make_class(folder, honest, hostile):
    """A class of `honest` right answers between `hostile` submissions; its `Course`."""
    course = make_course(folder)
    right = notebooks(LESSON)["right"]
    kinds = itertools.cycle([*CODE, *ENDS, *FILES])
    for number, kind in enumerate(itertools.islice(kinds, hostile)):
        put(course, f"{number:03}-{kind}", kind)
    for number in range(honest):
        student = f"{number * (hostile // honest if hostile else 1):03}-z-honest"
        (hand_in(course, student) / f"{LESSON}.ipynb").write_bytes(right)
    return course


def put(course, student, kind):
    """Hand in a hostile submission."""
    if kind in FILES:
        (hand_in(course, student) / f"{LESSON}.ipynb").write_text(FILES[kind](course), encoding="utf-8")
    else:
        hand_in(course, student, f"{CODE[kind]}\n{RIGHT}" if kind in CODE else f"{RIGHT}\n{ENDS[kind]}")


def grade(course):
    """Grade everything anew; seconds of wall time and of processor time."""
    before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    command = [Path(sys.executable).with_name("autograde"), "grade", "--force"]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=course.root, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{done.stdout[-2000:]}{done.stderr[-2000:]}")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return time.perf_counter() - started, cpu


def whole(course):
    """Whether each submission has a row in the gradebook and each honest answer its points; what is not is printed."""
    well = True
    with Gradebook(f"sqlite:///{course.root}/autograde/gradebook.db", "lora") as book:
        scores = {one.student.id: one.score for one in book.assignment_submissions(LESSON)}
    for folder in sorted(course.submitted.iterdir()):
        if folder.name not in scores or ("honest" in folder.name and not scores[folder.name]):
            print(f"{folder.name}: {scores.get(folder.name, 'no row')}")
            well = False
    return well


def each(folder):
    """What each kind costs beyond an honest submission: four of it, beside four honest ones."""
    base = grade(make_class(folder / "four", 4, 0))
    for kind in (*CODE, *ENDS, *FILES):
        course = make_class(folder / kind, 4, 0)
        for number in range(4):
            put(course, f"{number}-{kind}", kind)
        wall, cpu = grade(course)
        print(f"{kind:32}{(wall - base[0]) / 4:8.2f} s,{(cpu - base[1]) / 4:8.2f} s of processor time", flush=True)
        shutil.rmtree(course.root)


if __name__ == "__main__":
    sys.exit(main())
