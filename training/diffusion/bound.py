"""The variational bound on -log p(x): prior, a sum of KL terms over the noise levels, and an 8-bit decoder."""

from collections.abc import Iterator
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from scipy.special import logsumexp

from training.diffusion.sampler import Denoise, Floats

LEVELS = 1000  # T, the number of transitions
PIXEL_VALUES = np.arange(256) / 127.5 - 1
Nats = NDArray[np.float64]


def bound_nats(
    denoise: Denoise,
    clean: Floats,
    label: NDArray[np.int64],
    sigma_range: tuple[float, float],
    draws: int,
    seed: int = 0,
) -> Nats:
    """An unbiased estimate, per image [N], of the bound L of Ho et al. 2020 (arXiv:2006.11239, eq. 5), in nats.

    clean [N, C, H, W] holds 8-bit images scaled to [-1, 1]. The chain has T = 1000 log-spaced transitions over
    `sigma_range`; for every image, one of them is drawn from each of `draws` equal strata.
    """
    random = np.random.default_rng(seed)
    sigma_min, sigma_max = sigma_range
    sigmas = np.geomspace(sigma_min, sigma_max, LEVELS + 1)
    total = prior_kl_nats(clean, sigma_max) + decoder_nats(clean, sigma_min, random)
    for first, size in _strata(draws):
        before = first + random.integers(size, size=len(clean))
        sigma = sigmas[before + 1]
        noise = random.standard_normal(clean.shape, dtype=np.float32)
        restored = denoise(clean + sigma.astype(np.float32)[:, None, None, None] * noise, sigma, label)
        squared_error = np.sum((restored - clean).astype(np.float64) ** 2, axis=(1, 2, 3))
        total += size * transition_kl_nats(sigmas[before], sigma, squared_error)
    return total


def transition_kl_nats(before: Nats, sigma: Nats, squared_error: Nats) -> Nats:
    """KL(q(x_before | x_sigma, x_0) || p(x_before | x_sigma)), where p puts D(x_sigma) in the place of x_0.

    Both are Gaussians of the same variance (Kingma et al. 2021, arXiv:2107.00630, eq. 13), so only
    `squared_error` = |D(x_sigma) - x_0|^2 remains.
    """
    return 0.5 * (before**-2 - sigma**-2) * squared_error


def prior_kl_nats(clean: Floats, sigma_max: float) -> Nats:
    """KL(q(x_T | x_0) || N(0, sigma_max^2)) per image."""
    squared: Nats = np.sum(clean.astype(np.float64) ** 2, axis=(1, 2, 3))
    return squared / (2 * sigma_max**2)


def decoder_nats(clean: Floats, sigma_min: float, random: np.random.Generator) -> Nats:
    """-log p(x | x_0 + sigma_min n): each pixel is the likeliest of 256 values by the Gaussian density, normalised."""
    return np.array([_decoder_nats(image.reshape(-1, 1).astype(np.float64), sigma_min, random) for image in clean])


def _decoder_nats(pixels: Nats, sigma_min: float, random: np.random.Generator) -> float:
    noise = random.standard_normal(pixels.shape)
    logits = -0.5 * ((pixels - PIXEL_VALUES) / sigma_min + noise) ** 2
    return float(np.sum(logsumexp(logits, axis=1, keepdims=True) + 0.5 * noise**2))


def _strata(count: int) -> Iterator[tuple[int, int]]:
    """(first, size) of `count` parts of the T transitions, as equal as can be."""
    edges = np.linspace(0, LEVELS, count + 1).astype(int).tolist()
    return ((first, last - first) for first, last in pairwise(edges))
