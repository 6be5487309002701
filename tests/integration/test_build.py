"""The build's gates: each is shown to hold, and to refuse when what it guards against is there."""

import contextlib
import html
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from nbconvert import HTMLExporter, MarkdownExporter

from autograde.authoring import build, execute, gates, lesson, release
from autograde.authoring.inputs_hash import inputs_hash
from autograde.authoring.lesson import read
from autograde.notebook.cells import METADATA
from autograde.project import Course, CourseError, resolve_lessons

ROOT = Path(__file__).parents[2]
LESSON, OTHER = "00_start_here", "05_counting"


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
    mark_as_built_now(Course(tmp_path), LESSON)
    return Course(tmp_path)


def mark_as_built_now(course, name):
    """Note in a solved notebook that it was built with the checks and libraries of today, whichever they are."""
    solved = nbformat.read(course.solved(name), as_version=4)
    solved.metadata[METADATA]["inputs_hash"] = inputs_hash(course, name, lesson.read(course, name))
    lesson.write(solved, course.solved(name))


@pytest.fixture
def whole_course(tmp_path):
    """A copy of the course with an `autograde` of its own and two lessons, for commands that are run in it."""
    skipped = shutil.ignore_patterns("__pycache__", "gradebook.db*", "submitted", "autograded", "feedback")
    for name in ("autograde", "lora_ref"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=skipped)
    for name in ("nbgrader_config.py", "pyproject.toml"):
        shutil.copy(ROOT / name, tmp_path)
    course = Course(tmp_path)
    for name in (LESSON, OTHER):
        for folder in ("solutions", "notebooks"):
            shutil.copytree(ROOT / folder / name, tmp_path / folder / name)
        shutil.copy(ROOT / "solutions" / f"{name}.py", tmp_path / "solutions")
        mark_as_built_now(course, name)
    return course


def check_of(course, *words):
    """What ``autograde build --check`` says in a course: ``(exit code, all it printed)``."""
    line = [sys.executable, "-m", "autograde", "build", "--check", *words]
    done = subprocess.run(line, cwd=course.root, capture_output=True, text=True)
    return done.returncode, done.stdout + done.stderr


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


def test_a_lesson_that_shows_a_package_is_not_built_without_it(course, no_kernel):
    rewrite(course, "# %%\nimport", '# %% needs="a_package_that_nobody_has"\nimport')
    before = snapshot(course)
    with pytest.raises(CourseError, match="a_package_that_nobody_has, which is not installed"):
        build.build(course, LESSON, force=True)
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


# --check: what is compared, and when notebooks are executed


def test_what_is_in_step_is_compared_and_not_executed(course, no_kernel):
    before = snapshot(course)
    assert build.verify(course, LESSON) == "compared"
    assert snapshot(course) == before


@pytest.mark.slow
def test_on_request_all_is_executed(course):
    assert build.verify(course, LESSON, run=True) == "executed"


@pytest.mark.slow
def test_a_change_of_source_is_drift_until_it_is_built(course):
    rewrite(course, "## Predict first", "## Guess first")
    with pytest.raises(CourseError, match="has changed since"):
        build.verify(course, LESSON)
    assert build.build(course, LESSON) == "built"
    assert "Guess first" in course.release(LESSON).read_text(encoding="utf-8")
    assert build.verify(course, LESSON) == "compared"


def test_a_notebook_changed_by_hand_is_drift(course, no_kernel):
    for path in (course.solved(LESSON), course.release(LESSON)):
        kept = path.read_text(encoding="utf-8")
        path.write_text(kept.replace("Predict first", "Predict later"), encoding="utf-8")
        with pytest.raises(CourseError, match=r"by hand|not what the source makes"):
            build.verify(course, LESSON)
        path.write_text(kept, encoding="utf-8")


def test_without_execution_an_id_that_is_there_twice_is_refused(course, no_kernel):
    rewrite(course, "# %%\nmy_prediction", '# %% exercise="linear_by_hand"\nmy_prediction')
    with pytest.raises(CourseError, match="there twice"):
        build.verify(course, LESSON)


