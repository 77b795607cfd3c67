"""The command line: every recipe's toy runs from data to a published, verified model, twice with the same bits."""

from pathlib import Path

import numpy as np
import pytest

from model_store.golden import GOLDEN, replay, unpack
from model_store.manifest import DiffusionParams
from model_store.store import Model, Store
from training.__main__ import RECIPES, main
from training.checks import runner
from training.diffusion.sampler import denoiser_of, heun, karras_sigmas
from training.publish import CALIBRATION, CARD, SAMPLES


def train(name: str, folder: Path, *options: str) -> int:
    return main([name, "--quick", "--runs", str(folder / "runs"), "--data", str(folder / "data"), *options])


@pytest.fixture(scope="module", params=[recipe.name for recipe in RECIPES])
def toy(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    """The name of a recipe, and a folder where its toy has trained."""
    folder = tmp_path_factory.mktemp(request.param)
    assert train(request.param, folder) == 0
    return request.param, folder


def published(name: str, folder: Path) -> Model:
    return Store(folder / "runs" / "toys").resolve(name)


def test_a_toy_is_published_whole_and_its_goldens_replay(toy: tuple[str, Path]) -> None:
    model = published(*toy)
    model.verify()
    assert {GOLDEN, CALIBRATION, SAMPLES, CARD} <= set(model.manifest.files)
    for graph, spec in model.manifest.graphs.items():
        replay(model, graph, runner(model.graph(graph), spec))


def test_a_toy_needs_no_download(toy: tuple[str, Path]) -> None:
    assert published(*toy).manifest.provenance.data == {}
    assert not (toy[1] / "data").exists()


def test_publishing_a_version_twice_is_an_error_message_and_not_a_traceback(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert [train("classifier-fashion", tmp_path) for _ in range(2)] == [0, 1]
    assert "exists; publish another version" in capsys.readouterr().out


def test_the_same_recipe_trains_to_the_same_graph_and_metrics_again(tmp_path: Path) -> None:
    models = []
    for folder in (tmp_path / "first", tmp_path / "second"):
        assert train("classifier-fashion", folder) == 0
        models.append(published("classifier-fashion", folder))
    assert models[0].graph("classify") == models[1].graph("classify")
    assert models[0].manifest.metrics == models[1].manifest.metrics


def test_the_golden_sample_is_the_trajectory_of_the_denoiser(tmp_path: Path) -> None:
    assert train("diffusion-fashion", tmp_path) == 0
    model = published("diffusion-fashion", tmp_path)
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
