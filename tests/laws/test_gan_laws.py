"""The two players' sessions: truncation, the ways between two ends, and what a critic's logit is worth."""

import math
from pathlib import Path

import linear_gan
import numpy as np
import pytest
import rendering
import tiny
from scipy.stats import kstest

from fivefold.errors import InvalidInput
from fivefold.gan import GanInterpolateRequest, GanSampleRequest, GanScoreRequest
from fivefold.operation import SeededRequest
from model_store.store import Model
from service.families.gan import FAMILY
from service.families.gan.parameters import GanGeneration
from service.families.gan.score import percentiles
from service.families.interpolation import great_circle
from service.families.pipeline import Fields, Pipeline
from service.families.session import Session
from service.settings import Settings

SAMPLE, INTERPOLATE, SCORE = FAMILY.pipelines
ENDS = np.random.default_rng(0).normal(size=(2, 64)).astype(np.float32)


@pytest.fixture
def model(tmp_path: Path) -> Model:
    return linear_gan.model(tmp_path)


def answers(pipeline: Pipeline, request: SeededRequest, model: Model) -> list[Fields]:
    return rendering.answers(FAMILY, pipeline, request, model, linear_gan.graphs())


def on_great_circle(start: np.ndarray, end: np.ndarray, position: float) -> np.ndarray:
    return great_circle(start, end, np.array([position]))[0]


def norm(latents: np.ndarray) -> float:
    return float(np.linalg.norm(latents.astype(float)))


@pytest.mark.parametrize("position", [0.1, 0.5, 0.75])
def test_the_great_circle_keeps_the_norm_and_turns_evenly(position: float) -> None:
    start, end = (ends / norm(ends) * 8 for ends in ENDS)
    point = on_great_circle(start, end, position)
    assert norm(point) == pytest.approx(8, rel=1e-6)
    angles = [math.acos(float(np.dot(a.astype(float), b)) / 64) for a, b in ((start, point), (start, end))]
    assert angles[0] == pytest.approx(position * angles[1], rel=1e-5)


def test_the_norm_goes_straight_where_the_ends_have_different_ones() -> None:
    start, end = ENDS[0], 3 * ENDS[1]
    assert norm(on_great_circle(start, end, 0.25)) == pytest.approx(0.75 * norm(start) + 0.25 * norm(end), rel=1e-6)


@pytest.mark.parametrize("pair", [ENDS, ENDS[::-1], ENDS * np.float32(1e-3), np.stack([ENDS[0], 2 * ENDS[0]])])
def test_the_great_circle_ends_at_its_ends_to_the_last_bit(pair: np.ndarray) -> None:
    for position, end in ((0.0, pair[0]), (1.0, pair[1])):
        np.testing.assert_array_equal(on_great_circle(pair[0], pair[1], position), end)


def test_there_is_no_shortest_way_to_the_opposite_nor_a_direction_of_zero() -> None:
    with pytest.raises(InvalidInput, match=r"180 degrees apart given, fewer than 180 needed: choose other ends"):
        on_great_circle(ENDS[0], -ENDS[0], 0.5)
    with pytest.raises(InvalidInput, match="more than 0 needed"):
        on_great_circle(ENDS[0], np.zeros_like(ENDS[0]), 0.5)


def test_at_truncation_zero_every_image_is_the_mean_of_its_class(model: Model) -> None:
    items = answers(SAMPLE, GanSampleRequest(n=5, seed=1, class_name="coat", truncation=0), model)
    for item in items:
        np.testing.assert_array_equal(item["image"].reshape(-1), np.float32(0.5) + linear_gan.MEANS[1] / 100)
    spreads = [
        np.std([item["image"] for item in answers(SAMPLE, GanSampleRequest(n=50, seed=1, truncation=t), model)])
        for t in (0.25, 0.5, 1.0)
    ]
    assert spreads == sorted(spreads)


