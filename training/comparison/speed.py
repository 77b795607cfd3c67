"""Seconds per item of an operation's raw graphs, on one thread."""

import statistics
import time
from dataclasses import dataclass

import numpy as np

from model_store.golden import unpack
from training.comparison.subject import Subject, Timed

REPEATS = 9


@dataclass(frozen=True)
class Speed:
    """Milliseconds per item: the best of some runs, and their median, which other programs slow down."""

    best_ms: float
    median_ms: float

    def __str__(self) -> str:
        return f"{self.best_ms:.3g} ({self.median_ms:.3g})"


def measure(subject: Subject, timed: Timed, batch: int) -> Speed:
    """The speed of an operation in batches of `batch` rows like those of the golden file."""
    runs = np.sum([_seconds(subject, graph, batch) for graph in timed.graphs], axis=0)
    per_item_ms = (1000 * timed.calls / batch * runs).tolist()
    return Speed(min(per_item_ms), statistics.median(per_item_ms))


def _seconds(subject: Subject, graph: str, batch: int) -> list[float]:
    run, golden = subject.runner(graph), unpack(subject.model, graph).inputs
    inputs = {name: np.resize(array, (batch, *array.shape[1:])) for name, array in golden.items()}
    run(inputs)  # memory is allocated once
    seconds = []
    for _ in range(REPEATS):
        began = time.perf_counter()
        run(inputs)
        seconds.append(time.perf_counter() - began)
    return seconds
