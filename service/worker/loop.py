"""publish_and_take -> drop_unwanted -> step -> collect -> apply_orders: the one loop of every family."""

import asyncio
import secrets
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress

import structlog

from fivefold.errors import DeadlineExceeded, InternalError, InvalidInput
from model_store.store import Store
from service.broker.base import QueueAway, WorkerQueue
from service.families.family import Family
from service.jobs import Events, Failure, Lease, failed
from service.runtime.onnx import scope
from service.settings import Settings
from service.telemetry import Metrics
from service.worker.exchange import Exchange
from service.worker.heartbeat import Heartbeat
from service.worker.held import Held
from service.worker.lease_keeper import LeaseKeeper
from service.worker.messages import Messages
from service.worker.model_control import EndedLoad, ModelControl
from service.worker.residency import LoadGraph, Residency
from service.worker.scheduler import Scheduler
from service.worker.step_runner import Outcome, StepRunner
from service.workers import WorkerStatus

# A loop that has not turned for as long hangs: its heartbeat stops, and so does the readiness of the API.
HUNG_AFTER_SECONDS = 60.0
AWAY_SECONDS = 0.2  # between two tries to reach a queue that is away
LOADING_SECONDS = 0.005  # between two looks at a load, where there is nothing else to do
log = structlog.get_logger()


