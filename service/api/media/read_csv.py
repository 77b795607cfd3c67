"""CSV bodies -> numbers."""

import codecs
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import orjson

from fivefold.csv_dialect import (
    DELIMITERS,
    PLAIN,
    CsvOptions,
    Dialect,
    Fault,
    cells_of,
    detect,
    encoding_of,
    read_row,
    split_rows,
    width_fault,
)
from fivefold.errors import InvalidInput
from service.api.media.number_table import MAX_CELLS, MAX_LISTED_CELLS, NumberTable, require_cells, require_rows
from service.arrays import Array

MAX_COLUMNS = 2**18  # a picture of 3 x 256 x 256 has fewer
BLOCK_CELLS = 2**16
UNIT = "\x1f"  # stands between cells that were in quotes
NEGATIVE_ZERO, BLANKS = ",-0,", str.maketrans("", "", " \t")


def read_csv(body: bytes, options: CsvOptions, max_rows: int) -> NumberTable:
    """One row a line. Lines, columns and cells are counted before a number is read. Raises InvalidInput."""
    lines = _lines(body, max_rows)
    _require_columns(lines)
    dialect = detect(lines, options)
    names, rows, separator = _split(lines, dialect, quoted=b'"' in body)
    if not rows:
        raise InvalidInput(f"0 rows given{' beside the header' if names else ''}, 1 or more expected")
    require_rows(len(rows), max_rows)
    widths = [row.count(separator) + 1 for row in rows]
    require_cells(sum(widths), MAX_CELLS if len(set(widths)) == 1 else MAX_LISTED_CELLS)
    faults = _wrong_widths(widths, names)
    cells = _Cells(dialect, separator, names, faults)
    values, end = np.empty(sum(widths)), 0
    for start, stop in _blocks(widths):
        block = cells.read(rows[start:stop], start)
        values[end : end + len(block)] = block
        end += len(block)
    return NumberTable(_shaped(values, widths), names, dict(sorted(faults.items())), dialect, options.header == "auto")


def _lines(body: bytes, max_rows: int) -> list[str]:
    """The lines that are not blank. Raises InvalidInput for too many of them, and for what is no text."""
    try:
        encoding = encoding_of(body)
        content = body.removeprefix(codecs.BOM_UTF8) if encoding == "utf-8-sig" else body.decode(encoding).encode()
        if (given := max(content.count(b"\n"), content.count(b"\r"))) > 2 * max_rows + 2:
            raise InvalidInput(f"{given} lines given, the limit is {max_rows} rows: send several requests")
        # a text that is not ASCII takes up to four bytes a character: each line alone takes what it needs
        plain = content.isascii() and b"\r" not in content
        lines = str(content, "utf-8").split("\n") if plain else [str(line, "utf-8") for line in content.splitlines()]
    except UnicodeError as error:
        raise InvalidInput(f"not text in UTF-8: {str(error)[:200]}: save the table in UTF-8") from error
    return [line for line in lines if line and (line[0] != " " or line.strip(" "))]


def _require_columns(lines: Sequence[str]) -> None:
    longest = max(lines, key=len, default="")
    if len(longest) > MAX_COLUMNS and (most := max(map(longest.count, DELIMITERS))) >= MAX_COLUMNS:
        raise InvalidInput(f"{most + 1} columns given, the limit is {MAX_COLUMNS}: give those of the model")


def _split(lines: list[str], dialect: Dialect, *, quoted: bool) -> tuple[list[str], list[str], str]:
    """The names of the header, the rows as lines without quotes, and what separates their cells."""
    separator = UNIT if quoted else dialect.delimiter
    if quoted:
        split = split_rows(lines, dialect.delimiter)
        lines = [UNIT.join(cell.replace(UNIT, "?") for cell in cells_of(row, dialect)) for row in split]
    elif dialect.trailing_delimiter:
        lines = [UNIT.join(cells_of(line.split(separator), dialect)) for line in lines]
        separator = UNIT
    if not dialect.header:
        return [], lines, separator
    return [name.strip() for name in lines[0].split(separator)], lines[1:], separator


def _blocks(widths: Sequence[int]) -> Iterator[tuple[int, int]]:
    """Consecutive rows, from start to stop, with BLOCK_CELLS cells where that is possible."""
    step = max(1, BLOCK_CELLS // max(widths))
    return ((start, start + step) for start in range(0, len(widths), step))


def _wrong_widths(widths: Sequence[int], names: Sequence[str]) -> dict[int, Fault]:
    """The rows that have not as many cells as the header."""
    wrong = [row for row, width in enumerate(widths) if width != len(names)] if names else []
    return {row: width_fault(widths[row], row, names) for row in wrong}


def _shaped(values: Array, widths: Sequence[int]) -> Array | list[list[float]]:
    if len(set(widths)) == 1:
        return values.reshape(len(widths), -1)
    return [row.tolist() for row in np.split(values, np.cumsum(widths[:-1]))]


@dataclass(frozen=True)
class _Cells:
    """Reads the cells of rows; `faults` collects the rows with a cell that is no number."""

    dialect: Dialect
    separator: str
    names: Sequence[str]
    faults: dict[int, Fault]

    def read(self, rows: Sequence[str], first: int) -> Array:
        """float64, all cells of these consecutive rows, the first of which is row `first`."""
        plain = self._plain(rows)
        if plain is None:
            numbered = enumerate(rows, first)
            plain = np.array([number for row, line in numbered for number in self._row(line, row)], np.float64)
        return plain

    def _plain(self, rows: Sequence[str]) -> Array | None:
        """The same of rows that are JSON but for the brackets. None for others.

        orjson reads numbers four times faster than float(), and to the same bits. An integer -0 would lose its sign.
        """
        text, other = self.separator.join(rows), "." if self.dialect.decimal == "," else ","
        if self.separator != "," and other in text:
            return None
        text = text.replace(",", ".").replace(self.separator, ",") if self.separator != "," else text
        content = text.encode()
        if content.translate(None, PLAIN) or (b"-0" in content and NEGATIVE_ZERO in f",{text},".translate(BLANKS)):
            return None  # it has words
        try:
            numbers = orjson.loads(b"[%b]" % content)
        except orjson.JSONDecodeError:  # an empty cell, +1, .5 or 007
            return None
        return np.fromiter(numbers, np.float64) if numbers else None  # one empty cell

    def _row(self, line: str, row: int) -> list[float]:
        """The numbers of one row; NaN for all cells of one at fault."""
        cells = line.split(self.separator)
        numbers = read_row(cells, row, self.dialect, self.names)
        if isinstance(numbers, Fault):
            self.faults.setdefault(row, numbers)
            return [math.nan] * len(cells)
        return numbers
