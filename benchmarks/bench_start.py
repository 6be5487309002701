"""How long the commands take to start, beside a bare ``import torch``: medians of rounds in which all run in turn.

    python benchmarks/bench_start.py [--rounds 5]

On one core: `autograde check` of a file with two functions, and `autograde grade` of a single submission of the first lesson, with a
new gradebook and with one that exists. On all cores: `autograde build --check`, with nothing changed. Times are wall time.
Exit status 1 if a ratio is above its limit.
"""

import argparse
import statistics
import sys
import tempfile
from pathlib import Path

from bench_grading import CORES, ROOT, Class, class_of, notebooks, run

from autograde import registry
from autograde.authoring.corpus import samples

LESSON, FUNCTIONS = "05_counting", ("lora_parameters", "reduction")  # of one line each
LIMITS = {"autograde check": 1.4, "autograde grade, new gradebook": 3.0, "autograde grade": 3.0}


def main():
    """Print the table; the exit status."""
    arguments = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    arguments.add_argument("--rounds", type=int, default=5)
    rounds = arguments.parse_args().rounds
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        taken = _measure(Path(folder), rounds)
    bare = statistics.median(taken["import torch"])
    too_slow = False
    print(f"{'command':34}{'seconds':>9}{'/ import torch':>16}{'limit':>8}")
    for name, seconds in taken.items():
        ratio = statistics.median(seconds) / bare
        limit = LIMITS.get(name)
        too_slow = too_slow or (limit is not None and ratio > limit)
        print(f"{name:34}{statistics.median(seconds):9.2f}{ratio:16.2f}{limit or '':>8}")
    return int(too_slow)


def _measure(folder, rounds):
    """``{name: [seconds]}`` of each command."""
    answers = folder / "answers.py"
    course = registry.current().course
    known = {known.exercise: known.source for known in samples(course, LESSON) if known.misconception is None}
    answers.write_text("\n\n".join(known[name] for name in FUNCTIONS))
    first = course.lessons[0]
    handed_in = Class(folder / "course", class_of({first: notebooks(first)}, 1), plain=False)
    book = handed_in.root / "autograde" / "gradebook.db"
    grade = ["autograde", "grade", "--force", "--jobs", "1"]
    commands = {
        "import torch": ([sys.executable, "-c", "import torch"], ROOT, CORES[:1]),
        "autograde check": (["autograde", "check", str(answers)], ROOT, CORES[:1]),
        "autograde grade, new gradebook": (grade, handed_in.root, CORES[:1]),
        "autograde grade": (grade, handed_in.root, CORES[:1]),
        "autograde build --check": (["autograde", "build", "--check"], ROOT, CORES),
    }
    taken = {name: [] for name in commands}
    for _ in range(rounds):
        book.unlink(missing_ok=True)
        for name, (command, where, cores) in commands.items():
            taken[name].append(run(*command, where=where, cores=cores))
    return taken


if __name__ == "__main__":
    sys.exit(main())
