"""Which models are served now: names resolved through the store, workers known by their heartbeats."""

import asyncio
import time
from asyncio import Task
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import structlog

from fivefold.errors import NotReady, UnknownModel
from model_store import store
from model_store.store import Model, ModelRef, Store, version_order
from service.broker.base import Admin, QueueAway
from service.jobs import FORMATS, Block
from service.settings import Settings
from service.workers import ServedModel, WorkerStatus

FRESH_SECONDS = 0.25
LOOK_SECONDS = 0.4  # a probe of readiness is answered within half a second, whatever the queue does
log = structlog.get_logger()


@dataclass(frozen=True)
class Served:
    """A model with a worker that serves it, loaded where any has loaded it; `formats` are those that all of its
    workers read.
    """

    model: Model
    worker: WorkerStatus
    as_served: ServedModel
    formats: frozenset[int]

    @property
    def format(self) -> int:
        """The oldest format of messages that this process writes and all workers of the model read. Raises NotReady."""
        if not (common := self.formats.intersection(FORMATS)):
            written, read = (", ".join(map(str, sorted(formats))) or "none" for formats in (FORMATS, self.formats))
            raise NotReady(
                f"jobs for {self.model.ref} are written here in the formats {written}, all of its workers read "
                f"{read}: upgrade the older side",
                retry_after_s=1.0,
            )
        return min(common)

    def predicted_seconds(self, block: Block) -> float:
        return block.parameters.seconds(len(block), float(block.work.sum()), self.as_served.costs)

    def joined(self, worker: WorkerStatus, as_served: ServedModel) -> "Served":
        """With one more worker."""
        formats = self.formats.intersection(worker.formats)
        if self.as_served.loaded and not as_served.loaded:
            worker, as_served = self.worker, self.as_served
        return Served(self.model, worker, as_served, formats)


def by_name_and_version(ref: ModelRef) -> tuple[object, ...]:
    """A key that sorts models by name, and the versions of one as their numbers."""
    return ref.name, version_order(ref.version)


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
    _defaults: dict[str, ModelRef | None] = field(default_factory=dict)
    _missing: set[ModelRef] = field(default_factory=set)

    async def served(self) -> Sequence[Served]:
        """Every model with a fresh heartbeat, by name and version."""
        await self._refresh()
        return [self._served[ref] for ref in sorted(self._served, key=by_name_and_version)]

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
        if family not in self._defaults:
            own = {ref.name for ref, served in self._served.items() if served.model.manifest.params.family == family}
            self._defaults[family] = self.model(min(own)).ref if own else None
        return self._defaults[family]

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
        """One reading at a time, which all callers share; a failed one leaves no old view. Raises QueueAway."""
        reading = self._reading
        if reading is None or (reading.done() and self.clock() - self._seen_at >= FRESH_SECONDS):
            reading = self._reading = asyncio.create_task(self._read())
        if not reading.done():
            await asyncio.wait([reading])
        reading.result()  # of the one that was waited for: by now there may be a newer one

    async def _read(self) -> None:
        try:
            async with asyncio.timeout(LOOK_SECONDS):
                workers, self._aliases = await asyncio.gather(self.admin.workers(), self.admin.aliases())
        except TimeoutError as error:
            raise QueueAway(f"the queue's server has not answered for {LOOK_SECONDS:g} s") from error
        finally:
            self._seen_at = now = self.clock()
        self._resolved.clear()
        self._defaults.clear()
        self._workers = [worker for worker in workers if now - worker.beat_at <= self.settings.stale_after_seconds]
        known = {ref: served.model for ref, served in self._served.items()}
        self._served = {}
        for worker in self._workers:
            for as_served in worker.models:
                self._add(worker, as_served, known)

    def _add(self, worker: WorkerStatus, as_served: ServedModel, known: Mapping[ModelRef, Model]) -> None:
        """What a worker serves; a model that only its own store has is left out, and logged once."""
        ref = as_served.ref
        if ref in self._served:
            self._served[ref] = self._served[ref].joined(worker, as_served)
            return
        try:
            model = known.get(ref) or self.model(str(ref))
        except UnknownModel:
            if ref not in self._missing:
                self._missing.add(ref)
                log.warning("served_model_not_in_store", model=str(ref), worker=worker.id)
            return
        self._served[ref] = Served(model, worker, as_served, frozenset(worker.formats))
