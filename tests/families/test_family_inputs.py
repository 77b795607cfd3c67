"""Data in: what fits becomes arrays, everything else a sentence with both numbers and the way out."""

import importlib
from pathlib import Path

import gaussian_vae
import linear_gan
import numpy as np
import pytest
import tiny

from fivefold.errors import InvalidInput
from fivefold.flow import (
    FlowDecodeRequest,
    FlowEncodeRequest,
    FlowInterpolateRequest,
    FlowLogLikelihoodRequest,
    FlowSampleRequest,
)
from fivefold.images import Image
from service import images
from service.families.flow import FAMILY
from service.families.registry import FAMILIES

LOG_LIKELIHOOD, ENCODE, DECODE, SAMPLE, INTERPOLATE = FAMILY.pipelines
TABLE, PICTURES = tiny.table_model(9), tiny.image_flow_model((1, 4, 4))


def grey(height: int = 4, width: int = 4, channels: int = 1) -> Image:
    return Image(images.encode_png(np.full((channels, height, width), 0.6, np.float32)))


def refusal(request, model=TABLE, pipeline=ENCODE) -> InvalidInput:
    with pytest.raises(InvalidInput) as caught:
        pipeline.prepare(request, model)
    return caught.value


def test_rows_of_a_table_are_taken_as_they_are() -> None:
    block = ENCODE.prepare(FlowEncodeRequest(rows=[[-1e6] * 9, [2.5] * 9], seeds=[5, 3]), TABLE).block
    assert (block.rows.tolist(), block.seeds.tolist(), block.work.tolist()) == ([0, 1], [5, 3], [1, 1])
    assert block.columns["x"].dtype == np.float32
    assert block.columns["x"].tolist() == [[-1e6] * 9, [2.5] * 9]


def test_an_image_and_its_pixels_are_the_same_input() -> None:
    picture = ENCODE.prepare(FlowEncodeRequest(images=[grey()]), PICTURES).block
    pixels = ENCODE.prepare(FlowEncodeRequest(rows=[[153 / 255] * 16]), PICTURES).block
    np.testing.assert_array_equal(picture.columns["x"], pixels.columns["x"])
    assert picture.columns["x"].shape == (1, 1, 4, 4)


@pytest.mark.parametrize(
    ("request_", "model", "words"),
    [
        (FlowEncodeRequest(), TABLE, ["neither images nor rows", "rows of 9 numbers"]),
        (FlowEncodeRequest(images=[grey()], rows=[[0.0] * 16]), PICTURES, ["images and rows both", "16"]),
        (FlowEncodeRequest(images=[grey()]), TABLE, ["1 images", "9 columns", "rows of 9 numbers"]),
        (FlowEncodeRequest(rows=[[0.0] * 17]), TABLE, ["17 numbers given", "9 expected", "send 9 numbers"]),
        (FlowEncodeRequest(rows=[[]]), TABLE, ["0 numbers given", "9 expected"]),
        (FlowEncodeRequest(rows=[[0.0] * 9]), PICTURES, ["9 numbers given", "16 expected", "1 x 4 x 4"]),
        (FlowEncodeRequest(rows=[[0.0] * 15 + [1.5]]), PICTURES, ["entry 15 is 1.5", "0 to 1", "by 255"]),
        (FlowEncodeRequest(rows=[[-0.1] * 16]), PICTURES, ["entry 0 is -0.1", "0 to 1"]),
        (FlowEncodeRequest(rows=[[0.0] * 8 + [1e300]]), TABLE, ["entry 8 is 1e+300", "3.40282e+38"]),
        (FlowEncodeRequest(images=[grey(5, 6)]), PICTURES, ["6 x 5 pixels", "4 x 4 expected", "resize"]),
        (FlowEncodeRequest(images=[Image(b"\x89PNG broken")]), PICTURES, ["not a readable image"]),
        (FlowEncodeRequest(images=[Image(grey().data[:45])]), PICTURES, ["not a readable image"]),
        (FlowEncodeRequest(rows=[[0.0] * 9], seeds=[1, 2]), TABLE, ["2 seeds given for 1 items"]),
    ],
)
def test_a_refusal_states_both_numbers_and_the_way_out(request_, model, words: list[str]) -> None:
    message = refusal(request_, model).message
    assert all(word in message for word in words), message


def test_bad_items_are_named_by_index_and_refused_together() -> None:
    rows = [[0.0] * 9 for _ in range(40)]
    for index in range(3, 40, 2):
        rows[index] = [0.0] * 8
    error = refusal(FlowLogLikelihoodRequest(rows=rows), pipeline=LOG_LIKELIHOOD)
    assert [invalid.place for invalid in error.invalid] == [f"rows.{index}" for index in range(3, 23, 2)]
    assert "19 of 40" in error.message


def test_bad_items_are_skipped_where_the_client_asks() -> None:
    prepared = ENCODE.prepare(FlowEncodeRequest(rows=[[0.0] * 9, [0.0]], on_error="skip"), TABLE)
    assert (prepared.count, prepared.block.rows.tolist(), list(prepared.refusals)) == (2, [0], [1])
    assert "1 numbers given, 9 expected" in prepared.refusals[1]