@pytest.mark.parametrize("space", ["z", "w"])
def test_a_way_begins_and_ends_with_the_samples_of_its_seeds(space: str, model: Model) -> None:
    request = GanInterpolateRequest(seeds=[3, 8], class_name="bag", frames=5, space=space, truncation=0.7)
    frames = answers(INTERPOLATE, request, model)
    ends = answers(SAMPLE, GanSampleRequest(seeds=[3, 8], class_name="bag", truncation=0.7), model)
    assert [frame["position"] for frame in frames] == [0, 0.25, 0.5, 0.75, 1]
    for frame, end in ((frames[0], ends[0]), (frames[-1], ends[1])):
        assert frame["image"].tobytes() == end["image"].tobytes()


def test_between_styles_the_way_is_straight(model: Model) -> None:
    frames = answers(INTERPOLATE, GanInterpolateRequest(seed=4, frames=3, space="w"), model)
    first, middle, last = (frame["image"] for frame in frames)
    np.testing.assert_allclose(middle, (first + last) / 2, rtol=1e-6)


def test_the_latents_of_a_sample_make_it_again(model: Model) -> None:
    drawn = answers(SAMPLE, GanSampleRequest(n=3, seed=9, class_name="bag"), model)
    latents = [item["latents"].tolist() for item in drawn]
    again = answers(SAMPLE, GanSampleRequest(latents=latents, class_name="bag"), model)
    for one, other in zip(again, drawn, strict=True):
        np.testing.assert_array_equal(one["image"], other["image"])


def test_a_class_that_is_not_given_is_drawn_by_the_items_own_seed(model: Model) -> None:
    together = [item["class"] for item in answers(SAMPLE, GanSampleRequest(n=60, seed=100), model)]
    assert set(together) == set(linear_gan.CLASSES)
    assert answers(SAMPLE, GanSampleRequest(seed=142), model)[0]["class"] == together[42]


def test_the_logit_is_that_of_the_class_or_of_the_best(model: Model) -> None:
    pixels = [[0.9] * 4]
    for name, logit in (("bag", 4), ("coat", 3), ("ankle-boot", 2)):
        (item,) = answers(SCORE, GanScoreRequest(rows=pixels, class_name=name), model)
        assert item["class"] == name
        assert item["logit"] == pytest.approx(logit, abs=1e-5)
        assert item["probability"] == pytest.approx(1 / (1 + math.exp(-logit)), abs=1e-5)
    (best,) = answers(SCORE, GanScoreRequest(rows=pixels), model)
    assert (best["class"], best["logit"]) == ("bag", pytest.approx(4, abs=1e-5))


def test_percentiles_count_the_stored_logits_that_are_not_above(model: Model) -> None:
    (item,) = answers(SCORE, GanScoreRequest(rows=[[0.85] * 4], class_name="bag"), model)  # logit 3.5
    assert item["percentile_real"] == 40  # 0, 1, 2, 3 of 0 .. 9
    assert item["percentile_generated"] == 90  # -5 .. 3 of -5 .. 4
    assert percentiles(np.array([-1.0, 9.0]), linear_gan.REAL).tolist() == [0, 100]


def test_percentiles_of_held_out_logits_are_uniform() -> None:
    generator = np.random.default_rng(0)
    stored = np.sort(generator.normal(size=5000))
    shares = percentiles(generator.normal(size=1000), stored) / 100
    assert kstest(shares, "uniform").pvalue > 0.01


def test_requests_of_all_kinds_share_one_batch(model: Model) -> None:
    way = GanInterpolateRequest(seeds=[1, 2], frames=3, space="w")
    samples = SAMPLE.prepare(GanSampleRequest(n=2, seed=5), model).block
    blocks = [INTERPOLATE.prepare(way, model).block, samples]
    graphs = linear_gan.graphs()
    together = tiny.run(generator(model, graphs), *blocks)
    assert (graphs["map"].batches, graphs["synthesise"].batches) == ([8], [5])
    rows = [block[place : place + 1] for block in blocks for place in range(len(block))]
    for row, events in zip(rows, together, strict=True):
        alone = tiny.run(generator(model, linear_gan.graphs()), row)[0]
        for name, array in alone[-1].arrays.items():
            assert array.tobytes() == events[-1].arrays[name].tobytes(), name


def generator(model: Model, graphs: dict[str, tiny.NumpyGraph]) -> Session:
    return FAMILY.open_sessions(model, graphs, Settings())[GanGeneration]
