"""Grading measured: the same submissions through plain nbgrader and through ours, and the cost against the class's size.

    python benchmarks/bench_grading.py [--quick] [--lesson 03_two_thin_products] [--sizes 10,100,1000]

Plain nbgrader is its stock configuration with a kernel for each notebook. It is given the same checks, run in the
learner's kernel: ``check.x.judge(x).score`` as the last line of the test cell, which it takes for partial credit.
Submissions are those of the sample class that hold what is graded and what it needs, under new names as often as wanted.
"""

import argparse
import json
import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import nbformat

from autograde.course.layout import choose, find_course
from autograde.grading.damage import grade_id, is_demonstration

ROOT = Path(__file__).resolve().parents[1]
STOCK = "c = get_config()\nc.CourseDirectory.course_id = 'plain'\n"


def main():
    """Measure and print."""
    words = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    words.add_argument("--lesson", default="03", help="whose submissions")
    words.add_argument("--plain", type=int, default=12, help="submissions for plain nbgrader, some four seconds each")
    words.add_argument("--sizes", default="10,100,1000", help="class sizes for ours")
    words.add_argument("--quick", action="store_true", help="the same as --plain 3 --sizes 3,20")
    given = words.parse_args()
    plain, sizes = (3, [3, 20]) if given.quick else (given.plain, [int(size) for size in given.sizes.split(",")])
    (lesson,) = choose([given.lesson])
    sources = _sound_submissions(lesson)
    cores = sorted(os.sched_getaffinity(0))
    print(f"{lesson}: {len(sources)} different submissions, {len(cores)} cores")
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        seconds, theirs = _plain(folder / "plain", lesson, sources, plain, cores[:1])
        each = seconds / plain
        print(f"\nplain nbgrader, 1 core: {plain} submissions in {seconds:.1f} s, {each:.2f} s each")
        _ours_against_theirs(folder / "same", lesson, sources, plain, cores, theirs)
        _by_size(folder, lesson, sources, sizes, cores, each)


def _sound_submissions(lesson):
    """Notebooks of the sample class that nbgrader's stock configuration can grade: whole ones, and undamaged."""
    course = find_course(ROOT)
    released = nbformat.read(course.release(lesson), as_version=4)
    wanted = sorted(grade_id(cell) for cell in released.cells if grade_id(cell))
    demonstrations = {cell.source for cell in released.cells if is_demonstration(cell)}
    found = []
    for path in sorted(course.submitted.glob(f"student-*/{lesson}/{lesson}.ipynb")):
        try:
            notebook = nbformat.read(path, as_version=4)
        except Exception:  # a damaged one
            continue
        graded = [(grade_id(cell), cell.cell_type) for cell in notebook.cells if grade_id(cell)]
        if sorted(name for name, _ in graded) == wanted and {kind for _, kind in graded} == {"code"}:
            notebook.cells = [cell for cell in notebook.cells if cell.source not in demonstrations]
            if "_exit" not in nbformat.writes(notebook):
                found.append(notebook)
    if not found:
        sys.exit(f"the sample class has no submissions of {lesson}; run: python -m autograde.grading.sample_class")
    return found


def _hand_in(folder, lesson, sources, count):
    for number in range(count):
        target = folder / f"student-{number:05}" / lesson / f"{lesson}.ipynb"
        target.parent.mkdir(parents=True)
        target.write_text(nbformat.writes(sources[number % len(sources)]), encoding="utf-8")


def _plain(folder, lesson, sources, count, cores):
    """Seconds that ``nbgrader autograde`` takes, and the marks it gives."""
    solved = nbformat.read(find_course(ROOT).solved(lesson), as_version=4)
    for cell in solved.cells:
        if (grade_id(cell) or "").startswith("check_"):
            call, _, rest = cell.source.strip().partition("(")
            cell.source = f"{call}.judge({rest}.score"
    source = folder / "source" / lesson / f"{lesson}.ipynb"
    source.parent.mkdir(parents=True)
    nbformat.write(solved, source)
    (folder / "nbgrader_config.py").write_text(STOCK)
    _run(["nbgrader", "generate_assignment", lesson], folder, cores)
    _hand_in(folder / "submitted", lesson, sources, count)
    started = time.perf_counter()
    _run(["nbgrader", "autograde", lesson], folder, cores)
    return time.perf_counter() - started, _marks(folder / "gradebook.db")


def _ours(folder, lesson, sources, count, cores):
    """Seconds that ``autograde grade`` takes on these cores, the marks, and the seconds in sessions and judging."""
    shutil.rmtree(folder, ignore_errors=True)
    for kind in ("notebooks", "solutions"):
        shutil.copytree(ROOT / kind / lesson, folder / kind / lesson)
    shutil.copy(ROOT / "nbgrader_config.py", folder)
    _hand_in(folder / "autograde" / "submitted", lesson, sources, count)
    started = time.perf_counter()
    _run(["autograde", "grade", "--jobs", str(len(cores))], folder, cores)
    seconds = time.perf_counter() - started
    results = (folder / "autograde" / "autograded" / ".results").glob("*/*.json")
    inside = sum(json.loads(path.read_bytes())["seconds"] for path in results)
    return seconds, _marks(folder / "autograde" / "gradebook.db"), inside


def _run(words, folder, cores):
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    environment = os.environ | {"PATH": path, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-m", *words],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        preexec_fn=lambda: os.sched_setaffinity(0, cores),
    )
    if done.returncode:
        sys.exit(f"{' '.join(words)} failed:\n{done.stdout[-2000:]}{done.stderr[-2000:]}")


def _marks(database):
    query = """select student_id, base_cell.name, auto_score from grade join base_cell on base_cell.id = cell_id
        join submitted_notebook n on n.id = grade.notebook_id join submitted_assignment s on s.id = n.assignment_id"""
    with sqlite3.connect(database) as db:
        return {(student, cell): score for student, cell, score in db.execute(query)}


def _ours_against_theirs(folder, lesson, sources, count, cores, theirs):
    for used in (cores[:1], cores):
        _, ours, _ = _ours(folder, lesson, sources, count, used)
        different = [key for key in theirs if ours.get(key) != theirs[key]]
        print(f"scores, {len(used)} core{'s'[: len(used) > 1]}: {len(theirs)} compared, {len(different)} different")
        for student, cell in different:
            print(f"  {student} {cell}: plain {theirs[student, cell]}, ours {ours.get((student, cell))}")
        if set(ours) != set(theirs):
            sys.exit("the two gradebooks do not have the same cells")


def _by_size(folder, lesson, sources, sizes, cores, plain_each):
    print("\n  class  cores  seconds  each (ms)  of it in box and judge  x plain nbgrader")
    fastest = {}
    for count in sizes:
        for used in dict.fromkeys((tuple(cores[:1]), tuple(cores))):
            seconds, _, inside = _ours(folder / "size", lesson, sources, count, used)
            each = seconds / count
            fastest[count, len(used)] = each
            print(
                f"{count:7,} {len(used):6} {seconds:8.1f} {1000 * each:10.1f} "
                f"{1000 * inside / count / len(used):23.1f} {plain_each / each:17.1f}"
            )
    count = sizes[-1]
    if len(cores) > 1:
        print(f"\n{len(cores)} cores against 1, {count:,} submissions: "
              f"{fastest[count, 1] / fastest[count, len(cores)]:.2f} times as fast")  # fmt: skip


if __name__ == "__main__":
    main()
