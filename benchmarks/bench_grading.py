"""`autograde grade` beside plain nbgrader: the same submissions, the marks compared one by one, and the ratio of times.

    python benchmarks/bench_grading.py [LESSON…] [--sizes 10,100,1000]

Each lesson that has checks is handed in twice, as whole notebooks with all their pictures: once with every exercise
right, once with every exercise wrong in a known way. Plain nbgrader (its own Execute, a fresh kernel for each notebook,
in which the checks are judged too) grades these, and so does `autograde grade`. Then `autograde grade` alone grades
classes of several sizes, made of copies of them. "Entering" is what it takes to put the results of all into a new
gradebook.

Times are wall time. Plain nbgrader runs every cell; ours passes over demonstrations that were left as they were. So that
plain nbgrader gives partial credit, too, its check cells end in the score, ``check.x.judge(x).score``.
Exit status 1 if a mark differs, or if ours was not faster.
"""

import argparse
import copy
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import nbformat
from nbgrader.api import Gradebook

from autograde import registry
from autograde.authoring.corpus import samples
from autograde.notebook.cells import grade_id
from autograde.project import Course

ROOT = Path(__file__).resolve().parent.parent
CORES = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else list(range(os.cpu_count()))
# What known answers use without importing it (tests/corpus/README.md).
IMPORTS = "import math\nimport numpy as np\nimport torch\nfrom torch import nn\n"
PLAIN = """\
c = get_config()
c.CourseDirectory.course_id = "lora"
c.CourseDirectory.root = {root!r}
c.CourseDirectory.source_directory = "solutions"
c.CourseDirectory.release_directory = "notebooks"
c.CourseDirectory.submitted_directory = "autograde/submitted"
c.CourseDirectory.autograded_directory = "autograde/autograded"
c.CourseDirectory.feedback_directory = "autograde/feedback"
c.CourseDirectory.db_url = "sqlite:///{root}/autograde/gradebook.db"
c.Execute.timeout = 120
"""


def notebooks(lesson):
    """What is handed in for a lesson: one notebook with right answers, and one with wrong ones.

    Returns:
        ``{"right": bytes, "wrong": bytes}``, with the outputs of the solved notebook in both.
    """
    course = Course(ROOT)
    released = nbformat.read(course.release(lesson), as_version=4)
    solved = {cell.id: cell for cell in nbformat.read(course.solved(lesson), as_version=4).cells}
    subjects = {check.name: check.subject for check in registry.current().checks_of(lesson)}
    right, wrong = {}, {}
    for sample in samples(course, lesson):
        subject = subjects.get(sample.exercise, sample.exercise)
        (right if sample.misconception is None else wrong).setdefault(subject, IMPORTS + sample.source)
    made = {}
    for kind, answers in (("right", right), ("wrong", wrong)):
        notebook = copy.deepcopy(released)
        for cell in notebook.cells:
            cell.source = answers.get(grade_id(cell), cell.source).strip()
            if cell.cell_type == "code" and not grade_id(cell):
                cell.outputs = solved[cell.id].outputs
        made[kind] = (nbformat.writes(notebook) + "\n").encode()
    return made


