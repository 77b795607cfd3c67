"""Which models are loaded: hashes, goldens, warm-up, cost, sessions."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import structlog

from model_store import golden
from model_store.golden import Arrays
from model_store.manifest import GraphSpec
from model_store.store import Model, ModelRef, Store
from service.costs import CostCurve, Costs
from service.families.family import Family, Sessions
from service.families.session import Session
from service.graph import Graph
from service.settings import Settings
from service.worker.cost import measure
from service.worker.held import SessionKey

LoadGraph = Callable[[bytes, GraphSpec], Graph]
log = structlog.get_logger()


class NotServed(Exception):
    """A model that this worker is not set up to run."""


@dataclass(frozen=True)
class Resident:
    """One loaded model: its graphs, what an evaluation of each costs, and its sessions by kind of parameters."""

    model: Model
    graphs: Mapping[str, Graph]
    costs: Costs
    sessions: Sessions

    @property
    def ref(self) -> ModelRef:
        return self.model.ref

    @property
    def device(self) -> str:
        return next(iter(self.graphs.values())).device

    @property
    def size_bytes(self) -> int:
        """What its graphs and the rows of its sessions may hold."""
        graphs = sum(spec.size_bytes for spec in self.model.manifest.graphs.values())
        return graphs + sum(session.memory_bytes for session in self.sessions.values())


@dataclass
class Residency:
    """The loaded models of one worker."""

    settings: Settings
    store: Store
    families: Sequence[Family]
    load_graph: LoadGraph
    _residents: dict[ModelRef, Resident] = field(default_factory=dict)

    def references(self) -> list[str]:
        """What the settings name, or every version of every model."""
        every = (f"{name}@{version}" for name in self.store.names() for version in self.store.versions(name))
        return list(self.settings.models or every)

    def try_open(self, reference: str) -> Resident | None:
        """Open one model; a bad one is reported, is not served, and does not keep others from being served."""
        try:
            return self.open(self.store.resolve(reference))
        except NotServed as error:
            log.info("model_skipped", model=reference, reason=str(error))
        except Exception as error:
            log.error("model_refused", model=reference, reason=str(error))
        return None

    def open(self, model: Model) -> Resident:
        """Open, replay, measure; the model is not resident yet, and nothing here changes: any thread may call it.

        Raises NotServed, StoreError (TamperedFile, GoldenMismatch), UnusableGraph.
        """
        family = self._family(model)
        graphs = {name: self.graph(model, name) for name in model.manifest.graphs}
        costs = {name: _replay(model, name, graph) for name, graph in graphs.items()}
        resident = Resident(model, graphs, costs, family.open_sessions(model, graphs, self.settings))
        log.info("model_loaded", model=str(model.ref), device=resident.device, digest=model.ref.digest)
        return resident

    def add(self, resident: Resident) -> None:
        """From now on the model is resident."""
        self._residents[resident.ref] = resident

    def unload(self, ref: ModelRef) -> None:
        """Close a model's sessions and let its graphs go."""
        for session in self._residents.pop(ref).sessions.values():
            session.close()

    def has(self, ref: ModelRef) -> bool:
        return ref in self._residents

    def session(self, key: SessionKey) -> Session:
        ref, kind = key
        return self._residents[ref].sessions[kind]

    def residents(self) -> Sequence[Resident]:
        return list(self._residents.values())

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


def _replay(model: Model, name: str, graph: Graph) -> CostCurve:
    """The cost of a graph that gives what it gave when it was exported. Raises GoldenMismatch."""
    known = golden.unpack(model, name)
    golden.compare(f"{model.ref}: {name}", model.manifest.graphs[name], known.outputs, runner(graph)(known.inputs))
    return measure(graph, known.inputs)


def runner(graph: Graph) -> Callable[[Arrays], Arrays]:
    """The graph as a function of host arrays."""
    return lambda inputs: {name: output.numpy() for name, output in graph(**inputs).items()}
