"""Denoising against the classics: PSNR and SSIM at three noise levels on the same noisy images."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from skimage.restoration import denoise_nl_means, denoise_tv_chambolle

from training.comparison.bm3d import bm3d
from training.comparison.estimate import Estimate, Floats, mean
from training.comparison.sets import Sets
from training.comparison.subject import Subject
from training.evaluate import psnr_by_image_db, psnr_db, ssim_by_image

NOISE_LEVELS = (25, 50, 100)  # standard deviations of 255, the customary three
STRENGTHS = (0.4, 0.5, 0.6, 0.7, 0.8, 1.0, 1.2)  # of a classic method, in standard deviations of the noise
IMAGES, TUNING_IMAGES = 1000, 100

Classic = Callable[[Floats, float, float], Floats]
"""(noisy image [H, W], sigma, strength) -> the image without noise."""


@dataclass(frozen=True)
class Denoised:
    """What one method made of `count` images with noise of standard deviation `level` of 255."""

    method: str
    level: int
    count: int
    psnr_db: Estimate
    ssim: Estimate


def non_local_means(noisy: Floats, sigma: float, strength: float) -> Floats:
    """Buades et al. 2005, as scikit-image has it: patches of 5, windows of 13."""
    image: Floats = denoise_nl_means(
        noisy, patch_size=5, patch_distance=6, h=strength * sigma, sigma=sigma, fast_mode=True
    )
    return image


def total_variation(noisy: Floats, sigma: float, strength: float) -> Floats:
    """Chambolle 2004, as scikit-image has it."""
    image: Floats = denoise_tv_chambolle(noisy, weight=strength * sigma)  # type: ignore[no-untyped-call]
    return image


def block_matching(noisy: Floats, sigma: float, strength: float) -> Floats:
    """BM3D as published, for noise `strength` times as strong."""
    return bm3d(noisy, strength * sigma)


def small_block_matching(noisy: Floats, sigma: float, strength: float) -> Floats:
    """BM3D with blocks of half the width around every pixel: 28 pixels have room for few blocks of 8."""
    return bm3d(noisy, strength * sigma, block=4, stride=1)


CLASSICS: Mapping[str, Classic] = {
    "non-local means": non_local_means,
    "total variation": total_variation,
    "BM3D": block_matching,
    "BM3D with blocks of 4": small_block_matching,
}


def denoised(subjects: Sequence[Subject], sets: Sets, seed: int) -> Iterator[Denoised]:
    """The noisy images themselves, the classics at their best strength on held-out images, and the models."""
    clean, tuning = sets.images.test[:IMAGES], sets.held_out_images[:TUNING_IMAGES]
    for level in NOISE_LEVELS:
        sigma = level / 255
        noisy, trial = (_noisy(images, sigma, seed + place) for place, images in enumerate((clean, tuning)))
        results = {"none (noisy)": noisy}
        for name, classic in CLASSICS.items():
            strength = max(STRENGTHS, key=lambda s: psnr_db(tuning, _each(classic, trial, sigma, s)))
            results[f"{name}, strength {strength:g} sigma"] = _each(classic, noisy, sigma, strength)
        for subject in subjects:
            if (restored := subject.denoise(noisy, sigma)) is not None:
                results[f"{subject.model.ref}, one pass, no class"] = restored.clip(0, 1)
        yield from (_judge(name, level, clean, restored) for name, restored in results.items())


def _noisy(images: Floats, sigma: float, seed: int) -> Floats:
    noise = np.random.default_rng(seed).standard_normal(images.shape, dtype=np.float32)
    return images + np.float32(sigma) * noise


def _each(classic: Classic, noisy: Floats, sigma: float, strength: float) -> Floats:
    return np.stack([classic(image, sigma, strength) for image in noisy[:, 0]])[:, None].clip(0, 1)


def _judge(method: str, level: int, clean: Floats, restored: Floats) -> Denoised:
    pair = clean.astype(np.float64), restored.clip(0, 1).astype(np.float64)
    return Denoised(method, level, len(clean), mean(psnr_by_image_db(*pair)), mean(ssim_by_image(*pair)))
