"""The toy family, whose scale session can be made to sleep, raise, run out of memory, block or kill its process."""

import os
import signal
import time
from collections.abc import Mapping, Sequence

import numpy as np
import toy

from model_store.store import Model
from service import rng
from service.arrays import Arrays
from service.families.registry import Family
from service.families.session import OneShot, Session
from service.graph import Graph
from service.jobs import Row, RowId

# The first number of a row says how it misbehaves; toy.POISON raises.
KILLER, HOG = 911.0, 404.0
FEW_ROWS = 2  # as many hogs fit into the memory
ROWS_AT_ONCE = 8
STEP_SECONDS = 0.005  # of the count session


class SlowCount(toy.CountSession):
    """Halves noise, in no hurry."""

    def step(self, rows: Sequence[RowId]) -> list:
        time.sleep(STEP_SECONDS)
        return super().step(rows)


def open_sessions(model: Model, graphs: Mapping[str, Graph]) -> Mapping[str, Session]:
    """A row of the scale session holds the device for `ms` of its parameters."""
    scale = toy.open_sessions(model, graphs)["scale"].run

    def run(rows: Sequence[Row]) -> list[Arrays]:
        signs = [float(row.arrays["x"].flat[0]) for row in rows]
        if KILLER in signs:
            os.kill(os.getpid(), signal.SIGKILL)
        if signs.count(HOG) > FEW_ROWS:
            raise MemoryError
        time.sleep(sum(row.params.get("ms", 0.0) for row in rows) / 1e3)
        return scale(rows)

    return {"scale": OneShot(run, ("scale",), ROWS_AT_ONCE), "count": SlowCount(graphs["halve"])}


CHAOS = Family("toy", toy.TOY.pipelines, open_sessions)


def expected(kind: str, row: Row) -> bytes:
    """What a row must be answered, to the bit."""
    if kind == "scale":
        return (2 * row.arrays["x"] + 1).astype(np.float32).tobytes()
    x = rng.normal(row.seed, 0, 0, toy.SHAPE)
    for _ in range(row.params["steps"]):
        x = x * np.float32(0.5)
    return x.tobytes()
