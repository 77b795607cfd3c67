"""A session's protocol; ResidentRows, what sessions keep of rows; OneShot, the session that answers in one step."""

from collections.abc import Callable, Sequence
from typing import Generic, Protocol, Self, TypeVar

import numpy as np

from service import rng
from service.arrays import Array, Arrays, Columns, split
from service.jobs import Block, Events, Parameters, Range

ONE_SHOT_ROWS = 256


class Session(Protocol):
    """Rows of one model and one kind of parameters."""

    @property
    def capacity(self) -> int:
        """How much may be resident, in the unit that is scarce here: rows, or bytes."""
        ...

    @property
    def memory_bytes(self) -> int:
        """What its rows may hold on the device between two steps: 0 where a row ends with its first step."""
        ...

    def need(self, block: Block) -> int:
        """What one row of the block takes of the capacity."""
        ...

    def admit(self, rows: Range, block: Block) -> None:
        """Take these rows of a job's block in. Atomic: if it raises, none of them is resident."""
        ...

    def ready(self, rows: Sequence[Range]) -> Sequence[Range]:
        """Those of these resident rows that can step together now: at least one, where there are any."""
        ...

    def step(self, rows: Sequence[Range]) -> Sequence[Events]:
        """Advance these rows, which are ready, by one evaluation. Rows that end leave.

        Atomic: if it raises, no row has advanced. Ranges of one job come in ascending order.
        """
        ...

    def drop(self, rows: Sequence[Range]) -> None:
        """Let these resident rows go, unfinished."""
        ...

    def close(self) -> None:
        """Free the device."""
        ...


class Rows(Protocol):
    """What a session keeps of consecutive rows: it can be cut. A Block is one, and so is a list."""

    def __len__(self) -> int: ...

    def __getitem__(self, where: slice, /) -> Self: ...


RowsT = TypeVar("RowsT", bound=Rows)


class ResidentRows(Generic[RowsT]):
    """The resident rows by job: parts of consecutive rows, cut where a step or an end divides them."""

    def __init__(self) -> None:
        self._parts: dict[str, list[tuple[int, RowsT]]] = {}

    def add(self, rows: Range, part: RowsT) -> None:
        """`part` has one entry for each of these rows."""
        parts = self._parts.setdefault(rows.job_id, [])
        parts.append((rows.start, part))
        parts.sort(key=lambda one: one[0])

    def of(self, rows: Range) -> list[RowsT]:
        """What is kept of these rows, in order; parts that reach beyond them are cut."""
        return [part for _, part in self._cut(rows)]

    def remove(self, rows: Range) -> list[RowsT]:
        """Forget these rows; returns what was kept of them."""
        removed = self._cut(rows)
        left = [one for one in self._parts[rows.job_id] if not rows.start <= one[0] < rows.stop]
        if left:
            self._parts[rows.job_id] = left
        else:
            del self._parts[rows.job_id]
        return [part for _, part in removed]

    def clear(self) -> None:
        self._parts.clear()

    def _cut(self, rows: Range) -> list[tuple[int, RowsT]]:
        """The parts of these rows, with their starts. Raises KeyError where none of the job's rows is resident."""
        parts = self._parts[rows.job_id]
        if len(parts) == 1 and parts[0][0] == rows.start and len(parts[0][1]) == rows.rows:
            return parts
        for bound in (rows.start, rows.stop):
            parts = [piece for start, part in parts for piece in _pieces(start, part, bound)]
        self._parts[rows.job_id] = parts
        return [one for one in parts if rows.start <= one[0] < rows.stop]


def _pieces(start: int, part: RowsT, bound: int) -> list[tuple[int, RowsT]]:
    """The part, in two where the bound lies inside it."""
    if not start < bound < start + len(part):
        return [(start, part)]
    return [(start, part[0 : bound - start]), (bound, part[bound - start : len(part)])]


class OneShot:
    """Every row ends with its first step: `run` maps blocks to their results, in order."""

    memory_bytes = 0

    def __init__(self, run: Callable[[Sequence[Block]], Sequence[Columns]], capacity: int = ONE_SHOT_ROWS) -> None:
        self.run, self.capacity = run, capacity
        self._resident = ResidentRows[Block]()

    def need(self, block: Block) -> int:
        return 1

    def admit(self, rows: Range, block: Block) -> None:
        self._resident.add(rows, block[rows.start : rows.stop])

    def ready(self, rows: Sequence[Range]) -> Sequence[Range]:
        return rows

    def step(self, rows: Sequence[Range]) -> Sequence[Events]:
        parts = [(one.job_id, part) for one in rows for part in self._resident.of(one)]
        results = self.run([part for _, part in parts])
        self.drop(rows)
        return [
            Events(job_id, "done", part.rows, np.zeros(len(part), np.int64), columns)
            for (job_id, part), columns in zip(parts, results, strict=True)
        ]

    def drop(self, rows: Sequence[Range]) -> None:
        for one in rows:
            self._resident.remove(one)

    def close(self) -> None:
        self._resident.clear()


ParametersT = TypeVar("ParametersT", bound=Parameters)


def parameters_of(block: Block, expected: type[ParametersT]) -> ParametersT:
    """The block's parameters, of the kind that the session has. Raises TypeError for another kind."""
    if not isinstance(block.parameters, expected):
        raise TypeError(f"{type(block.parameters).__name__} given, {expected.__name__} expected")
    return block.parameters


class HasColumns(Protocol):
    """A block, or results."""

    @property
    def columns(self) -> Columns: ...


def dense(items: HasColumns, name: str) -> Array:
    """A column that is an array [k, ...]. Raises TypeError for a ragged one."""
    column = items.columns[name]
    if not isinstance(column, np.ndarray):
        raise TypeError(f"the column {name} is ragged, one array expected")
    return column


def gather(blocks: Sequence[Block], name: str) -> Array:
    """A column of all blocks, one after the other."""
    return np.concatenate([dense(block, name) for block in blocks])


def block_seeds(blocks: Sequence[Block]) -> Array:
    """The seeds of all blocks' rows, int64 [n]."""
    return np.concatenate([block.seeds for block in blocks])


def by_block(batch: Arrays, blocks: Sequence[Block]) -> list[dict[str, Array]]:
    """The batch's rows, which are those of the blocks, block by block."""
    return split(batch, [len(block) for block in blocks])


def latents(blocks: Sequence[Block], stream: int, shape: tuple[int, ...], temperatures: Sequence[float]) -> Array:
    """[n, *shape]: the latents `z` that blocks bring, or those their seeds draw from N(0, temperature^2)."""
    counts = [len(block) for block in blocks]
    drawn = np.repeat(["z" not in block.columns for block in blocks], counts)
    scales = np.repeat(np.array(temperatures, np.float32), counts)[drawn]
    z = np.empty((len(drawn), *shape), np.float32)
    z[drawn] = rng.normal(block_seeds(blocks)[drawn], stream, 0, shape) * scales.reshape(-1, *[1] * len(shape))
    if not drawn.all():
        z[~drawn] = gather([block for block in blocks if "z" in block.columns], "z")
    return z
