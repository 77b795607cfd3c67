"""The flow's sessions: densities add up, the inverse returns, and no row knows its neighbours."""

import math

import numpy as np
import pytest
import rendering
import tiny

from fivefold.flow import (
    FlowDecodeRequest,
    FlowEncodeRequest,
    FlowInterpolateRequest,
    FlowLogLikelihoodRequest,
    FlowSampleRequest,
)
from fivefold.operation import SeededRequest
from model_store.store import Model
from service import rng
from service.families.flow import FAMILY
from service.families.flow.parameters import FlowInterpolation, FlowInversion
from service.families.flow.session import LATENT_STREAM, NOISE_STREAM
from service.families.interpolation import PATHS
from service.families.pipeline import Fields, Pipeline
from service.families.session import Session
from service.settings import Settings

LOG_LIKELIHOOD, ENCODE, DECODE, SAMPLE, INTERPOLATE = FAMILY.pipelines
ROWS = [[1.0, 2.0, 3.0], [4.0, 0.0, -6.0]]


def answers(pipeline: Pipeline, request: SeededRequest, model: Model | None = None) -> list[Fields]:
    model = model or tiny.table_model()
    return rendering.answers(FAMILY, pipeline, request, model, tiny.flow_graphs())


def dequantisation_noise(seed: int, columns: int) -> np.ndarray:
    return rng.uniform_float32(np.array([seed]), NOISE_STREAM, 0, (columns,))[0]


def test_the_parts_of_a_log_likelihood_add_up() -> None:
    for item in answers(LOG_LIKELIHOOD, FlowLogLikelihoodRequest(rows=ROWS, include_terms=True)):
        parts = item["base_log_prob_nats"] + sum(item["log_dets_nats"].values())
        assert item["log_prob_nats"] == pytest.approx(parts, abs=1e-5)
        assert item["log_prob_nats"] == pytest.approx(float(np.sum(item["terms_nats"])), abs=1e-5)
        assert item["bits_per_dim"] == pytest.approx(-item["log_prob_nats"] / (3 * math.log(2)))
        assert item["round_trip_error"] < 1e-5


def test_the_log_likelihood_is_that_of_the_dequantised_row() -> None:
    item = answers(LOG_LIKELIHOOD, FlowLogLikelihoodRequest(rows=ROWS[:1], seed=5))[0]
    z = (np.array(ROWS[0]) + dequantisation_noise(5, 3) - tiny.SHIFT) / tiny.SCALE
    exact = np.sum(-0.5 * z**2 - 0.5 * math.log(2 * math.pi) - math.log(tiny.SCALE))
    assert item["log_prob_nats"] == pytest.approx(exact, abs=1e-5)


def test_decoding_an_encoding_returns_the_row() -> None:
    latents = [item["latents"].tolist() for item in answers(ENCODE, FlowEncodeRequest(rows=ROWS, seed=3))]
    decoded = answers(DECODE, FlowDecodeRequest(latents=latents))
    assert [item["row"].tolist() for item in decoded] == ROWS


def test_decoding_the_latents_of_a_seed_is_sampling_from_it() -> None:
    latents = (0.5 * rng.normal(np.array([8, 9]), LATENT_STREAM, 0, (3,))).tolist()
    sampled = answers(SAMPLE, FlowSampleRequest(n=2, seed=8, temperature=0.5))
    decoded = answers(DECODE, FlowDecodeRequest(latents=latents))
    assert [item["row"].tolist() for item in sampled] == [item["row"].tolist() for item in decoded]


def test_at_temperature_zero_every_sample_is_the_mode() -> None:
    rows = [item["row"].tolist() for item in answers(SAMPLE, FlowSampleRequest(n=3, seed=1, temperature=0))]
    assert rows == [[tiny.SHIFT] * 3] * 3


def test_an_item_asked_for_alone_is_the_same_item() -> None:
    together = answers(SAMPLE, FlowSampleRequest(n=7, seed=20))
    alone = answers(SAMPLE, FlowSampleRequest(n=1, seed=24))
    np.testing.assert_array_equal(together[4]["row"], alone[0]["row"])


