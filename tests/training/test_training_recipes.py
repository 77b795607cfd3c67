"""The command line: every recipe's toy runs from data to a published, verified model, twice with the same bits."""

from pathlib import Path

import numpy as np
import pytest
from recipes import Trained, published, train

from model_store.golden import GOLDEN, replay, unpack
from model_store.manifest import DiffusionParams
from training.__main__ import RECIPES, main
from training.checks import runner
from training.diffusion.sampler import denoiser_of, heun, karras_sigmas
from training.publish import CALIBRATION, CARD, SAMPLES


@pytest.mark.parametrize("name", [recipe.name for recipe in RECIPES])
def test_a_toy_is_published_whole_without_a_download_and_its_goldens_replay(name: str, trained: Trained) -> None:
    folder = trained(name)
    model = published(name, folder)
    model.verify()
    assert {GOLDEN, CALIBRATION, SAMPLES, CARD} <= set(model.manifest.files)
    assert not (folder / "data").exists()
    for graph, spec in model.manifest.graphs.items():
        replay(model, graph, runner(model.graph(graph), spec))


def test_publishing_a_version_twice_is_an_error_message_and_not_a_traceback(
    trained: Trained, capsys: pytest.CaptureFixture[str]
) -> None:
    assert train("classifier-fashion", trained("classifier-fashion")) == 1
    assert "exists; publish another version" in capsys.readouterr().out


def test_the_same_recipe_trains_to_the_same_graph_and_metrics_again(trained: Trained, tmp_path: Path) -> None:
    assert train("classifier-fashion", tmp_path) == 0
    models = [published("classifier-fashion", folder) for folder in (trained("classifier-fashion"), tmp_path)]
    assert models[0].graph("classify") == models[1].graph("classify")
    assert models[0].manifest.metrics == models[1].manifest.metrics


def test_the_golden_sample_is_the_trajectory_of_the_denoiser(trained: Trained) -> None:
    model = published("diffusion-fashion", trained("diffusion-fashion"))
    golden, spec, params = unpack(model, "sample"), model.manifest.graphs["denoise"], model.manifest.params
    assert isinstance(params, DiffusionParams)
    sigmas = karras_sigmas(int(golden.inputs["steps"]), params.sigma_min, params.sigma_max, params.rho)
    noise, label = golden.inputs["noise"].astype(np.float32), golden.inputs["label"].astype(np.int64)
    images = heun(denoiser_of(runner(model.graph("denoise"), spec)), noise, label, sigmas)
    np.testing.assert_array_equal(images, golden.outputs["images"])
    assert np.abs(images).max() <= 1


def test_list_names_every_recipe(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list"]) == 0
    output = capsys.readouterr().out
    assert all(recipe.name in output for recipe in RECIPES)


def test_an_unknown_recipe_is_refused_with_the_known_ones(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["no-such-recipe"])
    assert "diffusion-fashion" in capsys.readouterr().err
