"""The estimated noise level, on real images as clients send them: clipped and in 8 bits."""

import numpy as np
import pytest
from shipped import fashion

from service.families.diffusion.noise_level import estimate_sigma


def observed(clean: np.ndarray, sigma: float, seed: int) -> np.ndarray:
    noisy = clean + sigma * np.random.default_rng(seed).normal(size=clean.shape)
    return (np.rint(np.clip(noisy, 0, 1) * 255) / 255).astype(np.float32)[None]


@pytest.mark.parametrize("level", [10, 25, 50, 100])
def test_the_noise_level_of_a_clipped_image_is_found(level: int) -> None:
    found = np.array([estimate_sigma(observed(fashion(index) / 255, level / 255, index)) * 255 for index in range(200)])
    assert np.mean(found) == pytest.approx(level, abs=3 + 0.05 * level)
    assert np.sqrt(np.mean((found - level) ** 2)) < 3 + 0.07 * level


def test_without_clipping_there_is_no_correction() -> None:
    found = [estimate_sigma(observed(np.full((28, 28), 0.5), 0.1, seed)) for seed in range(50)]
    assert np.mean(found) == pytest.approx(0.1, rel=0.03)


@pytest.mark.parametrize("image", [np.zeros((1, 28, 28)), np.full((1, 28, 28), 0.5), np.ones((3, 28, 28))])
def test_a_flat_image_has_the_noise_of_8_bit_rounding(image: np.ndarray) -> None:
    assert estimate_sigma(image.astype(np.float32)) == pytest.approx(1 / (255 * 12**0.5))


def test_the_estimate_is_a_possible_noise_level() -> None:
    checkerboard = (np.indices((28, 28)).sum(0) % 2).astype(np.float32)[None]
    assert estimate_sigma(checkerboard) == 1.0
