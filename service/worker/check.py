"""What `python -m service check` measures: hashes, goldens, and whether rows ignore their batch to the last bit."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product

import numpy as np

from model_store import golden
from model_store.golden import Arrays
from model_store.manifest import Exactness
from model_store.store import Model
from service.graph import Graph
from service.worker.residency import NotServed, Residency, runner

BATCHES = (1, 2, 7, 32)
# Strides through the golden rows: each puts every row at other positions, beside other neighbours.
STRIDES = (1, 2, 5)
ORDER: tuple[Exactness, ...] = ("bitwise", "bucketed", "token_equal")


@dataclass(frozen=True)
class GraphReport:
    """One graph: its deviation from the golden, and the exactness it declares and has here. `error` is "" if good."""

    model: str
    graph: str
    declared: Exactness | None = None
    measured: Exactness | None = None
    deviation: float | None = None
    error: str = ""
    skipped: bool = False


def check(residency: Residency) -> Iterator[GraphReport]:
    """A report for every graph of every model in the store."""
    for reference in residency.references():
        try:
            model = residency.store.resolve(reference)
            model.verify()
        except Exception as error:  # a bad model is a finding, not the end of the check
            yield GraphReport(reference, "", error=str(error))
        else:
            for name in model.manifest.graphs:
                yield _check_graph(residency, model, name)


def _check_graph(residency: Residency, model: Model, name: str) -> GraphReport:
    reference, declared = str(model.ref), model.manifest.graphs[name].exactness
    try:
        graph = residency.graph(model, name)
        deviation = golden.replay(model, name, runner(graph))
        measured = measure_exactness(graph, golden.unpack(model, name).inputs)
    except NotServed as error:
        return GraphReport(reference, name, declared, error=str(error), skipped=True)
    except Exception as error:  # as above
        return GraphReport(reference, name, declared, error=str(error))
    weaker = ORDER.index(measured) > ORDER.index(declared)
    finding = f"{reference}: {name} declares {declared}, it is {measured} here" if weaker else ""
    return GraphReport(reference, name, declared, measured, deviation, finding)


def measure_exactness(graph: Graph, inputs: Arrays) -> Exactness:
    """ "bitwise": a row's bits are the same in every batch; "bucketed": in every batch of one size."""
    count = len(next(iter(inputs.values())))
    everywhere: dict[int, set[bytes]] = {}
    by_size: dict[tuple[int, int], set[bytes]] = {}
    for size, stride in product(BATCHES, STRIDES):
        for start in range(0, count, size):
            index = (start + stride * np.arange(size)) % count
            outputs = runner(graph)({name: array[index] for name, array in inputs.items()})
            for position, row in enumerate(index.tolist()):
                bits = b"".join(array[position].tobytes() for array in outputs.values())
                everywhere.setdefault(row, set()).add(bits)
                by_size.setdefault((row, size), set()).add(bits)
    if all(len(bits) == 1 for bits in everywhere.values()):
        return "bitwise"
    return "bucketed" if all(len(bits) == 1 for bits in by_size.values()) else "token_equal"
