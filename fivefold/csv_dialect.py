"""CSV as people write it: its dialect, its header and the numbers in its cells. The service and the CLI read by it."""

import csv
import math
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Literal, NamedTuple

from pydantic import Field

from fivefold.errors import InvalidInput
from fivefold.operation import Wire

MISSING = frozenset(
    ("", "?", "na", "n/a", "#na", "#n/a", "<na>", "nan", "-nan", "+nan", "nil", "none", "null", "missing", "#null!")
)
"""What stands where a value is missing, in lower case."""
DELIMITERS = (";", "\t", "|", ",")
"""In this order where a line may be read by several: a comma may also be a decimal comma."""
NUMERIC = frozenset("0123456789+-.,eE _'")
INFINITE = frozenset(f"{sign}{word}" for sign in ("", "+", "-") for word in ("inf", "infinity"))
SAMPLED_LINES = 10
SAMPLED_CHARACTERS = 10_000
PLAIN = b"0123456789+-.eE, \t"  # what decimal numbers are written with

Lines = Sequence[str]


class CsvOptions(Wire):
    """How a table is to be read; "auto" is detected from the table itself."""

    header: Literal["auto", "yes", "no"] = Field("auto", description="whether the first line holds names")
    delimiter: Literal["auto", ",", ";", "\t", "tab", "|"] = Field("auto", description="between two cells")
    decimal: Literal["auto", ".", ","] = Field("auto", description="before the fraction of a number")


@dataclass(frozen=True)
class Dialect:
    """How a table is written. With `trailing_delimiter`, each line ends with a delimiter that begins no cell."""

    delimiter: str
    decimal: str
    header: bool
    trailing_delimiter: bool = False

    def __str__(self) -> str:
        """As the header field Fivefold-Csv has it: a dictionary of RFC 9651."""
        delimiter = "tab" if self.delimiter == "\t" else self.delimiter
        return f'header={"yes" if self.header else "no"}, delimiter="{delimiter}", decimal="{self.decimal}"'


def encoding_of(start: bytes) -> str:
    """The encoding of a table by its first bytes, or all: UTF-8 or UTF-16. Raises InvalidInput for others."""
    if start.startswith((b"\xff\xfe\0\0", b"\0\0\xfe\xff")):
        raise InvalidInput("a table in UTF-32 given: write it in UTF-8")
    if start.startswith((b"\xff\xfe", b"\xfe\xff")):
        return "utf-16"
    if b"\0" in start:
        raise InvalidInput("a table with NUL bytes given: write it in UTF-8, or in UTF-16 with a byte order mark")
    return "utf-8-sig"


def detect(lines: Lines, options: CsvOptions) -> Dialect:
    """The dialect of a table, whose lines are not blank. What `options` state is not detected."""
    delimiter = _delimiter(lines, options) if options.delimiter == "auto" else options.delimiter.replace("tab", "\t")
    first = next(split_rows(lines, delimiter), [])
    header = options.header == "yes" or (options.header == "auto" and any(map(is_name, first)))
    rows = lines[header:]
    trailing = bool(rows) and all(line.rstrip(" \n").endswith(delimiter) for line in rows)
    if trailing and header and first[-1].strip():  # each row lacks its last value, unless that has no name
        trailing = len(next(split_rows(rows, delimiter))) > len(first)
    decimal = _decimal(rows, delimiter) if options.decimal == "auto" else options.decimal
    return Dialect(delimiter, decimal, header, trailing)


def _delimiter(lines: Lines, options: CsvOptions) -> str:
    """The one that most of the first lines have, outside of quotes; a decimal comma is none where nothing is quoted."""
    quoted = "\n".join(line[:SAMPLED_CHARACTERS] for line in lines[:SAMPLED_LINES]).split('"')
    sample = "".join(quoted[::2]).split("\n")
    counts = {delimiter: sum(delimiter in line for line in sample) for delimiter in DELIMITERS}
    found = max(counts, key=lambda delimiter: counts[delimiter])
    is_comma = not counts[found] or found == ","
    return found if not is_comma else ";" if options.decimal == "," and len(quoted) == 1 else ","


def _decimal(rows: Lines, delimiter: str) -> str:
    """A comma where it cannot be a delimiter and no cell has a point."""
    if delimiter == "," or any("." in line for line in rows):
        return "."
    return "," if any("," in line for line in rows) else "."


def is_name(cell: str) -> bool:
    """Whether a cell is neither a number, in whatever form, nor a missing value."""
    word = cell.strip().lower()
    if word in MISSING or word in INFINITE:
        return False
    return not NUMERIC.issuperset(word) or not any(map(str.isdigit, word))


