"""The toy family, whose scale session can be made to sleep, raise, run out of memory, block or kill its process."""

import os
import signal
import time
from collections.abc import Mapping, Sequence

import numpy as np
import toy

from model_store.store import Model
from service import rng
from service.arrays import Columns
from service.families.family import Family, Sessions
from service.families.session import OneShot, gather, parameters_of
from service.graph import Graph
from service.jobs import Block, Events, Range
from service.settings import Settings

# The first number of a row says how it misbehaves; toy.POISON raises.
KILLER, HOG = 911.0, 404.0
FEW_ROWS = 2  # as many hogs fit into the memory
ROWS_AT_ONCE = 8
STEP_SECONDS = 0.005  # of the count session


class SlowCount(toy.CountSession):
    """Halves noise, in no hurry."""

    def step(self, rows: Sequence[Range]) -> Sequence[Events]:
        time.sleep(STEP_SECONDS)
        return super().step(rows)


def open_sessions(model: Model, graphs: Mapping[str, Graph], settings: Settings) -> Sessions:
    """A row of the scale session holds the device for `ms` of its parameters."""
    scale = toy.open_sessions(model, graphs, settings)[toy.ToyScaling].run

    def run(blocks: Sequence[Block]) -> Sequence[Columns]:
        signs = gather(blocks, "x").reshape(-1, 4)[:, 0].tolist()
        if KILLER in signs:
            os.kill(os.getpid(), signal.SIGKILL)
        if signs.count(HOG) > FEW_ROWS:
            raise MemoryError
        time.sleep(sum(len(block) * parameters_of(block, toy.ToyScaling).ms for block in blocks) / 1e3)
        return scale(blocks)

    return {toy.ToyScaling: OneShot(run, ROWS_AT_ONCE), toy.ToyCounting: SlowCount(graphs["halve"])}


CHAOS = Family("toy", toy.TOY.pipelines, open_sessions)


def expected(block: Block) -> list[bytes]:
    """What each row of the block must be answered, to the bit."""
    if isinstance(block.parameters, toy.ToyScaling):
        return [row.tobytes() for row in (2 * gather([block], "x") + 1).astype(np.float32)]
    x = rng.normal(block.seeds, 0, 0, toy.SHAPE)
    for _ in range(parameters_of(block, toy.ToyCounting).steps):
        x = x * np.float32(0.5)
    return [row.tobytes() for row in x]
