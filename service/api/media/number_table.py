"""The numbers of an NPY or CSV body: a value for each cell, the names of the columns, and the rows at fault."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from fivefold.csv_dialect import Dialect, Fault, column_order
from fivefold.errors import Invalid, InvalidInput
from service.arrays import Array

MAX_CELLS = 2**22  # 32 MB of float64
MAX_LISTED_CELLS = 2**20  # 32 MB of Python's numbers
MAX_REPORTED = 10


@dataclass(frozen=True, eq=False)
class NumberTable:
    """Rows of numbers, [n, D], or lists where their lengths differ; NaN where a cell is no number.

    `names` are those of a header, `detected` or declared. `faults` are by row.
    `dialect` is that of a CSV body.
    """

    rows: Array | list[list[float]]
    names: Sequence[str] = ()
    faults: Mapping[int, Fault] = field(default_factory=dict)
    dialect: Dialect | None = None
    detected: bool = False

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
        order = column_order(self.names, columns, detected=self.detected)
        if order == list(range(len(order))):
            return self.rows
        if isinstance(self.rows, np.ndarray):
            return np.ascontiguousarray(self.rows[:, order])
        return [[row[place] for place in order] if len(row) == len(order) else row for row in self.rows]


def require_cells(cells: int, limit: int = MAX_CELLS) -> None:
    """Raises InvalidInput for more cells than a table may have."""
    if cells > limit:
        kind = "" if limit == MAX_CELLS else " in rows of unequal length"
        raise InvalidInput(f"{cells} cells{kind} given, the limit is {limit}: send several requests")


def require_rows(rows: int, max_rows: int) -> None:
    """Raises InvalidInput for more rows than a request may have."""
    if rows > max_rows:
        raise InvalidInput(f"{rows} items given, the limit is {max_rows}: send several requests")
