"""Which models are loaded: hashes, goldens, warm-up, cost, sessions."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import structlog

from model_store import golden
from model_store.golden import Arrays
from model_store.manifest import GraphSpec
from model_store.store import Model, ModelRef, Store
from service.broker.base import CostCurve, ServedModel
from service.families.registry import Family
from service.families.session import Session
from service.graph import Graph
from service.settings import Settings
from service.worker.cost import measure
from service.worker.scheduler import SessionKey

LoadGraph = Callable[[bytes, GraphSpec], Graph]
log = structlog.get_logger()


class NotServed(Exception):
    """A model that this worker is not set up to run."""


@dataclass(frozen=True)
class Resident:
    """One loaded model: its graphs, its sessions by kind, and what an evaluation of each kind costs."""

    model: Model
    graphs: Mapping[str, Graph]
    sessions: Mapping[str, Session]
    costs: Mapping[str, CostCurve]

    @property
    def ref(self) -> ModelRef:
        return self.model.ref

    @property
    def device(self) -> str:
        return next(iter(self.graphs.values())).device


@dataclass
class Residency:
    """The loaded models of one worker."""

    settings: Settings
    store: Store
    families: Sequence[Family]
    load_graph: LoadGraph
    _residents: dict[ModelRef, Resident] = field(default_factory=dict)

    def load_all(self) -> list[Resident]:
        """Load what the settings name, or everything."""
        return [resident for name in self.references() if (resident := self.try_load(name)) is not None]

    def references(self) -> list[str]:
        """What the settings name, or every version of every model."""
        every = (f"{name}@{version}" for name in self.store.names() for version in self.store.versions(name))
        return list(self.settings.models or every)

    def try_load(self, reference: str) -> Resident | None:
        """Load one model; a bad one is reported, is not served, and does not keep others from being served."""
        try:
            return self.load(self.store.resolve(reference))
        except NotServed as error:
            log.info("model skipped", model=reference, reason=str(error))
        except Exception as error:
            log.error("model refused", model=reference, reason=str(error))
        return None

    def load(self, model: Model) -> Resident:
        """Load, replay, measure, open. Raises NotServed, StoreError (TamperedFile, GoldenMismatch), UnusableGraph."""
        family = self._family(model)
        graphs = {name: self.graph(model, name) for name in model.manifest.graphs}
        for name, graph in graphs.items():
            golden.replay(model, name, runner(graph))
        sessions = family.open_sessions(model, graphs)
        costs = {
            kind: measure((graphs[name], golden.unpack(model, name)) for name in session.graphs)
            for kind, session in sessions.items()
        }
        resident = Resident(model, graphs, sessions, costs)
        self._residents[model.ref] = resident
        log.info("model loaded", model=str(model.ref), device=resident.device, digest=model.ref.digest)
        return resident

    def unload(self, ref: ModelRef) -> Resident | None:
        """Close a model's sessions and let its graphs go, if it is here."""
        if (resident := self._residents.pop(ref, None)) is not None:
            for session in resident.sessions.values():
                session.close()
        return resident

    def serves(self, ref: ModelRef, session_kind: str) -> bool:
        return ref in self._residents and session_kind in self._residents[ref].sessions

    def session(self, key: SessionKey) -> Session:
        ref, kind = key
        return self._residents[ref].sessions[kind]

    def residents(self) -> Sequence[Resident]:
        return list(self._residents.values())

    def status(self) -> tuple[ServedModel, ...]:
        """What the heartbeat says."""
        return tuple(ServedModel(ref, resident.costs) for ref, resident in self._residents.items())

    def graph(self, model: Model, name: str) -> Graph:
        """Open one graph from the bytes that were checked. Raises NotServed, TamperedFile, UnusableGraph."""
        spec = model.manifest.graphs[name]
        if spec.format == "onnx":
            return self.load_graph(model.graph(name), spec)
        if not self.settings.allow_torchscript:
            raise NotServed(f"{model.ref} is TorchScript, which is code: set FIVEFOLD_ALLOW_TORCHSCRIPT=true to run it")
        from service.runtime import torchscript

        return torchscript.load_graph(model.graph(name), spec, self.settings)

    def _family(self, model: Model) -> Family:
        name = model.manifest.params.family
        for family in self.families:
            if family.name == name:
                return family
        known = [family.name for family in self.families]
        raise NotServed(f"{model.ref} is of family {name!r}; this service has {known}")


def runner(graph: Graph) -> Callable[[Arrays], Arrays]:
    """The graph as a function of host arrays."""
    return lambda inputs: {name: output.numpy() for name, output in graph(**inputs).items()}
