"""The sample class: it looks like a class, it is the same at every run, and it never replaces anyone's work."""

import os
import shutil
import subprocess
import sys
from collections import Counter
from dataclasses import replace

import nbformat
import pytest
from small_class import ROOT
from warm_cli import autograde

from autograde import registry
from autograde.authoring import damages, sample_class, sample_files
from autograde.batch.results import GRADED, Store
from autograde.notebook.cells import grade_id
from autograde.project import Course

LESSON = "03_two_thin_products"
COURSE = Course(ROOT)
WITH_CHECKS = [lesson for lesson in COURSE.lessons if registry.of(COURSE).checks_of(lesson)]
# In the others there is nothing to hand in.


@pytest.fixture(scope="module")
def made():
    return sample_class.make(COURSE)


@pytest.fixture(scope="module")
def known():
    return {lesson: sample_class.known_answers(COURSE, lesson) for lesson in WITH_CHECKS}


@pytest.fixture
def course(tmp_path):
    """A course of one lesson, with its known answers and nothing handed in."""
    for name in (f"notebooks/{LESSON}", f"solutions/{LESSON}"):
        shutil.copytree(ROOT / name, tmp_path / name)
    (tmp_path / "tests" / "corpus").mkdir(parents=True)
    shutil.copy(ROOT / "tests" / "corpus" / f"{LESSON}.py", tmp_path / "tests" / "corpus")
    for name in ("nbgrader_config.py", "pyproject.toml"):
        shutil.copy(ROOT / name, tmp_path)
    return Course(tmp_path)


def command(course, *words):
    return autograde("sample-class", *words, cwd=course.root)


def sources(content):
    """``{grade_id: source}`` of a notebook's file; empty for a file that is not a notebook."""
    try:
        cells = nbformat.reads(content.decode(), as_version=4).cells
    except Exception:
        return {}
    return {grade_id(cell): cell.source for cell in cells if grade_id(cell)}


def test_made_twice_it_is_the_same(made):
    assert sample_class.make(COURSE) == made


def test_thirty_students_hand_in_most_lessons(made):
    lessons = {student: set() for student in sample_class.students()}
    for path in made:
        student, lesson, _ = path.split("/")
        lessons[student].add(lesson)
    assert len(lessons) == 30
    handed_in = Counter(map(len, lessons.values()))
    every = len(WITH_CHECKS)
    assert handed_in[every] >= 10 and any(handed_in[few] for few in range(every - 2))
    for lesson in WITH_CHECKS:
        assert 20 <= sum(lesson in theirs for theirs in lessons.values()) <= 29


