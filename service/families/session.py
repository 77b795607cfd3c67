"""A session's protocol, rows resident on the device; OneShot, the session that answers in one step; what they share."""

from collections.abc import Callable, Sequence
from typing import Protocol

import numpy as np

from service import rng
from service.arrays import Array, Arrays
from service.jobs import Event, Row, RowId


class Session(Protocol):
    """Rows of one model and one kind. `graphs` names the graphs that one evaluation calls, for the cost of a step."""

    @property
    def capacity(self) -> int: ...

    @property
    def graphs(self) -> Sequence[str]: ...

    def admit(self, rows: Sequence[tuple[RowId, Row]]) -> None:
        """Take rows in; at most `capacity` are resident."""
        ...

    def ready(self) -> Sequence[RowId]:
        """The resident rows that can step."""
        ...

    def step(self, rows: Sequence[RowId]) -> list[Event]:
        """Advance these resident rows together. Rows that end leave. Atomic: if it raises, no row has advanced."""
        ...

    def drop(self, rows: Sequence[RowId]) -> None:
        """Let rows go, unfinished; unknown ones are ignored."""
        ...

    def close(self) -> None:
        """Free the device."""
        ...


class OneShot:
    """Every row ends with its first step: `run` maps rows to their results, in order."""

    def __init__(
        self, run: Callable[[Sequence[Row]], list[Arrays]], graphs: Sequence[str], capacity: int = 256
    ) -> None:
        self.run, self.graphs, self.capacity = run, graphs, capacity
        self._rows: dict[RowId, Row] = {}

    def admit(self, rows: Sequence[tuple[RowId, Row]]) -> None:
        self._rows.update(rows)

    def ready(self) -> Sequence[RowId]:
        return list(self._rows)

    def step(self, rows: Sequence[RowId]) -> list[Event]:
        results = self.run([self._rows[row] for row in rows])
        self.drop(rows)
        return [Event(job, row, 0, "done", result) for (job, row), result in zip(rows, results, strict=True)]

    def drop(self, rows: Sequence[RowId]) -> None:
        for row in rows:
            self._rows.pop(row, None)

    def close(self) -> None:
        self._rows.clear()


def latents(row: Row, stream: int, shape: tuple[int, ...]) -> Array:
    """The latents `z` that a row brings, or those its seed draws from N(0, temperature^2)."""
    if "z" in row.arrays:
        return row.arrays["z"]
    return rng.normal(row.seed, stream, 0, shape) * np.float32(row.params["temperature"])


def by_row(batch: Arrays) -> list[Arrays]:
    """Each row's own copies, so that none keeps the batch alive."""
    rows = len(next(iter(batch.values())))
    return [{name: np.array(array[row]) for name, array in batch.items()} for row in range(rows)]
