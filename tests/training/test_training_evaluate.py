"""The figures: distances that are zero at home, known values, and a frozen classifier."""

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from training.evaluate import Scorer, Statistics, accuracy, frechet_distance, psnr_db, ssim

SAMPLES = Path(__file__).parents[1] / "data"


@pytest.fixture(scope="module")
def scorer() -> Scorer:
    return Scorer()


@pytest.fixture(scope="module")
def fashion() -> dict[str, NDArray[np.generic]]:
    with np.load(SAMPLES / "fashion_test_500.npz") as archive:
        return dict(archive)


@pytest.fixture(scope="module")
def images(fashion: dict[str, NDArray[np.generic]]) -> NDArray[np.float32]:
    return fashion["images"][:, None].astype(np.float32) / 255


def gaussian(mean: list[float], variances: list[float]) -> Statistics:
    return Statistics(np.array(mean), np.diag(variances))


def test_the_distance_of_gaussians_with_diagonal_covariances_is_the_known_one() -> None:
    a, b = gaussian([0.0, 1.0], [1.0, 4.0]), gaussian([3.0, 1.0], [9.0, 1.0])
    assert frechet_distance(a, b) == pytest.approx(9 + (1 - 3) ** 2 + (2 - 1) ** 2)


def test_the_distance_is_symmetric_and_zero_at_home() -> None:
    random = np.random.default_rng(0)
    a, b = (Statistics.of(random.standard_normal((50, 4)) @ random.standard_normal((4, 4))) for _ in range(2))
    assert frechet_distance(a, b) == pytest.approx(frechet_distance(b, a))
    assert frechet_distance(a, a) == pytest.approx(0, abs=1e-6)


def test_dead_features_do_not_break_the_distance() -> None:
    features = np.random.default_rng(0).standard_normal((50, 4))
    features[:, 2] = 0
    assert np.isfinite(frechet_distance(Statistics.of(features), Statistics.of(features[::2])))


def test_the_frozen_classifier_knows_the_test_images(
    scorer: Scorer, images: NDArray[np.float32], fashion: dict[str, NDArray[np.int64]]
) -> None:
    assert scorer.accuracy(images, fashion["labels"]) > 0.9


def test_fd_fmnist_grows_with_the_noise_in_the_images(scorer: Scorer, images: NDArray[np.float32]) -> None:
    noise = np.random.default_rng(0).standard_normal(images.shape).astype(np.float32)
    distances = [scorer.fd_fmnist(np.clip(images + level * noise, 0, 1)) for level in (0, 0.1, 0.3)]
    assert scorer.floor < distances[0] < distances[1] < distances[2]


def test_accuracy_is_the_fraction_of_right_answers() -> None:
    assert accuracy(np.array([[1.0, 2.0], [3.0, 0.0]]), np.array([1, 1])) == 0.5


def test_psnr_of_a_constant_error_is_its_decibels() -> None:
    clean = np.zeros((3, 1, 28, 28), dtype=np.float32)
    assert psnr_db(clean, clean + np.float32(0.1)) == pytest.approx(20, abs=1e-3)


def test_ssim_of_an_image_with_itself_is_one_and_falls_with_noise(images: NDArray[np.float32]) -> None:
    few = images[:5]
    noisy = few + np.random.default_rng(0).normal(0, 0.2, few.shape).astype(np.float32)
    assert ssim(few, few) == pytest.approx(1)
    assert ssim(few, noisy) < 0.9
