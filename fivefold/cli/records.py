"""Records out: CSV with a header, or JSON lines; to a file or to stdout."""

import csv
import json
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Any

Write = Callable[[Mapping[str, Any]], None]


@contextmanager
def written(output: Path | None, columns: Sequence[str], *, as_json: bool) -> Iterator[Write]:
    """Inside, each record is written at once. What a record has no value for is empty in CSV, absent in JSON."""
    if output is None:
        yield _writer(sys.stdout, columns, as_json=as_json)
        sys.stdout.flush()
        return
    with output.open("w", encoding="utf-8", newline="") as file:
        yield _writer(file, columns, as_json=as_json)


def _writer(file: Any, columns: Sequence[str], *, as_json: bool) -> Write:
    if as_json:
        return lambda record: print(json.dumps(record), file=file)
    table, records = csv.DictWriter(file, columns, lineterminator="\n"), count()

    def write(record: Mapping[str, Any]) -> None:
        if next(records) == 0:  # not earlier: what fails before its first record leaves no half a table
            table.writeheader()
        table.writerow(record)

    return write
