"""A CSV file that is filled in: what is read is what Python's csv module reads, and what is not set stays to the byte."""

import csv
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autograde.export.csv_file import CsvFile
from autograde.export.number import as_text
from autograde.project import CourseError

# Python 3.11's csv module writes a lone \r without quotes, and then reads two rows.
CELLS = st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\0\r"), max_size=8) | st.sampled_from(
    ['"', "a,b", "two\r\nlines", "=1+1", "", " x "]
)
ROWS = st.lists(st.lists(CELLS, min_size=2, max_size=4), min_size=2, max_size=5)


@given(
    rows=ROWS, separator=st.sampled_from(",;\t"), end=st.sampled_from(["\n", "\r\n"]), bom=st.booleans(), data=st.data()
)
def test_one_cell_changes_and_nothing_else(tmp_path_factory, rows, separator, end, bom, data):
    rows[0] = ["one", "two"]
    text = io.StringIO(newline="")
    quoting = data.draw(st.sampled_from([csv.QUOTE_ALL, csv.QUOTE_MINIMAL]))
    csv.writer(text, delimiter=separator, lineterminator=end, quoting=quoting).writerows(rows)
    content = ("\ufeff" * bom + text.getvalue()).encode()
    path = tmp_path_factory.getbasetemp() / "any.csv"
    path.write_bytes(content)
    file = CsvFile(path)
    assert file.header == ["one", "two"] and file.as_bytes() == content
    for index in (0, 1):
        assert file.column(index) == [row[index].strip() for row in rows[1:]]
    row = data.draw(st.integers(1, len(rows) - 1))
    file.set(row - 1, 1, "2.5")
    rows[row][1] = "2.5"
    again = file.as_bytes().decode("utf-8-sig")
    assert list(csv.reader(io.StringIO(again, newline=""), delimiter=separator)) == rows


def test_a_cell_in_a_short_row_is_added_before_its_line_end(tmp_path):
    path = tmp_path / "short.csv"
    path.write_bytes(b"a,b,c\r\nx\r\ny,1,2")
    file = CsvFile(path)
    file.set(0, 2, "5")
    assert file.as_bytes() == b"a,b,c\r\nx,,5\r\ny,1,2"


def test_quotation_marks_without_end_take_no_time_and_no_memory(tmp_path):
    path = tmp_path / "quotes.csv"
    path.write_bytes(b"a,b\n" + b'"' * 4_000_001)
    with pytest.raises(CourseError, match="quotation mark out of place in line 2"):
        CsvFile(path)


def test_a_file_of_more_than_64_mb_is_not_read(tmp_path):
    path = tmp_path / "large.csv"
    with open(path, "wb") as file:
        file.truncate(2**26 + 1)
    with pytest.raises(CourseError, match="more than 64 MB"):
        CsvFile(path)


@pytest.mark.parametrize(
    ("points", "expected"),
    [(0, "0"), (10, "10"), (2.5, "2.5"), (0.1 + 0.2, "0.3"), (1 / 3, "0.33333"), (1e-9, "0"), (123456.5, "123456.5")],
)
def test_points_are_written_with_a_point_and_at_most_five_digits_behind_it(points, expected):
    assert as_text(points) == expected
