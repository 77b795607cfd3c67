"""A request through its pipeline and session: the fields of each item, as the service answers them."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import tiny

from fivefold.operation import SeededRequest
from model_store.store import Model
from service.arrays import join, select
from service.families.family import Family
from service.families.pipeline import FieldColumns, Fields, Pipeline, Results
from service.families.session import Session
from service.graph import Graph
from service.jobs import Block, Range
from service.settings import Settings


def answers(
    family: Family, pipeline: Pipeline[Any], request: SeededRequest, model: Model, graphs: Mapping[str, Graph]
) -> list[Fields]:
    """The fields of each item, with all rows in one batch."""
    session = family.open_sessions(model, graphs, Settings())[pipeline.kind]
    results = run_to_end(session, pipeline.prepare(request, model).block)
    return items_of(pipeline.render(request, results, model), len(results.rows))


def run_to_end(session: Session, block: Block) -> Results:
    """The results of a block's rows, all of which step together."""
    session.admit(Range("job", 0, len(block)), block)
    alive, done = np.ones(len(block), np.bool_), []
    while resident := tiny.ranges_of("job", np.flatnonzero(alive)):
        for events in session.step(session.ready(resident)):
            if events.terminal:
                assert events.kind == "done", events.failure
                alive[block.positions(events.rows)] = False
                done.append(events)
    rows = np.concatenate([events.rows for events in done])
    order = np.argsort(rows)
    return Results(rows[order], select(join([events.columns for events in done]), order))


def items_of(fields: FieldColumns, count: int) -> list[Fields]:
    """Each item's fields; numbers are Python's."""
    plain = {
        name: column.tolist() if isinstance(column, np.ndarray) and column.ndim == 1 else column
        for name, column in fields.items()
    }
    return [{name: column[index] for name, column in plain.items()} for index in range(count)]
