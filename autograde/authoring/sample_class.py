"""The sample class: thirty invented students with right answers, mistakes, unfinished work and damaged files.

It is made from the lessons' releases and known answers, to try grading and its report before there is a real class.
Every random decision is a hash of its subject (the student, the lesson, the exercise), so the class is the same at every
run, and a new lesson or exercise does not change the rest.
"""

import copy
import hashlib
import math
from collections import defaultdict
from dataclasses import dataclass

import nbformat

from autograde import registry
from autograde.authoring import damages
from autograde.authoring.corpus import samples
from autograde.notebook.cells import grade_id
from autograde.project import CourseError

SIZE = 30
DAMAGED = 0.07  # of the submissions
UNFINISHED = 0.08  # how often a student stops a lesson at an exercise and leaves the rest
UNRECOGNISED = 0.15  # of the wrong answers: mistakes that the course has no name for
WITH_NOTES = 0.1  # of the submissions: those that hold a cell of the student's own
NOTES = "# my notes: try small numbers first\nfor n in range(4):\n    print(n, n * n)"


@dataclass(frozen=True)
class Answers:
    """The known answers to what one cell asks for.

    Attributes:
        name: the name that the cell defines, which is its grade_id too.
        right: sources, in several styles.
        wrong: ``{misconception, "" for none that is known: sources}``.
    """

    name: str
    right: tuple
    wrong: dict


def make(course):
    """The whole class, in every lesson that is built: ``{path below the folder of submissions: bytes}``.

    Raises:
        CourseError: no lesson is built, or the known answers are not there.
    """
    graded = registry.of(course).checks_of
    lessons = [lesson for lesson in course.lessons if graded(lesson) and course.release(lesson).exists()]
    if not lessons:
        raise CourseError("no lesson has been built, so nothing can be handed in; run: autograde build")
    files = {}
    for lesson in lessons:
        released = nbformat.read(course.release(lesson), as_version=4)
        known = known_answers(course, lesson)
        for student in students():
            for name, content in hand_in(student, lesson, released, known).items():
                files[f"{student}/{lesson}/{name}"] = content
    return dict(sorted(files.items()))


def students():
    """Ids of the class: ``student-01`` and so on."""
    return [f"student-{number:02d}" for number in range(1, SIZE + 1)]


def known_answers(course, lesson):
    """`Answers` to each of a lesson's exercises, in order."""
    subjects = {check.name: check.subject for check in registry.of(course).checks_of(lesson)}
    right, wrong = defaultdict(list), defaultdict(lambda: defaultdict(list))
    for sample in samples(course, lesson):
        name = subjects.get(sample.exercise, sample.exercise)
        if sample.misconception is None:
            right[name].append(sample.source)
        else:
            wrong[name][sample.misconception].append(sample.source)
    return [Answers(name, tuple(right[name]), dict(wrong[name])) for name in dict.fromkeys(subjects.values())]


def hand_in(student, lesson, released, known):
    """What a student hands in for a lesson: ``{file name: bytes}``, empty if nothing."""
    if chance("hands in", student, lesson) > _diligence(student):
        return {}
    answers = {}
    for exercise in known:
        if chance("stops", student, lesson, exercise.name) < UNFINISHED:
            break
        answers[exercise.name] = _answer(student, lesson, exercise)
    notebook = _answered(released, answers, notes=chance("notes", student, lesson) < WITH_NOTES)
    name = f"{lesson}.ipynb"
    if answers and chance("damaged", student, lesson) < DAMAGED:
        damage = _pick(damages.ALL, "damage", student, lesson, key=lambda function: function.__name__)
        return damage(notebook, name, next(iter(answers)))
    return {name: damages.as_bytes(notebook)}


def _diligence(student):
    """The share of lessons that a student hands in: nearly all of them, or, for one student in eight, about half."""
    drops_out = chance("drops out", student) < 1 / 8
    return 0.5 if drops_out else 0.88 + 0.12 * chance("diligence", student)


def _answer(student, lesson, exercise):
    """One answer. Able students make fewer mistakes, and some exercises are harder than others."""
    skill = 0.55 + 0.45 * chance("skill", student)
    ease = 0.6 + 0.4 * chance("ease", lesson, exercise.name)
    who = student, lesson, exercise.name
    if not exercise.wrong or chance("right", *who) < skill * ease:
        return _pick(exercise.right, "style", *who)
    named = [name for name in exercise.wrong if name]
    if "" in exercise.wrong and (not named or chance("recognised", *who) < UNRECOGNISED):
        return _pick(exercise.wrong[""], "unrecognised", *who)
    mistake = _pick(named, "mistake", *who, weight=lambda name: _frequency(exercise.name, name))
    return _pick(exercise.wrong[mistake], "wording", *who)


def _frequency(exercise, misconception):
    """How common a mistake is, relative to others: a few are very common, most are rare."""
    return (0.02 + chance("frequency", exercise, misconception)) ** -2


def _answered(released, answers, notes):
    notebook = copy.deepcopy(released)
    for cell in notebook.cells:
        if grade_id(cell) in answers:
            cell.source = answers[grade_id(cell)].strip()
    if notes:
        place = next((i for i, cell in enumerate(notebook.cells) if grade_id(cell) in answers), len(notebook.cells))
        notebook.cells.insert(place, nbformat.v4.new_code_cell(NOTES, id="my-notes"))
    return notebook


def chance(*words):
    """A number from 0 to 1 that depends on nothing but the words."""
    digest = hashlib.blake2b("\0".join(words).encode(), digest_size=8).digest()
    return (int.from_bytes(digest) + 0.5) / 2**64


def _pick(choices, *words, key=str, weight=lambda choice: 1.0):
    """One of the choices, with a probability in proportion to its weight.

    Each choice gets a random number of its own, and the best one wins, so adding a choice changes only the decisions that
    it wins.
    """
    return min(choices, key=lambda choice: -math.log(chance(*words, key(choice))) / weight(choice))
