"""The measured cost curve a + b n of a graph: seconds of one evaluation of n rows."""

import time
from collections.abc import Callable

import numpy as np

from model_store.golden import Arrays
from service.costs import CostCurve
from service.graph import Graph

REPEATS = 3
# The second point: as many rows as take about this long one by one, so that a slow graph does not delay the start.
MANY_SECONDS = 0.05
FEWEST, MOST = 4, 64
# No graph is free: a positive cost per row keeps every prediction and every share positive.
LEAST_SECONDS_PER_ROW = 1e-7


def measure(graph: Graph, inputs: Arrays, clock: Callable[[], float] = time.perf_counter) -> CostCurve:
    """The curve through 1 and many rows of a graph, on its golden inputs; through 1 row where its batch is fixed.

    Each point is the best of three, after the replay has warmed the graph up.
    """
    one = _best_seconds(graph, inputs, 1, clock)
    if isinstance(graph.spec.inputs[0].shape[0], int):
        return CostCurve(0.0, max(one, LEAST_SECONDS_PER_ROW))
    many = min(MOST, max(FEWEST, int(MANY_SECONDS / max(one, LEAST_SECONDS_PER_ROW))))
    return curve_through(one, _best_seconds(graph, inputs, many, clock), many)


def curve_through(one_seconds: float, many_seconds: float, many: int) -> CostCurve:
    """The line through two measurements; noise may not make it fall, nor start below zero."""
    slope = min((many_seconds - one_seconds) / (many - 1), many_seconds / many)
    per_row = max(slope, LEAST_SECONDS_PER_ROW)
    return CostCurve(max(0.0, one_seconds - per_row), per_row)


def rows_of(inputs: Arrays, rows: int) -> dict[str, np.ndarray]:
    """`rows` rows of these inputs, repeated from the front as often as needed."""
    return {name: np.resize(array, (rows, *array.shape[1:])) for name, array in inputs.items()}


def _best_seconds(graph: Graph, inputs: Arrays, rows: int, clock: Callable[[], float]) -> float:
    batch = rows_of(inputs, rows)
    return min(_seconds(graph, batch, clock) for _ in range(REPEATS))


def _seconds(graph: Graph, inputs: dict[str, np.ndarray], clock: Callable[[], float]) -> float:
    start = clock()
    for output in graph(**inputs).values():
        output.numpy()
    return clock() - start
