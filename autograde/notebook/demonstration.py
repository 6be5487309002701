"""Demonstrations: cells of a lesson that train or draw, and that no graded cell depends on.

They would take most of the time of grading, so grading skips a demonstration that the learner has not changed, unless a
cell that runs uses a name that it defines.
"""

import re
import symtable

from autograde.notebook.cells import METADATA

_NOT_PYTHON = re.compile(r"^([ \t]*)[%!?]+\w*[ \t]*(.*)", re.MULTILINE)  # IPython's own: %time f(x), !ls, ?f


def is_demonstration(cell):
    """Whether a cell is marked as a demonstration."""
    return cell.metadata.get(METADATA, {}).get("demonstration") is True


def mark(cell):
    """Mark a cell as a demonstration."""
    cell.metadata[METADATA] = {"demonstration": True}


def sources(notebook):
    """The sources of the demonstrations in a notebook, a set."""
    return {cell.source for cell in notebook.cells if is_demonstration(cell)}


def needed_by_others(cells):
    """The demonstrations among `cells` that other cells need, in order: ``[(demonstration, the cell that needs it, name)]``.

    Args:
        cells: code cells in the order in which they are run.
    """
    origin, uses = {}, {}  # name -> the cell that made it last; cell -> {name: the cell that had made it until then}
    for position, cell in enumerate(cells):
        used, bound = names(cell.source)
        uses[position] = {name: origin[name] for name in sorted(used) if name in origin}
        origin |= dict.fromkeys(bound, position)
    found = {}
    waiting = [position for position, cell in enumerate(cells) if not is_demonstration(cell)]
    while waiting:
        position = waiting.pop()
        for name, maker in uses[position].items():
            if is_demonstration(cells[maker]) and maker not in found:
                found[maker] = (cells[maker], cells[position], name)
                waiting.append(maker)
    return [found[position] for position in sorted(found)]


def names(source):
    """The global names that a cell uses, and those that it defines: ``(used, defined)``, two sets.

    A name that the cell both defines and uses counts as defined. A cell that is not valid Python uses and defines nothing:
    it stops before its first line.
    """
    table = next(filter(None, map(_table, without_ipython(source))), None)
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
    return used - made, made


def without_ipython(source):
    """A cell's source with IPython's own syntax taken out, in the two ways in which it may be Python then.

    Returns:
        ``(text, text)``, with as many lines: the first keeps what follows a magic (``%time f(x)``), the second does not
        (``!pip install torch``).
    """
    return _NOT_PYTHON.sub(r"\1\2", source), _NOT_PYTHON.sub(r"\1pass", source)


def _table(source):
    try:
        return symtable.symtable(source, "cell", "exec")
    except (SyntaxError, ValueError, RecursionError, MemoryError):  # MemoryError: nested too deeply for the parser
        return None
