"""A step that fails is halved until the row that fails alone is found; its neighbours get their answers."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import structlog

from fivefold.errors import InternalError, RowFailed
from service.jobs import Events, Failure, Range

log = structlog.get_logger()


class Bisected(NamedTuple):
    """What the rows gave that did not fail, and why others, each alone in its range, failed."""

    events: list[Events]
    failures: list[tuple[Range, Failure]]


def run_bisecting(run: Callable[[Sequence[Range]], Sequence[Events] | None], ranges: Sequence[Range]) -> Bisected:
    """Run these rows; where `run` raises, run each half of them by itself, down to one row.

    `run` is atomic: where it raises, nothing has happened. A row for which the memory does not suffice may be tried
    again later; any other that fails alone may not.
    """
    if not ranges:
        return Bisected([], [])
    try:
        return Bisected(list(run(ranges) or ()), [])
    except Exception as error:
        halves = _halves(ranges)
        if not halves:
            return Bisected([], [(ranges[0], _failure(error, ranges[0]))])
        first, second = (run_bisecting(run, half) for half in halves)
        return Bisected(first.events + second.events, first.failures + second.failures)


def without(ranges: Sequence[Range], rows: Sequence[Range]) -> list[Range]:
    """The ranges less these rows, each of which is a range of one."""
    gone = {(one.job_id, one.start) for one in rows}
    left = []
    for job_id, start, stop in ranges:
        bounds = [place for place in range(start, stop) if (job_id, place) in gone]
        starts, stops = [start, *(place + 1 for place in bounds)], [*bounds, stop]
        left += [Range(job_id, *bound) for bound in zip(starts, stops, strict=True) if bound[0] < bound[1]]
    return left


def _halves(ranges: Sequence[Range]) -> tuple[Sequence[Range], Sequence[Range]] | None:
    """Both halves of these rows; None for one row."""
    if len(ranges) > 1:
        half = len(ranges) // 2
        return ranges[:half], ranges[half:]
    job_id, start, stop = ranges[0]
    if stop - start == 1:
        return None
    middle = (start + stop) // 2
    return [Range(job_id, start, middle)], [Range(job_id, middle, stop)]


def _failure(error: Exception, row: Range) -> Failure:
    """What the client may know; the log has the rest."""
    log.error("row_failed", job_id=row.job_id, position=row.start, exc_info=error)
    if isinstance(error, MemoryError):
        return Failure(InternalError.code, "the device has no memory left for this row: try again later")
    return Failure(RowFailed.code, "this row fails alone, whatever shares its batch: do not retry it")
