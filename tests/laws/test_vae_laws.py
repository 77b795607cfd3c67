"""The autoencoder's sessions: bounds in their order, conformal p-values, and no row knows its neighbours."""

import math
from pathlib import Path

import gaussian_vae
import numpy as np
import pytest
import rendering
import tiny
from scipy.stats import kstest

from fivefold.operation import SeededRequest
from fivefold.vae import (
    VaeAnomalyRequest,
    VaeDecodeRequest,
    VaeElboRequest,
    VaeEncodeRequest,
    VaeReconstructRequest,
    VaeSampleRequest,
)
from model_store.store import Model
from service import rng
from service.families.pipeline import Fields, Pipeline
from service.families.session import Session
from service.families.vae import FAMILY
from service.families.vae.conformal import Conformal
from service.families.vae.elbo import importance_weighted
from service.families.vae.parameters import VaeBound
from service.families.vae.session import PRIOR_STREAM
from service.jobs import Block, Range
from service.settings import Settings

ANOMALY, ELBO, ENCODE, DECODE, RECONSTRUCT, SAMPLE = FAMILY.pipelines
COLUMNS = 3
SEEDS = list(range(600))  # rows of one seed share their noise


@pytest.fixture
def model(tmp_path: Path) -> Model:
    return gaussian_vae.model(tmp_path, (COLUMNS,))


def answers(
    pipeline: Pipeline, request: SeededRequest, model: Model, posterior: tuple[float, float] = gaussian_vae.LOOSE
) -> list[Fields]:
    graphs = gaussian_vae.graphs(model.manifest.params.event_shape, posterior)
    return rendering.answers(FAMILY, pipeline, request, model, graphs)


def bound(graphs: dict[str, tiny.NumpyGraph], model: Model) -> Session:
    return FAMILY.open_sessions(model, graphs, Settings())[VaeBound]


def bound_block(seeds: list[int], samples: int, *, terms: bool = False) -> Block:
    rows, work = np.arange(len(seeds)), np.full(len(seeds), float(samples))
    columns = {"x": np.arange(len(seeds) * COLUMNS, dtype=np.float32).reshape(-1, COLUMNS) / 4}
    return Block(VaeBound(samples, terms), rows, np.array(seeds), work, columns)


def field(items: list[Fields], name: str) -> np.ndarray:
    return np.array([item[name] for item in items])


def test_the_bounds_rise_with_the_draws_and_stay_below_the_evidence(model: Model) -> None:
    rows = gaussian_vae.data(300, COLUMNS, seed=3)
    bounds = {
        k: answers(ELBO, VaeElboRequest(rows=rows.tolist(), seeds=SEEDS[:300], samples=k), model)
        for k in (1, 4, 16, 64)
    }
    means = [field(bounds[1], "elbo_nats").mean(), *(field(bounds[k], "iwae_nats").mean() for k in (4, 16, 64))]
    assert means == sorted(means)
    evidence = gaussian_vae.log_evidence(rows).mean()
    assert means[0] < evidence - 0.2
    assert means[-1] == pytest.approx(evidence, abs=0.03)


def test_with_the_true_posterior_every_draw_weighs_the_evidence(model: Model) -> None:
    rows = gaussian_vae.data(5, COLUMNS, seed=4)
    items = answers(ELBO, VaeElboRequest(rows=rows.tolist(), samples=8), model, gaussian_vae.EXACT)
    np.testing.assert_allclose(field(items, "iwae_nats"), gaussian_vae.log_evidence(rows), atol=1e-5)
    np.testing.assert_allclose(field(items, "effective_sample_size"), 8, rtol=1e-5)
    assert field(items, "iwae_standard_error_nats").max() < 1e-3


def test_the_standard_error_is_the_spread_of_the_bound(model: Model) -> None:
    row = gaussian_vae.data(1, COLUMNS, seed=5).tolist()
    items = answers(ELBO, VaeElboRequest(rows=row * 200, seeds=SEEDS[:200], samples=128), model)
    spread = field(items, "iwae_nats").std(ddof=1)
    assert field(items, "iwae_standard_error_nats").mean() == pytest.approx(spread, rel=0.2)


