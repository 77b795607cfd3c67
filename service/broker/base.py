"""Producer, Consumer and Admin: the three faces of the queue."""

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Literal, Protocol

from fivefold.errors import NotReady
from service.jobs import Events, Failure, Job, Lease
from service.settings import Settings
from service.workers import ControlMessage, WorkerStatus

Emission = tuple[Lease, Sequence[Events]]
# Sixteen jobs of 0.1 s fit in 1.6 s, although the sum of sixteen 0.1 is more in floating point.
BUDGET_TOLERANCE_SECONDS = 1e-9
State = Literal["queued", "running", "done", "failed", "cancelled", "expired"]


class QueueAway(NotReady):
    """The queue's server does not answer, or not as it should: the message says which. It may be back any moment."""

    def __init__(self, message: str) -> None:
        super().__init__(message, retry_after_s=1.0)


@dataclass(frozen=True)
class Accepted:
    """`existing` is True where the idempotency key named a job that was there already."""

    job_id: str
    existing: bool


@dataclass(frozen=True)
class JobStatus:
    """A job as its tenant sees it. "failed" means that no row succeeded.

    `position` is the number of jobs before it and `start_in_seconds` their predicted time, both while it is queued.
    `progress` is the part of its work that is done, in [0, 1]. Times are in seconds since the epoch.
    """

    id: str
    operation: str
    state: State
    rows: int
    rows_finished: int
    progress: float
    submitted_at: float
    ended_at: float | None = None
    position: int | None = None
    start_in_seconds: float | None = None
    error: Failure | None = None

    @property
    def alive(self) -> bool:
        return self.state in ("queued", "running")


@dataclass(frozen=True)
class Depth:
    """A model's queue: jobs waiting and running, and what they need of the device by the measured cost curves."""

    waiting_jobs: int
    running_jobs: int
    predicted_seconds: float


@dataclass(frozen=True)
class DeadJob:
    """A job that was given up: after its attempts, or because no worker could read it. `model` is "name@version"."""

    id: str
    model: str
    operation: str
    tenant: str
    rows: int
    attempts: int
    reason: str


@dataclass(frozen=True)
class Limits:
    """The queue's bounds. A refused job is told when to come back, from the depth and the measured drain rate.

    What jobs that wait or run hold, their inputs and the steps and items that were published so far, is bounded by
    `max_queue_bytes`; where a job's steps are more than its `max_stream_bytes`, or more than the queue has room for,
    its oldest steps go, and never an end. Ended jobs are kept for `result_ttl_seconds`, but no more than
    `max_kept_jobs` and `max_kept_bytes`, and so are dead letters. Bytes are real ones, with what each object takes.
    What no worker has been able to read for `unreadable_seconds` is given up. Every default is in `Settings`.
    """

    max_queue_seconds: float
    max_queued_jobs: int
    lease_seconds: float
    max_attempts: int
    result_ttl_seconds: float
    max_kept_jobs: int
    max_kept_bytes: int
    max_queue_bytes: int
    max_stream_bytes: int
    max_dead_jobs: int
    unreadable_seconds: float
    class_weights: Mapping[str, float]

    @classmethod
    def of(cls, settings: Settings) -> "Limits":
        return cls(**{field.name: getattr(settings, field.name) for field in fields(cls)})


class Producer(Protocol):
    """What the API does. Jobs of other tenants are unknown jobs. A model is named "name@version", str(ModelRef)."""

    async def submit(self, job: Job) -> Accepted:
        """Queue a job. Raises QueueFull (retry_after_s), IdempotencyConflict, and InvalidInput for what never fits.

        What can not be done by its deadline, by the measured cost of it and of what is before it, is refused too.
        """
        ...

    def events(self, job_id: str) -> AsyncIterator[Events]:
        """Every event that the queue holds, from the first on, until each row is done or failed. Raises NotFound.

        A reader that is slower than the job's steps, or comes later, misses the oldest ones, and no end.
        """
        ...

    async def ends(self, job_id: str) -> Sequence[Events]:
        """The ends of all rows, once the job has ended: what `events` gives, less the steps. Raises NotFound."""
        ...

    async def abandon(self, job_id: str) -> None:
        """This producer waits no longer: a job that nobody else waits for is cancelled, unless it is detached."""
        ...

    async def request(self, job_id: str, tenant: str) -> bytes:
        """The job's `request`, kept as long as the job. Raises NotFound."""
        ...

    async def status(self, job_id: str, tenant: str) -> JobStatus:
        """Raises NotFound."""
        ...

    async def jobs(self, tenant: str, cursor: str | None = None) -> tuple[Sequence[JobStatus], str | None]:
        """A page of the tenant's jobs that have a `request`, newest first, and the cursor of the next page."""
        ...

    async def cancel(self, job_id: str, tenant: str) -> bool:
        """True where the job was alive; its rows leave the device at the next step. Raises NotFound."""
        ...

    async def depth(self, model: str) -> Depth: ...

    async def close(self) -> None:
        """Let the connections of this event loop go."""
        ...


class Consumer(Protocol):
    """What a worker does. Every change is fenced by the lease's token."""

    @property
    def formats(self) -> tuple[int, ...]:
        """The formats of messages that this consumer reads."""
        ...

    async def take(self, models: Sequence[str], *, budget: float, wait: float) -> Sequence[Lease]:
        """Jobs of these models in fair order, of at most `budget` predicted seconds in all, but one at least.

        Waits up to `wait` seconds for the first. A job whose lease ran out is redelivered alone.
        """
        ...

    async def extend(self, leases: Sequence[Lease]) -> Sequence[Lease]:
        """Renew; returns the leases that are lost (cancelled, or another worker's by now)."""
        ...

    async def release(self, leases: Sequence[Lease]) -> None:
        """Hand back unfinished jobs; this attempt does not count."""
        ...

    async def emit(self, emissions: Sequence[Emission]) -> Sequence[Lease]:
        """Publish events in this order; the last row's end acknowledges a job. Returns the leases that are lost.

        A lease may come several times.
        """
        ...

    async def cancelled(self) -> AsyncIterator[str]:
        """Ids of running jobs as they are cancelled, from now on."""
        ...

    async def heartbeat(self, status: WorkerStatus) -> None: ...

    async def control(self) -> AsyncIterator[ControlMessage]:
        """Control messages as they are sent, from now on."""
        ...


class WorkerQueue(Consumer, Protocol):
    """All that a worker asks of a queue."""

    async def depth(self, model: str) -> Depth: ...

    async def workers(self) -> Sequence[WorkerStatus]:
        """Every worker's last heartbeat; `beat_at` is in seconds since the epoch."""
        ...

    async def close(self) -> None:
        """Let the connections of this event loop go."""
        ...


class Admin(Protocol):
    """What an operator does."""

    async def workers(self) -> Sequence[WorkerStatus]:
        """Every worker's last heartbeat; `beat_at` is in seconds since the epoch."""
        ...

    async def dead(self) -> Sequence[DeadJob]: ...

    async def replay(self, job_id: str) -> None:
        """Queue a dead job again. Raises NotFound."""
        ...

    async def send(self, message: ControlMessage) -> None: ...

    async def set_alias(self, alias: str, reference: str) -> None:
        """From now on "name@alias" means the model "name@version" on every API replica."""
        ...

    async def aliases(self) -> Mapping[str, str]:
        """ "name@alias" -> "name@version", as far as they were set here."""
        ...


class Broker(Producer, Consumer, Admin, Protocol):
    """All three faces of one queue."""
