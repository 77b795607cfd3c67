"""BM3D: its transforms, what it must leave alone, and what it makes of photographs."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from skimage.data import camera
from skimage.metrics import peak_signal_noise_ratio
from skimage.restoration import denoise_nl_means

from training.comparison.bm3d import BIOR_1_5, HAAR, bm3d, wavelet
from training.comparison.denoising import STRENGTHS

PHOTOGRAPH = camera()[60:156, 200:296] / 255
FASHION_TEST = Path(__file__).parents[1] / "data" / "fashion_test_500.npz"
SIZES = (8, 3), (4, 1)  # width of a block, and how many pixels from one reference to the next

each_size = pytest.mark.parametrize(("block", "stride"), SIZES)


def noisy(image: np.ndarray, sigma: float) -> np.ndarray:
    return image + sigma * np.random.default_rng(0).standard_normal(image.shape)


def psnr_db(image: np.ndarray) -> float:
    return float(peak_signal_noise_ratio(PHOTOGRAPH, image.clip(0, 1), data_range=1.0))


@pytest.mark.parametrize("low_pass", [HAAR, BIOR_1_5])
@pytest.mark.parametrize("size", [1, 2, 8, 32])
def test_a_wavelet_transform_has_rows_of_length_one_and_sees_a_constant_in_the_first(
    size: int, low_pass: tuple[int, ...]
) -> None:
    rows = wavelet(size, *low_pass)
    np.testing.assert_allclose(np.linalg.norm(rows, axis=1), 1)
    np.testing.assert_allclose((rows @ np.ones(size))[1:], 0, atol=1e-12)
    assert np.linalg.cond(rows) < 2


def test_haar_is_orthonormal_and_bior_1_5_rebuilds_from_wavelets_with_five_vanishing_moments() -> None:
    np.testing.assert_allclose(wavelet(16, *HAAR) @ wavelet(16, *HAAR).T, np.eye(16), atol=1e-12)
    rebuild = np.linalg.inv(wavelet(32, *BIOR_1_5))
    finest, place = rebuild[:, 16 + 8], np.linspace(-1, 1, 32)  # far from where it wraps
    moments = [abs(np.sum(finest * place**power)) for power in range(6)]
    assert max(moments[:5]) < 1e-12
    assert moments[5] > 1e-6


@each_size
@pytest.mark.parametrize("sigma", [1e-6, 0.1, 1.0])
@pytest.mark.parametrize("level", [0.0, 0.3, 1.0])
def test_a_constant_image_stays_constant(level: float, sigma: float, block: int, stride: int) -> None:
    image = np.full((28, 28), level)
    found = bm3d(image, sigma, block, stride)
    assert np.ptp(found) < 1e-9
    if sigma < 0.01:
        np.testing.assert_allclose(found, image, atol=1e-9)


@each_size
def test_an_image_without_noise_is_returned(block: int, stride: int) -> None:
    image = PHOTOGRAPH[:28, :40]
    np.testing.assert_allclose(bm3d(image, 1e-6, block, stride), image, atol=1e-5)


@each_size
def test_the_transposed_image_becomes_the_transposed_result(block: int, stride: int) -> None:
    image = noisy(PHOTOGRAPH[:28, :40], 0.1)
    np.testing.assert_allclose(bm3d(image.T, 0.1, block, stride), bm3d(image, 0.1, block, stride).T, atol=1e-6)


def test_what_is_farther_than_two_search_windows_of_each_pass_has_no_influence() -> None:
    image = noisy(camera()[60:68, 100:240] / 255, 0.1)
    other = image.copy()
    other[:, 110:] = 0.5
    found, changed = bm3d(image, 0.1), bm3d(other, 0.1)
    np.testing.assert_allclose(found[:, :8], changed[:, :8], atol=1e-12)
    assert np.abs(found[:, 100:110] - changed[:, 100:110]).max() > 0.001


@pytest.mark.parametrize("level", [25, 50])
def test_smaller_blocks_around_every_pixel_suit_small_pictures_of_clothes_better(level: int) -> None:
    with np.load(FASHION_TEST) as archive:
        images = archive["images"][:10] / 255
    pairs = [(image, noisy(image, level / 255)) for image in images]
    errors = [np.mean([(bm3d(z, level / 255, *size) - image) ** 2 for image, z in pairs]) for size in SIZES]
    assert errors[1] < errors[0]


@settings(max_examples=25, deadline=None)
@given(st.floats(0, 1, exclude_min=True), st.integers(0, 1000))
def test_the_result_is_finite_for_any_noise_level_and_any_image_of_at_least_a_block(sigma: float, seed: int) -> None:
    random = np.random.default_rng(seed)
    height, width = random.integers(8, 20, 2)
    image = random.random((height, width)) * (random.random((height, width)) < 0.5)
    for scale in (0.0, 1e-9, 1.0):
        found = bm3d(scale * image, sigma)
        assert found.shape == image.shape
        assert np.isfinite(found).all()


@pytest.mark.parametrize(("level", "least_psnr_db"), [(25, 28.5), (50, 25.0)])
def test_a_photograph_gets_the_published_quality_and_beats_non_local_means(level: int, least_psnr_db: float) -> None:
    """Dabov et al. 2007 report 29.45 dB for their photograph of a cameraman at 25 of 255."""
    sigma = level / 255
    photograph = noisy(PHOTOGRAPH, sigma)
    found = psnr_db(bm3d(photograph, sigma))
    others = [denoise_nl_means(photograph, patch_size=5, h=strength * sigma, sigma=sigma) for strength in STRENGTHS]
    assert found > least_psnr_db
    assert found > max(map(psnr_db, others)) + 0.5


def test_noise_alone_is_nearly_removed() -> None:
    assert np.std(bm3d(noisy(np.full((28, 28), 0.5), 0.1), 0.1)) < 0.025
