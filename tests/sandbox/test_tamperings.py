"""A class of tamperers between honest students, graded through both doors: each ends in the score and the words that it
must, and costs nobody else anything.
"""

import contextlib
import hashlib
import os
import re
import sqlite3
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path

import nbformat
import psutil
import pytest
from sample_course import plant
from small_class import ROOT, make_course, rows
from tamperings import LAYER, LEFT, LIMITS, MERGE, MODEL, SECRET, START, TAMPERINGS, THIN, WHEAT

from autograde import registry
from autograde.notebook.cells import grade_id
from autograde.project import Course
from autograde.sandbox.connection import SandboxError
from autograde.sandbox.pool import IsolationError, SandboxPool

LESSONS = (START, THIN, LAYER, MERGE, MODEL)
DOORS = {
    "autograde grade": [["autograde", "grade", "--jobs", "2"]],
    "nbgrader autograde": [["nbgrader", "autograde", lesson] for lesson in LESSONS],
}
# `make test` tries one of each kind, and one door; `make test-all` tries all of them by both.
EACH_DOOR = ["autograde grade", pytest.param("nbgrader autograde", marks=pytest.mark.slow)]
OF_EACH_KIND = {
    "a_verdict_is_printed", "check", "the_module_of_checks", "the_probe", "what_is_sent", "frames_from_a_cell",
    "frames_of_callers", "files_of_the_course", "the_reference_by_import", "the_gradebook_by_sqlite",
    "exit_in_a_cell", "a_copy_stays", "a_tensor_that_agrees", "a_mode_over_everything", "no_name",
    "modules_of_its_own", "outputs_of_the_check", "a_thousand_points", "the_check_is_deleted", "the_package_beside",
    "links_beside", "a_linked_student", "a_layer_that_names_few_parameters", "wheat_that_speaks",
    "wheat_with_a_file_and_checks_of_its_own", "a_function_of_the_probes", "the_name_of_a_type",
    "products_in_another_thread",
}  # fmt: skip
CONFIG = """
c.Execute.timeout = 60
c.Execute.limits = {
    "probe": 4, "grace": 1, "memory": 768 * 2**20, "output": 2**20, "disk": 2**25, "answer": 2**23, "processes": 40,
}
"""


def _solved(lesson):
    cells = nbformat.read(Course(ROOT).solved(lesson), as_version=4).cells
    return {grade_id(cell): cell.source for cell in cells if grade_id(cell) and cell.metadata.nbgrader.solution}


POINTS = {lesson: sum(check.points for check in registry.current().checks_of(lesson)) for lesson in LESSONS}
RIGHT = {lesson: _solved(lesson) for lesson in LESSONS}
WRONG = {lesson: dict.fromkeys(answers, "raise ValueError") for lesson, answers in RIGHT.items()}
HONEST = {"right": RIGHT, "wrong": WRONG, "right-too": RIGHT}


def _students():
    """``{name: what they hand in}``: honest ones at the beginning, at the end and between. After each comes somebody."""
    order = [*TAMPERINGS, *WHEAT, *LIMITS]
    step = len(order) // (len(HONEST) - 1)
    for place, name in reversed(list(enumerate(HONEST))):
        order.insert(len(order) if place == len(HONEST) - 1 else place * step, name)
    return {f"{n:03}-{getattr(what, 'name', what)}": what for n, what in enumerate(order, 1)}


STUDENTS = _students()
HONEST_STUDENTS = {student: what for student, what in STUDENTS.items() if what in HONEST}
BY_NAME = {what.name: student for student, what in STUDENTS.items() if what not in HONEST}
EACH_NAME = [
    pytest.param(what.name, marks=() if what.name in OF_EACH_KIND else pytest.mark.slow)
    for what in [*TAMPERINGS, *WHEAT]
]


def _hand_in(course, student, lesson, notebook, files=(), links=()):
    folder = course.submitted / student / lesson
    (folder.parent if ".." in links else folder).parent.mkdir(parents=True, exist_ok=True)
    if not {".", ".."} & set(links):
        folder.mkdir()
    if notebook is not None:
        data = notebook if isinstance(notebook, bytes) else nbformat.writes(notebook, version=4).encode()
        (folder / f"{lesson}.ipynb").write_bytes(data)
    for name in files:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(files[name], encoding="utf-8")
    for name in links:
        Path(os.path.normpath(folder / name)).symlink_to(course.root / links[name])


