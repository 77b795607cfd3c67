"""Exports: what passes is what torch computes, and what does not is refused."""

import io
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from model_store.manifest import Exactness
from training.checks import ExportRefused, check_declaration, check_parity, runner
from training.export import Exported, GraphSource, record, row_stable


class Elementwise(nn.Module):
    """Applies a function to rows x [B, N]."""

    def __init__(self, function: Callable[[Tensor], Tensor], *, stable: bool) -> None:
        super().__init__()
        self.function, self.stable = function, stable

    def forward(self, x: Tensor) -> Tensor:
        return row_stable(self.function, x) if self.stable else self.function(x)


class TwoOutputs(nn.Module):
    """A linear layer and its row sums, from two inputs."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(6, 4)

    def forward(self, x: Tensor, scale: Tensor) -> tuple[Tensor, Tensor]:
        y = self.linear(x) * scale[:, None]
        return y, y.sum(dim=1)


class MixesRows(nn.Module):
    """What must never be exported: a row that sees its neighbours."""

    def forward(self, x: Tensor) -> Tensor:
        return x - x.mean(dim=0, keepdim=True)


def rows(width: int) -> Callable[[int], dict[str, Tensor]]:
    return lambda batch: {"x": torch.rand(batch, width, generator=torch.Generator().manual_seed(batch)) + 0.1}


def two_inputs(batch: int) -> dict[str, Tensor]:
    return rows(6)(batch) | {"scale": torch.arange(batch, dtype=torch.float32) + 1}


@pytest.fixture
def source() -> GraphSource:
    torch.manual_seed(0)
    return GraphSource("two", TwoOutputs(), two_inputs, ("y", "total"), atol=1e-5)


def both_formats(source: GraphSource) -> list[Exported]:
    return [source.onnx(), source.torchscript()]


@pytest.mark.parametrize("index", [0, 1], ids=["onnx", "torchscript"])
def test_an_exported_graph_declares_its_tensors_and_repeats_torch(source: GraphSource, index: int) -> None:
    exported = both_formats(source)[index]
    assert [(tensor.name, tensor.dtype, tensor.shape) for tensor in exported.spec.inputs] == [
        ("x", "float32", ("batch", 6)),
        ("scale", "float32", ("batch",)),
    ]
    assert [(tensor.name, tensor.shape) for tensor in exported.spec.outputs] == [
        ("y", ("batch", 4)),
        ("total", ("batch",)),
    ]
    assert exported.spec.file == ("two.onnx", "two.pt")[index]
    assert check_parity(exported.data, exported.spec, source.module, source.example) <= 1e-5


def test_both_formats_of_a_network_agree(source: GraphSource) -> None:
    inputs = {name: tensor.numpy() for name, tensor in two_inputs(3).items()}
    answers = [runner(graph.data, graph.spec)(inputs) for graph in both_formats(source)]
    for name in ("y", "total"):
        np.testing.assert_allclose(answers[0][name], answers[1][name], atol=1e-5)


def test_a_recorded_golden_holds_inputs_and_outputs_by_name(source: GraphSource) -> None:
    golden = record(source.onnx(), two_inputs(3))
    assert set(golden.inputs) == {"x", "scale"}
    np.testing.assert_allclose(golden.outputs["total"], golden.outputs["y"].sum(axis=1), atol=1e-5)


@pytest.mark.parametrize("function", [torch.log, torch.sin, torch.cos, nn.functional.softplus])
def test_row_stable_functions_have_the_same_bits_in_every_batch(function: Callable[[Tensor], Tensor]) -> None:
    exported = GraphSource("stable", Elementwise(function, stable=True), rows(9), ("y",), atol=1e-5).onnx()
    assert exported.spec.exactness == "bitwise"


def test_row_stable_does_not_change_the_values() -> None:
    x = torch.rand(3, 2, 5) + 0.1
    assert torch.allclose(row_stable(torch.log, x), torch.log(x))
    assert row_stable(torch.log, x).shape == x.shape


def test_a_graph_whose_rows_see_each_other_is_refused() -> None:
    with pytest.raises(ExportRefused, match=r"mixes.onnx declares bitwise, but row \d+ has other bits in a batch of"):
        GraphSource("mixes", MixesRows(), rows(4), ("y",), atol=1e-5).onnx()


@pytest.mark.parametrize("exactness", ["bucketed", "token_equal"])
def test_a_graph_whose_rows_see_each_other_has_no_exactness(exactness: Exactness) -> None:
    with pytest.raises(ExportRefused, match=f"declares {exactness}"):
        GraphSource("mixes", MixesRows(), rows(4), ("y",), atol=1e-5, exactness=exactness).onnx()


def test_torchscript_declares_what_it_has() -> None:
    exported = GraphSource("plain", Elementwise(torch.neg, stable=False), rows(9), ("y",), atol=1e-5).torchscript()
    assert exported.spec.exactness == "bitwise"
    with pytest.raises(ExportRefused, match="declares token_equal"):
        GraphSource("mixes", MixesRows(), rows(4), ("y",), atol=1e-5).torchscript()


def test_a_graph_that_deviates_from_torch_is_refused_with_both_figures(source: GraphSource) -> None:
    exported = source.onnx()
    with torch.no_grad():
        next(source.module.parameters()).add_(1)
    with pytest.raises(ExportRefused, match=r"deviates from torch by \d.* at batch 2, the tolerance is 1e-05"):
        check_parity(exported.data, exported.spec, source.module, source.example)


def test_a_declaration_of_another_shape_is_refused(source: GraphSource) -> None:
    exported = source.onnx()
    wrong = exported.spec.outputs[0].model_copy(update={"shape": ("batch", 5)})
    spec = exported.spec.model_copy(update={"outputs": (wrong, exported.spec.outputs[1])})
    with pytest.raises(ExportRefused, match=r"two\.onnx declares"):
        check_declaration(exported.data, spec, source.example)


@pytest.mark.parametrize("kind", ["onnx", "torchscript"])
def test_a_graph_says_nothing_of_the_machine_it_was_made_on(source: GraphSource, kind: str) -> None:
    data = source.torchscript().data if kind == "torchscript" else source.onnx().data
    files = [data]
    if kind == "torchscript":
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            files = [archive.read(name) for name in archive.namelist()]
    assert not any(str(Path(__file__).parents[2]).encode() in file for file in files)
