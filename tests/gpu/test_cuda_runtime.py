"""The same answers on a GPU; skipped aloud where there is none."""

import numpy as np
import onnxruntime
import pytest
import toy

from model_store.store import Store
from service.runtime.onnx import load_graph
from service.settings import Settings

pytestmark = pytest.mark.skipif(
    "CUDAExecutionProvider" not in onnxruntime.get_available_providers(),
    reason="no CUDA provider: install the extra gpu beside an NVIDIA driver to run these",
)


@pytest.mark.parametrize("count", [1, 2, 3, 7, 32])
def test_a_graph_on_the_gpu_keeps_its_tensors_there_and_answers_as_the_host_does(toy_store: Store, count: int) -> None:
    model = toy_store.resolve("toy-affine")
    data, spec = model.graph("scale"), model.manifest.graphs["scale"]
    x = np.arange(4 * count, dtype=np.float32).reshape(count, *toy.SHAPE)
    host, device = (load_graph(data, spec, Settings(device=name)) for name in ("cpu", "cuda"))
    assert device.device == "cuda"
    np.testing.assert_allclose(device(x=device(x=x)["y"])["y"].numpy(), host(x=host(x=x)["y"])["y"].numpy(), rtol=1e-6)


def test_a_rows_bits_do_not_depend_on_its_position_in_a_bucket(toy_store: Store) -> None:
    model = toy_store.resolve("toy-affine")
    graph = load_graph(model.graph("scale"), model.manifest.graphs["scale"], Settings(device="cuda"))
    x = np.random.default_rng(0).normal(size=(8, *toy.SHAPE)).astype(np.float32)
    whole = graph(x=x)["y"].numpy()
    np.testing.assert_array_equal(graph(x=x[::-1].copy())["y"].numpy()[::-1], whole)
    np.testing.assert_array_equal(graph(x=x[:5])["y"].numpy(), whole[:5])
