"""The estimated noise level, on images as clients send them: clipped and in 8 bits."""

import numpy as np
import pytest

from service.families.diffusion.noise_level import estimate_sigma


def scene(size: int = 28) -> np.ndarray:
    """A soft grey shape on black, like the data: half of the pixels at 0."""
    y, x = np.mgrid[:size, :size] / size - 0.5
    return np.clip(0.9 - 2.2 * (x**2 + y**2) ** 0.5, 0, 1) * (np.abs(x) < 0.35)


def observed(clean: np.ndarray, sigma: float, seed: int) -> np.ndarray:
    noisy = clean + sigma * np.random.default_rng(seed).normal(size=clean.shape)
    return (np.rint(np.clip(noisy, 0, 1) * 255) / 255).astype(np.float32)[None]


@pytest.mark.parametrize("level", [10, 25, 50, 100])
def test_the_noise_level_of_a_clipped_image_is_found_to_a_tenth(level: int) -> None:
    found = [estimate_sigma(observed(scene(), level / 255, seed)) * 255 for seed in range(50)]
    assert np.mean(found) == pytest.approx(level, rel=0.1)
    assert np.std(found) < 0.15 * level


def test_without_clipping_there_is_no_correction() -> None:
    found = [estimate_sigma(observed(np.full((28, 28), 0.5), 0.1, seed)) for seed in range(50)]
    assert np.mean(found) == pytest.approx(0.1, rel=0.03)


@pytest.mark.parametrize("image", [np.zeros((1, 28, 28)), np.full((1, 28, 28), 0.5), np.ones((3, 28, 28))])
def test_a_flat_image_has_the_noise_of_8_bit_rounding(image: np.ndarray) -> None:
    assert estimate_sigma(image.astype(np.float32)) == pytest.approx(1 / (255 * 12**0.5))


def test_the_estimate_is_a_possible_noise_level() -> None:
    checkerboard = (np.indices((28, 28)).sum(0) % 2).astype(np.float32)[None]
    assert estimate_sigma(checkerboard) == 1.0
