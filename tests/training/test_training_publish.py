"""Publishing: what a recipe finished is in the store, whole, with its card and its provenance."""

import io
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from model_store.golden import replay
from model_store.manifest import FlowParams
from model_store.store import Store, StoreError
from training.checks import runner
from training.export import GraphSource, record
from training.publish import Artefacts, Description, Run, image_grid, publish

RUN = Run("toy", "1", "python -m training toy", 7, 12.34, {"set/file": "0" * 64}, "CC0")


def example(batch: int) -> dict[str, torch.Tensor]:
    return {"input": torch.rand(batch, 3, generator=torch.Generator().manual_seed(batch))}


@pytest.fixture(scope="module")
def artefacts() -> Artefacts:
    source = GraphSource("forward", nn.Tanh(), example, ("y",), atol=1e-5)
    graph = source.onnx()
    return Artefacts(
        graphs={"forward": graph},
        params=FlowParams(event_shape=(3,), layers=("tanh",)),
        metrics={"test_bits_per_dim": 3.25},
        goldens={"forward": record(graph, example(3))},
        calibration={"scores": np.arange(4.0)},
        samples=image_grid(np.zeros((3, 1, 4, 4)), columns=2),
        description=Description("A toy.", "Made up.", "Tests.", "Everything."),
        scored_by={"scorer/classify.onnx": "1" * 64},
        twins={"torchscript": {"forward": source.torchscript()}},
    )


def test_a_published_model_verifies_and_its_golden_replays(artefacts: Artefacts, tmp_path: Path) -> None:
    model = publish(RUN, artefacts, Store(tmp_path))
    model.verify()
    spec = model.manifest.graphs["forward"]
    assert replay(model, "forward", runner(model.graph("forward"), spec)) == 0
    assert model.arrays("calibration.npz")["scores"].tolist() == [0, 1, 2, 3]


def test_a_twin_is_another_version_with_the_same_golden_and_not_the_default(
    artefacts: Artefacts, tmp_path: Path
) -> None:
    store = Store(tmp_path)
    publish(RUN, artefacts, store)
    twin = store.resolve("toy@1-torchscript")
    spec = twin.manifest.graphs["forward"]
    assert spec.format == "torchscript"
    assert replay(twin, "forward", runner(twin.graph("forward"), spec)) < 1e-5
    assert store.resolve("toy").ref.version == "1"


def test_the_provenance_says_how_to_repeat_the_training(artefacts: Artefacts, tmp_path: Path) -> None:
    provenance = publish(RUN, artefacts, Store(tmp_path)).manifest.provenance
    assert (provenance.command, provenance.seed, provenance.training_seconds) == ("python -m training toy", 7, 12.3)
    assert provenance.data == {"set/file": "0" * 64, "scorer/classify.onnx": "1" * 64}
    assert "core" in provenance.machine


def test_outside_of_a_checkout_the_commit_is_unknown(
    artefacts: Artefacts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert publish(RUN, artefacts, Store(tmp_path)).manifest.provenance.commit == "unknown"


def test_the_card_states_command_data_use_limits_and_every_metric(artefacts: Artefacts, tmp_path: Path) -> None:
    card = publish(RUN, artefacts, Store(tmp_path)).file("card.md").decode()
    for text in (
        "python -m training toy",
        "0" * 64,
        "CC0",
        "Tests.",
        "Everything.",
        "test_bits_per_dim | 3.25",
        "Seed 7",
    ):
        assert text in card


def test_a_version_is_published_once(artefacts: Artefacts, tmp_path: Path) -> None:
    publish(RUN, artefacts, Store(tmp_path))
    with pytest.raises(StoreError, match="toy@1 exists; publish another version"):
        publish(RUN, artefacts, Store(tmp_path))


def test_a_grid_shows_the_images_row_by_row_and_clips_their_range() -> None:
    images = np.stack([np.full((1, 2, 2), value) for value in (0.0, 1.0, 7.0)])
    picture = np.asarray(Image.open(io.BytesIO(image_grid(images, columns=2, scale=1))))
    assert picture.tolist() == [[0, 0, 255, 255], [0, 0, 255, 255], [255, 255, 0, 0], [255, 255, 0, 0]]
