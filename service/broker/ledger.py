"""Every job of a queue and what may happen to it. Pure: time is an argument, and waiting is the broker's."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from heapq import heapify, heappop, heappush
from itertools import islice, takewhile

from fivefold.errors import Cancelled, DeadlineExceeded, NotFound, RowFailed
from service.broker import admission
from service.broker.base import BUDGET_TOLERANCE_SECONDS, Accepted, DeadJob, Depth, Emission, JobStatus, Limits, State
from service.broker.model_queue import ModelQueue
from service.broker.record import Record
from service.broker.weight import job_bytes
from service.jobs import Failure, Job, Lease

PAGE_JOBS = 100


class Ledger:
    """What expires is found by `sweep`, which the other calls begin with. `changed` hears of every job with new events.

    A job that has ended is kept for a while, so that its answer can be asked for again.
    """

    def __init__(self, limits: Limits, changed: Callable[[Record], None]) -> None:
        self.limits, self._changed = limits, changed
        self.dead: dict[str, DeadJob] = {}
        self._buried: dict[str, Job] = {}
        self._records: dict[str, Record] = {}
        self._keys: dict[tuple[str, str], str] = {}
        self._queues: dict[str, ModelQueue] = {}
        self._due: list[tuple[float, str]] = []
        self._leased: dict[str, Record] = {}  # by the end of the lease: all leases have one length
        self._kept: dict[str, Record] = {}  # ended, oldest first
        self._living_bytes = self._kept_bytes = self._dead_bytes = 0
        self._arrivals = 0
        self._turn = 0
        self._tokens = 0

    def submit(self, job: Job, now: float) -> Accepted:
        """Raises QueueFull, InvalidInput, IdempotencyConflict."""
        self.sweep(now)
        if (existing := self._same(job)) is not None:
            self._join(existing, job)
            return Accepted(existing.job.id, existing=True)
        queue = self._queue(str(job.model))
        queue.admit(job, now)
        held_bytes = job_bytes(job)
        self._require_bytes(queue, held_bytes)
        self._enqueue(job, queue, now, held_bytes)
        return Accepted(job.id, existing=False)

    def record(self, job_id: str, tenant: str | None = None) -> Record:
        """Raises NotFound, also for another tenant's job."""
        record = self._records.get(job_id)
        if record is None or tenant not in (None, record.job.tenant):
            raise NotFound(f"there is no job {job_id}: it may have been forgotten since it ended")
        return record

    def status(self, job_id: str, tenant: str, now: float) -> JobStatus:
        self.sweep(now)
        return self.record(job_id, tenant).status()

    def page(self, tenant: str, cursor: str | None, now: float) -> tuple[list[JobStatus], str | None]:
        """The tenant's jobs, newest first."""
        self.sweep(now)
        before = int(cursor) if cursor is not None else self._arrivals + 1
        records = reversed(self._records.values())
        own = (r for r in records if r.job.tenant == tenant and r.request and r.order < before)
        page = list(islice(own, PAGE_JOBS))
        more = next(own, None) is not None
        return [record.status() for record in page], str(page[-1].order) if more else None

    def cancel(self, job_id: str, tenant: str, now: float) -> State:
        """The state that the job was in."""
        self.sweep(now)
        record = self.record(job_id, tenant)
        was = record.state
        if record.alive:
            self._end(record, "cancelled", Failure(Cancelled.code, "the job was cancelled"), now)
        return was

    def depth(self, model: str, now: float) -> Depth:
        self.sweep(now)
        return self._queues[model].depth if model in self._queues else Depth(0, 0, 0.0)

    def take(self, models: Sequence[str], budget: float, now: float) -> list[Lease]:
        """In fair order up to `budget` predicted seconds, one job at least; or one job whose worker fell silent."""
        self.sweep(now)
        if (record := self._overdue(models, now)) is not None:
            return [self._begin(record, now)]
        leases: list[Lease] = []
        for record in self._in_fair_order(models):
            if leases and record.job.predicted_seconds > budget + BUDGET_TOLERANCE_SECONDS:
                break
            budget -= record.job.predicted_seconds
            record.queue.ready.begin(record.job.id)
            leases.append(self._begin(record, now))
        return leases

    def extend(self, leases: Sequence[Lease], now: float) -> list[Lease]:
        """Renew; returns those that are lost."""
        lost = []
        for lease in leases:
            if (record := self._held(lease)) is None:
                lost.append(lease)
            else:
                self._lease(record, now)
        return lost

    def holds(self, lease: Lease) -> bool:
        """True where the job still runs by this lease."""
        return self._held(lease) is not None

    def lapse(self, leases: Iterable[Lease]) -> None:
        """These leases run out at once: their worker is known to be gone."""
        for record in filter(None, map(self._held, leases)):
            record.leased_until = 0.0
            del self._leased[record.job.id]
            self._leased = {record.job.id: record, **self._leased}

    def release(self, leases: Sequence[Lease]) -> None:
        for record in filter(None, map(self._held, leases)):
            self._stop_running(record)
            record.hand_back()
            record.queue.ready.put_back(record.job.id, record.ticket)
            self._watch_deadline(record.job)

    def emit(self, emissions: Sequence[Emission], now: float) -> list[Lease]:
        """Returns the leases that are lost. The last row's end acknowledges a job."""
        lost = []
        for lease, events in emissions:
            if (record := self._held(lease)) is None:
                lost.append(lease)
                continue
            self._living_bytes -= record.held_bytes
            if record.publish(events):
                self._stop_running(record)
                record.queue.drain.finish(record.job.predicted_seconds, now)
                record.finish()
                self._keep(record, now)
            else:
                self._hold(record)
            self._changed(record)
        return lost

    def replay(self, job_id: str, now: float) -> None:
        """Raises NotFound."""
        if job_id not in self.dead:
            raise NotFound(f"there is no dead job {job_id}")
        if job_id in self._kept:
            self._forget(job_id)
        del self.dead[job_id]
        job = self._buried.pop(job_id)
        held_bytes = job_bytes(job)
        self._dead_bytes -= held_bytes
        self._enqueue(job, self._queue(str(job.model)), now, held_bytes)

    def sweep(self, now: float) -> None:
        """Queued jobs end at their deadline; ended ones are forgotten by age, number and bytes, the oldest first."""
        while self._due and self._due[0][0] <= now:
            record = self._records.get(heappop(self._due)[1])
            if record is not None and record.state == "queued":
                self._end(record, "expired", Failure(DeadlineExceeded.code, "the deadline passed in the queue"), now)
        while self._kept and self._too_much_kept(now):
            self._forget(next(iter(self._kept)))

    def _queue(self, model: str) -> ModelQueue:
        if model not in self._queues:
            self._queues[model] = ModelQueue(self.limits)
        return self._queues[model]

    def _same(self, job: Job) -> Record | None:
        """The job that is already there under this id or idempotency key. Raises IdempotencyConflict.

        One that was abandoned has no answer to share: its key is free for another try.
        """
        job_id = self._keys.get((job.tenant, job.idempotency_key), job.id) if job.idempotency_key else job.id
        existing = self._records.get(job_id)
        if existing is not None and existing.job.body_sha256 != job.body_sha256:
            raise admission.other_body(job.idempotency_key or job.id, existing.job.body_sha256, job.body_sha256)
        return existing if existing is None or existing.state not in ("cancelled", "expired") else None

    def _join(self, existing: Record, job: Job) -> None:
        """The same job, asked for again. Raises QueueFull where there is no room for what its answer is made from."""
        if existing.alive and not existing.request and job.request:
            self._require_bytes(existing.queue, len(job.request))
        before = existing.held_bytes
        existing.join(job)
        if existing.alive:
            self._living_bytes += existing.held_bytes - before
        else:
            self._kept_bytes += existing.held_bytes - before

    def _require_bytes(self, queue: ModelQueue, size_bytes: int) -> None:
        """Raises QueueFull, InvalidInput."""
        held_bytes, limit_bytes = self._living_bytes, self.limits.max_queue_bytes
        if held_bytes + size_bytes > limit_bytes:
            seconds, rate = queue.depth.predicted_seconds, queue.drain.value
            raise admission.full_of_bytes(held_bytes, size_bytes, limit_bytes, seconds, rate)

    def _hold(self, record: Record) -> None:
        """Count what a living job holds; the oldest of its steps go where they are too many."""
        if record.step_bytes:
            record.drop_steps(record.step_bytes - self.limits.max_stream_bytes)
            record.drop_steps(self._living_bytes + record.held_bytes - self.limits.max_queue_bytes)
        self._living_bytes += record.held_bytes

    def _enqueue(self, job: Job, queue: ModelQueue, now: float, held_bytes: int) -> None:
        self._arrivals += 1
        self._records[job.id] = Record(job, queue, queue.ready.push(job), self._arrivals, now, held_bytes)
        self._living_bytes += held_bytes
        if job.idempotency_key:
            self._keys[job.tenant, job.idempotency_key] = job.id
        self._watch_deadline(job)

    def _watch_deadline(self, job: Job) -> None:
        if job.deadline is not None:
            heappush(self._due, (job.deadline, job.id))
        alive = len(self._records) - len(self._kept)
        if len(self._due) > 2 * alive + 64:  # far deadlines of jobs that ended long ago
            self._due = [entry for entry in self._due if (r := self._records.get(entry[1])) is not None and r.alive]
            heapify(self._due)

    def _overdue(self, models: Sequence[str], now: float) -> Record | None:
        """A job whose worker fell silent. It is redelivered alone: should it kill this worker, it hits no neighbour."""
        for record in list(takewhile(lambda record: record.leased_until <= now, self._leased.values())):
            if record.attempts >= self.limits.max_attempts:
                self._bury(record, now)
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

    def _begin(self, record: Record, now: float) -> Lease:
        record.queue.begin(record.job, now)
        self._lease(record, now)
        self._tokens += 1
        return record.begin(self._tokens)

    def _lease(self, record: Record, now: float) -> None:
        record.leased_until = now + self.limits.lease_seconds
        self._leased.pop(record.job.id, None)
        self._leased[record.job.id] = record

    def _held(self, lease: Lease) -> Record | None:
        record = self._records.get(lease.job.id)
        return record if record is not None and record.holds(lease) else None

    def _stop_running(self, record: Record) -> None:
        del self._leased[record.job.id]
        del record.queue.running[record.job.id]

    def _bury(self, record: Record, now: float) -> None:
        reason = f"its worker fell silent in {record.attempts} of {self.limits.max_attempts} attempts"
        job = record.job
        dead = DeadJob(job.id, str(job.model), job.operation, job.tenant, len(job.block), record.attempts, reason)
        self.dead[job.id], self._buried[job.id] = dead, job
        self._dead_bytes += job_bytes(job)
        while len(self.dead) > self.limits.max_dead_jobs or self._dead_bytes > self.limits.max_kept_bytes:
            oldest = next(iter(self.dead))
            del self.dead[oldest]
            self._dead_bytes -= job_bytes(self._buried.pop(oldest))
        self._end(record, "failed", Failure(RowFailed.code, f"the job was given up: {reason}"), now)

    def _end(self, record: Record, state: State, failure: Failure, now: float) -> None:
        """End a living job without its worker."""
        self._living_bytes -= record.held_bytes
        if record.state == "running":
            self._stop_running(record)
        else:
            record.queue.ready.remove(record.job.id)
        record.end(state, failure)
        self._keep(record, now)
        self._changed(record)

    def _keep(self, record: Record, now: float) -> None:
        record.ended_at = now
        self._kept[record.job.id] = record
        self._kept_bytes += record.held_bytes

    def _too_much_kept(self, now: float) -> bool:
        """True where the oldest has to go. The newest answer stays, however large."""
        limits, oldest = self.limits, next(iter(self._kept.values()))
        return (
            oldest.ended_at + limits.result_ttl_seconds <= now
            or len(self._kept) > limits.max_kept_jobs
            or (self._kept_bytes > limits.max_kept_bytes and len(self._kept) > 1)
        )

    def _forget(self, job_id: str) -> None:
        record = self._kept.pop(job_id)
        self._kept_bytes -= record.held_bytes
        del self._records[job_id]
        key = (record.job.tenant, record.job.idempotency_key or "")
        if self._keys.get(key) == job_id:  # another try may have the key by now
            del self._keys[key]
