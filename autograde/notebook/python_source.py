"""What Python source defines and calls, also where it has IPython's own syntax (``%%time``, ``!pip``) or is broken."""

import ast
import functools
import re
import symtable
from dataclasses import dataclass

from autograde.source_files import PACKAGE, parse

_IPYTHON = re.compile(r"^([ \t]*)[%!?]+\w*[ \t]*(.*)", re.MULTILINE)  # %time f(x), !ls, ?f
_DEFINITION = re.compile(r"^[ \t]*(?:def|class)[ \t]+(\w+)", re.MULTILINE)
_CALL = re.compile(r"^[ \t]*check\.(\w+)\(\s*(\w*)", re.MULTILINE)
_SCOPES = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
_WORD = re.compile(r"[^\W\d]\w*")
_ASSIGNED = re.compile(r"^([^\W\d]\w*)[ \t]*=(?!=)", re.MULTILINE)
_BROKEN = (SyntaxError, ValueError, RecursionError, MemoryError)  # MemoryError: nested too deeply for the parser

MAX_PARSED = 100_000  # characters of all cells together; a million take seconds to parse, and gigabytes


@dataclass(frozen=True)
class CheckCall:
    """A call ``check.<exercise>(<target>)``.

    Attributes:
        exercise: the name of the check.
        target: source of its argument, an expression; empty where there is none.
        line: the last one of its statement.
        in_function: whether it is in a function or a class, so that it is made later than the code around it.
    """

    exercise: str
    target: str
    line: int
    in_function: bool = False


def as_python(source):
    """Python with the line numbers of `source`, and a syntax tree: ``(text, tree)``, or ``(source, None)`` where it is broken.

    A line magic becomes its argument where that is Python (``%time f(x)``), and else ``pass``; ``%%time`` and the like are
    taken from above their cells.
    """
    for text in _readings(source):
        try:
            return text, parse(text)
        except _BROKEN:
            continue
    return source, None


def _readings(source):
    yield source
    yield _IPYTHON.sub(r"\1\2", source)
    yield _IPYTHON.sub(r"\1pass", source)


@functools.lru_cache(4_000)
def names(source):
    """The global names that a cell uses, and those that it defines: ``(used, defined)``, two frozensets.

    A name that the cell both defines and uses counts as defined. A cell that is not valid Python uses and defines nothing:
    it stops before its first line.
    """
    table = next(filter(None, map(_table, _readings(source))), None)  # without a syntax tree: that takes as long again
    used, made = set(), set()
    tables = [table] if table else []
    while tables:
        scope = tables.pop()
        tables += scope.get_children()
        for symbol in scope.get_symbols():
            if scope is table or symbol.is_global():
                if symbol.is_assigned() or symbol.is_imported() or symbol.is_namespace():
                    made.add(symbol.get_name())
                elif symbol.is_referenced():
                    used.add(symbol.get_name())
    return frozenset(used - made), frozenset(made)


def names_of_all(sources):
    """As `names`, for each of several cells. Where they are too long to be parsed, every word in a cell counts as used."""
    sources = list(sources)
    return [names(source) for source in sources] if are_short(sources) else list(map(_words, sources))


def are_short(sources):
    """Whether the source of several cells is short enough to be parsed."""
    return sum(map(len, sources)) <= MAX_PARSED


def _words(source):
    made = meant_to_define(source) | set(_ASSIGNED.findall(source))
    return set(_WORD.findall(source)) - made, made


def _table(source):
    try:
        return symtable.symtable(source, "cell", "exec")
    except _BROKEN:
        return None


@functools.lru_cache(4_000)
def meaning(source):
    """A text that is the same for two cells which differ in comments and layout alone."""
    try:
        return ast.dump(parse(source))
    except _BROKEN:
        return source.strip()


def meant_to_define(source):
    """The functions and classes whose definitions begin in broken source."""
    return set(_DEFINITION.findall(source))


def names_of_check(source):
    """What source calls the course's ``check``, by its imports: ``{"check"}``, or ``{"autograde.check"}``."""
    _, tree = as_python(source)
    found = set()
    for node in ast.walk(tree) if tree else ():
        if isinstance(node, ast.Import):
            found |= {f"{alias.asname or alias.name}.check" for alias in node.names if alias.name == PACKAGE.name}
        elif isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] == PACKAGE.name:
            found |= {alias.asname or alias.name for alias in node.names if alias.name == "check"}
    return found


def check_calls(source, called=()):
    """The `CheckCall` of each check that is called, in order; of broken source, of each line that calls one.

    Args:
        source: of a cell or a script.
        called: what it calls ``check``, besides ``check`` and ``autograde.check``.
    """
    _, tree = as_python(source)
    if tree is None:
        return [
            CheckCall(found[1], found[2], source.count("\n", 0, found.end()) + 1) for found in _CALL.finditer(source)
        ]
    return [
        CheckCall(node.func.attr, _target(node), statement.end_lineno, isinstance(statement, _SCOPES))
        for statement in tree.body
        for node in ast.walk(statement)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)
        if ast.unparse(node.func.value) in {"check", f"{PACKAGE.name}.check", *called}
    ]


def _target(call):
    given = [*call.args, *(keyword.value for keyword in call.keywords if keyword.arg == "target")]
    return ast.unparse(given[0]) if given and not isinstance(given[0], ast.Starred) else ""
