"""Make the sample class in ``autograde/submitted/``: ``python -m autograde.authoring.sample_class [--remove]``.

It is made of the known answers of each lesson and of its release: right answers in several styles, every misconception,
unfinished work, and damaged files. Made twice it is the same, byte for byte, and no name in it is anyone's.

The notebooks with misconceptions hold only what is graded and what that needs, so that the class is graded in seconds.
"""

import copy
import itertools
import shutil
import sys
from collections import defaultdict

import nbformat

from autograde import registry
from autograde.authoring.corpus import samples
from autograde.notebook.cells import grade_id
from autograde.notebook.demonstration import is_demonstration
from autograde.project import CourseError, find_course

MARKER = ".sample-class"  # lists the folders that are ours to replace; a class's own are never touched
RIGHT = 2  # submissions of a lesson in which all is right
DAMAGED = 2  # submissions of a lesson that something has happened to


def students(count):
    """Ids of the class: ``student-001`` and so on."""
    return [f"student-{number:03d}" for number in range(1, count + 1)]


def make(course):
    """The whole class, in every lesson that is built: ``{path below autograde/submitted: bytes}``."""
    lessons = [lesson for lesson in course.lessons if course.release(lesson).exists()]
    work = {lesson: _lesson(course, lesson, position) for position, lesson in enumerate(lessons)}
    names = students(max(map(len, work.values())))
    files = {}
    for position, (lesson, folders) in enumerate(work.items()):
        for number, folder in enumerate(folders):
            student = names[(number + 5 * position) % len(names)]
            files |= {f"{student}/{lesson}/{name}": content for name, content in folder.items()}
    return dict(sorted(files.items()))


