"""The figures of a denoiser: FD-fmnist of its samples, denoising against baselines, the variational bound."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from skimage.restoration import denoise_nl_means

from model_store.manifest import DiffusionParams
from training.diffusion.bound import bound_nats
from training.diffusion.sampler import Denoise, Floats, Solver, heun, karras_sigmas
from training.evaluate import Scorer, psnr_db, ssim

CHUNK = 100
NOISE_LEVELS = (25, 50, 100)  # standard deviations of 255, the customary three

# Any range gives a bound; below 0.006 the terms cost more than the decoder saves.
BOUND_RANGE = (0.006, 80.0)


@dataclass(frozen=True)
class Effort:
    """How many images each figure is measured on."""

    samples: int
    sample_steps: int
    denoised: int
    bounded: int
    bound_draws: int


def sample(
    denoise: Denoise, params: DiffusionParams, count: int, steps: int, seed: int = 0, solver: Solver = heun
) -> Floats:
    """Images [count, 1, 28, 28] in [-1, 1]; image i is of class i modulo the number of classes."""
    noise = np.random.default_rng(seed).standard_normal((count, *params.image_shape), dtype=np.float32)
    label = np.arange(count) % len(params.classes)
    sigmas = karras_sigmas(steps, params.sigma_min, params.sigma_max, params.rho)
    return np.concatenate([solver(denoise, noise[part], label[part], sigmas) for part in _parts(count)])


def sample_metrics(samples: Floats, test: Floats, scorer: Scorer, classes: int, steps: int) -> dict[str, float]:
    """FD-fmnist of samples and of as many test images (all in [-1, 1]), and how often a sample is of its class."""
    images, count = (samples + 1) / 2, len(samples)
    return {
        f"fd_fmnist_{count}_samples_{steps}_steps": scorer.fd_fmnist(images),
        f"fd_fmnist_{count}_test_images": scorer.fd_fmnist((test[:count] + 1) / 2),
        "sample_class_accuracy": scorer.accuracy(images, np.arange(count) % classes),
    }


def denoising_metrics(denoise: Denoise, clean: Floats, no_class: int) -> dict[str, float]:
    """PSNR in dB and SSIM of the denoised, the noisy and the non-local-means images; clean is in [-1, 1]."""
    noise = np.random.default_rng(1).standard_normal(clean.shape, dtype=np.float32)
    metrics: dict[str, float] = {}
    for level in NOISE_LEVELS:
        noisy = clean + noise * np.float32(2 * level / 255)
        label = np.full(len(clean), no_class)
        sigma = np.full(len(clean), 2 * level / 255)
        denoised = np.concatenate([denoise(noisy[part], sigma[part], label[part]) for part in _parts(len(clean))])
        results = {"denoised": denoised, "noisy": noisy, "nlm": _non_local_means(noisy, 2 * level / 255)}
        for name, result in results.items():
            pair = (clean + 1) / 2, (result.clip(-1, 1) + 1) / 2
            metrics[f"{name}_sigma{level}_psnr_db"] = psnr_db(*pair)
            metrics[f"{name}_sigma{level}_ssim"] = ssim(*pair)
    return metrics


def bound_metrics(denoise: Denoise, clean: Floats, label: NDArray[np.int64], draws: int) -> dict[str, float]:
    """The variational bound on -log p(x | class) in bits/dim, with the standard error of the mean over images."""
    nats = np.concatenate(
        [bound_nats(denoise, clean[part], label[part], BOUND_RANGE, draws, part.start) for part in _parts(len(clean))]
    )
    bits = nats / (clean[0].size * np.log(2))
    return {
        "vlb_test_bits_per_dim": float(bits.mean()),
        "vlb_test_bits_per_dim_standard_error": float(bits.std() / np.sqrt(len(bits))),
    }


def _non_local_means(images: Floats, sigma: float) -> NDArray[np.floating[Any]]:
    settings = {"patch_size": 5, "patch_distance": 6, "h": 0.8 * sigma, "sigma": sigma, "fast_mode": True}
    return np.stack([denoise_nl_means(image, **settings) for image in images[:, 0]])[:, None]


def _parts(count: int) -> Iterator[slice]:
    return (slice(start, start + CHUNK) for start in range(0, count, CHUNK))
