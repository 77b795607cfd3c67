"""Which models are served now: names resolved through the store, workers known by their heartbeats."""

import asyncio
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

from fivefold.errors import NotReady, UnknownModel
from model_store import store
from model_store.store import Model, ModelRef, Store
from service.broker.base import Admin, QueueAway, ServedModel, WorkerStatus
from service.settings import Settings

FRESH_SECONDS = 0.25
LOOK_SECONDS = 0.4  # a probe of readiness is answered within half a second, whatever the queue does


@dataclass(frozen=True)
class Served:
    """A model with a worker that serves it."""

    model: Model
    worker: WorkerStatus
    as_served: ServedModel

    def predicted_seconds(self, session_kind: str, work: float) -> float:
        return self.as_served.costs[session_kind].seconds(work)


@dataclass
class Catalogue:
    """A view of store and workers that is at most a quarter of a second old, so that no request reads the disk."""

    settings: Settings
    store: Store
    admin: Admin
    clock: Callable[[], float] = time.time
    _seen_at: float = 0.0
    _resolved: dict[str, Model] = field(default_factory=dict)
    _served: dict[ModelRef, Served] = field(default_factory=dict)

    async def served(self) -> Sequence[Served]:
        """Every model with a fresh heartbeat, by name and version."""
        await self._refresh()
        return [self._served[ref] for ref in sorted(self._served, key=lambda ref: (ref.name, ref.version))]

    async def find(self, reference: str | None, family: str) -> Served:
        """The served model that a request means. Raises UnknownModel, NotReady."""
        await self._refresh()
        model = self._resolve(reference) if reference is not None else await self._default(family)
        if model.ref not in self._served:
            there = ", ".join(str(ref) for ref in self._served) or "none yet"
            raise NotReady(f"no worker serves {model.ref} now; served are: {there}", retry_after_s=1.0)
        return self._served[model.ref]

    async def default(self, family: str) -> ModelRef | None:
        """The model that a request without one means: the first of its family by name, in its default version."""
        await self._refresh()
        own = {ref.name for ref, served in self._served.items() if served.model.manifest.params.family == family}
        return self._resolve(min(own)).ref if own else None

    async def reasons_not_ready(self) -> list[str]:
        """What is missing before every required model is served; empty where nothing is."""
        await self._refresh()
        if not self._served:
            return ["no worker with a fresh heartbeat serves a model"]
        required = [self._resolve(reference).ref for reference in self.settings.models]
        return [f"{ref} is not served" for ref in required if ref not in self._served]

    async def _default(self, family: str) -> Model:
        if (ref := await self.default(family)) is None:
            raise NotReady(f"no worker serves a {family} model now", retry_after_s=1.0)
        return self._resolve(str(ref))

    def _resolve(self, reference: str) -> Model:
        if reference not in self._resolved:
            try:
                self._resolved[reference] = self.store.resolve(reference)
            except store.UnknownModel as error:
                there = ", ".join(self.store.names())
                raise UnknownModel(
                    f"there is no model {reference[:130]!r}; there are {there}: see /v1/models"
                ) from error
        return self._resolved[reference]

    async def _workers(self) -> Sequence[WorkerStatus]:
        """Raises QueueAway."""
        try:
            async with asyncio.timeout(LOOK_SECONDS):
                return await self.admin.workers()
        except TimeoutError as error:
            raise QueueAway(f"the queue's server has not answered for {LOOK_SECONDS:g} s") from error

    async def _refresh(self) -> None:
        now = self.clock()
        if now - self._seen_at < FRESH_SECONDS:
            return
        workers = await self._workers()
        self._seen_at = now
        self._resolved.clear()
        fresh = [worker for worker in workers if now - worker.beat_at <= self.settings.stale_after_seconds]
        known = {ref: served.model for ref, served in self._served.items()}
        self._served = {}
        for worker in fresh:
            for served in worker.models:
                with suppress(UnknownModel):  # a worker with a store of its own
                    model = known.get(served.ref) or self._resolve(str(served.ref))
                    self._served[served.ref] = Served(model, worker, served)
