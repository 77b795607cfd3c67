"""The shipped autoencoders through their sessions: what they are for, on real data."""

import numpy as np
import pytest
from scipy.stats import kstest
from shipped import DATA, answers, fashion, shuttle_rows
from sklearn.metrics import roc_auc_score

from fivefold.vae import VaeAnomalyRequest, VaeElboRequest, VaeReconstructRequest

OUTLIER = np.load(DATA / "shuttle_500.npz")["outlier"]
SEEDS = list(range(500))  # rows of one seed share their noise, and so the error of the estimate


def pixels(first: int, count: int) -> np.ndarray:
    """[count, 28, 28] in [0, 1]."""
    return np.stack([fashion(index) for index in range(first, first + count)]) / 255


@pytest.mark.parametrize("score", ["elbo", "reconstruction", "kl"])
def test_p_values_of_normal_rows_are_uniform_and_those_of_outliers_small(score: str) -> None:
    items = answers("vae-shuttle", "anomaly", VaeAnomalyRequest(rows=shuttle_rows(500), score=score, seeds=SEEDS))
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
    bounds = {
        k: answers("vae-shuttle", "elbo", VaeElboRequest(rows=rows, seeds=SEEDS[: len(rows)], samples=k))
        for k in (1, 8, 64)
    }
    means = [np.mean([item["elbo_nats"] for item in bounds[1]])]
    means += [np.mean([item["iwae_nats"] for item in bounds[k]]) for k in (8, 64)]
    assert means == sorted(means)


def test_normal_rows_return_from_their_latents_better_than_outliers() -> None:
    items = answers("vae-shuttle", "reconstruct", VaeReconstructRequest(rows=shuttle_rows(500)))
    errors = np.array([item["mean_absolute_error"] for item in items])
    assert np.median(errors[~OUTLIER]) < 1.5
    assert np.median(errors[OUTLIER]) > 2 * np.median(errors[~OUTLIER])


def test_images_return_from_their_latents_near_what_they_were() -> None:
    pictures = pixels(0, 32)
    items = answers("vae-fashion", "reconstruct", VaeReconstructRequest(rows=pictures.reshape(32, 784).tolist()))
    errors = np.array([item["mean_absolute_error"] for item in items])
    assert errors.mean() < 0.06
    assert errors.mean() < np.abs(pictures - pictures.mean(0)).mean() / 2


def test_p_values_of_clothes_are_uniform_and_noise_is_never_so_strange_by_chance() -> None:
    noise = np.random.default_rng(0).uniform(size=(2, 28, 28))
    rows = np.concatenate([pixels(0, 200), noise]).reshape(202, 784)
    items = answers("vae-fashion", "anomaly", VaeAnomalyRequest(rows=rows.tolist(), seed=1))
    p_values = np.array([item["p_value"] for item in items])
    assert kstest(p_values[:200], "uniform").pvalue > 0.01
    assert (p_values[200:] == 1 / 5001).all()


def test_the_heat_map_shows_where_a_picture_is_strange() -> None:
    picture = pixels(0, 1)[0].copy()
    hole = np.zeros((28, 28), bool)
    hole[2:7, 2:7] = True  # the margin of a boot is black
    picture[hole] = np.random.default_rng(0).uniform(size=25)
    request = VaeAnomalyRequest(rows=[picture.reshape(784).tolist()], include_terms=True)
    (item,) = answers("vae-fashion", "anomaly", request)
    heat = item["heat_map"][0]
    assert heat[hole].mean() > 0.8
    assert heat[~hole].mean() < 0.5
    assert float(item["terms_nats"].reshape(28, 28)[hole].sum()) > 25 * np.log(256)


def test_the_bound_of_clothes_rises_with_the_draws_and_nears_the_card() -> None:
    rows = pixels(0, 24).reshape(24, 784).tolist()
    bounds = {
        k: answers("vae-fashion", "elbo", VaeElboRequest(rows=rows, seeds=SEEDS[:24], samples=k)) for k in (1, 4, 16)
    }
    means = [np.mean([item["elbo_nats"] for item in bounds[1]])]
    means += [np.mean([item["iwae_nats"] for item in bounds[k]]) for k in (4, 16)]
    assert means == sorted(means)
    assert 2.5 < np.mean([item["bits_per_dim"] for item in bounds[1]]) < 4
