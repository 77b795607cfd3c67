"""Runs one step on its session: admit, step, isolate what fails, account for time and rows."""

import time
from collections.abc import Iterable
from dataclasses import dataclass, replace
from operator import itemgetter

from service.jobs import Event, RowId
from service.telemetry import Metrics
from service.worker.isolation import apart, finite
from service.worker.residency import Residency
from service.worker.scheduler import SessionKey, Step


@dataclass
class Account:
    """What a resident row has had of the device, and how many evaluations it needs in all."""

    work: float
    evaluations: int = 0
    compute_ms: float = 0.0

    @property
    def progress(self) -> float:
        return min(1.0, self.evaluations / self.work)


class StepRunner:
    """The only one who calls a session's admit, step and drop."""

    def __init__(self, residency: Residency, metrics: Metrics, scope: str) -> None:
        self.residency, self.metrics, self.scope = residency, metrics, scope
        self.rows_run = 0
        self._accounts: dict[RowId, Account] = {}

    def run(self, step: Step) -> list[Event]:
        """The events of the step, with each row's device time so far; every row that fails has its failed event."""
        session = self.residency.session(step.session)
        self._accounts.update({row_id: Account(row.work) for row_id, row in step.entering})
        started = time.perf_counter()
        events = apart(session.admit, step.entering, itemgetter(0))
        refused = {event.row_id for event in events}
        events += apart(session.step, [row for row in step.rows if row not in refused], lambda row: row)
        seconds = time.perf_counter() - started
        for row in step.rows:
            self._accounts[row].evaluations += 1
            self._accounts[row].compute_ms += 1000.0 * seconds
        self._count(step, seconds)
        return [self._account(event, step.session) for event in map(finite, events)]

    def drop(self, session: SessionKey, rows: list[RowId], end: str) -> None:
        """Unfinished rows leave the device."""
        self.residency.session(session).drop(rows)
        self._forget(rows, session, end)

    def _account(self, event: Event, session: SessionKey) -> Event:
        account = self._accounts[event.row_id]
        event = replace(event, compute_ms=account.compute_ms, progress=account.progress, scope=self.scope)
        if event.kind == "failed":
            self.drop(session, [event.row_id], "failed")
        elif event.kind == "done":
            self._forget([event.row_id], session, "done")
        return event

    def _forget(self, rows: Iterable[RowId], session: SessionKey, end: str) -> None:
        for row in rows:
            self._accounts.pop(row, None)
            self.metrics.rows.labels(str(session[0]), end).inc()

    def _count(self, step: Step, seconds: float) -> None:
        model = str(step.session[0])
        self.rows_run += len(step.rows)
        self.metrics.steps.labels(model, step.session[1]).inc()
        self.metrics.step_seconds.labels(model).observe(seconds)
        self.metrics.step_rows.labels(model).observe(len(step.rows))
