"""The noise level of an image, where it is not known: a robust Laplacian, corrected for clipping."""

import math

import numpy as np

from service.arrays import Array

LAPLACIAN = ((1, -2, 1), (-2, 4, -2), (1, -2, 1))
LAPLACIAN_NORM = 6.0
NORMAL_MEDIAN = 0.6745  # the median of |n|, n ~ N(0, 1)
CLIPPED_VARIANCE = 0.5 - 0.5 / math.pi  # the variance of max(n, 0)
ROUNDING = 1 / (255 * math.sqrt(12))  # the standard deviation of rounding to 8 bits


def estimate_sigma(image: Array) -> float:
    """Standard deviation of white noise on an image [C, H, W] in [0, 1], in the same units; at least 8-bit rounding's.

    The filter of Immerkaer (1996, "Fast noise variance estimation") ignores smooth structure; the median in place of
    his mean ignores edges (Donoho 1995). A pixel that belongs to 0 or 1 shows half of its noise and is clipped as often
    as not, so twice the share of clipped pixels have the variance of clipped noise.
    """
    height, width = image.shape[-2:]
    filtered = sum(
        weight * image[..., i : height - 2 + i, j : width - 2 + j]
        for i, weights in enumerate(LAPLACIAN)
        for j, weight in enumerate(weights)
    )
    at_bounds = min(1.0, 2 * float(np.mean((image <= 0) | (image >= 1))))
    apparent = float(np.median(np.abs(filtered))) / (LAPLACIAN_NORM * NORMAL_MEDIAN)
    sigma = apparent / math.sqrt(1 - at_bounds * (1 - CLIPPED_VARIANCE))
    return min(1.0, max(ROUNDING, sigma))
