"""A class of damaged submissions through nbgrader's own commands: each costs itself only, and says what happened."""

import hashlib
import html
import re

import pytest
import sample_course
from damaged import ALL, CASES, SAID
from sample_course import LESSON, POINTS

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def course(tmp_path_factory):
    """A graded class: a right submission before and after all the damaged ones, and feedback for each."""
    with pytest.MonkeyPatch.context() as patch:
        course = sample_course.make(tmp_path_factory.mktemp("course"), patch)
        with open(course.root / "nbgrader_config.py", "a", encoding="utf-8") as config:
            config.write('c.Execute.timeout = 3\nc.Execute.limits = {"probe": 2, "grace": 1}\n')
        import nbformat

        answered = sample_course.plant(nbformat.read(course.release(LESSON), 4), sample_course.RIGHT)
        for student in ("aaron", "zoe"):
            sample_course.hand_in(course, student, answered)
        for name, case in CASES.items():
            if case.file:
                sample_course.hand_in(course, name, case.file(answered))
            else:
                folder = course.submitted / name / LESSON
                folder.mkdir(parents=True)
                case.lay(folder, answered)
        (course.submitted / "bad_date" / LESSON).mkdir(parents=True)
        (course.submitted / "bad_date" / LESSON / "timestamp.txt").write_text("yesterday, I think", encoding="utf-8")
        before = snapshot(course)
        course_log = sample_course.run(course, "nbgrader", "autograde", LESSON)
        course_log += sample_course.run(course, "nbgrader", "generate_feedback", LESSON)
        assert snapshot(course) == before, "a submission was changed"
        yield course, course_log


def snapshot(course):
    return {
        str(path): (path.is_symlink(), path.stat().st_mtime_ns, hashlib.sha256(path.read_bytes()).hexdigest())
        for path in course.submitted.rglob("*")
        if path.is_file()
    }


def page_text(page):
    return re.sub(r"\s+", " ", html.unescape(re.sub(r"<[^>]+>", "", page)))


def test_all_were_graded(course):
    course, log = course
    graded = {
        path.parent.parent.name for path in (course.root / "autograde" / "autograded").glob(f"*/{LESSON}/*.ipynb")
    }
    assert graded == {"aaron", "zoe", *CASES}
    errors = [line for line in log.splitlines() if re.search("error", line, re.IGNORECASE)]
    assert len(errors) == 1 and "bad_date" in errors[0] and "timestamp.txt that holds no date" in errors[0], errors


@pytest.mark.parametrize("student", ["aaron", "zoe"])
def test_the_others_have_all_their_points(course, student):
    assert sample_course.scores(course[0], student) == POINTS


@pytest.mark.parametrize("name", CASES)
def test_each_costs_what_is_damaged_and_nothing_else(course, name):
    case = CASES[name]
    expected = {exercise: 0.0 if exercise in case.says else POINTS[exercise] for exercise in ALL}
    assert sample_course.scores(course[0], name) == expected


@pytest.mark.parametrize("name", [name for name, case in CASES.items() if case.says])
def test_each_says_what_happened_where_the_learner_reads_it(course, name):
    text = page_text(sample_course.feedback(course[0], name))
    data = sample_course.autograded(course[0], name).metadata.autograde.graded.verdicts
    assert set(data) == set(ALL)
    for exercise, said in CASES[name].says.items():
        assert SAID[said] in text, text[-1500:]
        assert SAID[said] in re.sub(r"\s+", " ", data[exercise].message)
        assert data[exercise].status != "passed"


def test_the_graded_notebooks_say_how_they_were_graded(course):
    course, _ = course
    data = sample_course.autograded(course, "endless_cell").metadata.autograde
    assert data.lesson == LESSON and len(data.version) == 16 and data.unreadable is None and data.damage == {}
    graded = data.graded
    assert graded.seconds > 3 and graded.isolation.level and graded.course_version
    assert {name: verdict.status for name, verdict in graded.verdicts.items()} == {
        "double": "passed", "halve": "missing", "total": "passed"}  # fmt: skip
    unreadable = sample_course.autograded(course, "not_json").metadata.autograde
    assert SAID["not json"] in unreadable.unreadable and unreadable.graded.isolation is None


def test_what_a_cell_had_shown_before_it_ended_the_process_is_there(course):
    assert "last words" in page_text(sample_course.feedback(course[0], "exits"))


def test_links_lead_nowhere(course):
    """nbgrader copies what lies beside a notebook, and hands it back with the feedback."""
    course, _ = course
    for step in ("autograded", "feedback"):
        folder = course.root / "autograde" / step / "links_beside" / LESSON
        assert {path.name for path in folder.iterdir()} - {f"{LESSON}.ipynb", f"{LESSON}.html"} == {"notes.txt"}