def test_the_parts_of_the_bound_add_up(model: Model) -> None:
    for item in answers(ELBO, VaeElboRequest(rows=gaussian_vae.data(4, COLUMNS, 6).tolist(), samples=5), model):
        assert item["elbo_nats"] == item["log_likelihood_nats"] - item["kl_nats"]
        assert item["bits_per_dim"] == pytest.approx(-item["elbo_nats"] / (COLUMNS * math.log(2)))


def test_the_weights_are_added_where_no_float32_could_hold_them() -> None:
    fields = importance_weighted(np.array([[-2000.0, -2000.0, -2000.0, -9000.0]], np.float32))
    assert fields["iwae_nats"] == pytest.approx(-2000 + math.log(3 / 4))
    assert fields["effective_sample_size"] == pytest.approx(3)
    assert fields["iwae_standard_error_nats"] == pytest.approx(math.sqrt((4 / 3 - 1) / 3))


def test_one_draw_has_no_standard_error(model: Model) -> None:
    item = answers(ELBO, VaeElboRequest(rows=[[1.0, 2.0, 3.0]]), model)[0]
    assert item["effective_sample_size"] == 1
    assert "iwae_standard_error_nats" not in item


def test_a_row_of_many_draws_neither_stalls_its_neighbour_nor_changes_it(model: Model) -> None:
    graphs = gaussian_vae.graphs((COLUMNS,))
    session = bound(graphs, model)
    long, short = Range("long", 0, 1), Range("short", 0, 1)
    session.admit(long, bound_block([1], 512))
    session.admit(short, bound_block([2], 1))
    (end,) = session.step([long, short])
    assert (end.job_id, end.rows.tolist(), end.steps.tolist()) == ("short", [0], [1])
    alone = tiny.run(session, bound_block([2], 1))[0][0]
    assert end.columns["log_weight"][0] == alone.arrays["log_weight"]
    ended = [event for _ in range(511) for event in session.step([long])]
    assert [(event.job_id, event.steps.tolist()) for event in ended] == [("long", [512])]
    assert graphs["elbo"].batches == [2, 1, *[1] * 511]


@pytest.mark.parametrize("terms", [False, True])
@pytest.mark.parametrize("samples", [1, 2, 5])
def test_a_block_that_is_stepped_in_parts_has_the_bits_of_one_stepped_as_a_whole(
    samples: int, model: Model, *, terms: bool
) -> None:
    block = bound_block([5, 3, 8, 1], samples, terms=terms)
    whole = rendering.run_to_end(bound(gaussian_vae.graphs((COLUMNS,)), model), block)
    session = bound(gaussian_vae.graphs((COLUMNS,)), model)
    session.admit(Range("job", 0, 4), block)
    ended = [event for _ in range(samples) for event in session.step([Range("job", 1, 3)])]
    ended += [event for _ in range(samples) for event in session.step([Range("job", 0, 1), Range("job", 3, 4)])]
    for event in ended:
        assert set(event.columns) == set(whole.columns)
        for name, column in event.columns.items():
            assert column.tobytes() == whole.columns[name][event.rows].tobytes(), name
    assert sorted(row for event in ended for row in event.rows.tolist()) == [0, 1, 2, 3]


def test_a_step_that_fails_leaves_every_row_where_it_was(model: Model) -> None:
    graphs = gaussian_vae.graphs((COLUMNS,))
    session, block, rows = bound(graphs, model), bound_block([1, 7], 2), Range("job", 0, 2)
    undisturbed = rendering.run_to_end(session, block).columns["log_weight"]
    working, graphs["elbo"].function = graphs["elbo"].function, lambda **_: 1 / 0
    session.admit(rows, block)
    with pytest.raises(ZeroDivisionError):
        session.step([rows])
    graphs["elbo"].function = working
    assert session.step([rows]) == []
    (end,) = session.step([rows])
    np.testing.assert_array_equal(end.columns["log_weight"], undisturbed)


@pytest.mark.parametrize("score", ["elbo", "reconstruction", "kl"])
def test_p_values_of_normal_rows_are_uniform(score: str, model: Model) -> None:
    rows = gaussian_vae.data(600, COLUMNS, seed=7).tolist()
    request = VaeAnomalyRequest(rows=rows, seeds=SEEDS, score=score, alpha=0.1)
    items = answers(ANOMALY, request, model)
    p_values = field(items, "p_value")
    assert 0 < p_values.min() <= p_values.max() <= 1
    assert kstest(p_values, "uniform").pvalue > 0.01
    assert field(items, "anomalous").mean() == pytest.approx(0.1, abs=0.05)


