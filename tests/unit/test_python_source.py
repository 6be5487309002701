"""What source defines and calls, whatever of Python, IPython or neither it is."""

import pytest

from autograde.notebook import script
from autograde.notebook.python_source import MAX_PARSED, check_calls, names, names_of_all, names_of_check
from autograde.notebook.script import UnreadableScript

ANSWER = "def double(x):\n    return x + x\n"


@pytest.mark.parametrize(
    "source",
    [ANSWER, f"%%time\n{ANSWER}", f"%%capture shown\n{ANSWER}", f"!pip list\n{ANSWER}", f"%matplotlib inline\n{ANSWER}",
     f"%time 1 + 1\n{ANSWER}", f"if True:\n    %time 1\n{ANSWER}", f"a = (7\n     % 4)\n{ANSWER}", f'"""\n% not a magic (\n"""\n{ANSWER}'],
)  # fmt: skip
def test_a_definition_is_found_beside_magics_and_where_a_line_looks_like_one(source):
    assert "double" in names(source)[1]


def test_of_more_than_is_parsed_every_word_is_used_that_is_not_defined():
    long = "x = 1\n" * MAX_PARSED
    used, made = names_of_all([f"{ANSWER}y = shown == x\n", long])[0]
    assert "shown" in used and {"double", "y"} <= made and not used & made


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("check.double(double)", [("double", "double", 1)]),
        ("x = 1\n\ncheck.double(\n    double,\n    seed=3,\n)\n", [("double", "double", 6)]),
        ("if True:\n    check.double(mine)\nelse:\n    pass", [("double", "mine", 4)]),
        ("autograde.check.double(lambda x: 2 * x)", [("double", "lambda x: 2 * x", 1)]),
        ("check.double(seed=3, target=answers.mine)", [("double", "answers.mine", 1)]),
        ("check.double(*both)", [("double", "", 1)]),
        ("%time check.double(double)", [("double", "double", 1)]),
        ("def f(:\n\ncheck.double(double)", [("double", "double", 3)]),
        ("check.double.inputs(seed=3)\nprint(check.double)", []),
        ("def f():\n    check.double(double)", [("double", "double", 2)]),
        ("# check.double(double)", []),
    ],
)
def test_calls_of_checks(source, found):
    assert [(call.exercise, call.target, call.line) for call in check_calls(source)] == found


def test_a_call_in_a_function_is_told_from_one_that_is_made_at_once():
    source = "def main():\n    c.double(double)\n\nif True:\n    c.halve(halve)\n"
    assert not check_calls(source)
    assert [(call.exercise, call.in_function) for call in check_calls(source, {"c"})] == [
        ("double", True),
        ("halve", False),
    ]
    assert names_of_check("from autograde import check as c\nfrom torch import check") == {"c"}
    assert names_of_check("import autograde as a\nimport autograde, torch") == {"a.check", "autograde.check"}
    assert [call.exercise for call in check_calls("a.check.double(f)\nb.check.halve(f)", {"a.check"})] == ["double"]


def test_a_script_is_cut_where_it_calls_a_check():
    text = f"\n\n{ANSWER}\ncheck.double(double)\n\n\ndouble = None\n"
    assert [(piece.first, piece.source.split("\n")[0], len(piece.calls)) for piece in script.pieces(text)] == [
        (3, "def double(x):", 1),
        (9, "double = None", 0),
    ]


@pytest.mark.parametrize("mark", ["# %%", "# %% [markdown]\n# text\n\n# %%", "# In[ ]:"])
@pytest.mark.parametrize("magic", ["", "%%time\n"])
def test_a_script_with_marks_of_cells_is_cut_there(mark, magic):
    text = f"{mark}\nx = 1\n# %%\n{magic}{ANSWER}"
    assert script.has_cells(text) and script.pieces(text)[-1].source == f"# %%\n{magic}{ANSWER}"


def test_a_script_without_cells_is_one_piece():
    assert not script.has_cells(ANSWER) and len(script.pieces(ANSWER)) == 1
    assert script.has_cells(f"%matplotlib inline\n{ANSWER}")


@pytest.mark.parametrize(
    ("data", "text"),
    [
        ("x = 'é'\r\n".encode(), "x = 'é'\n"),
        (b"\xef\xbb\xbfx = 1\n", "x = 1\n"),
        ("# -*- coding: latin-1 -*-\nx = 'é'\n".encode("latin-1"), "# -*- coding: latin-1 -*-\nx = 'é'\n"),
        ("x = 'é'\n".encode("latin-1"), "Save it as UTF-8"),
        ("x = 1\n".encode("utf-16"), "Save it as UTF-8"),
        (b"# coding: nonsense\n", "names an encoding that Python does not know"),
        (b"# coding: punycode\nx = 1\n", "names an encoding that Python does not know"),
        (b"# coding: undefined\n", "names an encoding that Python does not know"),
    ],
)
def test_a_script_is_read_as_python_reads_it(tmp_path, data, text):
    path = tmp_path / "answers.py"
    path.write_bytes(data)
    try:
        assert script.read(path) == text
    except UnreadableScript as error:
        assert text in str(error)