def test_right_answers_come_in_several_styles_and_mistakes_are_unevenly_common(made, known):
    right, wrong, unfinished = Counter(), Counter(), Counter()
    for path, content in made.items():
        lesson = path.split("/")[1]
        for exercise in known[lesson]:
            source = sources(content).get(exercise.name, "").strip()
            unfinished[lesson] += "NotImplementedError" in source and source not in map(str.strip, exercise.right)
            right[exercise.name, source] += source in map(str.strip, exercise.right)
            for misconception, texts in exercise.wrong.items():
                wrong[exercise.name, misconception] += misconception != "" and source in map(str.strip, texts)
    for lesson in WITH_CHECKS:
        assert unfinished[lesson]
        for exercise in known[lesson]:
            assert sum(1 for (name, _), n in right.items() if name == exercise.name and n) >= 3
    counts = sorted((n for n in wrong.values() if n), reverse=True)
    assert sum(counts[: len(counts) // 5]) > 0.45 * sum(counts), "a few are very common"
    assert sum(n == 1 for n in counts) > len(counts) / 4, "and many are rare"


def test_no_output_and_no_name_is_in_it(made):
    assert not any(b'"output_type"' in content for content in made.values())
    assert {path.split("/")[0] for path in made} == set(sample_class.students())


def test_another_lesson_changes_nothing_in_the_first(course, made):
    alone = sample_class.make(course)
    assert alone == {path: content for path, content in made.items() if path.split("/")[1] == LESSON}


@pytest.mark.parametrize("taken", [0, 1, -1])
def test_another_exercise_changes_nobodys_answers_to_the_first(known, taken):
    """Seen from the end: without one exercise, each answer to another is the same, or the student stopped at it."""
    released = nbformat.read(COURSE.release(LESSON), as_version=4)
    whole = known[LESSON]
    fewer = [exercise for exercise in whole if exercise is not whole[taken]]
    stopped = 0
    for student in sample_class.students():
        before, after = (
            [sources(content) for content in sample_class.hand_in(student, LESSON, released, answers).values()]
            for answers in (fewer, whole)
        )
        assert len(before) == len(after)
        if sample_class.chance("damaged", student, LESSON) < sample_class.DAMAGED:
            continue
        if sample_class.chance("stops", student, LESSON, whole[taken].name) < sample_class.UNFINISHED:
            stopped += 1
            continue
        for exercise in fewer:
            assert [cells[exercise.name] for cells in before] == [cells[exercise.name] for cells in after]
    assert stopped < 6


def test_another_mistake_takes_answers_from_others_and_changes_nothing_else(known):
    released = nbformat.read(COURSE.release(LESSON), as_version=4)
    first, *rest = known[LESSON]
    more = replace(first, wrong=first.wrong | {"new": ["def new(): pass"]})
    changed = set()
    for student in sample_class.students():
        for (_, before), (_, after) in zip(
            sample_class.hand_in(student, LESSON, released, [first, *rest]).items(),
            sample_class.hand_in(student, LESSON, released, [more, *rest]).items(),
            strict=True,
        ):
            if before != after and b"def new" not in after:
                changed.add(student)
    assert not changed


@pytest.mark.parametrize("damage", damages.ALL, ids=lambda damage: damage.__name__)
def test_each_damage_changes_the_file(damage):
    released = nbformat.read(COURSE.release(LESSON), as_version=4)
    sound = {f"{LESSON}.ipynb": damages.as_bytes(released)}
    assert damage(released, f"{LESSON}.ipynb", "lora_delta") != sound


# On disk


def test_where_work_was_handed_in_nothing_is_written(course):
    mine = course.submitted / "mine" / LESSON / f"{LESSON}.ipynb"
    mine.parent.mkdir(parents=True)
    mine.write_text("my own")
    refused = command(course)
    assert refused.returncode == 2 and "holds submissions" in refused.stderr and "--force" in refused.stderr
    assert [path.name for path in course.submitted.iterdir()] == ["mine"]
    assert command(course, "--if-empty").returncode == 0
    assert [path.name for path in course.submitted.iterdir()] == ["mine"]
    assert command(course, "--force").returncode == 0
    assert (course.submitted / "student-01").exists() and mine.read_text() == "my own"
    removed = command(course, "--remove")
    assert removed.returncode == 0 and "submissions of invented students removed" in removed.stdout
    assert [path.name for path in course.submitted.iterdir()] == ["mine"] and mine.read_text() == "my own"


def test_with_force_only_the_sample_class_is_replaced(course):
    assert command(course, "--if-empty").returncode == 0
    written = sample_files.is_empty(course), sorted(course.submitted.rglob("*.ipynb"))
    file = written[1][0]
    stray = file.parent / "notes.txt"
    stray.write_text("mine")
    assert command(course).returncode == 2
    assert command(course, "--force").returncode == 0
    assert stray.read_text() == "mine" and sorted(course.submitted.rglob("*.ipynb")) == written[1]

    file.write_text("worked in")
    for word in ("--force", "--remove"):
        done = command(course, word)
        assert done.returncode == 2 and "was changed after the sample class was made" in done.stderr
        assert file.read_text() == "worked in" and stray.exists()


def test_a_student_of_the_same_name_stays(course):
    real = course.submitted / "student-02" / LESSON / f"{LESSON}.ipynb"
    real.parent.mkdir(parents=True)
    real.write_text("real")
    done = command(course, "--force")
    assert done.returncode == 2 and "student-02 is not of the sample class" in done.stderr
    assert [path.name for path in course.submitted.iterdir()] == ["student-02"] and real.read_text() == "real"


def test_without_the_known_answers_it_says_what_is_missing(course):
    shutil.rmtree(course.root / "tests")
    done = command(course)
    assert done.returncode == 2 and "tests/corpus" in done.stderr and "full checkout" in done.stderr
    assert "Traceback" not in done.stderr and not course.submitted.exists()


@pytest.mark.slow
def test_graded_the_right_get_all_their_points_and_mistakes_their_names(course):
    assert command(course).returncode == 0
    path = os.path.dirname(sys.executable) + os.pathsep + os.environ["PATH"]
    done = subprocess.run(
        [sys.executable, "-m", "autograde", "grade", LESSON],
        cwd=course.root,
        env=os.environ | {"PYTHONPATH": str(ROOT), "PATH": path},
        capture_output=True,
        text=True,
        timeout=1800,
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr
    results = {result.student: result for result in Store(course.root / "autograde" / "autograded").all([LESSON])}
    files = {path.parts[-3]: path for path in course.submitted.rglob("*") if path.is_file() and path.suffix == ".ipynb"}
    assert results.keys() == files.keys() and all(result.status == GRADED for result in results.values())
    known = sample_class.known_answers(course, LESSON)
    names = Counter()
    for student, file in files.items():
        if sample_class.chance("damaged", student, LESSON) < sample_class.DAMAGED:
            continue
        cells = sources(file.read_bytes())
        verdicts = {verdict["exercise"]: verdict for verdict in results[student].verdicts}
        for exercise in known:
            verdict, source = verdicts[exercise.name], cells[exercise.name].strip()
            if source in map(str.strip, exercise.right):
                assert verdict["score"] == verdict["points"], (student, source)
            for misconception, texts in exercise.wrong.items():
                if source in map(str.strip, texts):
                    assert (verdict["misconception"] or "") == misconception, (student, source)
                    names[misconception] += 1
    assert len(names) >= 8
