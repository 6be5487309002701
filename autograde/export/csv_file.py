"""A CSV file of which some cells are filled in, and everything else stays as it is, byte for byte.

Python's csv module would write other quotes and line ends than it has read.
"""

import re

from autograde.project import CourseError
from autograde.submission.files import MAX_BYTES, NotRegular, TooLarge, read_regular
from autograde.terminal import one_line

BOM = "\ufeff"
SEPARATORS = ",;\t"
AGAIN = "Download it again as CSV (comma separated, UTF-8), and do not save it in a spreadsheet program"


class CsvFile:
    """A CSV file with a header row.

    Args:
        path: its path.

    Attributes:
        header: the names of the columns, without white space around them.

    Raises:
        CourseError: it cannot be read, or is no CSV file.
    """

    def __init__(self, path):
        self.path = path
        text = _text(path)
        self._bom = BOM if text.startswith(BOM) else ""
        text = text.removeprefix(BOM)
        self._separator = max(SEPARATORS, key=lambda separator: _width(text, separator))
        self._rows = _rows(text, self._separator, path)
        self.header = [_value(raw).strip() for raw, _ in self._rows[0]]
        if len(self.header) < 2:
            raise CourseError(f"{path} has no columns in its first line. {AGAIN}")

    def column(self, index):
        """The cells of a column below the header, without white space around them; "" where a row is shorter."""
        return [_value(row[index][0]).strip() if index < len(row) else "" for row in self._rows[1:]]

    def set(self, row, index, value):
        """Set a cell.

        Args:
            row: counted from 0, without the header.
            index: of the column.
            value: text without quotes, separators and line breaks.
        """
        cells = self._rows[row + 1]
        while len(cells) <= index:
            cells[-1][1], end = self._separator, cells[-1][1]
            cells.append(["", end])
        quote = '"' if cells[index][0].startswith('"') else ""
        cells[index][0] = f"{quote}{value}{quote}"

    def as_bytes(self):
        """The file with what was set."""
        return (self._bom + "".join(raw + end for row in self._rows for raw, end in row)).encode()


def _text(path):
    try:
        content = read_regular(path.resolve(), MAX_BYTES)
    except NotRegular as error:
        raise CourseError(f"{path} is {error}, not a file") from None
    except TooLarge:
        raise CourseError(f"{path} has more than {MAX_BYTES // 2**20} MB, so it is no gradebook") from None
    except OSError as error:
        raise CourseError(f"{path} cannot be read: {error.strerror}") from None
    try:
        text = content.decode()
    except UnicodeDecodeError:
        text = "\0"
    if "\0" in text:
        raise CourseError(f"{path} is not text in UTF-8. {AGAIN}")
    return text


def _width(text, separator):
    """How many columns the first row has with this separator; 0 if it cannot be read so."""
    try:
        return len(_rows(text, separator, "", only_first=True)[0])
    except CourseError:
        return 0


def _rows(text, separator, path, only_first=False):
    """The rows of a text: each a list of ``[cell as it is written, what follows it]``."""
    cell = re.compile(rf'("[^"]*+(?:""[^"]*+)*+"|[^"{separator}\r\n][^{separator}\r\n]*+|)({separator}|\r\n|\n|\r|\Z)')
    rows, row, at = [], [], 0
    while True:
        found = cell.match(text, at)
        if found is None:
            line = len(re.findall(r"\r\n|\n|\r", text[:at])) + 1
            start = one_line(text[at : at + 30])
            raise CourseError(f"{path} has a quotation mark out of place in line {line}, at {start!r}. {AGAIN}")
        row.append([*found.groups()])
        at = found.end()
        if found[2] != separator:
            rows.append(row)
            row = []
            if at >= len(text) or only_first:
                return rows


def _value(raw):
    return raw[1:-1].replace('""', '"') if raw.startswith('"') else raw
