"""CSV in: rows of numbers streamed through an operation, a batch at a time."""

import csv
import math
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from io import TextIOWrapper
from itertools import chain
from pathlib import Path
from typing import Any, TextIO

from fivefold.cli.bulk import RequestT, answered, batches
from fivefold.client import Client
from fivefold.errors import InvalidInput
from fivefold.operation import Answer, FailedItem, ItemError, ItemT, Operation
from fivefold.parsing import built

BATCH = 512


def is_table(source: Path) -> bool:
    """Whether `source` means rows of numbers: a CSV file, or - for stdin."""
    return str(source) == "-" or source.suffix.lower() == ".csv"


class Table:
    """A CSV file that is being read: the `width` of its first row, and the cells of each line, without a header."""

    def __init__(self, file: TextIO, size_bytes: int) -> None:
        self._file, self._size_bytes = file, size_bytes
        rows = _rows(file)
        first = next(rows, None)
        if first is None:
            raise InvalidInput("0 rows in the file, 1 or more needed: write one row of numbers a line")
        self.width = len(first)
        self.lines = chain([first], rows)

    def share_read(self) -> float:
        """From 0 to 1; 0 where the size is not known."""
        return self._file.buffer.tell() / self._size_bytes if self._size_bytes else 0.0


@contextmanager
def opened(source: Path) -> Iterator[Table]:
    """The table of a file, or of stdin. Raises InvalidInput where it has no row."""
    if str(source) == "-":
        yield Table(TextIOWrapper(sys.stdin.buffer, "utf-8-sig", errors="replace", newline=""), 0)
        return
    with source.open(encoding="utf-8-sig", errors="replace", newline="") as file:
        yield Table(file, source.stat().st_size)


def _rows(file: TextIO) -> Iterator[list[str]]:
    """The cells of each line that has any; a first line without a number is a header. Raises InvalidInput."""
    try:
        rows = (line for line in csv.reader(file) if line)
        first = next(rows, [])
        if any(_number(cell) is not None for cell in first):
            yield first
        yield from rows
    except csv.Error as error:
        raise InvalidInput(f"not CSV: {error}: write one row of numbers a line") from error


def rows_answered(
    client: Client,
    operation: Operation[RequestT, Answer[ItemT], Any],
    lines: Iterable[list[str]],
    fields: Mapping[str, Any],
    seed: int,
) -> Iterator[ItemT | FailedItem]:
    """One item for each line; each line is scored with the same seed."""
    for batch in batches(lines, BATCH):
        rows = [[_number(cell) for cell in line] for line in batch]
        readable = [index for index, row in enumerate(rows) if None not in row]
        part = {"rows": [rows[index] for index in readable], "seed": seed, "on_error": "skip"}
        items: list[ItemT | FailedItem] = []
        if readable:
            items = answered(client, operation, built(operation.request, {**fields, **part}))
        by_index = dict(zip(readable, items, strict=True))
        yield from (by_index.get(index) or _unreadable(index, line) for index, line in enumerate(batch))


def _number(cell: str) -> float | None:
    """The number of a cell, or None where it is no finite one."""
    try:
        number = float(cell)
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def _unreadable(index: int, line: list[str]) -> FailedItem:
    column, cell = next((place, cell) for place, cell in enumerate(line, 1) if _number(cell) is None)
    message = f"column {column} is {cell[:60]!r}, a finite number expected"
    return FailedItem(index=index, error=ItemError(code=InvalidInput.code, message=message))
