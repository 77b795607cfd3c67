"""The shipped autoencoders through their sessions: what they are for, on real data."""

import numpy as np
import pytest
from scipy.stats import kstest
from shipped import DATA, answers, shuttle_rows
from sklearn.metrics import roc_auc_score

from fivefold.vae import VaeAnomalyRequest, VaeElboRequest, VaeReconstructRequest

OUTLIER = np.load(DATA / "shuttle_500.npz")["outlier"]


@pytest.mark.parametrize("score", ["elbo", "reconstruction", "kl"])
def test_p_values_of_normal_rows_are_uniform_and_those_of_outliers_small(score: str) -> None:
    items = answers("vae-shuttle", "anomaly", VaeAnomalyRequest(rows=shuttle_rows(500), score=score, seed=1))
    p_values = np.array([item["p_value"] for item in items])
    assert kstest(p_values[~OUTLIER], "uniform").pvalue > 0.01
    assert roc_auc_score(OUTLIER, -p_values) > 0.9
    assert 0 < p_values.min() <= p_values.max() <= 1


def test_false_alarms_are_as_rare_as_alpha_says_and_outliers_are_found() -> None:
    items = answers("vae-shuttle", "anomaly", VaeAnomalyRequest(rows=shuttle_rows(500), alpha=0.02))
    anomalous = np.array([item["anomalous"] for item in items])
    assert anomalous[~OUTLIER].mean() < 0.05
    assert anomalous[OUTLIER].mean() > 0.9


def test_the_bound_of_a_shipped_model_rises_with_the_draws() -> None:
    rows = np.array(shuttle_rows(300))[~OUTLIER[:300]].tolist()
    bounds = {k: answers("vae-shuttle", "elbo", VaeElboRequest(rows=rows, samples=k)) for k in (1, 8, 64)}
    means = [np.mean([item["elbo_nats"] for item in bounds[1]])]
    means += [np.mean([item["iwae_nats"] for item in bounds[k]]) for k in (8, 64)]
    assert means == sorted(means)


def test_normal_rows_return_from_their_latents_better_than_outliers() -> None:
    items = answers("vae-shuttle", "reconstruct", VaeReconstructRequest(rows=shuttle_rows(500)))
    errors = np.array([item["mean_absolute_error"] for item in items])
    assert np.median(errors[~OUTLIER]) < 1.5
    assert np.median(errors[OUTLIER]) > 2 * np.median(errors[~OUTLIER])
