"""What a model's graphs reach alone: without a service, at their best batch."""

import statistics
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import onnxruntime as ort

from model_store.golden import unpack
from model_store.store import Store


def seconds_per_item(reference: str, name: str, threads: int, seconds: float, batches: Sequence[int]) -> float:
    """Seconds of an item of one graph, at the best of `batches`; each is measured for a share of `seconds`."""
    model = Store().resolve(reference)
    run = _runner(model.graph(name), unpack(model, name).inputs, threads)
    fixed = isinstance(model.manifest.graphs[name].inputs[0].shape[0], int)
    sizes = (1,) if fixed else batches
    return min(_seconds_per_call(run(size), seconds / len(sizes)) / size for size in sizes)


def _runner(data: bytes, inputs: Any, threads: int) -> Callable[[int], Callable[[], Any]]:
    options = ort.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    session = ort.InferenceSession(data, options, providers=["CPUExecutionProvider"])

    def batch_of(size: int) -> Callable[[], Any]:
        batch = {name: np.resize(array, (size, *array.shape[1:])) for name, array in inputs.items()}
        return lambda: session.run(None, batch)

    return batch_of


def _seconds_per_call(run: Callable[[], Any], seconds: float) -> float:
    run()
    times: list[float] = []
    deadline = time.perf_counter() + seconds
    while time.perf_counter() < deadline or not times:
        began = time.perf_counter()
        run()
        times.append(time.perf_counter() - began)
    return statistics.median(times)