@dataclass
class Graded:
    """The class after it went through one door.

    Attributes:
        course: the `Course`.
        students: ``{name: what they handed in}``, those of `STUDENTS` that tests of this run are about.
        said: by the commands.
        before, after: hashes of what no grading may change, by path.
        temporary: what was left in the folder for temporary files.
        processes: those that were left.
    """

    course: Course
    students: dict
    said: str
    before: dict
    after: dict
    temporary: list
    processes: list

    @property
    def database(self):
        """The gradebook's file."""
        return self.course.root / "autograde" / "gradebook.db"

    @cached_property
    def scores(self):
        """``{(student, lesson): sum}`` of the gradebook."""
        found = {}
        for student, lesson, _, score, *_ in rows(self.database)["grades"]:
            found[student, lesson] = found.get((student, lesson), 0.0) + score
        return found

    def path(self, student, lesson):
        """Where the graded notebook is."""
        return self.course.root / "autograde" / "autograded" / student / lesson / f"{lesson}.ipynb"

    def read(self, student, lesson):
        """``(what the checks say, what the other cells show)`` in the graded notebook."""
        return _read(self.path(student, lesson))


@cache
def _read(path):
    says, shows = [], []
    for cell in nbformat.read(path, as_version=4).cells:
        of_check = (grade_id(cell) or "").startswith("check_")
        (says if of_check else shows).extend(cell.get("outputs", []))
    return _text(says), _text(shows)


def _text(outputs):
    """What outputs say to a reader, in one line."""
    said = []
    for output in outputs:
        said += [output.get("text", ""), output.get("data", {}).get("text/plain", "")]
        if output.output_type == "error":
            said.append(f"{output.ename}: {output.evalue}")
    return " ".join(" ".join(said).split())


def _hashes(course):
    """Of every file that grading has no business to change; of a link, where it leads."""
    found = {}
    for path in course.root.rglob("*"):
        name = path.relative_to(course.root)
        if name.parts[:2] in (("autograde", "autograded"), ("autograde", "gradebook.db")) or name.suffix == ".log":
            continue
        if path.is_symlink():
            found[str(name)] = os.readlink(path)
        elif path.is_file():
            found[str(name)] = hashlib.sha256(path.read_bytes()).hexdigest()
    return found


