"""The autoencoder recipes as toys: train, export, publish, and what is published keeps its promises."""

import io
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from recipes import Trained, published

from model_store.golden import unpack
from model_store.manifest import VaeParams
from model_store.store import Model
from training.__main__ import RECIPES
from training.checks import runner
from training.loop import train
from training.vae.base import VaeRecipe

VAES = tuple(recipe for recipe in RECIPES if isinstance(recipe, VaeRecipe))
Arrays = dict[str, NDArray[np.generic]]


@pytest.fixture(params=["vae-shuttle", "vae-fashion"])
def model(request: pytest.FixtureRequest, trained: Trained) -> Model:
    return published(request.param, trained(request.param))


def run(model: Model, graph: str, inputs: Arrays) -> Arrays:
    return dict(runner(model.graph(graph), model.manifest.graphs[graph])(inputs))


def params(model: Model) -> VaeParams:
    assert isinstance(model.manifest.params, VaeParams)
    return model.manifest.params


def test_every_graph_declares_bitwise_rows(model: Model) -> None:
    for spec in model.manifest.graphs.values():
        assert spec.exactness == "bitwise"


def test_the_graphs_have_the_tensors_that_the_service_expects(model: Model) -> None:
    event, latent = ("batch", *params(model).event_shape), ("batch", params(model).latent_size)
    tensors = {
        (graph, side): {tensor.name: tensor.shape for tensor in getattr(spec, side)}
        for graph, spec in model.manifest.graphs.items()
        for side in ("inputs", "outputs")
    }
    assert tensors == {
        ("encode", "inputs"): {"x": event},
        ("encode", "outputs"): {"mean": latent, "std": latent},
        ("elbo", "inputs"): {"x": event, "noise": latent},
        ("elbo", "outputs"): {
            "log_likelihood": ("batch",),
            "kl": ("batch",),
            "log_weight": ("batch",),
            "terms": event,
        },
        ("decode", "inputs"): {"z": latent, "noise": event},
        ("decode", "outputs"): {"mean": event, "sample": event},
    }


def test_the_terms_sum_to_the_log_likelihood_and_nothing_is_more_likely_than_certain(model: Model) -> None:
    found = run(model, "elbo", dict(unpack(model, "elbo").inputs))
    terms = found["terms"].reshape(3, -1)
    np.testing.assert_allclose(terms.sum(1, dtype=np.float64), found["log_likelihood"], rtol=1e-5, atol=1e-3)
    assert (terms <= 1e-6).all()
    assert (found["kl"] >= 0).all()


def test_draws_are_values_that_the_data_can_take(model: Model) -> None:
    decoded = run(model, "decode", dict(unpack(model, "decode").inputs))
    levels = decoded["sample"].astype(np.float64) * ((params(model).levels or 2) - 1)
    np.testing.assert_allclose(levels, np.rint(levels), atol=1e-4)
    if params(model).levels is not None:
        assert decoded["mean"].min() >= 0
        assert decoded["mean"].max() <= 1
        assert levels.min() >= 0
        assert levels.max() <= 255


@pytest.mark.parametrize("noise", [0.0, 1.0])
def test_the_ends_of_the_noise_give_finite_draws(model: Model, noise: float) -> None:
    inputs = dict(unpack(model, "decode").inputs)
    inputs["noise"] = np.full_like(inputs["noise"], noise)
    assert np.isfinite(run(model, "decode", inputs)["sample"]).all()


@pytest.mark.parametrize("value", [-1e6, 1e6])
def test_far_rows_have_finite_scores(trained: Trained, value: float) -> None:
    model = published("vae-shuttle", trained("vae-shuttle"))
    x = np.full((1, 9), value, np.float32)
    found = run(model, "elbo", {"x": x, "noise": np.zeros((1, params(model).latent_size), np.float32)})
    assert all(np.isfinite(array).all() for array in found.values())


def test_the_calibration_holds_sorted_finite_scores_of_the_held_out_rows(model: Model) -> None:
    arrays = model.arrays("calibration.npz")
    for name in ("elbo_held_out", "reconstruction_held_out", "kl_held_out"):
        scores = arrays[name]
        assert scores.dtype == np.float32
        assert len(scores) == 200
        assert np.isfinite(scores).all()
        assert (np.diff(scores) >= 0).all()
    assert ("pixel_mean" in arrays) == (model.ref.name == "vae-fashion")


def test_the_card_is_complete_and_its_picture_opens(model: Model) -> None:
    Image.open(io.BytesIO(model.file("samples.png"))).verify()
    card = model.file("card.md").decode()
    assert all(name in card for name in model.manifest.metrics)
    assert "elbo_held_out" in card


def test_iwae_is_the_tighter_bound(trained: Trained) -> None:
    metrics = published("vae-fashion", trained("vae-fashion")).manifest.metrics
    (iwae,) = (value for name, value in metrics.items() if name.startswith("iwae"))
    (elbo,) = (value for name, value in metrics.items() if name.startswith("elbo_first"))
    assert iwae < elbo


@pytest.mark.parametrize("recipe", VAES, ids=lambda recipe: recipe.name)
def test_training_lowers_the_bits_per_dim(recipe: VaeRecipe, tmp_path: Path) -> None:
    recipe = recipe.quick()
    data = recipe.load(tmp_path)
    trained = train(recipe, data, tmp_path).network
    torch.manual_seed(recipe.config.seed)
    with torch.no_grad():
        before, after = (
            float(recipe.loss(network, data.held_out, torch.Generator().manual_seed(0)))
            for network in (recipe.network(data).eval(), trained)
        )
    assert after < before