def test_without_execution_a_committed_leak_is_refused(course, no_kernel):
    """As an older build could have made it: source, solved notebook and release agree, and all give the answer away."""
    rewrite(course, "## How a check answers", "Remember `product if bias is None else product + bias`.")
    leaking = read(course, LESSON)
    leaking.metadata[METADATA]["inputs_hash"] = inputs_hash(course, LESSON, leaking)
    released = release.generate(course, leaking, LESSON)
    lesson.write(leaking, course.solved(LESSON))
    lesson.write(released, course.release(LESSON))
    with pytest.raises(CourseError, match="holds the answer"):
        build.verify(course, LESSON)


def test_without_execution_a_committed_failure_is_refused(course, no_kernel):
    solved = nbformat.read(course.solved(LESSON), as_version=4)
    cell = next(cell for cell in solved.cells if cell["id"] == "check_linear_by_hand")
    cell.outputs = [nbformat.v4.new_output("error", ename="CheckFailed", evalue="", traceback=["CheckFailed"])]
    lesson.write(solved, course.solved(LESSON))
    with pytest.raises(CourseError, match="the solved notebook fails in cell check_linear_by_hand"):
        build.verify(course, LESSON)


@pytest.mark.parametrize(
    ("addition", "message"),
    [
        slow("# a comment", None),
        slow("type(CHECKS[0]).__call__ = lambda *_: 1 / 0", "the solved notebook fails in cell check_linear_by_hand"),
        slow("type(CHECKS[0]).__call__ = lambda *_: None", "check_linear_by_hand passes on the stub"),
    ],
    ids=["harmless", "failing solution", "passing stub"],
)
def test_where_a_check_has_changed_its_lesson_and_no_other_is_executed(whole_course, addition, message):
    assert check_of(whole_course) == (0, f"✓ {LESSON}: in step (compared)\n✓ {OTHER}: in step (compared)\n")
    module = next(whole_course.root.glob("autograde/checks/start_here*"))
    path = module / "__init__.py" if module.is_dir() else module
    path.write_text(path.read_text(encoding="utf-8") + f"\n{addition}\n", encoding="utf-8")
    code, said = check_of(whole_course)
    assert f"✓ {OTHER}: in step (compared)" in said
    assert (code, f"✓ {LESSON}: in step (executed)" in said) == ((0, True) if message is None else (1, False))
    assert (message or "") in said


def test_what_a_lesson_depends_on(course):
    """A change in what the lesson imports, straight or on the way, is noticed; in what it does not, is not."""
    kit = course.root / "kit_of_tests"
    kit.mkdir()
    for name, source in {
        "__init__": "", "plots": "from kit_of_tests import colours", "colours": "BLACK = 0", "unused": "",
    }.items():  # fmt: skip
        (kit / f"{name}.py").write_text(source)
    rewrite(course, "import platform", "import platform\nfrom kit_of_tests.plots import colours")

    def now():
        return inputs_hash(course, LESSON, read(course, LESSON))

    first = now()
    assert now() == first
    (kit / "unused.py").write_text("# changed")
    assert now() == first
    (kit / "colours.py").write_text("BLACK = 1")
    second = now()
    assert second != first
    (kit / "__init__.py").write_text("# changed")
    assert now() not in (first, second)


def test_a_release_says_nothing_of_what_the_solved_notebook_ran(course):
    """So it stays as it is, for those who work in it, while only checks change."""
    assert "inputs_hash" in course.solved(LESSON).read_text(encoding="utf-8")
    assert "inputs_hash" not in course.release(LESSON).read_text(encoding="utf-8")


def test_all_without_check_is_refused(course):
    line = [sys.executable, "-m", "autograde", "build", "--all"]
    done = subprocess.run(line, cwd=course.root, capture_output=True, text=True)
    assert done.returncode == 2 and "--force" in done.stderr