def _left(temporary):
    """Processes that the grading with this folder for temporary files started, and that still run."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            if LEFT in process.cmdline() or process.environ().get("TMPDIR") == str(temporary):
                found.append(process)
    return [process for process in found if process.is_running() and process.status() != psutil.STATUS_ZOMBIE]


def _grade(folder, commands, students):
    course = make_course(folder / "course", LESSONS)
    with open(course.root / "nbgrader_config.py", "a", encoding="utf-8") as config:
        config.write(CONFIG)
    for student, what in students.items():
        if what in HONEST:
            for lesson in LESSONS:
                released = nbformat.read(course.release(lesson), as_version=4)
                _hand_in(course, student, lesson, plant(released, HONEST[what][lesson]))
        else:
            _hand_in(course, student, what.lesson, what.build(course), what.files, what.links)
    temporary = folder / "temporary"
    temporary.mkdir()
    path = os.pathsep.join([os.path.dirname(sys.executable), os.environ["PATH"]])
    environment = os.environ | {"PYTHONPATH": str(ROOT), "PATH": path, "TMPDIR": str(temporary), "A_SECRET": SECRET}
    before, said = _hashes(course), []
    for words in commands:
        command = [sys.executable, "-m", *words]
        done = subprocess.run(command, cwd=course.root, env=environment, capture_output=True, text=True, timeout=1800)
        said += [done.stdout, done.stderr]
        assert done.returncode == 0, "".join(said)[-4000:]
    return Graded(
        course, students, "\n".join(said), before, _hashes(course), list(temporary.rglob("*")), _left(temporary)
    )


@pytest.fixture(scope="module")
def graded(selected, tmp_path_factory):
    """The class, once through each door, both at a time: ``{door: Graded}``."""
    try:
        with SandboxPool(require_isolation=True):
            pass
    except (IsolationError, SandboxError) as error:
        pytest.skip(f"what these do is done in a full box or not at all: {error}")
    names = selected("name")
    students = {student: what for student, what in STUDENTS.items() if what in HONEST or what.name in names}
    doors = [door for door in DOORS if door in selected("door") | {"autograde grade"}]
    with ThreadPoolExecutor() as threads:
        runs = {door: threads.submit(_grade, tmp_path_factory.mktemp("door"), DOORS[door], students) for door in doors}
        return {door: run.result() for door, run in runs.items()}


def _ends_as_it_must(class_, name):
    student, what = BY_NAME[name], STUDENTS[BY_NAME[name]]
    if what.score is None:
        assert (student, what.lesson) not in class_.scores and not class_.path(student, what.lesson).exists()
        assert re.search(what.says, " ".join(class_.said.split()))
        return
    says, shows = class_.read(student, what.lesson)
    assert re.search(what.says, says)
    assert re.search(what.tried, shows), "it must have been tried"
    if what.holds:
        file = class_.course.submitted / student / what.lesson / f"{what.lesson}.ipynb"
        assert re.search(what.holds, file.read_text(encoding="utf-8")), "it must have been handed in"
    assert class_.scores[student, what.lesson] == what.score


@pytest.mark.parametrize("door", EACH_DOOR)
@pytest.mark.parametrize("name", EACH_NAME)
def test_it_ends_as_it_must(graded, door, name):
    _ends_as_it_must(graded[door], name)


@pytest.mark.slow
@pytest.mark.parametrize("name", [what.name for what in LIMITS])
def test_what_is_known_to_gain(graded, name):
    """These forge what is noted beside an answer: docs/grading.md says so, and this is all that is known."""
    _ends_as_it_must(graded["autograde grade"], name)


@pytest.mark.parametrize("door", EACH_DOOR)
@pytest.mark.parametrize("student", HONEST_STUDENTS)
def test_the_honest_have_what_is_theirs(graded, door, student):
    got = {lesson: graded[door].scores[student, lesson] for lesson in LESSONS}
    assert got == (dict.fromkeys(LESSONS, 0.0) if HONEST_STUDENTS[student] == "wrong" else POINTS)


@pytest.mark.slow
def test_the_same_gradebook_by_both_doors(graded):
    ours, theirs = (rows(class_.database) for class_ in graded.values())
    assert ours == theirs


@pytest.mark.parametrize("door", EACH_DOOR)
def test_the_gradebook_has_no_other_points(graded, door):
    with sqlite3.connect(graded[door].database) as book:
        cells = dict(book.execute("select name, max_score from grade_cells join base_cell using (id)"))
        by_hand = book.execute("select * from grade where manual_score is not null or needs_manual_grade").fetchall()
        tasks = book.execute("select * from task_cells").fetchall()
    assert cells == {
        f"check_{check.name}": check.points for lesson in LESSONS for check in registry.current().checks_of(lesson)
    }
    assert not by_hand and not tasks


@pytest.mark.parametrize("door", EACH_DOOR)
def test_nothing_is_changed_and_nothing_is_left(graded, door):
    class_ = graded[door]
    assert class_.after == class_.before
    # Torch makes this folder, empty, when its compiler is imported; the grader does that for lessons with an optimiser.
    assert [path for path in class_.temporary if not path.name.startswith("torchinductor_")] == []
    assert class_.processes == [], "what they started must not outlive the grading"


@pytest.mark.parametrize("door", EACH_DOOR)
def test_no_secret_gets_out(graded, door):
    folder = graded[door].course.root / "autograde" / "autograded"
    handed_back = [path for path in folder.rglob("*") if path.is_file()]
    assert not [path for path in handed_back if SECRET in path.read_text(encoding="utf-8")]
    linked = STUDENTS[BY_NAME["links_beside"]]
    assert not {path.name for path in handed_back} & linked.links.keys(), "what a link leads to is not handed back"


@pytest.mark.parametrize("door", EACH_DOOR)
def test_all_of_them_went_through_the_door(graded, door):
    class_ = graded[door]
    tamperings = [what for what in class_.students.values() if what in TAMPERINGS]
    tried = [what for what in tamperings if class_.path(BY_NAME[what.name], what.lesson).exists()]
    left_alone = [what for what in tamperings if what.score is None]
    assert len(tried) + len(left_alone) == len(tamperings)
    boxed = [
        nbformat.read(class_.path(BY_NAME[what.name], what.lesson), as_version=4).metadata.autograde.graded.isolation
        for what in tried
    ]
    assert {isolation.level for isolation in boxed if isolation} == {"full"}
    assert sum(isolation is None for isolation in boxed) <= 4, "nearly all of them were run"


@pytest.mark.parametrize("what", TAMPERINGS, ids=lambda what: what.name)
def test_what_they_end_in_is_not_the_lot_of_the_honest(graded, what):
    """An expression that fits everybody would show nothing."""
    says, shows = graded["autograde grade"].read(next(iter(HONEST_STUDENTS)), what.lesson)
    assert not re.search(what.says, says)
    assert what.tried or what.holds or what.links, "there is no evidence that it was tried"
    assert not what.tried or not re.search(what.tried, shows)