@pytest.mark.parametrize(("seeds", "kept"), [({"seed": 10}, [10, 10]), ({"seeds": [10, 11, 12, 13]}, [11, 13])])
def test_the_items_that_remain_keep_their_places_and_seeds(seeds: dict, kept: list[int]) -> None:
    rows = [[0.0], [1.0] * 9, [0.0] * 8, [2.0] * 9]
    block = ENCODE.prepare(FlowEncodeRequest(rows=rows, on_error="skip", **seeds), TABLE).block
    assert (block.rows.tolist(), block.seeds.tolist()) == ([1, 3], kept)
    assert block.columns["x"][:, 0].tolist() == [1.0, 2.0]


def test_latents_may_have_any_size_but_one_length() -> None:
    block = DECODE.prepare(FlowDecodeRequest(latents=[[7.0] * 16]), PICTURES).block
    assert block.columns["z"].shape == (1, 1, 4, 4)
    error = refusal(FlowDecodeRequest(latents=[[0.0] * 16, [0.0] * 9]), PICTURES, DECODE)
    assert error.invalid[0].place == "latents.1"
    assert "9 numbers given, 16 expected" in error.message


@pytest.mark.parametrize(
    ("pipeline", "request_"),
    [
        (LOG_LIKELIHOOD, FlowLogLikelihoodRequest(rows=[[0.0] * 9])),
        (ENCODE, FlowEncodeRequest(rows=[[0.0] * 9])),
        (DECODE, FlowDecodeRequest(latents=[[0.0] * 9])),
        (SAMPLE, FlowSampleRequest()),
        (INTERPOLATE, FlowInterpolateRequest(rows=[[0.0] * 9] * 2)),
    ],
)
def test_a_model_of_another_family_is_refused(pipeline, request_) -> None:
    message = refusal(request_, tiny.diffusion_model(), pipeline).message
    assert "diffusion" in message
    assert "family flow" in message


@pytest.mark.parametrize(
    ("request_", "model", "words", "place"),
    [
        (FlowInterpolateRequest(rows=[[0.0] * 9]), TABLE, "1 rows given, 2 expected: send both ends", "rows"),
        (FlowInterpolateRequest(images=[grey()] * 3), PICTURES, "3 images given, 2 expected", "images"),
        (FlowInterpolateRequest(rows=[[0.0] * 9, [0.0]]), TABLE, "rows.1: 1 numbers given, 9 expected", "rows.1"),
    ],
)
def test_a_way_has_two_ends_that_fit(request_, model, words: str, place: str) -> None:
    error = refusal(request_, model, INTERPOLATE)
    assert words in error.message
    assert error.invalid[0].place == place


def test_samples_have_the_seeds_and_the_count_of_the_request() -> None:
    assert SAMPLE.prepare(FlowSampleRequest(n=3, seed=10), TABLE).block.seeds.tolist() == [10, 11, 12]
    assert SAMPLE.prepare(FlowSampleRequest(seeds=[4, 4]), TABLE).block.seeds.tolist() == [4, 4]


def test_frames_have_the_first_seed_and_share_their_ends() -> None:
    request = FlowInterpolateRequest(rows=[[0.0] * 9, [1.0] * 9], frames=3, seeds=[7, 2])
    block = INTERPOLATE.prepare(request, TABLE).block
    assert block.seeds.tolist() == [7, 7, 7]
    assert block.parameters.seeds == (7, 2)
    assert block.columns["position"].tolist() == [0, 0.5, 1]
    assert block.shared["ends"].shape == (2, 9)


def test_every_operation_of_the_contract_has_one_pipeline() -> None:
    modules = [importlib.import_module(f"fivefold.{family.name}") for family in FAMILIES]
    contract = [operation for module in modules for operation in module.OPERATIONS]
    assert [pipeline.operation for family in FAMILIES for pipeline in family.pipelines] == contract
    assert all(pipeline.operation.family == family.name for family in FAMILIES for pipeline in family.pipelines)


@pytest.mark.parametrize("family", ["flow", "diffusion", "vae", "gan"])
def test_the_example_of_every_operation_can_be_prepared(family: str, tmp_path: Path) -> None:
    fashion = tiny.diffusion_model((1, 28, 28)).manifest.params.model_copy(update={"classes": ("ankle-boot",)})
    models = {
        "flow": lambda: TABLE,
        "diffusion": lambda: tiny.model_of(fashion),
        "vae": lambda: gaussian_vae.model(tmp_path, (9,), latent_size=8),
        "gan": lambda: linear_gan.model(tmp_path, side=28),
    }
    model = models[family]()
    for pipeline in next(each for each in FAMILIES if each.name == family).pipelines:
        request = pipeline.operation.request.model_validate(pipeline.operation.example)
        prepared = pipeline.prepare(request, model)
        assert len(prepared.block) == prepared.count
        assert type(prepared.block.parameters) is pipeline.kind
