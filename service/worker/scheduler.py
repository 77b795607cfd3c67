"""Which session steps next, and with which rows. Pure: no clock, no I/O, no tensors."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice
from math import fsum, inf
from typing import NamedTuple

from model_store.store import ModelRef
from service.broker.base import CostCurve
from service.jobs import Job, Lease, Row, RowId

SessionKey = tuple[ModelRef, str]

# A job that has waited for as many full steps goes first, whatever its weight: nothing starves.
PATIENCE_STEPS = 100
# How much a worker holds: enough for the next step while this one runs, and several large jobs side by side.
HELD_STEPS = 2.0
LARGE_JOB_STEPS = 1.0 / 16.0


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
class Place:
    """A registered session and how many rows are resident in it."""

    key: SessionKey
    limits: SessionLimits
    step_rows: int
    residents: int = 0

    @property
    def free(self) -> int:
        return self.limits.capacity - self.residents


@dataclass(eq=False)
class Flow:
    """Whose jobs share: those of one tenant and class on one session; `served` is device seconds over the weight."""

    weight: float
    served: float = 0.0
    jobs: int = 0


@dataclass(eq=False)
class Held:
    """A job that this worker holds: its rows that wait and those that are resident, with the work they still need."""

    lease: Lease
    order: int
    place: Place
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

    @property
    def share(self) -> float:
        """Of a step, in what the worker holds."""
        share = self.rows / self.place.step_rows
        ends_next = self.remaining_work <= self.rows and share <= 1.0
        return share if ends_next else min(share, LARGE_JOB_STEPS)

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
        self._places: dict[SessionKey, Place] = {}
        self._held: dict[str, Held] = {}
        self._flows: dict[tuple[SessionKey, str, str], Flow] = {}
        self._virtual_time = 0.0
        self._arrivals = 0

    def register(self, session: SessionKey, limits: SessionLimits) -> None:
        """Make a session known before its first job."""
        self._places[session] = Place(session, limits, limits.rows_per_step(self.max_step_seconds))

    def forget(self, session: SessionKey) -> None:
        """Forget a session that has no job left."""
        del self._places[session]

    def add(self, lease: Lease, now: float) -> None:
        """Take a job in. Its session must be registered."""
        job = lease.job
        session = job.model, job.session_kind
        flow = self._flow(session, job)
        flow.jobs += 1
        self._arrivals += 1
        waiting = {row.index: row for row in job.rows}
        self._held[job.id] = Held(lease, self._arrivals, self._places[session], flow, now, job.work, waiting)

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
            held.place.residents -= held.resident.pop(index, None) is not None
            held.waiting.pop(index, None)
            if not held.resident and not held.waiting:
                self._leave(held)

    def next_step(self, now: float) -> Step | None:
        """The next step. Its rows are resident from now on; each counts as one evaluation."""
        if not self._held:
            return None
        ranked = sorted((self._rank(held, now), held) for held in self._held.values())
        place = ranked[0][1].place
        self._virtual_time = max(self._virtual_time, min(held.flow.served for held in self._held.values()))
        return self._fill(place, (held for _, held in ranked if held.place is place), now)

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

        A job that ends with its next step counts as its share of the step, what stays longer as a sixteenth at most, so
        that several large jobs live side by side. More would be kept from workers that have nothing to do. A full step
        is predicted as so many jobs of one row, on the session where that takes the least time.
        """
        share = fsum(held.share for held in self._held.values())
        full_steps = (place.step_rows * place.limits.curve.seconds(1.0) for place in self._places.values())
        return (HELD_STEPS - share) * min(full_steps, default=0.0)

    def _rank(self, held: Held, now: float) -> tuple[float, ...]:
        """Lower goes first. The order of arrival makes every rank different."""
        deadline = held.job.deadline if held.job.deadline is not None else inf
        fair = held.flow.served, held.remaining_work, deadline, held.order
        if now - held.stepped_at >= PATIENCE_STEPS * self.max_step_seconds:
            return 0.0, held.stepped_at, *fair
        if deadline - now <= 2.0 * self._seconds(held) + self.max_step_seconds:
            return 1.0, deadline, *fair
        return 2.0, 0.0, *fair

    def _seconds(self, held: Held) -> float:
        return held.place.limits.curve.seconds(held.remaining_work)

    def _flow(self, session: SessionKey, job: Job) -> Flow:
        """The job's flow; one that was away joins at the virtual time and is owed nothing for its absence."""
        key = session, job.tenant, job.priority
        if (flow := self._flows.get(key)) is None:
            if len(self._flows) > 2 * len(self._held) + 16:
                self._flows = {k: f for k, f in self._flows.items() if f.jobs or f.served > self._virtual_time}
            flow = self._flows[key] = Flow(self.weights[job.priority])
        if not flow.jobs:
            flow.served = max(self._virtual_time, flow.served)
        return flow

    def _fill(self, place: Place, ranked: Iterable[Held], now: float) -> Step:
        """The rows of these jobs, in order, as many as the step and the free places allow."""
        step, parts = Step(place.key, [], []), []
        for held in ranked:
            chosen = list(islice(held.in_order(place.free), place.step_rows - len(step.rows)))
            if chosen:
                self._start(held, chosen, step, now)
                parts.append((held.flow, len(chosen)))
            if len(step.rows) == place.step_rows:
                break
        row_seconds = place.limits.curve.seconds(len(step.rows)) / len(step.rows)
        for flow, rows in parts:
            flow.served += rows * row_seconds / flow.weight
        return step

    def _start(self, held: Held, chosen: list[int], step: Step, now: float) -> None:
        for index in chosen:
            row_id = held.job.id, index
            step.rows.append(row_id)
            if (row := held.waiting.pop(index, None)) is not None:
                step.entering.append((row_id, row))
                held.resident[index] = row.work
                held.place.residents += 1
            held.resident[index] -= 1.0
        held.remaining_work = max(0.0, held.remaining_work - len(chosen))
        held.stepped_at = now

    def _leave(self, held: Held) -> Held:
        del self._held[held.job.id]
        held.place.residents -= len(held.resident)
        held.flow.jobs -= 1
        if not self._held:  # the busy period is over: nobody owes anything
            self._flows.clear()
        return held
