"""take -> schedule -> admit -> step -> emit: the one loop of every family."""

import asyncio
import math
import secrets
import threading
import time
from collections import defaultdict, deque
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from typing import TypeVar

import structlog

from fivefold.errors import DeadlineExceeded, InternalError
from model_store.store import Store
from service.broker.base import Broker, ControlMessage, Emission, Limits, QueueAway, WorkerStatus
from service.families.registry import Family
from service.jobs import Event, Failure, Lease
from service.runtime.onnx import scope
from service.settings import Settings
from service.telemetry import Metrics
from service.worker.isolation import failed
from service.worker.pulse import Pulse
from service.worker.residency import LoadGraph, Residency
from service.worker.roster import Roster
from service.worker.scheduler import Held, Scheduler
from service.worker.steps import StepRunner

# A loop that has not turned for as long hangs: its heart stops, and so does the readiness of the API.
HUNG_AFTER_SECONDS = 60.0
AWAY_SECONDS = 0.2  # between two tries to reach a queue that is away
MessageT = TypeVar("MessageT")
log = structlog.get_logger()


class Worker:
    """The device's process, or its thread: runs whatever the queue holds for the models it has loaded.

    Greedy: it never waits for company. While the device has work it takes what is there between two steps; without,
    it sleeps until a job arrives. `clock` gives seconds since the epoch.
    """

    def __init__(
        self,
        settings: Settings,
        broker: Broker,
        store: Store,
        families: Sequence[Family],
        metrics: Metrics,
        load_graph: LoadGraph,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.id = secrets.token_hex(4)
        self.settings, self.broker, self.store, self.metrics, self.clock = settings, broker, store, metrics, clock
        self.residency = Residency(settings, store, families, load_graph)
        self.scheduler = Scheduler(settings.max_step_ms, Limits().class_weights)
        self.roster = Roster(self.residency, self.scheduler)
        self._scope = scope(settings)
        self.steps = StepRunner(self.residency, metrics, self._scope)
        self._stopping = threading.Event()
        self._grace_ends: float | None = None
        self._turned_at, self._beat_at = time.monotonic(), -math.inf
        self._unsent: list[Emission] = []
        self._cancelled: deque[str] = deque()
        self._lost: deque[Lease] = deque()
        self._orders: deque[ControlMessage] = deque()

    def stop(self) -> None:
        """Take nothing new, finish the live rows within `shutdown_seconds`, hand back the rest. From any thread."""
        self._stopping.set()

    @property
    def hung(self) -> bool:
        """True where the loop has not turned for a minute."""
        return time.monotonic() - self._turned_at > HUNG_AFTER_SECONDS

    @property
    def ready(self) -> bool:
        """True where models are loaded and the queue has heard of it just now."""
        fresh = time.monotonic() - self._beat_at <= self.settings.stale_after_seconds
        return bool(self.residency.residents()) and fresh and not self._stopping.is_set()

    async def run(self) -> None:
        """Load the models and serve until stopped."""
        self.roster.open()
        async with self._listening():
            with Pulse(self._beat, self._take_leave, self.settings.heartbeat_seconds):
                await self._serve()
        with suppress(QueueAway):  # what cannot be handed back is another worker's when its lease ends
            await self._exchange()
            await self._hand_back(self.scheduler.held())
        await self.broker.close()

    async def _serve(self) -> None:
        finished = False
        while not finished:
            try:
                finished = await self._finished()
                await self._turn()
            except QueueAway as error:
                log.warning("queue away", reason=error.message)
                await asyncio.sleep(AWAY_SECONDS)

    async def _turn(self) -> None:
        await self._exchange()
        await self._weed()
        if (step := self.scheduler.next_step(self.clock())) is not None:
            self._settle(self.steps.run(step))
        self._obey()

    async def _exchange(self) -> None:
        """Publish what has ended and take what is next: in one breath, which a broker makes one round trip.

        What could not be published stays for the next turn; to publish it twice is harmless.
        """
        self._turned_at = time.monotonic()
        emissions, self._unsent = self._unsent, []
        published, taken = await asyncio.gather(self._publish(emissions), self._take(), return_exceptions=True)
        if isinstance(published, BaseException):
            self._unsent = emissions + self._unsent
        for error in (published, taken):
            if isinstance(error, BaseException):
                raise error

    async def _publish(self, emissions: Sequence[Emission]) -> None:
        if emissions:
            self._lost.extend(await self.broker.emit(emissions))

    async def _take(self) -> None:
        """Jobs for the places that are free; with nothing to do, wait for one."""
        await asyncio.sleep(0)  # the listeners' turn
        spare_seconds, held = self.scheduler.spare_seconds(), self.scheduler.held()
        if self._stopping.is_set() or spare_seconds <= 0.0 or any(redelivered(one.lease) for one in held):
            return
        wait = 0.0 if held else self.settings.heartbeat_seconds
        for lease in await self.broker.take(self.roster.models(), budget=spare_seconds, wait=wait):
            await self._accept(lease)

    async def _accept(self, lease: Lease) -> None:
        self._drop(self.scheduler.cancel(lease.job.id), "lost")  # an older lease of the same job ran out here
        neighbours = self.scheduler.held()
        if self.residency.serves(lease.job.model, lease.job.session_kind):
            self.scheduler.add(lease, self.clock())
        else:
            failure = Failure(InternalError.code, f"{lease.job.model} has no session {lease.job.session_kind!r} here")
            self._unsent.append((lease, [failed((lease.job.id, row.index), failure) for row in lease.job.rows]))
        if redelivered(lease):  # it may have killed its worker: should it do so again, it hits no neighbour
            await self._hand_back(neighbours)

    async def _weed(self) -> None:
        """Rows that nobody waits for leave the device."""
        while self._cancelled:
            self._drop(self.scheduler.cancel(self._cancelled.popleft()), "cancelled")
        while self._lost:
            self._lose(self._lost.popleft())
        for held in self.scheduler.expire(self.clock()):
            self._drop(held, "expired")
            failure = Failure(DeadlineExceeded.code, "the deadline passed before the row was finished")
            self._unsent.append((held.lease, [failed(row, failure) for row in held.unfinished()]))

    def _settle(self, events: Sequence[Event]) -> None:
        """What a step gave, by job, is published with the next exchange."""
        by_job: defaultdict[str, list[Event]] = defaultdict(list)
        for event in events:
            by_job[event.job_id].append(event)
        for job_id, own in by_job.items():
            lease = self.scheduler.lease(job_id)
            self.scheduler.ended(event.row_id for event in own if event.terminal)
            wanted = own if lease.job.stream else [event for event in own if event.terminal]
            if wanted:
                self._unsent.append((lease, wanted))

    def _lose(self, lease: Lease) -> None:
        """The job is another worker's by now, or ended."""
        if self.scheduler.holds(lease):
            self._drop(self.scheduler.cancel(lease.job.id), "lost")

    def _drop(self, held: Held | None, end: str) -> None:
        if held is not None:
            self.steps.drop(held.place.key, held.unfinished(), end)

    # Start, heartbeat, control, end

    async def _beat(self) -> None:
        """Runs in the heartbeat's thread: what it shares with the loop are deques and whole-list reads."""
        if not self.hung:
            with suppress(QueueAway):  # the loop says so
                await self._tell()
                self._beat_at = time.monotonic()

    async def _take_leave(self) -> None:
        """The last beat, however the loop ended: nobody counts on this worker any more."""
        with suppress(QueueAway):
            await self.broker.heartbeat(WorkerStatus(self.id, "none", self._scope, ()))
        await self.broker.close()

    async def _tell(self) -> None:
        residents = self.residency.residents()
        device = residents[0].device if residents else "none"
        models = self.residency.status()
        self._lost.extend(await self.broker.extend([held.lease for held in self.scheduler.held()]))
        await self.broker.heartbeat(WorkerStatus(self.id, device, self._scope, models, self.steps.rows_run))
        for model in models:
            depth = await self.broker.depth(str(model.ref))
            self.metrics.queued_jobs.labels(str(model.ref)).set(depth.waiting_jobs)

    @asynccontextmanager
    async def _listening(self) -> AsyncIterator[None]:
        """Cancels and orders are put down as they arrive, and obeyed between two steps."""
        listeners = [
            asyncio.create_task(_collect(await self.broker.cancelled(), self._cancelled)),
            asyncio.create_task(_collect(await self.broker.control(), self._orders)),
        ]
        try:
            yield
        finally:
            for listener in listeners:
                listener.cancel()
            await asyncio.wait(listeners)

    def _obey(self) -> None:
        while self._orders:
            order = self._orders.popleft()
            if order.worker not in (None, self.id):
                continue
            if order.action == "drain":
                self.stop()
            else:
                self.roster.obey(order)
        self.roster.settle()

    async def _finished(self) -> bool:
        """True once told to stop, and the live rows are done or out of time."""
        if not self._stopping.is_set():
            return False
        if self._grace_ends is None:
            self._grace_ends = self.clock() + self.settings.shutdown_seconds
            await self._hand_back([held for held in self.scheduler.held() if not held.started])
        return not self.scheduler.held() or self.clock() >= self._grace_ends

    async def _hand_back(self, jobs: Sequence[Held]) -> None:
        for held in jobs:
            self._drop(self.scheduler.cancel(held.job.id), "released")
        await self.broker.release([held.lease for held in jobs])


def redelivered(lease: Lease) -> bool:
    """True where an earlier worker fell silent over the job."""
    return lease.attempt > 1


async def _collect(messages: AsyncIterator[MessageT], into: "deque[MessageT]") -> None:
    async for message in messages:
        into.append(message)
