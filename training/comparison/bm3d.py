"""BM3D: alike blocks of an image, denoised together.

Dabov, Foi, Katkovnik and Egiazarian 2007, "Image denoising by sparse 3-D transform-domain collaborative filtering",
IEEE Transactions on Image Processing 16(8):2080-2095; the numbers of equations are theirs. Parameters are those of
their normal profile at every noise level: their other one, for noise above 40 of 255, takes blocks of 12 pixels, which
cost 28x28 clothing 0.9 to 1.4 dB at 50 and 100 of 255.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from itertools import product

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray
from scipy.fft import dct
from scipy.spatial.distance import cdist

from training.comparison.estimate import Floats

BLOCK, STRIDE, RADIUS, KAISER_BETA, THRESHOLD = 8, 3, 19, 2.0, 2.7
HAAR = 1, 1
BIOR_1_5 = 3, -3, -22, 22, 128, 128, 22, -22, -3, 3


@dataclass(frozen=True)
class Stage:
    """One of the two passes over the image.

    `transform` [B, B] has a basis vector per row. A group has at most `most_blocks` blocks (a power of two), of mean
    squared difference `max_distance` from its reference. `factors` are what the coefficients of a group are multiplied
    by, from those of the guide and sigma.
    """

    transform: Floats
    most_blocks: int
    max_distance: float
    factors: Callable[[Floats, float], Floats]


def bm3d(noisy: Floats, sigma: float, block: int = BLOCK, stride: int = STRIDE) -> Floats:
    """An image [H, W] around [0, 1] without its Gaussian noise of standard deviation sigma > 0.

    Blocks are `block` pixels wide, a power of two that is at most H and W; every `stride`-th is a reference. Memory
    grows with (H W / stride)^2: meant for small images.
    """
    exact = noisy.astype(np.float64)
    hard = Stage(wavelet(block, *BIOR_1_5), 16, 2500 / 255**2, _hard)
    wiener = Stage(dct(np.eye(block), axis=0, norm="ortho"), 32, 400 / 255**2, _wiener)
    basic = _estimate(exact, exact, sigma, stride, hard)
    return _estimate(exact, basic, sigma, stride, wiener)


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


def _estimate(noisy: Floats, guide: Floats, sigma: float, stride: int, stage: Stage) -> Floats:
    """One pass: blocks are alike in the guide, and shrunk together in the noisy image.

    The weight of a group is one over the squares of its factors, at least 1: eq. (10) and (11) but for the sigma^-2
    that all have.
    """
    spectra, guides = (_spectra(image, stage.transform) for image in (noisy, guide))
    total, weights = np.zeros_like(spectra), np.zeros(spectra.shape[:2])
    for group in _groups(guides, stride, stage):
        mix = wavelet(group[0].shape[1], *HAAR)
        factors = stage.factors(_across(mix, guides[group]), sigma)
        weight = 1 / np.maximum(1, np.sum(factors**2, axis=(1, 2, 3)))[:, None]
        shrunk = _across(mix.T, factors * _across(mix, spectra[group]))
        np.add.at(total, group, weight[:, :, None, None] * shrunk)
        np.add.at(weights, group, weight)
    return _aggregate(total, weights, stage.transform)


def _spectra(image: Floats, transform: Floats) -> Floats:
    """The two-dimensional transform of the block at every place [H - B + 1, W - B + 1, B, B]."""
    spectra: Floats = transform @ sliding_window_view(image, transform.shape) @ transform.T
    return spectra


def _across(mix: Floats, groups: Floats) -> Floats:
    """The transform [n, n] over the blocks of each group [G, n, B, B]."""
    mixed: Floats = (mix @ groups.reshape(*groups.shape[:2], -1)).reshape(groups.shape)
    return mixed


def _groups(guides: Floats, stride: int, stage: Stage) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Eq. (4), (5) and (7): the blocks nearest to each reference, itself first, as many as a power of two.

    Groups of one size at a time, as the rows and the columns [G, n] of their blocks.
    """
    height, width = guides.shape[:2]
    places = np.array(list(product(range(height), range(width))))
    chosen = np.array([width * row + column for row in _every(stride, height) for column in _every(stride, width)])
    flat = guides.reshape(len(places), -1)
    distances = cdist(flat[chosen], flat, "sqeuclidean") / flat.shape[1]
    distances[cdist(places[chosen], places, "chebyshev") > RADIUS] = np.inf
    distances[np.arange(len(chosen)), chosen] = -1  # others may be equal to it
    nearest = np.argsort(distances, axis=1)[:, : stage.most_blocks]
    near = np.sum(np.take_along_axis(distances, nearest, axis=1) <= stage.max_distance, axis=1)
    sizes = 2 ** np.log2(near).astype(np.int64)
    for size in np.unique(sizes):
        yield np.divmod(nearest[sizes == size, :size], width)


def _every(stride: int, places: int) -> list[int]:
    return [*range(0, places - 1, stride), places - 1]


def _aggregate(total: Floats, weights: Floats, transform: Floats) -> Floats:
    """Eq. (12): the weighted mean of all estimates of a pixel, from sums of weighted spectra by place of the block."""
    inverse, block = np.linalg.inv(transform), len(transform)
    blocks, window, (height, width) = inverse @ total @ inverse.T, np.kaiser(block, KAISER_BETA), weights.shape
    image, coverage = np.zeros((2, height + block - 1, width + block - 1))
    for row, column in product(range(block), repeat=2):
        part, share = np.s_[row : row + height, column : column + width], window[row] * window[column]
        image[part] += share * blocks[:, :, row, column]
        coverage[part] += share * weights
    mean: Floats = image / coverage
    return mean
