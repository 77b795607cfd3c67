"""Which session steps next, and with which rows. Pure: no clock, no I/O, no tensors."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice
from math import inf
from typing import NamedTuple

from model_store.store import ModelRef
from service.broker.base import CostCurve
from service.jobs import Job, Lease, Priority, Row, RowId

SessionKey = tuple[ModelRef, str]

# A job that has waited for as many full steps goes first, whatever its weight: nothing starves.
PATIENCE_STEPS = 100
# How much a worker holds: enough for the next step while this one runs, and several large jobs side by side.
HELD_STEPS = 2.0
LARGE_JOB_STEPS = 1.0 / 16.0


class Flow(NamedTuple):
    """Whose jobs share: those of one tenant and class on one session."""

    session: SessionKey
    tenant: str
    priority: Priority


class Step(NamedTuple):
    """What to run next; `entering` are those of `rows` that are not resident yet."""

    session: SessionKey
    rows: list[RowId]
    entering: list[tuple[RowId, Row]]


@dataclass(frozen=True)
class SessionLimits:
    """How many rows may be resident, and what a step of n rows costs."""

    capacity: int
    curve: CostCurve

    def rows_per_step(self, max_step_seconds: float) -> int:
        """As many rows as `max_step_seconds` allow, one at least."""
        spare = max_step_seconds - self.curve.base_seconds
        if spare >= self.capacity * self.curve.seconds_per_row:
            return self.capacity
        return max(1, int(spare / self.curve.seconds_per_row))


@dataclass(eq=False)
class Held:
    """A job that this worker holds: its rows that wait and those that are resident, with the work they still need."""

    lease: Lease
    order: int
    session: SessionKey
    flow: Flow
    stepped_at: float
    remaining_work: float
    waiting: dict[int, Row]
    resident: dict[int, float] = field(default_factory=dict)

    @property
    def job(self) -> Job:
        return self.lease.job

    @property
    def started(self) -> bool:
        return len(self.waiting) < len(self.job.rows)

    @property
    def rows(self) -> int:
        return len(self.resident) + len(self.waiting)

    def in_order(self, places: int) -> Iterator[int]:
        """Resident rows first, least remaining work first; then as many of those that wait as there are places."""
        yield from sorted(self.resident, key=lambda index: (self.resident[index], index))
        yield from islice(self.waiting, places)

    def unfinished(self) -> list[RowId]:
        """Every row that has not ended."""
        return [(self.job.id, index) for index in (*self.resident, *self.waiting)]


class Scheduler:
    """Chooses steps: whoever has waited too long, urgent deadlines, fair shares, then the least remaining work.

    A flow is a session, a tenant and a class; each is served device seconds in proportion to the weight of its class
    (start-time fair queueing, Goyal et al. 1997). Same calls, same answers.
    """

    def __init__(self, max_step_ms: float, class_weights: Mapping[str, float]) -> None:
        self.max_step_seconds = max_step_ms / 1000.0
        self.weights = class_weights
        self._limits: dict[SessionKey, SessionLimits] = {}
        self._residents: dict[SessionKey, int] = {}
        self._held: dict[str, Held] = {}
        self._jobs: Counter[Flow] = Counter()
        self._served: dict[Flow, float] = {}
        self._virtual_time = 0.0
        self._arrivals = 0

    def register(self, session: SessionKey, limits: SessionLimits) -> None:
        """Make a session known before its first job."""
        self._limits[session], self._residents[session] = limits, 0

    def forget(self, session: SessionKey) -> None:
        """Forget a session that has no job left."""
        del self._limits[session], self._residents[session]

    def add(self, lease: Lease, now: float) -> None:
        """Take a job in. Its session must be registered."""
        job = lease.job
        session = job.model, job.session_kind
        flow = Flow(session, job.tenant, job.priority)
        self._arrivals += 1
        if flow not in self._jobs:
            self._served[flow] = max(self._virtual_time, self._served.get(flow, 0.0))
        self._jobs[flow] += 1
        waiting = {row.index: row for row in job.rows}
        self._held[job.id] = Held(lease, self._arrivals, session, flow, now, job.work, waiting)

    def expire(self, now: float) -> list[Held]:
        """Jobs whose deadline has passed; they are gone from here."""
        passed = [held for held in self._held.values() if held.job.deadline is not None and held.job.deadline <= now]
        return [self._leave(held) for held in passed]

    def cancel(self, job_id: str) -> Held | None:
        """Let a job go, if it is here."""
        return self._leave(held) if (held := self._held.get(job_id)) else None

    def ended(self, rows: Iterable[RowId]) -> None:
        """These rows are done or failed; a job leaves with its last row."""
        for job_id, index in rows:
            if (held := self._held.get(job_id)) is None:
                continue
            self._residents[held.session] -= held.resident.pop(index, None) is not None
            held.waiting.pop(index, None)
            if not held.resident and not held.waiting:
                self._leave(held)

    def next_step(self, now: float) -> Step | None:
        """The next step. Its rows are resident from now on; each counts as one evaluation."""
        if not self._held:
            return None
        ranked = sorted((self._rank(held, now), held) for held in self._held.values())
        leader = ranked[0][1]
        self._virtual_time = max(self._virtual_time, min(self._served[flow] for flow in self._jobs))
        return self._fill(leader.session, (held for _, held in ranked if held.session == leader.session), now)

    def lease(self, job_id: str) -> Lease:
        """The lease of a job that is here."""
        return self._held[job_id].lease

    def holds(self, lease: Lease) -> bool:
        """True where the job is here by this lease, not by a newer one."""
        return (held := self._held.get(lease.job.id)) is not None and held.lease.token == lease.token

    def held(self) -> list[Held]:
        """Every job that is here, oldest first."""
        return list(self._held.values())

    def wake_at(self) -> float | None:
        """The earliest deadline of a job that is here: when `expire` has something to do."""
        return min((held.job.deadline for held in self._held.values() if held.job.deadline is not None), default=None)

    def spare_seconds(self) -> float:
        """Predicted seconds of further jobs that are worth holding: two full steps, less what is here.

        A job counts as its share of a step, a large one as a sixteenth, so that several large jobs live side by side.
        A full step is predicted as so many jobs of one row, on the session where that takes the least time.
        """
        share = sum(min(held.rows / self._step_rows(held.session), LARGE_JOB_STEPS) for held in self._held.values())
        full_steps = (self._step_rows(key) * limits.curve.seconds(1.0) for key, limits in self._limits.items())
        return (HELD_STEPS - share) * min(full_steps, default=0.0)

    def _rank(self, held: Held, now: float) -> tuple[float, ...]:
        """Lower goes first. The order of arrival makes every rank different."""
        deadline = held.job.deadline if held.job.deadline is not None else inf
        fair = self._served[held.flow], held.remaining_work, deadline, held.order
        if now - held.stepped_at >= PATIENCE_STEPS * self.max_step_seconds:
            return 0.0, held.stepped_at, *fair
        if deadline - now <= 2.0 * self._seconds(held) + self.max_step_seconds:
            return 1.0, deadline, *fair
        return 2.0, 0.0, *fair

    def _seconds(self, held: Held) -> float:
        return self._limits[held.session].curve.seconds(held.remaining_work)

    def _step_rows(self, session: SessionKey) -> int:
        return self._limits[session].rows_per_step(self.max_step_seconds)

    def _fill(self, session: SessionKey, ranked: Iterable[Held], now: float) -> Step:
        """The rows of these jobs, in order, as many as the step and the free places allow."""
        step = Step(session, [], [])
        room = self._step_rows(session)
        for held in ranked:
            places = self._limits[session].capacity - self._residents[session]
            chosen = list(islice(held.in_order(places), room - len(step.rows)))
            if chosen:
                self._start(held, chosen, step, now)
            if len(step.rows) == room:
                break
        self._charge(step)
        return step

    def _start(self, held: Held, chosen: list[int], step: Step, now: float) -> None:
        for index in chosen:
            row_id = held.job.id, index
            step.rows.append(row_id)
            if (row := held.waiting.pop(index, None)) is not None:
                step.entering.append((row_id, row))
                held.resident[index] = row.work
                self._residents[held.session] += 1
            held.resident[index] -= 1.0
        held.remaining_work = max(0.0, held.remaining_work - len(chosen))
        held.stepped_at = now

    def _charge(self, step: Step) -> None:
        """Every flow pays for its rows' share of the step."""
        row_seconds = self._limits[step.session].curve.seconds(len(step.rows)) / len(step.rows)
        for job_id, _ in step.rows:
            flow = self._held[job_id].flow
            self._served[flow] += row_seconds / self.weights[flow.priority]

    def _leave(self, held: Held) -> Held:
        del self._held[held.job.id]
        self._residents[held.session] -= len(held.resident)
        self._jobs[held.flow] -= 1
        if not self._jobs[held.flow]:
            del self._jobs[held.flow]
        if len(self._served) > 2 * len(self._jobs) + 16:
            self._served = {
                flow: served
                for flow, served in self._served.items()
                if flow in self._jobs or served > self._virtual_time
            }
        return held
