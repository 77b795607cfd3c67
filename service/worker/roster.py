"""Which models a worker takes jobs of: all that it has loaded, less those that are told to leave."""

from collections.abc import Sequence

from model_store.store import ModelRef
from service.broker.base import ControlMessage
from service.worker.residency import Residency, Resident
from service.worker.scheduler import Scheduler, SessionLimits


class Roster:
    """Loads and unloads between two steps; a model leaves once its last job here has ended."""

    def __init__(self, residency: Residency, scheduler: Scheduler) -> None:
        self.residency, self.scheduler = residency, scheduler
        self._leaving: set[ModelRef] = set()

    def open(self) -> None:
        """Load what the settings name, or everything."""
        for resident in self.residency.load_all():
            self.register(resident)

    def models(self) -> Sequence[str]:
        return [str(resident.ref) for resident in self.residency.residents() if resident.ref not in self._leaving]

    def register(self, resident: Resident) -> None:
        for kind, session in resident.sessions.items():
            self.scheduler.register((resident.ref, kind), SessionLimits(session.capacity, resident.costs[kind]))

    def obey(self, order: ControlMessage) -> None:
        """An order to load or to unload a model."""
        if order.model is not None and order.action == "unload":
            self._leaving.add(order.model)
        elif order.model is not None and order.action == "load":
            self._load(order.model)

    def settle(self) -> None:
        """Let those go that have no job left."""
        for ref in [ref for ref in self._leaving if not any(held.job.model == ref for held in self.scheduler.held())]:
            self._unload(ref)

    def _load(self, ref: ModelRef) -> None:
        self._leaving.discard(ref)
        loaded = any(resident.ref == ref for resident in self.residency.residents())
        if not loaded and (resident := self.residency.try_load(str(ref))) is not None:
            self.register(resident)

    def _unload(self, ref: ModelRef) -> None:
        self._leaving.discard(ref)
        if (resident := self.residency.unload(ref)) is not None:
            for kind in resident.sessions:
                self.scheduler.forget((ref, kind))
