"""Runs one step on its session: admit, step, isolate what fails, account for time and rows."""

import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import NamedTuple

from fivefold.errors import RowNotFinite
from service.arrays import finite_rows
from service.families.session import Session
from service.jobs import Block, Events, Failure, Job, Range, failed
from service.telemetry import Metrics
from service.worker.account import Account
from service.worker.held import Held, SessionKey
from service.worker.isolation import run_bisecting, without
from service.worker.residency import Residency
from service.worker.scheduler import Step

NOT_FINITE = Failure(RowNotFinite.code, "the model gave NaN or infinity for this row: try another seed or input")


class Outcome(NamedTuple):
    """The rows of a step that advanced by one evaluation, those that have ended, and what all of them gave."""

    advanced: Sequence[Range]
    ended: Sequence[Range]
    events: Sequence[Events]


class StepRunner:
    """The only one who calls a session's admit, ready, step and drop."""

    def __init__(self, residency: Residency, metrics: Metrics, scope: str) -> None:
        self.residency, self.metrics, self.scope = residency, metrics, scope
        self.rows_run = 0
        self._accounts: dict[str, Account] = {}

    def room_for(self, job: Job) -> tuple[int, int]:
        """What a row of the job takes of its session's capacity, and the capacity.

        A block that the session cannot read takes 1: each of its rows fails when it is admitted.
        """
        session = self.residency.session((job.model, type(job.block.parameters)))
        try:
            return session.need(job.block), session.capacity
        except Exception:
            return 1, session.capacity

    def run(self, step: Step) -> Outcome:
        """Advance those rows of the step that are ready; every row that fails has its failed event."""
        session = self.residency.session(step.session)
        for rows, block in step.entering:
            if rows.job_id not in self._accounts:
                self._accounts[rows.job_id] = Account(block)
        started = time.perf_counter()
        refused = self._admit(session, step.entering)
        admitted = without(step.ranges, [row for row, _ in refused]) if refused else step.ranges
        ready = session.ready(admitted) if admitted else []
        events, failures = run_bisecting(session.step, ready)
        session.drop([row for row, _ in failures])
        seconds = time.perf_counter() - started
        self._charge(step.session, ready, seconds)
        events = [one for given in events for one in _finite(given)]
        events += [self._failed(row, failure) for row, failure in refused + failures]
        return Outcome(ready, self._state(events, step.session), events)

    def drop(self, held: Held, end: str) -> None:
        """The unfinished rows of a job leave the device."""
        resident = held.resident()
        if resident:
            self.residency.session(held.place.key).drop(resident)
        self._accounts.pop(held.job.id, None)
        self._count_rows(held.place.key, {end: held.unfinished_rows})

    def _admit(self, session: Session, entering: Iterable[tuple[Range, Block]]) -> list[tuple[Range, Failure]]:
        """Why rows could not be taken in."""
        failures = []
        for rows, block in entering:
            failures += run_bisecting(partial(_admit_range, session, block), [rows]).failures
        return failures

    def _failed(self, row: Range, failure: Failure) -> Events:
        return failed(row.job_id, self._accounts[row.job_id].block.rows[row.start : row.stop], failure)

    def _state(self, events: Sequence[Events], session: SessionKey) -> list[Range]:
        """Add device time and progress to the events; returns the rows that have ended."""
        ended, ends = [], Counter[str]()
        for one in events:
            account = self._accounts[one.job_id]
            places = account.state(one, self.scope)
            if one.terminal:
                ended += places
                ends[one.kind] += len(one)
                account.rows_left -= len(one)
                if not account.rows_left:
                    del self._accounts[one.job_id]
        self._count_rows(session, ends)
        return ended

    def _charge(self, session: SessionKey, ready: Sequence[Range], seconds: float) -> None:
        for rows in ready:
            self._accounts[rows.job_id].charge(rows, 1000.0 * seconds)
        model, kind = str(session[0]), session[1].__name__
        count = sum(rows.rows for rows in ready)
        self.rows_run += count
        self.metrics.steps.labels(model, kind).inc()
        self.metrics.step_seconds.labels(model).observe(seconds)
        self.metrics.step_rows.labels(model).observe(count)

    def _count_rows(self, session: SessionKey, ends: Mapping[str, int]) -> None:
        for end, rows in ends.items():
            self.metrics.rows.labels(str(session[0]), end).inc(rows)


def _admit_range(session: Session, block: Block, ranges: Sequence[Range]) -> None:
    (rows,) = ranges
    session.admit(rows, block)


def _finite(events: Events) -> list[Events]:
    """The results, and the failures of the rows whose result holds NaN or an infinity."""
    if events.kind != "done":
        return [events]
    finite = finite_rows(events.columns, len(events))
    if finite.all():
        return [events]
    bad = failed(events.job_id, events.rows[~finite], NOT_FINITE)
    return [events.select(finite), bad] if finite.any() else [bad]
