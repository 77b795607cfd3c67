"""The exactness matrix: a row's bytes do not depend on what shares its batch.

`assert_exact` takes the requests of some pipelines of one model. Each request's first row is run alone, and then in
batches of 2, 7 and 32, first, in the middle and last, among the rows of all the other requests of the same session
(other sizes, step counts, tasks, solvers), and joining a batch that is already under way; as one row of a block of
three, and in such a block whose rows are stepped in two ranges; with one engine thread and with two; and those rows
have travelled through the queue between machines. Every event must be the same to the last bit.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import cycle, islice
from typing import Any

import numpy as np
import tiny

from fivefold.operation import SeededRequest
from model_store.store import Model
from service.arrays import Array, fingerprint, select
from service.broker.codec import decode_job, encode_job
from service.families.family import Family, kinds_of
from service.families.pipeline import Pipeline
from service.families.session import Session
from service.graph import Graph
from service.jobs import Block, Job, Range
from service.settings import Settings

BATCHES = (2, 7, 32)
CELLS = 2 + 3 * len(BATCHES) + 2
PROBE = "probe"
Trace = list[tuple[str, int, str]]


@dataclass(frozen=True)
class Case:
    """One request of one operation."""

    pipeline: Pipeline[Any]
    request: SeededRequest

    def row(self, model: Model) -> Block:
        """The first row of the request, a block of its own."""
        return self.pipeline.prepare(self.request, model).block[0:1]


@dataclass(frozen=True)
class Cell:
    """Blocks that share a batch; the probe is the row at `position` of the block PROBE.

    The block joins after `late` steps. Where its rows are `cut`, they are stepped in two ranges, the first one ahead.
    """

    name: str
    blocks: Mapping[str, Block]
    position: int = 0
    late: int = 0
    cut: int = 0


def assert_exact(family: Family, model: Model, engines: Sequence[Mapping[str, Graph]], cases: Sequence[Case]) -> int:
    """Raises AssertionError naming the first cell of the matrix that differs. Returns the number of cells compared."""
    compared = 0
    for kind in {case.pipeline.kind for case in cases}:
        rows = [case.row(model) for case in cases if case.pipeline.kind is kind]
        travelled = [_travelled(row, model, family) for row in rows]
        session = family.open_sessions(model, engines[0], Settings())[kind]
        alone = [_run(session, Cell("alone", {PROBE: row})) for row in rows]
        for threads, graphs in enumerate(engines, 1):
            session = family.open_sessions(model, graphs, Settings())[kind]
            for index, expected in enumerate(alone):
                for cell in _cells(travelled, index):
                    where = f"{model.ref} {kind.__name__} row {index} {cell.name}, engine {threads}"
                    assert _run(session, cell) == expected, f"{where}: other bits"
                    compared += 1
    return compared


def _travelled(row: Block, model: Model, family: Family) -> Block:
    """The row as another machine gets it."""
    return decode_job(encode_job(Job(PROBE, model.ref, "", row, 1.0)), kinds_of([family])).block


def _cells(rows: Sequence[Block], index: int) -> Iterator[Cell]:
    probe, neighbours = rows[index], cycle([*rows[index + 1 :], *rows[: index + 1]])
    yield Cell("alone", {PROBE: probe})
    for size in BATCHES:
        for position in (0, size // 2, size - 1):
            others = list(islice(neighbours, size - 1))
            yield Cell(
                f"batch {size} position {position}", _named([*others[:position], probe, *others[position:]], position)
            )
    yield Cell("joining a batch of 7 under way", _named([*islice(neighbours, 6), probe], 6), late=2)
    yield Cell("in a block of 3", {PROBE: _among_others(probe)}, position=1)
    yield Cell("in the second range of a block of 3", {PROBE: _among_others(probe)}, position=1, cut=1)


def _named(blocks: Sequence[Block], position: int) -> dict[str, Block]:
    """The blocks by the ids of their jobs, in order."""
    return {PROBE if index == position else f"neighbour {index}": block for index, block in enumerate(blocks)}


def _among_others(row: Block) -> Block:
    """A block of three in which the row is the second, and the others have other seeds."""
    seeds, columns = row.seeds + np.array([1, 0, 2]), select(row.columns, np.zeros(3, np.int64))
    return Block(row.parameters, np.arange(3), seeds, row.work.repeat(3), columns, row.shared)


def _run(session: Session, cell: Cell) -> Trace:
    """The probe's events."""
    batch = _Batch(session, cell)
    for job_id in cell.blocks:
        if not cell.late or job_id != PROBE:
            batch.admit(job_id)
    for _ in range(cell.late):
        batch.step()
    if cell.late:
        batch.admit(PROBE)
    if cell.cut:
        batch.step(ahead=cell.cut)
    while batch.resident():
        batch.step()
    return batch.trace


@dataclass
class _Batch:
    """The blocks of a cell in a session: which rows are resident, and what the probe has answered."""

    session: Session
    cell: Cell
    alive: dict[str, Array] = field(default_factory=dict)
    trace: Trace = field(default_factory=list)

    def admit(self, job_id: str) -> None:
        block = self.cell.blocks[job_id]
        self.session.admit(Range(job_id, 0, len(block)), block)
        self.alive[job_id] = np.ones(len(block), np.bool_)

    def resident(self) -> list[Range]:
        """The rows that have not ended, those of each block in two ranges where the cell cuts them."""
        return [
            rows
            for job_id, alive in self.alive.items()
            for part in np.split(np.arange(len(alive)), [self.cell.cut])
            for rows in tiny.ranges_of(job_id, part[alive[part]])
        ]

    def step(self, ahead: int | None = None) -> None:
        """One step of all resident rows, or of those before the position `ahead` alone."""
        rows = [one for one in self.resident() if ahead is None or one.stop <= ahead]
        for events in self.session.step(self.session.ready(rows)) if rows else ():
            places = self.cell.blocks[events.job_id].positions(events.rows)
            if events.job_id == PROBE:
                self.trace += [
                    (
                        events.kind,
                        int(events.steps[index]),
                        fingerprint(select(events.columns, slice(index, index + 1)), 1),
                    )
                    for index in np.flatnonzero(places == self.cell.position).tolist()
                ]
            if events.terminal:
                self.alive[events.job_id][places] = False
