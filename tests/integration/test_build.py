"""The build's gates: each is shown to hold, and to refuse when what it guards against is there."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest

from autograde.authoring import build, execute, gates, release
from autograde.authoring.lesson import read
from autograde.project import Course, CourseError, choose

ROOT = Path(__file__).parents[2]
LESSON = "00_start_here"


def slow(*values):
    """Parameters of a test that `make test` leaves out."""
    return pytest.param(*values, marks=pytest.mark.slow)


@pytest.fixture
def course(tmp_path):
    """A copy of the course with one built lesson."""
    for name in ("nbgrader_config.py", "pyproject.toml"):
        shutil.copy(ROOT / name, tmp_path)
    for folder in ("solutions", "notebooks"):
        shutil.copytree(ROOT / folder / LESSON, tmp_path / folder / LESSON)
    shutil.copy(ROOT / "solutions" / f"{LESSON}.py", tmp_path / "solutions")
    return Course(tmp_path)


@pytest.fixture
def no_kernel(monkeypatch):
    """For the gates that refuse before anything has to run."""

    def refuse(*_):
        raise AssertionError("the gate let it through to execution")

    monkeypatch.setattr(execute, "run", refuse)


def rewrite(course, old, new):
    path = course.source(LESSON)
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new), encoding="utf-8")


def snapshot(course):
    return {path: path.read_bytes() for path in course.root.rglob("*.ipynb")}


def test_what_is_built_stays(course, no_kernel):
    before = snapshot(course)
    assert build.build(course, LESSON) == "unchanged"
    assert snapshot(course) == before


@pytest.mark.slow
def test_building_twice_gives_the_same_bytes(course):
    assert build.build(course, LESSON, force=True) == "built"
    first = snapshot(course)
    assert build.build(course, LESSON, force=True) == "built"
    assert snapshot(course) == first


def test_where_the_kernel_cuts_its_output_leaves_no_trace(course):
    pause = "import sys, time\nprint('one', flush=True)\ntime.sleep(0.5)\nprint('two')\nprint('!', file=sys.stderr)"
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(pause)])
    outputs = execute.run(notebook, course).cells[0].outputs
    assert [(output.name, output.text) for output in outputs] == [("stdout", "one\ntwo\n"), ("stderr", "!\n")]


@pytest.mark.slow
def test_a_change_of_source_is_drift_until_it_is_built(course):
    build.verify(course, LESSON)
    rewrite(course, "## Predict first", "## Guess first")
    with pytest.raises(CourseError, match="has changed since"):
        build.verify(course, LESSON)
    assert build.build(course, LESSON) == "built"
    assert "Guess first" in course.release(LESSON).read_text(encoding="utf-8")
    build.verify(course, LESSON)


def test_a_notebook_changed_by_hand_is_drift(course):
    for path in (course.solved(LESSON), course.release(LESSON)):
        kept = path.read_text(encoding="utf-8")
        path.write_text(kept.replace("Predict first", "Predict later"), encoding="utf-8")
        with pytest.raises(CourseError, match=r"by hand|not what the source makes"):
            build.verify(course, LESSON)
        path.write_text(kept, encoding="utf-8")


def test_a_learners_work_is_not_overwritten(course):
    path = course.release(LESSON)
    notebook = nbformat.read(path, as_version=4)
    cell = next(c for c in notebook.cells if c["id"] == "linear_by_hand")
    cell.source = cell.source.replace("raise NotImplementedError()", "return x @ weight.T")
    nbformat.write(notebook, path)
    worked_in = path.read_bytes()
    with pytest.raises(CourseError, match="--force"):
        build.build(course, LESSON)
    assert path.read_bytes() == worked_in
    assert build.build(course, LESSON, force=True) == "built"
    assert b"return x @ weight.T" not in path.read_bytes()


def test_a_release_that_was_only_saved_again_counts_as_untouched(course):
    path = course.release(LESSON)
    path.write_text(json.dumps(json.loads(path.read_text(encoding="utf-8")), indent=3), encoding="utf-8")
    assert not release.edited(path)


@pytest.mark.parametrize(
    "leak",
    [
        "Remember `product if bias is None else product + bias`.",
        "Remember:\n\n    x  @  weight . T",
        "<details><summary>Hint 4</summary><code>return product if bias is None else product+bias</code></details>",
    ],
)
def test_an_answer_in_the_prose_is_refused(course, leak):
    rewrite(course, "## How a check answers", leak)
    solved = read(course, LESSON)
    with pytest.raises(CourseError, match="holds the answer"):
        gates.refuse_leaks(solved, release.generate(course, solved, LESSON), LESSON)


def test_an_answer_in_an_output_or_in_metadata_is_refused(course):
    solved = read(course, LESSON)
    released = release.generate(course, solved, LESSON)
    gates.refuse_leaks(solved, released, LESSON)
    released.cells[3].metadata["note"] = "x @ weight.T"
    with pytest.raises(CourseError, match="holds the answer"):
        gates.refuse_leaks(solved, released, LESSON)
    code = next(cell for cell in released.cells if cell.cell_type == "code")
    code.outputs = [nbformat.v4.new_output("stream", text="1")]
    with pytest.raises(CourseError, match="has outputs"):
        gates.refuse_leaks(solved, released, LESSON)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('# %% check="linear_by_hand"', '# %% check="linear_by_foot"', "is not a check of this lesson"),
        ("check.linear_by_hand(linear_by_hand)\n", "check.linear_by_hand(other)\n", "must hold exactly"),
        ('# %% check="linear_by_hand"', "# %%", "no cell is tagged"),
        ('alt="Three', 'atl="Three', "unknown tag 'atl'"),
        ("# %%\nmy_prediction", '# %% exercise="linear_by_hand"\nmy_prediction', "there twice"),
    ],
)
def test_a_mistyped_source_is_refused(course, no_kernel, old, new, message):
    rewrite(course, old, new)
    with pytest.raises(CourseError, match=message):
        build.build(course, LESSON)


def test_nbgraders_own_complaint_is_passed_on(course):
    rewrite(course, "    ### END SOLUTION\n", "")
    solved = read(course, LESSON)
    with pytest.raises(CourseError, match="no end solution"):
        release.generate(course, solved, LESSON)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("    ### BEGIN SOLUTION\n", "    return torch.nn.functional.linear(x, weight, bias)\n    ### BEGIN SOLUTION\n",
         "passes on the stub"),
        slow("product = x @ weight.T ", "product = x @ weight.T * 2 ",
             "the solved notebook fails in cell check_linear_by_hand"),
        slow('print("the weight is "', 'print(1 / (my_prediction[0] == "?" and False) if "SOL" else 0, "is "',
             "fails in cell"),
        slow("figure, axes", "print(object())\nfigure, axes", "memory address"),
        slow(' alt="', '\n# alt="', "without alternative text"),
    ],
)  # fmt: skip
def test_a_lesson_that_does_not_behave_is_refused(course, old, new, message):
    before = snapshot(course)
    rewrite(course, old, new)
    with pytest.raises(CourseError, match=message):
        build.build(course, LESSON)
    assert snapshot(course) == before


@pytest.mark.slow
def test_a_stub_that_breaks_the_lesson_is_refused(course):
    """A later cell that cannot live with the stub is the lesson's fault, not the learner's."""
    rewrite(
        course,
        "## How a check answers",
        '## How a check answers\n"""\n\n# %%\nlinear_by_hand.weight = 1\n\n# %% [markdown]\nr"""',
    )
    assert build.build(course, LESSON) == "built"
    rewrite(course, "linear_by_hand.weight = 1", 'assert "product" in linear_by_hand.__code__.co_varnames')
    with pytest.raises(CourseError, match="an unfinished notebook breaks"):
        build.build(course, LESSON)


def test_every_figure_has_alternative_text_where_readers_look(course):
    solved = nbformat.read(course.solved(LESSON), as_version=4)
    figures = [o for c in solved.cells for o in c.get("outputs", []) if "image/png" in o.get("data", {})]
    assert figures
    for figure in figures:
        assert len(figure.metadata["image/png"]["alt"]) > 40
        assert figure.data["text/plain"] == figure.metadata["image/png"]["alt"]


def test_a_lesson_may_be_named_by_its_number():
    course = Course(ROOT)
    assert choose(course, ["00"]) == [LESSON]
    assert choose(course, [f"solutions/{LESSON}.py"]) == [LESSON]
    with pytest.raises(CourseError, match="no lesson 'x'; there are"):
        choose(course, ["x"])


def test_the_committed_course_is_in_step():
    """What `autograde build --check` says of this very checkout."""
    done = subprocess.run(
        [sys.executable, "-m", "autograde", "build", "--check"], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(rf"^✓ {LESSON}: in step$", done.stdout, re.MULTILINE)
