"""The GAN recipes as toys: train, resume, export, publish, and what is published keeps its promises."""

import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from recipes import Trained, published

from model_store.golden import unpack
from model_store.manifest import GanParams
from model_store.store import Model
from training.__main__ import RECIPES
from training.checks import runner
from training.data import Data
from training.gan.recipe import GanRecipe
from training.loop import train

GANS = tuple(recipe for recipe in RECIPES if isinstance(recipe, GanRecipe))
Arrays = dict[str, NDArray[np.generic]]


@pytest.fixture(params=["gan-fashion", "gan-fashion-minimax"])
def model(request: pytest.FixtureRequest, trained: Trained) -> Model:
    return published(request.param, trained(request.param))


def run(model: Model, graph: str, inputs: Arrays) -> Arrays:
    return dict(runner(model.graph(graph), model.manifest.graphs[graph])(inputs))


def test_every_graph_declares_bitwise_rows(model: Model) -> None:
    for spec in model.manifest.graphs.values():
        assert spec.exactness == "bitwise"


def test_the_graphs_have_the_tensors_that_the_service_expects(model: Model) -> None:
    params = model.manifest.params
    assert isinstance(params, GanParams)
    image, label, style = ("batch", *params.image_shape), ("batch",), ("batch", params.style_size)
    tensors = {
        (graph, side): {tensor.name: tensor.shape for tensor in getattr(spec, side)}
        for graph, spec in model.manifest.graphs.items()
        for side in ("inputs", "outputs")
    }
    assert tensors == {
        ("map", "inputs"): {"z": ("batch", params.latent_size), "label": label, "truncation": ("batch",)},
        ("map", "outputs"): {"w": style},
        ("synthesise", "inputs"): {"w": style, "label": label},
        ("synthesise", "outputs"): {"image": image},
        ("discriminate", "inputs"): {"image": image, "label": label},
        ("discriminate", "outputs"): {"logit": ("batch",)},
    }


def test_images_are_in_the_unit_interval(model: Model) -> None:
    inputs = dict(unpack(model, "synthesise").inputs)
    image = run(model, "synthesise", {**inputs, "w": 100 * np.sign(inputs["w"].astype(np.float32))})["image"]
    assert image.min() >= 0
    assert image.max() <= 1


def test_truncation_zero_gives_one_style_per_class(model: Model) -> None:
    label = np.array([0, 0, 1], np.int64)
    z = np.random.default_rng(0).standard_normal((3, 64), dtype=np.float32)
    w = run(model, "map", {"z": z, "label": label, "truncation": np.zeros(3, np.float32)})["w"]
    np.testing.assert_array_equal(w[0], w[1])
    assert (w[0] != w[2]).any()


def test_the_calibration_holds_sorted_logits_of_real_and_of_generated_images(model: Model) -> None:
    arrays = model.arrays("calibration.npz")
    for name in ("logit_real", "logit_generated"):
        assert arrays[name].dtype == np.float32
        assert len(arrays[name]) == 200
        assert (np.diff(arrays[name]) >= 0).all()
    assert arrays["pixel_mean"].shape == arrays["pixel_std"].shape == (1, 28, 28)


def test_the_logits_are_centred_between_real_and_generated_images(model: Model) -> None:
    arrays = model.arrays("calibration.npz")
    spread = arrays["logit_real"].std() + arrays["logit_generated"].std()
    assert abs(arrays["logit_real"].mean() + arrays["logit_generated"].mean()) < spread


def test_the_card_is_complete_and_its_picture_opens(model: Model) -> None:
    assert Image.open(io.BytesIO(model.file("samples.png"))).size == (560, 560)
    card = model.file("card.md").decode()
    assert all(name in card for name in model.manifest.metrics)


class Killed(Exception):
    """Stands for a kill between two turns."""


@pytest.mark.parametrize("recipe", GANS, ids=lambda recipe: recipe.name)
def test_a_game_killed_after_a_checkpoint_between_turns_resumes_with_the_same_bits(
    recipe: GanRecipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    quick = recipe.quick()
    recipe = replace(quick, config=replace(quick.config, steps=8, checkpoint_every=3))
    data = recipe.load(tmp_path)
    whole = train(recipe, data, tmp_path / "whole").network
    with monkeypatch.context() as patch:
        patch.setattr(torch.optim.Adam, "step", _dying(torch.optim.Adam.step, after=5))
        with pytest.raises(Killed):
            train(recipe, data, tmp_path / "killed")
    again = train(recipe, data, tmp_path / "killed").network
    for (name, found), wanted in zip(again.state_dict().items(), whole.state_dict().values(), strict=True):
        assert torch.equal(found, wanted), name


def _dying(step: object, after: int) -> object:
    assert callable(step)
    calls = iter(range(after))

    def dying(optimizer: torch.optim.Adam) -> None:
        if next(calls, None) is None:
            raise Killed
        step(optimizer)

    return dying


@pytest.mark.parametrize("recipe", GANS, ids=lambda recipe: recipe.name)
def test_a_turn_is_a_function_of_the_generator_alone(recipe: GanRecipe, tmp_path: Path) -> None:
    recipe = recipe.quick()
    data: Data = recipe.load(tmp_path)
    torch.manual_seed(0)
    network, batch = recipe.network(data).eval(), tuple(part[:8] for part in data.train)
    losses = [recipe.loss(network, batch, torch.Generator().manual_seed(seed)).item() for seed in (1, 1, 2)]
    assert losses[0] == losses[1] != losses[2]
