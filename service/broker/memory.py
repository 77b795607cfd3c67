"""The queue in one process: a ledger behind one lock, used by the API's and the worker's event loops."""

import asyncio
import time
from asyncio import Future
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import replace
from threading import Lock

from service.broker.aliases import AliasFile
from service.broker.base import Accepted, DeadJob, Depth, Emission, JobStatus, Limits
from service.broker.ledger import Ledger
from service.broker.record import Record
from service.broker.wake import Doorbell, Topic, until
from service.jobs import FORMATS, Events, Job, Lease
from service.workers import ControlMessage, WorkerStatus


class MemoryBroker:
    """Producer, Consumer and Admin without a server. `clock` gives seconds since the epoch.

    Nothing polls: what waits holds a future of its own loop. What expires is swept by the calls, of which a living
    worker makes several a second.
    """

    formats = FORMATS

    def __init__(self, limits: Limits, aliases: AliasFile, clock: Callable[[], float] = time.time) -> None:
        self.clock, self._aliases = clock, aliases
        self._lock = Lock()
        self._bell = Doorbell(self._lock)
        self._cancelled: Topic[str] = Topic(self._lock, self._bell)
        self._control: Topic[ControlMessage] = Topic(self._lock, self._bell)
        self._arrived: Topic[None] = Topic(self._lock, self._bell)
        self._told = False
        self._ledger = Ledger(limits, self._wake_readers)
        self._readers: defaultdict[str, list[Future[None]]] = defaultdict(list)
        self._finishers: defaultdict[str, list[Future[None]]] = defaultdict(list)
        self._takers: list[Future[None]] = []
        self._workers: dict[str, WorkerStatus] = {}

    async def submit(self, job: Job) -> Accepted:
        with self._lock:
            accepted = self._ledger.submit(job, self.clock())
            self._wake_takers()
            return accepted

    async def events(self, job_id: str) -> AsyncIterator[Events]:
        with self._lock:
            record, position = self._ledger.record(job_id), 0
        while True:
            with self._lock:
                there, alive = position < len(record.events), record.alive
                event = record.events[position] if there else None
                if alive and not there:
                    future = asyncio.get_running_loop().create_future()
                    self._readers[job_id].append(future)
            position += there
            if event is not None:
                yield event
            elif not there:
                if not alive:
                    return
                await future

    async def ends(self, job_id: str) -> Sequence[Events]:
        with self._lock:
            record = self._ledger.record(job_id)
            if not record.alive:
                return record.ends
            future: Future[None] = asyncio.get_running_loop().create_future()
            self._finishers[job_id].append(future)
        await future
        return record.ends

    async def status(self, job_id: str, tenant: str) -> JobStatus:
        with self._lock:
            return self._ledger.status(job_id, tenant, self.clock())

    async def jobs(self, tenant: str, cursor: str | None = None) -> tuple[Sequence[JobStatus], str | None]:
        with self._lock:
            return self._ledger.page(tenant, cursor, self.clock())

    async def cancel(self, job_id: str, tenant: str) -> bool:
        with self._lock:
            was = self._ledger.cancel(job_id, tenant, self.clock())
            if was == "running":
                self._cancelled.send(job_id)
            return was in ("queued", "running")

    async def abandon(self, job_id: str) -> None:
        with self._lock:
            record = self._ledger.record(job_id)
        if not record.detached:
            await self.cancel(job_id, record.job.tenant)

    async def request(self, job_id: str, tenant: str) -> bytes:
        with self._lock:
            return self._ledger.record(job_id, tenant).request

    async def depth(self, model: str) -> Depth:
        with self._lock:
            return self._ledger.depth(model, self.clock())

    async def take(self, models: Sequence[str], *, budget: float, wait: float) -> Sequence[Lease]:
        with self._lock:
            self._told = False
            leases = self._ledger.take(models, budget, self.clock())
            if leases or wait <= 0.0:
                return leases
            future: Future[None] = asyncio.get_running_loop().create_future()
            self._takers.append(future)
        await until(future, wait)
        with self._lock:
            self._told = False
            self._takers = [taker for taker in self._takers if taker is not future]
            return self._ledger.take(models, budget, self.clock())

    async def extend(self, leases: Sequence[Lease]) -> Sequence[Lease]:
        with self._lock:
            return self._ledger.extend(leases, self.clock())

    async def release(self, leases: Sequence[Lease]) -> None:
        with self._lock:
            self._ledger.release(leases)
            self._wake_takers()

    async def emit(self, emissions: Sequence[Emission]) -> Sequence[Lease]:
        with self._lock:
            return self._ledger.emit(emissions, self.clock())

    def holds(self, lease: Lease) -> bool:
        """True where the job still runs by this lease."""
        with self._lock:
            return self._ledger.holds(lease)

    def lapse(self, leases: Sequence[Lease]) -> None:
        """Their worker is known to be gone: other workers take over at once."""
        with self._lock:
            self._ledger.lapse(leases)
            self._wake_takers()

    async def cancelled(self) -> AsyncIterator[str]:
        return self._cancelled.listen()

    async def arrived(self) -> AsyncIterator[None]:
        """One sign after each taking, once there may be another job: for a worker that does not ask in vain."""
        return self._arrived.listen()

    async def heartbeat(self, status: WorkerStatus) -> None:
        with self._lock:
            self._ledger.sweep(self.clock())
            self._workers[status.id] = replace(status, beat_at=self.clock())

    async def control(self) -> AsyncIterator[ControlMessage]:
        return self._control.listen()

    async def workers(self) -> Sequence[WorkerStatus]:
        with self._lock:
            return list(self._workers.values())

    async def dead(self) -> Sequence[DeadJob]:
        with self._lock:
            return list(self._ledger.dead.values())

    async def replay(self, job_id: str) -> None:
        with self._lock:
            self._ledger.replay(job_id, self.clock())
            self._wake_takers()

    async def send(self, message: ControlMessage) -> None:
        with self._lock:
            self._control.send(message)

    async def set_alias(self, alias: str, reference: str) -> None:
        await asyncio.to_thread(self._aliases.set, alias, reference)

    async def aliases(self) -> Mapping[str, str]:
        return self._aliases.all()

    async def close(self) -> None:
        """Nothing to let go."""

    def _wake_readers(self, record: Record) -> None:
        self._bell.ring(self._readers.pop(record.job.id, ()))
        if not record.alive:
            self._bell.ring(self._finishers.pop(record.job.id, ()))

    def _wake_takers(self) -> None:
        if not self._told:
            self._told = True
            self._arrived.send(None)
        self._bell.ring(self._takers)
        self._takers = []
