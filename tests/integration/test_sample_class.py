"""The committed sample class is what its generator makes, and grading it meets every misconception by its name."""

import os
import shutil
import subprocess
import sys

import pytest
from small_class import ROOT

from autograde import registry
from autograde.authoring import sample_class
from autograde.batch.results import GRADED, Store
from autograde.project import Course, CourseError


@pytest.fixture(scope="module")
def made():
    return sample_class.make(Course(ROOT))


def test_the_committed_class_is_what_the_generator_makes(made):
    folder = Course(ROOT).submitted
    ours = (folder / sample_class.MARKER).read_text().split()
    committed = {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for student in ours
        for path in (folder / student).rglob("*")
        if path.is_file() and ".ipynb_checkpoints" not in path.parts
    }
    stale = sorted(path for path in made.keys() | committed.keys() if made.get(path) != committed.get(path))
    assert not stale, f"{stale[:3]} … are stale; run: python -m autograde.authoring.sample_class"
    assert ours == sorted({path.split("/")[0] for path in made})


def test_it_is_small_and_has_every_lesson(made):
    assert sum(map(len, made.values())) < 8e6, "bytes"
    assert {path.split("/")[1] for path in made} == set(registry.current().course.lessons)
    assert all(path.startswith("student-") for path in made)
    assert not any(b'"output_type"' in content for content in made.values()), "notebooks without outputs"


def test_made_twice_it_is_the_same(made):
    assert sample_class.make(Course(ROOT)) == made


def test_other_folders_are_never_touched(tmp_path):
    for name in ("notebooks", "tests/corpus"):
        shutil.copytree(ROOT / name, tmp_path / name)
    course = Course(tmp_path)
    mine = course.submitted / "mine" / "00_start_here" / "00_start_here.ipynb"
    mine.parent.mkdir(parents=True)
    mine.write_text("my own")
    sample_class.write(course)
    stray = course.submitted / "student-001" / "stray.txt"
    stray.write_text("left from before")
    sample_class.write(course)
    assert not stray.exists()
    sample_class.remove(course)
    assert [path.name for path in course.submitted.iterdir()] == ["mine"] and mine.read_text() == "my own"
    (course.submitted / "student-002").mkdir()
    with pytest.raises(CourseError, match="student-002 is not of the sample class"):
        sample_class.write(course)
    assert sorted(path.name for path in course.submitted.iterdir()) == ["mine", "student-002"]


@pytest.mark.slow
def test_graded_it_meets_every_misconception_and_every_damage(made, tmp_path):
    for name in ("notebooks", "solutions", "autograde/submitted"):
        shutil.copytree(ROOT / name, tmp_path / name)
    for name in ("nbgrader_config.py", "pyproject.toml"):
        shutil.copy(ROOT / name, tmp_path)
    path = os.path.dirname(sys.executable) + os.pathsep + os.environ["PATH"]
    done = subprocess.run(
        [sys.executable, "-m", "autograde", "grade"],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(ROOT), "PATH": path},
        capture_output=True,
        text=True,
        timeout=1200,
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr
    results = Store(tmp_path / "autograde" / "autograded").all(registry.current().course.lessons)
    assert len(results) == len({path.rsplit("/", 1)[0] for path in made})
    assert all(result.status == GRADED for result in results)
    met = {(verdict["exercise"], verdict["misconception"]) for result in results for verdict in result.verdicts}
    for lesson in registry.current().course.lessons:
        for check in registry.current().of_lesson(lesson):
            for known in check.misconceptions:
                assert (check.name, known.id) in met, f"{check.name}: {known.id} was not met by name"
                assert known.id in done.stdout
        of_lesson = [result for result in results if result.lesson == lesson]
        best = [result for result in of_lesson if result.score == result.points]
        assert len(best) >= sample_class.RIGHT, f"{lesson}: the right answers must get full marks"
        spoilt = [r for r in of_lesson if r.sentence or any(v["status"] != "passed" for v in r.verdicts)]
        assert len(spoilt) >= sample_class.DAMAGED + 1
    words = [result.sentence for result in results] + [v["headline"] for r in results for v in r.verdicts]
    for sign in ("is not a notebook", "twice", "was deleted"):
        assert any(sign in sentence for sentence in words), sign