def split_rows(lines: Iterable[str], delimiter: str) -> Iterator[list[str]]:
    """The cells of each row; no line is blank. Only a quote in the first row, a header, may reach beyond its line.

    Raises InvalidInput.
    """
    ended = (line if line.endswith("\n") else f"{line}\n" for line in lines)
    reader = csv.reader(chain(ended, ["\n"]), delimiter=delimiter, skipinitialspace=True)
    line = 0
    try:
        for row in reader:
            if not row:  # the line that was added
                return
            if line and reader.line_num > line + 1:
                break
            line = reader.line_num
            yield row
    except csv.Error as error:
        raise InvalidInput(f"not CSV: {error}: write one row of numbers a line") from error
    raise InvalidInput(f"not CSV: a quote that opens in line {line + 1} is not closed there: close it, or leave it out")


def cells_of(row: list[str], dialect: Dialect) -> list[str]:
    """The cells of a row, without the one that a trailing delimiter seems to begin."""
    return row[:-1] if dialect.trailing_delimiter and len(row) > 1 and not row[-1].strip() else row


def numbers_of(cells: Sequence[str], decimal: str) -> list[float] | None:
    """The numbers of cells of which each holds a finite decimal one; None for others. The cost is linear."""
    text = "".join(cells)
    if text.encode().translate(None, PLAIN) or (decimal == "," and "." in text):
        return None
    try:
        numbers = [float(cell.replace(",", ".")) for cell in cells] if decimal == "," else [*map(float, cells)]
    except ValueError:
        return None
    finite = math.isfinite(sum(numbers)) or all(map(math.isfinite, numbers))  # a sum alone may overflow
    return numbers if finite else None


class Fault(NamedTuple):
    """Why a row cannot be read, and the first of its columns that is to blame."""

    column: int
    message: str


def read_row(cells: Sequence[str], row: int, dialect: Dialect, names: Sequence[str]) -> list[float] | Fault:
    """The numbers of row `row`, counted from 0."""
    if names and len(cells) != len(names):
        return width_fault(len(cells), row, names)
    if (numbers := numbers_of(cells, dialect.decimal)) is not None:
        return numbers
    column = _first_bad(cells, dialect.decimal)
    name = f" ({names[column][:60]})" if names else ""
    return Fault(column, f"row {row + 1} column {column + 1}{name}: {_reason(cells[column], dialect.decimal)}")


def _first_bad(cells: Sequence[str], decimal: str) -> int:
    """The place of the first cell without a number, by bisection: all numbers before it are read at once."""
    low, high = 0, len(cells)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if numbers_of(cells[low:middle], decimal) is None else (middle, high)
    return low


def width_fault(width: int, row: int, names: Sequence[str]) -> Fault:
    """Why a row of `width` cells cannot be read under these names."""
    return Fault(0, f"row {row + 1}: {width} cells given, the header has {len(names)}: give as many")


def _reason(cell: str, decimal: str) -> str:
    """Why a cell has no number."""
    word, shown = cell.strip().lower(), repr(cell[:60])
    if word in MISSING:
        return f"the value is missing, {shown} given: a number expected"
    other = "." if decimal == "," else ","
    if other in cell and numbers_of([cell], other) is not None:
        return f'{shown} given, a number with "{decimal}" before its fraction expected: see the option decimal'
    return f"{shown} given, {'a finite number' if _is_infinite(word) else 'a number'} expected"


def _is_infinite(word: str) -> bool:
    return word in INFINITE or ("e" in word and not word.encode().translate(None, PLAIN))


def column_order(names: Sequence[str], columns: Sequence[str], *, detected: bool) -> list[int]:
    """Where in a table with these names each of the model's columns is; as they come where one of both has no names.

    Raises InvalidInput for unknown, missing and repeated names, and for a `detected` header that may be a row.
    """
    if not columns and detected and not all(map(is_name, names)):
        raise InvalidInput("the first line has words and numbers: say header=yes, or header=no where it is a row")
    if not names or not columns:
        return []
    places = {name: place for place, name in enumerate(names)}
    if "" in places:
        raise InvalidInput(f"column {names.index('') + 1} of the header has no name: {_way_out(columns)}")
    if unknown := [name for name in places if name not in columns]:
        raise InvalidInput(f"the model has no column {_listed(unknown)}: {_way_out(columns)}")
    if missing := [column for column in columns if column not in places]:
        raise InvalidInput(f"the header has no column {_listed(missing)}: {_way_out(columns)}")
    if repeated := [name for name, count in Counter(names).items() if count > 1]:
        raise InvalidInput(f"the header has the column {_listed(repeated)} more than once: {_way_out(columns)}")
    return [places[column] for column in columns]


def _way_out(columns: Sequence[str]) -> str:
    return f"give the {len(columns)} columns {_listed(columns)} in any order; header=no where the first line is a row"


def _listed(names: Sequence[str]) -> str:
    shown = ", ".join(repr(name[:60]) for name in names[:12])
    return shown if len(names) <= 12 else f"{shown} and {len(names) - 12} more"