def run(*command, where, cores=CORES):
    """Seconds that a command takes in the folder `where`, on the processors `cores`; the program ends if it fails."""
    bin_folder = str(Path(sys.executable).parent)
    environment = os.environ | {"PYTHONPATH": str(ROOT), "PATH": f"{bin_folder}{os.pathsep}{os.environ['PATH']}"}
    pinned = {"preexec_fn": lambda: os.sched_setaffinity(0, cores)} if hasattr(os, "sched_setaffinity") else {}
    started = time.perf_counter()
    done = subprocess.run(command, cwd=where, env=environment, capture_output=True, text=True, **pinned)
    if done.returncode:
        sys.exit(f"{' '.join(command)} failed:\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
    return time.perf_counter() - started


class Class:
    """A copy of the course in a temporary folder, with a class.

    Args:
        folder: where.
        handed_in: ``{(student, lesson): bytes}``.
        plain: whether it is nbgrader's own configuration.
    """

    def __init__(self, folder, handed_in, plain):
        self.root, self.handed_in, self.plain = folder, handed_in, plain
        self.lessons = sorted({lesson for _, lesson in handed_in})
        for kind in ("solutions", "notebooks"):
            shutil.copytree(ROOT / kind, folder / kind)
        for (student, lesson), content in handed_in.items():
            path = folder / "autograde" / "submitted" / student / lesson / f"{lesson}.ipynb"
            path.parent.mkdir(parents=True)
            path.write_bytes(content)
        if plain:
            (folder / "nbgrader_config.py").write_text(PLAIN.format(root=str(folder)))
            for lesson in self.lessons:
                self._score_in_the_kernel(Course(folder).solved(lesson))
                self._run("nbgrader", "generate_assignment", "--force", lesson)
        else:
            for name in ("nbgrader_config.py", "pyproject.toml"):
                shutil.copy(ROOT / name, folder)

    @staticmethod
    def _score_in_the_kernel(path):
        notebook = nbformat.read(path, as_version=4)
        for cell in notebook.cells:
            if cell.metadata.get("nbgrader", {}).get("grade"):
                call, _, subject = cell.source.strip().partition("(")
                cell.source = f"{call}.judge({subject}.score"
        nbformat.write(notebook, path)

    def _run(self, *command, cores=CORES):
        return run(*command, where=self.root, cores=cores)

    def grade(self, cores=CORES):
        """Grade everything anew; seconds by lesson, or with our grader the seconds of the whole under None."""
        if not self.plain:
            return {None: self._run("autograde", "grade", "--force", "--jobs", str(len(cores)), cores=cores)}
        taken = {}
        for lesson in self.lessons:
            whole = self._run("nbgrader", "autograde", lesson, "--force", cores=cores)
            taken[lesson] = whole - self._run("nbgrader", "autograde", lesson, cores=cores)  # all skipped: its start
        return taken

    def enter(self):
        """Seconds that it takes to enter all results into a new gradebook, without any grading."""
        (self.root / "autograde" / "gradebook.db").unlink()
        return self._run("autograde", "grade")

    def marks(self):
        """``{(student, lesson, check): score}``, from the gradebook."""
        with Gradebook(f"sqlite:///{self.root}/autograde/gradebook.db", "lora") as book:
            return {
                (student, lesson, grade.name): grade.score
                for student, lesson in self.handed_in
                for grade in book.find_submission_notebook(lesson, lesson, student).grades
            }


def main():
    """Print the tables; the exit status."""
    arguments = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    arguments.add_argument("lessons", nargs="*", metavar="LESSON", help="default: all")
    arguments.add_argument("--sizes", default="10,100,1000", help="of the classes graded by ours alone")
    arguments = arguments.parse_args()
    known = registry.current()
    graded = [lesson for lesson in known.course.lessons if known.checks_of(lesson)]
    asked = arguments.lessons
    lessons = [lesson for lesson in graded if lesson in asked or lesson[:2] in asked] or graded
    handed_in = {lesson: notebooks(lesson) for lesson in lessons}
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        return _run(Path(folder), handed_in, [int(size) for size in arguments.sizes.split(",") if size])


def _run(folder, handed_in, sizes):
    pairs = {(kind, lesson): content for lesson, kinds in handed_in.items() for kind, content in kinds.items()}
    plain = Class(folder / "plain", pairs, plain=True)
    ours = Class(folder / "ours", pairs, plain=False)
    print(f"{len(pairs)} submissions, {len(CORES)} cores; one core, seconds for one submission more\n")
    print(f"{'lesson':24}{'plain nbgrader':>16}{'ours':>8}{'ratio':>8}")
    ours.grade(CORES[:1])
    slow, fast = plain.grade(CORES[:1]), {}
    for lesson, seconds in slow.items():
        fast[lesson] = per_submission(folder / f"of-{lesson}", {lesson: handed_in[lesson]})
        print(f"{lesson:24}{seconds / 2:16.2f}{fast[lesson]:8.3f}{seconds / 2 / fast[lesson]:8.1f}", flush=True)
    mean = sum(slow.values()) / len(pairs)
    print(f"{'all':24}{mean:16.2f}{sum(fast.values()) / len(fast):8.3f}{mean * len(fast) / sum(fast.values()):8.1f}")
    theirs, marks = plain.marks(), ours.marks()
    differ = sorted(key for key in theirs.keys() | marks.keys() if theirs.get(key) != marks.get(key))
    print(f"\n{len(theirs)} marks compared, {len(differ)} differ")
    for key in differ:
        print(f"  {' '.join(key)}: plain nbgrader {theirs.get(key)}, ours {marks.get(key)}")

    print("\na class of copies of these, seconds for each, everything included (start, gradebook)\n")
    columns = ("one core", f"{len(CORES)} cores", "speed-up", "plain / ours", "entering")
    print(f"{'submissions':>12}" + "".join(f"{column:>14}" for column in columns))
    ratio = 0.0
    for size in sizes:
        of_size = Class(folder / f"class-{size}", class_of(handed_in, size), plain=False)
        one, every = (of_size.grade(cores)[None] / size for cores in (CORES[:1], CORES))
        ratio = mean / one
        entering = of_size.enter() / size
        print(f"{size:12}{one:12.3f} s{every:12.3f} s{one / every:14.2f}{ratio:14.1f}{entering:12.4f} s", flush=True)
    return int(bool(differ) or (bool(sizes) and ratio < 1))


def class_of(handed_in, size):
    """A class of `size` submissions: the lessons in turn, right and wrong ones in turn."""
    contents = [(lesson, kinds[kind]) for kind in ("right", "wrong") for lesson, kinds in handed_in.items()]
    chosen = [contents[number % len(contents)] for number in range(size)]
    return {(f"student-{number:05d}", lesson): content for number, (lesson, content) in enumerate(chosen)}


def per_submission(folder, handed_in, few=4, many=84):
    """Seconds for one submission more on one core: the difference between two class sizes."""
    seconds = [
        Class(folder / str(size), class_of(handed_in, size), plain=False).grade(CORES[:1])[None] for size in (few, many)
    ]
    return (seconds[1] - seconds[0]) / (many - few)


if __name__ == "__main__":
    sys.exit(main())
