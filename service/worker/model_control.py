"""Which models a worker takes jobs of: those that are loaded, and those that had to make room and come back."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import NamedTuple

from model_store.store import ModelRef
from service.jobs import Job, Parameters
from service.settings import Settings
from service.worker.background_load import BackgroundLoad
from service.worker.held import SessionLimits
from service.worker.residency import Residency, Resident
from service.worker.scheduler import Scheduler
from service.workers import ControlMessage, ServedModel


@dataclass
class KnownModel:
    """A model that was loaded here once: as it was then, and when a job was last held of it."""

    size_bytes: int
    device: str
    kinds: tuple[type[Parameters], ...]
    served: ServedModel
    used_at: float


class EndedLoad(NamedTuple):
    """The load of a model that jobs may wait for has ended; `loaded` is False where the model is refused."""

    ref: ModelRef
    loaded: bool


class ModelControl:
    """Loads models beside the loop; registers and unloads them between two steps. Times are the caller's seconds.

    A model is unloaded once its last job here has ended. Over the budget of memory the model that was used least
    recently becomes available: it leaves the device, and the next job of it loads it again.
    """

    def __init__(self, settings: Settings, residency: Residency, scheduler: Scheduler) -> None:
        self.settings, self.residency, self.scheduler = settings, residency, scheduler
        self.elsewhere: frozenset[str] = frozenset()  # what other workers have loaded; the heartbeat writes it
        self._known: dict[ModelRef, KnownModel] = {}
        self._leaving: set[ModelRef] = set()
        self._yielding: set[ModelRef] = set()
        self._wanted: dict[ModelRef, None] = {}
        self._load: BackgroundLoad | None = None

    @property
    def may_unload(self) -> bool:
        """True where models leave the device without an order."""
        return self.settings.memory_bytes is not None or self.settings.unload_idle_seconds is not None

    @property
    def loading(self) -> bool:
        return bool(self._wanted)

    @property
    def device(self) -> str:
        return next((known.device for known in list(self._known.values())), "none")

    def open(self, now: float) -> None:
        """Load what the settings name, or everything; with a budget of memory the oldest leave."""
        for reference in self.residency.references():
            resident = self.residency.try_open(reference)
            if resident is not None:
                self._register(resident, now)
                self._make_room()
                self._unload_unused(now)

    def close(self) -> None:
        """Wait for the load that is under way."""
        if self._load is not None:
            self._load.result()

    def names(self) -> list[str]:
        """What this worker takes jobs of."""
        return [str(ref) for ref in self._known if self._takes(ref)]

    def served(self) -> tuple[ServedModel, ...]:
        """What the heartbeat says; a model that is being loaded counts as loaded. From any thread."""
        return tuple(
            replace(known.served, loaded=self.residency.has(ref) or ref in self._wanted)
            for ref, known in list(self._known.items())
        )

    def is_loaded(self, ref: ModelRef) -> bool:
        return self.residency.has(ref)

    def runs(self, job: Job) -> bool:
        """True where the job's kind of session is known here, loaded or not."""
        return self.scheduler.knows((job.model, type(job.block.parameters)))

    def use(self, ref: ModelRef, now: float) -> None:
        """A job of this model has come: load it, unless it is."""
        self._known[ref].used_at = now
        if not self.residency.has(ref):
            self._wanted[ref] = None

    def obey(self, order: ControlMessage) -> None:
        """An order to load or to unload a model."""
        if order.model is not None and order.action == "unload":
            self._leaving.add(order.model)
        elif order.model is not None and order.action == "load":
            self._leaving.discard(order.model)
            if not self.residency.has(order.model):
                self._wanted[order.model] = None

    def advance(self, now: float) -> EndedLoad | None:
        """Between two steps: finish a load, unload what is unused, begin the next load."""
        if not (self._wanted or self._leaving or self.may_unload):
            return None
        ended = self._finish_load(now)
        if ended is None:  # else the jobs that waited for it come first
            self._note_use(now)
            self._make_room()
            self._unload_unused(now)
            self._begin_load()
        return ended

    def _takes(self, ref: ModelRef) -> bool:
        if ref in self._leaving or ref in self._yielding or ref in self._wanted:
            return False
        return self.residency.has(ref) or str(ref) not in self.elsewhere

    def _register(self, resident: Resident, now: float) -> None:
        self.residency.add(resident)
        served = ServedModel(resident.ref, resident.costs)
        self._known[resident.ref] = KnownModel(
            resident.size_bytes, resident.device, tuple(resident.sessions), served, now
        )
        for kind, session in resident.sessions.items():
            limits = SessionLimits(session.capacity, kind.step_cost(resident.costs))
            self.scheduler.register((resident.ref, kind), limits)

    def _finish_load(self, now: float) -> EndedLoad | None:
        """Register the model whose load has ended; one that is refused is forgotten."""
        if self._load is None or self._load.running:
            return None
        ref, resident = self._load.ref, self._load.result()
        self._load = None
        del self._wanted[ref]
        if resident is not None:
            self._register(resident, now)
        loaded = self.residency.has(ref)
        if not loaded:
            self._forget(ref)
        return EndedLoad(ref, loaded)

    def _begin_load(self) -> None:
        """Load the model that was wanted first, once there is room for it."""
        if self._wanted and self._load is None and not self._yielding:
            self._load = BackgroundLoad(self.residency, next(iter(self._wanted)))

    def _note_use(self, now: float) -> None:
        """Models with a job here are used now."""
        for ref in self._in_use():
            self._known[ref].used_at = now

    def _make_room(self) -> None:
        """Choose what leaves, least recently used first, so that the rest and the next to be loaded keep the budget."""
        self._yielding = set()
        if self.settings.memory_bytes is None:
            return
        excess = self._bytes_of([*self._loaded(), *list(self._wanted)[:1]]) - self.settings.memory_bytes
        for ref in sorted(self._loaded(), key=lambda ref: self._known[ref].used_at):
            if excess <= 0:
                return
            self._yielding.add(ref)
            excess -= self._bytes_of([ref])

    def _unload_unused(self, now: float) -> None:
        """What is to go leaves, where no job of it is left."""
        in_use = self._in_use()
        for ref in (self._yielding | self._idle(now)) - in_use:
            self._yielding.discard(ref)
            self._unload(ref)
        for ref in self._leaving - in_use - set(self._wanted):
            self._leaving.discard(ref)
            if self.residency.has(ref):
                self._unload(ref)
            self._forget(ref)

    def _idle(self, now: float) -> set[ModelRef]:
        """Models that had no job for as long as the settings say."""
        limit = self.settings.unload_idle_seconds
        if limit is None:
            return set()
        return {ref for ref in self._loaded() if now - self._known[ref].used_at >= limit}

    def _unload(self, ref: ModelRef) -> None:
        """The model is available from now on."""
        self.residency.unload(ref)
        for kind in self._known[ref].kinds:
            self.scheduler.suspend((ref, kind))

    def _forget(self, ref: ModelRef) -> None:
        """The model is not served any more."""
        known = self._known.pop(ref, None)
        for kind in known.kinds if known is not None else ():
            self.scheduler.forget((ref, kind))

    def _loaded(self) -> list[ModelRef]:
        return [resident.ref for resident in self.residency.residents()]

    def _in_use(self) -> set[ModelRef]:
        return {held.job.model for held in self.scheduler.held()}

    def _bytes_of(self, refs: Iterable[ModelRef]) -> int:
        """What these models hold once they are loaded, as far as it is known."""
        return sum(self._known[ref].size_bytes for ref in refs if ref in self._known)