def _lesson(course, lesson, position):
    """What is handed in for one lesson: for each submission ``{file name: bytes}``."""
    released = nbformat.read(course.release(lesson), as_version=4)
    known = samples(course, lesson)
    subject = {check.name: check.subject for check in registry.of(course).of_lesson(lesson)}
    right, wrong = defaultdict(list), defaultdict(list)
    for sample in known:
        name = subject.get(sample.exercise, sample.exercise)
        if sample.misconception is None:
            right[name].append(sample.source)
        elif sample.misconception == sample.style:  # the wrong answer that stands beside the misconception
            wrong[name].append(sample.source)
    exercises = list(dict.fromkeys(subject.values()))

    def style(exercise, number):
        return right[exercise][number % len(right[exercise])]

    handed_in = []
    for number in range(RIGHT):
        answers = {exercise: style(exercise, number + turn) for turn, exercise in enumerate(exercises)}
        handed_in.append(_answered(released, answers, notes=number % 2 == 1))
    for number in range(max(map(len, wrong.values()))):
        answers = {
            exercise: wrong[exercise][number] if number < len(wrong[exercise]) else style(exercise, number)
            for exercise in exercises
        }
        handed_in.append(_answered(_graded_part(released), answers))
    begun = exercises[: len(exercises) // 2]
    handed_in.append(_answered(released, {exercise: style(exercise, 1) for exercise in begun}))
    name = f"{lesson}.ipynb"
    files = [{name: _bytes(notebook)} for notebook in handed_in]
    sound = _answered(released, {exercise: style(exercise, 2) for exercise in exercises})
    kinds = itertools.islice(itertools.cycle(DAMAGES), DAMAGED * position, DAMAGED * (position + 1))
    return files + [damage(copy.deepcopy(sound), name, exercises[0]) for damage in kinds]


def _graded_part(released):
    """A release without its text and its demonstrations."""
    notebook = copy.deepcopy(released)
    notebook.cells = [cell for cell in notebook.cells if cell.cell_type == "code" and not is_demonstration(cell)]
    return notebook


def _answered(released, answers, notes=False):
    notebook = copy.deepcopy(released)
    for cell in notebook.cells:
        if grade_id(cell) in answers:
            cell.source = answers[grade_id(cell)].strip()
    if notes:  # a cell of the learner's own
        own = nbformat.v4.new_code_cell("x = torch.randn(3, 4)\nprint(x.shape, x.T.shape)", id="my-notes")
        place = next(i for i, cell in enumerate(notebook.cells) if grade_id(cell) in answers)
        notebook.cells.insert(place, own)
    return notebook


def _bytes(notebook):
    return (nbformat.writes(notebook, version=4) + "\n").encode()


# What happens to files ---------------------------------------------------------------------------------------------
# Each is given a sound notebook, the name of its file and an exercise in it, and gives the files that are handed in.


def _cut_off(notebook, name, _exercise):
    whole = _bytes(notebook)
    return {name: whole[: len(whole) // 2]}


def _check_deleted(notebook, name, exercise):
    notebook.cells = [cell for cell in notebook.cells if not _checks(cell, exercise)]
    return {name: _bytes(notebook)}


def _answer_twice(notebook, name, exercise):
    place = _place(notebook, exercise)
    again = copy.deepcopy(notebook.cells[place])
    again["id"] = "pasted-again"
    notebook.cells.insert(place + 1, again)
    return {name: _bytes(notebook)}


def _answer_as_text(notebook, name, exercise):
    place = _place(notebook, exercise)
    cell = notebook.cells[place]
    notebook.cells[place] = nbformat.v4.new_markdown_cell(cell.source, metadata=cell.metadata, id=cell.id)
    return {name: _bytes(notebook)}


def _renamed(notebook, name, exercise):
    cell = notebook.cells[_place(notebook, exercise)]
    cell.source = cell.source.replace(exercise, f"my_{exercise}")
    return {name: _bytes(notebook)}


def _syntax_error(notebook, name, exercise):
    cell = notebook.cells[_place(notebook, exercise)]
    cell.source = cell.source.replace(":", "", 1)
    return {name: _bytes(notebook)}


def _no_cells(notebook, name, _exercise):
    notebook.cells = []
    return {name: _bytes(notebook)}


def _other_name(notebook, _name, _exercise):
    return {"homework final (2).ipynb": _bytes(notebook)}


def _marks_lost(notebook, name, _exercise):
    for cell in notebook.cells:
        cell.metadata = {}
    return {name: _bytes(notebook)}


def _ends_itself(notebook, name, exercise):
    cell = notebook.cells[_place(notebook, exercise)]
    cell.source += "\n\nimport os\n\nos._exit(0)"
    return {name: _bytes(notebook)}


DAMAGES = (
    _cut_off, _answer_twice, _check_deleted, _syntax_error, _answer_as_text, _renamed, _no_cells, _ends_itself,
    _other_name, _marks_lost,
)  # fmt: skip


def _place(notebook, exercise):
    return next(i for i, cell in enumerate(notebook.cells) if grade_id(cell) == exercise)


def _checks(cell, subject):
    return any(grade_id(cell) == f"check_{check.name}" for check in _of_subject(subject))


def _of_subject(subject):
    return [
        check
        for lesson in registry.current().course.lessons
        for check in registry.current().of_lesson(lesson)
        if check.subject == subject
    ]


# On disk -----------------------------------------------------------------------------------------------------------


def write(course):
    """Replace the sample class on disk.

    Returns:
        How many submissions it has.

    Raises:
        CourseError: a folder of the same name is there that is not the sample class's.
    """
    files = make(course)
    names = sorted({path.split("/")[0] for path in files})
    ours = _ours(course)
    if strangers := [name for name in names if name not in ours and (course.submitted / name).exists()]:
        raise CourseError(f"{course.submitted / strangers[0]} is not of the sample class; move it away first")
    remove(course)
    for path, content in files.items():
        target = course.submitted / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content)
    (course.submitted / MARKER).write_text("\n".join(names) + "\n", encoding="utf-8")
    return len({path.rsplit("/", 1)[0] for path in files})


def remove(course):
    """Take the sample class away."""
    for name in _ours(course):
        shutil.rmtree(course.submitted / name, ignore_errors=True)
    (course.submitted / MARKER).unlink(missing_ok=True)


def _ours(course):
    try:
        return (course.submitted / MARKER).read_text(encoding="utf-8").split()
    except FileNotFoundError:
        return []


if __name__ == "__main__":
    where = find_course()
    if sys.argv[1:] == ["--remove"]:
        remove(where)
    else:
        print(f"{write(where)} submissions in {where.submitted}")
