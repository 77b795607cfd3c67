"""The trainer's own samplers of the probability-flow ODE, deterministic, in float32."""

from collections.abc import Callable
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from training.checks import Arrays, Runner

Floats = NDArray[np.float32]
Denoise = Callable[[Floats, NDArray[np.float64], NDArray[np.int64]], Floats]
"""D(x [B, C, H, W], sigma [B], label [B]) -> the expected clean images."""
Solver = Callable[[Denoise, Floats, NDArray[np.int64], NDArray[np.float64]], Floats]
"""(D, noise [B, C, H, W], label [B], sigmas) -> images in [-1, 1]."""


def karras_sigmas(steps: int, sigma_min: float, sigma_max: float, rho: float) -> NDArray[np.float64]:
    """Noise levels sigma_max = s_0 > ... > s_(steps-1) = sigma_min, then 0: arXiv:2206.00364, eq. 5."""
    ramp = np.arange(steps) / max(1, steps - 1)
    high, low = sigma_max ** (1 / rho), sigma_min ** (1 / rho)
    return np.append((high + ramp * (low - high)) ** rho, 0.0)


def heun(denoise: Denoise, noise: Floats, label: NDArray[np.int64], sigmas: NDArray[np.float64]) -> Floats:
    """Images in [-1, 1] from standard normal noise: arXiv:2206.00364, algorithm 1 (2 steps - 1 evaluations)."""
    x = noise * np.float32(sigmas[0])
    for sigma, following in pairwise(sigmas.tolist()):
        step = np.float32(following - sigma)
        slope = (x - denoise(x, np.full(len(x), sigma), label)) / np.float32(sigma)
        euler = x + step * slope
        if following == 0:
            return euler.clip(-1, 1)
        correction = (euler - denoise(euler, np.full(len(x), following), label)) / np.float32(following)
        x = x + step * (slope + correction) / np.float32(2)
    return x


def dpmpp_2m(denoise: Denoise, noise: Floats, label: NDArray[np.int64], sigmas: NDArray[np.float64]) -> Floats:
    """Images in [-1, 1] from standard normal noise: DPM-Solver++(2M), one evaluation a step, which serving defaults to.

    Lu et al. 2022, arXiv:2211.01095, algorithm 2 with alpha = 1; the first and the last step are of first order.
    """
    x, last = noise * np.float32(sigmas[0]), None
    for sigma, following in pairwise(sigmas.tolist()):
        clean = extrapolated = denoise(x, np.full(len(x), sigma), label)
        if last is not None and following > 0:
            step_ratio = np.log(last[0] / sigma) / np.log(sigma / following)
            extrapolated = clean + (clean - last[1]) / np.float32(2 * step_ratio)
        shrink = np.float32(following / sigma)
        x, last = shrink * x + (1 - shrink) * extrapolated, (sigma, clean)
    return x.clip(-1, 1)


def denoiser_of(run: Runner) -> Denoise:
    """The exported graph as D(x, sigma, label)."""

    def denoise(x: Floats, sigma: NDArray[np.float64], label: NDArray[np.int64]) -> Floats:
        log_sigma = np.log(sigma).astype(np.float32)
        inputs: Arrays = {"x": x, "sigma": sigma.astype(np.float32), "log_sigma": log_sigma, "label": label}
        return run(inputs)["denoised"].astype(np.float32)

    return denoise
