"""A step that fails is halved until the row that fails alone is found; its neighbours get their answers."""

from collections.abc import Callable, Sequence
from typing import TypeVar

import structlog

from fivefold.errors import InternalError, RowFailed, RowNotFinite
from service.arrays import all_finite
from service.jobs import Event, Failure, RowId

log = structlog.get_logger()
ItemT = TypeVar("ItemT")
# A failure's event is no step: its index lies beyond that of any step of the row.
FAILED = 2**31 - 1


def apart(
    run: Callable[[Sequence[ItemT]], list[Event] | None], items: Sequence[ItemT], row_of: Callable[[ItemT], RowId]
) -> list[Event]:
    """What `run` answers for these items; an item that fails alone is answered by a failed event.

    `run` is atomic: where it raises, nothing has happened. Running out of memory is nobody's fault: the item that
    does so alone may be tried again later.
    """
    if not items:
        return []
    try:
        return run(items) or []
    except Exception as error:
        if len(items) == 1:
            return [failed(row_of(items[0]), _failure(error, row_of(items[0])))]
        half = len(items) // 2
        return apart(run, items[:half], row_of) + apart(run, items[half:], row_of)


def failed(row: RowId, failure: Failure) -> Event:
    """The end of a row without a result."""
    return Event(*row, FAILED, "failed", error=failure)


def finite(event: Event) -> Event:
    """The event, or the row's failure where its result holds NaN or an infinity."""
    if event.kind != "done" or all_finite(event.arrays):
        return event
    return failed(
        event.row_id,
        Failure(RowNotFinite.code, "the model gave NaN or infinity for this row: try another seed or input"),
    )


def _failure(error: Exception, row: RowId) -> Failure:
    """What the client may know; the log has the rest."""
    job_id, index = row
    log.error("row failed", job=job_id, row=index, exc_info=error)
    if isinstance(error, MemoryError):
        return Failure(InternalError.code, "the device has no memory left for this row: try again later")
    return Failure(RowFailed.code, "this row fails alone, whatever shares its batch: do not retry it")
