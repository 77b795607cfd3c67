"""BM3D: alike blocks of an image, denoised together.

Dabov, Foi, Katkovnik and Egiazarian 2007, "Image denoising by sparse 3-D transform-domain collaborative filtering",
IEEE Transactions on Image Processing 16(8):2080-2095; the numbers of equations are theirs. Parameters are those of
their normal profile at every noise level: their other one, for noise above 40 of 255, takes blocks of 12 pixels, which
cost 28x28 clothing 0.9 to 1.4 dB at 50 and 100 of 255.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from itertools import product

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray
from scipy.fft import dct

from training.comparison.estimate import Floats

BLOCK, STRIDE, RADIUS, KAISER_BETA, THRESHOLD = 8, 3, 19, 2.0, 2.7
HAAR = 1, 1
BIOR_1_5 = 3, -3, -22, 22, 128, 128, 22, -22, -3, 3

Group = tuple[NDArray[np.int64], NDArray[np.int64]]
"""The rows and the columns of the upper left corners of alike blocks."""


@dataclass(frozen=True)
class Stage:
    """One of the two passes over the image.

    `transform` [8, 8] has a basis vector per row. A group has at most `most_blocks` blocks (a power of two), of mean
    squared difference `max_distance` from its reference. `factors` are what the coefficients of a group are multiplied
    by, from those of the guide and sigma.
    """

    transform: Floats
    most_blocks: int
    max_distance: float
    factors: Callable[[Floats, float], Floats]


def bm3d(noisy: Floats, sigma: float) -> Floats:
    """An image [H, W] around [0, 1], H and W at least 8, without its Gaussian noise of standard deviation sigma > 0."""
    exact = noisy.astype(np.float64)
    basic = _estimate(exact, exact, sigma, HARD)
    return _estimate(exact, basic, sigma, WIENER)


@cache
def wavelet(size: int, *low_pass: float) -> Floats:
    """A periodic wavelet transform of `size` numbers, a power of two, as a matrix [size, size] with rows of length 1.

    Its detail is the difference of neighbours, as for all Bior1.x (Cohen, Daubechies and Feauveau 1992, Communications
    on Pure and Applied Mathematics 45:485): with HAAR it is orthonormal.
    """
    transform, length = np.eye(size), size
    while length > 1:
        half, level = length // 2, np.eye(size)
        level[:length] = 0
        for place in range(half):
            np.add.at(level[place], (2 * place + np.arange(len(low_pass)) + 1 - len(low_pass) // 2) % length, low_pass)
            level[half + place, 2 * place : 2 * place + 2] = 1, -1
        transform, length = level @ transform, half
    rows: Floats = transform / np.linalg.norm(transform, axis=1, keepdims=True)
    return rows


def _hard(guide: Floats, sigma: float) -> Floats:
    """Eq. (6): what is likely to be more than noise is kept."""
    return (np.abs(guide) > THRESHOLD * sigma).astype(np.float64)


def _wiener(guide: Floats, sigma: float) -> Floats:
    """Eq. (8): the Wiener filter, were the guide the clean image."""
    factors: Floats = (guide / np.hypot(guide, sigma)) ** 2
    return factors


HARD = Stage(wavelet(BLOCK, *BIOR_1_5), 16, 2500 / 255**2, _hard)
WIENER = Stage(dct(np.eye(BLOCK), axis=0, norm="ortho"), 32, 400 / 255**2, _wiener)


def _estimate(noisy: Floats, guide: Floats, sigma: float, stage: Stage) -> Floats:
    """One pass: blocks are alike in the guide, and shrunk together in the noisy image.

    The weight of a group is one over the squares of its factors, at least 1: eq. (10) and (11) but for the sigma^-2
    that all have.
    """
    spectra, guides = (_spectra(image, stage.transform) for image in (noisy, guide))
    total, weights = np.zeros_like(spectra), np.zeros(spectra.shape[:2])
    for place in product(_references(len(weights)), _references(len(weights[0]))):
        group = _alike(guides, place, stage)
        mix = wavelet(len(group[0]), *HAAR)
        factors = stage.factors(np.tensordot(mix, guides[group], 1), sigma)
        weight = 1 / max(1.0, float(np.sum(factors**2)))
        total[group] += weight * np.tensordot(mix.T, factors * np.tensordot(mix, spectra[group], 1), 1)
        weights[group] += weight
    return _aggregate(total, weights, stage.transform)


def _spectra(image: Floats, transform: Floats) -> Floats:
    """The two-dimensional transform of every block [H - 7, W - 7, 8, 8]."""
    spectra: Floats = transform @ sliding_window_view(image, (BLOCK, BLOCK)) @ transform.T
    return spectra


def _references(places: int) -> list[int]:
    return [*range(0, places - 1, STRIDE), places - 1]


def _alike(guides: Floats, place: tuple[int, int], stage: Stage) -> Group:
    """Eq. (4), (5) and (7): the blocks nearest to the one at `place`, itself first, as many as a power of two."""
    top, left = (max(0, corner - RADIUS) for corner in place)
    window = guides[top : place[0] + RADIUS + 1, left : place[1] + RADIUS + 1]
    distances = np.mean((window - guides[place]) ** 2, axis=(2, 3))
    distances[place[0] - top, place[1] - left] = -1  # others may be equal to it
    nearest = np.argsort(distances, axis=None, kind="stable")[: stage.most_blocks]
    near = int(np.sum(distances.flat[nearest] <= stage.max_distance))
    rows, columns = np.unravel_index(nearest[: 1 << (near.bit_length() - 1)], distances.shape)
    return rows + top, columns + left


def _aggregate(total: Floats, weights: Floats, transform: Floats) -> Floats:
    """Eq. (12): the weighted mean of all estimates of a pixel, from sums of weighted spectra by place of the block."""
    inverse, window = np.linalg.inv(transform), np.kaiser(BLOCK, KAISER_BETA)
    blocks, (height, width) = inverse @ total @ inverse.T, weights.shape
    image, coverage = np.zeros((2, height + BLOCK - 1, width + BLOCK - 1))
    for row, column in product(range(BLOCK), repeat=2):
        part, share = np.s_[row : row + height, column : column + width], window[row] * window[column]
        image[part] += share * blocks[:, :, row, column]
        coverage[part] += share * weights
    mean: Floats = image / coverage
    return mean
