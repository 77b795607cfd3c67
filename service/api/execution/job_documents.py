"""A job as its client sees it: one state of all shards; once it has ended, its answer or its error."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from fivefold.errors import FivefoldError
from fivefold.jobs import JobDocument
from fivefold.operation import ItemError
from service.api.execution.job_ids import JobId
from service.api.execution.outcome import Outcome
from service.api.media.response_body import document
from service.broker.base import JobStatus, State

# Of an ended job: the first of these that any shard has is the state of the whole.
ENDED: tuple[State, ...] = ("cancelled", "expired", "done", "failed")


def whole(shards: Sequence[JobStatus]) -> JobStatus:
    """The status of a job from those of its shards."""
    states, rows = [shard.state for shard in shards], sum(shard.rows for shard in shards)
    alive = any(shard.alive for shard in shards)
    if alive:
        state: State = "queued" if set(states) == {"queued"} else "running"
    else:
        state = next(state for state in ENDED if state in states)
    return replace(
        shards[0],
        state=state,
        rows=rows,
        rows_finished=sum(shard.rows_finished for shard in shards),
        progress=min(1.0, sum(shard.progress * shard.rows for shard in shards) / rows),
        ended_at=None if alive else max(shard.ended_at or 0.0 for shard in shards),
    )


def job_document(status: JobStatus) -> JobDocument:
    """As the client sees it, without its result."""
    job_id = JobId.parse(status.id)
    assert job_id is not None
    return JobDocument(
        id=status.id,
        operation=status.operation,
        model=job_id.model,
        state=status.state,
        rows=status.rows,
        rows_finished=status.rows_finished,
        progress=status.progress,
        position=status.position,
        start_in_seconds=status.start_in_seconds,
        submitted_at=datetime.fromtimestamp(status.submitted_at, UTC),
        ended_at=None if status.ended_at is None else datetime.fromtimestamp(status.ended_at, UTC),
    )


def ended_document(status: JobStatus, outcome: Outcome) -> dict[str, Any]:
    """The same of a job that has ended: with its answer, or with the error that it has instead."""
    fields = job_document(status).model_dump(mode="json")
    try:
        return fields | {"result": document(outcome.rendered())}
    except FivefoldError as error:
        return fields | {"error": ItemError(code=error.code, message=error.message).model_dump()}