class Worker:
    """The device's process, or its thread: runs whatever the queue holds for the models it serves.

    Greedy: it never waits for company. While the device has work it takes what is there between two steps; without,
    it sleeps until a job arrives. `clock` gives seconds since the epoch.
    """

    def __init__(
        self,
        settings: Settings,
        broker: WorkerQueue,
        store: Store,
        families: Sequence[Family],
        metrics: Metrics,
        load_graph: LoadGraph,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.id = secrets.token_hex(4)
        self.settings, self.broker, self.metrics, self.clock = settings, broker, metrics, clock
        self.residency = Residency(settings, store, families, load_graph)
        self.scheduler = Scheduler(settings.max_step_ms, settings.class_weights)
        self.models = ModelControl(settings, self.residency, self.scheduler)
        self._scope = scope(settings)
        self.steps = StepRunner(self.residency, metrics, self._scope)
        self.leases = LeaseKeeper(settings, broker, self.scheduler, self.models, metrics, self.status)
        self._messages = Messages()
        self.exchange = Exchange(broker, self.leases.lose)
        self._stopping = threading.Event()
        self._grace_ends: float | None = None
        self._turned_at = time.monotonic()

    def stop(self) -> None:
        """Take nothing new, finish the live rows within `shutdown_seconds`, hand back the rest. From any thread."""
        self._stopping.set()

    @property
    def hung(self) -> bool:
        """True where the loop has not turned for a minute."""
        return time.monotonic() - self._turned_at > HUNG_AFTER_SECONDS

    @property
    def ready(self) -> bool:
        """True where models are served and the queue has heard of it just now."""
        return bool(self.models.served()) and self.leases.fresh and not self._stopping.is_set()

    def status(self) -> WorkerStatus:
        """What the heartbeat says."""
        models, formats = self.models.served(), self.broker.formats
        return WorkerStatus(self.id, self.models.device, self._scope, models, self.steps.rows_run, formats)

    async def run(self) -> None:
        """Load the models and serve until stopped."""
        self.models.open(self.clock())
        async with self._messages.listening(self.broker):
            with Heartbeat(self.beat, self._take_leave, self.settings.heartbeat_seconds):
                await self._serve()
        with suppress(QueueAway):  # what cannot be handed back is another worker's when its lease ends
            await self.exchange.finish()
            await self._hand_back(self.scheduler.held())
        self.models.close()
        await self.broker.close()

    async def beat(self) -> None:
        """One heartbeat, unless the loop hangs."""
        if not self.hung:
            await self.leases.beat()

    async def _take_leave(self) -> None:
        await self.leases.take_leave(WorkerStatus(self.id, "none", self._scope))

    async def _serve(self) -> None:
        finished = False
        while not finished:
            try:
                finished = await self._finished()
                await self._turn()
            except QueueAway as error:
                log.warning("queue_away", reason=error.message)
                await asyncio.sleep(AWAY_SECONDS)

    async def _turn(self) -> None:
        await self._publish_and_take()
        self._drop_unwanted()
        step = self.scheduler.next_step(self.clock())
        if step is not None:
            self._collect(self.steps.run(step))
        self._apply_orders()

    async def _publish_and_take(self) -> None:
        """Publish what has ended and take what is next; while there is a step to run, it is not waited for."""
        self._turned_at = time.monotonic()
        await self._accept_taken()
        if not self.exchange.under_way:
            self.exchange.begin(self._take())
            await self._accept_taken()

    async def _accept_taken(self) -> None:
        for lease in await self.exchange.taken(wait=not self.scheduler.runnable):
            await self._accept(lease)

    async def _take(self) -> Sequence[Lease]:
        """Jobs for the places that are free; with nothing to do, wait for one."""
        if self._stopping.is_set():
            return []
        wait, spare_seconds = self._wait_seconds(), self.scheduler.spare_seconds()
        if spare_seconds <= 0.0 or self._holds_redelivered():
            await asyncio.sleep(wait)
            return []
        return await self.broker.take(self.models.names(), budget=spare_seconds, wait=wait)

    def _wait_seconds(self) -> float:
        """How long the loop may sleep."""
        if self.scheduler.runnable:
            return 0.0
        return LOADING_SECONDS if self.models.loading else self.settings.heartbeat_seconds

    def _holds_redelivered(self) -> bool:
        return any(redelivered(held.lease) for held in self.scheduler.held())

    async def _accept(self, lease: Lease) -> None:
        self._drop(self.scheduler.cancel(lease.job.id), "lost")  # an older lease of the same job ran out here
        neighbours = self.scheduler.held()
        self._add(lease)
        if redelivered(lease):  # it may have killed its worker: should it do so again, it hits no neighbour
            await self._hand_back(neighbours)

    def _add(self, lease: Lease) -> None:
        """The job waits for its steps, or for its model; one that can never run is answered."""
        job, now = lease.job, self.clock()
        if not self.models.runs(job):
            kind = type(job.block.parameters).__name__
            self._fail(lease, Failure(InternalError.code, f"{job.model} has no session {kind} here"))
            return
        self.models.use(job.model, now)
        need, capacity = self.steps.room_for(job) if self.residency.has(job.model) else (1, 1)
        if need > capacity:
            message = f"an item takes {need} units of {capacity} that the device has for {job.model}: make it smaller"
            self._fail(lease, Failure(InvalidInput.code, message))
        else:
            self.scheduler.add(lease, now, need)

    def _fail(self, lease: Lease, failure: Failure) -> None:
        self.exchange.add(lease, [failed(lease.job.id, lease.job.block.rows, failure)])

    def _drop_unwanted(self) -> None:
        """Rows that no client waits for leave the device."""
        for job_id in self._messages.cancelled():
            self._drop(self.scheduler.cancel(job_id), "cancelled")
        for lease in self.leases.lost():
            if self.scheduler.holds(lease):
                self._drop(self.scheduler.cancel(lease.job.id), "lost")
        for held in self.scheduler.expire(self.clock()):
            self._drop(held, "expired")
            failure = Failure(DeadlineExceeded.code, "the deadline passed before the row was finished")
            rows = [held.block.rows[one.start : one.stop] for one in held.unfinished()]
            self.exchange.add(held.lease, [failed(held.job.id, part, failure) for part in rows])

    def _collect(self, outcome: Outcome) -> None:
        """What a step gave, by job, is published with the next turn."""
        self.scheduler.charge(outcome.advanced)
        emissions: dict[str, tuple[Lease, list[Events]]] = {}
        for events in outcome.events:
            lease = self.scheduler.lease(events.job_id)
            if events.terminal or lease.job.stream:
                emissions.setdefault(events.job_id, (lease, []))[1].append(events)
        for lease, given in emissions.values():
            self.exchange.add(lease, given)
        self.scheduler.end(outcome.ended)

    def _drop(self, held: Held | None, end: str) -> None:
        if held is not None:
            self.steps.drop(held, end)

    def _apply_orders(self) -> None:
        """What an operator asked for, and what a load that has ended brings."""
        for order in self._messages.orders(self.id):
            if order.action == "drain":
                self.stop()
            else:
                self.models.obey(order)
        ended = self.models.advance(self.clock())
        if ended is not None:
            self._wake(ended)

    def _wake(self, ended: EndedLoad) -> None:
        """Jobs that waited for a model run, or fail where it is refused."""
        for held in self.scheduler.held():
            if held.job.model == ended.ref and not held.place.awake:
                self.scheduler.cancel(held.job.id)
                if ended.loaded:
                    self._add(held.lease)
                else:
                    reason = f"{ended.ref} could not be loaded again: the worker's log says why"
                    self._fail(held.lease, Failure(InternalError.code, reason))

    async def _finished(self) -> bool:
        """True once told to stop, and the live rows are done or out of time."""
        if not self._stopping.is_set():
            return False
        if self._grace_ends is None:
            self._grace_ends = self.clock() + self.settings.shutdown_seconds
            await self.broker.release(await self.exchange.taken(wait=True))
            await self._hand_back([held for held in self.scheduler.held() if not held.started])
        return not self.scheduler.held() or self.clock() >= self._grace_ends

    async def _hand_back(self, jobs: Sequence[Held]) -> None:
        for held in jobs:
            self._drop(self.scheduler.cancel(held.job.id), "released")
        await self.broker.release([held.lease for held in jobs])


def redelivered(lease: Lease) -> bool:
    """True where an earlier worker lost the job."""
    return lease.attempt > 1
