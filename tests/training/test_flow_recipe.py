"""The flow recipes as toys: train, export, publish, and what is published keeps its promises."""

import io
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from recipes import Trained, published

from model_store.golden import unpack
from model_store.manifest import FlowParams
from model_store.store import Model
from training.__main__ import RECIPES
from training.checks import runner
from training.flow.base import FlowRecipe
from training.loop import train

FLOWS = tuple(recipe for recipe in RECIPES if isinstance(recipe, FlowRecipe))
Arrays = dict[str, NDArray[np.generic]]


@pytest.fixture(params=["flow-shuttle", "flow-fashion"])
def model(request: pytest.FixtureRequest, trained: Trained) -> Model:
    return published(request.param, trained(request.param))


def run(model: Model, graph: str, **inputs: NDArray[np.float32]) -> Arrays:
    return dict(runner(model.graph(graph), model.manifest.graphs[graph])(inputs))


def rows(model: Model) -> Arrays:
    """The inputs of the golden file of `forward`."""
    prefix = "forward/in/"
    return {key.removeprefix(prefix): a for key, a in model.arrays("golden.npz").items() if key.startswith(prefix)}


def test_the_graphs_have_the_tensors_that_the_service_expects(model: Model) -> None:
    params, graphs = model.manifest.params, model.manifest.graphs
    assert isinstance(params, FlowParams)
    event = ("batch", *params.event_shape)
    tensors = {
        (graph, side): {tensor.name: tensor.shape for tensor in getattr(spec, side)}
        for graph, spec in graphs.items()
        for side in ("inputs", "outputs")
    }
    assert tensors == {
        ("forward", "inputs"): {"x": event, "noise": event},
        ("forward", "outputs"): {
            "z": event,
            "log_prob": ("batch",),
            "base_log_prob": ("batch",),
            "log_dets": ("batch", len(params.layers)),
            "terms": event,
            "dequantised": event,
        },
        ("inverse", "inputs"): {"z": event},
        ("inverse", "outputs"): {"dequantised": event, "x": event},
    }
    assert {graph.exactness for graph in graphs.values()} == {"bitwise"}


def test_the_exported_log_prob_is_the_sum_of_layers_and_of_entries(model: Model) -> None:
    scored = run(model, "forward", **rows(model))
    layers = scored["base_log_prob"] + scored["log_dets"].sum(1)
    np.testing.assert_allclose(layers, scored["log_prob"], rtol=1e-5)
    np.testing.assert_allclose(scored["terms"].reshape(3, -1).sum(1), scored["log_prob"], rtol=1e-5)


def test_the_exported_inverse_gives_the_rows_back(model: Model) -> None:
    given = rows(model)
    decoded = run(model, "inverse", z=run(model, "forward", **given)["z"])
    np.testing.assert_allclose(decoded["x"], given["x"], atol=1e-6)


def test_a_row_asked_for_alone_has_the_same_bits(model: Model) -> None:
    given = rows(model)
    first = run(model, "forward", x=given["x"][:1], noise=given["noise"][:1])
    assert first["log_prob"][0] == run(model, "forward", **given)["log_prob"][0]


def test_calibration_is_sorted_and_as_long_as_the_held_out_part(model: Model) -> None:
    scores = model.arrays("calibration.npz")["log_prob_held_out"]
    assert scores.dtype == np.float32
    assert len(scores) == 200
    assert bool((np.diff(scores) >= 0).all())


def test_bits_per_dim_and_nats_say_the_same(model: Model) -> None:
    metrics, params = model.manifest.metrics, model.manifest.params
    assert isinstance(params, FlowParams)
    entries = np.prod(params.event_shape)
    assert metrics["bits_per_dim_test"] == pytest.approx(-metrics["log_prob_test_nats"] / (entries * np.log(2)))


def test_the_samples_are_a_picture_and_the_card_names_every_metric(model: Model) -> None:
    Image.open(io.BytesIO(model.file("samples.png"))).verify()
    card = model.file("card.md").decode()
    assert all(name in card for name in model.manifest.metrics)
    assert "dequantisation" in card


def test_the_torchscript_twin_has_the_same_weights_as_its_onnx_and_is_not_the_default(trained: Trained) -> None:
    model, twin = (published(name, trained("flow-shuttle")) for name in ("flow-shuttle", "flow-shuttle@1-torchscript"))
    assert model.ref.version == "1"
    for name, spec in twin.manifest.graphs.items():
        assert (spec.file, spec.format) == (f"{name}.pt", "torchscript")
        golden = unpack(model, name)
        found = runner(twin.graph(name), spec)(golden.inputs)
        for tensor, wanted in golden.outputs.items():
            np.testing.assert_allclose(found[tensor], wanted, atol=1e-4, rtol=0)


@pytest.mark.parametrize("recipe", FLOWS, ids=lambda recipe: recipe.name)
def test_the_loss_is_a_function_of_the_generator_alone(recipe: FlowRecipe, tmp_path: Path) -> None:
    recipe = recipe.quick()
    data = recipe.load(tmp_path)
    torch.manual_seed(0)
    network, batch = recipe.network(data), tuple(part[:8] for part in data.train)
    with torch.no_grad():
        losses = [float(recipe.loss(network, batch, torch.Generator().manual_seed(seed))) for seed in (1, 1, 2)]
    assert losses[0] == losses[1] != losses[2]


@pytest.mark.parametrize("recipe", FLOWS, ids=lambda recipe: recipe.name)
def test_training_lowers_the_bits_per_dim(recipe: FlowRecipe, tmp_path: Path) -> None:
    recipe = recipe.quick()
    data = recipe.load(tmp_path)
    trained = train(recipe, data, tmp_path).network
    torch.manual_seed(recipe.config.seed)
    with torch.no_grad():
        before, after = (
            float(recipe.loss(network, data.held_out, torch.Generator().manual_seed(0)))
            for network in (recipe.network(data), trained)
        )
    assert after < before
