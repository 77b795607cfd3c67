"""The autoencoder's sessions: bounds in their order, conformal p-values, and no row knows its neighbours."""

import math
from pathlib import Path

import gaussian_vae
import numpy as np
import pytest
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
from service.families.vae import FAMILY
from service.families.vae.conformal import Conformal
from service.families.vae.elbo import importance_weighted
from service.jobs import Row

ANOMALY, ELBO, ENCODE, DECODE, RECONSTRUCT, SAMPLE = FAMILY.pipelines
COLUMNS = 3


@pytest.fixture
def model(tmp_path: Path) -> Model:
    return gaussian_vae.model(tmp_path, (COLUMNS,))


def answers(
    pipeline: Pipeline, request: SeededRequest, model: Model, posterior: tuple[float, float] = gaussian_vae.LOOSE
) -> list[Fields]:
    graphs = gaussian_vae.graphs(model.manifest.params.event_shape, posterior)
    session = FAMILY.open_sessions(model, graphs)[pipeline.session_kind]
    done = [events[-1] for events in tiny.run(session, pipeline.prepare(request, model))]
    return pipeline.render(request, done, model)


def field(items: list[Fields], name: str) -> np.ndarray:
    return np.array([item[name] for item in items])


def test_the_bounds_rise_with_the_draws_and_stay_below_the_evidence(model: Model) -> None:
    rows = gaussian_vae.data(300, COLUMNS, seed=3)
    bounds = {k: answers(ELBO, VaeElboRequest(rows=rows.tolist(), samples=k), model) for k in (1, 4, 16, 64)}
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
    items = answers(ELBO, VaeElboRequest(rows=row * 200, samples=128), model)
    spread = field(items, "iwae_nats").std(ddof=1)
    assert field(items, "iwae_standard_error_nats").mean() == pytest.approx(spread, rel=0.2)


def test_the_parts_of_the_bound_add_up(model: Model) -> None:
    for item in answers(ELBO, VaeElboRequest(rows=gaussian_vae.data(4, COLUMNS, 6).tolist(), samples=5), model):
        assert item["elbo_nats"] == item["log_likelihood_nats"] - item["kl_nats"]
        assert item["bits_per_dim"] == pytest.approx(-item["elbo_nats"] / (COLUMNS * math.log(2)))


def test_the_weights_are_added_where_no_float32_could_hold_them() -> None:
    fields = importance_weighted(np.array([-2000.0, -2000.0, -2000.0, -9000.0], np.float32))
    assert fields["iwae_nats"] == pytest.approx(-2000 + math.log(3 / 4))
    assert fields["effective_sample_size"] == pytest.approx(3)
    assert fields["iwae_standard_error_nats"] == pytest.approx(math.sqrt((4 / 3 - 1) / 3))


def test_one_draw_has_no_standard_error(model: Model) -> None:
    item = answers(ELBO, VaeElboRequest(rows=[[1.0, 2.0, 3.0]]), model)[0]
    assert item["effective_sample_size"] == 1
    assert "iwae_standard_error_nats" not in item


def test_a_row_of_many_draws_neither_stalls_its_neighbour_nor_changes_it(model: Model) -> None:
    def bound_row(seed: int, samples: int) -> Row:
        return Row(0, seed, {"x": np.ones(COLUMNS, np.float32)}, {"samples": samples, "terms": False})

    graph = gaussian_vae.graphs((COLUMNS,))
    session = FAMILY.open_sessions(model, graph)["bound"]
    session.admit([(("long", 0), bound_row(1, 512)), (("short", 0), bound_row(2, 1))])
    (short,) = session.step(session.ready())
    assert short.row_id == ("short", 0)
    alone = tiny.run(session, [bound_row(2, 1)])[0][0]
    assert short.arrays["log_weight"] == alone.arrays["log_weight"]
    assert session.ready() == []  # the long one has run beside it, to its end
    assert graph["elbo"].batches == [2, *[2], *[1] * 510]


def test_a_step_that_fails_leaves_every_row_where_it_was(model: Model) -> None:
    graphs = gaussian_vae.graphs((COLUMNS,))
    session = FAMILY.open_sessions(model, graphs)["bound"]
    row = Row(0, 1, {"x": np.ones(COLUMNS, np.float32)}, {"samples": 2, "terms": False})
    undisturbed = tiny.run(session, [row])[0][-1].arrays["log_weight"]
    working, graphs["elbo"].function = graphs["elbo"].function, lambda **_: 1 / 0
    session.admit([(("job", 0), row)])
    with pytest.raises(ZeroDivisionError):
        session.step([("job", 0)])
    graphs["elbo"].function = working
    assert session.step([("job", 0)]) == []
    np.testing.assert_array_equal(session.step([("job", 0)])[0].arrays["log_weight"], undisturbed)


@pytest.mark.parametrize("score", ["elbo", "reconstruction", "kl"])
def test_p_values_of_normal_rows_are_uniform(score: str, model: Model) -> None:
    rows = gaussian_vae.data(600, COLUMNS, seed=7).tolist()
    request = VaeAnomalyRequest(rows=rows, score=score, alpha=0.1)
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
        for score in np.arange(-1, 13, 0.5):
            assert (conformal.p_value(score) <= alpha) == (score > conformal.threshold(alpha)), (alpha, score)


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
    latents = [(0.5 * rng.normal(seed, 1, 0, (COLUMNS,))).tolist() for seed in (8, 9)]
    for output in ("mean", "draw"):
        sampled = answers(SAMPLE, VaeSampleRequest(n=2, seed=8, temperature=0.5, output=output), model)
        decoded = answers(DECODE, VaeDecodeRequest(latents=latents, seed=8, output=output), model)
        np.testing.assert_array_equal(field(sampled, "row"), field(decoded, "row"))


def test_drawn_samples_are_distributed_as_the_model(model: Model) -> None:
    rows = field(answers(SAMPLE, VaeSampleRequest(n=1500, seed=0, output="draw"), model), "row")
    assert rows.std() == pytest.approx(gaussian_vae.SPREAD, rel=0.05)
    means = field(answers(SAMPLE, VaeSampleRequest(n=3, seed=0, temperature=0), model), "row")
    assert not means.any()