def test_dequantisation_noise_never_reaches_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rng, "uniform", lambda *_: np.full((1, 4), 1 - 2.0**-53))  # once in 2^52 draws
    assert (dequantisation_noise(0, 4) < 1).all()


def test_scoring_draws_other_noise_than_sampling() -> None:
    uniform = dequantisation_noise(6, 1000)
    normal = rng.normal(np.array([6]), LATENT_STREAM, 0, (1000,))[0]
    assert abs(np.corrcoef(uniform, normal)[0, 1]) < 0.1


def test_images_are_answered_as_images() -> None:
    request = FlowSampleRequest(n=1, seed=1)
    assert answers(SAMPLE, request, tiny.image_flow_model())[0]["image"].shape == (1, 4, 4)


def test_terms_are_answered_only_where_they_are_asked_for() -> None:
    assert "terms_nats" not in answers(LOG_LIKELIHOOD, FlowLogLikelihoodRequest(rows=ROWS))[0]


@pytest.mark.parametrize("path", ["slerp", "lerp"])
def test_a_way_begins_and_ends_with_its_ends(path: str) -> None:
    frames = answers(INTERPOLATE, FlowInterpolateRequest(rows=ROWS, frames=4, path=path, seed=2))
    assert [frame["row"].tolist() for frame in (frames[0], frames[-1])] == ROWS
    assert [frame["position"] for frame in frames] == [0, 1 / 3, 2 / 3, 1]


def test_the_frames_are_decoded_from_the_way_between_the_encoded_ends() -> None:
    start, end = (item["latents"] for item in answers(ENCODE, FlowEncodeRequest(rows=ROWS, seeds=[2, 3])))
    for path, between in PATHS.items():
        frames = answers(INTERPOLATE, FlowInterpolateRequest(rows=ROWS, frames=3, path=path, seed=2))
        decoded = answers(DECODE, FlowDecodeRequest(latents=between(start, end, np.array([0.5])).tolist()))
        assert frames[1]["row"].tolist() == decoded[0]["row"].tolist()


def test_ways_of_other_rows_share_the_batch() -> None:
    graphs = tiny.flow_graphs()
    requests = [FlowInterpolateRequest(rows=ROWS, frames=3, path=path, seed=2) for path in ("slerp", "lerp")]
    blocks = [INTERPOLATE.prepare(request, tiny.table_model()).block for request in requests]
    together = tiny.run(interpolation(graphs), *blocks)
    assert (graphs["forward"].batches, graphs["inverse"].batches) == ([4], [6])  # each block's two ends, every frame
    rows = [block[place : place + 1] for block in blocks for place in range(3)]
    for row, events in zip(rows, together, strict=True):
        alone = tiny.run(interpolation(tiny.flow_graphs()), row)[0]
        np.testing.assert_array_equal(alone[-1].arrays["x"], events[-1].arrays["x"])


def interpolation(graphs: dict[str, tiny.NumpyGraph]) -> Session:
    return FAMILY.open_sessions(tiny.table_model(), graphs, Settings())[FlowInterpolation]


def test_blocks_that_bring_latents_and_blocks_that_draw_them_share_the_batch() -> None:
    graphs, model = tiny.flow_graphs(), tiny.table_model()
    given = DECODE.prepare(FlowDecodeRequest(latents=ROWS), model).block
    drawn = [SAMPLE.prepare(FlowSampleRequest(n=2, seed=8, temperature=t), model).block for t in (0.5, 1.0)]
    blocks = [drawn[0], given, drawn[1]]
    together = tiny.run(FAMILY.open_sessions(model, graphs, Settings())[FlowInversion], *blocks)
    assert graphs["inverse"].batches == [6]
    alone = [
        events
        for block in blocks
        for events in tiny.run(FAMILY.open_sessions(model, tiny.flow_graphs(), Settings())[FlowInversion], block)
    ]
    for one, other in zip(together, alone, strict=True):
        np.testing.assert_array_equal(one[-1].arrays["x"], other[-1].arrays["x"])
