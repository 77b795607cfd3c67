"""Reference inputs and outputs, recorded by the trainer and replayed wherever a graph is loaded."""

import io
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from model_store.manifest import GraphSpec
from model_store.store import Model, StoreError

GOLDEN = "golden.npz"
Arrays = Mapping[str, NDArray[np.generic]]


class GoldenMismatch(StoreError):
    """A graph does not give what it gave when it was exported."""


@dataclass(frozen=True)
class Golden:
    """What one graph answered: inputs and outputs by tensor name."""

    inputs: Arrays
    outputs: Arrays


def pack(goldens: Mapping[str, Golden]) -> bytes:
    """golden.npz: keys are "<graph>/in/<tensor>" and "<graph>/out/<tensor>"."""
    arrays = {
        f"{graph}/{side}/{name}": array
        for graph, golden in goldens.items()
        for side, values in (("in", golden.inputs), ("out", golden.outputs))
        for name, array in values.items()
    }
    buffer = io.BytesIO()
    np.savez_compressed(buffer, allow_pickle=False, **arrays)
    return buffer.getvalue()


def unpack(model: Model, graph: str) -> Golden:
    """The golden of one graph, or of one `sample`: a case that is not a graph but a whole trajectory."""
    arrays = model.arrays(GOLDEN)

    def side(name: str) -> dict[str, NDArray[np.generic]]:
        prefix = f"{graph}/{name}/"
        return {key.removeprefix(prefix): value for key, value in arrays.items() if key.startswith(prefix)}

    return Golden(side("in"), side("out"))


def replay(model: Model, name: str, run: Callable[[Arrays], Arrays]) -> float:
    """The largest deviation of `run` from the golden of graph `name`. Raises GoldenMismatch beyond golden_atol."""
    golden, spec = unpack(model, name), model.manifest.graphs[name]
    return compare(f"{model.ref}: {name}", spec, golden.outputs, run(golden.inputs))


def compare(title: str, spec: GraphSpec, wanted: Arrays, found: Arrays) -> float:
    """The largest absolute deviation over all outputs. Raises GoldenMismatch beyond spec.golden_atol."""
    worst = 0.0
    for name, want in wanted.items():
        deviation = float(np.max(np.abs(found[name].astype(np.float64) - want.astype(np.float64)), initial=0.0))
        if not deviation <= spec.golden_atol:
            raise GoldenMismatch(f"{title}: {name} deviates by {deviation:g}, the tolerance is {spec.golden_atol:g}")
        worst = max(worst, deviation)
    return worst
