"""Which models are served now: names resolved through the store, workers known by their heartbeats."""

import asyncio
import time
from asyncio import Task
from collections.abc import Callable, Mapping, Sequence
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
    _reading: Task[None] | None = None
    _workers: Sequence[WorkerStatus] = ()
    _aliases: Mapping[str, str] = field(default_factory=dict)
    _resolved: dict[str, Model] = field(default_factory=dict)
    _served: dict[ModelRef, Served] = field(default_factory=dict)

    async def served(self) -> Sequence[Served]:
        """Every model with a fresh heartbeat, by name and version."""
        await self._refresh()
        return [self._served[ref] for ref in sorted(self._served, key=lambda ref: (ref.name, ref.version))]

    async def find(self, reference: str | None, family: str) -> Served:
        """The served model that a request means. Raises UnknownModel, NotReady."""
        await self._refresh()
        model = self.model(reference) if reference is not None else await self._default(family)
        if model.ref not in self._served:
            there = ", ".join(str(ref) for ref in self._served) or "none yet"
            raise NotReady(f"no worker serves {model.ref} now; served are: {there}", retry_after_s=1.0)
        return self._served[model.ref]

    async def default(self, family: str) -> ModelRef | None:
        """The model that a request without one means: the first of its family by name, in its default version."""
        await self._refresh()
        own = {ref.name for ref, served in self._served.items() if served.model.manifest.params.family == family}
        return self.model(min(own)).ref if own else None

    async def reasons_not_ready(self) -> list[str]:
        """What is missing before every required model is served; empty where nothing is."""
        await self._refresh()
        if not self._served:
            return ["no worker with a fresh heartbeat serves a model"]
        required = [self.model(reference).ref for reference in self.settings.models]
        return [f"{ref} is not served" for ref in required if ref not in self._served]

    async def workers(self) -> Sequence[WorkerStatus]:
        """Every worker with a fresh heartbeat."""
        await self._refresh()
        return self._workers

    async def aliases(self, ref: ModelRef) -> list[str]:
        """The other names of this version: those of the store, unless the broker has given them to another."""
        await self._refresh()
        meanings = self.store.aliases(ref.name)
        for reference, meant in self._aliases.items():
            name, _, alias = reference.partition("@")
            if name == ref.name:
                meanings[alias] = meant.partition("@")[2]
        return sorted(alias for alias, version in meanings.items() if version == ref.version)

    def model(self, reference: str) -> Model:
        """The model of the store that a name, with a version or an alias or without, means. Raises UnknownModel."""
        if reference not in self._resolved:
            name, _, wanted = reference.partition("@")
            meant = self._aliases.get(f"{name}@{wanted or store.DEFAULT_ALIAS}", reference)
            try:
                self._resolved[reference] = self.store.resolve(meant)
            except store.UnknownModel as error:
                raise self._unknown(reference) from error
        return self._resolved[reference]

    def versions(self, name: str) -> list[str]:
        """Of a model of the store. Raises UnknownModel."""
        try:
            return self.store.versions(name)
        except store.UnknownModel as error:
            raise self._unknown(name) from error

    def _unknown(self, reference: str) -> UnknownModel:
        there = ", ".join(self.store.names())
        return UnknownModel(f"there is no model {reference[:130]!r}; there are {there}: see /v1/models")

    async def _default(self, family: str) -> Model:
        if (ref := await self.default(family)) is None:
            raise NotReady(f"no worker serves a {family} model now", retry_after_s=1.0)
        return self.model(str(ref))

    async def _refresh(self) -> None:
        """One reading at a time, which everybody waits for; a failed one leaves no old view. Raises QueueAway."""
        if self._reading is None or (self._reading.done() and self.clock() - self._seen_at >= FRESH_SECONDS):
            self._reading = asyncio.create_task(self._read())
        if not self._reading.done():
            await asyncio.wait([self._reading])
        self._reading.result()

    async def _read(self) -> None:
        try:
            async with asyncio.timeout(LOOK_SECONDS):
                workers, self._aliases = await asyncio.gather(self.admin.workers(), self.admin.aliases())
        except TimeoutError as error:
            raise QueueAway(f"the queue's server has not answered for {LOOK_SECONDS:g} s") from error
        finally:
            self._seen_at = now = self.clock()
        self._resolved.clear()
        self._workers = [worker for worker in workers if now - worker.beat_at <= self.settings.stale_after_seconds]
        known = {ref: served.model for ref, served in self._served.items()}
        self._served = {}
        for worker in self._workers:
            for served in worker.models:
                with suppress(UnknownModel):  # a worker with a store of its own
                    model = known.get(served.ref) or self.model(str(served.ref))
                    self._served[served.ref] = Served(model, worker, served)