# Gates


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
        ("import platform", f"import platform  # {'x' * 77}", "has 96 columns, and 95 is the limit:\nimport platform"),
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
        slow("    ### BEGIN SOLUTION\n", "    return torch.nn.functional.linear(x, weight, bias)\n    ### BEGIN SOLUTION\n",
             "passes on the stub"),
        slow("product = x @ weight.T ", "product = x @ weight.T * 2 ",
             "the solved notebook fails in cell check_linear_by_hand"),
        slow("show_prediction(my_prediction", "1 / 0\nshow_prediction(my_prediction", "fails in cell"),
        slow("show_prediction(my_prediction", "print(object())\nshow_prediction(my_prediction", "memory address"),
        slow("show_prediction(my_prediction",
             "import matplotlib.pyplot as plt\nplt.plot([1])\nplt.show()\nshow_prediction(my_prediction",
             "without alternative text"),
    ],
)  # fmt: skip
def test_a_lesson_that_does_not_behave_is_refused(course, old, new, message):
    """`make test` sees this gate in `test_where_a_check_has_changed_its_lesson_and_no_other_is_executed`."""
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


def test_every_figure_has_its_text_as_a_caption_where_readers_look(course):
    solved = nbformat.read(course.solved(LESSON), as_version=4)
    alternatives = [cell.metadata["alt"] for cell in solved.cells if "alt" in cell.metadata]
    page, _ = HTMLExporter().from_notebook_node(solved)
    markdown, _ = MarkdownExporter().from_notebook_node(solved)
    assert alternatives
    for alternative in alternatives:
        caption = f"<small>{html.escape(alternative)}</small>"
        assert page.count(caption) == markdown.count(caption) == 1
        assert page.index("<img") < page.index(caption)


def test_a_caption_stands_under_the_last_picture_of_a_cell(course):
    draw = "from IPython.display import SVG, display\nfor _ in range(2):\n    display(SVG('<svg/>'))\nprint('<end>')"
    cell = nbformat.v4.new_code_cell(draw, metadata={"alt": "a < b"})
    outputs = execute.run(nbformat.v4.new_notebook(cells=[cell]), course).cells[0].outputs
    kinds = [set(output.get("data", {"stream": 0})) - {"text/plain"} for output in outputs]
    assert kinds == [{"image/svg+xml"}, {"image/svg+xml"}, {"text/html"}, {"stream"}]
    assert all(output.metadata["image/svg+xml"]["alt"] == "a < b" for output in outputs[:2])
    assert outputs[2].data["text/html"] == "<p><small>a &lt; b</small></p>"


def test_a_lesson_may_be_named_by_its_number():
    course = Course(ROOT)
    assert resolve_lessons(course, ["00"]) == [LESSON]
    assert resolve_lessons(course, [f"solutions/{LESSON}.py"]) == [LESSON]
    with pytest.raises(CourseError, match="no lesson 'x'; there are"):
        resolve_lessons(course, ["x"])


@pytest.mark.parametrize("lesson", Course(ROOT).lessons)
def test_the_committed_notebooks_are_what_their_source_makes(monkeypatch, lesson):
    """What `make test` sees of the next test. Whether a change elsewhere asks for an execution is not looked at."""

    class Compared(Exception):
        """All that needs no execution has been looked at."""

    def stop(*_):
        raise Compared

    monkeypatch.setattr(execute, "run", stop)
    with contextlib.suppress(Compared):
        build.verify(Course(ROOT), lesson)


@pytest.mark.slow
def test_the_committed_course_is_in_step():
    """What `autograde build --check` says of this very checkout."""
    code, said = check_of(Course(ROOT))
    assert code == 0, said
    assert re.search(rf"^✓ {LESSON}: in step \((compared|executed)\)$", said, re.MULTILINE)


@pytest.mark.slow
def test_every_lesson_of_this_checkout_behaves():
    """The same, with every notebook executed."""
    code, said = check_of(Course(ROOT), "--all")
    assert code == 0, said
    assert said.count("in step (executed)") == len(Course(ROOT).lessons)
