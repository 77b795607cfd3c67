"""TorchScript graphs: the same protocol, and torch stays out of the service until one is loaded."""

import io
import subprocess
import sys
import warnings
from functools import partial

import numpy as np
import pytest
import torch
import toy
from torch import Tensor, nn

from model_store.golden import GOLDEN
from model_store.manifest import GraphSpec, TensorSpec
from model_store.store import Store, file_spec
from service.runtime import onnx
from service.runtime.onnx import HostArray
from service.runtime.torchscript import TorchGraph, load_graph
from service.settings import Settings
from service.worker.residency import Residency

SETTINGS = Settings(intra_op_threads=1, device="cpu", allow_torchscript=True)


class Affine(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return 2.0 * x + 1.0


class Two(nn.Module):
    def forward(self, a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
        return a - b, a + b


def scripted(module: nn.Module) -> bytes:
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        torch.jit.save(torch.jit.script(module), buffer)
    return buffer.getvalue()


def spec(data: bytes, inputs: tuple[str, ...], outputs: tuple[str, ...]) -> GraphSpec:
    def tensors(names: tuple[str, ...]) -> tuple[TensorSpec, ...]:
        return tuple(TensorSpec(name=name, dtype="float32", shape=("batch", *toy.SHAPE)) for name in names)

    return GraphSpec(
        file="graph.pt",
        **file_spec(data).model_dump(),
        format="torchscript",
        inputs=tensors(inputs),
        outputs=tensors(outputs),
        golden_atol=1e-6,
    )


def load(module: nn.Module, inputs: tuple[str, ...], outputs: tuple[str, ...]) -> TorchGraph:
    data = scripted(module)
    return load_graph(data, spec(data, inputs, outputs), SETTINGS)


X = np.arange(8, dtype=np.float32).reshape(2, *toy.SHAPE)


def test_a_module_answers_like_its_onnx_twin() -> None:
    graph = load(Affine(), ("x",), ("y",))
    assert graph.device == "cpu"
    np.testing.assert_array_equal(graph(x=X)["y"].numpy(), 2.0 * X + 1.0)


def test_tensors_go_by_the_order_of_the_manifest_whatever_the_order_of_the_call() -> None:
    outputs = load(Two(), ("a", "b"), ("difference", "sum"))(b=X, a=2.0 * X)
    np.testing.assert_array_equal(outputs["difference"].numpy(), X)
    np.testing.assert_array_equal(outputs["sum"].numpy(), 3.0 * X)


def test_outputs_of_any_graph_are_inputs_and_keep_no_gradient() -> None:
    graph = load(Affine(), ("x",), ("y",))
    once = graph(x=HostArray(X))["y"]
    np.testing.assert_array_equal(graph(x=once)["y"].numpy(), 4.0 * X + 3.0)


def test_read_only_arrays_are_taken() -> None:
    frozen = X.copy()
    frozen.setflags(write=False)
    np.testing.assert_array_equal(load(Affine(), ("x",), ("y",))(x=frozen)["y"].numpy(), 2.0 * X + 1.0)


def test_a_torchscript_model_is_served_where_it_is_allowed(toy_store: Store) -> None:
    source, data = toy_store.resolve("toy-affine"), scripted(Affine())
    graphs = source.manifest.graphs | {"scale": spec(data, ("x",), ("y",))}
    manifest = source.manifest.model_copy(update={"version": "1-torchscript", "graphs": graphs})
    files = {"graph.pt": data, "halve.onnx": source.graph("halve"), GOLDEN: source.file(GOLDEN)}
    model = toy_store.publish(manifest, files)
    residency = Residency(SETTINGS, toy_store, [toy.TOY], partial(onnx.load_graph, settings=SETTINGS))
    resident = residency.open(model)
    assert isinstance(resident.graphs["scale"], TorchGraph)


@pytest.mark.parametrize("module", ["service.worker.loop", "service.__main__"])
def test_torch_stays_out_until_torchscript_is_loaded(module: str) -> None:
    code = f"import sys, {module}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
