"""What an evaluation of a graph costs, as measured when it was loaded."""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class CostCurve:
    """Seconds of one evaluation of n rows: base_seconds + n * seconds_per_row."""

    base_seconds: float
    seconds_per_row: float

    def seconds(self, rows: float) -> float:
        return self.base_seconds + rows * self.seconds_per_row

    def __add__(self, other: "CostCurve") -> "CostCurve":
        """The cost of both graphs, one after the other."""
        return CostCurve(self.base_seconds + other.base_seconds, self.seconds_per_row + other.seconds_per_row)


Costs = Mapping[str, CostCurve]
"""The curve of each graph of a model, by its name."""
