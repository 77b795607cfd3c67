"""A diffusion model, compared: sampling as it is served, the variational bound, single-pass denoising."""

from functools import cached_property

import numpy as np

from model_store.manifest import DiffusionParams
from model_store.store import Model
from training.comparison.estimate import Estimate, Floats
from training.comparison.sets import Sets
from training.comparison.subject import (
    BOUND_DRAWS,
    BOUND_ROWS,
    Family,
    Likelihood,
    Samples,
    Subject,
    Timed,
)
from training.diffusion.measure import bound_metrics, sample
from training.diffusion.sampler import Denoise, denoiser_of, dpmpp_2m

STEPS = 15  # the service's default, with its default solver: as many evaluations


class DiffusionSubject(Subject):
    family = Family(
        name="diffusion",
        likelihood="bound (VLB)",
        posterior="none offered: the latents are the noise",
        answers="samples by class, step by step; restoration: denoise, super-resolve, inpaint, with its uncertainty",
        cannot="tell log p(x) exactly; answer in one pass",
    )

    def __init__(self, model: Model, params: DiffusionParams) -> None:
        super().__init__(model, "images")
        self.params = params

    @property
    def timed(self) -> tuple[Timed, ...]:
        return Timed("sample", self.item, ("denoise",), STEPS), Timed("enhance (denoise)", self.item, ("denoise",))

    def samples(self, count: int, seed: int) -> tuple[Samples, ...]:
        images = sample(self._denoise, self.params, count, STEPS, seed, dpmpp_2m)
        labels = np.arange(count) % len(self.params.classes)
        return (Samples(f"DPM-Solver++(2M), {STEPS} evaluations", (images + 1) / 2, labels),)

    def likelihood(self, sets: Sets, seed: int) -> tuple[Likelihood, ...]:
        some = slice(BOUND_ROWS)
        clean = (2 * sets.images.test[some] - 1).astype(np.float32)
        found = bound_metrics(self._denoise, clean, sets.labels[some], BOUND_DRAWS)
        name = "vlb_test_bits_per_dim"
        bits = Estimate(found[name], found[f"{name}_standard_error"])
        return (Likelihood("VLB given the class", "bound", "bits/dim", bits, f"{len(clean)} {self.item}s"),)

    def denoise(self, noisy: Floats, sigma: float) -> Floats:
        count = len(noisy)
        no_class, scaled = np.full(count, len(self.params.classes)), np.full(count, 2 * sigma)
        clean = self._denoise((2 * noisy - 1).astype(np.float32), scaled, no_class)
        return (clean + 1) / 2

    @cached_property
    def _denoise(self) -> Denoise:
        return denoiser_of(self.runner("denoise"))
