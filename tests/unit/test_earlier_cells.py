"""The first cause of a failure is found by asking for a bounded number of names."""

from autograde.submission.earlier_cells import MOST_ASKED, EarlierCells


def test_the_cell_that_stopped_first_is_named():
    cells = EarlierCells()
    cells.ran("a = 1", 1)
    cells.ran("b = a / 0", 2, "ZeroDivisionError: division by zero")
    cells.ran("def answer(): return b", 3)
    assert cells.first_cause("answer", lambda name: name == "a").startswith("Cell 2 stopped with ZeroDivisionError")
    assert cells.first_cause("answer", lambda name: True) == ""


def test_a_name_is_asked_for_once_and_not_without_end():
    cells, asked = EarlierCells(), []
    for number in range(300):
        cells.ran("\n".join(f"a{i} = 1" for i in range(50)), number, "NameError: x")
    cells.ran("\n".join(f"b{i} = 1" for i in range(900)), 300, "NameError: x")
    cells.ran(
        "def answer(): return " + " + ".join([f"a{i} + b{i}" for i in range(50)] + [f"b{i}" for i in range(900)]), 301
    )
    assert cells.first_cause("answer", lambda name: asked.append(name) or True) == ""
    assert len(asked) == len(set(asked)) == MOST_ASKED
