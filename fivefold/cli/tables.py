"""CSV in: rows of numbers streamed through an operation, a batch at a time."""

import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from io import BufferedReader, TextIOWrapper
from itertools import chain, islice
from pathlib import Path
from typing import Any

from fivefold.cards import ModelCard
from fivefold.cli.bulk import RequestT, answered, batches
from fivefold.client import Client
from fivefold.csv_dialect import CsvOptions, Fault, cells_of, column_order, detect, encoding_of, read_row, split_rows
from fivefold.errors import InvalidInput
from fivefold.operation import Answer, FailedItem, ItemError, ItemT, Operation
from fivefold.parsing import built

BATCH = 512


def is_table(source: Path) -> bool:
    """Whether `source` means rows of numbers: a CSV file, or - for stdin."""
    return str(source) == "-" or source.suffix.lower() in (".csv", ".tsv")


class Table:
    """A CSV file that is being read: the number of its columns, and its rows one by one.

    The first lines tell its dialect. Raises InvalidInput where there is no row.
    """

    def __init__(self, file: BufferedReader, size_bytes: int, options: CsvOptions) -> None:
        self._file, self._size_bytes, self._options = file, size_bytes, options
        self._text = TextIOWrapper(file, encoding_of(file.peek(4)[:4]), errors="replace")
        lines = (line for line in self._text if line.strip(" \n"))
        sample = list(islice(lines, BATCH))
        self.dialect = detect(sample, options)
        rows = (cells_of(row, self.dialect) for row in split_rows(chain(sample, lines), self.dialect.delimiter))
        self.names = [name.strip() for name in next(rows)] if self.dialect.header else []
        first = next(rows, None)
        if first is None:
            raise InvalidInput("0 rows in the file, 1 or more needed: write one row of numbers a line")
        self.width = len(self.names or first)
        self._rows = chain([first], rows)

    def rows(self, card: ModelCard) -> Iterator[list[float] | Fault]:
        """The numbers of each row, in the order of the model's columns. Raises InvalidInput for other names."""
        columns = card.parameters.get("columns") or ()
        order = column_order(self.names, columns, detected=self._options.header == "auto")
        for row, cells in enumerate(self._rows):
            numbers = read_row(cells, row, self.dialect, self.names)
            yield [numbers[place] for place in order] if order and isinstance(numbers, list) else numbers

    def share_read(self) -> float:
        """From 0 to 1; 0 where the size is not known."""
        return self._file.tell() / self._size_bytes if self._size_bytes else 0.0


@contextmanager
def opened(source: Path, options: CsvOptions) -> Iterator[Table]:
    """The table of a file, or of stdin. Raises InvalidInput where it has no row."""
    if str(source) == "-":
        yield Table(BufferedReader(sys.stdin.buffer), 0, options)  # type: ignore[arg-type]
        return
    with source.open("rb") as file:
        yield Table(file, source.stat().st_size, options)


def rows_answered(
    client: Client,
    operation: Operation[RequestT, Answer[ItemT], Any],
    rows: Iterator[list[float] | Fault],
    fields: Mapping[str, Any],
    seed: int,
) -> Iterator[ItemT | FailedItem]:
    """One item for each row. Each has the same seed: its score is its own, whatever its place in the file."""
    for batch in batches(rows, BATCH):
        readable = [row for row in batch if not isinstance(row, Fault)]
        part = {"rows": readable, "seed": seed, "on_error": "skip"}
        items = iter(answered(client, operation, built(operation.request, {**fields, **part})) if readable else [])
        yield from (_failed(index, row) if isinstance(row, Fault) else next(items) for index, row in enumerate(batch))


def _failed(index: int, fault: Fault) -> FailedItem:
    return FailedItem(index=index, error=ItemError(code=InvalidInput.code, message=fault.message))