def test_strange_rows_have_small_p_values(model: Model) -> None:
    item = answers(ANOMALY, VaeAnomalyRequest(rows=[[30.0, -30.0, 30.0]], alpha=0.001), model)[0]
    assert item["p_value"] == 1 / 1000
    assert item["anomalous"]


def test_beyond_the_threshold_is_what_has_a_p_value_of_at_most_alpha() -> None:
    held_out = np.sort(np.random.default_rng(0).integers(0, 12, 29).astype(float))  # with ties
    conformal = Conformal(held_out)
    for alpha in (1 / 30, 0.05, 0.1, 0.5, 0.7, 29 / 30, 0.99):
        scores = np.arange(-1, 13, 0.5)
        np.testing.assert_array_equal(conformal.p_values(scores) <= alpha, scores > conformal.threshold(alpha))


def test_the_scores_are_those_of_the_bound_and_the_terms_sum_to_the_reconstruction(model: Model) -> None:
    rows = gaussian_vae.data(3, COLUMNS, 8).tolist()
    bound = answers(ELBO, VaeElboRequest(rows=rows, seed=5), model)
    for score, name in (("elbo", "elbo_nats"), ("reconstruction", "log_likelihood_nats"), ("kl", "kl_nats")):
        items = answers(ANOMALY, VaeAnomalyRequest(rows=rows, seed=5, score=score, include_terms=True), model)
        sign = 1 if score == "kl" else -1
        np.testing.assert_array_equal(field(items, "score_nats"), sign * field(bound, name))
        sums = [float(item["terms_nats"].sum()) for item in items]
        np.testing.assert_allclose(sums, -field(bound, "log_likelihood_nats"), rtol=1e-5)


def test_reconstructing_is_decoding_the_mean_of_the_encoding(model: Model) -> None:
    rows = gaussian_vae.data(3, COLUMNS, 9).tolist()
    encoded = answers(ENCODE, VaeEncodeRequest(rows=rows), model)
    decoded = answers(DECODE, VaeDecodeRequest(latents=field(encoded, "mean").tolist()), model)
    rebuilt = answers(RECONSTRUCT, VaeReconstructRequest(rows=rows), model)
    np.testing.assert_array_equal(field(decoded, "row"), field(rebuilt, "row"))
    errors = np.abs(field(rebuilt, "row") - np.array(rows)).mean(1)
    np.testing.assert_allclose(field(rebuilt, "mean_absolute_error"), errors, rtol=1e-5)


def test_drawn_reconstructions_have_the_spread_of_posterior_and_likelihood(model: Model) -> None:
    request = VaeReconstructRequest(rows=[[0.0] * COLUMNS] * 2000, output="draw")
    spread = field(answers(RECONSTRUCT, request, model), "row").std()
    assert spread == pytest.approx(math.hypot(gaussian_vae.LOOSE[1], gaussian_vae.NOISE), rel=0.05)


def test_decoding_the_latents_of_a_seed_is_sampling_from_it(model: Model) -> None:
    latents = (0.5 * rng.normal(np.array([8, 9]), PRIOR_STREAM, 0, (COLUMNS,))).tolist()
    for output in ("mean", "draw"):
        sampled = answers(SAMPLE, VaeSampleRequest(n=2, seed=8, temperature=0.5, output=output), model)
        decoded = answers(DECODE, VaeDecodeRequest(latents=latents, seed=8, output=output), model)
        np.testing.assert_array_equal(field(sampled, "row"), field(decoded, "row"))


def test_drawn_samples_are_distributed_as_the_model(model: Model) -> None:
    rows = field(answers(SAMPLE, VaeSampleRequest(n=1500, seed=0, output="draw"), model), "row")
    assert rows.std() == pytest.approx(gaussian_vae.SPREAD, rel=0.05)
    means = field(answers(SAMPLE, VaeSampleRequest(n=3, seed=0, temperature=0), model), "row")
    assert not means.any()
