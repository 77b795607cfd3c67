"""Keeps a worker's place at the queue: renews its leases, says what it serves, sees what others have loaded."""

import math
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress

from service.broker.base import QueueAway, WorkerQueue
from service.jobs import Lease
from service.settings import Settings
from service.telemetry import Metrics
from service.worker.model_control import ModelControl
from service.worker.scheduler import Scheduler
from service.workers import WorkerStatus


class LeaseKeeper:
    """Runs in the heartbeat's thread: what it shares with the loop are deques and whole-list reads."""

    def __init__(
        self,
        settings: Settings,
        broker: WorkerQueue,
        scheduler: Scheduler,
        models: ModelControl,
        metrics: Metrics,
        status: Callable[[], WorkerStatus],
    ) -> None:
        self.settings, self.broker, self.metrics = settings, broker, metrics
        self.scheduler, self.models, self._status = scheduler, models, status
        self._lost: deque[Lease] = deque()
        self._beat_at = -math.inf

    @property
    def fresh(self) -> bool:
        """True where the queue has heard of this worker just now."""
        return time.monotonic() - self._beat_at <= self.settings.stale_after_seconds

    def lose(self, leases: Iterable[Lease]) -> None:
        """Another worker has these by now, or they were cancelled."""
        self._lost.extend(leases)

    def lost(self) -> Iterator[Lease]:
        """The leases that were lost, each once."""
        while self._lost:
            yield self._lost.popleft()

    async def beat(self) -> None:
        """Renew the leases and say what is served. The loop reports a queue that is away."""
        with suppress(QueueAway):
            self.lose(await self.broker.extend([held.lease for held in self.scheduler.held()]))
            status = self._status()
            await self.broker.heartbeat(status)
            await self._measure_depths(status)
            if self.models.may_unload:
                await self._see_others(status.id)
            self._beat_at = time.monotonic()

    async def take_leave(self, status: WorkerStatus) -> None:
        """The last beat: no client counts on this worker any more."""
        with suppress(QueueAway):
            await self.broker.heartbeat(status)
        await self.broker.close()

    async def _measure_depths(self, status: WorkerStatus) -> None:
        for model in status.models:
            depth = await self.broker.depth(str(model.ref))
            self.metrics.queued_jobs.labels(str(model.ref)).set(depth.waiting_jobs)

    async def _see_others(self, own_id: str) -> None:
        """What live workers beside this one have loaded, or are loading: they run its jobs."""
        others = [status for status in await self.broker.workers() if status.id != own_id]
        alive = (status for status in others if time.time() - status.beat_at <= self.settings.stale_after_seconds)
        loaded = (model for status in alive for model in status.models if model.loaded)
        self.models.elsewhere = frozenset(str(model.ref) for model in loaded)
