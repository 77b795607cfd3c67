"""The numbers of an NPY or CSV body: a value for each cell, the names of the columns, and the rows at fault."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from fivefold.csv_dialect import Dialect, column_order
from fivefold.errors import Invalid, InvalidInput
from service.arrays import Array

MAX_CELLS = 2**22  # 32 MB of float64
MAX_LISTED_CELLS = 2**20  # 32 MB of Python's numbers
MAX_REPORTED = 10


class Fault(NamedTuple):
    """The first cell of a row that is no number: its place, and why."""

    column: int
    message: str


@dataclass(frozen=True, eq=False)
class NumberTable:
    """Rows of numbers, [n, D], or lists where their lengths differ; NaN where a cell is no number.

    `names` are those of a header, `doubtful` where one of them may be a number of a first row. `faults` are by row.
    `dialect` is that of a CSV body.
    """

    rows: Array | list[list[float]]
    names: Sequence[str] = ()
    faults: Mapping[int, Fault] = field(default_factory=dict)
    dialect: Dialect | None = None
    doubtful: bool = False

    def __len__(self) -> int:
        return len(self.rows)

    def __array__(self, dtype: object = None, copy: bool | None = None) -> Array:
        """For requests, which keep what is an array as it is. Raises ValueError where rows differ in length."""
        return np.asarray(self.rows, np.float64)

    def refuse(self, place: str, *, skip: bool) -> None:
        """Raises InvalidInput with the first ten rows at fault, unless they are skipped and others remain."""
        if not self.faults or (skip and len(self.faults) < len(self)):
            return
        first = list(self.faults.items())[:MAX_REPORTED]
        invalid = [Invalid(place=f"{place}.{row}.{fault.column}", message=fault.message) for row, fault in first]
        more = f" (and {len(self.faults) - 1} more rows)" if len(self.faults) > 1 else ""
        raise InvalidInput(invalid[0].message + more, invalid=invalid)

    def ordered(self, columns: Sequence[str]) -> Array | list[list[float]]:
        """The rows in the order of the model's `columns`, where both have names. Raises InvalidInput."""
        if not columns and self.doubtful:
            raise InvalidInput("the first line has words and numbers: say header=yes, or header=no where it is a row")
        if not self.names or not columns:
            return self.rows
        order = column_order(self.names, columns)
        if order == list(range(len(order))):
            return self.rows
        if isinstance(self.rows, np.ndarray):
            return np.ascontiguousarray(self.rows[:, order])
        return [[row[place] for place in order] if len(row) == len(order) else row for row in self.rows]


def require_cells(cells: int, limit: int = MAX_CELLS) -> None:
    """Raises InvalidInput for more cells than a table may have."""
    if cells > limit:
        raise InvalidInput(f"{cells} cells given, the limit is {limit}: send several requests")


def require_rows(rows: int, max_rows: int) -> None:
    """Raises InvalidInput for more rows than a request may have."""
    if rows > max_rows:
        raise InvalidInput(f"{rows} items given, the limit is {max_rows}: send several requests")
