"""The queue in one process: state behind one lock, used by the API's and the worker's event loops."""

import asyncio
import time
from asyncio import Future
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from dataclasses import replace
from heapq import heappop, heappush
from itertools import islice
from threading import Lock

from fivefold.errors import Cancelled, DeadlineExceeded, IdempotencyConflict, NotFound, QueueFull, RowFailed
from service.broker.base import (
    Accepted,
    ControlMessage,
    DeadJob,
    Depth,
    JobStatus,
    Limits,
    State,
    WorkerStatus,
)
from service.broker.fair import DrainRate, FairQueue
from service.broker.record import Record
from service.broker.wake import Doorbell, Topic, until
from service.jobs import Event, Failure, Job, Lease

PAGE_JOBS = 100


class ModelQueue:
    """One model's part of the queue."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self.ready = FairQueue(limits.class_weights)
        self.drain = DrainRate()
        self.running: dict[str, float] = {}

    @property
    def predicted_seconds(self) -> float:
        return self.ready.predicted_seconds + sum(self.running.values())

    def admit(self, job: Job) -> None:
        """Raises QueueFull. A job alone is always admitted, however large."""
        limits, waiting = self.limits, len(self.ready)
        if not waiting:
            return
        excess_seconds = self.ready.predicted_seconds + job.predicted_seconds - limits.max_queue_seconds
        if excess_seconds > 0.0:
            raise self._full(
                f"{self.ready.predicted_seconds:.1f} s of work are queued and this request needs "
                f"{job.predicted_seconds:.1f} s; the queue holds {limits.max_queue_seconds:g} s",
                excess_seconds,
            )
        if waiting >= limits.max_queued_jobs:
            raise self._full(
                f"{waiting} jobs are queued; the queue holds {limits.max_queued_jobs}",
                self.ready.predicted_seconds / waiting,
            )

    def _full(self, reason: str, excess_seconds: float) -> QueueFull:
        retry_after_s = max(1.0, excess_seconds / self.drain.value)
        return QueueFull(f"{reason}: come back in {retry_after_s:.0f} s", retry_after_s=retry_after_s)


class MemoryBroker:
    """Producer, Consumer and Admin without a server. What expires is swept by the calls: there is no timer.

    A model is named as `str(ModelRef)`, "name@version". `clock` gives seconds since the epoch.
    """

    def __init__(self, limits: Limits | None = None, clock: Callable[[], float] = time.time) -> None:
        self.limits, self.clock = limits or Limits(), clock
        self._lock = Lock()
        self._bell = Doorbell(self._lock)
        self._cancelled: Topic[str] = Topic(self._lock, self._bell)
        self._control: Topic[ControlMessage] = Topic(self._lock, self._bell)
        self._records: dict[str, Record] = {}
        self._keys: dict[tuple[str, str], str] = {}
        self._queues: dict[str, ModelQueue] = {}
        self._due: list[tuple[float, str]] = []
        self._leased: dict[str, Record] = {}  # by the end of the lease: all leases have one length
        self._kept: dict[str, Record] = {}  # ended, oldest first
        self._kept_bytes = 0
        self._dead: dict[str, DeadJob] = {}
        self._workers: dict[str, WorkerStatus] = {}
        self._takers: list[Future[None]] = []
        self._turn = 0
        self._arrivals = 0

    # Producer

    async def submit(self, job: Job) -> Accepted:
        with self._lock:
            self._sweep()
            if (existing := self._same(job)) is not None:
                return Accepted(existing.job.id, existing=True)
            self._queue(job).admit(job)
            self._enqueue(job)
            return Accepted(job.id, existing=False)

    async def events(self, job_id: str, after: str | None = None) -> AsyncIterator[Event]:
        with self._lock:
            record = self._record(job_id)
            position = record.after(after)
        while True:
            with self._lock:
                fresh, alive = record.events[position:], record.alive
                if alive and not fresh:
                    record.waiters.append(future := asyncio.get_running_loop().create_future())
            for event in fresh:
                yield event
            position += len(fresh)
            if not alive:
                return
            if not fresh:
                await future

    async def status(self, job_id: str, tenant: str) -> JobStatus:
        with self._lock:
            self._sweep()
            return self._status(self._record(job_id, tenant))

    async def jobs(self, tenant: str, cursor: str | None = None) -> tuple[Sequence[JobStatus], str | None]:
        with self._lock:
            self._sweep()
            before = int(cursor) if cursor is not None else self._arrivals + 1
            own = (r for r in reversed(self._records.values()) if r.job.tenant == tenant and r.order < before)
            page = list(islice(own, PAGE_JOBS))
            more = next(own, None) is not None
            return [self._status(record) for record in page], str(page[-1].order) if more else None

    async def cancel(self, job_id: str, tenant: str) -> bool:
        with self._lock:
            self._sweep()
            record = self._record(job_id, tenant)
            if record.alive:
                if record.state == "running":
                    self._cancelled.send(job_id)
                self._end(record, "cancelled", Failure(Cancelled.code, "the job was cancelled"))
                return True
            return False

    async def depth(self, model: str) -> Depth:
        with self._lock:
            self._sweep()
            if (queue := self._queues.get(model)) is None:
                return Depth(0, 0, 0.0)
            return Depth(len(queue.ready), len(queue.running), queue.predicted_seconds)

    # Consumer

    async def take(self, models: Sequence[str], *, budget: float, wait: float) -> Sequence[Lease]:
        with self._lock:
            leases = self._take(models, budget)
            if leases or wait <= 0.0:
                return leases
            self._takers.append(future := asyncio.get_running_loop().create_future())
        await until(future, wait)
        with self._lock:
            self._takers = [taker for taker in self._takers if taker is not future]
            return self._take(models, budget)

    async def extend(self, leases: Sequence[Lease]) -> Sequence[Lease]:
        with self._lock:
            lost = []
            for lease in leases:
                if (record := self._held(lease)) is None:
                    lost.append(lease)
                else:
                    record.leased_until = self.clock() + self.limits.lease_seconds
                    self._leased[record.job.id] = self._leased.pop(record.job.id)
            return lost

    async def release(self, leases: Sequence[Lease]) -> None:
        with self._lock:
            for record in filter(None, map(self._held, leases)):
                self._stop_running(record)
                record.hand_back()
                self._queue(record.job).ready.put_back(record.job.id, record.ticket)
                self._watch_deadline(record.job)
            self._call_takers()

    async def emit(self, lease: Lease, events: Sequence[Event]) -> bool:
        with self._lock:
            if (record := self._held(lease)) is None:
                return False
            if record.publish(events):
                self._stop_running(record)
                self._queue(record.job).drain.finish(record.job.predicted_seconds, self.clock())
                record.state = "done" if any(end.kind == "done" for end in record.ends.values()) else "failed"
                self._keep(record)
            self._call_waiters(record)
            return True

    def cancelled(self) -> AsyncIterator[str]:
        return self._cancelled.listen()

    async def heartbeat(self, status: WorkerStatus) -> None:
        with self._lock:
            self._sweep()
            self._workers[status.id] = replace(status, beat_at=self.clock())

    def control(self) -> AsyncIterator[ControlMessage]:
        return self._control.listen()

    # Admin

    async def workers(self) -> Sequence[WorkerStatus]:
        with self._lock:
            return list(self._workers.values())

    async def dead(self) -> Sequence[DeadJob]:
        with self._lock:
            return list(self._dead.values())

    async def replay(self, job_id: str) -> None:
        with self._lock:
            if job_id not in self._dead:
                raise NotFound(f"there is no dead job {job_id}")
            self._forget(job_id)
            self._enqueue(self._dead.pop(job_id).job)

    async def send(self, message: ControlMessage) -> None:
        with self._lock:
            self._control.send(message)

    # Everything below is called with the lock held.

    def _record(self, job_id: str, tenant: str | None = None) -> Record:
        record = self._records.get(job_id)
        if record is None or tenant not in (None, record.job.tenant):
            raise NotFound(f"there is no job {job_id}: it may have been forgotten since it ended")
        return record

    def _queue(self, job: Job) -> ModelQueue:
        model = str(job.model)
        if model not in self._queues:
            self._queues[model] = ModelQueue(self.limits)
        return self._queues[model]

    def _same(self, job: Job) -> Record | None:
        """The job that is already there under this id or idempotency key. Raises IdempotencyConflict."""
        existing_id = self._keys.get((job.tenant, job.idempotency_key), job.id) if job.idempotency_key else job.id
        existing = self._records.get(existing_id)
        if existing is not None and existing.job.body_sha256 != job.body_sha256:
            raise IdempotencyConflict(
                f"the key {job.idempotency_key!r} was used with a body of sha256 {existing.job.body_sha256}, this one "
                f"has {job.body_sha256}: send the same body, or another key"
            )
        return existing

    def _enqueue(self, job: Job) -> None:
        self._arrivals += 1
        self._records[job.id] = Record(job, self._arrivals, self._queue(job).ready.push(job))
        if job.idempotency_key:
            self._keys[job.tenant, job.idempotency_key] = job.id
        self._watch_deadline(job)
        self._call_takers()

    def _watch_deadline(self, job: Job) -> None:
        if job.deadline is not None:
            heappush(self._due, (job.deadline, job.id))

    def _take(self, models: Sequence[str], budget: float) -> list[Lease]:
        self._sweep()
        if (record := self._overdue(models)) is not None:
            return [self._begin(record)]
        leases: list[Lease] = []
        for record in self._in_fair_order(models):
            if leases and record.job.predicted_seconds > budget:
                break
            budget -= record.job.predicted_seconds
            self._queue(record.job).ready.begin(record.job.id)
            leases.append(self._begin(record))
        return leases

    def _overdue(self, models: Sequence[str]) -> Record | None:
        """A job whose worker fell silent. It is redelivered alone: should it kill this worker, it hits no neighbour."""
        for record in list(self._leased.values()):
            if record.leased_until > self.clock():
                break
            if record.attempts >= self.limits.max_attempts:
                self._bury(record)
            elif str(record.job.model) in models:
                return record
        return None

    def _in_fair_order(self, models: Sequence[str]) -> Iterator[Record]:
        """The first of each model in turn, as long as the caller takes what it is given."""
        self._turn += 1
        start = self._turn % max(1, len(models))
        waiting = deque(queue for name in (*models[start:], *models[:start]) if (queue := self._queues.get(name)))
        while waiting:
            queue = waiting.popleft()
            if (job_id := queue.ready.first()) is not None:
                yield self._records[job_id]
                waiting.append(queue)

    def _begin(self, record: Record) -> Lease:
        queue, job = self._queue(record.job), record.job
        if not queue.running:
            queue.drain.begin(self.clock())
        queue.running[job.id] = job.predicted_seconds
        self._leased.pop(job.id, None)
        self._leased[job.id] = record
        return record.begin(self.clock() + self.limits.lease_seconds)

    def _held(self, lease: Lease) -> Record | None:
        record = self._records.get(lease.job.id)
        return record if record is not None and record.holds(lease) else None

    def _stop_running(self, record: Record) -> None:
        del self._leased[record.job.id]
        del self._queue(record.job).running[record.job.id]

    def _bury(self, record: Record) -> None:
        reason = f"its worker fell silent in {record.attempts} of {self.limits.max_attempts} attempts"
        self._dead[record.job.id] = DeadJob(record.job, record.attempts, reason)
        if len(self._dead) > self.limits.max_dead_jobs:
            del self._dead[next(iter(self._dead))]
        self._end(record, "failed", Failure(RowFailed.code, f"the job was given up: {reason}"))

    def _end(self, record: Record, state: State, failure: Failure) -> None:
        """End a living job without its worker."""
        if record.state == "running":
            self._stop_running(record)
        else:
            self._queue(record.job).ready.remove(record.job.id)
        record.end(state, failure)
        self._keep(record)
        self._call_waiters(record)

    def _keep(self, record: Record) -> None:
        """An ended job's answer is kept for a while; its input is not."""
        record.finished_at = self.clock()
        record.job = replace(record.job, rows=())
        self._kept[record.job.id] = record
        self._kept_bytes += record.size_bytes

    def _sweep(self) -> None:
        """Queued jobs end at their deadline; ended ones are forgotten by age, number and bytes, the oldest first."""
        now, limits = self.clock(), self.limits
        while self._due and self._due[0][0] <= now:
            record = self._records.get(heappop(self._due)[1])
            if record is not None and record.state == "queued":
                self._end(record, "expired", Failure(DeadlineExceeded.code, "the deadline passed in the queue"))
        while self._kept and (
            next(iter(self._kept.values())).finished_at + limits.result_ttl_seconds <= now
            or len(self._kept) > limits.max_kept_jobs
            or (self._kept_bytes > limits.max_kept_bytes and len(self._kept) > 1)
        ):
            self._forget(next(iter(self._kept)))

    def _forget(self, job_id: str) -> None:
        if (record := self._kept.pop(job_id, None)) is not None:
            self._kept_bytes -= record.size_bytes
            del self._records[job_id]
            if record.job.idempotency_key:
                self._keys.pop((record.job.tenant, record.job.idempotency_key), None)

    def _status(self, record: Record) -> JobStatus:
        queued = record.state == "queued"
        return record.status(self._queue(record.job).ready.position(record.job.id) if queued else None)

    def _call_takers(self) -> None:
        self._bell.ring(self._takers)
        self._takers = []

    def _call_waiters(self, record: Record) -> None:
        self._bell.ring(record.waiters)
        record.waiters = []
