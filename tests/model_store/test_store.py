"""The store: whole versions or none, and not one changed byte."""

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
import toy
from pydantic import ValidationError

from model_store import golden
from model_store.manifest import DiffusionParams, FlowParams, Manifest, Params
from model_store.store import Store, StoreError, TamperedFile, UnknownModel


def test_a_published_model_reads_back_as_it_was(toy_store: Store) -> None:
    model = toy_store.resolve("toy-affine")
    model.verify()
    assert model.graph("scale") == toy.affine_graph(2.0, 1.0)
    assert model.manifest.params == toy.ToyParams()
    assert model.ref.digest == hashlib.sha256((model.folder / "manifest.json").read_bytes()).hexdigest()


def test_one_changed_byte_is_refused_with_both_hashes(toy_store: Store) -> None:
    model = toy_store.resolve("toy-affine")
    path = model.folder / "scale.onnx"
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    with pytest.raises(TamperedFile) as refused:
        model.graph("scale")
    assert hashlib.sha256(data).hexdigest() in str(refused.value)
    assert model.manifest.graphs["scale"].sha256 in str(refused.value)


def test_a_truncated_file_is_refused_with_both_sizes(toy_store: Store) -> None:
    model = toy_store.resolve("toy-affine")
    path = model.folder / "golden.npz"
    size = path.stat().st_size
    path.write_bytes(path.read_bytes()[:-7])
    with pytest.raises(TamperedFile, match=rf"{size - 7} bytes.*{size}"):
        model.verify()


def test_a_link_is_refused_even_to_the_right_bytes(toy_store: Store, tmp_path: Path) -> None:
    model = toy_store.resolve("toy-affine")
    path = model.folder / "scale.onnx"
    path.rename(tmp_path / "elsewhere.onnx")
    path.symlink_to(tmp_path / "elsewhere.onnx")
    with pytest.raises(TamperedFile, match="link"):
        model.graph("scale")


@pytest.mark.parametrize("reference", ["../toy-affine", "toy-affine/1", "", "..", "toy-affine@../1", "toy-affine@2"])
def test_what_is_not_there_is_unknown(toy_store: Store, reference: str) -> None:
    with pytest.raises(UnknownModel):
        toy_store.resolve(reference)


def test_versions_are_ordered_as_numbers_and_the_last_is_the_default(toy_store: Store) -> None:
    for version in ("10", "9", "1.10", "1.9", "9-beta"):
        toy.publish_toy(toy_store, version=version)
    assert toy_store.versions("toy-affine") == ["1", "1.9", "1.10", "9", "9-beta", "10"]
    assert toy_store.resolve("toy-affine").ref.version == "10"


def test_a_version_is_published_once(toy_store: Store) -> None:
    with pytest.raises(StoreError, match="exists"):
        toy.publish_toy(toy_store)


def test_a_failed_publication_leaves_nothing(toy_store: Store) -> None:
    manifest = toy_store.resolve("toy-affine").manifest.model_copy(update={"version": "2"})
    with pytest.raises(StoreError):
        toy_store.publish(manifest, {"scale.onnx": b"not the bytes of the manifest"})
    assert toy_store.versions("toy-affine") == ["1"]
    assert sorted(path.name for path in (toy_store.root / "toy-affine").iterdir()) == ["1"]


def test_an_alias_moves_the_default(toy_store: Store) -> None:
    toy.publish_toy(toy_store, version="2")
    assert toy_store.resolve("toy-affine").ref.version == "2"
    toy_store.set_alias("toy-affine", "default", "1")
    toy_store.set_alias("toy-affine", "canary", "2")
    assert toy_store.resolve("toy-affine").ref.version == "1"
    assert toy_store.resolve("toy-affine@canary").ref.version == "2"
    with pytest.raises(UnknownModel):
        toy_store.set_alias("toy-affine", "default", "3")


def test_params_are_chosen_by_family() -> None:
    flow = FlowParams(event_shape=(9,), columns=("a",) * 9, layers=("standardise",))
    assert Params.parse(flow.model_dump()) == flow
    with pytest.raises(ValueError, match="'pixels' is not one of"):
        Params.parse({"family": "pixels"})
    assert {DiffusionParams, FlowParams, toy.ToyParams} <= set(Params.families())


def test_a_manifest_refuses_unknown_fields(toy_store: Store) -> None:
    text = json.loads((toy_store.resolve("toy-affine").folder / "manifest.json").read_text())
    with pytest.raises(ValidationError, match="surprise"):
        Manifest.model_validate({**text, "surprise": 1})
    with pytest.raises(ValidationError, match="scale_threshold"):
        Manifest.model_validate({**text, "params": {**text["params"], "scale_threshold": 1}})


def test_a_golden_that_does_not_replay_is_refused_with_both_figures(toy_store: Store) -> None:
    model = toy_store.resolve("toy-affine")
    assert golden.replay(model, "scale", lambda inputs: {"y": inputs["x"] * 2 + 1}) == 0
    with pytest.raises(golden.GoldenMismatch, match=r"deviates by 0\.5, the tolerance is 1e-06"):
        golden.replay(model, "scale", lambda inputs: {"y": inputs["x"] * 2 + np.float32(1.5)})
    with pytest.raises(golden.GoldenMismatch, match="nan"):
        golden.replay(model, "scale", lambda inputs: {"y": inputs["x"] * np.float32(np.nan)})
