"""What the cells of a notebook define, and which of them is the first cause of a later failure."""

from autograde.judge.describe import clean
from autograde.notebook.cells import grade_id
from autograde.notebook.python_source import meant_to_define, names_of_all

MOST_ASKED = 200  # names that a session is asked for


class EarlierCells:
    """The code cells that have run so far."""

    def __init__(self):
        self.cells = []  # (source, number, what it stopped with or None)

    def ran(self, source, number, error=None):
        """Note one cell.

        Args:
            source: its code.
            number: as JupyterLab shows it.
            error: what it stopped with, as text; None where it ran to its end.
        """
        self.cells.append((source, number, error))

    def first_cause(self, subject, is_there):
        """Why something that `subject` needs is missing, as a message; empty where nothing is.

        Args:
            subject: the name of what was judged.
            is_there: called with a name; whether the notebook has it.
        """
        if not any(error for _, _, error in self.cells):
            return ""
        uses = {}  # name -> for each cell that defines it, the names that this cell uses
        stopped = []  # (number, the names that the cell defines, what it stopped with)
        found = names_of_all(source for source, _, _ in self.cells)
        for (source, number, error), (used, made) in zip(self.cells, found, strict=True):
            made = made or meant_to_define(source)  # what cannot be parsed defines nothing
            for name in made:
                uses.setdefault(name, []).append(used)
            if error:
                stopped.append((number, made, error))
        needed, waiting, followed = set(), [subject], set()
        while waiting:
            for used in uses.get(waiting.pop(), ()):
                if id(used) not in followed:
                    followed.add(id(used))
                    waiting += used - needed
                    needed |= used
        known = {}  # name -> whether the notebook has it
        for number, made, error in stopped:
            for name in sorted((made & needed) - {subject} - known.keys())[: MOST_ASKED - len(known)]:
                known[name] = is_there(name)
            lost = [name for name in sorted(made & needed) if known.get(name) is False]
            if lost:
                missing = " and ".join(lost[:3]) + (" are" if len(lost) > 1 else " is")
                return f"Cell {number} stopped with {clean(error, 200)}, so {missing} missing from there on. Fix that cell first."
        return ""


def defined_below(cells, check_cell, subject):
    """That only a cell below the check defines what it asks for, as a message; empty where none does.

    Args:
        cells: of the notebook.
        check_cell: the cell of the check.
        subject: the name that the exercise asks for.
    """
    position = next(i for i, cell in enumerate(cells) if cell is check_cell)
    below = names_of_all(cell.source for cell in cells[position + 1 :] if cell.cell_type == "code")
    if any(subject in made for _, made in below):
        return f"{subject} is defined in a cell below this check. Move the check below that cell."
    return ""


def answer_elsewhere(cells, check_cell, subject):
    """Where another cell than the one for it holds an answer, as a message; empty where none does.

    Args:
        cells: of the notebook.
        check_cell: the cell of the check, at which the answer still was the stub.
        subject: the name that the exercise asks for.
    """
    position = next(i for i, cell in enumerate(cells) if cell is check_cell)
    found = names_of_all(cell.source if cell.cell_type == "code" else "" for cell in cells)
    for i, (cell, (_, made)) in enumerate(zip(cells, found, strict=True)):
        if grade_id(cell) != subject and subject in made:
            place = (
                "above it, and the cell for it then puts the stub in its place" if i < position else "below this check"
            )
            return (
                f"The cell for {subject} is as it was handed out. Another cell defines {subject} {place}. "
                "Move your answer into the cell that says YOUR CODE HERE."
            )
    return ""
