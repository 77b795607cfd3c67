"""The exactness matrix: a row's bytes do not depend on what shares its batch.

`assert_exact` takes the requests of some pipelines of one model. Each request's first row is run alone, and then in
batches of 2, 7 and 32, first, in the middle and last, among the rows of all the other requests of the same session
(other sizes, step counts, tasks, solvers), and joining a batch that is already under way; with one engine thread and
with two; and those rows have travelled through the queue between machines. Every event must be the same to the last
bit.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import cycle, islice

from fivefold.operation import SeededRequest
from model_store.store import Model
from service.arrays import fingerprint
from service.broker.redis.codec import decode_job, encode_job
from service.families.pipeline import Pipeline
from service.families.registry import Family
from service.families.session import Session
from service.graph import Graph
from service.jobs import Event, Job, Row

BATCHES = (2, 7, 32)
PROBE = ("probe", 0)
Trace = list[tuple[str, str]]


@dataclass(frozen=True)
class Case:
    """One request of one operation."""

    pipeline: Pipeline
    request: SeededRequest

    def row(self, model: Model) -> Row:
        row = self.pipeline.prepare(self.request, model)[0]
        assert isinstance(row, Row)
        return row


def assert_exact(family: Family, model: Model, engines: Sequence[Mapping[str, Graph]], cases: Sequence[Case]) -> int:
    """Raises AssertionError naming the first cell of the matrix that differs. Returns the number of cells compared."""
    cells = 0
    for kind in {case.pipeline.session_kind for case in cases}:
        rows = [case.row(model) for case in cases if case.pipeline.session_kind == kind]
        travelled = [_travelled(row, model) for row in rows]
        alone = [_run(family.open_sessions(model, engines[0])[kind], [probe], 0) for probe in rows]
        for threads, graphs in enumerate(engines, 1):
            session = family.open_sessions(model, graphs)[kind]
            for index in range(len(rows)):
                for cell, batch, position, late in _cells(travelled, travelled[index], index):
                    found = _run(session, batch, position, late)
                    assert found == alone[index], f"{model.ref} {kind} row {index} {cell}, engine {threads}: other bits"
                    cells += 1
    return cells


def _travelled(row: Row, model: Model) -> Row:
    """The row as another machine gets it."""
    return decode_job(encode_job(Job("probe", model.ref, "", "", (row,), 1.0))).rows[0]


def _cells(rows: Sequence[Row], probe: Row, index: int) -> Iterator[tuple[str, list[Row], int, int]]:
    yield "alone", [probe], 0, 0
    neighbours = cycle(rows[index + 1 :] + rows[: index + 1])
    for size in BATCHES:
        for position in (0, size // 2, size - 1):
            others = list(islice(neighbours, size - 1))
            batch = [*others[:position], probe, *others[position:]]
            yield f"batch {size} position {position}", batch, position, 0
    yield "joining a batch of 7 under way", [*islice(neighbours, 6), probe], 6, 2


def _run(session: Session, batch: Sequence[Row], position: int, late: int = 0) -> Trace:
    """The probe's events, with the other rows in the batch; it joins after `late` steps."""
    ids = [PROBE if index == position else ("neighbour", index) for index in range(len(batch))]
    arrivals = list(zip(ids, batch, strict=True))
    session.admit([arrival for arrival in arrivals if not late or arrival[0] != PROBE])
    for _ in range(late):
        if ready := session.ready():
            session.step(ready)
    if late:
        session.admit([arrival for arrival in arrivals if arrival[0] == PROBE])
    events: list[Event] = []
    while ready := session.ready():
        events += [event for event in session.step(ready) if event.row_id == PROBE]
    return [(event.kind, fingerprint([event.arrays])) for event in events]
