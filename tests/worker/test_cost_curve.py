"""The cost curve: what was measured comes back, and noise cannot make it absurd."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from model_store.manifest import GraphSpec, TensorSpec
from service.worker.cost import curve_through, measure, rows_of


class ClockedGraph:
    """A graph that takes base + n per row, on a clock of its own; its batch is `batch`, if that is a number."""

    def __init__(self, base: float, per_row: float, batch: int | str = "batch") -> None:
        x = TensorSpec(name="x", dtype="float32", shape=(batch, 2))
        self.spec = GraphSpec.model_construct(inputs=(x,), outputs=(x,))
        self.base, self.per_row, self.now = base, per_row, 0.0
        self.batches: list[int] = []

    def __call__(self, x: np.ndarray) -> dict[str, np.ndarray]:
        self.batches.append(len(x))
        self.now += self.base + len(x) * self.per_row
        return {}


INPUTS = {"x": np.arange(6.0).reshape(3, 2)}


@pytest.mark.parametrize(("base", "per_row"), [(0.001, 0.0001), (0.0, 0.02), (1.0, 0.5), (1e-5, 1e-6)])
def test_a_graphs_own_curve_is_found(base: float, per_row: float) -> None:
    graph = ClockedGraph(base, per_row)
    curve = measure(graph, INPUTS, clock=lambda: graph.now)
    assert curve.base_seconds == pytest.approx(base, abs=1e-9)
    assert curve.seconds_per_row == pytest.approx(per_row)


def test_a_slow_graph_is_measured_on_few_rows_and_a_fast_one_on_many() -> None:
    slow, fast = ClockedGraph(0.0, 1.0), ClockedGraph(0.0, 1e-6)
    for graph in (slow, fast):
        measure(graph, INPUTS, clock=lambda graph=graph: graph.now)
    assert (max(slow.batches), max(fast.batches)) == (4, 64)


def test_a_graph_of_one_row_costs_as_many_calls_as_rows() -> None:
    graph = ClockedGraph(0.25, 0.5, batch=1)
    curve = measure(graph, INPUTS, clock=lambda: graph.now)
    assert (curve.base_seconds, curve.seconds_per_row) == (0.0, 0.75)
    assert set(graph.batches) == {1}


@given(st.floats(0.0, 10.0), st.floats(0.0, 10.0), st.integers(2, 64))
def test_noise_gives_no_negative_cost(one: float, many: float, rows: int) -> None:
    curve = curve_through(one, many, rows)
    assert curve.base_seconds >= 0.0
    assert curve.seconds_per_row > 0.0


def test_golden_rows_are_repeated_as_often_as_needed() -> None:
    assert rows_of(INPUTS, 4)["x"].tolist() == [[0, 1], [2, 3], [4, 5], [0, 1]]
    assert rows_of(INPUTS, 1)["x"].tolist() == [[0, 1]]
